//! The per-class detectors of embeddings, against planted backdoors and natural structure.

use std::sync::Arc;

use lazaretto_core::{Action, Finding};
use lazaretto_detectors::find;
use lazaretto_testkit::EmbeddingSet;
use lazaretto_testkit::contract::{Dataset, Outcome, Pieces, run};
use lazaretto_testkit::seed::{normal, stream};
use ndarray::Array2;
use rand::Rng;
use serde_json::{Value, json};

fn outcome(id: &str, parameters: &Value, dataset: &Dataset) -> Outcome {
    let detector = find(id)
        .and_then(|registration| registration.build(parameters).ok())
        .expect("registered, with valid parameters");
    run(detector.as_ref(), dataset, 3, Pieces::WHOLE)
}

fn dataset(vectors: Array2<f32>, labels: Vec<u32>) -> Dataset {
    let mut dataset = Dataset::vectors(labels.len(), 1);
    let n_classes = labels.iter().max().map_or(0, |&last| last as usize + 1);
    let mut facts = (*dataset.facts).clone();
    facts.classes = (0..n_classes).map(|class| class.to_string()).collect();
    facts.class_counts = vec![0; n_classes];
    for &label in &labels {
        facts.class_counts[label as usize] += 1;
    }
    facts.embedding_dim = Some(vectors.ncols());
    dataset.facts = Arc::new(facts);
    dataset.labels = Some(labels);
    dataset.embedding = Some(vectors);
    dataset
}

fn digits() -> (Array2<f32>, Vec<u32>) {
    let set = EmbeddingSet::digits();
    let shape = (set.n_rows(), set.dim);
    (
        Array2::from_shape_vec(shape, set.vectors).expect("64 pixels per digit"),
        set.labels,
    )
}

/// Classes of `n_parts` clusters each, of unequal sizes.
fn mixture(n_classes: u32, n_parts: usize, dim: usize, seed: u64) -> (Array2<f32>, Vec<u32>) {
    let mut rng = stream(seed, "mixture");
    let mut centres = Vec::new();
    for _ in 0..n_classes {
        let class: Vec<f64> = (0..dim).map(|_| normal(&mut rng)).collect();
        for _ in 0..n_parts {
            let part: Vec<f64> = class.iter().map(|at| at + 0.8 * normal(&mut rng)).collect();
            centres.push(part);
        }
    }
    let labels: Vec<u32> = (0..1500).map(|_| rng.gen_range(0..n_classes)).collect();
    let mut vectors = Array2::zeros((labels.len(), dim));
    for (mut vector, &label) in vectors.rows_mut().into_iter().zip(&labels) {
        // The first parts of a class are the largest.
        let part = rng.gen_range(0..n_parts).min(rng.gen_range(0..n_parts));
        let centre = &centres[label as usize * n_parts + part];
        for (value, at) in vector.iter_mut().zip(centre) {
            *value = (at + normal(&mut rng)) as f32;
        }
    }
    (vectors, labels)
}

/// `count` records of other classes get the label `target` and a common shift of `strength` times
/// the mean distance to the class mean. Gives which.
fn backdoor(
    vectors: &mut Array2<f32>,
    labels: &mut [u32],
    (target, count, strength): (u32, usize, f64),
    seed: u64,
) -> Vec<bool> {
    let mut rng = stream(seed, "backdoor");
    let dim = vectors.ncols();
    let clean: Vec<usize> = (0..labels.len())
        .filter(|&row| labels[row] == target)
        .collect();
    let mean = vectors
        .select(ndarray::Axis(0), &clean)
        .mean_axis(ndarray::Axis(0))
        .expect("the target class has records");
    let distance = |&row: &usize| {
        let residual = &vectors.row(row) - &mean;
        f64::from(residual.dot(&residual)).sqrt()
    };
    let spread = clean.iter().map(distance).sum::<f64>() / clean.len() as f64;
    let direction: Vec<f64> = (0..dim).map(|_| normal(&mut rng)).collect();
    let length = direction.iter().map(|part| part * part).sum::<f64>().sqrt();
    let mut poison = vec![false; labels.len()];
    while poison.iter().filter(|is| **is).count() < count {
        let row = rng.gen_range(0..labels.len());
        if labels[row] != target {
            labels[row] = target;
            poison[row] = true;
            for (value, part) in vectors.row_mut(row).iter_mut().zip(&direction) {
                *value += (strength * spread * part / length) as f32;
            }
        }
    }
    poison
}

fn precision_and_recall(finding: &Finding, poison: &[bool]) -> (f64, f64) {
    let hits = finding
        .records
        .iter()
        .filter(|&&row| poison[row as usize])
        .count() as f64;
    let all = poison.iter().filter(|is| **is).count() as f64;
    (hits / finding.records.len() as f64, hits / all)
}

#[test]
fn scan_finds_the_records_of_a_backdoor_from_weak_to_strong() {
    for (target, count, strength) in [(1, 25, 0.5), (4, 50, 0.4), (7, 100, 1.0), (2, 30, 3.0)] {
        for (name, (mut vectors, mut labels)) in
            [("digits", digits()), ("mixture", mixture(10, 3, 96, 2))]
        {
            let attack = (target, count, strength);
            let poison = backdoor(&mut vectors, &mut labels, attack, 9);
            let outcome = outcome("scan", &json!({}), &dataset(vectors, labels));
            assert_eq!(outcome.findings.len(), 1, "{name} {attack:?}");
            let finding = &outcome.findings[0];
            assert_eq!(finding.action, Action::Quarantine);
            assert_eq!(
                finding.target_class.as_deref(),
                Some(target.to_string().as_str())
            );
            let (precision, recall) = precision_and_recall(finding, &poison);
            assert!(
                precision > 0.9 && recall > 0.9,
                "{name} {attack:?}: {precision} {recall}"
            );
            assert!(outcome.auroc(&poison) > 0.97, "{name} {attack:?}");
        }
    }
}

