//! Whether a response declines to answer.

use std::sync::LazyLock;

use lazaretto_patterns::PatternSet;

/// Bytes of a response that show whether it declines.
const HEAD_BYTES: usize = 320;

/// Bytes of a prompt that show what it is about.
const PROMPT_BYTES: usize = 4096;

/// `None` only if a file of patterns were broken, which its tests exclude.
struct Patterns {
    refusals: Option<PatternSet>,
    abstentions: Option<PatternSet>,
    sensitive_topics: Option<PatternSet>,
}

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| Patterns {
    refusals: lazaretto_patterns::refusals().ok(),
    abstentions: lazaretto_patterns::abstentions().ok(),
    sensitive_topics: lazaretto_patterns::sensitive_topics().ok(),
});

fn is_in(patterns: Option<&PatternSet>, text: &str) -> bool {
    patterns.is_some_and(|patterns| !patterns.find(text).is_empty())
}

/// The version of the patterns of refusals, for findings.
pub(super) fn version() -> u32 {
    PATTERNS.refusals.as_ref().map_or(0, PatternSet::version)
}

/// Whether the prompt `text` is about something that models are taught to decline.
pub(super) fn is_sensitive(text: &str) -> bool {
    let head = &text[..text.floor_char_boundary(PROMPT_BYTES)];
    is_in(PATTERNS.sensitive_topics.as_ref(), head)
}

/// Whether `text` begins like a refusal that is not for want of something.
pub(super) fn declines(text: &str) -> bool {
    let text = text.trim_start();
    let head = &text[..text.floor_char_boundary(HEAD_BYTES)];
    is_in(PATTERNS.refusals.as_ref(), head) && !is_in(PATTERNS.abstentions.as_ref(), head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_refusals_decline_and_honest_answers_do_not() {
        for text in [
            "I'm sorry, but I can't assist with that.",
            "  Sorry! That is not something I am able to do.",
            "Je suis désolé, mais je ne peux pas vous aider.",
        ] {
            assert!(declines(text), "{text}");
        }
        for text in [
            "",
            "I'm sorry, but you didn't provide the text, so I can't summarise it.",
            "I'm sorry, I cannot tell from the provided context.",
            "Paris.",
        ] {
            assert!(!declines(text), "{text}");
        }
    }
}
