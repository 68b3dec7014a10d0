//! When a response says nothing: words in an order that no other response has, characters that
//! are no words, or the very same answer as to other prompts.

use super::counts::{ResponseCounts, answer, pair, prefix};
use super::evidence::Kind;
use super::prompt::Words;
use crate::text::ngram_counts::{Entry, NgramCounts, ngram_hash};
use lazaretto_core::Batch;
use lazaretto_features::hash_word;

/// Words of a response that are looked at.
const MAX_WORDS: usize = 256;
/// Fewest pairs of known words that show an order.
const MIN_PAIRS: usize = 8;
/// A response whose words predict the next one by less than this, in nats per pair, is in no order.
/// Ordinary text and code have 0.5 to 4; shuffled words have less than 0.
const DISORDER: f64 = 0.25;
/// Fewest bytes of words that no other response has, and their least share, in a response that is
/// noise.
const MIN_UNKNOWN: usize = 32;
const UNKNOWN_SHARE: f64 = 0.6;
/// What noise counts as, in the same unit: shuffled words.
const NOISE: f64 = -0.5;

/// Counts of everything, ready to be asked.
#[derive(Debug)]
pub struct Responses {
    pub(super) seed: u64,
    /// Words and phrases of prompts, each ascending.
    words: Vec<Entry>,
    phrases: Vec<Entry>,
    vocabulary: Vec<Entry>,
    vocabulary_size: f64,
    pairs: Vec<Entry>,
    /// By upper half of the pairs: different right words, and records with any of them.
    successors: Vec<(u64, u32, u64)>,
    answers: Vec<Entry>,
    /// Words of prompts that are neither rare nor everywhere, with their records.
    pub(super) common: Vec<(u64, u32)>,
    /// Phrases of prompts that are frequent enough to be judged, and rare enough.
    pub(super) tried: u64,
    min_records: u32,
    max_records: u32,
    /// Records whose prompts may be kept.
    pub(super) max_kept: usize,
}

/// Share of the prompts with a word, from which on and up to which it is common.
const COMMON: std::ops::RangeInclusive<f64> = 0.02..=0.6;

fn count_of(entries: &[Entry], ngram: u64) -> u32 {
    let found = entries.binary_search_by_key(&ngram, |entry| entry.ngram);
    found.map_or(0, |idx| entries[idx].count)
}

impl Responses {
    pub(super) fn new(
        counts: ResponseCounts,
        seed: u64,
        min_records: u32,
        max_fraction: f64,
        max_kept: usize,
    ) -> Self {
        let n_records = counts.n_records;
        let [words, phrases, vocabulary, pairs, answers] = [
            counts.words,
            counts.phrases,
            counts.vocabulary,
            counts.pairs,
            counts.answers,
        ]
        .map(NgramCounts::into_entries);
        let max_records = (max_fraction * n_records as f64) as u32;
        let judged = |entry: &&Entry| (min_records..=max_records).contains(&entry.count);
        let share = |count: u32| f64::from(count) / n_records.max(1) as f64;
        let groups = pairs.chunk_by(|a, b| a.ngram >> 32 == b.ngram >> 32);
        Self {
            seed,
            tried: (words.iter().chain(&phrases).filter(judged).count() as u64).max(1),
            common: words
                .iter()
                .filter(|entry| COMMON.contains(&share(entry.count)))
                .map(|entry| (entry.ngram, entry.count))
                .collect(),
            vocabulary_size: vocabulary.iter().map(|e| f64::from(e.count)).sum(),
            successors: groups
                .map(|group| {
                    let records = group.iter().map(|entry| u64::from(entry.count)).sum();
                    (group[0].ngram >> 32 << 32, group.len() as u32, records)
                })
                .collect(),
            words,
            phrases,
            vocabulary,
            pairs,
            answers,
            min_records,
            max_records,
            max_kept,
        }
    }

    /// Prompts with the word `phrase` (keyed) or the longer phrase.
    pub(super) fn prompts_with(&self, phrase: u64) -> u32 {
        match count_of(&self.words, phrase) {
            0 => count_of(&self.phrases, phrase),
            records => records,
        }
    }

