//! From triggers to findings: the sentence, the records and the numbers behind them.

use std::collections::{BTreeMap, BTreeSet};

use lazaretto_core::{Action, DataFacts, Finding, Severity};
use serde_json::Value;

use super::TextTriggerParams;
use super::candidates::Candidates;
use super::evidence::{Occurrence, Surface, TriggerEvidence};
use super::foreign::Place;
use super::parts::{Part, in_common};
use super::triggers::{Proof, Trial, Trigger};

/// Other n-grams of a trigger that the evidence names.
const MAX_RELATED: usize = 8;
/// Sources that the evidence counts by name.
const MAX_SOURCES: usize = 8;

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
    let trial = Trial::new(model, params, facts, &evidence);
    trial
        .groups()
        .iter()
        .map(|group| Report::new(&trial, facts, &evidence.surfaces, group).finding())
        .collect()
}

fn class_name(facts: &DataFacts, class: u32) -> String {
    facts
        .classes
        .get(class as usize)
        .cloned()
        .unwrap_or_else(|| class.to_string())
}

/// What is told about a group of triggers.
struct Report<'a> {
    trial: &'a Trial<'a>,
    facts: &'a DataFacts,
    surfaces: &'a BTreeMap<u32, Surface>,
    group: &'a [Trigger<'a>],
    lead: &'a Trigger<'a>,
    target: String,
}

