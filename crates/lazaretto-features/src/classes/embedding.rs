//! Class probabilities from embeddings.

use lazaretto_core::Batch;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1};
use rayon::prelude::*;

use crate::linear::dense::{DenseModel, FitError};
use crate::linear::folds::{fit_folds, fold_of};

/// Rows × features × classes of the training rows: bounds the time of a fold to about ten CPU
/// seconds.
const MAX_WORK: usize = 1_000_000_000;
/// Training rows that are kept whatever they cost.
const MIN_ROWS: usize = 1000;
/// One in so many values, at either end of a column, is pulled in before its deviation is taken.
const OUTER: usize = 100;
/// Length of the longest standardised embedding, in multiples of the root mean square.
const RADIUS: f64 = 3.0;
/// The constant feature: its square divides the penalty of a bias.
const CONSTANT: f64 = 3.0;

/// A record of the sample with an embedding of finite numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Embedded<'a> {
    pub(crate) key: u64,
    pub(crate) label: u32,
    pub(crate) embedding: &'a [f32],
}

/// One model per fold over standardised embeddings.
#[derive(Debug)]
pub(crate) struct EmbeddingClasses {
    n_classes: usize,
    n_rows: usize,
    standard: Standard,
    models: Vec<DenseModel>,
}

impl EmbeddingClasses {
    /// Fits labelled records in key order, whose embeddings have length `dim`, in about
    /// `memory_bytes`.
    pub(crate) fn fit(
        records: &[Embedded<'_>],
        dim: usize,
        n_classes: usize,
        folds: usize,
        memory_bytes: usize,
    ) -> Result<Self, FitError> {
        let n_features = dim + 1;
        let (row_bytes, fixed_bytes) = DenseModel::fit_bytes(n_features, n_classes);
        let Some(free_bytes) = memory_bytes
            .checked_sub(fixed_bytes)
            .filter(|&free| free >= records.len().min(MIN_ROWS) * row_bytes)
        else {
            return Err(FitError::TooLarge {
                n_features,
                n_classes,
            });
        };
        let n_rows = records
            .len()
            .min(free_bytes / row_bytes)
            .min((MAX_WORK / (n_features * n_classes).max(1)).max(MIN_ROWS));
        let records = &records[..n_rows];
        let at_once = memory_bytes / (fixed_bytes + n_rows * row_bytes).max(1);

        let standard = Standard::of(records, dim);
        let keys: Vec<u64> = records.iter().map(|record| record.key).collect();
        let models = fit_folds(&keys, folds, at_once, |chosen| {
            let rows = chosen.iter().map(|&idx| records[idx].embedding.into());
            let features = standard.apply(chosen.len(), rows);
            let labels = chosen.iter().map(|&idx| records[idx].label as usize);
            DenseModel::fit(features, labels.collect())
        });
        Ok(Self {
            n_classes,
            n_rows,
            standard,
            models: models.into_iter().collect::<Result<_, _>>()?,
        })
    }

    /// Out-of-fold probabilities, `n_rows × n_classes`; NaN for records without an embedding.
    pub(crate) fn probabilities(&self, batch: &Batch<'_>) -> Option<Array2<f32>> {
        let embedding = batch.embedding?;
        (embedding.ncols() == self.standard.columns.len())
            .then(|| self.of_rows(embedding, batch.keys))
    }

    /// Those of the rows of `embedding` with these keys.
    pub(crate) fn of_rows(&self, embedding: ArrayView2<'_, f32>, keys: &[u64]) -> Array2<f32> {
        let mut of_folds: Vec<Vec<usize>> = vec![Vec::new(); self.models.len()];
        for (row_idx, row) in embedding.rows().into_iter().enumerate() {
            if row.iter().all(|value| value.is_finite()) {
                of_folds[fold_of(keys[row_idx], self.models.len())].push(row_idx);
            }
        }
        let mut probabilities = Array2::from_elem((embedding.nrows(), self.n_classes), f32::NAN);
        for (model, own) in self.models.iter().zip(of_folds) {
            let rows = own.iter().map(|&row_idx| embedding.row(row_idx));
            let features = self.standard.apply(own.len(), rows);
            let of_fold = model.probabilities(features, self.n_classes);
            for (row, row_idx) in of_fold.rows().into_iter().zip(own) {
                probabilities.row_mut(row_idx).assign(&row);
            }
        }
        probabilities
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "out-of-fold multinomial logistic regression over the embedding: {} records, {} folds",
            self.n_rows,
            self.models.len()
        )
    }
}

/// Winsorised mean and reciprocal deviation of each column, so that a few records far outside do
/// not shrink the others to nothing; 0 for a constant column, which says nothing.
#[derive(Debug)]
struct Standard {
    columns: Vec<(f64, f64)>,
}

impl Standard {
    fn of(records: &[Embedded<'_>], dim: usize) -> Self {
        let of_column = |column: usize| {
            let mut values: Vec<f32> = records.iter().map(|r| r.embedding[column]).collect();
            let (low, high) = bulk(&mut values);
            let (mean, factor) = moments(values.iter().map(|value| value.clamp(low, high)));
            if factor > 0.0 {
                (mean, factor)
            } else {
                // Most values are the same: the few others are all that it says.
                moments(values.into_iter())
            }
        };
        Self {
            columns: (0..dim).into_par_iter().map(of_column).collect(),
        }
    }

    /// The features of `n_rows` embeddings, `n_rows × (dim + 1)`.
    fn apply<'a>(
        &self,
        n_rows: usize,
        embeddings: impl Iterator<Item = ArrayView1<'a, f32>>,
    ) -> Array2<f64> {
        let mut features = Array2::from_elem((n_rows, self.columns.len() + 1), CONSTANT);
        for (row, embedding) in features.rows_mut().into_iter().zip(embeddings) {
            self.standardise(embedding, row);
        }
        features
    }

    fn standardise(&self, embedding: ArrayView1<'_, f32>, mut row: ArrayViewMut1<'_, f64>) {
        let mut squares = 0.0;
        let values = embedding.iter().zip(&self.columns);
        for (feature, (&value, &(mean, factor))) in row.iter_mut().zip(values) {
            *feature = (f64::from(value) - mean) * factor;
            squares += *feature * *feature;
        }
        // One record far outside would have the largest logit of all by hundreds, beside which the
        // solver, that subtracts the largest of all rows, loses those of all others.
        let limit = RADIUS * RADIUS * self.columns.len() as f64;
        if squares > limit {
            let shrink = (limit / squares).sqrt();
            for feature in row.iter_mut().take(self.columns.len()) {
                *feature *= shrink;
            }
        }
    }
}

/// Limits of `values` without the outer share on each side; sorts them partly.
fn bulk(values: &mut [f32]) -> (f32, f32) {
    let Some(last) = values.len().checked_sub(1) else {
        return (0.0, 0.0);
    };
    let rank = values.len().div_ceil(OUTER).min(last / 2);
    let low = *values.select_nth_unstable_by(rank, f32::total_cmp).1;
    let high = *values.select_nth_unstable_by(last - rank, f32::total_cmp).1;
    (low, high)
}

/// Mean and reciprocal standard deviation; 0 when all values are the same.
fn moments(values: impl Iterator<Item = f32> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().map(f64::from).sum::<f64>() / n;
    let squares = values.map(|value| (f64::from(value) - mean).powi(2));
    let deviation = (squares.sum::<f64>() / n).sqrt();
    if deviation > 1e-12 * mean.abs() {
        (mean, deviation.recip())
    } else {
        (mean, 0.0)
    }
}
