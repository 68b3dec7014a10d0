//! Files that break decoders end as unscanned, whatever they do to the process that reads them.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use lazaretto_testkit::damage::{Footer, damaged, hostile_texts};
use lazaretto_testkit::files::{csv_bytes, jsonl_gz_bytes, parquet_bytes};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use crate::harness::{RunFolder, scan};

/// Cheap, and applicable to any columns.
const QUICK: &[&str] = &["--only", "exact-duplicates", "--fail-on", "never"];

fn records(from: i64, rows: i64) -> RecordBatch {
    let numbers: Vec<i64> = (from..from + rows).collect();
    let words: Vec<String> = numbers
        .iter()
        .map(|number| format!("word {} of {}", number * 31 % 17, number % 5))
        .collect();
    let nothing: Vec<Option<&str>> = numbers
        .iter()
        .map(|number| (number % 3 > 0).then_some("now and then"))
        .collect();
    RecordBatch::try_from_iter([
        ("number", Arc::new(Int64Array::from(numbers)) as ArrayRef),
        ("words", Arc::new(StringArray::from(words)) as ArrayRef),
        ("sparse", Arc::new(StringArray::from(nothing)) as ArrayRef),
    ])
    .unwrap()
}

fn arrow_file(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch.slice(0, 60)).unwrap();
    writer.write(&batch.slice(60, 60)).unwrap();
    writer.into_inner().unwrap()
}

fn arrow_stream(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

/// Scans damaged copies of a file beside a good one.
fn scan_damaged(name: &str, extension: &str, bytes: &[u8], footer: Footer, cases: u64) {
    for first in (0..cases).step_by(200) {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join(format!("a-good.{extension}")), bytes).unwrap();
        for case in first..first + 200 {
            let path = data.join(format!("case-{case:05}.{extension}"));
            fs::write(path, damaged(bytes, footer, case)).unwrap();
        }
        let scan = scan(&data, QUICK);
        // 3: something is unscanned. A scan that dies, or loses a file, ends otherwise.
        let run = scan.exits(3);
        every_file_is_accounted_for(run, &data);
        println!("{name}: cases {first} to {}", first + 199);
    }
}

/// Every file is scanned or has a reason and its bytes under `unscanned/`.
fn every_file_is_accounted_for(run: &RunFolder, data: &Path) {
    let report = run.report();
    let files = report["dataset"]["files"].as_array().unwrap();
    let skipped = report["dataset"]["skipped"].as_array().unwrap();
    let on_disk = fs::read_dir(data).unwrap().count();
    assert_eq!(files.len() + skipped.len(), on_disk);
    for file in files {
        let path = file["path"].as_str().unwrap();
        if file["records"].is_null() {
            let reason = file["unscanned_reason"].as_str().unwrap();
            assert!(!reason.is_empty(), "{path}");
            assert_eq!(
                fs::read(run.path(&format!("unscanned/{path}"))).unwrap(),
                fs::read(data.join(path)).unwrap(),
                "{path}"
            );
        }
    }
}

#[test]
fn damaged_parquet_files_end_as_unscanned() {
    let bytes = parquet_bytes(&records(0, 120), 50).unwrap();
    scan_damaged("parquet", "parquet", &bytes, Footer::Parquet, 800);
}

#[test]
fn damaged_arrow_files_end_as_unscanned() {
    let bytes = arrow_file(&records(0, 120));
    scan_damaged("arrow file", "arrow", &bytes, Footer::Arrow, 600);
    let bytes = arrow_stream(&records(0, 120));
    scan_damaged("arrow stream", "arrow", &bytes, Footer::None, 400);
}

#[test]
fn damaged_text_files_end_as_unscanned() {
    let bytes = csv_bytes(&records(0, 120)).unwrap();
    scan_damaged("csv", "csv", &bytes, Footer::None, 200);
    let bytes = jsonl_gz_bytes(&records(0, 120)).unwrap();
    scan_damaged("jsonl", "jsonl.gz", &bytes, Footer::None, 200);
}

