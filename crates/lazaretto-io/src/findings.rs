//! `findings.parquet`: one row per finding, with the ids of its records.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, ListBuilder, RecordBatch, StringBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Schema};
use lazaretto_core::{Action, Finding};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::IoError;
use crate::run_folder::RunFolder;

/// Collects findings and writes them as one small file.
pub struct FindingsWriter {
    path: PathBuf,
    texts: [StringBuilder; 8],
    p_values: Float64Builder,
    sizes: UInt64Builder,
    records: ListBuilder<StringBuilder>,
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
            .map_err(|error| encode(error.to_string()))?;
        writer
            .write(&batch)
            .and_then(|()| writer.close())
            .map_err(|error| encode(error.to_string()))?;
        Ok(())
    }
}
