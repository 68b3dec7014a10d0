//! `class-collision`: groups of one class that lie among the records of others.

use std::collections::BTreeMap;

use lazaretto_core::shared::Reference;
use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Severity, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::duplicates::flood::fisher;
use crate::embedding::fragments::Fragments;
use crate::embedding::groups::{Group, Groups, Surroundings};
use crate::embedding::one_way::Excess;
use crate::embedding::ood_cluster::reference;
use crate::embedding::suspects::{Belonging, Gathered, Suspect, Suspects, nearest};
use crate::embedding::tight_cluster::{MAX_REACH, PURITY, RADIUS, SizeHabit, finite};

/// Most of a group's surroundings that may be of its own class.
const MAX_OWN: f64 = 0.1;
/// Share of its own class that the surroundings of a natural group have at least.
const NATURAL_OWN: f64 = 0.4;
/// Share of the surroundings of a natural group that are of neither its class nor the two
/// classes most frequent around it, at most.
const NATURAL_OTHERS: f64 = 1.0 / 3.0;
/// A cluster that is no denser than its surroundings needs this many reference records.
const MIN_SCATTERED: usize = 8;
/// A cluster whose members have fewer outsiders than this among their nearest is a separate mode.
const MAX_INSIDE: f64 = 0.95;
/// Share of labels that all records of a scattered cluster have.
const SCATTERED_PURITY: f64 = 0.9;
/// Tight groups that the rate of contradicted records counts for, as a prior of the rate of
/// contradicted groups.
const PRIOR_GROUPS: f64 = 10.0;

/// Finds groups of records that have one class's label and lie among records of other classes.
///
/// # What it finds
/// Two shapes. *Feature collision*: a clump of records with one label, denser than what surrounds
/// it, inside the region of another class. *Backdoor cluster*: records with one label that resemble each
/// other and, apart from that, several other classes, and hardly their own.
///
/// # Why it matters
/// A clump of records around a target makes a model give the target their label. A trigger that
/// was added to records of all classes, relabelled to one, draws them together in feature space while
/// each of them still lies near where it came from.
///
/// # How it works
/// Groups are connected components of the mutual nearest-neighbour graph of the reference set;
/// a group has a class when nearly all of its labels agree, and it must be a minority of that class. For each
/// member the class is taken that has the majority among its nearest records outside the group.
///
/// For a feature collision at most a tenth of these are the group's own class, the distances inside are at
/// most `ratio` of the ordinary ones and of those to the surroundings, and the group lies inside
/// its surroundings (as for `tight-cluster`). Its p-value combines (Fisher) how improbable such a
/// size is, given the dataset's own tight groups, with how often single records contradict theirs
/// (copies of one object are mislabelled together), lowered by every tight group that does not.
///
/// A backdoor cluster is looked for in two ways, and its p-value is doubled for that. As one group: the classes around it must
/// be many, because a natural group lies between two classes or three. Members around which a class has
/// the majority that is neither their own nor one of the two most frequent are counted and compared
/// (binomial) with one third, or with the largest share that a group of another class reaches if
/// that is more; the p-value is multiplied by the number of groups whose own class is missing around them.
/// As fragments: the parts of each class in the graph of that class alone, down to single records, are judged by the
/// nearest records outside of them. Fragments next to other classes are counted per pair of classes,
/// each for at most three records, and tested as in `knn-label-disagreement`.
///
/// The score of a record is the share of its nearest reference records that are in a group which
/// lies among other classes and has the record's label.
///
/// # Parameters
/// - `ratio` (0.6): distances inside a feature collision, as a share of ordinary ones.
///
/// # False positives
/// One mislabelled object that is in the dataset many times. A rare kind of a class that lies
/// between many others is possible in few dimensions.
///
/// # Limits
/// Needs an embedding column, labels, and at least 60 reference records. A backdoor cluster needs
/// four classes; one that is made from a single other class looks like a kind of that class with wrong labels, see
/// `confident-learning` and `knn-label-disagreement`. A trigger so strong that nothing else
/// determines the vectors gives a mode on its own, see `activation-clustering` and
/// `spectral-signature`.
///
/// # Example
/// "36 records labelled `5` are a clump inside the region of `7`, 0.42 of the ordinary distance apart."
/// ```toml
/// [parameters.class-collision]
/// ratio = 0.4
/// ```
///
/// # References
/// - Shafahi et al.: Poison frogs! Targeted clean-label poisoning attacks on neural networks,
///   `NeurIPS` 2018, <https://arxiv.org/abs/1804.00792>.
/// - Chen et al.: Detecting backdoor attacks on deep neural networks by activation clustering,
///   `SafeAI` 2019, <https://arxiv.org/abs/1811.03728> (clusters of one label and several sources).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassCollisionParams {
    /// Distance inside a feature collision over the ordinary distance, 0.001 to 0.9.
    pub ratio: f64,
}

