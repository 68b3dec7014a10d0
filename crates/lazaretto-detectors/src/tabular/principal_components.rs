//! Principal components of a sample of records, and the distance of records to them.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, Par, diag::Diag};
use lazaretto_core::NotApplicable;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis};

use crate::tabular::sample::{Number as _, Rows};

/// Rows scored together. Blocks always have this many, the last one filled up, so that a record's
/// score does not depend on where its batch ends.
pub(crate) const BLOCK_ROWS: usize = 512;

/// Components with less than this share of the largest variance are rounding, not structure: their
/// direction is arbitrary and dividing by their variance would drown all others.
const SMALLEST_SHARE: f64 = 1e-9;

/// Standardised values stay within this, infinite ones are this far out: their squares still add
/// up in single precision.
const FARTHEST: f32 = 1e6;

/// A column that varies, and how to standardise it.
#[derive(Clone, Copy, Debug)]
struct Scaling {
    column: usize,
    mean: f64,
    per_deviation: f64,
}

impl Scaling {
    /// The scaling of a column by its sample, leaving out infinite values; `None` when it is constant.
    fn of(column: usize, values: ArrayView1<'_, f64>) -> Option<Self> {
        let present = || {
            values
                .iter()
                .copied()
                .filter(|value| value.abs() < f64::LARGEST)
        };
        let count = present().count() as f64;
        let mean = present().sum::<f64>() / count;
        let variance = present().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt();
        // What is left of a constant after the rounding of its mean does not vary.
        let varies = deviation > mean.abs() * 1e-12 && (1.0 / deviation).is_finite();
        varies.then_some(Self {
            column,
            mean,
            per_deviation: 1.0 / deviation,
        })
    }

    fn apply(&self, value: f64) -> f32 {
        let standardised = (value - self.mean) * self.per_deviation;
        // `clamp` keeps NaN.
        (standardised as f32).clamp(-FARTHEST, FARTHEST)
    }
}

/// What the place of a record relative to the components counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    /// The squares of its projections on the components, each divided by the variance along it.
    Mahalanobis,
    /// Its Euclidean distances to the tips of the components' unit vectors, each divided by the
    /// share of the variance along it.
    UnitVectors,
}

/// Principal components of standardised columns.
#[derive(Debug)]
pub struct PrincipalComponents {
    scalings: Vec<Scaling>,
    width: usize,
    /// `n_components × n_scalings`, unit vectors.
    components: Array2<f32>,
    /// What each component's part of the distance is multiplied with.
    weights: Vec<f32>,
    distance: Distance,
    /// The inverse covariance that the components stand for, `n_scalings × n_scalings`; empty
    /// where the distance does not need it.
    precision: Array2<f32>,
}

impl PrincipalComponents {
    /// The components of `sample` (`n_rows × width`, NaN where missing).
    ///
    /// # Errors
    /// When every column is constant or more than `max_columns` are not.
    pub(crate) fn of(
        sample: ArrayView2<'_, f64>,
        max_columns: usize,
        distance: Distance,
    ) -> Result<Self, NotApplicable> {
        let scalings: Vec<Scaling> = sample
            .columns()
            .into_iter()
            .enumerate()
            .filter_map(|(column, values)| Scaling::of(column, values))
            .collect();
        if scalings.is_empty() {
            return Err(NotApplicable::new("every column is constant"));
        }
        if scalings.len() > max_columns {
            return Err(NotApplicable::new(format!(
                "{} columns that vary, at most {max_columns} are decomposed",
                scalings.len()
            )));
        }
        let covariance = covariance(sample, &scalings);
        let (variances, vectors) = eigen(&covariance).ok_or_else(|| {
            NotApplicable::new("the covariance of the columns could not be decomposed")
        })?;
        let total: f64 = variances.iter().sum();
        let largest = variances.iter().copied().fold(0.0, f64::max);
        // Largest first, as is usual.
        let kept: Vec<usize> = (0..variances.len())
            .rev()
            .filter(|&idx| variances[idx] > largest * SMALLEST_SHARE)
            .collect();
        let mut components = Array2::zeros((kept.len(), scalings.len()));
        for (mut component, &idx) in components.rows_mut().into_iter().zip(&kept) {
            let vector = vectors.col(idx);
            let sign = sign_of(vector.iter().copied());
            for (target, &part) in component.iter_mut().zip(vector.iter()) {
                *target = (part * sign) as f32;
            }
        }
        let part = match distance {
            Distance::Mahalanobis => 1.0,
            Distance::UnitVectors => total,
        };
        let weight = |&idx: &usize| (part / variances[idx]) as f32;
        let weights: Vec<f32> = kept.iter().map(weight).collect();
        let precision = match distance {
            Distance::Mahalanobis => {
                let weighted = &components * &ArrayView1::from(&weights).insert_axis(Axis(1));
                components.t().dot(&weighted)
            }
            Distance::UnitVectors => Array2::zeros((0, 0)),
        };
        Ok(Self {
            weights,
            width: sample.ncols(),
            scalings,
            components,
            distance,
            precision,
        })
    }

