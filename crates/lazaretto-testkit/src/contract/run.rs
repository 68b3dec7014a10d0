//! Runs one detector over a dataset the way the engine does.

use lazaretto_core::{
    AnyEvidence, Batch, Derived, DynDetector, Finding, FitContext, Shared, TextField,
};
use ndarray::{Axis, Slice};

use super::dataset::Dataset;
use super::derive;

/// How a dataset is cut up for a run; results must not depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    /// Consecutive partitions, each with its own state.
    pub n_partitions: usize,
    /// Rows per batch at most.
    pub batch_rows: usize,
    /// Whether states and evidence are written to bytes and read back, in the middle of a partition's
    /// batches, before they are merged and after that.
    pub through_bytes: bool,
}

impl Pieces {
    /// One partition, one batch.
    pub const WHOLE: Self = Self {
        n_partitions: 1,
        batch_rows: usize::MAX,
        through_bytes: false,
    };
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Score of each record; empty when the detector abstained.
    pub scores: Vec<f32>,
    /// Findings, in the detector's order.
    pub findings: Vec<Finding>,
    /// Why the detector did not apply or abstained.
    pub abstained: Option<String>,
}

/// Equal to the bit, NaN included.
impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        let bits = |outcome: &Self| -> Vec<u32> {
            let scores = outcome.scores.iter();
            scores.map(|score| score.to_bits()).collect()
        };
        bits(self) == bits(other)
            && self.findings == other.findings
            && self.abstained == other.abstained
    }
}

impl Outcome {
    fn abstained(reason: String) -> Self {
        Self {
            scores: Vec::new(),
            findings: Vec::new(),
            abstained: Some(reason),
        }
    }

    /// Area under the ROC curve of the scores against `is_poison`; ties count half, records
    /// without a score rank lowest.
    ///
    /// # Panics
    /// When the lengths differ.
    #[must_use]
    pub fn auroc(&self, is_poison: &[bool]) -> f64 {
        assert_eq!(self.scores.len(), is_poison.len());
        let rank = |score: f32| if score.is_nan() { f32::MIN } else { score };
        let chosen = |wanted: bool| -> Vec<f32> {
            let pairs = self.scores.iter().zip(is_poison);
            pairs
                .filter(|(_, is)| **is == wanted)
                .map(|(&score, _)| rank(score))
                .collect()
        };
        let mut clean = chosen(false);
        clean.sort_by(f32::total_cmp);
        let poison = chosen(true);
        let wins: f64 = poison
            .iter()
            .map(|&score| {
                let below = clean.partition_point(|&other| other < score);
                let up_to = clean.partition_point(|&other| other <= score);
                (below + up_to) as f64 / 2.0
            })
            .sum();
        wins / (poison.len() * clean.len()) as f64
    }
}

