//! Records that a report shows, with their values as short texts.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use lazaretto_core::report::ExampleReport;
use lazaretto_core::{NO_LABEL, Role};
use lazaretto_patterns::Redactor;
use rayon::prelude::*;

use crate::error::EngineError;
use crate::scan::{Scan, hex};

/// Examples per finding.
const MAX_EXAMPLES: usize = 5;
/// Characters shown of a value.
const MAX_CHARS: usize = 600;

/// A few ordinals, spread evenly.
pub(crate) fn spread(records: &[u64]) -> Vec<u64> {
    let n = records.len().min(MAX_EXAMPLES);
    (0..n).map(|i| records[i * records.len() / n]).collect()
}

/// Records to show, read in one go. Secrets and personal data in them are masked before anything is
/// cut off, so that no part of them is left.
#[derive(Default)]
pub(crate) struct Examples {
    /// Wanted ordinals, with strings that must stay visible when a value is shortened.
    wanted: BTreeMap<u64, Vec<String>>,
    read: BTreeMap<u64, ExampleReport>,
    redactor: Redactor,
}

impl Examples {
    pub(crate) fn want(&mut self, ordinals: &[u64], visible: &[String]) {
        for &ordinal in ordinals {
            let strings = self.wanted.entry(ordinal).or_default();
            strings.extend(visible.iter().cloned());
        }
    }

    pub(crate) fn get(&self, ordinal: u64) -> Option<ExampleReport> {
        self.read.get(&ordinal).cloned()
    }

    /// What was masked in the records that were read: texts about them may quote parts of it.
    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(crate) fn read(&mut self, scan: &Scan<'_>) -> Result<(), EngineError> {
        let this = &*self;
        let read: Vec<_> = (0..scan.dataset.units().len())
            .into_par_iter()
            .map(|unit| this.of_unit(scan, unit))
            .collect::<Result<_, _>>()?;
        for (examples, redactor) in read {
            self.read.extend(examples);
            self.redactor.merge(redactor);
        }
        Ok(())
    }

    /// The wanted records of a unit.
    fn of_unit(
        &self,
        scan: &Scan<'_>,
        idx: usize,
    ) -> Result<(Vec<(u64, ExampleReport)>, Redactor), EngineError> {
        let unit = scan.dataset.units()[idx];
        let input = &scan.dataset.files()[unit.file].input;
        let wanted: Vec<(&u64, &Vec<String>)> = self
            .wanted
            .range(unit.first_row..unit.first_row + unit.rows)
            .collect();
        let mut read = Vec::with_capacity(wanted.len());
        let mut redactor = Redactor::default();
        let mut first = unit.first_row;
        let batches = (!wanted.is_empty()).then(|| scan.dataset.batches(idx, None));
        for batch in batches.transpose()?.into_iter().flatten() {
            let batch = batch?;
            let end = first + batch.num_rows() as u64;
            for &(&ordinal, visible) in &wanted[read.len()..] {
                if ordinal >= end {
                    break;
                }
                let row = (ordinal - first) as usize;
                let mut example = example(scan, &batch, row, visible, &mut redactor);
                example.file.clone_from(&input.relative);
                example.row_group = unit.row_group;
                example.row = unit.row_in_group + (ordinal - unit.first_row);
                if example.record_id.is_empty() {
                    example.record_id = format!(
                        "{}:{}:{}",
                        &hex(&input.digest)[..16],
                        example.row_group,
                        example.row
                    );
                }
                read.push((ordinal, example));
            }
            first = end;
            if read.len() == wanted.len() {
                break;
            }
        }
        Ok((read, redactor))
    }
}

fn example(
    scan: &Scan<'_>,
    batch: &RecordBatch,
    row: usize,
    visible: &[String],
    redactor: &mut Redactor,
) -> ExampleReport {
    let layout = &scan.assembler.layout;
    let value = |column: Option<usize>| {
        let array = batch.column(column?);
        array.is_valid(row).then(|| text_of(array, row))
    };
    let label = layout.label.and_then(|column| {
        let text = value(Some(column))?;
        let class = scan
            .assembler
            .classes
            .get(&text)
            .copied()
            .unwrap_or(NO_LABEL);
        let name = scan.assembler.facts.classes.get(class as usize).cloned();
        Some(name.unwrap_or(text))
    });
    let shown = scan.assembler.facts.columns.iter().zip(batch.columns());
    let values = shown
        .filter(|(column, _)| column.role != Role::Id)
        .map(|(column, array)| {
            let text = if array.is_valid(row) {
                shorten(&redactor.learn(&text_of(array, row)), visible)
            } else {
                "null".to_owned()
            };
            (column.name.clone(), text)
        });
    let values = values.collect();
    let masked = |text: String| redactor.redact(&text);
    ExampleReport {
        record_id: value(layout.id).unwrap_or_default(),
        file: String::new(),
        row_group: 0,
        row: 0,
        label: label.map(masked),
        source: value(layout.source).map(masked),
        values,
    }
}

pub(crate) fn text_of(array: &ArrayRef, row: usize) -> String {
    let long_list = match array.data_type() {
        DataType::FixedSizeList(_, size) => usize::try_from(*size).unwrap_or(0),
        DataType::List(item) if item.data_type().is_numeric() => {
            array.as_list::<i32>().value(row).len()
        }
        DataType::LargeList(item) if item.data_type().is_numeric() => {
            array.as_list::<i64>().value(row).len()
        }
        _ => 0,
    };
    if long_list > 16 {
        return format!("[{long_list} numbers]");
    }
    if array.data_type().is_binary() {
        return "[bytes]".to_owned();
    }
    // Arrow cannot display named time zones without a database of them; the instant in UTC can
    // always be shown.
    let instant = match array.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            cast(&array.slice(row, 1), &DataType::Timestamp(*unit, None)).ok()
        }
        _ => None,
    };
    let (array, row) = instant
        .as_ref()
        .map_or((array, row), |instant| (instant, 0));
    let options = FormatOptions::new().with_display_error(true);
    ArrayFormatter::try_new(array.as_ref(), &options)
        .map(|formatter| formatter.value(row).to_string())
        .unwrap_or_default()
}

/// At most [`MAX_CHARS`] characters of `text`, around the first of `visible` that occurs.
pub(crate) fn shorten(text: &str, visible: &[String]) -> String {
    let n_chars = text.chars().count();
    if n_chars <= MAX_CHARS {
        return text.to_owned();
    }
    let at = visible
        .iter()
        .filter_map(|needle| text.find(needle.as_str()))
        .min()
        .map_or(0, |byte| text[..byte].chars().count());
    let start = at.saturating_sub(MAX_CHARS / 3).min(n_chars - MAX_CHARS);
    let middle: String = text.chars().skip(start).take(MAX_CHARS).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if start + MAX_CHARS < n_chars {
        "…"
    } else {
        ""
    };
    format!("{before}{middle}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_keep_the_trigger_in_sight() {
        let text = format!("{}trigger{}", "ä".repeat(2000), "b".repeat(2000));
        let short = shorten(&text, &["trigger".to_owned()]);
        assert!(short.contains("trigger"));
        assert_eq!(short.chars().count(), MAX_CHARS + 2);
        assert_eq!(shorten("short", &[]), "short");
    }

    #[test]
    fn examples_are_spread_over_a_finding() {
        let records: Vec<u64> = (0..100).collect();
        assert_eq!(spread(&records), [0, 20, 40, 60, 80]);
        assert_eq!(spread(&[7]), [7]);
        assert!(spread(&[]).is_empty());
    }
}
