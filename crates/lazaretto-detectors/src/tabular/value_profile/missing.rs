//! Where values are missing: in one source or class, or in many columns of one record.

use std::collections::BTreeMap;

use lazaretto_core::{Batch, DataFacts, NO_LABEL, Severity};
use serde::{Deserialize, Serialize};

use super::super::cells::{Layout, NULL};
use super::super::words::{listed, shown};
use super::reviews::{Members, Review, number, records};

/// Counters of (column, group) in all, 8 MB; groups beyond them are not looked at.
const MAX_COUNTERS: usize = 1 << 20;
/// Classes and sources that are told apart at most.
const MAX_CLASSES: usize = 256;
const MAX_SOURCES: usize = 4_096;
/// Largest chance of a remark, corrected for columns and groups.
const ALPHA: f64 = 1e-6;
/// A group misses a value this much more often than the others, at least that often and in so many
/// records, and makes up at most this share of the dataset. Missing values depend on the class or
/// the source in most real data; only what amounts to a marker of the group is worth a remark.
const MIN_RATIO: f64 = 20.0;
const MIN_RATE: f64 = 0.05;
const MIN_MISSING: u64 = 20;
const MAX_GROUP_SHARE: f64 = 0.75;
/// Remarks on groups at most, the clearest first, and columns that one of them names.
const MAX_REMARKS: usize = 5;
const MAX_NAMED: usize = 4;
/// Empty records miss at least so many columns and this share of them, are at most this share of
/// the dataset, and no other record misses half as many.
const MIN_EMPTY: usize = 4;
const EMPTY_SHARE: f64 = 0.5;
const MAX_EMPTY: f64 = 0.01;

/// Records of one class or of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Class(u32),
    Source(u32),
}

impl Group {
    pub(super) fn includes(self, batch: &Batch<'_>, row_idx: usize) -> bool {
        match self {
            Self::Class(class) => batch.label(row_idx) == Some(class),
            Self::Source(source) => batch.sources.is_some_and(|of| of[row_idx] == source),
        }
    }

    fn words(self, facts: &DataFacts) -> String {
        let name = |names: &[String], idx: u32| {
            let name = names.get(idx as usize);
            name.map_or_else(|| format!("#{idx}"), |name| shown(name))
        };
        match self {
            Self::Class(class) => format!("of class `{}`", name(&facts.classes, class)),
            Self::Source(source) => format!("of source `{}`", name(&facts.sources, source)),
        }
    }
}

/// Missing values by column and group, and by record; mergeable state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct MissingCounts {
    n_classes: usize,
    n_sources: usize,
    /// Records of each class, then of each source.
    group_sizes: Vec<u64>,
    /// Missing values of each column.
    totals: Vec<u64>,
    /// The same by group, of the columns that miss any.
    by_group: BTreeMap<u32, Vec<u64>>,
    /// Records by the number of columns they miss.
    per_record: BTreeMap<u32, u64>,
    n_rows: u64,
}

impl MissingCounts {
    /// No counts yet, with at most `budget` bytes of counters.
    pub(super) fn new(facts: &DataFacts, width: usize, budget: usize) -> Self {
        let n_groups = MAX_COUNTERS.min(budget / 8) / width.max(1);
        let n_classes = facts.classes.len().min(MAX_CLASSES).min(n_groups);
        let n_sources = facts.sources.len().min(MAX_SOURCES);
        let n_sources = n_sources.min(n_groups - n_classes);
        Self {
            n_classes,
            n_sources,
            group_sizes: vec![0; n_classes + n_sources],
            totals: vec![0; width],
            ..Self::default()
        }
    }

    /// Adds the cells of a record.
    pub(super) fn insert(&mut self, batch: &Batch<'_>, row_idx: usize, cells: &[u64]) {
        let places = self.places(batch, row_idx);
        for place in places.into_iter().flatten() {
            self.group_sizes[place] += 1;
        }
        let n_groups = self.group_sizes.len();
        let mut n_missing = 0;
        for (column, total) in self.totals.iter_mut().enumerate() {
            if cells[column] != NULL {
                continue;
            }
            *total += 1;
            n_missing += 1;
            let counts = self.by_group.entry(column as u32);
            let counts = counts.or_insert_with(|| vec![0; n_groups]);
            for place in places.into_iter().flatten() {
                counts[place] += 1;
            }
        }
        *self.per_record.entry(n_missing).or_default() += 1;
        self.n_rows += 1;
    }

