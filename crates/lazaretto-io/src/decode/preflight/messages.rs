//! What the messages of an Arrow IPC file promise: places of buffers and their unpacked sizes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use arrow::ipc::{Message, RecordBatch};

use super::limits::{HeaderLimits, bytes};

/// Compressed buffers begin with their unpacked length.
const PREFIX: i64 = 8;

/// Sees that a record batch or dictionary, whose body starts at byte `body` of a file of
/// `file_bytes`, may be decoded. Other messages have nothing to see.
///
/// # Errors
/// What it promises, and the limit that it is beyond.
pub(crate) fn check_message(
    file: &mut File,
    message: &Message<'_>,
    body: u64,
    file_bytes: u64,
    limits: &HeaderLimits,
) -> Result<(), String> {
    let body_bytes = u64::try_from(message.bodyLength())
        .map_err(|_| "a message has a negative length".to_owned())?;
    if body.saturating_add(body_bytes) > file_bytes {
        return Err("a message lies outside of the file".to_owned());
    }
    let dictionary = message.header_as_dictionary_batch();
    let (what, batch) = match dictionary {
        Some(dictionary) => ("dictionary", dictionary.data()),
        None => ("record batch", message.header_as_record_batch()),
    };
    let Some(batch) = batch else {
        return Ok(());
    };
    check_batch(file, &batch, (body, body_bytes), limits)
        .map_err(|problem| format!("the {what} at byte {body} {problem}"))
}

fn check_batch(
    file: &mut File,
    batch: &RecordBatch<'_>,
    (body, body_bytes): (u64, u64),
    limits: &HeaderLimits,
) -> Result<(), String> {
    for node in batch.nodes().into_iter().flatten() {
        if node.length() < 0 || !(0..=node.length()).contains(&node.null_count()) {
            return Err("has a column of an impossible length".to_owned());
        }
    }
    let compressed = batch.compression().is_some();
    let mut unpacked = if compressed { body_bytes } else { 0 };
    for buffer in batch.buffers().into_iter().flatten() {
        let (Ok(offset), Ok(length)) = (
            u64::try_from(buffer.offset()),
            u64::try_from(buffer.length()),
        ) else {
            return Err("has a buffer at a negative place".to_owned());
        };
        if offset.saturating_add(length) > body_bytes {
            return Err(format!(
                "has a buffer from byte {offset} for {length}, in {body_bytes} of them"
            ));
        }
        if !compressed || length == 0 {
            unpacked = unpacked.saturating_add(length);
            continue;
        }
        let own = if buffer.length() < PREFIX {
            return Err("has a compressed buffer without its length".to_owned());
        } else {
            unpacked_length(file, body + offset)?
        };
        let stored = length - PREFIX as u64;
        // -1: this one is not compressed after all.
        let own = if own == -1 {
            stored
        } else {
            u64::try_from(own).unwrap_or(u64::MAX)
        };
        limits
            .unpacking(stored, own)
            .map_err(|problem| format!("has a buffer that {problem}"))?;
        unpacked = unpacked.saturating_add(own);
    }
    if unpacked > limits.memory {
        return Err(format!(
            "asks for {}, more than {} (`decoding.memory`)",
            bytes(unpacked),
            bytes(limits.memory)
        ));
    }
    Ok(())
}

fn unpacked_length(file: &mut File, at: u64) -> Result<i64, String> {
    let mut prefix = [0; PREFIX as usize];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut prefix))
        .map_err(|error| error.to_string())?;
    Ok(i64::from_le_bytes(prefix))
}
