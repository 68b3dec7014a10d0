//! Dense features of a record: its embedding, its reduced text or its scaled columns.
//!
//! A row of features is finite throughout or NaN throughout; the latter says that the record has
//! none (no embedding, no words, no values).

pub(crate) mod tabular;
pub(crate) mod text;

use ndarray::{Array2, ArrayViewMut1};

use lazaretto_core::Batch;
use lazaretto_core::shared::Tokens;

use crate::payload::Payload;
use tabular::ColumnScaler;
use text::TextReduction;

/// How the dense features are computed.
#[derive(Clone, Debug)]
pub(crate) enum DenseFeatures {
    Embedding { dim: usize, of_texts: bool },
    Text(TextReduction),
    Tabular(ColumnScaler),
}

impl DenseFeatures {
    pub(crate) fn dim(&self) -> usize {
        match self {
            Self::Embedding { dim, .. } => *dim,
            Self::Text(reduction) => reduction.dim(),
            Self::Tabular(scaler) => scaler.dim(),
        }
    }

    /// The features of sampled records.
    pub(crate) fn of_payloads(&self, payloads: &[&Payload]) -> Array2<f32> {
        let mut features = Array2::from_elem((payloads.len(), self.dim()), f32::NAN);
        match self {
            Self::Embedding { .. } => {
                for (mut row, payload) in features.rows_mut().into_iter().zip(payloads) {
                    row.iter_mut()
                        .zip(&payload.embedding)
                        .for_each(|(target, &value)| *target = value);
                }
            }
            Self::Text(reduction) => {
                let tokens = text::tokens_of(payloads);
                reduction.fill(&mut features, |row_idx, document| {
                    document.add(&payloads[row_idx].text, &tokens[row_idx], 0);
                });
            }
            Self::Tabular(scaler) => {
                for (row, payload) in features.rows_mut().into_iter().zip(payloads) {
                    scaler.fill(row, &payload.numeric, &payload.categorical);
                }
            }
        }
        blank_unusable_rows(&mut features);
        features
    }

    /// The features of a batch with the words `tokens`.
    pub(crate) fn of_batch(&self, batch: &Batch<'_>, tokens: &[Tokens]) -> Array2<f32> {
        let mut features = Array2::from_elem((batch.n_rows(), self.dim()), f32::NAN);
        match self {
            Self::Embedding { dim, .. } => {
                if let Some(embedding) = batch.embedding.filter(|e| e.ncols() == *dim) {
                    features.assign(&embedding);
                }
            }
            Self::Text(reduction) => reduction.fill(&mut features, |row_idx, document| {
                for (field, tokens) in batch.texts.iter().zip(tokens) {
                    if let Some(text) = field.get(row_idx) {
                        document.add(text, tokens, row_idx);
                    }
                }
            }),
            Self::Tabular(scaler) => {
                let mut numeric = Vec::new();
                let mut categorical = Vec::new();
                for (row_idx, row) in features.rows_mut().into_iter().enumerate() {
                    row_values(batch, row_idx, &mut numeric, &mut categorical);
                    scaler.fill(row, &numeric, &categorical);
                }
            }
        }
        blank_unusable_rows(&mut features);
        features
    }

    /// One line for the report.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Embedding { dim, of_texts } => {
                let origin = if *of_texts {
                    "vectors of the texts by the embedder"
                } else {
                    "the embedding column"
                };
                format!("{origin}, {dim} dimensions")
            }
            Self::Text(reduction) => reduction.describe(),
            Self::Tabular(scaler) => scaler.describe(),
        }
    }
}

/// The tabular values of a record of a batch.
pub(crate) fn row_values(
    batch: &Batch<'_>,
    row_idx: usize,
    numeric: &mut Vec<f64>,
    categorical: &mut Vec<u64>,
) {
    numeric.clear();
    if let Some(columns) = batch.numeric {
        numeric.extend(columns.row(row_idx));
    }
    categorical.clear();
    categorical.extend(batch.categorical.iter().map(|column| column[row_idx]));
}

fn blank_unusable_rows(features: &mut Array2<f32>) {
    for mut row in features.rows_mut() {
        if row.iter().any(|value| !value.is_finite()) {
            row.fill(f32::NAN);
        }
    }
}

/// Scales a row to length one; rows of zeros stay as they are.
pub(crate) fn normalise(mut row: ArrayViewMut1<'_, f32>) {
    let length = row.dot(&row).sqrt();
    if length > 0.0 {
        row /= length;
    }
}
