//! What goes wrong is said in one message with a hint, with the right exit code, and leaves nothing
//! that looks like a run.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use lazaretto_testkit::files::{csv_bytes, parquet_bytes};

use crate::data::{Dataset, clean_reviews, columns, encode, strings, table};
use crate::harness::{Outcome, Scan, command, fixture, run, scan};

/// A scan that must end without a run folder.
#[track_caller]
fn refused(data: &Path, flags: &[&str], code: i32, words: &[&str]) -> Outcome {
    let scan = scan(data, flags);
    assert!(!scan.run.0.exists(), "a run folder was left");
    assert!(
        !scan.run.0.with_extension("partial").exists(),
        "a staging folder was left"
    );
    let outcome = scan
        .outcome
        .exits(code)
        .says(words)
        .says(&["error: ", "hint: "]);
    assert_eq!(outcome.stdout, "");
    outcome
}

#[test]
fn a_missing_path_is_named() {
    let data = Dataset::new();
    refused(
        &data.file("nowhere"),
        &[],
        2,
        &["nowhere", "no such file or folder"],
    );
}

#[test]
fn an_empty_folder_is_told_from_one_without_data_files() {
    let data = Dataset::of("empty/x", b"");
    fs::remove_file(data.file("empty/x")).unwrap();
    refused(&data.file("empty"), &[], 2, &["is empty", ".parquet"]);
    let data = Dataset::of("notes.txt", b"none").with("_tmp.parquet", b"PAR1");
    refused(&data.path(), &[], 2, &["none of 2 files", "_tmp.parquet"]);
}

#[test]
fn an_unknown_column_comes_with_a_suggestion() {
    refused(
        &fixture("reviews"),
        &["--label", "lable", "--text", "txet"],
        2,
        &[
            "`lable`",
            "did you mean `label`?",
            "`txet`",
            "did you mean `text`?",
        ],
    );
    refused(
        &fixture("reviews"),
        &["--source", "zzzzzz"],
        2,
        &["`category`", "`created_at`"],
    );
}

#[test]
fn a_column_cannot_have_two_roles_or_one_that_it_cannot_play() {
    refused(
        &fixture("reviews"),
        &["--id", "text", "--label", "text"],
        2,
        &["already given"],
    );
    refused(
        &fixture("reviews"),
        &["--embedding", "text"],
        2,
        &["`text`", "embedding", "is needed"],
    );
}

#[test]
fn an_unknown_detector_comes_with_a_suggestion() {
    refused(
        &fixture("digits"),
        &["--only", "ecodd", "--skip", "knn"],
        2,
        &[
            "`ecodd`",
            "did you mean `ecod`?",
            "`knn`",
            "did you mean `knn-distance`?",
        ],
    );
    run(["detectors", "eocd"])
        .exits(2)
        .says(&["did you mean `ecod`?"]);
}

#[test]
fn all_problems_of_a_pipeline_are_reported_at_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("wrong.toml");
    fs::write(
        &file,
        "fdr = 7\nsede = 1\nmemory = \"lots\"\n[roles]\nlabels = \"label\"\n[detectors]\nonly = [\"ecodd\"]\n\
         [policy]\nfail_on = [\"sometimes\"]\n[parameters.knn-distanc]\nk = 5\n[parameters.ecod]\nunheard = 1\n\
         [parameters.knn-distance]\nk = 0\n",
    )
    .unwrap();
    let outcome = refused(
        &fixture("digits"),
        &["--pipeline", file.to_str().unwrap()],
        2,
        &[
            "fdr",
            "(0, 0.5]",
            "sede",
            "did you mean `seed`?",
            "lots",
            "roles.labels",
            "did you mean `label`?",
            "ecodd",
            "sometimes",
            "knn-distanc",
            "parameters.ecod",
            "unheard",
            "parameters.knn-distance.k",
        ],
    );
    assert!(outcome.stderr.lines().count() >= 10, "{}", outcome.stderr);
}

#[test]
fn impossible_values_are_reported_at_once() {
    refused(
        &fixture("digits"),
        &[
            "--fdr",
            "2",
            "--memory",
            "3MiB",
            "--threads",
            "100000",
            "--fail-on",
            "quarantine>x",
        ],
        2,
        &[
            "`2` is out of range",
            "at least 64MiB",
            "0..=1024",
            "quarantine>x",
        ],
    );
}

#[test]
fn an_unknown_or_missing_pipeline_is_named() {
    refused(
        &fixture("digits"),
        &["--pipeline", "tabluar"],
        2,
        &["did you mean `tabular`?"],
    );
    let scan = scan(&fixture("digits"), &["--pipeline", "nowhere.toml"]);
    assert!(!scan.run.0.exists());
    scan.outcome
        .exits(2)
        .says(&["nowhere.toml", "No such file"]);
}

