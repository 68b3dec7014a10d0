//! The ensemble, the robust covariance, the mixture and the pairs on planted outliers.

use lazaretto_detectors::find;
use lazaretto_testkit::contract::{Dataset, Outcome, Pieces, run};
use ndarray::{Array2, ShapeBuilder as _};
use serde_json::{Value, json};

const N: usize = 3000;

fn outcome(id: &str, parameters: &Value, dataset: &Dataset) -> Outcome {
    let detector = find(id)
        .and_then(|registration| registration.build(parameters).ok())
        .expect("registered, with valid parameters");
    run(detector.as_ref(), dataset, 3, Pieces::WHOLE)
}

/// Numbers with one record in a hundred changed.
fn planted(change: impl Fn(&mut Array2<f64>, usize)) -> (Dataset, Vec<bool>) {
    let mut dataset = Dataset::numbers(N, 9);
    let mut numeric = dataset.numeric.take().expect("numbers have columns");
    let is_poison: Vec<bool> = (0..N).map(|row| row % 100 == 0).collect();
    for row in (0..N).filter(|&row| is_poison[row]) {
        change(&mut numeric, row);
    }
    dataset.numeric = Some(numeric);
    (dataset, is_poison)
}

#[test]
fn extreme_values_are_ranked_first() {
    let (dataset, is_poison) = planted(|numeric, row| {
        numeric[[row, 0]] = 6.0;
        numeric[[row, 1]] = 14.0;
        numeric[[row, 3]] = -6.0;
    });
    for id in ["tabular-ensemble", "robust-mahalanobis", "gmm-density"] {
        let auroc = outcome(id, &json!({}), &dataset).auroc(&is_poison);
        assert!(auroc > 0.99, "{id}: {auroc}");
    }
}

#[test]
fn a_combination_that_no_column_shows_is_found() {
    // Column 3 follows column 0; these records go against it inside the range of both.
    let (dataset, is_poison) = planted(|numeric, row| {
        numeric[[row, 0]] = 1.5;
        numeric[[row, 3]] = -1.5;
    });
    let auroc = |id| outcome(id, &json!({}), &dataset).auroc(&is_poison);
    assert!(auroc("ecod") < 0.9, "the columns show it");
    for (id, floor) in [
        ("robust-mahalanobis", 0.97),
        ("gmm-density", 0.95),
        ("tabular-ensemble", 0.9),
    ] {
        let auroc = auroc(id);
        assert!(auroc > floor, "{id}: {auroc}");
    }
}

#[test]
fn a_cloud_of_outliers_does_not_pull_the_covariance() {
    // A quarter of the records at one place: an ordinary covariance would include them.
    let mut dataset = Dataset::numbers(N, 9);
    let mut numeric = dataset.numeric.take().unwrap();
    let is_poison: Vec<bool> = (0..N).map(|row| row % 4 == 0).collect();
    for row in (0..N).step_by(4) {
        numeric[[row, 0]] += 6.0;
        numeric[[row, 3]] += 5.0;
    }
    dataset.numeric = Some(numeric);
    let auroc = outcome("robust-mahalanobis", &json!({}), &dataset).auroc(&is_poison);
    assert!(auroc > 0.97, "{auroc}");
}

#[test]
fn the_mixture_sees_what_lies_between_clusters() {
    let (mut dataset, is_poison) = planted(|_, _| {});
    let numeric = dataset.numeric.as_mut().unwrap();
    for (row, &is_poison) in is_poison.iter().enumerate() {
        let shift = match (is_poison, row % 2) {
            (true, _) => 0.0,
            (false, 0) => -8.0,
            (false, _) => 8.0,
        };
        numeric[[row, 0]] += shift;
        numeric[[row, 3]] += shift;
    }
    let auroc = outcome("gmm-density", &json!({}), &dataset).auroc(&is_poison);
    assert!(auroc > 0.99, "{auroc}");
}

#[test]
fn infinite_and_missing_values_leave_the_others_in_order() {
    let (dataset, is_poison) = planted(|numeric, row| {
        numeric[[row, 0]] = 6.0;
        numeric[[row, 3]] = -6.0;
    });
    let mut holed = dataset.clone();
    let numeric = holed.numeric.as_mut().unwrap();
    for row in (1..N).step_by(50) {
        numeric[[row, row % 4]] = if row % 3 == 0 {
            f64::INFINITY
        } else {
            f64::NAN
        };
    }
    for id in ["tabular-ensemble", "robust-mahalanobis", "gmm-density"] {
        let scores = outcome(id, &json!({}), &holed).scores;
        assert!(scores.iter().all(|score| score.is_finite()), "{id}");
        let auroc = outcome(id, &json!({}), &holed).auroc(&is_poison);
        assert!(auroc > 0.95, "{id}: {auroc}");
    }
}

#[test]
fn more_columns_than_records_and_thousands_of_columns_are_scored() {
    for (n_rows, n_columns) in [(60, 200), (300, 2000)] {
        let mut values = Array2::from_shape_fn((n_rows, n_columns).f(), |(row, column)| {
            ((row * 7919 + column * 104_729 + row * column * 31) % 1009) as f64 / 100.0
        });
        values.row_mut(5).fill(30.0);
        let mut dataset = Dataset::numbers(n_rows, 1);
        dataset.numeric = Some(values);
        dataset.recount();
        for id in ["tabular-ensemble", "robust-mahalanobis", "gmm-density"] {
            let scores = outcome(id, &json!({}), &dataset).scores;
            let above = scores.iter().filter(|&&score| score >= scores[5]).count();
            assert_eq!(above, 1, "{id} on {n_rows} × {n_columns}");
        }
    }
}

#[test]
fn a_sampled_record_is_scored_like_one_that_was_not() {
    // With a sample of a third, both kinds must be equally suspicious on average.
    let dataset = Dataset::numbers(N, 12);
    for (id, parameters) in [
        ("tabular-ensemble", json!({"sample_rows": 1024})),
        ("conditional-frequency", json!({"sample_rows": 1024})),
    ] {
        let mut keys = dataset.keys.clone();
        keys.sort_unstable();
        let last = keys[1023];
        let sampled: Vec<bool> = dataset.keys.iter().map(|&key| key <= last).collect();
        let auroc = outcome(id, &parameters, &dataset).auroc(&sampled);
        assert!((0.45..0.55).contains(&auroc), "{id}: {auroc}");
    }
}
