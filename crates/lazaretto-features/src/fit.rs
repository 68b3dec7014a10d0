//! The fit pass: a mergeable sample, then all shared models from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use lazaretto_core::detector::DataFacts;
use lazaretto_core::shared::{Reference, Tokens};
use lazaretto_core::{Batch, FitContext, Intermediate, NO_LABEL, Role, Shared};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::classes::blended::BlendedClasses;
use crate::classes::boosted::{BoostedClasses, Tabulated};
use crate::classes::embedding::{Embedded, EmbeddingClasses};
use crate::classes::sparse::{Example, SparseClasses, SparsePlan};
use crate::classes::words::WordClassifier;
use crate::classes::{ClassProbabilities, MAX_CLASSES};
use crate::dense::DenseFeatures;
use crate::dense::tabular::ColumnScaler;
use crate::dense::text::{TextReduction, tokens_of};
use crate::everyone::{VectorPlan, reference_base};
use crate::model::{FeatureModel, Parts};
use crate::neighbors::NeighborSearch;
use crate::payload::{FeatureSource, Payload, Plan, ProbabilitySource};
use crate::sample::{KeyedSample, Sampled};
use crate::settings::FeatureSettings;

/// Records that models of the classes are trained on, at most.
const TRAINING_ROWS: usize = 50_000;
/// Records on which models of the classes are compared with each other, at most.
const COMPARED_ROWS: usize = 5_000;

/// Roles of the columns that [`FeatureFit::update`] reads when `wanted` is wanted.
#[must_use]
pub fn fit_roles(wanted: &BTreeSet<Intermediate>, facts: &DataFacts) -> Vec<Role> {
    Plan::new(wanted, facts).roles(false)
}

/// Roles of the columns that [`FeatureModel::derive`] reads when `wanted` is wanted.
#[must_use]
pub fn score_roles(wanted: &BTreeSet<Intermediate>, facts: &DataFacts) -> Vec<Role> {
    Plan::new(wanted, facts).roles(true)
}

/// Mergeable fit state of all shared intermediates: a keyed sample of the records.
///
/// Its memory is bounded by half of [`FitContext::memory_bytes`]; the sample is the same on any
/// partitioning.
#[derive(Debug, Serialize, Deserialize)]
pub struct FeatureFit {
    plan: Plan,
    settings: FeatureSettings,
    sample: KeyedSample<Payload>,
}

impl FeatureFit {
    /// An empty state for the intermediates in `wanted`; those that need no model (tokens, content
    /// hashes) are ignored.
    #[must_use]
    pub fn start(
        context: &FitContext,
        wanted: &BTreeSet<Intermediate>,
        settings: &FeatureSettings,
    ) -> Self {
        let plan = Plan::new(wanted, &context.facts);
        let max_rows = if plan.trains() {
            TRAINING_ROWS.max(settings.reference_rows)
        } else {
            settings.reference_rows
        };
        // The sample holds up to twice its size between prunings.
        let max_bytes = context.memory_bytes as u64 / 4;
        Self {
            plan,
            settings: settings.clone(),
            sample: KeyedSample::new(max_rows, max_bytes),
        }
    }

    /// Roles of the columns that [`Self::update`] reads.
    #[must_use]
    pub fn fit_roles(&self) -> Vec<Role> {
        self.plan.roles(false)
    }

    /// Adds a batch.
    pub fn update(&mut self, batch: &Batch<'_>) {
        if !self.plan.samples() {
            return;
        }
        for (row_idx, &key) in batch.keys.iter().enumerate() {
            let ordinal = batch.ordinal(row_idx);
            if self.sample.admits(key, ordinal) {
                let payload = Payload::of(self.plan, batch, row_idx);
                self.sample.push(key, ordinal, payload.bytes(), payload);
            }
        }
    }

    /// Adds the state of another partition.
    pub fn merge(&mut self, later: Self) {
        self.sample.merge(later.sample);
    }

    /// Fits all models, on the threads of the current rayon pool.
    #[must_use]
    pub fn finish(self, context: &FitContext) -> (Shared, FeatureModel) {
        let Self {
            plan,
            settings,
            sample,
        } = self;
        let rows = sample.into_rows();
        let builder = Builder {
            plan,
            settings: &settings,
            context,
            rows: &rows,
        };
        let mut notes = Vec::new();
        let features = builder.features();
        let sampled = builder.reference_rows().len() as u64;
        let reference = features
            .as_ref()
            .map(|features| builder.reference(features));
        let (probabilities, classifier) = builder.classes(&mut notes);
        let search = reference
            .as_ref()
            .filter(|_| plan.neighbors || plan.all_neighbors)
            .map(|reference| NeighborSearch::new(reference.features.clone(), settings.neighbors));
        let mut shared = Shared {
            facts: Arc::clone(&context.facts),
            seed: context.seed,
            reference: reference.filter(|_| plan.reference),
            neighbor_base: None,
            text_classifier: classifier.map(|classifier| Box::new(classifier) as _),
            trusted: None,
            evaluation: None,
        };
        let vectors = features
            .as_ref()
            .filter(|_| plan.all_neighbors && sampled < context.facts.n_rows)
            .and_then(|features| {
                let memory_bytes = context.memory_bytes;
                VectorPlan::new(&context.facts, &settings, features.dim(), memory_bytes)
            });
        if plan.all_neighbors
            && let (Some(reference), Some(search)) = (&shared.reference, &search)
        {
            // Those of a gathered base come later; nobody then asks for these.
            let known = vectors.is_none().then(|| search.among_each_other());
            shared.neighbor_base = Some(reference_base(reference, known));
        }
        let parts = Parts {
            plan,
            features,
            search,
            vectors,
            probabilities,
            notes,
        };
        let model = FeatureModel::new(parts, &shared, &settings);
        (shared, model)
    }
}

