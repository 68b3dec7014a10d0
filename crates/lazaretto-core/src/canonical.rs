//! The canonical encoding of a record's values, and the hash over it.
//!
//! Version 1 encodes the values of a row in column order, each as a tag byte and content:
//!
//! | value | tag | content |
//! |---|---|---|
//! | null | 0 | – |
//! | boolean | 1 | one byte |
//! | signed or unsigned integer | 2 | 16 bytes, little-endian two's complement |
//! | f16, f32, f64 | 3 | the value as f64 bits, little endian (widening is exact) |
//! | string of any layout | 4 | byte length (u64) and bytes |
//! | binary of any layout | 5 | byte length (u64) and bytes |
//! | list of any layout | 6 | number of elements (u64) and elements |
//! | struct, map entry | 7 | number of fields (u64) and fields |
//! | time stamp with a zone | 8 | byte length (u64) and the instant in UTC as text (`2026-01-01T00:00:00Z`) |
//! | anything else (dates, times, decimals, intervals) | 8 | byte length (u64) and the text arrow displays |
//!
//! Layout does not matter: a dictionary, a view and a plain string with the same text are the
//! same value, so a hash survives a rewrite of the file by another tool.

use arrow::array::cast::AsArray;
use arrow::array::temporal_conversions::as_datetime;
use arrow::array::types::{
    ArrowDictionaryKeyType, ArrowTimestampType, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, DictionaryArray, OffsetSizeTrait};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::record::RowHash;

/// Version of the encoding; the first byte of every hashed row.
pub const VERSION: u8 = 1;

/// Appends the encoding of one value to a buffer.
type Encoder<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

/// Hashes rows of a set of equally long columns.
///
/// ```
/// use std::sync::Arc;
/// use arrow::array::{ArrayRef, Int64Array, Int32Array};
/// use lazaretto_core::RowHasher;
///
/// let wide: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
/// let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7, 8]));
/// let mut wide = RowHasher::new([&wide])?;
/// let mut narrow = RowHasher::new([&narrow])?;
/// assert_eq!(wide.hash(0), narrow.hash(0));
/// assert_ne!(wide.hash(0), wide.hash(1));
/// # Ok::<(), arrow::error::ArrowError>(())
/// ```
pub struct RowHasher<'a> {
    encoders: Vec<Encoder<'a>>,
    buffer: Vec<u8>,
}

impl<'a> RowHasher<'a> {
    /// A hasher over `columns`, which must be equally long.
    ///
    /// # Errors
    /// When a column has a type that cannot be displayed (none of today's Arrow types).
    pub fn new(columns: impl IntoIterator<Item = &'a ArrayRef>) -> Result<Self, ArrowError> {
        let encoders = columns
            .into_iter()
            .map(|column| encoder(column.as_ref()))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            encoders,
            buffer: Vec::new(),
        })
    }

    /// The hash of row `row_idx`.
    ///
    /// # Panics
    /// When `row_idx` is out of range.
    pub fn hash(&mut self, row_idx: usize) -> RowHash {
        self.buffer.clear();
        self.buffer.push(VERSION);
        for encode in &self.encoders {
            encode(row_idx, &mut self.buffer);
        }
        RowHash(*blake3::hash(&self.buffer).as_bytes())
    }
}

fn push_length(buffer: &mut Vec<u8>, length: usize) {
    buffer.extend_from_slice(&(length as u64).to_le_bytes());
}

fn push_bytes(buffer: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    buffer.push(tag);
    push_length(buffer, bytes.len());
    buffer.extend_from_slice(bytes);
}

/// Wraps `encode` so that null rows get tag 0.
fn nullable<'a>(array: &'a dyn Array, encode: impl Fn(usize, &mut Vec<u8>) + 'a) -> Encoder<'a> {
    match array.logical_nulls() {
        None => Box::new(encode),
        Some(nulls) => Box::new(move |row, buffer| {
            if nulls.is_null(row) {
                buffer.push(0);
            } else {
                encode(row, buffer);
            }
        }),
    }
}

