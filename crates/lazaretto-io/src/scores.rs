//! `scores/part-00000.parquet` and so on: one row per record of the input, in dataset order.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray, StringBuilder,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lazaretto_core::{RowHash, Verdict};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::error::IoError;
use crate::parquet_sink::ParquetSink;
use crate::run_folder::RunFolder;

/// Most rows of one part.
pub const PART_ROWS: u64 = 1_000_000;
/// Rows of a row group; small enough for a reader to take a few out of many.
const GROUP_ROWS: usize = 65_536;

/// The id of a record, in the type of the `record_id` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordId<'a> {
    /// Of an integer id column.
    Integer(i64),
    /// Of any other id column, or from the position of the record.
    Text(&'a str),
}

/// One row of `scores/`.
#[derive(Clone, Copy, Debug)]
pub struct ScoreRow<'a> {
    /// Id of the record.
    pub record_id: RecordId<'a>,
    /// Hash of its values; `None` when it could not be decoded.
    pub row_hash: Option<RowHash>,
    /// Relative path of its file.
    pub file: &'a str,
    /// Row group in the file.
    pub row_group: u32,
    /// Row in the row group.
    pub row: u64,
    /// Fused score in `0..=1`; NaN (null) when it was not judged.
    pub score: f32,
    /// Fused p-value; NaN (null) when it was not judged.
    pub p_value: f64,
    /// q-value; NaN (null) when it was not judged.
    pub q_value: f64,
    /// q-value by the record's own scores alone, whatever findings say; NaN (null) when no detector
    /// that decides scored it.
    pub row_q_value: f64,
    /// The decision.
    pub verdict: Verdict,
    /// Score of each detector in the order given to [`ScoresWriter::create`]; NaN is null.
    pub detectors: &'a [f32],
}

/// Writes `scores/`. The same rows give the same bytes, whatever batches they come in.
pub struct ScoresWriter {
    folder: PathBuf,
    schema: SchemaRef,
    properties: WriterProperties,
    part: Option<ParquetSink>,
    parts: usize,
    part_rows: u64,
    rows: u64,
    pending: Vec<RecordBatch>,
    pending_rows: usize,
}

impl ScoresWriter {
    /// A writer with one column per detector, sorted by id here; `integer_ids` when the declared
    /// id column is an integer column, so that tools can join on `record_id`.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn create(run: &RunFolder, detectors: &[&str], integer_ids: bool) -> Result<Self, IoError> {
        let schema = schema(detectors, integer_ids);
        let folder = run.path().join("scores");
        fs::create_dir_all(&folder).map_err(IoError::storage("create", &folder))?;
        let mut writer = Self {
            folder,
            properties: properties(&schema),
            schema,
            part: None,
            parts: 0,
            part_rows: 0,
            rows: 0,
            pending: Vec::new(),
            pending_rows: 0,
        };
        // An empty dataset has an empty part, so that readers find the columns.
        writer.open_part()?;
        Ok(writer)
    }

    /// Schema of the batches: `record_id`, `row_hash`, `file`, `row_group`, `row`, `score`,
    /// `p_value`, `q_value`, `row_q_value`, `verdict`, then one nullable `f32` per detector.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Appends a batch of [`Self::schema`]; rows come in dataset order.
    ///
    /// # Errors
    /// [`IoError::Encode`] when the batch has another schema, [`IoError::Storage`] when the file
    /// system refuses.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<(), IoError> {
        if batch.schema() != self.schema {
            return Err(encode(format!("a batch with columns {}", batch.schema())));
        }
        let mut start = 0;
        while start < batch.num_rows() {
            let room = (PART_ROWS - self.part_rows).min((GROUP_ROWS - self.pending_rows) as u64);
            let rows = (batch.num_rows() - start).min(room as usize);
            self.pending.push(batch.slice(start, rows));
            self.pending_rows += rows;
            self.part_rows += rows as u64;
            self.rows += rows as u64;
            start += rows;
            if self.pending_rows == GROUP_ROWS || self.part_rows == PART_ROWS {
                self.flush()?;
            }
            if self.part_rows == PART_ROWS {
                self.close_part()?;
            }
        }
        Ok(())
    }

    /// Appends rows; see [`Self::append`].
    ///
    /// # Errors
    /// As [`Self::append`]; [`IoError::Encode`] when a row has another number of detectors or
    /// another kind of id.
    pub fn append_rows(&mut self, rows: &[ScoreRow<'_>]) -> Result<(), IoError> {
        let batch = score_batch(&self.schema, rows)?;
        self.append(&batch)
    }

    /// Ends the last part and returns the number of rows written.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn finish(mut self) -> Result<u64, IoError> {
        self.flush()?;
        self.close_part()?;
        Ok(self.rows)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.part.is_none() {
            self.open_part()?;
        }
        // Batches are joined so that their borders leave no trace in the encoding.
        let joined = arrow::compute::concat_batches(&self.schema, &self.pending)
            .map_err(|error| encode(error.to_string()))?;
        self.pending.clear();
        self.pending_rows = 0;
        match &mut self.part {
            Some(part) => part.write_group(&[joined]),
            None => Ok(()),
        }
    }

    fn open_part(&mut self) -> Result<(), IoError> {
        let path = self.folder.join(format!("part-{:05}.parquet", self.parts));
        let options = ArrowWriterOptions::new().with_properties(self.properties.clone());
        self.part = Some(ParquetSink::create(&path, &self.schema, options)?);
        self.parts += 1;
        Ok(())
    }

    fn close_part(&mut self) -> Result<(), IoError> {
        self.part_rows = 0;
        self.part.take().map_or(Ok(()), ParquetSink::close)
    }
}

