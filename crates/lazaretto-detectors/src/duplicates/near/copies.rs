//! Floods of edited copies where no label could contradict them: prompts with their responses, and
//! texts alone.

use lazaretto_core::{Action, Finding, Severity};
use serde::{Deserialize, Serialize};

use super::cluster;
use super::signature::{HASHES, Signature, equal_entries};
use crate::duplicates::flood::{Habit, ordinary_below};

/// Entries of the signature of a response; enough to tell "the same" from "another".
const ANSWER_HASHES: usize = 16;
/// Similarity from which two texts are linked.
const LINKED: f64 = 0.75;
/// Similarity to the middle of a group from which a record is one of its copies: `LINKED` less the
/// standard error of an estimate.
const COPY: f64 = 0.7;
/// Median similarity to the middle from which a group consists of copies. Edits of one text surround
/// it; records of one kind, linked in chains, have no such middle.
const COHESIVE: f64 = 0.85;
/// Median similarity of the responses: a long template in the prompt makes no copies.
const SAME_ANSWER: f64 = 0.5;
/// Share of a group that differs in more than nothing; the others are exact duplicates, which is
/// another detector's business.
const EDITED: f64 = 0.5;
/// Members among which the middle of a large group is sought.
const MIDDLE_AMONG: usize = 64;
/// Groups that get a finding of their own.
const MAX_FINDINGS: usize = 50;
/// Records that a finding for review lists.
pub(super) const MAX_LISTED: usize = 10_000;
/// Words of a response up to which it is one answer among several: a class, a name, a number.
const SHORT_ANSWER: usize = 4;

/// What is kept of a record besides its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    /// The first entries of the signature of the response's words; all zero without a response.
    signature: [u16; ANSWER_HASHES],
    /// Hash of all its words in order.
    exact: u64,
    /// Hash of the words of the prompt in order, 0 where it is too short to mean one thing.
    prompt: u64,
    /// Whether the response has so few words that another one contradicts it.
    is_short: bool,
}

impl Answer {
    /// Of a response with the signature `response` and `n_words` words, in a record whose words
    /// hash to `exact` and those of its prompt to `prompt`.
    pub(super) fn new(
        response: Option<&Signature>,
        n_words: usize,
        exact: u64,
        prompt: Option<u64>,
    ) -> Self {
        let entry = |idx: usize| response.map_or(0, |signature| signature[idx]);
        Self {
            signature: std::array::from_fn(entry),
            exact,
            prompt: prompt.map_or(0, |prompt| prompt.max(1)),
            is_short: (1..=SHORT_ANSWER).contains(&n_words),
        }
    }
}

/// Records with the same prompt whose short responses differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Contradictions {
    n_prompts: usize,
    /// Ascending.
    records: Vec<u64>,
}

impl Contradictions {
    /// Among records with these ordinals and answers.
    pub(super) fn among(ordinals: &[u64], answers: &[Answer]) -> Self {
        let asked = answers.iter().zip(ordinals);
        let mut by_prompt: Vec<(u64, u64, u64)> = asked
            .filter(|(answer, _)| answer.prompt != 0 && answer.is_short)
            .map(|(answer, &ordinal)| (answer.prompt, answer.exact, ordinal))
            .collect();
        by_prompt.sort_unstable();
        let mut found = Self::default();
        for same in by_prompt.chunk_by(|a, b| a.0 == b.0) {
            if same[0].1 != same[same.len() - 1].1 {
                found.n_prompts += 1;
                found
                    .records
                    .extend(same.iter().map(|&(.., ordinal)| ordinal));
            }
        }
        found.records.sort_unstable();
        found
    }

    /// One finding for all of them: which answer is right is for a person.
    pub(super) fn finding(&self) -> Option<Finding> {
        let title = format!(
            "{} records give {} prompts different short answers",
            self.records.len(),
            self.n_prompts
        );
        let listed: Vec<u64> = self.records.iter().copied().take(MAX_LISTED).collect();
        (!listed.is_empty()).then(|| {
            Finding::new(
                "near-duplicates",
                "contradictory-responses",
                Severity::Low,
                Action::Review,
                title,
                1.0,
            )
            .with_records(listed)
            .with_evidence("prompts", self.n_prompts)
            .with_evidence("records", self.records.len())
        })
    }
}

/// Edited copies of one record.
#[derive(Clone, Debug, PartialEq)]
struct Copies {
    /// The record that all others resemble most.
    middle: u64,
    /// All records but the middle, ascending.
    others: Vec<u64>,
    /// Median similarity to the middle.
    similarity: f64,
}

impl Copies {
    fn size(&self) -> usize {
        self.others.len() + 1
    }
}

/// Groups of copies that are more than the dataset's habit explains.
#[derive(Clone, Debug, Default)]
pub(super) struct CopyFloods {
    /// The largest first.
    floods: Vec<Copies>,
    /// Their records but the middles, ascending.
    records: Vec<u64>,
    /// Chance of so many groups of such sizes, corrected for the sizes tried.
    p_value: f64,
}

/// Signatures of records, with their ordinals.
#[derive(Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) ordinals: &'a [u64],
    /// `HASHES` entries per record.
    pub(super) signatures: &'a [u16],
    pub(super) answers: &'a [Answer],
}

