//! The clean records nearest to one record, from `clean/` alone, in memory that does not grow with it.
//!
//! Vectors are compared where the dataset has some, else texts, else numbers and categories. What a
//! scan computes for its detectors is gone by then, and models of texts are not needed to show a
//! person comparable records: texts are compared by their words.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray as _, LargeStringArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lazaretto_core::report::ColumnReport;
use lazaretto_core::{Role, TextField, TextPart};
use lazaretto_features::tokenize;
use lazaretto_io::{Dataset, IoError};
use rayon::prelude::*;

/// Counters of how many records a word is in; words that share one are taken for one.
const COUNTERS: usize = 1 << 18;
/// Values from which the spread of a numeric column is estimated.
const SAMPLE: u64 = 4_096;

/// What records are compared by.
#[derive(Clone, Debug)]
pub(super) enum Measure {
    /// The cosine of two vectors.
    Vectors(String),
    /// The cosine of weighted words.
    Words(Vec<String>),
    /// Numbers and categories, column by column (Gower 1971).
    Columns {
        numeric: Vec<String>,
        categorical: Vec<String>,
    },
}

impl Measure {
    /// By the roles of the columns; `None` when no column can be compared.
    pub(super) fn of(columns: &[ColumnReport]) -> Option<Self> {
        let with = |roles: &[Role]| -> Vec<String> {
            let named = columns
                .iter()
                .filter(|column| roles.iter().any(|role| role.name() == column.role));
            named.map(|column| column.name.clone()).collect()
        };
        if let Some(column) = with(&[Role::Embedding]).into_iter().next() {
            return Some(Self::Vectors(column));
        }
        let texts = with(&[Role::Text, Role::Prompt, Role::Response, Role::Messages]);
        if !texts.is_empty() {
            return Some(Self::Words(texts));
        }
        let (numeric, categorical) = (with(&[Role::Numeric]), with(&[Role::Categorical]));
        (!numeric.is_empty() || !categorical.is_empty()).then_some(Self::Columns {
            numeric,
            categorical,
        })
    }

    /// In words, for the reader.
    pub(super) fn in_words(&self) -> String {
        let list = |names: &[String]| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            names.join(", ")
        };
        match self {
            Self::Vectors(column) => format!("cosine of the vectors in `{column}`"),
            Self::Words(columns) => format!(
                "cosine of the words in {}, rare words counting more",
                list(columns)
            ),
            Self::Columns {
                numeric,
                categorical,
            } => format!(
                "mean agreement over {} numeric and {} categorical columns (1 is the same value, 0 as far apart as the middle 90 % of the column)",
                numeric.len(),
                categorical.len()
            ),
        }
    }

    fn columns(&self) -> Vec<&str> {
        match self {
            Self::Vectors(column) => vec![column],
            Self::Words(columns) => columns.iter().map(String::as_str).collect(),
            Self::Columns {
                numeric,
                categorical,
            } => numeric
                .iter()
                .chain(categorical)
                .map(String::as_str)
                .collect(),
        }
    }
}

/// A record of `clean/`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Near {
    pub(super) file: usize,
    /// Row in the file.
    pub(super) row: u64,
    pub(super) similarity: f64,
}