fn schema(detectors: &[&str], integer_ids: bool) -> SchemaRef {
    let id_type = if integer_ids {
        DataType::Int64
    } else {
        DataType::Utf8
    };
    let mut fields = vec![
        Field::new("record_id", id_type, false),
        Field::new("row_hash", DataType::Utf8, true),
        Field::new("file", DataType::Utf8, false),
        Field::new("row_group", DataType::UInt32, false),
        Field::new("row", DataType::UInt64, false),
        Field::new("score", DataType::Float32, true),
        Field::new("p_value", DataType::Float64, true),
        Field::new("q_value", DataType::Float64, true),
        Field::new("row_q_value", DataType::Float64, true),
        Field::new("verdict", DataType::Utf8, false),
    ];
    let mut detectors = detectors.to_vec();
    detectors.sort_unstable();
    fields.extend(
        detectors
            .into_iter()
            .map(|detector| Field::new(detector, DataType::Float32, true)),
    );
    Arc::new(Schema::new(fields))
}

/// Dictionaries pay for the two columns with few values; hashes, ids and scores hardly repeat.
fn properties(schema: &SchemaRef) -> WriterProperties {
    let column = |name: &str| ColumnPath::from(vec![name.to_owned()]);
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("lazaretto {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(None)
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled(column("file"), true)
        .set_column_dictionary_enabled(column("verdict"), true)
        .set_column_dictionary_enabled(column("row_group"), true)
        .set_column_encoding(column("row"), Encoding::DELTA_BINARY_PACKED);
    if schema.field(0).data_type() == &DataType::Int64 {
        properties =
            properties.set_column_encoding(column("record_id"), Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}

/// A batch of `schema`, which is [`ScoresWriter::schema`], for threads that make batches while
/// another one appends them.
///
/// # Errors
/// As [`ScoresWriter::append_rows`].
pub fn score_batch(schema: &SchemaRef, rows: &[ScoreRow<'_>]) -> Result<RecordBatch, IoError> {
    const FIXED: usize = 10;
    let detectors = schema.fields().len() - FIXED;
    if let Some(row) = rows.iter().find(|row| row.detectors.len() != detectors) {
        return Err(encode(format!(
            "{} detector scores where there are {detectors} detectors",
            row.detectors.len()
        )));
    }
    let single = |value: f32| (!value.is_nan()).then_some(value);
    let double = |value: f64| (!value.is_nan()).then_some(value);
    let mut columns: Vec<ArrayRef> = vec![
        ids(schema, rows)?,
        Arc::new(hashes(rows)),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| row.file),
        )),
        Arc::new(UInt32Array::from_iter_values(
            rows.iter().map(|row| row.row_group),
        )),
        Arc::new(UInt64Array::from_iter_values(
            rows.iter().map(|row| row.row),
        )),
        Arc::new(
            rows.iter()
                .map(|row| single(row.score))
                .collect::<Float32Array>(),
        ),
        Arc::new(
            rows.iter()
                .map(|row| double(row.p_value))
                .collect::<Float64Array>(),
        ),
        Arc::new(
            rows.iter()
                .map(|row| double(row.q_value))
                .collect::<Float64Array>(),
        ),
        Arc::new(
            rows.iter()
                .map(|row| double(row.row_q_value))
                .collect::<Float64Array>(),
        ),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|row| row.verdict.name()),
        )),
    ];
    columns.extend((0..detectors).map(|idx| {
        Arc::new(
            rows.iter()
                .map(|row| single(row.detectors[idx]))
                .collect::<Float32Array>(),
        ) as ArrayRef
    }));
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| encode(error.to_string()))
}

