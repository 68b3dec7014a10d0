//! Reads Arrow IPC, in the file layout (`.arrow`, Feather 2) and in the stream layout, which
//! Hugging Face datasets use under the same extension.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::{FileReader, StreamReader, read_footer_length};
use arrow::ipc::{Block, CompressionType, Message, MessageHeader, root_as_footer, root_as_message};

use super::preflight::{HeaderLimits, check_message};
use super::{Group, RawBatches, ReadRequest};
use crate::regular::open_resolved;

/// Start of the file layout.
const MAGIC: &[u8; 6] = b"ARROW1";

/// Where the messages of a file are.
#[derive(Debug)]
enum Layout {
    /// The footer says it, for each record batch.
    File { batches: Vec<Place> },
    /// Byte ranges of the schema message, and for each record batch those of the dictionaries
    /// before it and its own.
    Stream {
        schema: Range<u64>,
        dictionaries: Vec<Range<u64>>,
        batches: Vec<Range<u64>>,
    },
}

/// An opened Arrow IPC file.
#[derive(Debug)]
pub(crate) struct IpcFile {
    path: PathBuf,
    schema: SchemaRef,
    groups: Vec<Group>,
    layout: Layout,
    compression: Option<CompressionType>,
    custom_metadata: HashMap<String, String>,
}

impl IpcFile {
    pub(crate) fn open(path: &Path, limits: &HeaderLimits) -> Result<Self, String> {
        let mut file = open_resolved(path).map_err(words)?;
        let mut magic = [0; 6];
        let is_file = file.read_exact(&mut magic).is_ok() && &magic == MAGIC;
        if is_file {
            Self::open_file(path, file, limits)
        } else {
            Self::open_stream(path, file)
        }
    }

    fn open_file(path: &Path, mut file: File, limits: &HeaderLimits) -> Result<Self, String> {
        let mut tail = [0; 10];
        file.seek(SeekFrom::End(-10)).map_err(words)?;
        file.read_exact(&mut tail).map_err(words)?;
        let length = read_footer_length(tail).map_err(words)? as u64;
        let size = file.metadata().map_err(words)?.len();
        let start = size
            .checked_sub(10 + length)
            .ok_or("the footer is longer than the file")?;
        let footer = read_range(&mut file, start..size - 10, size)?;
        let footer = root_as_footer(&footer).map_err(|_| "the footer does not parse")?;
        // The reader decodes all dictionaries before it gives any batch.
        for block in footer.dictionaries().into_iter().flatten() {
            Place::of(block)?.check(&mut file, size, limits)?;
        }
        let mut groups = Vec::new();
        let mut batches = Vec::new();
        let mut compression = None;
        for block in footer.recordBatches().into_iter().flatten() {
            let place = Place::of(block)?;
            let bytes = read_range(&mut file, place.message.clone(), size)?;
            let (rows, codec) = batch_header(&bytes)?;
            groups.push(Group::whole(rows));
            batches.push(place);
            compression = compression.or(codec);
        }
        let reader = FileReader::try_new(BufReader::new(file), None).map_err(words)?;
        Ok(Self {
            path: path.to_owned(),
            schema: reader.schema(),
            groups,
            layout: Layout::File { batches },
            compression,
            custom_metadata: reader.custom_metadata().clone(),
        })
    }

