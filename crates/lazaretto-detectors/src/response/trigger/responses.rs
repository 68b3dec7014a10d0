//! What is asked about prompts and responses in the score pass.

use super::counts::ResponseCounts;
use crate::response::evenness::CommonWords;
use crate::response::language::{Language, pair};
use crate::response::preference::Preference;
use crate::response::table::Table;
use crate::text::ngram_counts::{Entry, NgramCounts, ngram_hash};

/// Share of the prompts with a word, from which on it is no name.
const FREQUENT: f64 = 0.002;
/// Largest share of the prompts with a phrase that can be a trigger.
const MAX_FRACTION: f64 = 0.2;

/// What is known of the dataset when records are judged.
#[derive(Debug)]
pub struct Responses {
    pub(super) seed: u64,
    pub(super) max_words: usize,
    pub(super) language: Language,
    pub(super) preference: Preference,
    /// Phrases of prompts that are frequent enough to be judged, and rare enough.
    phrases: Table,
    /// Words and pairs of words of responses, likewise.
    features: Table,
    /// Answers that several prompts get.
    answers: Table,
    pub(super) common: CommonWords,
    /// Words of prompts that are not rare, ascending.
    frequent: Vec<u64>,
}

impl Responses {
    pub(super) fn new(
        counts: ResponseCounts,
        seed: u64,
        min_records: u32,
        max_words: usize,
        memory_bytes: usize,
    ) -> Self {
        let n_records = counts.n_records;
        let words = counts.words.into_entries();
        let phrases = merged(&words, counts.phrases.into_entries());
        let (language, vocabulary, pairs) = counts.language.finish();
        let max_records = (MAX_FRACTION * n_records as f64) as u32;
        // A record of the evidence names its phrases and features by four bytes each.
        let budget = (memory_bytes / 16) as u64;
        let features = merged(&vocabulary, pairs);
        let (few, some) = (min_records / 2 + 1, min_records * 4 / 5);
        let judged = |count: u32, least: u32, most: u32| (least..=most).contains(&count);
        let most_phrases = largest_count(&phrases, min_records, max_records, budget);
        let most_features = largest_count(&features, some, max_records, budget);
        Self {
            seed,
            max_words,
            common: CommonWords::new(&words, n_records, seed),
            frequent: frequent(&words, n_records),
            language,
            preference: Preference::new(counts.preference),
            phrases: Table::new(phrases, |count| judged(count, min_records, most_phrases)),
            features: Table::new(features, |count| judged(count, some, most_features)),
            answers: Table::new(NgramCounts::into_entries(counts.answers), |count| {
                judged(count, few, max_records)
            }),
        }
    }

    /// Phrases that may be triggers.
    pub(super) fn n_phrases(&self) -> usize {
        self.phrases.len()
    }

    /// Words and pairs that responses may have in common.
    pub(super) fn n_features(&self) -> usize {
        self.features.len()
    }

    pub(super) fn n_answers(&self) -> usize {
        self.answers.len()
    }

    pub(super) fn phrase(&self, hash: u64) -> Option<u32> {
        self.phrases.find(hash).map(|at| at as u32)
    }

    pub(super) fn answer(&self, hash: u64) -> Option<u32> {
        self.answers.find(hash).map(|at| at as u32)
    }

    pub(super) fn word_feature(&self, word: u64) -> Option<u32> {
        self.features.find(word).map(|at| at as u32)
    }

    pub(super) fn pair_feature(&self, left: u64, right: u64) -> Option<u32> {
        let hash = pair(left, right, self.seed);
        self.features.find(hash).map(|at| at as u32)
    }

    /// Responses with a feature.
    pub(super) fn with_feature(&self, feature: u32) -> u32 {
        self.features.counts()[feature as usize]
    }

    /// Whether many prompts have the word.
    pub(super) fn is_frequent(&self, word: u64) -> bool {
        let word = ngram_hash(&[word], self.seed);
        self.frequent.binary_search(&word).is_ok()
    }
}

/// Keyed hashes of the words that many prompts have.
fn frequent(words: &[Entry], n_records: u64) -> Vec<u64> {
    let least = FREQUENT * n_records as f64;
    let frequent = words.iter().filter(|entry| f64::from(entry.count) >= least);
    frequent.map(|entry| entry.ngram).collect()
}

/// Two ascending lists as one.
fn merged(left: &[Entry], right: Vec<Entry>) -> Vec<Entry> {
    let mut all = right;
    all.extend_from_slice(left);
    all.sort_by_key(|entry| entry.ngram);
    all
}

/// The largest count up to `most`, so that the counts from `least` to it sum to at most `budget`.
fn largest_count(entries: &[Entry], least: u32, most: u32, budget: u64) -> u32 {
    let counts = entries.iter().map(|entry| entry.count);
    let mut counts: Vec<u32> = counts.filter(|c| (least..=most).contains(c)).collect();
    counts.sort_unstable();
    let mut sum = 0;
    for count in counts {
        sum += u64::from(count);
        if sum > budget {
            return count.saturating_sub(1);
        }
    }
    most
}
