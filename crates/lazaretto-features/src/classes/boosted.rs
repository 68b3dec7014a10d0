//! Class probabilities from columns by boosted trees.
//!
//! Trees see what a linear model over bins cannot: that hours of work mean one thing for a clerk
//! and another for a farmer. On the adult census with 5 % flipped labels, average precision of the
//! flips by `1 − p[label]` is 0.64 with the linear model, 0.67 with the trees and 0.67 with those of
//! scikit-learn (0.70 if trees could learn from the right labels). Small datasets and those with
//! too many columns or classes for the time keep the linear model.

use lazaretto_core::Batch;
use ndarray::{Array2, Axis};
use rayon::prelude::*;

use crate::boost::{BINS, BinnedRows, BoostedModel, DEPTH};
use crate::dense::row_values;
use crate::dense::tabular::value_counts;
use crate::linear::folds::{fit_folds, fold_of};
use crate::payload::Payload;

/// Fewer records than this are too few for trees.
const MIN_ROWS: usize = 1000;
/// Trees take longer than a linear model, so there are fewer folds of them.
const MAX_FOLDS: usize = 5;
/// Rounds, at most and at least.
const MAX_ROUNDS: usize = 100;
const MIN_ROUNDS: usize = 25;
/// Rows × columns × levels × trees over all folds: about two CPU seconds.
const MAX_WORK: usize = 1_000_000_000;
/// The bin of missing values, and of numbers below the first border.
const MISSING: u8 = 0;

/// A labelled record of the sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tabulated<'a> {
    pub(crate) key: u64,
    pub(crate) payload: &'a Payload,
}

/// One model per fold over binned columns.
#[derive(Debug)]
pub(crate) struct BoostedClasses {
    n_classes: usize,
    n_rows: usize,
    rounds: usize,
    binning: Binning,
    models: Vec<BoostedModel>,
}

impl BoostedClasses {
    /// Fits labelled records in key order; `None` where trees are not worth it or cost too much.
    pub(crate) fn fit(records: &[Tabulated<'_>], n_classes: usize, folds: usize) -> Option<Self> {
        let first = records.first()?.payload;
        let n_columns = first.numeric.len() + first.categorical.len();
        let folds = folds.min(MAX_FOLDS);
        let n_trees = if n_classes == 2 { 1 } else { n_classes };
        let round = records.len() * n_columns * DEPTH * n_trees * folds;
        let rounds = (MAX_WORK / round.max(1)).min(MAX_ROUNDS);
        if records.len() < MIN_ROWS || rounds < MIN_ROUNDS {
            return None;
        }
        let binning = Binning::fit(records);
        let mut bins = Vec::with_capacity(records.len() * n_columns);
        for record in records {
            let payload = record.payload;
            binning.encode(&payload.numeric, &payload.categorical, &mut bins);
        }
        let rows = BinnedRows {
            bins: &bins,
            n_columns,
        };
        let labels: Vec<u32> = records.iter().map(|record| record.payload.label).collect();
        let keys: Vec<u64> = records.iter().map(|record| record.key).collect();
        let models = fit_folds(&keys, folds, folds, |chosen| {
            BoostedModel::fit(rows, &labels, chosen, n_classes, rounds)
        });
        Some(Self {
            n_classes,
            n_rows: records.len(),
            rounds,
            binning,
            models,
        })
    }

    /// Out-of-fold probabilities, `n_rows × n_classes`.
    pub(crate) fn probabilities(&self, batch: &Batch<'_>) -> Array2<f32> {
        let mut probabilities = Array2::zeros((batch.n_rows(), self.n_classes));
        let scratch = || (Vec::new(), Vec::new(), Vec::new());
        probabilities
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .enumerate()
            .for_each_init(
                scratch,
                |(numeric, categorical, bins), (row_idx, mut target)| {
                    row_values(batch, row_idx, numeric, categorical);
                    bins.clear();
                    self.binning.encode(numeric, categorical, bins);
                    let model = &self.models[fold_of(batch.keys[row_idx], self.models.len())];
                    if let Some(target) = target.as_slice_mut() {
                        model.probabilities(bins, target);
                    }
                },
            );
        probabilities
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "out-of-fold gradient-boosted trees over binned and categorical columns: {} records, \
             {} folds, {} rounds of depth {DEPTH}",
            self.n_rows,
            self.models.len(),
            self.rounds
        )
    }
}