    /// Where the class and the source of a record are counted.
    fn places(&self, batch: &Batch<'_>, row_idx: usize) -> [Option<usize>; 2] {
        let class = batch.label(row_idx).unwrap_or(NO_LABEL) as usize;
        let source = batch.sources.map_or(u32::MAX, |of| of[row_idx]) as usize;
        [
            (class < self.n_classes).then_some(class),
            (source < self.n_sources).then(|| self.n_classes + source),
        ]
    }

    pub(super) fn merge(&mut self, later: Self) {
        let add = |sums: &mut [u64], later: &[u64]| {
            for (sum, count) in sums.iter_mut().zip(later) {
                *sum += count;
            }
        };
        add(&mut self.group_sizes, &later.group_sizes);
        add(&mut self.totals, &later.totals);
        for (column, counts) in later.by_group {
            let known = self.by_group.entry(column);
            add(known.or_insert_with(|| vec![0; counts.len()]), &counts);
        }
        for (n_missing, count) in later.per_record {
            *self.per_record.entry(n_missing).or_default() += count;
        }
        self.n_rows += later.n_rows;
    }

    /// Missing values of a column.
    pub(super) fn total(&self, column: usize) -> u64 {
        self.totals.get(column).copied().unwrap_or(0)
    }

    /// Remarks on groups that miss columns, then on empty records.
    pub(super) fn reviews(&self, layout: &Layout, facts: &DataFacts) -> Vec<Review> {
        let mut reviews = self.group_reviews(layout, facts);
        reviews.extend(self.empty_records());
        reviews
    }

    /// One remark per group, on all columns that mark it; each column counts for one group only.
    fn group_reviews(&self, layout: &Layout, facts: &DataFacts) -> Vec<Review> {
        let n_tests = self.by_group.len() * self.group_sizes.len();
        let mut by_group: BTreeMap<Group, Vec<Concentration>> = BTreeMap::new();
        for (&column, counts) in &self.by_group {
            let groups = counts.iter().enumerate();
            let found = groups.filter_map(|(place, &inside)| {
                let size = self.group_sizes[place];
                let all = (self.totals[column as usize], self.n_rows);
                let found = Concentration::of((inside, size), all, n_tests)?;
                Some((
                    place,
                    Concentration {
                        column: column as usize,
                        ..found
                    },
                ))
            });
            let clearest = found.min_by(|(_, a), (_, b)| a.log_p.total_cmp(&b.log_p));
            if let Some((place, concentration)) = clearest {
                by_group
                    .entry(self.group(place))
                    .or_default()
                    .push(concentration);
            }
        }
        let mut groups: Vec<(Group, Vec<Concentration>)> = by_group.into_iter().collect();
        for (_, columns) in &mut groups {
            columns.sort_by(|a, b| a.log_p.total_cmp(&b.log_p));
        }
        groups.sort_by(|(_, a), (_, b)| a[0].log_p.total_cmp(&b[0].log_p));
        groups.truncate(MAX_REMARKS);
        let review = |(group, columns): &(Group, Vec<Concentration>)| {
            group_review(*group, columns, layout, facts)
        };
        groups.iter().map(review).collect()
    }

    fn group(&self, place: usize) -> Group {
        if place < self.n_classes {
            Group::Class(place as u32)
        } else {
            Group::Source((place - self.n_classes) as u32)
        }
    }

    /// Few records that miss most columns where all others miss few.
    fn empty_records(&self) -> Option<Review> {
        let width = self.totals.len();
        let least = MIN_EMPTY.max((EMPTY_SHARE * width as f64).ceil() as usize);
        let mut n_empty = 0;
        let mut at_least = width;
        let mut others = 0;
        for (&n_missing, &count) in self.per_record.iter().rev() {
            let n_missing = n_missing as usize;
            if n_missing >= least {
                n_empty += count;
                at_least = n_missing;
            } else {
                others = n_missing;
                break;
            }
        }
        if n_empty == 0 || n_empty as f64 > MAX_EMPTY * self.n_rows as f64 || 2 * others > at_least
        {
            return None;
        }
        let empty = self.per_record.range(at_least as u32..);
        let missing: u64 = empty.map(|(&n, &count)| u64::from(n) * count).sum();
        let rest = self.totals.iter().sum::<u64>() - missing;
        let cells = (self.n_rows - n_empty) as f64 * width as f64;
        let rate = (rest as f64 + 1.0) / (cells + 1.0);
        // A record misses `at_least` of `width` columns, at the rate of the others.
        let log_p = log_tail(at_least as f64, width as f64, rate) + (self.n_rows as f64).ln();
        if log_p > ALPHA.ln() {
            return None;
        }
        let verb = if n_empty == 1 { "misses" } else { "miss" };
        let what = if at_least == width {
            format!("all {width} columns")
        } else {
            format!("at least {at_least} of {width} columns")
        };
        let rest = match others {
            0 => "where all others miss none".to_owned(),
            n => format!("where all others miss {n} at most"),
        };
        let title = format!("{} {verb} {what}, {rest}", records(n_empty));
        let members = Members::Empty { at_least };
        Some(Review::new(
            "empty-record",
            Severity::Low,
            title,
            log_p.exp(),
            members,
        ))
    }
}

