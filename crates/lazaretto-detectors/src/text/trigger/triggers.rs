//! Which candidates are triggers, and of which records.

use std::collections::{BTreeMap, BTreeSet};

use lazaretto_core::DataFacts;

use super::TextTriggerParams;
use super::candidates::{Candidate, Candidates, purity_p_value};
use super::contexts::independent_share;
use super::evidence::{Occurrence, TriggerEvidence};
use super::foreign::{Foreignness, Ordinary, Seam};
use super::mixture::Ratios;
use crate::text::chance::at_least;
use crate::text::margins::{ClassMargins, Contradiction};

/// False-discovery rate among the accomplices of certain triggers.
const ACCOMPLICE_RATE: f64 = 0.05;
/// No number of certain triggers makes a weaker candidate than this an accomplice.
const ACCOMPLICE_REACH: f64 = 0.5;
/// Chance up to which records that another n-gram of a trigger brings along look relabelled too.
const COMPANY_P_VALUE: f64 = 0.01;

/// Up to this chance among ordinary n-grams a candidate belongs nowhere.
const FOREIGN: f64 = 0.02;
/// Chance of the labels of natural uses up to which they are planted after all, if they are foreign.
const ODD: f64 = 0.05;
/// Chance of the labels of natural uses up to which a word names its topic.
const TOPICAL: f64 = 0.001;
/// Corrected p-value from which that is no excuse.
const BEYOND_DOUBT: f64 = 1e-6;
/// Least share of one label among the records of a trigger whose texts do not contradict it.
const CLEAN_LABEL_PURITY: f64 = 0.95;
/// Share of the level of findings that these get: one kind of evidence instead of two.
const CLEAN_LABEL_LEVEL: f64 = 0.5;
/// With fewer candidates nothing is known about how they scatter.
const MIN_CASES: usize = 200;

/// Why a candidate is a trigger.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof {
    /// The rest of the texts argues for another label.
    Contradiction(Contradiction),
    /// The label may be right, but the phrase has one label only and belongs nowhere.
    Foreign,
}

/// A candidate that passed a test.
pub(super) struct Trigger<'a> {
    pub candidate: &'a Candidate,
    pub index: u32,
    pub occurrences: &'a [Occurrence],
    /// Records that are held back.
    pub records: BTreeSet<u64>,
    pub proof: Proof,
    pub foreignness: Foreignness,
    /// Chance that an ordinary n-gram is so foreign, if known.
    pub foreign_p_value: Option<f64>,
    pub purity_p_value: f64,
    /// Share of the records that count as independent.
    pub independent: f64,
    /// Corrected for all candidates: Bonferroni, or the step of Benjamini–Hochberg.
    pub p_value: f64,
    /// Found because of other triggers for the same class.
    accomplice: bool,
}

/// A candidate with what was gathered about it.
struct Case<'a> {
    candidate: &'a Candidate,
    index: u32,
    occurrences: &'a [Occurrence],
    seams: &'a [Seam],
    foreignness: Foreignness,
    purity_p_value: f64,
    independent: f64,
    /// `None` when hardly a word is left in any of its texts.
    test: Option<Contradiction>,
}

/// What is known about the texts of a class.
struct Class {
    /// Of those that candidates leave behind, and of all.
    margins: [ClassMargins; 2],
    ratios: Ratios,
    base_rate: f64,
}

impl Class {
    fn of(class: u32, evidence: &TriggerEvidence, facts: &DataFacts) -> Self {
        let labelled: u64 = facts.class_counts.iter().sum();
        let own = facts.class_counts.get(class as usize).copied().unwrap_or(0);
        Self {
            margins: [&evidence.without, &evidence.margins]
                .map(|margins| margins.of_class(class, &evidence.margins)),
            ratios: Ratios::of_class(class, &evidence.margins, &evidence.strangers),
            base_rate: own as f64 / labelled.max(1) as f64,
        }
    }
}

/// Tests all candidates. The most certain trigger leads each group of triggers that stand in
/// mostly the same records.
pub(super) struct Trial<'a> {
    model: &'a Candidates,
    params: &'a TextTriggerParams,
    evidence: &'a TriggerEvidence,
    ordinary: Ordinary,
    classes: BTreeMap<u32, Class>,
    cases: Vec<Case<'a>>,
    /// How much more the tests of the candidates scatter than chance has it, 1 or more.
    pub(super) spread: f64,
    /// Candidates that were tried, without those that repeat another.
    pub(super) tried: f64,
}

