//! Logistic regression over dense rows, with matrix products.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};

use super::lbfgs::{self, Objective, Stop};
use super::softmax;
use super::sparse::penalty;

/// Rows per matrix product: logits of a block stay in the cache.
const BLOCK: usize = 1024;

/// Weights of `n_features × n_classes` and one bias per class.
#[derive(Clone, Debug)]
pub(crate) struct DenseModel {
    weights: Array2<f32>,
    bias: Vec<f32>,
}

impl DenseModel {
    /// Fits `features` (`n_rows × n_features`, finite) to `labels`.
    pub(crate) fn fit(features: ArrayView2<'_, f32>, labels: &[u32], n_classes: usize) -> Self {
        let n_features = features.ncols();
        let mut point = vec![0.0; (n_features + 1) * n_classes];
        let mut objective = DenseObjective {
            features: features.view(),
            labels,
            n_classes,
            logits: Array2::zeros((BLOCK, n_classes)),
        };
        let stop = Stop {
            max_iterations: 100,
            tolerance: 1e-5,
        };
        lbfgs::minimise(&mut objective, &mut point, stop);
        let bias = point.split_off(n_features * n_classes);
        let mut weights = Array2::zeros((n_features, n_classes));
        for (weight, value) in weights.iter_mut().zip(point) {
            *weight = value;
        }
        Self { weights, bias }
    }

    /// Class probabilities of each row of `features`; NaN rows stay NaN.
    pub(crate) fn probabilities(&self, features: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut probabilities = features.dot(&self.weights);
        for mut row in probabilities.rows_mut() {
            for (logit, bias) in row.iter_mut().zip(&self.bias) {
                *logit += bias;
            }
            if let Some(row) = row.as_slice_mut() {
                softmax(row);
            }
        }
        probabilities
    }
}

struct DenseObjective<'a> {
    features: ArrayView2<'a, f32>,
    labels: &'a [u32],
    n_classes: usize,
    logits: Array2<f32>,
}

impl Objective for DenseObjective<'_> {
    fn evaluate(&mut self, point: &[f32], gradient: &mut [f32]) -> f64 {
        let (n_rows, n_features) = self.features.dim();
        let bias_start = n_features * self.n_classes;
        let mut value = penalty(point, gradient, bias_start);
        let (weight_gradient, bias_gradient) = gradient.split_at_mut(bias_start);
        let shape = (n_features, self.n_classes);
        // The slices have exactly this size, see `DenseModel::fit`.
        let (Ok(weights), Ok(mut weight_gradient)) = (
            ArrayView2::from_shape(shape, &point[..bias_start]),
            ArrayViewMut2::from_shape(shape, weight_gradient),
        ) else {
            return value;
        };
        for start in (0..n_rows).step_by(BLOCK) {
            let end = (start + BLOCK).min(n_rows);
            let block = self.features.slice(s![start..end, ..]);
            let mut logits = self.logits.slice_mut(s![..end - start, ..]);
            ndarray::linalg::general_mat_mul(1.0, &block, &weights, 0.0, &mut logits);
            for (mut row, &label) in logits.rows_mut().into_iter().zip(&self.labels[start..end]) {
                for (logit, bias) in row.iter_mut().zip(&point[bias_start..]) {
                    *logit += bias;
                }
                let own = row[label as usize];
                if let Some(row) = row.as_slice_mut() {
                    value += f64::from(softmax(row) - own);
                }
                row[label as usize] -= 1.0;
                for (g, &residual) in bias_gradient.iter_mut().zip(&row) {
                    *g += residual;
                }
            }
            ndarray::linalg::general_mat_mul(1.0, &block.t(), &logits, 1.0, &mut weight_gradient);
        }
        value
    }
}
