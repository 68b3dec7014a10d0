//! Same input, pipeline and seed: same bytes, whatever the threads, the order and the partitions.

use std::collections::BTreeMap;
use std::path::Path;

use lazaretto_testkit::LoanSet;
use lazaretto_testkit::files::parquet_bytes;

use crate::data::{Dataset, encode, poisoned_reviews};
use crate::harness::{files_below, fixture, scan, scan_all};

/// Compares run folders file by file, so that a difference is named and not dumped.
#[track_caller]
fn assert_same(left: &BTreeMap<String, Vec<u8>>, right: &BTreeMap<String, Vec<u8>>) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(left), names(right));
    let differing: Vec<&String> = left
        .iter()
        .filter(|(name, bytes)| right[*name] != **bytes)
        .map(|(name, _)| name)
        .collect();
    assert!(differing.is_empty(), "bytes differ: {differing:?}");
}

#[test]
fn threads_and_repeats_change_no_byte() {
    for (name, flags) in [
        ("reviews", ["--id", "row_id"].as_slice()),
        ("loans", &["--id", "row_id", "--label", "default"]),
        ("instructions", &[]),
        ("digits", &[]),
    ] {
        let with_threads = |threads: &str| {
            let flags: Vec<&str> = [flags, &["--threads", threads]].concat();
            scan(&fixture(name), &flags).judged().reproducible()
        };
        let one = with_threads("1");
        for expected in [
            "report.json",
            "findings.parquet",
            "scores/part-00000.parquet",
        ] {
            assert!(one.contains_key(expected), "{name}: {expected}");
        }
        assert!(one.keys().any(|path| path.starts_with("clean/")));
        assert_same(&one, &with_threads("2"));
        assert_same(&one, &with_threads("2"));
        assert_same(&one, &with_threads("5"));
    }
}

#[test]
fn the_order_in_which_files_are_named_changes_no_byte() {
    let files = files_below(&fixture("reviews"));
    let mut paths: Vec<&Path> = files.iter().map(std::path::PathBuf::as_path).collect();
    let ascending = scan_all(&paths, &["--id", "row_id"]);
    paths.reverse();
    let descending = scan_all(&paths, &["--id", "row_id"]);
    assert_same(
        &ascending.exits(1).reproducible(),
        &descending.exits(1).reproducible(),
    );
}

#[test]
fn where_the_dataset_lies_changes_no_byte() {
    let loans = LoanSet::generate(5, 400).to_record_batch().unwrap();
    let bytes = encode("loans.csv", &loans);
    let here = Dataset::of("loans.csv", &bytes);
    let there = Dataset::of("loans.csv", &bytes);
    let flags = ["--label", "default"];
    assert_same(
        &scan(&here.path(), &flags).judged().reproducible(),
        &scan(&there.path(), &flags).judged().reproducible(),
    );
}

#[test]
fn another_seed_draws_another_sample_but_finds_the_same_poison() {
    let seeded = |seed| scan(&fixture("reviews"), &["--id", "row_id", "--seed", seed]);
    let (one, two) = (seeded("1"), seeded("2"));
    assert_ne!(
        one.exits(1).text("report.json"),
        two.exits(1).text("report.json")
    );
    let (one, two) = (one.run.held(), two.run.held());
    let common = one.intersection(&two).count();
    assert!(common >= 124, "{common} of {} and {}", one.len(), two.len());
}

#[test]
fn row_groups_and_files_do_not_decide_who_is_held_back() {
    let set = poisoned_reviews(1_500);
    let batch = set.to_record_batch().unwrap();
    let whole = Dataset::of("part-0.parquet", &parquet_bytes(&batch, 1_500).unwrap());
    let groups = Dataset::of("part-0.parquet", &parquet_bytes(&batch, 128).unwrap());
    let mut files = Dataset::new();
    for (idx, start) in (0..1_500).step_by(300).enumerate() {
        let part = parquet_bytes(&batch.slice(start, 300), 100).unwrap();
        files = files.with(&format!("part-{idx}.parquet"), &part);
    }
    let scanned = |data: &Dataset| scan(&data.path(), &["--id", "row_id"]);
    let expected = scanned(&whole).exits(1).held();
    assert!(expected.len() >= 78, "{} held back", expected.len());
    for (data, about) in [(&groups, "row groups of 128"), (&files, "five files")] {
        scanned(data).exits(1).holds_exactly(&expected, about);
    }
}

#[test]
fn the_read_order_of_memory_sized_batches_does_not_decide_who_is_held_back() {
    let narrow = scan(
        &fixture("reviews"),
        &["--id", "row_id", "--memory", "64MiB"],
    );
    let wide = scan(&fixture("reviews"), &["--id", "row_id", "--memory", "2GiB"]);
    assert_eq!(narrow.exits(1).held(), wide.exits(1).held());
}
