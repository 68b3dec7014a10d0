//! `unscanned/reasons.json`: why what is in `unscanned/` is there.

use lazaretto_core::Verdict;
use serde::Serialize;

use super::Decisions;
use crate::dataset::Dataset;
use crate::error::IoError;
use crate::run_folder::RunFolder;

/// Where the reasons are, relative to the run folder.
pub(crate) const REASONS: &str = "unscanned/reasons.json";
/// Where they are when an input file has that name: inputs do not start with `_`.
pub(crate) const OTHER_REASONS: &str = "unscanned/_reasons.json";

#[derive(Serialize)]
struct Reasons<'a> {
    /// Files that could not be read at all, in path order.
    files: Vec<FileReason<'a>>,
    /// Runs of records with the same reason, in dataset order.
    records: Vec<RecordsReason<'a>>,
}

#[derive(Serialize)]
struct FileReason<'a> {
    path: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct RecordsReason<'a> {
    path: &'a str,
    row_group: u32,
    /// First row, counted in the row group.
    row: u64,
    rows: u64,
    reason: String,
}

/// The path of the reasons in the run folder of `dataset`.
pub(crate) fn reasons_path(dataset: &Dataset) -> &'static str {
    let taken = dataset
        .files()
        .iter()
        .any(|file| format!("unscanned/{}", file.input.relative) == REASONS);
    if taken { OTHER_REASONS } else { REASONS }
}

/// Writes `unscanned/reasons.json`, or nothing when nothing is unscanned. Called once, when all
/// verdicts are known.
///
/// # Errors
/// [`IoError::Storage`] when the file system refuses.
pub fn write_unscanned_reasons(
    dataset: &Dataset,
    decisions: &dyn Decisions,
    run: &RunFolder,
) -> Result<(), IoError> {
    let files: Vec<FileReason<'_>> = dataset
        .files()
        .iter()
        .filter_map(|file| {
            Some(FileReason {
                path: &file.input.relative,
                reason: file.problem.as_deref()?,
            })
        })
        .collect();
    let mut records: Vec<RecordsReason<'_>> = Vec::new();
    for unit in dataset.units() {
        let path = dataset.files()[unit.file].input.relative.as_str();
        for ordinal in unit.first_row..unit.first_row + unit.rows {
            if decisions.verdict(ordinal) != Verdict::Unscanned {
                continue;
            }
            let reason = decisions.unscanned_reason(ordinal);
            let row = unit.row_in_group + (ordinal - unit.first_row);
            match records.last_mut() {
                Some(last)
                    if last.path == path
                        && last.row_group == unit.row_group
                        && last.row + last.rows == row
                        && last.reason == reason =>
                {
                    last.rows += 1;
                }
                _ => records.push(RecordsReason {
                    path,
                    row_group: unit.row_group,
                    row,
                    rows: 1,
                    reason,
                }),
            }
        }
    }
    if files.is_empty() && records.is_empty() {
        return Ok(());
    }
    let path = reasons_path(dataset);
    let mut text = serde_json::to_vec_pretty(&Reasons { files, records }).map_err(|error| {
        IoError::Encode {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    })?;
    text.push(b'\n');
    run.write(path, &text)
}
