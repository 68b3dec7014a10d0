//! Word n-grams as sparse features, and the classifier over them.
//!
//! A text is the sum of the inverse document frequencies of its unigrams and bigrams, place by
//! place, divided by the length `√Σ idf²` over the same places. Unlike the usual normalisation
//! both sums run over places and not over distinct n-grams, so the words of a span can be taken
//! out exactly and in one pass. Accuracy is the same: 0.787 / 0.869 / 0.979 on the clean SST-2 /
//! AG news / SMS sets, against 0.788 / 0.867 / 0.980 with sklearn's `TfidfVectorizer`.

use std::ops::Range;
use std::sync::Arc;

use lazaretto_core::shared::TextClassifier;

use crate::linear::counts::SparseBayes;
use crate::linear::folds::fold_of;
use crate::linear::sparse::SparseModel;
use crate::ngrams::{Vocabulary, word_ngrams};

/// `√C` of the text block, see [`crate::linear`]: `C` = 16 is at or near the best accuracy and log
/// loss on all three sets of the trial.
pub(crate) const SCALE: f32 = 4.0;

/// The n-grams that carry information.
#[derive(Clone, Debug)]
pub(crate) struct WordSpace {
    salt: u64,
    vocabulary: Vocabulary,
}

impl WordSpace {
    /// The n-grams of `documents`, at most `max_features`.
    pub(crate) fn fit(documents: &[&[u64]], max_features: usize, seed: u64) -> Self {
        let salt = seed ^ 0x0063_6c61_7373_6573;
        let mut buckets = Vec::new();
        let documents = documents.iter().map(|words| {
            buckets.clear();
            word_ngrams(words, 0..words.len(), salt, |bucket| buckets.push(bucket));
            buckets.clone()
        });
        let vocabulary = Vocabulary::new(documents, max_features);
        Self { salt, vocabulary }
    }

    pub(crate) fn n_features(&self) -> usize {
        self.vocabulary.n_features()
    }

    /// Calls `visit` with feature and inverse document frequency of each n-gram that touches
    /// `span`.
    fn visit(&self, words: &[u64], span: Range<usize>, mut visit: impl FnMut(u32, f32)) {
        word_ngrams(words, span, self.salt, |bucket| {
            if let Some((feature, idf)) = self.vocabulary.get(bucket) {
                visit(feature, idf);
            }
        });
    }

    fn squared_length(&self, words: &[u64], span: Range<usize>) -> f32 {
        let mut total = 0.0;
        self.visit(words, span, |_, idf| total += idf * idf);
        total
    }

    /// Appends the features of a text.
    pub(crate) fn encode(&self, words: &[u64], row: &mut Vec<(u32, f32)>) {
        let factor = factor(self.squared_length(words, 0..words.len()));
        self.visit(words, 0..words.len(), |feature, idf| {
            row.push((feature, factor * idf));
        });
    }
}

fn factor(squared_length: f32) -> f32 {
    if squared_length > 0.0 {
        SCALE / squared_length.sqrt()
    } else {
        0.0
    }
}

/// A linear model over sparse features.
#[derive(Clone, Debug)]
pub(crate) enum LinearModel {
    Regression(SparseModel),
    /// Where there are too many classes for a weight per feature and class.
    Bayes(SparseBayes),
}

impl LinearModel {
    /// Adds the bias of each class.
    pub(crate) fn add_bias(&self, logits: &mut [f32]) {
        match self {
            Self::Regression(model) => model.add_bias(logits),
            Self::Bayes(model) => model.add_bias(logits),
        }
    }

    /// Adds `value` times the weights of `feature`.
    pub(crate) fn add(&self, feature: u32, value: f32, logits: &mut [f32]) {
        match self {
            Self::Regression(model) => model.add(feature, value, logits),
            Self::Bayes(model) => model.add(feature, value, logits),
        }
    }
}

/// One model per fold over the n-grams of a text.
#[derive(Clone, Debug)]
pub(crate) struct WordClassifier {
    n_classes: usize,
    space: Arc<WordSpace>,
    models: Arc<Vec<LinearModel>>,
}

impl WordClassifier {
    pub(crate) fn new(
        n_classes: usize,
        space: Arc<WordSpace>,
        models: Arc<Vec<LinearModel>>,
    ) -> Self {
        Self {
            n_classes,
            space,
            models,
        }
    }

    fn add(&self, fold: usize, words: &[u64], span: Range<usize>, factor: f32, logits: &mut [f32]) {
        let model = &self.models[fold % self.models.len()];
        self.space.visit(words, span, |feature, idf| {
            model.add(feature, factor * idf, logits);
        });
    }
}

impl TextClassifier for WordClassifier {
    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn fold_of(&self, key: u64) -> usize {
        fold_of(key, self.models.len())
    }

    fn logits(&self, fold: usize, tokens: &[u64], logits: &mut [f32]) {
        let whole = 0..tokens.len();
        let factor = factor(self.space.squared_length(tokens, whole.clone()));
        self.models[fold % self.models.len()].add_bias(logits);
        self.add(fold, tokens, whole, factor, logits);
    }

    fn contribution(&self, fold: usize, tokens: &[u64], span: Range<usize>, logits: &mut [f32]) {
        // With all n-grams summing to `a`, those of the span to `s`, the text says `a / |a|` with
        // them and `(a − s) / |a − s|` without. The difference of the two is what the span adds:
        // the rest is judged at its own length, so a rare trigger in a short text does not blur it.
        let whole = 0..tokens.len();
        let all = self.space.squared_length(tokens, whole.clone());
        let touched = self.space.squared_length(tokens, span.clone());
        // What rounding leaves over when every n-gram is touched is not a text.
        let rest = if all - touched > 1e-4 * all {
            all - touched
        } else {
            0.0
        };
        let (with, without) = (factor(all), factor(rest));
        self.add(fold, tokens, whole, with - without, logits);
        self.add(fold, tokens, span, without, logits);
    }
}
