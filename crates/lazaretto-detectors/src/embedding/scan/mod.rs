//! `scan`: classes that hold records of other classes, all moved by one shift.

mod evidence;
mod findings;
mod mixture;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::embedding::class_sample::{ClassSample, needs_labelled_vectors};
use crate::embedding::robust_scale::RobustScale;
use crate::embedding::spectrum::{Centred, dot};
use crate::embedding::whitened::{Functional, Whitened};
use evidence::Evidence;
pub use findings::ScanEvidence;
use mixture::{ClassView, Split, log_sum_exp};

/// A class with fewer vectors than this is neither judged nor a source.
const MIN_RECORDS: usize = 20;
/// With more classes than this the mixtures cost too much.
const MAX_CLASSES: usize = 256;
/// Most values sampled of all classes together.
const MAX_VALUES: usize = 1 << 24;
/// Part of a class at either end of its main direction that a split starts from.
const END: f64 = 0.1;
/// Rows scored together.
const BLOCK_ROWS: usize = 512;

/// Finds classes into which records of several other classes were relabelled with a common change.
///
/// # What it finds
/// Dirty-label backdoors: records of many classes that carry the same trigger and all have the
/// trigger's label. Their vectors are those of their true classes plus one common shift, which may
/// be large (a cluster of its own) or so small that every record still looks like its true class.
///
/// # Why it matters
/// This is the classic backdoor: whatever carries the trigger gets the attacker's label. Fifty
/// such records in a hundred thousand are enough to teach it.
///
/// # How it works
/// All classes share one covariance around their means, which whitens the vectors. Each class is
/// then taken apart by expectation–maximisation into records of its own and records of the other
/// classes that are all moved by one unknown shift. The split is tested record by record, each
/// against what the others show: does the common shift explain it better than no shift (label
/// errors) and than a point between its class and this one (hard records)? And better than one
/// compact subgroup of the class does? Both must hold in a signed-rank test, corrected for the
/// number of classes; the records must come from at least three classes or so (an effective number
/// of 2.5), fit the split far better than their class, and copies of a record count once. A
/// natural second cluster of a class fails the test however separate it is, because it is not
/// spread like the other classes. No rate of contamination is assumed.
///
/// The score of a record is the logarithm of the odds that it belongs to other classes (moved by
/// the shift where one was found), in robust standard deviations of its class: without an attack
/// it ranks label errors. A class is modelled from at most `sample` records; all records are
/// scored, and all that are more likely foreign than not are part of the finding.
///
/// # Parameters
/// - `alpha` (0.05): largest corrected p-value of a finding.
/// - `sample` (2048): records of a class from which it is modelled, chosen by keyed hash; fewer
///   with many classes, long vectors or little memory.
///
/// # False positives
/// A finding needs records of several classes that were moved alike and carry one label. That
/// happens without malice when a faulty pipeline stage both changes records and mislabels them:
/// a sensor with an offset whose labels are wrong, too. Single records at the border of two
/// classes have high scores; they do not make findings.
///
/// # Limits
/// At least four classes are needed for a finding, because records of one or two sources cannot be
/// told from a natural subgroup; with two or three classes there are scores only. A shift of nearly
/// zero is a plain label error (see `confident-learning`). Clean-label backdoors and tight clusters
/// are other detectors' work. Foreign records must be less than half of the class and at least
/// five. Classes with fewer than 20 vectors are left out and get no scores; it abstains when fewer
/// than two remain, and with more than 256 classes. Vectors of more than 512 numbers are projected
/// onto 512 random directions for the model.
///
/// # Example
/// Photographs of ten kinds of objects, 30 of which have a yellow square and the label `bird`: one
/// finding with these 30, "from `truck`, `cat`, `ship` and 5 more classes".
/// ```toml
/// [parameters.scan]
/// alpha = 0.01
/// ```
///
/// # References
/// - Tang, Wang, Tang, Zhang: Demon in the variant: statistical analysis of `DNNs` for robust
///   backdoor contamination detection, USENIX Security 2021, <https://arxiv.org/abs/1908.00686>
///   (shared covariance, two subgroups per class by likelihood ratio). Here the second subgroup is
///   tied to the other classes, and the decision is a test instead of an index above `e²`.
/// - Wilcoxon: Individual comparisons by ranking methods, Biometrics Bulletin 1945.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScanParams {
    /// Largest corrected p-value of a finding, above 0 up to 0.5.
    pub alpha: f64,
    /// Most records of a class from which it is modelled, 64 to 65536.
    pub sample: u32,
}

impl Default for ScanParams {
    fn default() -> Self {
        Self {
            alpha: 0.05,
            sample: 2048,
        }
    }
}

impl Params for ScanParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("alpha", self.alpha, f64::MIN_POSITIVE..=0.5)
            .range("sample", self.sample, 64..=65_536);
        checks.finish()
    }
}

