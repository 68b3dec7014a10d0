//! Reads back the records of one written file, in order, and hashes them again.

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, RecordBatch, StructArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};
use lazaretto_core::{RowHash, RowHasher};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::PageIndexPolicy;

use crate::discover::{Compression, Format, InputFile};
use crate::encryption::{EncryptionKeys, InputKeys};

/// Rows of a batch; small, because many are open at a time.
const BATCH_ROWS: usize = 8192;

type BatchReader = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// A written file that holds records.
pub(super) struct RowSource {
    path: PathBuf,
    layout: Layout,
    /// Columns that are hashed, in the dataset's order and with its types where those are
    /// inferred.
    hashed: SchemaRef,
}

enum Layout {
    Parquet {
        metadata: ArrowReaderMetadata,
        rows: u64,
        /// What to do with the `_lazaretto` column, the last one.
        evidence: Evidence,
    },
    Ipc {
        noted: bool,
    },
    Text(TextShape),
}

#[derive(Clone)]
enum Evidence {
    None,
    /// The other columns are the record.
    Columns,
    /// The bytes in `raw` are the record.
    Raw(TextShape),
}

/// How records of a text file are parsed.
#[derive(Clone)]
struct TextShape {
    format: Format,
    compression: Compression,
    schema: SchemaRef,
}

/// A record as found.
pub(super) struct FoundRow<'a> {
    /// Hash of its values.
    pub(super) hash: RowHash,
    /// Record id and hash in its `_lazaretto` column.
    pub(super) note: Option<(&'a str, &'a str)>,
}

impl RowSource {
    /// Opens `path`, which holds records of `input`. `own` is the schema of the input file, which
    /// a file other than in quarantine must have; `hashed` that of the dataset.
    pub(super) fn open(
        path: &Path,
        input: &InputFile,
        quarantine: bool,
        own: &SchemaRef,
        hashed: &SchemaRef,
        keys: &EncryptionKeys,
    ) -> Result<Self, String> {
        let text = TextShape {
            format: input.format,
            compression: input.compression,
            schema: Arc::clone(own),
        };
        let of_quarantine = keys.of_quarantine();
        let own_keys = if quarantine { &of_quarantine } else { keys };
        let own_keys = own_keys.inputs.as_ref();
        let layout = match input.format {
            Format::ArrowIpc if quarantine && keys.quarantine.is_some() => {
                parquet(path, Evidence::Columns, own_keys)?
            }
            Format::ArrowIpc => Layout::Ipc { noted: quarantine },
            Format::Parquet if quarantine => parquet(path, Evidence::Columns, own_keys)?,
            Format::Parquet => parquet(path, Evidence::None, own_keys)?,
            _ if quarantine => parquet(path, Evidence::Raw(text), own_keys)?,
            _ => Layout::Text(text),
        };
        let source = Self {
            path: path.to_owned(),
            layout,
            hashed: Arc::clone(hashed),
        };
        if !quarantine && !input.format.is_text() {
            let found = source.schema()?;
            if found != *own {
                return Err(format!("its schema is {found}, that of the input {own}"));
            }
        }
        Ok(source)
    }

    /// Number of records, where the file says it without being read.
    pub(super) fn rows(&self) -> Option<u64> {
        match &self.layout {
            Layout::Parquet { rows, .. } => Some(*rows),
            _ => None,
        }
    }

    fn schema(&self) -> Result<SchemaRef, String> {
        match &self.layout {
            Layout::Parquet { metadata, .. } => Ok(Arc::clone(metadata.schema())),
            Layout::Ipc { .. } => open_ipc(&self.path)
                .map(|(schema, _)| schema)
                .map_err(|error| error.to_string()),
            Layout::Text(text) => Ok(Arc::clone(&text.schema)),
        }
    }

