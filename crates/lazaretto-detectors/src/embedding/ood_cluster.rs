//! `ood-cluster`: groups of records far from every class whose labels do not agree.

use lazaretto_core::shared::Reference;
use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Severity, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::duplicates::flood::by_class;
use crate::embedding::groups::{Group, Groups, MIN_REFERENCE, NEIGHBORS};
use crate::embedding::suspects::{
    Belonging, Gathered, Suspect, Suspects, nearest, without_overlaps,
};

/// Share of a group's nearest records that are its own; below, it is no group of its own.
const MIN_INSIDE: f64 = 0.8;
/// Labels of a group contradict each other at least this share of what random ones do.
const RANDOMNESS: f64 = 0.6;
/// Largest p-value of a finding. Small groups between classes are contradictory by accident.
const SURE: f64 = 0.01;
/// Contradiction between neighbours that a dataset is always granted.
const MIN_DISSENT: f64 = 0.05;

/// Finds groups of records that resemble each other and nothing else, with contradictory labels.
///
/// # What it finds
/// A group of vectors whose nearest neighbours are each other, away from every class, in which
/// similar records have different labels: content from another distribution that was spread over
/// the classes.
///
/// # Why it matters
/// Out-of-distribution content with arbitrary labels costs accuracy and reserves a region of the
/// feature space for whoever knows what lies there. One by one such records do not stand out: each
/// has near neighbours, the other ones.
///
/// # How it works
/// Groups are connected components of the mutual nearest-neighbour graph of the reference set (an
/// edge joins two records that are each among the nearest of the other), at several sizes of
/// neighbourhood. A group counts as separate when at least 80 % of its members' nearest records
/// are members. Its dissenters are the members whose nearest records mostly have another label; there
/// must be 60 % of what random labels would give. Their number is compared (binomial) with the dataset's own
/// most contradictory regions: the 95 % quantile, over all other records, of the share of dissenters
/// around them. The p-value is multiplied by the number of separate groups. Records
/// outside the reference set belong to the group when most of their nearest reference records do.
///
/// The score of a record is the share of separate, contradictory groups among its nearest
/// reference records, and higher for the records of a finding.
///
/// # Parameters
/// - `max_share` (0.1): groups with a larger share of the reference set are parts of the dataset,
///   not guests.
///
/// # False positives
/// A natural sub-population that nobody could label (blank images, another language) and that
/// got arbitrary labels. Holding it back is usually right, but it is not an attack.
///
/// # Limits
/// Needs an embedding column, labels, and at least 60 reference records. Groups whose labels agree
/// look like a rare kind of their class and are left alone; so are groups with fewer than five
/// members in the reference set.
///
/// # Example
/// "36 records resemble only each other, and their labels are spread over 9 classes."
/// ```toml
/// [parameters.ood-cluster]
/// max_share = 0.05
/// ```
///
/// # References
/// - Brito, Chávez, Quiroz, Yukich: Connectivity of the mutual k-nearest-neighbor graph in
///   clustering and outlier detection, Statistics & Probability Letters 35 (1997).
/// - Hautamäki, Kärkkäinen, Fränti: Outlier detection using k-nearest neighbour graph, ICPR 2004.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OodClusterParams {
    /// Largest share of the reference set that a group may have, 0.001 to 0.5.
    pub max_share: f64,
}

impl Default for OodClusterParams {
    fn default() -> Self {
        Self { max_share: 0.1 }
    }
}

impl Params for OodClusterParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("max_share", self.max_share, 0.001..=0.5);
        checks.finish()
    }
}

/// The detector; see [`OodClusterParams`].
#[derive(Clone, Debug)]
pub struct OodCluster {
    params: OodClusterParams,
}

/// What the score pass needs.
#[derive(Debug)]
pub struct OodClusterModel {
    suspects: Suspects,
    /// Whether each reference record is in a separate group, and how contradictory that is.
    dissent: Vec<f32>,
}

impl OodCluster {
    /// The suspicious groups, and the separate groups with their share of dissenters.
    fn judge(&self, facts: &DataFacts, reference: &Reference, groups: &Groups) -> OodClusterModel {
        let largest = self.params.max_share * groups.graph.len() as f64;
        let separate: Vec<&Group> = groups
            .all
            .iter()
            .filter(|group| group.inside >= MIN_INSIDE && group.len() as f64 <= largest)
            .collect();
        let dissenters = groups.dissenters(reference);
        let local = local_dissent(&dissenters, groups);
        let random = random_dissent(reference);
        let mut dissent = vec![0.0_f32; groups.graph.len()];
        let mut judged = Vec::new();
        for &group in &separate {
            let dissenting = group
                .members
                .iter()
                .filter(|&&m| dissenters[m as usize])
                .count();
            let usual = usual_dissent(&local, group);
            let p = binomial_tail(group.len(), dissenting, usual) * separate.len() as f64;
            let share = dissenting as f64 / group.len() as f64;
            if share > usual && share >= RANDOMNESS * random {
                for &member in &group.members {
                    let known = &mut dissent[member as usize];
                    *known = known.max(share as f32);
                }
                judged.push((p.min(1.0), group, share));
            }
        }
        let suspects = without_overlaps(judged)
            .into_iter()
            .filter(|(p, ..)| *p <= SURE)
            .map(|(p, group, share)| Suspect {
                members: group.members.clone(),
                class: None,
                belonging: Belonging::Majority,
                finding: finding(facts, group, p, share),
            })
            .collect();
        OodClusterModel {
            suspects: Suspects { suspects },
            dissent,
        }
    }
}

