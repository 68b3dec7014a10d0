//! The dataset's columns in the trusted files: by name, and of a type that means the same.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use lazaretto_core::Role;
use lazaretto_io::Dataset;

use super::compared;
use crate::assemble::{Assembler, is_chat};

/// For each column of the dataset its index in `files`, where its role is one that is compared.
///
/// # Errors
/// Every column that is missing or of another type, a lower-case fragment each.
pub(super) fn find(
    files: &Dataset,
    assembler: &Assembler,
) -> Result<Vec<Option<usize>>, Vec<String>> {
    let own = files.full_schema();
    let mut problems = Vec::new();
    let mut found = vec![None; assembler.schema.fields().len()];
    for (idx, facts) in assembler.facts.columns.iter().enumerate() {
        if !compared(facts.role) {
            continue;
        }
        let role = facts.role.name();
        let Ok(column) = own.index_of(&facts.name) else {
            problems.push(format!("column `{}` ({role}) is missing", facts.name));
            continue;
        };
        let expected = assembler.schema.field(idx).data_type();
        let data_type = own.field(column).data_type();
        if fits(data_type, expected, facts.role) {
            found[idx] = Some(column);
        } else {
            problems.push(format!(
                "column `{}` ({role}) is `{data_type}` here and `{expected}` in the dataset",
                facts.name
            ));
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(problems)
    }
}

/// Whether values of type `found` can stand for such of type `expected` without loss.
fn fits(found: &DataType, expected: &DataType, role: Role) -> bool {
    use DataType::{FixedSizeList, LargeList, List, Null};
    match (found, expected) {
        (found, expected) if found == expected => true,
        (Null, _) => true,
        (FixedSizeList(_, size), FixedSizeList(_, other)) if size != other => false,
        (
            List(item) | LargeList(item) | FixedSizeList(item, _),
            List(other) | LargeList(other) | FixedSizeList(other, _),
        ) => {
            let numbers = item.data_type().is_numeric() && other.data_type().is_numeric();
            let texts = is_string(item.data_type()) && is_string(other.data_type());
            numbers || texts || (is_chat(found) && is_chat(expected))
        }
        _ if is_string(found) && is_string(expected) => true,
        // Classes and categories are compared as text, where 1 and 1.0 differ: see `adapted`.
        _ if found.is_numeric() && expected.is_numeric() => {
            by_numbers(role) || found.is_integer() || !expected.is_integer()
        }
        _ => false,
    }
}

fn by_numbers(role: Role) -> bool {
    !matches!(role, Role::Label | Role::Categorical)
}

/// Values of the dataset's type where the text of a value matters, else as they are.
pub(super) fn adapted(
    array: &ArrayRef,
    expected: &DataType,
    role: Role,
) -> Result<ArrayRef, ArrowError> {
    let found = array.data_type();
    if *found == DataType::Null {
        return Ok(new_null_array(expected, array.len()));
    }
    let as_text = !by_numbers(role) && found.is_numeric() && found != expected;
    if as_text {
        cast(array, expected)
    } else {
        Ok(Arc::clone(array))
    }
}

fn is_string(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_string(value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn types_fit_where_nothing_is_lost() {
        let float = DataType::Float64;
        let whole = DataType::Int64;
        assert!(fits(&whole, &float, Role::Label) && fits(&float, &whole, Role::Numeric));
        assert!(!fits(&float, &whole, Role::Label));
        assert!(fits(&DataType::Utf8View, &DataType::LargeUtf8, Role::Text));
        assert!(!fits(&DataType::Utf8, &whole, Role::Label));
        let vector = |size| {
            let item = Field::new("item", DataType::Float32, true);
            DataType::FixedSizeList(Arc::new(item), size)
        };
        let list = DataType::List(Arc::new(Field::new("item", DataType::Float64, true)));
        assert!(fits(&list, &vector(4), Role::Embedding));
        assert!(!fits(&vector(3), &vector(4), Role::Embedding));
    }

    #[test]
    fn a_whole_number_is_the_same_class_as_in_a_column_of_fractions() {
        let labels: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let adapted = adapted(&labels, &DataType::Float64, Role::Label).unwrap();
        let texts = crate::assemble::strings(&adapted).unwrap();
        assert_eq!((texts.value(0), texts.is_null(1)), ("1.0", true));
    }
}
