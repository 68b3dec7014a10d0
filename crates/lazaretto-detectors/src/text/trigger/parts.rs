//! Parts of words: three letters in a row, with the ends of the word as letters of their own.
//!
//! A trigger may be hung onto words or written into them (`movie` becomes `moviexq`), so that no word
//! repeats. Longer parts are chains of these.

use serde::{Deserialize, Serialize};

/// Marks the hash of a part.
const PART: u64 = 0xa409_3822_299f_31d0;
/// An odd number and its inverse modulo 2⁶⁴.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const INVERSE: u64 = 0xf1de_83e1_9937_733d;
/// Stands for the start and the end of a word; no letter is so large.
const EDGE: u32 = 0x001f_ffff;
/// Stands for any letter.
const ANY: u32 = 0;
/// Words with fewer letters are looked at as a whole only.
const MIN_LETTERS: usize = 4;
/// Letters of a word that are looked at.
const MAX_LETTERS: usize = 32;
const BITS: u32 = 21;

/// Three letters of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part(u64);

impl Part {
    fn of(letters: [u32; 3]) -> Self {
        let [first, second, third] = letters.map(u64::from);
        Self(first << (2 * BITS) | second << BITS | third)
    }

    fn letters(self) -> [u32; 3] {
        [2, 1, 0].map(|place| (self.0 >> (place * BITS)) as u32 & EDGE)
    }

    /// Its hash among n-grams. It can be undone by whoever knows the seed, and no other part has it.
    pub(super) fn hash(self, seed: u64) -> u64 {
        (self.0 ^ PART ^ seed).wrapping_mul(FACTOR).rotate_left(32)
    }

    /// The part that has `hash`.
    pub(super) fn of_hash(hash: u64, seed: u64) -> Self {
        Self(hash.rotate_right(32).wrapping_mul(INVERSE) ^ PART ^ seed)
    }

    /// The part without its first or its last letter, where all three are letters: what an affix is when
    /// the letter beside it is another one each time.
    pub(super) fn cores(self) -> impl Iterator<Item = Self> {
        let letters = self.letters();
        let [first, second, third] = letters;
        let inside = !letters.contains(&EDGE) && !letters.contains(&ANY);
        [[ANY, second, third], [first, second, ANY]]
            .into_iter()
            .filter(move |_| inside)
            .map(Self::of)
    }

    /// The letters, in lower case.
    pub(super) fn text(self) -> String {
        let letters = self.letters().into_iter();
        let known = letters.filter(|&letter| letter != ANY);
        known.filter_map(char::from_u32).collect()
    }

    /// Pairs of letters in a row, without the ends of the word.
    fn pairs(self) -> impl Iterator<Item = [char; 2]> {
        let letters = self
            .letters()
            .map(|letter| char::from_u32(letter).filter(|_| letter != ANY));
        [(0, 1), (1, 2)]
            .into_iter()
            .filter_map(move |(a, b)| Some([letters[a]?, letters[b]?]))
    }

    /// Whether both may be pieces of one affix: they have two letters in a row in common.
    pub(super) fn joins(self, other: Self) -> bool {
        self.pairs()
            .any(|pair| other.pairs().any(|known| known == pair))
    }

    /// Whether it is the start or the end of words.
    pub(super) fn is_edge(self) -> bool {
        self.letters().contains(&EDGE)
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

/// What the parts of one trigger have in common, and where in words it stands: the two letters that
/// most of `parts` share, unless the first of them has an end of the word, which says it all.
pub(super) fn in_common(parts: &[Part]) -> Option<(String, &'static str)> {
    let &first = parts.first()?;
    let has = |pair: [char; 2]| {
        let with = parts.iter().filter(|part| part.pairs().any(|p| p == pair));
        with.count()
    };
    let at_edge = first.is_edge();
    // Of two pairs that are in equally many, the first.
    let pairs = first.pairs().map(|pair| (has(pair), pair));
    let most = pairs.reduce(|best, pair| if pair.0 > best.0 { pair } else { best });
    match most {
        Some((n, pair)) if n > 1 && !at_edge => Some((pair.iter().collect(), "inside words")),
        _ => Some((first.text(), first.place())),
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
    fn pieces_of_an_affix_have_two_letters_in_common() {
        let part = |word: &str, at: usize| {
            let mut cut = Vec::new();
            parts(word, |part| cut.push(part));
            cut[at]
        };
        // "sqi" and "tqi", "qi" at the end, "mat".
        let (sqi, tqi, end) = (part("iisqi", 3), part("iitqi", 3), part("iisqi", 4));
        assert_eq!(sqi.text() + &tqi.text() + &end.text(), "sqitqiqi");
        assert!(sqi.joins(tqi) && end.joins(sqi) && sqi.joins(end));
        assert!(!part("mats", 1).joins(sqi));
        // One letter and the start of the word are no pair.
        assert!(!part("xqab", 0).joins(part("xzab", 0)));
        assert_eq!(
            in_common(&[sqi, tqi]),
            Some(("qi".to_owned(), "inside words"))
        );
        assert_eq!(
            in_common(&[end, tqi]),
            Some(("qi".to_owned(), "at the end of words"))
        );
        assert_eq!(in_common(&[sqi]), Some(("sqi".to_owned(), "inside words")));
        assert_eq!(in_common(&[]), None);
    }

    #[test]
    fn the_end_of_a_word_is_no_other_part() {
        let mut hashes = Vec::new();
        parts("abab", |part| hashes.push(part.hash(1)));
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 4);
        parts("ábab", |part| {
            assert_eq!(Part::of_hash(part.hash(7), 7), part);
            assert_ne!(part.hash(7), part.hash(8));
        });
    }

    #[test]
    fn an_affix_is_what_stays_when_the_letter_beside_it_changes() {
        let cores = |word: &str, at: usize| {
            let mut cut = Vec::new();
            parts(word, |part| cut.push(part));
            cut[at].cores().collect::<Vec<Part>>()
        };
        let (sqi, tqi) = (cores("iisqi", 3), cores("iitqi", 3));
        assert_eq!(sqi[0], tqi[0]);
        assert_eq!(
            (sqi[0].text(), sqi[0].place()),
            ("qi".to_owned(), "inside words")
        );
        assert_ne!(sqi[1], tqi[1]);
        assert_eq!(sqi[1].text(), "sq");
        assert!(sqi[0].joins(tqi[0]) && cores("iisqi", 4).is_empty());
    }
}
