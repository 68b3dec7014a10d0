//! Vectors of texts by an embedder, through a whole scan.
//!
//! A made-up embedder shows what becomes of its vectors; real models are in `lazaretto-embed`.

#![expect(clippy::unwrap_used, reason = "a test says no by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lazaretto_core::report::{DetectorStatus, Report};
use lazaretto_embed::{EmbedError, Embedder, Model, ModelFile};
use lazaretto_engine::{
    EngineError, ProofOptions, Resumption, ScanRequest, Settings, Silent, pipeline, scan, scan_with,
};
use ndarray::Array2;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const DIM: usize = 96;
const N_ROWS: usize = 1200;
const SUBJECTS: [&str; 3] = ["sea", "hill", "town"];

/// Knows what a word is about, whatever its number.
#[derive(Default)]
struct Subjects {
    texts: Arc<AtomicUsize>,
    fails: bool,
}

impl Embedder for Subjects {
    fn dim(&self) -> usize {
        DIM
    }

    fn max_tokens(&self) -> usize {
        99
    }

    fn method(&self) -> &'static str {
        "subjects of made-up words"
    }

    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, EmbedError> {
        if self.fails {
            return Err(EmbedError::Text("out of order".to_owned()));
        }
        self.texts.fetch_add(texts.len(), Ordering::Relaxed);
        let mut vectors = Array2::from_elem((texts.len(), DIM), f32::NAN);
        for (mut row, text) in vectors.rows_mut().into_iter().zip(texts) {
            let word = |word: &str| {
                SUBJECTS
                    .iter()
                    .position(|subject| word.starts_with(subject))
            };
            for subject in text.split(' ').filter_map(word) {
                row.mapv_inplace(|value| if value.is_nan() { 0.0 } else { value });
                row[subject] += 1.0;
            }
            // The rest of a text is in the other dimensions, a little.
            let mut rng = ChaCha8Rng::seed_from_u64(text.bytes().map(u64::from).sum());
            for value in row.iter_mut().skip(SUBJECTS.len()) {
                *value += rng.gen_range(-0.3..0.3);
            }
            let length = row.dot(&row).sqrt();
            row /= length;
        }
        Ok(vectors)
    }
}

fn model(embedder: Subjects) -> Model {
    Model {
        embedder: Box::new(embedder),
        files: vec![ModelFile {
            name: "model.made-up".to_owned(),
            bytes: 7,
            sha256: "ab".repeat(32),
        }],
    }
}

/// Texts on three subjects, hardly a word twice; one label in thirty says another subject. Some have
/// no text. Returns the ids of those with a wrong label.
fn write(folder: &Path, more: &str) -> BTreeSet<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut wrong = BTreeSet::new();
    let mut lines = String::new();
    for row in 0..N_ROWS {
        let subject = row % 3;
        let words: Vec<String> = (0..rng.gen_range(6..12))
            .map(|_| format!("{}{}", SUBJECTS[subject], rng.gen_range(0..100_000)))
            .collect();
        let text = if row % 100 == 99 {
            String::new()
        } else {
            words.join(" ")
        };
        let is_wrong = row % 30 == 7;
        if is_wrong {
            wrong.insert(format!("r{row}"));
        }
        let label = SUBJECTS[(subject + usize::from(is_wrong)) % 3];
        let _ = writeln!(
            lines,
            "{{\"row_id\": \"r{row}\", \"text\": \"{text}\", \"label\": \"{label}\"{more}}}"
        );
    }
    fs::write(folder.join("data.jsonl"), lines).unwrap();
    wrong
}

fn request(folder: &Path, out: &Path, pipeline_text: &str) -> ScanRequest {
    let text = format!(
        "{pipeline_text}\n[roles]\nid = \"row_id\"\nlabel = \"label\"\ntext = [\"text\"]\n"
    );
    let settings = Settings::new("test", pipeline::parse(&text).unwrap()).unwrap();
    ScanRequest {
        inputs: vec![folder.join("data.jsonl").to_str().unwrap().to_owned()],
        out: out.join("run"),
        settings,
        cancel: Arc::new(AtomicBool::new(false)),
        proof: ProofOptions::default(),
        resumption: Resumption::default(),
    }
}

/// With a reference set that the smallest memory below has room for.
const NEIGHBORS: &str = "features.reference_rows = 128\n\
                         detectors.only = [\"knn-distance\", \"knn-label-disagreement\"]";

fn scanned(folder: &Path, pipeline_text: &str, memory: Option<u64>) -> (Report, serde_json::Value) {
    let out = tempfile::tempdir().unwrap();
    let mut request = request(folder, out.path(), pipeline_text);
    request.settings.memory = memory.unwrap_or(request.settings.memory);
    let outcome = scan_with(&request, model(Subjects::default()), &Silent, &|_| {
        Vec::new()
    });
    let manifest = fs::read(out.path().join("run/manifest.json")).unwrap();
    (
        outcome.unwrap().report,
        serde_json::from_slice(&manifest).unwrap(),
    )
}

/// Scores of the most suspicious records, to the bit.
fn scores(report: &Report) -> Vec<(String, u64)> {
    let records = report.records.iter();
    records
        .map(|record| {
            (
                record.example.record_id.clone(),
                record.score.to_bits().into(),
            )
        })
        .collect()
}