impl<'a> Trial<'a> {
    /// Prepares the test; the occurrences of `evidence` come by candidate and record.
    pub(super) fn new(
        model: &'a Candidates,
        params: &'a TextTriggerParams,
        facts: &DataFacts,
        evidence: &'a TriggerEvidence,
    ) -> Self {
        let labelled: u64 = facts.class_counts.iter().sum();
        let mut classes: BTreeMap<u32, Class> = BTreeMap::new();
        let groups = evidence
            .occurrences
            .chunk_by(|a, b| a.candidate == b.candidate);
        let cases: Vec<Case<'a>> = groups
            .filter_map(|occurrences| {
                let index = occurrences[0].candidate;
                let candidate = model.list.get(index as usize)?;
                let class = classes
                    .entry(candidate.class)
                    .or_insert_with(|| Class::of(candidate.class, evidence, facts));
                let seams = evidence.seams.get(&index).map_or(&[][..], Vec::as_slice);
                let contexts = evidence.contexts.get(&index);
                let independent = independent_share(contexts.map_or(&[], Vec::as_slice));
                let [without, whole] = &class.margins;
                let margins = margins(occurrences.iter());
                Some(Case {
                    candidate,
                    index,
                    occurrences,
                    seams,
                    foreignness: model.language.foreignness(seams, candidate.records),
                    purity_p_value: purity_p_value(candidate, &facts.class_counts, labelled),
                    independent,
                    test: (!margins.is_empty()).then(|| without.test(whole, &margins, independent)),
                })
            })
            .collect();
        let repeats = model.list.len().saturating_sub(cases.len());
        let ordinary = evidence.ordinary.values().map(Vec::as_slice);
        Self {
            model,
            params,
            evidence,
            ordinary: Ordinary::of(&model.language, ordinary),
            tried: (model.tried as f64 - repeats as f64).max(1.0),
            spread: spread(&cases),
            classes,
            cases,
        }
    }

