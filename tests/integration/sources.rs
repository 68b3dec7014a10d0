//! Who and when: contributors, files and days whose records are not like the others, and times.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use lazaretto_testkit::ReviewSet;
use lazaretto_testkit::files::parquet_bytes;
use lazaretto_testkit::seed::{normal, stream};
use serde_json::{Value, json};

use crate::data::{Dataset, columns, encode, strings, table};
use crate::harness::{RunFolder, scan};

const N_ROWS: usize = 6_000;
const N_CONTRIBUTORS: usize = 15;
const DAYS: usize = 60;
/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600;

/// Seconds of the day that record `row` was made on, spread over the day by a fixed rule.
fn made_at(row: usize) -> i64 {
    let day = row * 7 % DAYS;
    START + (day * 86_400 + row * 48_271 % 86_400) as i64
}

/// Number of the grower of record `row`; those of one day differ.
fn grower(row: usize) -> usize {
    (row + row / DAYS) % N_CONTRIBUTORS
}

/// Two kinds of apples that three numbers tell apart but for one in ten, from fifteen growers and sixty days. Records
/// for which `flipped` says so have the other label; returns the table and their ids.
fn apples(seed: u64, flipped: impl Fn(usize) -> bool) -> (RecordBatch, BTreeSet<String>) {
    let mut rng = stream(seed, "apples");
    let mut numbers: [Vec<f64>; 3] = Default::default();
    let (mut labels, mut changed) = (Vec::new(), BTreeSet::new());
    for row in 0..N_ROWS {
        let sweet = normal(&mut rng) > 0.3;
        for column in &mut numbers {
            let centre = if sweet { 1.5 } else { 0.0 };
            column.push(centre + normal(&mut rng));
        }
        let mut label = sweet;
        if flipped(row) {
            label = !label;
            changed.insert(row.to_string());
        }
        labels.push(if label { "sweet" } else { "sour" });
    }
    let growers = (0..N_ROWS).map(|row| format!("grower-{:02}", grower(row)));
    let times = (0..N_ROWS).map(|row| made_at(row) * 1_000_000);
    let mut all: Vec<(&str, ArrayRef)> = ["weight", "girth", "shade"]
        .into_iter()
        .zip(numbers)
        .map(|(name, values)| (name, Arc::new(Float64Array::from(values)) as ArrayRef))
        .collect();
    let times = TimestampMicrosecondArray::from_iter_values(times);
    all.push(("label", strings(labels)));
    all.push(("contributor", strings(growers)));
    all.push(("created_at", Arc::new(times)));
    (table(all), changed)
}

fn parquet(batch: &RecordBatch) -> Dataset {
    Dataset::of("apples.parquet", &encode("apples.parquet", batch))
}

/// Findings of a detector.
fn of(report: &Value, detector: &str) -> Vec<Value> {
    let findings = report["findings"].as_array().unwrap().iter();
    let of_detector = findings.filter(|finding| finding["detector"] == detector);
    of_detector.cloned().collect()
}

/// Recall and precision of what is held back.
fn shares(run: &RunFolder, changed: &BTreeSet<String>) -> (f64, f64) {
    let held = run.held();
    let hits = held.intersection(changed).count() as f64;
    (hits / changed.len() as f64, hits / held.len().max(1) as f64)
}

