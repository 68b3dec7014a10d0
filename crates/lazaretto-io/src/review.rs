//! `review.parquet`: the records that a person should look at first, in that order.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    UInt32Array, UInt64Array,
};
use lazaretto_core::{RowHash, Verdict};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::IoError;
use crate::parquet_sink::encode_error;
use crate::run_folder::RunFolder;
use crate::scores::hexadecimal;

/// Name of the file in the run folder.
const FILE_NAME: &str = "review.parquet";

/// A record of the list.
#[derive(Clone, Debug)]
pub struct ReviewRow {
    /// Place on the list, from 1.
    pub rank: u64,
    /// Id of the record, as in `scores/`.
    pub record_id: String,
    /// Hash of its values.
    pub row_hash: RowHash,
    /// Relative path of its file.
    pub file: String,
    /// Row group in the file.
    pub row_group: u32,
    /// Row in the row group.
    pub row: u64,
    /// Its verdict.
    pub verdict: Verdict,
    /// Fused score in `0..=1`.
    pub score: f32,
    /// Fused p-value.
    pub p_value: f64,
    /// q-value.
    pub q_value: f64,
    /// Expected share of innocents among this record and all before it, in `0..=1`.
    pub expected_error: f64,
    /// Ids of its findings.
    pub findings: Vec<String>,
}

/// Writes `review.parquet` in `run`.
///
/// # Errors
/// [`IoError::Storage`] when the file system refuses, [`IoError::Encode`] when Parquet does.
pub fn write_review(run: &RunFolder, rows: &[ReviewRow]) -> Result<(), IoError> {
    let path = run.path().join(FILE_NAME);
    let encode = |reason: String| IoError::Encode {
        path: FILE_NAME.to_owned(),
        reason,
    };
    let mut findings = ListBuilder::new(StringBuilder::new());
    for row in rows {
        for finding in &row.findings {
            findings.values().append_value(finding);
        }
        findings.append(true);
    }
    let whole = |of: fn(&ReviewRow) -> u64| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(of)))
    };
    let text = |of: fn(&ReviewRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    };
    let real = |of: fn(&ReviewRow) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(of)))
    };
    let hashes = rows.iter().map(|row| hexadecimal(row.row_hash));
    let groups = rows.iter().map(|row| row.row_group);
    let scores = rows.iter().map(|row| row.score);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("rank", whole(|row| row.rank)),
        ("record_id", text(|row| &row.record_id)),
        ("row_hash", Arc::new(StringArray::from_iter_values(hashes))),
        ("file", text(|row| &row.file)),
        ("row_group", Arc::new(UInt32Array::from_iter_values(groups))),
        ("row", whole(|row| row.row)),
        ("verdict", text(|row| row.verdict.name())),
        ("score", Arc::new(Float32Array::from_iter_values(scores))),
        ("p_value", real(|row| row.p_value)),
        ("q_value", real(|row| row.q_value)),
        ("expected_error", real(|row| row.expected_error)),
        ("findings", Arc::new(findings.finish())),
    ];
    let batch = RecordBatch::try_from_iter(columns).map_err(|error| encode(error.to_string()))?;
    let file = File::create(&path).map_err(IoError::storage("create", &path))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))
        .map_err(|error| encode_error(&path, error))?;
    writer
        .write(&batch)
        .and_then(|()| writer.close())
        .map_err(|error| encode_error(&path, error))?;
    Ok(())
}
