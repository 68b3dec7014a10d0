//! The records of foreign values, how random they look, and the findings about them.

use std::collections::BTreeMap;

use lazaretto_core::{Action, Batch, Finding, Severity, Shared};
use serde::{Deserialize, Serialize};

use super::super::resemblance::{MAX_GROUP, Resemblance, SKIP};
use super::super::words;
use super::ProfileModel;
use super::broken::Broken;
use super::extremes::{Range, Side};
use super::reviews::ReviewEvidence;
use super::vocabulary::Stray;

/// Standard deviations up to which records may be a random handful of the dataset.
const RANDOM: f64 = 2.5;
/// Columns besides the foreign values that must be there to compare.
const MIN_COLUMNS: usize = 3;
/// The same where the dataset is known to hold written values: random groups of attacked data are a
/// little less random when several columns are written.
const RANDOM_CORROBORATED: f64 = 4.0;
/// Other groups that are held back for a small group to be held back with them, and the size of a
/// small group.
const CORROBORATION: usize = 2;
const MIN_CORROBORATED: u64 = 2;
/// Chance that is stated for a foreign category.
const STRAY_P: f64 = 1e-3;
/// Values that a title names.
const MAX_NAMED: usize = 5;
/// Findings for review at most, the widest gaps first.
const MAX_REVIEWS: usize = 20;

/// What the score pass gathers: the ranges first, then the strays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProfileEvidence {
    groups: Vec<Group>,
    reviews: ReviewEvidence,
    broken: Broken,
}

/// The records of one suspect.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Group {
    records: Vec<u64>,
    /// Bins of the records with the smallest keys, by (key, ordinal).
    codes: BTreeMap<(u64, u64), Vec<u8>>,
    sources: BTreeMap<u32, u64>,
}

impl Group {
    fn trim(&mut self) {
        while self.codes.len() > MAX_GROUP {
            self.codes.pop_last();
        }
    }
}

/// A group of records with what is known about it.
struct Suspect<'a> {
    group: &'a Group,
    kind: Kind<'a>,
    resemblance: Option<Resemblance>,
}

