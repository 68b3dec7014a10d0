//! An opened dataset: one schema over all files, and batches by unit.
//!
//! A file that cannot be read, or whose schema does not fit, is recorded with its reason and the
//! rest goes on; the run then ends incomplete, never clean.

mod assembly;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use rayon::prelude::*;

use self::assembly::{Assembly, Source};
use crate::decode::isolated::{Decoders, Isolation, SandboxLevel};
use crate::decode::preflight::HeaderLimits;
use crate::decode::text::disk_error;
use crate::decode::{Opened, RawBatches, ReadRequest, guard};
use crate::discover::{Discovery, InputFile};
use crate::encryption::EncryptionKeys;
use crate::error::IoError;
use crate::recorded::pointer;
use crate::schema::{agree, with_partitions};

/// How a dataset is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Existing folder for unpacked copies of compressed text files; they are removed with the
    /// [`Dataset`].
    pub scratch: PathBuf,
    /// Set to stop; reading then ends with [`IoError::Interrupted`].
    pub cancel: Arc<AtomicBool>,
    /// Target size of one batch in bytes of memory.
    pub batch_bytes: usize,
    /// How to decode in processes of their own; without it, decoding is done in this process.
    pub isolation: Option<Isolation>,
    /// Keys of encrypted files.
    pub keys: EncryptionKeys,
    /// What the headers of a file may promise.
    pub headers: HeaderLimits,
}

/// One input file as opened.
#[derive(Clone, Debug)]
pub struct OpenFile {
    /// The file as found.
    pub input: InputFile,
    /// Number of records, `None` when the file cannot be read.
    pub rows: Option<u64>,
    /// Number of row groups, record batches or blocks of text lines.
    pub row_groups: u32,
    /// Why the file as a whole is unscanned, if it is.
    pub problem: Option<String>,
}

/// The smallest part of the dataset that is read on its own: a row group or record batch, a part
/// of a very large one, or a block of text lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Index into [`Dataset::files`].
    pub file: usize,
    /// Row group of the file.
    pub row_group: u32,
    /// Number of records.
    pub rows: u64,
    /// Dataset-wide ordinal of the first record.
    pub first_row: u64,
    /// Position of the first record in the file.
    pub row_in_file: u64,
    /// Position of the first record in the row group (a large row group has several units).
    pub row_in_group: u64,
}

/// Batches of a unit, in order. After an error there are no more.
pub type Batches<'a> = Box<dyn Iterator<Item = Result<RecordBatch, IoError>> + Send + 'a>;

/// An opened dataset. Records are numbered over all readable files in path order, row groups and
/// rows in file order.
#[derive(Debug)]
pub struct Dataset {
    name: String,
    files: Vec<OpenFile>,
    opened: Vec<Option<Source>>,
    skipped: Vec<lazaretto_core::report::SkippedReport>,
    schema: SchemaRef,
    full_schema: SchemaRef,
    units: Vec<Unit>,
    n_rows: u64,
    options: OpenOptions,
    decoders: Decoders,
}

