//! Words with digits, and runs of them that may be one number.

use std::ops::Range;

/// Longest word that is looked at; longer ones are hashes, keys or data.
const MAX_WORD: usize = 40;
/// Most words that one number is written in.
const MAX_GROUPS: usize = 10;
/// Most and fewest digits of a number that means something to us.
const MAX_DIGITS: usize = 19;
const MIN_DIGITS: usize = 8;
/// More numbers than this in a row are a table.
const MAX_ROW: usize = 24;

/// A word of ASCII letters and digits with at least one digit.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) range: Range<usize>,
    pub(super) is_digits: bool,
    /// Whether it can belong to a number of an identity, card or telephone: what is joined to it has
    /// enough digits, and is no table.
    pub(super) is_number: bool,
}

/// The words of `text` that contain a digit, in order.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let digit = at + offset;
        let before = bytes[at..digit]
            .iter()
            .rev()
            .take_while(|byte| byte.is_ascii_alphabetic());
        let start = digit - before.count();
        let after = bytes[digit..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric());
        let end = digit + after.count();
        at = end;
        if end - start <= MAX_WORD {
            tokens.push(Token {
                is_digits: bytes[start..end].iter().all(u8::is_ascii_digit),
                range: start..end,
                is_number: false,
            });
        }
    }
    mark_numbers(bytes, &mut tokens);
    tokens
}

/// Sets [`Token::is_number`], row by row.
fn mark_numbers(bytes: &[u8], tokens: &mut [Token]) {
    let joined = |left: &Token, right: &Token| {
        left.is_digits && right.is_digits && joins(&bytes[left.range.end..right.range.start])
    };
    for row in tokens.chunk_by_mut(joined) {
        let digits: usize = row.iter().map(|token| token.range.len()).sum();
        let is_number = row.len() <= MAX_ROW && digits >= MIN_DIGITS;
        for token in row {
            token.is_number = token.is_digits && is_number;
        }
    }
}

/// A number as it is written: groups of digits and what stands between them.
#[derive(Clone, Debug)]
pub(super) struct Number {
    pub(super) range: Range<usize>,
    pub(super) digits: Vec<u8>,
    pub(super) groups: Vec<usize>,
    /// The separator where it is one character, and the same everywhere.
    pub(super) separator: Option<u8>,
    /// Whether digits, or a separator and digits, go on in front or behind.
    pub(super) goes_on: bool,
}

/// Bytes that may stand between the groups of a number.
fn joins(gap: &[u8]) -> bool {
    matches!(
        gap,
        [b' ' | b'-' | b'.' | b'/']
            | b") "
            | b" ("
            | b")-"
            | b"-("
            | b" - "
            | b") ("
            | b"(0)"
            | b")"
    )
}

/// All numbers that begin at token `first`: its own digits, then with the next group, and so on.
pub(super) fn numbers_at(text: &str, tokens: &[Token], first: usize) -> Vec<Number> {
    let bytes = text.as_bytes();
    let mut numbers: Vec<Number> = Vec::new();
    let mut digits = Vec::new();
    let mut groups = Vec::new();
    let mut separators: Vec<&[u8]> = Vec::new();
    let start = tokens[first].range.start;
    let joined_before = first.checked_sub(1).is_some_and(|before| {
        let before = &tokens[before];
        before.is_digits && joins(&bytes[before.range.end..start])
    });
    for idx in first..tokens.len().min(first + MAX_GROUPS) {
        let token = &tokens[idx];
        if idx > first {
            let gap = &bytes[tokens[idx - 1].range.end..token.range.start];
            if !joins(gap) {
                break;
            }
            separators.push(gap);
        }
        if !token.is_digits || digits.len() + token.range.len() > MAX_DIGITS {
            break;
        }
        digits.extend(bytes[token.range.clone()].iter().map(|byte| byte - b'0'));
        groups.push(token.range.len());
        let joined_after = tokens
            .get(idx + 1)
            .is_some_and(|next| joins(&bytes[token.range.end..next.range.start]));
        let separator = separators
            .first()
            .filter(|first| first.len() == 1 && separators.iter().all(|gap| gap == *first));
        numbers.push(Number {
            range: start..token.range.end,
            digits: digits.clone(),
            groups: groups.clone(),
            separator: separator.map(|gap| gap[0]),
            goes_on: joined_before || joined_after,
        });
    }
    numbers
}