enum Kind<'a> {
    Range(&'a Range),
    Stray(&'a Stray),
}

impl ProfileEvidence {
    pub(super) fn new(model: &ProfileModel) -> Self {
        Self {
            groups: vec![Group::default(); model.ranges.len() + model.strays.len()],
            reviews: ReviewEvidence::new(model),
            broken: Broken::default(),
        }
    }

    /// Counts what no model can compute with.
    pub(super) fn add_broken(&mut self, batch: &Batch<'_>) {
        self.broken.add(batch);
    }

    /// Adds a record; whether it has a foreign value.
    pub(super) fn add(
        &mut self,
        model: &ProfileModel,
        batch: &Batch<'_>,
        row_idx: usize,
        cells: &[u64],
    ) -> bool {
        self.reviews.add(model, batch, row_idx, cells);
        let mut hits = Vec::new();
        let mut foreign = Vec::new();
        for (idx, range) in model.ranges.iter().enumerate() {
            if range.contains(f64::from_bits(cells[range.column])) {
                hits.push(idx);
                foreign.push(range.column);
            }
        }
        for (idx, stray) in model.strays.iter().enumerate() {
            let columns = stray.columns.iter();
            let columns = columns.map(|(column, _)| model.layout.n_numeric + column);
            let before = foreign.len();
            foreign.extend(columns.filter(|&column| cells[column] == stray.cell));
            if foreign.len() > before {
                hits.push(model.ranges.len() + idx);
            }
        }
        if hits.is_empty() {
            return false;
        }
        // Other foreign values of the record say nothing about what kind of record it is.
        let mut codes = model.population.encode(cells);
        for column in foreign {
            codes[column] = SKIP;
        }
        let ordinal = batch.ordinal(row_idx);
        for idx in hits {
            let group = &mut self.groups[idx];
            group.records.push(ordinal);
            let key = (batch.keys[row_idx], ordinal);
            group.codes.insert(key, codes.clone());
            group.trim();
            if let Some(sources) = batch.sources {
                *group.sources.entry(sources[row_idx]).or_default() += 1;
            }
        }
        true
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.reviews.merge(later.reviews);
        self.broken.merge(later.broken);
        for (group, later) in self.groups.iter_mut().zip(later.groups) {
            group.records.extend(later.records);
            group.codes.extend(later.codes);
            group.trim();
            for (source, count) in later.sources {
                *group.sources.entry(source).or_default() += count;
            }
        }
    }

    pub(super) fn findings(
        self,
        model: &ProfileModel,
        shared: &Shared,
        min_records: u64,
    ) -> Vec<Finding> {
        let everyone: Vec<u32> = (0..model.n_sampled as u32).collect();
        let kinds = model.ranges.iter().map(Kind::Range);
        let kinds = kinds.chain(model.strays.iter().map(Kind::Stray));
        let suspects: Vec<Suspect<'_>> = self
            .groups
            .iter()
            .zip(kinds)
            .filter(|(group, _)| !group.records.is_empty())
            .map(|(group, kind)| {
                let codes: Vec<Vec<u8>> = group.codes.values().cloned().collect();
                let excluded = kind.columns(model);
                let seed = shared.seed;
                let population = &model.population;
                Suspect {
                    group,
                    kind,
                    resemblance: population.compare(&everyone, &codes, &excluded, seed),
                }
            })
            .collect();
        let suspects = one_per_end(suspects);
        let certain = certain(&suspects, min_records);
        let mut findings: Vec<(bool, f64, Finding)> = suspects
            .iter()
            .zip(certain)
            .map(|(suspect, certain)| {
                let finding = suspect.finding(certain, model, shared);
                (certain, suspect.gap(), finding)
            })
            .collect();
        findings.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
        let held = findings.iter().filter(|finding| finding.0).count();
        findings.truncate(held + MAX_REVIEWS);
        let groups = findings.into_iter().map(|(_, _, finding)| finding);
        let broken = self
            .broken
            .findings(&model.layout, shared.facts.embedding_dim);
        groups
            .chain(self.reviews.findings(model))
            .chain(broken)
            .collect()
    }
}

/// Of nested ranges the widest one that looks random, or else the one that looks most so: natural
/// extremes lie inside of written ones.
fn one_per_end(suspects: Vec<Suspect<'_>>) -> Vec<Suspect<'_>> {
    let mut kept: Vec<Suspect<'_>> = Vec::new();
    for suspect in suspects {
        let same_end = kept.last_mut().filter(|last| last.shares_end(&suspect));
        match same_end {
            Some(wider) if wider.is_random(RANDOM) => {}
            Some(wider) => {
                if suspect.deviation() < wider.deviation() {
                    *wider = suspect;
                }
            }
            None => kept.push(suspect),
        }
    }
    kept
}

/// Which suspects are held back.
fn certain(suspects: &[Suspect<'_>], min_records: u64) -> Vec<bool> {
    let alone: Vec<bool> = suspects
        .iter()
        .map(|suspect| suspect.is_random(RANDOM) && suspect.stands_alone(min_records))
        .collect();
    let n_alone = alone.iter().filter(|&&alone| alone).count();
    let joins = |suspect: &Suspect<'_>, alone: bool| {
        let others = n_alone - usize::from(alone);
        suspect.is_random(RANDOM_CORROBORATED)
            && others >= CORROBORATION
            && suspect.group.records.len() as u64 >= MIN_CORROBORATED
            && !suspect.is_placeholder()
    };
    suspects
        .iter()
        .zip(&alone)
        .map(|(suspect, &alone)| alone || joins(suspect, alone))
        .collect()
}

impl Kind<'_> {
    fn columns(&self, model: &ProfileModel) -> Vec<usize> {
        match self {
            Self::Range(range) => vec![range.column],
            Self::Stray(stray) => {
                let columns = stray.columns.iter();
                columns
                    .map(|(column, _)| model.layout.n_numeric + column)
                    .collect()
            }
        }
    }
}

impl Suspect<'_> {
    fn is_random(&self, limit: f64) -> bool {
        self.resemblance.is_some_and(|resemblance| {
            resemblance.n_columns >= MIN_COLUMNS && resemblance.is_random(limit)
        })
    }

    fn deviation(&self) -> f64 {
        self.resemblance
            .map_or(f64::INFINITY, |resemblance| resemblance.z)
    }

    /// Whether both are ranges at one end of a column.
    fn shares_end(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Range(a), Kind::Range(b)) => (a.column, a.side) == (b.column, b.side),
            _ => false,
        }
    }

    fn is_placeholder(&self) -> bool {
        match &self.kind {
            Kind::Range(_) => false,
            Kind::Stray(stray) => stray.is_placeholder(),
        }
    }

    /// Whether its size and form are enough without other suspects.
    fn stands_alone(&self, min_records: u64) -> bool {
        match &self.kind {
            Kind::Range(range) => {
                let n_records = range.n_records;
                let repeated = n_records + 1 >= min_records && range.repetition() >= 2.0;
                (n_records >= min_records || repeated) && !range.is_zero()
            }
            Kind::Stray(stray) => !stray.is_placeholder(),
        }
    }

    fn gap(&self) -> f64 {
        match &self.kind {
            Kind::Range(range) => range.gap,
            Kind::Stray(_) => 0.0,
        }
    }

    fn finding(&self, certain: bool, model: &ProfileModel, shared: &Shared) -> Finding {
        let (kind, title, p_value, highlight) = match &self.kind {
            Kind::Range(range) => {
                let values = range.values.iter().take(MAX_NAMED);
                let data_type = words::data_type(&model.layout.names[range.column], &shared.facts);
                let values = values.map(|(value, _)| words::number(*value, data_type));
                (
                    "range",
                    range_title(range, model, data_type),
                    range.p_value,
                    values.collect(),
                )
            }
            Kind::Stray(stray) => (
                "foreign-value",
                stray_title(stray, model),
                STRAY_P,
                vec![stray.text.clone()],
            ),
        };
        let (severity, action) = if certain {
            (Severity::Medium, Action::Quarantine)
        } else {
            (Severity::Low, Action::Review)
        };
        let mut finding = Finding::new("value-profile", kind, severity, action, title, p_value)
            .with_records(self.group.records.clone());
        if let Kind::Range(range) = &self.kind {
            finding = finding
                .with_evidence("next_value", range.inside)
                .with_evidence("distinct_values", range.values.len())
                .with_evidence("gap_in_tail_widths", range.gap);
        }
        if let Some(resemblance) = self.resemblance {
            let differs = model.layout.names.get(resemblance.column);
            finding = finding
                .with_evidence("deviation_from_random_records", resemblance.z)
                .with_evidence("columns_compared", resemblance.n_columns)
                .with_evidence("column_that_differs_most", differs.cloned());
        }
        if let Some((source, share)) = words::top_source(&self.group.sources, &shared.facts) {
            finding = finding
                .with_evidence("top_source", source)
                .with_evidence("top_source_share", share);
        }
        finding.highlight = highlight;
        finding
    }
}

