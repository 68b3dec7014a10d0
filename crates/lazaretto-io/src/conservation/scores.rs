//! Reads back `scores/`: the list of all records with verdict, hash and id.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::types::{Int64Type, UInt32Type, UInt64Type};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use lazaretto_core::Verdict;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;
use rayon::prelude::*;

use super::rows::{FoundRow, read_rows};
use super::{Tally, difference};
use crate::dataset::Unit;
use crate::error::IoError;

/// All parts of `scores/`.
pub(super) struct Scores {
    parts: Vec<Part>,
}

struct Part {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    first_row: u64,
    rows: u64,
}

/// One record as listed.
pub(super) struct ListedRow<'a> {
    pub(super) verdict: Verdict,
    row_hash: Option<&'a str>,
    record_id: &'a str,
}

impl ListedRow<'_> {
    /// Compares with what was found where the verdict says.
    pub(super) fn compare(&self, found: &FoundRow<'_>) -> Result<(), String> {
        let Some(listed) = self.row_hash else {
            return match self.verdict {
                Verdict::Unscanned => Ok(()),
                verdict => Err(format!(
                    "record `{}` has verdict `{verdict}` and no hash",
                    self.record_id
                )),
            };
        };
        let values = blake3::Hash::from_bytes(found.hash.0).to_hex();
        if listed != values.as_str() {
            return Err(format!(
                "record `{}` has values with hash `{values}` where `{listed}` was scanned",
                self.record_id
            ));
        }
        match found.note {
            Some((record_id, _)) if record_id != self.record_id => Err(format!(
                "record `{record_id}` stands where `{}` belongs",
                self.record_id
            )),
            Some((_, noted)) if noted != listed => Err(format!(
                "the note on record `{}` has hash `{noted}` where `{listed}` was scanned",
                self.record_id
            )),
            _ => Ok(()),
        }
    }
}

impl Scores {
    pub(super) fn open(run: &Path) -> Result<Self, IoError> {
        let mut parts = Vec::new();
        let mut first_row = 0;
        loop {
            let name = format!("scores/part-{:05}.parquet", parts.len());
            let path = run.join(&name);
            if !path.is_file() {
                break;
            }
            let file = File::open(&path).map_err(IoError::storage("read", &path))?;
            let options =
                ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
            let metadata = ArrowReaderMetadata::load(&file, options)
                .map_err(|error| difference(&name, None, error.to_string()))?;
            let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
            parts.push(Part {
                path,
                metadata,
                first_row,
                rows,
            });
            first_row += rows;
        }
        Ok(Self { parts })
    }

