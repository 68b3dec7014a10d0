//! How much the texts around a candidate have in common.

use serde::{Deserialize, Serialize};

/// Words of a context that are kept, of each kind.
const KEPT: usize = 16;
/// Contexts of a candidate that are compared.
pub(super) const COMPARED: usize = 64;
/// Overlap of all words from which two texts are versions of one.
const SAME_TEXT: f64 = 0.5;

/// A sample of the words of a text: those with the smallest hashes, the same choice in all
/// texts, so that the overlap of two samples estimates that of the texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Context {
    rare: Vec<u32>,
    all: Vec<u32>,
}

/// The `KEPT` smallest distinct hashes, ascending.
fn sample(words: impl Iterator<Item = u64>) -> Vec<u32> {
    let mut sample: Vec<u32> = words
        .map(|word| (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32)
        .collect();
    sample.sort_unstable();
    sample.dedup();
    sample.truncate(KEPT);
    sample
}

fn in_common(a: &[u32], b: &[u32]) -> f64 {
    a.iter()
        .filter(|word| b.binary_search(word).is_ok())
        .count() as f64
}

impl Context {
    /// Bytes of the largest context.
    pub(super) const MAX_BYTES: usize = size_of::<Self>() + 2 * KEPT * size_of::<u32>();

    /// The context made of `words`, of which `is_common` are in so many records that sharing them
    /// means nothing.
    pub(super) fn of(words: &[u64], is_common: impl Fn(u64) -> bool) -> Self {
        Self {
            rare: sample(words.iter().copied().filter(|word| !is_common(*word))),
            all: sample(words.iter().copied()),
        }
    }

    /// How much two contexts have in common, in `0..=1`: their rarer words relative to the smaller
    /// context, or, for versions of the same text, all words relative to the larger.
    fn overlap(&self, other: &Self) -> f64 {
        let smaller = self.rare.len().min(other.rare.len());
        let rare = in_common(&self.rare, &other.rare) / smaller.max(1) as f64;
        let larger = self.all.len().max(other.all.len());
        let all = in_common(&self.all, &other.all) / larger.max(1) as f64;
        if all >= SAME_TEXT {
            rare.max(all)
        } else {
            rare
        }
    }
}

/// The share of independent texts among those with `contexts`, in `0..=1`: `1 / (1 + (n − 1) s)`
/// with `s` the mean overlap of two of them, the design effect of a cluster sample (Kish 1965).
pub(super) fn independent_share(contexts: &[Context]) -> f64 {
    let contexts = &contexts[..contexts.len().min(COMPARED)];
    let mut overlap = 0.0;
    let mut pairs = 0.0;
    for (place, context) in contexts.iter().enumerate() {
        for other in &contexts[..place] {
            overlap += context.overlap(other);
            pairs += 1.0;
        }
    }
    if pairs == 0.0 {
        return 1.0;
    }
    1.0 / (1.0 + (contexts.len() as f64 - 1.0) * overlap / pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_count_once_and_strangers_each() {
        let context = |from: u64, common: bool| {
            let words: Vec<u64> = (from..from + 12).collect();
            Context::of(&words, |_| common)
        };
        let copies = vec![context(0, true); 6];
        assert!((independent_share(&copies) - 1.0 / 6.0).abs() < 1e-12);
        let strangers: Vec<Context> = (0..6).map(|i| context(100 * i, false)).collect();
        assert!((independent_share(&strangers) - 1.0).abs() < 1e-12);
        assert!((independent_share(&[]) - 1.0).abs() < 1e-12);
    }
}
