//! What the headers of a file may promise. Whatever they promise is believed from here on: memory is
//! set aside for so many rows, and columns are walked through by functions that call themselves.

use arrow::array::new_empty_array;
use arrow::array::types::{
    Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    validate_decimal_precision_and_scale,
};
use arrow::datatypes::{DataType, Schema};

use super::{Group, guard};

/// Types may lie this deep inside each other; handing batches over stands little more.
const MAX_DEPTH: usize = 24;
/// A file may have this many columns, counted without their parents.
const MAX_COLUMNS: usize = 65_536;
/// Any file may have this many rows.
const FREE_ROWS: u64 = 1 << 24;
/// A larger one may have this many for each of its bytes: columns of one value compress to nothing,
/// but a dataset has others.
const ROWS_PER_BYTE: u64 = 1_000;

/// Checks what the headers of a file of `bytes` promise.
///
/// # Errors
/// What is beyond its limit, and the limit.
pub(super) fn check(schema: &Schema, groups: &[Group], bytes: u64) -> Result<(), String> {
    let mut columns = 0;
    for field in schema.fields() {
        count(field.data_type(), 1, &mut columns)
            .and_then(|()| can_be_made(field.data_type()))
            .map_err(|reason| format!("column `{}`: {reason}", field.name()))?;
    }
    let rows = groups
        .iter()
        .try_fold(0_u64, |rows, group| rows.checked_add(group.rows))
        .unwrap_or(u64::MAX);
    if rows > FREE_ROWS && rows / ROWS_PER_BYTE > bytes {
        return Err(format!(
            "its headers promise {rows} rows in {bytes} bytes, more than {ROWS_PER_BYTE} for each"
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
fn count(data_type: &DataType, depth: usize, columns: &mut usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!(
            "types inside each other more than {MAX_DEPTH} deep"
        ));
    }
    let below = depth + 1;
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => count(item.data_type(), below, columns),
        DataType::Struct(fields) => fields
            .iter()
            .try_for_each(|field| count(field.data_type(), below, columns)),
        DataType::Union(fields, _) => fields
            .iter()
            .try_for_each(|(_, field)| count(field.data_type(), below, columns)),
        DataType::Dictionary(_, value) => count(value, below, columns),
        DataType::RunEndEncoded(_, value) => count(value.data_type(), below, columns),
        _ => {
            *columns += 1;
            if *columns > MAX_COLUMNS {
                return Err(format!("it is one of more than {MAX_COLUMNS}"));
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

    fn nested(depth: usize) -> Schema {
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
            let error = check(&schema, &[], 100).unwrap_err();
            assert!(error.contains("`odd`"), "{error}");
        }
    }

    #[test]
    fn ordinary_headers_pass_and_promises_beyond_belief_do_not() {
        let flat = nested(1);
        check(&nested(MAX_DEPTH), &[Group::whole(10)], 100).unwrap();
        check(&flat, &[Group::whole(FREE_ROWS)], 1).unwrap();
        check(&flat, &[Group::whole(1 << 40)], 1 << 38).unwrap();
        let deep = check(&nested(MAX_DEPTH + 1), &[], 100).unwrap_err();
        assert!(deep.contains("`deep`"), "{deep}");
        let many = check(&flat, &[Group::whole(FREE_ROWS + 1_000)], 100).unwrap_err();
        assert!(many.contains("rows in 100 bytes"), "{many}");
        // A sum that does not fit is not a small one.
        let overflow = [Group::whole(u64::MAX), Group::whole(2)];
        assert!(check(&flat, &overflow, 1 << 40).is_err());
        let wide = Schema::new(vec![Field::new("a", DataType::Int8, true); MAX_COLUMNS + 1]);
        assert!(check(&wide, &[], 100).is_err());
    }
}
