//! `label-shift`: labels that are wrong together: of one source, in one direction, or apart from
//! all ordinary doubt.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::label::confident_joint::ConfidentJoint;
use crate::label::opinion::{self, JudgedClasses, Opinion};
use crate::label::separate_mode::{SeparateMode, own_share};
use crate::label::source_shift::SourceShift;

/// Finds groups of flipped labels: of one source, in one direction, or apart from ordinary doubt.
///
/// # What it finds
/// A contributor, annotator, site or shard whose labels the content contradicts far more often
/// than those of the others; flipped labels that contradict their content far more than
/// ordinary doubtful records do; and pairs of classes that are confused in one direction: records
/// labelled `1` that look like `3`, but hardly any the other way round.
///
/// # Why it matters
/// Whoever poisons a crowd-sourced dataset does it from a few accounts. A few flipped labels among
/// many honest ones are lost among ordinary mistakes as long as records are judged one by one;
/// together with where they come from they are not. Flips from one class to another teach a
/// model exactly that mistake.
///
/// # How it works
/// A label is contradicted when it is not the most probable class, by the probabilities column or
/// by a model that did not see the record. *Sources:* how many contradictions the content of a
/// source leads to expect is the sum of the model's own doubts; so a source of hard records is
/// not blamed for them. The ratio of the number found to the number expected is compared between
/// sources, once over all records and once over those of which the model is sure (0.75 and more).
/// The p-value comes from a negative binomial law around the median source, as wide as
/// the sources scatter, and at least 25 % wide, times the number of comparisons. The finding lists the
/// most clearly contradicted records of the source, as many as keep the share of records that
/// other sources would have as well below a tenth. They are held back when the p-value is
/// below 10⁻⁶, the number at least twice what is expected, and nine or more sources can be
/// compared; otherwise the finding asks for a review.
///
/// *Apart from doubt:* on honest data the stronger a contradiction, the fewer records have it.
/// Flipped labels of classes that are told apart well make a second mode, because the records
/// are ordinary members of another class. Every stretch of the log odds against the label is
/// compared with all later ones by the exact binomial test that the density does not rise, times
/// the number of comparisons. Below 10⁻³, the records beyond the valley are held back, from where
/// the decay of those before it leaves less than a tenth of ordinary ones, if at most a third of their
/// ten nearest records have the same label. Without neighbours the finding asks for a review.
///
/// *Classes:* confidently contradicted records (see `confident-learning`) are counted per pair of
/// classes in both directions. Confusion between classes that look alike goes both ways; up to
/// three to one is taken for natural, and more where the class they look like is the larger one,
/// because even noise does that. The p-value is the binomial tail, times the number of
/// comparisons. From five classes on, a lopsided pair is also compared with the largest pair of
/// other classes, by a Poisson law.
///
/// # Parameters
/// - `min_class_records` (10): classes with fewer records are not judged.
/// - `min_records` (10): contradicted records that a source or a pair of classes needs to become a
///   finding.
///
/// # False positives
/// A source with rules of its own (another annotation guide, another language) is contradicted as
/// well: the finding is right that its labels do not mean what those of the others mean. Natural
/// confusion can be one-way (sports news with a foreign dateline filed under world news), so pairs
/// of classes only ask for a review. A sub-population that the model takes for another class
/// contradicts strongly, but has neighbours of its own and is left alone. Annotation mistakes that
/// nobody made on purpose are held back when they stand apart; they are as wrong.
///
/// # Limits
/// Sources are compared when at least five of them have three or more expected contradictions, and
/// the first 65,536 of them. A source that provides most of a dataset teaches the model its own
/// labels. With two classes a direction shows only where it outweighs all ordinary confusion.
/// Flips among classes that are hard to tell apart (opinions, census records) do not stand apart:
/// `confident-learning` ranks them.
///
/// # Example
/// "586 of 1609 labels from source `c09` that can be judged are contradicted by the content, 230
/// would be expected from the other sources; most are `>50K` that look like `<=50K`."
/// ```toml
/// [parameters.label-shift]
/// min_records = 20
/// ```
///
/// # References
/// - Northcutt, Jiang, Chuang: Confident learning: estimating uncertainty in dataset labels,
///   JAIR 70 (2021), <https://arxiv.org/abs/1911.00068>.
/// - Dawid, Skene: Maximum likelihood estimation of observer error-rates using the EM algorithm,
///   Applied Statistics 28 (1979).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LabelShiftParams {
    /// Records that a class must have for its records to be judged, 1 to 1000000.
    pub min_class_records: u64,
    /// Contradicted records that a source or a pair of classes needs to become a finding, 1 to
    /// 1000000.
    pub min_records: u64,
}

