//! What the fit pass counts: phrases of prompts, words and pairs of words of responses, answers.

use lazaretto_core::{Batch, TextPart};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::prompt::Words;
use crate::text::ngram_counts::NgramCounts;

/// State of the fit pass. All counts are of records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseCounts {
    /// Records with a prompt and a response.
    pub(super) n_records: u64,
    /// Words of prompts.
    pub(super) words: NgramCounts,
    /// Longer phrases of prompts, and chunks.
    pub(super) phrases: NgramCounts,
    /// Words of responses.
    pub(super) vocabulary: NgramCounts,
    /// Pairs of neighbouring words of responses, see [`pair`].
    pub(super) pairs: NgramCounts,
    /// Responses, see [`answer`].
    pub(super) answers: NgramCounts,
}

/// One record with prompt and response, read into memory that is used again.
#[derive(Default)]
pub(super) struct Exchange {
    pub(super) prompt: Words,
    pub(super) response: Words,
}

impl Exchange {
    /// Reads row `row_idx`; `false` where it has no prompt or no response.
    pub(super) fn read(&mut self, batch: &Batch<'_>, row_idx: usize) -> bool {
        self.prompt.read(batch, row_idx, TextPart::Prompt, true)
            && self
                .response
                .read(batch, row_idx, TextPart::Response, false)
    }
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
pub(super) fn prefix(left: u64, seed: u64) -> u64 {
    (xxh3_64_with_seed(&left.to_le_bytes(), seed) >> 32) << 32
}

/// The response of row `row_idx` without regard to capitals and marks, or as written when there are
/// no words in it.
pub(super) fn answer(batch: &Batch<'_>, row_idx: usize, words: &Words, seed: u64) -> u64 {
    let mut bytes: Vec<u8> = words.words().flat_map(u64::to_le_bytes).collect();
    if bytes.is_empty() {
        let fields = batch.texts.iter().filter(|f| f.part == TextPart::Response);
        for text in fields.filter_map(|field| field.get(row_idx)) {
            bytes.extend_from_slice(text.trim().as_bytes());
        }
    }
    xxh3_64_with_seed(&bytes, seed)
}

/// Sorts `items` and drops repeats.
pub(super) fn distinct(items: &mut Vec<u64>) {
    items.sort_unstable();
    items.dedup();
}

impl ResponseCounts {
    /// Counts the records of `batch`.
    pub(super) fn add(&mut self, batch: &Batch<'_>, max_words: usize, seed: u64, max_bytes: usize) {
        let [small, large] = shares(max_bytes);
        let mut exchange = Exchange::default();
        let mut found = Vec::new();
        for row_idx in 0..batch.n_rows() {
            if !exchange.read(batch, row_idx) {
                continue;
            }
            self.n_records += 1;
            let Exchange { prompt, response } = &exchange;
            let mut count =
                |counts: &mut NgramCounts, max_bytes, all: &mut dyn Iterator<Item = u64>| {
                    found.clear();
                    found.extend(all);
                    distinct(&mut found);
                    counts.add(0, &found, max_bytes);
                };
            let places = || prompt.phrases(max_words, seed);
            let is_word = |place: &super::prompt::Place| {
                place.chunk.is_none() && place.end - place.start == 1
            };
            count(
                &mut self.words,
                small,
                &mut places().filter(is_word).map(|place| place.phrase),
            );
            count(
                &mut self.phrases,
                large,
                &mut places().filter(|p| !is_word(p)).map(|place| place.phrase),
            );
            count(&mut self.vocabulary, small, &mut response.words());
            count(
                &mut self.pairs,
                large,
                &mut response
                    .pairs()
                    .map(|(left, right)| pair(left, right, seed)),
            );
            let answer = answer(batch, row_idx, response, seed);
            count(&mut self.answers, small, &mut std::iter::once(answer));
        }
    }

    /// Adds the counts of a later partition.
    pub(super) fn merge(&mut self, later: Self, max_bytes: usize) {
        let [small, large] = shares(max_bytes);
        self.n_records += later.n_records;
        self.words.merge(later.words, small);
        self.phrases.merge(later.phrases, large);
        self.vocabulary.merge(later.vocabulary, small);
        self.pairs.merge(later.pairs, large);
        self.answers.merge(later.answers, small);
    }
}

/// Bytes for a table of words or answers, and for one of phrases or pairs.
fn shares(max_bytes: usize) -> [usize; 2] {
    [max_bytes / 9, max_bytes / 3]
}