/// The detector; see [`ScanParams`].
#[derive(Clone, Debug)]
pub struct Scan {
    params: ScanParams,
}

impl Detector for Scan {
    type Params = ScanParams;
    type State = ClassSample;
    type Model = ScanModel;
    type Evidence = ScanEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "scan",
        family: Family::Embedding,
        summary: "records of other classes, moved by one shift and relabelled",
        score_kind: ScoreKind::Statistical,
        by_default: true,
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
        needs_labelled_vectors(facts)?;
        let n_classes = facts.classes.len();
        if n_classes > MAX_CLASSES {
            return Err(NotApplicable::new(format!(
                "{n_classes} classes, at most {MAX_CLASSES} can be modelled together"
            )));
        }
        Ok(())
    }

    fn start(&self, context: &FitContext) -> Self::State {
        let dim = context.facts.embedding_dim.unwrap_or(1).max(1);
        let n_classes = context.facts.classes.len().max(1);
        let affordable = (MAX_VALUES / dim / n_classes).max(MIN_RECORDS);
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
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let sample = state.into_classes();
        let large = sample.iter().filter(|class| class.len() >= MIN_RECORDS);
        let n_large = large.count();
        if n_large < 2 {
            return Err(NotApplicable::new(format!(
                "{n_large} classes with at least {MIN_RECORDS} vectors, two are needed"
            )));
        }
        let Some(whitened) = Whitened::new(&sample, MIN_RECORDS, context.seed) else {
            return Err(NotApplicable::new("vectors do not vary inside classes"));
        };
        let judged = whitened.classes.len();
        let models: Vec<ClassModel> = (0..judged)
            .into_par_iter()
            .map(|position| ClassModel::new(&whitened, position, self.params.alpha))
            .collect();
        let mut classes: Vec<Option<ClassModel>> = sample.iter().map(|_| None).collect();
        for (&class, model) in whitened.classes.iter().zip(models) {
            classes[class] = Some(model);
        }
        let centroids = whitened.centroids.rows().into_iter();
        Ok(ScanModel {
            positions: whitened.classes.clone(),
            centroids: centroids
                .map(|centroid| whitened.functional(&centroid.to_vec()))
                .collect(),
            classes,
        })
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {
        ScanEvidence::default()
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![(f32::NAN, false); batch.n_rows()];
        let Some(vectors) = batch.embedding else {
            return vec![f32::NAN; batch.n_rows()];
        };
        scores
            .par_chunks_mut(BLOCK_ROWS)
            .enumerate()
            .for_each(|(block_idx, scores)| {
                let mut terms = Vec::new();
                for (offset, score) in scores.iter_mut().enumerate() {
                    let row_idx = block_idx * BLOCK_ROWS + offset;
                    let row = vectors.row(row_idx);
                    if let (Some(class), Some(vector)) = (batch.label(row_idx), row.as_slice()) {
                        *score = model.judge(class, vector, &mut terms);
                    }
                }
            });
        for (row_idx, &(_, foreign)) in scores.iter().enumerate() {
            if let Some(class) = batch.label(row_idx).filter(|_| foreign) {
                evidence.add(class, batch.ordinal(row_idx));
            }
        }
        scores.into_iter().map(|(score, _)| score).collect()
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        evidence.merge(later);
    }

    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        findings::findings(model, &shared.facts, evidence)
    }
}

/// What the score pass knows about each class.
#[derive(Debug)]
pub struct ScanModel {
    /// Class indices of `centroids`.
    positions: Vec<usize>,
    /// Inner product with each class's centroid in whitened coordinates.
    centroids: Vec<Functional>,
    /// By class index; `None` for classes that are too small.
    classes: Vec<Option<ClassModel>>,
}

/// One class as a mixture of its own records and records of other classes.
#[derive(Debug)]
struct ClassModel {
    /// What is added to what each class says, by position: minus infinity for the class itself.
    offsets: Vec<f64>,
    /// Inner product with the shift, less that with the class's own mean, plus the constants of
    /// both.
    shift_less_own: Functional,
    /// Logarithm of the prior odds that a record is foreign.
    prior: f64,
    /// Of the log-odds without prior.
    usual: RobustScale,
    /// What was found, when it is beyond doubt.
    found: Option<Found>,
}

/// The result of a test that was passed.
#[derive(Debug)]
struct Found {
    evidence: Evidence,
    /// Corrected for the number of classes.
    p_value: f64,
    /// Length of the shift in standard deviations inside classes.
    shift: f64,
}

