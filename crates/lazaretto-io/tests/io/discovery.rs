use std::fs;

use lazaretto_io::{Compression, Format, IoError, discover};

use crate::support::Place;

fn found(inputs: &[String]) -> Vec<String> {
    discover(inputs)
        .unwrap()
        .files
        .into_iter()
        .map(|file| file.relative)
        .collect()
}

#[test]
fn folders_files_and_globs_find_the_same_files() {
    let place = Place::new();
    let data = place.data();
    fs::create_dir_all(data.join("lang=de/part")).unwrap();
    fs::create_dir_all(data.join("_logs")).unwrap();
    for name in [
        "b.csv",
        "a.jsonl.gz",
        "lang=de/part/c.parquet",
        ".hidden.csv",
        "_SUCCESS",
        "_logs/x.csv",
        "README.md",
    ] {
        fs::write(data.join(name), name).unwrap();
    }
    fs::write(data.join("array.json"), " [{}]").unwrap();
    let discovery = discover(&[data.display().to_string()]).unwrap();
    let files: Vec<_> = discovery
        .files
        .iter()
        .map(|file| file.relative.as_str())
        .collect();
    assert_eq!(files, ["a.jsonl.gz", "b.csv", "lang=de/part/c.parquet"]);
    assert_eq!(discovery.name, "data");
    assert_eq!(
        (discovery.files[0].format, discovery.files[0].compression),
        (Format::JsonLines, Compression::Gzip)
    );
    assert_eq!(
        discovery.files[2].partitions,
        [("lang".to_owned(), "de".to_owned())]
    );
    assert_eq!(
        discovery.files[1].digest,
        *blake3::hash(b"b.csv").as_bytes()
    );
    let skipped: Vec<_> = discovery
        .skipped
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    assert_eq!(
        skipped,
        [
            ".hidden.csv",
            "README.md",
            "_SUCCESS",
            "_logs",
            "array.json"
        ]
    );
    assert!(discovery.skipped[4].reason.contains("JSON array"));

    assert_eq!(found(&[format!("{}/*.csv", data.display())]), ["b.csv"]);
    assert_eq!(
        found(&[format!("{}/**/*.{{parquet,csv}}", data.display())]),
        ["b.csv", "lang=de/part/c.parquet"]
    );
    assert_eq!(
        found(&[data.join("b.csv").display().to_string()]),
        ["b.csv"]
    );
    let both = [data.join("lang=de"), data.join("b.csv")].map(|path| path.display().to_string());
    assert_eq!(found(&both), ["b.csv", "lang=de/part/c.parquet"]);
    let twice = [data.clone(), data.join("b.csv")].map(|path| path.display().to_string());
    assert_eq!(found(&twice).len(), 3, "a file named twice is read once");
}

#[test]
fn errors_say_what_to_do() {
    let place = Place::new();
    let error = |path: String| discover(&[path]).unwrap_err();
    let empty = error(place.data().display().to_string());
    assert!(matches!(empty, IoError::EmptyFolder { .. }));
    assert!(empty.hint().unwrap().contains(".parquet"));
    assert!(matches!(
        error("no/such/place".to_owned()),
        IoError::PathMissing { .. }
    ));
    assert!(matches!(
        error(format!("{}/*.csv", place.data().display())),
        IoError::NothingMatches { .. }
    ));
    fs::write(place.data().join("notes.txt"), "x").unwrap();
    let unknown = error(place.data().display().to_string());
    assert!(unknown.to_string().contains("notes.txt"), "{unknown}");
}

#[test]
fn an_earlier_run_inside_the_data_is_not_scanned_again() {
    let place = Place::new();
    let data = place.data();
    fs::write(data.join("a.csv"), "a\n1\n").unwrap();
    for name in ["scores/part-00000.parquet", "clean/a.csv", "manifest.json"] {
        let path = data.join("run").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let discovery = discover(&[data.display().to_string()]).unwrap();
    assert_eq!(discovery.files.len(), 1);
    assert_eq!(discovery.skipped[0].path, "run");
}

#[cfg(unix)]
#[test]
fn links_that_leave_the_folder_are_not_followed() {
    let place = Place::new();
    fs::write(place.scratch().join("secret.csv"), "a\n1\n").unwrap();
    fs::write(place.data().join("a.csv"), "a\n1\n").unwrap();
    std::os::unix::fs::symlink(place.scratch(), place.data().join("out")).unwrap();
    std::os::unix::fs::symlink(
        place.scratch().join("secret.csv"),
        place.data().join("s.csv"),
    )
    .unwrap();
    std::os::unix::fs::symlink("a.csv", place.data().join("inside.csv")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.data().join("dangling.csv")).unwrap();
    let discovery = discover(&[place.data().display().to_string()]).unwrap();
    let files: Vec<_> = discovery
        .files
        .iter()
        .map(|file| file.relative.as_str())
        .collect();
    assert_eq!(files, ["a.csv", "inside.csv"]);
    assert_eq!(discovery.skipped.len(), 3);
}
