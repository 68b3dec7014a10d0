//! Bounded counts of hashed things: a count-min sketch (Cormode & Muthukrishnan 2005) whose
//! merge is exact, because saturating sums are associative.

use serde::{Deserialize, Serialize};

/// Rows of the sketch; a count is the least of them.
const ROWS: usize = 2;
/// Fewest slots of a row, as a power of two.
const LEAST_LOG2: u32 = 10;

/// How often each hash was added, never too low below 65,535.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Counts {
    slots_log2: u32,
    /// Hashes that are not in the table yet: small partitions never need one.
    pending: Vec<u64>,
    /// `ROWS` times the slots, or empty.
    table: Vec<u16>,
}

impl Counts {
    /// Counts of about `expected` distinct hashes in at most `max_bytes`.
    pub(super) fn new(expected: u64, max_bytes: usize) -> Self {
        let most = (max_bytes / (ROWS * size_of::<u16>())).max(1).ilog2();
        let wanted = expected.max(1).next_power_of_two().ilog2();
        Self {
            slots_log2: wanted.min(most).max(LEAST_LOG2),
            ..Self::default()
        }
    }

    fn slots(&self) -> usize {
        1 << self.slots_log2
    }

    /// The slot of `hash` in each row.
    fn places(&self, hash: u64) -> [usize; ROWS] {
        let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let second = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let shift = 64 - self.slots_log2;
        [
            (mixed >> shift) as usize,
            self.slots() + (second >> shift) as usize,
        ]
    }

    /// Adds the distinct `hashes` of one record.
    pub(super) fn add(&mut self, hashes: &[u64]) {
        self.pending.extend_from_slice(hashes);
        // A hash that waits takes as much as two slots of both rows.
        if self.pending.len() >= self.slots() / 4 {
            self.settle();
        }
    }

    /// Adds the counts of a later partition.
    pub(super) fn merge(&mut self, later: Self) {
        self.add(&later.pending);
        if later.table.is_empty() {
            return;
        }
        if self.table.is_empty() {
            self.table = later.table;
        } else {
            for (count, more) in self.table.iter_mut().zip(later.table) {
                *count = count.saturating_add(more);
            }
        }
    }

    /// Makes all that was added visible to [`Counts::of`].
    pub(super) fn settle(&mut self) {
        if self.table.is_empty() {
            self.table = vec![0; ROWS * self.slots()];
        }
        for hash in std::mem::take(&mut self.pending) {
            for place in self.places(hash) {
                self.table[place] = self.table[place].saturating_add(1);
            }
        }
    }

    /// How often `hash` was added, or more. Needs [`Counts::settle`].
    pub(super) fn of(&self, hash: u64) -> u32 {
        let count = |place: usize| u32::from(self.table.get(place).copied().unwrap_or(0));
        let [first, second] = self.places(hash);
        match count(first) {
            0 => 0,
            least => least.min(count(second)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_do_not_matter_and_counts_are_never_too_low() {
        let hashes: Vec<u64> = (0..4_000_u64)
            .map(|i| xxhash_rust::xxh3::xxh3_64(&(i % 700).to_le_bytes()))
            .collect();
        let fill = |hashes: &[u64]| {
            let mut counts = Counts::new(2_000, 1 << 20);
            hashes.chunks(7).for_each(|record| counts.add(record));
            counts
        };
        let mut whole = fill(&hashes);
        let mut left = fill(&hashes[..50]);
        left.merge(fill(&hashes[50..3_000]));
        left.merge(fill(&hashes[3_000..]));
        whole.settle();
        left.settle();
        assert_eq!(left.table, whole.table);
        let exact = |hash: u64| hashes.iter().filter(|&&h| h == hash).count() as u32;
        assert!(hashes.iter().all(|&hash| whole.of(hash) >= exact(hash)));
        let right = hashes[..700]
            .iter()
            .filter(|&&hash| whole.of(hash) == exact(hash));
        assert!(right.count() > 600);
    }

    #[test]
    fn memory_is_bounded() {
        let counts = Counts::new(u64::MAX / 4, 1 << 16);
        assert_eq!(counts.slots() * ROWS * 2, 1 << 16);
    }
}
