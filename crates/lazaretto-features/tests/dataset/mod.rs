//! Seeded datasets that are fitted and scored in any number of parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::LargeStringArray;
use lazaretto_core::detector::DataFacts;
use lazaretto_core::{
    Batch, Derived, FitContext, Intermediate, Neighbors, RecordKey, Shared, TextField, TextPart,
};
use lazaretto_features::{FeatureFit, FeatureModel, FeatureSettings, tokenize};
use ndarray::{Array2, s};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// A small dataset; parts that are empty are absent.
#[derive(Clone, Default)]
pub(crate) struct Dataset {
    pub(crate) labels: Vec<u32>,
    pub(crate) texts: Vec<Option<String>>,
    pub(crate) numeric: Option<Array2<f64>>,
    pub(crate) categorical: Vec<Vec<u64>>,
    pub(crate) embedding: Option<Array2<f32>>,
    pub(crate) n_classes: usize,
}

/// All intermediates that need a model.
pub(crate) const ALL: [Intermediate; 5] = [
    Intermediate::Features,
    Intermediate::Reference,
    Intermediate::Neighbors,
    Intermediate::Probabilities,
    Intermediate::TextClassifier,
];

impl Dataset {
    pub(crate) fn context(&self) -> FitContext {
        let names = |n: usize| (0..n).map(|i| format!("c{i}")).collect::<Vec<_>>();
        FitContext {
            facts: Arc::new(DataFacts {
                n_rows: self.labels.len() as u64,
                classes: names(self.n_classes),
                text_fields: names(usize::from(!self.texts.is_empty())),
                numeric_columns: names(self.numeric.as_ref().map_or(0, Array2::ncols)),
                categorical_columns: names(self.categorical.len()),
                embedding_dim: self.embedding.as_ref().map(Array2::ncols),
                ..DataFacts::default()
            }),
            seed: 7,
            memory_bytes: 256 << 20,
        }
    }

