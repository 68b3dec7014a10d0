//! `lof` and `knn-distance` agree with scikit-learn and `PyOD` (`reference/neighbors.py`).

#![expect(clippy::unwrap_used, reason = "a test says no by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use lazaretto_core::{
    Batch, DataFacts, Derived, Detector, FitContext, Intermediate, RecordKey, Shared,
};
use lazaretto_detectors::embedding::knn_distance::{
    DistanceStatistic, KnnDistance, KnnDistanceParams,
};
use lazaretto_detectors::embedding::lof::{LocalOutlierFactor, LofParams};
use lazaretto_features::{FeatureFit, FeatureModel, FeatureSettings, SearchMethod};
use lazaretto_testkit::EmbeddingSet;
use ndarray::{Array2, s};

struct Reference {
    vectors: Array2<f32>,
    lof: Vec<f64>,
    knn_mean: Vec<f64>,
    knn_largest: Vec<f64>,
}

/// The numbers of a set in the fixture.
fn reference(name: &str) -> Reference {
    let lines: Vec<Vec<&str>> = include_str!("reference/neighbors.csv")
        .lines()
        .map(|line| line.split(',').collect())
        .filter(|parts: &Vec<&str>| parts[0] == name)
        .collect();
    let number = |text: &str| -> f64 { text.parse().unwrap() };
    let column = |idx: usize| lines.iter().map(|parts| number(parts[idx])).collect();
    let dim = lines[0].len() - 4;
    let vectors = if dim == 0 {
        let digits = EmbeddingSet::digits();
        Array2::from_shape_vec((digits.n_rows(), digits.dim), digits.vectors).unwrap()
    } else {
        Array2::from_shape_fn((lines.len(), dim), |(row, at)| {
            number(lines[row][4 + at]) as f32
        })
    };
    Reference {
        vectors,
        lof: column(1),
        knn_mean: column(2),
        knn_largest: column(3),
    }
}

/// A fitted dataset of vectors, with all records searched the way the engine does.
struct Fitted<'a> {
    vectors: &'a Array2<f32>,
    keys: Vec<u64>,
    context: FitContext,
    shared: Shared,
    model: FeatureModel,
}

const NOTHING: &[Vec<u64>] = &[];

impl<'a> Fitted<'a> {
    fn new(vectors: &'a Array2<f32>, settings: &FeatureSettings) -> Self {
        let key = RecordKey::new(1);
        let n_rows = vectors.nrows() as u64;
        let keys: Vec<u64> = (0..n_rows).map(|row| key.of(&[0; 32], 0, row)).collect();
        let context = FitContext {
            facts: Arc::new(DataFacts {
                n_rows,
                embedding_dim: Some(vectors.ncols()),
                ..DataFacts::default()
            }),
            seed: 1,
            memory_bytes: 1 << 28,
        };
        let wanted = BTreeSet::from([Intermediate::AllNeighbors]);
        let mut fit = FeatureFit::start(&context, &wanted, settings);
        let nothing = Derived::default();
        fit.update(&batch(vectors, &keys, 0..vectors.nrows(), &nothing));
        let (mut shared, mut model) = fit.finish(&context);
        if let Some(plan) = model.all_vectors() {
            let writer = plan.writer(|| unreachable!("fits memory")).unwrap();
            let all = batch(vectors, &keys, 0..vectors.nrows(), &nothing);
            let features = model.features_of(&all).unwrap();
            writer.write(0, features.view()).unwrap();
            let store = writer.finish().unwrap();
            model.search_all(&mut shared, store, Vec::new(), &Arc::default());
        }
        Self {
            vectors,
            keys,
            context,
            shared,
            model,
        }
    }

    fn scores<D: Detector<State = (), Evidence = ()>>(&self, detector: &D) -> Vec<f32> {
        let model = detector.model(&self.context, (), &self.shared);
        let Ok(model) = model else {
            panic!("abstains");
        };
        let n_rows = self.vectors.nrows();
        let mut scores = Vec::new();
        for start in (0..n_rows).step_by(500) {
            let rows = start..(start + 500).min(n_rows);
            let nothing = Derived::default();
            let mut derived = Derived::default();
            let plain = batch(self.vectors, &self.keys, rows.clone(), &nothing);
            self.model.derive(&self.shared, &plain, &mut derived);
            let batch = batch(self.vectors, &self.keys, rows, &derived);
            scores.extend(detector.score(&model, &self.shared, &batch, &mut ()));
        }
        scores
    }
}

