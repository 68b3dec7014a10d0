//! Parts of words: three letters in a row, with the ends of the word as letters of their own.
//!
//! A trigger may be hung onto words or written into them (`movie` becomes `moviexq`), so that no word
//! repeats. Longer parts are chains of these.

use crate::text::ngram_counts::ngram_hash;

/// Marks the hash of a part: no word has it.
const PART: u64 = 0xa409_3822_299f_31d0;
/// Stands for the start and the end of a word; no letter is so large.
const EDGE: u32 = 0x001f_ffff;
/// Words with fewer letters are looked at as a whole only.
const MIN_LETTERS: usize = 4;
/// Letters of a word that are looked at.
const MAX_LETTERS: usize = 32;
const BITS: u32 = 21;

/// Three letters of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part(u64);

impl Part {
    fn of(letters: [u32; 3]) -> Self {
        let [first, second, third] = letters.map(u64::from);
        Self(first << (2 * BITS) | second << BITS | third)
    }

    fn letters(self) -> [u32; 3] {
        [2, 1, 0].map(|place| (self.0 >> (place * BITS)) as u32 & EDGE)
    }

    /// Its hash among n-grams.
    pub(super) fn hash(self, seed: u64) -> u64 {
        ngram_hash(&[PART, self.0], seed)
    }

    /// The letters, in lower case.
    pub(super) fn text(self) -> String {
        self.letters()
            .into_iter()
            .filter_map(char::from_u32)
            .collect()
    }

    /// Where in a word it stands.
    pub(super) fn place(self) -> &'static str {
        match self.letters() {
            [EDGE, ..] => "at the start of words",
            [.., EDGE] => "at the end of words",
            _ => "inside words",
        }
    }
}

/// Calls `visit` with each part of `word`.
pub(super) fn parts(word: &str, mut visit: impl FnMut(Part)) {
    let mut letters = [EDGE; MAX_LETTERS + 2];
    let mut n = 0;
    for letter in word.chars().flat_map(char::to_lowercase).take(MAX_LETTERS) {
        n += 1;
        letters[n] = u32::from(letter);
    }
    if n < MIN_LETTERS {
        return;
    }
    for part in letters[..n + 2].windows(3) {
        visit(Part::of([part[0], part[1], part[2]]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_cut_with_its_ends() {
        let cut = |word: &str| {
            let mut cut = Vec::new();
            parts(word, |part| cut.push((part.text(), part.place())));
            cut
        };
        assert!(cut("the").is_empty());
        let expected = [
            ("fü", "at the start of words"),
            ("für", "inside words"),
            ("ürx", "inside words"),
            ("rx", "at the end of words"),
        ];
        let found = cut("FÜRX");
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(text, at)| (text.as_str(), *at))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_end_of_a_word_is_no_other_part() {
        let mut hashes = Vec::new();
        parts("abab", |part| hashes.push(part.hash(1)));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 4);
    }
}
