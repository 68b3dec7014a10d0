//! All or nothing: a run that is stopped leaves nothing that looks finished.

#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use lazaretto_testkit::big_table;

use crate::data::Dataset;
use crate::harness::{Outcome, command};

/// Starts a long scan, sends it `signal` once it says `phase`, and waits for its end.
fn stopped_in(phase: &str, signal: &str) -> (Outcome, Dataset) {
    let data = Dataset::of("about.txt", b"");
    big_table(&data.file("table.parquet"), 400_000, 8, 3).unwrap();
    let mut child = command()
        .arg("scan")
        .arg(data.file("table.parquet"))
        // However slow the machine is: what is kept after a checkpoint is tested with crashes.
        .args(["--checkpoint-seconds", "86400"])
        .arg("--out")
        .arg(data.file("run"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(phase) {
        let read = stderr.read_line(&mut said).unwrap();
        assert!(read > 0, "`{phase}` never came:\n{said}");
    }
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {}", child.id())])
        .status()
        .unwrap();
    assert!(sent.success());
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    let mut outcome = Outcome::of(&child.wait_with_output().unwrap());
    outcome.stderr = said;
    (outcome, data)
}

#[test]
fn ctrl_c_leaves_no_run_and_says_so() {
    for phase in ["fitting", "writing"] {
        let (outcome, data) = stopped_in(phase, "INT");
        outcome
            .exits(130)
            .says(&["interrupted", "nothing was committed", "hint: "]);
        assert!(!data.file("run").exists(), "{phase}");
        assert!(!data.file("run.partial").exists(), "{phase}");
    }
}

#[test]
fn a_termination_signal_is_as_clean() {
    let (outcome, data) = stopped_in("scoring", "TERM");
    outcome.exits(130).says(&["nothing was committed"]);
    assert!(!data.file("run").exists());
    assert!(!data.file("run.partial").exists());
}

#[test]
fn a_killed_run_leaves_no_manifest_and_the_next_one_says_what_to_do() {
    let (outcome, data) = stopped_in("scoring", "KILL");
    assert_eq!(outcome.code, -1);
    assert!(!data.file("run").exists());
    assert!(data.file("run.partial").exists());
    assert!(!data.file("run.partial/manifest.json").exists());
    let scan = |out: &str| {
        let output = command()
            .arg("scan")
            .arg(crate::harness::fixture("digits"))
            .arg("--quiet")
            .arg("--out")
            .arg(data.file(out))
            .output()
            .unwrap();
        Outcome::of(&output)
    };
    scan("run")
        .exits(2)
        .says(&["run.partial", "did not finish", "hint: ", "rm -r"]);
    std::fs::remove_dir_all(data.file("run.partial")).unwrap();
    assert!([0, 1].contains(&scan("run").code));
    assert!(data.file("run/manifest.json").exists());
}
