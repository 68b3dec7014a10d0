//! Values as text, for profiles.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use polars::prelude::AnyValue;

use crate::portable::Kind;

/// Longest value that a profile names, in characters; longer ones are cut.
const VALUE_CHARS: usize = 60;

/// Turns polars values back into text of the column's own type.
pub(crate) struct Display<'a> {
    pub(crate) kind: Kind,
    pub(crate) data_type: &'a DataType,
    pub(crate) portable: &'a DataType,
}

impl Display<'_> {
    /// `None` for null.
    pub(crate) fn text(&self, value: &AnyValue<'_>) -> Option<String> {
        let text = match value {
            AnyValue::Null => return None,
            AnyValue::String(text) => (*text).to_owned(),
            AnyValue::StringOwned(text) => text.to_string(),
            AnyValue::Int64(ticks) if self.kind == Kind::Time => self.time(*ticks),
            other => other.to_string(),
        };
        Some(shortened(&text))
    }

    /// Ticks of a time type as arrow displays them; the number where it is out of range.
    fn time(&self, ticks: i64) -> String {
        let own_type = match self.data_type {
            DataType::Dictionary(_, values) => values.as_ref(),
            own_type => own_type,
        };
        // Ticks are UTC; naming the zone ourselves spares a table of zones.
        let (naive, suffix) = match own_type {
            DataType::Timestamp(unit, Some(_)) => (DataType::Timestamp(*unit, None), "Z"),
            own_type => (own_type.clone(), ""),
        };
        let narrow = match naive {
            DataType::Date32 | DataType::Time32(_) => DataType::Int32,
            _ => DataType::Int64,
        };
        let number: ArrayRef = Arc::new(Int64Array::from(vec![ticks]));
        cast(&number, &narrow)
            .and_then(|number| cast(&number, &naive))
            .and_then(|time| {
                let options = FormatOptions::new();
                let formatter = ArrayFormatter::try_new(time.as_ref(), &options)?;
                formatter.value(0).try_to_string()
            })
            .map_or_else(|_| ticks.to_string(), |time| time + suffix)
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