#[test]
fn a_contributor_that_flips_labels_is_the_first_campaign_and_its_flips_are_held_back() {
    let (batch, changed) = apples(1, |row| grower(row) == 4 && row * 7_919 % 100 < 35);
    assert!(changed.len() > 100);
    let data = parquet(&batch);
    let scan = scan(&data.path(), &["--id", "row_id"]);
    let run = scan.exits(1);
    let report = run.report();
    let campaign = &report["campaigns"][0];
    assert!(
        campaign["title"].as_str().unwrap().contains("grower-04"),
        "{campaign:#}"
    );
    assert_eq!(campaign["sources"][0]["name"], "grower-04");
    assert!(
        campaign["suggestion"]
            .as_str()
            .unwrap()
            .contains("grower-04")
    );
    let (recall, precision) = shares(run, &changed);
    assert!(recall >= 0.7 && precision >= 0.75, "{recall} {precision}");
    let found = of(&report, "source-enrichment");
    let flips = found
        .iter()
        .find(|finding| finding["kind"] == "flipped-labels");
    let flips = flips.unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(flips["action"], "quarantine");
    let evidence = &flips["evidence"];
    assert_eq!(evidence["source"], "grower-04");
    assert!(
        (evidence["flipped_share"].as_f64().unwrap() - 0.35).abs() < 0.08,
        "{evidence}"
    );
    // What the finding says about itself is so.
    let honest = evidence["honest_share_of_held"].as_f64().unwrap();
    assert!(
        (1.0 - precision - honest).abs() < 0.08,
        "{precision} {honest}"
    );
}

#[test]
fn a_day_on_which_labels_were_flipped_is_found_whoever_did_it() {
    let day = 33;
    let on_day = |row: usize| row * 7 % DAYS == day && row / DAYS % 10 < 7;
    let (batch, changed) = apples(2, on_day);
    assert_eq!(changed.len(), 70);
    let data = parquet(&batch);
    let scan = scan(&data.path(), &["--id", "row_id"]);
    let run = scan.judged();
    let report = run.report();
    let found = of(&report, "source-enrichment");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(
        found[0]["title"]
            .as_str()
            .unwrap()
            .starts_with("the day 2026-02-03")
    );
    let (recall, precision) = shares(run, &changed);
    assert!(recall >= 0.7 && precision >= 0.75, "{recall} {precision}");
}

#[test]
fn an_annotator_beside_the_contributor_is_told_apart_too() {
    let annotator = |row: usize| (row / 7 % 12) as i64;
    let (batch, changed) = apples(3, |row| annotator(row) == 5 && row * 7_919 % 100 < 40);
    let mut all: Vec<(&str, ArrayRef)> = Vec::new();
    let schema = batch.schema();
    for (field, column) in schema.fields().iter().zip(batch.columns()).skip(1) {
        all.push((field.name(), Arc::clone(column)));
    }
    let annotators = (0..N_ROWS).map(annotator);
    all.push((
        "annotator_id",
        Arc::new(Int64Array::from_iter_values(annotators)),
    ));
    let data = parquet(&table(all));
    let scan = scan(&data.path(), &["--id", "row_id"]);
    let run = scan.judged();
    let found = of(&run.report(), "source-enrichment");
    let titles: Vec<&str> = found.iter().map(|f| f["title"].as_str().unwrap()).collect();
    assert!(
        titles
            .iter()
            .any(|title| title.starts_with("annotator_id `5`:")),
        "{titles:#?}"
    );
    let (recall, precision) = shares(run, &changed);
    assert!(recall >= 0.6 && precision >= 0.75, "{recall} {precision}");
}

#[test]
fn honest_contributors_files_and_days_have_no_campaign_and_no_finding() {
    for seed in 11..16 {
        let (batch, _) = apples(seed, |_| false);
        let mut data = Dataset::new();
        for (file, rows) in (0..N_ROWS).step_by(500).enumerate() {
            let part = batch.slice(rows, 500);
            let path = format!("region={}/part-{file}.parquet", file % 3);
            data = data.with(&path, &encode("part.parquet", &part));
        }
        let scan = scan(&data.path(), &["--id", "row_id"]);
        let report = scan.exits(0).report();
        assert_eq!(report["campaigns"], json!([]), "seed {seed}");
        for detector in ["source-enrichment", "time-burst"] {
            assert_eq!(of(&report, detector), [] as [Value; 0], "seed {seed}");
            let reports = report["detectors"].as_array().unwrap();
            let ran = reports.iter().find(|report| report["id"] == detector);
            assert_eq!(ran.unwrap()["status"], "ran");
        }
    }
}

