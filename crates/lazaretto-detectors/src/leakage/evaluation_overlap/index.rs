//! The evaluation texts, by their n-grams and by their words.

use std::collections::BTreeMap;

use lazaretto_core::Evaluation;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::duplicates::near::{BAND, HASHES, MinHash, Signature, equal_entries};

/// N-grams in more texts than this belong to the template of the evaluation set.
const TEMPLATE: usize = 5;
/// Fewest n-grams of a text that count; fewer are an idiom.
const MIN_GRAMS: usize = 3;
/// Fewest distinct words of a text that is compared by its words.
const MIN_WORDS: usize = 12;
/// Least estimated similarity of the words.
const SAME_WORDS: f64 = 0.8;

/// What the score pass looks texts up in.
#[derive(Debug)]
pub struct Index {
    ngram: usize,
    min_overlap: f64,
    seed: u64,
    /// Hash of an n-gram and the text that it stands in, ascending.
    grams: Vec<(u64, u32)>,
    /// Distinct n-grams of each text that count.
    n_grams: Vec<u32>,
    min_hash: MinHash,
    /// Hash of a band of a signature and its text, ascending.
    bands: Vec<(u64, u32)>,
    /// Signature of each text with enough words.
    signatures: BTreeMap<u32, Signature>,
    /// Texts, and texts that are too short, of each file.
    counts: BTreeMap<u32, (usize, usize)>,
}

fn grams(words: &[u64], ngram: usize, seed: u64) -> Vec<u64> {
    let mut bytes = Vec::with_capacity(8 * ngram);
    let mut grams: Vec<u64> = words
        .windows(ngram)
        .map(|window| {
            bytes.clear();
            bytes.extend(window.iter().flat_map(|word| word.to_le_bytes()));
            xxh3_64_with_seed(&bytes, seed)
        })
        .collect();
    grams.sort_unstable();
    grams.dedup();
    grams
}

fn distinct(words: &[u64]) -> Vec<u64> {
    let mut distinct = words.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    distinct
}

fn bands(signature: &Signature) -> impl Iterator<Item = u64> + '_ {
    signature.chunks(BAND).enumerate().map(|(band, part)| {
        let bytes: Vec<u8> = part.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        xxh3_64_with_seed(&bytes, band as u64)
    })
}

/// The texts that go with `key` in `pairs`, which ascend.
fn with_key(pairs: &[(u64, u32)], key: u64) -> impl Iterator<Item = u32> + '_ {
    let start = pairs.partition_point(|&(other, _)| other < key);
    let pairs = pairs[start..].iter();
    pairs
        .take_while(move |(other, _)| *other == key)
        .map(|&(_, text)| text)
}

impl Index {
    /// Texts are numbered as in `evaluation`.
    pub(super) fn new(evaluation: &Evaluation, ngram: usize, min_overlap: f64, seed: u64) -> Self {
        let min_hash = MinHash::new(seed);
        let mut all_grams = Vec::new();
        let mut all_bands = Vec::new();
        let mut signatures = BTreeMap::new();
        let mut counts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (idx, text) in evaluation.texts.iter().enumerate() {
            let idx = idx as u32;
            let (texts, too_short) = counts.entry(text.file).or_default();
            *texts += 1;
            if text.words.len() < ngram + MIN_GRAMS - 1 {
                *too_short += 1;
                continue;
            }
            let grams = grams(&text.words, ngram, seed);
            all_grams.extend(grams.into_iter().map(|gram| (gram, idx)));
            let words = distinct(&text.words);
            if words.len() >= MIN_WORDS {
                let signature = min_hash.signature(&words);
                all_bands.extend(bands(&signature).map(|band| (band, idx)));
                signatures.insert(idx, signature);
            }
        }
        all_grams.sort_unstable();
        all_bands.sort_unstable();
        let mut n_grams = vec![0; evaluation.texts.len()];
        let mut kept = Vec::with_capacity(all_grams.len());
        for same in all_grams.chunk_by(|a, b| a.0 == b.0) {
            if same.len() <= TEMPLATE {
                kept.extend_from_slice(same);
                for &(_, text) in same {
                    n_grams[text as usize] += 1;
                }
            }
        }
        Self {
            ngram,
            min_overlap,
            seed,
            grams: kept,
            n_grams,
            min_hash,
            bands: all_bands,
            signatures,
            counts,
        }
    }

    /// Number of texts that can be found.
    pub(super) fn n_searched(&self) -> usize {
        let counts = self.counts.values();
        counts.map(|(texts, too_short)| texts - too_short).sum()
    }

    /// Number of texts of a file.
    pub(super) fn n_texts_of(&self, file: u32) -> usize {
        self.counts.get(&file).map_or(0, |counts| counts.0)
    }

    /// Number of texts of a file that are too short to be told from chance.
    pub(super) fn n_too_short_of(&self, file: u32) -> usize {
        self.counts.get(&file).map_or(0, |counts| counts.1)
    }

    /// Adds to `contained` the evaluation texts that a text with these `words` contains, with the
    /// share of them that it contains.
    pub(super) fn search(&self, words: &[u64], contained: &mut BTreeMap<u32, f32>) {
        let mut add = |text: u32, share: f64| {
            let known = contained.entry(text).or_default();
            *known = known.max(share as f32);
        };
        let mut hits: BTreeMap<u32, u32> = BTreeMap::new();
        for gram in grams(words, self.ngram, self.seed) {
            for text in with_key(&self.grams, gram) {
                *hits.entry(text).or_default() += 1;
            }
        }
        for (text, hits) in hits {
            let share = f64::from(hits) / f64::from(self.n_grams[text as usize]);
            if share >= self.min_overlap && hits as usize >= MIN_GRAMS {
                add(text, share);
            }
        }
        let words = distinct(words);
        if words.len() < MIN_WORDS || self.bands.is_empty() {
            return;
        }
        let signature = self.min_hash.signature(&words);
        for band in bands(&signature) {
            for text in with_key(&self.bands, band) {
                let equal = equal_entries(&signature, &self.signatures[&text]);
                let share = f64::from(equal) / HASHES as f64;
                if share >= SAME_WORDS.max(self.min_overlap) {
                    add(text, share);
                }
            }
        }
    }
}
