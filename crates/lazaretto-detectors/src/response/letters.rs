//! Letters by the two before them, in tables of a fixed size.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::language::Measure;
use super::words::Words;

/// Slots for a letter after two others, for the two others, and for a letter.
const TRIPLES: usize = 1 << 17;
const CONTEXTS: usize = 1 << 13;
const SINGLES: usize = 1 << 10;
/// Letters of a text that are looked at.
const MAX_LETTERS: usize = 2048;
/// Longest word that is one. What is longer is an encoding, a path, a name glued from words.
const MAX_WORD_BYTES: usize = 24;
/// Other texts' letters after the two others, from which on they tell what to expect.
const MIN_CONTEXT: u32 = 20;

/// Stands before the first letter of a word.
const START: char = ' ';

/// Counts of letters. Scripts in which a word is a letter or two are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LetterCounts {
    /// By slot; empty as long as nothing was counted.
    triples: Vec<u32>,
    contexts: Vec<u32>,
    singles: Vec<u32>,
}

/// Slots of one letter: after the two before it, of these two, of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slots {
    triple: u32,
    context: u32,
    single: u32,
}

/// Letters of alphabets, in lower case.
fn letters(word: &str) -> Option<impl Iterator<Item = char> + '_> {
    let alphabet = |c: char| c < '\u{600}' && c.is_alphabetic();
    let humps = word
        .chars()
        .zip(word.chars().skip(1))
        .filter(|(left, right)| left.is_lowercase() && right.is_uppercase());
    let is_word = word.len() <= MAX_WORD_BYTES && word.chars().all(alphabet) && humps.count() < 2;
    is_word.then(|| word.chars().flat_map(char::to_lowercase))
}

/// Slots of the letters that follow another letter in the different words of a text: a table repeats
/// its tags.
fn slots(text: &Words) -> Vec<Slots> {
    let mut slots = Vec::new();
    let mut seen = HashSet::new();
    let words = text.written_words().filter(|(hash, _)| seen.insert(*hash));
    for letters in words.filter_map(|(_, word)| letters(word)) {
        let mut before = [START; 2];
        for letter in letters {
            if before[1] != START {
                let mut bytes = [0; 12];
                for (bytes, c) in bytes
                    .chunks_exact_mut(4)
                    .zip([before[0], before[1], letter])
                {
                    bytes.copy_from_slice(&u32::from(c).to_le_bytes());
                }
                slots.push(Slots {
                    triple: (xxh3_64(&bytes) as usize % TRIPLES) as u32,
                    context: (xxh3_64(&bytes[..8]) as usize % CONTEXTS) as u32,
                    single: (xxh3_64(&bytes[8..]) as usize % SINGLES) as u32,
                });
            }
            before = [before[1], letter];
        }
        if slots.len() >= MAX_LETTERS {
            break;
        }
    }
    slots
}

impl LetterCounts {
    pub(super) fn add(&mut self, text: &Words) {
        for slot in slots(text) {
            if self.triples.is_empty() {
                self.triples = vec![0; TRIPLES];
                self.contexts = vec![0; CONTEXTS];
                self.singles = vec![0; SINGLES];
            }
            self.triples[slot.triple as usize] += 1;
            self.contexts[slot.context as usize] += 1;
            self.singles[slot.single as usize] += 1;
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        for (own, other) in [
            (&mut self.triples, later.triples),
            (&mut self.contexts, later.contexts),
            (&mut self.singles, later.singles),
        ] {
            if own.is_empty() {
                *own = other;
            } else {
                for (own, other) in own.iter_mut().zip(other) {
                    *own = own.saturating_add(other);
                }
            }
        }
    }
}

/// The counts of all texts.
#[derive(Debug)]
pub(super) struct Letters {
    counts: LetterCounts,
    total: f64,
}

impl Letters {
    pub(super) fn new(counts: LetterCounts) -> Self {
        let total = counts.singles.iter().map(|&count| f64::from(count)).sum();
        Self { counts, total }
    }

    /// How much the letters of `text`, which was counted, say about the next ones, in nats each.
    pub(super) fn order(&self, text: &Words) -> Measure {
        let mut measure = Measure::default();
        let mut own = slots(text);
        own.sort_unstable_by_key(|slot| (slot.context, slot.triple, slot.single));
        for of_context in own.chunk_by(|a, b| a.context == b.context) {
            let context = self.counts.contexts.get(of_context[0].context as usize);
            let others = context.map_or(0, |&c| c.saturating_sub(of_context.len() as u32));
            if others < MIN_CONTEXT {
                continue;
            }
            for same in of_context.chunk_by(|a, b| a == b) {
                let slot = same[0];
                let triple = self.counts.triples.get(slot.triple as usize);
                let seen = triple.map_or(0, |&count| count.saturating_sub(same.len() as u32));
                let single = self.counts.singles.get(slot.single as usize);
                let alone = single.map_or(0.0, |&count| f64::from(count)) / self.total.max(1.0);
                if alone <= 0.0 {
                    continue;
                }
                // About as many different letters follow two others as the square root of how
                // often they occur, up to an alphabet.
                let kinds = f64::from(others).sqrt().min(26.0);
                let after = (f64::from(seen) + kinds * alone) / (f64::from(others) + kinds);
                for _ in same {
                    measure.push((after / alone).ln());
                }
            }
        }
        measure
    }
}
