//! Naive Bayes whose memory follows the training rows and not features × classes.
//!
//! Of a thousand classes a feature is seen in few. Only these have a weight of their own; in all others
//! the feature has the share that smoothing gives it, which is one number per class.

use super::sparse::SparseRows;

/// Multinomial naive Bayes (`McCallum` and Nigam 1998) over sparse rows, with sparse weights. Gives the
/// logits of [`super::sparse::SparseModel::naive_bayes`] up to a constant per row.
#[derive(Clone, Debug)]
pub(crate) struct SparseBayes {
    /// By class: what each unit of any feature adds.
    unseen: Vec<f32>,
    /// By class: the logarithm of its share of the rows, up to a constant.
    bias: Vec<f32>,
    /// Where the entries of each feature end.
    ends: Vec<u32>,
    /// Class, and what a unit of the feature adds there beyond `unseen`.
    entries: Vec<(u32, f32)>,
}

impl SparseBayes {
    /// Bytes that a model takes for each entry of its rows, at most.
    pub(crate) const ENTRY_BYTES: usize = size_of::<(u32, f32)>();

    /// Fits the rows listed in `chosen`; `smoothing` and `unit` as for dense weights.
    ///
    /// At most `u32::MAX` entries of `rows` are read.
    pub(crate) fn fit(
        rows: &SparseRows,
        labels: &[u32],
        chosen: &[usize],
        (n_features, n_classes): (usize, usize),
        smoothing: f32,
        unit: f32,
    ) -> Self {
        // Entries by feature: a counting sort, which keeps the order of the rows.
        let mut starts = vec![0_u32; n_features + 1];
        for &row_idx in chosen {
            for &(feature, _) in rows.row(row_idx) {
                starts[feature as usize + 1] += 1;
            }
        }
        for feature in 0..n_features {
            starts[feature + 1] += starts[feature];
        }
        let mut entries = vec![(0_u32, 0.0_f32); starts[n_features] as usize];
        let mut sizes = vec![smoothing; n_classes];
        let mut totals = vec![f64::from(smoothing) * n_features as f64; n_classes];
        let mut next = starts.clone();
        for &row_idx in chosen {
            let label = labels[row_idx];
            sizes[label as usize] += 1.0;
            for &(feature, value) in rows.row(row_idx) {
                let slot = &mut next[feature as usize];
                entries[*slot as usize] = (label, value * unit);
                totals[label as usize] += f64::from(value * unit);
                *slot += 1;
            }
        }
        let mut ends = Vec::with_capacity(n_features);
        let mut kept = 0;
        for feature in 0..n_features {
            let own = starts[feature] as usize..starts[feature + 1] as usize;
            entries[own.clone()].sort_by_key(|&(class, _)| class);
            let first = kept;
            for at in own {
                let (class, value) = entries[at];
                if kept > first && entries[kept - 1].0 == class {
                    entries[kept - 1].1 += value;
                } else {
                    entries[kept] = (class, value);
                    kept += 1;
                }
            }
            ends.push(kept as u32);
        }
        entries.truncate(kept);
        entries.shrink_to_fit();
        for (_, count) in &mut entries {
            *count = (*count / smoothing).ln_1p() * unit;
        }
        Self {
            unseen: totals
                .iter()
                .map(|total| -total.ln() as f32 * unit)
                .collect(),
            bias: sizes.into_iter().map(f32::ln).collect(),
            ends,
            entries,
        }
    }

    /// Adds the bias of each class.
    pub(crate) fn add_bias(&self, logits: &mut [f32]) {
        for (logit, &bias) in logits.iter_mut().zip(&self.bias) {
            *logit += bias;
        }
    }

    /// Adds `value` times the weights of `feature`.
    pub(crate) fn add(&self, feature: u32, value: f32, logits: &mut [f32]) {
        for (logit, &unseen) in logits.iter_mut().zip(&self.unseen) {
            *logit += value * unseen;
        }
        let feature = feature as usize;
        let start = feature.checked_sub(1).map_or(0, |before| self.ends[before]);
        for &(class, weight) in &self.entries[start as usize..self.ends[feature] as usize] {
            logits[class as usize] += value * weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linear::softmax;
    use crate::linear::sparse::SparseModel;

    #[test]
    fn sparse_weights_say_what_dense_ones_say() {
        let mut rows = SparseRows::default();
        rows.push(&[(0, 4.0), (1, 2.0)]);
        rows.push(&[(1, 4.0), (3, 1.0)]);
        rows.push(&[(2, 4.0), (1, 1.0)]);
        rows.push(&[(0, 9.0)]);
        let (labels, chosen, shape) = ([0, 2, 0, 1], [0, 1, 2], (5, 4));
        let dense = SparseModel::naive_bayes(&rows, &labels, &chosen, shape, 0.2, 0.25);
        let sparse = SparseBayes::fit(&rows, &labels, &chosen, shape, 0.2, 0.25);
        for row in [
            &[(0_u32, 4.0_f32), (1, 2.0)][..],
            &[(4, 3.0)],
            &[(3, 2.0), (2, 1.0)],
            &[],
        ] {
            let (mut of_dense, mut of_sparse) = ([0.0; 4], [0.0; 4]);
            dense.add_bias(&mut of_dense);
            sparse.add_bias(&mut of_sparse);
            for &(feature, value) in row {
                dense.add(feature, value, &mut of_dense);
                sparse.add(feature, value, &mut of_sparse);
            }
            softmax(&mut of_dense);
            softmax(&mut of_sparse);
            for (a, b) in of_dense.iter().zip(&of_sparse) {
                assert!((a - b).abs() < 1e-5, "{of_dense:?} and {of_sparse:?}");
            }
        }
    }
}
