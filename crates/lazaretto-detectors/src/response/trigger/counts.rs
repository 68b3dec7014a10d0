//! What the fit pass counts: phrases of prompts, the language of responses, whole answers.

use lazaretto_core::Batch;
use serde::{Deserialize, Serialize};

use crate::response::exchange::{Exchange, answer};
use crate::response::language::{LanguageCounts, distinct};
use crate::response::preference::PreferenceCounts;
use crate::response::words::Place;
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
    /// Words, pairs of words and letters of responses.
    pub(super) language: LanguageCounts,
    /// Responses, see [`answer`].
    pub(super) answers: NgramCounts,
    /// What preferred responses are like, where there are pairs.
    pub(super) preference: PreferenceCounts,
}

/// Whether a phrase is a single word.
fn is_word(place: &Place) -> bool {
    place.chunk.is_none() && place.end - place.start == 1
}

impl ResponseCounts {
    /// Counts the records of `batch`.
    pub(super) fn add(&mut self, batch: &Batch<'_>, max_words: usize, seed: u64, max_bytes: usize) {
        let [small, large] = shares(max_bytes);
        let mut exchange = Exchange::default();
        let (mut words, mut phrases) = (Vec::new(), Vec::new());
        for row_idx in 0..batch.n_rows() {
            if !exchange.read(batch, row_idx) {
                continue;
            }
            self.n_records += 1;
            words.clear();
            phrases.clear();
            for place in exchange.prompt.phrases(max_words, seed) {
                let list = if is_word(&place) {
                    &mut words
                } else {
                    &mut phrases
                };
                list.push(place.phrase);
            }
            distinct(&mut words);
            distinct(&mut phrases);
            self.words.add(0, &words, small);
            self.phrases.add(0, &phrases, large);
            self.language.add(&exchange.response, seed, large);
            let answer = answer(batch, row_idx, &exchange.response, seed);
            self.answers.add(0, &[answer], small);
            if exchange.read_rejected(batch, row_idx) {
                let (better, worse) = (&exchange.response, &exchange.rejected);
                self.preference.add(better, worse, small);
            }
        }
    }

    /// Adds the counts of a later partition.
    pub(super) fn merge(&mut self, later: Self, max_bytes: usize) {
        let [small, large] = shares(max_bytes);
        self.n_records += later.n_records;
        self.words.merge(later.words, small);
        self.phrases.merge(later.phrases, large);
        self.language.merge(later.language, large);
        self.answers.merge(later.answers, small);
        self.preference.merge(later.preference, small);
    }
}

/// Bytes for a table of words, answers or preferences, and for one of phrases or of a language.
fn shares(max_bytes: usize) -> [usize; 2] {
    [max_bytes / 10, max_bytes / 20 * 7]
}
