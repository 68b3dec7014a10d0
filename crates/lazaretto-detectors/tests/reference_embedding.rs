//! Spectral scores against those of the Adversarial Robustness Toolbox's formula, computed by
//! numpy and checked against ART 1.20.1 (`reference/embedding.py`).

use std::collections::BTreeMap;
use std::sync::Arc;

use lazaretto_detectors::find;
use lazaretto_testkit::contract::{Dataset, Pieces, run};
use ndarray::Array2;
use serde_json::json;

const SCORES: &str = include_str!("reference/spectral_scores.csv");

#[derive(Default)]
struct Reference {
    labels: Vec<u32>,
    uncentred: Vec<f64>,
    centred: Vec<f64>,
    values: Vec<f32>,
}

fn reference() -> BTreeMap<&'static str, Reference> {
    let mut sets: BTreeMap<&str, Reference> = BTreeMap::new();
    for line in SCORES.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let set = sets.entry(fields[0]).or_default();
        set.labels.push(fields[1].parse().expect("a number"));
        set.uncentred.push(fields[2].parse().expect("a number"));
        set.centred.push(fields[3].parse().expect("a number"));
        let values = fields[4]
            .split(' ')
            .map(|value| value.parse::<f32>().expect("a number"));
        set.values.extend(values);
    }
    sets
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for (rank, &row) in order.iter().enumerate() {
        ranks[row] = rank as f64;
    }
    ranks
}

/// Spearman's rank correlation.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let ranked = ranks(a).into_iter().zip(ranks(b));
    let squares: f64 = ranked.map(|(a, b)| (a - b).powi(2)).sum();
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

#[test]
fn spectral_scores_rank_like_those_of_art_and_of_the_paper() {
    let sets = reference();
    assert_eq!(sets.len(), 3);
    for (name, set) in sets {
        let n_rows = set.labels.len();
        let dim = set.values.len() / n_rows;
        let n_classes = set.labels.iter().max().map_or(0, |&last| last as usize + 1);
        let mut dataset = Dataset::vectors(n_rows, 1);
        dataset.embedding = Some(Array2::from_shape_vec((n_rows, dim), set.values).unwrap());
        dataset.labels = Some(set.labels.clone());
        let mut facts = (*dataset.facts).clone();
        facts.classes = (0..n_classes).map(|class| class.to_string()).collect();
        facts.class_counts = vec![n_rows as u64; n_classes];
        facts.embedding_dim = Some(dim);
        dataset.facts = Arc::new(facts);
        for (centred, theirs) in [(true, &set.centred), (false, &set.uncentred)] {
            let detector = find("spectral-signature").unwrap();
            let detector = detector.build(&json!({"centred": centred})).ok().unwrap();
            let scores = run(detector.as_ref(), &dataset, 3, Pieces::WHOLE).scores;
            for class in 0..n_classes as u32 {
                let rows = || (0..n_rows).filter(|&row| set.labels[row] == class);
                let ours: Vec<f64> = rows().map(|row| f64::from(scores[row])).collect();
                let theirs: Vec<f64> = rows().map(|row| theirs[row]).collect();
                let correlation = rank_correlation(&ours, &theirs);
                assert!(
                    correlation > 0.999,
                    "{name}, class {class}, centred {centred}: {correlation}"
                );
            }
        }
    }
}
