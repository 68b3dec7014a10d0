//! Characters written as numbers: percent-encoding, HTML entities, backslash escapes.

use super::{Encoding, Piece};

/// Escapes of one kind that make a text suspect of spelling something with them.
const MIN_ESCAPES: usize = 6;

/// Adds the readings of `text` without its escapes, where there are enough of a kind.
pub(super) fn find(text: &str, found: &mut Vec<Piece>) {
    type Reader = fn(&str) -> Option<(char, usize)>;
    let kinds: [(Encoding, char, Reader); 2] = [
        (Encoding::Entities, '&', entity),
        (Encoding::Escapes, '\\', backslash),
    ];
    if let Some(read) = unpercent(text) {
        push(text, Encoding::Percent, read, found);
    }
    for (encoding, mark, reader) in kinds {
        if text.matches(mark).count() < MIN_ESCAPES {
            continue;
        }
        let mut read = String::with_capacity(text.len());
        let (mut rest, mut count) = (text, 0);
        while let Some(at) = rest.find(mark) {
            read.push_str(&rest[..at]);
            let escape = &rest[at..];
            let length = if let Some((character, length)) = reader(escape) {
                read.push(character);
                count += 1;
                length
            } else {
                read.push(mark);
                1
            };
            rest = &escape[length..];
        }
        read.push_str(rest);
        if count >= MIN_ESCAPES {
            push(text, encoding, read, found);
        }
    }
}

fn push(text: &str, encoding: Encoding, read: String, found: &mut Vec<Piece>) {
    found.push(Piece {
        encoding,
        range: 0..text.len(),
        text: read,
    });
}

/// Percent-encoding stands for bytes, so it is undone for all of them together.
fn unpercent(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if text.matches('%').count() < MIN_ESCAPES {
        return None;
    }
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut read = Vec::with_capacity(bytes.len());
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| Some(digit(at + 1)? * 16 + digit(at + 2)?))
            .flatten();
        if let Some(byte) = escape {
            read.push(byte as u8);
            count += 1;
            at += 3;
        } else {
            read.push(bytes[at]);
            at += 1;
        }
    }
    (count >= MIN_ESCAPES).then(|| String::from_utf8_lossy(&read).into_owned())
}

/// A numeric entity at the start of `text`, and its length.
fn entity(text: &str) -> Option<(char, usize)> {
    let body = text.strip_prefix("&#")?;
    let end = body.bytes().take(9).position(|b| b == b';')?;
    let number = &body[..end];
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    Some((char::from_u32(code.ok()?)?, end + 3))
}

/// `\xHH`, `\uHHHH` or `\u{H…}` at the start of `text`, and its length.
fn backslash(text: &str) -> Option<(char, usize)> {
    let body = text.get(2..)?;
    let (digits, length) = match text.as_bytes().get(1)? {
        b'x' => (body.get(..2)?, 4),
        b'u' if body.starts_with('{') => {
            let end = body.bytes().take(8).position(|b| b == b'}')?;
            (&body[1..end], end + 3)
        }
        b'u' => (body.get(..4)?, 6),
        b'U' => (body.get(..8)?, 10),
        _ => return None,
    };
    Some((
        char::from_u32(u32::from_str_radix(digits, 16).ok()?)?,
        length,
    ))
}