    /// Number of values per record.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Scores `scores.len()` rows (at most [`BLOCK_ROWS`]) from `first` on by their distance. NaN
    /// for rows without any value.
    pub(crate) fn score(&self, rows: &Rows<'_>, first: usize, scores: &mut [f32]) {
        let n_rows = scores.len();
        let mut block = Array2::<f32>::zeros((self.scalings.len(), BLOCK_ROWS));
        let mut squares = [0.0_f32; BLOCK_ROWS];
        let mut n_missing = [0.0_f32; BLOCK_ROWS];
        let mut values = Vec::with_capacity(n_rows);
        for (scaling, mut column) in self.scalings.iter().zip(block.rows_mut()) {
            values.clear();
            rows.append_column(scaling.column, first, n_rows, &mut values);
            let sums = squares.iter_mut().zip(&mut n_missing);
            for ((target, &value), (square, n_missing)) in column.iter_mut().zip(&values).zip(sums)
            {
                let standardised = scaling.apply(value);
                let missing = standardised.is_nan();
                *target = if missing { 0.0 } else { standardised };
                // The mean square of a standardised column is 1: a missing value counts as that.
                *square += if missing {
                    1.0
                } else {
                    standardised * standardised
                };
                *n_missing += f32::from(u8::from(missing));
            }
        }
        if self.distance == Distance::Mahalanobis {
            for (row_idx, &n_missing) in n_missing.iter().take(n_rows).enumerate() {
                if n_missing > 0.0 {
                    self.impute(rows, first + row_idx, block.column_mut(row_idx));
                }
            }
        }
        let mut projections = Array2::<f32>::zeros((self.components.nrows(), BLOCK_ROWS));
        general_mat_mul(1.0, &self.components, &block, 0.0, &mut projections);
        scores.fill(0.0);
        for (projection, &weight) in projections.rows().into_iter().zip(&self.weights) {
            match self.distance {
                Distance::Mahalanobis => {
                    for (score, &along) in scores.iter_mut().zip(projection) {
                        *score += weight * along * along;
                    }
                }
                Distance::UnitVectors => {
                    let sums = scores.iter_mut().zip(&squares);
                    for ((score, &square), &along) in sums.zip(projection) {
                        // |x − v|² = |x|² − 2 x·v + 1
                        *score += weight * (square + 1.0 - 2.0 * along).max(0.0).sqrt();
                    }
                }
            }
        }
        if self.distance == Distance::Mahalanobis {
            // The mean over the records is 1 per component; a missing value counts its part.
            let part = self.weights.len() as f32 / self.scalings.len() as f32;
            for (score, &n_missing) in scores.iter_mut().zip(&n_missing) {
                *score += part * n_missing;
            }
        }
        for (score, &n_missing) in scores.iter_mut().zip(&n_missing) {
            if n_missing as usize == self.scalings.len() {
                *score = f32::NAN;
            }
        }
    }
}

impl PrincipalComponents {
    /// Gives the missing values of a standardised row what the others let expect, which is where
    /// the distance is smallest: the mean would be far out where columns go together.
    fn impute(&self, rows: &Rows<'_>, row_idx: usize, mut row: ArrayViewMut1<'_, f32>) {
        /// Times that each missing value is set in turn; they settle quickly.
        const SWEEPS: usize = 4;
        let is_missing = |scaling: &Scaling| rows.is_missing(row_idx, scaling.column);
        let missing: Vec<usize> = (0..self.scalings.len())
            .filter(|&idx| is_missing(&self.scalings[idx]))
            .collect();
        for _ in 0..SWEEPS {
            for &idx in &missing {
                let curvature = self.precision[[idx, idx]];
                if curvature > 0.0 {
                    row[idx] -= self.precision.row(idx).dot(&row) / curvature;
                }
            }
        }
    }
}

/// Covariance of the standardised sample, with missing values at the mean.
fn covariance(sample: ArrayView2<'_, f64>, scalings: &[Scaling]) -> Array2<f64> {
    /// Rows standardised at a time, which bounds the copy.
    const ROWS: usize = 1024;
    let width = scalings.len();
    let mut covariance = Array2::zeros((width, width));
    let mut block = Array2::zeros((ROWS.min(sample.nrows()), width));
    for rows in sample.axis_chunks_iter(Axis(0), ROWS) {
        block.fill(0.0);
        for (mut target, row) in block.rows_mut().into_iter().zip(rows.rows()) {
            for (target, scaling) in target.iter_mut().zip(scalings) {
                let value = f64::from(scaling.apply(row[scaling.column]));
                *target = if value.is_nan() { 0.0 } else { value };
            }
        }
        general_mat_mul(1.0, &block.t(), &block, 1.0, &mut covariance);
    }
    covariance /= sample.nrows() as f64;
    covariance
}

/// Eigenvalues, ascending and at least 0, and eigenvectors of a symmetric matrix; `None` when the
/// iteration does not converge.
fn eigen(matrix: &Array2<f64>) -> Option<(Vec<f64>, Mat<f64>)> {
    let n = matrix.nrows();
    let lower = Mat::from_fn(n, n, |row, column| matrix[[row, column]]);
    let (mut vectors, mut values) = (Mat::zeros(n, n), Diag::zeros(n));
    // One thread, because sums in another order would give other bytes.
    let parallelism = Par::Seq;
    let scratch = self_adjoint_evd_scratch::<f64>(
        n,
        ComputeEigenvectors::Yes,
        parallelism,
        faer::prelude::default(),
    );
    self_adjoint_evd(
        lower.as_ref(),
        values.as_mut(),
        Some(vectors.as_mut()),
        parallelism,
        MemStack::new(&mut MemBuffer::new(scratch)),
        faer::prelude::default(),
    )
    .ok()?;
    let values = values.column_vector().iter().map(|value| value.max(0.0));
    Some((values.collect(), vectors))
}

/// 1 or −1, such that the part of largest magnitude becomes positive. Eigenvectors have no sign of
/// their own; this is scikit-learn's choice.
fn sign_of(vector: impl Iterator<Item = f64>) -> f64 {
    let largest = vector.fold(0.0_f64, |largest, part| {
        if part.abs() > largest.abs() {
            part
        } else {
            largest
        }
    });
    if largest < 0.0 { -1.0 } else { 1.0 }
}
