//! Reads CSV, TSV and JSON lines in blocks of about 8 MiB that begin and end with a record.
//!
//! Opening streams through the file once to cut it into blocks, then infers types block by block
//! on all threads. A file that is compressed is unpacked to the scratch folder first, because
//! blocks are read in any order.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::array::timezone::Tz;
use arrow::datatypes::{Schema, SchemaRef};
use csv_core::{ReadRecordResult, ReaderBuilder};
use rayon::prelude::*;

use super::kind::{Kind, arrow_fields};
use super::records::{MAX_RECORD_BYTES, Splitter, delimiter};
use super::{Group, RawBatches, ReadRequest};
use crate::discover::{Compression, Format, InputFile};

/// Size of a block.
const BLOCK_BYTES: u64 = 8 << 20;

/// A record that cannot be used.
struct BadRecord {
    /// A position in or directly before it.
    offset: u64,
    reason: String,
}

impl BadRecord {
    /// The reason with the line, for an offset that counts from `base` bytes into the file.
    fn words(self, path: &Path, base: u64) -> String {
        match line_after(path, base + self.offset) {
            Ok(line) => format!("line {line}: {}", self.reason),
            Err(_) => self.reason,
        }
    }
}

/// A run of whole records.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    offset: u64,
    length: u64,
    rows: u64,
    /// Records before it, for messages.
    first_record: u64,
}

/// An opened text file.
#[derive(Debug)]
pub(crate) struct TextFile {
    data: Data,
    format: Format,
    /// Bytes before the first record: byte-order mark and header.
    prefix: Vec<u8>,
    blocks: Vec<Block>,
    groups: Vec<Group>,
    columns: Vec<(String, Kind)>,
    schema: SchemaRef,
}

/// The uncompressed bytes; a scratch file goes away with its owner.
#[derive(Debug)]
struct Data {
    path: PathBuf,
    scratch: bool,
}