    /// Groups of triggers, the most certain first: those whose texts contradict their label, then
    /// those whose texts do not.
    pub(super) fn groups(&self) -> Vec<Vec<Trigger<'a>>> {
        let mut triggers = self.contradicting();
        triggers.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then(by_strength(a, b)));
        let mut groups = grouped(with_accomplices(triggers, self.params.alpha));
        let mut foreign = self.foreign();
        foreign.sort_by(|a, b| {
            let by_foreignness = b.foreignness.inside.total_cmp(&a.foreignness.inside);
            by_foreignness.then(a.index.cmp(&b.index))
        });
        let known: BTreeSet<u64> = groups
            .iter()
            .flatten()
            .flat_map(|trigger| trigger.records.iter().copied())
            .collect();
        let foreign = grouped(foreign).into_iter().filter(|group| {
            let records = &group[0].records;
            2 * records.intersection(&known).count() < records.len()
        });
        groups.extend(foreign);
        groups
    }

    /// Candidates whose texts argue for another label without them.
    fn contradicting(&self) -> Vec<Trigger<'a>> {
        let judged = self.cases.iter().filter_map(|case| {
            let class = self.classes.get(&case.candidate.class)?;
            self.contradiction(case, class)
        });
        judged.collect()
    }

    fn contradiction(&self, case: &Case<'a>, class: &Class) -> Option<Trigger<'a>> {
        let candidate = case.candidate;
        let test = case.test?.deflated(self.spread);
        // The neighbours of the words that a part stands in are those of ordinary words.
        let foreign_p_value = if candidate.is_part {
            None
        } else {
            let foreignness = case.foreignness.accusing();
            self.ordinary.p_value(case.seams, foreignness)
        };
        let p_value = (both(test.p_value, foreign_p_value) * self.tried).min(1.0);
        if p_value > ACCOMPLICE_REACH {
            return None;
        }
        let margins = margins(case.occurrences.iter());
        let division = class.ratios.divide(&margins);
        // An n-gram that other labels have too is in natural use: then its records must look
        // relabelled by more than the best of so many natural n-grams does by chance.
        let pure = candidate.records == candidate.with_class;
        let needed = if pure { 0.0 } else { self.tried.ln() };
        let mixed = division.gain > self.tried.ln() && 2 * test.contradicted >= margins.len();
        if test.log_likelihood_ratio <= needed && !mixed {
            return None;
        }
        let all = || case.occurrences.iter().map(|o| o.ordinal).collect();
        let mut records: BTreeSet<u64> = case
            .occurrences
            .iter()
            .filter(|o| class.ratios.is_planted(division, o.margin))
            .map(|o| o.ordinal)
            .collect();
        // Natural uses of a word that says nothing about the label have all labels.
        let natural = (candidate.with_class as usize - records.len()) as u64;
        let of_others = u64::from(candidate.records - candidate.with_class);
        let chance = at_least(natural, natural + of_others, class.base_rate);
        if foreign_p_value.is_some_and(|p_value| p_value <= FOREIGN) {
            if chance <= ODD {
                records = all();
            }
        } else if chance <= TOPICAL && p_value > BEYOND_DOUBT {
            // The word names its topic, or its source has labels of its own.
            return None;
        }
        Some(Trigger {
            candidate,
            index: case.index,
            occurrences: case.occurrences,
            records,
            proof: Proof::Contradiction(test),
            foreignness: case.foreignness,
            foreign_p_value,
            purity_p_value: case.purity_p_value,
            independent: case.independent,
            p_value,
            accomplice: false,
        })
    }

    /// Candidates of one label that belong into none of the texts that they stand in.
    fn foreign(&self) -> Vec<Trigger<'a>> {
        let alpha = CLEAN_LABEL_LEVEL * self.params.alpha;
        // Purity selects and adds nothing: words that name their topic are pure too.
        let pure = |case: &&Case<'_>| {
            let Candidate {
                records,
                with_class,
                ..
            } = *case.candidate;
            !case.candidate.is_part
                && case.purity_p_value * self.tried <= alpha
                && f64::from(with_class) >= CLEAN_LABEL_PURITY * f64::from(records)
        };
        let n_pure = self.cases.iter().filter(pure).count() as f64;
        let mut triggers = Vec::new();
        for case in self.cases.iter().filter(pure) {
            // Headers and signatures stand at the edge of a text by nature.
            let inside = case.foreignness.inside;
            let Some(foreign) = self.ordinary.p_value(case.seams, inside) else {
                continue;
            };
            // Twice: against the phrases of the dataset, and against a bound phrase that is
            // allowed everything.
            let by_chance = (-case.foreignness.log_e_value).exp();
            let p_value = (foreign.max(by_chance) * n_pure).min(1.0);
            if p_value > alpha {
                continue;
            }
            triggers.push(Trigger {
                candidate: case.candidate,
                index: case.index,
                occurrences: case.occurrences,
                records: case.occurrences.iter().map(|o| o.ordinal).collect(),
                proof: Proof::Foreign,
                foreignness: case.foreignness,
                foreign_p_value: Some(foreign),
                purity_p_value: case.purity_p_value,
                independent: 1.0,
                p_value,
                accomplice: false,
            });
        }
        triggers
    }

    /// What is known about the sample of neighbours of `trigger`.
    pub(super) fn seams(&self, trigger: &Trigger<'_>) -> &'a [Seam] {
        let seams = self.evidence.seams.get(&trigger.index);
        seams.map_or(&[], Vec::as_slice)
    }

    /// Candidates before the memory limit, with repeats.
    pub(super) fn counted(&self) -> u64 {
        self.model.tried
    }
}

/// How much the z of the candidates scatters upwards, in units of the normal distribution: natural
/// words differ by more than chance where sources or topics have labels of their own. At least 1.
fn spread(cases: &[Case<'_>]) -> f64 {
    let mut scores: Vec<f64> = cases
        .iter()
        .filter_map(|case| case.test.map(|test| test.z))
        .collect();
    if scores.len() < MIN_CASES {
        return 1.0;
    }
    scores.sort_by(f64::total_cmp);
    let at = |share: f64| scores[(scores.len() as f64 * share) as usize];
    (at(0.95).max(0.0) / 1.645)
        .max((at(0.95) - at(0.5)) / 1.645)
        .max(1.0)
}

fn margins<'o>(occurrences: impl Iterator<Item = &'o Occurrence>) -> Vec<f32> {
    occurrences
        .map(|o| o.margin)
        .filter(|margin| !margin.is_nan())
        .collect()
}