fn integer<T: ArrowPrimitiveType>(array: &dyn Array) -> Encoder<'_>
where
    T::Native: Into<i128>,
{
    let values = array.as_primitive::<T>().values();
    nullable(array, move |row, buffer| {
        let value: i128 = values[row].into();
        buffer.push(2);
        buffer.extend_from_slice(&value.to_le_bytes());
    })
}

fn float<T: ArrowPrimitiveType>(array: &dyn Array) -> Encoder<'_>
where
    T::Native: Into<f64>,
{
    let values = array.as_primitive::<T>().values();
    nullable(array, move |row, buffer| {
        let value: f64 = values[row].into();
        buffer.push(3);
        buffer.extend_from_slice(&value.to_bits().to_le_bytes());
    })
}

fn list<O: OffsetSizeTrait>(array: &dyn Array) -> Result<Encoder<'_>, ArrowError> {
    let list = array.as_list::<O>();
    let element = encoder(list.values().as_ref())?;
    let offsets = list.value_offsets();
    Ok(nullable(array, move |row, buffer| {
        elements(
            &element,
            offsets[row].as_usize()..offsets[row + 1].as_usize(),
            buffer,
        );
    }))
}

fn elements(element: &Encoder<'_>, range: std::ops::Range<usize>, buffer: &mut Vec<u8>) {
    buffer.push(6);
    push_length(buffer, range.len());
    for idx in range {
        element(idx, buffer);
    }
}

fn dictionary<K: ArrowDictionaryKeyType>(array: &dyn Array) -> Result<Encoder<'_>, ArrowError> {
    let dictionary: &DictionaryArray<K> = array.as_dictionary();
    let value = encoder(dictionary.values().as_ref())?;
    Ok(nullable(array, move |row, buffer| {
        // A valid row always has a key; a null *value* is handled by the value's own encoder.
        if let Some(key) = dictionary.key(row) {
            value(key, buffer);
        }
    }))
}

