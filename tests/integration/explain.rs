//! `lazaretto explain`: why a record has its verdict, what would change it, and what is near it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Float64Array, Int64Array};
use arrow::datatypes::Float64Type;
use lazaretto_testkit::files::{csv_bytes, parquet_bytes};
use lazaretto_testkit::seed::{normal, stream};
use serde_json::Value;

use crate::data::{Dataset, poisoned_reviews, strings, table};
use crate::harness::{Outcome, RunFolder, files_below, fixture, parquet_batches, run, scan, texts};

fn explain(run_folder: &RunFolder, record: &str, flags: &[&str]) -> Outcome {
    let folder = run_folder.0.to_str().unwrap();
    let arguments = ["explain", folder, record].into_iter();
    run(arguments.chain(flags.iter().copied()))
}

fn explained(run_folder: &RunFolder, record: &str) -> Value {
    let outcome = explain(run_folder, record, &["--format", "json"]).exits(0);
    let value = outcome.json();
    let schema = run(["schema", "explanation"]).exits(0).json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&value)
        .map(|e| e.to_string())
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    value
}

/// Id, verdict and q-value of its own scores, of every record.
fn own_q_values(run: &RunFolder) -> Vec<(String, String, Option<f64>)> {
    let mut rows = Vec::new();
    for path in files_below(&run.path("scores")) {
        for batch in parquet_batches(&path) {
            let (ids, verdicts) = (texts(&batch, "record_id"), texts(&batch, "verdict"));
            let q_values = batch.column_by_name("row_q_value").unwrap();
            let q_values = q_values.as_primitive::<Float64Type>().iter();
            for ((id, verdict), q) in ids.into_iter().zip(verdicts).zip(q_values) {
                rows.push((id.unwrap(), verdict.unwrap(), q));
            }
        }
    }
    rows
}

fn verdict_of(run: &RunFolder, id: &str) -> String {
    run.scores()[id].verdict.clone()
}

fn reviews(folder: &str, n_rows: usize) -> Dataset {
    let batch = poisoned_reviews(n_rows).to_record_batch().unwrap();
    Dataset::of(folder, &parquet_bytes(&batch, 500).unwrap())
}

/// Scans `data` with one key of the policy set.
fn verdict_under(data: &Path, flags: &[&str], policy: &str, id: &str) -> String {
    let pipeline = Dataset::of("p.toml", format!("[policy]\n{policy}\n").as_bytes());
    let file = pipeline.file("p.toml");
    let flags: Vec<&str> = flags
        .iter()
        .copied()
        .chain(["--pipeline", file.to_str().unwrap()])
        .collect();
    verdict_of(scan(data, &flags).judged(), id)
}

