//! `semantic-duplicates`: records that say the same in other words.

use std::cmp::Reverse;

use lazaretto_core::shared::{NeighborBase, Neighbors};
use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NO_LABEL, NotApplicable, ParamProblem, Params, Role, ScoreKind, Severity, Shared,
    params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flood::{Habit, by_class, dissenting, ordinary_below};
use super::near::Forest;

/// Fewest records with vectors.
const MIN_RECORDS: usize = 60;
/// Share of the possible links that a group of paraphrases has. Chains through a dense region have
/// few of theirs.
const LINKED: f64 = 0.5;
/// Groups that get a finding of their own.
const MAX_FINDINGS: usize = 50;
/// Records that a finding for review lists.
const MAX_LISTED: usize = 10_000;

/// Finds groups of records whose embeddings are far closer than this dataset's records are.
///
/// # What it finds
/// Floods of paraphrases: one statement in dozens of wordings. Records that mean the same and have
/// different labels.
///
/// # Why it matters
/// A flood that a language model rewrote passes exact and near-duplicate detection and still gives one
/// statement the weight of many.
///
/// # How it works
/// - Records are linked when one is among the nearest of the other, at most `ratio` times the
///   median nearest-neighbour distance apart. All records are searched, where `tight-cluster`
///   looks at a sample and asks for copies that are several times tighter.
/// - Linked records form groups. Those in which half of the possible links are there (as far as
///   neighbours were searched) are paraphrases; chains through a dense region are not.
/// - The sizes of groups of at least `min_copies` are tested against the dataset's habit of repeating
///   itself (a power law fitted to its small groups), for all of them together.
/// - Floods beyond that at `alpha` are for review, without the record with the most links: what
///   repeats itself in meaning can be a template, a price list, a format of answers, and only a
///   person can tell. Smaller groups with different labels are shown.
///
/// # Parameters
/// - `ratio` (0.5): distance of linked records as a share of the ordinary nearest distance.
/// - `min_copies` (8): fewest records of a flood.
/// - `alpha` (0.01): largest chance of such sizes for floods to be shown.
///
/// # False positives
/// Short answers that many prompts share, product variants, frames of a video: embeddings of
/// what is naturally almost the same.
///
/// # Limits
/// Runs on request and holds nothing back: on real news with embeddings of their words, the
/// largest groups are natural. Needs an embedding column, and neighbours of all records, which an index does not give (beyond some 250,000 records
/// of 64 dimensions it abstains).
///
/// # Example
/// "41 records say the same as another one: 0.31 of the ordinary distance apart"
/// ```toml
/// [parameters.semantic-duplicates]
/// ratio = 0.4
/// ```
///
/// # References
/// - Abbas et al.: `SemDeDup`: Data-efficient learning at web-scale through semantic deduplication,
///   2023, <https://arxiv.org/abs/2303.09540>.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SemanticDuplicatesParams {
    /// Largest distance of linked records over the median nearest distance, 0.01 to 0.95.
    pub ratio: f64,
    /// Fewest records of a flood, 3 or more.
    pub min_copies: u32,
    /// Largest chance of the sizes of floods that are shown, 0 to 1.
    pub alpha: f64,
}

impl Default for SemanticDuplicatesParams {
    fn default() -> Self {
        Self {
            ratio: 0.5,
            min_copies: 8,
            alpha: 0.01,
        }
    }
}

impl Params for SemanticDuplicatesParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("ratio", self.ratio, 0.01..=0.95)
            .range("min_copies", self.min_copies, 3..=1_000_000)
            .range("alpha", self.alpha, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`SemanticDuplicatesParams`].
#[derive(Clone, Debug)]
pub struct SemanticDuplicates {
    params: SemanticDuplicatesParams,
}

/// Records that say the same.
#[derive(Clone, Debug, PartialEq)]
struct Group {
    /// The record with the most links; the first of equals.
    middle: u64,
    /// The others, ascending.
    others: Vec<u64>,
    /// Labels with their counts, most frequent first.
    classes: Vec<(u32, usize)>,
    /// Median distance of linked records over the ordinary one.
    distance: f64,
}

impl Group {
    fn size(&self) -> usize {
        self.others.len() + 1
    }
}

/// What the score pass needs.
#[derive(Debug)]
pub struct SemanticModel {
    /// The largest first.
    groups: Vec<Group>,
    /// How many of them are floods.
    n_floods: usize,
    p_value: f64,
    /// Records of the floods but their middles, ascending.
    flooding: Vec<u64>,
}

fn nearest(neighbors: &Neighbors, record: usize) -> impl Iterator<Item = (u32, f32)> + '_ {
    let pairs = neighbors.indices.row(record).into_iter();
    pairs
        .copied()
        .zip(neighbors.distances.row(record).into_iter().copied())
        .take_while(|(_, distance)| distance.is_finite())
}

/// Median distance to the nearest record, over those that have one.
fn ordinary_distance(neighbors: &Neighbors) -> Option<f64> {
    let mut distances: Vec<f32> = (0..neighbors.indices.nrows())
        .filter_map(|record| nearest(neighbors, record).next())
        .map(|(_, distance)| distance)
        .collect();
    distances.sort_unstable_by(f32::total_cmp);
    let median = f64::from(*distances.get(distances.len() / 2)?);
    (median > 0.0).then_some(median)
}

