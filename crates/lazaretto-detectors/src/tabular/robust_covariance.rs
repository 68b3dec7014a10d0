//! Where most of the records lie and how they spread, whatever the rest does.
//!
//! The minimum covariance determinant: the mean and covariance of that half of the records whose
//! covariance has the smallest determinant. Found by the concentration steps of `FastMCD`
//! (Rousseeuw & Van Driessen 1999, theorem 1) from deterministic starting halves as in `DetMCD`
//! (Hubert, Rousseeuw & Verdonck 2012), then re-weighted (section 5 of the former). Covariances
//! can be shrunk towards a multiple of the identity by the oracle-approximating weight (Chen, Wiesel,
//! Eldar & Hero 2010, equation 23), as the regularised MCD does (Boudt, Rousseeuw, Vanduffel &
//! Verdonck 2020): with fewer records than columns there is still an inverse. Where columns go
//! together the weight is felt up to hundreds of records per column, because next to nothing of
//! the variance lies in the directions that matter most.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{
    LltRegularization, cholesky_in_place, cholesky_in_place_scratch,
};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Mat, Par, Spec};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Concentration steps at most; they converge in three to ten.
const MAX_STEPS: usize = 20;
/// Wider data gets one start instead of three.
const MANY_STARTS_WIDTH: usize = 64;
/// Distances within this quantile count in the final estimate.
const KEPT_QUANTILE: f64 = 0.975;
/// Smallest share of the mean variance that the identity gets, so that an inverse always exists.
const LEAST_SHRINKAGE: f64 = 1e-6;

/// When a covariance is shrunk towards a multiple of the identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shrinkage {
    /// By the oracle-approximating weight.
    Always,
    /// By that weight where the covariance comes from fewer rows per column than this, otherwise
    /// only as much as an inverse needs.
    Below(f64),
}

impl Shrinkage {
    /// The covariance of `n` rows, shrunk or not.
    pub(crate) fn apply(self, covariance: Array2<f64>, n: usize) -> Array2<f64> {
        match self {
            Self::Below(rows_per_column)
                if n as f64 >= rows_per_column * covariance.nrows() as f64 =>
            {
                blended(covariance, LEAST_SHRINKAGE)
            }
            Self::Below(_) | Self::Always => shrunk(covariance, n),
        }
    }
}

/// A centre and the inverse of a covariance's Cholesky factor.
#[derive(Clone, Debug)]
pub(crate) struct Ellipsoid {
    centre: Array1<f64>,
    /// `L⁻ᵀ` of the covariance `L Lᵀ`, so that whitened rows are `(x − centre) · whitening`.
    whitening: Array2<f64>,
    ln_determinant: f64,
}

impl Ellipsoid {
    /// The minimum covariance determinant estimate of `rows` (`n × width`, finite), its covariances
    /// shrunk as `shrinkage` says.
    ///
    /// `None` with fewer than four rows or when they are all the same.
    pub(crate) fn robust(rows: ArrayView2<'_, f64>, shrinkage: Shrinkage) -> Option<Self> {
        let (n, width) = rows.dim();
        if n < 4 || width == 0 {
            return None;
        }
        let size = n.div_ceil(2);
        let median = medians(rows);
        let best = starts(rows, &median, size)
            .into_iter()
            .filter_map(|start| Self::concentrate(rows, start, shrinkage))
            // The first of equals, for the same result on every run.
            .reduce(|best, other| {
                if other.ln_determinant < best.ln_determinant {
                    other
                } else {
                    best
                }
            })?;
        Some(best.reweighted(rows, shrinkage).unwrap_or(best))
    }

    /// Mean and covariance of the rows with these positions.
    fn of(rows: ArrayView2<'_, f64>, positions: &[usize], shrinkage: Shrinkage) -> Option<Self> {
        let chosen = rows.select(Axis(0), positions);
        let centre = chosen.mean_axis(Axis(0))?;
        let centred = &chosen - &centre;
        let covariance = centred.t().dot(&centred) / positions.len() as f64;
        Self::new(centre, &shrinkage.apply(covariance, positions.len()))
    }

    /// From a centre and a covariance; `None` when it is not positive definite.
    pub(crate) fn new(centre: Array1<f64>, covariance: &Array2<f64>) -> Option<Self> {
        let width = centre.len();
        let mut factor = Mat::from_fn(width, width, |i, j| covariance[(i, j)]);
        let scratch = cholesky_in_place_scratch::<f64>(width, Par::Seq, Spec::default());
        let mut buffer = MemBuffer::new(scratch);
        cholesky_in_place(
            factor.as_mut(),
            LltRegularization::default(),
            Par::Seq,
            MemStack::new(&mut buffer),
            Spec::default(),
        )
        .ok()?;
        let ln_determinant: f64 = (0..width).map(|i| 2.0 * factor[(i, i)].ln()).sum();
        let mut inverse = Mat::<f64>::identity(width, width);
        solve_lower_triangular_in_place(factor.as_ref(), inverse.as_mut(), Par::Seq);
        let whitening = Array2::from_shape_fn((width, width), |(i, j)| {
            // The upper triangle of `factor` was never written; above the diagonal of the
            // inverse there are zeros.
            if j >= i { inverse[(j, i)] } else { 0.0 }
        });
        ln_determinant.is_finite().then_some(Self {
            centre,
            whitening,
            ln_determinant,
        })
    }

