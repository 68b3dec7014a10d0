//! Groups of reference records that hold together, and what surrounds them.
//!
//! What tells planted groups from the natural parts of a class is how they lie among everybody
//! else: inside a region of other classes, denser than it, or far from all with labels that
//! contradict each other. This module measures; the detectors judge.

use lazaretto_core::NO_LABEL;
use lazaretto_core::shared::Reference;

use crate::duplicates::flood::by_class;
use crate::embedding::reference_graph::{ReferenceGraph, nearest_allowed};

/// Nearest others of each reference record that are looked at.
pub(super) const NEIGHBORS: usize = 10;
/// Fewer reference records than this show no structure.
pub(super) const MIN_REFERENCE: usize = 60;
/// A group has at least this many reference records.
pub(super) const MIN_MEMBERS: usize = 5;
/// Sizes of neighbourhoods from which groups are built: small ones find small groups inside a
/// class, the largest finds loose ones.
const SCALES: [usize; 3] = [4, 6, NEIGHBORS];
/// Nearest others that vote on whether they contradict a label.
const VOTERS: usize = 5;
/// Nearest others whose mean distance says how dense it is around a record.
const DENSITY_NEIGHBORS: usize = 4;
/// Members of a group whose surroundings are looked at; more would say the same.
const PROBES: usize = 48;
/// Outside records that a member's surroundings are judged by.
pub(super) const OUTSIDE: usize = 5;

/// A component of the mutual graph at one scale.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Reference records, ascending.
    pub(super) members: Vec<u32>,
    /// Classes of the members with a label, most frequent first.
    pub(super) classes: Vec<(u32, usize)>,
    /// Median over the members of the mean distance to the nearest other members.
    pub(super) inner: f64,
    /// Share of the members' nearest records that are members, in `0..=1`; as many are looked at
    /// as there are other members.
    pub(super) inside: f64,
}

impl Group {
    fn new(reference: &Reference, graph: &ReferenceGraph, members: Vec<u32>) -> Self {
        let belongs = |record: u32| members.binary_search(&record).is_ok();
        let inner = median(
            members
                .iter()
                .filter_map(|&member| graph.mean_distance(member, DENSITY_NEIGHBORS, belongs)),
        );
        let possible = NEIGHBORS.min(members.len() - 1);
        let (mut inside, mut looked_at) = (0, 0);
        for &member in &members {
            for &(other, _) in graph.of(member).iter().take(possible) {
                inside += usize::from(belongs(other));
                looked_at += 1;
            }
        }
        let labels = members.iter().map(|&m| reference.labels[m as usize]);
        let classes = by_class(labels);
        Self {
            classes,
            inner: inner.unwrap_or(0.0),
            inside: inside as f64 / f64::from(looked_at.max(1)),
            members,
        }
    }

    /// Number of reference records in it.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the reference record belongs to it.
    pub(super) fn contains(&self, record: u32) -> bool {
        self.members.binary_search(&record).is_ok()
    }

    /// The class of at least the share `purity` of the members.
    pub(super) fn class(&self, purity: f64) -> Option<u32> {
        let &(class, count) = self.classes.first()?;
        (count as f64 >= purity * self.len() as f64).then_some(class)
    }

    /// Whether at least half of the smaller of the two groups is in both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let shared = self.members.iter().filter(|&&m| other.contains(m)).count();
        2 * shared >= self.len().min(other.len())
    }
}

/// What lies around a group.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    /// Median distance from a member to the nearest record outside.
    pub(super) outer: f64,
    /// How far that is for the place: mean distance of the members to their nearest records
    /// outside, over the distance these keep among themselves. About 1 inside a region, more
    /// outside of all.
    pub(super) reach: f64,
    /// Class of the majority of the nearest outside records of each probe, most frequent first.
    pub(super) classes: Vec<(u32, usize)>,
    /// Number of probes.
    pub(super) probes: usize,
}

impl Surroundings {
    /// Number of probes in whose surroundings `class` has the majority.
    pub(super) fn of_class(&self, class: u32) -> usize {
        self.classes
            .iter()
            .find(|&&(other, _)| other == class)
            .map_or(0, |&(_, count)| count)
    }
}

/// The reference set as a graph, with its groups.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    pub(super) graph: ReferenceGraph,
    /// All groups at all scales with [`MIN_MEMBERS`] or more and at most half of the reference;
    /// groups may contain each other.
    pub(super) all: Vec<Group>,
    /// Lower quartile over all records of the mean distance to their nearest others: how dense an
    /// ordinary dense place is.
    pub(super) dense: f64,
}

impl Groups {
    /// The groups of the reference set.
    pub(super) fn new(reference: &Reference) -> Self {
        let graph = ReferenceGraph::new(reference, NEIGHBORS);
        let mut found: Vec<Vec<u32>> = Vec::new();
        for scale in SCALES {
            let components = graph.mutual_components(scale);
            found.extend(
                components
                    .into_iter()
                    .filter(|c| c.len() >= MIN_MEMBERS && 2 * c.len() <= graph.len())
                    .map(|component| with_satellites(&graph, component)),
            );
        }
        found.sort_unstable();
        found.dedup();
        let mut density: Vec<f64> = (0..graph.len() as u32)
            .filter_map(|record| graph.mean_distance(record, DENSITY_NEIGHBORS, |_| true))
            .collect();
        density.sort_unstable_by(f64::total_cmp);
        Self {
            all: found
                .into_iter()
                .map(|members| Group::new(reference, &graph, members))
                .collect(),
            dense: density.get(density.len() / 4).copied().unwrap_or(0.0),
            graph,
        }
    }