    /// Calls `visit` with batches of at most `size` rows of `range`.
    pub(crate) fn batches(
        &self,
        range: std::ops::Range<usize>,
        size: usize,
        mut visit: impl FnMut(&Batch<'_>),
    ) {
        let key = RecordKey::new(7);
        for start in range.clone().step_by(size) {
            let end = (start + size).min(range.end);
            let keys: Vec<u64> = (start..end)
                .map(|row| key.of(&[1; 32], 0, row as u64))
                .collect();
            let texts = if self.texts.is_empty() {
                Vec::new()
            } else {
                vec![TextField {
                    name: "c0".to_owned(),
                    part: TextPart::Text,
                    values: LargeStringArray::from_iter(&self.texts[start..end]),
                }]
            };
            let derived = Derived {
                tokens: texts.iter().map(tokenize).collect(),
                ..Derived::default()
            };
            let categorical: Vec<Vec<u64>> = self
                .categorical
                .iter()
                .map(|column| column[start..end].to_vec())
                .collect();
            visit(&Batch {
                first_row: start as u64,
                keys: &keys,
                labels: (self.n_classes > 0).then_some(&self.labels[start..end]),
                sources: None,
                times: None,
                texts: &texts,
                numeric: self.numeric.as_ref().map(|n| n.slice(s![start..end, ..])),
                categorical: &categorical,
                embedding: self.embedding.as_ref().map(|e| e.slice(s![start..end, ..])),
                given_probabilities: None,
                derived: &derived,
            });
        }
    }

    pub(crate) fn fit(
        &self,
        settings: &FeatureSettings,
        cuts: &[usize],
        size: usize,
    ) -> (Shared, FeatureModel) {
        let context = self.context();
        let wanted = BTreeSet::from(ALL);
        let mut borders = vec![0];
        borders.extend_from_slice(cuts);
        borders.push(self.labels.len());
        let mut merged: Option<FeatureFit> = None;
        for part in borders.windows(2) {
            let mut fit = FeatureFit::start(&context, &wanted, settings);
            self.batches(part[0]..part[1], size, |batch| fit.update(batch));
            // Parts travel between processes as bytes.
            let fit: FeatureFit =
                postcard::from_bytes(&postcard::to_allocvec(&fit).unwrap()).unwrap();
            match &mut merged {
                None => merged = Some(fit),
                Some(merged) => merged.merge(fit),
            }
        }
        merged.unwrap().finish(&context)
    }

    pub(crate) fn derive(&self, shared: &Shared, model: &FeatureModel, size: usize) -> Derived {
        let mut parts = Vec::new();
        self.batches(0..self.labels.len(), size, |batch| {
            let mut derived = Derived::default();
            model.derive(shared, batch, &mut derived);
            parts.push(derived);
        });
        let stack = |get: &dyn Fn(&Derived) -> Option<Array2<f32>>| {
            let arrays: Option<Vec<Array2<f32>>> = parts.iter().map(get).collect();
            let arrays = arrays?;
            let views: Vec<_> = arrays.iter().map(Array2::view).collect();
            ndarray::concatenate(ndarray::Axis(0), &views).ok()
        };
        let indices: Vec<Array2<u32>> = parts
            .iter()
            .filter_map(|p| p.neighbors.as_ref().map(|n| n.indices.clone()))
            .collect();
        let views: Vec<_> = indices.iter().map(Array2::view).collect();
        let indices = ndarray::concatenate(ndarray::Axis(0), &views).ok();
        let distances = stack(&|p| p.neighbors.as_ref().map(|n| n.distances.clone()));
        Derived {
            features: stack(&|p| p.features.clone()),
            probabilities: stack(&|p| p.probabilities.clone()),
            neighbors: indices
                .zip(distances)
                .map(|(indices, distances)| Neighbors { indices, distances }),
            ..Derived::default()
        }
    }

    pub(crate) fn run(&self) -> (Shared, FeatureModel, Derived) {
        let (shared, model) = self.fit(&FeatureSettings::default(), &[], 1000);
        let derived = self.derive(&shared, &model, 1000);
        (shared, model, derived)
    }
}

/// Texts on `n_classes` subjects with words that several subjects share.
pub(crate) fn texts(n: usize, n_classes: usize, seed: u64) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let labels: Vec<u32> = (0..n).map(|_| rng.gen_range(0..n_classes as u32)).collect();
    let texts = labels
        .iter()
        .map(|label| {
            let words = (0..rng.gen_range(6..20)).map(|_| {
                if rng.gen_bool(0.35) {
                    format!("subject{label}x{}", rng.gen_range(0..30))
                } else {
                    format!("common{}", rng.gen_range(0..200))
                }
            });
            Some(words.collect::<Vec<_>>().join(" "))
        })
        .collect();
    Dataset {
        labels,
        texts,
        n_classes,
        ..Dataset::default()
    }
}

/// Gaussian clusters, one per class.
pub(crate) fn clusters(n: usize, dim: usize, n_classes: usize, seed: u64) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let centres = Array2::from_shape_simple_fn((n_classes, dim), || rng.gen_range(-2.0_f32..2.0));
    let labels: Vec<u32> = (0..n).map(|_| rng.gen_range(0..n_classes as u32)).collect();
    let embedding = Array2::from_shape_fn((n, dim), |(row, column)| {
        let noise: f32 = (0..6).map(|_| rng.gen_range(-1.0_f32..1.0)).sum();
        centres[[labels[row] as usize, column]] + noise
    });
    Dataset {
        labels,
        embedding: Some(embedding),
        n_classes,
        ..Dataset::default()
    }
}

/// Mixed columns whose combination decides the label, with a curved numeric effect.
pub(crate) fn columns(n: usize, seed: u64) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut numeric = Array2::from_shape_simple_fn((n, 3), || rng.gen_range(-3.0_f64..3.0));
    numeric.column_mut(2).fill(1.0);
    let jobs: Vec<u64> = (0..n).map(|_| rng.gen_range(1..6)).collect();
    let labels = (0..n)
        .map(|row| {
            // Middle-aged people with some jobs: not linear in the number.
            let score =
                2.0 - 1.5 * numeric[[row, 0]].abs() + if jobs[row] <= 2 { 2.0 } else { -1.5 };
            u32::from(score + rng.gen_range(-1.0..1.0) > 0.0)
        })
        .collect();
    Dataset {
        labels,
        numeric: Some(numeric),
        categorical: vec![jobs],
        n_classes: 2,
        ..Dataset::default()
    }
}
