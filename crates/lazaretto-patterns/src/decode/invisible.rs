//! Characters that are not displayed, or are taken for others.

use super::{Encoding, Piece, as_text};

/// Zero-width characters that could carry two bytes.
const MIN_BITS: usize = 16;

/// Adds what `text` says in characters that are not displayed, and how it reads without them and
/// with plain letters for what looks like them.
pub(super) fn find(text: &str, chain: &[Encoding], found: &mut Vec<Piece>) {
    let mut tags = String::new();
    let mut selected = Vec::new();
    let mut bits = Vec::new();
    let mut plain = String::new();
    let mut changed = 0_usize;
    for character in text.chars() {
        let code = u32::from(character);
        if code < 0x80 {
            plain.push(character);
            continue;
        }
        match code {
            0xe_0020..=0xe_007e => tags.extend(char::from_u32(code - 0xe_0000)),
            0xfe00..=0xfe0f => selected.push((code - 0xfe00) as u8),
            0xe_0100..=0xe_01ef => selected.push((code - 0xe_0100 + 16) as u8),
            0x200b..=0x200d | 0x2060..=0x2064 | 0xfeff | 0xad | 0x180e | 0x200e | 0x200f => {
                bits.push(character);
                changed += 1;
            }
            _ => match plain_letter(character) {
                Some(letter) => {
                    plain.push(letter);
                    changed += 1;
                }
                None => plain.push(character),
            },
        }
    }
    let mut push = |encoding, text: String, length: usize| {
        found.push(Piece {
            encoding,
            range: 0..length,
            text,
        });
    };
    if !tags.is_empty() {
        push(Encoding::Tags, tags, text.len());
    }
    // A selector or two follow an emoji; more of them are bytes.
    if selected.len() >= 4
        && let Some(read) = as_text(selected)
    {
        push(Encoding::Selectors, read, text.len());
    }
    if let Some(read) = spelled_by_bits(&bits) {
        push(Encoding::ZeroWidth, read, text.len());
    }
    if changed >= 3 && !chain.contains(&Encoding::LookAlikes) {
        push(Encoding::LookAlikes, plain, text.len());
    }
}

/// The text that two kinds of zero-width characters spell as bits, whichever is the one.
fn spelled_by_bits(marks: &[char]) -> Option<String> {
    if marks.len() < MIN_BITS {
        return None;
    }
    let zero = marks[0];
    let one = *marks.iter().find(|&&mark| mark != zero)?;
    let bits: Vec<bool> = marks
        .iter()
        .filter(|&&mark| mark == zero || mark == one)
        .map(|&mark| mark == one)
        .collect();
    [false, true].into_iter().find_map(|inverted| {
        let bytes = bits.chunks_exact(8).map(|byte| {
            byte.iter()
                .fold(0_u8, |value, &bit| value << 1 | u8::from(bit != inverted))
        });
        as_text(bytes.collect())
    })
}

/// The ASCII letter, digit or sign that `character` is drawn like.
fn plain_letter(character: char) -> Option<char> {
    let code = u32::from(character);
    let shifted =
        |base: u32, first: char, span: u32| char::from_u32(u32::from(first) + (code - base) % span);
    match code {
        // Full width, mathematical letters, circled and squared ones.
        0xff01..=0xff5e => char::from_u32(code - 0xfee0),
        0x3000 | 0x00a0 | 0x2000..=0x200a => Some(' '),
        0x1_d400..=0x1_d6a3 => {
            let place = (code - 0x1_d400) % 52;
            let first = if place < 26 { 'A' } else { 'a' };
            char::from_u32(u32::from(first) + place % 26)
        }
        0x24b6..=0x24cf => shifted(0x24b6, 'a', 26),
        0x24d0..=0x24e9 => shifted(0x24d0, 'a', 26),
        0x1_f130..=0x1_f149 => shifted(0x1_f130, 'a', 26),
        0x1_f170..=0x1_f189 => shifted(0x1_f170, 'a', 26),
        _ => look_alike(character),
    }
}

/// Cyrillic and Greek letters that are drawn like Latin ones.
fn look_alike(character: char) -> Option<char> {
    Some(match character {
        'а' | 'α' => 'a',
        'с' | 'ϲ' => 'c',
        'ԁ' => 'd',
        'е' | 'ё' => 'e',
        'һ' => 'h',
        'і' | 'ι' => 'i',
        'ј' => 'j',
        'ӏ' => 'l',
        'ո' => 'n',
        'о' | 'ο' | 'օ' => 'o',
        'р' | 'ρ' => 'p',
        'ԛ' => 'q',
        'ѕ' => 's',
        'υ' => 'u',
        'ѵ' | 'ν' => 'v',
        'ԝ' => 'w',
        'х' => 'x',
        'у' => 'y',
        'А' | 'Α' => 'A',
        'В' | 'Β' => 'B',
        'С' => 'C',
        'Е' | 'Ε' => 'E',
        'Н' | 'Η' => 'H',
        'І' | 'Ι' => 'I',
        'К' | 'Κ' => 'K',
        'М' | 'Μ' => 'M',
        'Ν' => 'N',
        'О' | 'Ο' => 'O',
        'Р' | 'Ρ' => 'P',
        'Ѕ' => 'S',
        'Т' | 'Τ' => 'T',
        'Х' | 'Χ' => 'X',
        'Υ' => 'Y',
        _ => return None,
    })
}
