//! `findings.parquet`: one row per finding, with the ids of its records and where `scores/` lists them.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, Float64Builder, ListBuilder, RecordBatch, StringBuilder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, UInt64Type};
use lazaretto_core::{Action, Finding};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::IoError;
use crate::parquet_sink::encode_error;
use crate::run_folder::RunFolder;

/// Collects findings and writes them as one small file.
pub struct FindingsWriter {
    path: PathBuf,
    texts: [StringBuilder; 8],
    p_values: Float64Builder,
    sizes: UInt64Builder,
    records: ListBuilder<StringBuilder>,
    rows: ListBuilder<UInt64Builder>,
}

/// String columns, in the order of `texts`.
const TEXTS: [&str; 8] = [
    "finding_id",
    "detector",
    "kind",
    "severity",
    "action",
    "title",
    "target_class",
    "evidence",
];

impl FindingsWriter {
    /// A writer for `findings.parquet` in `run`.
    #[must_use]
    pub fn new(run: &RunFolder) -> Self {
        Self {
            path: run.path().join("findings.parquet"),
            texts: Default::default(),
            p_values: Float64Builder::new(),
            sizes: UInt64Builder::new(),
            records: ListBuilder::new(StringBuilder::new()),
            rows: ListBuilder::new(UInt64Builder::new()),
        }
    }

    /// Adds a finding with its id in the report and the ids of its records, as in `scores/`.
    pub fn append(&mut self, id: &str, finding: &Finding, record_ids: &[&str]) {
        let action = match finding.action {
            Action::Quarantine => "quarantine",
            Action::Review => "review",
            Action::Fail => "fail",
        };
        let evidence = serde_json::to_string(&finding.evidence).unwrap_or_default();
        let values = [
            Some(id),
            Some(&finding.detector),
            Some(&finding.kind),
            Some(finding.severity.name()),
            Some(action),
            Some(&finding.title),
            finding.target_class.as_deref(),
            Some(&evidence),
        ];
        for (builder, value) in self.texts.iter_mut().zip(values) {
            builder.append_option(value);
        }
        self.p_values.append_value(finding.p_value);
        self.sizes.append_value(record_ids.len() as u64);
        for id in record_ids {
            self.records.values().append_value(id);
        }
        self.records.append(true);
        self.rows.values().append_slice(&finding.records);
        self.rows.append(true);
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses, [`IoError::Encode`] when Parquet does.
    pub fn finish(mut self) -> Result<(), IoError> {
        let mut fields = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (name, builder) in TEXTS.iter().zip(&mut self.texts) {
            fields.push(Field::new(*name, DataType::Utf8, *name == "target_class"));
            columns.push(Arc::new(builder.finish()));
        }
        fields.push(Field::new("p_value", DataType::Float64, false));
        columns.push(Arc::new(self.p_values.finish()));
        fields.push(Field::new("n_records", DataType::UInt64, false));
        columns.push(Arc::new(self.sizes.finish()));
        let records: ArrayRef = Arc::new(self.records.finish());
        fields.push(Field::new("record_ids", records.data_type().clone(), false));
        columns.push(records);
        let rows: ArrayRef = Arc::new(self.rows.finish());
        fields.push(Field::new("rows", rows.data_type().clone(), false));
        columns.push(rows);
        let path = self.path;
        let encode = |reason: String| IoError::Encode {
            path: path.display().to_string(),
            reason,
        };
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
            .map_err(|error| encode(error.to_string()))?;
        let file = File::create(&path).map_err(IoError::storage("create", &path))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let mut writer = ArrowWriter::try_new(file, schema, Some(properties))
            .map_err(|error| encode_error(&path, error))?;
        writer
            .write(&batch)
            .and_then(|()| writer.close())
            .map_err(|error| encode_error(&path, error))?;
        Ok(())
    }
}

/// A finding as `findings.parquet` tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedFinding {
    /// Its id in the report.
    pub id: String,
    /// The detector that made it.
    pub detector: String,
    /// What was found, a stable word.
    pub kind: String,
    /// How bad it would be, a word.
    pub severity: String,
    /// Whether it holds its records back; otherwise it is for review.
    pub holds: bool,
    /// One sentence.
    pub title: String,
    /// The class the attack aims at.
    pub target_class: Option<String>,
    /// Numbers behind the sentence, as JSON.
    pub evidence: String,
    /// See [`Finding::p_value`].
    pub p_value: f64,
    /// Number of records.
    pub n_records: u64,
}

/// Findings of the record that `scores/` lists at `row`, counted from 0, in the order of the report.
///
/// # Errors
/// [`IoError::Storage`] when the file cannot be read, [`IoError::NoRun`] when it is no list of findings.
pub(crate) fn findings_of(path: &std::path::Path, row: u64) -> Result<Vec<ListedFinding>, IoError> {
    /// Findings in memory at a time: each has the ids of all its records.
    const BATCH: usize = 64;
    let file = File::open(path).map_err(IoError::storage("read", path))?;
    let strange = |reason: String| IoError::NoRun {
        path: path.to_owned(),
        reason,
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(BATCH).build())
        .map_err(|error| strange(error.to_string()))?;
    let mut found = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| strange(error.to_string()))?;
        let column = |name: &str, wanted: &DataType| {
            let column = batch.column_by_name(name);
            column
                .filter(|column| column.data_type() == wanted)
                .ok_or_else(|| strange(format!("no column `{name}` of type `{wanted}`")))
        };
        let rows = batch
            .column_by_name("rows")
            .and_then(|rows| rows.as_list_opt::<i32>())
            .filter(|rows| rows.value_type() == DataType::UInt64)
            .ok_or_else(|| strange("no column `rows`: another version wrote it".to_owned()))?;
        let texts = TEXTS
            .iter()
            .map(|name| Ok(column(name, &DataType::Utf8)?.as_string::<i32>()))
            .collect::<Result<Vec<_>, IoError>>()?;
        let p_values = column("p_value", &DataType::Float64)?.as_primitive::<Float64Type>();
        let sizes = column("n_records", &DataType::UInt64)?.as_primitive::<UInt64Type>();
        for idx in 0..batch.num_rows() {
            let members = rows.value(idx);
            let members = members.as_primitive::<UInt64Type>().values();
            if members.binary_search(&row).is_err() {
                continue;
            }
            let text = |column: usize| texts[column].value(idx).to_owned();
            found.push(ListedFinding {
                id: text(0),
                detector: text(1),
                kind: text(2),
                severity: text(3),
                holds: texts[4].value(idx) == "quarantine",
                title: text(5),
                target_class: texts[6].is_valid(idx).then(|| text(6)),
                evidence: text(7),
                p_value: p_values.value(idx),
                n_records: sizes.value(idx),
            });
        }
    }
    Ok(found)
}
