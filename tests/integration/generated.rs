//! Files in the repository that the command prints are as it prints them today.

use std::fs;

use crate::harness::{root, run};

#[track_caller]
fn assert_fresh(path: &str, command: &[&str]) {
    let printed = run(command).exits(0).stdout;
    let kept = fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(
        kept == printed,
        "`{path}` is not what `lazaretto {}` prints; run `.ci/generate`",
        command.join(" ")
    );
}

#[test]
fn schemas_are_fresh() {
    for of in ["pipeline", "report", "manifest", "explanation"] {
        assert_fresh(&format!("schemas/{of}.schema.json"), &["schema", of]);
    }
}

#[test]
fn the_detector_reference_is_fresh() {
    assert_fresh("docs/detectors.md", &["detectors", "--reference"]);
}