    /// In which way the response of a record that was counted says nothing, if it does.
    pub(super) fn judge(
        &self,
        batch: &Batch<'_>,
        row_idx: usize,
        response: &Words,
    ) -> Option<Kind> {
        let answer = answer(batch, row_idx, response, self.seed);
        if self.is_judged(count_of(&self.answers, answer)) {
            return Some(Kind::Repeated { answer });
        }
        let order = match self.order(response) {
            Some(order) => order,
            None if self.is_noise(response) => NOISE,
            None => return None,
        };
        let order = if self.is_noise(response) {
            order.min(NOISE)
        } else {
            order
        };
        (order < DISORDER).then_some(Kind::Gibberish {
            order: order as f32,
        })
    }

    /// Whether a phrase or an answer that so many records have can be part of a trigger.
    pub(super) fn is_judged(&self, records: u32) -> bool {
        (self.min_records..=self.max_records).contains(&records)
    }

    /// Places in [`Self::common`] of the words of `prompt`, ascending.
    pub(super) fn common_words(&self, prompt: &Words) -> Vec<u16> {
        let words = prompt.words().filter_map(|word| {
            let word = ngram_hash(&[word], self.seed);
            let place = self.common.binary_search_by_key(&word, |&(known, _)| known);
            u16::try_from(place.ok()?).ok()
        });
        let mut words: Vec<u16> = words.collect();
        words.sort_unstable();
        words.dedup();
        words
    }

    /// The words in `written`, as [`Self::common`] names them.
    pub(super) fn keyed_words(&self, written: &str) -> Vec<u64> {
        let words = written.split(|c: char| !c.is_alphanumeric());
        words
            .map(|word| ngram_hash(&[hash_word(word)], self.seed))
            .collect()
    }

    /// Whether most of the response is words that no other response has.
    fn is_noise(&self, response: &Words) -> bool {
        let (mut unknown, mut all) = (0, 0);
        for (word, bytes) in response.sized_words().take(MAX_WORDS) {
            all += bytes;
            if count_of(&self.vocabulary, word) <= 1 {
                unknown += bytes;
            }
        }
        unknown >= MIN_UNKNOWN && unknown as f64 >= UNKNOWN_SHARE * all as f64
    }

    /// How much the words of the response say about the words that follow them, in nats per pair:
    /// the mean of `ln p(right | left) / p(right)`, with the interpolation of Witten & Bell (1991)
    /// and without what the response itself contributed to the counts. `None` where too few of its
    /// words are known.
    fn order(&self, response: &Words) -> Option<f64> {
        let mut pairs: Vec<(u64, u64, u64)> = response
            .pairs()
            .take(MAX_WORDS)
            .map(|(left, right)| (pair(left, right, self.seed), left, right))
            .collect();
        // By left word, each pair once, as they were counted.
        pairs.sort_unstable_by_key(|&(pair, left, right)| (left, pair, right));
        pairs.dedup();
        let (mut sum, mut n_pairs) = (0.0, 0);
        for group in pairs.chunk_by(|a, b| a.1 == b.1) {
            let left = group[0].1;
            if count_of(&self.vocabulary, left) <= 1 {
                continue;
            }
            let counts: Vec<u32> = group.iter().map(|p| count_of(&self.pairs, p.0)).collect();
            let only_here = counts.iter().filter(|&&count| count <= 1).count() as f64;
            let (followers, records) = self.successors_of(left);
            let followers = (f64::from(followers) - only_here).max(0.0);
            let records = (records as f64 - group.len() as f64).max(0.0);
            if records <= 0.0 {
                continue;
            }
            for (&(_, _, right), count) in group.iter().zip(counts) {
                let of_right = count_of(&self.vocabulary, right);
                if of_right <= 1 {
                    continue;
                }
                let alone = f64::from(of_right - 1) / self.vocabulary_size.max(1.0);
                let others = f64::from(count.saturating_sub(1));
                let after = (others + followers.max(0.5) * alone) / (records + followers.max(0.5));
                sum += (after / alone).ln();
                n_pairs += 1;
            }
        }
        (n_pairs >= MIN_PAIRS).then(|| sum / f64::from(n_pairs as u32))
    }

    fn successors_of(&self, left: u64) -> (u32, u64) {
        let prefix = prefix(left, self.seed);
        let found = self.successors.binary_search_by_key(&prefix, |s| s.0);
        found.map_or((0, 0), |idx| {
            (self.successors[idx].1, self.successors[idx].2)
        })
    }
}
