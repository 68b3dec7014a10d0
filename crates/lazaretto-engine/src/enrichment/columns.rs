//! Columns of sources beside the one with that role: who annotated a record besides who delivered it.

use std::collections::{BTreeMap, HashMap};

use lazaretto_core::Role;
use lazaretto_io::{IoError, names_a_source};
use rayon::prelude::*;

use super::groups::{NONE, Values};
use crate::assemble::{MAX_SOURCES, strings};
use crate::scan::Scan;

/// Columns that are looked at, in schema order.
const MAX_COLUMNS: usize = 3;
/// Fewest records per value, on average: values that hardly repeat are no sources.
const MIN_REPEATS: usize = 5;

/// The values of all records, where a column without a role of its own is named like a source and its values repeat. Four
/// bytes a record and column.
pub(super) fn further_columns(scan: &Scan<'_>) -> Vec<Values> {
    let columns = scan.assembler.facts.columns.iter().enumerate();
    let stored = scan.dataset.schema().fields().len();
    columns
        .filter(|(idx, column)| {
            let plain = [Role::Categorical, Role::Numeric, Role::Other].contains(&column.role);
            *idx < stored && plain && names_a_source(&column.name)
        })
        .take(MAX_COLUMNS)
        .filter_map(|(idx, column)| values(scan, idx, &column.name))
        .collect()
}

/// The values of a column; `None` where they are too many or but one. A unit that cannot be read has none, which the
/// scan has recorded by now.
fn values(scan: &Scan<'_>, column: usize, name: &str) -> Option<Values> {
    let units = scan.dataset.units();
    let read: Vec<Vec<Option<String>>> = units
        .par_iter()
        .enumerate()
        .map(|(unit, _)| of_unit(scan, unit, column).unwrap_or_default())
        .collect();
    let mut of_records = vec![NONE; scan.dataset.n_rows() as usize];
    let mut indices = HashMap::<String, u32>::new();
    for (unit, read) in units.iter().zip(read) {
        let records = of_records.get_mut(unit.first_row as usize..)?;
        for (record, value) in records.iter_mut().zip(read) {
            let Some(value) = value else { continue };
            let next = indices.len() as u32;
            *record = *indices.entry(value).or_insert(next);
        }
        if indices.len() > MAX_SOURCES {
            return None;
        }
    }
    let repeats = of_records.len() >= MIN_REPEATS * indices.len();
    let names: BTreeMap<u32, String> = indices
        .into_iter()
        .map(|(value, idx)| (idx, value))
        .collect();
    (names.len() > 1 && repeats).then(|| Values {
        column: name.to_owned(),
        names: names.into_values().collect(),
        of_records,
    })
}

fn of_unit(scan: &Scan<'_>, unit: usize, column: usize) -> Result<Vec<Option<String>>, IoError> {
    let mut values = Vec::new();
    if scan.unscanned.contains_key(&unit) {
        return Ok(values);
    }
    for batch in scan.dataset.batches(unit, Some(&[column]))? {
        let batch = batch?;
        let Ok(texts) = strings(batch.column(0)) else {
            return Ok(Vec::new());
        };
        values.extend(texts.iter().map(|value| value.map(str::to_owned)));
    }
    Ok(values)
}