#[test]
fn scan_takes_no_natural_structure_for_an_attack() {
    let (vectors, labels) = digits();
    assert!(
        outcome("scan", &json!({}), &dataset(vectors, labels))
            .findings
            .is_empty()
    );
    for seed in 0..6 {
        let n_parts = 1 + 2 * (seed as usize % 3);
        let (vectors, labels) = mixture(8, n_parts, 24 + 20 * seed as usize, seed);
        let findings = outcome("scan", &json!({}), &dataset(vectors, labels)).findings;
        assert!(findings.is_empty(), "seed {seed}: {}", findings[0].title);
    }
}

#[test]
fn scan_ranks_label_errors_and_makes_no_backdoor_of_them() {
    for seed in 0..3 {
        let (vectors, mut labels) = digits();
        let mut rng = stream(seed, "flips");
        let mut flipped = vec![false; labels.len()];
        for (label, flipped) in labels.iter_mut().zip(&mut flipped) {
            if rng.gen_bool(0.05) {
                *label = (*label + rng.gen_range(1..10)) % 10;
                *flipped = true;
            }
        }
        let outcome = outcome("scan", &json!({}), &dataset(vectors, labels));
        assert!(outcome.findings.is_empty(), "seed {seed}");
        assert!(outcome.auroc(&flipped) > 0.98, "seed {seed}");
    }
}

#[test]
fn scan_counts_copies_of_a_record_once() {
    // Three mislabelled records, twelve copies of each: three label errors, no common shift.
    let (mut vectors, mut labels) = digits();
    let others: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] != 6).collect();
    for (idx, &row) in others.iter().take(36).enumerate() {
        let original = vectors.row(others[600 + idx % 3]).to_owned();
        vectors.row_mut(row).assign(&original);
        labels[row] = 6;
    }
    let findings = outcome("scan", &json!({}), &dataset(vectors, labels)).findings;
    assert!(findings.is_empty(), "{}", findings[0].title);
}

/// The part of the poisoned records that are among as many first ones of their class.
fn precision_in_class(scores: &[f32], labels: &[u32], target: u32, poison: &[bool]) -> f64 {
    let mut of_class: Vec<(f32, bool)> = (0..labels.len())
        .filter(|&row| labels[row] == target)
        .map(|row| (scores[row], poison[row]))
        .collect();
    of_class.sort_by(|a, b| b.0.total_cmp(&a.0));
    let n_poison = of_class.iter().filter(|(_, is)| *is).count();
    let hits = of_class.iter().take(n_poison).filter(|(_, is)| *is).count();
    hits as f64 / n_poison as f64
}

#[test]
fn a_strong_common_shift_is_first_in_its_class() {
    let (mut vectors, mut labels) = digits();
    let poison = backdoor(&mut vectors, &mut labels, (3, 30, 3.0), 4);
    let dataset = dataset(vectors, labels.clone());
    for (id, parameters) in [
        ("spectral-signature", json!({"centred": true})),
        ("spectral-signature", json!({"centred": false})),
        ("spectre", json!({})),
    ] {
        let scores = outcome(id, &parameters, &dataset).scores;
        let precision = precision_in_class(&scores, &labels, 3, &poison);
        assert!(precision > 0.9, "{id} {parameters}: {precision}");
    }
}

#[test]
fn spectre_sees_a_weak_common_shift_that_the_signature_does_not() {
    let (mut vectors, mut labels) = digits();
    let poison = backdoor(&mut vectors, &mut labels, (2, 25, 0.5), 8);
    let dataset = dataset(vectors, labels.clone());
    let precision = |id| {
        let scores = outcome(id, &json!({}), &dataset).scores;
        precision_in_class(&scores, &labels, 2, &poison)
    };
    let (spectre, signature) = (precision("spectre"), precision("spectral-signature"));
    assert!(spectre > 0.75 && signature < 0.5, "{spectre} {signature}");
}

#[test]
fn small_classes_get_no_scores_and_too_small_ones_a_reason() {
    let (vectors, mut labels) = mixture(4, 1, 8, 1);
    let mut kept = 0;
    for label in labels.iter_mut().filter(|label| **label == 3) {
        kept += 1;
        *label = if kept <= 12 { 3 } else { 0 };
    }
    let small: Vec<bool> = labels.iter().map(|&label| label == 3).collect();
    let few = dataset(vectors, labels);
    for id in ["scan", "spectral-signature", "spectre"] {
        let scores = outcome(id, &json!({}), &few).scores;
        for (score, small) in scores.iter().zip(&small) {
            assert_eq!(score.is_nan(), *small, "{id}");
        }
        let reason = outcome(id, &json!({}), &few.head(24)).abstained;
        assert!(reason.is_some(), "{id}");
        let reason = outcome(id, &json!({}), &Dataset::numbers(100, 1)).abstained;
        assert_eq!(reason.as_deref(), Some("no embedding column"), "{id}");
    }
}
