//! Records and quarantined records by group.

use std::collections::BTreeSet;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use polars::prelude::{Column, DataFrame, IntoLazy, NamedFrom, PolarsResult, Series, col, len};

use crate::ProfileError;
use crate::bridge::{polars_error, series};
use crate::portable::{Kind, convert, target};

/// A group: its values in the order of the keys, its records, and those of them in quarantine.
pub type GroupCount = (Vec<String>, u64, u64);

/// Counts records and quarantined records of each combination of the values of `keys`, those
/// with the most quarantined records first, then by values.
///
/// A key is a name and a column of texts, integers or booleans; a null is an empty text. Without
/// keys, and without records, there are no groups.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, StringArray};
///
/// let shop: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "b"]));
/// let counts = lazaretto_profile::count_by(&[("shop", shop)], &[false, true, false])?;
/// assert_eq!(counts[0], (vec!["b".to_owned()], 2, 1));
/// # Ok::<(), lazaretto_profile::ProfileError>(())
/// ```
///
/// # Errors
/// When a column has another length than `quarantined`, or a type that has no groups.
pub fn count_by(
    keys: &[(&str, ArrayRef)],
    quarantined: &[bool],
) -> Result<Vec<GroupCount>, ProfileError> {
    if keys.is_empty() || quarantined.is_empty() {
        return Ok(Vec::new());
    }
    let mut columns: Vec<Column> = Vec::with_capacity(keys.len() + 1);
    for (idx, (name, array)) in keys.iter().enumerate() {
        if array.len() != quarantined.len() {
            return Err(ProfileError::Length {
                column: (*name).to_owned(),
                found: array.len(),
                expected: quarantined.len(),
            });
        }
        columns.push(key_series(name, &key_name(idx), array)?.into());
    }
    // Counted as numbers: a sum of booleans has another width from one polars to the next.
    let held: Vec<u64> = quarantined.iter().map(|&held| u64::from(held)).collect();
    columns.push(Series::new("held".into(), held).into());

    let names: BTreeSet<&str> = keys.iter().map(|(name, _)| *name).collect();
    let names = names.into_iter().collect::<Vec<_>>().join("`, `");
    let mut groups = grouped(columns, keys.len(), quarantined.len())
        .map_err(|source| polars_error(&names, source))?;
    groups.sort_unstable_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
    Ok(groups)
}

fn key_name(idx: usize) -> String {
    format!("key {idx}")
}

/// The column of a key as texts, named `alias`: two keys may have the same name.
fn key_series(name: &str, alias: &str, array: &ArrayRef) -> Result<Series, ProfileError> {
    let unsupported = |reason: String| ProfileError::Unsupported {
        column: name.to_owned(),
        reason,
    };
    let (portable, kind) = target(array.data_type()).map_err(unsupported)?;
    let groups = match (kind, &portable) {
        (Kind::Text | Kind::Boolean, _) => true,
        (Kind::Number, portable) => portable.is_integer(),
        (Kind::Time, _) => false,
    };
    if !groups {
        return Err(unsupported(format!("type {}", array.data_type())));
    }
    let arrow_error = |source| ProfileError::Arrow {
        column: name.to_owned(),
        source,
    };
    let portable = convert(array, &portable).map_err(arrow_error)?;
    let texts = convert(&portable, &DataType::Utf8View).map_err(arrow_error)?;
    series(alias, &[texts])
}

fn grouped(columns: Vec<Column>, n_keys: usize, n_rows: usize) -> PolarsResult<Vec<GroupCount>> {
    let keys: Vec<_> = (0..n_keys).map(|idx| col(key_name(idx))).collect();
    let counts = DataFrame::new(n_rows, columns)?
        .lazy()
        .group_by(keys)
        .agg([
            len()
                .cast(polars::prelude::DataType::UInt64)
                .alias("records"),
            col("held").sum(),
        ])
        .collect()?;
    let values = (0..n_keys)
        .map(|idx| counts.column(&key_name(idx))?.str())
        .collect::<PolarsResult<Vec<_>>>()?;
    let records = counts.column("records")?.u64()?;
    let held = counts.column("held")?.u64()?;
    Ok((0..counts.height())
        .map(|row| {
            let group = values
                .iter()
                .map(|texts| texts.get(row).unwrap_or_default().to_owned())
                .collect();
            (
                group,
                records.get(row).unwrap_or_default(),
                held.get(row).unwrap_or_default(),
            )
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, DictionaryArray, Float64Array, Int32Array, ListArray, StringArray,
    };
    use arrow::datatypes::{Int8Type, Int32Type};

    use super::*;

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn groups_are_counted_and_ordered_by_what_is_held() {
        let shop = texts(&[Some("b"), Some("a"), Some("b"), None, Some("a"), Some("c")]);
        let year: ArrayRef = Arc::new(Int32Array::from(vec![1, 1, 1, 2, 1, 2]));
        let held = [true, false, true, false, true, false];
        let counts = count_by(&[("shop", shop), ("year", year)], &held).unwrap();
        let expected: [(&[&str], u64, u64); 4] = [
            (&["b", "1"], 2, 2),
            (&["a", "1"], 2, 1),
            (&["", "2"], 1, 0),
            (&["c", "2"], 1, 0),
        ];
        let expected: Vec<GroupCount> = expected
            .iter()
            .map(|(group, records, held)| {
                (
                    group.iter().map(ToString::to_string).collect(),
                    *records,
                    *held,
                )
            })
            .collect();
        assert_eq!(counts, expected);
    }

    #[test]
    fn dictionaries_booleans_and_equal_names_are_keys_too() {
        let kind: ArrayRef = Arc::new(
            ["x", "y", "x"]
                .into_iter()
                .collect::<DictionaryArray<Int8Type>>(),
        );
        let flag: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true]));
        let counts = count_by(&[("same", kind), ("same", flag)], &[false; 3]).unwrap();
        assert_eq!(counts[0], (vec!["x".to_owned(), "true".to_owned()], 2, 0));
        assert_eq!(counts.len(), 2);
    }

    #[test]
    fn what_has_no_groups_is_refused_by_name() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
        let lists: ArrayRef =
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([
                Some(1),
            ])]));
        for array in [floats, lists] {
            let error = count_by(&[("odd", array)], &[true]).unwrap_err();
            assert!(matches!(error, ProfileError::Unsupported { .. }));
            assert!(error.to_string().contains("`odd`"), "{error}");
        }
        let short = texts(&[Some("a")]);
        let error = count_by(&[("shop", short)], &[true, false]).unwrap_err();
        assert!(matches!(
            error,
            ProfileError::Length {
                found: 1,
                expected: 2,
                ..
            }
        ));
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(count_by(&[], &[true]).unwrap().is_empty());
        assert!(count_by(&[("shop", texts(&[]))], &[]).unwrap().is_empty());
    }
}
