//! When the gate fails.

use std::fs;

use crate::harness::{fixture, scan};

/// Exit code and reasons of a scan of the poisoned reviews.
fn gate(flags: &[&str]) -> (i32, String) {
    let scan = scan(&fixture("reviews"), &[&["--id", "row_id"], flags].concat());
    let report = scan.judged().report();
    assert_eq!(report["gate"]["exit_code"], scan.outcome.code);
    (scan.outcome.code, report["gate"]["reasons"].to_string())
}

#[test]
fn each_rule_fails_the_gate_when_it_is_broken_and_only_then() {
    for (rule, code, reason) in [
        ("never", 0, ""),
        ("low", 1, "severity"),
        ("high", 1, "severity"),
        ("critical", 0, ""),
        ("quarantine", 1, "held back"),
        ("quarantine>10", 1, "held back"),
        ("quarantine>2000", 0, ""),
        ("quarantine>1%", 1, "held back"),
        ("quarantine>50%", 0, ""),
        ("group>1%", 1, "of source"),
        ("group>90%", 0, ""),
        ("class>1%", 1, "of class"),
        ("source>1%", 1, "of source"),
        ("file>1%", 1, "of file"),
        ("file>90%", 0, ""),
        ("partition>0%", 0, ""),
    ] {
        let (found, reasons) = gate(&["--fail-on", rule]);
        assert_eq!(found, code, "{rule}: {reasons}");
        assert!(reasons.contains(reason), "{rule}: {reasons}");
        assert_eq!(reasons == "[]", code == 0, "{rule}: {reasons}");
    }
}

#[test]
fn one_broken_rule_of_several_is_enough() {
    let (code, reasons) = gate(&["--fail-on", "never", "quarantine>50%", "high"]);
    assert_eq!(code, 1);
    assert!(
        reasons.contains("`high`") && !reasons.contains("50"),
        "{reasons}"
    );
}

#[test]
fn the_policy_decides_on_the_gate_not_on_the_records() {
    let strict = scan(
        &fixture("reviews"),
        &["--id", "row_id", "--fail-on", "quarantine"],
    );
    let never = scan(
        &fixture("reviews"),
        &["--id", "row_id", "--fail-on", "never"],
    );
    assert_eq!(strict.exits(1).held(), never.exits(0).held());
}

#[test]
fn a_pipeline_file_says_what_flags_say_and_flags_win() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(
        &file,
        "[roles]\nid = \"row_id\"\n[detectors]\nonly = [\"text-surface\"]\n[policy]\nfail_on = [\"never\"]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let from_file = scan(&fixture("reviews"), &["--pipeline", file]);
    let run = from_file.exits(0);
    assert_eq!(run.ran(), ["text-surface"]);
    assert_eq!(run.held().len(), 30);
    assert_eq!(run.report()["settings"]["pipeline"], "mine.toml");
    let flags = [
        "--pipeline",
        file,
        "--only",
        "exact-duplicates",
        "--fail-on",
        "quarantine",
    ];
    let overridden = scan(&fixture("reviews"), &flags);
    assert_eq!(overridden.judged().ran(), ["exact-duplicates"]);
}

#[test]
fn every_built_in_pipeline_scans_its_kind_of_data() {
    for (pipeline, data, flags) in [
        (
            "text-classification",
            "reviews",
            ["--id", "row_id"].as_slice(),
        ),
        ("instruction", "instructions", &["--id", "row_id"]),
        (
            "tabular",
            "loans",
            &["--id", "row_id", "--label", "default"],
        ),
        ("embedding", "digits", &["--id", "row_id"]),
    ] {
        let flags = [&["--pipeline", pipeline], flags].concat();
        let scan = scan(&fixture(data), &flags);
        let report = scan.judged().report();
        assert_eq!(report["settings"]["pipeline"], pipeline);
        assert!(!scan.run.ran().is_empty());
    }
}

#[test]
fn skipped_detectors_do_not_run_and_are_reported_as_skipped() {
    let scan = scan(
        &fixture("digits"),
        &["--skip", "knn-distance,exact-duplicates"],
    );
    let run = scan.judged();
    assert!(!run.ran().contains(&"knn-distance".to_owned()));
    let report = run.report();
    let detectors = report["detectors"].as_array().unwrap();
    let knn = detectors
        .iter()
        .find(|one| one["id"] == "knn-distance")
        .unwrap();
    assert_eq!(knn["status"], "skipped");
    assert!(!knn["note"].as_str().unwrap().is_empty());
}
