//! Texts as sequences of words and marks, of which only the shape of rare words is looked at.

use lazaretto_core::Batch;
use serde::{Deserialize, Serialize};

use super::features::fold;

/// Most pieces of a text that are looked at; of longer texts the beginning and the end.
pub(super) const MAX_PIECES: usize = 256;
/// How many of them are from the end of a longer text.
const FROM_END: usize = 32;
/// Shorter words have no ending that is not most of the word.
const MIN_CHARS_FOR_ENDING: usize = 4;
/// Characters of an ending: inflection in most languages that have any.
const ENDING: usize = 2;

/// A word or a punctuation mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    /// Hash of the normalised word, as in [`lazaretto_core::shared::Tokens`], or of the mark.
    pub(super) hash: u64,
    /// What stands for the word where it is not a common one: a hash of its shape and ending. 0
    /// for marks.
    pub(super) slot: u32,
    /// Characters of the word, up to 255; for marks the white space before (1) and behind (2).
    pub(super) extent: u8,
    /// Whether the word begins with a capital.
    pub(super) capital: bool,
}

impl Piece {
    fn word(hash: u64, text: &str) -> Self {
        let first = text.chars().next().unwrap_or(' ');
        let n_chars = text.chars().count();
        let shape = if first.is_numeric() {
            1
        } else if first.is_uppercase() {
            let shouted = n_chars > 1 && !text.chars().any(char::is_lowercase);
            if shouted { 2 } else { 3 }
        } else {
            4
        };
        let mut slot = shape;
        if n_chars >= MIN_CHARS_FOR_ENDING && shape != 1 {
            for character in text.chars().skip(n_chars - ENDING) {
                let lower = character.to_lowercase().next().unwrap_or(character);
                slot = fold(slot, u64::from(u32::from(lower)));
            }
        }
        Self {
            hash,
            slot: (slot as u32).max(1),
            extent: n_chars.min(255) as u8,
            capital: first.is_uppercase(),
        }
    }

    fn mark(mark: char, space_before: bool, space_behind: bool) -> Self {
        Self {
            hash: fold(0x6d61_726b, u64::from(u32::from(mark))),
            slot: 0,
            extent: u8::from(space_before) + 2 * u8::from(space_behind),
            capital: false,
        }
    }

    /// Whether this is a word and not a mark.
    pub(super) fn is_word(self) -> bool {
        self.slot != 0
    }
}

/// The pieces of record `row_idx`, all text fields one after the other, into `pieces`.
pub(super) fn read(batch: &Batch<'_>, row_idx: usize, pieces: &mut Vec<Piece>) {
    pieces.clear();
    for (field, tokens) in batch.texts.iter().zip(&batch.derived.tokens) {
        let Some(text) = field.get(row_idx) else {
            continue;
        };
        let mut end = 0;
        let words = tokens.row(row_idx).iter().zip(tokens.row_spans(row_idx));
        for (&hash, &(start, stop)) in words {
            let (start, stop) = (start as usize, stop as usize);
            push_marks(text, end, start, pieces);
            if let Some(word) = text.get(start..stop) {
                pieces.push(Piece::word(hash, word));
            }
            end = stop;
        }
        push_marks(text, end, text.len(), pieces);
    }
    if pieces.len() > MAX_PIECES {
        let removed = MAX_PIECES - FROM_END..pieces.len() - FROM_END;
        pieces.drain(removed);
    }
}

/// The marks of `text` between two words.
fn push_marks(text: &str, start: usize, end: usize, pieces: &mut Vec<Piece>) {
    let Some(between) = text.get(start..end) else {
        return;
    };
    // Text that starts or ends counts as surrounded by white space.
    let mut space_before = start == 0;
    let mut characters = between.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_whitespace() {
            space_before = true;
            continue;
        }
        let space_behind = match characters.peek() {
            Some(next) => next.is_whitespace(),
            None => end == text.len(),
        };
        pieces.push(Piece::mark(character, space_before, space_behind));
        space_before = false;
    }
}
