//! `confident-learning`: labels that the content contradicts.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use ndarray::ArrayView1;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::label::confident_joint::{ConfidentJoint, Contradiction};

/// With fewer records than this, out-of-fold probabilities say nothing.
const MIN_ROWS: u64 = 50;

/// Keeps the logarithms finite where a model is certain; the log odds stay within ±13.8.
const PROBABILITY_FLOOR: f32 = 1e-6;

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
/// threshold of `j`. Pairs of classes are then compared in both directions: a pair of classes
/// that look alike is confused both ways, an attack that relabels one class as another is not.
///
/// # Parameters
/// - `min_class_records` (10): classes with fewer records are not judged, because a model cannot
///   learn them and would contradict every one of them.
/// - `min_pair_records` (10): a pair of classes needs this many contradicted records to become a
///   finding.
///
/// # False positives
/// Hard and ambiguous records look like wrong labels; so do all records of a class that the
/// features do not tell apart. The calibration against the bulk of the scores removes most of
/// this. Natural confusion can be one-way as well (sports news with a foreign dateline filed
/// under world news), so findings about pairs of classes only ask for a review.
///
/// # Limits
/// It sees what the features see: with uninformative features it is quiet. Clean-label poison has
/// right labels and gets low scores. When a trigger is frequent enough for the model to learn it,
/// the trigger explains the flipped labels and the scores of poisoned records drop: `text-trigger`
/// is for those. It abstains with fewer than 50 records or when fewer than two classes have
/// `min_class_records` records.
///
/// # Example
/// "37 records labelled `business` look like `sports`, 2 the other way round."
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
    /// Contradicted records that a pair of classes needs to become a finding, 1 to 1000000.
    pub min_pair_records: u64,
}

impl Default for ConfidentLearningParams {
    fn default() -> Self {
        Self {
            min_class_records: 10,
            min_pair_records: 10,
        }
    }
}

impl Params for ConfidentLearningParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("min_class_records", self.min_class_records, 1..=1_000_000)
            .range("min_pair_records", self.min_pair_records, 1..=1_000_000);
        checks.finish()
    }
}

/// The detector; see [`ConfidentLearningParams`].
#[derive(Clone, Debug)]
pub struct ConfidentLearning {
    params: ConfidentLearningParams,
}

/// What the score pass needs.
#[derive(Debug)]
pub struct JudgedClasses {
    /// Whether each class has enough records to be judged.
    judged: Vec<bool>,
}

impl JudgedClasses {
    fn contains(&self, class: usize) -> bool {
        self.judged.get(class).copied().unwrap_or(false)
    }
}

/// What the probabilities of one record say about its label.
struct Opinion {
    on_label: f32,
    best_other: usize,
    on_other: f32,
    /// Sum over all other classes.
    against: f32,
}

impl Opinion {
    /// None when the record has no usable probabilities or there is no other class.
    fn of(probabilities: ArrayView1<'_, f32>, label: usize) -> Option<Self> {
        let on_label = *probabilities.get(label)?;
        let mut best: Option<(usize, f32)> = None;
        let mut against = 0.0;
        for (class, &p) in probabilities.iter().enumerate() {
            // Not a number is not within either.
            if !(0.0..=f32::MAX).contains(&p) {
                return None;
            }
            if class != label {
                against += p;
                if best.is_none_or(|(_, best)| p > best) {
                    best = Some((class, p));
                }
            }
        }
        best.map(|(best_other, on_other)| Self {
            on_label,
            best_other,
            on_other,
            against,
        })
    }

    /// `ln((1 − p[label]) / p[label])`, the self-confidence on a scale that gives the bulk the
    /// shape of a bell. Beside the odds of the best other class alone it is better where classes
    /// overlap (AG news with 5 % flips: AP 0.65 and 0.63) and as good where they do not (digits:
    /// 0.986 and 0.990); both beat the normalised margin.
    fn log_odds(&self) -> f32 {
        (self.against.max(PROBABILITY_FLOOR) / self.on_label.max(PROBABILITY_FLOOR)).ln()
    }
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
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if !facts.has_labels() {
            return Err(NotApplicable::new(
                "no label column with at least two classes",
            ));
        }
        if !facts.has_features() && facts.probabilities_dim.is_none() {
            return Err(NotApplicable::new(
                "no probabilities column, and no embedding, text or numeric column to learn \
                 them from",
            ));
        }
        Ok(())
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
        let facts = &context.facts;
        if facts.n_rows < MIN_ROWS {
            return Err(NotApplicable::new(format!(
                "{} records, at least {MIN_ROWS} are needed",
                facts.n_rows
            )));
        }
        let least = self.params.min_class_records;
        let counts = &facts.class_counts;
        let judged: Vec<bool> = counts.iter().map(|&count| count >= least).collect();
        let n_judged = judged.iter().filter(|&&judged| judged).count();
        if n_judged < 2 {
            return Err(NotApplicable::new(format!(
                "{n_judged} of {} classes have at least {least} records, two are needed",
                counts.len()
            )));
        }
        Ok(JudgedClasses { judged })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        ConfidentJoint::new(model.judged.len())
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
            let Some(label) = batch.label(row_idx).map(|label| label as usize) else {
                continue;
            };
            if !model.contains(label) {
                continue;
            }
            let Some(opinion) = Opinion::of(probabilities.row(row_idx), label) else {
                continue;
            };
            *score = opinion.log_odds();
            evidence.add_label(label, opinion.on_label);
            if opinion.on_other > opinion.on_label && model.contains(opinion.best_other) {
                evidence.add_contradiction(Contradiction {
                    ordinal: batch.ordinal(row_idx),
                    label: label as u32,
                    looks_like: opinion.best_other as u32,
                    on_label: opinion.on_label,
                    on_other: opinion.on_other,
                });
            }
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
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        evidence.findings(Self::SPEC.id, &shared.facts, self.params.min_pair_records)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn log_odds_compare_the_label_with_all_other_classes() {
        let probabilities = array![0.1_f32, 0.7, 0.2];
        let opinion = Opinion::of(probabilities.view(), 2).unwrap();
        assert_eq!(opinion.best_other, 1);
        assert!((opinion.log_odds() - (0.8_f32 / 0.2).ln()).abs() < 1e-6);
        let certain = array![0.0_f32, 1.0];
        let opinion = Opinion::of(certain.view(), 0).unwrap();
        assert!(opinion.log_odds().is_finite());
    }

    #[test]
    fn unusable_probabilities_give_no_opinion() {
        assert!(Opinion::of(array![f32::NAN, f32::NAN].view(), 0).is_none());
        assert!(Opinion::of(array![-0.5_f32, 1.5].view(), 0).is_none());
        assert!(Opinion::of(array![0.5_f32, 0.5].view(), 7).is_none());
        assert!(Opinion::of(array![1.0_f32].view(), 0).is_none());
    }
}
