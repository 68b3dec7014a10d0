//! Roles that the user gave: found, fit for the role, and not contradictory.

use arrow::datatypes::{DataType, Schema};
use lazaretto_core::Role;

use super::{GivenRoles, SINGLE};
use crate::error::IoError;

/// Applies `given` to `roles` and returns the roles it speaks about, or everything wrong with it.
pub(super) fn apply(
    schema: &Schema,
    given: &GivenRoles,
    roles: &mut [Option<(Role, String)>],
) -> Result<Vec<Role>, Vec<IoError>> {
    let mut errors = Vec::new();
    let mut told: Vec<Role> = Vec::new();
    for (name, role) in requests(given) {
        let Ok(column) = schema.index_of(name) else {
            errors.push(unknown(schema, name, role));
            continue;
        };
        if let Some(expected) = unfit(schema.field(column).data_type(), role) {
            errors.push(IoError::UnfitColumn {
                column: name.to_owned(),
                data_type: schema.field(column).data_type().to_string(),
                role: role.name().to_owned(),
                expected: expected.to_owned(),
            });
            continue;
        }
        let conflict = match &roles[column] {
            Some((other, _)) if *other != role => Some((name.to_owned(), *other)),
            None if SINGLE.contains(&role) && told.contains(&role) => Some((name.to_owned(), role)),
            _ => None,
        };
        if let Some((column, first)) = conflict {
            errors.push(IoError::RoleConflict {
                column,
                first: first.name().to_owned(),
                second: role.name().to_owned(),
            });
            continue;
        }
        roles[column] = Some((role, "given".to_owned()));
        told.push(role);
    }
    if errors.is_empty() {
        Ok(told)
    } else {
        Err(errors)
    }
}

fn requests(given: &GivenRoles) -> impl Iterator<Item = (&str, Role)> {
    [
        (&given.id, Role::Id),
        (&given.label, Role::Label),
        (&given.embedding, Role::Embedding),
        (&given.probabilities, Role::Probabilities),
        (&given.source, Role::Source),
        (&given.time, Role::Time),
        (&given.prompt, Role::Prompt),
        (&given.response, Role::Response),
    ]
    .into_iter()
    .filter_map(|(name, role)| Some((name.as_deref()?, role)))
    .chain(given.text.iter().map(|name| (name.as_str(), Role::Text)))
    .chain(
        given
            .other
            .iter()
            .map(|(name, role)| (name.as_str(), *role)),
    )
}

fn unknown(schema: &Schema, name: &str, role: Role) -> IoError {
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let lower = name.to_lowercase();
    let suggestion = columns
        .iter()
        .map(|column| (strsim::jaro_winkler(&lower, &column.to_lowercase()), column))
        .filter(|(similarity, _)| *similarity >= 0.75)
        // `max_by` takes the last of equals; go backwards to get the first in schema order.
        .rev()
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, column)| column.clone());
    IoError::UnknownColumn {
        column: name.to_owned(),
        role: role.name().to_owned(),
        suggestion,
        columns,
    }
}

/// What `role` needs, when `data_type` is not that.
fn unfit(data_type: &DataType, role: Role) -> Option<&'static str> {
    let (fits, expected) = match role {
        Role::Id | Role::Source => (
            is_string(data_type) || data_type.is_integer(),
            "string or integer column",
        ),
        Role::Label => (
            is_string(data_type) || data_type.is_numeric() || *data_type == DataType::Boolean,
            "string, integer or boolean column",
        ),
        Role::Embedding | Role::Probabilities => (
            vector_item(data_type).is_some_and(DataType::is_numeric),
            "list of numbers",
        ),
        Role::Text | Role::Prompt | Role::Response => (
            is_string(data_type) || is_strings(data_type) || is_messages(data_type),
            "string column, list of strings or list of chat turns",
        ),
        Role::Messages => (is_messages(data_type), "list of chat turns"),
        Role::Numeric => (
            data_type.is_numeric() || data_type.is_temporal() || *data_type == DataType::Boolean,
            "number, boolean or time",
        ),
        Role::Time => (
            data_type.is_temporal() || data_type.is_numeric() || is_string(data_type),
            "time, number or string column",
        ),
        _ => (true, ""),
    };
    (!fits).then_some(expected)
}

/// Whether values are text, in any layout.
pub(super) fn is_string(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_string(value),
        _ => false,
    }
}

/// Whether values are lists of texts, like turns of a dialogue without their speakers.
pub(super) fn is_strings(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(item) | DataType::LargeList(item) if is_string(item.data_type()))
}

/// The type of the elements of a list column.
pub(super) fn vector_item(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

/// Whether values are lists of `{role, content}` or `{from, value}`.
pub(super) fn is_messages(data_type: &DataType) -> bool {
    let Some(DataType::Struct(fields)) = vector_item(data_type) else {
        return false;
    };
    let has = |name: &str| fields.iter().any(|field| field.name() == name);
    (has("role") && has("content")) || (has("from") && has("value"))
}