    /// Reads the records `range` of the file. Formats other than Parquet are read from the start,
    /// to the end.
    pub(super) fn read(&self, range: Range<u64>) -> Result<Rows, String> {
        let mut noted = false;
        let mut raw = None;
        let batches: BatchReader = match &self.layout {
            Layout::Parquet {
                metadata, evidence, ..
            } => {
                noted = !matches!(evidence, Evidence::None);
                if let Evidence::Raw(text) = evidence {
                    raw = Some(text.clone());
                }
                let file = File::open(&self.path).map_err(|error| error.to_string())?;
                let builder =
                    ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
                Box::new(read_rows(builder, &range)?)
            }
            Layout::Ipc { noted: with_notes } => {
                noted = *with_notes;
                open_ipc(&self.path).map_err(|error| error.to_string())?.1
            }
            Layout::Text(text) => {
                let file =
                    unpack(&self.path, text.compression).map_err(|error| error.to_string())?;
                text.parse(file, true).map_err(|error| error.to_string())?
            }
        };
        Ok(Rows {
            batches,
            hashed: Arc::clone(&self.hashed),
            noted,
            raw,
            hashes: Vec::new().into_iter(),
            notes: None,
            position: 0,
        })
    }
}

fn parquet(path: &Path, evidence: Evidence, keys: Option<&InputKeys>) -> Result<Layout, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
    if let Some(keys) = keys {
        let decryption = keys.decryption().map_err(|error| error.to_string())?;
        options = options.with_file_decryption_properties(decryption);
    }
    let metadata = ArrowReaderMetadata::load(&file, options).map_err(|error| error.to_string())?;
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
    Ok(Layout::Parquet {
        metadata,
        rows,
        evidence,
    })
}

/// Rows `range` of a Parquet file, from the row groups that hold them.
pub(super) fn read_rows(
    builder: ParquetRecordBatchReaderBuilder<File>,
    range: &Range<u64>,
) -> Result<ParquetRecordBatchReader, String> {
    let mut groups = Vec::new();
    let (mut first_row, mut skipped) = (0, 0);
    for (idx, group) in builder.metadata().row_groups().iter().enumerate() {
        let end = first_row + u64::try_from(group.num_rows()).unwrap_or(0);
        if end <= range.start {
            skipped = end;
        } else if first_row < range.end {
            groups.push(idx);
        }
        first_row = end;
    }
    builder
        .with_row_groups(groups)
        .with_offset((range.start - skipped) as usize)
        .with_limit((range.end - range.start) as usize)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(|error| error.to_string())
}

fn open_ipc(path: &Path) -> Result<(SchemaRef, BatchReader), ArrowError> {
    let mut magic = [0; 6];
    let is_file = File::open(path)?.read_exact(&mut magic).is_ok() && &magic == b"ARROW1";
    let file = BufReader::new(File::open(path)?);
    if is_file {
        let reader = FileReader::try_new(file, None)?;
        return Ok((reader.schema(), Box::new(reader)));
    }
    let reader = StreamReader::try_new(file, None)?;
    Ok((reader.schema(), Box::new(reader)))
}

fn unpack(path: &Path, compression: Compression) -> std::io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
    })
}

impl TextShape {
    fn parse(
        &self,
        source: impl Read + Send + 'static,
        header: bool,
    ) -> Result<BatchReader, ArrowError> {
        let mut source = BufReader::new(source);
        if self.format == Format::JsonLines {
            // The JSON reader does not know byte-order marks.
            let mut start = Vec::new();
            source.by_ref().take(3).read_to_end(&mut start)?;
            if start == b"\xEF\xBB\xBF" {
                start.clear();
            }
            let reader = arrow::json::ReaderBuilder::new(Arc::clone(&self.schema))
                .with_coerce_primitive(true)
                .with_batch_size(BATCH_ROWS)
                .build(BufReader::new(Cursor::new(start).chain(source)))?;
            return Ok(Box::new(reader));
        }
        let delimiter = if self.format == Format::Tsv {
            b'\t'
        } else {
            b','
        };
        let builder = arrow::csv::ReaderBuilder::new(Arc::clone(&self.schema))
            .with_header(header)
            .with_delimiter(delimiter)
            .with_batch_size(BATCH_ROWS);
        if header {
            return Ok(Box::new(builder.build_buffered(source)?));
        }
        // Without a header, a mark at the start belongs to the first value.
        let source = BufReader::new(Cursor::new(b"\n").chain(source));
        Ok(Box::new(builder.build_buffered(source)?))
    }
}

