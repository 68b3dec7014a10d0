//! A ridge probe, and how the weight of a record in its training moves its loss on trusted records.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{
    LltRegularization, cholesky_in_place, cholesky_in_place_scratch,
};
use faer::linalg::cholesky::llt::solve::solve_in_place;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Spec};
use ndarray::ArrayView2;

use crate::embedding::spectrum::{dot, multiply};

use super::scale::Scaled;

/// Rows whose products are summed at a time.
const BLOCK_ROWS: usize = 1024;

/// Labelled records on one scale.
#[derive(Clone, Copy)]
pub(super) struct Labelled<'a> {
    /// `n_rows × dim`; none is NaN.
    pub(super) features: ArrayView2<'a, f32>,
    /// Class index of each, below the number of classes.
    pub(super) labels: &'a [u32],
}

/// Sums over records, of which everything else is made.
struct Sums {
    /// Mean of `x xᵀ`, `dim × dim`.
    square: Mat<f64>,
    /// Mean of `x yᵀ` with `y` the indicator of the class, `dim × n_classes`.
    cross: Mat<f64>,
    /// Mean of `x`.
    mean: Vec<f64>,
    /// Share of each class.
    shares: Vec<f64>,
}

impl Sums {
    fn of(records: Labelled<'_>, scale: &Scaled, n_classes: usize) -> Self {
        let dim = scale.dim();
        let n_rows = records.labels.len();
        let mut square = Mat::<f64>::zeros(dim, dim);
        let mut cross = Mat::<f64>::zeros(dim, n_classes);
        let mut mean = vec![0.0; dim];
        let mut shares = vec![0.0; n_classes];
        let mut scaled = vec![0.0; dim];
        let weight = 1.0 / n_rows as f64;
        for start in (0..n_rows).step_by(BLOCK_ROWS) {
            let n_block = BLOCK_ROWS.min(n_rows - start);
            let mut block = Mat::<f64>::zeros(dim, n_block);
            for offset in 0..n_block {
                let row = records.features.row(start + offset);
                scale.apply(row, &mut scaled);
                let class = records.labels[start + offset] as usize;
                shares[class] += weight;
                for (idx, &value) in scaled.iter().enumerate() {
                    let value = f64::from(value);
                    block[(idx, offset)] = value;
                    cross[(idx, class)] += weight * value;
                    mean[idx] += weight * value;
                }
            }
            matmul(
                square.as_mut(),
                Accum::Add,
                block.as_ref(),
                block.transpose(),
                weight,
                Par::Seq,
            );
        }
        Self {
            square,
            cross,
            mean,
            shares,
        }
    }

    /// Takes the mean out: covariances instead of mean products.
    fn centred(mut self) -> Self {
        let dim = self.mean.len();
        for column in 0..dim {
            for row in 0..dim {
                self.square[(row, column)] -= self.mean[row] * self.mean[column];
            }
        }
        for (class, share) in self.shares.iter().enumerate() {
            for row in 0..dim {
                self.cross[(row, class)] -= self.mean[row] * share;
            }
        }
        self
    }
}

/// A least-squares probe with a ridge, fitted to the dataset.
pub(super) struct Probe {
    scale: Scaled,
    /// Lower triangular factor of the matrix of the equations, `H`.
    factor: Mat<f64>,
    /// `W`, `dim × n_classes`.
    fit: Mat<f64>,
    /// Share of each class.
    shares: Vec<f64>,
}

impl Probe {
    /// Fits to `data`; `None` when the equations cannot be solved, which takes features that are
    /// not finite. Cost: `n_rows · dim² + dim³`.
    pub(super) fn fit(
        data: Labelled<'_>,
        scale: Scaled,
        n_classes: usize,
        ridge: f64,
    ) -> Option<Self> {
        let Sums {
            square: mut factor,
            cross,
            shares,
            ..
        } = Sums::of(data, &scale, n_classes).centred();
        let dim = scale.dim();
        for idx in 0..dim {
            factor[(idx, idx)] += ridge;
        }
        let scratch = cholesky_in_place_scratch::<f64>(dim, Par::Seq, Spec::default());
        let mut buffer = MemBuffer::new(scratch);
        cholesky_in_place(
            factor.as_mut(),
            LltRegularization::default(),
            Par::Seq,
            MemStack::new(&mut buffer),
            Spec::default(),
        )
        .ok()?;
        let fit = solved(&factor, cross)?;
        Some(Self {
            scale,
            factor,
            fit,
            shares,
        })
    }

