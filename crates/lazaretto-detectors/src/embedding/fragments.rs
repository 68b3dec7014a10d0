//! Fragments of classes that lie among records of other classes.
//!
//! A trigger that was added to records of many classes, all relabelled to one, leaves fragments
//! of that one class next to each of the others: single records when the trigger is weak, small
//! clumps when it is strong. Neighbours alone miss the clumps, because their members agree with
//! each other; here a record is judged by the nearest records *outside* its fragment.

use std::collections::BTreeMap;

use lazaretto_core::NO_LABEL;
use lazaretto_core::shared::Reference;

use crate::duplicates::flood::by_class;
use crate::embedding::groups::{NEIGHBORS, OUTSIDE};
use crate::embedding::one_way::{ContradictedCounts, Excess};
use crate::embedding::reference_graph::{ReferenceGraph, nearest_allowed};

/// A fragment counts for at most this many records per class next to it: it is one event, not as
/// many as it has members.
const MAX_WEIGHT: u64 = 3;

/// The reference records that lie apart from their class.
#[derive(Clone, Debug, Default)]
pub(super) struct Fragments {
    /// (record, class that surrounds it), ascending by record.
    pub(super) apart: Vec<(u32, u32)>,
    counts: ContradictedCounts,
}

impl Fragments {
    /// The fragments of all classes: components of the mutual graph among records of one class
    /// with at most half of that class.
    pub(super) fn new(reference: &Reference, graph: &ReferenceGraph) -> Self {
        let labels = &reference.labels;
        let components = graph
            .mutual_components_where(NEIGHBORS, |a, b| labels[a as usize] == labels[b as usize]);
        let sizes: BTreeMap<u32, usize> = by_class(labels.iter().copied()).into_iter().collect();
        let mut component_of = vec![0_u32; labels.len()];
        let mut members: Vec<u32> = Vec::new();
        for (component, idx) in components.iter().zip(0..) {
            for &member in component {
                component_of[member as usize] = idx;
            }
            let label = labels[component[0] as usize];
            let of_class = sizes.get(&label).copied().unwrap_or(0);
            if label != NO_LABEL && 2 * component.len() <= of_class {
                members.extend(component);
            }
        }
        let outside = |a: u32, b: u32| component_of[a as usize] != component_of[b as usize];
        let surroundings = surroundings(reference, graph, &members, &outside);
        let mut found = Self::default();
        let mut per_fragment: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for (&member, around) in members.iter().zip(surroundings) {
            let label = labels[member as usize];
            if let Some(class) = contradicting(labels, label, &around) {
                found.apart.push((member, class));
                let weight = per_fragment
                    .entry((component_of[member as usize], class))
                    .or_default();
                if *weight < MAX_WEIGHT {
                    *weight += 1;
                    found.counts.add(label, class, 1);
                }
            }
        }
        found.apart.sort_unstable();
        found
    }

    /// Classes with more such fragments, next to more other classes, than the others have.
    pub(super) fn excesses(&self, reference: &Reference, n_classes: usize) -> Vec<Excess> {
        let mut sizes = vec![0; n_classes];
        for (class, count) in by_class(reference.labels.iter().copied()) {
            if let Some(size) = sizes.get_mut(class as usize) {
                *size = count as u64;
            }
        }
        self.counts.excesses(&sizes)
    }

    /// The records of `class` that lie apart from it, ascending.
    pub(super) fn of_class(&self, reference: &Reference, class: u32) -> Vec<u32> {
        let records = self.apart.iter().map(|&(record, _)| record);
        records
            .filter(|&record| reference.labels[record as usize] == class)
            .collect()
    }
}

/// The nearest records outside of each member's fragment: from its list where that has enough,
/// else by search.
fn surroundings(
    reference: &Reference,
    graph: &ReferenceGraph,
    members: &[u32],
    outside: &(impl Fn(u32, u32) -> bool + Sync),
) -> Vec<Vec<u32>> {
    let mut found: Vec<Vec<u32>> = members
        .iter()
        .map(|&member| {
            let near = graph.of(member).iter().map(|&(other, _)| other);
            near.filter(|&other| outside(member, other))
                .take(OUTSIDE)
                .collect()
        })
        .collect();
    let missing: Vec<usize> = (0..members.len())
        .filter(|&idx| found[idx].len() < OUTSIDE)
        .collect();
    let rows: Vec<u32> = missing.iter().map(|&idx| members[idx]).collect();
    let searched = nearest_allowed(reference.features.view(), &rows, OUTSIDE, outside);
    for (idx, near) in missing.into_iter().zip(searched) {
        found[idx] = near.into_iter().map(|(other, _)| other).collect();
    }
    found
}

/// The class that has the majority around a record, where its own is all but absent.
fn contradicting(labels: &[u32], label: u32, around: &[u32]) -> Option<u32> {
    let classes = by_class(around.iter().map(|&other| labels[other as usize]));
    let &(class, count) = classes.first()?;
    let own = classes.iter().find(|&&(other, _)| other == label);
    let own = own.map_or(0, |&(_, count)| count);
    (class != label && 5 * own <= around.len() && 5 * count >= 3 * around.len()).then_some(class)
}
