//! Digests that a dataset records of its own files.

use std::fs;
use std::path::Path;

use lazaretto_core::Comparison;
use lazaretto_io::{check_recorded, discover};

use crate::support::Place;

// Of `abc`: FIPS 180-2 (SHA-1, SHA-256), RFC 1321 (MD5), `git hash-object` 2.39 and `b3sum` 1.5.
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";
const BLOB: &str = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";
const BLAKE3: &str = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";

/// What is recorded below `data` and how it compares: path, record, algorithm, outcome.
fn checked(data: &Path) -> Vec<(String, String, String, &'static str)> {
    let discovery = discover(&[data.display().to_string()]).unwrap();
    check_recorded(&discovery)
        .unwrap()
        .into_iter()
        .map(|recorded| {
            let outcome = match recorded.comparison {
                Comparison::Same => "same",
                Comparison::Differs(_) => "differs",
                Comparison::Missing => "missing",
            };
            (
                recorded.path,
                recorded.recorded_in,
                recorded.algorithm,
                outcome,
            )
        })
        .collect()
}

fn outcomes(data: &Path) -> Vec<&'static str> {
    checked(data).into_iter().map(|found| found.3).collect()
}

fn write(data: &Path, relative: &str, text: &str) {
    let path = data.join(relative);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn every_kind_of_record_is_compared() {
    let place = Place::new();
    let data = place.data();
    write(&data, "a.csv", "abc");
    write(&data, "b.csv", "abd");
    for (name, digest) in [
        ("SHA256SUMS", SHA256),
        ("SHA1SUMS", SHA1),
        ("MD5SUMS", MD5),
        ("B3SUMS", BLAKE3),
    ] {
        write(
            &data,
            name,
            &format!("{digest}  a.csv\n{digest} *./b.csv\n"),
        );
        assert_eq!(outcomes(&data), ["same", "differs"], "{name}");
        fs::remove_file(data.join(name)).unwrap();
    }
    write(&data, "a.csv.sha256", SHA256);
    write(&data, "b.csv.md5", &format!("{MD5}  b.csv\n"));
    assert_eq!(outcomes(&data), ["same", "differs"]);
    fs::remove_file(data.join("a.csv.sha256")).unwrap();
    fs::remove_file(data.join("b.csv.md5")).unwrap();
    let notes = ".cache/huggingface/download";
    write(
        &data,
        &format!("{notes}/a.csv.metadata"),
        &format!("main\n{BLOB}\n1.0\n"),
    );
    write(
        &data,
        &format!("{notes}/b.csv.metadata"),
        &format!("main\n{SHA256}\n1.0\n"),
    );
    let found = checked(&data);
    assert_eq!((found[0].2.as_str(), found[0].3), ("git blob id", "same"));
    assert_eq!((found[1].2.as_str(), found[1].3), ("SHA-256", "differs"));
}

#[test]
fn a_croissant_description_is_no_data_and_its_digests_are_compared() {
    let place = Place::new();
    let data = place.data();
    write(&data, "data/a.csv", "abc");
    let description = format!(
        "{{\n \"@context\": {{}},\n \"distribution\": [\n  {{\"contentUrl\": \"https://example.com/x/main/data/a.csv\", \"sha256\": \"{SHA256}\"}},\n  {{\"contentUrl\": \"data/gone.csv\", \"md5\": \"{MD5}\"}},\n  {{\"contentUrl\": \"notes.txt\", \"md5\": \"{MD5}\"}}\n ]\n}}\n"
    );
    write(&data, "croissant.json", &description);
    let discovery = discover(&[data.display().to_string()]).unwrap();
    assert_eq!(discovery.files.len(), 1, "the description is no data");
    assert!(discovery.skipped[0].reason.contains("Croissant"));
    let found = checked(&data);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((found[0].0.as_str(), found[0].3), ("data/a.csv", "same"));
    assert_eq!(
        (found[1].0.as_str(), found[1].3),
        ("data/gone.csv", "missing")
    );
    // The same name with other content is data, as before.
    write(&data, "metadata.json", "{\"a\": 1}\n{\"a\": 2}\n");
    assert_eq!(
        discover(&[data.display().to_string()]).unwrap().files.len(),
        2
    );
}

#[test]
fn records_apply_to_their_folder_and_cannot_lead_out_of_it() {
    let place = Place::new();
    let data = place.data();
    write(&data, "a.csv", "abc");
    write(&data, "sub/b.csv", "abc");
    // Outside of the input: neither read nor believed.
    write(&place.scratch(), "secret.csv", "abc");
    write(
        data.parent().unwrap(),
        "SHA256SUMS",
        &format!("{MD5}{MD5}  data/a.csv\n"),
    );
    write(
        &data,
        "sub/SHA256SUMS",
        &format!(
            "{SHA256}  b.csv\n{SHA256}  ../a.csv\n{SHA256}  ../../scratch/secret.csv\n{SHA256}  /etc/passwd\n{SHA256}  gone.csv\n"
        ),
    );
    let found = checked(&data);
    let paths: Vec<_> = found
        .iter()
        .map(|found| (found.0.as_str(), found.3))
        .collect();
    assert_eq!(paths, [("sub/b.csv", "same"), ("sub/gone.csv", "missing")]);
}

#[test]
fn what_is_there_and_was_not_selected_is_not_missing() {
    let place = Place::new();
    let data = place.data();
    write(&data, "a.csv", "abc");
    write(&data, "b.csv", "other");
    write(
        &data,
        "SHA256SUMS",
        &format!("{SHA256}  a.csv\n{SHA256}  b.csv\n{SHA256}  README.md\n"),
    );
    let one = discover(&[data.join("a.csv").display().to_string()]).unwrap();
    let recorded = check_recorded(&one).unwrap();
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].comparison, Comparison::Same);
}

#[cfg(unix)]
#[test]
fn records_behind_links_are_not_read() {
    let place = Place::new();
    let data = place.data();
    write(&data, "a.csv", "abc");
    write(&place.scratch(), "list", &format!("{MD5}{MD5}  a.csv\n"));
    std::os::unix::fs::symlink(place.scratch().join("list"), data.join("SHA256SUMS")).unwrap();
    assert!(checked(&data).is_empty());
}

#[test]
fn a_pointer_is_unscanned_and_not_taken_for_text() {
    let place = Place::new();
    let data = place.data();
    write(&data, "a.csv", "x,y\n1,2\n");
    write(
        &data,
        "b.csv",
        &format!("version https://git-lfs.github.com/spec/v1\noid sha256:{SHA256}\nsize 3\n"),
    );
    write(&data, "SHA256SUMS", &format!("{SHA256}  b.csv\n"));
    let dataset = place.open();
    let problem = dataset.files()[1].problem.as_deref().unwrap();
    assert!(
        problem.contains("git lfs pull") && problem.contains(SHA256),
        "{problem}"
    );
    assert_eq!(dataset.n_rows(), 1);
    assert_eq!(outcomes(&data), ["missing"], "the file itself is not here");
}
