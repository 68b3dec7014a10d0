//! Masks secrets and personal data in texts that people are shown.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;

use crate::personal;
use crate::secrets::Secrets;

/// Letters and digits of a known value that give it away, wherever they stand.
const PIECE: usize = 6;
/// Characters of an identity number or address that may be shown.
const PERSONAL_SHOWN: usize = 2;

/// A value as it may be shown: its first `shown` characters, and how long it is.
///
/// ```
/// assert_eq!(lazaretto_patterns::masked("AKIA0000", 4), "AKIA…(8 chars)");
/// ```
#[must_use]
pub fn masked(value: &str, shown: usize) -> String {
    let start: String = value.chars().take(shown).collect();
    format!("{start}…({} chars)", value.chars().count())
}

/// What must not be shown of `text`: byte ranges by place, without overlap, each with the number of
/// its leading characters that may be shown.
fn sensitive(text: &str) -> Vec<(Range<usize>, usize)> {
    let secrets = Secrets::shipped().find(text);
    let mut spans: Vec<_> = secrets
        .into_iter()
        .map(|secret| (secret.range, secret.public.min(4)))
        .collect();
    let personal = personal::find(text).into_iter();
    spans.extend(
        personal
            .filter(personal::Personal::is_masked)
            .map(|found| (found.range, PERSONAL_SHOWN)),
    );
    spans.sort_by_key(|(range, _)| (range.start, range.end));
    let mut apart: Vec<(Range<usize>, usize)> = Vec::with_capacity(spans.len());
    for (range, shown) in spans {
        match apart.last_mut() {
            Some((last, last_shown)) if range.start < last.end => {
                last.end = last.end.max(range.end);
                *last_shown = shown.min(*last_shown);
            }
            _ => apart.push((range, shown)),
        }
    }
    apart
}

fn replaced<'t>(text: &'t str, spans: &[(Range<usize>, usize)]) -> Cow<'t, str> {
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (range, shown) in spans {
        out.push_str(&text[at..range.start]);
        out.push_str(&masked(&text[range.clone()], *shown));
        at = range.end;
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

/// `text` with every secret and every piece of personal data masked.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    replaced(text, &sensitive(text))
}

/// Masks what it has seen, also where only a part of it stands: in an excerpt that cuts a key in
/// two, or in words without their case and punctuation.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// Every [`PIECE`] letters and digits, folded, of the values seen.
    pieces: HashSet<[char; PIECE]>,
}

impl Redactor {
    /// `text` with everything masked that [`redact`] masks, whose values are remembered.
    pub fn learn<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let spans = sensitive(text);
        for (range, shown) in &spans {
            let value = &text[range.clone()];
            // What may be shown is no piece: `sk_live` and `eyJ` are words of their own.
            let hidden = value
                .char_indices()
                .nth(*shown)
                .map_or(value.len(), |(at, _)| at);
            let folded: Vec<char> = folded(&value[hidden..])
                .map(|(_, character)| character)
                .collect();
            let pieces = folded
                .windows(PIECE)
                .filter_map(|piece| <[char; PIECE]>::try_from(piece).ok());
            self.pieces.extend(pieces);
        }
        replaced(text, &spans)
    }

    /// Adds what another one has learned.
    pub fn merge(&mut self, other: Self) {
        self.pieces.extend(other.pieces);
    }

    /// A JSON value with every string in it masked.
    #[must_use]
    pub fn redact_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact(&text)),
            Value::Array(items) => Value::Array(
                items
                    .into_iter()
                    .map(|item| self.redact_value(item))
                    .collect(),
            ),
            Value::Object(fields) => {
                let masked = fields.into_iter();
                let masked =
                    masked.map(|(key, value)| (self.redact(&key), self.redact_value(value)));
                Value::Object(masked.collect())
            }
            other => other,
        }
    }

    /// `text` with everything masked that [`redact`] masks, and with the pieces of what was learned.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let text = redact(text);
        if self.pieces.is_empty() {
            return text.into_owned();
        }
        let folded: Vec<(Range<usize>, char)> = folded(&text).collect();
        let mut spans: Vec<(Range<usize>, usize)> = Vec::new();
        for window in folded.windows(PIECE) {
            let piece: Vec<char> = window.iter().map(|(_, character)| *character).collect();
            let known =
                <[char; PIECE]>::try_from(piece).is_ok_and(|piece| self.pieces.contains(&piece));
            if !known {
                continue;
            }
            let range = window[0].0.start..window[PIECE - 1].0.end;
            match spans.last_mut() {
                Some((last, _)) if range.start <= last.end => last.end = range.end,
                _ => spans.push((range, 0)),
            }
        }
        replaced(&text, &spans).into_owned()
    }
}

/// Letters and digits in lower case, with their place.
fn folded(text: &str) -> impl Iterator<Item = (Range<usize>, char)> + '_ {
    let kept = text
        .char_indices()
        .filter(|(_, character)| character.is_alphanumeric());
    kept.map(|(at, character)| {
        let lower = character.to_lowercase().next().unwrap_or(character);
        (at..at + character.len_utf8(), lower)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = concat!("ghp", "_q7LwZ2rT9xKf4MvB8sYd3HnC6jPgAe0Rk5Tz");

    #[test]
    fn values_are_masked_and_the_rest_is_left() {
        let text = format!("use {TOKEN}, then write to marta.kowalska81@gmail.com.");
        assert_eq!(
            redact(&text),
            "use ghp_…(40 chars), then write to ma…(26 chars)."
        );
        assert!(matches!(redact("nothing to hide"), Cow::Borrowed(_)));
    }

    #[test]
    fn masks_are_stable() {
        let once = redact(&format!("a {TOKEN} b")).into_owned();
        assert_eq!(redact(&once), once);
    }

    #[test]
    fn parts_of_what_was_seen_are_masked_too() {
        let mut redactor = Redactor::default();
        redactor.learn(&format!("a {TOKEN} b"));
        // As words of an n-gram, and cut off.
        assert_eq!(
            redactor.redact("`q7lwz2rt9xkf4mvb8` in 12 records"),
            "`…(17 chars)` in 12 records"
        );
        let cut = format!("`{}`", &TOKEN[..20]);
        assert_eq!(redactor.redact(&cut), "`ghp_…(16 chars)`");
        assert_eq!(
            redactor.redact("ghp_ tokens in 3 records"),
            "ghp_ tokens in 3 records"
        );
    }
}
