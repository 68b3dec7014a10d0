//! The detectors of wrong labels and of far-off vectors, on planted and on clean data.

#![expect(clippy::float_cmp, reason = "exact by construction")]

use lazaretto_core::{Action, Severity};
use lazaretto_detectors::find;
use lazaretto_testkit::contract::{Dataset, Outcome, Pieces, run};
use serde_json::{Value, json};

fn outcome(id: &str, parameters: &Value, dataset: &Dataset) -> Outcome {
    let detector = find(id)
        .and_then(|registration| registration.build(parameters).ok())
        .expect("registered, with valid parameters");
    run(detector.as_ref(), dataset, 3, Pieces::WHOLE)
}

/// Every 20th record gets the next class, or class 1 gets to be 0 when `one_way`.
fn flip(dataset: &mut Dataset, one_way: bool) -> Vec<bool> {
    let mut flipped = vec![false; dataset.n_rows()];
    for (row, label) in dataset.labels.iter_mut().flatten().enumerate() {
        if row % 20 == 0 && (!one_way || *label == 1) {
            *label = if one_way { 0 } else { (*label + 1) % 3 };
            flipped[row] = true;
        }
    }
    dataset.recount();
    flipped
}

#[test]
fn flipped_labels_are_ranked_first_in_texts_and_in_vectors() {
    for (mut dataset, floor) in [
        (Dataset::vectors(1500, 2), 0.98),
        (Dataset::texts(1500, 2), 0.75),
    ] {
        let flipped = flip(&mut dataset, false);
        let auroc = outcome("confident-learning", &json!({}), &dataset).auroc(&flipped);
        assert!(auroc > floor, "{auroc}");
    }
}

#[test]
fn relabelling_one_class_as_another_is_a_finding_about_those_records() {
    let mut dataset = Dataset::vectors(1500, 2);
    let flipped = flip(&mut dataset, true);
    let findings = outcome("label-shift", &json!({}), &dataset).findings;
    let finding = &findings[0];
    assert_eq!(finding.kind, "one-way-relabelling");
    assert_eq!(finding.action, Action::Review);
    assert_eq!(finding.target_class.as_deref(), Some("sport"));
    assert!(
        finding
            .title
            .contains("labelled `sport` look like `business`")
    );
    let n_right = finding
        .records
        .iter()
        .filter(|&&r| flipped[r as usize])
        .count();
    let n_flipped = flipped.iter().filter(|&&flipped| flipped).count();
    assert!(
        n_right as f64 > 0.8 * n_flipped as f64,
        "{n_right} of {n_flipped}"
    );
    assert!(n_right as f64 > 0.8 * finding.records.len() as f64);
}

#[test]
fn clean_labels_give_nothing_louder_than_information() {
    for seed in 0..8 {
        for dataset in [Dataset::vectors(1200, seed), Dataset::texts(1200, seed)] {
            for finding in outcome("confident-learning", &json!({}), &dataset).findings {
                assert_eq!(finding.severity, Severity::Info, "{}", finding.title);
                assert_eq!(finding.p_value, 1.0);
            }
            let shifts = outcome("label-shift", &json!({}), &dataset).findings;
            assert!(shifts.is_empty(), "{shifts:?}");
        }
    }
}

#[test]
fn small_classes_are_not_judged() {
    let mut dataset = Dataset::vectors(600, 2);
    // Three records of class 2 are left; a model cannot know that class.
    let mut left = 0;
    for label in dataset.labels.iter_mut().flatten() {
        if *label == 2 {
            left += 1;
            *label = if left <= 3 { 2 } else { 0 };
        }
    }
    dataset.recount();
    let labels = dataset.labels.clone().unwrap();
    let scores = outcome("confident-learning", &json!({}), &dataset).scores;
    for (label, score) in labels.iter().zip(&scores) {
        assert_eq!(score.is_nan(), *label == 2);
    }
    let strict = json!({"min_class_records": 1000});
    let abstained = outcome("confident-learning", &strict, &dataset).abstained;
    assert!(abstained.unwrap().contains("two are needed"));
}

#[test]
fn far_vectors_are_ranked_first_unless_they_hide_behind_each_other() {
    let mut dataset = Dataset::vectors(1500, 6);
    let mut far = vec![false; 1500];
    let mut embedding = dataset.embedding.take().unwrap();
    for row in (0..1500).step_by(100) {
        far[row] = true;
        for column in 0..embedding.ncols() {
            embedding[[row, column]] = if (row / 100 + column) % 2 == 0 {
                7.0
            } else {
                -7.0
            };
        }
    }
    dataset.embedding = Some(embedding);
    for statistic in ["mean", "kth"] {
        let parameters = json!({"statistic": statistic});
        let auroc = outcome("knn-distance", &parameters, &dataset).auroc(&far);
        assert!(auroc > 0.99, "{statistic}: {auroc}");
    }
    let forest = outcome("isolation-forest", &json!({}), &dataset).auroc(&far);
    assert!(forest > 0.99, "{forest}");
}
