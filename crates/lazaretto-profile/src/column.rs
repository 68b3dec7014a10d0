//! One profile per column of a sample of records.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::Field;
use polars::prelude::{
    DataFrame, Expr, IntoLazy, PolarsResult, Series, SortMultipleOptions, col, len, lit,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ProfileError;
use crate::bridge::{polars_error, series};
use crate::display::Display;
use crate::lengths::mean_length;
use crate::portable::{Kind, convert, target};

/// How many of the most frequent values a profile names.
const TOP: u32 = 5;

/// What a sample of records says about one column. What does not fit the type is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnProfile {
    /// Its name.
    pub name: String,
    /// Its Arrow type, as text.
    pub data_type: String,
    /// Records of the sample.
    pub records: u64,
    /// Of these, records without a value.
    pub nulls: u64,
    /// Different values, not counting null.
    pub distinct: Option<u64>,
    /// Smallest value as text; numbers other than NaN, times and texts (by bytes) have one.
    pub min: Option<String>,
    /// Largest value as text.
    pub max: Option<String>,
    /// Mean of the finite numbers, or share of `true`.
    pub mean: Option<f64>,
    /// Standard deviation of the finite numbers (n − 1 in the denominator).
    pub std: Option<f64>,
    /// Median of the finite numbers.
    pub median: Option<f64>,
    /// Mean length: characters of a text, bytes of a binary value, elements of a list.
    pub mean_length: Option<f64>,
    /// The most frequent values with their counts, most frequent first, ties by value; empty when
    /// no value repeats.
    pub top: Vec<(String, u64)>,
    /// Why there are no statistics of the values, for example `nested type Struct`.
    pub skipped: Option<String>,
}

/// Profiles each column of `batches`, in schema order.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int64Array, RecordBatch};
///
/// let ages: ArrayRef = Arc::new(Int64Array::from(vec![Some(30), Some(40), None]));
/// let batch = RecordBatch::try_from_iter([("age", ages)])?;
/// let profile = &lazaretto_profile::profile(&[batch])?[0];
/// assert_eq!((profile.nulls, profile.mean), (1, Some(35.0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// When the batches differ in schema. A type that has no profile is not an error but
/// [`ColumnProfile::skipped`].
pub fn profile(batches: &[RecordBatch]) -> Result<Vec<ColumnProfile>, ProfileError> {
    let Some(first) = batches.first() else {
        return Ok(Vec::new());
    };
    let fields = first.schema_ref().fields();
    if batches
        .iter()
        .any(|batch| batch.schema_ref().fields() != fields)
    {
        return Err(ProfileError::Schema);
    }
    fields
        .iter()
        .enumerate()
        .map(|(idx, field)| {
            let chunks: Vec<ArrayRef> = batches
                .iter()
                .map(|batch| batch.column(idx).clone())
                .collect();
            profile_column(field, &chunks)
        })
        .collect()
}

fn profile_column(field: &Field, chunks: &[ArrayRef]) -> Result<ColumnProfile, ProfileError> {
    let mut profile = ColumnProfile {
        name: field.name().clone(),
        data_type: field.data_type().to_string(),
        records: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        nulls: chunks
            .iter()
            .map(|chunk| chunk.logical_null_count() as u64)
            .sum(),
        mean_length: mean_length(chunks),
        ..ColumnProfile::default()
    };
    let (portable, kind) = match target(field.data_type()) {
        Ok(found) => found,
        Err(reason) => {
            profile.skipped = Some(reason);
            return Ok(profile);
        }
    };
    let converted = chunks
        .iter()
        .map(|chunk| convert(chunk, &portable))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| ProfileError::Arrow {
            column: field.name().clone(),
            source,
        })?;
    let values = series("value", &converted)?;
    let display = Display {
        kind,
        data_type: field.data_type(),
        portable: &portable,
    };
    fill(&mut profile, values, &display).map_err(|source| polars_error(field.name(), source))?;
    Ok(profile)
}

