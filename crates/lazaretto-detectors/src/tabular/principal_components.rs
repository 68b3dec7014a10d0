//! Principal components of a sample of records, and the distance of records to them.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, Par, diag::Diag};
use lazaretto_core::NotApplicable;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis};

use crate::tabular::sample::Rows;
use crate::tabular::standardised::{BLOCK_ROWS, Standardisation};

/// Components with less than this share of the largest variance are rounding, not structure: their
/// direction is arbitrary and dividing by their variance would drown all others.
const SMALLEST_SHARE: f64 = 1e-9;

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
    standardisation: Standardisation,
    /// `n_components × n_columns`, unit vectors.
    components: Array2<f32>,
    /// What each component's part of the distance is multiplied with.
    weights: Vec<f32>,
    distance: Distance,
    /// The inverse covariance that the components stand for, `n_columns × n_columns`; empty
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
        let standardisation = Standardisation::of(sample);
        let n_columns = standardisation.n_columns();
        if n_columns == 0 {
            return Err(NotApplicable::new("every column is constant"));
        }
        if n_columns > max_columns {
            return Err(NotApplicable::new(format!(
                "{n_columns} columns that vary, at most {max_columns} are decomposed"
            )));
        }
        let covariance = covariance(sample, &standardisation);
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
        let mut components = Array2::zeros((kept.len(), n_columns));
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
            standardisation,
            components,
            weights,
            distance,
            precision,
        })
    }

    /// Number of values per record.
    pub(crate) fn width(&self) -> usize {
        self.standardisation.width()
    }

    /// Scores `scores.len()` rows (at most [`BLOCK_ROWS`]) from `first` on by their distance. NaN
    /// for rows without any value.
    pub(crate) fn score(&self, rows: &Rows<'_>, first: usize, scores: &mut [f32]) {
        let mut block = self.standardisation.block(rows, first, scores.len());
        let mut squares = [0.0_f32; BLOCK_ROWS];
        let mut n_missing = [0.0_f32; BLOCK_ROWS];
        for mut column in block.rows_mut() {
            let sums = squares.iter_mut().zip(&mut n_missing);
            for (value, (square, n_missing)) in column.iter_mut().zip(sums) {
                let missing = value.is_nan();
                // The mean square of a standardised column is 1: a missing value counts as that.
                *square += if missing { 1.0 } else { *value * *value };
                *n_missing += f32::from(u8::from(missing));
            }
        }
        for (row_idx, mut row) in block.columns_mut().into_iter().enumerate() {
            if n_missing[row_idx] > 0.0 {
                self.fill_in(&mut row);
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
            let part = self.weights.len() as f32 / self.standardisation.n_columns() as f32;
            for (score, &n_missing) in scores.iter_mut().zip(&n_missing) {
                *score += part * n_missing;
            }
        }
        for (score, &n_missing) in scores.iter_mut().zip(&n_missing) {
            if n_missing as usize == self.standardisation.n_columns() {
                *score = f32::NAN;
            }
        }
    }
}

impl PrincipalComponents {
    /// Gives the missing values of a standardised row what the others let expect, which is where
    /// the distance is smallest: the mean would be far out where columns go together.
    fn fill_in(&self, row: &mut ArrayViewMut1<'_, f32>) {
        /// Times that each missing value is set in turn; they settle quickly.
        const SWEEPS: usize = 4;
        let missing: Vec<usize> = (0..row.len()).filter(|&idx| row[idx].is_nan()).collect();
        for &idx in &missing {
            row[idx] = 0.0;
        }
        if self.distance == Distance::UnitVectors {
            return;
        }
        for _ in 0..SWEEPS {
            for &idx in &missing {
                let curvature = self.precision[[idx, idx]];
                if curvature > 0.0 {
                    row[idx] -= self.precision.row(idx).dot(row) / curvature;
                }
            }
        }
    }
}

/// Covariance of the standardised sample, with missing values at the mean.
fn covariance(sample: ArrayView2<'_, f64>, standardisation: &Standardisation) -> Array2<f64> {
    /// Rows standardised at a time, which bounds the copy.
    const ROWS: usize = 1024;
    let width = standardisation.n_columns();
    let mut covariance = Array2::zeros((width, width));
    for rows in sample.axis_chunks_iter(Axis(0), ROWS) {
        let present = |value: f32| {
            if value.is_nan() {
                0.0
            } else {
                f64::from(value)
            }
        };
        let block = standardisation.sample(rows).mapv(present);
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
