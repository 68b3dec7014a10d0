//! Encryption at rest: what is held back is read with its key alone, and encrypted input stays encrypted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{IntervalMonthDayNanoArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::IntervalMonthDayNano;
use lazaretto_testkit::ReviewSet;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use crate::data::{Dataset, clean_reviews, columns, encode, poisoned_reviews, table};
use crate::harness::{Outcome, RunFolder, command, files_below, texts};

const QUARANTINE_KEY: &str = "LAZARETTO_QUARANTINE_KEY";
const INPUT_KEY: &str = "LAZARETTO_INPUT_KEY";
/// 16 bytes in base64.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";
/// The same.
const KEY_BYTES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// 32 bytes in hexadecimal: `+` each.
const OTHER: &str = "2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b";
const OTHER_BYTES: [u8; 32] = [0x2b; 32];

fn reviews() -> ReviewSet {
    poisoned_reviews(1_500)
}

struct Scanned {
    outcome: Outcome,
    run: RunFolder,
    _folder: TempDir,
}

impl Scanned {
    #[track_caller]
    fn exits(&self, code: i32) -> &RunFolder {
        assert_eq!(self.outcome.code, code, "{}", self.outcome.stderr);
        &self.run
    }
}

/// Scans with variables of the environment.
fn scan(input: &Path, variables: &[(&str, &str)], flags: &[&str]) -> Scanned {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("run");
    let output = with(command(), variables)
        .arg("scan")
        .arg(input)
        .args([
            "--quiet",
            "--id",
            "row_id",
            "--only",
            "text-trigger,hidden-text",
            "--out",
        ])
        .arg(&out)
        .args(flags)
        .output()
        .unwrap();
    Scanned {
        outcome: Outcome::of(&output),
        run: RunFolder(out),
        _folder: folder,
    }
}

fn with(mut command: Command, variables: &[(&str, &str)]) -> Command {
    for name in [QUARANTINE_KEY, INPUT_KEY] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
}

/// The records of a Parquet file that is read with `keys`: of the footer, and of columns.
fn decrypted(path: &Path, footer: &[u8], columns: &[(&str, &[u8])]) -> RecordBatch {
    let mut keys = FileDecryptionProperties::builder(footer.to_vec());
    for (column, key) in columns {
        keys = keys.with_column_key(column, key.to_vec());
    }
    let options = ArrowReaderOptions::new().with_file_decryption_properties(keys.build().unwrap());
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn ids(batch: &RecordBatch) -> BTreeSet<String> {
    texts(batch, "row_id")
        .into_iter()
        .map(Option::unwrap)
        .collect()
}

fn is_readable(path: &Path) -> bool {
    let file = fs::File::open(path).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).is_ok()
}

fn holds(bytes: &[u8], word: &str) -> bool {
    bytes
        .windows(word.len())
        .any(|window| window == word.as_bytes())
}