/// How values become bins.
#[derive(Debug)]
struct Binning {
    /// Ascending borders of each numeric column.
    numeric: Vec<Vec<f64>>,
    /// Sorted values of each categorical column with their bin: the more frequent, the smaller.
    categorical: Vec<Vec<(u64, u8)>>,
}

impl Binning {
    fn fit(records: &[Tabulated<'_>]) -> Self {
        let payloads = || records.iter().map(|record| record.payload);
        let n_numeric = payloads().next().map_or(0, |first| first.numeric.len());
        let n_categorical = payloads().next().map_or(0, |first| first.categorical.len());
        let numeric = (0..n_numeric)
            .map(|column| borders(payloads().map(|row| row.numeric[column]).collect()))
            .collect();
        let categorical = (0..n_categorical)
            .map(|column| {
                let counts = value_counts(payloads().map(|row| row.categorical[column]));
                // All rarer values share the last bin.
                let mut bins: Vec<(u64, u8)> = counts
                    .into_iter()
                    .map(|(value, _)| value)
                    .zip(0..BINS as u8 - 1)
                    .collect();
                bins.sort_unstable();
                bins
            })
            .collect();
        Self {
            numeric,
            categorical,
        }
    }

    /// Appends the bins of a record.
    fn encode(&self, numeric: &[f64], categorical: &[u64], bins: &mut Vec<u8>) {
        for (column, &value) in numeric.iter().enumerate().take(self.numeric.len()) {
            let borders = &self.numeric[column];
            bins.push(if value.is_nan() {
                MISSING
            } else {
                1 + borders.partition_point(|&border| border <= value) as u8
            });
        }
        for (values, value) in self.categorical.iter().zip(categorical) {
            let found = values.binary_search_by_key(value, |entry| entry.0);
            bins.push(found.map_or(BINS as u8 - 1, |idx| values[idx].1));
        }
    }
}

/// Distinct quantiles of the finite values, without their minimum: at most two fewer than there are
/// bins.
fn borders(mut values: Vec<f64>) -> Vec<f64> {
    values.retain(|value| value.is_finite());
    values.sort_unstable_by(f64::total_cmp);
    let Some(&first) = values.first() else {
        return Vec::new();
    };
    let parts = BINS - 1;
    let mut borders: Vec<f64> = (1..parts)
        .map(|part| values[part * values.len() / parts])
        .filter(|&border| border > first)
        .collect();
    borders.dedup();
    borders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_bin_and_missing_ones_their_own() {
        let payload = |value: f64, category: u64| Payload {
            numeric: vec![value],
            categorical: vec![category],
            ..Payload::default()
        };
        let rows: Vec<Payload> = (0..3000_u32)
            .map(|row| payload(f64::from(row % 500), u64::from(row % 90)))
            .collect();
        let records: Vec<Tabulated<'_>> = (0..)
            .zip(&rows)
            .map(|(key, payload)| Tabulated { key, payload })
            .collect();
        let binning = Binning::fit(&records);
        let bins = |value: f64, category: u64| {
            let mut bins = Vec::new();
            binning.encode(&[value], &[category], &mut bins);
            bins
        };
        assert_eq!(bins(f64::NAN, 1)[0], MISSING);
        assert_eq!(bins(f64::NEG_INFINITY, 1)[0], 1);
        assert_eq!(usize::from(bins(f64::INFINITY, 1)[0]), BINS - 1);
        assert!(bins(100.0, 1)[0] < bins(400.0, 1)[0]);
        assert_eq!(usize::from(bins(1.0, u64::MAX)[1]), BINS - 1);
        assert_ne!(bins(1.0, 0)[1], bins(1.0, 1)[1]);
        assert!(BoostedClasses::fit(&records[..999], 2, 10).is_none());
        assert!(BoostedClasses::fit(&[], 2, 10).is_none());
    }
}
