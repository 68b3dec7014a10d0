//! A bounded sample of records by keyed hash.
//!
//! Of all records, those with the smallest keys win (a bottom-k sample), ties by ordinal. Which
//! ones these are depends on the set of records alone, so partial samples merge exactly, and on
//! any partitioning. The sample is also bounded in bytes: it is the longest prefix in key order
//! that fits both bounds, and a prefix of a part is never shorter than its share of the prefix of
//! the whole, so that bound merges exactly too. Records of one dataset can differ in size without
//! bias, because keys know nothing of sizes.

use serde::{Deserialize, Serialize};

/// A record of the sample with what is kept of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sampled<T> {
    pub(crate) key: u64,
    pub(crate) ordinal: u64,
    bytes: u32,
    pub(crate) row: T,
}

/// A bottom-k sample under construction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyedSample<T> {
    max_rows: usize,
    max_bytes: u64,
    rows: Vec<Sampled<T>>,
    bytes: u64,
    /// The first (key, ordinal) known to be outside.
    bound: Option<(u64, u64)>,
}

impl<T> KeyedSample<T> {
    /// An empty sample of at most `max_rows` records and `max_bytes` bytes, but at least one
    /// record.
    pub(crate) fn new(max_rows: usize, max_bytes: u64) -> Self {
        Self {
            max_rows: max_rows.max(1),
            max_bytes,
            rows: Vec::new(),
            bytes: 0,
            bound: None,
        }
    }

    /// Whether the record could still be part of the sample.
    pub(crate) fn admits(&self, key: u64, ordinal: u64) -> bool {
        self.bound.is_none_or(|bound| (key, ordinal) < bound)
    }

    /// Adds a record that takes `bytes` bytes.
    pub(crate) fn push(&mut self, key: u64, ordinal: u64, bytes: usize, row: T) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes += u64::from(bytes);
        self.rows.push(Sampled {
            key,
            ordinal,
            bytes,
            row,
        });
        if self.rows.len() >= 2 * self.max_rows || self.bytes > 2 * self.max_bytes {
            self.prune();
        }
    }

    /// Adds the records of another part of the dataset.
    pub(crate) fn merge(&mut self, later: Self) {
        self.bytes += later.bytes;
        self.rows.extend(later.rows);
        self.bound = match (self.bound, later.bound) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.prune();
    }

    /// The records in key order: any prefix of it is a smaller sample.
    pub(crate) fn into_rows(mut self) -> Vec<Sampled<T>> {
        self.prune();
        self.rows
    }

    fn prune(&mut self) {
        self.rows.sort_unstable_by_key(|row| (row.key, row.ordinal));
        let mut bytes = 0;
        let mut length = 0;
        for row in self.rows.iter().take(self.max_rows) {
            let outside = self
                .bound
                .is_some_and(|bound| (row.key, row.ordinal) >= bound);
            if outside || (length > 0 && bytes + u64::from(row.bytes) > self.max_bytes) {
                break;
            }
            bytes += u64::from(row.bytes);
            length += 1;
        }
        if let Some(first_out) = self.rows.get(length) {
            let first_out = (first_out.key, first_out.ordinal);
            self.bound = Some(self.bound.map_or(first_out, |bound| bound.min(first_out)));
        }
        self.rows.truncate(length);
        self.bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(records: &[(u64, usize)], offset: usize, rows: usize, bytes: u64) -> KeyedSample<()> {
        let mut sample = KeyedSample::new(rows, bytes);
        for (idx, &(key, size)) in records.iter().enumerate() {
            let ordinal = (offset + idx) as u64;
            if sample.admits(key, ordinal) {
                sample.push(key, ordinal, size, ());
            }
        }
        sample
    }

    fn ordinals(sample: KeyedSample<()>) -> Vec<u64> {
        let rows = sample.into_rows();
        rows.iter().map(|row| row.ordinal).collect()
    }

    proptest! {
        #[test]
        fn partitions_do_not_matter(
            records in prop::collection::vec((0_u64..50, 1_usize..40), 1..200),
            cuts in prop::collection::vec(0_usize..200, 2),
            rows in 1_usize..60,
            bytes in 1_u64..900,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(records.len())).collect();
            cuts.sort_unstable();
            let mut merged = sample(&records[..cuts[0]], 0, rows, bytes);
            merged.merge(sample(&records[cuts[0]..cuts[1]], cuts[0], rows, bytes));
            merged.merge(sample(&records[cuts[1]..], cuts[1], rows, bytes));
            let whole = ordinals(sample(&records, 0, rows, bytes));

            // Independent of our pruning: the definition.
            let mut order: Vec<usize> = (0..records.len()).collect();
            order.sort_by_key(|&idx| (records[idx].0, idx));
            let mut total = 0;
            let expected: Vec<u64> = order
                .into_iter()
                .enumerate()
                .take(rows)
                .take_while(|&(position, idx)| {
                    total += records[idx].1 as u64;
                    position == 0 || total <= bytes
                })
                .map(|(_, idx)| idx as u64)
                .collect();
            prop_assert_eq!(&whole, &expected);
            prop_assert_eq!(ordinals(merged), expected);
        }
    }
}
