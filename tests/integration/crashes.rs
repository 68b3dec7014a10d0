//! Nothing lost and nothing doubled, at whatever moment a run ends: after each end there is either a whole run or none,
//! and `--resume` makes the run that an undisturbed scan makes, byte for byte.

#![cfg(target_os = "linux")]

mod conflicts;
#[cfg(feature = "failpoints")]
mod failpoints;
mod faults;
mod full_disk;
mod kills;
mod resuming;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use lazaretto_testkit::files::parquet_bytes;
use serde_json::Value;
use tempfile::TempDir;

use crate::data::{Dataset, columns, encode, poisoned_reviews};
use crate::harness::{Outcome, RunFolder, command, contents};

/// Reviews in four formats, of which one file cannot be read: some 20 units that take a scan a fraction of a second.
struct Reviews {
    data: Dataset,
    /// What an undisturbed scan leaves.
    expected: BTreeMap<String, Vec<u8>>,
}

/// The gate fails: there is poison in it.
const EXIT: i32 = 1;

fn reviews() -> &'static Reviews {
    static REVIEWS: OnceLock<Reviews> = OnceLock::new();
    REVIEWS.get_or_init(|| {
        let batch = poisoned_reviews(480).to_record_batch().unwrap();
        let batch = columns(&batch, &["row_id", "text", "label"]);
        let part = |start| batch.slice(start, 120);
        let groups = parquet_bytes(&part(0), 12).unwrap();
        let data = Dataset::of("a.parquet", &groups)
            .with("b/b.csv", &encode("b.csv", &part(120)))
            .with("b/c.jsonl.gz", &encode("c.jsonl.gz", &part(240)))
            .with("d.arrow", &encode("d.arrow", &part(360)))
            .with("e.parquet", &groups[..groups.len() / 2]);
        let folder = folder();
        let out = folder.path().join("run");
        let output = scan(&data, &out).output().unwrap();
        Outcome::of(&output).exits(EXIT);
        let run = RunFolder(out);
        let expected = run.reproducible();
        for folder in ["clean/", "quarantine/", "unscanned/", "scores/"] {
            let in_it = expected.keys().any(|name| name.starts_with(folder));
            assert!(in_it, "nothing in {folder}");
        }
        Reviews { data, expected }
    })
}

/// A scan with a few fast detectors and a checkpoint at every opportunity.
fn scan(data: &Dataset, out: &Path) -> Command {
    let mut command = command();
    command
        .arg("scan")
        .arg(data.path())
        .arg("--out")
        .arg(out)
        .args([
            "--id",
            "row_id",
            "--threads",
            "2",
            "--only",
            "text-surface,exact-duplicates",
            "--checkpoint-seconds",
            "0",
        ]);
    command
}

impl Reviews {
    fn scan(&self, out: &Path) -> Command {
        scan(&self.data, out)
    }

    /// What `--resume` says when it comes to the run that there should be.
    #[track_caller]
    fn resumed(&self, out: &Path, about: &str) -> Outcome {
        assert_nothing_half_done(out);
        let output = self.scan(out).arg("--resume").output().unwrap();
        let outcome = Outcome::of(&output);
        assert_eq!(outcome.code, EXIT, "{about}:\n{}", outcome.stderr);
        self.assert_done(out, about);
        outcome
    }

    /// Checks that at `out` is the run that there should be, and nothing beside it.
    #[track_caller]
    fn assert_done(&self, out: &Path, about: &str) {
        let run = RunFolder(out.to_owned()).reproducible();
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&run), names(&self.expected), "{about}");
        let differing: Vec<&String> = run
            .iter()
            .filter(|(name, bytes)| self.expected[*name] != **bytes)
            .map(|(name, _)| name)
            .collect();
        assert!(differing.is_empty(), "{about}: bytes differ: {differing:?}");
        assert!(
            !staging(out).exists(),
            "{about}: the staging folder is left"
        );
        assert!(!lock(out).exists(), "{about}: the lock is left");
    }
}

/// A folder in memory, where there is one: a thousand runs sync fifty thousand times.
fn folder() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap())
}

fn staging(out: &Path) -> PathBuf {
    out.with_file_name("run.partial")
}

fn lock(out: &Path) -> PathBuf {
    out.with_file_name(".run.partial.lock")
}

/// No manifest speaks of what is not there, neither in the place of the run nor in that where it is made.
#[track_caller]
fn assert_nothing_half_done(out: &Path) {
    assert!(
        !out.exists() || out.join("manifest.json").exists(),
        "a run folder without a manifest"
    );
    for folder in [out.to_owned(), staging(out)] {
        let Ok(manifest) = fs::read(folder.join("manifest.json")) else {
            continue;
        };
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let there = contents(&folder);
        for output in manifest["outputs"].as_array().unwrap() {
            let name = output["path"].as_str().unwrap();
            let bytes = there.get(name).unwrap_or_else(|| panic!("no {name}"));
            let digest = blake3::hash(bytes).to_hex();
            assert_eq!(output["blake3"], digest.as_str(), "{name}");
        }
    }
}

/// The digits of a seeded draw, in `0..n`.
fn drawn(what: &str, idx: u64, n: u64) -> u64 {
    let hash = blake3::hash(format!("{what} {idx}").as_bytes());
    u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap()) % n.max(1)
}

/// Runs `work` for each of `cases`, several at a time.
fn in_parallel<T: Send + Sync>(cases: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let _stop = StopOthers(&next);
                loop {
                    let idx = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(idx) else { break };
                    work(case);
                }
            });
        }
    });
}

/// Leaves no more cases to others when a thread panics.
struct StopOthers<'a>(&'a AtomicUsize);

impl Drop for StopOthers<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(usize::MAX / 2, Ordering::Relaxed);
        }
    }
}