#[test]
fn what_is_held_back_is_read_with_its_key_alone() {
    let reviews = reviews().to_record_batch().unwrap();
    for name in [
        "reviews.parquet",
        "reviews.arrow",
        "reviews.ipc",
        "reviews.csv.gz",
    ] {
        // CSV has no lists.
        let reviews = columns(&reviews, &["row_id", "text", "label"]);
        let data = Dataset::of(name, &encode(name, &reviews));
        let scanned = scan(
            &data.path(),
            &[(QUARANTINE_KEY, KEY)],
            &["--encrypt-quarantine"],
        );
        let run = scanned.exits(1);
        let files = files_below(&run.path("quarantine"));
        assert_eq!(files.len(), 1, "{name}");
        let bytes = fs::read(&files[0]).unwrap();
        assert!(bytes.ends_with(b"PARE"), "{name}");
        assert!(!is_readable(&files[0]), "{name}");
        for word in ["row_id", "text-trigger", "_lazaretto"] {
            assert!(!holds(&bytes, word), "{name}: `{word}`");
        }
        let held = decrypted(&files[0], &KEY_BYTES, &[]);
        assert!(held.num_rows() >= 40, "{name}");
        assert_eq!(ids(&held), run.held(), "{name}");
        let evidence = held.schema().fields().last().unwrap().name().clone();
        assert_eq!(evidence, "_lazaretto", "{name}");
        assert!(
            run.text("report.json")
                .contains("`quarantine/` is encrypted"),
            "{name}"
        );

        // The rest of the commands: digests need no key, the record itself does.
        let verified = command().arg("verify").arg(&run.0).output().unwrap();
        Outcome::of(&verified).exits(1);
        let record = run.held().into_iter().next().unwrap();
        let explain = |variables: &[(&str, &str)]| {
            let mut command = with(command(), variables);
            Outcome::of(
                &command
                    .arg("explain")
                    .arg(&run.0)
                    .arg(&record)
                    .output()
                    .unwrap(),
            )
        };
        let explained = explain(&[(QUARANTINE_KEY, KEY)]).exits(0);
        assert!(
            explained.stdout.contains("Record\n  text "),
            "{}",
            explained.stdout
        );
        explain(&[])
            .exits(2)
            .says(&["is encrypted", QUARANTINE_KEY]);
    }
}

