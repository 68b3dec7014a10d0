//! What the sample teaches: which words are common, which features occur, and the hidden component
//! of each class.

use std::collections::{HashMap, HashSet};

use lazaretto_core::shared::TextClassifier;
use lazaretto_features::SoftLabelRows;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::features::Encoder;
use super::mixture::{ClassStyle, Problem, any_alive, fits, score};
use super::pieces::Piece;
use crate::text::text_sample::Sampled;

/// Words that content is judged without: the most common ones, and with them most of what a style
/// is made of.
const UNTOPICAL_WORDS: usize = 400;
/// Texts of the sample that must have a feature.
const MIN_TEXTS: u32 = 3;
/// Most features.
const MAX_FEATURES: usize = 1 << 17;
/// Length of the row of a text: `C` = 16 for rows of length 1.
const ROW_LENGTH: f32 = 4.0;
/// Most records, own and other, from which one class is learned.
const MAX_PROBLEM: usize = 12_288;
/// The same over all classes.
const MAX_TOTAL: usize = 98_304;

/// What is kept of a labelled text of the sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelledPieces {
    pub(super) label: u32,
    pub(super) pieces: Vec<Piece>,
}

/// The model of the detector.
#[derive(Debug)]
pub struct StyleModel {
    common: HashSet<u64>,
    untopical: HashSet<u64>,
    vocabulary: HashMap<u64, u32>,
    /// The component of each class, where it has enough records.
    pub(super) classes: Vec<Option<ClassStyle>>,
    /// Whether one of the components is alive.
    alive: bool,
}

/// Room for one text after the other.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) pieces: Vec<Piece>,
    encoder: Encoder,
    row: Vec<(u32, f32)>,
    content: Vec<u64>,
}

impl StyleModel {
    /// Learns from labelled texts in key order. `min_records` is the size of the smallest group;
    /// only the classes that `judged` names get a component.
    pub(super) fn fit(
        texts: &[Sampled<LabelledPieces>],
        classifier: &dyn TextClassifier,
        common_words: usize,
        min_records: usize,
        judged: &[bool],
    ) -> Self {
        let words = texts.iter().map(|text| {
            let words = text.content.pieces.iter().filter(|piece| piece.is_word());
            distinct(words.map(|piece| piece.hash).collect())
        });
        let by_frequency = document_frequencies(words);
        let first = |n: usize| by_frequency.iter().take(n).map(|&(word, _)| word).collect();
        let mut model = Self {
            common: first(common_words),
            untopical: first(common_words.max(UNTOPICAL_WORDS)),
            vocabulary: HashMap::new(),
            classes: Vec::new(),
            alive: false,
        };
        let encoded: Vec<Vec<u64>> = texts
            .par_iter()
            .map_init(Encoder::default, |encoder, text| {
                let is_common = |word| model.common.contains(&word);
                encoder.encode(&text.content.pieces, is_common).to_vec()
            })
            .collect();
        let features = document_frequencies(encoded.iter().cloned());
        model.vocabulary = features
            .iter()
            .filter(|&&(_, n_texts)| n_texts >= MIN_TEXTS)
            .take(MAX_FEATURES)
            .zip(0..)
            .map(|(&(feature, _), idx)| (feature, idx))
            .collect();
        let rows: Vec<Vec<(u32, f32)>> = encoded
            .par_iter()
            .map(|features| {
                let mut row = Vec::new();
                model.row_of(features, &mut row);
                row
            })
            .collect();
        let n_judged = judged.iter().filter(|&&judged| judged).count();
        let size = MAX_PROBLEM.min(MAX_TOTAL / n_judged.max(1));
        let sample = Sample {
            texts,
            rows: &rows,
            n_features: model.vocabulary.len(),
        };
        let classes = judged.par_iter().zip(0..judged.len() as u32);
        model.classes = classes
            .map(|(&judged, class)| {
                judged.then(|| sample.fit_class(&model, classifier, class, size, min_records))
            })
            .collect();
        model.alive = any_alive(model.classes.iter().flatten());
        model
    }

    /// The features that are known, as a row of fixed length.
    fn row_of(&self, features: &[u64], row: &mut Vec<(u32, f32)>) {
        row.clear();
        let known = features
            .iter()
            .filter_map(|feature| self.vocabulary.get(feature));
        row.extend(known.map(|&feature| (feature, 0.0)));
        let value = ROW_LENGTH / (row.len().max(1) as f32).sqrt();
        for entry in row.iter_mut() {
            entry.1 = value;
        }
    }

