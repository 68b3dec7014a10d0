//! Runs one detector over a corpus in memory, as the engine would, for the tests of the text and
//! duplicate detectors.

use std::sync::Arc;

use arrow::array::LargeStringArray;
use lazaretto_core::{
    Action, Batch, ColumnFacts, DataFacts, Derived, Detector, Finding, FitContext, NO_LABEL,
    NotApplicable, RecordKey, Role, TextField, TextPart, state,
};
use lazaretto_features::{FeatureFit, FeatureSettings, tokenize};
use lazaretto_testkit::{InstructionSet, ReviewSet};
use ndarray::{Array2, ShapeBuilder};

/// Records per batch; small, so that partitions hold several.
const BATCH_ROWS: usize = 97;

/// A dataset in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Corpus {
    pub(crate) texts: Vec<String>,
    /// Responses; where there are some, `texts` are their prompts.
    pub(crate) responses: Vec<String>,
    /// The worse responses; empty without such a column.
    pub(crate) rejected: Vec<String>,
    /// [`NO_LABEL`] where there is none; empty without a label column.
    pub(crate) labels: Vec<u32>,
    /// Columns of numbers.
    pub(crate) numeric: Vec<Vec<f64>>,
    /// Columns of hashed words.
    pub(crate) categorical: Vec<Vec<u64>>,
    /// The same columns as text, null where there is none; empty where hashes are enough.
    pub(crate) category_texts: Vec<Vec<Option<String>>>,
    /// Indices of sources; empty without a source column.
    pub(crate) sources: Vec<u32>,
}

