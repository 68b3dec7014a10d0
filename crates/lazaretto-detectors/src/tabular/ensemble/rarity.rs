//! How rare each value of a record is within its own column.

use ndarray::{ArrayView1, Axis};
use std::collections::HashMap;

use crate::tabular::column_scale::Scale;
use crate::tabular::record_sample::{Records, Sample};

/// Bins of equal width of a numeric column. On 21 `ADBench` sets 10, 20 and a number that grows
/// with the records give the same AUROC within 0.006.
const N_BINS: usize = 16;
/// Share of the fullest bin that an empty one counts as.
const BIN_FLOOR: f64 = 0.01;
/// Share of the most frequent category that an unseen one counts as: categories have no
/// neighbours that could speak for them.
const CATEGORY_FLOOR: f64 = 0.001;

/// A histogram per numeric column (HBOS: Goldstein & Dengel 2012) and a table of frequencies per
/// categorical one; the score is the sum of the negative logarithms of the frequencies relative to
/// the column's most frequent bin or value.
#[derive(Debug)]
pub(crate) struct Rarity {
    numbers: Vec<(usize, Bins)>,
    categories: Vec<Frequencies>,
}

#[derive(Debug)]
struct Bins {
    scale: Scale,
    low: f32,
    per_length: f32,
    surprises: Vec<f32>,
    /// Surprise of a null: its frequency counts like that of a bin.
    missing: f32,
}

#[derive(Debug)]
struct Frequencies {
    /// Sorted hashes with the surprise of each value.
    surprises: Vec<(u64, f32)>,
    unseen: f32,
}

fn surprise(count: u32, most: u32, floor: f64) -> f32 {
    let share = f64::from(count) / f64::from(most.max(1));
    -(share.min(1.0) + floor).ln() as f32
}

impl Rarity {
    /// Counts the sample.
    pub(crate) fn fit(sample: &Sample) -> Self {
        let numbers = sample.numbers.axis_iter(Axis(1)).enumerate();
        let categories = sample.categories.axis_iter(Axis(1));
        Self {
            numbers: numbers
                .filter_map(|(column, values)| Some((column, Bins::fit(column, values)?)))
                .collect(),
            categories: categories.map(Frequencies::fit).collect(),
        }
    }

    /// Writes the sum of the surprises of each record from `first_row` of the batch on.
    pub(crate) fn score(&self, records: &Records<'_>, first_row: usize, scores: &mut [f32]) {
        scores.fill(0.0);
        for (column, bins) in &self.numbers {
            for (score, row) in scores.iter_mut().zip(first_row..) {
                *score += bins.of(records.number(row, *column));
            }
        }
        for (column, frequencies) in self.categories.iter().enumerate() {
            for (score, row) in scores.iter_mut().zip(first_row..) {
                *score += frequencies.of(records.category(row, column));
            }
        }
    }
}

impl Bins {
    fn fit(column: usize, values: ArrayView1<'_, f64>) -> Option<Self> {
        let scale = Scale::of(column, values)?;
        let known = values.iter().filter(|value| !value.is_nan());
        let scaled: Vec<f32> = known.map(|&value| scale.apply(value)).collect();
        let low = scaled.iter().copied().fold(f32::INFINITY, f32::min);
        let high = scaled.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut bins = Self {
            scale,
            low,
            per_length: N_BINS as f32 / (high - low),
            surprises: Vec::new(),
            missing: 0.0,
        };
        let mut counts = [0_u32; N_BINS];
        for &value in &scaled {
            counts[bins.bin(value)?] += 1;
        }
        let missing = (values.len() - scaled.len()) as u32;
        let most = counts.iter().copied().max().unwrap_or(0).max(missing);
        bins.surprises = counts
            .iter()
            .map(|&count| surprise(count, most, BIN_FLOOR))
            .collect();
        bins.missing = surprise(missing, most, BIN_FLOOR);
        Some(bins)
    }

    /// The bin of a scaled value, `None` outside the range of the sample.
    fn bin(&self, scaled: f32) -> Option<usize> {
        let position = (scaled - self.low) * self.per_length;
        // The highest value belongs to the last bin, rounding or not.
        let slack = 1e-3;
        (-slack..=N_BINS as f32 + slack)
            .contains(&position)
            .then(|| (position.max(0.0) as usize).min(N_BINS - 1))
    }

    fn of(&self, value: f64) -> f32 {
        if value.is_nan() {
            return self.missing;
        }
        self.bin(self.scale.apply(value))
            .map_or_else(|| surprise(0, 1, BIN_FLOOR), |bin| self.surprises[bin])
    }
}

impl Frequencies {
    fn fit(values: ArrayView1<'_, u64>) -> Self {
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for &value in values {
            *counts.entry(value).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let mut surprises: Vec<(u64, f32)> = counts
            .into_iter()
            .map(|(value, count)| (value, surprise(count, most, CATEGORY_FLOOR)))
            .collect();
        surprises.sort_unstable_by_key(|&(value, _)| value);
        Self {
            surprises,
            unseen: surprise(0, 1, CATEGORY_FLOOR),
        }
    }

    fn of(&self, value: u64) -> f32 {
        self.surprises
            .binary_search_by_key(&value, |&(value, _)| value)
            .map_or(self.unseen, |idx| self.surprises[idx].1)
    }
}
