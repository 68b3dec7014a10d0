//! Neighbours among all records, through a whole scan.

#![expect(clippy::unwrap_used, reason = "a test says no by panicking")]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{ArrayRef, Float16Builder, Int64Array, ListBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::FileWriter;
use half::f16;
use lazaretto_core::report::Report;
use lazaretto_engine::{ProofOptions, Resumption, ScanRequest, Settings, Silent, pipeline, scan};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 64;
const OUTLIERS: [usize; 3] = [40, 1700, 2999];

/// Half-precision vectors, three of them far out.
fn vectors() -> Vec<Vec<f16>> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    (0..3000)
        .map(|row| {
            let reach = if OUTLIERS.contains(&row) { 6.0 } else { 1.0 };
            (0..DIM)
                .map(|_| f16::from_f32(rng.gen_range(-reach..reach)))
                .collect()
        })
        .collect()
}

fn write(path: &Path, first_id: i64, vectors: &[Vec<f16>]) {
    let mut lists = ListBuilder::new(Float16Builder::new());
    for vector in vectors {
        lists.values().append_slice(vector);
        lists.append(true);
    }
    let item = Arc::new(Field::new("item", DataType::Float16, true));
    let schema = Arc::new(Schema::new(vec![
        Field::new("row_id", DataType::Int64, false),
        Field::new("embedding", DataType::List(item), true),
    ]));
    let ids = Int64Array::from_iter_values((first_id..).take(vectors.len()));
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(lists.finish())];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let mut writer = FileWriter::try_new(File::create(path).unwrap(), &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
}

/// Scans `folder` with 8 neighbours and a small reference set.
fn scanned(folder: &Path, memory: u64, threads: usize, search: &str) -> Report {
    let text = format!(
        "threads = {threads}\n[roles]\nid = \"row_id\"\nembedding = \"embedding\"\n\
         [detectors]\nonly = [\"knn-distance\", \"lof\"]\n\
         [features]\nreference_rows = 256\nneighbors = 8\nneighbor_search = \"{search}\"\n"
    );
    let mut settings = Settings::new("test", pipeline::parse(&text).unwrap()).unwrap();
    settings.memory = memory;
    let out = tempfile::tempdir().unwrap();
    let request = ScanRequest {
        inputs: vec![folder.to_str().unwrap().to_owned()],
        out: out.path().join("run"),
        settings,
        cancel: Arc::new(AtomicBool::new(false)),
        proof: ProofOptions::default(),
        resumption: Resumption::default(),
    };
    let outcome = scan(&request, &Silent, &|_| Vec::new()).unwrap();
    let left: Vec<_> = std::fs::read_dir(out.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the run folder is left: {left:?}");
    assert!(!out.path().join("run/.scratch").exists());
    outcome.report
}

/// Scores of the most suspicious records, to the bit.
fn scores(report: &Report) -> Vec<(String, Vec<(String, u64)>)> {
    let records = report.records.iter();
    records
        .map(|record| {
            let detectors = record.detectors.iter();
            let bits = detectors.map(|(id, score)| (id.clone(), score.to_bits()));
            (record.example.record_id.clone(), bits.collect())
        })
        .collect()
}

#[test]
fn memory_and_threads_change_nothing_and_outliers_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = vectors();
    write(&folder.path().join("a.arrow"), 0, &vectors[..1000]);
    write(&folder.path().join("b.arrow"), 1000, &vectors[1000..]);
    let roomy = scanned(folder.path(), 1 << 30, 1, "auto");
    let method = &roomy.settings.method;
    assert!(method.contains("exact, 8 of all 3000 records"), "{method}");
    let mut first: Vec<usize> = roomy.records[..3]
        .iter()
        .map(|record| record.example.record_id.parse().unwrap())
        .collect();
    first.sort_unstable();
    assert_eq!(first, OUTLIERS);
    assert_eq!(roomy.records[0].detectors.len(), 2);
    // 3000 × 64 × 2 bytes are more than an eighth of 2.5 MiB: the vectors go to a file.
    for (memory, threads) in [(1 << 30, 2), (5 << 19, 2), (5 << 19, 1)] {
        let other = scanned(folder.path(), memory, threads, "auto");
        assert_eq!(other.settings.method, roomy.settings.method);
        assert_eq!(scores(&other), scores(&roomy), "{memory}, {threads}");
    }
}

#[test]
fn the_recall_of_an_index_is_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a.arrow"), 0, &vectors());
    let report = scanned(folder.path(), 1 << 30, 2, "index");
    let method = &report.settings.method;
    let recall: f64 = method
        .split("recall@8 ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{method}"));
    assert!((0.5..=1.0).contains(&recall), "{method}");
    assert_eq!(
        scores(&report),
        scores(&scanned(folder.path(), 1 << 30, 1, "index"))
    );
    let reference = scanned(folder.path(), 1 << 30, 2, "reference");
    let method = &reference.settings.method;
    assert!(method.contains("8 of the reference's 256"), "{method}");
}

#[test]
fn broken_vectors_are_counted_out_and_zero_vectors_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut vectors = vectors();
    vectors[7].truncate(3);
    vectors[8] = Vec::new();
    vectors[9][5] = f16::NAN;
    vectors[10][5] = f16::INFINITY;
    vectors[11].fill(f16::ZERO);
    write(&folder.path().join("a.arrow"), 0, &vectors[..2900]);
    // The dimension changes between files.
    for vector in &mut vectors[2900..] {
        vector.truncate(DIM / 2);
    }
    write(&folder.path().join("b.arrow"), 2900, &vectors[2900..]);
    for search in ["auto", "index"] {
        let report = scanned(folder.path(), 1 << 30, 2, search);
        let method = &report.settings.method;
        let said = method.contains("104 of 3000 records have no features");
        assert!(said, "{method}");
        assert_eq!(report.counts.records, 3000);
    }
}
