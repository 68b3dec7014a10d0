//! What must be known before the fit pass: classes, sources, dimensions.
//!
//! Reads the label and source columns alone; in Parquet that costs little.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::datatypes::DataType;
use lazaretto_core::{DataFacts, NO_LABEL, Provenance, Role};
use lazaretto_io::{Dataset, IoError, RolePlan};
use rayon::prelude::*;

use crate::assemble::{Assembler, Layout, MAX_SOURCES, strings, text_field_names};
use crate::error::EngineError;

/// More classes than this make no classification problem.
const MAX_CLASSES: usize = 10_000;

/// Units that are asked for the length of the vectors.
const LENGTH_UNITS: usize = 8;

type Counts = BTreeMap<String, u64>;

/// Counts classes and sources, and fixes how batches are assembled from here on. `trusted_rows` and
/// `evaluation_rows`
/// records were given beside the dataset, as known to be good and as evaluation sets.
///
/// # Errors
/// When a *given* label column has too many distinct values or the data cannot be read at all.
pub(crate) fn survey(
    dataset: &Dataset,
    mut roles: RolePlan,
    label_is_given: bool,
    [trusted_rows, evaluation_rows]: [u64; 2],
) -> Result<Assembler, EngineError> {
    let schema = Arc::clone(dataset.full_schema());
    let n_stored = dataset.schema().fields().len();
    let mut layout = layout_of(&roles, n_stored);
    let labels = count_values(dataset, layout.label, MAX_CLASSES)?;
    if labels.len() > MAX_CLASSES
        && let Some(label) = layout.label
    {
        let column = &mut roles.columns[label];
        if label_is_given {
            return Err(EngineError::TooManyClasses {
                column: column.name.clone(),
                limit: MAX_CLASSES,
            });
        }
        column.role = Role::Other;
        column.reason = format!("looked like a label but has more than {MAX_CLASSES} values");
        layout = layout_of(&roles, n_stored);
    }
    let labels = if layout.label.is_some() {
        labels
    } else {
        Counts::new()
    };
    let (classes, class_counts, class_index) = class_dictionary(labels, roles.class_names.take());
    let sources = count_values(dataset, layout.source, MAX_SOURCES)?;
    let sources: Vec<String> = sources.into_keys().take(MAX_SOURCES).collect();
    let name = |idx: &usize| schema.field(*idx).name().clone();
    let facts = DataFacts {
        n_rows: dataset.n_rows(),
        n_files: dataset.files().len() as u64,
        classes,
        class_counts,
        text_fields: text_field_names(&schema, &layout),
        numeric_columns: layout.numeric.iter().map(name).collect(),
        categorical_columns: layout.categorical.iter().map(name).collect(),
        embedding_dim: list_length(dataset, layout.embedding)?,
        embedded_texts: false,
        probabilities_dim: list_length(dataset, layout.probabilities)?,
        trusted_rows,
        evaluation_rows,
        provenance: Provenance::default(),
        columns: roles.columns,
        sources: sources.clone(),
    };
    let source_index = sources.into_iter().zip(0..).collect();
    Ok(Assembler {
        schema,
        layout,
        facts: Arc::new(facts),
        classes: class_index,
        sources: source_index,
        embedded: None,
    })
}

fn layout_of(roles: &RolePlan, n_stored: usize) -> Layout {
    let roles: Vec<Role> = roles.columns.iter().map(|column| column.role).collect();
    Layout::new(&roles, n_stored)
}

/// Number of records by value of a column; stops being exact beyond `limit` values.
fn count_values(
    dataset: &Dataset,
    column: Option<usize>,
    limit: usize,
) -> Result<Counts, EngineError> {
    let Some(column) = column else {
        return Ok(Counts::new());
    };
    let parts: Vec<Counts> = (0..dataset.units().len())
        .into_par_iter()
        .map(|unit| unit_counts(dataset, unit, column, limit))
        .collect::<Result<_, IoError>>()?;
    let mut counts = Counts::new();
    for part in parts {
        for (value, number) in part {
            *counts.entry(value).or_default() += number;
        }
    }
    Ok(counts)
}

fn unit_counts(
    dataset: &Dataset,
    unit: usize,
    column: usize,
    limit: usize,
) -> Result<Counts, IoError> {
    let mut counts = HashMap::<String, u64>::new();
    let batches = match dataset.batches(unit, Some(&[column])) {
        Err(IoError::Interrupted) => return Err(IoError::Interrupted),
        // The fit pass meets the same error and records it.
        Err(_) => return Ok(Counts::new()),
        Ok(batches) => batches,
    };
    for batch in batches {
        let batch = match batch {
            Err(IoError::Interrupted) => return Err(IoError::Interrupted),
            Err(_) => break,
            Ok(batch) => batch,
        };
        let Ok(values) = strings(batch.column(0)) else {
            break;
        };
        for value in values.iter().flatten() {
            if let Some(number) = counts.get_mut(value) {
                *number += 1;
            } else if counts.len() <= limit {
                counts.insert(value.to_owned(), 1);
            }
        }
    }
    Ok(counts.into_iter().collect())
}