/// The `k` records of `clean` nearest to the first record of `query`, nearest first, and how many
/// were compared. `itself` is the file and row of the query in `clean`, where it passed.
///
/// # Errors
/// When `clean` cannot be read.
pub(super) fn nearest(
    clean: &Dataset,
    measure: &Measure,
    query: &RecordBatch,
    itself: Option<(&str, u64)>,
    k: usize,
) -> Result<(Vec<Near>, u64), IoError> {
    let schema = clean.full_schema();
    let mut columns: Vec<usize> = measure
        .columns()
        .iter()
        .filter_map(|name| schema.index_of(name).ok())
        .collect();
    columns.sort_unstable();
    let query = match Query::new(clean, measure, query, &columns)? {
        Some(query) if k > 0 => query,
        _ => return Ok((Vec::new(), 0)),
    };
    let of_unit = |unit: usize| -> Result<(Vec<Near>, u64), IoError> {
        let place = clean.units()[unit];
        let is_itself = |row: u64| {
            itself.is_some_and(|(file, itself)| {
                itself == row && clean.files()[place.file].input.relative == file
            })
        };
        let (mut best, mut compared, mut row) = (Vec::new(), 0, place.row_in_file);
        for batch in clean.batches(unit, Some(&columns))? {
            let batch = batch?;
            for similarity in query.similarities(&batch) {
                let near = Near {
                    file: place.file,
                    row,
                    similarity,
                };
                if similarity.is_finite() && !is_itself(row) {
                    compared += 1;
                    keep(&mut best, near, k);
                }
                row += 1;
            }
        }
        Ok((best, compared))
    };
    let units = (0..clean.units().len()).into_par_iter().map(of_unit);
    let (mut best, mut compared) = (Vec::new(), 0);
    for found in units.collect::<Vec<_>>() {
        let (near, n) = found?;
        compared += n;
        for near in near {
            keep(&mut best, near, k);
        }
    }
    Ok((best, compared))
}

/// Puts `near` into its place among the `k` nearest; of equals the first in the dataset stays.
fn keep(best: &mut Vec<Near>, near: Near, k: usize) {
    let position = best.partition_point(|known| known.similarity >= near.similarity);
    if position < k {
        best.insert(position, near);
        best.truncate(k);
    }
}

/// What the query looks like to a measure.
enum Query {
    Vector {
        column: String,
        vector: Vec<f64>,
    },
    Words {
        columns: Vec<String>,
        /// Weight by word.
        weights: HashMap<u64, f64>,
        length: f64,
        rarity: Rarity,
    },
    Columns {
        /// Column, the query's value, and the spread of the column.
        numeric: Vec<(String, Option<f64>, f64)>,
        categorical: Vec<(String, Option<String>)>,
    },
}

impl Query {
    fn new(
        clean: &Dataset,
        measure: &Measure,
        record: &RecordBatch,
        columns: &[usize],
    ) -> Result<Option<Self>, IoError> {
        Ok(match measure {
            Measure::Vectors(column) => {
                vectors(record, column)
                    .into_iter()
                    .next()
                    .flatten()
                    .map(|vector| Self::Vector {
                        column: column.clone(),
                        vector,
                    })
            }
            Measure::Words(names) => {
                let rarity = Rarity::count(clean, names, columns)?;
                let words = words(record, names).swap_remove(0);
                let (weights, length) = rarity.weigh(&words);
                (length > 0.0).then(|| Self::Words {
                    columns: names.clone(),
                    weights: weights.into_iter().collect(),
                    length,
                    rarity,
                })
            }
            Measure::Columns {
                numeric,
                categorical,
            } => {
                let spreads = spreads(clean, numeric, columns)?;
                let value = |name: &String| numbers(record, name).into_iter().next().flatten();
                let numeric = numeric.iter().zip(spreads);
                let numeric = numeric.map(|(name, spread)| (name.clone(), value(name), spread));
                let category = |name: &String| texts(record, name).into_iter().next().flatten();
                let categorical = categorical.iter();
                Some(Self::Columns {
                    numeric: numeric.collect(),
                    categorical: categorical
                        .map(|name| (name.clone(), category(name)))
                        .collect(),
                })
            }
        })
    }