#[expect(
    clippy::too_many_lines,
    reason = "one arm per Arrow type: in one place it can be seen that all are covered"
)]
fn encoder(array: &dyn Array) -> Result<Encoder<'_>, ArrowError> {
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, buffer| buffer.push(0)),
        DataType::Boolean => {
            let values = array.as_boolean();
            nullable(array, move |row, buffer| {
                buffer.extend_from_slice(&[1, u8::from(values.value(row))]);
            })
        }
        DataType::Int8 => integer::<Int8Type>(array),
        DataType::Int16 => integer::<Int16Type>(array),
        DataType::Int32 => integer::<Int32Type>(array),
        DataType::Int64 => integer::<Int64Type>(array),
        DataType::UInt8 => integer::<UInt8Type>(array),
        DataType::UInt16 => integer::<UInt16Type>(array),
        DataType::UInt32 => integer::<UInt32Type>(array),
        DataType::UInt64 => integer::<UInt64Type>(array),
        DataType::Float16 => float::<Float16Type>(array),
        DataType::Float32 => float::<Float32Type>(array),
        DataType::Float64 => float::<Float64Type>(array),
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            nullable(array, move |row, buffer| {
                push_bytes(buffer, 4, values.value(row).as_bytes());
            })
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            nullable(array, move |row, buffer| {
                push_bytes(buffer, 4, values.value(row).as_bytes());
            })
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            nullable(array, move |row, buffer| {
                push_bytes(buffer, 4, values.value(row).as_bytes());
            })
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            nullable(array, move |row, buffer| {
                push_bytes(buffer, 5, values.value(row));
            })
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>();
            nullable(array, move |row, buffer| {
                push_bytes(buffer, 5, values.value(row));
            })
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            nullable(array, move |row, buffer| {
                push_bytes(buffer, 5, values.value(row));
            })
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            nullable(array, move |row, buffer| {
                push_bytes(buffer, 5, values.value(row));
            })
        }
        DataType::List(_) => list::<i32>(array)?,
        DataType::LargeList(_) => list::<i64>(array)?,
        DataType::FixedSizeList(_, size) => {
            let values = array.as_fixed_size_list();
            let size = usize::try_from(*size).unwrap_or(0);
            let element = encoder(values.values().as_ref())?;
            nullable(array, move |row, buffer| {
                elements(&element, row * size..(row + 1) * size, buffer);
            })
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            let entry = encoder(map.entries())?;
            let offsets = map.value_offsets();
            nullable(array, move |row, buffer| {
                let range = usize::try_from(offsets[row]).unwrap_or(0)
                    ..usize::try_from(offsets[row + 1]).unwrap_or(0);
                elements(&entry, range, buffer);
            })
        }
        DataType::Struct(_) => {
            let fields = array
                .as_struct()
                .columns()
                .iter()
                .map(|field| encoder(field.as_ref()))
                .collect::<Result<Vec<_>, _>>()?;
            nullable(array, move |row, buffer| {
                buffer.push(7);
                push_length(buffer, fields.len());
                for field in &fields {
                    field(row, buffer);
                }
            })
        }
        DataType::Dictionary(key, _) => match key.as_ref() {
            DataType::Int8 => dictionary::<Int8Type>(array)?,
            DataType::Int16 => dictionary::<Int16Type>(array)?,
            DataType::Int32 => dictionary::<Int32Type>(array)?,
            DataType::Int64 => dictionary::<Int64Type>(array)?,
            DataType::UInt8 => dictionary::<UInt8Type>(array)?,
            DataType::UInt16 => dictionary::<UInt16Type>(array)?,
            DataType::UInt32 => dictionary::<UInt32Type>(array)?,
            _ => dictionary::<UInt64Type>(array)?,
        },
        DataType::Timestamp(unit, Some(_)) => instant(array, *unit),
        _ => displayed(array)?,
    })
}

/// A time stamp with a zone is an instant, whatever the zone is called: arrow would look the name
/// up in a table that it may not have, and fail.
fn instant(array: &dyn Array, unit: TimeUnit) -> Encoder<'_> {
    fn of<T: ArrowTimestampType>(array: &dyn Array) -> Encoder<'_> {
        let values = array.as_primitive::<T>().values();
        nullable(array, move |row, buffer| {
            let ticks = values[row];
            let text = as_datetime::<T>(ticks)
                .map_or_else(|| ticks.to_string(), |time| format!("{time:?}Z"));
            push_bytes(buffer, 8, text.as_bytes());
        })
    }
    match unit {
        TimeUnit::Second => of::<TimestampSecondType>(array),
        TimeUnit::Millisecond => of::<TimestampMillisecondType>(array),
        TimeUnit::Microsecond => of::<TimestampMicrosecondType>(array),
        TimeUnit::Nanosecond => of::<TimestampNanosecondType>(array),
    }
}

