//! Exact counts of n-grams by class, in sorted runs that merge, for all detectors of phrases.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Occurrences that are collected before they are counted into the sorted run.
const BUFFERED: usize = 1 << 18;

/// Longest n-gram, in words.
pub(crate) const MAX_WORDS: usize = 5;

/// Bytes of one entry in memory.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// Records of one class that contain one n-gram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) ngram: u64,
    pub(crate) class: u32,
    pub(crate) count: u32,
}

impl Entry {
    fn key(&self) -> (u64, u32) {
        (self.ngram, self.class)
    }
}

/// Records that contain an n-gram, by n-gram and class. Equal counts have equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct NgramCounts {
    /// Ascending by n-gram and class, each pair once.
    entries: Vec<Entry>,
    /// Occurrences that are not in `entries` yet.
    buffer: Vec<(u64, u32)>,
    /// n-grams found in at most so many records may be missing, because memory was short.
    lost: u32,
}

impl NgramCounts {
    /// Counts one record of `class` with the distinct `ngrams`.
    pub(crate) fn add(&mut self, class: u32, ngrams: &[u64], max_bytes: usize) {
        self.buffer
            .extend(ngrams.iter().map(|&ngram| (ngram, class)));
        // A run that grows waits for more occurrences, or merging it would cost its length each time.
        if self.buffer.len() >= BUFFERED.max(self.entries.len() / 2) {
            self.settle();
            self.fit_into(max_bytes);
        }
    }

    /// Adds the counts of a later partition.
    pub(crate) fn merge(&mut self, mut later: Self, max_bytes: usize) {
        self.settle();
        later.settle();
        self.entries = merged(&self.entries, &later.entries);
        // What one side lost it may have lost once for every partition.
        self.lost = self.lost.saturating_add(later.lost);
        self.fit_into(max_bytes);
    }

    /// All entries, ascending.
    pub(crate) fn into_entries(mut self) -> Vec<Entry> {
        self.settle();
        self.entries
    }

    fn settle(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        self.buffer.sort_unstable();
        let mut counted: Vec<Entry> = Vec::new();
        for (ngram, class) in self.buffer.drain(..) {
            match counted.last_mut() {
                Some(last) if last.key() == (ngram, class) => last.count += 1,
                _ => counted.push(Entry {
                    ngram,
                    class,
                    count: 1,
                }),
            }
        }
        self.entries = merged(&self.entries, &counted);
    }

    /// Drops the rarest n-grams until the entries take at most `max_bytes` (lossy counting,
    /// Manku & Motwani 2002: the error is known).
    fn fit_into(&mut self, max_bytes: usize) {
        let mut floor = 1;
        while self.entries.len().saturating_mul(ENTRY_BYTES) > max_bytes {
            let mut kept = Vec::with_capacity(self.entries.len() / 2);
            for group in self.entries.chunk_by(|a, b| a.ngram == b.ngram) {
                if total(group) > floor {
                    kept.extend_from_slice(group);
                }
            }
            self.entries = kept;
            self.lost = self.lost.saturating_add(floor);
            floor = floor.saturating_mul(2);
        }
    }
}

/// Records that contain the n-gram of `group`, over all classes.
pub(crate) fn total(group: &[Entry]) -> u32 {
    group.iter().map(|entry| entry.count).sum()
}

fn merged(left: &[Entry], right: &[Entry]) -> Vec<Entry> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (left.get(i), right.get(j)) {
        match a.key().cmp(&b.key()) {
            Ordering::Less => {
                merged.push(*a);
                i += 1;
            }
            Ordering::Greater => {
                merged.push(*b);
                j += 1;
            }
            Ordering::Equal => {
                merged.push(Entry {
                    count: a.count.saturating_add(b.count),
                    ..*a
                });
                i += 1;
                j += 1;
            }
        }
    }
    merged.extend_from_slice(&left[i..]);
    merged.extend_from_slice(&right[j..]);
    merged
}

/// The hash of the n-gram `words`, keyed so that collisions cannot be prepared.
pub(crate) fn ngram_hash(words: &[u64], seed: u64) -> u64 {
    if let [word] = words {
        return word ^ seed;
    }
    let mut bytes = [0; 8 * MAX_WORDS];
    let mut length = 0;
    for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
        length += 8;
    }
    xxh3_64_with_seed(&bytes[..length], seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(records: &[(u32, &[u64])]) -> NgramCounts {
        let mut counts = NgramCounts::default();
        for (class, ngrams) in records {
            counts.add(*class, ngrams, usize::MAX);
        }
        counts
    }

    #[test]
    fn merging_is_counting_together() {
        let records: [(u32, &[u64]); 4] = [(0, &[5, 6]), (1, &[5]), (0, &[5, 9]), (1, &[6])];
        let mut left = counts(&records[..2]);
        left.merge(counts(&records[2..]), usize::MAX);
        assert_eq!(left.into_entries(), counts(&records).into_entries());
    }

    #[test]
    fn short_memory_drops_the_rarest_and_says_so() {
        let mut state = NgramCounts::default();
        for record in 0..100 {
            state.add(0, &[7, 1_000 + record], usize::MAX);
        }
        state.merge(NgramCounts::default(), 10 * ENTRY_BYTES);
        let lost = state.lost;
        let entries = state.into_entries();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].ngram, entries[0].count), (7, 100));
        assert_eq!(lost, 1);
    }
}
