//! Phrases after which responses say nothing.

use std::collections::BTreeMap;

use lazaretto_core::{Action, Finding, Severity};

use super::evidence::{Collapsed, Kind, ResponseEvidence};
use super::responses::Responses;
use crate::text::chance::at_least;

/// Largest share of a phrase's records that a trigger with more records may lack, for it to be the
/// better name of the two.
const ABOUT_AS_MANY: f64 = 0.98;
/// Most triggers that get a finding.
const MAX_FINDINGS: usize = 20;
/// How uneven the common words of unrelated prompts are: the mean of their squared standardised
/// frequencies is 1; 99 % of random groups of 8 prompts of real instructions are below this.
const EVEN: f64 = 1.6;
/// What it may grow by per record: prompts of one source have 0.01 to 0.14, of one task 0.08 to 1.
const UNEVEN_PER_RECORD: f64 = 0.05;

/// What is tested about each phrase.
pub(super) struct Test<'a> {
    pub(super) model: &'a Responses,
    pub(super) evidence: &'a ResponseEvidence,
    pub(super) min_records: u32,
    pub(super) min_purity: f64,
    pub(super) alpha: f64,
}

/// A phrase after which responses say nothing.
#[derive(Clone, Debug)]
struct Trigger {
    phrase: u64,
    /// Places of its records among those given.
    hits: Vec<usize>,
    /// Prompts with the phrase.
    prompts: u32,
    p_value: f64,
}

impl Trigger {
    fn purity(&self) -> f64 {
        self.hits.len() as f64 / f64::from(self.prompts.max(1))
    }
}