#[test]
fn a_record_of_a_finding_passes_below_the_bound_that_is_told_and_not_at_it() {
    let data = reviews("reviews.parquet", 1_500);
    let flags = ["--id", "row_id", "--label", "label"];
    let scanned = scan(&data.path(), &flags);
    let run = scanned.judged();
    let held = run.held();
    let told = held.iter().map(|id| (id, explained(run, id)));
    let (id, told) = told
        .into_iter()
        .find(|(_, told)| {
            let findings = told["findings"].as_array().unwrap();
            findings
                .iter()
                .any(|f| f["detector"] == "text-trigger" && f["holds"] == true)
                && told["changes"][0]["settings"].as_array().unwrap().len() == 1
        })
        .unwrap();
    assert_eq!(told["verdict"], "quarantine");
    assert_eq!(told["place"]["record_id"], Value::from(id.as_str()));
    assert_eq!(told["place"]["file"], "reviews.parquet");
    let report = run.report();
    assert_eq!(
        told["place"]["file_blake3"],
        report["dataset"]["files"][0]["blake3"]
    );
    assert_eq!(
        told["place"]["dataset_version"],
        report["dataset"]["version"]
    );
    let finding = &told["findings"][0];
    assert!(finding["campaign"].is_string(), "{told}");
    assert!(told["because"].as_str().unwrap().contains("text-trigger"));
    let detector = &told["detectors"][0];
    assert!(detector["version"].as_u64().unwrap() >= 1);
    assert!(detector["parameters"].is_object());

    let setting = &told["changes"][0]["settings"][0];
    assert_eq!(
        (&setting["key"], &told["changes"][0]["exact"]),
        (&"finding_p".into(), &true.into())
    );
    let bound = setting["below"].as_f64().unwrap();
    let at = format!("finding_p = {bound:e}");
    let below = format!("finding_p = {:e}", bound * 0.999);
    assert_eq!(verdict_under(&data.path(), &flags, &at, id), "quarantine");
    assert_eq!(verdict_under(&data.path(), &flags, &below, id), "pass");

    // The other way: without the detectors that hold it.
    let skip = told["changes"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&skip["settings"][0]["key"], &skip["exact"]),
        (&"skip".into(), &false.into())
    );
    let skipped = skip["settings"][0]["detectors"].as_array().unwrap().iter();
    let skipped: Vec<&str> = skipped.map(|id| id.as_str().unwrap()).collect();
    let skipped = skipped.join(",");
    let flags = ["--id", "row_id", "--label", "label", "--skip", &skipped];
    assert_eq!(verdict_of(scan(&data.path(), &flags).judged(), id), "pass");
}

/// Ordinary numbers, and `n_far` records far from all others in every column.
fn numbers(n_rows: usize, n_far: usize) -> Dataset {
    let columns = ["a", "b", "c", "d"].map(|name| -> (&str, ArrayRef) {
        let mut rng = stream(81, name);
        let value = |row: usize| {
            let number = normal(&mut rng);
            let far = row % 7 == 3 && row / 7 < n_far;
            if far {
                1e6 * (1 + row / 7) as f64
            } else {
                number
            }
        };
        (
            name,
            Arc::new(Float64Array::from_iter_values((0..n_rows).map(value))),
        )
    });
    let batch = table(columns.to_vec());
    Dataset::of("numbers.parquet", &parquet_bytes(&batch, 500).unwrap())
}

#[test]
fn single_records_turn_at_the_rate_that_is_told() {
    let flags = ["--id", "row_id", "--skip", "value-profile"];
    let verdict_at = |data: &Dataset, rate: f64, id: &str| {
        let rate = format!("{rate:e}");
        let flags: Vec<&str> = flags.into_iter().chain(["--fdr", &rate]).collect();
        verdict_of(scan(&data.path(), &flags).judged(), id)
    };
    // How far a record has to be for a decision is not the matter here: both sides of it are looked for.
    let mut seen = BTreeSet::new();
    for (n_rows, n_far) in [(600, 2), (1_000, 3), (1_000, 1), (2_000, 4), (2_000, 8)] {
        let data = numbers(n_rows, n_far);
        let scanned = scan(&data.path(), &flags);
        let run = scanned.judged();
        let near = own_q_values(run)
            .into_iter()
            .find(|(_, _, q)| q.is_some_and(|q| q <= 0.5));
        let Some((id, verdict, _)) = near.filter(|(_, verdict, _)| !seen.contains(verdict)) else {
            continue;
        };
        let told = explained(run, &id);
        assert!(told["findings"].as_array().unwrap().is_empty());
        let setting = &told["changes"][0]["settings"][0];
        let (key, bound) = match verdict.as_str() {
            "quarantine" => ("fdr_below", &setting["below"]),
            _ => ("fdr_at_least", &setting["at_least"]),
        };
        assert_eq!(setting["key"], key, "{told}");
        let bound = bound.as_f64().unwrap();
        assert_eq!(verdict_at(&data, bound, &id), "quarantine");
        assert_eq!(verdict_at(&data, bound * 0.999, &id), "pass");
        if verdict == "quarantine" {
            let off = &told["changes"][1]["settings"][0];
            assert_eq!(
                (&off["key"], &off["value"]),
                (&"hold_rows".into(), &false.into())
            );
            let off = verdict_under(&data.path(), &flags, "hold_rows = false", &id);
            assert_eq!(off, "pass");
        }
        seen.insert(verdict);
    }
    assert_eq!(
        seen.len(),
        2,
        "records held and passed near a decision: {seen:?}"
    );
}