/// Runs `detector` over `dataset`: fit per partition, merge, model, score, findings.
///
/// # Panics
/// When the detector panics or its state does not serialise.
#[must_use]
pub fn run(detector: &dyn DynDetector, dataset: &Dataset, seed: u64, pieces: Pieces) -> Outcome {
    if let Err(reason) = detector.applies(&dataset.facts) {
        return Outcome::abstained(reason.reason);
    }
    let context = FitContext {
        facts: dataset.facts.clone(),
        seed,
        memory_bytes: 64 << 20,
    };
    let partitions = partitions(dataset.n_rows(), pieces);
    let mut merged = detector.start(&context);
    for (partition_idx, batches) in partitions.iter().enumerate() {
        let mut state = detector.start(&context);
        for &(first, n_rows) in batches {
            with_batch(
                dataset,
                &derive::fit_pass(dataset, first, n_rows),
                first,
                n_rows,
                |batch| {
                    detector.fit(&context, &mut state, batch);
                },
            );
            if pieces.through_bytes {
                let bytes = detector.encode_state(&state).expect("state serialises");
                state = detector.decode_state(&bytes).expect("state reads back");
            }
        }
        if partition_idx == 0 {
            merged = state;
        } else {
            detector.merge(&context, &mut merged, state);
        }
        if pieces.through_bytes {
            let bytes = detector.encode_state(&merged).expect("state serialises");
            merged = detector.decode_state(&bytes).expect("state reads back");
        }
    }
    let reference = derive::reference(dataset);
    let trusted = reference
        .as_ref()
        .map(|reference| derive::trusted(dataset, reference));
    let shared = Shared {
        facts: dataset.facts.clone(),
        seed,
        neighbor_base: reference.as_ref().map(derive::neighbor_base),
        reference,
        text_classifier: derive::text_classifier(dataset),
        trusted,
        evaluation: derive::evaluation(dataset),
    };
    let model = match detector.model(&context, merged, &shared) {
        Ok(model) => model,
        Err(reason) => return Outcome::abstained(reason.reason),
    };
    let mut scores = Vec::with_capacity(dataset.n_rows());
    let mut evidence = detector.start_evidence(&model);
    for batches in &partitions {
        let mut later = detector.start_evidence(&model);
        for &(first, n_rows) in batches {
            let derived = derive::score_pass(dataset, &shared, first, n_rows);
            with_batch(dataset, &derived, first, n_rows, |batch| {
                let batch_scores = detector.score(&model, &shared, batch, &mut later);
                assert_eq!(batch_scores.len(), n_rows, "one score per record");
                scores.extend(batch_scores);
            });
        }
        if pieces.through_bytes {
            later = through_bytes(detector, &later);
            evidence = through_bytes(detector, &evidence);
        }
        detector.merge_evidence(&mut evidence, later);
    }
    Outcome {
        scores,
        findings: detector.finish(&model, &shared, evidence),
        abstained: None,
    }
}

fn through_bytes(detector: &dyn DynDetector, evidence: &AnyEvidence) -> AnyEvidence {
    let bytes = detector
        .encode_evidence(evidence)
        .expect("evidence serialises");
    detector
        .decode_evidence(&bytes)
        .expect("evidence reads back")
}

/// First row and number of rows of each batch of each partition.
fn partitions(n_rows: usize, pieces: Pieces) -> Vec<Vec<(usize, usize)>> {
    let n_partitions = pieces.n_partitions.max(1);
    (0..n_partitions)
        .map(|partition_idx| {
            let start = n_rows * partition_idx / n_partitions;
            let end = n_rows * (partition_idx + 1) / n_partitions;
            let step = pieces.batch_rows.clamp(1, n_rows.max(1));
            (start..end)
                .step_by(step)
                .map(|first| (first, step.min(end - first)))
                .collect()
        })
        .collect()
}

fn with_batch(
    dataset: &Dataset,
    derived: &Derived,
    first: usize,
    n_rows: usize,
    visit: impl FnOnce(&Batch<'_>),
) {
    let end = first + n_rows;
    let rows = Slice::from(first..end);
    let texts: Vec<TextField> = dataset
        .text_fields()
        .into_iter()
        .map(|(name, part, texts)| TextField {
            name: name.to_owned(),
            part,
            values: texts[first..end].iter().map(Option::as_deref).collect(),
        })
        .collect();
    visit(&Batch {
        first_row: first as u64,
        keys: &dataset.keys[first..end],
        labels: dataset.labels.as_ref().map(|labels| &labels[first..end]),
        sources: dataset.sources.as_ref().map(|sources| &sources[first..end]),
        times: dataset.times.as_ref().map(|times| &times[first..end]),
        texts: &texts,
        numeric: dataset
            .numeric
            .as_ref()
            .map(|values| values.slice_axis(Axis(0), rows)),
        categorical: &[],
        embedding: dataset
            .embedding
            .as_ref()
            .map(|values| values.slice_axis(Axis(0), rows)),
        given_probabilities: None,
        derived,
    });
}
