//! What the detectors that judge columns one by one have in common: the distribution of every
//! column as mergeable state, and a score that is a sum over the columns.

use std::borrow::Cow;

use lazaretto_core::{Batch, FitContext, NotApplicable};
use lazaretto_features::QuantileSketch;
use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

/// With fewer values than this in every column, tails cannot be told from the middle.
const MIN_VALUES: u64 = 20;

/// Bytes per point of a column's distribution.
const BYTES_PER_POINT: usize = 24;

/// Rows scored together: a column's part and the sums stay in a core's cache.
const BLOCK_ROWS: usize = 4096;

/// The numeric columns of a batch, each as one slice; without a copy where they are laid out so.
pub(crate) fn contiguous(numeric: ArrayView2<'_, f64>) -> Vec<Cow<'_, [f64]>> {
    (0..numeric.ncols())
        .map(|column| {
            let values = numeric.index_axis_move(Axis(1), column);
            match values.to_slice() {
                Some(values) => Cow::Borrowed(values),
                None => Cow::Owned(values.to_vec()),
            }
        })
        .collect()
}

/// An empty distribution of each numeric column, of `resolution` points or as many as the memory
/// allows.
pub(crate) fn start(context: &FitContext, resolution: u32) -> Vec<QuantileSketch> {
    let n_columns = context.facts.numeric_columns.len();
    let affordable = context.memory_bytes / (BYTES_PER_POINT * n_columns.max(1));
    let points = affordable.min(resolution as usize).max(64);
    vec![QuantileSketch::new(points); n_columns]
}

/// Adds the numeric columns of a batch.
pub(crate) fn fit(distributions: &mut [QuantileSketch], batch: &Batch<'_>) {
    let Some(numeric) = batch.numeric else {
        return;
    };
    distributions
        .par_iter_mut()
        .zip(contiguous(numeric))
        .for_each(|(distribution, values)| distribution.insert_column(&values));
}

/// Adds the distributions of a later partition.
pub(crate) fn merge(distributions: &mut [QuantileSketch], later: Vec<QuantileSketch>) {
    distributions
        .par_iter_mut()
        .zip(later)
        .for_each(|(distribution, later)| distribution.merge(&later));
}

/// How suspicious each value of one column is.
pub trait ColumnScore: Send + Sync {
    /// Whether every value of the column counts the same, so that the column says nothing.
    fn is_constant(&self) -> bool;

    /// Adds what each value counts to the sum of its row. A missing value (NaN) adds the mean of
    /// the column, so that it counts as ordinary.
    fn add(&self, values: &[f64], sums: &mut [f32]);
}

/// Scores of rows as sums over their columns.
#[derive(Debug)]
pub struct ColumnScores<T> {
    columns: Vec<T>,
}

impl<T: ColumnScore> ColumnScores<T> {
    /// Compiles each distribution into a score.
    ///
    /// # Errors
    /// When there are too few values to judge any, or every column is constant.
    pub(crate) fn compile(
        distributions: &[QuantileSketch],
        score: impl Fn(&QuantileSketch) -> T + Send + Sync,
    ) -> Result<Self, NotApplicable> {
        let counts = distributions.iter().map(QuantileSketch::count);
        let most = counts.max().unwrap_or(0);
        if most < MIN_VALUES {
            return Err(NotApplicable::new(format!(
                "at most {most} values in a numeric column, at least {MIN_VALUES} are needed"
            )));
        }
        let columns: Vec<T> = distributions.par_iter().map(score).collect();
        if columns.iter().all(T::is_constant) {
            return Err(NotApplicable::new("every numeric column is constant"));
        }
        Ok(Self { columns })
    }

    /// The score of each record of a batch; NaN for records without any number.
    pub(crate) fn of_batch(&self, batch: &Batch<'_>) -> Vec<f32> {
        match batch.numeric {
            Some(numeric) if numeric.ncols() == self.columns.len() => self.of_rows(numeric),
            _ => vec![f32::NAN; batch.n_rows()],
        }
    }

    /// The score of each row of `numeric`, which has the columns of the fit; NaN for rows without
    /// any number.
    pub(crate) fn of_rows(&self, numeric: ArrayView2<'_, f64>) -> Vec<f32> {
        let columns = contiguous(numeric);
        let mut scores = vec![0.0; numeric.nrows()];
        scores
            .par_chunks_mut(BLOCK_ROWS)
            .enumerate()
            .for_each(|(block_idx, scores)| {
                let first = block_idx * BLOCK_ROWS;
                let rows = first..first + scores.len();
                for (score, values) in self.columns.iter().zip(&columns) {
                    score.add(&values[rows.clone()], scores);
                }
                for (score, row) in scores.iter_mut().zip(rows) {
                    if columns.iter().all(|values| values[row].is_nan()) {
                        *score = f32::NAN;
                    }
                }
            });
        scores
    }
}
