//! How much sense a text makes to the other texts: whether its words say anything about the words
//! that follow them, and its letters about the letters.
//!
//! Everything is learned from the dataset itself, so that code, tables and other languages count as
//! sense wherever there is more than one of them, and what a text contributed to the counts is
//! taken off before it is judged.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::letters::{LetterCounts, Letters};
use super::table::Table;
use super::words::{Pair, Words};
use crate::text::ngram_counts::{Entry, NgramCounts};

/// Words of a text that are looked at.
const MAX_WORDS: usize = 256;
/// Share of the texts with a word, from which on it is familiar.
const FAMILIAR: f64 = 0.01;

/// Records by word and by pair of neighbouring words, and letters by the two before them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct LanguageCounts {
    n_texts: u64,
    vocabulary: NgramCounts,
    pairs: NgramCounts,
    letters: LetterCounts,
}

impl LanguageCounts {
    /// Counts one text.
    pub(super) fn add(&mut self, text: &Words, seed: u64, max_bytes: usize) {
        let [small, large] = shares(max_bytes);
        self.n_texts += 1;
        let mut found: Vec<u64> = text.words().collect();
        distinct(&mut found);
        self.vocabulary.add(0, &found, small);
        found.clear();
        found.extend(text.pairs().map(|two| pair(two.left, two.right, seed)));
        distinct(&mut found);
        self.pairs.add(0, &found, large);
        self.letters.add(text);
    }

    /// Adds the counts of a later partition.
    pub(super) fn merge(&mut self, later: Self, max_bytes: usize) {
        let [small, large] = shares(max_bytes);
        self.n_texts += later.n_texts;
        self.vocabulary.merge(later.vocabulary, small);
        self.pairs.merge(later.pairs, large);
        self.letters.merge(later.letters);
    }

    /// The counts ready to be asked, and the entries of words and of pairs.
    pub(super) fn finish(self) -> (Language, Vec<Entry>, Vec<Entry>) {
        let vocabulary = self.vocabulary.into_entries();
        let pairs = self.pairs.into_entries();
        let language = Language::new(self.n_texts, &vocabulary, &pairs, self.letters);
        (language, vocabulary, pairs)
    }
}

/// Bytes for words, and for pairs.
fn shares(max_bytes: usize) -> [usize; 2] {
    [max_bytes / 4, max_bytes / 4 * 3]
}

/// Sorts `items` and drops repeats.
pub(super) fn distinct(items: &mut Vec<u64>) {
    items.sort_unstable();
    items.dedup();
}

/// A pair of words. Pairs with the same left word are neighbours in the order of these numbers:
/// they have their upper half in common.
pub(super) fn pair(left: u64, right: u64, seed: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&left.to_le_bytes());
    bytes[8..].copy_from_slice(&right.to_le_bytes());
    let both = xxh3_64_with_seed(&bytes, seed);
    prefix(left, seed) | (both >> 32)
}

/// The upper half of all pairs with the left word `left`.
fn prefix(left: u64, seed: u64) -> u64 {
    (xxh3_64_with_seed(&left.to_le_bytes(), seed) >> 32) << 32
}

/// A sum over the places of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Measure {
    pub(super) sum: f64,
    pub(super) n: u32,
}

impl Measure {
    pub(super) fn push(&mut self, value: f64) {
        self.sum += value;
        self.n += 1;
    }

    /// The mean, 0 where there is nothing.
    pub(super) fn mean(self) -> f64 {
        self.sum / f64::from(self.n.max(1))
    }
}

/// What a text looks like to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// `ln p(next | word) / p(next)` over the pairs of known words.
    pub(super) order: Measure,
    /// The same over the pairs with only spaces between them: the items of a list are in no order.
    pub(super) plain_order: Measure,
    /// `ln p(letter | two before) / p(letter)` within words.
    pub(super) letters: Measure,
    /// Bytes of words that no other text has, and of all words.
    pub(super) unknown_bytes: usize,
    pub(super) word_bytes: usize,
    /// Words, and those of them that many texts have.
    pub(super) n_words: u32,
    pub(super) n_familiar: u32,
}

/// Words, pairs and letters of all texts.
#[derive(Debug)]
pub(super) struct Language {
    vocabulary: Table,
    vocabulary_size: f64,
    /// Texts with a word that many have, at least.
    familiar: u32,
    pairs: Table,
    /// Different words after each word, and records with any of them, by the upper half of pairs.
    followers: Table,
    following: Vec<u64>,
    letters: Letters,
}