/// Builds the models from the sample, which is in key order.
struct Builder<'a> {
    plan: Plan,
    settings: &'a FeatureSettings,
    context: &'a FitContext,
    rows: &'a [Sampled<Payload>],
}

impl Builder<'_> {
    /// The records of the reference set, in key order.
    fn reference_rows(&self) -> &[Sampled<Payload>] {
        &self.rows[..self.rows.len().min(self.settings.reference_rows)]
    }

    fn features(&self) -> Option<DenseFeatures> {
        let payloads: Vec<&Payload> = self.reference_rows().iter().map(|r| &r.row).collect();
        Some(match self.plan.features? {
            FeatureSource::Embedding => DenseFeatures::Embedding {
                dim: self.context.facts.embedding_dim?,
                of_texts: self.context.facts.embedded_texts,
            },
            FeatureSource::Text => {
                let dim = self.settings.text_dim;
                DenseFeatures::Text(TextReduction::fit(&payloads, dim, self.context.seed))
            }
            FeatureSource::Tabular => DenseFeatures::Tabular(ColumnScaler::fit(&payloads)),
        })
    }

    /// The reference records that have features, in dataset order.
    fn reference(&self, features: &DenseFeatures) -> Reference {
        // The features, a centred copy, and what is made of them by detectors.
        let row_bytes = 4 * 4 * features.dim().max(1);
        let limit = (self.context.memory_bytes / row_bytes).max(64);
        let rows = self.reference_rows();
        let mut rows: Vec<&Sampled<Payload>> = rows[..rows.len().min(limit)].iter().collect();
        rows.sort_unstable_by_key(|row| row.ordinal);
        let payloads: Vec<&Payload> = rows.iter().map(|row| &row.row).collect();
        let features = features.of_payloads(&payloads);
        let usable: Vec<usize> = (0..rows.len())
            .filter(|&idx| features.row(idx).iter().all(|value| !value.is_nan()))
            .collect();
        Reference {
            features: features.select(ndarray::Axis(0), &usable),
            labels: usable.iter().map(|&idx| rows[idx].row.label).collect(),
            ordinals: usable.iter().map(|&idx| rows[idx].ordinal).collect(),
            keys: usable.iter().map(|&idx| rows[idx].key).collect(),
        }
    }

    /// Probabilities and text classifier, as far as they are planned and possible.
    fn classes(
        &self,
        notes: &mut Vec<String>,
    ) -> (Option<ClassProbabilities>, Option<WordClassifier>) {
        if self.plan.probabilities == Some(ProbabilitySource::Given) && !self.plan.trains() {
            return (Some(ClassProbabilities::Given), None);
        }
        if !self.plan.trains() {
            return (None, None);
        }
        let n_classes = self.context.facts.classes.len();
        if n_classes > MAX_CLASSES {
            notes.push(format!(
                "probabilities: none, `{n_classes}` classes are more than {MAX_CLASSES}"
            ));
            return (None, None);
        }
        let labelled: Vec<&Sampled<Payload>> = self
            .rows
            .iter()
            .filter(|row| row.row.label != NO_LABEL && (row.row.label as usize) < n_classes)
            .take(TRAINING_ROWS)
            .collect();
        let first = labelled.first().map(|row| row.row.label);
        if labelled.iter().all(|row| Some(row.row.label) == first) {
            notes.push("probabilities: none, the sample has fewer than two classes".to_owned());
            return (None, None);
        }
        match self.plan.probabilities {
            Some(ProbabilitySource::Embedding) => (
                self.embedding_classes(&labelled, notes)
                    .map(ClassProbabilities::Embedding),
                self.word_classifier(&labelled),
            ),
            Some(ProbabilitySource::Sparse {
                words,
                columns,
                vectors,
            }) => {
                let (classes, classifier) = self.sparse_classes(&labelled, words, columns);
                let classes = match classes {
                    Some(ClassProbabilities::Sparse(words)) if vectors => {
                        Some(self.blended_classes(&labelled, words, notes))
                    }
                    other => other,
                };
                (classes, classifier)
            }
            Some(ProbabilitySource::Given) => (
                Some(ClassProbabilities::Given),
                self.word_classifier(&labelled),
            ),
            None => (None, self.word_classifier(&labelled)),
        }
    }

    fn embedding_classes(
        &self,
        labelled: &[&Sampled<Payload>],
        notes: &mut Vec<String>,
    ) -> Option<EmbeddingClasses> {
        let dim = self.context.facts.embedding_dim?;
        let usable: Vec<Embedded<'_>> = labelled
            .iter()
            .map(|row| Embedded {
                key: row.key,
                label: row.row.label,
                embedding: &row.row.embedding,
            })
            .filter(|record| {
                let embedding = record.embedding;
                embedding.len() == dim && embedding.iter().all(|value| value.is_finite())
            })
            .collect();
        let n_classes = self.context.facts.classes.len();
        let memory_bytes = self.context.memory_bytes / 2;
        EmbeddingClasses::fit(&usable, dim, n_classes, self.settings.folds, memory_bytes)
            .inspect_err(|error| notes.push(format!("probabilities: none, {error}")))
            .ok()
    }

    fn boosted_classes(&self, labelled: &[&Sampled<Payload>]) -> Option<BoostedClasses> {
        let records: Vec<Tabulated<'_>> = labelled
            .iter()
            .map(|row| Tabulated {
                key: row.key,
                payload: &row.row,
            })
            .collect();
        let n_classes = self.context.facts.classes.len();
        BoostedClasses::fit(&records, n_classes, self.settings.folds)
    }

    fn word_classifier(&self, labelled: &[&Sampled<Payload>]) -> Option<WordClassifier> {
        self.plan
            .text_classifier
            .then(|| self.fit_sparse(labelled, true, false, false))?
            .word_classifier()
    }

    fn sparse_classes(
        &self,
        labelled: &[&Sampled<Payload>],
        words: bool,
        columns: bool,
    ) -> (Option<ClassProbabilities>, Option<WordClassifier>) {
        if !words && let Some(classes) = self.boosted_classes(labelled) {
            return (Some(ClassProbabilities::Boosted(classes)), None);
        }
        let classes = self.fit_sparse(labelled, words, columns, true);
        let classifier = if columns {
            self.word_classifier(labelled)
        } else {
            classes
                .word_classifier()
                .filter(|_| self.plan.text_classifier)
        };
        (Some(ClassProbabilities::Sparse(classes)), classifier)
    }

    /// The classes from words with those from the vectors of the texts.
    fn blended_classes(
        &self,
        labelled: &[&Sampled<Payload>],
        words: SparseClasses,
        notes: &mut Vec<String>,
    ) -> ClassProbabilities {
        let Some(vectors) = self.embedding_classes(labelled, notes) else {
            return ClassProbabilities::Sparse(words);
        };
        let compared = &labelled[..labelled.len().min(COMPARED_ROWS)];
        let payloads: Vec<&Payload> = compared.iter().map(|row| &row.row).collect();
        let tokens = tokens_of(&payloads);
        let of_words = words.of_examples(&examples(compared, &tokens));
        let dim = self.context.facts.embedding_dim.unwrap_or(0);
        let mut rows = Array2::from_elem((compared.len(), dim), f32::NAN);
        for (mut row, payload) in rows.rows_mut().into_iter().zip(&payloads) {
            row.iter_mut()
                .zip(&payload.embedding)
                .for_each(|(target, &value)| *target = value);
        }
        let keys: Vec<u64> = compared.iter().map(|row| row.key).collect();
        let of_vectors = vectors.of_rows(rows.view(), &keys);
        let labels: Vec<u32> = compared.iter().map(|row| row.row.label).collect();
        let both = (of_words.view(), of_vectors.view());
        ClassProbabilities::Blended(Box::new(BlendedClasses::new(words, vectors, both, &labels)))
    }

    fn fit_sparse(
        &self,
        labelled: &[&Sampled<Payload>],
        words: bool,
        columns: bool,
        blends: bool,
    ) -> SparseClasses {
        let payloads: Vec<&Payload> = labelled.iter().map(|row| &row.row).collect();
        let tokens: Vec<Tokens> = if words {
            tokens_of(&payloads)
        } else {
            vec![Tokens::default(); payloads.len()]
        };
        let plan = SparsePlan {
            n_classes: self.context.facts.classes.len(),
            folds: self.settings.folds,
            words,
            columns,
            blends,
            memory_bytes: self.context.memory_bytes / 2,
            seed: self.context.seed,
        };
        SparseClasses::fit(&examples(labelled, &tokens), plan)
    }
}

/// Labelled records with their words.
fn examples<'a>(labelled: &[&'a Sampled<Payload>], tokens: &'a [Tokens]) -> Vec<Example<'a>> {
    labelled
        .iter()
        .zip(tokens)
        .map(|(row, tokens)| Example {
            key: row.key,
            payload: &row.row,
            words: &tokens.hashes,
        })
        .collect()
}
