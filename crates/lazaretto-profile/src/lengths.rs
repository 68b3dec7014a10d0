//! Lengths of texts, binary values and lists.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, UInt64Type};

use crate::portable::{Kind, convert, target};

/// Mean length of the values that have one.
pub(crate) fn mean_length(chunks: &[ArrayRef]) -> Option<f64> {
    let (mut total, mut count) = (0_u64, 0_u64);
    for chunk in chunks {
        for length in lengths(chunk)? {
            total += length;
            count += 1;
        }
    }
    (count > 0).then(|| total as f64 / count as f64)
}

/// Lengths of the non-null values; `None` for types that have none.
fn lengths(array: &ArrayRef) -> Option<Vec<u64>> {
    let chars = |text: Option<&str>| text.map(|text| text.chars().count() as u64);
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().iter().filter_map(chars).collect()),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().iter().filter_map(chars).collect()),
        DataType::Utf8View => Some(array.as_string_view().iter().filter_map(chars).collect()),
        DataType::Dictionary(_, values) if matches!(target(values), Ok((_, Kind::Text))) => {
            lengths(&convert(array, &DataType::Utf8View).ok()?)
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::List(_)
        | DataType::LargeList(_)
        | DataType::FixedSizeList(_, _) => {
            let lengths = cast(&length(array).ok()?, &DataType::UInt64).ok()?;
            let lengths = lengths.as_primitive::<UInt64Type>();
            Some(lengths.iter().flatten().collect())
        }
        _ => None,
    }
}