fn records(count: u64) -> String {
    if count == 1 {
        "1 record".to_owned()
    } else {
        format!("{count} records")
    }
}

fn range_title(range: &Range, model: &ProfileModel, data_type: &str) -> String {
    let name = &model.layout.names[range.column];
    let mut values = range.values.clone();
    values.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.total_cmp(&b.0)));
    let named = values.iter().take(MAX_NAMED);
    let mut parts: Vec<String> = named
        .map(|(value, count)| {
            let value = words::number(*value, data_type);
            format!("`{value}` ({})", records(*count))
        })
        .collect();
    let others: u64 = values.iter().skip(MAX_NAMED).map(|(_, count)| count).sum();
    if others > 0 {
        parts.push(format!("other values ({})", records(others)));
    }
    let next = match range.side {
        Side::High => "where the next highest value is",
        Side::Low => "where the next lowest value is",
        Side::Negative => "where no other value is negative and the lowest is",
    };
    format!(
        "`{name}` is {} {next} `{}`",
        words::listed(&parts),
        words::number(range.inside, data_type)
    )
}

fn stray_title(stray: &Stray, model: &ProfileModel) -> String {
    let name = |column: usize| &model.layout.names[model.layout.n_numeric + column];
    let places: Vec<String> = stray
        .columns
        .iter()
        .map(|&(column, count)| format!("`{}` ({})", name(column), records(count)))
        .collect();
    let places = words::listed(&places);
    match stray.home {
        Some(home) => format!(
            "`{}` is a value of `{}` but stands in {places}",
            stray.text,
            name(home)
        ),
        None => format!(
            "`{}` stands in {places}, which have no other values in common",
            stray.text
        ),
    }
}