fn hashes(rows: &[ScoreRow<'_>]) -> StringArray {
    let mut hashes = StringBuilder::with_capacity(rows.len(), 64 * rows.len());
    for row in rows {
        match row.row_hash {
            Some(hash) => hashes.append_value(blake3::Hash::from_bytes(hash.0).to_hex().as_str()),
            None => hashes.append_null(),
        }
    }
    hashes.finish()
}

fn ids(schema: &SchemaRef, rows: &[ScoreRow<'_>]) -> Result<ArrayRef, IoError> {
    if schema.field(0).data_type() == &DataType::Int64 {
        let ids = rows.iter().map(|row| match row.record_id {
            RecordId::Integer(id) => Some(id),
            RecordId::Text(_) => None,
        });
        let ids: Int64Array = ids.collect();
        // A null is refused below, by the column that must not have any.
        return Ok(Arc::new(ids));
    }
    rows.iter()
        .map(|row| match row.record_id {
            RecordId::Text(id) => Ok(Some(id)),
            RecordId::Integer(id) => Err(encode(format!("the integer id `{id}` in a text column"))),
        })
        .collect::<Result<StringArray, _>>()
        .map(|ids| Arc::new(ids) as ArrayRef)
}

/// The text of a hash, many times faster than its `Display`.
pub(crate) fn hexadecimal(hash: RowHash) -> String {
    blake3::Hash::from_bytes(hash.0).to_hex().to_string()
}

fn encode(reason: String) -> IoError {
    IoError::Encode {
        path: "scores".to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(out: &std::path::Path, batch_rows: usize) -> Vec<u8> {
        let run = RunFolder::stage(out).unwrap();
        let mut writer = ScoresWriter::create(&run, &["knn-distance", "ecod"], true).unwrap();
        assert_eq!(writer.schema().field(10).name(), "ecod");
        let rows: Vec<ScoreRow<'_>> = (0..70_000_u32)
            .map(|idx| ScoreRow {
                record_id: RecordId::Integer(i64::from(idx)),
                row_hash: Some(RowHash([(idx % 251) as u8; 32])),
                file: "a.parquet",
                row_group: 0,
                row: u64::from(idx),
                score: 0.5,
                p_value: 0.1,
                q_value: f64::NAN,
                row_q_value: f64::NAN,
                verdict: Verdict::Pass,
                detectors: &[f32::NAN, 2.0],
            })
            .collect();
        for chunk in rows.chunks(batch_rows) {
            writer.append_rows(chunk).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), 70_000);
        std::fs::read(run.path().join("scores/part-00000.parquet")).unwrap()
    }

    #[test]
    fn batch_borders_leave_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        assert_eq!(write(&out, 70_000), write(&out, 999));
    }
}
