//! What the detectors of this family gather: a bounded list of records with a sign, which become
//! one finding per kind.

use std::collections::BTreeMap;

use lazaretto_core::{Action, Finding, Severity};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parts::head;

/// Records of which an excerpt is kept.
const MAX_EXCERPTS: usize = 20_000;
/// Bytes of an excerpt.
const EXCERPT_BYTES: usize = 160;
/// Distinct excerpts that a finding quotes.
const QUOTED: usize = 12;
/// Degree from which a record is held back, and from which it is shown.
pub(super) const HOLD: f32 = 0.7;
pub(super) const SHOW: f32 = 0.4;

/// A record with a sign.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its ordinal.
    pub(super) record: u64,
    /// Index of its kind, in the order of the detector's list.
    pub(super) kind: u8,
    /// Degree of suspicion.
    pub(super) degree: f32,
    /// The degree if what may be the dataset's own format did not count.
    pub(super) without_format: f32,
    /// Whether its response declines.
    pub(super) refused: bool,
    /// The text that gave it away, as it stands in the record.
    pub(super) excerpt: String,
    /// What that text says once decoded, and through what.
    pub(super) decoded: Option<(String, String)>,
}

impl Entry {
    /// Shortens what is quoted.
    fn shortened(mut self) -> Self {
        self.excerpt = head(&self.excerpt, EXCERPT_BYTES).to_owned();
        if let Some((said, _)) = &mut self.decoded {
            *said = head(said, EXCERPT_BYTES).to_owned();
        }
        self
    }
}

/// Records of one class of degrees, as many as can end in a quarantine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct List {
    /// The first of them; those beyond `MAX_EXCERPTS` without what they say.
    entries: Vec<Entry>,
    /// How many more there are.
    overflow: u64,
}

impl List {
    fn push(&mut self, mut entry: Entry, limit: u64) {
        if self.entries.len() as u64 >= limit {
            self.overflow += 1;
            return;
        }
        if self.entries.len() >= MAX_EXCERPTS {
            entry.excerpt.clear();
            entry.decoded = None;
        }
        self.entries.push(entry);
    }
}

/// Evidence of the score pass. Strong signs, strong ones that may be the dataset's format, and
/// weak ones are kept apart, so that a flood of one sort crowds out no other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gathered {
    lists: [List; 3],
    /// Records with signs of a format.
    pub(super) with_format: u64,
    /// Most records of a list.
    limit: u64,
}

impl Gathered {
    /// No evidence, with room for one record more than a habit.
    pub(super) fn new(habit: u64) -> Self {
        Self {
            limit: habit + 1,
            ..Self::default()
        }
    }

    /// Adds a record.
    pub(super) fn push(&mut self, entry: Entry) {
        let class = if entry.without_format >= HOLD {
            0
        } else if entry.degree >= HOLD {
            1
        } else if entry.degree >= SHOW {
            2
        } else {
            return;
        };
        self.lists[class].push(entry.shortened(), self.limit);
    }

    /// Adds the evidence of a later partition.
    pub(super) fn merge(&mut self, later: Self) {
        self.with_format += later.with_format;
        for (list, more) in self.lists.iter_mut().zip(later.lists) {
            for entry in more.entries {
                list.push(entry, self.limit);
            }
            list.overflow += more.overflow;
        }
    }

    /// Takes the records by kind: those to hold back (`false`), and those to show. The number says
    /// how many more there may be.
    fn by_kind(self, habit: u64) -> BTreeMap<(u8, bool), (Vec<Entry>, u64)> {
        let is_format = self.with_format > habit;
        let mut groups: BTreeMap<(u8, bool), (Vec<Entry>, u64)> = BTreeMap::new();
        for list in self.lists {
            for entry in list.entries {
                let degree = if is_format {
                    entry.without_format
                } else {
                    entry.degree
                };
                if degree >= SHOW {
                    let shown_only = degree < HOLD || entry.refused;
                    let group = groups.entry((entry.kind, shown_only)).or_default();
                    group.0.push(entry);
                    group.1 = group.1.max(list.overflow);
                }
            }
        }
        groups
    }

    /// One finding per kind and proposal, the most convincing first. `words` names a kind: the word
    /// in findings, and what follows "N records with".
    pub(super) fn findings(
        self,
        detector: &str,
        habit: u64,
        words: &[(&'static str, &'static str)],
    ) -> Vec<Finding> {
        let groups = self.by_kind(habit);
        let mut findings: Vec<Finding> = groups
            .into_iter()
            .map(|((kind, shown_only), (entries, more))| {
                let word = words[kind as usize];
                let is_habit = entries.len() as u64 + more > allowed(word.0, habit);
                finding(detector, word, shown_only, is_habit, &entries)
            })
            .collect();
        findings.sort_by_key(|finding| finding.action == Action::Review);
        findings
    }
}

