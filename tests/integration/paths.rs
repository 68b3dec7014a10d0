//! Names and kinds of files that lead astray: nothing outside of the input is read, nothing outside of the run
//! folder is written, and no file is passed over in silence.

#![cfg(unix)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::process::Command;

use tempfile::TempDir;

use crate::data::Dataset;
use crate::harness::{contents, run, scan};

/// Cheap, and applicable to any columns.
const QUICK: &[&str] = &["--only", "exact-duplicates", "--fail-on", "never"];

/// A small table whose values say where it comes from.
fn table(word: &str) -> Vec<u8> {
    let lines: Vec<String> = (0..40).map(|row| format!("{row},{word} {row}\n")).collect();
    format!("number,words\n{}", lines.concat()).into_bytes()
}

#[test]
fn files_of_any_name_are_scanned_and_written_below_the_run_folder() {
    let names: &[&[u8]] = &[
        b"new\nline.csv",
        b"\x1b[31mred\x1b[0m.csv",
        b"..\\..\\up.csv",
        b"...csv.csv",
        b"%2e%2e%2fup.csv",
        b"-rf.csv",
        b"a b'\"<script>&.csv",
        "r\u{202e}vsc.csv".as_bytes(),
        b"case.csv",
        b"CASE.csv",
    ];
    let data = Dataset::of("plain.csv", &table("plain"));
    for name in names {
        let name = OsStr::from_bytes(name);
        // Others start with `.` or `_` by convention when they are not meant.
        if !name.as_bytes().starts_with(b".") {
            fs::write(data.path().join(name), table("other")).unwrap();
        }
    }
    let before: Vec<_> = fs::read_dir(data.path().parent().unwrap())
        .unwrap()
        .collect();
    let scanned = scan(&data.path(), QUICK);
    let run = scanned.exits(0);
    assert_eq!(contents(&run.path("clean")), contents(&data.path()));
    let after: Vec<_> = fs::read_dir(data.path().parent().unwrap())
        .unwrap()
        .collect();
    assert_eq!(
        after.len(),
        before.len(),
        "nothing is written beside the input"
    );
    let folder = run.0.parent().unwrap();
    assert_eq!(
        fs::read_dir(folder).unwrap().count(),
        1,
        "nothing beside the run"
    );
    assert!(
        !scanned.outcome.stderr.contains('\u{1b}'),
        "{}",
        scanned.outcome.stderr
    );
}

#[test]
fn names_that_are_no_text_keep_their_files_apart() {
    let data = Dataset::of("plain.csv", &table("plain"));
    for name in [&b"bad\xff.csv"[..], b"bad\xfe.csv"] {
        if fs::write(data.path().join(OsStr::from_bytes(name)), table("bad")).is_err() {
            println!("skipped: this file system takes UTF-8 names only");
            return;
        }
    }
    let scanned = scan(&data.path(), QUICK);
    let clean = contents(&scanned.exits(0).path("clean"));
    let names: Vec<&str> = clean.keys().map(String::as_str).collect();
    assert_eq!(names, ["bad%FE.csv", "bad%FF.csv", "plain.csv"]);
    assert_eq!(clean["bad%FE.csv"], table("bad"));
}

#[test]
fn pipes_devices_and_links_are_told_and_not_opened() {
    let elsewhere = TempDir::new().unwrap();
    let secret = elsewhere.path().join("secret.csv");
    fs::write(&secret, table("zanzibar")).unwrap();
    let data = Dataset::of("plain.csv", &table("plain"));
    let at = |name: &str| data.path().join(name);
    let made = Command::new("mkfifo").arg(at("pipe.csv")).status().unwrap();
    assert!(made.success());
    symlink("/dev/zero", at("device.csv")).unwrap();
    symlink(&secret, at("link.csv")).unwrap();
    symlink(elsewhere.path(), at("folder")).unwrap();
    symlink("..", at("above")).unwrap();
    symlink("loop.csv", at("loop.csv")).unwrap();
    // This returns, although nobody writes to the pipe and the device never ends.
    let scanned = scan(&data.path(), QUICK);
    let run = scanned.exits(0);
    let clean = contents(&run.path("clean"));
    assert_eq!(clean.keys().collect::<Vec<_>>(), ["plain.csv"]);
    let report = run.report();
    let skipped: Vec<(&str, &str)> = report["dataset"]["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|skipped| {
            (
                skipped["path"].as_str().unwrap(),
                skipped["reason"].as_str().unwrap(),
            )
        })
        .collect();
    let leaves = "a symbolic link that leaves the folder";
    for expected in [
        ("pipe.csv", "a pipe, socket or device"),
        ("device.csv", leaves),
        ("link.csv", leaves),
        ("folder", leaves),
        ("above", leaves),
        ("loop.csv", "a symbolic link that leads nowhere"),
    ] {
        assert!(
            skipped.contains(&expected),
            "{expected:?} not in {skipped:?}"
        );
    }
    for (name, bytes) in contents(&run.0) {
        let found = bytes.windows(8).any(|window| window == b"zanzibar");
        assert!(!found, "{name}");
    }
}

#[test]
fn an_input_that_is_no_file_is_refused_at_once() {
    for input in ["/dev/zero", "/dev/null"] {
        let folder = TempDir::new().unwrap();
        let out = folder.path().join("run");
        run(["scan", input, "--out", out.to_str().unwrap()])
            .exits(2)
            .says(&[input, "pipe, socket or device"]);
        assert!(!out.exists());
    }
}

#[test]
fn what_is_held_back_never_takes_the_name_of_another_file() {
    let data = Dataset::of("a.csv", &table("one")).with("a.csv.parquet", b"PAR1PAR1");
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("run");
    let input = data.path();
    run([
        "scan",
        input.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
    ])
    .exits(2)
    .says(&["`a.csv.parquet`", "rename one of them"]);
}