    /// One number per record of `batch`, NaN where it cannot be compared.
    fn similarities(&self, batch: &RecordBatch) -> Vec<f64> {
        match self {
            Self::Vector { column, vector } => {
                let rows = vectors(batch, column).into_iter();
                rows.map(|row| row.map_or(f64::NAN, |row| cosine(vector, &row)))
                    .collect()
            }
            Self::Words {
                columns,
                weights,
                length,
                rarity,
            } => {
                let rows = words(batch, columns).into_iter();
                rows.map(|words| {
                    let (others, other_length) = rarity.weigh(&words);
                    if other_length <= 0.0 {
                        return f64::NAN;
                    }
                    let shared = others.iter().map(|(word, weight)| {
                        weights.get(word).map_or(0.0, |known| known * weight)
                    });
                    (shared.sum::<f64>() / (length * other_length)).min(1.0)
                })
                .collect()
            }
            Self::Columns {
                numeric,
                categorical,
            } => {
                let mut agreement = vec![0.0; batch.num_rows()];
                for (name, value, spread) in numeric {
                    for (sum, other) in agreement.iter_mut().zip(numbers(batch, name)) {
                        *sum += match (value, other) {
                            (Some(value), Some(other)) => {
                                1.0 - ((value - other).abs() / spread).min(1.0)
                            }
                            (None, None) => 1.0,
                            _ => 0.0,
                        };
                    }
                }
                for (name, value) in categorical {
                    for (sum, other) in agreement.iter_mut().zip(texts(batch, name)) {
                        *sum += f64::from(u8::from(*value == other));
                    }
                }
                let n_columns = (numeric.len() + categorical.len()).max(1) as f64;
                agreement.into_iter().map(|sum| sum / n_columns).collect()
            }
        }
    }
}

/// In how many records words are.
struct Rarity {
    records: u64,
    counts: Vec<u32>,
}

impl Rarity {
    fn count(clean: &Dataset, names: &[String], columns: &[usize]) -> Result<Self, IoError> {
        let mut rarity = Self {
            records: 0,
            counts: vec![0; COUNTERS],
        };
        // Sums of whole numbers: the same at any number of threads.
        let wave = 2 * rayon::current_num_threads();
        let units: Vec<usize> = (0..clean.units().len()).collect();
        for units in units.chunks(wave) {
            let counted = units.par_iter().map(|&unit| {
                let (mut records, mut seen) = (0, Vec::new());
                for batch in clean.batches(unit, Some(columns))? {
                    for mut words in words(&batch?, names) {
                        records += 1;
                        for word in &mut words {
                            *word = slot(*word) as u64;
                        }
                        words.sort_unstable();
                        words.dedup();
                        seen.extend(words.into_iter().map(|slot| slot as u32));
                    }
                }
                Ok((records, seen))
            });
            for counted in counted.collect::<Vec<Result<(u64, Vec<u32>), IoError>>>() {
                let (records, seen) = counted?;
                rarity.records += records;
                for slot in seen {
                    rarity.counts[slot as usize] += 1;
                }
            }
        }
        Ok(rarity)
    }

    /// The distinct words with their weights, ascending, and the length of the vector of weights.
    fn weigh(&self, words: &[u64]) -> (Vec<(u64, f64)>, f64) {
        let mut words = words.to_vec();
        words.sort_unstable();
        let weights: Vec<(u64, f64)> = words
            .chunk_by(|left, right| left == right)
            .map(|same| {
                let records = f64::from(self.counts[slot(same[0])]);
                let rarity = ((1.0 + self.records as f64) / (0.5 + records)).ln_1p();
                (same[0], (1.0 + (same.len() as f64).ln()) * rarity)
            })
            .collect();
        let squares: f64 = weights.iter().map(|(_, weight)| weight * weight).sum();
        (weights, squares.sqrt())
    }
}

fn slot(word: u64) -> usize {
    (word >> 46) as usize
}