fn displayed(array: &dyn Array) -> Result<Encoder<'_>, ArrowError> {
    // Display errors (a date out of chrono's range) become text in the encoding instead of
    // failing the row.
    static OPTIONS: FormatOptions<'static> = FormatOptions::new().with_display_error(true);
    let formatter = ArrayFormatter::try_new(array, &OPTIONS)?;
    Ok(nullable(array, move |row, buffer| {
        push_bytes(buffer, 8, formatter.value(row).to_string().as_bytes());
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
        LargeStringArray, ListArray, StringArray, StringViewArray, StructArray,
        TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Int8Type};

    use super::*;

    fn hash(columns: &[ArrayRef], row: usize) -> RowHash {
        RowHasher::new(columns).unwrap().hash(row)
    }

    #[test]
    fn time_stamps_of_any_zone_hash_by_instant() {
        let stamps = |zone: &str| -> ArrayRef {
            let stamps = TimestampMicrosecondArray::from(vec![Some(7), Some(8), None]);
            Arc::new(stamps.with_timezone(zone))
        };
        let utc = stamps("UTC");
        for zone in ["+00:00", "Europe/Berlin", "no such zone"] {
            for row in 0..3 {
                assert_eq!(
                    hash(&[stamps(zone)], row),
                    hash(std::slice::from_ref(&utc), row)
                );
            }
        }
        assert_ne!(hash(std::slice::from_ref(&utc), 0), hash(&[utc], 1));
    }

    #[test]
    fn layout_does_not_matter() {
        let texts = vec![Some("a"), None, Some("bc")];
        let plain: ArrayRef = Arc::new(StringArray::from(texts.clone()));
        let others: [ArrayRef; 3] = [
            Arc::new(LargeStringArray::from(texts.clone())),
            Arc::new(StringViewArray::from(texts.clone())),
            Arc::new(texts.into_iter().collect::<DictionaryArray<Int8Type>>()),
        ];
        for other in others {
            for row in 0..3 {
                assert_eq!(
                    hash(std::slice::from_ref(&plain), row),
                    hash(std::slice::from_ref(&other), row)
                );
            }
        }
        let single: ArrayRef = Arc::new(Float32Array::from(vec![0.1_f32]));
        let double: ArrayRef = Arc::new(Float64Array::from(vec![f64::from(0.1_f32)]));
        assert_eq!(hash(&[single], 0), hash(&[double], 0));
    }

    #[test]
    fn every_difference_a_reader_could_see_changes_the_hash() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(0), None, Some(0), Some(1)])),
            Arc::new(StringArray::from(vec![Some(""), Some(""), None, Some("")])),
        ];
        let hashes: Vec<_> = (0..4).map(|row| hash(&columns, row)).collect();
        for (i, left) in hashes.iter().enumerate() {
            assert!(hashes[..i].iter().all(|right| left != right));
        }
        // The border between two cells counts.
        let split: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["ab", "a"])),
            Arc::new(StringArray::from(vec!["c", "bc"])),
        ];
        assert_ne!(hash(&split, 0), hash(&split, 1));
    }

    #[test]
    fn nested_and_temporal_values_are_covered() {
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>([
            Some(vec![Some(1.0), None]),
            Some(vec![]),
            None,
        ]));
        let fixed: ArrayRef = Arc::new(
            FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(
                [
                    Some(vec![Some(1.0), None]),
                    None,
                    Some(vec![Some(1.0), Some(2.0)]),
                ],
                2,
            ),
        );
        assert_eq!(
            hash(std::slice::from_ref(&lists), 0),
            hash(std::slice::from_ref(&fixed), 0)
        );
        assert_ne!(
            hash(std::slice::from_ref(&lists), 1),
            hash(std::slice::from_ref(&lists), 2)
        );
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![1, 2, i64::MAX]));
        let wrapped: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(Field::new("t", times.data_type().clone(), true)),
            Arc::clone(&times),
        )]));
        assert_ne!(
            hash(std::slice::from_ref(&times), 0),
            hash(std::slice::from_ref(&times), 1)
        );
        assert_ne!(hash(&[times], 2), hash(&[wrapped], 2));
    }

    #[test]
    fn the_encoding_is_pinned() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![42])),
            Arc::new(StringArray::from(vec!["lazaretto"])),
        ];
        let mut bytes = vec![VERSION, 2];
        bytes.extend_from_slice(&42_i128.to_le_bytes());
        bytes.push(4);
        bytes.extend_from_slice(&9_u64.to_le_bytes());
        bytes.extend_from_slice(b"lazaretto");
        assert_eq!(hash(&columns, 0).0, *blake3::hash(&bytes).as_bytes());
    }
}
