//! Files whose headers lie about what follows: sizes and counts of pages, places of column chunks,
//! buffers of record batches. [`damaged`](crate::damage::damaged) hits such things by chance, this
//! on purpose.

use std::ops::Range;

use arrow::ipc::{MessageHeader, root_as_message};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
    RowGroupMetaData,
};
use rand::Rng as _;

use crate::files::TestkitError;
use crate::seed::stream;

/// Numbers that are too much, or none.
const WRONG: [i64; 8] = [
    -1,
    0,
    1 << 20,
    1 << 30,
    i32::MAX as i64,
    1 << 40,
    i64::MAX,
    i64::MIN,
];

/// A Parquet file that lies; `case` chooses about what.
///
/// # Errors
/// When `bytes` is no Parquet file.
pub fn lying_parquet(bytes: &[u8], case: u64) -> Result<Vec<u8>, TestkitError> {
    let mut rng = stream(case, "lies");
    let metadata = ParquetMetaDataReader::decode_metadata(&bytes[footer(bytes)])?;
    let group = rng.gen_range(0..metadata.num_row_groups());
    let leaf = rng.gen_range(0..metadata.row_group(group).num_columns());
    let chunk = metadata.row_group(group).column(leaf);
    let wrong = WRONG[rng.gen_range(0..WRONG.len())];
    let (start, length) = chunk.byte_range();
    let pages = start as usize..(start + length) as usize;
    Ok(match case % 8 {
        // The header of the first page, which is the dictionary's where there is one: kind,
        // unpacked size and stored size come first.
        0 => with_number(bytes, pages.start, 1 + (case / 8 % 2) as usize, wrong),
        // The numbers of values and rows that follow, and the encoding.
        1 => with_number(
            bytes,
            pages.start,
            3 + (case / 8 % 3) as usize,
            rng.gen_range(-1..1 << 33),
        ),
        // The levels, indices or lengths at the start of a page.
        2 => {
            let mut lying = bytes.to_vec();
            let at = after_header(bytes, pages.start);
            let level = [0xff_u8, 0xff, 0xff, rng.r#gen()];
            overwrite(&mut lying, at, &level[..rng.gen_range(1..=4)]);
            lying
        }
        // The same a little later, in the data page after a dictionary.
        3 => {
            let mut lying = bytes.to_vec();
            let noise: Vec<u8> = (0..rng.gen_range(1..12)).map(|_| rng.r#gen()).collect();
            let at = rng.gen_range(pages);
            overwrite(&mut lying, at, &noise);
            lying
        }
        // A chunk that lies where another does, outside of the file, or goes on beyond its end.
        4 => {
            let other = metadata.row_group(group).column(rng.gen_range(0..leaf + 1));
            let (elsewhere, _) = other.byte_range();
            let place = if rng.gen_bool(0.5) {
                elsewhere as i64 + 1
            } else {
                wrong
            };
            with_chunk(bytes, &metadata, group, leaf, |chunk| {
                let dictionary = chunk.dictionary_page_offset().map(|_| place);
                let builder = chunk.into_builder().set_data_page_offset(place);
                builder.set_dictionary_page_offset(dictionary).build()
            })?
        }
        5 => with_chunk(bytes, &metadata, group, leaf, |chunk| {
            let builder = chunk.into_builder();
            let lying = match case / 8 % 3 {
                0 => builder.set_total_compressed_size(wrong),
                1 => builder.set_num_values(wrong),
                _ => builder.set_total_uncompressed_size(wrong),
            };
            lying.build()
        })?,
        6 => {
            let mut groups = metadata.row_groups().to_vec();
            let lying = groups.remove(group);
            groups.insert(group, lying.into_builder().set_num_rows(wrong).build()?);
            with_groups(bytes, &metadata, groups)?
        }
        // Said to be encrypted: the footer, or a footer that is not there.
        _ => {
            let mut lying = bytes.to_vec();
            let at = lying.len() - 4;
            overwrite(&mut lying, at, b"PARE");
            if rng.gen_bool(0.5) {
                overwrite(&mut lying, 0, b"PARE");
            }
            if rng.gen_bool(0.3) {
                lying.truncate(at - rng.gen_range(0..at / 2));
                lying.extend(b"\x40\0\0\0PARE");
            }
            lying
        }
    })
}

/// A Parquet file in which the first page of column `leaf` of row group `group` says that it unpacks
/// to `unpacked` bytes. Bytes after that page move, so the last column of the last group harms no other.
///
/// # Errors
/// When `bytes` is no Parquet file.
pub fn with_page_size(
    bytes: &[u8],
    (group, leaf): (usize, usize),
    unpacked: i64,
) -> Result<Vec<u8>, TestkitError> {
    let metadata = ParquetMetaDataReader::decode_metadata(&bytes[footer(bytes)])?;
    let (start, _) = metadata.row_group(group).column(leaf).byte_range();
    Ok(with_number(bytes, start as usize, 1, unpacked))
}

/// An Arrow file or stream in which the first buffer of dictionary or record batch `nth`, counted in
/// file order, says that it unpacks to `unpacked` bytes; its buffers have to be compressed.
#[must_use]
pub fn with_buffer_size(bytes: &[u8], nth: usize, unpacked: i64) -> Vec<u8> {
    let mut lying = bytes.to_vec();
    if let Some((_, body)) = messages(bytes).get(nth) {
        overwrite(&mut lying, *body, &unpacked.to_le_bytes());
    }
    lying
}

/// An Arrow file or stream that lies about a buffer or the length of a column, in a dictionary or
/// record batch. Bytes without a message come back as they are.
#[must_use]
pub fn lying_arrow(bytes: &[u8], case: u64) -> Vec<u8> {
    let mut rng = stream(case, "lies");
    let mut lying = bytes.to_vec();
    let messages = messages(bytes);
    if messages.is_empty() {
        return lying;
    }
    let (numbers, body) = &messages[rng.gen_range(0..messages.len())];
    let wrong = WRONG[rng.gen_range(0..WRONG.len())];
    if case % 3 == 2 || numbers.is_empty() {
        // Where a compressed buffer says how much it unpacks to, and an ordinary one has offsets.
        let at = body + 8 * rng.gen_range(0..16);
        overwrite(&mut lying, at, &wrong.to_le_bytes());
    } else {
        let at = numbers[rng.gen_range(0..numbers.len())];
        overwrite(&mut lying, at, &wrong.to_le_bytes());
    }
    lying
}

/// Of each dictionary and record batch, the places of the numbers that describe columns and
/// buffers, and of its body.
fn messages(bytes: &[u8]) -> Vec<(Vec<usize>, usize)> {
    let mut found = Vec::new();
    // Messages start with four of these bytes; before them is padding.
    let mut position = bytes
        .windows(4)
        .position(|four| four == [0xff; 4])
        .unwrap_or(0);
    while let Some(length) = bytes
        .get(position + 4..)
        .and_then(|rest| rest.first_chunk::<4>())
    {
        let start = position + 8;
        let body = start + u32::from_le_bytes(*length) as usize;
        let Some(message) = bytes.get(start..body) else {
            break;
        };
        let Ok(message) = root_as_message(message) else {
            break;
        };
        let batch = match message.header_type() {
            MessageHeader::DictionaryBatch => message
                .header_as_dictionary_batch()
                .and_then(|dictionary| dictionary.data()),
            _ => message.header_as_record_batch(),
        };
        if let Some(batch) = batch {
            let described = [
                batch.nodes().map(|nodes| nodes.bytes()),
                batch.buffers().map(|buffers| buffers.bytes()),
            ];
            let numbers = described.into_iter().flatten().flat_map(|part| {
                let at = part.as_ptr() as usize - bytes.as_ptr() as usize;
                (at..at + part.len()).step_by(8)
            });
            found.push((numbers.collect(), body));
        }
        position = body + usize::try_from(message.bodyLength()).unwrap_or(0);
    }
    found
}

/// Replaces the varint `nth` of the structure at `at`, counted from 0 and over the structures inside
/// it; what follows it moves.
fn with_number(bytes: &[u8], at: usize, nth: usize, value: i64) -> Vec<u8> {
    let mut position = at;
    let mut seen = 0;
    while position + 1 < bytes.len() {
        // A structure has no number of its own.
        if bytes[position] & 0x0f == 12 {
            position += 1;
            continue;
        }
        let start = position + 1;
        let end = after_varint(bytes, start);
        if seen == nth {
            return [&bytes[..start], &zigzag(value), &bytes[end..]].concat();
        }
        seen += 1;
        position = end;
    }
    bytes.to_vec()
}

/// Where the page starts whose header is at `at`, if it has no statistics.
fn after_header(bytes: &[u8], at: usize) -> usize {
    let mut position = at;
    let mut depth = 1;
    while depth > 0 && position + 1 < bytes.len() {
        match bytes[position] {
            0 => {
                depth -= 1;
                position += 1;
            }
            head if head & 0x0f == 12 => {
                depth += 1;
                position += 1;
            }
            head if head & 0x0f <= 2 => position += 1,
            _ => position = after_varint(bytes, position + 1),
        }
    }
    position
}

fn after_varint(bytes: &[u8], start: usize) -> usize {
    let more = bytes[start..].iter().take_while(|&&byte| byte >= 0x80);
    (start + more.count() + 1).min(bytes.len())
}

fn zigzag(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn with_chunk(
    bytes: &[u8],
    metadata: &ParquetMetaData,
    group: usize,
    leaf: usize,
    change: impl FnOnce(ColumnChunkMetaData) -> parquet::errors::Result<ColumnChunkMetaData>,
) -> Result<Vec<u8>, TestkitError> {
    let mut groups = metadata.row_groups().to_vec();
    let mut chunks = groups[group].columns().to_vec();
    let lying = change(chunks.remove(leaf))?;
    chunks.insert(leaf, lying);
    let lying = groups.remove(group).into_builder();
    groups.insert(group, lying.set_column_metadata(chunks).build()?);
    with_groups(bytes, metadata, groups)
}

/// The file with another footer.
fn with_groups(
    bytes: &[u8],
    metadata: &ParquetMetaData,
    groups: Vec<RowGroupMetaData>,
) -> Result<Vec<u8>, TestkitError> {
    let metadata = metadata.clone().into_builder().set_row_groups(groups);
    let mut lying = bytes[..footer(bytes).start].to_vec();
    ParquetMetaDataWriter::new(&mut lying, &metadata.build()).finish()?;
    Ok(lying)
}

/// Where the footer is; nowhere in what is no Parquet file.
fn footer(bytes: &[u8]) -> Range<usize> {
    let tail = bytes.len().saturating_sub(8);
    let length = bytes[tail..].first_chunk::<4>().copied();
    let length = u32::from_le_bytes(length.unwrap_or_default()) as usize;
    tail.saturating_sub(length)..tail
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let end = bytes.len().min(at + with.len());
    if at < end {
        bytes[at..end].copy_from_slice(&with[..end - at]);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use arrow::ipc::writer::{FileWriter, StreamWriter};

    use super::*;
    use crate::files::parquet_bytes;

    fn numbers() -> RecordBatch {
        let numbers = Int64Array::from_iter_values(0..99);
        RecordBatch::try_from_iter([("numbers", Arc::new(numbers) as ArrayRef)]).unwrap()
    }

    #[test]
    fn lies_repeat_and_almost_always_change_something() {
        let parquet = parquet_bytes(&numbers(), 40).unwrap();
        let mut writer = FileWriter::try_new(Vec::new(), &numbers().schema()).unwrap();
        writer.write(&numbers()).unwrap();
        let file = writer.into_inner().unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &numbers().schema()).unwrap();
        writer.write(&numbers()).unwrap();
        let stream = writer.into_inner().unwrap();
        let changed = |lie: &dyn Fn(u64) -> Vec<u8>, bytes: &[u8]| {
            let cases = (0..200).filter(|&case| {
                assert_eq!(lie(case), lie(case));
                lie(case) != bytes
            });
            cases.count()
        };
        assert!(changed(&|case| lying_parquet(&parquet, case).unwrap(), &parquet) > 180);
        assert!(changed(&|case| lying_arrow(&file, case), &file) > 180);
        assert!(changed(&|case| lying_arrow(&stream, case), &stream) > 180);
    }

    #[test]
    fn a_page_says_the_size_that_it_is_told_to() {
        let bytes = parquet_bytes(&numbers(), 40).unwrap();
        let lying = with_page_size(&bytes, (2, 0), 1 << 30).unwrap();
        let metadata = ParquetMetaDataReader::decode_metadata(&lying[footer(&lying)]).unwrap();
        let at = metadata.row_group(2).column(0).byte_range().0 as usize;
        assert_eq!(lying[at + 2..at + 8], [0x15, 0x80, 0x80, 0x80, 0x80, 0x08]);
    }
}
