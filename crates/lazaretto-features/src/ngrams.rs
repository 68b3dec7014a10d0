//! Hashed word and character n-grams.
//!
//! Buckets are salted with the seed of the run: whoever does not know it cannot craft words that
//! collide with others.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Number of buckets.
pub(crate) const BUCKETS: usize = 1 << BITS;
const BITS: u32 = 18;
/// Characters of a word that take part in character n-grams.
const MAX_WORD_CHARS: usize = 64;

fn mix(value: u64, salt: u64) -> u32 {
    // The finaliser of MurmurHash3: every input bit reaches the upper bits.
    let mut x = value ^ salt;
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (x >> (64 - BITS)) as u32
}

/// The bucket of a word.
pub(crate) fn unigram(word: u64, salt: u64) -> u32 {
    mix(word, salt)
}

/// The bucket of two words in sequence.
pub(crate) fn bigram(first: u64, second: u64, salt: u64) -> u32 {
    let joined = first.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ second;
    mix(joined, salt.rotate_left(1))
}

/// Calls `visit` with the bucket of every unigram and bigram of `words` that touches `span`.
pub(crate) fn word_ngrams(
    words: &[u64],
    span: Range<usize>,
    salt: u64,
    mut visit: impl FnMut(u32),
) {
    let (start, end) = (span.start.min(words.len()), span.end.min(words.len()));
    if start >= end {
        return;
    }
    for &word in &words[start..end] {
        visit(unigram(word, salt));
    }
    let (first, last) = (start.saturating_sub(1), (end + 1).min(words.len()));
    for pair in words[first..last].windows(2) {
        visit(bigram(pair[0], pair[1], salt));
    }
}

/// Calls `visit` with the bucket of every 3- to 5-gram of characters of `word`, lower-cased and
/// between two blanks. `buffer` is overwritten.
pub(crate) fn char_ngrams(
    word: &str,
    salt: u64,
    buffer: &mut CharBuffer,
    mut visit: impl FnMut(u32),
) {
    buffer.text.clear();
    buffer.starts.clear();
    let letters = word.chars().flat_map(char::to_lowercase);
    for letter in std::iter::once(' ')
        .chain(letters.take(MAX_WORD_CHARS))
        .chain(std::iter::once(' '))
    {
        buffer.starts.push(buffer.text.len());
        buffer.text.push(letter);
    }
    buffer.starts.push(buffer.text.len());
    for length in 3..=5 {
        for borders in buffer.starts.windows(length + 1) {
            let gram = &buffer.text.as_bytes()[borders[0]..borders[length]];
            visit(mix(xxh3_64_with_seed(gram, salt), salt));
        }
    }
}

/// Calls `visit` with the bucket of every run of [`RUN`] letters of `text`, lower-cased, in each piece
/// between white space, with a blank on either side. A shorter piece is a run by itself.
pub(crate) fn letter_runs(text: &str, salt: u64, mut visit: impl FnMut(u32)) {
    let bucket = |run: [u32; RUN]| {
        let mut bytes = [0; 4 * RUN];
        for (slot, letter) in bytes.chunks_exact_mut(4).zip(run) {
            slot.copy_from_slice(&letter.to_le_bytes());
        }
        mix(xxh3_64_with_seed(&bytes, salt), salt)
    };
    for piece in text.split_whitespace() {
        let letters = piece.chars().flat_map(char::to_lowercase);
        let letters = [' '].into_iter().chain(letters).chain([' ']);
        let mut run = [0; RUN];
        let mut n = 0_usize;
        for letter in letters {
            run.rotate_left(1);
            run[RUN - 1] = u32::from(letter);
            n += 1;
            if n >= RUN {
                visit(bucket(run));
            }
        }
        if n < RUN {
            visit(bucket(run));
        }
    }
}

/// Letters of a run, see [`letter_runs`].
const RUN: usize = 4;

/// Scratch memory of [`char_ngrams`].
#[derive(Debug, Default)]
pub(crate) struct CharBuffer {
    text: String,
    starts: Vec<usize>,
}

/// The buckets that carry information, as features with an inverse document frequency.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    /// Feature of each bucket, `u32::MAX` for none.
    features: Vec<u32>,
    idf: Vec<f32>,
}

