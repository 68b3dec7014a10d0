//! Which clusters are floods.

use std::collections::BTreeMap;

use lazaretto_core::{Action, DataFacts, Finding, Severity};
use serde::{Deserialize, Serialize};

use super::NearDuplicatesParams;
use super::content::ContentCounts;
use crate::duplicates::flood::{Habit, adjusted, by_class, dissenting, fisher, ordinary_below};
use crate::text::margins::Margins;

/// Clusters that are judged, the largest ones.
const MAX_JUDGED: usize = 10_000;
/// Clusters that get a finding of their own for review.
const MAX_REVIEWED: usize = 20;
/// Records that the finding about all near-duplicates lists.
const MAX_LISTED: usize = 100_000;
/// Where more of a table's rows than this share have near-copies, agreement means nothing.
const TABLE_HABIT_SHARE: f64 = 0.2;
/// Combined rank of the content up to which it is on the side of the contradiction.
const TAKES_SIDES: f64 = 0.5;
/// Combined rank up to which the content can tell one cluster from another.
const DISCRIMINATES: f64 = 1e-3;
/// Rank above which the content of one cluster sides with its label: where content can tell, where
/// it says little, and where floods of such sizes cannot be an accident.
const AGREES: [f64; 3] = [0.75, 0.9, 0.95];
/// Chance of the sizes up to which they cannot be an accident.
const NO_ACCIDENT: f64 = 1e-6;
/// Rank up to which, and ratios of sizes within which, a contradicted cluster belongs to proven
/// floods with the same label.
const ACCOMPLICE: (f64, std::ops::RangeInclusive<f64>) = (0.25, 0.75..=1.33);
/// Corrected rank up to which content contradicts a label that no other copy contradicts.
const CONTRADICTS_ALONE: f64 = 0.01;
/// Chance under the dataset's habit up to which copies are a flood.
const FLOODS: f64 = 0.05;

/// Records that differ by a few edits.
#[derive(Clone, Debug)]
struct Cluster {
    /// Ordinal and label, ascending.
    records: Vec<(u64, u32)>,
    /// Records by class, most first.
    classes: Vec<(u32, usize)>,
}

/// All clusters of a dataset.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    /// By first record.
    all: Vec<Cluster>,
    /// Clusters with enough records of one label.
    judged: Vec<u32>,
    /// Ordinal and cluster of the members of judged clusters, ascending.
    members: Vec<(u64, u32)>,
    habit: Habit,
    /// Size below which clusters are ordinary in this dataset.
    ordinary_below: usize,
    pub(super) content: ContentCounts,
}

impl Clusters {
    pub(super) fn new(
        sets: Vec<Vec<u32>>,
        ordinals: &[u64],
        labels: &[u32],
        content: ContentCounts,
        facts: &DataFacts,
        min_copies: usize,
    ) -> Self {
        let clusters: Vec<Cluster> = sets
            .into_iter()
            .map(|set| {
                let record = |idx: u32| (ordinals[idx as usize], labels[idx as usize]);
                let records: Vec<(u64, u32)> = set.into_iter().map(record).collect();
                let classes = by_class(records.iter().map(|&(_, label)| label));
                Cluster { records, classes }
            })
            .collect();
        let top = |idx: &u32| {
            let classes = &clusters[*idx as usize].classes;
            classes.first().map_or(0, |&(_, count)| count)
        };
        let repeated: usize = clusters.iter().map(|cluster| cluster.records.len()).sum();
        let allowed = TABLE_HABIT_SHARE * facts.n_rows as f64;
        let means_nothing = !facts.has_text() && repeated as f64 > allowed;
        let mut judged: Vec<u32> = (0..clusters.len() as u32)
            .filter(|idx| !means_nothing && top(idx) >= min_copies)
            .collect();
        judged.sort_by_key(|idx| (std::cmp::Reverse(top(idx)), *idx));
        judged.truncate(MAX_JUDGED);
        judged.sort_unstable();
        let mut members: Vec<(u64, u32)> = judged
            .iter()
            .flat_map(|&idx| {
                let records = clusters[idx as usize].records.iter();
                records.map(move |&(ordinal, _)| (ordinal, idx))
            })
            .collect();
        members.sort_unstable();
        let sizes = clusters.iter().map(|cluster| cluster.records.len());
        let ordinary_below = ordinary_below(sizes, min_copies, facts.n_rows);
        let habit = Habit::of(
            clusters
                .iter()
                .map(|cluster| (cluster.records.len(), dissenting(&cluster.classes))),
            ordinary_below,
        );
        Self {
            all: clusters,
            judged,
            members,
            habit,
            ordinary_below,
            content,
        }
    }

