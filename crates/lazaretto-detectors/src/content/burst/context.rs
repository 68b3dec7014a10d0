//! What stands around an item, as a vector: random projections of the rare words of the record.
//!
//! Two vectors of records that have nothing to do with each other have a cosine around that of
//! any two records of the dataset. Sums of vectors are kept as integers, so that partitions merge
//! exactly.

use std::ops::Range;

use super::counts::Counts;
use super::document::Document;

/// Dimensions of a vector.
pub(super) const DIM: usize = 256;
/// Steps of a unit length.
const STEPS: f32 = 512.0;
/// Fewest distinct words of a context.
const MIN_WORDS: usize = 4;

/// A vector of unit length, in steps.
pub(super) type Steps = [i16; DIM];

/// The words of a record with their weights, from which any can be taken out.
pub(super) struct Contexts {
    /// Place and weight of each distinct word.
    weights: Vec<(u8, f32)>,
    /// How often each distinct word stands in the record.
    counts: Vec<u32>,
    /// Index into these of each searched word.
    indices: Vec<u32>,
    whole: [f32; DIM],
    /// Scratch: places that are taken out.
    is_taken: Vec<bool>,
    taken: Vec<usize>,
}

impl Contexts {
    /// Of a document, in a dataset where `frequencies` counts the records with each word, out of
    /// `n_records`.
    pub(super) fn of(document: &Document, frequencies: &Counts, n_records: f64) -> Self {
        let words = document.distinct_words();
        let weights: Vec<(u8, f32)> = words
            .iter()
            .map(|&word| {
                let records = f64::from(frequencies.of(word)).max(1.0);
                let weight = (n_records / records).ln().max(0.0) as f32;
                let mixed = word.wrapping_mul(0xd6e8_feb8_6659_fd93);
                let sign = if mixed >> 63 == 0 { 1.0 } else { -1.0 };
                ((mixed >> 40) as u8, sign * weight)
            })
            .collect();
        let index = |word: &u64| words.binary_search(word).map_or(0, |idx| idx as u32);
        let mut counts = vec![0; words.len()];
        let indices: Vec<u32> = document.words.iter().map(index).collect();
        for idx in indices
            .iter()
            .copied()
            .chain(document.prompt.iter().map(index))
        {
            counts[idx as usize] += 1;
        }
        let mut whole = [0.0; DIM];
        for &(place, weight) in &weights {
            whole[usize::from(place)] += weight;
        }
        Self {
            weights,
            counts,
            is_taken: vec![false; indices.len()],
            taken: Vec::new(),
            indices,
            whole,
        }
    }

    /// The vector of the record without the searched words in `without`, if enough is left.
    pub(super) fn without(&mut self, without: impl Iterator<Item = Range<usize>>) -> Option<Steps> {
        let mut vector = self.whole;
        let mut left = self.weights.len();
        self.taken.clear();
        for at in without.flatten() {
            if std::mem::replace(&mut self.is_taken[at], true) {
                continue;
            }
            self.taken.push(at);
            let idx = self.indices[at] as usize;
            self.counts[idx] -= 1;
            if self.counts[idx] == 0 {
                let (place, weight) = self.weights[idx];
                vector[usize::from(place)] -= weight;
                left -= 1;
            }
        }
        for &at in &self.taken {
            self.is_taken[at] = false;
            self.counts[self.indices[at] as usize] += 1;
        }
        if left < MIN_WORDS {
            return None;
        }
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        (length > 0.01).then(|| vector.map(|value| (value / length * STEPS).round() as i16))
    }
}

/// The sum of `n` vectors of unit length.
#[derive(Clone, Debug)]
pub(super) struct Mean(Vec<f64>);

impl Mean {
    pub(super) fn of(sums: impl Iterator<Item = i64>, n: u64) -> Self {
        let scale = f64::from(STEPS) * n.max(1) as f64;
        Self(sums.map(|sum| sum as f64 / scale).collect())
    }

    /// Mean cosine of `n` vectors with sum `sums` with each other, beyond that of any records.
    pub(super) fn togetherness(&self, sums: &[i32], n: usize) -> f64 {
        let n = n as f64;
        let (mut length, mut own, mut centre) = (0.0, 0.0, 0.0);
        for (&sum, mean) in sums.iter().zip(&self.0) {
            let sum = f64::from(sum) / f64::from(STEPS);
            length += (sum - n * mean).powi(2);
            own += sum * mean;
            centre += mean * mean;
        }
        // The squared lengths of the vectors about the mean; each has unit length.
        let squares = n - 2.0 * own + n * centre;
        (length - squares) / (n * (n - 1.0)).max(1.0)
    }

    /// Standard deviation of the cosine of two records about the mean.
    pub(super) fn scatter(&self, sample: &[Vec<i16>]) -> f64 {
        let centred: Vec<Vec<f64>> = sample
            .iter()
            .map(|vector| {
                let values = vector.iter().zip(&self.0);
                values
                    .map(|(&value, mean)| f64::from(value) / f64::from(STEPS) - mean)
                    .collect()
            })
            .collect();
        let (mut squares, mut pairs) = (0.0, 0.0);
        for (idx, a) in centred.iter().enumerate() {
            // A few partners each: the mean over all pairs changes little.
            for b in &centred[idx + 1..centred.len().min(idx + 1 + 32)] {
                let cosine: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                squares += cosine * cosine;
                pairs += 1.0;
            }
        }
        if pairs == 0.0 {
            f64::NAN
        } else {
            f64::sqrt(squares / pairs)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(seed: u64, topic: u64) -> [i16; DIM] {
        let noise = |salt: u64, at: u64| {
            let mixed = (salt * 7_919 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / 8_388_608.0
                - 1.0
        };
        let values: Vec<f32> = (0..DIM as u64)
            .map(|at| {
                noise(seed, at)
                    + if topic > 0 {
                        noise(topic, at + 9_999)
                    } else {
                        0.0
                    }
            })
            .collect();
        let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
        std::array::from_fn(|at| (values[at] / length * STEPS).round() as i16)
    }

    #[test]
    fn strangers_have_nothing_in_common_and_relatives_do() {
        let everyone: Vec<[i16; DIM]> = (0..400).map(|i| vector(i, 0)).collect();
        let sum = |vectors: &[[i16; DIM]]| -> Vec<i32> {
            (0..DIM)
                .map(|at| vectors.iter().map(|v| i32::from(v[at])).sum())
                .collect()
        };
        let mean = Mean::of(sum(&everyone).into_iter().map(i64::from), 400);
        let strangers: Vec<_> = (500..530).map(|i| vector(i, 0)).collect();
        let relatives: Vec<_> = (500..530).map(|i| vector(i, 77)).collect();
        let sample: Vec<Vec<i16>> = everyone.iter().map(|v| v.to_vec()).collect();
        let error = mean.scatter(&sample) / (30.0_f64 * 29.0 / 2.0).sqrt();
        assert!((mean.scatter(&sample) - 1.0 / 16.0).abs() < 0.01);
        assert!(mean.togetherness(&sum(&strangers), 30).abs() < 4.0 * error);
        assert!((mean.togetherness(&sum(&relatives), 30) - 0.5).abs() < 0.1);
    }
}
