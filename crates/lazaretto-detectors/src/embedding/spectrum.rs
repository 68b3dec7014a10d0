//! Linear algebra of small dense matrices: Gram matrices, eigenvectors, inner products.
//!
//! Everything here is sequential and in a fixed order, so that results do not depend on the number
//! of threads; callers run several classes side by side.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use ndarray::Array2;

/// Inner products are summed in this many lanes, which the compiler turns into vector arithmetic.
const LANES: usize = 8;

/// Inner product of a vector and a direction.
pub(crate) fn dot(vector: &[f32], direction: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (vectors, rest) = vector.as_chunks::<LANES>();
    let (directions, rest_of_direction) = direction.as_chunks::<LANES>();
    for (vector, direction) in vectors.iter().zip(directions) {
        for ((lane, &value), &part) in lanes.iter_mut().zip(vector).zip(direction) {
            *lane += f64::from(value) * part;
        }
    }
    let rest = rest.iter().zip(rest_of_direction);
    lanes.iter().sum::<f64>()
        + rest
            .map(|(&value, &part)| f64::from(value) * part)
            .sum::<f64>()
}

/// A class's sampled vectors, centred and scaled so that single precision is enough for sums of
/// squares whatever the unit of the data.
pub(crate) struct Centred {
    /// Mean of the vectors, in the unit of the data.
    pub mean: Vec<f64>,
    /// `n_rows × dim`, row-major: `(vector − mean) / scale`, within −1 and 1.
    values: Vec<f32>,
    n_rows: usize,
}

impl Centred {
    /// Centres `vectors` (`n_rows × dim`, finite) at their mean; `None` without rows or when all
    /// of them are the same.
    pub(crate) fn new(vectors: &Array2<f32>) -> Option<Self> {
        let (n_rows, dim) = vectors.dim();
        if n_rows == 0 || dim == 0 {
            return None;
        }
        let mut mean = vec![0.0; dim];
        for row in vectors.rows() {
            for (sum, &value) in mean.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        mean.iter_mut().for_each(|sum| *sum /= n_rows as f64);
        let residual = |(&value, &mean): (&f32, &f64)| f64::from(value) - mean;
        let residuals = || {
            vectors.rows().into_iter().flat_map(|row| {
                // Collected per row: the iterator of a row does not outlive it.
                row.iter().zip(&mean).map(residual).collect::<Vec<f64>>()
            })
        };
        let scale = residuals().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        if scale <= f64::from(f32::MIN_POSITIVE) {
            return None;
        }
        let values = residuals().map(|value| (value / scale) as f32).collect();
        Some(Self {
            mean,
            values,
            n_rows,
        })
    }

    /// The direction of largest variance: the first right singular vector, of unit length. `None`
    /// when there is none to be had. Cost: `n_rows · dim · min(n_rows, dim)` plus the cube of the
    /// smaller side.
    pub(crate) fn top_direction(&self) -> Option<Vec<f64>> {
        let dim = self.mean.len();
        let rows = MatRef::from_row_major_slice(&self.values, self.n_rows, dim);
        let by_column = dim <= self.n_rows;
        let gram = if by_column {
            product(rows.transpose(), rows)
        } else {
            product(rows, rows.transpose())
        };
        let (_, vectors) = eigen(&gram)?;
        let last = vectors.ncols().checked_sub(1)?;
        let top: Vec<f64> = vectors.col(last).iter().copied().collect();
        let mut direction = if by_column {
            top
        } else {
            let mut direction = vec![0.0; dim];
            for (row, &weight) in self.values.chunks_exact(dim).zip(&top) {
                for (sum, &value) in direction.iter_mut().zip(row) {
                    *sum += weight * f64::from(value);
                }
            }
            direction
        };
        let length = direction.iter().map(|part| part * part).sum::<f64>().sqrt();
        if !length.is_normal() {
            return None;
        }
        direction.iter_mut().for_each(|part| *part /= length);
        Some(direction)
    }
}

/// The matrix product, in double precision from there on.
fn product(left: MatRef<'_, f32>, right: MatRef<'_, f32>) -> Mat<f64> {
    let mut out = Mat::<f32>::zeros(left.nrows(), right.ncols());
    matmul(out.as_mut(), Accum::Replace, left, right, 1.0, Par::Seq);
    Mat::from_fn(out.nrows(), out.ncols(), |row, column| {
        f64::from(out[(row, column)])
    })
}

/// Eigenvalues (ascending) and eigenvectors (as columns) of a symmetric matrix; `None` when the
/// iteration fails, which it does for values that are not finite.
pub(crate) fn eigen(symmetric: &Mat<f64>) -> Option<(Vec<f64>, Mat<f64>)> {
    let n = symmetric.nrows();
    let mut values = Diag::<f64>::zeros(n);
    let mut vectors = Mat::<f64>::zeros(n, n);
    let scratch =
        self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    self_adjoint_evd(
        symmetric.as_ref(),
        values.as_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .ok()?;
    Some((values.column_vector().iter().copied().collect(), vectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_products_of_any_length() {
        for length in [0, 1, 7, 8, 9, 31] {
            let vector: Vec<f32> = (0..length).map(|idx| idx as f32).collect();
            let direction: Vec<f64> = (0..length).map(|idx| f64::from(idx % 3)).collect();
            let expected: f64 = (0..length).map(|idx| f64::from(idx * (idx % 3))).sum();
            assert!((dot(&vector, &direction) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn the_long_axis_is_found_in_tall_and_in_wide_matrices_of_any_unit() {
        for (n_rows, dim) in [(60, 5), (5, 60)] {
            for unit in [1e-30_f32, 1.0, 1e30] {
                let vectors = Array2::from_shape_fn((n_rows, dim), |(row, column)| {
                    let along = row as f32 * if column < 2 { 3.0 } else { 0.0 };
                    let noise = ((row * 31 + column * 17) % 7) as f32 * 0.01;
                    unit * (along + noise + 5.0)
                });
                let direction = Centred::new(&vectors).unwrap().top_direction().unwrap();
                assert!(
                    (direction[0].abs() - 0.5_f64.sqrt()).abs() < 0.02,
                    "{direction:?}"
                );
                assert!((direction[0] - direction[1]).abs() < 0.02);
            }
        }
        assert!(Centred::new(&Array2::ones((9, 3))).is_none());
        assert!(Centred::new(&Array2::zeros((0, 3))).is_none());
        assert!(Centred::new(&Array2::zeros((3, 0))).is_none());
    }
}
