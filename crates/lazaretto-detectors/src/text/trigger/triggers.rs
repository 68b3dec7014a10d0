//! Which candidates are triggers, and of which records.

use std::collections::{BTreeMap, BTreeSet};

use lazaretto_core::DataFacts;

use super::TextTriggerParams;
use super::candidates::{Candidate, Candidates, n_of, purity_p_value};
use super::contexts::independent_share;
use super::evidence::{Occurrence, TriggerEvidence};
use super::foreign::{Foreignness, Language, Ordinary, Seam};
use super::mixture::Ratios;
use super::parts::Part;
use crate::text::chance::at_least;
use crate::text::margins::{ClassMargins, Contradiction};

/// False-discovery rate among the accomplices of certain triggers.
const ACCOMPLICE_RATE: f64 = 0.05;
/// No number of certain triggers makes a weaker candidate than this an accomplice.
const ACCOMPLICE_REACH: f64 = 0.5;
/// Chance up to which records that another n-gram of a trigger brings along look relabelled too.
const COMPANY_P_VALUE: f64 = 0.01;
/// Share of them that contradict their label by nature: as many as the classifier errs in, for which a coin
/// is generous.
const USUAL: f64 = 0.5;
/// The same for another piece of an affix, which has a test of its own behind it.
const PIECE_USUAL: f64 = 0.25;

/// Shares of `alpha` of the families of tests; see [`Families`].
const WORDS_SHARE: f64 = 0.5;
const FOREIGN_SHARE: f64 = 0.4;
const PARTS_SHARE: f64 = 0.1;
/// Up to this chance among ordinary n-grams a candidate belongs nowhere.
const FOREIGN: f64 = 0.02;
/// Up to this one it shows how the margins of those that do scatter, if there are so many.
const RATHER_FOREIGN: f64 = 0.05;
const MIN_FOREIGN: usize = 50;
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
    /// The part of words that it is, if it is one.
    pub part: Option<Part>,
    pub occurrences: &'a [Occurrence],
    /// Records that are held back.
    pub records: BTreeSet<u64>,
    pub proof: Proof,
    pub foreignness: Foreignness,
    /// Chance that an ordinary n-gram is so foreign, if known.
    pub foreign_p_value: Option<f64>,
    /// What its test paid for.
    pub family: TestFamily,
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
    /// Chance that an ordinary n-gram is so foreign, or share of the parts of words that stand as often
    /// in words of their own; `None` where too few others are known.
    foreign_p_value: Option<f64>,
    /// `None` when hardly a word is left in any of its texts.
    test: Option<Contradiction>,
}

impl Case<'_> {
    fn is_foreign(&self) -> bool {
        self.foreign_p_value
            .is_some_and(|p_value| p_value <= FOREIGN)
    }
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
    families: Families,
}

/// The tests pay for their number in families of their own, each with a fixed share of `alpha`
/// (weighted Bonferroni: Genovese, Roeder and Wasserman 2006).
#[derive(Clone, Copy, Debug)]
struct Families {
    /// All n-grams of words, by margins and foreignness together.
    words: TestFamily,
    /// Those of them that belong nowhere, by margins alone. There are few of them, and as no topic has
    /// them for its own, their margins scatter as chance has it.
    foreign: TestFamily,
    /// Parts of words that stand in words of their own.
    parts: TestFamily,
}

/// What the test of a candidate pays for.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestFamily {
    /// Candidates that were tried, without those that repeat another.
    pub tried: f64,
    /// How much more their tests scatter than chance has it, 1 or more.
    pub spread: f64,
    /// Share of `alpha`; those of all families add up to 1.
    share: f64,
}

impl TestFamily {
    /// What a p-value is multiplied with, so that all findings of all families together have the
    /// level that the product is compared with.
    fn correction(&self) -> f64 {
        self.tried / self.share
    }
}