impl Dataset {
    /// Opens every file of `discovery`, all threads at work.
    ///
    /// When files do not fit together, the schema that most files share (the first of equals) is
    /// the dataset's; the others are recorded as unscanned.
    ///
    /// # Errors
    /// When no file is readable, no decoder can be started as asked, or the run was cancelled.
    pub fn open(discovery: Discovery, mut options: OpenOptions) -> Result<Self, IoError> {
        // Unpacked files are opened like others, without links on the way.
        if let Ok(resolved) = options.scratch.canonicalize() {
            options.scratch = resolved;
        }
        let decoders = Decoders::new(&options, &discovery.files)?;
        let outcomes: Vec<Result<Opened, String>> = discovery
            .files
            .par_iter()
            .map(|input| {
                if options.cancel.load(Ordering::Relaxed) {
                    return Err("interrupted".to_owned());
                }
                // As text it would be read as data.
                if let Some(oid) = pointer::target_of(&input.path, input.bytes) {
                    return Err(pointer::reason(&oid));
                }
                let opened = Opened::open(input, &options.scratch, &decoders)?;
                if let (Opened::Ipc(ipc), Some(_)) = (&opened, &options.keys.quarantine) {
                    check_encryptable(ipc.schema())?;
                }
                Ok(opened)
            })
            .collect();
        check_cancelled(&options)?;
        let mut reasons = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        if let Some(source) = reasons.find_map(|reason| disk_error(reason)) {
            return Err(IoError::storage("unpack to", &options.scratch)(source));
        }
        let mut problems: Vec<Option<String>> = outcomes
            .iter()
            .map(|outcome| outcome.as_ref().err().cloned())
            .collect();
        let mut readers: Vec<Option<Opened>> = outcomes.into_iter().map(Result::ok).collect();
        let (shape, first) = agree(&discovery.files, &mut readers, &mut problems)?;
        let schema = shape.schema(&first);
        let full_schema = with_partitions(&schema, &discovery.files, &readers);
        let mut dataset = Self {
            name: discovery.name,
            files: Vec::with_capacity(readers.len()),
            opened: Vec::with_capacity(readers.len()),
            skipped: discovery.skipped,
            schema,
            full_schema,
            units: Vec::new(),
            n_rows: 0,
            options,
            decoders,
        };
        for ((input, mut reader), problem) in discovery.files.into_iter().zip(readers).zip(problems)
        {
            if let (Some(Opened::Text(text)), Some(kinds)) = (&mut reader, shape.kinds()) {
                text.adopt(kinds);
            }
            dataset.add(input, reader, problem);
        }
        Ok(dataset)
    }

    fn add(&mut self, input: InputFile, reader: Option<Opened>, problem: Option<String>) {
        let file = self.files.len();
        let mut rows_in_file = 0;
        let groups = reader.as_ref().map_or(&[][..], Opened::groups);
        for (group, found) in groups.iter().enumerate() {
            let mut row_in_group = 0;
            for &rows in found.parts.iter().filter(|&&rows| rows > 0) {
                self.units.push(Unit {
                    file,
                    row_group: group as u32,
                    rows,
                    first_row: self.n_rows,
                    row_in_file: rows_in_file,
                    row_in_group,
                });
                self.n_rows += rows;
                rows_in_file += rows;
                row_in_group += rows;
            }
        }
        self.files.push(OpenFile {
            input,
            rows: reader.is_some().then_some(rows_in_file),
            row_groups: groups.len() as u32,
            problem,
        });
        let source = reader.map(|reader| Source::new(reader, &self.schema));
        self.opened.push(source);
    }

    /// The last component of the path that was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All data files in path order, unreadable ones included.
    #[must_use]
    pub fn files(&self) -> &[OpenFile] {
        &self.files
    }

    /// What decoders are shut into, where they run in processes of their own.
    #[must_use]
    pub fn sandbox(&self) -> Option<SandboxLevel> {
        self.decoders.pool().map(|pool| pool.level())
    }

    /// Files that were passed over on purpose.
    #[must_use]
    pub fn skipped(&self) -> &[lazaretto_core::report::SkippedReport] {
        &self.skipped
    }

    /// The common schema of the readable files, without partition columns. The row hash of a
    /// record is [`lazaretto_core::RowHasher`] over these columns in this order.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// [`Self::schema`] with the Hive partition columns (`Utf8`) appended that the files do not
    /// have themselves.
    #[must_use]
    pub fn full_schema(&self) -> &SchemaRef {
        &self.full_schema
    }

    /// All units, in the order of their records.
    #[must_use]
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// Number of records in readable files.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// The unit that record `ordinal` is in, or would be in.
    #[must_use]
    pub fn unit_of(&self, ordinal: u64) -> usize {
        self.units
            .partition_point(|unit| unit.first_row <= ordinal)
            .saturating_sub(1)
    }