/// The middle 90 % of each numeric column, from every so many records.
fn spreads(clean: &Dataset, names: &[String], columns: &[usize]) -> Result<Vec<f64>, IoError> {
    let step = clean.n_rows().div_ceil(SAMPLE).max(1);
    let of_unit = |unit: usize| -> Result<Vec<Vec<f64>>, IoError> {
        let mut ordinal = clean.units()[unit].first_row;
        let mut values = vec![Vec::new(); names.len()];
        for batch in clean.batches(unit, Some(columns))? {
            let batch = batch?;
            for (name, values) in names.iter().zip(&mut values) {
                let numbers = (ordinal..).zip(numbers(&batch, name));
                let sampled = numbers.filter(|(ordinal, _)| ordinal % step == 0);
                values.extend(sampled.filter_map(|(_, number)| number));
            }
            ordinal += batch.num_rows() as u64;
        }
        Ok(values)
    };
    let units = (0..clean.units().len()).into_par_iter().map(of_unit);
    let mut all = vec![Vec::new(); names.len()];
    for values in units.collect::<Vec<_>>() {
        for (all, values) in all.iter_mut().zip(values?) {
            all.extend(values);
        }
    }
    let spread = |mut values: Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| values.get((share * values.len() as f64) as usize);
        match (at(0.05), at(0.95).or(values.last())) {
            (Some(low), Some(high)) if high > low => high - low,
            // A constant column: any other value is far.
            _ => f64::MIN_POSITIVE,
        }
    };
    Ok(all.into_iter().map(spread).collect())
}

fn numbers(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    let column = batch.column_by_name(name);
    let cast = column.and_then(|column| cast(column, &DataType::Float64).ok());
    match cast {
        Some(values) => values
            .as_primitive::<Float64Type>()
            .iter()
            .map(|value| value.filter(|value| value.is_finite()))
            .collect(),
        None => vec![None; batch.num_rows()],
    }
}

/// Values as text; `None` where null.
fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let Some(column) = batch.column_by_name(name) else {
        return vec![None; batch.num_rows()];
    };
    let options = FormatOptions::new().with_display_error(true);
    let Ok(formatter) = ArrayFormatter::try_new(column.as_ref(), &options) else {
        return vec![None; batch.num_rows()];
    };
    (0..batch.num_rows())
        .map(|row| {
            column
                .is_valid(row)
                .then(|| formatter.value(row).to_string())
        })
        .collect()
}

/// Hashes of the words of each record, over all columns.
fn words(batch: &RecordBatch, names: &[String]) -> Vec<Vec<u64>> {
    let mut all = vec![Vec::new(); batch.num_rows()];
    for name in names {
        let field = TextField {
            name: name.clone(),
            part: TextPart::Text,
            values: LargeStringArray::from(texts(batch, name)),
        };
        let tokens = tokenize(&field);
        for (row, words) in all.iter_mut().enumerate() {
            words.extend_from_slice(tokens.row(row));
        }
    }
    all
}

/// The vectors of a list column; `None` where null or not finite.
pub(crate) fn vectors(batch: &RecordBatch, name: &str) -> Vec<Option<Vec<f64>>> {
    let none = || vec![None; batch.num_rows()];
    let Some(column) = batch.column_by_name(name) else {
        return none();
    };
    let item = |row: usize| -> Option<ArrayRef> {
        match column.data_type() {
            DataType::FixedSizeList(..) => Some(column.as_fixed_size_list().value(row)),
            DataType::List(_) => Some(column.as_list::<i32>().value(row)),
            DataType::LargeList(_) => Some(column.as_list::<i64>().value(row)),
            _ => None,
        }
    };
    let vector = |row: usize| {
        let numbers = item(row).filter(|_| column.is_valid(row))?;
        let numbers = cast(&numbers, &DataType::Float64).ok()?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let finite = numbers.null_count() == 0 && numbers.values().iter().all(|x| x.is_finite());
        (finite && !numbers.is_empty()).then(|| numbers.values().to_vec())
    };
    (0..batch.num_rows()).map(vector).collect()
}

fn cosine(left: &[f64], right: &[f64]) -> f64 {
    if left.len() != right.len() {
        return f64::NAN;
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = (dot(left, left) * dot(right, right)).sqrt();
    if lengths > 0.0 {
        (dot(left, right) / lengths).clamp(-1.0, 1.0)
    } else {
        f64::NAN
    }
}
