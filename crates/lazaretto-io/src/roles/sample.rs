//! What a sample of the records says about each column.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::cast::AsArray;
use arrow::array::types::Float64Type;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::DataType;
use rayon::prelude::*;

use super::given::{is_string, vector_item};
use crate::dataset::Dataset;
use crate::error::IoError;

/// Records in the sample.
const SAMPLE_ROWS: u64 = 5_000;
/// Target size of its batches: a few hundred records are wanted of each unit.
const SAMPLE_BYTES: usize = 1 << 16;
/// Largest share of lists of another length in a column of vectors. Some are a fault of the column,
/// not of its role: a single one must not switch off all that looks at vectors.
const MAX_RAGGED: f64 = 0.1;
/// Units the sample is taken from.
const SAMPLE_UNITS: usize = 8;

/// Content of one column in the sample.
#[derive(Clone, Debug, Default)]
pub(super) struct ColumnSample {
    /// Records that are not null.
    pub(super) values: usize,
    /// Records that are null.
    pub(super) nulls: usize,
    /// Distinct values that are not null (scalar columns).
    pub(super) distinct: usize,
    /// Mean length of strings, in characters.
    pub(super) mean_length: f64,
    /// Mean number of spaces in strings.
    pub(super) mean_spaces: f64,
    /// Share of strings that start with `http://` or `https://`.
    pub(super) urls: f64,
    /// Share of strings that are hexadecimal and at least 32 characters long.
    pub(super) digests: f64,
    /// Share of strings that start like a date.
    pub(super) dates: f64,
    /// Whether all numbers are whole.
    pub(super) whole: bool,
    /// Smallest and largest number.
    pub(super) range: Option<(f64, f64)>,
    /// Length of nearly all lists of numbers, if they have one.
    pub(super) vector_length: Option<usize>,
    /// Share of the lists that have another length.
    pub(super) ragged: f64,
    /// Whether the lists hold numbers in `0..=1` that add up to 1.
    pub(super) adds_up: bool,
}

impl ColumnSample {
    /// Whether no value occurs twice and none is null.
    pub(super) fn unique(&self) -> bool {
        self.values > 0 && self.nulls == 0 && self.distinct == self.values
    }

    /// Whether values repeat: at most half of them are distinct, or there are hardly any.
    pub(super) fn repeats(&self) -> bool {
        self.distinct <= (self.values / 2).max(2)
    }

    /// Whether strings read like sentences and not like names.
    pub(super) fn prose(&self) -> bool {
        self.mean_length >= 30.0 && self.mean_spaces >= 3.0
    }
}

/// Samples every column of the dataset.
pub(super) fn take(dataset: &Dataset) -> Result<Vec<ColumnSample>, IoError> {
    let units = dataset.units();
    let chosen = units.len().min(SAMPLE_UNITS);
    let wanted = SAMPLE_ROWS.div_ceil(chosen.max(1) as u64) as usize;
    let place = |pick: usize| pick * units.len() / chosen;
    let parts: Vec<(Vec<RecordBatch>, Option<IoError>)> = (0..chosen)
        .into_par_iter()
        .map(|pick| of_unit(dataset, place(pick), wanted))
        .collect::<Result<_, _>>()?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    let mut failure = None;
    for (some, error) in parts {
        batches.extend(some);
        failure = failure.or(error);
    }
    // Whoever adds many broken files must not decide that the rest is not looked at.
    let picked: BTreeSet<usize> = (0..chosen).map(place).collect();
    let others = (0..units.len()).filter(|unit| !picked.contains(unit));
    for unit in others {
        if !batches.is_empty() {
            break;
        }
        let (some, error) = of_unit(dataset, unit, wanted)?;
        batches.extend(some);
        failure = failure.or(error);
    }
    match failure {
        Some(error) if batches.is_empty() => return Err(error),
        _ => {}
    }
    let sample = concat_batches(dataset.full_schema(), &batches)
        .unwrap_or_else(|_| RecordBatch::new_empty(dataset.full_schema().clone()));
    Ok(sample.columns().iter().map(examine).collect())
}