#[test]
fn detectors_work_on_the_vectors_of_the_texts() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = write(folder.path(), "");
    let (report, manifest) = scanned(folder.path(), NEIGHBORS, None);
    let first: BTreeSet<String> = report.records[..wrong.len()]
        .iter()
        .map(|record| record.example.record_id.clone())
        .collect();
    let hits = first.intersection(&wrong).count();
    assert!(
        hits * 10 >= wrong.len() * 9,
        "{hits} of {} come first",
        wrong.len()
    );
    let method = &report.settings.method;
    for said in [
        "vectors of the texts by the embedder, 96 dimensions",
        "embedder: subjects of made-up words, the first 99 tokens of each text; `model.made-up` (sha256 abab",
        // 12 of 1,200 have no text.
        "1188 records by Euclidean distance",
    ] {
        assert!(method.contains(said), "`{said}` is not in: {method}");
    }
    let embedder = report.settings.embedder.unwrap();
    assert!(embedder.used && embedder.dim == 96);
    assert_eq!(manifest["embedder"][0]["path"], "model.made-up");
    assert_eq!(manifest["embedder"][0]["sha256"], "ab".repeat(32));
}

#[test]
fn classes_come_from_the_vectors_where_words_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = write(folder.path(), "");
    let (report, _) = scanned(
        folder.path(),
        "detectors.only = [\"confident-learning\"]",
        None,
    );
    let first = report.records[..wrong.len()].iter();
    let hits = first
        .filter(|record| wrong.contains(&record.example.record_id))
        .count();
    assert!(
        hits * 5 >= wrong.len() * 4,
        "{hits} of {} come first",
        wrong.len()
    );
    let method = &report.settings.method;
    let said = "% out-of-fold multinomial logistic regression over the embedding";
    assert!(method.contains(said), "{method}");
}

#[test]
fn without_an_embedder_texts_have_no_vectors_and_the_report_no_embedder() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "");
    let out = tempfile::tempdir().unwrap();
    let outcome = scan(
        &request(folder.path(), out.path(), NEIGHBORS),
        &Silent,
        &|_| Vec::new(),
    );
    let report = outcome.unwrap().report;
    let detector = |id: &str| report.detectors.iter().find(|d| d.id == id).unwrap().status;
    assert_eq!(
        detector("knn-label-disagreement"),
        DetectorStatus::NotApplicable
    );
    assert_eq!(detector("knn-distance"), DetectorStatus::Ran);
    assert!(report.settings.embedder.is_none());
    let manifest = fs::read_to_string(out.path().join("run/manifest.json")).unwrap();
    assert!(!manifest.contains("embedder"));
}

#[test]
fn threads_and_memory_change_nothing_and_a_text_is_embedded_once() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "");
    let (one, _) = scanned(folder.path(), &format!("threads = 1\n{NEIGHBORS}"), None);
    // 1,200 × 96 × 4 bytes are more than an eighth of 2.5 MiB: the vectors go to a file.
    for (threads, memory) in [(2, None), (1, Some(5 << 19)), (3, Some(5 << 19))] {
        let (other, _) = scanned(
            folder.path(),
            &format!("threads = {threads}\n{NEIGHBORS}"),
            memory,
        );
        assert_eq!(scores(&other), scores(&one), "{threads}, {memory:?}");
    }
    let texts = Arc::new(AtomicUsize::new(0));
    let counting = Subjects {
        texts: Arc::clone(&texts),
        fails: false,
    };
    let out = tempfile::tempdir().unwrap();
    let request = request(folder.path(), out.path(), NEIGHBORS);
    scan_with(&request, model(counting), &Silent, &|_| Vec::new()).unwrap();
    assert_eq!(texts.load(Ordering::Relaxed), N_ROWS - N_ROWS / 100);
}

#[test]
fn vectors_of_the_dataset_go_before_the_embedder() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), ", \"embedding\": [1.0, 2.0]");
    let out = tempfile::tempdir().unwrap();
    let mut request = request(
        folder.path(),
        out.path(),
        "detectors.only = [\"knn-distance\"]",
    );
    request.settings.roles.embedding = Some("embedding".to_owned());
    let outcome = scan_with(&request, model(Subjects::default()), &Silent, &|_| {
        Vec::new()
    });
    let report = outcome.unwrap().report;
    let method = &report.settings.method;
    assert!(
        method.contains("the embedding column, 2 dimensions"),
        "{method}"
    );
    assert!(
        method.contains("not used, the dataset has an embedding column"),
        "{method}"
    );
    assert!(!report.settings.embedder.unwrap().used);
}

#[test]
fn texts_that_cannot_be_embedded_are_unscanned() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "");
    let out = tempfile::tempdir().unwrap();
    let request = request(folder.path(), out.path(), NEIGHBORS);
    let fails = Subjects {
        fails: true,
        ..Subjects::default()
    };
    let outcome = scan_with(&request, model(fails), &Silent, &|_| Vec::new());
    let report = outcome.unwrap().report;
    assert_eq!(report.counts.unscanned, N_ROWS as u64);
    let reason = report.dataset.files[0].unscanned_reason.clone().unwrap();
    assert!(reason.contains("embed a text: out of order"), "{reason}");
}

#[test]
fn a_folder_without_a_model_ends_the_run_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "");
    let out = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let text = format!("embedder.path = {path:?}\n{NEIGHBORS}");
    let error = scan(&request(folder.path(), out.path(), &text), &Silent, &|_| {
        Vec::new()
    })
    .unwrap_err();
    assert!(matches!(&error, EngineError::Embedder { .. }), "{error}");
    assert!(error.hint().unwrap().contains("tokenizer.json"));
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
}