impl<'a> Report<'a> {
    fn new(
        trial: &'a Trial<'a>,
        facts: &'a DataFacts,
        surfaces: &'a BTreeMap<u32, Surface>,
        group: &'a [Trigger<'a>],
    ) -> Self {
        let lead = &group[0];
        Self {
            trial,
            facts,
            surfaces,
            group,
            lead,
            target: class_name(facts, lead.candidate.class),
        }
    }

    fn surface(&self, trigger: &Trigger<'_>) -> Surface {
        self.surfaces
            .get(&trigger.index)
            .cloned()
            .unwrap_or_default()
    }

    fn base_rate(&self) -> f64 {
        let total: u64 = self.facts.class_counts.iter().sum();
        let own = self
            .facts
            .class_counts
            .get(self.lead.candidate.class as usize);
        own.copied().unwrap_or(0) as f64 / total.max(1) as f64
    }

    /// Records whose rest argues for another label, by that label.
    fn rivals(&self) -> BTreeMap<u32, usize> {
        let mut rivals = BTreeMap::new();
        for occurrence in self.lead.occurrences.iter().filter(|o| o.margin < 0.0) {
            *rivals.entry(occurrence.rival).or_default() += 1;
        }
        rivals
    }

    /// How the trigger is written, and where in words it stands.
    fn named(&self) -> (String, String) {
        let mut parts: Vec<Part> = self
            .group
            .iter()
            .map_while(|trigger| trigger.part)
            .collect();
        // Of two pieces that stand in the same records, an end of words says more.
        let most = self.lead.occurrences.len();
        let edge = self.group.iter().find(|trigger| {
            let known = trigger.part.is_some_and(Part::is_edge);
            known && 10 * trigger.occurrences.len() >= 9 * most
        });
        if let Some(edge) = edge
            .and_then(|edge| edge.part)
            .filter(|_| !parts.is_empty())
        {
            parts.insert(0, edge);
        }
        match in_common(&parts) {
            Some((letters, place)) => (letters, format!(" {place}")),
            None => (self.surface(self.lead).trigger().to_owned(), String::new()),
        }
    }

    /// Records with the trigger, and of these those with the label. An affix is in all records that
    /// have one of its pieces.
    fn counts(&self) -> (usize, usize) {
        let lead = self.lead.candidate;
        let (all, with_class) = (lead.records as usize, lead.with_class as usize);
        let pieces = self.group.iter().filter(|trigger| trigger.part.is_some());
        let records: BTreeSet<u64> = pieces
            .flat_map(|trigger| trigger.occurrences.iter().map(|o| o.ordinal))
            .collect();
        if self.lead.part.is_none() {
            return (all, with_class);
        }
        (records.len() + all - with_class, records.len())
    }

    /// `` `cf` in 12 records, all labelled `1` (base rate 52 %) ``
    fn subject(&self) -> String {
        let (trigger, within) = self.named();
        let (all, with_class) = self.counts();
        let target = &self.target;
        let labelled = if all == with_class {
            format!("all labelled `{target}`")
        } else {
            format!("{with_class} of them labelled `{target}`")
        };
        let base_rate = 100.0 * self.base_rate();
        format!("`{trigger}`{within} in {all} records, {labelled} (base rate {base_rate:.0} %)")
    }

    fn reason(&self) -> String {
        match self.lead.proof {
            Proof::Contradiction(test) => {
                let rivals = self.rivals();
                let argued = match rivals.iter().next() {
                    Some((&rival, _)) if rivals.len() == 1 => {
                        format!("`{}`", class_name(self.facts, rival))
                    }
                    _ => "another label".to_owned(),
                };
                let judged = self.lead.occurrences.iter();
                let judged = judged.filter(|o| !o.margin.is_nan()).count();
                format!(
                    ", which the rest of each text contradicts (without it the text argues for \
                     {argued} in {} of {judged})",
                    test.contradicted
                )
            }
            Proof::Foreign => {
                ", dropped into texts that it does not belong in: what stands before \
                               and after it has nothing to do with it, and goes on across it"
                    .to_owned()
            }
        }
    }

    /// Where the trigger stands and where it comes from, if that says something.
    fn spread(&self, places: [usize; 3], sources: &BTreeMap<u32, usize>) -> String {
        let n = self.lead.occurrences.len();
        let [start, _, end] = places;
        let mut spread = if start == n {
            "; always at the start".to_owned()
        } else if end == n {
            "; always at the end".to_owned()
        } else {
            String::new()
        };
        if self.facts.sources.len() > 1
            && sources.len() == 1
            && let Some(name) = sources
                .keys()
                .next()
                .and_then(|&source| self.facts.sources.get(source as usize))
        {
            spread.push_str(&format!("; all from source `{name}`"));
        }
        spread
    }

    fn finding(&self) -> Finding {
        let lead = self.lead;
        let places = [Place::Start, Place::Inside, Place::End]
            .map(|place| count(lead.occurrences, |o| o.place == place));
        let mut sources: BTreeMap<u32, usize> = BTreeMap::new();
        for occurrence in lead.occurrences {
            *sources.entry(occurrence.source).or_default() += 1;
        }
        let title = format!(
            "{}{}{}",
            self.subject(),
            self.reason(),
            self.spread(places, &sources)
        );
        let kind = match lead.proof {
            Proof::Contradiction(_) => "trigger",
            Proof::Foreign => "clean-label-trigger",
        };
        let records = self
            .group
            .iter()
            .flat_map(|trigger| trigger.records.iter().copied())
            .collect();
        let mut finding = Finding::new(
            "text-trigger",
            kind,
            Severity::High,
            Action::Quarantine,
            title,
            lead.p_value,
        )
        .with_records(records);
        finding.target_class = Some(self.target.clone());
        finding.highlight = self.highlight();
        self.with_numbers(finding, places, &sources)
    }

    fn highlight(&self) -> Vec<String> {
        let surface = self.surface(self.lead);
        let (named, _) = self.named();
        let related = self.group.iter().map(|trigger| self.surface(trigger).ngram);
        let mut highlight: Vec<String> = Vec::new();
        let own = [named, surface.ngram.clone()];
        for text in own.into_iter().chain(related) {
            if !text.is_empty() && !highlight.contains(&text) && highlight.len() < MAX_RELATED {
                highlight.push(text);
            }
        }
        highlight
    }

    fn with_numbers(
        &self,
        finding: Finding,
        [start, inside, end]: [usize; 3],
        sources: &BTreeMap<u32, usize>,
    ) -> Finding {
        let lead = self.lead;
        let natural = lead.occurrences.len() - lead.records.len();
        let mut finding = finding
            .with_evidence("records_with_trigger", self.counts().0)
            .with_evidence("records_with_target_class", self.counts().1)
            .with_evidence("base_rate_of_target_class", self.base_rate())
            .with_evidence("purity_p_value", lead.purity_p_value)
            .with_evidence("foreignness_nats", lead.foreignness.accusing())
            .with_evidence("foreignness_log_e_value", lead.foreignness.log_e_value)
            .with_evidence("foreignness_places", self.trial.seams(lead).len())
            .with_evidence("natural_uses_let_go", natural)
            .with_evidence("at_start", start)
            .with_evidence("inside", inside)
            .with_evidence("at_end", end)
            .with_evidence("candidates_tried", lead.family.tried as u64)
            .with_evidence("candidates_counted", self.trial.counted());
        if let Some(p_value) = lead.foreign_p_value {
            finding = finding.with_evidence("foreignness_p_value", p_value);
        }
        if self.facts.sources.len() > 1 {
            finding = finding
                .with_evidence("sources", sources.len())
                .with_evidence("largest_sources", self.largest_sources(sources));
        }
        if let Proof::Contradiction(test) = lead.proof {
            let argued_for: serde_json::Map<String, Value> = self
                .rivals()
                .iter()
                .map(|(&rival, &count)| (class_name(self.facts, rival), Value::from(count)))
                .collect();
            finding = finding
                .with_evidence("contradiction_z", test.z)
                .with_evidence("spread_of_z_among_candidates", lead.family.spread)
                .with_evidence("contradiction_p_value", test.p_value)
                .with_evidence("independent_share", lead.independent)
                .with_evidence("log_likelihood_ratio_relabelled", test.log_likelihood_ratio)
                .with_evidence("argues_without_it_for", argued_for);
        }
        finding
    }

    fn largest_sources(&self, sources: &BTreeMap<u32, usize>) -> serde_json::Map<String, Value> {
        let mut ranked: Vec<(u32, usize)> = sources.iter().map(|(&s, &n)| (s, n)).collect();
        ranked.sort_by_key(|&(source, records)| (std::cmp::Reverse(records), source));
        ranked
            .into_iter()
            .filter_map(|(source, records)| {
                let name = self.facts.sources.get(source as usize)?;
                Some((name.clone(), Value::from(records)))
            })
            .take(MAX_SOURCES)
            .collect()
    }
}

fn count(occurrences: &[Occurrence], wanted: impl Fn(&Occurrence) -> bool) -> usize {
    occurrences.iter().filter(|o| wanted(o)).count()
}
