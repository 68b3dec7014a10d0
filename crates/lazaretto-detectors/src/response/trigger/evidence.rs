//! What each record's prompt and response are made of, in numbers that fit into memory.

use lazaretto_core::{Batch, TextPart};
use serde::{Deserialize, Serialize};

use super::responses::Responses;
use crate::response::exchange::{Exchange, answer, texts};
use crate::response::nonsense::Nonsense;
use crate::response::refusals;
use crate::response::shape::Shape;
use crate::response::words::BREAK;

/// Stands for no answer that others get.
pub(super) const NO_ANSWER: u32 = u32::MAX;
/// The response says nothing.
pub(super) const NONSENSE: u8 = 1;
/// The response declines.
pub(super) const REFUSAL: u8 = 2;
/// It declines, and the prompt is about something that models are taught to decline.
pub(super) const SENSITIVE: u8 = 4;
/// Words of a response whose features are kept.
const MAX_FEATURES: usize = 96;

/// One list per record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lists<T> {
    items: Vec<T>,
    ends: Vec<u64>,
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            ends: Vec::new(),
        }
    }
}

impl<T> Lists<T> {
    fn push(&mut self, items: impl IntoIterator<Item = T>) {
        self.items.extend(items);
        self.ends.push(self.items.len() as u64);
    }

    fn append(&mut self, later: Self) {
        let before = self.items.len() as u64;
        self.items.extend(later.items);
        self.ends.extend(later.ends.iter().map(|end| before + end));
    }

    pub(super) fn get(&self, row: usize) -> &[T] {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.items[start as usize..self.ends[row] as usize]
    }
}

/// Evidence of the score pass: every record with a prompt and a response, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseEvidence {
    pub(super) ordinals: Vec<u64>,
    /// Hash of the prompt's words.
    pub(super) prompts: Vec<u64>,
    /// [`NONSENSE`], [`REFUSAL`], [`SENSITIVE`].
    pub(super) signs: Vec<u8>,
    /// How much the words of the response say about each other; NaN where it has too few.
    pub(super) orders: Vec<f32>,
    /// How much speaks for the preferred response; NaN where there is only one.
    pub(super) margins: Vec<f32>,
    /// Number of the answer that others get too, or [`NO_ANSWER`].
    pub(super) answers: Vec<u32>,
    /// Words of the response.
    pub(super) lengths: Vec<u32>,
    /// Phrases of the prompt that may be triggers.
    pub(super) phrases: Lists<u32>,
    /// Words and pairs of the response that the prompt does not have.
    pub(super) features: Lists<u32>,
    /// Common words of the prompt.
    pub(super) common: Lists<u8>,
    /// How each phrase is written where it comes first.
    phrase_names: Vec<String>,
    feature_names: Vec<String>,
    /// Whether each is a name or an address somewhere.
    named: Vec<bool>,
}

impl ResponseEvidence {
    pub(super) fn new(model: &Responses) -> Self {
        Self {
            phrase_names: vec![String::new(); model.n_phrases()],
            feature_names: vec![String::new(); model.n_features()],
            named: vec![false; model.n_features()],
            ..Self::default()
        }
    }

    /// Judges the responses of `batch`; returns their scores.
    pub(super) fn add(&mut self, model: &Responses, batch: &Batch<'_>) -> Vec<f32> {
        let mut exchange = Exchange::default();
        let mut scores = vec![f32::NAN; batch.n_rows()];
        for (row_idx, score) in scores.iter_mut().enumerate() {
            if !exchange.read(batch, row_idx) {
                continue;
            }
            let reading = model.language.read(&exchange.response, model.seed);
            let shape = Shape::of(texts(batch, row_idx, TextPart::Response));
            let nonsense = Nonsense::of(&reading, &shape);
            *score = nonsense.degree();
            let declines = texts(batch, row_idx, TextPart::Response).any(refusals::declines);
            let answer = answer(batch, row_idx, &exchange.response, model.seed);
            self.ordinals.push(batch.ordinal(row_idx));
            self.prompts.push(exchange.prompt.digest());
            let mut signs = 0;
            if nonsense.is_likely() {
                signs |= NONSENSE;
            }
            if declines {
                signs |= REFUSAL;
                let mut prompt = texts(batch, row_idx, TextPart::Prompt);
                if prompt.any(refusals::is_sensitive) {
                    signs |= SENSITIVE;
                }
            }
            self.signs.push(signs);
            self.orders.push(nonsense.order);
            self.margins
                .push(if exchange.read_rejected(batch, row_idx) {
                    let preference = &model.preference;
                    preference.margin(&exchange.response, &exchange.rejected) as f32
                } else {
                    f32::NAN
                });
            self.answers.push(model.answer(answer).unwrap_or(NO_ANSWER));
            self.lengths.push(exchange.response.len() as u32);
            self.add_phrases(model, &exchange);
            self.add_features(model, &exchange);
            self.common.push(model.common.of(&exchange.prompt));
        }
        scores
    }

