//! How the values of categorical columns are written, and those written in another way.

use std::collections::BTreeMap;

use lazaretto_core::{Batch, Severity};
use serde::{Deserialize, Serialize};

use super::super::cells::{Layout, category_cell};
use super::super::words::{listed, shown};
use super::reviews::{Members, RULE_P, Review, number, records};

/// Values kept of each kind, those with the smallest cells.
const KEPT: usize = 8;
/// Values that a title names.
const MAX_NAMED: usize = 4;
/// Fewest records of the usual kind.
const MIN_USUAL: u64 = 100;
/// Largest share of a column that is written in another way.
const MAX_OTHER: f64 = 0.02;
/// Remarks at most, those on the most records first.
const MAX_REMARKS: usize = 20;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    /// `42`, `-3.5e2`, `1,200`.
    Number,
    /// `2021-03-04`, `4/3/2021`, with or without a time.
    Date,
    /// Anything without digits.
    Word,
    /// Letters and digits: codes, ranges, sentences. Every column may have some.
    Mixed,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Number, Self::Date, Self::Word, Self::Mixed];

    /// How `text` is written.
    pub(super) fn of(text: &str) -> Self {
        let text = text.trim();
        if !text.bytes().any(|byte| byte.is_ascii_digit()) {
            // Numbers in other scripts and infinities are not worth a remark.
            return if text.chars().any(char::is_numeric) {
                Self::Mixed
            } else {
                Self::Word
            };
        }
        if is_number(text) {
            Self::Number
        } else if is_date(text) {
            Self::Date
        } else {
            Self::Mixed
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Number => "numbers",
            Self::Date => "dates",
            Self::Word => "words",
            Self::Mixed => "codes",
        }
    }
}

fn is_number(text: &str) -> bool {
    let numeric = |byte: u8| byte.is_ascii_digit() || b"+-.,eE".contains(&byte);
    if !text.bytes().all(numeric) {
        return false;
    }
    if text.contains(',') {
        text.replace(',', "").parse::<f64>().is_ok()
    } else {
        text.parse::<f64>().is_ok()
    }
}

/// Three numbers, one of them a year or two of them short, between the same separators.
fn is_date(text: &str) -> bool {
    let date = text.split(['T', ' ']).next().unwrap_or_default();
    ['-', '/', '.'].iter().any(|&separator| {
        let parts: Vec<&str> = date.split(separator).take(4).collect();
        let [a, b, c] = parts[..] else { return false };
        let digits = |part: &str, lengths: &[usize]| {
            lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let ends =
            (digits(a, &[4]) && digits(c, &[1, 2])) || (digits(a, &[1, 2]) && digits(c, &[2, 4]));
        ends && digits(b, &[1, 2])
    })
}

/// Values of one categorical column by kind, as mergeable state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kinds(BTreeMap<Kind, Written>);

/// Values of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Written {
    count: u64,
    /// Some of them with their counts, by cell.
    values: BTreeMap<u64, (u64, String)>,
}

impl Written {
    fn trim(&mut self) {
        while self.values.len() > KEPT {
            self.values.pop_last();
        }
    }
}

impl Kinds {
    /// Adds categorical column `column` of a batch.
    pub(super) fn insert(&mut self, batch: &Batch<'_>, column: usize) {
        for (row_idx, &hash) in batch.categorical[column].iter().enumerate() {
            let Some(text) = batch.derived.category(column, row_idx) else {
                continue;
            };
            let written = self.0.entry(Kind::of(text)).or_default();
            written.count += 1;
            let cell = category_cell(hash);
            // The smallest cells stay whatever the order, so their counts are exact.
            let last = written.values.last_key_value().map(|(&last, _)| last);
            if written.values.len() < KEPT || last.is_some_and(|last| cell <= last) {
                let value = written.values.entry(cell);
                value.or_insert_with(|| (0, shown(text))).0 += 1;
                written.trim();
            }
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        for (kind, later) in later.0 {
            let written = self.0.entry(kind).or_default();
            written.count += later.count;
            for (cell, (count, text)) in later.values {
                written.values.entry(cell).or_insert((0, text)).0 += count;
            }
            written.trim();
        }
    }

    fn count(&self, kind: Kind) -> u64 {
        self.0.get(&kind).map_or(0, |written| written.count)
    }

    /// The usual kind of the column and the few values of another, if the column has one kind.
    fn odd(&self) -> Option<(Kind, Kind)> {
        let total: u64 = self.0.values().map(|written| written.count).sum();
        let by_count = |kind: &Kind| (self.count(*kind), std::cmp::Reverse(*kind));
        let usual = Kind::ALL.into_iter().max_by_key(by_count)?;
        // In a column of codes some codes are numbers or words.
        if usual == Kind::Mixed || self.count(usual) < MIN_USUAL {
            return None;
        }
        let others = Kind::ALL.into_iter().filter(|&kind| kind != usual);
        let n_others: u64 = others.clone().map(|kind| self.count(kind)).sum();
        if n_others as f64 > MAX_OTHER * total as f64 {
            return None;
        }
        let odd = others.filter(|&kind| kind != Kind::Mixed && self.count(kind) > 0);
        odd.max_by_key(by_count).map(|odd| (usual, odd))
    }
}

/// Remarks on columns that hold values of another kind; `closed` says of which columns the usual
/// values are few: among open lists of names a number may be a name.
pub(super) fn reviews(columns: &[Kinds], closed: &[bool], layout: &Layout) -> Vec<Review> {
    let mut found: Vec<(u64, Review)> = Vec::new();
    for (idx, (kinds, &closed)) in columns.iter().zip(closed).enumerate() {
        let Some((usual, odd)) = kinds.odd() else {
            continue;
        };
        if usual == Kind::Word && !closed {
            continue;
        }
        let column = layout.n_numeric + idx;
        let n_odd = kinds.count(odd);
        let title = format!(
            "`{}` holds {} in {} and {} in {}: {}",
            layout.names[column],
            usual.words(),
            records(kinds.count(usual)),
            odd.words(),
            number(n_odd),
            kinds.0.get(&odd).map(named).unwrap_or_default()
        );
        let members = Members::Written { column, kind: odd };
        let mut review = Review::new("mixed-type", Severity::Low, title, RULE_P, members);
        if let Some(written) = kinds.0.get(&odd) {
            let values = written.values.values().map(|(_, text)| text.clone());
            review.finding.highlight = values.take(MAX_NAMED).collect();
        }
        found.push((n_odd, review));
    }
    found.sort_by_key(|(n_odd, _)| std::cmp::Reverse(*n_odd));
    found.truncate(MAX_REMARKS);
    found.into_iter().map(|(_, review)| review).collect()
}

/// Some of the values, the most frequent first.
fn named(written: &Written) -> String {
    let mut values: Vec<&(u64, String)> = written.values.values().collect();
    values.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let shown = values.iter().take(MAX_NAMED);
    let mut parts: Vec<String> = shown.clone().map(|(_, text)| format!("`{text}`")).collect();
    if written.count > shown.map(|(count, _)| count).sum() {
        parts.push("others".to_owned());
    }
    listed(&parts)
}