/// The groups of records within `ratio` of the ordinary distance.
fn groups(base: &NeighborBase, neighbors: &Neighbors, ratio: f64) -> Vec<Group> {
    let Some(ordinary) = ordinary_distance(neighbors) else {
        return Vec::new();
    };
    let limit = (ratio * ordinary) as f32;
    let n = neighbors.indices.nrows();
    let linked = |record: u32| {
        nearest(neighbors, record as usize).take_while(move |&(_, distance)| distance <= limit)
    };
    let mut forest = Forest::new(n);
    for record in 0..n as u32 {
        for (other, _) in linked(record) {
            forest.join(record, other);
        }
    }
    let searched = neighbors.indices.ncols();
    let mut groups: Vec<Group> = forest
        .sets()
        .into_iter()
        .filter_map(|members| {
            let possible = searched.min(members.len() - 1);
            let links: Vec<usize> = members.iter().map(|&m| linked(m).count()).collect();
            let mut sorted = links.clone();
            sorted.sort_unstable();
            if (sorted[sorted.len() / 2] as f64) < LINKED * possible as f64 {
                return None;
            }
            let places = (0..members.len()).map(|place| (links[place], Reverse(place)));
            let middle = places.max().map_or(0, |(_, Reverse(place))| place);
            let distances = members.iter().flat_map(|&m| linked(m).map(|(_, d)| d));
            let mut distances: Vec<f32> = distances.collect();
            distances.sort_unstable_by(f32::total_cmp);
            let median = distances.get(distances.len() / 2).copied().unwrap_or(0.0);
            let labels = members.iter().map(|&m| base.labels[m as usize]);
            let ordinals = members.iter().map(|&m| base.ordinals[m as usize]);
            let others = ordinals.enumerate().filter(|&(place, _)| place != middle);
            Some(Group {
                middle: base.ordinals[members[middle] as usize],
                classes: by_class(labels.filter(|&label| label != NO_LABEL)),
                others: others.map(|(_, ordinal)| ordinal).collect(),
                distance: f64::from(median) / ordinary,
            })
        })
        .collect();
    groups.sort_by_key(|group| (Reverse(group.size()), group.middle));
    groups
}

impl SemanticDuplicates {
    /// How many of the largest groups are floods, and the chance of that.
    fn floods(&self, groups: &[Group], n_rows: u64) -> (usize, f64) {
        let min_copies = self.params.min_copies as usize;
        let sizes = groups.iter().map(Group::size);
        let from = ordinary_below(sizes.clone(), min_copies, n_rows);
        let habit = Habit::of(sizes.map(|size| (size, 0)), from);
        let large = groups.partition_point(|group| group.size() >= from);
        let mut tried = (1..=large).map(|count| {
            let chance = habit.size_p_value(groups[count - 1].size(), count);
            (count, (chance * large as f64).min(1.0))
        });
        let proven = tried.rfind(|&(_, p_value)| p_value <= self.params.alpha);
        proven.unwrap_or((0, 1.0))
    }
}

fn review(groups: &[&Group]) -> Option<Finding> {
    let mut records: Vec<u64> = groups
        .iter()
        .flat_map(|group| group.others.iter().copied().chain([group.middle]))
        .collect();
    let title = format!(
        "{} records in {} groups mean nearly the same and have different labels",
        records.len(),
        groups.len()
    );
    records.sort_unstable();
    records.truncate(MAX_LISTED);
    (!records.is_empty()).then(|| {
        let (kind, severity) = ("contradictory-labels", Severity::Low);
        Finding::new(
            SemanticDuplicates::SPEC.id,
            kind,
            severity,
            Action::Review,
            title,
            1.0,
        )
        .with_records(records)
        .with_evidence("groups", groups.len())
    })
}

