//! Counts by hash, ready to be asked: sorted, with a directory over the leading bits.

use crate::text::ngram_counts::Entry;

/// Entries per slot of the directory, about.
const PER_SLOT: usize = 4;

/// Counts by hash. A look-up touches the directory and a few neighbouring entries.
#[derive(Debug, Default)]
pub(super) struct Table {
    keys: Vec<u64>,
    counts: Vec<u32>,
    /// Where the keys with each leading bits begin.
    starts: Vec<u32>,
    /// Bits that are not leading.
    shift: u32,
}

impl Table {
    /// The `entries` (ascending) that `wanted` takes.
    pub(super) fn new(
        entries: impl IntoIterator<Item = Entry>,
        wanted: impl Fn(u32) -> bool,
    ) -> Self {
        let wanted = entries.into_iter().filter(|entry| wanted(entry.count));
        let (keys, counts): (Vec<u64>, Vec<u32>) =
            wanted.map(|entry| (entry.ngram, entry.count)).unzip();
        let bits = (keys.len() / PER_SLOT).max(1).ilog2();
        // A shift by all 64 bits is none.
        let shift = (64 - bits).min(63);
        let n_slots = 1_usize << (64 - shift);
        let mut starts = Vec::with_capacity(n_slots + 1);
        let mut at = 0;
        for slot in 0..n_slots as u64 {
            starts.push(at as u32);
            while keys.get(at).is_some_and(|key| key >> shift == slot) {
                at += 1;
            }
        }
        starts.push(at as u32);
        Self {
            keys,
            counts,
            starts,
            shift,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Position of `key`.
    pub(super) fn find(&self, key: u64) -> Option<usize> {
        let slot = (key >> self.shift) as usize;
        let range = *self.starts.get(slot)? as usize..*self.starts.get(slot + 1)? as usize;
        let found = self.keys[range.clone()].binary_search(&key).ok()?;
        Some(range.start + found)
    }

    /// Count of `key`, 0 where there is none.
    pub(super) fn count(&self, key: u64) -> u32 {
        self.find(key).map_or(0, |at| self.counts[at])
    }

    /// Count at a position that [`Self::find`] gave.
    pub(super) fn count_at(&self, at: usize) -> u32 {
        self.counts[at]
    }

    pub(super) fn counts(&self) -> &[u32] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wanted_entry_is_found_and_no_other() {
        let key = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for n in [0, 1, 2, 3, 1_000] {
            let mut entries: Vec<Entry> = (0..n)
                .map(|at| Entry {
                    ngram: key(at),
                    class: 0,
                    count: at as u32,
                })
                .collect();
            entries.sort_unstable_by_key(|entry| entry.ngram);
            let table = Table::new(entries, |count| count % 2 == 1);
            for at in 0..n + 2 {
                let expected = if at % 2 == 1 && at < n { at as u32 } else { 0 };
                assert_eq!(table.count(key(at)), expected, "{at} of {n}");
            }
        }
    }
}
