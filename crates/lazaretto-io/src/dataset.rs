//! An opened dataset: one schema over all files, and batches by unit.
//!
//! A file that cannot be read, or whose schema does not fit, is recorded with its reason and the
//! rest goes on; the run then ends incomplete, never clean.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use rayon::prelude::*;

use crate::decode::{Opened, RawBatches, ReadRequest, guard};
use crate::discover::{Discovery, InputFile};
use crate::error::IoError;
use crate::schema::Shape;

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
}

/// A readable file and how its columns make up the dataset's.
#[derive(Debug)]
struct Source {
    reader: Opened,
    /// For each column of [`Dataset::schema`] its index in the file.
    columns: Vec<usize>,
}

impl Dataset {
    /// Opens every file of `discovery`, all threads at work.
    ///
    /// When files do not fit together, the schema that most files share (the first of equals) is
    /// the dataset's; the others are recorded as unscanned.
    ///
    /// # Errors
    /// When no file is readable, or the run was cancelled.
    pub fn open(discovery: Discovery, options: OpenOptions) -> Result<Self, IoError> {
        let outcomes: Vec<Result<Opened, String>> = discovery
            .files
            .par_iter()
            .map(|input| {
                if options.cancel.load(Ordering::Relaxed) {
                    return Err("interrupted".to_owned());
                }
                Opened::open(input, &options.scratch)
            })
            .collect();
        check_cancelled(&options)?;
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
        let source = reader.map(|reader| Source {
            columns: self
                .schema
                .fields()
                .iter()
                .filter_map(|field| reader.schema().index_of(field.name()).ok())
                .collect(),
            reader,
        });
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
        let assembly = Assembly::plan(self, source, unit.file, columns)?;
        let request = ReadRequest {
            group: unit.row_group as usize,
            rows: unit.row_in_group..unit.row_in_group + unit.rows,
            columns: Some(&assembly.read),
            batch_bytes: self.options.batch_bytes,
        };
        let raw = source.reader.read(&request).map_err(unreadable)?;
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
            .and_then(|reader| reader.read(&request))
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

    /// [`IoError::Interrupted`] once the run was cancelled.
    pub(crate) fn check_cancelled(&self) -> Result<(), IoError> {
        check_cancelled(&self.options)
    }
}

fn check_cancelled(options: &OpenOptions) -> Result<(), IoError> {
    if options.cancel.load(Ordering::Relaxed) {
        return Err(IoError::Interrupted);
    }
    Ok(())
}

/// The shape that most files share and the schema of the first of them. Files of other shapes
/// become problems.
fn agree(
    files: &[InputFile],
    readers: &mut [Option<Opened>],
    problems: &mut [Option<String>],
) -> Result<(Shape, SchemaRef), IoError> {
    let mut groups: Vec<(Shape, Vec<usize>)> = Vec::new();
    for (idx, (input, reader)) in files.iter().zip(readers.iter()).enumerate() {
        let Some(reader) = reader else { continue };
        let accepted = groups.iter_mut().any(|(shape, members)| {
            match shape.with(reader, &input.relative, input.format) {
                Ok(wider) => {
                    *shape = wider;
                    members.push(idx);
                    true
                }
                Err(_) => false,
            }
        });
        if !accepted {
            groups.push((Shape::of(reader), vec![idx]));
        }
    }
    // `max_by_key` takes the last of equals, so go backwards to get the first.
    let Some((mut shape, mut members)) = groups
        .into_iter()
        .rev()
        .max_by_key(|(_, files)| files.len())
    else {
        let file = files.first().map(|file| file.relative.clone());
        return Err(IoError::NothingReadable {
            files: files.len(),
            file: file.unwrap_or_default(),
            reason: problems
                .iter()
                .flatten()
                .next()
                .cloned()
                .unwrap_or_default(),
        });
    };
    for (idx, reader) in readers.iter_mut().enumerate() {
        let Err(position) = members.binary_search(&idx) else {
            continue;
        };
        let Some(outsider) = reader.as_ref() else {
            continue;
        };
        match shape.with(outsider, &files[idx].relative, files[idx].format) {
            Ok(wider) => {
                shape = wider;
                members.insert(position, idx);
            }
            Err(error) => {
                problems[idx] = Some(error.to_string());
                *reader = None;
            }
        }
    }
    // Metadata (Hugging Face features) may be missing from some files only.
    let schemas = || members.iter().filter_map(|&idx| readers[idx].as_ref());
    let first = schemas()
        .find(|reader| !reader.schema().metadata().is_empty())
        .or_else(|| schemas().next())
        .map_or_else(
            || Arc::new(Schema::empty()),
            |reader| Arc::clone(reader.schema()),
        );
    Ok((shape, first))
}

/// `schema` with a string column for each partition key that is not a column already.
fn with_partitions(
    schema: &SchemaRef,
    files: &[InputFile],
    readers: &[Option<Opened>],
) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    for (file, _) in files
        .iter()
        .zip(readers)
        .filter(|(_, reader)| reader.is_some())
    {
        for (key, _) in &file.partitions {
            if !fields.iter().any(|field| field.name() == key) {
                fields.push(Arc::new(Field::new(key, DataType::Utf8, true)));
            }
        }
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// How the columns of a batch of the dataset come about.
struct Assembly {
    schema: SchemaRef,
    /// Columns to read from the file, ascending.
    read: Vec<usize>,
    columns: Vec<Column>,
}

enum Column {
    /// A column of what was read.
    Read(usize),
    /// The same partition value for all rows.
    Constant(Option<String>),
}

impl Assembly {
    fn plan(
        dataset: &Dataset,
        source: &Source,
        file: usize,
        columns: Option<&[usize]>,
    ) -> Result<Self, IoError> {
        let full = &dataset.full_schema;
        let all: Vec<usize>;
        let wanted = if let Some(columns) = columns {
            columns
        } else {
            all = (0..full.fields().len()).collect();
            &all
        };
        let mut read: Vec<usize> = wanted
            .iter()
            .filter_map(|&column| source.columns.get(column).copied())
            .collect();
        read.sort_unstable();
        read.dedup();
        let input = &dataset.files[file].input;
        let columns = wanted
            .iter()
            .map(|&column| match source.columns.get(column) {
                Some(own) => Column::Read(read.partition_point(|other| other < own)),
                None => Column::Constant(
                    input
                        .partitions
                        .iter()
                        .find(|(key, _)| key == full.field(column).name())
                        .map(|(_, value)| value.clone()),
                ),
            })
            .collect();
        let schema = full.project(wanted).map_err(|error| IoError::Unreadable {
            file: input.relative.clone(),
            location: String::new(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            schema: Arc::new(schema),
            read,
            columns,
        })
    }

    fn assemble(&self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        let rows = batch.num_rows();
        let columns = self
            .columns
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| match column {
                Column::Read(idx) if batch.column(*idx).data_type() == field.data_type() => {
                    Ok(Arc::clone(batch.column(*idx)))
                }
                Column::Read(idx) => cast(batch.column(*idx), field.data_type()),
                Column::Constant(Some(value)) => Ok(Arc::new(StringArray::from_iter_values(
                    std::iter::repeat_n(value, rows),
                )) as ArrayRef),
                Column::Constant(None) => Ok(new_null_array(&DataType::Utf8, rows)),
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| error.to_string())
    }
}
