//! What the content of records says about their label when a group of near-copies is left out:
//! naive Bayes on hashed values, from which any group can be subtracted exactly.
//!
//! A cross-validated model does not do: the copies of a flood are in all its folds, so it has
//! learned from some copies what the others mean.

use serde::{Deserialize, Serialize};

/// Hash buckets for words and table values.
const BUCKETS: usize = 1 << 15;
/// Above this many classes the counts would be large and thin.
pub(super) const MAX_CLASSES: usize = 64;

/// Records by class and bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ContentCounts {
    /// `n_classes × BUCKETS`, empty until the first record.
    counts: Vec<u32>,
    /// Records by class.
    records: Vec<u32>,
}

/// The distinct buckets of `values`, ascending.
pub(super) fn buckets(values: impl Iterator<Item = u64>) -> Vec<u16> {
    let mut buckets: Vec<u16> = values
        .map(|value| (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49) as u16)
        .collect();
    buckets.sort_unstable();
    buckets.dedup();
    buckets
}

impl ContentCounts {
    pub(super) fn add(&mut self, n_classes: usize, class: u32, buckets: &[u16]) {
        let class = class as usize;
        if class >= n_classes || n_classes > MAX_CLASSES {
            return;
        }
        if self.counts.is_empty() {
            self.counts = vec![0; n_classes * BUCKETS];
            self.records = vec![0; n_classes];
        }
        self.records[class] += 1;
        for &bucket in buckets {
            self.counts[class * BUCKETS + usize::from(bucket)] += 1;
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        if self.counts.is_empty() {
            *self = later;
            return;
        }
        for (count, more) in self.counts.iter_mut().zip(later.counts) {
            *count += more;
        }
        for (count, more) in self.records.iter_mut().zip(later.records) {
            *count += more;
        }
    }

    /// Whether there is anything to compare: records of at least two classes.
    pub(super) fn speaks(&self) -> bool {
        self.records.iter().filter(|&&count| count > 0).count() >= 2
    }

    /// The margin of `class` for a record with `buckets`: the log-likelihood of the class minus the
    /// largest other one, per square root of the number of values. `without(class, bucket)` and
    /// `records_without(class)` are subtracted from the counts first.
    pub(super) fn margin(
        &self,
        class: u32,
        buckets: &[u16],
        without: impl Fn(u32, u16) -> u32,
        records_without: impl Fn(u32) -> u32,
    ) -> f32 {
        let logit = |class: usize| -> f64 {
            let number = class as u32;
            let records = self.records[class].saturating_sub(records_without(number));
            let seen = |bucket: u16| {
                let all = self.counts[class * BUCKETS + usize::from(bucket)];
                f64::from(all.saturating_sub(without(number, bucket)))
            };
            let whole = f64::from(records) + 2.0;
            buckets
                .iter()
                .map(|&bucket| ((seen(bucket) + 0.5) / whole).ln())
                .sum()
        };
        let own = logit(class as usize);
        let rival = (0..self.records.len())
            .filter(|&other| other != class as usize && self.records[other] > 0)
            .map(logit)
            .fold(f64::NEG_INFINITY, f64::max);
        let margin = (own - rival) / (buckets.len().max(1) as f64).sqrt();
        if margin.is_finite() {
            margin as f32
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_left_out_no_longer_speaks_for_itself() {
        let mut counts = ContentCounts::default();
        let sport = buckets([1, 2, 3, 4].into_iter());
        for _ in 0..20 {
            counts.add(2, 0, &sport);
            counts.add(2, 1, &buckets([5, 6, 7, 8].into_iter()));
        }
        // Thirty copies of a text about sport are labelled 1.
        for _ in 0..30 {
            counts.add(2, 1, &sport);
        }
        assert!(counts.margin(1, &sport, |_, _| 1, |_| 1) > -1.0);
        let without = |class: u32, bucket: u16| {
            if class == 1 && sport.contains(&bucket) {
                30
            } else {
                0
            }
        };
        let margin = counts.margin(1, &sport, without, |class| 30 * class);
        assert!(margin < -3.0, "{margin}");
    }
}
