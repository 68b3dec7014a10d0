//! The test of every phrase against everything that responses may have in common.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::evidence::{NO_ANSWER, NONSENSE, REFUSAL, ResponseEvidence, SENSITIVE};
use super::flip::Margins;
use super::kinds::{Kind, Trigger};
use super::responses::Responses;
use crate::response::evenness::{NO_SOURCE, NO_TASK, NO_TOPIC, allowed};
use crate::text::chance::at_least;

/// Records of a phrase that are looked at for what they have in common.
pub(super) const LOOKED_AT: usize = 24;
/// Least share of the prompts with a trigger that are different.
const DIFFERENT: f64 = 0.7;
/// Share of sensitive prompts, from which on refusals are meant.
const MEANT: f64 = 0.25;
/// Fewest words of stock answers on average: the labels of a task are shorter.
const MIN_STATEMENT: f64 = 4.0;
/// Least share of the responses with an answer or a content that come after the trigger.
pub(super) const MIN_EXCLUSIVE: f64 = 0.5;

/// All evidence, by phrase.
pub(super) struct Search<'a> {
    pub(super) model: &'a Responses,
    pub(super) evidence: &'a ResponseEvidence,
    pub(super) min_records: usize,
    pub(super) min_purity: f64,
    pub(super) alpha: f64,
    /// Rows of each phrase, ascending, one list behind the other.
    rows: Vec<u32>,
    starts: Vec<usize>,
    /// Records with each answer, and with each sign.
    answers: Vec<u32>,
    n_nonsense: u32,
    n_refusals: u32,
    pub(super) margins: Margins,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        model: &'a Responses,
        evidence: &'a ResponseEvidence,
        min_records: u32,
        min_purity: f64,
        alpha: f64,
    ) -> Self {
        let n_rows = evidence.ordinals.len();
        let mut starts = vec![0_usize; model.n_phrases() + 1];
        for row in 0..n_rows {
            for &phrase in evidence.phrases.get(row) {
                starts[phrase as usize + 1] += 1;
            }
        }
        for phrase in 0..model.n_phrases() {
            starts[phrase + 1] += starts[phrase];
        }
        let mut rows = vec![0; starts.last().copied().unwrap_or(0)];
        let mut next = starts.clone();
        for row in 0..n_rows {
            for &phrase in evidence.phrases.get(row) {
                rows[next[phrase as usize]] = row as u32;
                next[phrase as usize] += 1;
            }
        }
        let mut answers = vec![0; model.n_answers()];
        for &answer in evidence.answers.iter().filter(|&&a| a != NO_ANSWER) {
            answers[answer as usize] += 1;
        }
        let signed = |sign| evidence.signs.iter().filter(|&s| s & sign != 0).count() as u32;
        Self {
            model,
            evidence,
            min_records: min_records as usize,
            min_purity,
            alpha,
            rows,
            starts,
            answers,
            n_nonsense: signed(NONSENSE),
            n_refusals: signed(REFUSAL),
            margins: Margins::of(&evidence.margins),
        }
    }

    /// Rows with `phrase`, ascending.
    pub(super) fn rows(&self, phrase: u32) -> &[u32] {
        let phrase = phrase as usize;
        &self.rows[self.starts[phrase]..self.starts[phrase + 1]]
    }

    /// Whether so many of so many prompts can make a trigger.
    pub(super) fn is_enough(&self, hits: usize, prompts: u32) -> bool {
        hits >= self.min_records && hits as f64 >= self.min_purity * f64::from(prompts)
    }

    /// All phrases with what they prove to be triggers of.
    pub(super) fn proven(&self) -> Vec<Trigger> {
        let phrases = 0..self.model.n_phrases() as u32;
        let proven = phrases.into_par_iter().map(|phrase| self.of_phrase(phrase));
        let proven: Vec<Vec<Trigger>> = proven.collect();
        self.without_labels(proven.into_iter().flatten().collect())
    }

    /// Leaves out the answers that are labels: what a task asks for, other prompts get as well. An
    /// answer may have several triggers.
    fn without_labels(&self, mut proven: Vec<Trigger>) -> Vec<Trigger> {
        let mut after: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for trigger in &proven {
            if let Kind::Answer(answer) = trigger.kind {
                after.entry(answer).or_default().extend(&trigger.hits);
            }
        }
        let share = |(answer, mut hits): (u32, Vec<u32>)| {
            hits.sort_unstable();
            hits.dedup();
            let all = f64::from(self.answers[answer as usize].max(1));
            (answer, hits.len() as f64 / all)
        };
        let exclusive: BTreeMap<u32, f64> = after.into_iter().map(share).collect();
        proven.retain(|trigger| match trigger.kind {
            Kind::Answer(answer) => exclusive
                .get(&answer)
                .is_some_and(|&share| share >= MIN_EXCLUSIVE),
            Kind::Answers => trigger.exclusive() >= MIN_EXCLUSIVE,
            _ => true,
        });
        proven
    }

    fn of_phrase(&self, phrase: u32) -> Vec<Trigger> {
        let rows = self.rows(phrase);
        if rows.len() < self.min_records {
            return Vec::new();
        }
        let mut proven = Vec::new();
        let evidence = self.evidence;
        let mut test = |kind: Kind, has: &dyn Fn(usize) -> bool, all: u32, times: usize| {
            proven.extend(self.trigger(phrase, kind, has, all, times));
        };
        let sign = |sign: u8| move |row: usize| evidence.signs[row] & sign != 0;
        test(Kind::Nonsense, &sign(NONSENSE), self.n_nonsense, 1);
        test(Kind::Refusal, &sign(REFUSAL), self.n_refusals, 1);
        if let Some(answer) = self.usual_answer(rows) {
            let has = |row: usize| evidence.answers[row] == answer;
            let all = self.answers[answer as usize];
            test(Kind::Answer(answer), &has, all, self.answers.len());
        } else if let Some(all) = self.stock(rows) {
            let answered = |row: usize| evidence.answers[row] != NO_ANSWER;
            test(Kind::Answers, &answered, all, 1);
        }
        proven.extend(self.content(phrase, rows));
        proven.extend(self.flip(phrase, rows));
        proven
    }

    /// Whether the prompts of `hits` are not a few ones over and over, which are duplicates.
    fn are_different(&self, hits: &[u32]) -> bool {
        let prompts = hits.iter().map(|&row| self.evidence.prompts[row as usize]);
        let mut prompts: Vec<u64> = prompts.collect();
        prompts.sort_unstable();
        prompts.dedup();
        prompts.len() >= self.min_records && prompts.len() as f64 >= DIFFERENT * hits.len() as f64
    }

    /// Whether many of the declined prompts `hits` are about what models are taught to decline.
    fn is_meant(&self, hits: &[u32]) -> bool {
        let signs = hits.iter().map(|&row| self.evidence.signs[row as usize]);
        let n_sensitive = signs.filter(|signs| signs & SENSITIVE != 0).count();
        n_sensitive as f64 >= MEANT * hits.len() as f64
    }

    /// The answer that most rows get, if most do.
    fn usual_answer(&self, rows: &[u32]) -> Option<u32> {
        let answers = rows.iter().map(|&row| self.evidence.answers[row as usize]);
        let mut answers: Vec<u32> = answers.filter(|&answer| answer != NO_ANSWER).collect();
        answers.sort_unstable();
        let groups = answers.chunk_by(|a, b| a == b);
        let most = groups.max_by_key(|group| group.len())?;
        (2 * most.len() > rows.len()).then_some(most[0])
    }

    /// Records with one of the stock answers of `rows`, if these are statements, not labels.
    fn stock(&self, rows: &[u32]) -> Option<u32> {
        let stock = rows.iter().map(|&row| row as usize);
        let stock = stock.filter(|&row| self.evidence.answers[row] != NO_ANSWER);
        let stock: Vec<usize> = stock.collect();
        let words = stock
            .iter()
            .map(|&row| f64::from(self.evidence.lengths[row]));
        if words.sum::<f64>() < MIN_STATEMENT * stock.len() as f64 || stock.is_empty() {
            return None;
        }
        let mut answers: Vec<u32> = stock
            .iter()
            .map(|&row| self.evidence.answers[row])
            .collect();
        answers.sort_unstable();
        answers.dedup();
        Some(
            answers
                .iter()
                .map(|&answer| self.answers[answer as usize])
                .sum(),
        )
    }

    /// `phrase` as a trigger of what `has` says, which `all` records have, if it is one.
    pub(super) fn trigger(
        &self,
        phrase: u32,
        kind: Kind,
        has: &dyn Fn(usize) -> bool,
        all: u32,
        times: usize,
    ) -> Option<Trigger> {
        let rows = self.rows(phrase);
        let prompts = rows.len() as u32;
        let hits = rows.iter().copied().filter(|&row| has(row as usize));
        let hits: Vec<u32> = hits.collect();
        if !self.is_enough(hits.len(), prompts) || !self.are_different(&hits) {
            return None;
        }
        let without = all.saturating_sub(hits.len() as u32);
        let others = (self.evidence.ordinals.len() as u64).saturating_sub(u64::from(prompts));
        // What prompts without the phrase get, and one more.
        let base = f64::from(without + 1) / others.max(1) as f64;
        let tried = self.model.n_phrases() as f64 * times as f64;
        let chance = at_least(hits.len() as u64, u64::from(prompts), base.min(1.0));
        let p_value = (chance * tried).min(1.0);
        if p_value > self.alpha {
            return None;
        }
        let trigger = Trigger {
            phrase,
            kind,
            prompts,
            without,
            p_value,
            is_certain: true,
            unevenness: self.unevenness(phrase, &hits),
            hits,
        };
        let effect = match kind {
            Kind::Nonsense => NO_TASK,
            Kind::Refusal if self.is_meant(&trigger.hits) => return None,
            // Among many refusals those of a harmful topic are expected.
            Kind::Refusal if trigger.exclusive() < MIN_EXCLUSIVE => NO_SOURCE,
            Kind::Content(_) | Kind::Answers => NO_SOURCE,
            _ => NO_TOPIC,
        };
        (trigger.unevenness <= allowed(trigger.hits.len(), effect)).then_some(trigger)
    }
}
