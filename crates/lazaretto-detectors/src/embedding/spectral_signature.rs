//! `spectral-signature`: records that stretch their class in one direction.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::embedding::class_sample::{ClassSample, SampledClass, needs_labelled_vectors};
use crate::embedding::robust_scale::RobustScale;
use crate::embedding::spectrum::{Centred, dot};

/// A class with fewer vectors than this has no direction worth the name.
const MIN_RECORDS: usize = 20;

/// Rows scored together.
const BLOCK_ROWS: usize = 1024;

/// Most values sampled of one class: 2048 vectors of 2048 numbers.
const MAX_VALUES: usize = 1 << 22;

/// Scores each record by how far it lies along the direction in which its class varies most.
///
/// # What it finds
/// Records that carry a backdoor's common feature: vectors of one class that are all moved the
/// same way, so that they stretch the class in one direction.
///
/// # Why it matters
/// A model that learned a trigger represents it by a strong common component, whatever else is in
/// the record. A few hundred such records teach the model to give the trigger's class to anything.
///
/// # How it works
/// For each class the mean vector and the direction of largest variance (the first right singular
/// vector of the centred vectors) are computed from at most `sample` records, chosen by keyed hash.
/// A record's spectral score is the magnitude of its projection onto the direction of its class,
/// with the class mean subtracted first (`centred`) or not. Each class is then standardised by its
/// own median and median absolute deviation, which leaves the order inside a class as it is and
/// makes classes comparable: 3 means three robust standard deviations above the class's median.
///
/// Uncentred projections are what the Adversarial Robustness Toolbox computes. Measured with
/// backdoors of 10 to 50 records on handwritten digits (three preprocessings) and on mixtures
/// (three clusters per class, 256 dimensions), 24 runs per strength, area under the ROC curve
/// inside the target class, centred against uncentred: 0.56 to 0.26 for a common shift of half the
/// mean distance to the class mean, 0.71 to 0.41 for a shift of once that distance, 0.95 to 0.93
/// for twice, 1.00 to 1.00 for four times. Without centring, a class whose mean lies along the
/// direction is ranked by its mean: on a mixture of 20 classes the same backdoor went from 0.999
/// to 0.49. Centred is therefore the default; uncentred is there to reproduce others' results.
///
/// # Parameters
/// - `centred` (true): whether the class mean is subtracted before projecting.
/// - `sample` (2048): records of a class that its direction is computed from. Fewer are used of
///   vectors longer than 2048 numbers, and when the memory of the run does not hold that many.
///
/// # False positives
/// Every class has a direction of largest variance, poisoned or not: slanted digits, long texts,
/// the second cluster of a class with two. The score says who lies at its ends and never that
/// there is an attack, so this detector makes no group findings. `scan` does, with a test.
///
/// # Limits
/// A shift smaller than the natural spread of the class stays below its first direction. The
/// target class must hold mostly clean records. Classes with fewer than 20 vectors get no scores,
/// and it abstains when there is no larger one; records without a vector or a label get none.
///
/// # Example
/// Images of all kinds with a sticker, labelled `speed limit`, are first among the speed limits.
/// ```toml
/// [parameters.spectral-signature]
/// centred = false
/// ```
///
/// # References
/// - Tran, Li, Madry: Spectral signatures in backdoor attacks, `NeurIPS` 2018,
///   <https://arxiv.org/abs/1811.00636>, algorithm 1 (the score is monotone in theirs).
/// - Nicolae et al.: Adversarial Robustness Toolbox, <https://arxiv.org/abs/1807.01069>,
///   `SpectralSignatureDefense.spectral_signature_scores` for the uncentred form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpectralSignatureParams {
    /// Whether vectors are centred at the mean of their class before they are projected.
    pub centred: bool,
    /// Most records of a class from which its direction is computed, 64 to 65536.
    pub sample: u32,
}

impl Default for SpectralSignatureParams {
    fn default() -> Self {
        Self {
            centred: true,
            sample: 2048,
        }
    }
}

impl Params for SpectralSignatureParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("sample", self.sample, 64..=65_536);
        checks.finish()
    }
}

