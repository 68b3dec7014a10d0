//! What the score pass gathers about each item, in bounded memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::{DIM, Steps};
use super::document::{Found, Kind, distinct};

/// Bytes of an item, but for its records.
const ITEM_BYTES: usize = 4 * DIM + 400;
/// Characters of an item that are kept.
const WRITTEN: usize = 200;
/// Words of an item that are kept.
const WORDS: usize = 64;

/// An item with the records that have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// Sum of the vectors of its contexts.
    pub(super) sums: Vec<i32>,
    /// Records with a context, ascending.
    pub(super) records: Vec<u64>,
    /// Records that are hardly more than the item, ascending.
    pub(super) bare: Vec<u64>,
    /// Its distinct words.
    pub(super) words: Vec<u64>,
    /// As it is written in the first of its records.
    pub(super) written: String,
}

impl Item {
    fn n_records(&self) -> usize {
        self.records.len() + self.bare.len()
    }
}

/// Evidence of the score pass. When the items outgrow their memory, those with every other hash
/// are dropped, again and again: which ones are left depends on what there is, not on its order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gathered {
    /// Only hashes with so many trailing zeros are kept.
    level: u32,
    pub(super) items: BTreeMap<u64, Item>,
    bytes: usize,
    max_bytes: usize,
    /// Sum of the vectors of a sample of all records.
    pub(super) sums: Vec<i64>,
    pub(super) n_summed: u64,
    /// Vectors of a smaller sample.
    pub(super) sample: Vec<Vec<i16>>,
}

impl Gathered {
    /// Nothing yet, to be kept in about `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            ..Self::default()
        }
    }

    /// Whether the item with this hash may be kept.
    pub(super) fn admits(&self, hash: u64) -> bool {
        hash.trailing_zeros() >= self.level
    }

    /// Adds an item that record `ordinal` has in the context `vector`, or without context.
    /// `described` tells its words and how it is written.
    pub(super) fn add(
        &mut self,
        found: &Found,
        vector: Option<&Steps>,
        ordinal: u64,
        described: impl FnOnce() -> (Vec<u64>, String),
    ) {
        let item = self.items.entry(found.hash).or_insert_with(|| {
            self.bytes += ITEM_BYTES;
            let (words, written) = described();
            let mut words = distinct(words);
            words.truncate(WORDS);
            Item {
                kind: found.kind,
                sums: vec![0; DIM],
                records: Vec::new(),
                bare: Vec::new(),
                words,
                written: written.chars().take(WRITTEN).collect(),
            }
        });
        if let Some(vector) = vector {
            for (sum, &value) in item.sums.iter_mut().zip(vector) {
                *sum += i32::from(value);
            }
            item.records.push(ordinal);
        } else {
            item.bare.push(ordinal);
        }
        self.bytes += size_of::<u64>();
        self.fit_into_memory();
    }

    /// Adds the vector of a record of the sample.
    pub(super) fn add_record(&mut self, vector: &Steps, keep: bool) {
        self.sums.resize(DIM, 0);
        for (sum, &value) in self.sums.iter_mut().zip(vector) {
            *sum += i64::from(value);
        }
        self.n_summed += 1;
        if keep {
            self.sample.push(vector.to_vec());
        }
    }

    /// Adds the evidence of a later partition.
    pub(super) fn merge(&mut self, later: Self) {
        self.level = self.level.max(later.level);
        self.keep_level();
        for (hash, item) in later.items {
            if !self.admits(hash) {
                continue;
            }
            self.bytes += item.n_records() * size_of::<u64>();
            match self.items.entry(hash) {
                std::collections::btree_map::Entry::Vacant(entry) => {
                    self.bytes += ITEM_BYTES;
                    entry.insert(item);
                }
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    let known = entry.get_mut();
                    for (sum, more) in known.sums.iter_mut().zip(item.sums) {
                        *sum += more;
                    }
                    known.records.extend(item.records);
                    known.bare.extend(item.bare);
                }
            }
        }
        self.sums.resize(self.sums.len().max(later.sums.len()), 0);
        for (sum, more) in self.sums.iter_mut().zip(later.sums) {
            *sum += more;
        }
        self.n_summed += later.n_summed;
        self.sample.extend(later.sample);
        self.fit_into_memory();
    }

    fn keep_level(&mut self) {
        let level = self.level;
        self.items.retain(|hash, _| hash.trailing_zeros() >= level);
        let records: usize = self.items.values().map(Item::n_records).sum();
        self.bytes = self.items.len() * ITEM_BYTES + records * size_of::<u64>();
    }

    fn fit_into_memory(&mut self) {
        while self.bytes > self.max_bytes && self.level < 63 {
            self.level += 1;
            self.keep_level();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(gathered: &mut Gathered, ordinals: std::ops::Range<u64>) {
        for ordinal in ordinals {
            for nth in 0..3_u64 {
                let hash = (ordinal * 3 + nth) % 101;
                let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 3;
                let found = Found::of_name(hash, 0);
                if gathered.admits(hash) {
                    let vector = (nth < 2).then_some(&[1; DIM]);
                    gathered.add(&found, vector, ordinal, || (vec![hash], "x".to_owned()));
                }
            }
        }
    }

    #[test]
    fn short_of_memory_the_same_items_are_left_on_any_partitioning() {
        let mut whole = Gathered::new(40_000);
        fill(&mut whole, 0..900);
        let (mut left, mut right) = (Gathered::new(40_000), Gathered::new(40_000));
        fill(&mut left, 0..20);
        fill(&mut right, 20..900);
        left.merge(right);
        assert_eq!(left, whole);
        assert!(whole.level > 0 && whole.bytes <= 40_000);
        assert!(whole.items.len() > 8);
        for item in whole.items.values() {
            assert_eq!(item.sums[0] as usize, item.records.len());
            assert!(item.bare.len() >= 2);
        }
    }
}