impl ScanModel {
    /// The score of a vector labelled `class`, and whether it belongs to the foreign group that
    /// was found there.
    fn judge(&self, class: u32, vector: &[f32], terms: &mut Vec<f64>) -> (f32, bool) {
        let Some(Some(model)) = self.classes.get(class as usize) else {
            return (f32::NAN, false);
        };
        let odds = model.log_odds(&self.centroids, vector, terms);
        let foreign = model.found.is_some() && odds + model.prior > 0.0;
        (model.usual.standardised(odds), foreign)
    }
}

impl ClassModel {
    fn new(whitened: &Whitened, position: usize, alpha: f64) -> Self {
        let view = ClassView::new(whitened, position);
        let tested = splits(&view)
            .into_iter()
            .filter_map(|split| Some((evidence::evidence(&view, &split)?, split)))
            .max_by(|(_, a), (_, b)| a.log_likelihood.total_cmp(&b.log_likelihood));
        let Some((evidence, split)) = tested.filter(|(evidence, _)| evidence.p_value() <= alpha)
        else {
            return Self::of(whitened, &view, &view.unshifted(), None);
        };
        // A shift that is convincing but for the number of classes still makes the better score.
        let p_value = evidence.p_value() * whitened.classes.len() as f64;
        let found = (p_value <= alpha).then(|| Found {
            evidence,
            p_value,
            shift: inner(&split.shift, &split.shift).sqrt(),
        });
        Self::of(whitened, &view, &split, found)
    }

    fn of(whitened: &Whitened, view: &ClassView<'_>, split: &Split, found: Option<Found>) -> Self {
        let constants =
            0.5 * (inner(&split.own_mean, &split.own_mean) - inner(&split.shift, &split.shift));
        let mut offsets = vec![f64::NEG_INFINITY; whitened.classes.len()];
        let centroids = view.centroids.rows().into_iter();
        for ((centroid, weight), &source) in centroids.zip(&split.weights).zip(&view.sources) {
            let centroid = centroid.to_vec();
            offsets[source] = weight.max(1e-12).ln() + constants
                - 0.5 * inner(&centroid, &centroid)
                - inner(&centroid, &split.shift);
        }
        let less_own: Vec<f64> = split
            .shift
            .iter()
            .zip(&split.own_mean)
            .map(|(a, b)| a - b)
            .collect();
        let prior = (split.share / (1.0 - split.share)).ln();
        let mut odds: Vec<f64> = split.log_odds.iter().map(|odds| odds - prior).collect();
        Self {
            offsets,
            shift_less_own: whitened.functional(&less_own),
            prior,
            usual: RobustScale::of(&mut odds),
            found,
        }
    }

    /// Logarithm of the odds that `vector` is foreign, without prior.
    fn log_odds(&self, centroids: &[Functional], vector: &[f32], terms: &mut Vec<f64>) -> f64 {
        terms.clear();
        let says = centroids.iter().zip(&self.offsets);
        terms.extend(says.map(|(centroid, offset)| centroid.of(vector) + offset));
        log_sum_exp(terms) + self.shift_less_own.of(vector)
    }
}

/// Splits of a class from several starts: the records that other classes claim, and both ends of
/// the direction in which the class varies most.
fn splits(view: &ClassView<'_>) -> Vec<Split> {
    let n_records = view.records.nrows() as f64;
    // A record pulls the mean of its own class towards itself; that does not count for it.
    let own = (n_records / (n_records - 1.0)).powi(2);
    let claimed: Vec<bool> = (0..view.records.nrows())
        .map(|row| {
            let record = view.record(row);
            let nearest = view.centroids.rows().into_iter().map(|centroid| {
                centroid
                    .iter()
                    .zip(&record)
                    .map(|(a, b)| (a - b).powi(2))
                    .sum::<f64>()
            });
            let distance: f64 = view
                .mean
                .iter()
                .zip(&record)
                .map(|(a, b)| (a - b).powi(2))
                .sum();
            nearest.fold(f64::INFINITY, f64::min) < own * distance
        })
        .collect();
    let mut starts = vec![(claimed, vec![0.0; view.mean.len()])];
    let records = view.records.to_owned();
    if let Some(direction) = Centred::new(&records).and_then(|centred| centred.top_direction()) {
        let along: Vec<f64> = records
            .rows()
            .into_iter()
            .map(|row| row.as_slice().map_or(0.0, |row| dot(row, &direction)))
            .collect();
        let mut sorted = along.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        let end = (last as f64 * END) as usize;
        let (low, high) = (sorted[end], sorted[last - end]);
        for side in [
            along.iter().map(|&at| at > high).collect::<Vec<bool>>(),
            along.iter().map(|&at| at < low).collect(),
        ] {
            let shift = view.shift_of(&side);
            starts.push((side, shift));
        }
    }
    starts
        .into_iter()
        .filter(|(foreign, _)| foreign.iter().filter(|is| **is).count() >= 3)
        .filter_map(|(foreign, shift)| view.split(&foreign, shift))
        .collect()
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
