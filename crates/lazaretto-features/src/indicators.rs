//! Out-of-fold classifiers over one indicator per column, for detectors that ask what a record
//! says without some of its columns.
//!
//! Each record has exactly one feature per column (a bin, a value, or "missing"), so taking a
//! column out of a logit is taking one weight out. Folds are those of the shared classifiers.

use crate::linear::folds::{fit_folds, fold_of};
use crate::linear::sparse::{SparseModel, SparseRows};

/// `√C` of every indicator, see the module `linear`.
const WEIGHT: f32 = 0.7;
/// Entries × classes of the training rows: bounds the time of a fold to about ten CPU seconds.
const MAX_WORK: usize = 100_000_000;

/// One multinomial logistic regression per fold.
#[derive(Debug)]
pub struct IndicatorModels {
    models: Vec<SparseModel>,
}

impl IndicatorModels {
    /// Fits `n_rows × width` features (row by row, each below `n_features`) in key order. The
    /// model of a fold sees the records of all other folds; of more records than can be fitted in
    /// bounded time, the first ones.
    ///
    /// `labels` are below `n_classes`; `keys` are the records' keyed hashes.
    #[must_use]
    pub fn fit(
        features: &[u32],
        width: usize,
        n_features: usize,
        labels: &[u32],
        n_classes: usize,
        keys: &[u64],
        folds: usize,
    ) -> Self {
        let affordable = MAX_WORK / (width * n_classes).max(1);
        let mut rows = SparseRows::default();
        let mut row = Vec::with_capacity(width);
        for features in features.chunks_exact(width.max(1)).take(affordable.max(1)) {
            row.clear();
            row.extend(features.iter().map(|&feature| (feature, WEIGHT)));
            rows.push(&row);
        }
        let n_rows = rows.n_rows();
        let models = fit_folds(&keys[..n_rows], folds, folds, |chosen| {
            SparseModel::fit(&rows, &labels[..n_rows], chosen, n_features, n_classes)
        });
        Self { models }
    }

    /// The fold whose model did not see the record with this key.
    #[must_use]
    pub fn fold_of(&self, key: u64) -> usize {
        fold_of(key, self.models.len())
    }

    /// Adds the bias of each class to `logits`.
    pub fn add_bias(&self, fold: usize, logits: &mut [f32]) {
        self.models[fold].add_bias(logits);
    }

    /// Adds what `feature` contributes to each class.
    pub fn add(&self, fold: usize, feature: u32, logits: &mut [f32]) {
        self.models[fold].add(feature, WEIGHT, logits);
    }
}
