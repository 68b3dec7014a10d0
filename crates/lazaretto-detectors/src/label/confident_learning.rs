//! `confident-learning`: labels that the content contradicts.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::label::confident_joint::ConfidentJoint;
use crate::label::opinion::{self, JudgedClasses, Opinion};

/// Scores each record by how much its content speaks for another label.
///
/// # What it finds
/// Records with a label that a model of the rest of the dataset contradicts: flipped labels,
/// annotation mistakes, and dirty-label poison, whose content still belongs to its old class.
///
/// # Why it matters
/// A few per cent of flipped labels cost accuracy everywhere; flips aimed at one class teach the
/// model a wrong answer there. Dirty-label backdoors need flipped labels too.
///
/// # How it works
/// Class probabilities come from the probabilities column, or out of fold from a linear model on
/// the features, so that no record is judged by a model that saw its own label. The score is
/// `ln((1 − p[label]) / p[label])`: 0 is undecided, 4.6 is 99 to 1 against the label. It ranks as
/// the *self-confidence* of the paper's software does.
/// Beside the scores, the *confident joint* is estimated as in the paper: the threshold of a
/// class is the mean probability that records with this label get for it, and a record counts as
/// contradicted by class `j` when `j` is its most probable class, not its label, and reaches the
/// threshold of `j`. They are summed up in one finding, with the largest pairs of classes in both
/// directions; its sentence names those in which one direction outweighs the other most.
///
/// # Parameters
/// - `min_class_records` (10): classes with fewer records are not judged, because a model cannot
///   learn them and would contradict every one of them.
/// - `min_records` (10): this many contradicted records make a finding.
///
/// # False positives
/// Hard and ambiguous records look like wrong labels; so do all records of a class that the
/// features do not tell apart. The calibration against the bulk of the scores removes most of
/// this.
///
/// # Limits
/// It sees what the features see: with uninformative features it is quiet. Clean-label poison has
/// right labels and gets low scores. When a trigger is frequent enough for the model to learn it,
/// the trigger explains the flipped labels and the scores of poisoned records drop: `text-trigger`
/// is for those. It abstains with fewer than 50 records or when fewer than two classes have
/// `min_class_records` records.
///
/// # Example
/// "274 of 8000 labels (3.4 %) are confidently contradicted by the content; most one-sided: 20
/// labelled `2` look like `1` (2 the other way round)"
/// ```toml
/// [parameters.confident-learning]
/// min_class_records = 20
/// ```
///
/// # References
/// - Northcutt, Jiang, Chuang: Confident learning: estimating uncertainty in dataset labels,
///   JAIR 70 (2021), <https://arxiv.org/abs/1911.00068>.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConfidentLearningParams {
    /// Records that a class must have for its records to be judged, 1 to 1000000.
    pub min_class_records: u64,
    /// Contradicted records that make a finding, 1 to 1000000.
    pub min_records: u64,
}

impl Default for ConfidentLearningParams {
    fn default() -> Self {
        Self {
            min_class_records: 10,
            min_records: 10,
        }
    }
}

impl Params for ConfidentLearningParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("min_class_records", self.min_class_records, 1..=1_000_000)
            .range("min_records", self.min_records, 1..=1_000_000);
        checks.finish()
    }
}

/// The detector; see [`ConfidentLearningParams`].
#[derive(Clone, Debug)]
pub struct ConfidentLearning {
    params: ConfidentLearningParams,
}

impl Detector for ConfidentLearning {
    type Params = ConfidentLearningParams;
    type State = ();
    type Model = JudgedClasses;
    type Evidence = ConfidentJoint;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "confident-learning",
        family: Family::Label,
        summary: "labels that the content contradicts",
        score_kind: ScoreKind::Statistical,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Label],
        intermediates: &[Intermediate::Probabilities],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 2,
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
        ConfidentJoint::new(model.n_classes())
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
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
            *score = opinion.log_odds();
            evidence.add(&opinion, model, batch.ordinal(row_idx), u32::MAX);
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        evidence.merge(later);
    }

    fn finish(
        &self,
        _model: &Self::Model,
        shared: &Shared,
        mut evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let least = self.params.min_records;
        evidence
            .noise_finding(Self::SPEC.id, &shared.facts, least)
            .into_iter()
            .collect()
    }
}
