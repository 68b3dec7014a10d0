//! Logistic regression over dense rows, by `linfa-logistic`.
//!
//! Its solver starts with a step as long as the gradient of a sum over all rows, which is thousands
//! of times too far: on plain standardised features it ended where its loss saturates, with nearly
//! twice the error of the optimum after twice the work. Features divided by `√n_rows`, and the
//! penalty with them, have the same optimum and a first step of the right length. The constant has
//! to be a feature for that, so it has a share in the penalty.

use linfa::DatasetBase;
use linfa::traits::Fit as _;
use linfa_logistic::{MultiFittedLogisticRegression, MultiLogisticRegression};
use ndarray::{Array1, Array2};
use thiserror::Error;

/// Penalty `1 / C` of features with variance 1: `C` = 0.1.
const PENALTY: f64 = 10.0;
/// Bounds the time; the tolerance is met earlier on all sets of the trial.
const MAX_ITERATIONS: u64 = 100;
/// Length of the gradient of the scaled objective, per `√n_rows`, at which the solver stops.
const TOLERANCE: f64 = 1e-3;

/// Why there is no model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum FitError {
    #[error("`{n_rows}` records outside of a fold have fewer than two classes")]
    TooFewClasses { n_rows: usize },
    #[error(
        "`{n_features}` features and `{n_classes}` classes need more memory; hint: raise the \
         memory limit"
    )]
    TooLarge { n_features: usize, n_classes: usize },
    #[error("the solver left the finite numbers")]
    Diverged,
    #[error("the solver failed: {0}")]
    Solver(#[from] linfa_logistic::error::Error),
}

/// A fitted model; classes that its training rows lack have probability 0.
#[derive(Clone, Debug)]
pub(crate) struct DenseModel {
    fitted: MultiFittedLogisticRegression<f64, usize>,
    scale: f64,
}

impl DenseModel {
    /// Fits `features` (`n_rows × n_features`, finite, of variance 1 or less, one of them constant)
    /// to `labels`.
    pub(crate) fn fit(mut features: Array2<f64>, labels: Array1<usize>) -> Result<Self, FitError> {
        let n_rows = features.nrows();
        if labels.iter().all(|label| Some(label) == labels.first()) {
            return Err(FitError::TooFewClasses { n_rows });
        }
        let scale = (n_rows as f64).sqrt().recip();
        features *= scale;
        let fitted = MultiLogisticRegression::default()
            .alpha(PENALTY * scale * scale)
            .with_intercept(false)
            .max_iterations(MAX_ITERATIONS)
            .gradient_tolerance(TOLERANCE / scale)
            .fit(&DatasetBase::new(features, labels))?;
        if fitted.params().iter().any(|weight| !weight.is_finite()) {
            return Err(FitError::Diverged);
        }
        Ok(Self { fitted, scale })
    }

    /// Class probabilities of each row of `features`, which are finite.
    pub(crate) fn probabilities(&self, mut features: Array2<f64>, n_classes: usize) -> Array2<f32> {
        let mut probabilities = Array2::zeros((features.nrows(), n_classes));
        features *= self.scale;
        let of_fitted = self.fitted.predict_probabilities(&features);
        for (&class, column) in self.fitted.classes().iter().zip(of_fitted.columns()) {
            probabilities
                .column_mut(class)
                .zip_mut_with(&column, |target, &value| *target = value as f32);
        }
        probabilities
    }

    /// Bytes that fitting takes: per row, and for the vectors of the solver.
    pub(crate) fn fit_bytes(n_features: usize, n_classes: usize) -> (usize, usize) {
        // The rows; targets, logits and what is made of them. Ten pairs and their copies.
        let row = 8 * (n_features + 6 * n_classes);
        (row, 8 * 48 * n_features * n_classes)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};

    use super::*;

    /// Reference: `LogisticRegression(C=0.1, fit_intercept=False)` of scikit-learn 1.9.1 on these rows.
    #[test]
    fn probabilities_are_those_of_the_optimum() {
        let features = array![
            [-1.5, 0.3, 1.0],
            [-0.7, -1.1, 1.0],
            [-0.9, 0.8, 1.0],
            [0.2, 1.6, 1.0],
            [0.1, 1.2, 1.0],
            [0.6, -0.9, 1.0],
            [1.3, -0.4, 1.0],
            [0.9, -1.5, 1.0],
        ];
        let model = DenseModel::fit(features.clone(), array![0, 0, 0, 3, 3, 1, 1, 1]).unwrap();
        let probabilities = model.probabilities(features, 4);
        for (row_idx, expected) in [
            (0, [0.4753, 0.2208, 0.0, 0.3039]),
            (4, [0.3233, 0.2699, 0.0, 0.4068]),
            (7, [0.2598, 0.5205, 0.0, 0.2198]),
        ] {
            let row = probabilities.index_axis(Axis(0), row_idx);
            let near = row
                .iter()
                .zip(expected)
                .all(|(p, e): (&f32, f32)| (p - e).abs() < 2e-3);
            assert!(near, "{row} instead of {expected:?}");
        }
    }

    #[test]
    fn one_class_is_an_error_and_no_rows_too() {
        let one = DenseModel::fit(Array2::ones((3, 2)), array![1, 1, 1]);
        assert!(matches!(one, Err(FitError::TooFewClasses { n_rows: 3 })));
        assert!(DenseModel::fit(Array2::ones((0, 2)), array![]).is_err());
    }
}
