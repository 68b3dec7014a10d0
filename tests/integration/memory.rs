//! Peak memory follows `--memory`, not the size of the dataset.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lazaretto_testkit::big_table;
use tempfile::TempDir;

use crate::harness::{Outcome, command};

const MIB: u64 = 1 << 20;

/// What the process takes besides the memory it was given: its code and the compiled patterns (about
/// 47 MiB), and the decoded and encoded row group in the hands of each of two threads (131,072 rows
/// of 32 columns). Measured peaks at 64MiB are 150 to 156 MiB for 32 MB of numbers (32 of them mapped
/// vectors) and 142 to 177 for 200 MB.
const OVERHEAD: u64 = 128 * MIB;

/// Peak resident bytes of a scan of `data` within `memory`.
fn peak(data: &Path, memory: &str) -> u64 {
    let flags = ["--id", "row_id", "--threads", "2", "--memory", memory];
    let (outcome, peak) = watched(data, &flags);
    assert!([0, 1].contains(&outcome.code), "{}", outcome.stderr);
    peak
}

/// How a scan of `data` ends, and its peak resident bytes; decoders in processes of their own are not
/// counted.
pub(crate) fn watched(data: &Path, flags: &[&str]) -> (Outcome, u64) {
    let folder = TempDir::new().unwrap();
    let mut child = command()
        .arg("scan")
        .arg(data)
        .arg("--quiet")
        .args(flags)
        .arg("--out")
        .arg(folder.path().join("run"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The high-water mark only grows; its last reading before the end is the peak.
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = fs::read_to_string(&status)
            .ok()
            .and_then(|text| high_water(&text))
            .unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    let outcome = Outcome::of(&child.wait_with_output().unwrap());
    assert!(peak > 0, "no reading of the memory");
    (outcome, peak)
}

/// `VmHWM` in bytes; absent once the process is a zombie.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

#[test]
fn peak_memory_does_not_follow_the_dataset() {
    let folder = TempDir::new().unwrap();
    let table = |name: &str, rows| {
        let path = folder.path().join(name);
        big_table(&path, rows, 32, 11).unwrap();
        path
    };
    // 32 MB and 200 MB of numbers: half of the memory, and three times it.
    let small = peak(&table("small.parquet", 262_144), "64MiB");
    let large = peak(&table("large.parquet", 1_572_864), "64MiB");
    println!("peak: {} and {} MiB", small / MIB, large / MIB);
    assert!(large <= 64 * MIB + OVERHEAD, "{} MiB", large / MIB);
    assert!(
        large < small + 48 * MIB,
        "{} and {} MiB",
        small / MIB,
        large / MIB
    );
}

#[test]
fn ten_times_the_memory_is_scanned_within_it() {
    if std::env::var_os("LAZARETTO_LONG").is_none() {
        println!("skipped: takes minutes; set LAZARETTO_LONG=1 to run it (`.ci/nightly` does)");
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("table.parquet");
    big_table(&path, 5_242_880, 32, 12).unwrap();
    let peak = peak(&path, "64MiB");
    println!("peak: {} MiB", peak / MIB);
    assert!(peak <= 64 * MIB + OVERHEAD, "{} MiB", peak / MIB);
}
