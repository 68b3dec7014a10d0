//! `tight-cluster`: floods of nearly identical vectors.

use std::collections::BTreeMap;

use lazaretto_core::shared::Reference;
use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Severity, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duplicates::flood::Habit;
use crate::embedding::groups::{Group, Groups, Surroundings, Tight};
use crate::embedding::ood_cluster::reference;
use crate::embedding::suspects::{Belonging, Gathered, Suspect, Suspects, nearest};

/// Groups of fewer records are what the habit of the dataset is learned from.
pub(super) const HABIT_SIZE: usize = 8;
/// Records belong to a tight group within this many times the distance inside it.
pub(super) const RADIUS: f64 = 1.6;
/// Share of a group's records that must have the same label for it to have a class.
pub(super) const PURITY: f64 = 0.7;

/// Finds groups of records that are far more alike than the records of this dataset are.
///
/// # What it finds
/// Many nearly identical vectors: one record copied with small changes until it outweighs what is
/// around it, or the clump that a feature-collision attack makes around its target.
///
/// # Why it matters
/// A model learns what it sees often. Copies of one record decide what it says in their region,
/// and near-duplicates pass every test for exact ones.
///
/// # How it works
/// Groups are connected components of the mutual nearest-neighbour graph of the reference set. A
/// group is tight when the distances inside are at most `ratio` of those in an ordinary dense
/// place of the dataset (the lower quartile over all records), and of the distance to whatever
/// surrounds the group. Datasets repeat themselves by habit, so the size of a tight group is
/// compared with a power law fitted to the dataset's own small tight groups: the p-value is the chance
/// that a dataset with this habit has a group of that size.
///
/// A tight group is held back when its p-value is at most 0.001 and it lies where other records are (it reaches its surroundings
/// within 1.3 times the distances these keep among themselves), because that is what copies of a
/// record do; a dense group on its own is a natural kind. Others are shown for review.
///
/// The score of a record is 0 for ordinary density and grows to 1 for identical neighbours.
///
/// # Parameters
/// - `ratio` (0.25): distances inside a tight group, as a share of ordinary ones.
///
/// # False positives
/// Bursts of one photograph, frames of a still video, templates: real repetitions, if few in a
/// dataset that otherwise has none.
///
/// # Limits
/// Needs an embedding column and at least 60 reference records, and five records of a group among
/// them. Sparse or binary vectors with many equal distances have no tight groups by this
/// definition. Copies that are spread more widely than `ratio` are left to `class-collision`,
/// which asks for contradicting labels as well.
///
/// # Example
/// "52 records are nearly identical: 0.11 of the ordinary distance apart, 40 of them labelled `5`."
/// ```toml
/// [parameters.tight-cluster]
/// ratio = 0.1
/// ```
///
/// # References
/// - Shafahi et al.: Poison frogs! Targeted clean-label poisoning attacks on neural networks,
///   `NeurIPS` 2018, <https://arxiv.org/abs/1804.00792> (feature collision).
/// - Lee et al.: Deduplicating training data makes language models better, ACL 2022,
///   <https://arxiv.org/abs/2107.06499>.
/// - Breunig, Kriegel, Ng, Sander: LOF: identifying density-based local outliers, SIGMOD 2000
///   (density against that of the surroundings).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TightClusterParams {
    /// Distance inside a tight group over the ordinary distance, 0.001 to 0.9.
    pub ratio: f64,
}

impl Default for TightClusterParams {
    fn default() -> Self {
        Self { ratio: 0.25 }
    }
}

impl Params for TightClusterParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("ratio", self.ratio, 0.001..=0.9);
        checks.finish()
    }
}

/// Copies whose labels contradict nothing do little harm, and real repetition is common: they are
/// held back when their size is this improbable, and shown for review before.
const SURE: f64 = 1e-3;

/// Farthest that a group of copies lies from its surroundings, as a multiple of their distances.
pub(super) const MAX_REACH: f64 = 1.3;

/// The detector; see [`TightClusterParams`].
#[derive(Clone, Debug)]
pub struct TightCluster {
    params: TightClusterParams,
}

/// What the score pass needs.
#[derive(Debug)]
pub struct TightClusterModel {
    suspects: Suspects,
    /// Distance at which a record counts as ordinary.
    ordinary: f64,
}

impl TightCluster {
    fn judge(&self, facts: &DataFacts, reference: &Reference, groups: &Groups) -> Suspects {
        let tight = groups.tight(reference, self.params.ratio);
        let sizes = SizeHabit::of(&tight);
        let suspects = tight
            .islands
            .iter()
            .filter_map(|(group, surroundings)| {
                let p = sizes.p_value(group.len());
                (p <= 0.05).then(|| Suspect {
                    members: group.members.clone(),
                    class: group.class(PURITY),
                    belonging: Belonging::Near(RADIUS * group.inner),
                    finding: finding(facts, groups, group, surroundings, p),
                })
            })
            .collect();
        Suspects { suspects }
    }
}