    /// What `trusted` says about the probe's path; `None` when it is not finite.
    pub(super) fn influence(&self, trusted: Labelled<'_>) -> Option<Influence> {
        let trusted = Sums::of(trusted, &self.scale, self.n_classes()).centred();
        let by_fit = solved(
            &self.factor,
            multiply(trusted.square.as_ref(), self.fit.as_ref()),
        )?;
        let by_label = solved(&self.factor, trusted.cross)?;
        Some(Influence::assemble(
            &self.fit,
            &by_fit,
            &by_label,
            &self.shares,
        ))
    }

    pub(super) fn n_classes(&self) -> usize {
        self.shares.len()
    }

    pub(super) fn scale(&self) -> &Scaled {
        &self.scale
    }

    pub(super) fn into_scale(self) -> Scaled {
        self.scale
    }
}

/// `H⁻¹ right`, where that is finite.
fn solved(factor: &Mat<f64>, mut right: Mat<f64>) -> Option<Mat<f64>> {
    let stack = MemStack::new(&mut []);
    solve_in_place(factor.as_ref(), right.as_mut(), Par::Seq, stack);
    let finite = |column: usize| right.col(column).iter().all(|value| value.is_finite());
    (0..right.ncols()).all(finite).then_some(right)
}

/// The influence of a record as a function of its features and its class.
///
/// With `z = Wᵀx` the fit, `u = Uᵀx`, `v = Vᵀx` and `t` the record's label less the class shares,
/// the mean over the path is `−(u·z/3 − u·t/2 − v·z/2 + v·t)`: a quadratic form in `x` that all
/// classes share, and a linear one for each class.
#[derive(Debug)]
pub(super) struct Influence {
    quadratic: Quadratic,
    /// For each class the direction of its linear part.
    linear: Vec<Vec<f64>>,
}

/// `Σₖ (leftₖ·x)(rightₖ·x)`, with as few products as can be had.
#[derive(Debug)]
enum Quadratic {
    /// A pair of directions per class.
    Pairs(Vec<(Vec<f64>, Vec<f64>)>),
    /// A direction per feature, whose partner is the feature itself.
    Rows(Vec<Vec<f64>>),
}

impl Influence {
    /// From `W`, `U`, `V` and the class shares.
    fn assemble(fit: &Mat<f64>, by_fit: &Mat<f64>, by_label: &Mat<f64>, shares: &[f64]) -> Self {
        let (dim, n_classes) = (fit.nrows(), fit.ncols());
        // What a record's own class is worth, before the average over classes is taken off.
        let worth = Mat::from_fn(dim, n_classes, |row, class| {
            by_fit[(row, class)] / 2.0 - by_label[(row, class)]
        });
        let mean: Vec<f64> = (0..dim)
            .map(|row| (0..n_classes).map(|c| shares[c] * worth[(row, c)]).sum())
            .collect();
        let linear = (0..n_classes)
            .map(|class| {
                (0..dim)
                    .map(|row| worth[(row, class)] - mean[row])
                    .collect()
            })
            .collect();
        let left = Mat::from_fn(dim, n_classes, |row, class| {
            by_label[(row, class)] / 2.0 - by_fit[(row, class)] / 3.0
        });
        let column = |matrix: &Mat<f64>, idx: usize| matrix.col(idx).iter().copied().collect();
        let quadratic = if 2 * n_classes <= dim {
            let pairs = (0..n_classes).map(|class| (column(&left, class), column(fit, class)));
            Quadratic::Pairs(pairs.collect())
        } else {
            // Transposed, so that a row of the product is a column here.
            let product = multiply(fit.as_ref(), left.transpose());
            Quadratic::Rows((0..dim).map(|idx| column(&product, idx)).collect())
        };
        Self { quadratic, linear }
    }

    /// The influence of a record with these scaled features and this class.
    pub(super) fn of(&self, scaled: &[f32], class: usize) -> f64 {
        let quadratic: f64 = match &self.quadratic {
            Quadratic::Pairs(pairs) => pairs
                .iter()
                .map(|(left, right)| dot(scaled, left) * dot(scaled, right))
                .sum(),
            Quadratic::Rows(rows) => rows
                .iter()
                .zip(scaled)
                .map(|(row, &value)| dot(scaled, row) * f64::from(value))
                .sum(),
        };
        quadratic + dot(scaled, &self.linear[class])
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2, Axis};
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn records(n_rows: usize, dim: usize, n_classes: u32, seed: u64) -> (Array2<f32>, Vec<u32>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<u32> = (0..n_rows).map(|_| rng.gen_range(0..n_classes)).collect();
        let features = Array2::from_shape_fn((n_rows, dim), |(row, column)| {
            let centre = f32::from(column as u32 % n_classes == labels[row]);
            centre + rng.gen_range(-1.0..1.0)
        });
        (features, labels)
    }