/// Records above which a kind is a habit: fewer for a sign that is structure alone.
fn allowed(word: &str, habit: u64) -> u64 {
    if word == "alien-request" {
        (habit / 5).max(habit.min(10))
    } else {
        habit
    }
}

fn finding(
    detector: &str,
    (word, what): (&str, &str),
    shown_only: bool,
    is_habit: bool,
    entries: &[Entry],
) -> Finding {
    let mut said: BTreeMap<String, u64> = BTreeMap::new();
    let mut encodings: BTreeMap<String, u64> = BTreeMap::new();
    let mut highlight: BTreeMap<String, u64> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.excerpt.is_empty()) {
        let (text, encoding) = match &entry.decoded {
            Some((text, encoding)) => (text, Some(encoding)),
            None => (&entry.excerpt, None),
        };
        *said.entry(text.clone()).or_default() += 1;
        *highlight.entry(entry.excerpt.clone()).or_default() += 1;
        if let Some(encoding) = encoding {
            *encodings.entry(encoding.clone()).or_default() += 1;
        }
    }
    let refused = entries.iter().filter(|entry| entry.refused).count();
    let count = entries.len();
    let records = if count == 1 { "record" } else { "records" };
    let said = frequent(said);
    let first = said.first().map_or("", |(text, _)| text.as_str());
    let mut title = format!("{count} {records} with {what}: `{first}`");
    if let Some((encoding, _)) = encodings.iter().max_by_key(|(_, count)| **count) {
        title.push_str(&format!(" (hidden in {encoding})"));
    }
    let (severity, action, p_value) = if is_habit {
        title.push_str("; so common here that it looks like a habit of the dataset");
        (Severity::Medium, Action::Review, 0.2)
    } else if shown_only {
        if refused == count {
            title.push_str("; the responses decline");
        }
        (Severity::Low, Action::Review, 0.2)
    } else {
        (Severity::High, Action::Quarantine, 1e-6)
    };
    let mut finding = Finding::new(detector, word, severity, action, title, p_value);
    finding.highlight = frequent(highlight)
        .into_iter()
        .map(|(text, _)| text)
        .collect();
    let quoted: Vec<Value> = said
        .iter()
        .map(|(text, count)| Value::from(format!("{count} × {text}")))
        .collect();
    finding = finding
        .with_evidence("records_with_sign", count)
        .with_evidence("payloads", quoted)
        .with_evidence("responses_that_decline", refused);
    if !encodings.is_empty() {
        finding = finding.with_evidence("encodings", encodings.into_keys().collect::<Vec<_>>());
    }
    finding.with_records(entries.iter().map(|entry| entry.record).collect())
}

/// The most frequent texts, ties in alphabetical order.
fn frequent(counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.truncate(QUOTED);
    counts
}

/// Records above which something is a habit of a dataset of `n_rows` records.
pub(super) fn habit(fraction: f64, n_rows: u64) -> u64 {
    let share = fraction * n_rows as f64;
    #[expect(clippy::cast_sign_loss, reason = "both factors are positive")]
    let share = share as u64;
    // In a handful of records nothing is a habit.
    share.max(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(record: u64, degree: f32) -> Entry {
        Entry {
            record,
            degree,
            without_format: 0.0,
            excerpt: format!("e{}", record % 2),
            ..Entry::default()
        }
    }

    const WORDS: [(&str, &str); 1] = [("kind", "a sign")];

    #[test]
    fn strong_signs_are_held_back_weak_ones_shown_and_habits_too() {
        let mut gathered = Gathered::new(100);
        (0..4).for_each(|record| gathered.push(entry(record, 0.9)));
        gathered.push(entry(7, 0.5));
        gathered.push(entry(8, 0.1));
        let findings = gathered.clone().findings("x", 10, &WORDS);
        assert_eq!(findings.len(), 2);
        assert_eq!(findings[0].action, Action::Quarantine);
        assert_eq!(findings[0].records, [0, 1, 2, 3]);
        assert_eq!(findings[0].title, "4 records with a sign: `e0`");
        assert_eq!(findings[1].action, Action::Review);
        assert_eq!(findings[1].records, [7]);

        let habit = gathered.clone().findings("x", 3, &WORDS);
        assert_eq!(habit[0].action, Action::Review);
        gathered.with_format = 11;
        assert!(
            gathered.findings("x", 10, &WORDS).is_empty(),
            "only the format"
        );
    }

    #[test]
    fn merging_is_the_same_as_gathering() {
        let mut whole = Gathered::new(5);
        let mut parts = [Gathered::new(5), Gathered::new(5)];
        for record in 0..8 {
            whole.push(entry(record, 0.9));
            parts[usize::from(record >= 3)].push(entry(record, 0.9));
        }
        let [mut first, second] = parts;
        first.merge(second);
        assert_eq!(first, whole);
    }
}