impl Drop for Data {
    fn drop(&mut self) {
        if self.scratch {
            // Left over at worst, inside a folder that the caller removes anyway.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl TextFile {
    pub(crate) fn open(input: &InputFile, scratch: &Path) -> Result<Self, String> {
        let data = unpack(input, scratch)?;
        let (prefix, names) = read_prefix(&data.path, input.format)?;
        let blocks = cut(&data.path, input.format, prefix.len() as u64, names.len())?;
        let mut columns: Vec<(String, Kind)> =
            names.into_iter().map(|name| (name, Kind::Null)).collect();
        let inferred: Vec<Vec<(String, Kind)>> = blocks
            .par_iter()
            .map(|block| {
                let bytes = read_block(&data.path, block)?;
                let kinds = if input.format == Format::JsonLines {
                    infer_json(&bytes)
                } else {
                    infer_csv(&bytes, input.format, &columns)
                };
                kinds.map_err(|bad| bad.words(&data.path, block.offset))
            })
            .collect::<Result<_, String>>()?;
        let mut common = Kind::Object(std::mem::take(&mut columns));
        for (block, kinds) in blocks.iter().zip(inferred) {
            common.merge(Kind::Object(kinds)).map_err(|inside| {
                format!(
                    "column `{}` (in or after record {})",
                    inside.trim_start_matches('.'),
                    block.first_record + 1
                )
            })?;
        }
        if let Kind::Object(merged) = common {
            columns = merged;
        }
        Ok(Self {
            schema: Arc::new(Schema::new(arrow_fields(&columns))),
            groups: blocks
                .iter()
                .map(|block| Group::whole(block.rows))
                .collect(),
            data,
            format: input.format,
            prefix,
            blocks,
            columns,
        })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Columns and their kinds, as inferred over the whole file.
    pub(crate) fn columns(&self) -> &[(String, Kind)] {
        &self.columns
    }

    /// Bytes before the first record.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// The bytes of a block.
    pub(crate) fn block(&self, group: usize) -> Result<Vec<u8>, String> {
        read_block(&self.data.path, &self.blocks[group])
    }

    /// Reads the file with the types that it has in the whole dataset. JSON lines take over all
    /// columns, CSV keeps its own in its own order.
    pub(crate) fn adopt(&mut self, dataset: &[(String, Kind)]) {
        if self.format == Format::JsonLines {
            self.columns = dataset.to_vec();
        } else {
            for (name, kind) in &mut self.columns {
                if let Some((_, common)) = dataset.iter().find(|(other, _)| other == name) {
                    *kind = common.clone();
                }
            }
        }
        self.schema = Arc::new(Schema::new(arrow_fields(&self.columns)));
    }

    pub(crate) fn read(&self, request: &ReadRequest<'_>) -> Result<RawBatches, String> {
        let block = &self.blocks[request.group];
        let bytes = self.block(request.group)?;
        let batch_rows = request.batch_rows(block.length / block.rows.max(1));
        let batches = parse(
            self.format,
            &self.schema,
            bytes,
            request.columns,
            batch_rows,
        )?;
        let name = format!("in or after record {}", block.first_record + 1);
        Ok(Box::new(batches.map(move |batch| {
            batch.map_err(|reason| format!("{reason} ({name})"))
        })))
    }
}

/// Parses whole records (without a header) into batches.
pub(crate) fn parse(
    format: Format,
    schema: &SchemaRef,
    bytes: Vec<u8>,
    columns: Option<&[usize]>,
    batch_rows: usize,
) -> Result<Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send>, String> {
    if format == Format::JsonLines {
        let schema = match columns {
            Some(columns) => Arc::new(schema.project(columns).map_err(words)?),
            None => Arc::clone(schema),
        };
        let reader = arrow::json::ReaderBuilder::new(schema)
            .with_coerce_primitive(true)
            .with_batch_size(batch_rows)
            .build(Cursor::new(bytes))
            .map_err(words)?;
        return Ok(Box::new(reader.map(|batch| batch.map_err(words))));
    }
    let mut builder = arrow::csv::ReaderBuilder::new(Arc::clone(schema))
        .with_header(false)
        .with_delimiter(delimiter(format))
        .with_batch_size(batch_rows);
    if let Some(columns) = columns {
        builder = builder.with_projection(columns.to_vec());
    }
    // The blank line keeps a byte-order mark at the start of a block's first value.
    let reader = builder
        .build_buffered(BufReader::new(Cursor::new(b"\n").chain(Cursor::new(bytes))))
        .map_err(words)?;
    Ok(Box::new(reader.map(|batch| batch.map_err(words))))
}

/// Number of the first line at or after `offset` that is not blank, counted from 1. Lines are
/// counted in this rare case only, not while reading.
fn line_after(path: &Path, offset: u64) -> std::io::Result<u64> {
    let mut line = 1;
    for (position, byte) in (0..).zip(BufReader::new(File::open(path)?).bytes()) {
        match byte? {
            b'\n' => line += 1,
            other if position >= offset && !other.is_ascii_whitespace() => break,
            _ => {}
        }
    }
    Ok(line)
}

/// A reader of the uncompressed bytes of `path`.
pub(crate) fn uncompressed(
    path: &Path,
    compression: Compression,
) -> std::io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
    })
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn unpack(input: &InputFile, scratch: &Path) -> Result<Data, String> {
    if input.compression == Compression::None {
        return Ok(Data {
            path: input.path.clone(),
            scratch: false,
        });
    }
    // Relative paths are unique within a dataset, so this name is.
    let name = blake3::hash(input.relative.as_bytes()).to_hex();
    let data = Data {
        path: scratch.join(format!("{name}.text")),
        scratch: true,
    };
    let mut source = uncompressed(&input.path, input.compression).map_err(words)?;
    let mut target = File::create(&data.path)
        .map_err(|error| format!("no room to unpack it in the scratch folder: {error}"))?;
    std::io::copy(&mut source, &mut target).map_err(|error| format!("unpacking it: {error}"))?;
    Ok(data)
}

/// Byte-order mark and header, and the column names (none for JSON lines).
fn read_prefix(path: &Path, format: Format) -> Result<(Vec<u8>, Vec<String>), String> {
    let mut file = BufReader::new(File::open(path).map_err(words)?);
    let mut prefix = Vec::new();
    file.by_ref()
        .take(3)
        .read_to_end(&mut prefix)
        .map_err(words)?;
    if prefix != b"\xEF\xBB\xBF" {
        prefix.clear();
    }
    if format == Format::JsonLines {
        return Ok((prefix, Vec::new()));
    }
    let mark = prefix.len();
    file.seek(SeekFrom::Start(mark as u64)).map_err(words)?;
    let mut splitter = Splitter::new(format);
    let mut header = Vec::new();
    let mut end = None;
    let mut chunk = vec![0; 64 << 10];
    while end.is_none() && (header.len() as u64) < MAX_RECORD_BYTES {
        let read = file.read(&mut chunk).map_err(words)?;
        let mut first = |boundary: super::records::Boundary| {
            end = end.or(Some(boundary.end as usize));
        };
        if read == 0 {
            splitter.finish(&mut first);
            break;
        }
        splitter.feed(&chunk[..read], &mut first);
        header.extend_from_slice(&chunk[..read]);
    }
    let end = end.ok_or("no header line")?;
    header.truncate(end);
    let names = csv_fields(&header, format)?;
    prefix.extend_from_slice(&header);
    Ok((prefix, unique_names(names)))
}

fn csv_fields(record: &[u8], format: Format) -> Result<Vec<String>, String> {
    let mut reader = ReaderBuilder::new().delimiter(delimiter(format)).build();
    let mut output = vec![0; record.len() + 1];
    let mut ends = vec![0; record.len() + 2];
    let (_, _, _, mut fields) = reader.read_record(record, &mut output, &mut ends);
    if fields == 0 || !record.ends_with(b"\n") && !record.ends_with(b"\r") {
        // The last field ends with the input.
        fields += reader.read_record(&[], &mut [], &mut ends[fields..]).3;
    }
    let mut start = 0;
    ends[..fields]
        .iter()
        .map(|&end| {
            let field = std::str::from_utf8(&output[start..end])
                .map_err(|_| "the header is not UTF-8".to_owned());
            start = end;
            field.map(|name| name.trim().to_owned())
        })
        .collect()
}

/// Columns without a name, or with one that is taken, get one by position.
fn unique_names(names: Vec<String>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::with_capacity(names.len());
    for (idx, name) in names.into_iter().enumerate() {
        if name.is_empty() || unique.contains(&name) {
            let mut replacement = format!("column_{}", idx + 1);
            while unique.contains(&replacement) {
                replacement.push('_');
            }
            unique.push(replacement);
        } else {
            unique.push(name);
        }
    }
    unique
}

/// Cuts the records after the first `start` bytes into blocks and checks their number of fields.
fn cut(path: &Path, format: Format, start: u64, fields: usize) -> Result<Vec<Block>, String> {
    let mut file = File::open(path).map_err(words)?;
    file.seek(SeekFrom::Start(start)).map_err(words)?;
    let mut blocks = Blocks {
        start,
        end: start,
        rows: 0,
        records: 0,
        base: start,
        done: Vec::new(),
        ragged: None,
        fields,
    };
    let mut splitter = Splitter::new(format);
    let mut chunk = vec![0; 1 << 20];
    let mut position = start;
    loop {
        let read = file.read(&mut chunk).map_err(words)?;
        if read == 0 {
            break;
        }
        splitter.feed(&chunk[..read], |boundary| blocks.add(boundary));
        position += read as u64;
        if let Some(ragged) = blocks.ragged.take() {
            return Err(ragged.words(path, start));
        }
        if position - blocks.end > MAX_RECORD_BYTES {
            return Err(format!(
                "record {} is longer than {} MiB; is a closing quote missing?",
                blocks.records + 1,
                MAX_RECORD_BYTES >> 20
            ));
        }
    }
    splitter.finish(|boundary| blocks.add(boundary));
    blocks.close();
    match blocks.ragged {
        Some(ragged) => Err(ragged.words(path, start)),
        None => Ok(blocks.done),
    }
}

struct Blocks {
    base: u64,
    start: u64,
    end: u64,
    rows: u64,
    records: u64,
    done: Vec<Block>,
    ragged: Option<BadRecord>,
    fields: usize,
}

impl Blocks {
    fn add(&mut self, boundary: super::records::Boundary) {
        if boundary.fields != self.fields && self.ragged.is_none() {
            self.ragged = Some(BadRecord {
                offset: self.end - self.base,
                reason: format!(
                    "{} fields where the header has {}",
                    boundary.fields, self.fields
                ),
            });
        }
        self.rows += 1;
        self.records += 1;
        self.end = self.base + boundary.end;
        if self.end - self.start >= BLOCK_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.rows > 0 {
            self.done.push(Block {
                offset: self.start,
                length: self.end - self.start,
                rows: self.rows,
                first_record: self.records - self.rows,
            });
        }
        self.start = self.end;
        self.rows = 0;
    }
}

fn read_block(path: &Path, block: &Block) -> Result<Vec<u8>, String> {
    let mut file = File::open(path).map_err(words)?;
    file.seek(SeekFrom::Start(block.offset)).map_err(words)?;
    let mut bytes = vec![0; block.length as usize];
    file.read_exact(&mut bytes).map_err(words)?;
    Ok(bytes)
}

fn infer_json(bytes: &[u8]) -> Result<Vec<(String, Kind)>, BadRecord> {
    let mut common = Kind::Object(Vec::new());
    let mut offset = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if !line.trim_ascii().is_empty() {
            merge_line(&mut common, line).map_err(|reason| BadRecord { offset, reason })?;
        }
        offset += line.len() as u64;
    }
    Ok(match common {
        Kind::Object(fields) => fields,
        _ => Vec::new(),
    })
}