/// Computes what polars computes.
fn fill(profile: &mut ColumnProfile, values: Series, display: &Display<'_>) -> PolarsResult<()> {
    let frame = DataFrame::new(values.len(), vec![values.into()])?.lazy();
    let value = || col("value");
    let present = || value().drop_nulls();
    let ordered = || match display.kind {
        Kind::Number if display.portable.is_floating() => {
            present().filter(value().drop_nulls().is_not_nan())
        }
        _ => present(),
    };
    let finite = || {
        match display.kind {
            Kind::Number if display.portable.is_floating() => {
                present().filter(value().drop_nulls().is_finite())
            }
            _ => present(),
        }
        .cast(polars::prelude::DataType::Float64)
    };
    let mut statistics: Vec<Expr> = vec![
        present().n_unique().alias("distinct"),
        ordered().min().alias("min"),
        ordered().max().alias("max"),
    ];
    if matches!(display.kind, Kind::Number | Kind::Boolean) {
        statistics.push(finite().mean().alias("mean"));
    }
    if display.kind == Kind::Number {
        statistics.push(finite().std(1).alias("std"));
        statistics.push(finite().median().alias("median"));
    }
    let row = frame.clone().select(statistics).collect()?;
    let cell = |name: &str| row.column(name).ok().and_then(|column| column.get(0).ok());
    let number = |name: &str| cell(name).and_then(|cell| cell.extract::<f64>());
    profile.distinct = cell("distinct").and_then(|cell| cell.extract::<u64>());
    if display.kind != Kind::Boolean {
        profile.min = cell("min").and_then(|cell| display.text(&cell));
        profile.max = cell("max").and_then(|cell| display.text(&cell));
    }
    profile.mean = number("mean");
    profile.std = number("std");
    profile.median = number("median");

    let top = frame
        .filter(value().is_not_null())
        .group_by([value()])
        .agg([len().alias("count")])
        .filter(col("count").gt(lit(1)))
        .sort(
            ["count", "value"],
            SortMultipleOptions::default().with_order_descending_multi([true, false]),
        )
        .limit(TOP)
        .collect()?;
    for row in 0..top.height() {
        let value = top.column("value")?.get(row)?;
        let count = top.column("count")?.get(row)?.extract::<u64>();
        if let (Some(value), Some(count)) = (display.text(&value), count) {
            profile.top.push((value, count));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, DictionaryArray, Float16Array, Float64Array, Int64Array,
        ListArray, NullArray, StringArray, TimestampMicrosecondArray, UInt8Array,
    };
    use arrow::datatypes::{Int8Type, Int32Type};
    use half::f16;

    use super::*;

    fn only(array: ArrayRef) -> ColumnProfile {
        let batch = RecordBatch::try_from_iter_with_nullable([("column", array, true)]).unwrap();
        profile(&[batch]).unwrap().remove(0)
    }

    #[test]
    fn numbers_get_moments_without_nan_and_infinity() {
        let values = vec![
            Some(1.0),
            Some(2.0),
            Some(6.0),
            Some(f64::NAN),
            Some(f64::INFINITY),
            None,
        ];
        let profile = only(Arc::new(Float64Array::from(values)));
        assert_eq!((profile.records, profile.nulls), (6, 1));
        assert_eq!(profile.distinct, Some(5));
        assert_eq!((profile.mean, profile.median), (Some(3.0), Some(2.0)));
        assert!((profile.std.unwrap() - 7.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(profile.min.as_deref(), Some("1.0"));
        assert_eq!(profile.max.as_deref(), Some("inf"));
        assert!(profile.top.is_empty());
    }

    #[test]
    fn narrow_types_are_widened() {
        let halves = [1.0, 2.5].map(f16::from_f32).to_vec();
        assert_eq!(only(Arc::new(Float16Array::from(halves))).mean, Some(1.75));
        let bytes = only(Arc::new(UInt8Array::from(vec![250, 255])));
        assert_eq!(
            (bytes.mean, bytes.max.as_deref()),
            (Some(252.5), Some("255"))
        );
        let flags = only(Arc::new(BooleanArray::from(vec![true, true, false, false])));
        assert_eq!((flags.mean, flags.std), (Some(0.5), None));
    }

    #[test]
    fn texts_get_lengths_in_characters_and_their_most_frequent_values() {
        let values = vec![
            Some("né"),
            Some("b"),
            Some("b"),
            Some("né"),
            Some("z"),
            None,
        ];
        let expected = vec![("b".to_owned(), 2), ("né".to_owned(), 2)];
        let plain = only(Arc::new(StringArray::from(values.clone())));
        assert_eq!((plain.mean_length, plain.distinct), (Some(1.4), Some(3)));
        assert_eq!(plain.top, expected);
        assert_eq!(plain.min.as_deref(), Some("b"));
        assert_eq!(plain.max.as_deref(), Some("z"));
        let dictionary: DictionaryArray<Int8Type> = values.into_iter().collect();
        let dictionary = only(Arc::new(dictionary));
        assert_eq!((dictionary.mean_length, dictionary.nulls), (Some(1.4), 1));
        assert_eq!(dictionary.top, expected);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "é".repeat(200);
        let profile = only(Arc::new(StringArray::from(vec![
            long.as_str(),
            long.as_str(),
        ])));
        assert_eq!(profile.top, [(format!("{}…", "é".repeat(60)), 2)]);
    }

    #[test]
    fn times_are_shown_as_times() {
        let days = only(Arc::new(Date32Array::from(vec![0, 20_454])));
        assert_eq!(days.min.as_deref(), Some("1970-01-01"));
        assert_eq!(days.max.as_deref(), Some("2026-01-01"));
        assert_eq!(days.mean, None);
        let time =
            TimestampMicrosecondArray::from(vec![1_767_225_600_000_000]).with_timezone("UTC");
        assert_eq!(
            only(Arc::new(time)).min.as_deref(),
            Some("2026-01-01T00:00:00Z")
        );
        let beyond = only(Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX])));
        assert_eq!(beyond.max, Some(i64::MAX.to_string()));
    }

    #[test]
    fn nested_and_empty_columns_say_why_they_are_skipped() {
        let lists = [Some(vec![Some(1), Some(2)]), Some(vec![]), None];
        let lists = only(Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
            lists,
        )));
        assert!(lists.skipped.unwrap().starts_with("nested type List"));
        assert_eq!((lists.mean_length, lists.nulls), (Some(1.0), 1));
        let nothing = only(Arc::new(NullArray::new(4)));
        assert_eq!(
            (nothing.nulls, nothing.skipped.as_deref()),
            (4, Some("no values"))
        );
        let absent = only(Arc::new(Float64Array::from(vec![None, None])));
        assert_eq!((absent.nulls, absent.distinct), (2, Some(0)));
        assert_eq!((absent.min, absent.mean), (None, None));
        let empty = only(Arc::new(Int64Array::from(Vec::<i64>::new())));
        assert_eq!((empty.records, empty.mean), (0, None));
    }

    #[test]
    fn batches_are_one_sample_and_must_fit() {
        let batch = |values: Vec<i64>| {
            let array: ArrayRef = Arc::new(Int64Array::from(values));
            RecordBatch::try_from_iter([("n", array)]).unwrap()
        };
        let profiles = profile(&[batch(vec![1, 1]), batch(vec![1, 5])]).unwrap();
        assert_eq!((profiles[0].records, profiles[0].mean), (4, Some(2.0)));
        assert_eq!(profiles[0].top, [("1".to_owned(), 3)]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let other = RecordBatch::try_from_iter([("n", texts)]).unwrap();
        assert!(matches!(
            profile(&[batch(vec![1]), other]),
            Err(ProfileError::Schema)
        ));
        assert!(profile(&[]).unwrap().is_empty());
    }
}
