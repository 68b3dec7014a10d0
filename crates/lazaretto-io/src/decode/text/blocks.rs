//! Cuts a text file into header and blocks of whole records.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use csv_core::ReaderBuilder;
use serde::{Deserialize, Serialize};

use super::words;
use crate::decode::records::{Boundary, MAX_RECORD_BYTES, Splitter, delimiter};
use crate::discover::Format;
use crate::regular::open_resolved;

/// Size of a block.
const BLOCK_BYTES: u64 = 8 << 20;

/// A run of whole records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block {
    /// Where it begins.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) length: u64,
    /// Its records.
    pub(crate) rows: u64,
    /// Records before it, for messages.
    pub(crate) first_record: u64,
}

/// A record that cannot be used.
pub(super) struct BadRecord {
    /// A position in or directly before it.
    pub(super) offset: u64,
    pub(super) reason: String,
}

impl BadRecord {
    /// The reason with the line, for an offset that counts from `base` bytes into the file.
    pub(super) fn words(self, path: &Path, base: u64) -> String {
        match line_after(path, base + self.offset) {
            Ok(line) => format!("line {line}: {}", self.reason),
            Err(_) => self.reason,
        }
    }
}

/// Byte-order mark and header, and the column names (none for JSON lines).
pub(super) fn read_prefix(path: &Path, format: Format) -> Result<(Vec<u8>, Vec<String>), String> {
    let mut file = BufReader::new(open_resolved(path).map_err(words)?);
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
        let mut first = |boundary: Boundary| {
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
pub(super) fn cut(
    path: &Path,
    format: Format,
    start: u64,
    fields: usize,
) -> Result<Vec<Block>, String> {
    let mut file = open_resolved(path).map_err(words)?;
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
    fn add(&mut self, boundary: Boundary) {
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

/// The bytes of a block.
pub(super) fn read_block(path: &Path, block: &Block) -> Result<Vec<u8>, String> {
    let mut file = open_resolved(path).map_err(words)?;
    file.seek(SeekFrom::Start(block.offset)).map_err(words)?;
    let mut bytes = vec![0; block.length as usize];
    file.read_exact(&mut bytes).map_err(words)?;
    Ok(bytes)
}

/// Number of the first line at or after `offset` that is not blank, counted from 1. Lines are
/// counted in this rare case only, not while reading.
fn line_after(path: &Path, offset: u64) -> std::io::Result<u64> {
    let mut line = 1;
    for (position, byte) in (0..).zip(BufReader::new(open_resolved(path)?).bytes()) {
        match byte? {
            b'\n' => line += 1,
            other if position >= offset && !other.is_ascii_whitespace() => break,
            _ => {}
        }
    }
    Ok(line)
}
