//! What the fit pass counts: n-grams by class, and what stands at the edges of texts.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::foreign::{END, START};
use super::record::Words;
use crate::text::ngram_counts::{Entry, NgramCounts, ngram_hash};

/// State of the fit pass: records by n-gram and class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhraseCounts {
    /// Words and pairs.
    pub(super) short: NgramCounts,
    /// Longer n-grams.
    long: NgramCounts,
    /// Pairs of the start or the end of a text and a word, as class 0.
    borders: NgramCounts,
    /// Parts of words.
    parts: NgramCounts,
    /// Sum of the distinct words of all records.
    pub(super) n_words: u64,
}

/// Scratch memory of [`PhraseCounts::add`].
#[derive(Default)]
pub(super) struct Scratch {
    ngrams: Vec<u64>,
}

impl Scratch {
    /// Distinct n-grams of `lengths` words, ascending.
    fn distinct(&mut self, words: &[u64], lengths: RangeInclusive<usize>, seed: u64) -> &[u64] {
        self.ngrams.clear();
        for length in lengths {
            let grams = words.windows(length).map(|gram| ngram_hash(gram, seed));
            self.ngrams.extend(grams);
        }
        self.ngrams.sort_unstable();
        self.ngrams.dedup();
        &self.ngrams
    }
}

impl PhraseCounts {
    /// Counts the n-grams of up to `max_words` words of a record of `class`.
    pub(super) fn add(
        &mut self,
        class: u32,
        words: &Words,
        max_words: usize,
        seed: u64,
        max_bytes: usize,
        scratch: &mut Scratch,
    ) {
        let hashes = &words.hashes;
        self.n_words += scratch.distinct(hashes, 1..=1, seed).len() as u64;
        let short = scratch.distinct(hashes, 1..=max_words.min(2), seed);
        self.short.add(class, short, max_bytes / 2);
        if max_words > 2 {
            let long = scratch.distinct(hashes, 3..=max_words, seed);
            self.long.add(class, long, max_bytes / 4);
        }
        scratch.ngrams.clear();
        for (at, &word) in hashes.iter().enumerate() {
            if words.starts_field(at) {
                scratch.ngrams.push(ngram_hash(&[START, word], seed));
            }
            if words.starts_field(at + 1) {
                scratch.ngrams.push(ngram_hash(&[word, END], seed));
            }
        }
        scratch.ngrams.sort_unstable();
        scratch.ngrams.dedup();
        self.borders.add(0, &scratch.ngrams, max_bytes / 8);
        scratch.ngrams.clear();
        let parts = words.parts().iter().map(|(_, part)| part.hash(seed));
        scratch.ngrams.extend(parts);
        scratch.ngrams.sort_unstable();
        scratch.ngrams.dedup();
        self.parts.add(class, &scratch.ngrams, max_bytes / 8);
    }

    /// Adds the counts of a later partition.
    pub(super) fn merge(&mut self, later: Self, max_bytes: usize) {
        self.short.merge(later.short, max_bytes / 2);
        self.long.merge(later.long, max_bytes / 4);
        self.borders.merge(later.borders, max_bytes / 8);
        self.parts.merge(later.parts, max_bytes / 8);
        self.n_words += later.n_words;
    }

    /// Entries of words and pairs, of longer n-grams, of borders, and of parts of words, each ascending.
    pub(super) fn into_entries(self) -> [Vec<Entry>; 4] {
        [self.short, self.long, self.borders, self.parts].map(NgramCounts::into_entries)
    }
}
