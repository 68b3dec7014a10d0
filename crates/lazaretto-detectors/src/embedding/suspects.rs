//! Suspicious groups found among the reference records, and which records of the whole dataset
//! belong to them.

use lazaretto_core::shared::{Neighbors, Reference};
use lazaretto_core::{Batch, Finding, NO_LABEL, Shared};

use crate::embedding::groups::Group;

/// How a record is recognised as one of a group by its nearest reference records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Belonging {
    /// A member lies at most this far from it.
    Near(f64),
    /// At least half of the nearest records are members, out of as many as a member can have.
    Majority,
    /// A member is among the nearest, and hardly anybody else of the group's class is.
    ApartFromClass,
}

/// A group that is to become a finding.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    /// Reference records, ascending.
    pub(super) members: Vec<u32>,
    /// The label that its records have; `None` when labels do not matter.
    pub(super) class: Option<u32>,
    /// Who belongs to it.
    pub(super) belonging: Belonging,
    /// The finding, still without its records. `{records}` in its title becomes their number.
    pub(super) finding: Finding,
}

impl Suspect {
    fn contains(&self, record: u32) -> bool {
        self.members.binary_search(&record).is_ok()
    }

    /// Whether a reference record belongs to it because it is a member. Distance alone decides
    /// where it is the rule.
    fn keeps(&self, record: u32, label: u32) -> bool {
        !matches!(self.belonging, Belonging::Near(_))
            && self.class.is_none_or(|class| class == label)
            && self.contains(record)
    }

    /// Whether a record with this label, and these nearest reference records, belongs to it.
    fn admits(&self, label: u32, nearest: &[(u32, f32)], labels: &[u32]) -> bool {
        if self.class.is_some_and(|class| class != label) {
            return false;
        }
        match self.belonging {
            Belonging::Near(radius) => nearest
                .iter()
                .take_while(|&&(_, distance)| f64::from(distance) <= radius)
                .any(|&(record, _)| self.contains(record)),
            Belonging::Majority => {
                let looked_at = nearest
                    .len()
                    .min(self.members.len().saturating_sub(1))
                    .max(1);
                let nearest = nearest.iter().take(looked_at);
                2 * nearest
                    .filter(|&&(record, _)| self.contains(record))
                    .count()
                    >= looked_at
            }
            Belonging::ApartFromClass => {
                let (mut members, mut others) = (0, 0);
                for &(record, _) in nearest {
                    if self.contains(record) {
                        members += 1;
                    } else if labels[record as usize] == label {
                        others += 1;
                    }
                }
                members >= 1 && others <= nearest.len() / 8
            }
        }
    }

    /// Adds the reference records that belong to it by the rule; of a scattered group the graph
    /// shows only pieces.
    pub(super) fn spread(
        &mut self,
        reference: &Reference,
        nearest: impl Fn(u32) -> Vec<(u32, f32)>,
    ) {
        const ROUNDS: usize = 4;
        for _ in 0..ROUNDS {
            let added: Vec<u32> = (0..reference.labels.len() as u32)
                .filter(|&record| !self.contains(record))
                .filter(|&record| {
                    let label = reference.labels[record as usize];
                    self.admits(label, &nearest(record), &reference.labels)
                })
                .collect();
            if added.is_empty() {
                break;
            }
            self.members.extend(added);
            self.members.sort_unstable();
        }
    }
}

/// The suspicious groups, each group's records ready to be gathered.
#[derive(Clone, Debug, Default)]
pub(super) struct Suspects {
    pub(super) suspects: Vec<Suspect>,
}

/// Ordinals of the records of each suspect, ascending.
pub(super) type Gathered = Vec<Vec<u64>>;

impl Suspects {
    /// No records yet.
    pub(super) fn start(&self) -> Gathered {
        vec![Vec::new(); self.suspects.len()]
    }

    /// Gathers the records of the batch that belong to a suspect, and returns for each record
    /// whether it does.
    pub(super) fn gather(
        &self,
        shared: &Shared,
        batch: &Batch<'_>,
        gathered: &mut Gathered,
    ) -> Vec<bool> {
        let mut belongs = vec![false; batch.n_rows()];
        let (Some(neighbors), Some(reference)) = (&batch.derived.neighbors, &shared.reference)
        else {
            return belongs;
        };
        if self.suspects.is_empty() {
            return belongs;
        }
        for (row_idx, belongs) in belongs.iter_mut().enumerate() {
            let nearest = nearest(neighbors, row_idx);
            let label = batch.label(row_idx).unwrap_or(NO_LABEL);
            let own = reference
                .ordinals
                .binary_search(&batch.ordinal(row_idx))
                .ok();
            for (suspect, records) in self.suspects.iter().zip(gathered.iter_mut()) {
                if own.is_some_and(|own| suspect.keeps(own as u32, label))
                    || suspect.admits(label, &nearest, &reference.labels)
                {
                    records.push(batch.ordinal(row_idx));
                    *belongs = true;
                }
            }
        }
        belongs
    }

    /// Appends what a later partition gathered.
    pub(super) fn merge(gathered: &mut Gathered, later: Gathered) {
        for (records, later) in gathered.iter_mut().zip(later) {
            records.extend(later);
        }
    }

    /// The findings with their records, the most convincing first.
    pub(super) fn finish(&self, gathered: Gathered) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self
            .suspects
            .iter()
            .zip(gathered)
            .filter(|(_, records)| !records.is_empty())
            .map(|(suspect, records)| {
                let mut finding = suspect.finding.clone();
                finding.title = finding
                    .title
                    .replacen("{records}", &records.len().to_string(), 1);
                finding
                    .with_evidence("reference_records", suspect.members.len())
                    .with_records(records)
            })
            .collect();
        findings.sort_by(|a, b| {
            let first = |finding: &Finding| finding.records.first().copied();
            a.p_value
                .total_cmp(&b.p_value)
                .then_with(|| first(a).cmp(&first(b)))
        });
        findings
    }
}

/// The nearest reference records of a row of a batch; shorter where there are fewer.
pub(super) fn nearest(neighbors: &Neighbors, row_idx: usize) -> Vec<(u32, f32)> {
    let indices = neighbors.indices.row(row_idx);
    indices
        .iter()
        .zip(neighbors.distances.row(row_idx))
        .take_while(|(_, distance)| distance.is_finite())
        .map(|(&record, &distance)| (record, distance))
        .collect()
}

/// Keeps the most convincing of suspects that overlap.
pub(super) fn without_overlaps<T>(mut judged: Vec<(f64, &Group, T)>) -> Vec<(f64, &Group, T)> {
    judged.sort_by(|a, b| {
        a.0.total_cmp(&b.0)
            .then(b.1.len().cmp(&a.1.len()))
            .then(a.1.members[0].cmp(&b.1.members[0]))
    });
    let mut kept: Vec<(f64, &Group, T)> = Vec::new();
    for candidate in judged {
        if !kept.iter().any(|(_, group, _)| group.overlaps(candidate.1)) {
            kept.push(candidate);
        }
    }
    kept
}
