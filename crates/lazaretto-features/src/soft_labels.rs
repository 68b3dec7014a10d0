//! Two-component logistic regression over sparse rows whose targets are shares, not labels.
//!
//! This is the M step of a mixture whose component is known only with a probability: the objective
//! is `Σᵢ tᵢ·ln(1 + e^(−lᵢ)) + (1 − tᵢ)·ln(1 + e^(lᵢ)) + ‖w‖² / 2` with `lᵢ = w·xᵢ + b`, which is
//! what weighting both outcomes of every row by `tᵢ` and `1 − tᵢ` would give, at half the rows.

use crate::linear::lbfgs::{self, Objective, Stop};
use crate::linear::sparse::SparseRows;

/// Keeps the constant finite where all targets are the same, and is no other restraint.
const BIAS_PENALTY: f32 = 1e-3;

/// Sparse rows to learn from, one after the other.
#[derive(Clone, Debug, Default)]
pub struct SoftLabelRows {
    rows: SparseRows,
    n_features: usize,
}

impl SoftLabelRows {
    /// No rows yet, over features `0..n_features`.
    #[must_use]
    pub fn new(n_features: usize) -> Self {
        Self {
            rows: SparseRows::default(),
            n_features,
        }
    }

    /// Adds a row of (feature, value) pairs; features outside of the range are left out.
    pub fn push(&mut self, row: &[(u32, f32)]) {
        if row.iter().all(|&(feature, _)| self.knows(feature)) {
            self.rows.push(row);
        } else {
            let known = row.iter().filter(|(feature, _)| self.knows(*feature));
            let known: Vec<_> = known.copied().collect();
            self.rows.push(&known);
        }
    }

    fn knows(&self, feature: u32) -> bool {
        (feature as usize) < self.n_features
    }

    /// Number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.rows.n_rows()
    }

    /// Row `row_idx`.
    ///
    /// # Panics
    /// When there is no such row.
    #[must_use]
    pub fn row(&self, row_idx: usize) -> &[(u32, f32)] {
        self.rows.row(row_idx)
    }
}

/// The fitted weights.
#[derive(Clone, Debug)]
pub struct SoftLabelModel {
    /// One per feature, then the constant.
    weights: Vec<f32>,
}

impl SoftLabelModel {
    /// Fits the rows `chosen` to `targets` (one per row of `rows`, each in `0..=1`), from the
    /// weights of `start` on where there is one, in at most `max_iterations` steps. Sequential, so
    /// the result is the same on any number of threads.
    ///
    /// # Panics
    /// When a chosen row or its target does not exist, or `start` has other features.
    #[must_use]
    pub fn fit(
        rows: &SoftLabelRows,
        targets: &[f32],
        chosen: &[usize],
        start: Option<&Self>,
        max_iterations: usize,
    ) -> Self {
        let mut weights = start.map_or_else(
            || vec![0.0; rows.n_features + 1],
            |start| start.weights.clone(),
        );
        let mut objective = SoftObjective {
            rows: &rows.rows,
            targets,
            chosen,
        };
        let stop = Stop {
            max_iterations,
            tolerance: 1e-3,
        };
        lbfgs::minimise(&mut objective, &mut weights, stop);
        Self { weights }
    }

    /// `ln(p / (1 − p))` of `row`; features that were not there in the fit count nothing.
    #[must_use]
    pub fn log_odds(&self, row: &[(u32, f32)]) -> f32 {
        let last = self.weights.len() - 1;
        let known = row
            .iter()
            .filter(|&&(feature, _)| (feature as usize) < last);
        let sum: f32 = known
            .map(|&(feature, value)| self.weights[feature as usize] * value)
            .sum();
        self.weights[last] + sum
    }

    /// The weight of `feature`, 0 where it is unknown.
    #[must_use]
    pub fn weight(&self, feature: u32) -> f32 {
        let features = &self.weights[..self.weights.len() - 1];
        features.get(feature as usize).copied().unwrap_or(0.0)
    }
}

struct SoftObjective<'a> {
    rows: &'a SparseRows,
    targets: &'a [f32],
    chosen: &'a [usize],
}

impl Objective for SoftObjective<'_> {
    fn evaluate(&mut self, point: &[f32], gradient: &mut [f32]) -> f64 {
        let bias = point.len() - 1;
        let mut value = 0.0;
        for (idx, (g, &w)) in gradient.iter_mut().zip(point).enumerate() {
            let strength = if idx < bias { 1.0 } else { BIAS_PENALTY };
            *g = strength * w;
            value += 0.5 * f64::from(strength) * f64::from(w) * f64::from(w);
        }
        for &row_idx in self.chosen {
            let row = self.rows.row(row_idx);
            let target = self.targets[row_idx];
            let sum: f32 = row.iter().map(|&(f, x)| point[f as usize] * x).sum();
            let log_odds = point[bias] + sum;
            // ln(1 + e^l) − t·l, without overflow on either side.
            let softplus = log_odds.max(0.0) + (-log_odds.abs()).exp().ln_1p();
            value += f64::from(softplus - target * log_odds);
            let residual = 1.0 / (1.0 + (-log_odds).exp()) - target;
            for &(feature, x) in row {
                gradient[feature as usize] += x * residual;
            }
            gradient[bias] += residual;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: `LogisticRegression(C=1)` of scikit-learn 1.9.1, every row twice with sample
    /// weights `t` and `1 − t`.
    #[test]
    fn shares_are_learned_as_weighted_outcomes() {
        let mut rows = SoftLabelRows::new(2);
        let values = [[1.0, 0.0], [0.5, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.2]];
        for [a, b] in values {
            rows.push(&[(0, a), (1, b)]);
        }
        let targets = [0.9, 0.5, 0.1, 0.7, 0.2];
        let all: Vec<usize> = (0..rows.n_rows()).collect();
        let model = SoftLabelModel::fit(&rows, &targets, &all, None, 200);
        let found: Vec<f32> = all.iter().map(|&i| model.log_odds(rows.row(i))).collect();
        for (found, expected) in found.iter().zip(REFERENCE) {
            assert!((found - expected).abs() < 0.05, "{found} for {expected}");
        }
        let again = SoftLabelModel::fit(&rows, &targets, &all, Some(&model), 200);
        assert!((again.log_odds(rows.row(0)) - found[0]).abs() < 0.05);
    }

    const REFERENCE: [f32; 5] = [0.2721, -0.1340, -0.3929, 0.1250, -0.2752];

    #[test]
    fn foreign_features_count_nothing() {
        let mut rows = SoftLabelRows::new(1);
        rows.push(&[(0, 1.0), (9, 5.0)]);
        rows.push(&[]);
        let model = SoftLabelModel::fit(&rows, &[1.0, 0.0], &[0, 1], None, 50);
        assert!((model.log_odds(&[(0, 1.0), (7, 3.0)]) - model.log_odds(&[(0, 1.0)])).abs() < 1e-6);
        assert!(model.weight(0) > 0.0 && model.weight(9) == 0.0);
    }
}