impl Default for ClassCollisionParams {
    fn default() -> Self {
        Self { ratio: 0.6 }
    }
}

impl Params for ClassCollisionParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("ratio", self.ratio, 0.001..=0.9);
        checks.finish()
    }
}

/// The detector; see [`ClassCollisionParams`].
#[derive(Clone, Debug)]
pub struct ClassCollision {
    params: ClassCollisionParams,
}

/// What the score pass needs.
#[derive(Debug)]
pub struct ClassCollisionModel {
    suspects: Suspects,
    /// Whether each reference record is in a group that lies among other classes.
    foreign: Vec<bool>,
}

impl ClassCollision {
    fn judge(
        &self,
        facts: &DataFacts,
        reference: &Reference,
        groups: &Groups,
    ) -> ClassCollisionModel {
        let class_sizes = class_sizes(reference);
        let mut foreign = vec![false; groups.graph.len()];
        let minority = |group: &Group, class: u32| {
            let of_class = class_sizes.get(&class).copied().unwrap_or(0);
            2 * group.len() <= of_class
        };
        let mut suspects = self.collisions(facts, reference, groups, &minority, &mut foreign);
        suspects.extend(backdoor_clusters(
            facts,
            reference,
            groups,
            &minority,
            &mut foreign,
        ));
        ClassCollisionModel {
            suspects: Suspects { suspects },
            foreign,
        }
    }

    /// Dense clumps inside the region of another class.
    fn collisions(
        &self,
        facts: &DataFacts,
        reference: &Reference,
        groups: &Groups,
        minority: &impl Fn(&Group, u32) -> bool,
        foreign: &mut [bool],
    ) -> Vec<Suspect> {
        let tight = groups.tight(reference, self.params.ratio);
        let contradicted: Vec<(&Group, &Surroundings, u32)> = tight
            .islands
            .iter()
            .filter_map(|(group, surroundings)| {
                let class = group.class(PURITY)?;
                let own = surroundings.of_class(class) as f64;
                let apart = own <= MAX_OWN * surroundings.probes as f64;
                let inside = surroundings.reach <= MAX_REACH;
                (apart && inside && minority(group, class)).then_some((group, surroundings, class))
            })
            .collect();
        // The floods of one attack do not excuse each other.
        let sizes = SizeHabit::without(&tight, contradicted.iter().map(|(group, ..)| group.len()));
        // Copies of one object are mislabelled together, as often as single records are.
        let dissenters = groups.dissenters(reference);
        let n_dissenting = dissenters.iter().filter(|&&dissents| dissents).count();
        let record_rate = (n_dissenting as f64 + 1.0) / (dissenters.len() as f64 + 1.0);
        contradicted
            .iter()
            .filter_map(|&(group, surroundings, class)| {
                mark(foreign, group);
                let ordinary = tight.islands.len() - contradicted.len();
                let rate = PRIOR_GROUPS * record_rate / (PRIOR_GROUPS + ordinary as f64);
                let p = fisher(&[sizes.p_value(group.len()), rate]);
                (p <= 0.05).then(|| Suspect {
                    members: group.members.clone(),
                    class: Some(class),
                    belonging: Belonging::Near(RADIUS * group.inner),
                    finding: collision(facts, groups, group, surroundings, class, p),
                })
            })
            .collect()
    }
}

