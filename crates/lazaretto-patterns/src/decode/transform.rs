//! Other ways to write the same letters: leetspeak, letters apart, rotated, backwards.

use super::{Encoding, Piece};

/// Digits before letters of words that make a text suspect.
const MIN_LEET: usize = 4;
/// Bytes of a word in which digits can stand for letters.
const MAX_WORD: usize = 24;
/// Single letters in a row that spell something.
const MIN_SPACED: usize = 10;

/// Digits and signs that stand for letters.
const fn leet(byte: u8) -> u8 {
    match byte {
        b'0' => b'o',
        b'1' | b'!' => b'i',
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' | b'+' => b't',
        b'8' => b'b',
        other => other,
    }
}

/// 1 for letters, 2 for what stands for letters, 4 for a space.
const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        class[byte] = if value.is_ascii_alphabetic() {
            1
        } else if matches!(value, b'0' | b'1' | b'3' | b'4' | b'5' | b'7' | b'@' | b'$') {
            2
        } else if value == b' ' {
            4
        } else {
            0
        };
        byte += 1;
    }
    class
};

/// Adds the readings of `text` in plain letters, where it is suspect of needing them.
pub(super) fn find(text: &str, chain: &[Encoding], found: &mut Vec<Piece>) {
    let (mixed, apart) = suspicions(text.as_bytes());
    if mixed >= MIN_LEET && !chain.contains(&Encoding::Leetspeak) {
        found.push(Piece {
            encoding: Encoding::Leetspeak,
            range: 0..text.len(),
            text: unleet(text),
        });
    }
    if apart >= MIN_SPACED && !chain.contains(&Encoding::Spaced) {
        found.push(Piece {
            encoding: Encoding::Spaced,
            range: 0..text.len(),
            text: unspaced(text),
        });
    }
}

/// Number of digits before letters in words, and the longest row of single letters.
fn suspicions(bytes: &[u8]) -> (usize, usize) {
    let (mut mixed, mut row, mut longest) = (0, 0_usize, 0);
    let (mut in_word, mut word_start) = (0, 0);
    let (mut before, mut last) = (4_u8, 4_u8);
    for (at, &byte) in bytes.iter().enumerate() {
        let class = CLASS[usize::from(byte)];
        in_word += usize::from(last == 2 && class == 1);
        if byte.is_ascii_whitespace() {
            // Longer ones are no words: keys, hashes, base64.
            mixed += if at - word_start <= MAX_WORD {
                in_word
            } else {
                0
            };
            (in_word, word_start) = (0, at + 1);
        }
        // Single letters: space, letter, space, letter …
        let single = last == 1 && before == 4 && class == 4;
        // What follows a space may be the next letter, or a wider gap between words.
        let between = last == 4 && (class == 1 || class == 4);
        row = if single {
            row + 1
        } else if between {
            row
        } else {
            0
        };
        longest = longest.max(row);
        (before, last) = (last, class);
    }
    if bytes.len() - word_start <= MAX_WORD {
        mixed += in_word;
    }
    (mixed, longest)
}

fn unleet(text: &str) -> String {
    text.split_inclusive(char::is_whitespace)
        .map(|word| {
            let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
            if letters == 0 || word.len() > MAX_WORD + 1 || !word.is_ascii() {
                return word.to_owned();
            }
            // A sign at the end of a word is punctuation.
            let body = word.trim_end_matches(|c: char| !c.is_alphanumeric());
            let mut plain: String = body.bytes().map(|byte| char::from(leet(byte))).collect();
            plain.push_str(&word[body.len()..]);
            plain
        })
        .collect()
}

/// `text` without single spaces between single letters; two spaces become one.
fn unspaced(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let characters: Vec<char> = text.chars().collect();
    let is_space = |at: usize| characters.get(at).is_none_or(|c| c.is_whitespace());
    for (at, &character) in characters.iter().enumerate() {
        let single_before = at >= 1 && (at < 2 || is_space(at - 2)) && !is_space(at - 1);
        let single_after = at + 1 < characters.len() && !is_space(at + 1) && is_space(at + 2);
        if character == ' ' && single_before && single_after {
            continue;
        }
        if character == ' ' && plain.ends_with(' ') {
            continue;
        }
        plain.push(character);
    }
    plain
}

/// `text` with its letters rotated by 13.
#[must_use]
pub fn rotated(text: &str) -> String {
    let rotate = |letter: char, first: u8| {
        let place = (letter as u8 - first + 13) % 26;
        char::from(first + place)
    };
    text.chars()
        .map(|character| match character {
            'a'..='z' => rotate(character, b'a'),
            'A'..='Z' => rotate(character, b'A'),
            other => other,
        })
        .collect()
}

/// `text` from its end to its beginning.
#[must_use]
pub fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}