impl Detector for SemanticDuplicates {
    type Params = SemanticDuplicatesParams;
    type State = ();
    type Model = SemanticModel;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "semantic-duplicates",
        family: Family::Duplicates,
        summary: "groups of records that say the same in other words, by their embeddings",
        score_kind: ScoreKind::Rule,
        by_default: false,
        fit_roles: &[],
        score_roles: &[Role::Label],
        intermediates: &[Intermediate::AllNeighbors],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
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
        _context: &FitContext,
        _state: Self::State,
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let base = shared.neighbor_base.as_ref();
        let base = base.filter(|base| base.n_usable >= MIN_RECORDS);
        let base = base.ok_or_else(|| NotApplicable::new("too few records with vectors"))?;
        let neighbors = base.neighbors.as_ref().ok_or_else(|| {
            NotApplicable::new("too many records for the neighbours of all of them")
        })?;
        let groups = groups(base, neighbors, self.params.ratio);
        let (n_floods, p_value) = self.floods(&groups, base.ordinals.len() as u64);
        let floods = groups[..n_floods].iter();
        let mut flooding: Vec<u64> = floods.flat_map(|group| group.others.clone()).collect();
        flooding.sort_unstable();
        Ok(SemanticModel {
            groups,
            n_floods,
            p_value,
            flooding,
        })
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let ordinals = (0..batch.n_rows()).map(|row_idx| batch.ordinal(row_idx));
        let flooding = |ordinal| model.flooding.binary_search(&ordinal).is_ok();
        ordinals
            .map(|ordinal| if flooding(ordinal) { 0.3 } else { 0.0 })
            .collect()
    }

    fn merge_evidence(&self, _evidence: &mut Self::Evidence, _later: Self::Evidence) {}

    fn finish(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        _evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let (floods, rest) = model.groups.split_at(model.n_floods);
        let mut findings: Vec<Finding> = floods
            .iter()
            .take(MAX_FINDINGS)
            .map(|flood| {
                let title = format!(
                    "{} records say the same as another one: {:.2} of the ordinary distance apart",
                    flood.others.len(),
                    flood.distance
                );
                let (kind, severity) = ("paraphrase-flood", Severity::Low);
                Finding::new(
                    Self::SPEC.id,
                    kind,
                    severity,
                    Action::Review,
                    title,
                    model.p_value,
                )
                .with_records(flood.others.clone())
                .with_evidence("distance_inside_over_ordinary", flood.distance)
                .with_evidence("records_with_another_label", dissenting(&flood.classes))
                .with_evidence("floods_judged_together", model.n_floods)
            })
            .collect();
        let contradictory: Vec<&Group> = rest
            .iter()
            .filter(|group| dissenting(&group.classes) > 0)
            .collect();
        findings.extend(review(&contradictory));
        findings
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const K: usize = 10;
    const DIM: usize = 8;

    /// All records with their nearest, by comparing all pairs.
    fn base(rows: &[[f32; DIM]], labels: Vec<u32>) -> NeighborBase {
        let n = rows.len();
        let mut indices = Array2::zeros((n, K));
        let mut distances = Array2::from_elem((n, K), f32::NAN);
        for (row, own) in rows.iter().enumerate() {
            let mut found: Vec<(f32, usize)> = (0..n)
                .filter(|&other| other != row)
                .map(|other| {
                    let squares = own.iter().zip(&rows[other]).map(|(a, b)| (a - b).powi(2));
                    (squares.sum::<f32>().sqrt(), other)
                })
                .collect();
            found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            for (place, &(distance, other)) in found.iter().take(K).enumerate() {
                indices[[row, place]] = other as u32;
                distances[[row, place]] = distance;
            }
        }
        NeighborBase {
            ordinals: (0..n as u64).collect(),
            labels,
            n_usable: n,
            neighbors: Some(Neighbors { indices, distances }),
        }
    }

    fn cloud(n: usize, seed: u64) -> Vec<[f32; DIM]> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|_| std::array::from_fn(|_| rng.gen_range(-1.0..1.0_f32)))
            .collect()
    }

    fn judged(base: &NeighborBase) -> (Vec<Group>, usize, f64) {
        let params = SemanticDuplicatesParams::default();
        let neighbors = base.neighbors.as_ref().expect("all neighbours");
        let groups = groups(base, neighbors, params.ratio);
        let (count, p_value) =
            SemanticDuplicates::new(params).floods(&groups, base.ordinals.len() as u64);
        (groups, count, p_value)
    }

    #[test]
    fn paraphrases_of_one_record_are_a_flood() {
        for seed in 0..5 {
            let mut rows = cloud(600, seed);
            let mut rng = ChaCha8Rng::seed_from_u64(seed + 100);
            for _ in 0..40 {
                let centre = rows[17];
                rows.push(centre.map(|value| value + rng.gen_range(-0.05..0.05_f32)));
            }
            let (groups, count, p_value) = judged(&base(&rows, vec![NO_LABEL; 640]));
            assert_eq!(count, 1, "seed {seed}");
            assert!(p_value < 1e-3, "seed {seed}: {p_value}");
            assert_eq!(groups[0].size(), 41);
            assert!(groups[0].others.iter().filter(|&&row| row >= 600).count() >= 39);
        }
    }

    #[test]
    fn a_cloud_has_no_floods_and_contradictions_are_seen() {
        for seed in 0..5 {
            let mut rows = cloud(600, seed);
            rows.push(rows[5].map(|value| value + 0.001));
            let mut labels = vec![0; 601];
            labels[600] = 1;
            let (groups, count, _) = judged(&base(&rows, labels));
            assert_eq!(count, 0, "seed {seed}: {groups:?}");
            let pair = groups.iter().find(|group| dissenting(&group.classes) > 0);
            assert_eq!(pair.map(Group::size), Some(2));
        }
    }

    #[test]
    fn a_chain_is_no_flood() {
        let mut rows = cloud(300, 3);
        // A dense line: each record is near its two neighbours only.
        rows.extend((0..60).map(|step| {
            let mut row = [3.0; DIM];
            row[0] += step as f32 * 0.2;
            row
        }));
        let (_, count, _) = judged(&base(&rows, vec![NO_LABEL; 360]));
        assert_eq!(count, 0);
    }
}
