//! Several runs on one target.

use std::fs;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use super::{EXIT, folder, reviews};
use crate::harness::Outcome;

/// Another run committed first, or is about to.
const OTHER_RUN: i32 = 5;
/// Usage: there is a run already.
const EXISTS: i32 = 2;

/// Starts as many scans at once as there are in `flags`, and gives their outcomes.
fn at_once(folder: &TempDir, flags: &[&[&str]]) -> Vec<Outcome> {
    let reviews = reviews();
    let children: Vec<_> = flags
        .iter()
        .map(|flags| {
            reviews
                .scan(&folder.path().join("run"))
                .args(*flags)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let outputs = children.into_iter().map(Child::wait_with_output);
    outputs
        .map(|output| Outcome::of(&output.unwrap()))
        .collect()
}

#[test]
fn of_runs_on_one_target_one_commits_and_the_others_say_so() {
    let reviews = reviews();
    let mut refused = 0;
    for round in 0..12 {
        let folder = folder();
        let resume: &[&str] = if round % 2 == 0 { &[] } else { &["--resume"] };
        let outcomes = at_once(&folder, &[&[], resume, &[], resume]);
        let committed = outcomes
            .iter()
            .filter(|outcome| outcome.code == EXIT && !outcome.stderr.contains("nothing to do"));
        assert_eq!(committed.count(), 1, "round {round}: {outcomes:?}");
        for outcome in outcomes {
            match outcome.code {
                EXIT => {}
                OTHER_RUN => {
                    refused += 1;
                    outcome.says(&["another run", "hint: "]);
                }
                // It was started when the other one was done.
                EXISTS => drop(outcome.says(&["it exists and is not empty"])),
                code => panic!("round {round}: exit code {code}\n{}", outcome.stderr),
            }
        }
        reviews.assert_done(&folder.path().join("run"), &format!("round {round}"));
    }
    assert!(refused >= 12, "{refused} runs were refused");
}

#[test]
fn of_commands_that_resume_one_run_one_does() {
    let reviews = reviews();
    for round in 0..6 {
        let folder = folder();
        let out = folder.path().join("run");
        let mut child = reviews.scan(&out).arg("--quiet").spawn().unwrap();
        while !super::staging(&out).join(".resume/fit.checkpoint").exists() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let outcomes = at_once(&folder, &[["--resume"].as_slice(); 3]);
        let resumed = outcomes
            .iter()
            .filter(|outcome| outcome.code == EXIT && outcome.stderr.contains("resuming: "));
        assert_eq!(resumed.count(), 1, "round {round}: {outcomes:?}");
        for outcome in &outcomes {
            assert!(
                [EXIT, OTHER_RUN].contains(&outcome.code),
                "{}",
                outcome.stderr
            );
        }
        reviews.assert_done(&out, &format!("round {round}"));
    }
}

#[test]
fn a_place_that_is_taken_while_a_run_works_is_left_alone() {
    let reviews = reviews();
    let folder = folder();
    let out = folder.path().join("run");
    let child = reviews
        .scan(&out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !super::staging(&out).join(".resume/run.json").exists() {
        std::thread::yield_now();
    }
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine.txt"), b"mine").unwrap();
    let outcome = Outcome::of(&child.wait_with_output().unwrap());
    outcome
        .exits(OTHER_RUN)
        .says(&["another run committed there first", "hint: "]);
    assert_eq!(fs::read(out.join("mine.txt")).unwrap(), b"mine");
    assert!(!super::staging(&out).exists() && !super::lock(&out).exists());
}
