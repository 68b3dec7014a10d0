//! Runs the command and reads what it leaves behind.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A dataset under `fixtures/`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    root().join("fixtures").join(name)
}

/// The built command. It lies two folders above this test's executable.
pub(crate) fn executable() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    let path = folder.join(format!("lazaretto{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.exists(),
        "`{}` is not built; run `cargo test --release`, which builds it",
        path.display()
    );
    path
}

/// The command with nothing in its environment that could change what it prints.
pub(crate) fn command() -> Command {
    let mut command = Command::new(executable());
    for name in ["NO_COLOR", "RUST_LOG", "RUST_BACKTRACE", "COLUMNS"] {
        command.env_remove(name);
    }
    command
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            // A process ended by a signal has no code; none of ours is negative.
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout.clone()).unwrap(),
            stderr: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// The same, after checking the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Checks that each of `words` is in the error output.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(
                self.stderr.contains(word),
                "`{word}` is missing in:\n{}",
                self.stderr
            );
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// Runs the command to its end.
pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    Outcome::of(&command().args(arguments).output().unwrap())
}

/// A scan into a temporary run folder.
pub(crate) struct Scan {
    pub(crate) outcome: Outcome,
    pub(crate) run: RunFolder,
    _folder: TempDir,
}

/// Scans `input` with `flags` besides `--out` and `--quiet`.
pub(crate) fn scan(input: &Path, flags: &[&str]) -> Scan {
    scan_all(&[input], flags)
}

/// Scans several inputs as one dataset.
pub(crate) fn scan_all(inputs: &[&Path], flags: &[&str]) -> Scan {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("run");
    let output = command()
        .arg("scan")
        .args(inputs)
        .arg("--quiet")
        .arg("--out")
        .arg(&out)
        .args(flags)
        .output()
        .unwrap();
    Scan {
        outcome: Outcome::of(&output),
        run: RunFolder(out),
        _folder: folder,
    }
}

impl Scan {
    /// The run folder, after checking the exit code.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &RunFolder {
        assert_eq!(self.outcome.code, code, "{}", self.outcome.stderr);
        &self.run
    }

    /// The run folder of a scan that came to a verdict: the gate passed or failed.
    #[track_caller]
    pub(crate) fn judged(&self) -> &RunFolder {
        assert!(
            [0, 1].contains(&self.outcome.code),
            "exit code {}: {}",
            self.outcome.code,
            self.outcome.stderr
        );
        &self.run
    }
}

/// One row of `scores/`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Score {
    pub(crate) file: String,
    pub(crate) row_hash: String,
    pub(crate) fused: Option<f32>,
    pub(crate) p_value: Option<f64>,
    pub(crate) verdict: String,
}

/// The folder of a finished run.
pub(crate) struct RunFolder(pub(crate) PathBuf);

impl RunFolder {
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.0.join(relative)
    }

    pub(crate) fn text(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    pub(crate) fn json(&self, relative: &str) -> Value {
        serde_json::from_str(&self.text(relative)).unwrap()
    }

    pub(crate) fn report(&self) -> Value {
        self.json("report.json")
    }

    /// Titles of all findings, one a line.
    pub(crate) fn titles(&self) -> String {
        let report = self.report();
        let titles: Vec<&str> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| finding["title"].as_str().unwrap())
            .collect();
        titles.join("\n")
    }

    /// Ids of the detectors that ran.
    pub(crate) fn ran(&self) -> Vec<String> {
        let report = self.report();
        let detectors = report["detectors"].as_array().unwrap().iter();
        detectors
            .filter(|detector| detector["status"] == "ran")
            .map(|detector| detector["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The rows of `scores/` by record id.
    pub(crate) fn scores(&self) -> BTreeMap<String, Score> {
        let mut scores = BTreeMap::new();
        for path in files_below(&self.path("scores")) {
            for batch in parquet_batches(&path) {
                let texts = |name| texts(&batch, name);
                let (ids, files, hashes) = (texts("record_id"), texts("file"), texts("row_hash"));
                let verdicts = texts("verdict");
                let score = batch.column_by_name("score").unwrap();
                let score = score.as_primitive::<Float32Type>();
                let p_value = batch.column_by_name("p_value").unwrap();
                let p_value = p_value.as_primitive::<Float64Type>();
                for row in 0..batch.num_rows() {
                    let line = Score {
                        file: files[row].clone().unwrap(),
                        row_hash: hashes[row].clone().unwrap_or_default(),
                        fused: score.is_valid(row).then(|| score.value(row)),
                        p_value: p_value.is_valid(row).then(|| p_value.value(row)),
                        verdict: verdicts[row].clone().unwrap(),
                    };
                    let id = ids[row].clone().unwrap();
                    assert!(scores.insert(id.clone(), line).is_none(), "`{id}` twice");
                }
            }
        }
        scores
    }

    /// Ids of the records with this verdict.
    pub(crate) fn with_verdict(&self, verdict: &str) -> BTreeSet<String> {
        self.scores()
            .into_iter()
            .filter(|(_, score)| score.verdict == verdict)
            .map(|(id, _)| id)
            .collect()
    }

    /// Ids of the records held back.
    pub(crate) fn held(&self) -> BTreeSet<String> {
        self.with_verdict("quarantine")
    }

    /// Checks that exactly `expected` are held back.
    #[track_caller]
    pub(crate) fn holds_exactly(&self, expected: &BTreeSet<String>, about: &str) {
        let held = self.held();
        let more: Vec<_> = held.difference(expected).collect();
        let less: Vec<_> = expected.difference(&held).collect();
        assert!(
            more.is_empty() && less.is_empty(),
            "{about}: {} more held back, such as {:?}; {} not, such as {:?}\n{}",
            more.len(),
            more.iter().take(8).collect::<Vec<_>>(),
            less.len(),
            less.iter().take(8).collect::<Vec<_>>(),
            self.titles()
        );
    }

    /// Bytes by relative path of everything that the same input must give again.
    pub(crate) fn reproducible(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = contents(&self.0);
        assert!(files.remove("timings.json").is_some());
        files
    }
}

/// The files below `folder`, sorted; empty when there is no such folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Bytes of the files below `folder` by relative path.
pub(crate) fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    files_below(folder)
        .into_iter()
        .map(|path| {
            let relative = path.strip_prefix(folder).unwrap().to_str().unwrap();
            (relative.replace('\\', "/"), fs::read(&path).unwrap())
        })
        .collect()
}

/// The batches of a Parquet file.
#[track_caller]
pub(crate) fn parquet_batches(path: &Path) -> Vec<RecordBatch> {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

/// The Arrow schema of a Parquet file with its metadata, which batches do not carry.
pub(crate) fn parquet_schema(path: &Path) -> SchemaRef {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    Arc::clone(reader.schema())
}

/// A column as text.
#[track_caller]
pub(crate) fn texts(batch: &RecordBatch, name: &str) -> Vec<Option<String>> {
    let column = batch
        .column_by_name(name)
        .unwrap_or_else(|| panic!("no column `{name}`"));
    let column = cast(column, &DataType::Utf8).unwrap();
    let values = column.as_string::<i32>();
    values
        .iter()
        .map(|value| value.map(str::to_owned))
        .collect()
}

/// A column of a whole Parquet file as text.
#[track_caller]
pub(crate) fn parquet_texts(path: &Path, name: &str) -> Vec<String> {
    parquet_batches(path)
        .iter()
        .flat_map(|batch| texts(batch, name))
        .map(Option::unwrap_or_default)
        .collect()
}