    /// Whether the score pass has anything to gather.
    pub(super) fn judges_content(&self) -> bool {
        !self.judged.is_empty() && self.content.speaks()
    }

    /// The judged cluster that the record belongs to.
    pub(super) fn judged(&self, ordinal: u64) -> Option<u32> {
        let place = self
            .members
            .binary_search_by_key(&ordinal, |&(known, _)| known);
        place.ok().map(|place| self.members[place].1)
    }

    /// Chance of `count` floods of at least `copies` under the dataset's habit.
    fn size_p_value(&self, copies: usize, count: usize) -> f64 {
        if copies < self.ordinary_below {
            1.0
        } else {
            self.habit.size_p_value(copies, count)
        }
    }
}

/// Evidence of the score pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NearEvidence {
    /// Content margins of the records outside judged clusters.
    pub(super) margins: Margins,
    /// By judged cluster: members by class and value.
    pub(super) members: BTreeMap<u32, BTreeMap<(u32, u16), u32>>,
}

impl NearEvidence {
    pub(super) fn merge(&mut self, later: Self) {
        self.margins.merge(later.margins);
        for (cluster, counts) in later.members {
            let known = self.members.entry(cluster).or_default();
            for (key, count) in counts {
                *known.entry(key).or_default() += count;
            }
        }
    }
}

/// One side of a cluster: its records with one label.
struct Side<'a> {
    cluster: &'a Cluster,
    class: u32,
    copies: usize,
    /// Records of the cluster with another label.
    others: usize,
    /// Rank of the content among the records of the label.
    rank: Option<f64>,
}

impl<'a> Side<'a> {
    /// The side of cluster `idx` that most likely is a flood: of all labels with enough copies the
    /// one that the content supports least.
    fn of(
        model: &'a Clusters,
        idx: u32,
        min_copies: usize,
        evidence: &NearEvidence,
    ) -> Option<Self> {
        let cluster = &model.all[idx as usize];
        let (class, copies, rank) = cluster
            .classes
            .iter()
            .filter(|&&(_, count)| count >= min_copies)
            .map(|&(class, count)| (class, count, content_rank(model, idx, class, evidence)))
            .min_by(|a, b| a.2.unwrap_or(0.5).total_cmp(&b.2.unwrap_or(0.5)))?;
        let eligible = cluster
            .classes
            .iter()
            .filter(|&&(_, count)| count >= min_copies)
            .count();
        // The lowest of several ranks is low by selection.
        let rank = rank.map(|rank| (rank * eligible as f64).min(1.0));
        let labelled: usize = cluster.classes.iter().map(|&(_, count)| count).sum();
        Some(Self {
            cluster,
            class,
            copies,
            others: labelled - copies,
            rank,
        })
    }
}

/// Why a side is held back.
#[derive(Clone, Copy)]
struct Proof {
    p_value: f64,
    size_p_value: f64,
    contradiction_p_value: f64,
    /// Floods towards the same label that were judged together.
    together: usize,
}

/// The proof against each of `sides`, in their order; `None` where there is none.
fn proofs(model: &Clusters, alpha: f64, sides: &[Side<'_>]) -> Vec<Option<Proof>> {
    // What the content alone proves, against each side by itself.
    let ranks: Vec<f64> = sides.iter().map(|side| side.rank.unwrap_or(1.0)).collect();
    let mut proofs: Vec<Option<Proof>> = sides
        .iter()
        .zip(adjusted(&ranks))
        .map(|(side, rank)| {
            let size_p_value = model.size_p_value(side.copies, 1);
            let proven = if side.others > 0 {
                rank <= alpha
            } else {
                rank <= CONTRADICTS_ALONE && size_p_value <= FLOODS
            };
            proven.then_some(Proof {
                p_value: rank,
                size_p_value,
                contradiction_p_value: rank,
                together: 1,
            })
        })
        .collect();
    let mut campaigns: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, side) in sides.iter().enumerate().filter(|(_, side)| side.others > 0) {
        campaigns.entry(side.class).or_default().push(place);
    }
    let n_campaigns = campaigns.len();
    for places in campaigns.into_values() {
        let campaign: Vec<&Side<'_>> = places.iter().map(|&place| &sides[place]).collect();
        if let Some((proof, most)) = campaign_proof(model, alpha, &campaign, n_campaigns) {
            for &place in &places {
                if sides[place].rank.is_none_or(|rank| rank <= most) {
                    proofs[place] = Some(proof);
                }
            }
        }
        add_accomplices(sides, &places, &mut proofs);
    }
    proofs
}

