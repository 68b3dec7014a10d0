//! Which Arrow types polars takes as it is built here, and what the others become.

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// What a column is for a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers that have a mean.
    Number,
    /// Booleans.
    Boolean,
    /// Texts.
    Text,
    /// Dates, times and spans, as integers in their own unit.
    Time,
}

/// The type to hand over for `data_type`, and its kind.
///
/// Small integers widen and strings become views, which share their memory with what they view.
///
/// # Errors
/// The reason why values of this type are not profiled.
pub(crate) fn target(data_type: &DataType) -> Result<(DataType, Kind), String> {
    Ok(match data_type {
        DataType::Boolean => (DataType::Boolean, Kind::Boolean),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => (DataType::Int64, Kind::Number),
        DataType::UInt64 => (DataType::UInt64, Kind::Number),
        DataType::Float16 | DataType::Float32 => (DataType::Float32, Kind::Number),
        DataType::Float64
        | DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => (DataType::Float64, Kind::Number),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            (DataType::Utf8View, Kind::Text)
        }
        DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(_, _)
        | DataType::Duration(_) => (DataType::Int64, Kind::Time),
        DataType::Dictionary(_, values) => target(values)?,
        DataType::Null => return Err("no values".to_owned()),
        nested if nested.is_nested() => return Err(format!("nested type {nested}")),
        other => return Err(format!("type {other}")),
    })
}

/// `array` as `target`, by way of the type in between where arrow has no direct cast.
pub(crate) fn convert(array: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, values) => convert(&cast(array, values)?, target),
        // Dates and times of 32 bits only cast to integers of their own width.
        DataType::Date32 | DataType::Time32(_) => cast(&cast(array, &DataType::Int32)?, target),
        _ => cast(array, target),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::new_null_array;
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    #[test]
    fn every_flat_type_converts_and_nested_ones_say_why_not() {
        let flat = [
            DataType::Boolean,
            DataType::Int8,
            DataType::UInt16,
            DataType::UInt64,
            DataType::Float16,
            DataType::Float64,
            DataType::Decimal128(10, 2),
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Date32,
            DataType::Date64,
            DataType::Time32(TimeUnit::Second),
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Duration(TimeUnit::Millisecond),
            DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        ];
        for data_type in flat {
            let (target, _) = target(&data_type).unwrap();
            let converted = convert(&new_null_array(&data_type, 3), &target).unwrap();
            assert_eq!(converted.data_type(), &target, "{data_type}");
            assert!(
                crate::bridge::series("x", &[converted]).is_ok(),
                "{data_type}"
            );
        }
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int8, true)));
        assert!(target(&list).unwrap_err().starts_with("nested type List"));
        assert!(target(&DataType::Binary).is_err());
    }
}