#[test]
fn hostile_texts_end_as_records_or_as_unscanned() {
    for (name, bytes) in hostile_texts() {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join(name), bytes).unwrap();
        let extension = name.split_once('.').unwrap().1;
        let good = data.join(format!("a-good.{extension}"));
        match extension {
            "csv" => fs::write(good, "a,b\n1,2\n3,4\n").unwrap(),
            "jsonl" => fs::write(good, "{\"a\":1,\"b\":2}\n").unwrap(),
            _ => fs::write(data.join("a-good.csv"), "a,b\n1,2\n3,4\n").unwrap(),
        }
        let scan = scan(&data, QUICK);
        assert!(
            [0, 3].contains(&scan.outcome.code),
            "{name}: {} {}",
            scan.outcome.code,
            scan.outcome.stderr
        );
        every_file_is_accounted_for(&scan.run, &data);
    }
}

/// A valid Parquet file of a few kilobytes whose every record is `bytes` long.
fn swollen(path: &Path, rows: usize, bytes: usize) {
    let value = "x".repeat(bytes);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_page_size_limit(1 << 30)
        .build();
    let of = |rows: usize| {
        let values: Vec<&str> = vec![&value; rows];
        RecordBatch::try_from_iter([("text", Arc::new(StringArray::from(values)) as ArrayRef)])
            .unwrap()
    };
    let schema: SchemaRef = of(0).schema();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(path).unwrap(), schema, Some(properties)).unwrap();
    for _ in 0..rows / 8 {
        writer.write(&of(8)).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn a_small_file_that_asks_for_gigabytes_costs_its_decoder_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    swollen(&data.join("swollen.parquet"), 512, 8 << 20);
    let size = fs::metadata(data.join("swollen.parquet")).unwrap().len();
    assert!(size < 1 << 20, "{size} bytes are not few");
    swollen(&data.join("a-good.parquet"), 64, 10);
    let scan = scan(&data, &[QUICK, &["--memory", "256MiB"]].concat());
    let run = scan.exits(3);
    let report = run.report();
    let files = report["dataset"]["files"].as_array().unwrap();
    assert_eq!(files[0]["unscanned"], 0);
    assert_eq!(files[1]["unscanned"], 512);
    let reason = files[1]["unscanned_reason"].as_str().unwrap();
    assert!(reason.contains("memory"), "{reason}");
    assert!(run.path("unscanned/swollen.parquet").exists());
}

#[test]
fn a_bomb_is_not_unpacked_to_its_end() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("a-good.csv"), "a\n1\n").unwrap();
    let file = fs::File::create(data.join("bomb.csv.gz")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::best());
    std::io::copy(&mut std::io::repeat(b'1').take(512 << 20), &mut gzip).unwrap();
    gzip.finish().unwrap();
    let started = Instant::now();
    let scan = scan(&data, QUICK);
    let report = scan.exits(3).report();
    let reason = report["dataset"]["files"][1]["unscanned_reason"]
        .as_str()
        .unwrap();
    assert!(reason.contains("unpacks to more than"), "{reason}");
    assert!(started.elapsed() < Duration::from_mins(1));
}

#[test]
fn the_report_says_what_the_decoders_were_shut_into() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data.parquet");
    fs::write(&data, parquet_bytes(&records(0, 120), 50).unwrap()).unwrap();
    let isolated = scan(&data, QUICK);
    let run = isolated.exits(0);
    let sandbox = &run.report()["settings"]["decoding"]["sandbox"];
    assert_eq!(sandbox["resource_limits"], cfg!(unix));
    assert!(
        run.text("report.html")
            .contains("decoded in processes of their own")
    );

    let trusted = scan(&data, &[QUICK, &["--trusted-input"]].concat());
    let trusted = trusted.exits(0);
    assert!(trusted.report()["settings"]["decoding"]["sandbox"].is_null());
    // Where decoders run changes nothing else.
    let scores = |run: &RunFolder| {
        let folder = run.path("scores");
        crate::harness::contents(&folder)
    };
    assert_eq!(scores(run), scores(trusted));
}

#[test]
fn a_complete_sandbox_is_used_or_refused() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data.csv");
    fs::write(&data, "a,b\n1,2\n").unwrap();
    let scan = scan(&data, &[QUICK, &["--require-sandbox"]].concat());
    match scan.outcome.code {
        0 => {
            let sandbox = scan.run.report()["settings"]["decoding"]["sandbox"].clone();
            for part in ["resource_limits", "file_access", "system_calls"] {
                assert_eq!(sandbox[part], true, "{part}");
            }
        }
        2 => {
            let error = &scan.outcome.stderr;
            assert!(
                error.contains("complete sandbox") && error.contains("hint:"),
                "{error}"
            );
        }
        other => panic!("exit code {other}"),
    }
}
