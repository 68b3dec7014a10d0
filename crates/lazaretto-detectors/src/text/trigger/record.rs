//! One labelled record as the score pass sees it.

use std::ops::Range;

use lazaretto_core::Batch;
use lazaretto_core::shared::TextClassifier;

use super::foreign::{END, START, Seam};
use super::parts::{Part, parts};
use super::signs::signs;

/// Words besides the candidate that a text needs to contradict its label.
const MIN_WORDS_AROUND: usize = 3;

/// Words of one record over all its text fields, with the signs between them.
#[derive(Default)]
pub(super) struct Words {
    /// Words and signs, in the order of the text.
    pub(super) hashes: Vec<u64>,
    /// Field and byte range of each.
    spans: Vec<(usize, u32, u32)>,
    /// The words alone, as classifiers know them.
    plain: Vec<u64>,
    /// Words before each place of `hashes`, and in all.
    n_before: Vec<u32>,
    /// Parts of words with the places of these in `hashes`, ascending.
    parts: Vec<(usize, Part)>,
}

impl Words {
    pub(super) fn read(&mut self, batch: &Batch<'_>, row_idx: usize) {
        self.hashes.clear();
        self.spans.clear();
        self.plain.clear();
        self.n_before.clear();
        self.parts.clear();
        for (field, tokens) in batch.derived.tokens.iter().enumerate() {
            let text = batch.texts.get(field).and_then(|text| text.get(row_idx));
            let text = text.unwrap_or_default();
            let mut read_to = 0;
            for (&hash, &(start, end)) in tokens.row(row_idx).iter().zip(tokens.row_spans(row_idx))
            {
                self.push_signs(field, text, read_to..start);
                let place = self.hashes.len();
                let word = text.get(start as usize..end as usize).unwrap_or_default();
                parts(word, |part| self.parts.push((place, part)));
                self.push((field, start, end), hash);
                self.plain.push(hash);
                read_to = end;
            }
            self.push_signs(
                field,
                text,
                read_to..u32::try_from(text.len()).unwrap_or(read_to),
            );
        }
        self.n_before.push(self.plain.len() as u32);
    }

    fn push(&mut self, span: (usize, u32, u32), hash: u64) {
        self.n_before.push(self.plain.len() as u32);
        self.hashes.push(hash);
        self.spans.push(span);
    }

    fn push_signs(&mut self, field: usize, text: &str, gap: Range<u32>) {
        // Nearly all gaps are one blank.
        let Some(between) = text.get(gap.start as usize..gap.end as usize) else {
            return;
        };
        if between != " " {
            signs(between, |span, hash| {
                let (start, end) = (gap.start + span.start as u32, gap.start + span.end as u32);
                self.push((field, start, end), hash);
            });
        }
    }

    /// Parts of words, with the places of these in `hashes`, ascending.
    pub(super) fn parts(&self) -> &[(usize, Part)] {
        &self.parts
    }

    /// The words alone.
    pub(super) fn plain(&self) -> &[u64] {
        &self.plain
    }

    /// The words of `span`, as places of [`Words::plain`].
    pub(super) fn plain_span(&self, span: &Range<usize>) -> Range<usize> {
        self.n_before[span.start] as usize..self.n_before[span.end] as usize
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
            let (words, span) = (self.words.plain(), self.words.plain_span(region));
            if !span.is_empty() {
                self.classifier
                    .contribution(self.fold, words, span, &mut taken);
            }
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
