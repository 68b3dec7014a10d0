//! Frames between a scan and its decoders: a tag, the length of the payload, the payload.

use std::io::{self, Read, Write};
use std::ops::Deref;

/// To a decoder: its limits, before all else.
pub(super) const HELLO: u8 = b'H';
/// To a decoder: a [`Job`](crate::decode::job::Job).
pub(super) const JOB: u8 = b'J';
/// To a decoder: a [`ReadJob`](crate::decode::job::ReadJob).
pub(super) const READ: u8 = b'R';
/// To a decoder, the answer to a [`PIECE`]: the next one may come.
pub(super) const MORE: u8 = b'M';
/// To a decoder, the answer to a [`PIECE`]: nobody wants the rest.
pub(super) const STOP: u8 = b'X';
/// From a decoder: what it has shut itself into, the answer to [`HELLO`].
pub(super) const LEVEL: u8 = b'L';
/// From a decoder: the answer to a [`JOB`].
pub(super) const ANSWER: u8 = b'A';
/// From a decoder: the next batch of an Arrow stream, with what has to come before it. Nothing follows
/// before the answer.
pub(super) const PIECE: u8 = b'S';
/// From a decoder: the Arrow stream is complete.
pub(super) const END: u8 = b'Z';
/// From a decoder: what is asked for cannot be done, with the reason.
pub(super) const ERROR: u8 = b'E';

/// Writes a frame.
pub(super) fn write_frame(to: &mut impl Write, tag: u8, payload: &[u8]) -> io::Result<()> {
    write_parts(to, tag, &[payload])
}

/// Writes a frame whose payload lies in several places.
pub(super) fn write_parts<T: Deref<Target = [u8]>>(
    to: &mut impl Write,
    tag: u8,
    parts: &[T],
) -> io::Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut header = [tag; 9];
    header[1..].copy_from_slice(&(length as u64).to_le_bytes());
    to.write_all(&header)?;
    parts.iter().try_for_each(|part| to.write_all(part))
}

/// Reads a frame of at most `most` bytes; `None` at the end of the input.
pub(super) fn read_frame(from: &mut impl Read, most: u64) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut header = [0; 9];
    match from.read_exact(&mut header[..1]) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    from.read_exact(&mut header[1..])?;
    let [tag, length @ ..] = header;
    let length = u64::from_le_bytes(length);
    if length > most {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {length} bytes"),
        ));
    }
    // Not `read_to_end`, which asks for few bytes at a time until it knows better.
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload)?;
    Ok(Some((tag, payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_lying_lengths_allocate_nothing() {
        let mut bytes = Vec::new();
        write_parts(&mut bytes, ANSWER, &[&b"o"[..], b"", b"ne"]).unwrap();
        write_frame(&mut bytes, END, b"").unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(
            read_frame(&mut from, 3).unwrap(),
            Some((ANSWER, b"one".to_vec()))
        );
        assert_eq!(read_frame(&mut from, 3).unwrap(), Some((END, Vec::new())));
        assert_eq!(read_frame(&mut from, 3).unwrap(), None);
        assert!(read_frame(&mut bytes.as_slice(), 2).is_err());
        assert!(read_frame(&mut &bytes[..11], 3).is_err());
    }
}