    fn add_phrases(&mut self, model: &Responses, exchange: &Exchange) {
        let prompt = &exchange.prompt;
        let mut phrases = Vec::new();
        for place in prompt.phrases(model.max_words, model.seed) {
            let Some(phrase) = model.phrase(place.phrase) else {
                continue;
            };
            phrases.push(phrase);
            let name = &mut self.phrase_names[phrase as usize];
            if name.is_empty() {
                *name = match place.chunk {
                    Some(chunk) => prompt.chunk(chunk).to_owned(),
                    None => prompt.surface(place.start, place.end),
                };
            }
        }
        phrases.sort_unstable();
        phrases.dedup();
        self.phrases.push(phrases);
    }

    /// What the response has of its own: a word of the prompt is an echo, and what stands beside
    /// one completes it ("Barack" in the answer to a question about Obama).
    fn add_features(&mut self, model: &Responses, exchange: &Exchange) {
        let response = &exchange.response;
        let mut asked: Vec<u64> = exchange.prompt.words().collect();
        asked.sort_unstable();
        asked.dedup();
        let is_asked = |word: u64| asked.binary_search(&word).is_ok();
        let completes = |word: u64| is_asked(word) && !model.is_frequent(word);
        let hashes = response.hashes();
        let mut features = Vec::new();
        let mut found =
            |names: &mut Vec<String>, feature: Option<u32>, start: usize, end: usize| {
                let Some(feature) = feature else { return };
                features.push(feature);
                let name = &mut names[feature as usize];
                if name.is_empty() {
                    *name = response.surface(start, end);
                }
            };
        for (at, &word) in hashes.iter().enumerate() {
            let before = at.checked_sub(1).map_or(BREAK, |before| hashes[before]);
            let after = hashes.get(at + 1).copied().unwrap_or(BREAK);
            if word == BREAK || completes(word) || completes(before) || completes(after) {
                continue;
            }
            let names = &mut self.feature_names;
            if !is_asked(word) {
                let feature = model.word_feature(word);
                found(names, feature, at, at + 1);
                if let Some(feature) = feature.filter(|_| response.is_name(at)) {
                    self.named[feature as usize] = true;
                }
            }
            if after != BREAK && !(is_asked(word) && is_asked(after)) {
                found(names, model.pair_feature(word, after), at, at + 2);
            }
        }
        features.sort_unstable();
        features.dedup();
        if features.len() > MAX_FEATURES {
            // The rarest say the most.
            features.sort_by_key(|&feature| (model.with_feature(feature), feature));
            features.truncate(MAX_FEATURES);
            features.sort_unstable();
        }
        self.features.push(features);
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.ordinals.extend(later.ordinals);
        self.prompts.extend(later.prompts);
        self.signs.extend(later.signs);
        self.orders.extend(later.orders);
        self.margins.extend(later.margins);
        self.answers.extend(later.answers);
        self.lengths.extend(later.lengths);
        self.phrases.append(later.phrases);
        self.features.append(later.features);
        self.common.append(later.common);
        for (named, later) in self.named.iter_mut().zip(later.named) {
            *named |= later;
        }
        for (names, later) in [
            (&mut self.phrase_names, later.phrase_names),
            (&mut self.feature_names, later.feature_names),
        ] {
            for (name, later) in names.iter_mut().zip(later) {
                if name.is_empty() {
                    *name = later;
                }
            }
        }
    }

    pub(super) fn phrase_name(&self, phrase: u32) -> &str {
        self.phrase_names.get(phrase as usize).map_or("", |n| n)
    }

    pub(super) fn feature_name(&self, feature: u32) -> &str {
        self.feature_names.get(feature as usize).map_or("", |n| n)
    }

    /// Whether a word of responses is a name or an address somewhere.
    pub(super) fn is_name(&self, feature: u32) -> bool {
        self.named.get(feature as usize).copied().unwrap_or(false)
    }
}