/// Groups of one label amid several other classes, and fragments of one class next to several
/// others: two views of one attack, which become one finding per class.
fn backdoor_clusters(
    facts: &DataFacts,
    reference: &Reference,
    groups: &Groups,
    minority: &impl Fn(&Group, u32) -> bool,
    foreign: &mut [bool],
) -> Vec<Suspect> {
    let fragments = Fragments::new(reference, &groups.graph);
    for &(record, _) in &fragments.apart {
        foreign[record as usize] = true;
    }
    let mut by_class: BTreeMap<u32, (Vec<u32>, Finding)> = BTreeMap::new();
    for excess in fragments.excesses(reference, facts.classes.len()) {
        let members = fragments.of_class(reference, excess.class);
        by_class.insert(excess.class, (members, scattered(facts, &excess)));
    }
    for (group, class, surroundings, p) in clusters(reference, groups, minority) {
        mark(foreign, group);
        let finding = clustered(facts, group, &surroundings, class, p);
        match by_class.get_mut(&class) {
            Some((members, known)) => {
                members.extend(&group.members);
                if known.action == Action::Review || finding.p_value < known.p_value {
                    *known = finding;
                }
            }
            None => {
                by_class.insert(class, (group.members.clone(), finding));
            }
        }
    }
    by_class
        .into_iter()
        .map(|(class, (mut members, mut finding))| {
            members.sort_unstable();
            members.dedup();
            // Two tests were tried.
            finding.p_value = (2.0 * finding.p_value).min(1.0);
            let mut suspect = Suspect {
                members,
                class: Some(class),
                belonging: Belonging::ApartFromClass,
                finding,
            };
            suspect.spread(reference, |record| groups.graph.of(record).to_vec());
            suspect
        })
        .filter(|suspect| suspect.finding.p_value <= 0.05)
        .collect()
}

/// Groups of one label whose own class is missing around them, and around which more classes are
/// than around natural groups, with their p-values of at most 0.05.
fn clusters<'g>(
    reference: &Reference,
    groups: &'g Groups,
    minority: &impl Fn(&Group, u32) -> bool,
) -> Vec<(&'g Group, u32, Surroundings, f64)> {
    let candidates: Vec<(&Group, u32)> = groups
        .all
        .iter()
        .filter(|group| group.len() >= MIN_SCATTERED && group.inside <= MAX_INSIDE)
        .filter_map(|group| Some((group, group.class(SCATTERED_PURITY)?)))
        .filter(|&(group, class)| minority(group, class))
        .collect();
    let n_candidates = candidates.len() as f64;
    // Which groups miss their own class says nothing about how many others are around them, so
    // only those that do pay for the second question.
    let apart: Vec<(&Group, u32, Surroundings)> = candidates
        .into_iter()
        .filter_map(|(group, class)| {
            let surroundings = groups.surroundings(reference, group)?;
            let own = surroundings.of_class(class);
            let p = Binomial::new(NATURAL_OWN, surroundings.probes as u64)
                .map_or(1.0, |chance| chance.cdf(own as u64));
            (p * n_candidates <= 0.05).then_some((group, class, surroundings))
        })
        .collect();
    let tried = apart.len() as f64;
    let shares: Vec<(u32, f64)> = apart
        .iter()
        .map(|(_, class, surroundings)| (*class, others(surroundings, *class).share()))
        .collect();
    apart
        .into_iter()
        .filter_map(|(group, class, surroundings)| {
            // Where classes consist of scattered modes, these lie among many others too.
            let natural = shares
                .iter()
                .filter(|&&(other, _)| other != class)
                .map(|&(_, share)| share)
                .fold(NATURAL_OTHERS, f64::max);
            let p = (others(&surroundings, class).p_value(natural) * tried).min(1.0);
            (p <= 0.05).then_some((group, class, surroundings, p))
        })
        .collect()
}

/// How many members have neither their own class nor one of the two most frequent around them,
/// out of those that do not have their own.
struct Others {
    count: usize,
    all: usize,
}

impl Others {
    fn share(&self) -> f64 {
        self.count as f64 / self.all.max(1) as f64
    }

    /// Chance of so many when the share is `rate`.
    fn p_value(&self, rate: f64) -> f64 {
        match (self.count, Binomial::new(rate.min(1.0), self.all as u64)) {
            (1.., Ok(chance)) => chance.sf(self.count as u64 - 1),
            _ => 1.0,
        }
    }
}

fn others(surroundings: &Surroundings, class: u32) -> Others {
    let counts: Vec<usize> = surroundings
        .classes
        .iter()
        .filter(|&&(other, _)| other != class)
        .map(|&(_, count)| count)
        .collect();
    Others {
        count: counts.iter().skip(2).sum(),
        all: counts.iter().sum(),
    }
}

fn mark(foreign: &mut [bool], group: &Group) {
    for &member in &group.members {
        foreign[member as usize] = true;
    }
}

fn class_sizes(reference: &Reference) -> BTreeMap<u32, usize> {
    let mut sizes = BTreeMap::new();
    for &label in &reference.labels {
        if label != lazaretto_core::NO_LABEL {
            *sizes.entry(label).or_insert(0) += 1;
        }
    }
    sizes
}