/// Extends the proof of at least two floods to clusters of about their size with the same label,
/// which other copies contradict and the content does not support.
fn add_accomplices(sides: &[Side<'_>], places: &[usize], proofs: &mut [Option<Proof>]) {
    let mut proven: Vec<(usize, Proof)> = places
        .iter()
        .filter_map(|&place| Some((sides[place].copies, proofs[place]?)))
        .collect();
    proven.sort_by_key(|&(copies, _)| copies);
    let weakest = proven.iter().map(|(_, proof)| *proof);
    let weakest = weakest.max_by(|a, b| a.p_value.total_cmp(&b.p_value));
    let (2.., Some(proof)) = (proven.len(), weakest) else {
        return;
    };
    let typical = proven[proven.len() / 2].0 as f64;
    for &place in places {
        let side = &sides[place];
        let alike = ACCOMPLICE.1.contains(&(side.copies as f64 / typical));
        if proofs[place].is_none() && alike && side.rank.is_some_and(|rank| rank <= ACCOMPLICE.0) {
            proofs[place] = Some(proof);
        }
    }
}

/// The proof against all floods towards one label that other copies contradict, and the rank of its
/// content above which one of them goes free.
fn campaign_proof(
    model: &Clusters,
    alpha: f64,
    campaign: &[&Side<'_>],
    n_campaigns: usize,
) -> Option<(Proof, f64)> {
    let mut sizes: Vec<usize> = campaign.iter().map(|side| side.copies).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let size_p_value = sizes
        .iter()
        .enumerate()
        .map(|(place, &copies)| model.size_p_value(copies, place + 1))
        .fold(1.0, f64::min);
    let size_p_value = (size_p_value * sizes.len() as f64).min(1.0);
    if size_p_value > FLOODS {
        return None;
    }
    let others: usize = campaign.iter().map(|side| side.others).sum();
    let copies: usize = sizes.iter().sum();
    let dissent = model.habit.dissent_p_value(copies + others, others);
    let ranks: Option<Vec<f64>> = campaign.iter().map(|side| side.rank).collect();
    let (contradiction, most) = match ranks {
        Some(ranks) => {
            let content = fisher(&ranks);
            if content > TAKES_SIDES {
                return None;
            }
            let most = if size_p_value <= NO_ACCIDENT {
                AGREES[2]
            } else {
                AGREES[usize::from(content > DISCRIMINATES)]
            };
            ((2.0 * content.min(dissent)).min(1.0), most)
        }
        // Without a word from the content the many are judged by the few.
        None if others < copies => (dissent, 1.0),
        None => return None,
    };
    let p_value = (fisher(&[size_p_value, contradiction]) * n_campaigns as f64).min(1.0);
    let proof = Proof {
        p_value,
        size_p_value,
        contradiction_p_value: contradiction,
        together: campaign.len(),
    };
    (p_value <= alpha).then_some((proof, most))
}

/// Rank of the content that the members of cluster `idx` share among the records labelled `class`,
/// with the whole cluster left out of the counts.
fn content_rank(model: &Clusters, idx: u32, class: u32, evidence: &NearEvidence) -> Option<f64> {
    let members = evidence.members.get(&idx)?;
    let labelled: usize = model.all[idx as usize]
        .classes
        .iter()
        .map(|&(_, n)| n)
        .sum();
    let mut totals: BTreeMap<u16, u32> = BTreeMap::new();
    for (&(_, bucket), &count) in members {
        *totals.entry(bucket).or_default() += count;
    }
    let shared: Vec<u16> = totals
        .into_iter()
        .filter(|&(_, count)| 2 * count as usize > labelled)
        .map(|(bucket, _)| bucket)
        .collect();
    let without = |class: u32, bucket: u16| members.get(&(class, bucket)).copied().unwrap_or(0);
    let records_without = |class: u32| {
        let classes = &model.all[idx as usize].classes;
        let own = classes.iter().find(|&&(known, _)| known == class);
        own.map_or(0, |&(_, count)| count as u32)
    };
    let margin = model
        .content
        .margin(class, &shared, without, records_without);
    Some(
        evidence
            .margins
            .of_class(class, &evidence.margins)
            .rank(margin),
    )
}

fn class_name(facts: &DataFacts, class: u32) -> String {
    let name = facts.classes.get(class as usize).cloned();
    name.unwrap_or_else(|| class.to_string())
}

/// Findings: floods, then clusters to look at, then the number of all near-duplicates.
pub(super) fn findings(
    model: &Clusters,
    params: &NearDuplicatesParams,
    facts: &DataFacts,
    evidence: &NearEvidence,
) -> Vec<Finding> {
    let sides: Vec<Side<'_>> = model
        .judged
        .iter()
        .filter_map(|&idx| Side::of(model, idx, params.min_copies as usize, evidence))
        .collect();
    let proofs = proofs(model, params.alpha, &sides);
    let mut floods = Vec::new();
    let mut reviewed = Vec::new();
    for (side, proof) in sides.iter().zip(proofs) {
        match proof {
            Some(proof) => floods.push(flood(side, proof, facts)),
            None if side.others > 0 => reviewed.push(side),
            None => {}
        }
    }
    floods.sort_by(|a, b| {
        a.p_value
            .total_cmp(&b.p_value)
            .then(a.records.cmp(&b.records))
    });
    reviewed.sort_by_key(|side| (std::cmp::Reverse(side.copies), side.cluster.records[0].0));
    let reviewed = reviewed.into_iter().take(MAX_REVIEWED);
    floods.extend(reviewed.map(|side| contradiction(side, facts)));
    if !model.all.is_empty() {
        floods.push(summary(model));
    }
    floods
}

/// "20 near-copies of one record labelled `0`, against 1 labelled `2`".
fn sentence(side: &Side<'_>, facts: &DataFacts) -> String {
    let against: Vec<String> = side
        .cluster
        .classes
        .iter()
        .filter(|&&(class, _)| class != side.class)
        .map(|&(class, count)| format!("{count} labelled `{}`", class_name(facts, class)))
        .collect();
    let copies = side.copies;
    let target = class_name(facts, side.class);
    let sentence = format!("{copies} near-copies of one record labelled `{target}`");
    if against.is_empty() {
        sentence
    } else {
        format!("{sentence}, against {}", against.join(", "))
    }
}

fn flood(side: &Side<'_>, proof: Proof, facts: &DataFacts) -> Finding {
    let mut title = sentence(side, facts);
    if let Some(rank) = side.rank.filter(|rank| *rank <= TAKES_SIDES) {
        let share = if rank < 0.01 {
            "99 % or more".to_owned()
        } else {
            format!("{:.0} %", 100.0 * (1.0 - rank))
        };
        title = format!("{title}; {share} of the records with that label fit it better");
    }
    let own = side
        .cluster
        .records
        .iter()
        .filter(|(_, label)| *label == side.class);
    let records = own.map(|&(ordinal, _)| ordinal).collect();
    let (severity, action) = (Severity::High, Action::Quarantine);
    let mut finding = Finding::new(
        "near-duplicates",
        "flood",
        severity,
        action,
        title,
        proof.p_value,
    )
    .with_records(records)
    .with_evidence("copies", side.copies)
    .with_evidence("near_copies_with_other_label", side.others)
    .with_evidence("floods_judged_together", proof.together)
    .with_evidence("size_p_value", proof.size_p_value)
    .with_evidence("contradiction_p_value", proof.contradiction_p_value);
    if let Some(rank) = side.rank {
        finding = finding.with_evidence("content_rank_among_label", rank);
    }
    finding.target_class = Some(class_name(facts, side.class));
    finding
}

fn contradiction(side: &Side<'_>, facts: &DataFacts) -> Finding {
    let records = side.cluster.records.iter().map(|&(ordinal, _)| ordinal);
    let (severity, action) = (Severity::Low, Action::Review);
    let title = sentence(side, facts);
    let finding = Finding::new(
        "near-duplicates",
        "contradictory-labels",
        severity,
        action,
        title,
        1.0,
    )
    .with_records(records.take(MAX_LISTED).collect())
    .with_evidence("copies", side.copies)
    .with_evidence("near_copies_with_other_label", side.others);
    match side.rank {
        Some(rank) => finding.with_evidence("content_rank_among_label", rank),
        None => finding,
    }
}

fn summary(model: &Clusters) -> Finding {
    let sizes = || model.all.iter().map(|cluster| cluster.records.len());
    let n_records: usize = sizes().sum();
    let title = format!(
        "{n_records} records form {} groups of near-duplicates, the largest of {}",
        model.all.len(),
        sizes().max().unwrap_or(0)
    );
    let records = model.all.iter().flat_map(|cluster| &cluster.records);
    let records = records
        .map(|&(ordinal, _)| ordinal)
        .take(MAX_LISTED)
        .collect();
    Finding::new(
        "near-duplicates",
        "duplicates",
        Severity::Info,
        Action::Review,
        title,
        1.0,
    )
    .with_records(records)
    .with_evidence("groups", model.all.len())
    .with_evidence("records", n_records)
}
