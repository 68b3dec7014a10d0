//! Records whose responses say nothing, with what their prompts have in common.

use std::cmp::Ordering;

use lazaretto_core::Batch;
use serde::{Deserialize, Serialize};

use super::counts::Exchange;
use super::responses::Responses;

/// How a response says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// Words in no order, or no words: how much they say about each other, in nats per pair.
    Gibberish { order: f32 },
    /// The answer that other prompts get too, by hash.
    Repeated { answer: u64 },
}

impl Kind {
    /// How much of nothing, in `0..=1`. A repeated answer alone is no sign.
    fn score(self) -> f32 {
        match self {
            Self::Gibberish { order } => (-order).clamp(0.0, 1.0),
            Self::Repeated { .. } => 0.0,
        }
    }
}

/// A record whose response says nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Collapsed {
    pub(super) ordinal: u64,
    pub(super) kind: Kind,
    /// Phrases of the prompt that are neither too rare nor too frequent, ascending.
    pub(super) phrases: Vec<u64>,
    /// Places in [`Responses::common`] of the words of the prompt, ascending.
    pub(super) common: Vec<u16>,
}

impl Collapsed {
    /// Which of two records to keep when not all can be kept: the less ordered one; of repeated
    /// answers those with the smaller hash, so that an answer stays or goes as a whole.
    fn precedence(&self, other: &Self) -> Ordering {
        let by_kind = match (self.kind, other.kind) {
            (Kind::Gibberish { order: a }, Kind::Gibberish { order: b }) => a.total_cmp(&b),
            (Kind::Repeated { answer: a }, Kind::Repeated { answer: b }) => a.cmp(&b),
            (Kind::Gibberish { .. }, Kind::Repeated { .. }) => Ordering::Less,
            (Kind::Repeated { .. }, Kind::Gibberish { .. }) => Ordering::Greater,
        };
        by_kind.then(self.ordinal.cmp(&other.ordinal))
    }
}

/// Evidence of the score pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseEvidence {
    pub(super) gibberish: Vec<Collapsed>,
    pub(super) repeated: Vec<Collapsed>,
    /// How each phrase of a kept record is first written, by phrase, ascending.
    pub(super) written: Vec<(u64, String)>,
    /// Records with prompt and response.
    pub(super) n_records: u64,
    /// Records that are kept, at most.
    max_kept: usize,
}

impl ResponseEvidence {
    pub(super) fn new(max_kept: usize) -> Self {
        Self {
            max_kept,
            ..Self::default()
        }
    }

    /// Judges the responses of `batch`; returns their scores.
    pub(super) fn add(
        &mut self,
        model: &Responses,
        batch: &Batch<'_>,
        max_words: usize,
    ) -> Vec<f32> {
        let mut exchange = Exchange::default();
        let mut scores = vec![f32::NAN; batch.n_rows()];
        for (row_idx, score) in scores.iter_mut().enumerate() {
            if !exchange.read(batch, row_idx) {
                continue;
            }
            self.n_records += 1;
            let kind = model.judge(batch, row_idx, &exchange.response);
            *score = kind.map_or(0.0, Kind::score);
            let Some(kind) = kind else {
                continue;
            };
            let prompt = &exchange.prompt;
            let mut phrases = Vec::new();
            for place in prompt.phrases(max_words, model.seed) {
                if model.is_judged(model.prompts_with(place.phrase)) {
                    phrases.push(place.phrase);
                    let written = match place.chunk {
                        Some(chunk) => prompt.chunk(chunk).to_owned(),
                        None => prompt.surface(place.start, place.end),
                    };
                    self.written.push((place.phrase, written));
                }
            }
            phrases.sort_unstable();
            phrases.dedup();
            let collapsed = Collapsed {
                ordinal: batch.ordinal(row_idx),
                kind,
                phrases,
                common: model.common_words(prompt),
            };
            match kind {
                Kind::Gibberish { .. } => self.gibberish.push(collapsed),
                Kind::Repeated { .. } => self.repeated.push(collapsed),
            }
        }
        self.tidy();
        scores
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.n_records += later.n_records;
        self.gibberish.extend(later.gibberish);
        self.repeated.extend(later.repeated);
        self.written.extend(later.written);
        self.tidy();
    }

    /// Keeps what comes first, whatever the partitions were.
    fn tidy(&mut self) {
        let mut dropped = false;
        for kept in [&mut self.gibberish, &mut self.repeated] {
            kept.sort_by(Collapsed::precedence);
            dropped |= kept.len() > self.max_kept / 2;
            kept.truncate(self.max_kept / 2);
        }
        // Of several ways to write a phrase the first in the alphabet: the order of the records
        // must not matter.
        self.written.sort_unstable();
        self.written.dedup_by(|later, first| later.0 == first.0);
        if dropped {
            let kept = self.gibberish.iter().chain(&self.repeated);
            let mut phrases: Vec<u64> = kept.flat_map(|record| &record.phrases).copied().collect();
            phrases.sort_unstable();
            phrases.dedup();
            self.written
                .retain(|(phrase, _)| phrases.binary_search(phrase).is_ok());
        }
    }

    /// How a phrase is written.
    pub(super) fn written(&self, phrase: u64) -> &str {
        let found = self
            .written
            .binary_search_by_key(&phrase, |(known, _)| *known);
        found.map_or("", |idx| self.written[idx].1.as_str())
    }
}