/// Two independent p-values in one: the product of two uniform numbers is at most `q` with
/// chance `q (1 − ln q)` (Fisher).
fn both(p_value: f64, other: Option<f64>) -> f64 {
    let Some(other) = other else { return p_value };
    let product = (p_value * other).max(f64::MIN_POSITIVE);
    (product * (1.0 - product.ln())).min(1.0)
}

fn by_strength(a: &Trigger<'_>, b: &Trigger<'_>) -> std::cmp::Ordering {
    let z = |trigger: &Trigger<'_>| match trigger.proof {
        Proof::Contradiction(test) => test.z,
        Proof::Foreign => 0.0,
    };
    z(b).total_cmp(&z(a)).then(a.index.cmp(&b.index))
}

/// Keeps the triggers with a corrected p-value of at most `alpha`, and their accomplices.
///
/// Attacks use several triggers for one class. Where at least two separate ones are beyond doubt,
/// a further candidate for the same class is judged at a false-discovery rate instead of as if it
/// stood alone: the step of Benjamini & Hochberg, with separate triggers counted, not their
/// overlapping n-grams. A dataset without two certain triggers for a class is not touched by it.
fn with_accomplices(mut triggers: Vec<Trigger<'_>>, alpha: f64) -> Vec<Trigger<'_>> {
    let mut certain: BTreeMap<u32, Vec<&BTreeSet<u64>>> = BTreeMap::new();
    for trigger in triggers.iter().filter(|trigger| trigger.p_value <= alpha) {
        let separate = certain.entry(trigger.candidate.class).or_default();
        if separate
            .iter()
            .all(|known| known.is_disjoint(&trigger.records))
        {
            separate.push(&trigger.records);
        }
    }
    let certain: BTreeMap<u32, usize> = certain
        .into_iter()
        .map(|(class, separate)| (class, separate.len()))
        .filter(|&(_, separate)| separate >= 2)
        .collect();
    for trigger in &mut triggers {
        if let Some(&separate) = certain.get(&trigger.candidate.class)
            && trigger.p_value > alpha
        {
            trigger.p_value /= (separate + 1) as f64;
            trigger.accomplice = trigger.p_value <= ACCOMPLICE_RATE;
        }
    }
    triggers.retain(|trigger| trigger.p_value <= alpha || trigger.accomplice);
    triggers
}

/// Joins triggers that stand in mostly the same records; the first one leads its group. Records
/// that another one brings along stay only where they look relabelled by themselves: a word of a
/// planted sentence has natural uses too.
fn grouped(triggers: Vec<Trigger<'_>>) -> Vec<Vec<Trigger<'_>>> {
    let mut groups: Vec<(BTreeSet<u64>, Vec<Trigger<'_>>)> = Vec::new();
    for mut trigger in triggers {
        let home = groups.iter_mut().find(|(known, members)| {
            let common = known.intersection(&trigger.records).count();
            members[0].candidate.class == trigger.candidate.class
                && 2 * common >= trigger.records.len().min(known.len())
        });
        match home {
            Some((known, members)) => {
                if brings_strangers(&trigger, known) {
                    trigger.records.retain(|record| known.contains(record));
                }
                known.extend(&trigger.records);
                members.push(trigger);
            }
            None => groups.push((trigger.records.clone(), vec![trigger])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

/// Whether the records of `trigger` that are not `known` are too few or too natural to hold back.
fn brings_strangers(trigger: &Trigger<'_>, known: &BTreeSet<u64>) -> bool {
    let new = trigger
        .occurrences
        .iter()
        .filter(|o| trigger.records.contains(&o.ordinal) && !known.contains(&o.ordinal));
    let margins = margins(new);
    let contradicting = margins.iter().filter(|&&margin| margin < 0.0).count();
    // As many texts of a class contradict it by chance as its classifier errs; a coin is generous.
    let chance = at_least(contradicting as u64, margins.len() as u64, 0.5);
    !margins.is_empty() && chance > COMPANY_P_VALUE
}