    /// Number of records listed.
    pub(super) fn rows(&self) -> u64 {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// Counts the verdicts of all records.
    pub(super) fn verdicts(&self) -> Result<Tally, IoError> {
        let tallies: Vec<Tally> = self
            .parts
            .par_iter()
            .map(|part| {
                let mut tally = Tally::default();
                let rows = part.first_row..part.first_row + part.rows;
                self.batches(rows, &["verdict"], |batch| {
                    let verdicts = batch
                        .column(0)
                        .as_string_opt::<i32>()
                        .ok_or_else(|| difference("scores", None, "verdicts are no text"))?;
                    for name in verdicts {
                        tally.add(verdict(name.unwrap_or_default())?);
                    }
                    Ok(())
                })?;
                Ok(tally)
            })
            .collect::<Result<_, IoError>>()?;
        let tallies = tallies.into_iter();
        Ok(tallies.fold(Tally::default(), Tally::plus))
    }

    /// Counts the verdicts of a unit, and checks that its records are listed where they stand.
    pub(super) fn tally(&self, unit: &Unit, relative: &str) -> Result<Tally, IoError> {
        let mut tally = Tally::default();
        let mut row = unit.row_in_group;
        let ordinals = unit.first_row..unit.first_row + unit.rows;
        self.batches(
            ordinals,
            &["file", "row_group", "row", "verdict"],
            |batch| {
                let files = batch.column(0).as_string::<i32>();
                let groups = batch.column(1).as_primitive::<UInt32Type>();
                let rows = batch.column(2).as_primitive::<UInt64Type>();
                let verdicts = batch.column(3).as_string::<i32>();
                for idx in 0..batch.num_rows() {
                    let listed = (files.value(idx), groups.value(idx), rows.value(idx));
                    if listed != (relative, unit.row_group, row) {
                        return Err(difference(
                            "scores",
                            Some(unit.first_row + row - unit.row_in_group),
                            format!("{listed:?} is listed where row {row} of `{relative}` belongs"),
                        ));
                    }
                    tally.add(verdict(verdicts.value(idx))?);
                    row += 1;
                }
                Ok(())
            },
        )?;
        if row - unit.row_in_group != unit.rows {
            return Err(difference("scores", None, "rows are missing"));
        }
        Ok(tally)
    }

    /// Calls `visit` for the records `ordinals`, in order.
    pub(super) fn walk(
        &self,
        ordinals: Range<u64>,
        mut visit: impl FnMut(&ListedRow<'_>) -> Result<(), IoError>,
    ) -> Result<(), IoError> {
        self.batches(ordinals, &["record_id", "row_hash", "verdict"], |batch| {
            let ids = batch.column(0);
            let texts = (ids.data_type() == &DataType::Utf8).then(|| ids.as_string::<i32>());
            let integers = ids.as_primitive_opt::<Int64Type>();
            let hashes = batch.column(1).as_string::<i32>();
            let verdicts = batch.column(2).as_string::<i32>();
            let mut decimal;
            for idx in 0..batch.num_rows() {
                let record_id = match (texts, integers) {
                    (Some(texts), _) => texts.value(idx),
                    (None, Some(integers)) => {
                        decimal = integers.value(idx).to_string();
                        &decimal
                    }
                    (None, None) => "",
                };
                visit(&ListedRow {
                    verdict: verdict(verdicts.value(idx))?,
                    row_hash: hashes.is_valid(idx).then(|| hashes.value(idx)),
                    record_id,
                })?;
            }
            Ok(())
        })
    }

    fn batches(
        &self,
        ordinals: Range<u64>,
        columns: &[&str],
        mut visit: impl FnMut(&RecordBatch) -> Result<(), IoError>,
    ) -> Result<(), IoError> {
        for part in &self.parts {
            let start = ordinals.start.max(part.first_row);
            let end = ordinals.end.min(part.first_row + part.rows);
            if start >= end {
                continue;
            }
            let failed = |error: String| difference("scores", None, error);
            let file = File::open(&part.path).map_err(IoError::storage("read", &part.path))?;
            let mask =
                ProjectionMask::columns(part.metadata.parquet_schema(), columns.iter().copied());
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(file, part.metadata.clone())
                    .with_projection(mask);
            let rows = start - part.first_row..end - part.first_row;
            let reader = read_rows(builder, &rows).map_err(failed)?;
            for batch in reader {
                let batch = batch.map_err(|error| failed(error.to_string()))?;
                let schema = Arc::clone(batch.schema_ref());
                let order: Vec<usize> = columns
                    .iter()
                    .map(|column| schema.index_of(column))
                    .collect::<Result<_, _>>()
                    .map_err(|error| failed(error.to_string()))?;
                let batch = batch
                    .project(&order)
                    .map_err(|error| failed(error.to_string()))?;
                visit(&batch)?;
            }
        }
        Ok(())
    }
}

fn verdict(name: &str) -> Result<Verdict, IoError> {
    [Verdict::Pass, Verdict::Quarantine, Verdict::Unscanned]
        .into_iter()
        .find(|verdict| verdict.name() == name)
        .ok_or_else(|| difference("scores", None, format!("unknown verdict `{name}`")))
}
