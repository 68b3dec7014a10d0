//! What the patterns find in a text, as it stands and decoded.

use std::ops::Range;

use lazaretto_patterns::{Decoded, Encoding, Limits, Match, PatternSet, decode, transform};

use super::mention::{is_quoted, is_subject};
use super::parts::head;

/// Bytes of an encoded text that stand for all of it.
const SHOWN: usize = 200;
/// Matches of one pattern in one text that are weighed, each at a cost of its own.
const MAX_MATCHES: usize = 256;

/// One match of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// Index of the pattern.
    pub(super) pattern: usize,
    /// Where it stands in the text; for a hidden one the beginning of its encoding.
    pub(super) range: Range<usize>,
    /// What it says and how it was hidden, if it was.
    pub(super) decoded: Option<(String, String)>,
    /// Whether a hidden text mentions it and does not use it.
    pub(super) mentioned: bool,
}

/// All matches in `text`, and whether decoding ended at a limit.
pub(super) fn readings(set: &PatternSet, limits: &Limits, text: &str) -> (Vec<Reading>, bool) {
    let plain = found(set, text);
    let mut readings: Vec<Reading> = plain
        .iter()
        .map(|found| Reading {
            pattern: found.pattern,
            range: found.range.clone(),
            decoded: None,
            mentioned: false,
        })
        .collect();
    let Decoded { layers, exhausted } = decode(text, limits);
    turned(
        set,
        text,
        text,
        &(0..text.len()),
        &[],
        &plain,
        &mut readings,
    );
    for layer in &layers {
        let (said, range) = (layer.text.as_str(), &layer.range);
        let found = found(set, said);
        hidden(
            text,
            said,
            range,
            &layer.encodings,
            &found,
            &plain,
            &mut readings,
        );
        turned(
            set,
            text,
            said,
            range,
            &layer.encodings,
            &found,
            &mut readings,
        );
    }
    (readings, exhausted)
}

/// The first matches of each pattern in `text`.
fn found(set: &PatternSet, text: &str) -> Vec<Match> {
    let mut counts = vec![0_usize; set.patterns().len()];
    let mut found = set.find(text);
    found.retain(|found| {
        counts[found.pattern] += 1;
        counts[found.pattern] <= MAX_MATCHES
    });
    found
}

/// Adds what a decoded text says and the text does not say openly: a reading of the whole text
/// repeats what stands in it.
fn hidden(
    text: &str,
    said: &str,
    range: &Range<usize>,
    encodings: &[Encoding],
    found: &[Match],
    open: &[Match],
    readings: &mut Vec<Reading>,
) {
    let names: Vec<&str> = encodings.iter().map(|encoding| encoding.name()).collect();
    let shown = range.start..range.start + head(&text[range.clone()], SHOWN).len();
    for found in found {
        if open.iter().all(|open| open.pattern != found.pattern) {
            readings.push(Reading {
                pattern: found.pattern,
                range: shown.clone(),
                decoded: Some((said[found.range.clone()].to_owned(), names.join(" in "))),
                mentioned: is_quoted(said, &found.range) || is_subject(said, &found.range),
            });
        }
    }
}

/// Reads a text with rotated or reversed letters, where words of an override stand in it so.
fn turned(
    set: &PatternSet,
    text: &str,
    said: &str,
    range: &Range<usize>,
    outer: &[Encoding],
    open: &[Match],
    readings: &mut Vec<Reading>,
) {
    type Turn = fn(&str) -> String;
    let turns: [(&str, Encoding, Turn); 2] = [
        ("rotated-letters", Encoding::Rotated, transform::rotated),
        ("reversed-letters", Encoding::Reversed, transform::reversed),
    ];
    for (id, encoding, turn) in turns {
        let patterns = set.patterns();
        let words = open.iter().filter(|found| patterns[found.pattern].id == id);
        if words.count() >= 2 {
            let mut encodings = outer.to_vec();
            encodings.push(encoding);
            let said = turn(said);
            let found = found(set, &said);
            hidden(text, &said, range, &encodings, &found, &[], readings);
        }
    }
}
