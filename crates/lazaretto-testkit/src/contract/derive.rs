//! Plain versions of the shared intermediates, good enough to hold detectors to their contract.
//!
//! They do not come from `lazaretto-features` on purpose: a detector's contract is with the
//! documented carriers in [`lazaretto_core::shared`], not with one way of filling them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use lazaretto_core::shared::{NeighborBase, Neighbors, Reference, TextClassifier, Tokens};
use lazaretto_core::{Derived, Evaluation, EvaluationText, NO_LABEL, Shared, Trusted};
use ndarray::{Array2, ArrayView1, Axis, s};

use super::dataset::Dataset;

const REFERENCE_ROWS: usize = 256;
const NEIGHBORS: usize = 16;
const TEXT_FEATURES: usize = 12;
const FOLDS: usize = 3;

fn hash(value: &impl Hash) -> u64 {
    // `DefaultHasher::new` has fixed keys.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Tokens and content hashes of `n_rows` rows from `first` on.
pub(super) fn fit_pass(dataset: &Dataset, first: usize, n_rows: usize) -> Derived {
    let rows = first..first + n_rows;
    Derived {
        tokens: dataset
            .text_fields()
            .into_iter()
            .map(|(_, _, texts)| {
                let mut tokens = Tokens {
                    offsets: vec![0],
                    ..Tokens::default()
                };
                for text in &texts[rows.clone()] {
                    for (hash, span) in words(text.as_deref().unwrap_or_default()) {
                        tokens.hashes.push(hash);
                        tokens.spans.push(span);
                    }
                    tokens.offsets.push(tokens.hashes.len() as u32);
                }
                tokens
            })
            .collect(),
        content_hashes: rows.clone().map(|row| content_hash(dataset, row)).collect(),
        recorded: dataset
            .texts
            .iter()
            .map(|texts| {
                let texts = texts[rows.clone()].iter();
                let digests: Vec<_> = texts
                    .map(|text| Some(blake3::hash(text.as_deref()?.as_bytes()).to_string()))
                    .collect();
                digests.iter().map(Option::as_deref).collect()
            })
            .collect(),
        ..Derived::default()
    }
}

/// Words between white space, lower case, with their byte ranges.
fn words(text: &str) -> Vec<(u64, (u32, u32))> {
    let base = text.as_ptr() as usize;
    text.split_whitespace()
        .map(|word| {
            let start = word.as_ptr() as usize - base;
            let span = (start as u32, (start + word.len()) as u32);
            (hash(&word.to_lowercase()), span)
        })
        .collect()
}

fn content_hash(dataset: &Dataset, row: usize) -> u128 {
    let fields = dataset.text_fields().into_iter();
    let text: Vec<_> = fields.map(|(_, _, texts)| &texts[row]).collect();
    let numbers: Vec<u64> = dataset
        .numeric
        .iter()
        .flat_map(|v| v.row(row).to_vec())
        .map(f64::to_bits)
        .collect();
    let vector: Vec<u32> = dataset
        .embedding
        .iter()
        .flat_map(|v| v.row(row).to_vec())
        .map(f32::to_bits)
        .collect();
    let content = (text, numbers, vector);
    u128::from(hash(&content)) << 64 | u128::from(hash(&(&content, 1_u8)))
}

/// All intermediates of `n_rows` rows from `first` on.
pub(super) fn score_pass(
    dataset: &Dataset,
    shared: &Shared,
    first: usize,
    n_rows: usize,
) -> Derived {
    let mut derived = fit_pass(dataset, first, n_rows);
    let Some(all) = features(dataset) else {
        return derived;
    };
    let features = all.slice(s![first..first + n_rows, ..]).to_owned();
    if let Some(reference) = &shared.reference {
        let ordinals: Vec<u64> = (first as u64..(first + n_rows) as u64).collect();
        let neighbors = neighbors(reference, &features, &ordinals);
        // The base of these datasets is their reference set.
        derived.all_neighbors = Some(neighbors.clone());
        derived.neighbors = Some(neighbors);
    }
    if dataset.labels.is_some() {
        let all = probabilities(dataset, &all);
        derived.probabilities = Some(all.slice(s![first..first + n_rows, ..]).to_owned());
    }
    derived.features = Some(features);
    derived
}

/// The embedding, else hashed words, else the numbers; all NaN where a part is missing.
fn features(dataset: &Dataset) -> Option<Array2<f32>> {
    let mut features = if let Some(embedding) = &dataset.embedding {
        embedding.clone()
    } else if let Some(texts) = &dataset.texts {
        let mut features = Array2::from_elem((texts.len(), TEXT_FEATURES), f32::NAN);
        for (mut row, text) in features.rows_mut().into_iter().zip(texts) {
            let words = words(text.as_deref().unwrap_or_default());
            if !words.is_empty() {
                row.fill(0.0);
            }
            for (hash, _) in words {
                row[hash as usize % TEXT_FEATURES] += 1.0;
            }
        }
        features
    } else {
        dataset
            .numeric
            .as_ref()?
            .mapv(|value| value.clamp(-1e6, 1e6) as f32)
    };
    for mut row in features.rows_mut() {
        if row.iter().any(|value| !value.is_finite()) {
            row.fill(f32::NAN);
        }
    }
    Some(features)
}

/// The records with the smallest keys among those with features.
pub(super) fn reference(dataset: &Dataset) -> Option<Reference> {
    let features = features(dataset)?;
    let mut rows: Vec<usize> = (0..dataset.n_rows())
        .filter(|&row| !features[[row, 0]].is_nan())
        .collect();
    rows.sort_by_key(|&row| dataset.keys[row]);
    rows.truncate(REFERENCE_ROWS);
    rows.sort_unstable();
    let label = |row: usize| {
        dataset
            .labels
            .as_ref()
            .map_or(NO_LABEL, |labels| labels[row])
    };
    Some(Reference {
        features: features.select(Axis(0), &rows),
        labels: rows.iter().map(|&row| label(row)).collect(),
        ordinals: rows.iter().map(|&row| row as u64).collect(),
        keys: rows.iter().map(|&row| dataset.keys[row]).collect(),
    })
}

/// Evaluation texts of the dataset's words that no record contains: four records each, backwards.
pub(super) fn evaluation(dataset: &Dataset) -> Option<Evaluation> {
    let texts = dataset.texts.as_ref()?;
    let of_several = |(row, several): (usize, &[Option<String>])| EvaluationText {
        file: 0,
        row: row as u64,
        words: several
            .iter()
            .flatten()
            .flat_map(|text| words(text))
            .map(|(hash, _)| hash)
            .rev()
            .collect(),
        excerpt: several.iter().flatten().cloned().collect(),
    };
    Some(Evaluation {
        files: vec!["test.jsonl".to_owned()],
        texts: texts.chunks(4).enumerate().map(of_several).collect(),
    })
}

/// The reference set once more, as records that are known to be good.
pub(super) fn trusted(dataset: &Dataset, reference: &Reference) -> Trusted {
    let rows: Vec<usize> = reference.ordinals.iter().map(|&row| row as usize).collect();
    let probabilities = dataset.labels.as_ref().and_then(|_| {
        let all = probabilities(dataset, &features(dataset)?);
        Some(all.select(Axis(0), &rows))
    });
    Trusted {
        ordinals: reference.ordinals.clone(),
        keys: reference.keys.clone(),
        labels: reference.labels.clone(),
        features: Some(reference.features.clone()),
        probabilities,
    }
}

/// The reference set as what is searched for neighbours.
pub(super) fn neighbor_base(reference: &Reference) -> NeighborBase {
    NeighborBase {
        ordinals: reference.ordinals.clone(),
        labels: reference.labels.clone(),
        n_usable: reference.ordinals.len(),
        neighbors: Some(neighbors(
            reference,
            &reference.features,
            &reference.ordinals,
        )),
    }
}

fn squared_distance(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Missing neighbours have index `u32::MAX` and a distance that is not a number.
fn neighbors(reference: &Reference, features: &Array2<f32>, ordinals: &[u64]) -> Neighbors {
    let shape = (features.nrows(), NEIGHBORS.min(reference.ordinals.len()));
    let mut neighbors = Neighbors {
        indices: Array2::from_elem(shape, u32::MAX),
        distances: Array2::from_elem(shape, f32::NAN),
    };
    for (row_idx, row) in features.rows().into_iter().enumerate() {
        if row[0].is_nan() {
            continue;
        }
        let mut found: Vec<(f32, u32)> = (0..reference.ordinals.len())
            .filter(|&idx| reference.ordinals[idx] != ordinals[row_idx])
            .map(|idx| {
                (
                    squared_distance(row, reference.features.row(idx)).sqrt(),
                    idx as u32,
                )
            })
            .collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (column, (distance, idx)) in found.into_iter().take(shape.1).enumerate() {
            neighbors.indices[[row_idx, column]] = idx;
            neighbors.distances[[row_idx, column]] = distance;
        }
    }
    neighbors
}

fn fold(key: u64) -> usize {
    (key % FOLDS as u64) as usize
}

/// Out-of-fold softmax over negative squared distances to the class means of the other folds.
fn probabilities(dataset: &Dataset, features: &Array2<f32>) -> Array2<f32> {
    let n_classes = dataset.facts.classes.len();
    let mut probabilities = Array2::from_elem((dataset.n_rows(), n_classes), f32::NAN);
    let Some(labels) = &dataset.labels else {
        return probabilities;
    };
    for left_out in 0..FOLDS {
        let mut sums = Array2::<f32>::zeros((n_classes, features.ncols()));
        let mut counts = vec![0.0_f32; n_classes];
        for (row, &label) in labels.iter().enumerate() {
            let usable = label != NO_LABEL && !features[[row, 0]].is_nan();
            if usable && fold(dataset.keys[row]) != left_out {
                let mut sum = sums.row_mut(label as usize);
                sum += &features.row(row);
                counts[label as usize] += 1.0;
            }
        }
        for row in (0..labels.len()).filter(|&row| fold(dataset.keys[row]) == left_out) {
            if features[[row, 0]].is_nan() {
                continue;
            }
            let logits: Vec<f32> = (0..n_classes)
                .map(|class| {
                    let mean = &sums.row(class) / counts[class].max(1.0);
                    -0.5 * squared_distance(features.row(row), mean.view())
                })
                .collect();
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            for (class, logit) in logits.iter().enumerate() {
                probabilities[[row, class]] = (logit - largest).exp() / total;
            }
        }
    }
    probabilities
}

/// Naive Bayes over single words, one model per fold.
struct WordCounts {
    n_classes: usize,
    /// For each fold, the log of how often each word stands in each class.
    weights: Vec<BTreeMap<u64, Vec<f32>>>,
}

/// The out-of-fold text classifier of a dataset with texts and labels.
pub(super) fn text_classifier(dataset: &Dataset) -> Option<Box<dyn TextClassifier>> {
    let (texts, labels) = (dataset.texts.as_ref()?, dataset.labels.as_ref()?);
    let n_classes = dataset.facts.classes.len();
    let weights = (0..FOLDS)
        .map(|left_out| {
            let mut counts: BTreeMap<u64, Vec<f32>> = BTreeMap::new();
            for (row, text) in texts.iter().enumerate() {
                if fold(dataset.keys[row]) == left_out || labels[row] == NO_LABEL {
                    continue;
                }
                for (word, _) in words(text.as_deref().unwrap_or_default()) {
                    let of_word = counts.entry(word).or_insert_with(|| vec![1.0; n_classes]);
                    of_word[labels[row] as usize] += 1.0;
                }
            }
            for of_word in counts.values_mut() {
                let total: f32 = of_word.iter().sum();
                for count in of_word {
                    *count = (*count * n_classes as f32 / total).ln();
                }
            }
            counts
        })
        .collect();
    Some(Box::new(WordCounts { n_classes, weights }))
}

impl TextClassifier for WordCounts {
    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn fold_of(&self, key: u64) -> usize {
        fold(key)
    }

    fn logits(&self, fold: usize, tokens: &[u64], logits: &mut [f32]) {
        self.contribution(fold, tokens, 0..tokens.len(), logits);
    }

    fn contribution(&self, fold: usize, tokens: &[u64], span: Range<usize>, logits: &mut [f32]) {
        for word in &tokens[span] {
            if let Some(weights) = self.weights[fold].get(word) {
                for (logit, weight) in logits.iter_mut().zip(weights) {
                    *logit += weight;
                }
            }
        }
    }
}