fn class_name(facts: &DataFacts, class: u32) -> String {
    let name = facts.classes.get(class as usize);
    name.cloned().unwrap_or_else(|| class.to_string())
}

fn around(facts: &DataFacts, surroundings: &Surroundings) -> String {
    let classes = surroundings.classes.iter().take(6);
    let written: Vec<String> = classes
        .map(|&(class, count)| format!("{}: {count}", class_name(facts, class)))
        .collect();
    written.join(", ")
}

fn collision(
    facts: &DataFacts,
    groups: &Groups,
    group: &Group,
    surroundings: &Surroundings,
    class: u32,
    p_value: f64,
) -> Finding {
    let target = class_name(facts, class);
    let host = surroundings.classes.first();
    let host = host.map_or_else(String::new, |&(host, _)| class_name(facts, host));
    let title = format!(
        "{{records}} records labelled `{target}` are a clump inside the region of `{host}`, {:.2} of \
         the ordinary distance apart",
        group.inner / groups.dense
    );
    let mut finding = Finding::new(
        ClassCollision::SPEC.id,
        "feature-collision",
        Severity::High,
        Action::Quarantine,
        title,
        p_value,
    )
    .with_evidence("distance_inside", group.inner)
    .with_evidence("distance_ordinary", groups.dense)
    .with_evidence("distance_to_surroundings", surroundings.outer)
    .with_evidence("reach", finite(surroundings.reach))
    .with_evidence("classes_around", around(facts, surroundings));
    finding.target_class = facts.classes.get(class as usize).cloned();
    finding
}

fn scattered(facts: &DataFacts, excess: &Excess) -> Finding {
    let title = format!(
        "{{records}} records labelled `{}` lie apart from it, among records of {} other classes",
        class_name(facts, excess.class),
        excess.sources
    );
    // Most of them are there by accident when a third was expected.
    let action = if 3.0 * excess.expected <= excess.observed as f64 {
        Action::Quarantine
    } else {
        Action::Review
    };
    let mut finding = Finding::new(
        ClassCollision::SPEC.id,
        "backdoor-cluster",
        Severity::High,
        action,
        title,
        excess.p_value,
    )
    .with_evidence("fragments", excess.observed)
    .with_evidence("expected_fragments", excess.expected)
    .with_evidence("source_classes", excess.sources)
    .with_evidence("scatter", excess.scatter);
    finding.target_class = facts.classes.get(excess.class as usize).cloned();
    finding
}

fn clustered(
    facts: &DataFacts,
    group: &Group,
    surroundings: &Surroundings,
    class: u32,
    p_value: f64,
) -> Finding {
    let others = surroundings
        .classes
        .iter()
        .filter(|&&(other, _)| other != class);
    let title = format!(
        "{{records}} records labelled `{}` resemble each other and, apart from that, {} other classes",
        class_name(facts, class),
        others.count()
    );
    let mut finding = Finding::new(
        ClassCollision::SPEC.id,
        "backdoor-cluster",
        Severity::High,
        Action::Quarantine,
        title,
        p_value,
    )
    .with_evidence("nearest_inside_share", group.inside)
    .with_evidence("reach", finite(surroundings.reach))
    .with_evidence("classes_around", around(facts, surroundings));
    finding.target_class = facts.classes.get(class as usize).cloned();
    finding
}

impl Detector for ClassCollision {
    type Params = ClassCollisionParams;
    type State = ();
    type Model = ClassCollisionModel;
    /// Ordinals of the records of each suspicious group.
    type Evidence = Gathered;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "class-collision",
        family: Family::Embedding,
        summary: "groups of one class that lie among the records of others",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Label],
        intermediates: &[Intermediate::Neighbors],
        state_bytes_per_row: 0,
        taxonomy: &[
            "AML.T0020",
            "AML.T0043.004",
            "LLM04:2025",
            "NISTAML.012",
            "NISTAML.023",
            "NISTAML.024",
        ],
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
        let (Some(neighbors), Some(reference)) = (&batch.derived.neighbors, &shared.reference)
        else {
            return vec![f32::NAN; batch.n_rows()];
        };
        (0..batch.n_rows())
            .map(|row_idx| {
                let nearest = nearest(neighbors, row_idx);
                let Some(label) = batch.label(row_idx).filter(|_| !nearest.is_empty()) else {
                    return f32::NAN;
                };
                let foreign = nearest.iter().filter(|&&(record, _)| {
                    let record = record as usize;
                    model.foreign[record] && reference.labels[record] == label
                });
                foreign.count() as f32 / nearest.len() as f32
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