#[test]
fn unknown_and_shared_ids_are_refused_with_what_would_do() {
    let ids = strings((0..900).map(|row| match row {
        7 | 8 => "shared".to_owned(),
        _ => format!("review-{row}"),
    }));
    let reviews = poisoned_reviews(900);
    let text = strings(
        reviews
            .reviews
            .iter()
            .take(900)
            .map(|review| review.text.clone()),
    );
    let batch = table(vec![("name", ids), ("text", text)]);
    let data = Dataset::of("reviews.parquet", &parquet_bytes(&batch, 500).unwrap());
    let scanned = scan(&data.path(), &["--id", "name", "--text", "text"]);
    let run_folder = scanned.judged();

    explain(run_folder, "Review-31x", &[])
        .exits(2)
        .says(&["no such record", "did you mean `review-31`"]);
    explain(run_folder, "\u{1b}[31mnothing like it", &[])
        .exits(2)
        .says(&["no such record", "record_id"]);
    let shared = explain(run_folder, "shared", &[]).exits(2);
    let digest = &run_folder.report()["dataset"]["files"][0]["blake3"];
    let place = |row: u32| format!("{}:0:{row}", &digest.as_str().unwrap()[..16]);
    let shared = shared.says(&["2 records have the id", &place(7), &place(8)]);
    assert!(!shared.stderr.contains('\u{1b}'));
    let told = explained(run_folder, &place(8));
    assert_eq!(
        (&told["place"]["record_id"], &told["place"]["row"]),
        (&"shared".into(), &8.into())
    );
}

#[test]
fn folders_that_are_no_runs_and_runs_that_were_changed_are_refused() {
    let data = reviews("reviews.parquet", 600);
    let folder = data.path();
    run(["explain", folder.to_str().unwrap(), "1"])
        .exits(2)
        .says(&["no `manifest.json`"]);
    run(["explain", "no/such/folder", "1"])
        .exits(2)
        .says(&["no such folder"]);
    let scanned = scan(&data.path(), &["--id", "row_id"]);
    let run_folder = scanned.judged();
    explain(run_folder, "1", &[]).exits(0);
    // The dataset is not needed any more.
    fs::remove_dir_all(data.path()).unwrap();
    explain(run_folder, "1", &[]).exits(0);
    let report = run_folder.text("report.json");
    fs::write(
        run_folder.path("report.json"),
        report.replace("0.05", "0.04"),
    )
    .unwrap();
    explain(run_folder, "1", &[])
        .exits(4)
        .says(&["report.json", "not what the run wrote"]);
    fs::remove_file(run_folder.path("report.json")).unwrap();
    explain(run_folder, "1", &[]).exits(4).says(&["is missing"]);
}

