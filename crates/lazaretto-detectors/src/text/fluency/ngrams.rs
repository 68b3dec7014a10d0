//! Which words follow which, and what a text gains without one of them.

use std::collections::HashMap;

use lazaretto_core::Batch;
use serde::{Deserialize, Serialize};

use super::spelling::Spelling;
use crate::text::text_sample::Sampled;

/// Weight of the surprise at the spelling beside the gain in context. Of the weights 0, ½ and 1,
/// ½ ranked inserted words best.
const SPELLING: f32 = 0.5;

/// The words of one text, all fields one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    pub(super) hashes: Vec<u64>,
    written: String,
    /// Where each word ends in `written`.
    ends: Vec<u32>,
}

impl Words {
    /// Reads the first `limit` words of record `row_idx`.
    pub(super) fn read(&mut self, batch: &Batch<'_>, row_idx: usize, limit: usize) {
        self.hashes.clear();
        self.written.clear();
        self.ends.clear();
        for (field, tokens) in batch.texts.iter().zip(&batch.derived.tokens) {
            let text = field.get(row_idx).unwrap_or_default();
            let words = tokens.row(row_idx).iter().zip(tokens.row_spans(row_idx));
            for (&hash, &(start, end)) in words.take(limit - self.hashes.len()) {
                let word = text.get(start as usize..end as usize).unwrap_or_default();
                self.push(hash, word);
            }
        }
    }

    fn push(&mut self, hash: u64, word: &str) {
        self.hashes.push(hash);
        self.written.push_str(word);
        self.ends.push(self.written.len() as u32);
    }

    fn word(&self, idx: usize) -> &str {
        let start = idx.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.written[start as usize..self.ends[idx] as usize]
    }
}

/// Counts of words and of pairs of neighbours.
#[derive(Debug)]
pub struct Bigrams {
    words: HashMap<u64, u32>,
    pairs: HashMap<u64, u32>,
    spelling: Spelling,
    n_words: f32,
    smoothing: f32,
    /// Key and ordinal of the last text that was learned from.
    last: Option<(u64, u64)>,
}

fn pair(left: u64, right: u64) -> u64 {
    (left.rotate_left(23) ^ right).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Bigrams {
    /// Counts the words of `texts`, which are in key order.
    pub(super) fn learn(texts: &[Sampled<Words>], smoothing: f32) -> Self {
        let mut bigrams = Self {
            words: HashMap::new(),
            pairs: HashMap::new(),
            spelling: Spelling::default(),
            n_words: 0.0,
            smoothing,
            last: texts.last().map(Sampled::place),
        };
        let mut n_words = 0_u64;
        for words in texts.iter().map(|text| &text.content) {
            n_words += words.hashes.len() as u64;
            for (idx, &word) in words.hashes.iter().enumerate() {
                let known = bigrams.words.entry(word).or_default();
                if *known == 0 {
                    bigrams.spelling.add(words.word(idx));
                }
                *known += 1;
            }
            for two in words.hashes.windows(2) {
                *bigrams.pairs.entry(pair(two[0], two[1])).or_default() += 1;
            }
        }
        bigrams.n_words = n_words as f32;
        bigrams
    }

    /// Whether the record was learned from.
    pub(super) fn knows(&self, key: u64, ordinal: u64) -> bool {
        self.last.is_some_and(|last| (key, ordinal) <= last)
    }

    /// The largest gain from taking one word out of the text, in nats, with a share of the surprise
    /// at its spelling; 0 where there is no inner word and NaN without words. The counts hold the first `learned` words of the text itself,
    /// which are taken out; `own` is room for them.
    pub(super) fn largest_gain(&self, words: &Words, learned: usize, own: &mut Vec<u64>) -> f32 {
        let hashes = &words.hashes;
        if hashes.is_empty() {
            return f32::NAN;
        }
        own.clear();
        own.extend(&hashes[..learned]);
        own.extend(hashes[..learned].windows(2).map(|two| pair(two[0], two[1])));
        own.sort_unstable();
        let gain = |(before, three): (usize, &[u64])| {
            let known = self.words.contains_key(&three[1]);
            self.association(three[0], three[2], own)
                - self.association(three[0], three[1], own)
                - self.association(three[1], three[2], own)
                + SPELLING * self.spelling.surprise(words.word(before + 1), known)
        };
        let gains = hashes.windows(3).enumerate().map(gain);
        gains.reduce(f32::max).unwrap_or(0.0)
    }

    /// `ln p(right | left) / p(right)`, smoothed towards 0.
    fn association(&self, left: u64, right: u64, own: &[u64]) -> f32 {
        let count = |counts: &HashMap<u64, u32>, item: u64| {
            let all = counts.get(&item).copied().unwrap_or(0);
            let start = own.partition_point(|&other| other < item);
            let of_text = own[start..].iter().take_while(|&&other| other == item);
            all.saturating_sub(of_text.count() as u32) as f32
        };
        let together = count(&self.pairs, pair(left, right));
        let by_chance =
            count(&self.words, left) * count(&self.words, right) / self.n_words.max(1.0);
        ((together + self.smoothing) / (by_chance + self.smoothing)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        let mut words = Words::default();
        for word in text.split_whitespace() {
            words.push(lazaretto_features::hash_word(word), word);
        }
        words
    }

    fn learn(texts: &[String]) -> Bigrams {
        let numbered = texts.iter().zip(0..);
        let texts: Vec<_> = numbered
            .map(|(text, key)| Sampled::new(key, key, words(text)))
            .collect();
        Bigrams::learn(&texts, 1.0)
    }

    #[test]
    fn a_word_between_words_that_belong_together_is_a_gain() {
        let nouns = ["films", "books", "songs", "plays", "jokes", "shows"];
        let texts: Vec<String> = (0..300)
            .map(|i| format!("one of the best {} here", nouns[i % 6]))
            .collect();
        let model = learn(&texts);
        let gain = |text: &str| model.largest_gain(&words(text), 0, &mut Vec::new());
        assert!(gain("one of bt the best films here") > gain("one of the best films here") + 2.0);
        assert!(gain("one of").abs() < f32::EPSILON);
        assert!(gain("").is_nan());
    }

    #[test]
    fn a_text_does_not_vouch_for_itself() {
        let model = learn(&["ab cd ef".to_owned(), "gh ij kl".to_owned()]);
        let text = words("ab cd ef");
        let inside = model.largest_gain(&text, 3, &mut Vec::new());
        let as_stranger = model.largest_gain(&text, 0, &mut Vec::new());
        assert!(inside > as_stranger);
        assert!(model.knows(0, 0) && !model.knows(1, 2));
    }
}