impl Vocabulary {
    /// Keeps the at most `max_features` buckets that most documents have, and at least two do:
    /// a bucket of a single document says nothing about any other. `documents` yields the
    /// buckets of one document after the other, with repeats.
    pub(crate) fn new<D: AsRef<[u32]>>(
        documents: impl Iterator<Item = D>,
        max_features: usize,
    ) -> Self {
        let mut frequency = vec![0_u32; BUCKETS];
        let mut seen_by = vec![u32::MAX; BUCKETS];
        let mut n_documents = 0_u32;
        for document in documents {
            for &bucket in document.as_ref() {
                if std::mem::replace(&mut seen_by[bucket as usize], n_documents) != n_documents {
                    frequency[bucket as usize] += 1;
                }
            }
            n_documents += 1;
        }
        let mut floor = 2;
        if frequency.iter().filter(|&&f| f >= floor).count() > max_features {
            let mut sorted: Vec<u32> = frequency.iter().copied().filter(|&f| f >= floor).collect();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            // Ties at the border are all dropped, so that the bound holds.
            floor = sorted[max_features] + 1;
        }
        let mut features = vec![u32::MAX; BUCKETS];
        let mut idf = Vec::new();
        for (feature, &count) in features.iter_mut().zip(&frequency) {
            if count >= floor {
                *feature = idf.len() as u32;
                let ratio = f64::from(n_documents + 1) / f64::from(count + 1);
                idf.push((ratio.ln() + 1.0) as f32);
            }
        }
        Self { features, idf }
    }

    pub(crate) fn n_features(&self) -> usize {
        self.idf.len()
    }

    /// Feature and inverse document frequency of a bucket, if it carries information.
    pub(crate) fn get(&self, bucket: u32) -> Option<(u32, f32)> {
        let feature = self.features[bucket as usize];
        self.idf.get(feature as usize).map(|&idf| (feature, idf))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(words: &[u64], span: Range<usize>) -> Vec<u32> {
        let mut buckets = Vec::new();
        word_ngrams(words, span, 7, |bucket| buckets.push(bucket));
        buckets
    }

    #[test]
    fn a_span_touches_its_words_and_the_pairs_around_it() {
        let words = [10, 20, 30, 40];
        assert_eq!(collect(&words, 0..4).len(), 7);
        let expected = [unigram(20, 7), bigram(10, 20, 7), bigram(20, 30, 7)];
        assert_eq!(collect(&words, 1..2), expected);
        assert_eq!(collect(&words, 3..9).len(), 2);
        assert!(collect(&words, 2..2).is_empty());
        assert!(collect(&[], 0..1).is_empty());
        assert_ne!(bigram(10, 20, 7), bigram(20, 10, 7));
    }

    #[test]
    fn the_vocabulary_keeps_shared_buckets_only_and_stays_bounded() {
        let documents = [vec![1, 2, 2], vec![1, 3], vec![1, 3]];
        let vocabulary = Vocabulary::new(documents.iter(), 10);
        assert_eq!(vocabulary.n_features(), 2);
        assert!(vocabulary.get(2).is_none());
        assert!(vocabulary.get(3).unwrap().1 > vocabulary.get(1).unwrap().1);
        assert_eq!(Vocabulary::new(documents.iter(), 1).n_features(), 1);
        assert_eq!(Vocabulary::new(documents.iter(), 0).n_features(), 0);
    }

    #[test]
    fn runs_cross_letters_and_not_blanks() {
        let runs = |text: &str| {
            let mut buckets = Vec::new();
            letter_runs(text, 1, |bucket| buckets.push(bucket));
            buckets
        };
        // " abc", "abcd", "bcd ".
        assert_eq!(runs("aBcd").len(), 3);
        assert_eq!(runs(" ab\n abcd")[1..], runs("abcd"));
        assert_eq!(runs("ก").len(), 1);
        assert_ne!(runs("ก"), runs("ข"));
        // No word is ever cut, so a language without spaces is read through.
        assert_eq!(runs(&"ก".repeat(500)).len(), 499);
        assert!(runs(" \t").is_empty());
        let mut salted = Vec::new();
        letter_runs("abcd", 2, |bucket| salted.push(bucket));
        assert_ne!(salted, runs("abcd"));
    }

    #[test]
    fn character_grams_differ_by_a_single_letter() {
        let grams = |word: &str| {
            let mut buckets = Vec::new();
            char_ngrams(word, 1, &mut CharBuffer::default(), |b| buckets.push(b));
            buckets
        };
        assert_eq!(grams("ab"), grams("AB"));
        assert_eq!(grams("ab").len(), 3);
        // Cyrillic а instead of Latin a.
        assert!(grams("ab").iter().all(|b| !grams("\u{430}b").contains(b)));
    }
}
