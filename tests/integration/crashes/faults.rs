//! The file system fails, or the process ends, at each of the calls that change anything, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::{EXIT, Reviews, assert_nothing_half_done, folder, in_parallel, reviews, staging};
use crate::harness::Outcome;

/// Failed writes, as the command reports them.
const STORAGE: i32 = 74;

/// The library that counts calls and makes one of them fail, see `faults.c`; `None` without a C compiler.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let built = LIBRARY.get_or_init(|| {
        let folder = folder();
        let source = folder.path().join("faults.c");
        let library = folder.path().join("faults.so");
        fs::write(&source, include_str!("faults.c")).unwrap();
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .args(["-ldl", "-lpthread"])
            .output();
        match compiler {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(output.status.success(), "{said}");
                Some((folder, library))
            }
            Err(error) => {
                println!("skipped: no C compiler to build the faults with ({error})");
                None
            }
        }
    });
    built.as_ref().map(|(_, library)| library.as_path())
}

/// A scan whose calls below `folder` are counted. Decoding is done in its own process, whose calls are counted.
fn watched(reviews: &Reviews, folder: &Path, library: &Path) -> Command {
    let mut command = reviews.scan(&folder.join("run"));
    command
        .arg("--trusted-input")
        .env("LD_PRELOAD", library)
        .env("FAULT_ROOT", folder);
    command
}

