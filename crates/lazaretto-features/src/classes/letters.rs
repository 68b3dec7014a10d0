//! Naive Bayes over runs of letters, beside the models over words.
//!
//! Runs of four letters know word stems, endings and misspellings that no other text has as words, and
//! the syllables of languages that write without spaces. Only probabilities are made of them: what a
//! text says without a phrase is asked of words, which a phrase can be taken out of. Logistic
//! regression over the same runs errs like that over words, and costs a hundred times as much; runs of
//! three to five letters cost three times as much and are as good.

use lazaretto_core::Batch;
use rayon::prelude::*;

use super::sparse::Example;
use crate::linear::folds::fold_of;
use crate::ngrams::{Vocabulary, letter_runs};

/// Runs that are kept at most.
const MAX_FEATURES: usize = 1 << 16;
/// Smoothing, in counts.
const SMOOTHING: f32 = 0.2;

/// One model per fold.
#[derive(Debug)]
pub(crate) struct LetterClasses {
    n_classes: usize,
    salt: u64,
    vocabulary: Vocabulary,
    /// By fold: weights of `n_features × n_classes`, features outermost, then one constant per class.
    models: Vec<Vec<f32>>,
}

/// The runs of one text.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    buckets: Vec<u32>,
    row: Vec<(u32, f32)>,
}

impl LetterClasses {
    /// Fits `examples`; `None` where `memory_bytes` leave no room.
    pub(crate) fn fit(
        examples: &[Example<'_>],
        n_classes: usize,
        folds: usize,
        memory_bytes: usize,
        seed: u64,
    ) -> Option<Self> {
        // The counts of all folds and the weights of all folds.
        let max_features = (memory_bytes / (2 * 4 * n_classes * folds).max(1)).min(MAX_FEATURES);
        let salt = seed ^ 0x006c_6574_7465_7273;
        let mut buckets = Vec::new();
        let documents = examples.iter().map(|example| {
            buckets.clear();
            letter_runs(&example.payload.text, salt, |bucket| buckets.push(bucket));
            buckets.clone()
        });
        let vocabulary = Vocabulary::new(documents, max_features);
        if vocabulary.n_features() == 0 {
            return None;
        }
        let mut classes = Self {
            n_classes,
            salt,
            vocabulary,
            models: Vec::new(),
        };
        let counts: Vec<Vec<f32>> = (0..folds)
            .into_par_iter()
            .map(|fold| {
                let inside = |example: &&Example<'_>| fold_of(example.key, folds) == fold;
                classes.counts(examples.iter().filter(inside))
            })
            .collect();
        classes.models = (0..folds)
            .into_par_iter()
            .map(|fold| classes.weights(&counts, fold))
            .collect();
        Some(classes)
    }

    /// Values of each feature in each class, then records of each class.
    fn counts<'e>(&self, examples: impl Iterator<Item = &'e Example<'e>>) -> Vec<f32> {
        let n_classes = self.n_classes;
        let n_features = self.vocabulary.n_features();
        let mut counts = vec![0.0; (n_features + 1) * n_classes];
        let mut runs = Runs::default();
        for example in examples {
            let label = example.payload.label as usize;
            self.encode([example.payload.text.as_str()].into_iter(), &mut runs);
            for &(feature, value) in &runs.row {
                counts[feature as usize * n_classes + label] += value;
            }
            counts[n_features * n_classes + label] += 1.0;
        }
        counts
    }

    /// The model of `fold`, from the counts of all others.
    fn weights(&self, counts: &[Vec<f32>], fold: usize) -> Vec<f32> {
        let n_classes = self.n_classes;
        let n_features = self.vocabulary.n_features();
        let mut weights = vec![SMOOTHING; (n_features + 1) * n_classes];
        for (_, part) in counts
            .iter()
            .enumerate()
            .filter(|&(other, _)| other != fold)
        {
            for (weight, &count) in weights.iter_mut().zip(part) {
                *weight += count;
            }
        }
        let (shares, sizes) = weights.split_at_mut(n_features * n_classes);
        let mut totals = vec![0.0_f64; n_classes];
        for feature in shares.chunks_exact(n_classes) {
            for (total, &share) in totals.iter_mut().zip(feature) {
                *total += f64::from(share);
            }
        }
        for feature in shares.chunks_exact_mut(n_classes) {
            for (share, &total) in feature.iter_mut().zip(&totals) {
                *share = (f64::from(*share) / total).ln() as f32;
            }
        }
        for size in sizes {
            *size = size.ln();
        }
        weights
    }

    /// Fills `runs` with the features of a text in several fields: inverse document frequencies, of
    /// unit length together.
    fn encode<'t>(&self, texts: impl Iterator<Item = &'t str>, runs: &mut Runs) {
        runs.buckets.clear();
        runs.row.clear();
        for text in texts {
            letter_runs(text, self.salt, |bucket| runs.buckets.push(bucket));
        }
        runs.buckets.sort_unstable();
        let mut squares = 0.0;
        for same in runs.buckets.chunk_by(|a, b| a == b) {
            if let Some((feature, idf)) = self.vocabulary.get(same[0]) {
                let value = idf * same.len() as f32;
                squares += value * value;
                runs.row.push((feature, value));
            }
        }
        if squares > 0.0 {
            let length = squares.sqrt();
            runs.row.iter_mut().for_each(|(_, value)| *value /= length);
        }
    }

    /// Fills `runs` with the features of record `row_idx`.
    pub(crate) fn read(&self, batch: &Batch<'_>, row_idx: usize, runs: &mut Runs) {
        let texts = batch.texts.iter().filter_map(|field| field.get(row_idx));
        self.encode(texts, runs);
    }

    /// The same for a sampled record.
    pub(crate) fn read_example(&self, example: &Example<'_>, runs: &mut Runs) {
        self.encode([example.payload.text.as_str()].into_iter(), runs);
    }

    /// Adds `share` of what the model of the fold of `key` says about `runs` to `logits`.
    pub(crate) fn add(&self, key: u64, runs: &Runs, share: f32, logits: &mut [f32]) {
        let model = &self.models[fold_of(key, self.models.len())];
        let constants = &model[self.vocabulary.n_features() * self.n_classes..];
        for (logit, &constant) in logits.iter_mut().zip(constants) {
            *logit += share * constant;
        }
        for &(feature, value) in &runs.row {
            let start = feature as usize * self.n_classes;
            let weights = &model[start..start + self.n_classes];
            for (logit, &weight) in logits.iter_mut().zip(weights) {
                *logit += share * value * weight;
            }
        }
    }

    pub(crate) fn n_features(&self) -> usize {
        self.vocabulary.n_features()
    }
}
