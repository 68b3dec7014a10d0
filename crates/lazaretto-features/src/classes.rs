//! Out-of-fold class probabilities: what the content of a record says about its label.
//!
//! Records fall into folds by their key. The model of a fold is trained on the reference records
//! of all other folds and scores the records of its own, also those outside the reference set: no
//! record is scored by a model that saw its label.

pub(crate) mod blended;
pub(crate) mod boosted;
pub(crate) mod columns;
pub(crate) mod embedding;
pub(crate) mod letters;
pub(crate) mod sparse;
pub(crate) mod words;

use ndarray::Array2;

use lazaretto_core::Batch;
use lazaretto_core::shared::Tokens;

use blended::BlendedClasses;
use boosted::BoostedClasses;
use embedding::EmbeddingClasses;
use sparse::SparseClasses;

/// Classes beyond which no model is trained: such a label is rather a name.
pub(crate) const MAX_CLASSES: usize = 1000;

/// How the class probabilities are computed.
#[derive(Debug)]
pub(crate) enum ClassProbabilities {
    /// Taken from the probabilities column.
    Given,
    Embedding(EmbeddingClasses),
    Boosted(BoostedClasses),
    Sparse(SparseClasses),
    /// Words and vectors.
    Blended(Box<BlendedClasses>),
}

impl ClassProbabilities {
    pub(crate) fn of_batch(&self, batch: &Batch<'_>, tokens: &[Tokens]) -> Option<Array2<f32>> {
        match self {
            Self::Given => batch.given_probabilities.map(|given| given.to_owned()),
            Self::Embedding(model) => model.probabilities(batch),
            Self::Boosted(model) => Some(model.probabilities(batch)),
            Self::Sparse(model) => Some(model.probabilities(batch, tokens)),
            Self::Blended(model) => Some(model.probabilities(batch, tokens)),
        }
    }

    /// One line for the report.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Given => "the probabilities column".to_owned(),
            Self::Embedding(model) => model.describe(),
            Self::Boosted(model) => model.describe(),
            Self::Sparse(model) => model.describe(),
            Self::Blended(model) => model.describe(),
        }
    }
}