impl Default for LabelShiftParams {
    fn default() -> Self {
        Self {
            min_class_records: 10,
            min_records: 10,
        }
    }
}

impl Params for LabelShiftParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("min_class_records", self.min_class_records, 1..=1_000_000)
            .range("min_records", self.min_records, 1..=1_000_000);
        checks.finish()
    }
}

/// The detector; see [`LabelShiftParams`].
#[derive(Clone, Debug)]
pub struct LabelShift {
    params: LabelShiftParams,
}

/// Contradicted labels, by class, by source and by strength.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShiftEvidence {
    joint: ConfidentJoint,
    sources: SourceShift,
    separate: SeparateMode,
}

impl Detector for LabelShift {
    type Params = LabelShiftParams;
    type State = ();
    type Model = JudgedClasses;
    type Evidence = ShiftEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "label-shift",
        family: Family::Label,
        summary: "groups of flipped labels: of a source, in one direction, or apart from doubt",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Label, Role::Source],
        intermediates: &[Intermediate::Probabilities, Intermediate::Neighbors],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        opinion::applies(facts)
    }

    fn start(&self, _context: &FitContext) -> Self::State {}

    fn fit(&self, _context: &FitContext, _state: &mut Self::State, _batch: &Batch<'_>) {}

    fn merge(&self, _context: &FitContext, _state: &mut Self::State, _later: Self::State) {}

    fn model(
        &self,
        context: &FitContext,
        _state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        JudgedClasses::of(&context.facts, self.params.min_class_records)
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        ShiftEvidence {
            joint: ConfidentJoint::new(model.n_classes()),
            sources: SourceShift::default(),
            separate: SeparateMode::default(),
        }
    }

    /// Findings alone decide: 0 for every record that is judged.
    fn score(
        &self,
        model: &Self::Model,
        shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![f32::NAN; batch.n_rows()];
        let Some(probabilities) = &batch.derived.probabilities else {
            return scores;
        };
        for (row_idx, score) in scores.iter_mut().enumerate() {
            let label = batch.label(row_idx).map(|label| label as usize);
            let Some(label) = label.filter(|&label| model.contains(label)) else {
                continue;
            };
            let Some(opinion) = Opinion::of(probabilities.row(row_idx), label) else {
                continue;
            };
            *score = 0.0;
            let source = batch.sources.map_or(u32::MAX, |sources| sources[row_idx]);
            let contradicted = opinion.on_other > opinion.on_label;
            let top = opinion.on_label.max(opinion.on_other);
            let sources = &mut evidence.sources;
            sources.add(source, contradicted, opinion.doubt(), top);
            let ordinal = batch.ordinal(row_idx);
            evidence.joint.add(&opinion, model, ordinal, source);
            let log_odds = opinion.log_odds();
            if log_odds > 0.0 {
                let neighbors = batch.derived.neighbors.as_ref();
                let pair = (label as u32, opinion.best_other as u32);
                let own = own_share(neighbors, shared.reference.as_ref(), row_idx, pair.0);
                evidence.separate.add(ordinal, pair, log_odds, own);
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        evidence.joint.merge(later.joint);
        evidence.sources.merge(&later.sources);
        evidence.separate.merge(later.separate);
    }

    fn finish(
        &self,
        _model: &Self::Model,
        shared: &Shared,
        mut evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let (id, facts) = (Self::SPEC.id, &shared.facts);
        let least = self.params.min_records;
        let contradictions = evidence.joint.clearest_first();
        let mut findings = evidence.sources.findings(id, facts, contradictions, least);
        findings.extend(evidence.separate.finding(id, facts, least));
        findings.extend(evidence.joint.one_way_findings(id, facts, least));
        findings
    }
}
