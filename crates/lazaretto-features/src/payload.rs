//! What the fit pass keeps of a sampled record, and the plan that says what is needed.

use std::collections::BTreeSet;

use lazaretto_core::detector::DataFacts;
use lazaretto_core::{Batch, Intermediate, NO_LABEL, Role};
use serde::{Deserialize, Serialize};

/// Bytes of text that are kept per record and text field; longer texts are judged by their start
/// when the shared models are fitted, and as a whole when they are scored.
const MAX_TEXT_BYTES: usize = 8192;

/// Where the dense features come from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FeatureSource {
    Embedding,
    Text,
    Tabular,
}

/// Where the class probabilities come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ProbabilitySource {
    Given,
    Embedding,
    /// Text, tabular columns, or both; with `vectors`, those that an embedder makes of the texts
    /// besides.
    Sparse {
        words: bool,
        columns: bool,
        vectors: bool,
    },
}

/// What is wanted and possible on a dataset.
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set of independent parts, not a state machine"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Dense features, of the reference set and of each record.
    pub(crate) features: Option<FeatureSource>,
    pub(crate) reference: bool,
    pub(crate) neighbors: bool,
    /// Neighbours among all records.
    pub(crate) all_neighbors: bool,
    pub(crate) probabilities: Option<ProbabilitySource>,
    pub(crate) text_classifier: bool,
}

impl Plan {
    pub(crate) fn new(wanted: &BTreeSet<Intermediate>, facts: &DataFacts) -> Self {
        let want = |intermediate| wanted.contains(&intermediate);
        let neighbors = want(Intermediate::Neighbors);
        let all_neighbors = want(Intermediate::AllNeighbors);
        let reference = neighbors || all_neighbors || want(Intermediate::Reference);
        let source = if facts.embedding_dim.is_some() {
            Some(FeatureSource::Embedding)
        } else if facts.has_text() {
            Some(FeatureSource::Text)
        } else if facts.numeric_columns.is_empty() {
            None
        } else {
            Some(FeatureSource::Tabular)
        };
        let features = source.filter(|_| reference || want(Intermediate::Features));
        let columns = !facts.numeric_columns.is_empty() || !facts.categorical_columns.is_empty();
        let probabilities = if facts.probabilities_dim.is_some() {
            Some(ProbabilitySource::Given)
        } else if !facts.has_labels() {
            None
        } else if facts.embedding_dim.is_some() && !facts.embedded_texts {
            Some(ProbabilitySource::Embedding)
        } else if facts.has_text() || columns {
            Some(ProbabilitySource::Sparse {
                words: facts.has_text(),
                columns,
                vectors: facts.embedded_texts,
            })
        } else {
            None
        };
        Self {
            features,
            reference: reference && features.is_some(),
            neighbors: neighbors && features.is_some(),
            all_neighbors: all_neighbors && features.is_some(),
            probabilities: probabilities.filter(|_| want(Intermediate::Probabilities)),
            text_classifier: want(Intermediate::TextClassifier)
                && facts.has_text()
                && facts.has_labels(),
        }
    }

    /// Whether models of the classes are trained.
    pub(crate) fn trains(self) -> bool {
        self.text_classifier
            || self
                .probabilities
                .is_some_and(|source| source != ProbabilitySource::Given)
    }

    /// Whether the fit pass needs any record at all.
    pub(crate) fn samples(self) -> bool {
        self.trains() || self.features.is_some()
    }

    pub(crate) fn keeps_embedding(self) -> bool {
        self.features == Some(FeatureSource::Embedding)
            || matches!(
                self.probabilities,
                Some(
                    ProbabilitySource::Embedding | ProbabilitySource::Sparse { vectors: true, .. }
                )
            )
    }

    pub(crate) fn keeps_text(self) -> bool {
        self.features == Some(FeatureSource::Text)
            || self.text_classifier
            || matches!(
                self.probabilities,
                Some(ProbabilitySource::Sparse { words: true, .. })
            )
    }

    pub(crate) fn keeps_tabular(self) -> bool {
        self.features == Some(FeatureSource::Tabular)
            || matches!(
                self.probabilities,
                Some(ProbabilitySource::Sparse { columns: true, .. })
            )
    }

    /// Roles of the columns that are read, in the fit pass or in the score pass.
    pub(crate) fn roles(self, score: bool) -> Vec<Role> {
        let mut roles = Vec::new();
        if !score && self.samples() {
            roles.push(Role::Label);
        }
        if self.keeps_text() {
            roles.extend([Role::Text, Role::Prompt, Role::Response, Role::Messages]);
        }
        if self.keeps_embedding() {
            roles.push(Role::Embedding);
        }
        if score && self.probabilities == Some(ProbabilitySource::Given) {
            roles.push(Role::Probabilities);
        }
        if self.keeps_tabular() {
            roles.extend([Role::Numeric, Role::Categorical]);
        }
        roles
    }
}

/// What is kept of one record; parts that the plan does not need are empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) label: u32,
    /// The texts of all fields, a line each.
    pub(crate) text: String,
    pub(crate) embedding: Vec<f32>,
    pub(crate) numeric: Vec<f64>,
    pub(crate) categorical: Vec<u64>,
}

impl Payload {
    pub(crate) fn of(plan: Plan, batch: &Batch<'_>, row_idx: usize) -> Self {
        let mut payload = Self {
            label: batch.label(row_idx).unwrap_or(NO_LABEL),
            ..Self::default()
        };
        if plan.keeps_text() {
            for text in batch.texts.iter().filter_map(|field| field.get(row_idx)) {
                if !payload.text.is_empty() {
                    payload.text.push('\n');
                }
                payload
                    .text
                    .push_str(&text[..text.floor_char_boundary(MAX_TEXT_BYTES)]);
            }
        }
        if plan.keeps_embedding()
            && let Some(embedding) = batch.embedding
        {
            payload.embedding = embedding.row(row_idx).to_vec();
        }
        if plan.keeps_tabular() {
            if let Some(numeric) = batch.numeric {
                payload.numeric = numeric.row(row_idx).to_vec();
            }
            payload.categorical = batch.categorical.iter().map(|c| c[row_idx]).collect();
        }
        payload
    }

    /// Memory that it takes, with its place in the sample.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + 24
            + self.text.len()
            + 4 * self.embedding.len()
            + 8 * (self.numeric.len() + self.categorical.len())
    }
}
