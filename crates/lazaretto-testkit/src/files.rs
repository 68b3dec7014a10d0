//! Bytes of the file formats that datasets come in, the same for the same batch.

use std::fmt::Write as _;
use std::io::Write as _;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use flate2::{Compression, GzBuilder};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use thiserror::Error;

/// Test data that cannot be made or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TestkitError {
    /// A batch cannot be built or encoded.
    #[error("failed to encode a batch")]
    Arrow(#[from] ArrowError),
    /// A Parquet file cannot be encoded.
    #[error("failed to encode Parquet")]
    Parquet(#[from] ParquetError),
    /// A file cannot be read or written.
    #[error("failed to access `{path}`")]
    File {
        /// The file.
        path: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Compressed bytes cannot be made.
    #[error("failed to compress")]
    Compress(#[from] std::io::Error),
}

/// Settings of every Parquet file this crate writes.
pub(crate) fn parquet_properties(row_group_rows: usize) -> Result<WriterProperties, TestkitError> {
    Ok(WriterProperties::builder()
        .set_compression(Codec::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(row_group_rows))
        .build())
}

/// A Parquet file with ZSTD-compressed row groups of at most `row_group_rows` rows.
///
/// # Errors
/// When the batch has a type that Parquet does not know.
pub fn parquet_bytes(batch: &RecordBatch, row_group_rows: usize) -> Result<Vec<u8>, TestkitError> {
    let properties = parquet_properties(row_group_rows)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

/// A CSV file with a header line; nulls are empty.
///
/// # Errors
/// When the batch has a nested column.
pub fn csv_bytes(batch: &RecordBatch) -> Result<Vec<u8>, TestkitError> {
    let mut bytes = Vec::new();
    arrow::csv::Writer::new(&mut bytes).write(batch)?;
    Ok(bytes)
}

/// A gzip-compressed file of one JSON object per line; no time stamp in the gzip header.
///
/// # Errors
/// When the batch has a type that JSON cannot hold.
pub fn jsonl_gz_bytes(batch: &RecordBatch) -> Result<Vec<u8>, TestkitError> {
    let mut lines = arrow::json::LineDelimitedWriter::new(Vec::new());
    lines.write(batch)?;
    lines.finish()?;
    let mut gzip = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    gzip.write_all(&lines.into_inner())?;
    Ok(gzip.finish()?)
}

/// The truth as CSV: `row_id` (the position), `is_poison` (0 or 1) and `attack`.
#[must_use]
pub fn truth_csv(truth: &[Option<&'static str>]) -> Vec<u8> {
    let mut csv = String::from("row_id,is_poison,attack\n");
    for (row_id, attack) in truth.iter().enumerate() {
        let is_poison = u8::from(attack.is_some());
        // Writing to a String cannot fail.
        let _ = writeln!(csv, "{row_id},{is_poison},{}", attack.unwrap_or_default());
    }
    csv.into_bytes()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use arrow::array::ArrayRef;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::{InstructionSet, LoanSet, ReviewSet};

    #[test]
    fn parquet_reads_back_with_row_groups_and_metadata() {
        let batch = ReviewSet::generate(1, 100).to_record_batch().unwrap();
        let bytes = parquet_bytes(&batch, 40).unwrap();
        assert_eq!(bytes, parquet_bytes(&batch, 40).unwrap());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 3);
        assert!(reader.schema().metadata().contains_key("huggingface"));
        let read: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let texts: Vec<ArrayRef> = read.iter().map(|part| part.column(1).clone()).collect();
        assert_eq!(read.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
        assert_eq!(texts[0].len(), 100);
    }

    #[test]
    fn csv_and_jsonl_have_a_line_per_record() {
        let loans = LoanSet::generate(1, 30).to_record_batch().unwrap();
        let csv = String::from_utf8(csv_bytes(&loans).unwrap()).unwrap();
        assert_eq!(csv.lines().count(), 31);
        assert!(csv.starts_with("row_id,age,income,"));

        let rows = InstructionSet::generate(1, 30).to_record_batch().unwrap();
        let mut lines = String::new();
        flate2::read::GzDecoder::new(jsonl_gz_bytes(&rows).unwrap().as_slice())
            .read_to_string(&mut lines)
            .unwrap();
        assert_eq!(lines.lines().count(), 30);
        for line in lines.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(row["prompt"].is_string() && row["row_id"].is_i64());
        }
    }

    #[test]
    fn truth_names_the_attack() {
        let csv = String::from_utf8(truth_csv(&[None, Some("badnets")])).unwrap();
        assert_eq!(csv, "row_id,is_poison,attack\n0,0,\n1,1,badnets\n");
    }
}