    /// Looks at what surrounds `group`. `None` when nothing does.
    pub(super) fn surroundings(
        &self,
        reference: &Reference,
        group: &Group,
    ) -> Option<Surroundings> {
        let step = group.len().div_ceil(PROBES);
        let probes: Vec<u32> = group.members.iter().copied().step_by(step).collect();
        let outside = nearest_allowed(reference.features.view(), &probes, OUTSIDE, |_, other| {
            !group.contains(other)
        });
        let outer = median(
            outside
                .iter()
                .filter_map(|found| Some(f64::from(found.first()?.1))),
        )?;
        let reach = median(outside.iter().filter_map(|found| {
            let distance: f64 = found.iter().map(|&(_, d)| f64::from(d)).sum();
            let usual: f64 = found
                .iter()
                .map(|&(other, _)| self.usual_distance(other, group))
                .sum();
            (usual > 0.0).then(|| distance / usual)
        }));
        let majorities = outside.iter().map(|found| {
            let labels = found
                .iter()
                .map(|&(other, _)| reference.labels[other as usize]);
            by_class(labels)
                .first()
                .map_or(NO_LABEL, |&(class, _)| class)
        });
        Some(Surroundings {
            outer,
            reach: reach.unwrap_or(f64::INFINITY),
            classes: by_class(majorities),
            probes: probes.len(),
        })
    }

    /// Per reference record, whether most of its nearest others have another label.
    pub(super) fn dissenters(&self, reference: &Reference) -> Vec<bool> {
        (0..self.graph.len() as u32)
            .map(|record| {
                let label = reference.labels[record as usize];
                let near = self.graph.of(record).iter().take(VOTERS);
                let same = near.clone().filter(|&&(other, _)| {
                    label != NO_LABEL && reference.labels[other as usize] == label
                });
                2 * same.count() < near.len()
            })
            .collect()
    }

    /// Mean distance from a record outside `group` to its nearest others outside. When the group
    /// fills its whole list, the end of the list, than which those others are not nearer.
    fn usual_distance(&self, record: u32, group: &Group) -> f64 {
        self.graph
            .mean_distance(record, OUTSIDE, |other| !group.contains(other))
            .or_else(|| Some(f64::from(self.graph.of(record).last()?.1)))
            .unwrap_or(0.0)
    }

    /// The dense islands of the reference set, the largest first.
    ///
    /// They are the components of the graph whose edges are at most `ratio` of the ordinary
    /// distance, with distances inside that are at most `ratio` of those to whatever surrounds
    /// them.
    pub(super) fn tight(&self, reference: &Reference, ratio: f64) -> Tight {
        let mut tight = Tight::default();
        if self.dense <= 0.0 {
            return tight;
        }
        for members in self.graph.components_within(ratio * self.dense) {
            if members.len() >= 2 {
                tight.sizes.push(members.len());
            }
            if members.len() < MIN_MEMBERS || 2 * members.len() > self.graph.len() {
                continue;
            }
            let group = Group::new(reference, &self.graph, members);
            if let Some(surroundings) = self.surroundings(reference, &group)
                && group.inner <= ratio * surroundings.outer
            {
                tight.islands.push((group, surroundings));
            }
        }
        tight
            .islands
            .sort_by_key(|(group, _)| (std::cmp::Reverse(group.len()), group.members[0]));
        tight
    }
}

/// Records that lie closer together than records of the dataset do.
#[derive(Clone, Debug, Default)]
pub(super) struct Tight {
    /// Groups of at least [`MIN_MEMBERS`] with a gap around them.
    pub(super) islands: Vec<(Group, Surroundings)>,
    /// Sizes of all groups of two and more, with and without a gap.
    pub(super) sizes: Vec<usize>,
}

/// The component and the records around it most of whose nearest others belong to it. The mutual
/// graph leaves some of a group's own records out, because a few of its members are among the
/// nearest of everybody (hubs).
fn with_satellites(graph: &ReferenceGraph, mut members: Vec<u32>) -> Vec<u32> {
    let looked_at = NEIGHBORS.min(members.len());
    let mut votes: Vec<u32> = Vec::new();
    // Who has members among its nearest is found from the members' side: satellites are near.
    for &member in &members {
        votes.extend(graph.of(member).iter().map(|&(other, _)| other));
    }
    votes.sort_unstable();
    votes.dedup();
    let satellites: Vec<u32> = votes
        .into_iter()
        .filter(|other| members.binary_search(other).is_err())
        .filter(|&other| {
            let nearest = graph.of(other).iter().take(looked_at);
            let belonging = nearest.filter(|(near, _)| members.binary_search(near).is_ok());
            5 * belonging.count() >= 3 * looked_at
        })
        .collect();
    members.extend(satellites);
    members.sort_unstable();
    members
}

/// The middle value; `None` without values.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
