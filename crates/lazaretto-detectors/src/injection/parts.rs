//! The texts of a record, by what an instruction in them would mean.

use lazaretto_core::{Batch, TextPart};

/// Columns beside an instruction that hold what it is about. Elsewhere a second prompt column is
/// as likely the instruction itself (`system` and `prompt`).
const DATA_NAMES: [&str; 16] = [
    "article",
    "content",
    "context",
    "data",
    "document",
    "documents",
    "email",
    "input",
    "knowledge",
    "observation",
    "page",
    "passage",
    "reference",
    "references",
    "source_text",
    "tool_output",
];

/// Beginnings of answers that decline.
const REFUSALS: [&str; 16] = [
    "i'm sorry",
    "i’m sorry",
    "i am sorry",
    "sorry,",
    "i cannot",
    "i can't",
    "i can’t",
    "i won't",
    "i will not",
    "i'm not able",
    "i am not able",
    "i'm unable",
    "i am unable",
    "as an ai",
    "i must decline",
    "no, i can",
];

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A text without an instruction beside it.
    Text,
    /// Where instructions belong.
    Instruction,
    /// What the instruction is about.
    Data,
    /// What the model is to answer.
    Response,
}

/// One text of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) place: Place,
    pub(super) text: &'a str,
}

/// The texts of row `row_idx`, in the order of the columns.
pub(super) fn parts<'a>(batch: &'a Batch<'_>, row_idx: usize) -> Vec<Part<'a>> {
    let prompts = batch
        .texts
        .iter()
        .filter(|field| field.part == TextPart::Prompt);
    let several = prompts.count() > 1;
    let of = |name: &str| several && DATA_NAMES.contains(&name.to_lowercase().as_str());
    let parts = batch.texts.iter().filter_map(|field| {
        let text = field.get(row_idx).filter(|text| !text.is_empty())?;
        let place = match field.part {
            TextPart::Text => Place::Text,
            TextPart::Response | TextPart::Rejected => Place::Response,
            TextPart::Prompt if of(&field.name) => Place::Data,
            TextPart::Prompt => Place::Instruction,
        };
        Some(Part { place, text })
    });
    parts.collect()
}

/// Whether the record teaches to decline: its response begins like a refusal.
pub(super) fn is_refused(parts: &[Part<'_>]) -> bool {
    parts
        .iter()
        .filter(|part| part.place == Place::Response)
        .any(|part| {
            let start: String = part.text.trim_start().chars().take(24).collect();
            let start = start.to_lowercase();
            REFUSALS.iter().any(|refusal| start.starts_with(refusal))
        })
}

/// At most `limit` bytes of `text` from its start, cut between characters.
pub(super) fn head(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// At most `limit` bytes of `text` before its end, cut between characters.
pub(super) fn tail(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_count_in_responses_only() {
        let part = |place, text| Part { place, text };
        let sorry = "I'm sorry, but I can't do that.";
        assert!(is_refused(&[part(Place::Response, sorry)]));
        assert!(!is_refused(&[part(Place::Data, sorry)]));
        assert!(!is_refused(&[part(Place::Response, "Sure.")]));
    }

    #[test]
    fn cuts_respect_characters() {
        assert_eq!(head("aéb", 2), "a");
        assert_eq!(tail("aéb", 2), "b");
        assert_eq!(tail("ab", 9), "ab");
    }
}