/// How large the tight groups of this dataset get by habit.
pub(super) struct SizeHabit {
    habit: Habit,
    /// Number of islands of at least each size.
    at_least: BTreeMap<usize, usize>,
}

impl SizeHabit {
    /// The habit shown by all tight groups.
    pub(super) fn of(tight: &Tight) -> Self {
        Self::without(tight, std::iter::empty())
    }

    /// The habit shown by the tight groups but those of the sizes `excluded`, one each.
    pub(super) fn without(tight: &Tight, excluded: impl Iterator<Item = usize>) -> Self {
        let mut sizes = tight.sizes.clone();
        for size in excluded {
            if let Some(place) = sizes.iter().position(|&other| other == size) {
                sizes.swap_remove(place);
            }
        }
        let islands = || tight.islands.iter().map(|(group, _)| group.len());
        Self {
            habit: Habit::of(sizes.iter().map(|&size| (size, 0)), HABIT_SIZE),
            at_least: islands()
                .map(|size| (size, islands().filter(|&other| other >= size).count()))
                .collect(),
        }
    }

    /// Chance that a dataset with this habit has as many islands of at least `size`.
    pub(super) fn p_value(&self, size: usize) -> f64 {
        let count = self.at_least.get(&size).copied().unwrap_or(1);
        self.habit.size_p_value(size, count)
    }
}

fn finding(
    facts: &DataFacts,
    groups: &Groups,
    group: &Group,
    surroundings: &Surroundings,
    p_value: f64,
) -> Finding {
    let share = group.inner / groups.dense;
    let class = group
        .class(PURITY)
        .and_then(|class| facts.classes.get(class as usize));
    let labelled = class.map_or_else(String::new, |class| format!(", all labelled `{class}`"));
    let title = format!(
        "{{records}} records{labelled} are nearly identical: {share:.2} of the ordinary distance apart"
    );
    let action = if surroundings.reach <= MAX_REACH && p_value <= SURE {
        Action::Quarantine
    } else {
        Action::Review
    };
    let severity = match action {
        Action::Quarantine | Action::Fail => Severity::Medium,
        Action::Review => Severity::Low,
    };
    Finding::new(
        TightCluster::SPEC.id,
        "near-identical-vectors",
        severity,
        action,
        title,
        p_value,
    )
    .with_evidence("distance_inside", group.inner)
    .with_evidence("distance_ordinary", groups.dense)
    .with_evidence("distance_to_surroundings", surroundings.outer)
    .with_evidence("reach", finite(surroundings.reach))
}

/// JSON has no infinity.
pub(super) fn finite(value: f64) -> f64 {
    value.min(f64::MAX)
}

impl Detector for TightCluster {
    type Params = TightClusterParams;
    type State = ();
    type Model = TightClusterModel;
    /// Ordinals of the records of each suspicious group.
    type Evidence = Gathered;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "tight-cluster",
        family: Family::Embedding,
        summary: "floods of nearly identical vectors",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Label],
        intermediates: &[Intermediate::Neighbors],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "LLM04:2025", "NISTAML.013", "NISTAML.024"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        facts
            .embedding_dim
            .map(|_| ())
            .ok_or_else(|| NotApplicable::new("no embedding column"))
    }

    fn start(&self, _context: &FitContext) -> Self::State {}

    fn fit(&self, _context: &FitContext, _state: &mut Self::State, _batch: &Batch<'_>) {}

    fn merge(&self, _context: &FitContext, _state: &mut Self::State, _later: Self::State) {}

    fn model(
        &self,
        context: &FitContext,
        _state: Self::State,
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let reference = reference(shared)?;
        let groups = Groups::new(reference);
        Ok(TightClusterModel {
            suspects: self.judge(&context.facts, reference, &groups),
            ordinary: groups.dense,
        })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        model.suspects.start()
    }

    fn score(
        &self,
        model: &Self::Model,
        shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        model.suspects.gather(shared, batch, evidence);
        let Some(neighbors) = &batch.derived.neighbors else {
            return vec![f32::NAN; batch.n_rows()];
        };
        (0..batch.n_rows())
            .map(|row_idx| {
                let nearest = nearest(neighbors, row_idx);
                let near = &nearest[..nearest.len().min(4)];
                if near.is_empty() {
                    return f32::NAN;
                }
                let sum: f64 = near.iter().map(|&(_, distance)| f64::from(distance)).sum();
                let distance = sum / near.len() as f64;
                // Half the ordinary distance and more is nothing special.
                let limit = 0.5 * model.ordinary;
                if distance < limit {
                    (1.0 - distance / limit) as f32
                } else {
                    0.0
                }
            })
            .collect()
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        Suspects::merge(evidence, later);
    }

    fn finish(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        model.suspects.finish(evidence)
    }
}
