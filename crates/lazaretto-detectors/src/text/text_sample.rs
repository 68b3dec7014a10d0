//! A bounded sample of texts, chosen by keyed hash, as mergeable state.
//!
//! The records with the smallest keys win (ties by ordinal), so partial samples merge to the same
//! one on any partitioning.

use serde::{Deserialize, Serialize};

/// A record of the sample with what is kept of its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sampled<T> {
    pub(crate) key: u64,
    ordinal: u64,
    pub(crate) content: T,
}

impl<T> Sampled<T> {
    /// The record with this key and ordinal.
    pub(crate) fn new(key: u64, ordinal: u64, content: T) -> Self {
        Self {
            key,
            ordinal,
            content,
        }
    }

    /// Key and ordinal, by which the sample is ordered.
    pub(crate) fn place(&self) -> (u64, u64) {
        (self.key, self.ordinal)
    }
}

/// The sample under construction.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TextSample<T> {
    capacity: usize,
    texts: Vec<Sampled<T>>,
    /// No record beyond can enter any more.
    bound: Option<(u64, u64)>,
}

impl<T> TextSample<T> {
    /// An empty sample of at most `capacity` texts.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            texts: Vec::new(),
            bound: None,
        }
    }

    /// Whether the record could still be part of the sample.
    pub(crate) fn admits(&self, key: u64, ordinal: u64) -> bool {
        self.bound.is_none_or(|bound| (key, ordinal) <= bound)
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, key: u64, ordinal: u64, content: T) {
        self.texts.push(Sampled::new(key, ordinal, content));
        if self.texts.len() >= 2 * self.capacity {
            self.prune();
        }
    }

    /// Adds the records of another partition.
    pub(crate) fn merge(&mut self, later: Self) {
        self.texts.extend(later.texts);
        if self.texts.len() > self.capacity {
            self.prune();
        }
    }

    /// The sample, in key order.
    pub(crate) fn into_texts(mut self) -> Vec<Sampled<T>> {
        self.prune();
        self.texts
    }

    fn prune(&mut self) {
        self.texts.sort_unstable_by_key(Sampled::place);
        self.texts.truncate(self.capacity);
        if self.texts.len() == self.capacity {
            self.bound = self.texts.last().map(Sampled::place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_do_not_matter() {
        let key = |ordinal: u64| ordinal.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 101;
        let fill = |sample: &mut TextSample<u64>, range: std::ops::Range<u64>| {
            for ordinal in range {
                if sample.admits(key(ordinal), ordinal) {
                    sample.push(key(ordinal), ordinal, ordinal);
                }
            }
        };
        let mut whole = TextSample::new(7);
        fill(&mut whole, 0..200);
        let (mut left, mut right) = (TextSample::new(7), TextSample::new(7));
        fill(&mut left, 0..5);
        fill(&mut right, 5..200);
        left.merge(right);
        let texts = whole.into_texts();
        assert_eq!(texts.len(), 7);
        assert_eq!(left.into_texts(), texts);
    }
}