#[test]
fn a_pipeline_that_is_no_toml_says_where() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("broken.toml");
    fs::write(&file, "fdr = 0.05\nseed = = 1\n").unwrap();
    refused(
        &fixture("digits"),
        &["--pipeline", file.to_str().unwrap()],
        2,
        &["broken.toml", "line 2"],
    );
}

#[test]
fn a_wrong_flag_is_a_usage_error() {
    run(["scan", "data", "--out", "run", "--bogus"])
        .exits(2)
        .says(&["--bogus", "Usage:"]);
    run(["scan", "data"]).exits(2).says(&["--out"]);
    run(["scna"]).exits(2).says(&["scan"]);
    run(["scan", "--help"]).exits(0);
}

#[test]
fn a_run_folder_is_never_overwritten() {
    let data = Dataset::of("run/keep.txt", b"mine");
    let output = command()
        .arg("scan")
        .arg(fixture("digits"))
        .arg("--out")
        .arg(data.file("run"))
        .output()
        .unwrap();
    Outcome::of(&output)
        .exits(2)
        .says(&["exists and is not empty", "hint: "]);
    assert_eq!(fs::read(data.file("run/keep.txt")).unwrap(), b"mine");
    assert!(!data.file("run.partial").exists());
}

/// The reasons in `unscanned/`.
fn reasons(scan: &Scan) -> String {
    scan.run.text("unscanned/reasons.json")
}

#[test]
fn a_file_with_another_schema_is_unscanned_and_the_rest_is_scanned() {
    let good = clean_reviews(600);
    let other = columns(&good, &["row_id", "label"]);
    let data = Dataset::of("a.parquet", &parquet_bytes(&good, 200).unwrap())
        .with("b.parquet", &parquet_bytes(&other, 200).unwrap());
    let scan = scan(&data.path(), &["--id", "row_id"]);
    let run = scan.exits(3);
    assert!(run.path("clean/a.parquet").exists());
    assert!(!run.path("clean/b.parquet").exists());
    assert!(
        fs::read(run.path("unscanned/b.parquet")).unwrap()
            == fs::read(data.file("b.parquet")).unwrap()
    );
    let reasons = reasons(&scan);
    assert!(
        reasons.contains("b.parquet") && reasons.contains("`text`"),
        "{reasons}"
    );
    let report = run.report();
    assert_eq!(report["gate"]["status"], "incomplete");
    assert_eq!(report["counts"]["unscanned_files"], 1);
    // The file of another kind must not win because its name sorts first.
    let data = Dataset::of("a.parquet", &parquet_bytes(&other, 200).unwrap())
        .with(
            "b.parquet",
            &parquet_bytes(&good.slice(0, 300), 200).unwrap(),
        )
        .with(
            "c.parquet",
            &parquet_bytes(&good.slice(300, 300), 200).unwrap(),
        );
    let scan = crate::harness::scan(&data.path(), &["--id", "row_id"]);
    assert!(scan.exits(3).path("unscanned").exists());
}

#[test]
fn a_truncated_parquet_file_is_unscanned_and_kept() {
    let batch = clean_reviews(900);
    let part = |start| parquet_bytes(&batch.slice(start, 300), 100).unwrap();
    let whole = part(600);
    let data = Dataset::of("a.parquet", &part(0))
        .with("b.parquet", &part(300))
        .with("c.parquet", &whole[..whole.len() / 2]);
    let scan = scan(&data.path(), &["--id", "row_id"]);
    let run = scan.exits(3);
    assert_eq!(run.report()["counts"]["pass"], 600);
    assert!(fs::read(run.path("unscanned/c.parquet")).unwrap() == whole[..whole.len() / 2]);
    assert!(reasons(&scan).contains("c.parquet"));
    // Even a policy that never fails does not take it for clean.
    let never = crate::harness::scan(&data.path(), &["--fail-on", "never"]);
    never.exits(3);
}

#[test]
fn a_damaged_row_group_is_unscanned_record_by_record() {
    let batch = clean_reviews(900);
    let mut bytes = parquet_bytes(&batch, 300).unwrap();
    // The middle of the pages of the second of three row groups; the footer stays whole.
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 400] {
        *byte = 0xa5;
    }
    let data = Dataset::of("a.parquet", &bytes);
    let scan = scan(&data.path(), &["--id", "row_id"]);
    let report = scan.exits(3).report();
    let counts = &report["counts"];
    assert_eq!(counts["records"], 900);
    let unscanned = counts["unscanned"].as_u64().unwrap();
    assert!((1..=600).contains(&unscanned), "{unscanned}");
    let rest = counts["pass"].as_u64().unwrap() + counts["quarantine"].as_u64().unwrap();
    assert_eq!(rest + unscanned, 900);
    assert!(reasons(&scan).contains("a.parquet"));
}

#[test]
fn nothing_readable_is_an_error() {
    let data = Dataset::of("a.parquet", b"PAR1 this is no Parquet file PAR1");
    refused(
        &data.path(),
        &[],
        2,
        &["a.parquet", "none of its 1 files is readable"],
    );
}

