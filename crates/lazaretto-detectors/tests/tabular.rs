//! The detectors of outlying numbers, against reference values and planted outliers.

#![expect(clippy::float_cmp, reason = "exact by construction")]

use lazaretto_detectors::find;
use lazaretto_testkit::contract::{Dataset, Outcome, Pieces, run};
use ndarray::{Array2, ShapeBuilder as _};
use serde_json::{Value, json};

/// The detectors that look at numeric columns directly.
const NUMERIC: [&str; 6] = [
    "copod",
    "ecod",
    "hbos",
    "isolation-forest",
    "loda",
    "pca-reconstruction",
];

fn outcome(id: &str, parameters: &Value, dataset: &Dataset) -> Outcome {
    let detector = find(id)
        .and_then(|registration| registration.build(parameters).ok())
        .expect("registered, with valid parameters");
    run(detector.as_ref(), dataset, 3, Pieces::WHOLE)
}

fn of_numbers(numeric: Array2<f64>) -> Dataset {
    let mut dataset = Dataset::numbers(numeric.nrows(), 1);
    dataset.numeric = Some(numeric);
    dataset.recount();
    dataset
}

/// Numbers that Python makes from the same formulas; column 3 is mostly ties.
fn reference_numbers() -> Array2<f64> {
    let mut values = Array2::from_shape_fn((200, 4).f(), |(row, column)| match column {
        0 => ((row * 7919 + 13) % 1009) as f64 / 10.0,
        1 => (((row * 104_729 + 7) % 997) as f64 / 100.0).powi(2),
        2 => -(((row * 31_337 + 3) % 991) as f64 / 100.0).floor().powi(2),
        _ => f64::from(u8::from(row % 10 == 0)),
    });
    for (column, value) in [500.0, -3.0, 5.0, 1.0].into_iter().enumerate() {
        values[[17, column]] = value;
    }
    values
}

#[test]
fn ecod_gives_the_numbers_of_pyod() {
    // decision_scores_ of pyod 3.6.7 (numpy 2, scipy 1) on `reference_numbers`, rows 0 to 19.
    const PYOD: [f64; 20] = [
        13.024_78, 5.883_98, 4.756_92, 4.449_9, 3.336_61, 4.466_82, 4.864_14, 5.051_57, 5.073_78,
        2.725_41, 4.872_96, 3.463_34, 3.181_17, 6.252_06, 4.223_22, 3.475_99, 4.677_36, 18.148_75,
        4.570_18, 5.583_6,
    ];
    let scores = outcome("ecod", &json!({}), &of_numbers(reference_numbers())).scores;
    for (row, (ours, theirs)) in scores.iter().zip(PYOD).enumerate() {
        assert!(
            (f64::from(*ours) - theirs).abs() < 2e-4,
            "row {row}: {ours} {theirs}"
        );
    }
    let sum: f64 = scores.iter().map(|&score| f64::from(score)).sum();
    assert!((sum - 1003.346).abs() < 0.01, "{sum}");
}

#[test]
fn a_coarse_distribution_ranks_like_an_exact_one() {
    let dataset = Dataset::numbers(20_000, 5);
    for id in ["copod", "ecod", "hbos"] {
        let scores = |resolution| outcome(id, &json!({"resolution": resolution}), &dataset).scores;
        let exact = scores(32_768);
        for resolution in [256, 4096] {
            let coarse = scores(resolution);
            let correlation = rank_correlation(&exact, &coarse);
            assert!(correlation > 0.999, "{id}, {resolution}: {correlation}");
            let differ = exact.iter().zip(&coarse).filter(|(a, b)| a != b).count();
            assert!(differ > 0, "{id}, {resolution}: nothing was left out");
        }
    }
}

fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for (rank, &row) in order.iter().enumerate() {
        ranks[row] = rank as f64;
    }
    ranks
}

fn rank_correlation(a: &[f32], b: &[f32]) -> f64 {
    let n = a.len() as f64;
    let squares: f64 = ranks(a)
        .into_iter()
        .zip(ranks(b))
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    1.0 - 6.0 * squares / (n * (n * n - 1.0))
}

