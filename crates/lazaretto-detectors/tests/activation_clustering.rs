//! `activation-clustering` on planted second clusters and on clean data of many shapes.

use std::sync::Arc;

use lazaretto_core::detector::DataFacts;
use lazaretto_core::{Action, Finding};
use lazaretto_detectors::find;
use lazaretto_testkit::EmbeddingSet;
use lazaretto_testkit::contract::{Dataset, Outcome, Pieces, run};
use lazaretto_testkit::seed::{normal, stream};
use ndarray::Array2;
use rand::Rng as _;
use serde_json::json;

fn dataset(set: &EmbeddingSet, seed: u64) -> Dataset {
    let mut dataset = Dataset::vectors(set.n_rows(), seed);
    dataset.embedding = Array2::from_shape_vec((set.n_rows(), set.dim), set.vectors.clone()).ok();
    let mut class_counts = vec![0; set.classes.len()];
    for &label in &set.labels {
        class_counts[label as usize] += 1;
    }
    dataset.labels = Some(set.labels.clone());
    dataset.facts = Arc::new(DataFacts {
        classes: set.classes.clone(),
        class_counts,
        embedding_dim: Some(set.dim),
        ..DataFacts::clone(&dataset.facts)
    });
    dataset
}

fn outcome(set: &EmbeddingSet, seed: u64) -> Outcome {
    let detector = find("activation-clustering")
        .and_then(|registration| registration.build(&json!({})).ok())
        .expect("registered, with valid defaults");
    run(detector.as_ref(), &dataset(set, seed), seed, Pieces::WHOLE)
}

fn assert_no_finding(name: &str, set: &EmbeddingSet, seed: u64) {
    let titles: Vec<(String, f64)> = outcome(set, seed)
        .findings
        .into_iter()
        .map(|finding: Finding| (finding.title, finding.p_value))
        .collect();
    assert!(titles.is_empty(), "{name}, seed {seed}: {titles:?}");
}

/// Moves every `nth` record of class 2 by `length` in one random direction.
fn plant(set: &mut EmbeddingSet, nth: usize, length: f64, seed: u64) -> Vec<bool> {
    let mut rng = stream(seed, "shift");
    let shift: Vec<f64> = (0..set.dim).map(|_| normal(&mut rng)).collect();
    let norm = shift.iter().map(|part| part * part).sum::<f64>().sqrt();
    let mut poison = vec![false; set.n_rows()];
    let members = (0..set.n_rows()).filter(|&row| set.labels[row] == 2);
    for row in members.step_by(nth) {
        poison[row] = true;
        for (column, part) in shift.iter().enumerate() {
            set.vectors[row * set.dim + column] += (length * part / norm) as f32;
        }
    }
    poison
}

#[test]
fn a_far_cluster_in_one_class_is_a_finding_about_it() {
    for seed in 0..4 {
        let mut set = EmbeddingSet::mixture(seed, 8000, 24, 8, 2.0);
        let poison = plant(&mut set, 20, 10.0, seed);
        let outcome = outcome(&set, seed);
        let finding = &outcome.findings[0];
        assert_eq!(outcome.findings.len(), 1);
        assert_eq!(finding.action, Action::Review);
        assert_eq!(finding.target_class.as_deref(), Some("class 2"));
        let records = &finding.records;
        let title = format!("{} records labelled `class 2`", records.len());
        assert!(finding.title.starts_with(&title), "{}", finding.title);
        let right = records.iter().filter(|&&r| poison[r as usize]).count();
        let n_poison = poison.iter().filter(|&&poison| poison).count();
        assert!(right as f64 >= 0.95 * n_poison as f64);
        assert!(right as f64 >= 0.95 * records.len() as f64);
        assert!(outcome.auroc(&poison) > 0.99);
    }
}

#[test]
fn classes_that_all_have_several_modes_give_no_finding() {
    for seed in 0..4 {
        let mut rng = stream(seed, "modes");
        let dim = 24;
        let mut set = EmbeddingSet::mixture(seed, 5000, dim, 8, 2.0);
        let modes: Vec<f64> = (0..8 * 4 * dim).map(|_| 2.0 * normal(&mut rng)).collect();
        for row in 0..set.n_rows() {
            let mode = [0, 0, 0, 0, 0, 1, 1, 1, 2, 3][rng.gen_range(0..10)];
            let first = (set.labels[row] as usize * 4 + mode) * dim;
            for column in 0..dim {
                set.vectors[row * dim + column] += modes[first + column] as f32;
            }
        }
        assert_no_finding("modes", &set, seed);
    }
}

#[test]
fn heavy_and_skewed_tails_are_no_second_cluster() {
    for seed in 0..4 {
        for (name, skewed) in [("heavy", false), ("skewed", true)] {
            let mut rng = stream(seed, name);
            let mut set = EmbeddingSet::mixture(seed, 4000, 16, 4, 0.0);
            for vector in set.vectors.chunks_exact_mut(16) {
                let scale = (0.8 * normal(&mut rng)).exp() as f32;
                for value in vector {
                    *value = if skewed { value.exp() } else { *value * scale };
                }
            }
            assert_no_finding(name, &set, seed);
        }
    }
}

#[test]
fn handwritten_digits_are_let_through() {
    let set = EmbeddingSet::digits();
    for seed in 0..6 {
        assert_no_finding("digits", &set, seed);
    }
    // What 2-means alone would call poison is a third of the records.
    let scores = outcome(&set, 1).scores;
    let high = scores.iter().filter(|&&score| score > 3.0).count();
    assert!(high * 20 < scores.len(), "{high} of {}", scores.len());
}
