//! `--trusted`: records known to be good, beside the dataset and never part of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Float64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use lazaretto_testkit::seed::{normal, stream};

use crate::data::{Dataset, columns, encode, strings, table};
use crate::harness::{Scan, scan};

const N_ROWS: usize = 900;

/// Three classes that four numbers tell apart. Where they are to be relabelled (`relabel`), two thirds of the
/// records called `oak` become `elm`; returns the table and the ids of those.
fn trees(n_rows: usize, seed: u64, relabel: bool) -> (RecordBatch, BTreeSet<String>) {
    let mut rng = stream(seed, "trees");
    let mut relabelled = BTreeSet::new();
    let mut labels = Vec::new();
    let mut numbers: [Vec<f64>; 4] = Default::default();
    for row in 0..n_rows {
        let class = row % 3;
        for (idx, column) in numbers.iter_mut().enumerate() {
            let centre = if idx == class { 4.0 } else { 0.0 };
            column.push(centre + normal(&mut rng));
        }
        let mut label = ["oak", "elm", "fir"][class];
        if relabel && class == 0 && row % 9 != 0 {
            label = "elm";
            relabelled.insert(row.to_string());
        }
        labels.push(label);
    }
    let mut all: Vec<(&str, ArrayRef)> = ["height", "girth", "age", "shade"]
        .into_iter()
        .zip(numbers)
        .map(|(name, values)| (name, Arc::new(Float64Array::from(values)) as ArrayRef))
        .collect();
    all.push(("label", strings(labels)));
    (table(all), relabelled)
}

/// Two thirds of a class relabelled in `data.parquet`, and 200 good records in `good.csv`.
fn forest() -> (Dataset, BTreeSet<String>) {
    let (poisoned, relabelled) = trees(N_ROWS, 1, true);
    let (good, _) = trees(200, 2, false);
    let data = Dataset::of("data.parquet", &encode("data.parquet", &poisoned))
        .with("good.csv", &encode("good.csv", &good));
    (data, relabelled)
}

fn scanned(data: &Dataset, trusted: &Path, flags: &[&str]) -> Scan {
    let mut all = vec!["--id", "row_id", "--trusted", trusted.to_str().unwrap()];
    all.extend(flags);
    scan(&data.file("data.parquet"), &all)
}

#[test]
fn trusted_records_speak_against_a_class_that_was_relabelled() {
    let (data, relabelled) = forest();
    let only = ["--only", "probe-influence"];
    let scan = scanned(&data, &data.file("good.csv"), &only);
    let run = scan.judged();
    let mut ranked: Vec<(f32, String)> = run
        .scores()
        .into_iter()
        .map(|(id, score)| (score.fused.unwrap(), id))
        .collect();
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
    let hits = ranked.iter().take(relabelled.len());
    let hits = hits.filter(|(_, id)| relabelled.contains(id)).count();
    assert!(
        hits * 10 >= relabelled.len() * 9,
        "{hits} of {} relabelled records come first",
        relabelled.len()
    );

    // The yardstick is told with its digest and is no part of the dataset.
    let report = run.report();
    assert_eq!(report["counts"]["records"], N_ROWS);
    assert_eq!(report["dataset"]["trusted"][0]["path"], "good.csv");
    assert_eq!(report["dataset"]["trusted"][0]["records"], 200);
    let manifest = run.json("manifest.json");
    let digest = &manifest["trusted"][0]["blake3"];
    assert_eq!(digest.as_str().unwrap().len(), 64);
    assert_eq!(manifest["inputs"].as_array().unwrap().len(), 1);

    let again = scanned(
        &data,
        &data.file("good.csv"),
        &["--only", "probe-influence", "--threads", "3"],
    );
    assert!(
        run.reproducible() == again.judged().reproducible(),
        "the number of threads shows in the result"
    );
}

#[test]
fn without_trusted_records_the_report_says_how_to_give_them() {
    let (data, _) = forest();
    let scan = scan(&data.file("data.parquet"), &["--id", "row_id"]);
    let report = scan.judged().report();
    let detectors = report["detectors"].as_array().unwrap();
    let influence = detectors
        .iter()
        .find(|detector| detector["id"] == "probe-influence")
        .unwrap();
    assert_eq!(influence["status"], "not_applicable");
    assert!(influence["note"].as_str().unwrap().contains("`--trusted`"));
    assert!(report["dataset"].get("trusted").is_none());
}

#[test]
fn a_pipeline_file_names_trusted_files_too() {
    let (data, _) = forest();
    let pipeline = data.file("own.toml");
    let trusted = data.file("good.csv");
    std::fs::write(&pipeline, format!("trusted = [{trusted:?}]\n")).unwrap();
    let flags = [
        "--pipeline",
        pipeline.to_str().unwrap(),
        "--only",
        "probe-influence",
    ];
    let scan = scan(&data.file("data.parquet"), &flags);
    assert_eq!(scan.judged().ran(), ["probe-influence"]);
}