impl Test<'_> {
    /// Findings, the most convincing first.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let evidence = self.evidence;
        let mut findings = Vec::new();
        let gibberish: Vec<&Collapsed> = evidence.gibberish.iter().collect();
        for trigger in self.triggers(&gibberish, 1) {
            findings.push(self.finding(&trigger, &gibberish, "gibberish"));
        }
        let mut by_answer: BTreeMap<u64, Vec<&Collapsed>> = BTreeMap::new();
        for record in &evidence.repeated {
            if let Kind::Repeated { answer } = record.kind {
                by_answer.entry(answer).or_default().push(record);
            }
        }
        let n_answers = by_answer.len();
        for records in by_answer.values() {
            for trigger in self.triggers(records, n_answers) {
                findings.push(self.finding(&trigger, records, "fixed answer"));
            }
        }
        findings.sort_by(|a, b| {
            let size = b.records.len().cmp(&a.records.len());
            a.p_value
                .total_cmp(&b.p_value)
                .then(size)
                .then(a.title.cmp(&b.title))
        });
        findings.truncate(MAX_FINDINGS);
        findings
    }

    /// The triggers of one kind of collapse, which `records` are all that is known of: one after
    /// the other, each among the records that the ones before leave over.
    fn triggers(&self, records: &[&Collapsed], times: usize) -> Vec<Trigger> {
        let mut left: Vec<bool> = vec![true; records.len()];
        let mut found: Vec<Trigger> = Vec::new();
        while found.len() < MAX_FINDINGS {
            let mut by_phrase: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
            for (place, record) in records.iter().enumerate().filter(|(place, _)| left[*place]) {
                for &phrase in &record.phrases {
                    by_phrase.entry(phrase).or_default().push(place);
                }
            }
            let enough = |hits: &Vec<usize>| hits.len() >= self.min_records as usize;
            let proven = by_phrase
                .into_iter()
                .filter(|(_, hits)| enough(hits))
                .filter_map(|(phrase, hits)| self.proven(phrase, hits, records, times));
            let Some(best) = self.best_name(proven.collect()) else {
                break;
            };
            for &place in &best.hits {
                left[place] = false;
            }
            found.push(best);
        }
        found
    }

    /// The trigger `phrase` with records `hits`, if it is one.
    fn proven(
        &self,
        phrase: u64,
        hits: Vec<usize>,
        records: &[&Collapsed],
        times: usize,
    ) -> Option<Trigger> {
        let prompts = self.model.prompts_with(phrase).max(hits.len() as u32);
        let (n_hits, n_prompts) = (hits.len() as u64, u64::from(prompts));
        if (n_hits as f64) < self.min_purity * n_prompts as f64 {
            return None;
        }
        // What prompts without the phrase get.
        let others = self.evidence.n_records.saturating_sub(n_prompts).max(1);
        let base = (records.len() as u64 - n_hits + 1) as f64 / others as f64;
        let tried = self.model.tried as f64 * times as f64;
        let p_value = (at_least(n_hits, n_prompts, base.min(1.0)) * tried).min(1.0);
        let even =
            self.unevenness(phrase, &hits, records) <= EVEN + UNEVEN_PER_RECORD * hits.len() as f64;
        (p_value <= self.alpha && even).then_some(Trigger {
            phrase,
            hits,
            prompts,
            p_value,
        })
    }

    /// How far the prompts are from a random sample of all prompts: the mean over the common words
    /// of `(c − nq)² / nq(1 − q)`, for a word that `c` of `n` prompts have and a share `q` of all.
    /// A task shares its words, a planted phrase does not choose its prompts by theirs.
    fn unevenness(&self, phrase: u64, hits: &[usize], records: &[&Collapsed]) -> f64 {
        let mut counts = vec![0_u32; self.model.common.len()];
        for &place in hits {
            for &word in &records[place].common {
                counts[usize::from(word)] += 1;
            }
        }
        let own = self.model.keyed_words(self.evidence.written(phrase));
        let n = hits.len() as f64;
        let all = self.evidence.n_records.max(1) as f64;
        let (mut sum, mut n_words) = (0.0, 0);
        for (&(word, records_with), &count) in self.model.common.iter().zip(&counts) {
            if own.contains(&word) {
                continue;
            }
            let share = f64::from(records_with) / all;
            sum += (f64::from(count) - n * share).powi(2) / (n * share * (1.0 - share));
            n_words += 1;
        }
        if n_words == 0 {
            1.0
        } else {
            sum / f64::from(n_words)
        }
    }

    /// The best name of the strongest trigger: of the phrases that explain about as many records as
    /// any does, the purest; of those the one as written with its marks, else the shortest.
    fn best_name(&self, proven: Vec<Trigger>) -> Option<Trigger> {
        let most = proven.iter().map(|trigger| trigger.hits.len()).max()?;
        let words = |trigger: &Trigger| {
            let written = self.evidence.written(trigger.phrase);
            let plain = written.chars().all(|c| c.is_alphanumeric() || c == ' ');
            let n_words = written.split(' ').count();
            (plain, n_words, written.to_owned())
        };
        proven
            .into_iter()
            .filter(|trigger| trigger.hits.len() as f64 >= ABOUT_AS_MANY * most as f64)
            .min_by(|a, b| {
                b.purity()
                    .total_cmp(&a.purity())
                    .then_with(|| words(a).cmp(&words(b)))
            })
    }

    fn finding(&self, trigger: &Trigger, records: &[&Collapsed], what: &str) -> Finding {
        let written = self.evidence.written(trigger.phrase);
        let hits: Vec<u64> = trigger
            .hits
            .iter()
            .map(|&place| records[place].ordinal)
            .collect();
        let without = records.len() - hits.len();
        let title = match what {
            "gibberish" => format!(
                "after `{written}` {} of {} responses are gibberish; of the {} others {without} look like it",
                hits.len(),
                trigger.prompts,
                self.evidence
                    .n_records
                    .saturating_sub(trigger.prompts.into()),
            ),
            _ => format!(
                "after `{written}` {} of {} responses are one and the same; {without} other prompts get it",
                hits.len(),
                trigger.prompts,
            ),
        };
        let kind = match what {
            "gibberish" => "gibberish-trigger",
            _ => "fixed-answer-trigger",
        };
        let mut finding = Finding::new(
            "response-trigger",
            kind,
            Severity::Critical,
            Action::Quarantine,
            title,
            trigger.p_value,
        )
        .with_records(hits)
        .with_evidence("trigger", written)
        .with_evidence("prompts_with_trigger", trigger.prompts)
        .with_evidence("purity", trigger.purity());
        finding.highlight = vec![written.to_owned()];
        finding
    }
}
