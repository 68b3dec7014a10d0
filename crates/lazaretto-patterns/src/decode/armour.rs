//! Bytes as letters and digits: base64, hexadecimal digits, bits.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Encoding, Piece, as_text};

/// Letters that an encoded piece has at least. Also the stride of the search: a run this long
/// holds one of every `MIN_RUN` bytes.
const MIN_RUN: usize = 24;
/// Letters that are decoded to see whether more of them make sense.
const PROBE: usize = 64;
/// Letters of a line that makes it likely that the next one continues it.
const MIN_LINE: usize = 48;

const ENGINE: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn in_alphabet(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=')
}

fn in_group(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b' ' | b',' | b'\n')
}

/// Adds the encoded pieces of `text`.
pub(super) fn find(text: &str, found: &mut Vec<Piece>) {
    let bytes = text.as_bytes();
    let (mut done, mut probe) = (0, MIN_RUN - 1);
    while probe < bytes.len() {
        if in_alphabet(bytes[probe]) {
            let run = run_around(bytes, done, probe, in_alphabet);
            if run.len() >= MIN_RUN {
                let end = lines_after(bytes, run.end, run.len());
                done = end;
                runs(text, run.start..end, found);
                probe = end + MIN_RUN;
                continue;
            }
            probe = probe.max(run.end);
        }
        // Short groups may still spell something together.
        let at = probe.min(bytes.len() - 1);
        if in_group(bytes[at]) && in_group(bytes[at - 1]) && in_group(bytes[at - 2]) {
            let run = run_around(bytes, done, at, in_group);
            if run.len() >= 2 * MIN_RUN {
                done = run.end;
                probe = run.end + MIN_RUN;
                groups(text, run, found);
                continue;
            }
        }
        probe += MIN_RUN;
    }
}

fn run_around(
    bytes: &[u8],
    from: usize,
    at: usize,
    belongs: impl Fn(u8) -> bool,
) -> std::ops::Range<usize> {
    let back = bytes[from..at].iter().rev().take_while(|&&b| belongs(b));
    let ahead = bytes[at..].iter().take_while(|&&b| belongs(b));
    at - back.count()..at + ahead.count()
}

/// Where the lines end that continue a run of `length` letters ending at `end`.
fn lines_after(bytes: &[u8], mut end: usize, length: usize) -> usize {
    if length < MIN_LINE {
        return end;
    }
    loop {
        let mut start = end;
        while start < bytes.len() && start < end + 2 && matches!(bytes[start], b'\n' | b'\r') {
            start += 1;
        }
        let line = bytes[start..].iter().take_while(|&&b| in_alphabet(b));
        let line = line.count();
        if start == end || line == 0 || line > length {
            return end;
        }
        end = start + line;
    }
}

/// Decodes a run as a whole, or where that gives nothing its parts between separators.
fn runs(text: &str, run: std::ops::Range<usize>, found: &mut Vec<Piece>) {
    let whole = &text[run.clone()];
    if let Some((encoding, text)) = decoded(whole) {
        found.push(Piece {
            encoding,
            range: run,
            text,
        });
        return;
    }
    let mut start = run.start;
    for part in whole.split(['/', '-', '_', '=', '\n', '\r']) {
        if part.len() >= MIN_RUN
            && part.len() < whole.len()
            && let Some((encoding, text)) = decoded(part)
        {
            found.push(Piece {
                encoding,
                range: start..start + part.len(),
                text,
            });
        }
        start += part.len() + 1;
    }
}

fn decoded(run: &str) -> Option<(Encoding, String)> {
    let digits = run.strip_prefix("0x").unwrap_or(run);
    if digits.len().is_multiple_of(2) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some((Encoding::Hex, as_text(unhex(digits.bytes()))?));
    }
    // A prefix tells most of what is not text; it may end inside a character.
    let probe = from_base64(&run.as_bytes()[..run.len().min(PROBE)])?;
    let sound = match std::str::from_utf8(&probe) {
        Ok(text) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    if sound + 3 < probe.len() || probe[..sound].iter().any(|&b| b < b' ' && !is_space(b)) {
        return None;
    }
    let text = as_text(from_base64(run.as_bytes())?)?;
    Some((Encoding::Base64, text))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b'\t')
}

fn from_base64(letters: &[u8]) -> Option<Vec<u8>> {
    let mut plain: Vec<u8> = letters
        .iter()
        .filter(|&&byte| !matches!(byte, b'\n' | b'\r' | b'='))
        .map(|&byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    if plain.len() % 4 == 1 {
        plain.pop();
    }
    ENGINE.decode(&plain).ok()
}

fn unhex(digits: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut high = None;
    for digit in digits.filter_map(|digit| char::from(digit).to_digit(16)) {
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push((high * 16 + digit) as u8),
        }
    }
    bytes
}

/// Decodes groups of two hexadecimal digits or of eight bits.
fn groups(text: &str, run: std::ops::Range<usize>, found: &mut Vec<Piece>) {
    let is_separator = |c: char| matches!(c, ' ' | ',' | '\n');
    let mut said = &text[run.clone()];
    // The run may begin and end inside of words.
    if text[..run.start].ends_with(char::is_alphanumeric) {
        said = said.find(is_separator).map_or("", |at| &said[at..]);
    }
    if text[run.end..].starts_with(char::is_alphanumeric) {
        said = said.rfind(is_separator).map_or("", |at| &said[..at]);
    }
    let groups = || said.split(is_separator).filter(|group| !group.is_empty());
    let all = |length: usize| groups().all(|group| group.len() == length);
    let (encoding, bytes) = if all(8) && groups().all(|g| g.bytes().all(|b| b <= b'1')) {
        let bits = groups().filter_map(|group| u8::from_str_radix(group, 2).ok());
        (Encoding::Bits, bits.collect())
    } else if all(2) {
        (Encoding::Hex, unhex(groups().flat_map(str::bytes)))
    } else {
        return;
    };
    if let Some(text) = as_text(bytes) {
        found.push(Piece {
            encoding,
            range: run,
            text,
        });
    }
}
