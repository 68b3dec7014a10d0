//! One labelled record as the score pass sees it.

use std::ops::Range;

use lazaretto_core::Batch;
use lazaretto_core::shared::TextClassifier;

use super::foreign::{END, START, Seam};

/// Words besides the candidate that a text needs to contradict its label.
const MIN_WORDS_AROUND: usize = 3;

/// Words of one record over all its text fields.
#[derive(Default)]
pub(super) struct Words {
    pub(super) hashes: Vec<u64>,
    /// Field and byte range of each word.
    spans: Vec<(usize, u32, u32)>,
}

impl Words {
    pub(super) fn read(&mut self, batch: &Batch<'_>, row_idx: usize) {
        self.hashes.clear();
        self.spans.clear();
        for (field, tokens) in batch.derived.tokens.iter().enumerate() {
            self.hashes.extend_from_slice(tokens.row(row_idx));
            let spans = tokens.row_spans(row_idx).iter();
            self.spans
                .extend(spans.map(|&(start, end)| (field, start, end)));
        }
    }

    /// Whether word `at` is the first of a field, or there is none.
    pub(super) fn starts_field(&self, at: usize) -> bool {
        match (at.checked_sub(1), self.spans.get(at)) {
            (Some(before), Some(here)) => self.spans[before].0 != here.0,
            _ => true,
        }
    }

    /// The neighbours of the words `span`.
    pub(super) fn seam(&self, span: &Range<usize>) -> Option<Seam> {
        let (&first, last) = (self.hashes.get(span.start)?, span.end.checked_sub(1)?);
        let left = if self.starts_field(span.start) {
            START
        } else {
            self.hashes[span.start - 1]
        };
        let right = if self.starts_field(span.end) {
            END
        } else {
            self.hashes[span.end]
        };
        Some(Seam {
            left,
            first,
            last: *self.hashes.get(last)?,
            right,
            several: span.len() > 1,
        })
    }

    /// The text of the words `span` as it is written, when they are in one field.
    pub(super) fn surface<'a>(
        &self,
        batch: &Batch<'a>,
        row_idx: usize,
        span: &Range<usize>,
    ) -> Option<&'a str> {
        let &(field, start, _) = self.spans.get(span.start)?;
        let &(last_field, _, end) = self.spans.get(span.end.checked_sub(1)?)?;
        let text = batch.texts.get(field)?.get(row_idx)?;
        (field == last_field).then(|| text.get(start as usize..end as usize))?
    }
}

/// A labelled record and what the classifier says about it.
pub(super) struct Record<'a> {
    pub(super) classifier: &'a dyn TextClassifier,
    pub(super) fold: usize,
    pub(super) label: u32,
    pub(super) row_idx: usize,
    pub(super) words: &'a Words,
    /// Logits without the frequency of the classes.
    pub(super) logits: &'a [f32],
}

impl Record<'_> {
    /// What the record says without the words of `regions`: the margin of its label and the class
    /// that is preferred. NaN when hardly any words are left.
    pub(super) fn without(&self, regions: &[Range<usize>], n_left: usize) -> (f32, u32) {
        if n_left < MIN_WORDS_AROUND {
            return (f32::NAN, self.label);
        }
        let mut taken = vec![0.0; self.logits.len()];
        for region in regions {
            let words = &self.words.hashes;
            self.classifier
                .contribution(self.fold, words, region.clone(), &mut taken);
        }
        let rest: Vec<f32> = self
            .logits
            .iter()
            .zip(&taken)
            .map(|(all, out)| all - out)
            .collect();
        margin(&rest, self.label)
    }
}

/// The logits of a text with `words`.
pub(super) fn logits_of(classifier: &dyn TextClassifier, fold: usize, words: &[u64]) -> Vec<f32> {
    let mut logits = vec![0.0; classifier.n_classes()];
    classifier.logits(fold, words, &mut logits);
    logits
}

/// The margin of `label`, and the class that is preferred: `label` itself unless the margin is
/// negative.
pub(super) fn margin(logits: &[f32], label: u32) -> (f32, u32) {
    let own = label as usize;
    let rival = (0..logits.len())
        .filter(|&class| class != own)
        .reduce(|best, class| {
            if logits[class] > logits[best] {
                class
            } else {
                best
            }
        })
        .unwrap_or(own);
    let margin = logits[own] - logits[rival];
    (margin, if margin < 0.0 { rival as u32 } else { label })
}
