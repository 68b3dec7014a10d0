//! Files that break decoders end as unscanned, whatever they do to the process that reads them.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, AsArray as _, DictionaryArray, Int64Array, Int64Builder, ListBuilder, RecordBatch,
    StringArray, StructArray,
};
use arrow::datatypes::{Int32Type, SchemaRef};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use lazaretto_testkit::damage::{Footer, damaged, hostile_texts};
use lazaretto_testkit::files::{csv_bytes, jsonl_gz_bytes, parquet_bytes};
use lazaretto_testkit::lies::{lying_arrow, lying_parquet, with_buffer_size, with_page_size};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use crate::harness::{RunFolder, executable, scan};

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

/// Scans copies of a file that `damage` makes of it, beside a good one.
fn scan_damaged(
    name: &str,
    extension: &str,
    bytes: &[u8],
    damage: impl Fn(u64) -> Vec<u8>,
    cases: u64,
) {
    for first in (0..cases).step_by(200) {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join(format!("a-good.{extension}")), bytes).unwrap();
        for case in first..first + 200 {
            let path = data.join(format!("case-{case:05}.{extension}"));
            fs::write(path, damage(case)).unwrap();
        }
        let scan = scan(&data, QUICK);
        // 3: something is unscanned. A scan that dies, or loses a file, ends otherwise.
        let run = scan.exits(3);
        every_file_is_accounted_for(run, &data);
        let lost = lost_decoders(run);
        println!(
            "{name}: cases {first} to {}, {lost} lost decoders",
            first + 199
        );
    }
}

/// How many files ended a decoder, instead of being refused by it.
fn lost_decoders(run: &RunFolder) -> usize {
    let report = run.report();
    let files = report["dataset"]["files"].as_array().unwrap();
    let reasons = files
        .iter()
        .filter_map(|file| file["unscanned_reason"].as_str());
    let lost = ["decoding it ", "the decoder was ended", "the decoder ended"];
    let ended = reasons.filter(|reason| lost.iter().any(|words| reason.contains(words)));
    ended.inspect(|reason| println!("{reason}")).count()
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
    let damage = |case| damaged(&bytes, Footer::Parquet, case);
    scan_damaged("parquet", "parquet", &bytes, damage, 800);
}

/// Dictionaries, lists and structures, in pages that are not compressed, so that what damages them
/// reaches the decoders of values.
fn nested_parquet() -> Vec<u8> {
    let mut lists = ListBuilder::new(Int64Builder::new());
    for row in 0..120_i64 {
        if row % 7 == 0 {
            lists.append(false);
        } else {
            (0..row % 4).for_each(|item| lists.values().append_value(item));
            lists.append(true);
        }
    }
    let flat = records(0, 120);
    let pairs = StructArray::from(flat.clone());
    let columns: [(&str, ArrayRef); 4] = [
        ("lists", Arc::new(lists.finish())),
        ("pairs", Arc::new(pairs)),
        ("words", Arc::clone(flat.column(1))),
        ("sparse", Arc::clone(flat.column(2))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(50))
        .set_data_page_row_count_limit(20)
        .set_write_batch_size(10)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn parquet_files_that_lie_end_as_unscanned() {
    let bytes = nested_parquet();
    let lie = |case| lying_parquet(&bytes, case).unwrap();
    scan_damaged("lying parquet", "parquet", &bytes, lie, 600);
    let damage = |case| damaged(&bytes, Footer::Parquet, case);
    scan_damaged("nested parquet", "parquet", &bytes, damage, 400);
}

fn compressed_arrow(batch: &RecordBatch) -> Vec<u8> {
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::ZSTD))
        .unwrap();
    let mut writer =
        FileWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(&batch.slice(0, 60)).unwrap();
    writer.write(&batch.slice(60, 60)).unwrap();
    writer.into_inner().unwrap()
}

