//! The values of the categorical columns, and those that do not belong into theirs.

use std::collections::{BTreeMap, BTreeSet};

use lazaretto_core::Batch;
use serde::{Deserialize, Serialize};

use super::super::cells::category_cell;
use super::super::words::shown;

/// Distinct values of a column beyond which it has no vocabulary.
const MAX_VALUES: usize = 20_000;
/// Share of a column above which a value is one of its own.
const FREQUENT: f64 = 0.005;
/// Share of a column that frequent values cover when its vocabulary is closed.
const CLOSED: f64 = 0.9;
/// Values that two columns share beyond which they have one vocabulary.
const MAX_SHARED: usize = 10;
/// Words for a missing value; these turn up in any column.
const PLACEHOLDERS: [&str; 16] = [
    "",
    "?",
    "-",
    "--",
    ".",
    "n/a",
    "na",
    "nan",
    "nil",
    "none",
    "null",
    "unknown",
    "missing",
    "other",
    "others",
    "not stated",
];

/// How often a value occurs in a column, and how it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Value {
    count: u64,
    text: Option<String>,
}

/// The values of one column, as mergeable state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Vocabulary {
    values: BTreeMap<u64, Value>,
    /// Values that are not null.
    count: u64,
    /// Too many distinct values: names, not categories.
    overflown: bool,
}

impl Vocabulary {
    /// Adds categorical column `column` of a batch.
    pub(super) fn insert(&mut self, batch: &Batch<'_>, column: usize) {
        for (row_idx, &hash) in batch.categorical[column].iter().enumerate() {
            if hash == 0 || self.overflown {
                continue;
            }
            self.count += 1;
            let text = || batch.derived.category(column, row_idx).map(shown);
            let value = self
                .values
                .entry(category_cell(hash))
                .or_insert_with(|| Value {
                    count: 0,
                    text: text(),
                });
            value.count += 1;
            self.check();
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.count += later.count;
        self.overflown |= later.overflown;
        for (cell, value) in later.values {
            let known = self.values.entry(cell).or_insert_with(|| Value {
                count: 0,
                text: value.text.clone(),
            });
            known.count += value.count;
        }
        self.check();
    }

    fn check(&mut self) {
        if self.overflown || self.values.len() > MAX_VALUES {
            *self = Self {
                overflown: true,
                ..Self::default()
            };
        }
    }

    fn is_frequent(&self, value: &Value) -> bool {
        self.is_frequent_count(value.count)
    }

    /// Whether a value that so many records have is one of the column's own.
    pub(super) fn is_frequent_count(&self, count: u64) -> bool {
        count as f64 > FREQUENT * self.count as f64
    }

    /// Whether nearly all records have a frequent value, as in a column of categories and unlike in
    /// one of names.
    pub(super) fn is_closed(&self) -> bool {
        let frequent = self.values.values().filter(|value| self.is_frequent(value));
        let covered: u64 = frequent.map(|value| value.count).sum();
        !self.overflown && self.count > 0 && covered as f64 >= CLOSED * self.count as f64
    }

    /// The values that are known in full, as (cell, text, records).
    pub(super) fn texts(&self) -> impl Iterator<Item = (u64, &str, u64)> {
        self.values.iter().filter_map(|(&cell, value)| {
            let text = value.text.as_deref().filter(|text| !text.ends_with('…'))?;
            Some((cell, text, value.count))
        })
    }

    /// How many records have the one value of the column, if it has exactly one.
    pub(super) fn only_value(&self) -> Option<u64> {
        (self.values.len() == 1).then_some(self.count)
    }
}

/// A value that stands in columns where it does not belong.
#[derive(Clone, Debug)]
pub(super) struct Stray {
    pub(super) cell: u64,
    /// How it is written.
    pub(super) text: String,
    /// Categorical columns where it is foreign, with its count there.
    pub(super) columns: Vec<(usize, u64)>,
    /// The column that it belongs to, if any.
    pub(super) home: Option<usize>,
}

impl Stray {
    /// Whether it is a usual word for "missing".
    pub(super) fn is_placeholder(&self) -> bool {
        let text = self.text.trim().to_lowercase();
        PLACEHOLDERS.contains(&text.as_str())
    }
}

/// Values that are rare in several columns whose other values have nothing in common, and values
/// of one column that are rare in another such one; of at least `min_records` records.
pub(super) fn strays(vocabularies: &[Vocabulary], min_records: u64) -> Vec<Stray> {
    let mut places: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (column, vocabulary) in vocabularies.iter().enumerate() {
        for &cell in vocabulary.values.keys() {
            places.entry(cell).or_default().push(column);
        }
    }
    places.retain(|_, columns| columns.len() >= 2);
    let related = related(vocabularies, &places);
    let mut found = Vec::new();
    for (cell, columns) in places {
        let of = |column: usize| &vocabularies[column].values[&cell];
        let (homes, rare): (Vec<usize>, Vec<usize>) = columns
            .iter()
            .partition(|&&column| vocabularies[column].is_frequent(of(column)));
        let unrelated = |column: &usize| {
            let mut others = columns.iter().filter(|other| *other != column);
            others.all(|&other| !related.contains(&(other.min(*column), other.max(*column))))
        };
        let foreign: Vec<(usize, u64)> = rare
            .into_iter()
            .filter(unrelated)
            .map(|column| (column, of(column).count))
            .collect();
        let n_records: u64 = foreign.iter().map(|(_, count)| count).sum();
        if n_records < min_records || foreign.len() + homes.len() < 2 {
            continue;
        }
        let text = columns.iter().find_map(|&column| of(column).text.clone());
        found.push(Stray {
            cell,
            text: text.unwrap_or_else(|| format!("#{cell:016x}")),
            columns: foreign,
            home: homes.first().copied(),
        });
    }
    found
}

/// Pairs of columns that draw from one vocabulary: they share a frequent value or many.
fn related(
    vocabularies: &[Vocabulary],
    places: &BTreeMap<u64, Vec<usize>>,
) -> BTreeSet<(usize, usize)> {
    let mut shared: BTreeMap<(usize, usize), (usize, bool)> = BTreeMap::new();
    for (cell, columns) in places {
        let frequent = |column: usize| {
            let vocabulary = &vocabularies[column];
            vocabulary.is_frequent(&vocabulary.values[cell])
        };
        for (at, &a) in columns.iter().enumerate() {
            for &b in &columns[at + 1..] {
                let known = shared.entry((a, b)).or_default();
                known.0 += 1;
                known.1 |= frequent(a) && frequent(b);
            }
        }
    }
    let is_related = |(n, frequent): &(usize, bool)| *frequent || *n > MAX_SHARED;
    shared
        .into_iter()
        .filter(|(_, facts)| is_related(facts))
        .map(|(pair, _)| pair)
        .collect()
}