/// Class names, their counts and the index of each label text.
fn class_dictionary(
    labels: Counts,
    names: Option<Vec<String>>,
) -> (Vec<String>, Vec<u64>, HashMap<String, u32>) {
    if let Some(names) = names
        && labels.keys().all(|label| {
            label
                .parse::<i64>()
                .is_ok_and(|label| label < names.len() as i64)
        })
    {
        let mut counts = vec![0; names.len()];
        let mut index = HashMap::new();
        for (label, number) in labels {
            // Hugging Face writes -1 for "no label".
            let class = label
                .parse::<usize>()
                .ok()
                .filter(|&class| class < names.len());
            if let Some(class) = class {
                counts[class] = number;
            }
            index.insert(label, class.map_or(NO_LABEL, |class| class as u32));
        }
        return (names, counts, index);
    }
    let mut labels: Vec<(String, u64)> = labels.into_iter().collect();
    if labels.iter().all(|(label, _)| label.parse::<f64>().is_ok()) {
        let number = |label: &str| label.parse::<f64>().unwrap_or(f64::NAN);
        labels.sort_by(|left, right| number(&left.0).total_cmp(&number(&right.0)));
    }
    let index = labels
        .iter()
        .zip(0..)
        .map(|((label, _), class)| (label.clone(), class))
        .collect();
    let (names, counts) = labels.into_iter().unzip();
    (names, counts, index)
}

/// Length of the vectors in a list column: that of its type, or the most frequent one in the first
/// batches of some units. The first vector alone would let a single ragged one in front make all
/// others unusable.
fn list_length(dataset: &Dataset, column: Option<usize>) -> Result<Option<usize>, EngineError> {
    let Some(column) = column else {
        return Ok(None);
    };
    if let DataType::FixedSizeList(_, size) = dataset.full_schema().field(column).data_type() {
        return Ok(usize::try_from(*size).ok().filter(|&size| size > 0));
    }
    let n_units = dataset.units().len();
    let stride = n_units.div_ceil(LENGTH_UNITS).max(1);
    // Units far apart first; the others only where those have no vectors.
    let mut units: Vec<usize> = (0..n_units).collect();
    units.sort_by_key(|unit| unit % stride);
    let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
    for (asked, unit) in units.into_iter().enumerate() {
        if asked >= LENGTH_UNITS && !counts.is_empty() {
            break;
        }
        let batches = match dataset.batches(unit, Some(&[column])) {
            Err(IoError::Interrupted) => return Err(IoError::Interrupted.into()),
            Err(_) => continue,
            Ok(batches) => batches,
        };
        let before: u64 = counts.values().sum();
        for batch in batches {
            match batch {
                Err(IoError::Interrupted) => return Err(IoError::Interrupted.into()),
                Err(_) => break,
                Ok(batch) => count_lengths(batch.column(0), &mut counts),
            }
            if counts.values().sum::<u64>() > before {
                break;
            }
        }
    }
    let most = counts.into_iter().max_by_key(|&(_, count)| count);
    Ok(most.map(|(length, _)| length))
}

/// Counts the lists of an array by length, without null and empty ones.
fn count_lengths(array: &ArrayRef, counts: &mut BTreeMap<usize, u64>) {
    let length = |row| match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value_length(row) as usize,
        DataType::LargeList(_) => array.as_list::<i64>().value_length(row) as usize,
        _ => 0,
    };
    for row in (0..array.len()).filter(|&row| array.is_valid(row)) {
        let length = length(row);
        if length > 0 {
            *counts.entry(length).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(values: &[(&str, u64)]) -> Counts {
        values
            .iter()
            .map(|(value, number)| ((*value).to_owned(), *number))
            .collect()
    }

    #[test]
    fn numbers_sort_as_numbers_and_words_as_words() {
        let (names, numbers, index) =
            class_dictionary(counts(&[("10", 1), ("9", 2), ("-1", 3)]), None);
        assert_eq!(names, ["-1", "9", "10"]);
        assert_eq!(numbers, [3, 2, 1]);
        assert_eq!(index["10"], 2);
        let (names, ..) = class_dictionary(counts(&[("b", 1), ("a", 2)]), None);
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn class_label_names_replace_numbers() {
        let names = vec!["negative".to_owned(), "positive".to_owned()];
        let labels = counts(&[("0", 5), ("1", 6), ("-1", 1)]);
        let (classes, numbers, index) = class_dictionary(labels, Some(names.clone()));
        assert_eq!(classes, names);
        assert_eq!(numbers, [5, 6]);
        assert_eq!((index["1"], index["-1"]), (1, NO_LABEL));
        // Names that do not fit the values are not believed.
        let (classes, ..) = class_dictionary(counts(&[("x", 1), ("y", 2)]), Some(names));
        assert_eq!(classes, ["x", "y"]);
    }
}