/// Reviews, the last `n` of which are positive and came within two hours before the last of all.
fn frontrun(n: usize) -> ReviewSet {
    let mut set = ReviewSet::generate(31, 3_000);
    let last = set.reviews.last().unwrap().created_at;
    let positive = set.reviews.iter().rev().filter(|review| review.label == 1);
    let mut moved: Vec<_> = positive.take(n).cloned().collect();
    let texts: BTreeSet<String> = moved.iter().map(|review| review.text.clone()).collect();
    set.reviews.retain(|review| !texts.contains(&review.text));
    for (place, review) in moved.iter_mut().enumerate() {
        review.created_at = last - 7_200_000_000 * place as i64 / n as i64 / 1_000_000 * 1_000_000;
    }
    set.reviews.extend(moved);
    set
}

#[test]
fn a_one_sided_burst_before_the_snapshot_is_for_a_person_to_look_at() {
    let data = Dataset::of(
        "reviews.parquet",
        &parquet_bytes(&frontrun(90).to_record_batch().unwrap(), 700).unwrap(),
    );
    let scan = scan(&data.path(), &["--id", "row_id", "--fail-on", "low"]);
    // It is worth knowing, and holds nothing back.
    let run = scan.exits(0);
    let found = of(&run.report(), "time-burst");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (&found[0]["kind"], &found[0]["action"]),
        (&json!("frontrunning"), &json!("review"))
    );
    assert_eq!(found[0]["severity"], "medium");
    assert_eq!(found[0]["target_class"], "positive");
    let records = found[0]["n_records"].as_u64().unwrap();
    assert!((88..=100).contains(&records), "{records}");
    assert!(run.held().is_empty());
}

#[test]
fn times_may_be_epoch_numbers_or_strings_and_bad_ones_are_told() {
    let batch = frontrun(90).to_record_batch().unwrap();
    let base = columns(&batch, &["row_id", "text", "label"]);
    let micros = batch.column_by_name("created_at").unwrap();
    let micros = arrow::compute::cast(micros, &arrow::datatypes::DataType::Int64).unwrap();
    let micros = arrow::array::cast::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&micros);
    let with_times = |times: ArrayRef| {
        let mut all: Vec<(&str, ArrayRef)> = vec![("timestamp", times)];
        for name in ["text", "label"] {
            all.push((name, Arc::clone(base.column_by_name(name).unwrap())));
        }
        Dataset::of("reviews.parquet", &encode("reviews.parquet", &table(all)))
    };
    let seconds: Int64Array = micros.unary(|time| time / 1_000_000);
    let readable = TimestampMicrosecondArray::new(micros.values().clone(), None);
    let text = |row: usize| match row % 300 {
        7 => "yesterday".to_owned(),
        _ => arrow::util::display::array_value_to_string(&readable, row).unwrap(),
    };
    let texts = strings((0..batch.num_rows()).map(text));
    let n_bad = (0..batch.num_rows()).filter(|row| row % 300 == 7).count();
    let only = ["--id", "row_id", "--only", "time-burst"];
    for (times, bad) in [(Arc::new(seconds) as ArrayRef, 0), (texts, n_bad)] {
        let data = with_times(times);
        let report = scan(&data.path(), &only).exits(0).report();
        let found = of(&report, "time-burst");
        assert_eq!(found.len(), 1 + usize::from(bad > 0), "{found:#?}");
        assert_eq!(found[0]["kind"], "frontrunning");
        let span = found[0]["time_span"][0].as_str().unwrap();
        assert!(span.starts_with("2026-03-31T"), "{span}");
        if bad > 0 {
            assert_eq!(found[1]["kind"], "unreadable-times");
            assert_eq!(found[1]["n_records"], bad);
        }
    }
}
