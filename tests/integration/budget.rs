//! `--budget`: the best records for a person who can look at so many, and how sure they are.

use std::collections::BTreeSet;

use arrow::array::AsArray as _;
use arrow::datatypes::{Float64Type, UInt64Type};
use lazaretto_testkit::files::parquet_bytes;
use lazaretto_testkit::{Attack, ReviewSet};
use serde_json::Value;

use crate::data::Dataset;
use crate::harness::{RunFolder, parquet_batches, run, scan, texts};

fn dataset(reviews: &ReviewSet) -> Dataset {
    let batch = reviews.to_record_batch().unwrap();
    Dataset::of("reviews.parquet", &parquet_bytes(&batch, 700).unwrap())
}

const FLAGS: [&str; 4] = ["--id", "row_id", "--label", "label"];

fn with_budget<'f>(budget: &'f str, more: &[&'f str]) -> Vec<&'f str> {
    let flags = FLAGS.into_iter().chain(["--budget", budget]);
    flags.chain(more.iter().copied()).collect()
}

/// Ids and expected errors of `review.parquet`, in order.
fn listed(run: &RunFolder) -> Vec<(String, f64)> {
    let mut rows = Vec::new();
    for batch in parquet_batches(&run.path("review.parquet")) {
        let ids = texts(&batch, "record_id");
        let ranks = batch
            .column_by_name("rank")
            .unwrap()
            .as_primitive::<UInt64Type>();
        let errors = batch.column_by_name("expected_error").unwrap();
        let errors = errors.as_primitive::<Float64Type>();
        for (row, id) in ids.into_iter().enumerate() {
            assert_eq!(ranks.value(row), rows.len() as u64 + 1);
            rows.push((id.unwrap(), errors.value(row)));
        }
    }
    rows
}

/// Positions of the poisoned reviews, which are their ids.
fn poisoned(reviews: &ReviewSet) -> BTreeSet<String> {
    let truth = reviews.truth().into_iter().enumerate();
    truth
        .filter(|(_, attack)| attack.is_some())
        .map(|(row, _)| row.to_string())
        .collect()
}

#[test]
fn held_records_lead_the_list_and_no_verdict_changes() {
    let reviews = ReviewSet::generate(31, 2_000).poison(
        &Attack::BadNets {
            rows: 40,
            words: 1,
            target: 1,
        },
        32,
    );
    let data = dataset(&reviews);
    let plain = scan(&data.path(), &FLAGS);
    let budgeted = scan(&data.path(), &with_budget("60", &[]));
    let (plain, budgeted) = (plain.judged(), budgeted.judged());
    let held = plain.held();
    assert_eq!(held, budgeted.held());
    assert!(!plain.path("review.parquet").exists());
    assert!((30..60).contains(&held.len()), "{}", held.len());

    let list = listed(budgeted);
    assert_eq!(list.len(), 60);
    let first: BTreeSet<String> = list[..held.len()]
        .iter()
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(first, held);
    assert!(list.windows(2).all(|pair| pair[0].1 <= pair[1].1 + 1e-12));
    assert!(list[held.len() - 1].1 < 0.05, "{list:?}");

    let report = budgeted.report();
    let review = &report["review"];
    assert_eq!(review["listed"], 60);
    assert_eq!(review["held"], held.len());
    assert_eq!(
        review["records"][0]["record_id"],
        Value::from(list[0].0.as_str())
    );
    let last = list.last().unwrap().1;
    assert!((review["expected_error"].as_f64().unwrap() - last).abs() < 1e-12);
    assert!(budgeted.text("report.md").contains("## Review list"));
    assert!(budgeted.text("report.html").contains("id=\"review\""));
    let manifest = budgeted.json("manifest.json");
    let outputs = manifest["outputs"].as_array().unwrap().iter();
    assert!(outputs.clone().any(|file| file["path"] == "review.parquet"));

    // A shorter list is the beginning of a longer one, at any number of threads.
    let short = scan(&data.path(), &with_budget("25", &["--threads", "1"]));
    let short: Vec<String> = listed(short.judged())
        .into_iter()
        .map(|(id, _)| id)
        .collect();
    let long: Vec<String> = list.into_iter().take(25).map(|(id, _)| id).collect();
    assert_eq!(short, long);
}

#[test]
fn the_error_that_is_expected_is_not_less_than_the_one_that_is_made() {
    for (poison, seed) in [(0, 41), (20, 42), (100, 43), (200, 44)] {
        let reviews = ReviewSet::generate(seed, 2_000)
            .poison(&Attack::LabelFlips { rows: poison / 2 }, seed + 10)
            .poison(
                &Attack::BadNets {
                    rows: poison - poison / 2,
                    words: 1,
                    target: 1,
                },
                seed + 20,
            );
        let poisoned = poisoned(&reviews);
        let data = dataset(&reviews);
        let scanned = scan(&data.path(), &with_budget("50", &[]));
        let run = scanned.judged();
        let list = listed(run);
        assert_eq!(list.len(), 50);
        let innocent = list.iter().filter(|(id, _)| !poisoned.contains(id)).count();
        let made = innocent as f64 / list.len() as f64;
        let expected = run.report()["review"]["expected_error"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&expected));
        assert!(
            made <= expected + 0.05,
            "{poison} poisoned: {made} made, {expected} expected"
        );
        if poison == 0 {
            assert!(
                expected > 0.99,
                "nothing is poisoned and {expected} is expected"
            );
        }
    }
}

#[test]
fn budgets_out_of_range_are_refused_and_large_ones_list_all() {
    let data = dataset(&ReviewSet::generate(51, 600));
    for budget in ["0", "100001"] {
        scan(&data.path(), &with_budget(budget, &[]))
            .outcome
            .exits(2)
            .says(&["budget", "1..=100000"]);
    }
    let pipeline = Dataset::of("p.toml", b"budget = 0\n");
    let file = pipeline.file("p.toml");
    let folder = data.path();
    run([
        "inspect",
        folder.to_str().unwrap(),
        "--pipeline",
        file.to_str().unwrap(),
    ])
    .exits(2)
    .says(&["budget"]);
    let all = scan(&data.path(), &with_budget("5000", &[]));
    assert_eq!(listed(all.judged()).len(), 600);
}