/// [`records`] with words as a dictionary.
fn with_dictionary() -> RecordBatch {
    let flat = records(0, 120);
    let words: DictionaryArray<Int32Type> =
        flat.column(1).as_string::<i32>().iter().flatten().collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("number", Arc::clone(flat.column(0))),
        ("words", Arc::new(words)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn arrow_files_that_lie_end_as_unscanned() {
    let bytes = compressed_arrow(&records(0, 120));
    let lie = |case| lying_arrow(&bytes, case);
    scan_damaged("lying arrow file", "arrow", &bytes, lie, 200);
    let bytes = arrow_stream(&with_dictionary());
    let lie = |case| lying_arrow(&bytes, case);
    scan_damaged("lying arrow stream", "arrow", &bytes, lie, 200);
}

/// The reason why the records of file `idx` are unscanned, of which there are `unscanned`.
fn refused(run: &RunFolder, idx: usize, unscanned: u64) -> String {
    let file = run.report()["dataset"]["files"][idx].clone();
    assert_eq!(file["unscanned"], unscanned, "{file}");
    file["unscanned_reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_page_that_asks_for_a_gibibyte_costs_its_row_group_before_it_is_decoded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data.parquet");
    let good = parquet_bytes(&records(0, 120), 50).unwrap();
    // Of 120 records 50, 50 and 20 are in a row group.
    fs::write(&path, with_page_size(&good, (2, 2), 1 << 30).unwrap()).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 4 << 10);
    let scan = scan(&path, QUICK);
    let reason = refused(scan.exits(3), 0, 20);
    // Refused by its header, not lost with a decoder.
    assert!(
        reason.contains("`sparse`") && reason.contains("asks for 1024.0 MiB"),
        "{reason}"
    );
    assert!(reason.contains("decoding.max_ratio"), "{reason}");
}

#[test]
fn a_buffer_that_asks_for_a_gibibyte_costs_its_record_batch_before_it_is_decoded() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data.arrow");
    let good = compressed_arrow(&records(0, 120));
    fs::write(&path, with_buffer_size(&good, 1, 1 << 30)).unwrap();
    let scan = scan(&path, QUICK);
    let reason = refused(scan.exits(3), 0, 60);
    assert!(
        reason.contains("buffer that asks for 1024.0 MiB"),
        "{reason}"
    );
}

#[test]
fn limits_of_the_pipeline_file_are_those_of_the_preflight() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    // The same columns, and a page of 2 MiB in one of them.
    swollen(&data.join("a-good.parquet"), 64, 10);
    swollen(&data.join("large.parquet"), 64, 2 << 20);
    for (limits, fails, expected) in [
        ("", 0, ""),
        ("max_page = \"1MiB\"", 3, "`decoding.max_page`"),
        ("max_page = \"3MiB\"", 0, ""),
        ("max_ratio = 100", 3, "`decoding.max_ratio`"),
    ] {
        let pipeline = folder.path().join("limits.toml");
        fs::write(&pipeline, format!("[decoding]\n{limits}\n")).unwrap();
        let pipeline = pipeline.to_str().unwrap();
        let scan = scan(&data, &[QUICK, &["--pipeline", pipeline]].concat());
        let run = scan.exits(fails);
        if fails == 3 {
            let reason = refused(run, 1, 64);
            assert!(reason.contains(expected), "{limits}: {reason}");
        }
    }
    for (limit, expected) in [
        ("max_columns = 0", "max_columns"),
        ("max_depth = 99", "max_depth"),
    ] {
        let pipeline = folder.path().join("wrong.toml");
        fs::write(&pipeline, format!("[decoding]\n{limit}\n")).unwrap();
        let outcome = scan_outcome(&data, pipeline.to_str().unwrap());
        assert_eq!(outcome.code, 2);
        assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    }
}

fn scan_outcome(data: &Path, pipeline: &str) -> crate::harness::Outcome {
    scan(data, &[QUICK, &["--pipeline", pipeline]].concat()).outcome
}

#[test]
#[cfg(unix)]
fn streams_that_are_left_early_cost_no_decoder() {
    use lazaretto_io::{
        DecoderLimits, EncryptionKeys, HeaderLimits, Isolation, OpenOptions, discover,
    };
    use std::os::unix::fs::PermissionsExt as _;

    let folder = TempDir::new().unwrap();
    let path = folder.path().join("data.parquet");
    fs::write(&path, parquet_bytes(&records(0, 8_000), 2_000).unwrap()).unwrap();
    // Counts how often it is started.
    let starts = folder.path().join("starts");
    let program = folder.path().join("decoder.sh");
    let script = format!(
        "#!/bin/sh\necho started >> '{}'\nexec '{}' {}\n",
        starts.display(),
        executable().display(),
        Isolation::ARGUMENT
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    let options = OpenOptions {
        scratch: folder.path().join("scratch"),
        cancel: Arc::default(),
        // A few hundred records each.
        batch_bytes: 1 << 10,
        isolation: Some(Isolation {
            program,
            limits: DecoderLimits {
                memory: 1 << 30,
                time: Duration::from_secs(30),
            },
            required: false,
        }),
        headers: HeaderLimits::default(),
        keys: EncryptionKeys::default(),
    };
    fs::create_dir(&options.scratch).unwrap();
    let files = discover(&[path.display().to_string()]).unwrap();
    let dataset = lazaretto_io::Dataset::open(files, options).unwrap();
    for unit in 0..dataset.units().len() {
        let mut first = dataset.batches(unit, None).unwrap();
        assert_eq!(first.next().unwrap().unwrap().num_rows(), 256);
        drop(first);
        // Not even one of them read.
        drop(dataset.batches(unit, None).unwrap());
    }
    let rows = |unit: usize| -> usize {
        let batches = dataset.batches(unit, None).unwrap();
        batches.map(|batch| batch.unwrap().num_rows()).sum()
    };
    assert_eq!((0..4).map(rows).collect::<Vec<_>>(), [2_000; 4]);
    assert_eq!(fs::read_to_string(&starts).unwrap().lines().count(), 1);
}

#[test]
fn damaged_arrow_files_end_as_unscanned() {
    let bytes = arrow_file(&records(0, 120));
    let damage = |case| damaged(&bytes, Footer::Arrow, case);
    scan_damaged("arrow file", "arrow", &bytes, damage, 600);
    let bytes = arrow_stream(&records(0, 120));
    let damage = |case| damaged(&bytes, Footer::None, case);
    scan_damaged("arrow stream", "arrow", &bytes, damage, 400);
}

#[test]
fn damaged_text_files_end_as_unscanned() {
    let bytes = csv_bytes(&records(0, 120)).unwrap();
    let damage = |case| damaged(&bytes, Footer::None, case);
    scan_damaged("csv", "csv", &bytes, damage, 200);
    let bytes = jsonl_gz_bytes(&records(0, 120)).unwrap();
    let damage = |case| damaged(&bytes, Footer::None, case);
    scan_damaged("jsonl", "jsonl.gz", &bytes, damage, 200);
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
        let report = scan.run.report();
        let files = report["dataset"]["files"].as_array().unwrap();
        let file = files.iter().find(|file| file["path"] == name).unwrap();
        match becomes(name) {
            Some("") => assert_eq!(file["unscanned"], 0, "{name}: {file}"),
            Some(reason) => {
                let found = file["unscanned_reason"].as_str().unwrap_or_default();
                assert!(found.contains(reason), "{name}: {file}");
            }
            None => {}
        }
    }
}

