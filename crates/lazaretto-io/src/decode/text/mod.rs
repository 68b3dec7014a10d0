//! Reads CSV, TSV and JSON lines in blocks of about 8 MiB that begin and end with a record.
//!
//! Opening streams through the file once to cut it into blocks, then infers types block by block
//! on all threads. A file that is compressed is unpacked to the scratch folder first, because
//! blocks are read in any order.

mod blocks;
mod infer;

use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use rayon::prelude::*;

use self::blocks::{Block, cut, read_block, read_prefix};
use self::infer::{infer_csv, infer_json};
use super::kind::{Kind, arrow_fields};
use super::records::delimiter;
use super::{Group, RawBatches, ReadRequest};
use crate::discover::{Compression, Format, InputFile};

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
