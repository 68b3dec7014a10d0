//! Reads CSV, TSV and JSON lines in blocks of about 8 MiB that begin and end with a record.
//!
//! Opening streams through the file once to cut it into blocks, then infers types block by block
//! on all threads. A file that is compressed is unpacked to the scratch folder first, because
//! blocks are read in any order.

mod blocks;
mod infer;

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) use self::blocks::Block;
use self::blocks::{cut, read_block, read_prefix};
use self::infer::{infer_csv, infer_json};
use super::kind::{Kind, arrow_fields};
use super::records::delimiter;
use super::{Decoders, Group, RawBatches, ReadRequest};
use crate::discover::{Compression, Format, InputFile};
use crate::regular::open_resolved;

/// A compressed text file may unpack to this many times its size; logs with long runs of equal
/// lines reach a hundred, bombs start at a thousand.
const MAX_EXPANSION: u64 = 400;
/// Any file may unpack to this many bytes.
const SMALL_EXPANSION: u64 = 64 << 20;

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

/// Header and blocks of a text file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cut {
    /// Bytes before the first record: byte-order mark and header.
    pub(crate) prefix: Vec<u8>,
    /// Names of the columns; none for JSON lines.
    pub(crate) names: Vec<String>,
    /// Runs of whole records.
    pub(crate) blocks: Vec<Block>,
}

/// What one needs to know to read a block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TextPart {
    /// A text format.
    pub(crate) format: Format,
    /// The columns of the file and their kinds.
    pub(crate) columns: Vec<(String, Kind)>,
    /// The block.
    pub(crate) block: Block,
}

/// Finds the header and cuts the records into blocks.
pub(super) fn cut_file(path: &Path, format: Format) -> Result<Cut, String> {
    let (prefix, names) = read_prefix(path, format)?;
    let blocks = cut(path, format, prefix.len() as u64, names.len())?;
    Ok(Cut {
        prefix,
        names,
        blocks,
    })
}

/// The kinds of the columns of a block.
pub(super) fn infer(
    path: &Path,
    format: Format,
    block: &Block,
    columns: &[(String, Kind)],
) -> Result<Vec<(String, Kind)>, String> {
    let bytes = read_block(path, block)?;
    let kinds = if format == Format::JsonLines {
        infer_json(&bytes)
    } else {
        infer_csv(&bytes, format, columns)
    };
    kinds.map_err(|bad| bad.words(path, block.offset))
}

/// Reads a block.
pub(super) fn read(
    path: &Path,
    part: &TextPart,
    request: &ReadRequest<'_>,
) -> Result<RawBatches, String> {
    let block = &part.block;
    let bytes = read_block(path, block)?;
    let schema = Arc::new(Schema::new(arrow_fields(&part.columns)));
    let batch_rows = request.batch_rows(block.length / block.rows.max(1));
    let batches = parse(part.format, &schema, bytes, request.columns, batch_rows)?;
    let name = format!("in or after record {}", block.first_record + 1);
    Ok(Box::new(batches.map(move |batch| {
        batch.map_err(|reason| format!("{reason} ({name})"))
    })))
}

impl TextFile {
    pub(crate) fn open(
        input: &InputFile,
        scratch: &Path,
        decoders: &Decoders,
    ) -> Result<Self, String> {
        let data = uncompressed_copy(input, scratch, decoders)?;
        let cut = decoders.cut(&data.path, input.format)?;
        let mut columns: Vec<(String, Kind)> = cut
            .names
            .into_iter()
            .map(|name| (name, Kind::Null))
            .collect();
        let blocks = cut.blocks;
        let inferred: Vec<Vec<(String, Kind)>> = blocks
            .par_iter()
            .map(|block| decoders.infer(&data.path, input.format, block, &columns))
            .collect::<Result<_, String>>()?;
        let mut common = Kind::Object(std::mem::take(&mut columns));
        for (block, kinds) in blocks.iter().zip(inferred) {
            common.merge(Kind::Object(kinds)).map_err(|conflict| {
                format!("{conflict} (in or after record {})", block.first_record + 1)
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
            prefix: cut.prefix,
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

    /// Where the uncompressed bytes are.
    pub(crate) fn path(&self) -> &Path {
        &self.data.path
    }

    /// What one needs to know to read block `group`.
    pub(crate) fn part(&self, group: usize) -> TextPart {
        TextPart {
            format: self.format,
            columns: self.columns.clone(),
            block: self.blocks[group].clone(),
        }
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

/// A reader of the uncompressed bytes of `path`.
pub(crate) fn uncompressed(
    path: &Path,
    compression: Compression,
) -> std::io::Result<Box<dyn Read + Send>> {
    let file = open_resolved(path)?;
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
    })
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Bytes that `input` may unpack to; none when it is not compressed.
pub(crate) fn most_unpacked(input: &InputFile) -> u64 {
    match input.compression {
        Compression::None => 0,
        _ => input
            .bytes
            .saturating_mul(MAX_EXPANSION)
            .max(SMALL_EXPANSION),
    }
}

fn uncompressed_copy(
    input: &InputFile,
    scratch: &Path,
    decoders: &Decoders,
) -> Result<Data, String> {
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
    let most = most_unpacked(input);
    decoders.unpack(&input.path, &data.path, input.compression, most)?;
    Ok(data)
}

/// Start of the reason where it is not the file that is at fault.
const NO_ROOM: &str = "no room to unpack it in the scratch folder: ";

/// A limit on what is unpacked is about the file, all else about the disk.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn no_room(error: std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::FileTooLarge {
        return format!("unpacking it: {error}");
    }
    let code = error.raw_os_error().unwrap_or_default();
    format!("{NO_ROOM}{code}")
}

/// The disk's error behind the reason why a file was not opened, where it is not about the file: then nothing can
/// be said of the file, and another time it may be read.
pub(crate) fn disk_error(reason: &str) -> Option<std::io::Error> {
    let code = reason.strip_prefix(NO_ROOM)?.parse().ok()?;
    Some(std::io::Error::from_raw_os_error(code))
}

/// Unpacks `from` into the new file `to`, at most `most` bytes.
pub(super) fn unpack(
    from: &Path,
    to: &Path,
    compression: Compression,
    most: u64,
) -> Result<(), String> {
    let mut source = uncompressed(from, compression).map_err(words)?;
    let mut target = File::create(to).map_err(no_room)?;
    let mut packed = (&mut source).take(most);
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0;
    loop {
        let length = packed
            .read(&mut buffer)
            .map_err(|error| format!("unpacking it: {error}"))?;
        if length == 0 {
            break;
        }
        target.write_all(&buffer[..length]).map_err(no_room)?;
        copied += length as u64;
    }
    let more = copied == most && source.read(&mut [0]).map_err(words)? > 0;
    if more {
        return Err(format!(
            "it unpacks to more than {} MiB, {MAX_EXPANSION} times its size; if that is meant, unpack it and scan the result",
            most >> 20
        ));
    }
    Ok(())
}