#[test]
fn planted_outliers_are_ranked_first() {
    let mut dataset = Dataset::numbers(2000, 9);
    let mut is_poison = vec![false; 2000];
    let mut numeric = dataset.numeric.take().unwrap();
    for row in (0..2000).step_by(100) {
        is_poison[row] = true;
        numeric[[row, 0]] = 6.0;
        numeric[[row, 1]] = 14.0;
        numeric[[row, 3]] = -6.0;
    }
    dataset.numeric = Some(numeric);
    for (id, floor) in [
        ("copod", 0.99),
        ("ecod", 0.99),
        ("hbos", 0.99),
        ("isolation-forest", 0.99),
        ("knn-distance", 0.97),
        ("loda", 0.99),
        ("pca-reconstruction", 0.99),
    ] {
        let auroc = outcome(id, &json!({}), &dataset).auroc(&is_poison);
        assert!(auroc > floor, "{id}: {auroc}");
    }
}

#[test]
fn a_combination_that_no_column_shows_is_isolated() {
    // Column 3 follows column 0; these records go against it inside the range of both.
    let mut dataset = Dataset::numbers(4000, 9);
    let mut is_poison = vec![false; 4000];
    let mut numeric = dataset.numeric.take().unwrap();
    for row in (0..4000).step_by(200) {
        is_poison[row] = true;
        numeric[[row, 0]] = 2.2;
        numeric[[row, 3]] = -2.2;
    }
    dataset.numeric = Some(numeric);
    let forest = outcome("isolation-forest", &json!({}), &dataset).auroc(&is_poison);
    assert!(forest > 0.95, "{forest}");
}

#[test]
fn missing_values_do_not_make_a_record_suspicious() {
    for id in NUMERIC {
        let mut dataset = Dataset::numbers(2000, 4);
        let mut numeric = dataset.numeric.take().unwrap();
        let mut holed = vec![false; 2000];
        for row in (0..2000).step_by(7) {
            numeric[[row, row % 4]] = f64::NAN;
            holed[row] = true;
        }
        dataset.numeric = Some(numeric);
        let auroc = outcome(id, &json!({}), &dataset).auroc(&holed);
        assert!((0.35..0.6).contains(&auroc), "{id}: {auroc}");
    }
}

#[test]
fn infinite_and_missing_rows_have_the_scores_they_are_documented_to_have() {
    let mut dataset = Dataset::numbers(500, 4);
    let mut numeric = dataset.numeric.take().unwrap();
    numeric.row_mut(3).fill(f64::NAN);
    numeric[[5, 0]] = f64::INFINITY;
    numeric[[5, 1]] = f64::INFINITY;
    dataset.numeric = Some(numeric);
    for id in NUMERIC {
        let scores = outcome(id, &json!({}), &dataset).scores;
        assert!(scores[3].is_nan(), "{id}");
        let higher = scores.iter().filter(|&&score| score > scores[5]).count();
        assert!(higher < 15, "{id}: {higher} records above the infinite one");
    }
}

#[test]
fn a_constant_column_changes_nothing() {
    let dataset = Dataset::numbers(1000, 6);
    let mut wider = dataset.numeric.clone().unwrap();
    wider
        .push_column(ndarray::Array1::from_elem(1000, 7.0).view())
        .unwrap();
    for id in ["copod", "ecod", "hbos", "loda", "pca-reconstruction"] {
        let before = outcome(id, &json!({}), &dataset).scores;
        let after = outcome(id, &json!({}), &of_numbers(wider.clone())).scores;
        assert_eq!(before, after, "{id}");
    }
}

