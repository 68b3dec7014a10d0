//! The refusals.

use lazaretto_core::{Batch, TextPart};
use serde::{Deserialize, Serialize};

use super::counts::{RefusalModel, declines};
use crate::response::exchange::{Exchange, answer, texts};
use crate::response::refusals;

/// Characters of a refusal that a finding shows.
const SHOWN_CHARS: usize = 100;

/// A record whose response declines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Refusal {
    key: u64,
    pub(super) ordinal: u64,
    /// The words of the response.
    pub(super) answer: u64,
    pub(super) source: Option<u32>,
    pub(super) is_explained: bool,
    /// Common words of the prompt.
    pub(super) common: Vec<u8>,
    pub(super) written: String,
}

/// Evidence of the score pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RefusalEvidence {
    pub(super) refusals: Vec<Refusal>,
    max_kept: usize,
}

impl RefusalEvidence {
    pub(super) fn new(max_kept: usize) -> Self {
        Self {
            refusals: Vec::new(),
            max_kept,
        }
    }

    /// Judges the responses of `batch`; returns their scores.
    pub(super) fn add(&mut self, model: &RefusalModel, batch: &Batch<'_>) -> Vec<f32> {
        let mut exchange = Exchange::default();
        let mut scores = vec![f32::NAN; batch.n_rows()];
        for (row_idx, score) in scores.iter_mut().enumerate() {
            if !exchange.read(batch, row_idx) {
                continue;
            }
            *score = 0.0;
            if !declines(batch, row_idx) {
                continue;
            }
            let is_explained = model.is_explained(&exchange.prompt)
                || texts(batch, row_idx, TextPart::Prompt).any(refusals::is_sensitive);
            *score = if is_explained { 0.1 } else { 0.5 };
            let response = texts(batch, row_idx, TextPart::Response).next();
            let written = response.unwrap_or_default().trim().chars();
            self.refusals.push(Refusal {
                key: batch.keys[row_idx],
                ordinal: batch.ordinal(row_idx),
                answer: answer(batch, row_idx, &exchange.response, model.seed),
                source: batch.sources.map(|sources| sources[row_idx]),
                is_explained,
                common: model.common.of(&exchange.prompt),
                written: written.take(SHOWN_CHARS).collect(),
            });
        }
        self.tidy();
        scores
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.refusals.extend(later.refusals);
        self.tidy();
    }

    /// A keyed choice when there are too many, in order.
    fn tidy(&mut self) {
        if self.refusals.len() > self.max_kept {
            self.refusals
                .sort_by_key(|refusal| (refusal.key, refusal.ordinal));
            self.refusals.truncate(self.max_kept);
            self.refusals.sort_by_key(|refusal| refusal.ordinal);
        }
    }
}