fn batch<'a>(
    vectors: &'a Array2<f32>,
    keys: &'a [u64],
    rows: std::ops::Range<usize>,
    derived: &'a Derived,
) -> Batch<'a> {
    Batch {
        first_row: rows.start as u64,
        keys: &keys[rows.clone()],
        labels: None,
        sources: None,
        times: None,
        texts: &[],
        numeric: None,
        categorical: NOTHING,
        embedding: Some(vectors.slice(s![rows, ..])),
        given_probabilities: None,
        derived,
    }
}

/// Spearman's rank correlation; ties share their mean rank.
fn rank_correlation(a: &[f32], b: &[f64]) -> f64 {
    let ranks = |values: Vec<f64>| -> Vec<f64> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
        let mut ranks = vec![0.0; values.len()];
        let mut below = 0;
        for run in order.chunk_by(|&i, &j| values[i] >= values[j]) {
            for &idx in run {
                ranks[idx] = below as f64 + (run.len() as f64 - 1.0) / 2.0;
            }
            below += run.len();
        }
        ranks
    };
    let a = ranks(a.iter().map(|&value| f64::from(value)).collect());
    let b = ranks(b.to_vec());
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (row, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let apart = (f64::from(found) - expected).abs();
        assert!(
            apart <= tolerance * expected.abs().max(1e-3),
            "{what}, record {row}: {found} where the other library says {expected}"
        );
    }
}

fn knn(statistic: DistanceStatistic) -> KnnDistance {
    KnnDistance::new(KnnDistanceParams {
        neighbors: 10,
        statistic,
    })
}

#[test]
fn scores_are_those_of_scikit_learn_and_pyod() {
    for set in ["wine", "breast_cancer", "digits"] {
        let expected = reference(set);
        // With the reference set, which holds all records here, and with all records gathered.
        for reference_rows in [16_384, 64] {
            let settings = FeatureSettings {
                reference_rows,
                ..FeatureSettings::default()
            };
            let fitted = Fitted::new(&expected.vectors, &settings);
            assert_eq!(
                fitted.model.all_vectors().is_some(),
                reference_rows == 64,
                "{set}"
            );
            let what = format!("{set}, {reference_rows}");
            let lof = fitted.scores(&LocalOutlierFactor::new(LofParams::default()));
            // Pixels are whole numbers: ties at the last neighbour are broken differently.
            let (tolerance, floor) = match set {
                "digits" => (0.02, 0.999),
                _ => (1e-4, 0.99999),
            };
            assert_close(&lof, &expected.lof, tolerance, &format!("lof on {what}"));
            let correlation = rank_correlation(&lof, &expected.lof);
            assert!(correlation > floor, "lof on {what}: {correlation}");
            for (statistic, expected) in [
                (DistanceStatistic::Mean, &expected.knn_mean),
                (DistanceStatistic::Kth, &expected.knn_largest),
            ] {
                let what = format!("{statistic:?} on {what}");
                assert_close(&fitted.scores(&knn(statistic)), expected, 1e-5, &what);
            }
        }
    }
}

#[test]
fn approximate_search_ranks_records_almost_the_same() {
    for (set, floor) in [("breast_cancer", 0.95), ("digits", 0.97)] {
        let expected = reference(set);
        let settings = FeatureSettings {
            reference_rows: 512,
            neighbor_search: SearchMethod::Index,
            ..FeatureSettings::default()
        };
        let fitted = Fitted::new(&expected.vectors, &settings);
        let description = fitted.model.describe();
        let note = description.iter().find(|line| line.contains("recall@20"));
        assert!(note.is_some(), "{description:?}");
        let scores = fitted.scores(&knn(DistanceStatistic::Mean));
        let correlation = rank_correlation(&scores, &expected.knn_mean);
        assert!(correlation > floor, "{set}: {correlation}, {note:?}");
    }
}

#[test]
fn the_novelty_form_ranks_records_like_the_full_one() {
    let expected = reference("digits");
    let settings = FeatureSettings {
        reference_rows: 900,
        neighbor_search: SearchMethod::Reference,
        ..FeatureSettings::default()
    };
    let fitted = Fitted::new(&expected.vectors, &settings);
    let lof = fitted.scores(&LocalOutlierFactor::new(LofParams::default()));
    // Against half of the records the surroundings are others.
    let correlation = rank_correlation(&lof, &expected.lof);
    assert!(correlation > 0.8, "{correlation}");
}
