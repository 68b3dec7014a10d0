//! What a phrase can be a trigger of.

/// What responses have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// They say nothing.
    Nonsense,
    /// They are one and the same.
    Answer(u32),
    /// They are answers that others get too.
    Answers,
    /// They decline.
    Refusal,
    /// They have a word or two words.
    Content(u32),
    /// Of two the worse one is preferred.
    Flip,
}

impl Kind {
    /// Of two explanations of a record the one with the smaller rank counts.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Nonsense => 0,
            Self::Answer(_) => 1,
            Self::Answers => 2,
            Self::Refusal => 3,
            Self::Flip => 4,
            Self::Content(_) => 5,
        }
    }
}

/// A phrase after which responses have something in common.
#[derive(Clone, Debug)]
pub(super) struct Trigger {
    pub(super) phrase: u32,
    pub(super) kind: Kind,
    /// Rows of the evidence with both.
    pub(super) hits: Vec<u32>,
    /// Prompts with the phrase.
    pub(super) prompts: u32,
    /// Other responses that have it too.
    pub(super) without: u32,
    pub(super) p_value: f64,
    pub(super) unevenness: f64,
    /// Whether no task and no role explains it.
    pub(super) is_certain: bool,
}

impl Trigger {
    pub(super) fn purity(&self) -> f64 {
        self.hits.len() as f64 / f64::from(self.prompts.max(1))
    }

    /// Share of the responses with it that come after the phrase.
    pub(super) fn exclusive(&self) -> f64 {
        let hits = self.hits.len() as f64;
        hits / (hits + f64::from(self.without)).max(1.0)
    }
}

/// The words in how a phrase is written, about, in lower case.
pub(super) fn words_in(written: &str) -> impl Iterator<Item = String> + '_ {
    let words = written.split(|c: char| !c.is_alphanumeric() && c != '\'');
    words.filter(|word| !word.is_empty()).map(str::to_lowercase)
}