    fn labelled(records: &(Array2<f32>, Vec<u32>)) -> Labelled<'_> {
        Labelled {
            features: records.0.view(),
            labels: &records.1,
        }
    }

    /// Gradient steps instead of algebra: the loss on trusted records as one record gains weight,
    /// with the probe held a part of the way between nothing and its fit.
    fn by_differences(
        data: &(Array2<f64>, Array2<f64>),
        trusted: &(Array2<f64>, Array2<f64>),
        ridge: f64,
        record: usize,
    ) -> f64 {
        let (x, t) = data;
        let n = x.nrows() as f64;
        let dim = x.ncols();
        let mut hessian = x.t().dot(x) / n;
        hessian.diag_mut().mapv_inplace(|value| value + ridge);
        let inverse = inverse(&hessian);
        let fit = inverse.dot(&(x.t().dot(t) / n));
        let loss = |weights: &Array2<f64>| {
            let residual = trusted.0.dot(weights) - &trusted.1;
            0.5 * residual.mapv(|r| r * r).sum() / trusted.0.nrows() as f64
        };
        let steps = 200;
        let mut total = 0.0;
        for step in 0..steps {
            let part = (f64::from(step) + 0.5) / f64::from(steps);
            let weights = &fit * part;
            let row: Array1<f64> = x.row(record).to_owned();
            let residual = row.dot(&weights) - t.row(record);
            let gradient = Array2::from_shape_fn((dim, t.ncols()), |(i, c)| row[i] * residual[c]);
            let moved = inverse.dot(&gradient);
            let small = 1e-5;
            total += (loss(&(&weights - &(&moved * small)))
                - loss(&(&weights + &(&moved * small))))
                / (2.0 * small);
        }
        total / f64::from(steps)
    }

    /// By Gauss and Jordan, of a well-conditioned matrix.
    fn inverse(matrix: &Array2<f64>) -> Array2<f64> {
        let n = matrix.nrows();
        let mut left = matrix.clone();
        let mut right = Array2::<f64>::eye(n);
        for pivot in 0..n {
            let scale = left[(pivot, pivot)];
            left.row_mut(pivot).mapv_inplace(|value| value / scale);
            right.row_mut(pivot).mapv_inplace(|value| value / scale);
            for row in (0..n).filter(|&row| row != pivot) {
                let factor = left[(row, pivot)];
                let (of_left, of_right) = (left.row(pivot).to_owned(), right.row(pivot).to_owned());
                left.row_mut(row).scaled_add(-factor, &of_left);
                right.row_mut(row).scaled_add(-factor, &of_right);
            }
        }
        right
    }

    /// Scaled features and labels, both less their mean.
    fn centred(
        records: &(Array2<f32>, Vec<u32>),
        scale: &Scaled,
        n_classes: usize,
    ) -> (Array2<f64>, Array2<f64>) {
        let mut scaled = vec![0.0; scale.dim()];
        let mut x = Array2::zeros((records.1.len(), scale.dim()));
        for (row, mut target) in records.0.rows().into_iter().zip(x.rows_mut()) {
            scale.apply(row, &mut scaled);
            for (target, &value) in target.iter_mut().zip(&scaled) {
                *target = f64::from(value);
            }
        }
        let y = Array2::from_shape_fn((records.1.len(), n_classes), |(row, class)| {
            f64::from(records.1[row] as usize == class)
        });
        let (mean_x, mean_y) = (x.mean_axis(Axis(0)).unwrap(), y.mean_axis(Axis(0)).unwrap());
        (x - mean_x, y - mean_y)
    }

    #[test]
    fn the_closed_form_is_the_mean_derivative_along_the_path() {
        // Few and many classes: both ways of holding the quadratic form.
        for (dim, n_classes) in [(7, 3), (4, 5)] {
            let data = records(60, dim, n_classes, 1);
            let trusted = records(30, dim, n_classes, 2);
            let scale = Scaled::of(data.0.view()).unwrap();
            let n_classes = n_classes as usize;
            let probe = Probe::fit(labelled(&data), scale, n_classes, 0.5).unwrap();
            let influence = probe.influence(labelled(&trusted)).unwrap();
            let scale = probe.into_scale();
            let plain = centred(&data, &scale, n_classes);
            let yardstick = centred(&trusted, &scale, n_classes);
            let mut scaled = vec![0.0; scale.dim()];
            for record in 0..8 {
                scale.apply(data.0.row(record), &mut scaled);
                let found = influence.of(&scaled, data.1[record] as usize);
                let expected = by_differences(&plain, &yardstick, 0.5, record);
                assert!(
                    (found - expected).abs() < 1e-3 * (1.0 + expected.abs()),
                    "{found} is not {expected}"
                );
            }
        }
    }
}