/// The detector; see [`SpectralSignatureParams`].
#[derive(Clone, Debug)]
pub struct SpectralSignature {
    params: SpectralSignatureParams,
}

impl Detector for SpectralSignature {
    type Params = SpectralSignatureParams;
    type State = ClassSample;
    type Model = SpectralModel;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "spectral-signature",
        family: Family::Embedding,
        summary: "vectors that stretch their class in one direction",
        score_kind: ScoreKind::Statistical,
        by_default: false,
        fit_roles: &[Role::Embedding, Role::Label],
        score_roles: &[Role::Embedding, Role::Label],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0018", "AML.T0020", "LLM04:2025", "NISTAML.023"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        needs_labelled_vectors(facts)
    }

    fn start(&self, context: &FitContext) -> Self::State {
        let dim = context.facts.embedding_dim.unwrap_or(1).max(1);
        let affordable = (MAX_VALUES / dim).max(MIN_RECORDS);
        ClassSample::new(context, affordable.min(self.params.sample as usize))
    }

    fn fit(&self, _context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        state.insert(batch);
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.merge(later);
    }

    fn model(
        &self,
        _context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let classes = state.into_classes();
        let largest = classes.iter().map(SampledClass::len).max().unwrap_or(0);
        if largest < MIN_RECORDS {
            return Err(NotApplicable::new(format!(
                "at most {largest} vectors in a class, at least {MIN_RECORDS} are needed"
            )));
        }
        let classes = classes
            .into_par_iter()
            .map(|class| ClassSignature::of(&class, self.params.centred))
            .collect();
        Ok(SpectralModel { classes })
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![f32::NAN; batch.n_rows()];
        let Some(vectors) = batch.embedding else {
            return scores;
        };
        scores
            .par_chunks_mut(BLOCK_ROWS)
            .enumerate()
            .for_each(|(block_idx, scores)| {
                for (offset, score) in scores.iter_mut().enumerate() {
                    let row_idx = block_idx * BLOCK_ROWS + offset;
                    let class = batch.label(row_idx).map(|class| class as usize);
                    let signature = class.and_then(|class| model.classes.get(class)?.as_ref());
                    let row = vectors.row(row_idx);
                    if let (Some(signature), Some(vector)) = (signature, row.as_slice()) {
                        *score = signature.score(vector);
                    }
                }
            });
        scores
    }

    fn merge_evidence(&self, _evidence: &mut Self::Evidence, _later: Self::Evidence) {}

    fn finish(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        _evidence: Self::Evidence,
    ) -> Vec<Finding> {
        Vec::new()
    }
}

/// The signature of each class; `None` for classes that are too small or have no spread.
#[derive(Debug)]
pub struct SpectralModel {
    classes: Vec<Option<ClassSignature>>,
}

/// One class's direction, and what projections are usual on it.
#[derive(Debug)]
struct ClassSignature {
    /// Direction of largest variance, of unit length.
    direction: Vec<f64>,
    /// Projection of the centre: 0 where vectors are not centred.
    origin: f64,
    /// Of the projections' magnitudes.
    usual: RobustScale,
}

impl ClassSignature {
    fn of(class: &SampledClass, centred: bool) -> Option<Self> {
        if class.len() < MIN_RECORDS {
            return None;
        }
        let matrix = Centred::new(&class.vectors)?;
        let direction = matrix.top_direction()?;
        let mean = matrix.mean.iter().zip(&direction);
        let origin = if centred {
            mean.map(|(mean, part)| mean * part).sum()
        } else {
            0.0
        };
        let rows = class.vectors.rows().into_iter();
        let mut magnitudes: Vec<f64> = rows
            .filter_map(|row| Some((dot(row.as_slice()?, &direction) - origin).abs()))
            .collect();
        Some(Self {
            direction,
            origin,
            usual: RobustScale::of(&mut magnitudes),
        })
    }

    fn score(&self, vector: &[f32]) -> f32 {
        let magnitude = (dot(vector, &self.direction) - self.origin).abs();
        self.usual.standardised(magnitude)
    }
}
