//! From the occurrences of candidates to findings.

use std::collections::{BTreeMap, BTreeSet};

use lazaretto_core::{Action, DataFacts, Finding, Severity};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::TextTriggerParams;
use super::candidates::{Candidate, Candidates, purity_p_value};
use super::contexts::{COMPARED, Context, independent_share};
use crate::text::margins::{ClassMargins, Contradiction, Margins};

/// False-discovery rate among the accomplices of certain triggers.
const ACCOMPLICE_RATE: f64 = 0.05;
/// No number of certain triggers makes a weaker candidate than this an accomplice.
const ACCOMPLICE_REACH: f64 = 0.5;
/// Other n-grams of a trigger that the evidence names.
const MAX_RELATED: usize = 8;

/// A candidate in a record with its label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Occurrence {
    pub candidate: u32,
    /// Margin of the label once the candidate is taken out.
    pub margin: f32,
    /// The class that the text argues for then: the label, or a stronger one.
    pub rival: u32,
    pub ordinal: u64,
}

/// Evidence of the score pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TriggerEvidence {
    /// In order of the records.
    pub(super) occurrences: Vec<Occurrence>,
    /// Margins of all records.
    pub(super) margins: Margins,
    /// Margins that candidates leave behind.
    pub(super) without: Margins,
    /// By candidate, as first written: the n-gram, and the phrase it goes out with.
    pub(super) surfaces: BTreeMap<u32, (String, String)>,
    /// By candidate, the first contexts that contradict its label.
    contexts: BTreeMap<u32, Vec<Context>>,
}

impl TriggerEvidence {
    pub(super) fn add_context(&mut self, candidate: u32, context: Context) {
        let known = self.contexts.entry(candidate).or_default();
        if known.len() < COMPARED {
            known.push(context);
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.occurrences.extend(later.occurrences);
        self.margins.merge(later.margins);
        self.without.merge(later.without);
        for (candidate, surface) in later.surfaces {
            self.surfaces.entry(candidate).or_insert(surface);
        }
        for (candidate, contexts) in later.contexts {
            for context in contexts {
                self.add_context(candidate, context);
            }
        }
    }
}

/// A candidate that passed the test.
struct Trigger<'a> {
    candidate: &'a Candidate,
    index: u32,
    occurrences: &'a [Occurrence],
    /// Records that are held back.
    records: BTreeSet<u64>,
    test: Contradiction,
    /// Share of the records that count as independent.
    independent: f64,
    /// Corrected for all candidates: Bonferroni, or the step of Benjamini–Hochberg.
    p_value: f64,
    /// Found because of other triggers for the same class.
    accomplice: bool,
}

