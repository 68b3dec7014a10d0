//! Class probabilities from embeddings.

use lazaretto_core::Batch;
use ndarray::{Array2, ArrayView2, Axis};

use crate::linear::dense::DenseModel;
use crate::linear::folds::{fit_folds, fold_of};

/// `√C` for standardised features, see [`crate::linear`]: `C` = 0.1.
const SCALE: f64 = 0.316;
/// Rows × features × classes of the training rows.
const MAX_WORK: usize = 1_000_000_000;

/// One model per fold over standardised embeddings.
#[derive(Debug)]
pub(crate) struct EmbeddingClasses {
    n_rows: usize,
    /// Mean and factor of each feature.
    standard: Vec<(f32, f32)>,
    models: Vec<DenseModel>,
}

impl EmbeddingClasses {
    /// Fits records in key order: `embeddings` is `n_rows × dim`, all finite.
    pub(crate) fn fit(
        embeddings: &Array2<f32>,
        labels: &[u32],
        keys: &[u64],
        n_classes: usize,
        folds: usize,
    ) -> Self {
        let work = (embeddings.ncols() * n_classes).max(1);
        let n_rows = embeddings.nrows().min((MAX_WORK / work).max(1000));
        let embeddings = embeddings.slice(ndarray::s![..n_rows, ..]);
        let standard = standard(embeddings);
        let standardised = standardise(embeddings, &standard);
        let models = fit_folds(&keys[..n_rows], folds, |chosen| {
            let rows = standardised.select(Axis(0), chosen);
            let labels: Vec<u32> = chosen.iter().map(|&idx| labels[idx]).collect();
            DenseModel::fit(rows.view(), &labels, n_classes)
        });
        Self {
            n_rows,
            standard,
            models,
        }
    }

    /// Out-of-fold probabilities, `n_rows × n_classes`; NaN for records without an embedding.
    pub(crate) fn probabilities(&self, batch: &Batch<'_>) -> Option<Array2<f32>> {
        let embedding = batch.embedding?;
        if embedding.ncols() != self.standard.len() {
            return None;
        }
        let standardised = standardise(embedding, &self.standard);
        let mut of_folds = self
            .models
            .iter()
            .map(|model| model.probabilities(standardised.view()));
        let mut probabilities = of_folds.next()?;
        for (fold, of_fold) in (1..).zip(of_folds) {
            for (row_idx, &key) in batch.keys.iter().enumerate() {
                if fold_of(key, self.models.len()) == fold {
                    probabilities.row_mut(row_idx).assign(&of_fold.row(row_idx));
                }
            }
        }
        Some(probabilities)
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "out-of-fold multinomial logistic regression over the embedding: {} records, {} folds",
            self.n_rows,
            self.models.len()
        )
    }
}

fn standard(embeddings: ArrayView2<'_, f32>) -> Vec<(f32, f32)> {
    let n = embeddings.nrows().max(1) as f64;
    let of_column = |column: ndarray::ArrayView1<'_, f32>| {
        let mean = column.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let squares = column.iter().map(|&x| (f64::from(x) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / n).sqrt();
        // A constant feature says nothing.
        let factor = if deviation > 1e-12 * mean.abs() && deviation > 0.0 {
            SCALE / deviation
        } else {
            0.0
        };
        (mean as f32, factor as f32)
    };
    embeddings.axis_iter(Axis(1)).map(of_column).collect()
}

fn standardise(embeddings: ArrayView2<'_, f32>, standard: &[(f32, f32)]) -> Array2<f32> {
    let mut standardised = embeddings.as_standard_layout().into_owned();
    for mut row in standardised.rows_mut() {
        for (value, &(mean, factor)) in row.iter_mut().zip(standard) {
            *value = (*value - mean) * factor;
        }
    }
    standardised
}