impl Language {
    fn new(n_texts: u64, vocabulary: &[Entry], pairs: &[Entry], letters: LetterCounts) -> Self {
        // What one text alone has, no other text has: it is as good as not there.
        let known = |count: u32| count > 1;
        let groups: Vec<(Entry, u64)> = pairs
            .chunk_by(|a, b| a.ngram >> 32 == b.ngram >> 32)
            .map(|group| {
                let records = group.iter().map(|entry| u64::from(entry.count)).sum();
                let followers = Entry {
                    ngram: group[0].ngram >> 32 << 32,
                    class: 0,
                    count: group.len() as u32,
                };
                (followers, records)
            })
            .filter(|(_, records)| *records > 1)
            .collect();
        Self {
            familiar: ((FAMILIAR * n_texts as f64) as u32).max(3),
            vocabulary_size: vocabulary.iter().map(|e| f64::from(e.count)).sum(),
            vocabulary: Table::new(vocabulary.iter().copied(), known),
            pairs: Table::new(pairs.iter().copied(), known),
            followers: Table::new(groups.iter().map(|group| group.0), |_| true),
            following: groups.iter().map(|group| group.1).collect(),
            letters: Letters::new(letters),
        }
    }

    /// What `text`, which was counted, looks like.
    pub(super) fn read(&self, text: &Words, seed: u64) -> Reading {
        let mut reading = Reading {
            letters: self.letters.order(text),
            ..Reading::default()
        };
        for (word, bytes) in text.sized_words().take(MAX_WORDS) {
            let texts = self.vocabulary.count(word);
            reading.word_bytes += bytes;
            reading.n_words += 1;
            reading.n_familiar += u32::from(texts >= self.familiar);
            if texts <= 1 {
                reading.unknown_bytes += bytes;
            }
        }
        self.read_pairs(text, seed, &mut reading);
        reading
    }

    /// The interpolation of Witten & Bell (1991): `p(right | left)` is what was seen after `left`,
    /// mixed with `p(right)` by the number of different words seen there.
    fn read_pairs(&self, text: &Words, seed: u64, reading: &mut Reading) {
        let mut pairs: Vec<(u64, Pair)> = text
            .pairs()
            .take(MAX_WORDS)
            .map(|two| (pair(two.left, two.right, seed), two))
            .collect();
        // By left word, each pair once, as they were counted; plain if it is so anywhere.
        pairs.sort_unstable_by_key(|(hash, two)| (two.left, *hash, !two.plain));
        pairs.dedup_by_key(|(hash, two)| (two.left, *hash));
        for group in pairs.chunk_by(|a, b| a.1.left == b.1.left) {
            let left = group[0].1.left;
            if self.vocabulary.count(left) <= 1 {
                continue;
            }
            let Some(at) = self.followers.find(prefix(left, seed)) else {
                continue;
            };
            let counts = group.iter().map(|(hash, _)| self.pairs.count(*hash));
            let counts: Vec<u32> = counts.collect();
            let only_here = counts.iter().filter(|&&count| count <= 1).count() as f64;
            let followers = (f64::from(self.followers.count_at(at)) - only_here).max(0.5);
            let records = self.following[at] as f64 - group.len() as f64;
            if records <= 0.0 {
                continue;
            }
            for ((_, two), count) in group.iter().zip(counts) {
                let of_right = self.vocabulary.count(two.right);
                if of_right <= 1 {
                    continue;
                }
                let alone = f64::from(of_right - 1) / self.vocabulary_size.max(1.0);
                let others = f64::from(count.saturating_sub(1));
                let after = (others + followers * alone) / (records + followers);
                let gain = (after / alone).ln();
                reading.order.push(gain);
                if two.plain {
                    reading.plain_order.push(gain);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::test_support::words_of;

    #[test]
    fn order_is_that_of_witten_and_bell_without_the_text_itself() {
        let texts = words_of(&["the cat sat", "the cat ran", "the dog sat"]);
        let mut counts = LanguageCounts::default();
        for text in &texts {
            counts.add(text, 5, usize::MAX);
        }
        let (language, vocabulary, pairs) = counts.finish();
        assert_eq!((vocabulary.len(), pairs.len()), (5, 5));
        let reading = language.read(&texts[0], 5);
        // By hand. the cat: one of two others, two kinds of followers, p(cat) = 1/9. cat sat: none of
        // one other, one kind, p(sat) = 1/9.
        let the_cat = ((1.0 + 2.0 / 9.0) / (2.0 + 2.0) * 9.0_f64).ln();
        let cat_sat = (1.0 / 9.0 / (1.0 + 1.0) * 9.0_f64).ln();
        assert_eq!(reading.order.n, 2);
        assert!((reading.order.sum - (the_cat + cat_sat)).abs() < 1e-12);
        assert_eq!(reading.order, reading.plain_order);
        let list = language.read(&words_of(&["the, cat sat"])[0], 5);
        assert_eq!((list.order.n, list.plain_order.n), (2, 1));
    }
}