/// Records one after the other.
pub(super) struct Rows {
    batches: BatchReader,
    hashed: SchemaRef,
    noted: bool,
    raw: Option<TextShape>,
    hashes: std::vec::IntoIter<RowHash>,
    notes: Option<StructArray>,
    position: usize,
}

impl Rows {
    /// The next record, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<FoundRow<'_>>, String> {
        let hash = loop {
            if let Some(hash) = self.hashes.next() {
                break hash;
            }
            let Some(batch) = self.batches.next() else {
                return Ok(None);
            };
            batch
                .and_then(|batch| self.load(&batch))
                .map_err(|error| error.to_string())?;
        };
        let position = self.position;
        self.position += 1;
        let note = self.notes.as_ref().map(|notes| {
            (
                notes.column(0).as_string::<i32>().value(position),
                notes.column(1).as_string::<i32>().value(position),
            )
        });
        Ok(Some(FoundRow { hash, note }))
    }

    fn load(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.position = 0;
        self.notes = None;
        let mut record = batch.clone();
        if self.noted && batch.num_columns() > 0 {
            let last = batch.num_columns() - 1;
            let notes = batch
                .column(last)
                .as_struct_opt()
                .filter(|notes| {
                    notes.num_columns() >= 2
                        && (0..2).all(|idx| notes.column(idx).data_type() == &DataType::Utf8)
                })
                .ok_or_else(|| ArrowError::SchemaError("no `_lazaretto` column".to_owned()))?;
            record = match &self.raw {
                Some(text) => reparse(text, notes)?,
                None => batch.project(&(0..last).collect::<Vec<_>>())?,
            };
            self.notes = Some(notes.clone());
        }
        if record.num_rows() != batch.num_rows() {
            return Err(ArrowError::ParseError(
                "the raw bytes are not one record each".to_owned(),
            ));
        }
        let columns = align(&record, &self.hashed)?;
        let mut hasher = RowHasher::new(&columns)?;
        let hashes: Vec<RowHash> = (0..record.num_rows()).map(|row| hasher.hash(row)).collect();
        self.hashes = hashes.into_iter();
        Ok(())
    }
}

/// Parses the record bytes in the `raw` field.
fn reparse(text: &TextShape, notes: &StructArray) -> Result<RecordBatch, ArrowError> {
    let raw = notes
        .column_by_name("raw")
        .and_then(|raw| raw.as_binary_opt::<i32>())
        .ok_or_else(|| ArrowError::SchemaError("no `_lazaretto.raw` field".to_owned()))?;
    let bytes: Vec<u8> = raw.iter().flatten().flatten().copied().collect();
    let batches = text
        .parse(Cursor::new(bytes), false)?
        .collect::<Result<Vec<_>, _>>()?;
    arrow::compute::concat_batches(&text.schema, &batches)
}

/// The columns of `schema` out of `record`, in that order and of those types.
fn align(record: &RecordBatch, schema: &Schema) -> Result<Vec<ArrayRef>, ArrowError> {
    let own = record.schema_ref().fields();
    // By position where all names agree: names may occur twice.
    let same = own.len() == schema.fields().len()
        && own
            .iter()
            .zip(schema.fields())
            .all(|(own, common)| own.name() == common.name());
    schema
        .fields()
        .iter()
        .enumerate()
        .map(|(idx, field)| match record.column_by_name(field.name()) {
            Some(_) if same && record.column(idx).data_type() == field.data_type() => {
                Ok(Arc::clone(record.column(idx)))
            }
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), record.num_rows())),
        })
        .collect()
}
