//! A finding as the page shows it: the sentence, the numbers, the label shift, the records.

use std::collections::BTreeMap;

use lazaretto_core::report::{ExampleReport, FindingReport, GroupCount, Report, TagReport};

use super::TagLink;
use crate::highlight::{self, Excerpt};
use crate::wording;

/// Classes in the label shift.
const MAX_CLASSES: usize = 8;
/// Sources and files of a finding.
const MAX_GROUPS: usize = 6;
/// Examples of a finding.
const MAX_EXAMPLES: usize = 8;
/// Longest value of an example, in characters.
const MAX_VALUE: usize = 480;
/// Longest value in the table of records, in characters.
const MAX_EXCERPT: usize = 140;
/// Longest value that stands beside others on one line, in characters.
const MAX_SHORT: usize = 40;

/// A finding.
pub(super) struct Card<'a> {
    pub(super) finding: &'a FindingReport,
    pub(super) outcome: String,
    pub(super) held: bool,
    pub(super) records: String,
    pub(super) evidence: Vec<(String, String)>,
    pub(super) labels: Vec<LabelRow<'a>>,
    pub(super) more_labels: usize,
    pub(super) sources: Vec<GroupRow<'a>>,
    pub(super) more_sources: usize,
    pub(super) files: Vec<GroupRow<'a>>,
    pub(super) more_files: usize,
    pub(super) examples: Vec<Example<'a>>,
    /// Records that passed, for comparison.
    pub(super) nearest: Vec<Example<'a>>,
    pub(super) tags: Vec<TagLink<'a>>,
}

/// A class in the finding and in the dataset; widths in percent.
pub(super) struct LabelRow<'a> {
    pub(super) name: &'a str,
    pub(super) target: bool,
    pub(super) here_width: String,
    pub(super) here: String,
    pub(super) all_width: String,
    pub(super) all: String,
}

/// A source or file of the finding.
pub(super) struct GroupRow<'a> {
    pub(super) name: &'a str,
    pub(super) records: u64,
    pub(super) width: String,
    /// All records of the source or file, where known.
    pub(super) of: Option<u64>,
}

/// An example record.
pub(super) struct Example<'a> {
    pub(super) record: &'a ExampleReport,
    /// Values that need room, with occurrences of the trigger.
    pub(super) long: Vec<Value<'a>>,
    /// The other values.
    pub(super) short: Vec<Value<'a>>,
}

/// A value of a record.
pub(super) struct Value<'a> {
    pub(super) name: &'a str,
    pub(super) text: Excerpt<'a>,
}

impl<'a> Card<'a> {
    pub(super) fn new(report: &'a Report, finding: &'a FindingReport) -> Self {
        let tags: BTreeMap<&str, &TagReport> = report
            .taxonomy
            .iter()
            .map(|tag| (tag.id.as_str(), tag))
            .collect();
        let sources: BTreeMap<&str, u64> = report
            .dataset
            .sources
            .iter()
            .map(|source| (source.name.as_str(), source.records))
            .collect();
        let files: BTreeMap<&str, u64> = report
            .dataset
            .files
            .iter()
            .filter_map(|file| Some((file.path.as_str(), file.records?)))
            .collect();
        let labels = labels(report, finding);
        Self {
            finding,
            outcome: wording::outcome(finding.n_records, finding.action),
            held: finding.action != lazaretto_core::Action::Review,
            records: wording::counted(finding.n_records, "record"),
            evidence: finding
                .evidence
                .iter()
                .map(|(name, value)| (wording::words(name), wording::value(value)))
                .collect(),
            more_labels: labels.len().saturating_sub(MAX_CLASSES),
            labels: labels.into_iter().take(MAX_CLASSES).collect(),
            sources: groups(finding, &finding.sources, &sources),
            more_sources: finding.sources.len().saturating_sub(MAX_GROUPS),
            files: groups(finding, &finding.files, &files),
            more_files: finding.files.len().saturating_sub(MAX_GROUPS),
            examples: finding
                .examples
                .iter()
                .take(MAX_EXAMPLES)
                .map(|example| Example::new(example, &finding.highlight))
                .collect(),
            nearest: finding
                .nearest_passing
                .iter()
                .map(|record| Example::new(record, &finding.highlight))
                .collect(),
            tags: finding
                .taxonomy
                .iter()
                .filter_map(|id| tags.get(id.as_str()))
                .map(|tag| TagLink::new(tag))
                .collect(),
        }
    }
}