    /// Reads unit `unit`; `columns` are indices into [`Self::full_schema`], ascending, `None` for
    /// all. With no columns, batches have rows but no columns.
    ///
    /// # Errors
    /// When the file cannot be opened any more. What does not decode is an error item: all
    /// records of the unit are then to be treated as unscanned.
    ///
    /// # Panics
    /// When `unit` or a column is out of range.
    pub fn batches(&self, unit: usize, columns: Option<&[usize]>) -> Result<Batches<'_>, IoError> {
        self.batches_of(unit, columns, self.options.batch_bytes)
    }

    /// [`Self::batches`] with another target size.
    pub(crate) fn batches_of(
        &self,
        unit: usize,
        columns: Option<&[usize]>,
        batch_bytes: usize,
    ) -> Result<Batches<'_>, IoError> {
        check_cancelled(&self.options)?;
        let unit = self.units[unit];
        let unreadable = move |reason: String| IoError::Unreadable {
            file: self.files[unit.file].input.relative.clone(),
            location: format!(" row group {}", unit.row_group),
            reason,
        };
        let source = self.opened[unit.file]
            .as_ref()
            .ok_or_else(|| unreadable("it was not opened".to_owned()))?;
        let input = &self.files[unit.file].input;
        let assembly =
            Assembly::plan(&self.full_schema, source, input, columns).map_err(unreadable)?;
        let request = ReadRequest {
            group: unit.row_group as usize,
            rows: unit.row_in_group..unit.row_in_group + unit.rows,
            columns: Some(&assembly.read),
            batch_bytes,
        };
        let raw = source
            .reader
            .read(&request, &self.decoders)
            .map_err(unreadable)?;
        Ok(Box::new(raw.map(move |batch| {
            check_cancelled(&self.options)?;
            batch
                .and_then(|batch| guard(|| assembly.assemble(&batch)))
                .map_err(unreadable)
        })))
    }

    /// The reader of file `file`, for writers that keep the file's own schema.
    pub(crate) fn reader(&self, file: usize) -> Option<&Opened> {
        self.opened[file].as_ref().map(|source| &source.reader)
    }

    /// The units of file `file`.
    pub(crate) fn units_of(&self, file: usize) -> &[Unit] {
        let start = self.units.partition_point(|unit| unit.file < file);
        let end = self.units.partition_point(|unit| unit.file <= file);
        &self.units[start..end]
    }

    /// Reads rows of a row group of `file` as they are, in the file's own schema.
    pub(crate) fn raw_batches(
        &self,
        file: usize,
        group: usize,
        rows: std::ops::Range<u64>,
        columns: Option<&[usize]>,
    ) -> Result<RawBatches, IoError> {
        check_cancelled(&self.options)?;
        let request = ReadRequest {
            group,
            rows,
            columns,
            batch_bytes: self.options.batch_bytes,
        };
        self.reader(file)
            .ok_or_else(|| "it was not opened".to_owned())
            .and_then(|reader| reader.read(&request, &self.decoders))
            .map_err(|reason| self.unreadable(file, group, reason))
    }

    /// The error that row group `group` of `file` does not decode.
    pub(crate) fn unreadable(&self, file: usize, group: usize, reason: String) -> IoError {
        IoError::Unreadable {
            file: self.files[file].input.relative.clone(),
            location: format!(" row group {group}"),
            reason,
        }
    }

    /// Keys of the run.
    pub(crate) fn keys(&self) -> &EncryptionKeys {
        &self.options.keys
    }

    /// Says whether to go on.
    ///
    /// # Errors
    /// [`IoError::Interrupted`] once the run was cancelled.
    pub fn check_cancelled(&self) -> Result<(), IoError> {
        check_cancelled(&self.options)
    }
}

/// Arrow IPC knows no encryption, so that what is held back of it is written as Parquet.
fn check_encryptable(schema: &Schema) -> Result<(), String> {
    // The writer refuses more than its schema does, and that would be at the end of a run.
    guard(|| {
        let nullable = |field: &FieldRef| field.as_ref().clone().with_nullable(true);
        let schema = Arc::new(Schema::new(
            schema.fields().iter().map(nullable).collect::<Vec<_>>(),
        ));
        let fields = schema.fields().iter();
        let nulls = fields.map(|field| new_null_array(field.data_type(), 1));
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        RecordBatch::try_new_with_options(Arc::clone(&schema), nulls.collect(), &options)
            .map_err(ParquetError::from)
            .and_then(|batch| {
                let mut writer = ArrowWriter::try_new(std::io::sink(), schema, None)?;
                writer.write(&batch)?;
                writer.close()
            })
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .map_err(|reason| {
        format!("`quarantine/` is encrypted as Parquet, which cannot hold its columns ({reason})")
    })
}

fn check_cancelled(options: &OpenOptions) -> Result<(), IoError> {
    if options.cancel.load(Ordering::Relaxed) {
        return Err(IoError::Interrupted);
    }
    Ok(())
}
