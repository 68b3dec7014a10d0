//! Values, lists and sources in words, for the findings about columns.

use std::collections::BTreeMap;

use arrow::temporal_conversions::{
    date32_to_datetime, timestamp_ms_to_datetime, timestamp_ns_to_datetime,
    timestamp_s_to_datetime, timestamp_us_to_datetime,
};
use lazaretto_core::{Batch, DataFacts};
use serde::{Deserialize, Serialize};

use super::cells::{Layout, NULL};

/// Characters of a value that are shown.
const MAX_SHOWN: usize = 60;

/// The value as it is shown: cut when it is long.
pub(crate) fn shown(value: &str) -> String {
    match value.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// The Arrow type of a column, as text; empty when there is no such column.
pub(crate) fn data_type<'a>(name: &str, facts: &'a DataFacts) -> &'a str {
    let column = facts.columns.iter().find(|column| column.name == name);
    column.map_or("", |column| &column.data_type)
}

/// A number of a column of this type: dates and moments as such, in UTC, the rest as it is.
pub(crate) fn number(value: f64, data_type: &str) -> String {
    // The cast saturates; what is no date any more is shown as a number.
    let moment = match data_type.split(['(', ',', ')']).nth(1).unwrap_or_default() {
        _ if data_type == "Date32" => {
            let day = date32_to_datetime(value as i32);
            return day.map_or_else(|| value.to_string(), |day| day.date().to_string());
        }
        _ if !data_type.starts_with("Timestamp") => None,
        "s" => timestamp_s_to_datetime(value as i64),
        "ms" => timestamp_ms_to_datetime(value as i64),
        "µs" => timestamp_us_to_datetime(value as i64),
        "ns" => timestamp_ns_to_datetime(value as i64),
        _ => None,
    };
    moment.map_or_else(|| value.to_string(), |moment| moment.to_string())
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Categories by column and cell, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ValueNames(BTreeMap<(u32, u64), String>);

impl ValueNames {
    /// Keeps the text of a categorical cell of a record.
    pub(crate) fn learn(
        &mut self,
        layout: &Layout,
        batch: &Batch<'_>,
        row_idx: usize,
        column: usize,
        cell: u64,
    ) {
        if layout.is_numeric(column) || self.0.contains_key(&(column as u32, cell)) {
            return;
        }
        let text = batch.derived.category(column - layout.n_numeric, row_idx);
        if let Some(text) = text {
            self.0.insert((column as u32, cell), shown(text));
        }
    }

    pub(crate) fn merge(&mut self, later: Self) {
        for (place, name) in later.0 {
            self.0.entry(place).or_insert(name);
        }
    }

    /// A cell in words.
    pub(crate) fn value(&self, layout: &Layout, column: usize, cell: u64) -> String {
        if cell == NULL {
            "null".to_owned()
        } else if layout.is_numeric(column) {
            f64::from_bits(cell).to_string()
        } else {
            let name = self.0.get(&(column as u32, cell));
            name.cloned().unwrap_or_else(|| format!("#{cell:016x}"))
        }
    }
}

/// The source most records come from, with its share of them.
pub(crate) fn top_source(sources: &BTreeMap<u32, u64>, facts: &DataFacts) -> Option<(String, f64)> {
    let total: u64 = sources.values().sum();
    let (&source, &count) = sources
        .iter()
        .max_by_key(|&(&source, &count)| (count, std::cmp::Reverse(source)))?;
    let name = facts.sources.get(source as usize)?;
    Some((shown(name), count as f64 / total.max(1) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_what_their_column_holds() {
        assert_eq!(number(999.0, "Float64"), "999");
        assert_eq!(number(18_262.0, "Date32"), "2020-01-01");
        assert_eq!(
            number(1_577_836_800.0, "Timestamp(s)"),
            "2020-01-01 00:00:00"
        );
        let micros = 1_577_836_800_000_000.0;
        assert_eq!(
            number(micros, "Timestamp(µs, \"UTC\")"),
            "2020-01-01 00:00:00"
        );
        assert_eq!(number(f64::MAX, "Timestamp(s)"), f64::MAX.to_string());
    }
}