#[test]
fn nothing_is_written_in_clear_when_a_key_is_missing() {
    let reviews = reviews().to_record_batch().unwrap();
    let data = Dataset::of("reviews.parquet", &encode("reviews.parquet", &reviews));
    let missing = scan(&data.path(), &[], &["--encrypt-quarantine"]);
    assert!(!missing.exits(2).0.exists());
    assert!(
        missing.outcome.stderr.contains(QUARANTINE_KEY),
        "{}",
        missing.outcome.stderr
    );

    let bad = scan(
        &data.path(),
        &[(QUARANTINE_KEY, "hunter2hunter2")],
        &["--encrypt-quarantine"],
    );
    assert!(!bad.exits(2).0.exists());
    let said = &bad.outcome.stderr;
    assert!(
        said.contains("16 or 32 bytes") && !said.contains("hunter2"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn a_program_can_know_the_key() {
    let reviews = reviews().to_record_batch().unwrap();
    let data = Dataset::of("reviews.parquet", &encode("reviews.parquet", &reviews));
    let folder = TempDir::new().unwrap();
    let pipeline = |command: &str| {
        let path = folder.path().join("keys.toml");
        fs::write(
            &path,
            format!("[encryption]\nquarantine = {{ command = {command} }}\n"),
        )
        .unwrap();
        path.to_str().unwrap().to_owned()
    };
    let knows = pipeline(&format!(r#"["printf", "%s\\n", "{OTHER}"]"#));
    let scanned = scan(&data.path(), &[], &["--pipeline", &knows]);
    let run = scanned.exits(1);
    let files = files_below(&run.path("quarantine"));
    assert_eq!(ids(&decrypted(&files[0], &OTHER_BYTES, &[])), run.held());
    let record = run.held().into_iter().next().unwrap();
    let mut explain = with(command(), &[]);
    explain
        .arg("explain")
        .arg(&run.0)
        .arg(&record)
        .args(["--pipeline", &knows]);
    Outcome::of(&explain.output().unwrap()).exits(0);

    let fails = pipeline(r#"["sh", "-c", "echo s3cr3t; echo s3cr3t >&2; exit 9"]"#);
    let failed = scan(&data.path(), &[], &["--pipeline", &fails]);
    assert!(!failed.exits(2).0.exists());
    let said = &failed.outcome.stderr;
    assert!(
        said.contains("`sh`") && said.contains('9') && !said.contains("s3cr3t"),
        "{said}"
    );
}

/// The reviews as an encrypted Parquet file.
fn encrypted(keys: Arc<FileEncryptionProperties>) -> (RecordBatch, Vec<u8>) {
    let reviews = reviews().to_record_batch().unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(700))
        .with_file_encryption_properties(keys)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), reviews.schema(), Some(properties)).unwrap();
    writer.write(&reviews).unwrap();
    let bytes = writer.into_inner().unwrap();
    (reviews, bytes)
}

#[test]
fn what_comes_from_encrypted_input_is_encrypted_as_the_input_is() {
    let keys = FileEncryptionProperties::builder(KEY_BYTES.to_vec())
        .build()
        .unwrap();
    let (reviews, bytes) = encrypted(keys);
    let data = Dataset::of("reviews.parquet", &bytes);
    for flags in [&[][..], &["--trusted-input"]] {
        let scanned = scan(&data.path(), &[(INPUT_KEY, KEY)], flags);
        let run = scanned.exits(1);
        let (mut all, mut count) = (BTreeSet::new(), 0);
        for folder in ["clean", "quarantine"] {
            let files = files_below(&run.path(folder));
            assert!(!is_readable(&files[0]), "{folder}");
            let records = decrypted(&files[0], &KEY_BYTES, &[]);
            count += records.num_rows();
            all.extend(ids(&records));
        }
        assert_eq!((all, count), (ids(&reviews), reviews.num_rows()));
    }

    // With a key of its own, quarantine is no longer for those who may read the input.
    let own = [(INPUT_KEY, KEY), (QUARANTINE_KEY, OTHER)];
    let scanned = scan(&data.path(), &own, &["--encrypt-quarantine"]);
    let run = scanned.exits(1);
    let files = files_below(&run.path("quarantine"));
    assert_eq!(ids(&decrypted(&files[0], &OTHER_BYTES, &[])), run.held());
}

#[test]
fn columns_keep_keys_of_their_own() {
    let keys = FileEncryptionProperties::builder(KEY_BYTES.to_vec())
        .with_plaintext_footer(true)
        .with_column_key_and_metadata("text", OTHER_BYTES.to_vec(), b"kms:text".to_vec())
        .build()
        .unwrap();
    let (reviews, bytes) = encrypted(keys);
    let data = Dataset::of("reviews.parquet", &bytes);
    let folder = TempDir::new().unwrap();
    let pipeline = folder.path().join("keys.toml");
    let text = "[encryption.inputs]\nfooter = { variable = \"LAKE\" }\ncolumns.text = { variable = \"TEXTS\" }\n";
    fs::write(&pipeline, text).unwrap();
    let flags = ["--pipeline", pipeline.to_str().unwrap()];
    let scanned = scan(&data.path(), &[("LAKE", KEY), ("TEXTS", OTHER)], &flags);
    let run = scanned.exits(1);
    let clean = &files_below(&run.path("clean"))[0];
    assert!(
        is_readable(clean),
        "the footer is as public as that of the input"
    );
    assert!(
        holds(&fs::read(clean).unwrap(), "kms:text"),
        "what the writer noted about the key"
    );
    let kept = decrypted(clean, &KEY_BYTES, &[("text", &OTHER_BYTES)]);
    let held = decrypted(&files_below(&run.path("quarantine"))[0], &KEY_BYTES, &[]);
    let all: BTreeSet<String> = ids(&kept).into_iter().chain(ids(&held)).collect();
    assert_eq!(all, ids(&reviews));

    let half = scan(&data.path(), &[("LAKE", KEY)], &flags);
    assert!(!half.exits(2).0.exists());
    assert!(
        half.outcome.stderr.contains("`TEXTS` is not set"),
        "{}",
        half.outcome.stderr
    );
}

#[test]
fn input_that_cannot_be_decrypted_is_unscanned() {
    let keys = FileEncryptionProperties::builder(KEY_BYTES.to_vec())
        .build()
        .unwrap();
    let (_, bytes) = encrypted(keys);
    let data = Dataset::of("secret.parquet", &bytes).with(
        "plain.parquet",
        &encode("plain.parquet", &clean_reviews(500)),
    );
    for (variables, reason) in [
        (&[][..], "no key was given (`LAZARETTO_INPUT_KEY`"),
        (&[(INPUT_KEY, OTHER)][..], "unable to decrypt"),
    ] {
        for flags in [&[][..], &["--trusted-input"]] {
            let scanned = scan(&data.path(), variables, flags);
            let run = scanned.exits(3);
            assert_eq!(
                fs::read(run.path("unscanned/secret.parquet")).unwrap(),
                bytes
            );
            let report = run.text("report.json");
            assert!(
                report.contains(reason),
                "{reason} not in\n{}",
                scanned.outcome.stderr
            );
        }
    }
}

#[test]
fn whoever_resumes_has_the_keys_of_the_run() {
    let reviews = reviews().to_record_batch().unwrap();
    let data = Dataset::of("reviews.parquet", &encode("reviews.parquet", &reviews));
    let scanned = scan(
        &data.path(),
        &[(QUARANTINE_KEY, KEY)],
        &["--encrypt-quarantine"],
    );
    let run = scanned.exits(1);
    let again = |key: &str| {
        let mut command = with(command(), &[(QUARANTINE_KEY, key)]);
        command.arg("scan").arg(data.path()).args([
            "--quiet",
            "--id",
            "row_id",
            "--only",
            "text-trigger,hidden-text",
            "--encrypt-quarantine",
            "--resume",
            "--out",
        ]);
        Outcome::of(&command.arg(&run.0).output().unwrap())
    };
    let before = fs::read(run.path("manifest.json")).unwrap();
    again(KEY).exits(1);
    let other = again(OTHER).exits(2).says(&["the keys of encrypted files"]);
    assert!(!other.stderr.contains("2b2b"), "{}", other.stderr);
    assert_eq!(fs::read(run.path("manifest.json")).unwrap(), before);
}

#[test]
fn what_can_be_guessed_from_is_not_written_beside_what_is_encrypted() {
    let reviews = reviews().to_record_batch().unwrap();
    let keys = FileEncryptionProperties::builder(KEY_BYTES.to_vec())
        .build()
        .unwrap();
    let properties = WriterProperties::builder()
        .set_bloom_filter_enabled(true)
        .set_max_row_group_row_count(Some(700))
        .with_file_encryption_properties(keys)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), reviews.schema(), Some(properties)).unwrap();
    writer.write(&reviews).unwrap();
    let data = Dataset::of("reviews.parquet", &writer.into_inner().unwrap());
    let scanned = scan(&data.path(), &[(INPUT_KEY, KEY)], &[]);
    let run = scanned.exits(1);
    for folder in ["clean", "quarantine"] {
        let keys = FileDecryptionProperties::builder(KEY_BYTES.to_vec());
        let options =
            ArrowReaderOptions::new().with_file_decryption_properties(keys.build().unwrap());
        let file = fs::File::open(&files_below(&run.path(folder))[0]).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
        for group in reader.metadata().row_groups() {
            for column in group.columns() {
                assert_eq!(
                    column.bloom_filter_offset(),
                    None,
                    "{folder}: a filter in clear"
                );
            }
        }
    }
}

#[test]
fn columns_that_cannot_be_encrypted_are_told_before_the_scan() {
    let months = IntervalMonthDayNanoArray::from_iter_values(
        (0..40).map(|row| IntervalMonthDayNano::new(row, 0, 0)),
    );
    let odd = table(vec![("months", Arc::new(months))]);
    let data = Dataset::of("odd.arrow", &encode("odd.arrow", &odd));
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("run");
    let run = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = with(command(), variables);
        command
            .arg("scan")
            .arg(data.path())
            .args(["--only", "exact-duplicates", "--out"]);
        Outcome::of(&command.arg(&out).args(flags).output().unwrap())
    };
    run(&[(QUARANTINE_KEY, KEY)], &["--encrypt-quarantine"])
        .exits(2)
        .says(&["`odd.arrow`", "encrypted as Parquet"]);
    run(&[], &[]).exits(0);
}