/// The first `wanted` records of a unit, and why there are fewer when it cannot be read.
fn of_unit(
    dataset: &Dataset,
    unit: usize,
    wanted: usize,
) -> Result<(Vec<RecordBatch>, Option<IoError>), IoError> {
    let mut batches = Vec::new();
    let mut taken = 0;
    let read = match dataset.batches_of(unit, None, SAMPLE_BYTES) {
        Ok(read) => read,
        Err(IoError::Interrupted) => return Err(IoError::Interrupted),
        Err(error) => return Ok((batches, Some(error))),
    };
    for batch in read {
        match batch {
            Ok(batch) => {
                let rows = batch.num_rows().min(wanted - taken);
                batches.push(batch.slice(0, rows));
                taken += rows;
            }
            Err(IoError::Interrupted) => return Err(IoError::Interrupted),
            // An unreadable unit is the scan's to report; other units tell enough.
            Err(error) => return Ok((batches, Some(error))),
        }
        if taken >= wanted {
            break;
        }
    }
    Ok((batches, None))
}

fn examine(column: &ArrayRef) -> ColumnSample {
    let nulls = column.logical_null_count();
    let mut sample = ColumnSample {
        nulls,
        values: column.len() - nulls,
        ..ColumnSample::default()
    };
    let data_type = column.data_type();
    if is_string(data_type) {
        examine_strings(column, &mut sample);
    } else if data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::Boolean {
        examine_numbers(column, &mut sample);
    } else if vector_item(data_type).is_some_and(DataType::is_numeric) {
        examine_vectors(column, &mut sample);
    }
    sample
}

fn examine_strings(column: &ArrayRef, sample: &mut ColumnSample) {
    let Ok(strings) = cast(column, &DataType::LargeUtf8) else {
        return;
    };
    let strings = strings.as_string::<i64>();
    let mut distinct = BTreeSet::new();
    let (mut length, mut spaces, mut urls, mut digests, mut dates) = (0, 0, 0, 0, 0);
    for value in strings.iter().flatten() {
        distinct.insert(value);
        length += value.chars().count();
        spaces += value.bytes().filter(|&byte| byte == b' ').count();
        urls += usize::from(value.starts_with("http://") || value.starts_with("https://"));
        digests +=
            usize::from(value.len() >= 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()));
        dates += usize::from(starts_like_date(value));
    }
    let share = |count: usize| count as f64 / sample.values.max(1) as f64;
    sample.mean_length = share(length);
    sample.mean_spaces = share(spaces);
    sample.urls = share(urls);
    sample.digests = share(digests);
    sample.dates = share(dates);
    sample.distinct = distinct.len();
}

fn starts_like_date(value: &str) -> bool {
    let bytes = value.as_bytes();
    bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(idx, byte)| match idx {
            4 | 7 => matches!(byte, b'-' | b'/'),
            _ => byte.is_ascii_digit(),
        })
}

fn examine_numbers(column: &ArrayRef, sample: &mut ColumnSample) {
    // Times count in their own unit.
    let numbers = match column.data_type() {
        DataType::Date32 | DataType::Time32(_) => cast(column, &DataType::Int32),
        data_type if data_type.is_temporal() => cast(column, &DataType::Int64),
        _ => Ok(column.clone()),
    };
    let Ok(numbers) = numbers.and_then(|numbers| cast(&numbers, &DataType::Float64)) else {
        return;
    };
    let numbers = numbers.as_primitive::<Float64Type>();
    let mut distinct = BTreeSet::new();
    sample.whole = true;
    for value in numbers.iter().flatten().filter(|value| !value.is_nan()) {
        // Bits order differently from numbers, which does not matter for counting.
        distinct.insert(value.to_bits());
        sample.whole &= value.fract() == 0.0;
        sample.range = Some(sample.range.map_or((value, value), |(low, high)| {
            (f64::min(low, value), f64::max(high, value))
        }));
    }
    sample.distinct = distinct.len();
}

fn examine_vectors(column: &ArrayRef, sample: &mut ColumnSample) {
    let item = DataType::new_large_list(DataType::Float64, true);
    let Ok(lists) = cast(column, &item) else {
        return;
    };
    let lists = lists.as_list::<i64>();
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    sample.adds_up = sample.values > 0;
    for list in lists.iter().flatten() {
        *lengths.entry(list.len()).or_default() += 1;
        let values = list.as_primitive::<Float64Type>();
        let in_range = values
            .iter()
            .all(|value| value.is_some_and(|value| (0.0..=1.0).contains(&value)));
        let sum: f64 = values.iter().flatten().sum();
        sample.adds_up &= in_range && (sum - 1.0).abs() < 0.01;
    }
    let most = lengths.iter().max_by_key(|(_, count)| **count);
    if let Some((&length, &count)) = most {
        sample.ragged = 1.0 - count as f64 / sample.values.max(1) as f64;
        let is_length = length > 0 && sample.ragged <= MAX_RAGGED;
        sample.vector_length = is_length.then_some(length);
    }
}