#[test]
fn a_ragged_csv_line_is_named_and_no_record_is_lost() {
    let batch = columns(&clean_reviews(600), &["row_id", "text", "label"]);
    let good = csv_bytes(&batch).unwrap();
    let mut ragged = good.clone();
    ragged.extend_from_slice(b"600,too,many,fields,here\n");
    let data = Dataset::of("a.csv", &good).with("b.csv", &ragged);
    let scan = scan(&data.path(), &["--label", "label"]);
    let run = scan.exits(3);
    let reasons = reasons(&scan);
    assert!(
        reasons.contains("b.csv") && reasons.contains("602"),
        "{reasons}"
    );
    assert!(run.path("clean/a.csv").exists());
    assert!(run.path("unscanned/b.csv").exists());
}

#[test]
fn broken_json_lines_are_named() {
    let batch = clean_reviews(300);
    let good = encode("a.jsonl", &columns(&batch, &["row_id", "text", "label"]));
    let mut broken = good.clone();
    broken.extend_from_slice(b"{\"row_id\": 300, \"text\": \"no end\n");
    let data = Dataset::of("a.jsonl", &good).with("b.jsonl", &broken);
    let scan = scan(&data.path(), &["--label", "label"]);
    scan.exits(3);
    let reasons = reasons(&scan);
    assert!(
        reasons.contains("b.jsonl") && reasons.contains("301"),
        "{reasons}"
    );
}

#[test]
fn a_label_with_one_class_leaves_label_detectors_out_with_the_reason() {
    let reviews = clean_reviews(600);
    let ones: ArrayRef = Arc::new(Int64Array::from(vec![1; 600]));
    let batch = table(vec![
        ("text", Arc::clone(reviews.column_by_name("text").unwrap())),
        ("label", ones),
    ]);
    let data = Dataset::of("a.parquet", &encode("a.parquet", &batch));
    let scan = scan(&data.path(), &["--label", "label"]);
    let run = scan.exits(0);
    assert!(!run.ran().contains(&"confident-learning".to_owned()));
    let report = run.report();
    let detectors = report["detectors"].as_array().unwrap();
    let learning = detectors
        .iter()
        .find(|one| one["id"] == "confident-learning")
        .unwrap();
    let note = learning["note"].as_str().unwrap();
    assert!(note.contains("class"), "{note}");
}

#[test]
fn an_all_null_label_column_is_refused_when_it_was_asked_for() {
    let reviews = clean_reviews(600);
    let nulls: ArrayRef = Arc::new(StringArray::new_null(600));
    let batch = table(vec![
        ("text", Arc::clone(reviews.column_by_name("text").unwrap())),
        ("outcome", nulls),
    ]);
    let data = Dataset::of("a.parquet", &encode("a.parquet", &batch));
    refused(
        &data.path(),
        &["--label", "outcome"],
        2,
        &["`outcome`", "`label`", "null"],
    );
    // Not asked for, it is a column like any other.
    scan(&data.path(), &[]).exits(0);
}

#[test]
fn no_detector_for_the_data_is_an_error_with_the_reasons() {
    let batch = table(vec![(
        "tag",
        strings((0..300).map(|row| format!("{row:08x}"))),
    )]);
    let data = Dataset::of("a.parquet", &encode("a.parquet", &batch));
    refused(
        &data.path(),
        &["--only", "ecod,text-trigger"],
        2,
        &["no detector applies", "ecod: ", "text-trigger: "],
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let data = Dataset::of("file", b"not a folder");
    let output = command()
        .arg("scan")
        .arg(fixture("digits"))
        .arg("--out")
        .arg(data.file("file/run"))
        .output()
        .unwrap();
    let outcome = Outcome::of(&output).exits(74);
    assert!(outcome.stderr.contains("file"), "{}", outcome.stderr);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_named() {
    use std::os::unix::fs::PermissionsExt as _;

    let data = Dataset::of("locked/x", b"");
    let locked = data.file("locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(locked.join("y"), b"").is_ok() {
        println!("skipped: this user may write everywhere (root)");
        return;
    }
    let output = command()
        .arg("scan")
        .arg(fixture("digits"))
        .arg("--out")
        .arg(locked.join("run"))
        .output()
        .unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
    Outcome::of(&output).exits(74).says(&["locked", "hint: "]);
}

#[test]
fn two_files_of_one_name_are_told_apart_or_refused() {
    let part = encode("x.parquet", &clean_reviews(300));
    let data = Dataset::of("a/x.parquet", &part).with("b/x.parquet", &part);
    let scan =
        crate::harness::scan_all(&[&data.file("a/x.parquet"), &data.file("b/x.parquet")], &[]);
    if scan.outcome.code == 2 {
        assert!(
            scan.outcome.stderr.contains("hint: "),
            "{}",
            scan.outcome.stderr
        );
    } else {
        assert_eq!(scan.judged().report()["counts"]["records"], 600);
    }
}