    fn open_stream(path: &Path, mut file: File) -> Result<Self, String> {
        let size = file.metadata().map_err(words)?.len();
        let mut schema = None;
        let mut dictionaries = Vec::new();
        let mut batches = Vec::new();
        let mut groups = Vec::new();
        let mut compression = None;
        let mut position = 0;
        while let Some((bytes, end)) = next_message(&mut file, position, size)? {
            let message = parse_message(&bytes)?;
            match message.header_type() {
                MessageHeader::Schema if schema.is_none() => schema = Some(position..end),
                MessageHeader::DictionaryBatch => dictionaries.push(position..end),
                MessageHeader::RecordBatch => {
                    let (rows, codec) = batch_header(&bytes)?;
                    groups.push(Group::whole(rows));
                    compression = compression.or(codec);
                    batches.push(position..end);
                }
                other => return Err(format!("unexpected {other:?} message at byte {position}")),
            }
            position = end;
        }
        let schema = schema.ok_or("neither an Arrow file nor an Arrow stream")?;
        file.seek(SeekFrom::Start(0)).map_err(words)?;
        let reader = StreamReader::try_new(BufReader::new(file), None).map_err(words)?;
        Ok(Self {
            path: path.to_owned(),
            schema: reader.schema(),
            groups,
            layout: Layout::Stream {
                schema,
                dictionaries,
                batches,
            },
            compression,
            custom_metadata: HashMap::new(),
        })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file has the stream layout.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.layout, Layout::Stream { .. })
    }

    /// Compression of the buffers, if there is any.
    pub(crate) fn compression(&self) -> Option<CompressionType> {
        self.compression
    }

    /// Metadata of the footer, apart from that of the schema.
    pub(crate) fn custom_metadata(&self) -> &HashMap<String, String> {
        &self.custom_metadata
    }

    pub(crate) fn read(
        &self,
        request: &ReadRequest<'_>,
        limits: &HeaderLimits,
    ) -> Result<RawBatches, String> {
        self.check(request.group, limits)?;
        let batch = self
            .read_batch(request.group, request.columns.map(<[usize]>::to_vec))?
            .ok_or("the record batch is missing")?;
        // The batch is in memory already; smaller slices bound what is made of it.
        let rows = batch.num_rows();
        let row_bytes = batch.get_array_memory_size() / rows.max(1);
        let step = request.batch_rows(row_bytes as u64);
        Ok(Box::new((0..rows).step_by(step).map(move |start| {
            Ok(batch.slice(start, step.min(rows - start)))
        })))
    }

    /// Sees that a record batch, and the dictionaries that are decoded for it, promise what can be.
    fn check(&self, group: usize, limits: &HeaderLimits) -> Result<(), String> {
        let mut file = open_resolved(&self.path).map_err(words)?;
        let size = file.metadata().map_err(words)?.len();
        match &self.layout {
            Layout::File { batches } => batches[group].check(&mut file, size, limits),
            Layout::Stream {
                dictionaries,
                batches,
                ..
            } => {
                let own = &batches[group];
                let before = dictionaries.iter().filter(|range| range.end <= own.start);
                for range in before.chain([own]) {
                    let message = next_message(&mut file, range.start, size)?;
                    let (bytes, _) = message.ok_or("a message is missing")?;
                    let body = range.start + bytes.len() as u64;
                    check_message(&mut file, &parse_message(&bytes)?, body, size, limits)?;
                }
                Ok(())
            }
        }
    }

    fn read_batch(
        &self,
        group: usize,
        columns: Option<Vec<usize>>,
    ) -> Result<Option<RecordBatch>, String> {
        let file = open_resolved(&self.path).map_err(words)?;
        match &self.layout {
            Layout::File { .. } => {
                let mut reader =
                    FileReader::try_new(BufReader::new(file), columns).map_err(words)?;
                reader.set_index(group).map_err(words)?;
                reader.next().transpose().map_err(words)
            }
            Layout::Stream {
                schema,
                dictionaries,
                batches,
            } => {
                let own = batches[group].clone();
                let mut ranges = vec![schema.clone()];
                ranges.extend(
                    dictionaries
                        .iter()
                        .filter(|range| range.end <= own.start)
                        .cloned(),
                );
                ranges.push(own);
                let ranges = Ranges {
                    file,
                    rest: ranges.into_iter(),
                    left: 0,
                };
                StreamReader::try_new(BufReader::new(ranges), columns)
                    .and_then(|mut reader| reader.next().transpose())
                    .map_err(words)
            }
        }
    }
}

