//! What programs read is what the published schemas say.

use std::fs;

use serde_json::Value;

use crate::harness::{files_below, fixture, root, run, scan};

fn schema(of: &str) -> Value {
    run(["schema", of]).exits(0).json()
}

#[track_caller]
fn assert_valid(schema: &Value, instance: &Value) {
    let validator = jsonschema::validator_for(schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

#[test]
fn reports_and_manifests_follow_their_schemas() {
    let (report, manifest) = (schema("report"), schema("manifest"));
    for (name, flags) in [
        ("reviews", ["--id", "row_id"].as_slice()),
        ("loans", &["--label", "default"]),
        ("instructions", &[]),
        ("digits", &[]),
    ] {
        let scan = scan(&fixture(name), flags);
        let run = scan.judged();
        assert_valid(&report, &run.report());
        assert_valid(&manifest, &run.json("manifest.json"));
    }
}

#[test]
fn the_schemas_refuse_what_is_none() {
    for of in ["report", "manifest", "pipeline", "explanation"] {
        let validator = jsonschema::validator_for(&schema(of)).unwrap();
        assert!(
            !validator.is_valid(&serde_json::json!({"unheard": 1})),
            "{of}"
        );
    }
}

#[test]
fn pipelines_that_we_ship_or_write_follow_the_schema() {
    let schema = schema("pipeline");
    let mut files = files_below(&root().join("pipelines"));
    assert!(files.len() >= 5);
    let folder = tempfile::TempDir::new().unwrap();
    let written = folder.path().join("written.toml");
    run([
        "init".as_ref(),
        fixture("loans").as_os_str(),
        "--out".as_ref(),
        written.as_os_str(),
    ])
    .exits(0);
    files.push(written);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let value: Value = toml::from_str(&text).unwrap();
        assert_valid(&schema, &value);
    }
}

#[test]
fn every_detector_is_documented_and_its_defaults_fit_its_parameters() {
    let detectors = run(["detectors", "--format", "json"]).exits(0).json();
    let detectors = detectors.as_array().unwrap();
    let ids: Vec<&str> = detectors
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    for id in [
        "confident-learning",
        "ecod",
        "exact-duplicates",
        "isolation-forest",
        "knn-distance",
        "near-duplicates",
        "text-surface",
        "text-trigger",
    ] {
        assert!(ids.contains(&id), "{id} is not in {ids:?}");
    }
    for detector in detectors {
        assert_valid(&detector["parameters"], &detector["defaults"]);
        let id = detector["id"].as_str().unwrap();
        let page = run(["detectors", id]).exits(0).stdout;
        for heading in ["What it finds", "False positives", "Limits", "Parameters"] {
            assert!(page.contains(heading), "{id}: {heading}");
        }
    }
}

#[test]
fn findings_and_scores_agree_with_the_report() {
    let scan = scan(&fixture("reviews"), &["--id", "row_id"]);
    let run = scan.exits(1);
    let report = run.report();
    let ids = |value: &Value| value["id"].as_str().unwrap().to_owned();
    let reported: Vec<String> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(ids)
        .collect();
    let written = crate::harness::parquet_texts(&run.path("findings.parquet"), "finding_id");
    assert_eq!(reported, written);
    let scores = run.scores();
    assert_eq!(report["counts"]["records"], scores.len());
    assert_eq!(report["counts"]["quarantine"], run.held().len());
    assert!(
        scores
            .values()
            .all(|row| row.fused.is_some_and(|score| (0.0..=1.0).contains(&score)))
    );
    // Taxonomy tags of the findings are explained in the report.
    let known: Vec<String> = report["taxonomy"]
        .as_array()
        .unwrap()
        .iter()
        .map(ids)
        .collect();
    for finding in report["findings"].as_array().unwrap() {
        for tag in finding["taxonomy"].as_array().unwrap() {
            assert!(known.contains(&tag.as_str().unwrap().to_owned()), "{tag}");
        }
    }
    for tag in ["AML.T0020", "LLM04:2025"] {
        assert!(known.iter().any(|id| id == tag), "{tag}: {known:?}");
    }
}