#[test]
fn units_do_not_matter() {
    let dataset = Dataset::numbers(1000, 6);
    let mut scaled = dataset.numeric.clone().unwrap();
    scaled.column_mut(0).mapv_inplace(|value| value * 1024.0);
    scaled.column_mut(1).mapv_inplace(|value| value / 4096.0);
    for id in ["copod", "ecod", "hbos", "loda", "pca-reconstruction"] {
        let before = outcome(id, &json!({}), &dataset).scores;
        let after = outcome(id, &json!({}), &of_numbers(scaled.clone())).scores;
        assert!(rank_correlation(&before, &after) > 0.999, "{id}");
    }
    let per_unit = json!({"unit_free": false});
    let before = outcome("hbos", &per_unit, &dataset).scores;
    let after = outcome("hbos", &per_unit, &of_numbers(scaled)).scores;
    assert!(rank_correlation(&before, &after) < 0.99);
}

#[test]
fn a_broken_relation_between_columns_is_far_from_the_components() {
    // Column 3 is column 0 with a little noise; these records go against it inside the range.
    let mut dataset = Dataset::numbers(4000, 9);
    let mut is_poison = vec![false; 4000];
    let mut numeric = dataset.numeric.take().unwrap();
    for row in 0..4000 {
        numeric[[row, 3]] = numeric[[row, 0]] + (numeric[[row, 3]] - numeric[[row, 0]]) / 10.0;
    }
    for row in (0..4000).step_by(200) {
        is_poison[row] = true;
        numeric[[row, 0]] = 1.5;
        numeric[[row, 3]] = -1.5;
    }
    dataset.numeric = Some(numeric);
    let pca = outcome("pca-reconstruction", &json!({}), &dataset).auroc(&is_poison);
    let ecod = outcome("ecod", &json!({}), &dataset).auroc(&is_poison);
    assert!(pca > 0.98 && ecod < 0.85, "{pca} {ecod}");
    let parameters = json!({"pyod_score": true});
    let pyod = outcome("pca-reconstruction", &parameters, &dataset).auroc(&is_poison);
    assert!(pyod < 0.5, "{pyod}");
}

#[test]
fn a_value_in_a_gap_is_in_a_rare_bin() {
    let mut dataset = Dataset::numbers(2000, 9);
    let mut is_poison = vec![false; 2000];
    let mut numeric = dataset.numeric.take().unwrap();
    for row in 0..2000 {
        numeric[[row, 0]] += if row % 2 == 0 { 20.0 } else { -20.0 };
    }
    for row in (0..2000).step_by(100) {
        is_poison[row] = true;
        numeric[[row, 0]] = 0.0;
    }
    dataset.numeric = Some(numeric);
    let hbos = outcome("hbos", &json!({}), &dataset).auroc(&is_poison);
    let ecod = outcome("ecod", &json!({}), &dataset).auroc(&is_poison);
    assert!(hbos > 0.85 && ecod < 0.6, "{hbos} {ecod}");
}

#[test]
fn tables_that_are_too_wide_are_declined_with_the_number() {
    let wide = Array2::from_shape_fn((64, 2100).f(), |(row, column)| {
        ((row * 7919 + column * 104_729) % 1009) as f64
    });
    let outcome = outcome("pca-reconstruction", &json!({}), &of_numbers(wide));
    let reason = outcome.abstained.unwrap();
    assert!(reason.contains("2100 columns that vary"), "{reason}");
}

#[test]
fn detectors_say_why_they_do_not_run() {
    let texts = Dataset::texts(100, 1);
    let reason = |id: &str, dataset: &Dataset| outcome(id, &json!({}), dataset).abstained;
    assert_eq!(reason("ecod", &texts).as_deref(), Some("no numeric column"));
    assert_eq!(
        reason("isolation-forest", &texts).as_deref(),
        Some("no numeric column and no embedding")
    );
    assert_eq!(
        reason("ecod", &of_numbers(Array2::ones((100, 2).f()))).as_deref(),
        Some("every numeric column is constant")
    );
    let mut nothing = Dataset::numbers(100, 1);
    nothing.numeric = None;
    nothing.recount();
    assert!(reason("knn-distance", &nothing).is_some());
    assert!(
        reason("ecod", &Dataset::numbers(5, 1))
            .unwrap()
            .contains("at least 20 are needed")
    );
}
