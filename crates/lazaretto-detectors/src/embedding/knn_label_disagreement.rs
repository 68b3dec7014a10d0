//! `knn-label-disagreement`: labels that the most similar records contradict.

use std::collections::BTreeMap;

use lazaretto_core::shared::Reference;
use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NO_LABEL, NotApplicable, ParamProblem, Params, Role, ScoreKind, Severity, Shared,
    params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::embedding::one_way::{ContradictedCounts, Excess};
use crate::embedding::ood_cluster::reference;
use crate::embedding::suspects::nearest;

/// Most contradicted records per class that a finding can list.
const MAX_LISTED: usize = 1 << 16;

/// Scores each record by how many of the most similar records have another label.
///
/// # What it finds
/// Records whose nearest neighbours agree on another label, and classes into which records of
/// many other classes were relabelled.
///
/// # Why it matters
/// Dirty-label poison keeps the content of its old class. A clean-label attack that works by
/// colliding with a target lies among the target's class. In both cases the neighbours say so, without a
/// trained model that the poison could have bent.
///
/// # How it works
/// The score is the share of the `neighbors` nearest reference records with another label, nearer
/// ones weighing more (by the inverse of the distance). A record is contradicted when at most a tenth of
/// them have its label and at least half agree on another one.
///
/// Beyond single records, contradicted records are counted per pair of classes (label, class of the neighbours). Confusion between
/// classes that look alike goes both ways, and random relabelling reaches all classes; an attack
/// that relabels records of all classes as one does neither. For each class the count from every
/// other class is compared with the largest of four expectations: the opposite direction, in
/// numbers and in rates, and what the other classes get from there, per class and by size. The
/// strongest of the pairs is left out, so that one lopsided pair cannot make a finding. The excess
/// is judged by a Poisson law that is widened by how much the other classes scatter; the p-value is multiplied by the number of
/// classes.
///
/// # Parameters
/// - `neighbors` (10): how many neighbours vote.
/// - `min_class_records` (20): classes with fewer records are not judged; their records have few
///   neighbours of their own.
///
/// # False positives
/// Records at the border of two classes have mixed neighbours; the calibration is against the bulk
/// of the dataset. A rare class inside a frequent one is contradicted everywhere and counts for little.
///
/// # Limits
/// Needs an embedding column and labels, and for findings at least four classes with
/// `min_class_records` records. Poison that outnumbers the clean records around it agrees with
/// itself: see `class-collision`. In a large dataset neighbours come from the reference set.
///
/// # Example
/// "35 records labelled `5` lie among records of 9 other classes; 4 would be expected."
/// ```toml
/// [parameters.knn-label-disagreement]
/// neighbors = 20
/// ```
///
/// # References
/// - Peri et al.: Deep k-NN defense against clean-label data poisoning attacks, ECCV Workshops
///   2020, <https://arxiv.org/abs/1909.13374>.
/// - Wilson: Asymptotic properties of nearest neighbor rules using edited data, IEEE SMC 1972.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KnnLabelDisagreementParams {
    /// Number of nearest reference records, 3 to 256; at most as many as the run computes.
    pub neighbors: u32,
    /// Records that a class must have to be judged, 5 to 1000000.
    pub min_class_records: u64,
}

impl Default for KnnLabelDisagreementParams {
    fn default() -> Self {
        Self {
            neighbors: 10,
            min_class_records: 20,
        }
    }
}

impl Params for KnnLabelDisagreementParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("neighbors", self.neighbors, 3..=256).range(
            "min_class_records",
            self.min_class_records,
            5..=1_000_000,
        );
        checks.finish()
    }
}

/// The detector; see [`KnnLabelDisagreementParams`].
#[derive(Clone, Debug)]
pub struct KnnLabelDisagreement {
    params: KnnLabelDisagreementParams,
}

/// Which classes are judged.
#[derive(Debug)]
pub struct JudgedByNeighbors {
    judged: Vec<bool>,
}

/// What the neighbours say about the labels of all records.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContradictedRecords {
    counts: ContradictedCounts,
    /// Ordinals of the contradicted records of each class, ascending; the first [`MAX_LISTED`].
    records: BTreeMap<u32, Vec<u64>>,
}

/// The neighbours of one record as voters.
struct Vote {
    /// Weighted share with another label.
    disagreement: f64,
    /// The class that contradicts the label, if one does.
    contradicting: Option<u32>,
}

