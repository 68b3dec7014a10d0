//! Whether a group of prompts is like a random sample of all prompts, or has a topic.

use lazaretto_features::hash_word;

use super::words::Words;
use crate::text::ngram_counts::{Entry, ngram_hash};

/// Share of the prompts with a word, from which on and up to which it is common.
const COMMON: std::ops::RangeInclusive<f64> = 0.02..=0.6;
/// Common words that are looked at, at most.
const MAX_COMMON: usize = 256;
/// What chance adds to the effect in a group of `n`, as a multiple of `1 / n`: 99 % of random groups of
/// real instructions have less than 0.2 to 0.45.
const CHANCE: f64 = 0.5;
/// Effect of a group that is of no task, though perhaps of one source: prompts of one task have 0.15 to 1.
pub(super) const NO_TASK: f64 = 0.1;
/// Effect of a group that has no topic: prompts of one source have 0.02 to 0.09.
pub(super) const NO_TOPIC: f64 = 0.05;
/// Effect of a group that is of all sources.
pub(super) const NO_SOURCE: f64 = 0.015;

/// Least number of common words that a group of prompts has, as a share of what others have.
const LEAST_COMMON: f64 = 0.5;

/// Words of prompts that are neither rare nor everywhere.
#[derive(Debug)]
pub(super) struct CommonWords {
    seed: u64,
    /// Keyed hashes, ascending.
    words: Vec<u64>,
    /// Prompts with each.
    counts: Vec<u32>,
    n_prompts: u64,
}

impl CommonWords {
    /// Of all `words` (keyed, ascending) the common ones; a keyed choice when there are many.
    pub(super) fn new(words: &[Entry], n_prompts: u64, seed: u64) -> Self {
        let share = |count: u32| f64::from(count) / n_prompts.max(1) as f64;
        let common = words.iter().filter(|e| COMMON.contains(&share(e.count)));
        let mut common: Vec<Entry> = common.copied().collect();
        common.sort_unstable_by_key(|entry| ngram_hash(&[entry.ngram, seed], seed));
        common.truncate(MAX_COMMON);
        common.sort_unstable_by_key(|entry| entry.ngram);
        Self {
            seed,
            words: common.iter().map(|entry| entry.ngram).collect(),
            counts: common.iter().map(|entry| entry.count).collect(),
            n_prompts,
        }
    }

    fn find(&self, word: u64) -> Option<usize> {
        let keyed = ngram_hash(&[word], self.seed);
        self.words.binary_search(&keyed).ok()
    }

    /// Numbers of the common words in `prompt`, ascending.
    pub(super) fn of(&self, prompt: &Words) -> Vec<u8> {
        let words = prompt.words().filter_map(|word| self.find(word));
        let mut words: Vec<u8> = words.filter_map(|at| u8::try_from(at).ok()).collect();
        words.sort_unstable();
        words.dedup();
        words
    }

    /// Numbers of the common words in `written`.
    pub(super) fn of_written(&self, written: &str) -> Vec<usize> {
        let words = written.split(|c: char| !c.is_alphanumeric() && c != '\'');
        words
            .filter_map(|word| self.find(hash_word(word).max(1)))
            .collect()
    }

    /// How far prompts with these common words are from a random sample of all prompts: the mean over
    /// the words but `own` of the squared effect `((c − nq)² / nq(1 − q) − 1) / n`, for a word that
    /// `c` of the `n` prompts have and a share `q` of all. Infinite where they have hardly half as many
    /// of these words as others: they are in a language, or of a form, of their own.
    pub(super) fn unevenness<'a>(
        &self,
        prompts: impl Iterator<Item = &'a [u8]>,
        own: &[usize],
    ) -> f64 {
        let mut counts = vec![0_u32; self.words.len()];
        let mut n = 0.0;
        for words in prompts {
            n += 1.0;
            for &word in words {
                counts[usize::from(word)] += 1;
            }
        }
        let (mut sum, mut n_words, mut seen, mut expected) = (0.0, 0, 0.0, 0.0);
        for (word, (&all, &count)) in self.counts.iter().zip(&counts).enumerate() {
            if own.contains(&word) || n == 0.0 {
                continue;
            }
            let share = f64::from(all) / self.n_prompts.max(1) as f64;
            let square = (f64::from(count) - n * share).powi(2) / (n * share * (1.0 - share));
            sum += (square - 1.0) / n;
            n_words += 1;
            seen += f64::from(count);
            expected += n * share;
        }
        if seen < LEAST_COMMON * expected {
            f64::INFINITY
        } else {
            sum / f64::from(n_words.max(1))
        }
    }
}

/// Largest unevenness of `n` prompts whose effect is at most `effect`.
pub(super) fn allowed(n: usize, effect: f64) -> f64 {
    CHANCE / n.max(1) as f64 + effect
}