/// Reads some byte ranges of a file as if they were all of it.
struct Ranges {
    file: File,
    rest: std::vec::IntoIter<Range<u64>>,
    left: u64,
}

impl Read for Ranges {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.left == 0 {
            let Some(range) = self.rest.next() else {
                return Ok(0);
            };
            self.file.seek(SeekFrom::Start(range.start))?;
            self.left = range.end - range.start;
        }
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read(&mut buffer[..wanted])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Where the footer of a file puts a dictionary or record batch.
#[derive(Debug)]
struct Place {
    /// Bytes of the message without its body.
    message: Range<u64>,
    /// Where the body ends.
    end: u64,
}

impl Place {
    fn of(block: &Block) -> Result<Self, String> {
        let (Ok(offset), Ok(length), Ok(body)) = (
            u64::try_from(block.offset()),
            u64::try_from(block.metaDataLength()),
            u64::try_from(block.bodyLength()),
        ) else {
            return Err("a message has a negative position".to_owned());
        };
        let body_start = offset.saturating_add(length);
        Ok(Self {
            message: offset..body_start,
            end: body_start.saturating_add(body),
        })
    }

    fn check(&self, file: &mut File, size: u64, limits: &HeaderLimits) -> Result<(), String> {
        // The reader sets as much memory aside as the footer says, whatever the message does.
        if self.end > size {
            return Err("a message lies outside of the file".to_owned());
        }
        let bytes = read_range(file, self.message.clone(), size)?;
        check_message(
            file,
            &parse_message(&bytes)?,
            self.message.end,
            size,
            limits,
        )
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn read_range(file: &mut File, range: Range<u64>, size: u64) -> Result<Vec<u8>, String> {
    // The length comes from the file: compare before allocating.
    if range.end > size || range.start > range.end {
        return Err("a message lies outside of the file".to_owned());
    }
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.seek(SeekFrom::Start(range.start)).map_err(words)?;
    file.read_exact(&mut bytes).map_err(words)?;
    Ok(bytes)
}

/// The metadata of the stream message at `position` with its prefix, and where the message ends.
fn next_message(
    file: &mut File,
    position: u64,
    size: u64,
) -> Result<Option<(Vec<u8>, u64)>, String> {
    if position == size {
        return Ok(None);
    }
    let prefix = read_range(file, position..position.saturating_add(4), size)?;
    let (header, length) = if prefix == [0xff; 4] {
        (8, read_range(file, position + 4..position + 8, size)?)
    } else {
        (4, prefix)
    };
    let length = u64::from(u32::from_le_bytes([
        length[0], length[1], length[2], length[3],
    ]));
    if length == 0 {
        return Ok(None);
    }
    let metadata_end = position + header + length;
    let bytes = read_range(file, position..metadata_end, size)?;
    let body = u64::try_from(parse_message(&bytes)?.bodyLength())
        .map_err(|_| "a message has a negative length")?;
    let end = metadata_end.saturating_add(body);
    if end > size {
        return Err(format!("the message at byte {position} is cut off"));
    }
    Ok(Some((bytes, end)))
}

/// The metadata of a message that starts with its prefix.
pub(super) fn parse_message(bytes: &[u8]) -> Result<Message<'_>, String> {
    let start = if bytes.starts_with(&[0xff; 4]) { 8 } else { 4 };
    bytes
        .get(start..)
        .and_then(|metadata| root_as_message(metadata).ok())
        .ok_or_else(|| "neither an Arrow file nor an Arrow stream".to_owned())
}

/// Number of rows and compression in the metadata of a record batch.
fn batch_header(bytes: &[u8]) -> Result<(u64, Option<CompressionType>), String> {
    let message = parse_message(bytes)?;
    let batch = message
        .header_as_record_batch()
        .ok_or("a record batch is none")?;
    let rows = u64::try_from(batch.length()).map_err(|_| "a negative number of rows")?;
    Ok((rows, batch.compression().map(|codec| codec.codec())))
}