impl KnnLabelDisagreement {
    fn vote(&self, reference: &Reference, nearest: &[(u32, f32)], label: u32) -> Option<Vote> {
        let voters: Vec<(u32, f64)> = nearest
            .iter()
            .map(|&(record, distance)| (reference.labels[record as usize], f64::from(distance)))
            .filter(|&(class, _)| class != NO_LABEL)
            .take(self.params.neighbors as usize)
            .collect();
        let farthest = voters.last()?.1;
        let (mut own, mut other, mut own_votes) = (0.0, 0.0, 0);
        let mut votes: BTreeMap<u32, usize> = BTreeMap::new();
        for &(class, distance) in &voters {
            // Identical records would drown all others: nearer than a tenth counts as a tenth.
            let weight = 1.0 / distance.max(0.1 * farthest).max(f64::MIN_POSITIVE);
            if class == label {
                own += weight;
                own_votes += 1;
            } else {
                other += weight;
                *votes.entry(class).or_default() += 1;
            }
        }
        let most = votes
            .into_iter()
            .max_by_key(|&(class, n)| (n, std::cmp::Reverse(class)));
        let contradicting = most
            .filter(|&(_, n)| own_votes * 10 <= voters.len() && 2 * n >= voters.len())
            .map(|(class, _)| class);
        let disagreement = if farthest > 0.0 {
            other / (own + other)
        } else {
            (voters.len() - own_votes) as f64 / voters.len() as f64
        };
        Some(Vote {
            disagreement,
            contradicting,
        })
    }
}

impl Detector for KnnLabelDisagreement {
    type Params = KnnLabelDisagreementParams;
    type State = ();
    type Model = JudgedByNeighbors;
    type Evidence = ContradictedRecords;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "knn-label-disagreement",
        family: Family::Label,
        summary: "labels that the most similar records contradict",
        score_kind: ScoreKind::Statistical,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Label],
        intermediates: &[Intermediate::Neighbors],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "LLM04:2025", "NISTAML.013", "NISTAML.023"],
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
        reference(shared)?;
        let wanted = self.params.min_class_records;
        let judged: Vec<bool> = context
            .facts
            .class_counts
            .iter()
            .map(|&count| count >= wanted)
            .collect();
        let n_judged = judged.iter().filter(|&&judged| judged).count();
        if n_judged < 2 {
            return Err(NotApplicable::new(format!(
                "{n_judged} classes with at least {wanted} records, two are needed"
            )));
        }
        Ok(JudgedByNeighbors { judged })
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {
        ContradictedRecords::default()
    }

    fn score(
        &self,
        model: &Self::Model,
        shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![f32::NAN; batch.n_rows()];
        let (Some(neighbors), Some(reference)) = (&batch.derived.neighbors, &shared.reference)
        else {
            return scores;
        };
        for (row_idx, score) in scores.iter_mut().enumerate() {
            let judged = |class: u32| model.judged.get(class as usize) == Some(&true);
            let Some(label) = batch.label(row_idx).filter(|&label| judged(label)) else {
                continue;
            };
            let Some(vote) = self.vote(reference, &nearest(neighbors, row_idx), label) else {
                continue;
            };
            *score = vote.disagreement as f32;
            if let Some(class) = vote.contradicting.filter(|&class| judged(class)) {
                evidence.counts.add(label, class, 1);
                let records = evidence.records.entry(label).or_default();
                if records.len() < MAX_LISTED {
                    records.push(batch.ordinal(row_idx));
                }
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        evidence.counts.merge(later.counts);
        for (class, later) in later.records {
            let records = evidence.records.entry(class).or_default();
            records.extend(later);
            records.truncate(MAX_LISTED);
        }
    }

    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let class_counts: Vec<u64> = shared
            .facts
            .class_counts
            .iter()
            .zip(&model.judged)
            .map(|(&count, &judged)| if judged { count } else { 0 })
            .collect();
        let mut findings: Vec<Finding> = evidence
            .counts
            .excesses(&class_counts)
            .into_iter()
            .filter_map(|excess| {
                let records = evidence.records.get(&excess.class)?.clone();
                Some(finding(&shared.facts, &excess, records))
            })
            .collect();
        findings.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
        findings
    }
}

fn finding(facts: &DataFacts, excess: &Excess, records: Vec<u64>) -> Finding {
    let class = facts.classes.get(excess.class as usize);
    let name = class.map_or("?", String::as_str);
    let title = format!(
        "{} records labelled `{name}` lie among records of {} other classes; {:.0} would be expected",
        excess.observed, excess.sources, excess.expected
    );
    // Most of the records are there by accident when half of them were expected.
    let action = if 3.0 * excess.expected <= excess.observed as f64 {
        Action::Quarantine
    } else {
        Action::Review
    };
    let severity = match action {
        Action::Quarantine | Action::Fail => Severity::High,
        Action::Review => Severity::Medium,
    };
    let mut finding = Finding::new(
        KnnLabelDisagreement::SPEC.id,
        "many-to-one-relabelling",
        severity,
        action,
        title,
        excess.p_value,
    )
    .with_evidence("contradicted_records", excess.observed)
    .with_evidence("expected_records", excess.expected)
    .with_evidence("source_classes", excess.sources)
    .with_evidence("scatter", excess.scatter)
    .with_records(records);
    finding.target_class = class.cloned();
    finding
}