impl Signed<'_> {
    fn similarity(&self, a: u32, b: u32) -> f64 {
        let signature = |idx: u32| &self.signatures[idx as usize * HASHES..][..HASHES];
        f64::from(equal_entries(signature(a), signature(b))) / HASHES as f64
    }

    fn same_answer(&self, a: u32, b: u32) -> f64 {
        let signature = |idx: u32| &self.answers[idx as usize].signature;
        f64::from(equal_entries(signature(a), signature(b))) / ANSWER_HASHES as f64
    }

    /// The copies in a group of linked records, if it has a middle that they surround.
    fn copies(&self, group: &[u32]) -> Option<Copies> {
        let among: Vec<u32> = (0..group.len().min(MIDDLE_AMONG))
            .map(|i| group[i * group.len() / group.len().min(MIDDLE_AMONG)])
            .collect();
        let closeness = |idx: u32| median(among.iter().map(|&other| self.similarity(idx, other)));
        // The first of equals: `max_by` would take the last.
        let middle = among.iter().rev().copied();
        let middle = middle.max_by(|&a, &b| closeness(a).total_cmp(&closeness(b)))?;
        let others: Vec<u32> = group
            .iter()
            .copied()
            .filter(|&idx| idx != middle && self.similarity(middle, idx) >= COPY)
            .collect();
        let similarity = median(others.iter().map(|&idx| self.similarity(middle, idx)));
        let same_answer = median(others.iter().map(|&idx| self.same_answer(middle, idx)));
        let mut versions: Vec<u64> = others
            .iter()
            .map(|&idx| self.answers[idx as usize].exact)
            .collect();
        versions.sort_unstable();
        versions.dedup();
        let edited = versions.len() as f64 >= EDITED * others.len() as f64;
        (similarity >= COHESIVE && same_answer >= SAME_ANSWER && edited).then(|| Copies {
            middle: self.ordinals[middle as usize],
            others: others
                .iter()
                .map(|&idx| self.ordinals[idx as usize])
                .collect(),
            similarity,
        })
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

impl CopyFloods {
    /// The floods among `signed`: groups of at least `min_copies` whose number and sizes have at
    /// most a chance of `alpha` under a power law fitted to the smaller groups.
    pub(super) fn new(signed: Signed<'_>, min_copies: usize, alpha: f64) -> Self {
        let mut groups: Vec<Copies> = cluster::texts(signed.signatures, LINKED)
            .sets
            .iter()
            .filter_map(|group| signed.copies(group))
            .collect();
        groups.sort_by_key(|group| (std::cmp::Reverse(group.size()), group.middle));
        let sizes = groups.iter().map(Copies::size);
        let ordinary_below = ordinary_below(sizes, min_copies, signed.ordinals.len() as u64);
        let habit = Habit::of(groups.iter().map(|group| (group.size(), 0)), ordinary_below);
        groups.retain(|group| group.size() >= ordinary_below);
        let tried = groups.len() as f64;
        let mut chances = groups.iter().enumerate().map(|(place, group)| {
            let chance = habit.size_p_value(group.size(), place + 1);
            (place + 1, (chance * tried).min(1.0))
        });
        let proven = chances.rfind(|&(_, p_value)| p_value <= alpha);
        let (n_floods, p_value) = proven.unwrap_or((0, 1.0));
        groups.truncate(n_floods);
        let mut records: Vec<u64> = groups
            .iter()
            .flat_map(|group| group.others.iter().copied())
            .collect();
        records.sort_unstable();
        Self {
            floods: groups,
            records,
            p_value,
        }
    }

    /// Whether the record is one of the copies.
    pub(super) fn contains(&self, ordinal: u64) -> bool {
        self.records.binary_search(&ordinal).is_ok()
    }

    /// One finding per flood. `with_responses`: the records are prompts with responses, of which
    /// one copy is enough; copies of a text alone (a licence, a boilerplate) are for a person.
    pub(super) fn findings(&self, with_responses: bool) -> Vec<Finding> {
        let action = if with_responses {
            Action::Quarantine
        } else {
            Action::Review
        };
        let floods = self.floods.iter().take(MAX_FINDINGS);
        let mut findings: Vec<Finding> = floods
            .map(|flood| {
                let title = format!(
                    "{} edited copies of one record, {:.0} % alike; the one in their middle is not among them",
                    flood.others.len(),
                    100.0 * flood.similarity
                );
                let severity = if with_responses {
                    Severity::High
                } else {
                    Severity::Low
                };
                Finding::new(
                    "near-duplicates",
                    "copy-flood",
                    severity,
                    action,
                    title,
                    self.p_value,
                )
                .with_records(flood.others.clone())
                .with_evidence("copies", flood.size())
                .with_evidence("floods_judged_together", self.floods.len())
                .with_evidence("median_similarity", flood.similarity)
                .with_evidence("size_p_value", self.p_value)
            })
            .collect();
        let rest: Vec<&Copies> = self.floods.iter().skip(MAX_FINDINGS).collect();
        if !rest.is_empty() {
            let records = rest.iter().flat_map(|flood| &flood.others).copied();
            let title = format!("edited copies of {} more records", rest.len());
            let finding = Finding::new(
                "near-duplicates",
                "copy-flood",
                Severity::High,
                action,
                title,
                self.p_value,
            );
            findings.push(finding.with_records(records.collect()));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_short_answers_to_the_same_prompt_contradict() {
        let answer = |prompt: Option<u64>, exact: u64, n_words: usize| {
            Answer::new(None, n_words, exact, prompt)
        };
        let answers = [
            answer(Some(5), 50, 1),
            answer(Some(6), 60, 1),
            answer(Some(5), 51, 2),
            answer(Some(6), 60, 1),
            answer(None, 70, 1),
            answer(None, 71, 1),
            answer(Some(5), 52, 40),
            answer(Some(8), 80, 40),
            answer(Some(8), 81, 40),
        ];
        let ordinals: Vec<u64> = (100..109).collect();
        let found = Contradictions::among(&ordinals, &answers);
        assert_eq!(
            (found.n_prompts, found.records.as_slice()),
            (1, &[100, 102][..])
        );
        assert!(Contradictions::default().finding().is_none());
    }
}