/// Classes with the largest share of the finding first, then by their share of the dataset.
fn labels<'a>(report: &'a Report, finding: &'a FindingReport) -> Vec<LabelRow<'a>> {
    if finding.labels.is_empty() {
        return Vec::new();
    }
    let all: u64 = report
        .dataset
        .classes
        .iter()
        .map(|class| class.records)
        .sum();
    let here: u64 = finding.labels.iter().map(|label| label.records).sum();
    let mut classes: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for class in &report.dataset.classes {
        classes.entry(&class.name).or_default().1 += class.records;
    }
    for label in &finding.labels {
        classes.entry(&label.name).or_default().0 += label.records;
    }
    let target = finding.target_class.as_deref();
    let mut rows: Vec<(&str, u64, u64)> = classes
        .into_iter()
        .map(|(name, (here, all))| (name, here, all))
        .collect();
    rows.sort_by_key(|(name, here, all)| {
        (
            Some(*name) != target,
            std::cmp::Reverse(*here),
            std::cmp::Reverse(*all),
        )
    });
    rows.into_iter()
        .map(|(name, in_finding, in_dataset)| LabelRow {
            name,
            target: Some(name) == target,
            here_width: width(in_finding, here),
            here: wording::percent(in_finding, here),
            all_width: width(in_dataset, all),
            all: wording::percent(in_dataset, all),
        })
        .collect()
}

fn groups<'a>(
    finding: &FindingReport,
    groups: &'a [GroupCount],
    known: &BTreeMap<&str, u64>,
) -> Vec<GroupRow<'a>> {
    groups
        .iter()
        .take(MAX_GROUPS)
        .map(|group| GroupRow {
            name: &group.name,
            records: group.records,
            width: width(group.records, finding.n_records),
            of: known.get(group.name.as_str()).copied(),
        })
        .collect()
}

fn width(part: u64, whole: u64) -> String {
    format!(
        "{:.2}",
        (100.0 * part as f64 / whole.max(1) as f64).min(100.0)
    )
}

impl<'a> Example<'a> {
    pub(super) fn new(record: &'a ExampleReport, needles: &[String]) -> Self {
        let mut long = Vec::new();
        let mut short = Vec::new();
        for (name, value) in &record.values {
            // What the headline of the example says already.
            let repeated = *value == record.record_id
                || Some(value) == record.label.as_ref()
                || Some(value) == record.source.as_ref();
            if repeated {
                continue;
            }
            let text = highlight::excerpt(value, needles, MAX_VALUE);
            let marked = text.spans.iter().any(|span| span.marked);
            let value_of = Value { name, text };
            if marked || value.chars().nth(MAX_SHORT).is_some() {
                long.push(value_of);
            } else {
                short.push(value_of);
            }
        }
        Self {
            record,
            long,
            short,
        }
    }
}

/// The value of a record that tells most: the first with a match, else the longest.
pub(super) fn excerpt<'a>(record: &'a ExampleReport, needles: &[String]) -> Option<Value<'a>> {
    let values = || {
        record.values.iter().map(|(name, value)| Value {
            name,
            text: highlight::excerpt(value, needles, MAX_EXCERPT),
        })
    };
    let marked = |value: &Value<'a>| value.text.spans.iter().any(|span| span.marked);
    let length =
        |value: &Value<'a>| -> usize { value.text.spans.iter().map(|span| span.text.len()).sum() };
    let mut best: Option<Value<'a>> = None;
    for value in values() {
        if marked(&value) {
            return Some(value);
        }
        if best
            .as_ref()
            .is_none_or(|best| length(&value) > length(best))
        {
            best = Some(value);
        }
    }
    best
}