#[test]
fn trusted_files_that_do_not_fit_are_refused_with_what_is_wrong() {
    let (data, _) = forest();
    let (good, _) = trees(100, 3, false);
    let refuse = |name: &str, batch: &RecordBatch, words: &[&str]| {
        std::fs::write(data.file(name), encode(name, batch)).unwrap();
        let scan = scanned(&data, &data.file(name), &[]);
        assert!(!scan.run.0.exists(), "a run folder was left");
        scan.outcome.exits(2).says(words).says(&[name, "hint: "]);
    };
    let part = columns(&good, &["row_id", "height", "girth", "label"]);
    refuse(
        "part.jsonl",
        &part,
        &["column `age` (numeric) is missing", "column `shade`"],
    );
    refuse("none.parquet", &good.slice(0, 0), &["it has no records"]);

    let rename = |from: &str, to: &'static str| {
        let all: Vec<(&str, ArrayRef)> = ["height", "girth", "age", "shade", "label"]
            .into_iter()
            .map(|name| {
                let column = good.column_by_name(name).unwrap();
                let column = if name == from {
                    strings(vec![to; 100])
                } else {
                    Arc::clone(column)
                };
                (name, column)
            })
            .collect();
        table(all)
    };
    refuse(
        "words.parquet",
        &rename("age", "old"),
        &["column `age` (numeric) is `Utf8` here and `Float64` in the dataset"],
    );
    refuse(
        "palms.csv",
        &rename("label", "palm"),
        &[
            "column `label` has classes",
            "`palm`",
            "`elm`, `fir`, `oak`",
        ],
    );
}

#[test]
fn a_trusted_file_that_is_not_there_is_named() {
    let (data, _) = forest();
    scanned(&data, &data.file("nowhere.csv"), &[])
        .outcome
        .exits(2)
        .says(&["nowhere.csv", "no such file or folder"]);
}

/// Three classes of trees of ordinary measures, where one in `every` is far off in all of them.
fn outliers(n_rows: usize, seed: u64, every: usize) -> (RecordBatch, BTreeSet<String>) {
    let (batch, _) = trees(n_rows, seed, false);
    let mut rng = stream(seed, "outliers");
    let far = |row: usize| every > 0 && row % every == 1;
    let all: Vec<(&str, ArrayRef)> = ["height", "girth", "age", "shade", "label"]
        .into_iter()
        .map(|name| {
            let column = Arc::clone(batch.column_by_name(name).unwrap());
            let Some(numbers) = column.as_primitive_opt::<Float64Type>() else {
                return (name, column);
            };
            let moved = numbers.values().iter().enumerate().map(|(row, &value)| {
                let side = 9.0_f64.copysign(normal(&mut rng));
                value + if far(row) { side } else { 0.0 }
            });
            let moved: Vec<f64> = moved.collect();
            (name, Arc::new(Float64Array::from(moved)) as ArrayRef)
        })
        .collect();
    let poison = (0..n_rows)
        .filter(|&row| far(row))
        .map(|row| row.to_string());
    (table(all), poison.collect())
}

fn beside_trusted(batch: &RecordBatch, n_trusted: usize, seed: u64, flags: &[&str]) -> Scan {
    let (good, _) = outliers(n_trusted, seed + 1000, 0);
    let data = Dataset::of("data.parquet", &encode("data.parquet", batch))
        .with("good.csv", &encode("good.csv", &good));
    scanned(&data, &data.file("good.csv"), flags)
}

#[test]
fn p_values_by_trusted_records_are_valid_on_clean_data() {
    let levels = [0.02, 0.05, 0.1, 0.3];
    let mut at_most = [0; 4];
    let mut n_rows = 0;
    for seed in 0..6 {
        let (clean, _) = outliers(600, seed, 0);
        let scan = beside_trusted(&clean, 400, seed, &["--seed", "3"]);
        let run = scan.judged();
        for (_, score) in run.scores() {
            let p = score.p_value.unwrap();
            assert!(
                p >= 1.0 / 401.0 - 1e-9,
                "{p} is below what 400 records tell"
            );
            n_rows += 1;
            for (count, level) in at_most.iter_mut().zip(levels) {
                *count += i32::from(p <= level);
            }
        }
        assert!(run.with_verdict("quarantine").is_empty());
    }
    for (count, level) in at_most.into_iter().zip(levels) {
        let share = f64::from(count) / f64::from(n_rows);
        // Six times 400 trusted records leave an error of √(level / 2400) in the level itself.
        let error = 3.5 * (level / 2400.0_f64).sqrt();
        assert!(
            share <= level + error,
            "{share} of the clean records at {level}"
        );
        assert!(
            share >= 0.3 * level,
            "{share} of the clean records at {level}"
        );
    }
}

#[test]
fn single_records_beyond_the_trusted_ones_are_held_back() {
    let (poisoned, outliers) = outliers(600, 21, 12);
    let flags = ["--skip", "value-profile,exact-duplicates,near-duplicates"];
    let scan = beside_trusted(&poisoned, 600, 21, &flags);
    let run = scan.judged();
    let held = run.with_verdict("quarantine");
    let right = held.intersection(&outliers).count();
    let wrong = held.len() - right;
    assert!(
        right * 10 >= outliers.len() * 9,
        "{right} of {}",
        outliers.len()
    );
    assert!(
        wrong * 10 <= held.len(),
        "{wrong} of {} are clean",
        held.len()
    );

    let report = run.report();
    let detectors = report["detectors"].as_array().unwrap();
    let detector = |id: &str| {
        detectors
            .iter()
            .find(|detector| detector["id"] == id)
            .unwrap()
    };
    for id in ["tabular-ensemble", "confident-learning", "knn-distance"] {
        let detector = detector(id);
        assert_eq!(detector["null"], "conformal, 600 trusted records", "{id}");
        assert_eq!(detector["decides"], true, "{id}");
    }
    // It is fitted to the trusted records, which therefore are no null for it.
    let influence = detector("probe-influence");
    assert_ne!(influence["null"], "conformal, 600 trusted records");
    assert_eq!(influence["decides"], false);
}
