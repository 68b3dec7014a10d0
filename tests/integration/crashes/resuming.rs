//! What people see of `--resume`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{EXIT, folder, reviews, staging};
use crate::harness::Outcome;

/// Starts `command` and waits until `file` of the staging folder is there.
fn begun(mut command: Command, out: &Path, file: &str) -> Child {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !staging(out).join(file).exists() {
        std::thread::yield_now();
    }
    child
}

/// Kills `command` once `file` of the staging folder is there.
fn killed(command: Command, out: &Path, file: &str) {
    let mut child = begun(command, out, file);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!out.exists(), "it was done before it was killed");
}

#[test]
fn other_inputs_and_settings_are_refused_by_name_and_nothing_is_lost() {
    let reviews = reviews();
    let folder = folder();
    let out = folder.path().join("run");
    killed(reviews.scan(&out), &out, ".resume/fit.checkpoint");
    for (flags, words) in [
        (["--seed", "9"], "`seed` was `0` and is `9`"),
        (["--skip", "label-shift"], "`skip` was `[]` and is"),
        (
            ["--memory", "1GiB"],
            "`memory` was `4294967296` and is `1073741824`",
        ),
    ] {
        let output = reviews.scan(&out).arg("--resume").args(flags).output();
        Outcome::of(&output.unwrap())
            .exits(2)
            .says(&[words, "run.partial", "hint: ", "rm -r"]);
        assert!(staging(&out).join(".resume/fit.checkpoint").exists());
    }
    let other = super::Dataset::of(
        "a.parquet",
        &fs::read(reviews.data.file("a.parquet")).unwrap(),
    );
    let output = super::scan(&other, &out).arg("--resume").output();
    Outcome::of(&output.unwrap())
        .exits(2)
        .says(&["input `d.arrow` is gone", "hint: "]);
    // A mistake in the command is none in the run.
    let output = reviews
        .scan(&out)
        .args(["--resume", "--label", "nothing"])
        .output();
    Outcome::of(&output.unwrap())
        .exits(2)
        .says(&["no such column"]);
    let without = reviews.scan(&out).output();
    Outcome::of(&without.unwrap())
        .exits(2)
        .says(&["did not finish", "--resume", "rm -r"]);
    let resumed = reviews.resumed(&out, "after refusals");
    assert!(
        resumed.stderr.contains("resuming: the fit pass"),
        "{}",
        resumed.stderr
    );
}

#[test]
fn threads_may_differ() {
    let reviews = reviews();
    for threads in ["1", "5"] {
        for file in ["fit", "score"] {
            let folder = folder();
            let out = folder.path().join("run");
            let checkpoint = format!(".resume/{file}.checkpoint");
            killed(reviews.scan(&out), &out, &checkpoint);
            let mut resumed = reviews.scan(&out);
            // The last one counts.
            let mut arguments: Vec<_> = resumed.get_args().map(ToOwned::to_owned).collect();
            let place = arguments
                .iter()
                .position(|word| word == "--threads")
                .unwrap();
            arguments[place + 1] = threads.into();
            resumed = crate::harness::command();
            resumed.args(arguments).arg("--resume");
            Outcome::of(&resumed.output().unwrap())
                .exits(EXIT)
                .says(&["resuming: "]);
            reviews.assert_done(&out, &format!("{threads} threads, {file}"));
        }
    }
}

#[test]
fn with_nothing_to_resume_a_run_begins_and_with_a_finished_one_nothing_does() {
    let reviews = reviews();
    let folder = folder();
    let out = folder.path().join("run");
    let first = reviews.resumed(&out, "nothing there");
    assert!(
        first.stderr.contains("there is no run to resume"),
        "{}",
        first.stderr
    );
    let timings = fs::read(out.join("timings.json")).unwrap();
    let again = reviews.resumed(&out, "finished");
    assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
    assert!(again.stdout.contains("report: "), "{}", again.stdout);
    assert_eq!(timings, fs::read(out.join("timings.json")).unwrap());
    let output = reviews
        .scan(&out)
        .args(["--resume", "--seed", "9"])
        .output();
    Outcome::of(&output.unwrap())
        .exits(2)
        .says(&["it is another one", "`--out`"]);
    let output = reviews
        .scan(&out)
        .args(["--resume", "--budget", "9"])
        .output();
    Outcome::of(&output.unwrap()).exits(2).says(&["`budget`"]);
    reviews.assert_done(&out, "refused");
}

#[test]
fn a_run_that_is_interrupted_after_a_checkpoint_is_kept() {
    let reviews = reviews();
    for signal in ["INT", "TERM"] {
        let folder = folder();
        let out = folder.path().join("run");
        let child = begun(reviews.scan(&out), &out, ".resume/fit.checkpoint");
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", child.id())])
            .status()
            .unwrap();
        assert!(sent.success());
        Outcome::of(&child.wait_with_output().unwrap())
            .exits(130)
            .says(&["nothing was committed", "is kept in", "--resume"]);
        assert!(!out.exists());
        let resumed = reviews.resumed(&out, signal);
        assert!(resumed.stderr.contains("resuming: "), "{}", resumed.stderr);
    }
}

#[test]
fn a_damaged_checkpoint_is_not_used() {
    let reviews = reviews();
    for (file, at) in [("fit", 40), ("score", 0), ("score", 200), ("fit", 500)] {
        let folder = folder();
        let out = folder.path().join("run");
        let name = format!(".resume/{file}.checkpoint");
        killed(reviews.scan(&out), &out, &name);
        let path = staging(&out).join(&name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 0x20;
        fs::write(&path, bytes).unwrap();
        let resumed = reviews.resumed(&out, &format!("{file} at {at}"));
        let used = resumed.stderr.contains(&format!("the {file} pass goes on"));
        assert!(!used, "{}", resumed.stderr);
    }
    // The rows of a score checkpoint are part of it.
    let folder = folder();
    let out = folder.path().join("run");
    killed(reviews.scan(&out), &out, ".resume/score.checkpoint");
    let path = staging(&out).join(".resume/rows");
    let mut bytes = fs::read(&path).unwrap();
    bytes[3] ^= 1;
    fs::write(&path, bytes).unwrap();
    let resumed = reviews.resumed(&out, "rows");
    assert!(
        !resumed.stderr.contains("the score pass goes on"),
        "{}",
        resumed.stderr
    );
}

#[test]
fn checkpoints_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let reviews = reviews();
    let folder = folder();
    let out = folder.path().join("run");
    killed(reviews.scan(&out), &out, ".resume/score.checkpoint");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&staging(&out)), 0o700);
    assert_eq!(mode(&staging(&out).join(".resume")), 0o700);
    for file in ["run.json", "fit.checkpoint", "score.checkpoint"] {
        assert_eq!(
            mode(&staging(&out).join(".resume").join(file)),
            0o600,
            "{file}"
        );
    }
}