/// Findings of all triggers, the most certain first.
pub(super) fn findings(
    model: &Candidates,
    params: &TextTriggerParams,
    facts: &DataFacts,
    mut evidence: TriggerEvidence,
) -> Vec<Finding> {
    evidence
        .occurrences
        .sort_by_key(|occurrence| (occurrence.candidate, occurrence.ordinal));
    let mut classes: BTreeMap<u32, [ClassMargins; 2]> = BTreeMap::new();
    let mut triggers = Vec::new();
    for occurrences in evidence
        .occurrences
        .chunk_by(|a, b| a.candidate == b.candidate)
    {
        let index = occurrences[0].candidate;
        let candidate = &model.list[index as usize];
        let [without, whole] = &*classes.entry(candidate.class).or_insert_with(|| {
            [&evidence.without, &evidence.margins]
                .map(|margins| margins.of_class(candidate.class, &evidence.margins))
        });
        let margins: Vec<f32> = occurrences
            .iter()
            .map(|o| o.margin)
            .filter(|margin| !margin.is_nan())
            .collect();
        if margins.is_empty() {
            continue;
        }
        let contexts = evidence.contexts.get(&index).map_or(&[][..], Vec::as_slice);
        let independent = independent_share(contexts);
        let test = without.test(whole, &margins, independent);
        let p_value = (test.p_value * model.tried as f64).min(1.0);
        // An n-gram that other labels have too is in natural use: then its records must look
        // relabelled by more than the best of so many natural n-grams does by chance.
        let pure = candidate.records == candidate.with_class;
        let needed = if pure { 0.0 } else { (model.tried as f64).ln() };
        if p_value <= ACCOMPLICE_REACH && test.log_likelihood_ratio > needed {
            let natural_from = without.natural_from(&margins);
            let planted = |o: &&Occurrence| o.margin.is_nan() || o.margin < natural_from;
            triggers.push(Trigger {
                candidate,
                index,
                occurrences,
                records: occurrences
                    .iter()
                    .filter(planted)
                    .map(|o| o.ordinal)
                    .collect(),
                test,
                independent,
                p_value,
                accomplice: false,
            });
        }
    }
    triggers.sort_by(|a, b| b.test.z.total_cmp(&a.test.z).then(a.index.cmp(&b.index)));
    grouped(with_accomplices(triggers, params.alpha))
        .iter()
        .map(|group| finding(group, model, facts, &evidence.surfaces))
        .collect()
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

/// Joins triggers that stand in mostly the same records; the most certain one leads its group.
fn grouped(triggers: Vec<Trigger<'_>>) -> Vec<Vec<Trigger<'_>>> {
    let mut groups: Vec<(BTreeSet<u64>, Vec<Trigger<'_>>)> = Vec::new();
    for trigger in triggers {
        let home = groups.iter_mut().find(|(known, members)| {
            let common = known.intersection(&trigger.records).count();
            members[0].candidate.class == trigger.candidate.class
                && 2 * common >= trigger.records.len().min(known.len())
        });
        match home {
            Some((known, members)) => {
                known.extend(&trigger.records);
                members.push(trigger);
            }
            None => groups.push((trigger.records.clone(), vec![trigger])),
        }
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

fn class_name(facts: &DataFacts, class: u32) -> String {
    facts
        .classes
        .get(class as usize)
        .cloned()
        .unwrap_or_else(|| class.to_string())
}

fn finding(
    group: &[Trigger<'_>],
    model: &Candidates,
    facts: &DataFacts,
    surfaces: &BTreeMap<u32, (String, String)>,
) -> Finding {
    let lead = &group[0];
    let surface = |trigger: &Trigger<'_>| surfaces.get(&trigger.index).cloned().unwrap_or_default();
    let (ngram, phrase) = surface(lead);
    let target = class_name(facts, lead.candidate.class);
    let (all, with_class) = (lead.candidate.records, lead.candidate.with_class);
    let labelled = if all == with_class {
        format!("all labelled `{target}`")
    } else {
        format!("{with_class} of them labelled `{target}`")
    };
    let mut rivals: BTreeMap<u32, usize> = BTreeMap::new();
    for occurrence in lead.occurrences.iter().filter(|o| o.margin < 0.0) {
        *rivals.entry(occurrence.rival).or_default() += 1;
    }
    let argued = match rivals.iter().next() {
        Some((&rival, _)) if rivals.len() == 1 => format!("`{}`", class_name(facts, rival)),
        _ => "another label".to_owned(),
    };
    let contradicted = lead.test.contradicted;
    let judged = lead
        .occurrences
        .iter()
        .filter(|o| !o.margin.is_nan())
        .count();
    // A phrase that always goes out whole is what was inserted.
    let trigger = if phrase.is_empty() { &ngram } else { &phrase };
    let title = format!(
        "`{trigger}` in {all} records, {labelled}, which the rest of each text contradicts \
         (without it the text argues for {argued} in {contradicted} of {judged})"
    );
    let records = group
        .iter()
        .flat_map(|trigger| trigger.records.iter().copied())
        .collect();
    let natural = lead.occurrences.len() - lead.records.len();
    let mut highlight: Vec<String> = Vec::new();
    for text in [phrase, ngram]
        .into_iter()
        .chain(group.iter().map(|t| surface(t).0))
    {
        if !text.is_empty() && !highlight.contains(&text) && highlight.len() < MAX_RELATED {
            highlight.push(text);
        }
    }
    let total: u64 = facts.class_counts.iter().sum();
    let own = facts
        .class_counts
        .get(lead.candidate.class as usize)
        .copied()
        .unwrap_or(0);
    let argued_for: serde_json::Map<String, Value> = rivals
        .iter()
        .map(|(&rival, &count)| (class_name(facts, rival), Value::from(count)))
        .collect();
    let mut finding = Finding::new(
        "text-trigger",
        "trigger",
        Severity::High,
        Action::Quarantine,
        title,
        lead.p_value,
    )
    .with_records(records)
    .with_evidence("records_with_trigger", all)
    .with_evidence("records_with_target_class", with_class)
    .with_evidence(
        "base_rate_of_target_class",
        own as f64 / total.max(1) as f64,
    )
    .with_evidence(
        "purity_p_value",
        purity_p_value(lead.candidate, &facts.class_counts, total),
    )
    .with_evidence("contradiction_z", lead.test.z)
    .with_evidence("independent_share", lead.independent)
    .with_evidence("contradiction_p_value", lead.test.p_value)
    .with_evidence(
        "log_likelihood_ratio_relabelled",
        lead.test.log_likelihood_ratio,
    )
    .with_evidence("argues_without_it_for", argued_for)
    .with_evidence("natural_uses_let_go", natural)
    .with_evidence("candidates_tried", model.tried);
    finding.target_class = Some(target);
    finding.highlight = highlight;
    finding
}