#[test]
fn a_near_copy_is_the_nearest_record_in_texts_numbers_and_vectors() {
    let mut reviews: Vec<String> = poisoned_reviews(700)
        .reviews
        .iter()
        .map(|review| review.text.clone())
        .collect();
    reviews.truncate(700);
    let copied = format!("{} indeed", reviews[3]);
    reviews.push(copied);
    let n_rows = reviews.len() as i64;
    let numbers = |factor: i64| -> ArrayRef {
        let value = move |row: i64| {
            let row = if row == n_rows - 1 { 3 } else { row };
            row * factor % 1_013
        };
        Arc::new(Int64Array::from_iter_values((0..n_rows).map(value)))
    };
    let texts = table(vec![("text", strings(reviews.iter().cloned()))]);
    let table = table(vec![
        ("a", numbers(331)),
        ("b", numbers(577)),
        ("c", numbers(89)),
    ]);
    let last = (n_rows - 1).to_string();
    for (name, bytes, measure) in [
        (
            "texts.parquet",
            parquet_bytes(&texts, 300).unwrap(),
            "words",
        ),
        ("texts.csv", csv_bytes(&texts).unwrap(), "words"),
        (
            "numbers.parquet",
            parquet_bytes(&table, 300).unwrap(),
            "numeric",
        ),
    ] {
        let data = Dataset::of(name, &bytes);
        let scanned = scan(&data.path(), &["--id", "row_id"]);
        let told = explained(scanned.judged(), &last);
        let nearest = &told["nearest"];
        assert!(
            nearest["measure"].as_str().unwrap().contains(measure),
            "{told}"
        );
        let first = &nearest["records"][0];
        assert_eq!(first["record"]["record_id"], "3", "{name}: {nearest}");
        assert!(
            first["similarity"].as_f64().unwrap() > 0.8,
            "{name}: {nearest}"
        );
        assert_eq!(nearest["records"].as_array().unwrap().len(), 3);
    }
    let scanned = scan(&fixture("digits"), &[]);
    let run = scanned.judged();
    let id = run.with_verdict("pass").into_iter().next().unwrap();
    let told = explained(run, &id);
    assert!(
        told["nearest"]["measure"]
            .as_str()
            .unwrap()
            .contains("vectors")
    );
    let records = told["nearest"]["records"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    for near in records {
        let id = near["record"]["record_id"].as_str().unwrap();
        assert_eq!(verdict_of(run, id), "pass");
        assert!(near["similarity"].as_f64().unwrap() > 0.3, "{told}");
    }
}

#[test]
fn what_is_told_neither_acts_on_the_terminal_nor_gives_secrets_away() {
    let reviews = poisoned_reviews(900);
    let rows = reviews.reviews.iter().enumerate();
    let text = strings(rows.map(|(row, review)| match review.attack {
        Some(_) => format!(
            "\u{1b}[31mred\u{1b}]0;title\u{7} \u{202e}txet {} mail jonas.{row}.mueller@gmail.com",
            review.text
        ),
        None => review.text.clone(),
    }));
    let labels = strings(
        reviews
            .reviews
            .iter()
            .map(|review| review.label.to_string()),
    );
    let batch = table(vec![("text", text), ("label", labels)]);
    let data = Dataset::of("reviews.parquet", &parquet_bytes(&batch, 500).unwrap());
    let scanned = scan(&data.path(), &["--id", "row_id", "--label", "label"]);
    let run = scanned.judged();
    let id = run.held().into_iter().next().unwrap();
    for format in ["human", "json"] {
        let said = explain(run, &id, &["--format", format]).exits(0).stdout;
        assert!(!said.contains("mueller@gmail"), "{said}");
        let acts =
            |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
        if format == "human" {
            assert_eq!(said.chars().find(|&c| acts(c)), None, "{said}");
        }
        assert!(said.contains("red"), "{said}");
    }
}

#[test]
fn passing_records_are_explained_too() {
    let data = reviews("reviews.parquet", 900);
    let scanned = scan(&data.path(), &["--id", "row_id"]);
    let run = scanned.judged();
    let id = run.with_verdict("pass").into_iter().next().unwrap();
    let told = explained(run, &id);
    assert_eq!(told["verdict"], "pass");
    assert!(
        told["because"].as_str().unwrap().starts_with("passed: "),
        "{told}"
    );
    assert!(told["record"]["values"].as_array().unwrap().len() > 1);
    let human = explain(run, &id, &[]).exits(0).stdout;
    assert!(human.contains("Nearest records that passed"), "{human}");
}