impl Corpus {
    pub(crate) fn of(set: &ReviewSet) -> Self {
        Self {
            texts: set.reviews.iter().map(|r| r.text.clone()).collect(),
            labels: set.reviews.iter().map(|r| r.label).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn of_instructions(set: &InstructionSet) -> Self {
        let rows = &set.instructions;
        Self {
            texts: rows.iter().map(|row| row.prompt.clone()).collect(),
            responses: rows.iter().map(|row| row.response.clone()).collect(),
            ..Self::default()
        }
    }

    /// Name, part and texts of each text field.
    fn fields(&self) -> Vec<(&'static str, TextPart, &[String])> {
        let fields = if self.responses.is_empty() {
            vec![("text", TextPart::Text, self.texts.as_slice())]
        } else {
            vec![
                ("prompt", TextPart::Prompt, self.texts.as_slice()),
                ("response", TextPart::Response, self.responses.as_slice()),
                ("rejected", TextPart::Rejected, self.rejected.as_slice()),
            ]
        };
        let filled = fields.into_iter().filter(|(_, _, texts)| !texts.is_empty());
        filled.collect()
    }

    pub(crate) fn unlabelled(texts: Vec<String>) -> Self {
        Self {
            texts,
            ..Self::default()
        }
    }

    pub(crate) fn n_rows(&self) -> usize {
        let columns = [self.texts.len(), self.labels.len()];
        let numeric = self.numeric.iter().map(Vec::len);
        let categorical = self.categorical.iter().map(Vec::len);
        columns
            .into_iter()
            .chain(numeric)
            .chain(categorical)
            .max()
            .unwrap_or(0)
    }

    pub(crate) fn facts(&self) -> DataFacts {
        let n_classes = self
            .labels
            .iter()
            .filter(|&&label| label != NO_LABEL)
            .max()
            .map_or(0, |&label| label as usize + 1);
        let mut class_counts = vec![0; n_classes];
        for &label in self.labels.iter().filter(|&&label| label != NO_LABEL) {
            class_counts[label as usize] += 1;
        }
        DataFacts {
            n_rows: self.n_rows() as u64,
            classes: (0..n_classes).map(|class| class.to_string()).collect(),
            class_counts,
            sources: (0..self.sources.iter().max().map_or(0, |&last| last + 1))
                .map(|source| format!("s{source}"))
                .collect(),
            columns: self
                .fields()
                .iter()
                .map(|&(name, part, _)| column(name, part))
                .collect(),
            text_fields: self
                .fields()
                .iter()
                .map(|(name, _, _)| (*name).to_owned())
                .collect(),
            numeric_columns: (0..self.numeric.len()).map(|i| format!("n{i}")).collect(),
            categorical_columns: (0..self.categorical.len())
                .map(|i| format!("c{i}"))
                .collect(),
            ..DataFacts::default()
        }
    }

    /// Calls `visit` with each batch of the records in `rows`.
    fn batches(&self, rows: std::ops::Range<usize>, mut visit: impl FnMut(&Batch<'_>)) {
        let key = RecordKey::new(1);
        let mut start = rows.start;
        while start < rows.end {
            let end = (start + BATCH_ROWS).min(rows.end);
            let keys: Vec<u64> = (start..end)
                .map(|row| key.of(&[0; 32], 0, row as u64))
                .collect();
            let texts: Vec<TextField> = self
                .fields()
                .into_iter()
                .map(|(name, part, texts)| TextField {
                    name: name.to_owned(),
                    part,
                    values: LargeStringArray::from_iter_values(&texts[start..end]),
                })
                .collect();
            let numeric = (!self.numeric.is_empty()).then(|| {
                Array2::from_shape_fn((end - start, self.numeric.len()).f(), |(row, column)| {
                    self.numeric[column][start + row]
                })
            });
            let categorical: Vec<Vec<u64>> = self
                .categorical
                .iter()
                .map(|column| column[start..end].to_vec())
                .collect();
            let categories = self.category_texts.iter();
            let derived = Derived {
                categories: categories
                    .map(|column| column[start..end].iter().map(Option::as_deref).collect())
                    .collect(),
                tokens: texts.iter().map(tokenize).collect(),
                content_hashes: (start..end).map(|row| self.content_hash(row)).collect(),
                ..Derived::default()
            };
            visit(&Batch {
                first_row: start as u64,
                keys: &keys,
                labels: (!self.labels.is_empty()).then(|| &self.labels[start..end]),
                sources: (!self.sources.is_empty()).then(|| &self.sources[start..end]),
                times: None,
                texts: &texts,
                numeric: numeric.as_ref().map(Array2::view),
                categorical: &categorical,
                embedding: None,
                given_probabilities: None,
                derived: &derived,
            });
            start = end;
        }
    }

    fn content_hash(&self, row: usize) -> u128 {
        let mut bytes = Vec::new();
        for (_, _, texts) in self.fields() {
            bytes.extend_from_slice(texts[row].as_bytes());
        }
        for column in &self.numeric {
            bytes.extend_from_slice(&column[row].to_le_bytes());
        }
        for column in &self.categorical {
            bytes.extend_from_slice(&column[row].to_le_bytes());
        }
        xxhash_rust::xxh3::xxh3_128(&bytes)
    }
}

fn column(name: &str, part: TextPart) -> ColumnFacts {
    ColumnFacts {
        name: name.to_owned(),
        data_type: "LargeUtf8".to_owned(),
        role: match part {
            TextPart::Text => Role::Text,
            TextPart::Prompt => Role::Prompt,
            TextPart::Response | TextPart::Rejected => Role::Response,
        },
        reason: "given".to_owned(),
    }
}

/// What a run over a corpus gave.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) scores: Vec<f32>,
    pub(crate) findings: Vec<Finding>,
    /// Why the detector abstained, if it did.
    pub(crate) abstained: Option<NotApplicable>,
}

impl Outcome {
    /// Ordinals that findings propose to hold back.
    pub(crate) fn quarantined(&self) -> Vec<u64> {
        let mut rows: Vec<u64> = self
            .findings
            .iter()
            .filter(|finding| finding.action == Action::Quarantine)
            .flat_map(|finding| finding.records.iter().copied())
            .collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// Recall and precision of what is held back against the truth of `set`.
    pub(crate) fn recall_precision(&self, set: &ReviewSet) -> (f64, f64) {
        let truth = set.truth();
        let rows = self.quarantined();
        let hits = rows
            .iter()
            .filter(|&&row| truth[row as usize].is_some())
            .count() as f64;
        let poison = truth.iter().flatten().count() as f64;
        (hits / poison, hits / (rows.len() as f64).max(1.0))
    }
}

/// Fits, merges and scores `corpus` in `partitions` parts; states pass through their bytes.
pub(crate) fn run<D: Detector>(params: D::Params, corpus: &Corpus, partitions: usize) -> Outcome {
    run_with_memory::<D>(params, corpus, partitions, 1 << 30)
}

/// The same with a limit on the bytes of state.
pub(crate) fn run_with_memory<D: Detector>(
    params: D::Params,
    corpus: &Corpus,
    partitions: usize,
    memory_bytes: usize,
) -> Outcome {
    let detector = D::new(params);
    let facts = Arc::new(corpus.facts());
    let context = FitContext {
        facts: Arc::clone(&facts),
        seed: 1,
        memory_bytes,
    };
    detector.applies(&facts).expect("applies to the corpus");
    let n_rows = corpus.n_rows();
    let parts: Vec<_> = (0..partitions)
        .map(|part| part * n_rows / partitions..(part + 1) * n_rows / partitions)
        .collect();
    let mut state = detector.start(&context);
    for part in &parts {
        let mut later = detector.start(&context);
        corpus.batches(part.clone(), |batch| {
            detector.fit(&context, &mut later, batch);
        });
        let bytes = state::encode(D::SPEC.id, 1, &later).expect("encodes");
        let later = state::decode(D::SPEC.id, 1, &bytes).expect("decodes");
        detector.merge(&context, &mut state, later);
    }
    let wanted = D::SPEC.intermediates.iter().copied().collect();
    let mut features = FeatureFit::start(&context, &wanted, &FeatureSettings::default());
    corpus.batches(0..n_rows, |batch| features.update(batch));
    let (shared, _) = features.finish(&context);
    let model = match detector.model(&context, state, &shared) {
        Ok(model) => model,
        Err(reason) => {
            return Outcome {
                scores: Vec::new(),
                findings: Vec::new(),
                abstained: Some(reason),
            };
        }
    };
    let mut evidence = detector.start_evidence(&model);
    let mut scores = Vec::new();
    for part in parts {
        let mut later = detector.start_evidence(&model);
        corpus.batches(part, |batch| {
            scores.extend(detector.score(&model, &shared, batch, &mut later));
        });
        let bytes = state::encode(D::SPEC.id, 1, &later).expect("encodes");
        let later = state::decode(D::SPEC.id, 1, &bytes).expect("decodes");
        detector.merge_evidence(&mut evidence, later);
    }
    Outcome {
        scores,
        findings: detector.finish(&model, &shared, evidence),
        abstained: None,
    }
}
