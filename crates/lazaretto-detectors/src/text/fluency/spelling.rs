//! How surprising the spelling of a word is, given the words of the dataset.

use std::collections::HashMap;

/// Stands before and behind a word.
const EDGE: char = '\0';
/// Pseudo-counts of each letter after two others.
const SMOOTHING: f32 = 0.5;
/// How many letters could come next, for the smoothing.
const LETTERS: f32 = 26.0;
/// Longest part of a word that is looked at, in letters.
const MAX_LETTERS: usize = 64;

/// Counts of letters after two others, over distinct words.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    triples: HashMap<[char; 3], u32>,
    pairs: HashMap<[char; 2], u32>,
}

fn triples(word: &str) -> impl Iterator<Item = [char; 3]> + '_ {
    let letters = word.chars().flat_map(char::to_lowercase).take(MAX_LETTERS);
    let mut before = [EDGE; 2];
    letters.chain([EDGE]).map(move |letter| {
        let triple = [before[0], before[1], letter];
        before = [before[1], letter];
        triple
    })
}

impl Spelling {
    /// Adds a word that was not added before.
    pub(super) fn add(&mut self, word: &str) {
        for triple in triples(word) {
            *self.triples.entry(triple).or_default() += 1;
            *self.pairs.entry([triple[0], triple[1]]).or_default() += 1;
        }
    }

    /// `−ln p` of the least likely letter of `word` after the two before it. A word that was
    /// `added` does not vouch for itself.
    pub(super) fn surprise(&self, word: &str, added: bool) -> f32 {
        let own = u32::from(added);
        let count = |found: Option<&u32>| found.copied().unwrap_or(0).saturating_sub(own) as f32;
        let surprises = triples(word).map(|triple| {
            let after_these = count(self.pairs.get(&[triple[0], triple[1]]));
            let this = count(self.triples.get(&triple));
            ((after_these + SMOOTHING * LETTERS) / (this + SMOOTHING)).ln()
        });
        surprises.fold(0.0, f32::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_never_follow_each_other_surprise() {
        let mut spelling = Spelling::default();
        for start in ["b", "f", "h", "m", "r", "s", "t", "w"] {
            for end in ["at", "all", "ack", "and", "ang", "ash"] {
                spelling.add(&format!("{start}{end}"));
            }
        }
        let usual = spelling.surprise("Bat", false);
        assert!(spelling.surprise("bqx", false) > usual + 0.5);
        spelling.add("bqx");
        assert!(spelling.surprise("bqx", true) > usual + 0.5);
        assert!(spelling.surprise("", false).is_finite());
    }
}