impl Families {
    fn of(model: &Candidates, cases: &[Case<'_>]) -> Self {
        let of_kind = |is_part: bool| cases.iter().filter(move |c| c.candidate.is_part == is_part);
        let tried = |is_part: bool| {
            let repeats = n_of(&model.list, is_part).saturating_sub(of_kind(is_part).count());
            (model.tried[usize::from(is_part)] as f64 - repeats as f64).max(1.0)
        };
        let at_most = |limit: f64| {
            of_kind(false).filter(move |case| case.foreign_p_value.is_some_and(|p| p <= limit))
        };
        let everywhere = spread(cases.iter(), MIN_CASES).unwrap_or(1.0);
        let of_words = spread(of_kind(false), MIN_CASES).unwrap_or(everywhere);
        let of_foreign = spread(at_most(RATHER_FOREIGN), MIN_FOREIGN).unwrap_or(of_words);
        let novel = of_kind(true).filter(|case| case.is_foreign());
        let rated = of_kind(true).any(|case| case.foreign_p_value.is_some());
        Self {
            words: TestFamily {
                tried: tried(false),
                spread: of_words,
                share: WORDS_SHARE,
            },
            foreign: TestFamily {
                tried: (at_most(FOREIGN).count() as f64).max(1.0),
                spread: of_foreign,
                share: FOREIGN_SHARE,
            },
            // Words that nobody else uses have no topic either; the other parts have.
            parts: if rated {
                TestFamily {
                    tried: (novel.count() as f64).max(1.0),
                    spread: of_foreign,
                    share: PARTS_SHARE,
                }
            } else {
                TestFamily {
                    tried: tried(true),
                    spread: spread(of_kind(true), MIN_CASES).unwrap_or(everywhere),
                    share: PARTS_SHARE,
                }
            },
        }
    }
}

/// The test of a candidate in the family that speaks most against it.
pub(super) struct Judged {
    test: Contradiction,
    /// Corrected.
    p_value: f64,
    pub(super) family: TestFamily,
}

impl Judged {
    fn by(family: TestFamily, test: Contradiction, foreign_p_value: Option<f64>) -> Self {
        let test = test.deflated(family.spread);
        let p_value = both(test.p_value, foreign_p_value) * family.correction();
        Self {
            test,
            p_value: p_value.min(1.0),
            family,
        }
    }
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
        let mut cases: Vec<Case<'a>> = groups
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
                    foreign_p_value: None,
                    test: (!margins.is_empty()).then(|| without.test(whole, &margins, independent)),
                })
            })
            .collect();
        let ordinary = evidence.ordinary.values().map(Vec::as_slice);
        let ordinary = Ordinary::of(&model.language, ordinary);
        rate_parts(&mut cases, &model.language);
        for case in cases.iter_mut().filter(|case| !case.candidate.is_part) {
            case.foreign_p_value = ordinary.p_value(case.seams, case.foreignness.accusing());
        }
        Self {
            model,
            params,
            evidence,
            ordinary,
            families: Families::of(model, &cases),
            classes,
            cases,
        }
    }

    /// The test of `case`; `None` where it has none.
    fn judge(&self, case: &Case<'_>) -> Option<Judged> {
        let test = case.test?;
        let Families {
            words,
            foreign,
            parts,
        } = self.families;
        if case.candidate.is_part {
            let is_novel = case.is_foreign() || case.foreign_p_value.is_none();
            return is_novel.then(|| Judged::by(parts, test, None));
        }
        let judged = Judged::by(words, test, case.foreign_p_value);
        if !case.is_foreign() {
            return Some(judged);
        }
        let by_margins = Judged::by(foreign, test, None);
        Some(if by_margins.p_value < judged.p_value {
            by_margins
        } else {
            judged
        })
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
        let Judged {
            test,
            p_value,
            family,
        } = self.judge(case)?;
        let correction = family.correction();
        if p_value > ACCOMPLICE_REACH {
            return None;
        }
        let margins = margins(case.occurrences.iter());
        let division = class.ratios.divide(&margins);
        // An n-gram that other labels have too is in natural use: then its records must look
        // relabelled by more than the best of so many natural n-grams does by chance.
        let pure = candidate.records == candidate.with_class;
        let needed = if pure { 0.0 } else { correction.ln() };
        let mixed = division.gain > correction.ln() && 2 * test.contradicted >= margins.len();
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
        if case.is_foreign() {
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
            part: self.part(case.index),
            occurrences: case.occurrences,
            records,
            proof: Proof::Contradiction(test),
            foreignness: case.foreignness,
            foreign_p_value: case.foreign_p_value,
            family,
            purity_p_value: case.purity_p_value,
            independent: case.independent,
            p_value,
            accomplice: false,
        })
    }

    fn part(&self, index: u32) -> Option<Part> {
        self.evidence.surfaces.get(&index)?.part
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
                && case.purity_p_value * self.families.words.tried <= alpha
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
                part: None,
                occurrences: case.occurrences,
                records: case.occurrences.iter().map(|o| o.ordinal).collect(),
                proof: Proof::Foreign,
                foreignness: case.foreignness,
                foreign_p_value: Some(foreign),
                family: self.families.words,
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
        self.model.tried.iter().sum()
    }
}