/// What becomes of some of the hostile texts: words of the reason why they are unscanned, or none
/// where they are records.
fn becomes(name: &str) -> Option<&'static str> {
    Some(match name {
        "deep.jsonl" | "deeper.jsonl" | "objects.jsonl" => "recursion limit",
        "beyond-f64.jsonl" => "out of range",
        "nul.jsonl" => "control character",
        "utf16.csv" | "latin1.csv" | "mixed.csv" => "not UTF-8",
        "quote.csv" | "ragged.csv" => "fields where the header has 2",
        "duplicate-keys.jsonl" | "bom.jsonl" | "bom.csv" | "nul.csv" | "numbers.csv" => "",
        _ => return None,
    })
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
fn a_small_file_that_asks_for_gigabytes_is_refused_by_its_headers() {
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
    assert!(
        reason.contains("its values have 8.0 MiB each") && reason.contains("`decoding.memory`"),
        "{reason}"
    );
    assert!(run.path("unscanned/swollen.parquet").exists());
}

/// A text file with one cell of `bytes` zero bytes between `before` and `after`.
fn long_cell(path: &Path, before: &[u8], bytes: u64, after: &[u8]) {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(before).unwrap();
    // A hole, which takes no space.
    file.set_len(before.len() as u64 + bytes).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(after).unwrap();
}

#[test]
fn cells_without_measure_end_as_unscanned() {
    // Beyond what a record may have; a gibibyte where there is time.
    let long = std::env::var_os("LAZARETTO_LONG").is_some();
    let bytes = if long { 1 << 30 } else { 300 << 20 };
    for (extension, good, before, after) in [
        ("csv", "a,b\n1,2\n", "a,b\n\"", "\",1\n"),
        ("csv", "a,b\n1,2\n", "a,b\n1,2\n\"", ""),
        ("jsonl", "{\"a\":\"x\"}\n", "{\"a\":\"", "\"}\n"),
    ] {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join(format!("a-good.{extension}")), good).unwrap();
        let cell = data.join(format!("cell.{extension}"));
        long_cell(&cell, before.as_bytes(), bytes, after.as_bytes());
        let started = Instant::now();
        let scan = scan(&data, QUICK);
        let report = scan.exits(3).report();
        let file = &report["dataset"]["files"][1];
        let reason = file["unscanned_reason"].as_str().unwrap();
        assert!(reason.contains("256 MiB"), "{reason}");
        assert!(started.elapsed() < Duration::from_mins(2));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn hostile_files_take_no_memory_from_the_scan() {
    const MEMORY: u64 = 256 << 20;
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let bytes = nested_parquet();
    fs::write(data.join("a-good.parquet"), &bytes).unwrap();
    for case in 0..150 {
        let path = |what: &str| data.join(format!("{what}-{case:03}.parquet"));
        fs::write(path("lie"), lying_parquet(&bytes, case).unwrap()).unwrap();
        fs::write(path("damage"), damaged(&bytes, Footer::Parquet, case)).unwrap();
    }
    swollen(&data.join("swollen.parquet"), 512, 8 << 20);
    let flags = [QUICK, &["--memory", "256MiB"]].concat();
    let (outcome, peak) = crate::memory::watched(&data, &flags);
    assert_eq!(outcome.code, 3, "{}", outcome.stderr);
    assert!(peak <= MEMORY + MEMORY / 10, "{} MiB", peak >> 20);
    println!("peak: {} MiB", peak >> 20);
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