/// A column whose missing values mark a group.
#[derive(Clone, Debug)]
struct Concentration {
    column: usize,
    /// Missing values and records inside the group, and outside.
    inside: (u64, u64),
    outside: (u64, u64),
    /// Logarithm of the corrected chance.
    log_p: f64,
}

impl Concentration {
    /// What `inside` (missing values, records) of a group is against the whole dataset, if that
    /// is both a large effect and no chance.
    fn of(inside: (u64, u64), all: (u64, u64), n_tests: usize) -> Option<Self> {
        let outside = (all.0 - inside.0, all.1 - inside.1);
        let rate = inside.0 as f64 / inside.1.max(1) as f64;
        let other_rate = (outside.0 as f64 + 1.0) / (outside.1 as f64 + 1.0);
        let large = inside.0 >= MIN_MISSING
            && rate >= MIN_RATE
            && rate >= MIN_RATIO * other_rate
            && inside.1 as f64 <= MAX_GROUP_SHARE * all.1 as f64;
        if !large {
            return None;
        }
        let tail = log_tail(
            inside.0 as f64,
            inside.1 as f64,
            all.0 as f64 / all.1 as f64,
        );
        let log_p = tail + (n_tests as f64).ln();
        (log_p <= ALPHA.ln()).then_some(Self {
            column: 0,
            inside,
            outside,
            log_p,
        })
    }
}

fn group_review(
    group: Group,
    columns: &[Concentration],
    layout: &Layout,
    facts: &DataFacts,
) -> Review {
    let first = &columns[0];
    let name = |concentration: &Concentration| format!("`{}`", layout.names[concentration.column]);
    let mut title = format!(
        "{} is missing in {} of {} {}, in {} of {} others",
        name(first),
        number(first.inside.0),
        records(first.inside.1),
        group.words(facts),
        number(first.outside.0),
        number(first.outside.1)
    );
    if columns.len() > 1 {
        let more = &columns[1..];
        let mut names: Vec<String> = more.iter().take(MAX_NAMED).map(name).collect();
        if more.len() > MAX_NAMED {
            names.push(format!(
                "{} other columns",
                number((more.len() - MAX_NAMED) as u64)
            ));
        }
        title = format!("{title}; likewise {}", listed(&names));
    }
    // What is missing with the class tells a model the class.
    let severity = match group {
        Group::Class(_) => Severity::Medium,
        Group::Source(_) => Severity::Low,
    };
    let members = Members::Missing {
        columns: columns.iter().map(|c| c.column).collect(),
        group,
    };
    let mut review = Review::new("missing", severity, title, first.log_p.exp(), members);
    let finding = review.finding.with_evidence("columns", columns.len());
    review.finding = finding
        .with_evidence("missing_inside", first.inside.0)
        .with_evidence("records_inside", first.inside.1)
        .with_evidence("missing_outside", first.outside.0)
        .with_evidence("records_outside", first.outside.1);
    review
}

/// Logarithm of an upper bound of the chance that `count` or more of `draws` hit at `rate`, with or
/// without replacement: −draws · KL(count / draws ‖ rate), 0 where that says nothing.
///
/// Hoeffding: Probability inequalities for sums of bounded random variables, JASA 1963; Chvátal: The
/// tail of the hypergeometric distribution, Discrete Mathematics 1979.
fn log_tail(count: f64, draws: f64, rate: f64) -> f64 {
    let share = count / draws;
    if share.is_nan() || share <= rate || rate <= 0.0 {
        return 0.0;
    }
    let of = |share: f64, rate: f64| {
        if share > 0.0 {
            share * (share / rate).ln()
        } else {
            0.0
        }
    };
    -draws * (of(share, rate) + of(1.0 - share, 1.0 - rate))
}
