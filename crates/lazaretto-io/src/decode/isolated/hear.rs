//! What a scan makes of the bytes that decoders send, without processes: for the fuzz targets.

use std::io::Read;

use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;

use super::plain::PlainStream;
use super::sandbox::SandboxLevel;
use super::wire::{self, read_frame};
use crate::decode::guard;
use crate::decode::job::Answer;

/// Longer frames are refused, as those beyond a decoder's memory are.
const MOST: u64 = 1 << 20;

/// Takes frames from `from` until one makes no sense, each for what it may be.
pub fn hear_decoder(from: &mut impl Read) {
    let mut plain = PlainStream::default();
    let mut decoder = StreamDecoder::new();
    while let Ok(Some((tag, payload))) = read_frame(from, MOST) {
        match tag {
            wire::LEVEL => drop(serde_json::from_slice::<SandboxLevel>(&payload)),
            wire::ANSWER => drop(serde_json::from_slice::<Answer>(&payload)),
            wire::ERROR => drop(String::from_utf8_lossy(&payload)),
            wire::END => {
                plain = PlainStream::default();
                decoder = StreamDecoder::new();
            }
            wire::PIECE => {
                if plain.check(&payload).is_err() {
                    return;
                }
                let mut piece = Buffer::from_vec(payload);
                while !piece.is_empty() {
                    let decoded = guard(|| {
                        let batch = decoder.decode(&mut piece);
                        batch.map_err(|error| error.to_string())
                    });
                    match decoded {
                        Ok(Some(_)) => {}
                        Ok(None) if piece.is_empty() => {}
                        _ => return,
                    }
                }
            }
            _ => return,
        }
    }
}
