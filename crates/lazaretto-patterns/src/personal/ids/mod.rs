//! Identity numbers of countries: by form, check digit, and what they are called around them.

mod checks;
mod table;

use checks::values;
use table::{DIGITS, EXAMPLES, MIXED, Mixed, NAMED};

use super::tokens::{Number, Token, numbers_at};
use super::{Kind, Personal, is_made_up, near};

/// Distance within which a number's name makes it what it is.
const BEFORE: usize = 48;
const AFTER: usize = 16;

/// Identity numbers in `text`.
pub(super) fn find(text: &str, tokens: &[Token], found: &mut Vec<Personal>) {
    let mut free = 0;
    for first in 0..tokens.len() {
        let token = &tokens[first];
        if token.range.start < free {
            continue;
        }
        // A number goes on to a letter over a sign, a word over nothing.
        let next = text.as_bytes().get(token.range.end);
        let may_mix = !token.is_digits || next.is_some_and(|byte| matches!(byte, b'-' | b'.'));
        let mut one = with_prefix(text, token).and_then(|start| mixed(text, start));
        if one.is_none() && may_mix {
            one = mixed(text, token.range.start);
        }
        if one.is_none() && token.is_number {
            let numbers = numbers_at(text, tokens, first);
            one = numbers
                .iter()
                .rev()
                .find_map(|number| of_digits(text, number));
        }
        if let Some(one) = one.or_else(|| named(text, token)) {
            free = one.range.end;
            found.push(one);
        }
    }
}

/// Where the one or two capital letters in front of a token begin, as in `AB 12 34 56 C`.
fn with_prefix(text: &str, token: &Token) -> Option<usize> {
    let before = text.as_bytes()[..token.range.start]
        .strip_suffix(b" ")
        .or_else(|| text.as_bytes()[..token.range.start].strip_suffix(b"-"))?;
    let letters = before
        .iter()
        .rev()
        .take(3)
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    (1..=2).contains(&letters).then(|| before.len() - letters)
}

fn of_digits(text: &str, number: &Number) -> Option<Personal> {
    DIGITS
        .iter()
        .filter(|kind| kind.len == number.digits.len())
        .find_map(|kind| {
            let is_grouped = kind.groupings.contains(&number.groups.as_slice()) && {
                let gaps = text[number.range.clone()]
                    .bytes()
                    .filter(|byte| !byte.is_ascii_digit());
                let mut gaps = gaps.peekable();
                gaps.peek().is_some() && gaps.all(|gap| kind.separators.contains(&gap))
            };
            let is_whole = number.groups.len() == 1;
            if !(is_grouped || is_whole) || !(kind.holds)(&number.digits) {
                return None;
            }
            if is_known_example(&number.digits) {
                return None;
            }
            let weight = if near(text, &number.range, kind.words, BEFORE, AFTER) {
                1.0
            } else if number.goes_on {
                0.0
            } else {
                kind.bare[usize::from(is_whole)]
            };
            (weight > 0.0).then(|| Personal {
                kind: Kind::Identity(kind.name),
                range: number.range.clone(),
                weight,
            })
        })
}

/// Whether documentation uses a number, or nobody has it.
fn is_known_example(digits: &[u8]) -> bool {
    let written: String = digits
        .iter()
        .map(|&digit| char::from(b'0' + digit))
        .collect();
    is_made_up(digits) || EXAMPLES.contains(&written.as_str())
}

/// The identity number with letters whose first word begins at `start`.
fn mixed(text: &str, start: usize) -> Option<Personal> {
    let bytes = text.as_bytes();
    if start > 0 && bytes[start - 1].is_ascii_alphanumeric() {
        return None;
    }
    let mut word = Vec::with_capacity(20);
    let mut separators = 0;
    let mut candidates: Vec<usize> = Vec::new();
    for (offset, &byte) in bytes[start..].iter().enumerate().take(28) {
        if byte.is_ascii_alphanumeric() {
            word.push(byte.to_ascii_uppercase());
            if word.len() > 18 {
                break;
            }
            if !bytes
                .get(start + offset + 1)
                .is_some_and(u8::is_ascii_alphanumeric)
            {
                candidates.push(start + offset + 1);
            }
        } else if matches!(byte, b'-' | b' ' | b'.' | b'+') && separators < 5 {
            separators += 1;
        } else {
            break;
        }
    }
    for end in candidates {
        let written = &text[start..end];
        let word: Vec<u8> = written
            .bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| byte.to_ascii_uppercase())
            .collect();
        let Some(kind) = MIXED.iter().find(|kind| {
            kind.len == word.len() && is_written_as(kind, written) && (kind.holds)(&word)
        }) else {
            continue;
        };
        let digits: Vec<u8> = values(&word);
        let range = start..end;
        let named = near(text, &range, kind.words, BEFORE, AFTER);
        // Lower-case letters in codes are rather a name of something.
        let written_large = !written.bytes().any(|byte| byte.is_ascii_lowercase());
        let weight = if named {
            1.0
        } else if written_large {
            kind.bare
        } else {
            0.0
        };
        if weight > 0.0 && !is_made_up(&digits) {
            return Some(Personal {
                kind: Kind::Identity(kind.name),
                range,
                weight,
            });
        }
    }
    None
}

/// Whether the separators are where this number has them.
fn is_written_as(kind: &Mixed, written: &str) -> bool {
    let groups: Vec<usize> = written
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(str::len)
        .collect();
    match kind.name {
        "Chilean RUT" => matches!(groups.as_slice(), [9] | [8, 1] | [2, 3, 3, 1]),
        "UK national insurance number" => {
            matches!(groups.as_slice(), [9] | [2, 2, 2, 2, 1] | [2, 6, 1])
        }
        "Finnish personal identity code" => matches!(groups.as_slice(), [6, 4] | [11]),
        "Spanish DNI or NIE" => {
            matches!(groups.as_slice(), [9] | [8, 1] | [1, 7, 1] | [2, 3, 3, 1])
        }
        _ => groups.len() == 1,
    }
}

fn named(text: &str, token: &Token) -> Option<Personal> {
    let word = text.get(token.range.clone())?;
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if !(6..=17).contains(&word.len()) || digits < 5 || is_made_up(&values(word.as_bytes())) {
        return None;
    }
    let (name, _, weight) = NAMED
        .iter()
        .find(|(_, words, _)| near(text, &token.range, words, 28, 0))?;
    Some(Personal {
        kind: Kind::Identity(name),
        range: token.range.clone(),
        weight: *weight,
    })
}