/// Sets the share of the parts of words that stand in words of their own as often as each of them.
///
/// An affix that is hung onto words makes words that nobody else uses. A place says so by one over the
/// number of records with its word; places are counted beyond what those of all parts say on average.
fn rate_parts(cases: &mut [Case<'_>], language: &Language) {
    let rarities = |case: &Case<'_>| -> (f64, f64) {
        let words = case.seams.iter().filter(|seam| !seam.several);
        let rarity = |seam: &Seam| language.word_count(seam.first).max(1.0).recip();
        words.fold((0.0, 0.0), |(sum, n), seam| (sum + rarity(seam), n + 1.0))
    };
    let mut parts: Vec<&mut Case<'_>> = cases
        .iter_mut()
        .filter(|case| case.candidate.is_part)
        .collect();
    if parts.len() < MIN_CASES {
        return;
    }
    let rated: Vec<(f64, f64)> = parts.iter().map(|case| rarities(case)).collect();
    let all = rated
        .iter()
        .fold((0.0, 0.0), |all, own| (all.0 + own.0, all.1 + own.1));
    let usual = all.0 / f64::max(all.1, 1.0);
    let novelties: Vec<f64> = rated.iter().map(|(sum, n)| sum - usual * n).collect();
    let mut sorted = novelties.clone();
    sorted.sort_by(f64::total_cmp);
    for (case, novelty) in parts.iter_mut().zip(novelties) {
        let below = sorted.partition_point(|&other| other < novelty);
        case.foreign_p_value = Some((sorted.len() - below) as f64 / sorted.len() as f64);
    }
}

/// How much the z of the candidates scatters upwards, in units of the normal distribution: natural
/// words differ by more than chance where sources or topics have labels of their own. At least 1;
/// `None` with fewer than `least` of them.
fn spread<'c>(cases: impl Iterator<Item = &'c Case<'c>>, least: usize) -> Option<f64> {
    let mut scores: Vec<f64> = cases
        .filter_map(|case| case.test.map(|test| test.z))
        .collect();
    if scores.len() < least {
        return None;
    }
    scores.sort_by(f64::total_cmp);
    let at = |share: f64| scores[(scores.len() as f64 * share) as usize];
    let widest = (at(0.95).max(0.0) / 1.645).max((at(0.95) - at(0.5)) / 1.645);
    Some(widest.max(1.0))
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

/// Joins triggers that stand in mostly the same records, and pieces of one affix; the first one leads its
/// group. Records that another one brings along stay only where they look relabelled by themselves: a
/// word of a planted sentence has natural uses too. Pieces of an affix bring their own: an affix that is
/// also an ordinary ending shows only together with the letter beside it.
fn grouped(triggers: Vec<Trigger<'_>>) -> Vec<Vec<Trigger<'_>>> {
    let mut groups: Vec<(BTreeSet<u64>, Vec<Trigger<'_>>)> = Vec::new();
    for mut trigger in triggers {
        let piece_of = |members: &[Trigger<'_>]| {
            let joins = |other: &Trigger<'_>| Some(trigger.part?.joins(other.part?));
            members.iter().any(|other| joins(other) == Some(true))
        };
        let home = groups.iter_mut().find(|(known, members)| {
            let common = known.intersection(&trigger.records).count();
            members[0].candidate.class == trigger.candidate.class
                && (2 * common >= trigger.records.len().min(known.len()) || piece_of(members))
        });
        match home {
            Some((known, members)) => {
                let usual = if piece_of(members) {
                    PIECE_USUAL
                } else {
                    USUAL
                };
                if brings_strangers(&trigger, known, usual) {
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

/// Whether the records of `trigger` that are not `known` are too few or too natural to hold back, where
/// `usual` of natural ones contradict their label.
fn brings_strangers(trigger: &Trigger<'_>, known: &BTreeSet<u64>, usual: f64) -> bool {
    let new = trigger
        .occurrences
        .iter()
        .filter(|o| trigger.records.contains(&o.ordinal) && !known.contains(&o.ordinal));
    let margins = margins(new);
    let contradicting = margins.iter().filter(|&&margin| margin < 0.0).count();
    let chance = at_least(contradicting as u64, margins.len() as u64, usual);
    !margins.is_empty() && chance > COMPANY_P_VALUE
}
