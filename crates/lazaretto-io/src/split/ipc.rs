//! Splits Arrow IPC: one record batch out for each that comes in.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use lazaretto_core::Verdict;

use super::evidence::{evidence, with_evidence};
use super::{FilePlan, LiveRange, folder, quarantine_sink};
use crate::decode::ipc::IpcFile;
use crate::error::IoError;
use crate::parquet_sink::ParquetSink;
use crate::run_folder::RunFolder;

enum Writer {
    File(Box<FileWriter<BufWriter<File>>>),
    Stream(Box<StreamWriter<BufWriter<File>>>),
    /// Arrow IPC knows no encryption.
    Encrypted(Box<ParquetSink>),
}

impl Writer {
    fn create(path: &Path, schema: &Schema, input: &IpcFile) -> Result<Self, ArrowError> {
        let file = BufWriter::new(File::create(path)?);
        let options = IpcWriteOptions::default().try_with_compression(input.compression())?;
        if input.is_stream() {
            let writer = StreamWriter::try_new_with_options(file, schema, options)?;
            return Ok(Self::Stream(Box::new(writer)));
        }
        let mut writer = FileWriter::try_new_with_options(file, schema, options)?;
        // Sorted, so that the bytes do not depend on the order of a hash map.
        let metadata: BTreeMap<_, _> = input.custom_metadata().iter().collect();
        for (key, value) in metadata {
            writer.write_metadata(key, value);
        }
        Ok(Self::File(Box::new(writer)))
    }

    fn write(&mut self, path: &Path, batch: &RecordBatch) -> Result<(), IoError> {
        match self {
            Self::File(writer) => writer.write(batch),
            Self::Stream(writer) => writer.write(batch),
            Self::Encrypted(sink) => return sink.write_group(std::slice::from_ref(batch)),
        }
        .map_err(|error| failed(path, error))
    }

    fn finish(self, path: &Path) -> Result<(), IoError> {
        match self {
            Self::File(mut writer) => writer.finish().and_then(|()| writer.flush()),
            Self::Stream(mut writer) => writer.finish().and_then(|()| writer.flush()),
            Self::Encrypted(sink) => return sink.close(),
        }
        .map_err(|error| failed(path, error))
    }
}

struct Output {
    verdict: Verdict,
    path: PathBuf,
    schema: SchemaRef,
    writer: Writer,
}

pub(super) fn split(plan: &FilePlan<'_>, input: &IpcFile, run: &RunFolder) -> Result<(), IoError> {
    let mut outputs = plan
        .outputs()
        .into_iter()
        .map(|verdict| {
            let keys = plan.dataset.keys();
            let held = verdict == Verdict::Quarantine;
            let encrypted = held && keys.quarantine.is_some();
            let extension = if encrypted { ".parquet" } else { "" };
            let relative = format!("{}/{}{extension}", folder(verdict), plan.relative());
            let path = run.target(&relative)?;
            let schema = if held {
                with_evidence(input.schema(), false)
            } else {
                input.schema().clone()
            };
            let writer = if encrypted {
                Writer::Encrypted(Box::new(quarantine_sink(&path, &schema, keys)?))
            } else {
                Writer::create(&path, &schema, input).map_err(|error| failed(&path, error))?
            };
            Ok(Output {
                verdict,
                path,
                schema,
                writer,
            })
        })
        .collect::<Result<Vec<_>, IoError>>()?;
    for range in plan.live_ranges() {
        let rows = range.first_row..range.first_row + range.rows;
        let batches = plan
            .dataset
            .raw_batches(plan.file, range.group, rows, None)?
            .collect::<Result<Vec<_>, _>>()
            .map_err(|reason| plan.dataset.unreadable(plan.file, range.group, reason))?;
        for output in &mut outputs {
            let kept = kept_batch(plan, input, range, &batches, output)
                .map_err(|error| failed(&output.path, error))?;
            if let Some(kept) = kept {
                output.writer.write(&output.path, &kept)?;
            }
        }
    }
    outputs
        .into_iter()
        .try_for_each(|output| output.writer.finish(&output.path))
}

/// The records of `batches` that go to `output`, as one batch; `None` when there are none.
fn kept_batch(
    plan: &FilePlan<'_>,
    input: &IpcFile,
    range: LiveRange,
    batches: &[RecordBatch],
    output: &Output,
) -> Result<Option<RecordBatch>, ArrowError> {
    let mut ordinal = range.ordinal;
    let mut kept = Vec::with_capacity(batches.len());
    for batch in batches {
        let mask = plan.mask(output.verdict, ordinal, batch.num_rows());
        kept.push(filter_record_batch(batch, &mask)?);
        ordinal += batch.num_rows() as u64;
    }
    let kept = concat_batches(input.schema(), &kept)?;
    if kept.num_rows() == 0 {
        return Ok(None);
    }
    if output.verdict != Verdict::Quarantine {
        return Ok(Some(kept));
    }
    let notes: Vec<_> = (range.ordinal..range.ordinal + range.rows)
        .filter(|&ordinal| plan.decisions.verdict(ordinal) == Verdict::Quarantine)
        .map(|ordinal| plan.decisions.note(ordinal))
        .collect();
    let mut columns = kept.columns().to_vec();
    columns.push(evidence(&notes, None)?);
    RecordBatch::try_new(output.schema.clone(), columns).map(Some)
}

fn failed(path: &Path, error: ArrowError) -> IoError {
    match error {
        ArrowError::IoError(_, source) => IoError::storage("write", path)(source),
        other => IoError::Encode {
            path: path.display().to_string(),
            reason: other.to_string(),
        },
    }
}
