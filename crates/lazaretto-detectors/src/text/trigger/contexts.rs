//! How much the texts around a candidate have in common.

use serde::{Deserialize, Serialize};

/// Words of a context that are kept.
const KEPT: usize = 24;
/// Contexts of a candidate that are compared.
pub(super) const COMPARED: usize = 64;

/// A sample of the rarer words of a text: those with the smallest hashes, the same choice in all
/// texts, so that the overlap of two samples estimates that of the texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Context {
    words: Vec<u32>,
}

impl Context {
    pub(super) fn of(words: impl Iterator<Item = u64>) -> Self {
        let mut words: Vec<u32> = words
            .map(|word| (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32)
            .collect();
        words.sort_unstable();
        words.dedup();
        words.truncate(KEPT);
        Self { words }
    }

    /// Words in common, relative to the smaller context.
    fn overlap(&self, other: &Self) -> f64 {
        let smaller = self.words.len().min(other.words.len());
        if smaller == 0 {
            return 0.0;
        }
        let common = self
            .words
            .iter()
            .filter(|word| other.words.binary_search(word).is_ok())
            .count();
        common as f64 / smaller as f64
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
        let copies = vec![Context::of(0..20); 6];
        assert!((independent_share(&copies) - 1.0 / 6.0).abs() < 1e-12);
        let strangers: Vec<Context> = (0..6).map(|i| Context::of(100 * i..100 * i + 20)).collect();
        assert!((independent_share(&strangers) - 1.0).abs() < 1e-12);
        assert!((independent_share(&[]) - 1.0).abs() < 1e-12);
    }
}
