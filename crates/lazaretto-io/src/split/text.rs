//! Splits text: the bytes of records are moved, never written anew.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lazaretto_core::Verdict;

use super::evidence::{evidence, with_evidence};
use super::{FilePlan, LiveRange, folder, quarantine_sink};
use crate::decode::records::record_ends;
use crate::decode::text::{TextFile, parse};
use crate::discover::{Compression, Format};
use crate::error::IoError;
use crate::parquet_sink::ParquetSink;
use crate::run_folder::RunFolder;

/// A text file with the compression of the input.
enum TextSink {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl TextSink {
    fn create(path: &Path, compression: Compression) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(match compression {
            Compression::None => Self::Plain(file),
            // No time and no name in the header: the same content gives the same bytes.
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(
                file,
                flate2::Compression::default(),
            )),
            Compression::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(file, 0)?),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
        .and_then(|mut file| file.flush())
    }
}

/// Records in their original bytes.
struct Output {
    verdict: Verdict,
    path: PathBuf,
    sink: TextSink,
}

/// Records as Parquet.
struct Quarantine {
    path: PathBuf,
    format: Format,
    /// Columns of the input that Parquet can hold.
    columns: Vec<usize>,
    schema: SchemaRef,
    sink: ParquetSink,
}

pub(super) fn split(plan: &FilePlan<'_>, input: &TextFile, run: &RunFolder) -> Result<(), IoError> {
    let file = &plan.dataset.files()[plan.file].input;
    let mut outputs = Vec::new();
    let mut quarantine = None;
    for verdict in plan.outputs() {
        if verdict == Verdict::Quarantine {
            quarantine = Some(Quarantine::create(plan, input, file.format, run)?);
            continue;
        }
        let path = run.target(&format!("{}/{}", folder(verdict), plan.relative()))?;
        let sink = TextSink::create(&path, file.compression)
            .and_then(|mut sink| sink.write(input.prefix()).map(|()| sink))
            .map_err(IoError::storage("write", &path))?;
        outputs.push(Output {
            verdict,
            path,
            sink,
        });
    }
    for range in plan.live_ranges() {
        plan.dataset.check_cancelled()?;
        let bytes = input
            .block(range.group)
            .map_err(|reason| plan.dataset.unreadable(plan.file, range.group, reason))?;
        let records = records(plan, range, file.format, &bytes)?;
        for output in &mut outputs {
            let verdict = output.verdict;
            records
                .iter()
                .filter(|(ordinal, _)| plan.decisions.verdict(*ordinal) == verdict)
                .try_for_each(|(_, record)| output.sink.write(record))
                .map_err(IoError::storage("write", &output.path))?;
        }
        if let Some(quarantine) = &mut quarantine {
            quarantine.write(plan, input, range, &records)?;
        }
    }
    for output in outputs {
        let path = output.path;
        output
            .sink
            .finish()
            .map_err(IoError::storage("write", &path))?;
    }
    quarantine.map_or(Ok(()), |quarantine| quarantine.sink.close())
}

/// Ordinal and bytes of each record of a block.
fn records<'b>(
    plan: &FilePlan<'_>,
    range: LiveRange,
    format: Format,
    bytes: &'b [u8],
) -> Result<Vec<(u64, &'b [u8])>, IoError> {
    let ends = record_ends(format, bytes);
    if ends.len() as u64 != range.rows {
        let reason = format!("{} records where there were {}", ends.len(), range.rows);
        return Err(plan.dataset.unreadable(plan.file, range.group, reason));
    }
    let mut start = 0;
    Ok((range.ordinal..)
        .zip(ends)
        .map(|(ordinal, end)| {
            let record = &bytes[start..end];
            start = end;
            (ordinal, record)
        })
        .collect())
}

impl Quarantine {
    fn create(
        plan: &FilePlan<'_>,
        input: &TextFile,
        format: Format,
        run: &RunFolder,
    ) -> Result<Self, IoError> {
        let path = run.target(&format!("quarantine/{}.parquet", plan.relative()))?;
        let columns: Vec<usize> = (0..input.schema().fields().len())
            .filter(|&column| has_values(input.schema().field(column)))
            .collect();
        let own = input
            .schema()
            .project(&columns)
            .unwrap_or_else(|_| Schema::empty());
        let schema = with_evidence(&own, true);
        Ok(Self {
            sink: quarantine_sink(&path, &schema, plan.dataset.keys())?,
            path,
            format,
            columns,
            schema,
        })
    }

    /// Writes the quarantined records of a block as a row group.
    fn write(
        &mut self,
        plan: &FilePlan<'_>,
        input: &TextFile,
        range: LiveRange,
        records: &[(u64, &[u8])],
    ) -> Result<(), IoError> {
        let held: Vec<_> = records
            .iter()
            .filter(|(ordinal, _)| plan.decisions.verdict(*ordinal) == Verdict::Quarantine)
            .collect();
        if held.is_empty() {
            return Ok(());
        }
        let unreadable = |reason| plan.dataset.unreadable(plan.file, range.group, reason);
        let mut bytes = Vec::new();
        for (_, record) in &held {
            bytes.extend_from_slice(record);
        }
        let parsed = parse(self.format, input.schema(), bytes, None, held.len())
            .and_then(Iterator::collect::<Result<Vec<RecordBatch>, _>>)
            .and_then(|batches| {
                arrow::compute::concat_batches(input.schema(), &batches)
                    .map_err(|error| error.to_string())
            })
            .map_err(unreadable)?;
        let notes: Vec<_> = held
            .iter()
            .map(|(ordinal, _)| plan.decisions.note(*ordinal))
            .collect();
        let raw = held.iter().map(|(_, record)| *record).collect();
        let mut columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|&column| parsed.column(column).clone())
            .collect();
        let batch = evidence(&notes, Some(raw))
            .and_then(|evidence| {
                columns.push(evidence);
                RecordBatch::try_new(self.schema.clone(), columns)
            })
            .map_err(|error| IoError::Encode {
                path: self.path.display().to_string(),
                reason: error.to_string(),
            })?;
        self.sink.write_group(&[batch])
    }
}

/// Whether Parquet has a column for the field: an object that is empty in every record has none.
fn has_values(field: &Field) -> bool {
    match field.data_type() {
        DataType::Struct(fields) => {
            !fields.is_empty() && fields.iter().all(|field| has_values(field))
        }
        DataType::List(item) => has_values(item),
        _ => true,
    }
}