    /// Logarithm of the determinant of the covariance.
    pub(crate) fn ln_determinant(&self) -> f64 {
        self.ln_determinant
    }

    /// Squared Mahalanobis distance of each row.
    pub(crate) fn squared_distances(&self, rows: ArrayView2<'_, f64>) -> Vec<f64> {
        let white = (&rows - &self.centre).dot(&self.whitening);
        white.rows().into_iter().map(|row| row.dot(&row)).collect()
    }

    /// Concentration steps from a starting half until the half stays.
    fn concentrate(
        rows: ArrayView2<'_, f64>,
        start: Vec<usize>,
        shrinkage: Shrinkage,
    ) -> Option<Self> {
        let mut half = start;
        let mut fit = Self::of(rows, &half, shrinkage)?;
        for _ in 0..MAX_STEPS {
            let next = nearest(&fit.squared_distances(rows), half.len());
            if next == half {
                break;
            }
            half = next;
            fit = Self::of(rows, &half, shrinkage)?;
        }
        Some(fit)
    }

    /// The estimate from all rows that lie within the ellipsoid that should hold 97.5 % of them.
    fn reweighted(&self, rows: ArrayView2<'_, f64>, shrinkage: Shrinkage) -> Option<Self> {
        let distances = self.squared_distances(rows);
        let chi = ChiSquared::new(rows.ncols() as f64).ok()?;
        let mut sorted = distances.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        // Half of the records is too small an ellipsoid; their median distance says by how much.
        let too_small = sorted[sorted.len() / 2] / chi.inverse_cdf(0.5);
        let limit = chi.inverse_cdf(KEPT_QUANTILE) * too_small;
        let kept: Vec<usize> = (0..distances.len())
            .filter(|&idx| distances[idx] <= limit)
            .collect();
        Self::of(rows, &kept, shrinkage)
    }
}

/// Shrinks a covariance of `n` rows towards a multiple of the identity.
pub(crate) fn shrunk(covariance: Array2<f64>, n: usize) -> Array2<f64> {
    let width = covariance.nrows() as f64;
    let trace = covariance.diag().sum();
    let of_square: f64 = covariance.iter().map(|x| x * x).sum();
    let numerator = (1.0 - 2.0 / width) * of_square + trace * trace;
    let denominator = (n as f64 + 1.0 - 2.0 / width) * (of_square - trace * trace / width);
    let weight = if denominator > 0.0 {
        (numerator / denominator).clamp(LEAST_SHRINKAGE, 1.0)
    } else {
        1.0
    };
    blended(covariance, weight)
}

/// The covariance with `weight` of it replaced by a multiple of the identity of the same trace.
fn blended(mut covariance: Array2<f64>, weight: f64) -> Array2<f64> {
    let added = weight * covariance.diag().sum() / covariance.nrows() as f64;
    covariance *= 1.0 - weight;
    covariance.diag_mut().mapv_inplace(|x| x + added);
    covariance
}

/// The median of each column.
fn medians(rows: ArrayView2<'_, f64>) -> Array1<f64> {
    rows.axis_iter(Axis(1))
        .map(|column| {
            let mut values = column.to_vec();
            values.sort_unstable_by(f64::total_cmp);
            values[values.len() / 2]
        })
        .collect()
}

/// Positions of the `size` smallest distances, ascending; ties by position.
fn nearest(distances: &[f64], size: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..distances.len()).collect();
    order.sort_unstable_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(a.cmp(&b)));
    order.truncate(size);
    order.sort_unstable();
    order
}

/// Starting halves: nearest to the median, and nearest in the metrics of two covariances that
/// outliers cannot pull far (spatial signs; hyperbolic tangents).
fn starts(rows: ArrayView2<'_, f64>, median: &Array1<f64>, size: usize) -> Vec<Vec<usize>> {
    let centred = &rows - median;
    let lengths: Vec<f64> = centred.rows().into_iter().map(|r| r.dot(&r)).collect();
    let mut starts = vec![nearest(&lengths, size)];
    if rows.ncols() > MANY_STARTS_WIDTH {
        return starts;
    }
    let mut signs = centred.clone();
    for (mut row, length) in signs.rows_mut().into_iter().zip(&lengths) {
        if *length > 0.0 {
            row /= length.sqrt();
        }
    }
    let tangents = centred.mapv(f64::tanh);
    for bounded in [signs, tangents] {
        let covariance = bounded.t().dot(&bounded) / rows.nrows() as f64;
        if let Some(metric) = Ellipsoid::new(median.clone(), &shrunk(covariance, rows.nrows())) {
            starts.push(nearest(&metric.squared_distances(rows), size));
        }
    }
    starts
}
