//! Values of a column as a small number of codes, so that any two columns can be counted together.

use std::collections::HashMap;

use ndarray::{ArrayView1, Axis};

use crate::tabular::record_sample::{Records, Sample};

/// Codes per column beside the ones for null and for rarer values.
const MAX_VALUES: usize = 64;
/// A numeric column with more distinct values than this is binned.
const MAX_DISTINCT_NUMBERS: usize = 24;
/// Bins of equal frequency of a numeric column.
const N_BINS: usize = 12;
/// A column whose most frequent value is rarer than this share names records, it does not
/// describe them.
const LEAST_TOP_SHARE: f64 = 1e-3;

/// How the values of one column become codes. Code 0 is null.
#[derive(Clone, Debug)]
enum Codes {
    /// Sorted hashes of the most frequent values; code 1 is any other.
    Categories(Vec<(u64, u16)>),
    /// Sorted distinct numbers, code 2 onwards; code 1 is any other.
    Numbers(Vec<f64>),
    /// Ascending upper edges of the bins but the last; code 1 onwards.
    Bins(Vec<f64>),
}

/// One column that takes part.
#[derive(Clone, Debug)]
pub(crate) struct CodedColumn {
    source: Source,
    codes: Codes,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Number(usize),
    Category(usize),
}

impl CodedColumn {
    /// The columns that can be told apart into codes: at most `limit`, categories first. Columns
    /// with one value, and such as have another value in every record, are left out.
    pub(crate) fn all(sample: &Sample, limit: usize) -> Vec<Self> {
        let categories = sample.categories.axis_iter(Axis(1)).enumerate();
        let numbers = sample.numbers.axis_iter(Axis(1)).enumerate();
        categories
            .filter_map(|(idx, values)| {
                let codes = Codes::of_categories(values)?;
                Some(Self {
                    source: Source::Category(idx),
                    codes,
                })
            })
            .chain(numbers.filter_map(|(idx, values)| {
                let codes = Codes::of_numbers(values)?;
                Some(Self {
                    source: Source::Number(idx),
                    codes,
                })
            }))
            .take(limit)
            .collect()
    }

    /// Number of codes.
    pub(crate) fn n_codes(&self) -> usize {
        match &self.codes {
            Codes::Categories(values) => values.len() + 2,
            Codes::Numbers(values) => values.len() + 2,
            Codes::Bins(edges) => edges.len() + 2,
        }
    }

    /// The code of row `row` of the sample.
    pub(crate) fn code_of_sampled(&self, sample: &Sample, row: usize) -> u16 {
        match self.source {
            Source::Number(column) => self.codes.of_number(sample.numbers[(row, column)]),
            Source::Category(column) => self.codes.of_category(sample.categories[(row, column)]),
        }
    }

    /// The code of record `row` of a batch.
    pub(crate) fn code(&self, records: &Records<'_>, row: usize) -> u16 {
        match self.source {
            Source::Number(column) => self.codes.of_number(records.number(row, column)),
            Source::Category(column) => self.codes.of_category(records.category(row, column)),
        }
    }
}

impl Codes {
    fn of_categories(values: ArrayView1<'_, u64>) -> Option<Self> {
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for &value in values.iter().filter(|&&value| value != 0) {
            *counts.entry(value).or_default() += 1;
        }
        let n_nulls = values.iter().filter(|&&value| value == 0).count();
        let mut counts: Vec<(u64, u32)> = counts.into_iter().collect();
        counts.sort_unstable_by_key(|&(value, count)| (std::cmp::Reverse(count), value));
        let top = counts.first()?.1;
        let describes = f64::from(top) >= LEAST_TOP_SHARE * values.len() as f64 && top > 1;
        if !describes || counts.len() + usize::from(n_nulls > 0) < 2 {
            return None;
        }
        let kept = counts.iter().take(MAX_VALUES);
        let mut places: Vec<(u64, u16)> = kept
            .zip(2..)
            .map(|(&(value, _), code)| (value, code))
            .collect();
        places.sort_unstable();
        Some(Self::Categories(places))
    }

    fn of_numbers(values: ArrayView1<'_, f64>) -> Option<Self> {
        let mut known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        known.sort_unstable_by(f64::total_cmp);
        let mut distinct = known.clone();
        distinct.dedup();
        let has_null = known.len() < values.len();
        if distinct.len() + usize::from(has_null) < 2 {
            return None;
        }
        if distinct.len() <= MAX_DISTINCT_NUMBERS {
            return Some(Self::Numbers(distinct));
        }
        let mut edges: Vec<f64> = (1..N_BINS)
            .map(|bin| known[bin * known.len() / N_BINS])
            .collect();
        edges.dedup();
        Some(Self::Bins(edges))
    }

    fn of_category(&self, value: u64) -> u16 {
        let Self::Categories(places) = self else {
            return 0;
        };
        match places.binary_search_by_key(&value, |&(value, _)| value) {
            _ if value == 0 => 0,
            Ok(idx) => places[idx].1,
            Err(_) => 1,
        }
    }

    fn of_number(&self, value: f64) -> u16 {
        if value.is_nan() {
            return 0;
        }
        match self {
            Self::Categories(_) => 0,
            Self::Numbers(distinct) => distinct
                .binary_search_by(|known| known.total_cmp(&value))
                .map_or(1, |idx| idx as u16 + 2),
            Self::Bins(edges) => edges.partition_point(|&edge| edge <= value) as u16 + 1,
        }
    }
}
