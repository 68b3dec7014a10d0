//! One record of `clean/` or `quarantine/`, and how it is shown.

use arrow::array::{Array as _, RecordBatch};
use lazaretto_core::Role;
use lazaretto_core::report::{ColumnReport, ExampleReport, GroupReport};
use lazaretto_io::{Dataset, IoError};
use lazaretto_patterns::Redactor;

use super::lookup::Listed;
use crate::examples::{shorten, text_of};

/// Row `row` of the file `relative`, in a batch of its own; `None` when there is none.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn row_of(
    dataset: &Dataset,
    relative: &str,
    row: u64,
) -> Result<Option<RecordBatch>, IoError> {
    let mut files = dataset.files().iter();
    let Some(file) = files.position(|file| file.input.relative == relative) else {
        return Ok(None);
    };
    let unit = dataset.units().iter().position(|unit| {
        unit.file == file && (unit.row_in_file..unit.row_in_file + unit.rows).contains(&row)
    });
    let Some(unit) = unit else { return Ok(None) };
    let mut skip = row - dataset.units()[unit].row_in_file;
    for batch in dataset.batches(unit, None)? {
        let batch = batch?;
        let rows = batch.num_rows() as u64;
        if skip < rows {
            return Ok(Some(batch.slice(skip as usize, 1)));
        }
        skip -= rows;
    }
    Ok(None)
}

/// A record as it may be shown: values shortened, secrets and personal data masked.
pub(super) struct Shown {
    values: Vec<(String, String)>,
    label: Option<String>,
    source: Option<String>,
    pub(super) time: Option<String>,
}

impl Shown {
    /// The only record of `batch`; `redactor` learns what was masked in it.
    pub(super) fn new(
        batch: &RecordBatch,
        columns: &[ColumnReport],
        redactor: &mut Redactor,
    ) -> Self {
        let mut shown = Self {
            values: Vec::new(),
            label: None,
            source: None,
            time: None,
        };
        for column in columns {
            let Some(array) = batch.column_by_name(&column.name) else {
                continue;
            };
            let text = array
                .is_valid(0)
                .then(|| redactor.learn(&text_of(array, 0)).into_owned());
            let role = |role: Role| column.role == role.name();
            for (wanted, field) in [
                (Role::Label, &mut shown.label),
                (Role::Source, &mut shown.source),
                (Role::Time, &mut shown.time),
            ] {
                if role(wanted) {
                    field.clone_from(&text);
                }
            }
            if !role(Role::Id) {
                let text = text.map_or_else(|| "null".to_owned(), |text| shorten(&text, &[]));
                shown.values.push((column.name.clone(), text));
            }
        }
        shown
    }

    /// With the place of `row`. Labels that are numbers go by the name of their class.
    pub(super) fn example(&self, row: &Listed, classes: &[GroupReport]) -> ExampleReport {
        let named = |label: &String| {
            let known = classes.iter().any(|class| class.name == *label);
            let idx = label.parse::<usize>().ok().filter(|_| !known);
            let class = idx.and_then(|idx| classes.get(idx));
            class.map_or_else(|| label.clone(), |class| class.name.clone())
        };
        ExampleReport {
            record_id: row.record_id.clone(),
            file: row.file.clone(),
            row_group: row.row_group,
            row: row.row,
            label: self.label.as_ref().map(named),
            source: self.source.clone(),
            values: self.values.clone(),
        }
    }
}
