//! What the headers of a file may promise. Whatever they promise is believed from here on: memory is
//! set aside for so many rows, and columns are walked through by functions that call themselves.
//!
//! | looked at | when | refused |
//! |---|---|---|
//! | columns, depth, rows ([`check`]) | a file is opened | the file |
//! | places and pages of Parquet column chunks ([`ChunkChecks`]) | before a row group is decoded | the row group |
//! | buffers of Arrow IPC messages ([`check_message`]) | before a record batch is decoded | the batch; dictionaries of a file, the file |

mod chunks;
mod limits;
mod messages;
mod page_header;

use arrow::array::new_empty_array;
use arrow::array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    validate_decimal_precision_and_scale,
};
use arrow::datatypes::{DataType, Schema};

pub(crate) use self::chunks::ChunkChecks;
pub use self::limits::HeaderLimits;
pub(crate) use self::messages::check_message;
use super::{Group, guard};

/// Checks what the headers of a file of `bytes` promise.
///
/// # Errors
/// What is beyond its limit, and the limit.
pub(super) fn check(
    schema: &Schema,
    groups: &[Group],
    bytes: u64,
    limits: &HeaderLimits,
) -> Result<(), String> {
    let mut columns = 0;
    for field in schema.fields() {
        count(field.data_type(), 1, &mut columns, limits)
            .and_then(|()| can_be_made(field.data_type()))
            .map_err(|reason| format!("column `{}`: {reason}", field.name()))?;
    }
    let rows = groups
        .iter()
        .try_fold(0_u64, |rows, group| rows.checked_add(group.rows))
        .unwrap_or(u64::MAX);
    believable("rows", rows, bytes, limits)
}

/// Sees that a file of `bytes` can have so many rows, or values of a column.
fn believable(what: &str, number: u64, bytes: u64, limits: &HeaderLimits) -> Result<(), String> {
    let per_byte = limits.rows_per_byte.max(1);
    if number > HeaderLimits::FREE_ROWS && number / per_byte > bytes {
        return Err(format!(
            "its headers promise {number} {what} in {bytes} bytes, more than {per_byte} for each (`decoding.max_rows_per_byte`)"
        ));
    }
    Ok(())
}

/// Whether Arrow can make a column of this type at all. There are types that can be written down and
/// that its functions panic over, such as a union of nothing; the scan itself calls them later.
fn can_be_made(data_type: &DataType) -> Result<(), String> {
    let made = guard(|| {
        has_digits(data_type)?;
        new_empty_array(data_type);
        Ok(())
    });
    made.map_err(|_| format!("no values are of its type, {data_type}"))
}

/// Whether decimals have as many digits as their type holds. Arrow takes the numbers as they stand in
/// the file, and panics when it writes such a value.
fn has_digits(data_type: &DataType) -> Result<(), String> {
    let valid = match data_type {
        DataType::Decimal32(precision, scale) => {
            validate_decimal_precision_and_scale::<Decimal32Type>(*precision, *scale)
        }
        DataType::Decimal64(precision, scale) => {
            validate_decimal_precision_and_scale::<Decimal64Type>(*precision, *scale)
        }
        DataType::Decimal128(precision, scale) => {
            validate_decimal_precision_and_scale::<Decimal128Type>(*precision, *scale)
        }
        DataType::Decimal256(precision, scale) => {
            validate_decimal_precision_and_scale::<Decimal256Type>(*precision, *scale)
        }
        DataType::Struct(fields) => {
            let mut types = fields.iter().map(|field| field.data_type());
            return types.try_for_each(has_digits);
        }
        DataType::Union(fields, _) => {
            let mut types = fields.iter().map(|(_, field)| field.data_type());
            return types.try_for_each(has_digits);
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => return has_digits(item.data_type()),
        DataType::Dictionary(_, value) => return has_digits(value),
        DataType::RunEndEncoded(_, value) => return has_digits(value.data_type()),
        _ => return Ok(()),
    };
    valid.map_err(|error| error.to_string())
}

/// Adds the columns without children of a type that lies `depth` deep.
fn count(
    data_type: &DataType,
    depth: u64,
    columns: &mut u64,
    limits: &HeaderLimits,
) -> Result<(), String> {
    if depth > limits.depth {
        return Err(format!(
            "types inside each other more than {} deep (`decoding.max_depth`)",
            limits.depth
        ));
    }
    let below = depth + 1;
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => count(item.data_type(), below, columns, limits),
        DataType::Struct(fields) => fields
            .iter()
            .try_for_each(|field| count(field.data_type(), below, columns, limits)),
        DataType::Union(fields, _) => fields
            .iter()
            .try_for_each(|(_, field)| count(field.data_type(), below, columns, limits)),
        DataType::Dictionary(_, value) => count(value, below, columns, limits),
        DataType::RunEndEncoded(_, value) => count(value.data_type(), below, columns, limits),
        _ => {
            *columns += 1;
            if *columns > limits.columns {
                return Err(format!(
                    "it is one of more than {} (`decoding.max_columns`)",
                    limits.columns
                ));
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, UnionFields, UnionMode};

    use super::*;

    fn nested(depth: u64) -> Schema {
        let mut data_type = DataType::Int8;
        for _ in 1..depth {
            data_type = DataType::List(Arc::new(Field::new("item", data_type, true)));
        }
        Schema::new(vec![Field::new("deep", data_type, true)])
    }

    #[test]
    fn types_that_no_value_is_of_are_refused() {
        let nothing = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
        let keys = Field::new("key", DataType::Utf8, false);
        let no_entries = DataType::Map(Arc::new(keys), false);
        let dictionary = DataType::Dictionary(Box::new(DataType::Utf8), Box::new(DataType::Utf8));
        let digits = DataType::Decimal128(0, 3);
        let inside = DataType::List(Arc::new(Field::new("item", digits.clone(), true)));
        for data_type in [nothing, no_entries, dictionary, digits, inside] {
            let schema = Schema::new(vec![Field::new("odd", data_type, true)]);
            let error = check(&schema, &[], 100, &HeaderLimits::default()).unwrap_err();
            assert!(error.contains("`odd`"), "{error}");
        }
    }

    #[test]
    fn ordinary_headers_pass_and_promises_beyond_belief_do_not() {
        let limits = HeaderLimits::default();
        let check =
            |schema: &Schema, groups: &[Group], bytes| check(schema, groups, bytes, &limits);
        let flat = nested(1);
        let free = HeaderLimits::FREE_ROWS;
        check(&nested(limits.depth), &[Group::whole(10)], 100).unwrap();
        check(&flat, &[Group::whole(free)], 1).unwrap();
        check(&flat, &[Group::whole(1 << 40)], 1 << 38).unwrap();
        let deep = check(&nested(limits.depth + 1), &[], 100).unwrap_err();
        assert!(deep.contains("`deep`"), "{deep}");
        let many = check(&flat, &[Group::whole(free + 1_000)], 100).unwrap_err();
        assert!(many.contains("rows in 100 bytes"), "{many}");
        // A sum that does not fit is not a small one.
        let overflow = [Group::whole(u64::MAX), Group::whole(2)];
        assert!(check(&flat, &overflow, 1 << 40).is_err());
        let columns = limits.columns as usize + 1;
        let wide = Schema::new(vec![Field::new("a", DataType::Int8, true); columns]);
        assert!(check(&wide, &[], 100).is_err());
    }
}
