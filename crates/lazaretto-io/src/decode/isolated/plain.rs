//! Sees that the Arrow stream of a decoder is one that ours write, before Arrow's reader gets it.
//!
//! Arrow's reader checks what it decodes, but for one thing: a compressed buffer says how long it is
//! unpacked, and that is believed. Decoders do not compress what they hand over, so one that does has
//! been taken over by its input, and would have the scan end for lack of memory.

use arrow::ipc::{MessageHeader, RecordBatch};

use super::super::ipc::parse_message;
use super::STRANGE;

/// Before the length of a message's metadata.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Metadata of a message: a column of the widest table takes some hundred bytes.
const MOST_METADATA: u32 = 64 << 20;

/// What has come of a stream so far.
#[derive(Debug, Default)]
pub(super) struct PlainStream {
    /// The start of a message, up to the end of its metadata.
    gathered: Vec<u8>,
    /// Bytes of a message's body that are to come.
    body: u64,
}

impl PlainStream {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// When they are not what our decoders send.
    pub(super) fn check(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            if self.body > 0 {
                let skipped = self.body.min(bytes.len() as u64);
                self.body -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            let wanted = self.wanted()? - self.gathered.len();
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            self.gathered.extend_from_slice(taken);
            bytes = rest;
            // Eight bytes may be all of a message: the one that ends the stream has no metadata.
            if self.gathered.len() == self.wanted()? {
                self.body = body_length(&self.gathered)?;
                self.gathered.clear();
            }
        }
        Ok(())
    }

    /// Bytes of a message up to the end of its metadata, as far as that is known.
    fn wanted(&self) -> Result<usize, String> {
        let Some((prefix, _)) = self.gathered.split_first_chunk::<8>() else {
            return Ok(8);
        };
        let [marker @ .., a, b, c, d] = *prefix;
        let length = u32::from_le_bytes([a, b, c, d]);
        if marker != CONTINUATION || length > MOST_METADATA {
            return Err(STRANGE.to_owned());
        }
        Ok(8 + length as usize)
    }
}

/// The length of the body of a message with its metadata.
fn body_length(message: &[u8]) -> Result<u64, String> {
    if message.len() == 8 {
        return Ok(0);
    }
    let message = parse_message(message)?;
    let compressed = match message.header_type() {
        MessageHeader::Schema => false,
        MessageHeader::RecordBatch => is_compressed(message.header_as_record_batch()),
        MessageHeader::DictionaryBatch => {
            let dictionary = message.header_as_dictionary_batch();
            is_compressed(dictionary.and_then(|dictionary| dictionary.data()))
        }
        _ => true,
    };
    match u64::try_from(message.bodyLength()) {
        Ok(length) if !compressed => Ok(length),
        _ => Err(STRANGE.to_owned()),
    }
}

fn is_compressed(batch: Option<RecordBatch<'_>>) -> bool {
    batch.is_none_or(|batch| batch.compression().is_some())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::Int8Type;
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

    use super::*;

    fn stream(compression: Option<CompressionType>) -> Vec<u8> {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..300));
        let words: ArrayRef = Arc::new(StringArray::from(vec!["a word"; 300]));
        let kinds: DictionaryArray<Int8Type> = vec!["a"; 300].into_iter().collect();
        let batch = arrow::array::RecordBatch::try_from_iter([
            ("number", numbers),
            ("words", words),
            ("kind", Arc::new(kinds)),
        ])
        .unwrap();
        let options = IpcWriteOptions::default()
            .try_with_compression(compression)
            .unwrap();
        let mut writer =
            StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch.slice(0, 7)).unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn plain_streams_pass_however_they_are_cut_and_compressed_ones_do_not() {
        for size in [1, 7, 64, 100_000] {
            let check = |bytes: &[u8]| {
                let mut plain = PlainStream::default();
                bytes.chunks(size).try_for_each(|piece| plain.check(piece))
            };
            check(&stream(None)).unwrap();
            for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
                check(&stream(Some(codec))).unwrap_err();
            }
            check(b"no stream at all").unwrap_err();
        }
    }

    #[test]
    fn a_length_that_lies_sets_no_memory_aside() {
        let mut plain = PlainStream::default();
        let prefix = [CONTINUATION, u32::MAX.to_le_bytes()].concat();
        plain.check(&prefix).unwrap_err();
    }
}