/// The same data as [`reviews`], decoded in the process: the report says so.
fn trusting() -> &'static Reviews {
    static TRUSTING: OnceLock<Reviews> = OnceLock::new();
    TRUSTING.get_or_init(|| {
        let folder = folder();
        let out = folder.path().join("run");
        let data = crate::data::Dataset::new();
        for (name, bytes) in crate::harness::contents(&reviews().data.path()) {
            let path = data.file(&name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let output = super::scan(&data, &out).arg("--trusted-input").output();
        Outcome::of(&output.unwrap()).exits(EXIT);
        let expected = crate::harness::RunFolder(out).reproducible();
        Reviews { data, expected }
    })
}

/// Resumes a run that was watched.
#[track_caller]
fn resume(reviews: &Reviews, out: &Path, about: &str) -> Outcome {
    assert_nothing_half_done(out);
    let output = reviews
        .scan(out)
        .args(["--trusted-input", "--resume"])
        .output()
        .unwrap();
    let outcome = Outcome::of(&output);
    assert_eq!(outcome.code, EXIT, "{about}:\n{}", outcome.stderr);
    reviews.assert_done(out, about);
    outcome
}

/// One line of a trace.
struct Call {
    what: String,
    path: PathBuf,
    to: PathBuf,
}

fn calls(trace: &Path) -> Vec<Call> {
    let text = fs::read_to_string(trace).unwrap();
    let lines = text.lines().map(|line| {
        let mut parts = line.split('\t');
        let mut part = || parts.next().unwrap().to_owned();
        Call {
            what: part(),
            path: part().into(),
            to: part().into(),
        }
    });
    lines.collect()
}

/// The calls of an undisturbed run.
fn traced(reviews: &Reviews, library: &Path) -> (Vec<Call>, PathBuf) {
    let (folder, aside) = (folder(), folder());
    let trace = aside.path().join("trace");
    let output = watched(reviews, folder.path(), library)
        .env("FAULT_TRACE", &trace)
        .output()
        .unwrap();
    Outcome::of(&output).exits(EXIT);
    reviews.assert_done(&folder.path().join("run"), "undisturbed");
    let count = calls(&trace);
    (count, folder.path().to_owned())
}

fn fails_at_every_call(how: &str) {
    let Some(library) = library() else { return };
    let reviews = trusting();
    let (calls, _) = traced(reviews, library);
    assert!(calls.len() > 100, "{} calls", calls.len());
    // The order of calls differs a little from run to run, with the threads.
    let numbers: Vec<usize> = (1..=calls.len() + 3).collect();
    let failed = std::sync::atomic::AtomicUsize::new(0);
    in_parallel(&numbers, |&number| {
        let folder = folder();
        let out = folder.path().join("run");
        let about = format!("{how} at call {number}");
        let output = watched(reviews, folder.path(), library)
            .env("FAULT_HOW", how)
            .env("FAULT_AT", number.to_string())
            .output()
            .unwrap();
        let outcome = Outcome::of(&output);
        assert!(
            !outcome.stderr.contains("panicked"),
            "{about}: {}",
            outcome.stderr
        );
        match outcome.code {
            // What failed could be done without.
            EXIT => reviews.assert_done_but_lock(&out, &about),
            STORAGE => {
                failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let outcome = outcome.says(&["error: failed to ", "hint: "]);
                let path = folder.path().to_str().unwrap();
                assert!(outcome.stderr.contains(path), "{about}: {}", outcome.stderr);
            }
            -1 if how == "kill" => {
                failed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            code => panic!("{about}: exit code {code}\n{}", outcome.stderr),
        }
        resume(reviews, &out, &about);
    });
    let failed = failed.into_inner();
    println!("{how}: {failed} of {} calls ended the run", calls.len());
    assert!(failed > calls.len() / 3, "{failed} of {}", calls.len());
}

impl Reviews {
    /// [`Reviews::assert_done`] for a run that could not remove its lock.
    #[track_caller]
    fn assert_done_but_lock(&self, out: &Path, about: &str) {
        let _ = fs::remove_file(super::lock(out));
        self.assert_done(out, about);
    }
}

#[test]
fn every_call_may_fail() {
    fails_at_every_call("eio");
}

#[test]
fn the_disk_may_be_full_at_every_call() {
    fails_at_every_call("full");
}

#[test]
fn the_process_may_end_at_every_call() {
    fails_at_every_call("kill");
}

#[test]
fn writes_may_be_done_by_half() {
    let Some(library) = library() else { return };
    let reviews = trusting();
    let folder = folder();
    let output = watched(reviews, folder.path(), library)
        .env("FAULT_HOW", "short")
        .output()
        .unwrap();
    Outcome::of(&output).exits(EXIT);
    reviews.assert_done(&folder.path().join("run"), "short writes");
}

#[test]
fn what_a_manifest_speaks_of_is_durable_before_it_and_all_of_it_before_the_rename() {
    let Some(library) = library() else { return };
    let (calls, folder) = traced(trusting(), library);
    let staging = folder.join("run.partial");
    // Files and folders with changes that were not synced.
    let (mut dirty, mut gone) = (BTreeSet::<PathBuf>::new(), BTreeSet::<PathBuf>::new());
    let parent = |path: &Path| path.parent().unwrap().to_owned();
    let (mut sealed, mut moved) = (false, false);
    let journal = staging.join(".resume");
    for call in &calls {
        match call.what.as_str() {
            "create" => {
                dirty.insert(parent(&call.path));
                dirty.insert(call.path.clone());
            }
            "write" | "truncate" => {
                dirty.insert(call.path.clone());
            }
            "mkdir" => {
                gone.remove(&call.path);
                dirty.insert(parent(&call.path));
                dirty.insert(call.path.clone());
            }
            "unlink" if !gone.contains(&parent(&call.path)) => {
                dirty.insert(parent(&call.path));
                dirty.retain(|path| !path.starts_with(&call.path));
                gone.insert(call.path.clone());
            }
            "fsync" => {
                dirty.remove(&call.path);
            }
            "rename" => {
                if call.to.ends_with("run.partial/manifest.json") {
                    sealed = true;
                    let late: Vec<_> = dirty
                        .iter()
                        .filter(|path| path.starts_with(&staging) && !path.starts_with(&journal))
                        // The manifest itself is there under another name.
                        .filter(|path| *path != &staging)
                        .collect();
                    assert!(late.is_empty(), "not durable: {late:?}");
                }
                assert!(!dirty.contains(&call.path), "{:?} is moved", call.path);
                if call.to == folder.join("run") {
                    moved = true;
                    let late: Vec<_> = dirty
                        .iter()
                        .filter(|path| path.starts_with(&staging))
                        .collect();
                    assert!(late.is_empty(), "not durable: {late:?}");
                }
                dirty.insert(parent(&call.path));
                dirty.insert(parent(&call.to));
            }
            _ => {}
        }
    }
    assert!(sealed && moved);
    let removed = calls
        .iter()
        .rposition(|call| call.what == "unlink")
        .unwrap();
    let synced = calls.iter().rposition(|call| call.what == "fsync").unwrap();
    assert_eq!(calls[synced].path, folder, "the move is durable");
    assert!(removed > synced, "the lock goes last");
}

#[test]
fn a_resumed_run_does_not_do_again_what_is_done() {
    let Some(library) = library() else { return };
    let reviews = trusting();
    let (undisturbed, _) = traced(reviews, library);
    let saved = |name: &str| {
        let checkpoint = format!(".resume/{name}.checkpoint");
        let renames = undisturbed.iter().filter(|call| call.what == "rename");
        renames
            .filter(|call| call.to.ends_with(&checkpoint))
            .count()
    };
    let mut goes_on = BTreeMap::new();
    // After the last of the passes' checkpoints, and after the first file that was written.
    for (name, times) in [
        ("fit", saved("fit")),
        ("score", saved("score")),
        ("written", 1),
    ] {
        let (folder, aside) = (folder(), folder());
        let out = folder.path().join("run");
        let output = watched(reviews, folder.path(), library)
            .env("FAULT_AFTER", format!("/{name}.checkpoint"))
            .env("FAULT_TIMES", times.to_string())
            .output()
            .unwrap();
        assert_eq!(Outcome::of(&output).code, -1, "{name}");
        let trace = aside.path().join("trace");
        let output = watched(reviews, folder.path(), library)
            .arg("--resume")
            .env("FAULT_TRACE", &trace)
            .output()
            .unwrap();
        let outcome = Outcome::of(&output);
        assert_eq!(outcome.code, EXIT, "{}", outcome.stderr);
        reviews.assert_done(&out, name);
        let written = calls(&trace)
            .into_iter()
            .filter(|call| call.what == "create")
            .filter(|call| {
                let below = call.path.strip_prefix(staging(&out));
                below.is_ok_and(|path| path.starts_with("clean") || path.starts_with("unscanned"))
            })
            .count();
        goes_on.insert(name, (outcome.stderr, written));
    }
    assert!(goes_on["fit"].0.contains("the fit pass goes on after unit"));
    assert!(
        !goes_on["fit"]
            .0
            .contains("the score pass goes on after unit")
    );
    assert!(
        goes_on["score"]
            .0
            .contains("the score pass goes on after unit")
    );
    let (all, rest) = (goes_on["fit"].1, goes_on["written"].1);
    assert!(rest < all, "{rest} of {all} files are written again");
}