/// Per reference record, the share of dissenters among it and its nearest others.
fn local_dissent(dissenters: &[bool], groups: &Groups) -> Vec<f64> {
    (0..groups.graph.len() as u32)
        .map(|record| {
            let near = groups.graph.of(record).iter().map(|&(near, _)| near);
            let around = near
                .chain([record])
                .filter(|&near| dissenters[near as usize]);
            around.count() as f64 / (groups.graph.of(record).len() + 1) as f64
        })
        .collect()
}

/// Chance that two records have different labels when labels are drawn at random.
fn random_dissent(reference: &Reference) -> f64 {
    let counts = by_class(reference.labels.iter().copied());
    let total: usize = counts.iter().map(|&(_, count)| count).sum();
    let same: f64 = counts
        .iter()
        .map(|&(_, count)| (count as f64 / total.max(1) as f64).powi(2))
        .sum();
    1.0 - same
}

/// The 95 % quantile of the local dissent outside `group`.
fn usual_dissent(local: &[f64], group: &Group) -> f64 {
    let mut outside: Vec<f64> = local
        .iter()
        .zip(0..)
        .filter(|&(_, record)| !group.contains(record))
        .map(|(&dissent, _)| dissent)
        .collect();
    outside.sort_unstable_by(f64::total_cmp);
    let place = outside.len() * 95 / 100;
    outside.get(place).copied().unwrap_or(1.0).max(MIN_DISSENT)
}

/// Chance of at least `successes` of `trials` at `rate`.
fn binomial_tail(trials: usize, successes: usize, rate: f64) -> f64 {
    match (
        successes,
        Binomial::new(rate.clamp(0.0, 1.0), trials as u64),
    ) {
        (1.., Ok(chance)) => chance.sf(successes as u64 - 1),
        _ => 1.0,
    }
}

fn finding(facts: &DataFacts, group: &Group, p_value: f64, dissent: f64) -> Finding {
    let title = format!(
        "{{records}} records resemble only each other, far from every class, and their labels are \
         spread over {} classes",
        group.classes.len()
    );
    let labels: Vec<String> = group
        .classes
        .iter()
        .take(5)
        .map(|&(class, count)| {
            let name = facts
                .classes
                .get(class as usize)
                .map_or("?", String::as_str);
            format!("{name}: {count}")
        })
        .collect();
    Finding::new(
        OodCluster::SPEC.id,
        "out-of-distribution",
        Severity::Medium,
        Action::Quarantine,
        title,
        p_value,
    )
    .with_evidence("nearest_inside_share", group.inside)
    .with_evidence("contradicted_members_share", dissent)
    .with_evidence("labels", labels.join(", "))
}

impl Detector for OodCluster {
    type Params = OodClusterParams;
    type State = ();
    type Model = OodClusterModel;
    /// Ordinals of the records of each suspicious group.
    type Evidence = Gathered;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "ood-cluster",
        family: Family::Embedding,
        summary: "groups of records far from every class whose labels do not agree",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Label],
        intermediates: &[Intermediate::Neighbors],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if facts.embedding_dim.is_none() {
            return Err(NotApplicable::new("no embedding column"));
        }
        if !facts.has_labels() {
            return Err(NotApplicable::new("no labels of at least two classes"));
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
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let reference = reference(shared)?;
        let groups = Groups::new(reference);
        Ok(self.judge(&context.facts, reference, &groups))
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
                if nearest.is_empty() {
                    return f32::NAN;
                }
                let sum: f32 = nearest
                    .iter()
                    .map(|&(record, _)| model.dissent[record as usize])
                    .sum();
                sum / nearest.len() as f32
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

/// The reference set, when it is large enough to show structure.
pub(super) fn reference(shared: &Shared) -> Result<&Reference, NotApplicable> {
    let n = shared
        .reference
        .as_ref()
        .map_or(0, |reference| reference.labels.len());
    shared
        .reference
        .as_ref()
        .filter(|_| n >= MIN_REFERENCE.max(NEIGHBORS + 1))
        .ok_or_else(|| {
            NotApplicable::new(format!(
                "{n} reference records with features, at least {MIN_REFERENCE} are needed"
            ))
        })
}