    /// How much the content of a text argues for `class`, against the best other one: 0 where
    /// nothing but common words is left. Only words count, not how frequent the classes are.
    fn margin(
        &self,
        classifier: &dyn TextClassifier,
        key: u64,
        class: u32,
        pieces: &[Piece],
        content: &mut Vec<u64>,
    ) -> f32 {
        content.clear();
        let words = pieces.iter().filter(|piece| piece.is_word());
        let topical = words.filter(|piece| !self.untopical.contains(&piece.hash));
        content.extend(topical.map(|piece| piece.hash));
        let (n_classes, own) = (classifier.n_classes(), class as usize);
        if content.is_empty() || own >= n_classes {
            return 0.0;
        }
        let fold = classifier.fold_of(key);
        let (mut logits, mut silent) = (vec![0.0; n_classes], vec![0.0; n_classes]);
        classifier.logits(fold, content, &mut logits);
        classifier.logits(fold, &[], &mut silent);
        let says = |class: usize| logits[class] - silent[class];
        let others = (0..n_classes).filter(|&class| class != own);
        let margin = says(own) - others.map(says).fold(f32::NEG_INFINITY, f32::max);
        if margin.is_finite() { margin } else { 0.0 }
    }

    /// Judges a text with label `label`: the log odds of its style and the margin of its content.
    /// `None` where there is nothing to judge.
    pub(super) fn judge(
        &self,
        classifier: &dyn TextClassifier,
        key: u64,
        label: u32,
        scratch: &mut Scratch,
    ) -> Option<Judged> {
        let class = self.classes.get(label as usize)?.as_ref()?;
        if scratch.pieces.is_empty() {
            return None;
        }
        let is_common = |word| self.common.contains(&word);
        let features = scratch.encoder.encode(&scratch.pieces, is_common);
        self.row_of(features, &mut scratch.row);
        let style = class.log_odds(key, &scratch.row);
        let pieces = &scratch.pieces;
        let margin = self.margin(classifier, key, label, pieces, &mut scratch.content);
        Some(Judged {
            score: if self.alive {
                score(style, margin)
            } else {
                0.0
            },
            margin,
            in_group: style >= class.threshold,
            held: fits(style, margin, class.threshold),
            content: scratch
                .content
                .iter()
                .fold(0, |hash, &word| super::features::fold(hash, word)),
        })
    }
}

/// What the model says about a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    /// Higher is more suspicious; 0 for all records when no class has a hidden component.
    pub(super) score: f32,
    pub(super) margin: f32,
    /// Whether the style is that of the group.
    pub(super) in_group: bool,
    /// Whether its content agrees that it belongs there.
    pub(super) held: bool,
    /// Hash of the words that are not common.
    pub(super) content: u64,
}

struct Sample<'a> {
    texts: &'a [Sampled<LabelledPieces>],
    rows: &'a [Vec<(u32, f32)>],
    n_features: usize,
}

impl Sample<'_> {
    fn fit_class(
        &self,
        model: &StyleModel,
        classifier: &dyn TextClassifier,
        class: u32,
        size: usize,
        min_records: usize,
    ) -> ClassStyle {
        let is_own = |idx: &usize| self.texts[*idx].content.label == class;
        let mut own: Vec<usize> = (0..self.texts.len()).filter(is_own).collect();
        let mut others: Vec<usize> = (0..self.texts.len()).filter(|idx| !is_own(idx)).collect();
        // Texts are in key order, so that the first ones are a sample of all.
        own.truncate(size - others.len().min(size / 2));
        others.truncate(size - own.len());
        let mut chosen = [own, others].concat();
        chosen.sort_unstable();
        let mut rows = SoftLabelRows::new(self.n_features);
        let (mut keys, mut is_own, mut margins) = (Vec::new(), Vec::new(), Vec::new());
        let mut content = Vec::new();
        for idx in chosen {
            let text = &self.texts[idx];
            rows.push(&self.rows[idx]);
            keys.push(text.key);
            is_own.push(text.content.label == class);
            let pieces = &text.content.pieces;
            margins.push(model.margin(classifier, text.key, class, pieces, &mut content));
        }
        let problem = Problem {
            rows: &rows,
            keys: &keys,
            own: &is_own,
            margins: &margins,
        };
        ClassStyle::fit(&problem, min_records)
    }
}

fn distinct(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    values.dedup();
    values
}

/// Number of documents of each value, the most frequent first. A document names a value once.
fn document_frequencies(documents: impl Iterator<Item = Vec<u64>>) -> Vec<(u64, u32)> {
    let mut values: Vec<u64> = documents.flatten().collect();
    values.sort_unstable();
    let runs = values.chunk_by(|left, right| left == right);
    let mut counted: Vec<(u64, u32)> = runs.map(|run| (run[0], run.len() as u32)).collect();
    counted.sort_unstable_by_key(|&(value, count)| (std::cmp::Reverse(count), value));
    counted
}
