//! Logistic regression over sparse rows.

use super::lbfgs::{self, Objective, Stop};
use super::softmax;

/// Sparse rows, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct SparseRows {
    offsets: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl SparseRows {
    /// Adds a row of (feature, value) pairs; a feature may repeat.
    pub(crate) fn push(&mut self, row: &[(u32, f32)]) {
        self.entries.extend_from_slice(row);
        self.offsets.push(self.entries.len());
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.offsets.len()
    }

    pub(crate) fn n_entries(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn row(&self, row_idx: usize) -> &[(u32, f32)] {
        let start = row_idx.checked_sub(1).map_or(0, |idx| self.offsets[idx]);
        &self.entries[start..self.offsets[row_idx]]
    }
}

/// Weights of `n_features × n_classes`, features outermost, then one bias per class.
#[derive(Clone, Debug)]
pub(crate) struct SparseModel {
    n_classes: usize,
    weights: Vec<f32>,
}

impl SparseModel {
    /// Fits the rows listed in `chosen`.
    pub(crate) fn fit(
        rows: &SparseRows,
        labels: &[u32],
        chosen: &[usize],
        n_features: usize,
        n_classes: usize,
    ) -> Self {
        let mut weights = vec![0.0; (n_features + 1) * n_classes];
        let mut objective = SparseObjective {
            rows,
            labels,
            chosen,
            n_classes,
            logits: vec![0.0; n_classes],
        };
        let stop = Stop {
            max_iterations: 60,
            tolerance: 1e-4,
        };
        lbfgs::minimise(&mut objective, &mut weights, stop);
        Self { n_classes, weights }
    }

    /// Multinomial naive Bayes over the rows listed in `chosen` (`McCallum` and Nigam 1998), which is
    /// linear in the features too: the weight of a feature is the logarithm of its share in its
    /// class, smoothed by `smoothing`. Features must not be negative; `unit` is their value in
    /// counts.
    pub(crate) fn naive_bayes(
        rows: &SparseRows,
        labels: &[u32],
        chosen: &[usize],
        (n_features, n_classes): (usize, usize),
        smoothing: f32,
        unit: f32,
    ) -> Self {
        let bias_start = n_features * n_classes;
        let mut weights = vec![smoothing; bias_start + n_classes];
        for &row_idx in chosen {
            let label = labels[row_idx] as usize;
            for &(feature, value) in rows.row(row_idx) {
                weights[feature as usize * n_classes + label] += value * unit;
            }
            weights[bias_start + label] += 1.0;
        }
        let (shares, counts) = weights.split_at_mut(bias_start);
        let mut totals = vec![0.0_f64; n_classes];
        for feature in shares.chunks_exact(n_classes) {
            for (total, &share) in totals.iter_mut().zip(feature) {
                *total += f64::from(share);
            }
        }
        for feature in shares.chunks_exact_mut(n_classes) {
            for (share, &total) in feature.iter_mut().zip(&totals) {
                *share = (f64::from(*share) / total).ln() as f32 * unit;
            }
        }
        // The share of a class in the rows follows from its smoothed count up to a constant.
        for count in counts {
            *count = count.ln();
        }
        Self { n_classes, weights }
    }

    /// The mean of the weights, and so of the logits, of two models of the same shape.
    pub(crate) fn mean(mut self, other: &Self) -> Self {
        for (weight, &other) in self.weights.iter_mut().zip(&other.weights) {
            *weight = f32::midpoint(*weight, other);
        }
        self
    }

    /// Adds the bias of each class.
    pub(crate) fn add_bias(&self, logits: &mut [f32]) {
        let start = self.weights.len() - self.n_classes;
        for (logit, &bias) in logits.iter_mut().zip(&self.weights[start..]) {
            *logit += bias;
        }
    }

    /// Adds `value` times the weights of `feature`.
    pub(crate) fn add(&self, feature: u32, value: f32, logits: &mut [f32]) {
        add_row(&self.weights, self.n_classes, feature, value, logits);
    }
}

fn add_row(weights: &[f32], n_classes: usize, feature: u32, value: f32, logits: &mut [f32]) {
    let start = feature as usize * n_classes;
    for (logit, &weight) in logits.iter_mut().zip(&weights[start..start + n_classes]) {
        *logit += value * weight;
    }
}

struct SparseObjective<'a> {
    rows: &'a SparseRows,
    labels: &'a [u32],
    chosen: &'a [usize],
    n_classes: usize,
    logits: Vec<f32>,
}

impl Objective for SparseObjective<'_> {
    fn evaluate(&mut self, point: &[f32], gradient: &mut [f32]) -> f64 {
        let n_classes = self.n_classes;
        let bias_start = point.len() - n_classes;
        let mut value = penalty(point, gradient, bias_start);
        for &row_idx in self.chosen {
            let row = self.rows.row(row_idx);
            self.logits.copy_from_slice(&point[bias_start..]);
            for &(feature, x) in row {
                add_row(point, n_classes, feature, x, &mut self.logits);
            }
            let label = self.labels[row_idx] as usize;
            let own = self.logits[label];
            value += f64::from(softmax(&mut self.logits) - own);
            self.logits[label] -= 1.0;
            for &(feature, x) in row {
                let start = feature as usize * n_classes;
                let target = &mut gradient[start..start + n_classes];
                for (g, &residual) in target.iter_mut().zip(&self.logits) {
                    *g += x * residual;
                }
            }
            for (g, &residual) in gradient[bias_start..].iter_mut().zip(&self.logits) {
                *g += residual;
            }
        }
        value
    }
}

/// The L2 penalty and its gradient. Biases get a trace of it, so that the bias of a class without
/// rows has a minimum.
fn penalty(point: &[f32], gradient: &mut [f32], bias_start: usize) -> f64 {
    const BIAS: f32 = 1e-3;
    let mut value = 0.0;
    for (idx, (g, &w)) in gradient.iter_mut().zip(point).enumerate() {
        let strength = if idx < bias_start { 1.0 } else { BIAS };
        *g = strength * w;
        value += 0.5 * f64::from(strength) * f64::from(w) * f64::from(w);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: `MultinomialNB(alpha=0.2, class_prior=[2.2 / 3.4, 1.2 / 3.4])` of scikit-learn
    /// 1.9.1 on these rows divided by 4.
    #[test]
    fn naive_bayes_is_that_of_the_textbook() {
        let mut rows = SparseRows::default();
        rows.push(&[(0, 4.0), (1, 2.0)]);
        rows.push(&[(1, 4.0)]);
        rows.push(&[(2, 4.0), (1, 1.0)]);
        rows.push(&[(0, 9.0)]);
        let model = SparseModel::naive_bayes(&rows, &[0, 0, 1, 1], &[0, 1, 2], (3, 2), 0.2, 0.25);
        let mut logits = [0.0; 2];
        model.add_bias(&mut logits);
        model.add(0, 4.0, &mut logits);
        model.add(1, 2.0, &mut logits);
        softmax(&mut logits);
        assert!((logits[0] - 0.907_89).abs() < 1e-3, "{logits:?}");
    }
}
