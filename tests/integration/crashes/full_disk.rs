//! A disk that is really full: a small file system in memory, mounted in a namespace of its own.

use std::fs;
use std::process::Command;

use super::{EXIT, folder, reviews};
use crate::harness::Outcome;

/// Sizes of the disk in KiB: too small for the journal, for the scores, for a copy, and large enough.
const SIZES: [u32; 10] = [16, 40, 80, 120, 160, 240, 320, 480, 960, 8192];

#[test]
fn a_full_disk_ends_in_an_error_and_more_room_in_a_run() {
    let reviews = reviews();
    let folder = folder();
    let place = folder.path().join("disk");
    fs::create_dir(&place).unwrap();
    let possible = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "tmpfs"])
        .arg(&place)
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("skipped: no file system can be mounted here (`unshare -rm mount -t tmpfs`)");
        return;
    }
    let run = place.join("run");
    let quoted = |command: &Command| {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        words.join(" ")
    };
    let scan = quoted(&reviews.scan(&run));
    let mut failed = 0;
    for size in SIZES {
        let kept = folder.path().join(format!("kept-{size}"));
        // The disk is gone with the process that mounted it: what is to be looked at is copied out.
        let script = format!(
            "mount -t tmpfs -o size={size}k tmpfs '{place}'
            {scan}; echo \"code $?\" >&2
            ls -A '{place}' >&2
            mount -o remount,size=64m '{place}'
            {scan} --resume; echo \"resumed $?\" >&2
            cp -r '{place}' '{kept}'",
            place = place.display(),
            kept = kept.display(),
        );
        let output = Command::new("unshare")
            .args(["-rm", "sh", "-c", &script])
            .output();
        let said = Outcome::of(&output.unwrap()).stderr;
        if said.contains("code 74") {
            failed += 1;
            for words in ["error: failed to ", "the disk is full", "run.partial"] {
                assert!(said.contains(words), "{size} KiB, no `{words}`:\n{said}");
            }
        } else {
            assert!(
                said.contains(&format!("code {EXIT}")),
                "{size} KiB:\n{said}"
            );
        }
        assert!(
            said.contains(&format!("resumed {EXIT}")),
            "{size} KiB:\n{said}"
        );
        reviews.assert_done(&kept.join("run"), &format!("{size} KiB"));
    }
    println!("{failed} of {} disks were too small", SIZES.len());
    assert!(failed >= 4 && failed < SIZES.len(), "{failed}");
}