fn merge_line(common: &mut Kind, line: &[u8]) -> Result<(), String> {
    let kind: Kind =
        serde_json::from_slice(line).map_err(|error| format!("not a JSON object: {error}"))?;
    if !matches!(kind, Kind::Object(_)) {
        return Err(format!("{kind} where an object is needed"));
    }
    common
        .merge(kind)
        .map_err(|inside| format!("`{}`", inside.trim_start_matches('.')))
}

fn infer_csv(
    bytes: &[u8],
    format: Format,
    columns: &[(String, Kind)],
) -> Result<Vec<(String, Kind)>, BadRecord> {
    let bad = |offset: usize, reason: &str| BadRecord {
        offset: offset as u64,
        reason: reason.to_owned(),
    };
    let zone: Tz = "+00:00".parse().map_err(|_| bad(0, "no time zone"))?;
    let mut columns = columns.to_vec();
    let mut reader = ReaderBuilder::new().delimiter(delimiter(format)).build();
    let mut output = vec![0; 64 << 10];
    let mut ends = vec![0; columns.len() + 1];
    reader.read_record(b"\n", &mut output, &mut ends);
    let (mut rest, mut written, mut fields, mut start) = (bytes, 0, 0, 0);
    loop {
        let (result, read, wrote, ended) =
            reader.read_record(rest, &mut output[written..], &mut ends[fields..]);
        rest = &rest[read..];
        written += wrote;
        fields += ended;
        match result {
            ReadRecordResult::OutputFull => output.resize(output.len() * 2, 0),
            // Cannot be: the fields were counted when the file was cut.
            ReadRecordResult::OutputEndsFull => return Err(bad(start, "too many fields")),
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::End => return Ok(columns),
            ReadRecordResult::Record => {
                observe_fields(&mut columns, &output[..written], &ends[..fields], &zone)
                    .ok_or_else(|| bad(start, "not UTF-8"))?;
                (written, fields) = (0, 0);
                start = bytes.len() - rest.len();
            }
        }
    }
}

/// Widens the kinds of `columns` by the fields of one record; `None` when it is not UTF-8.
fn observe_fields(
    columns: &mut [(String, Kind)],
    record: &[u8],
    ends: &[usize],
    zone: &Tz,
) -> Option<()> {
    let text = std::str::from_utf8(record).ok()?;
    let mut start = 0;
    for ((_, kind), &end) in columns.iter_mut().zip(ends) {
        kind.observe(text.get(start..end)?, zone);
        start = end;
    }
    Some(())
}
