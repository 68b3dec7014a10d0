//! "No evidence" as an outcome, and the spike test that says what it is worth.

use lazaretto_testkit::files::parquet_bytes;
use lazaretto_testkit::{Attack, EmbeddingSet, InstructionSet, LoanSet, ReviewSet};
use serde_json::Value;

use crate::data::Dataset;
use crate::harness::{RunFolder, fixture, run, scan};

fn reviews(n_rows: usize) -> Dataset {
    let batch = ReviewSet::generate(61, n_rows).to_record_batch().unwrap();
    Dataset::of("reviews.parquet", &parquet_bytes(&batch, 700).unwrap())
}

/// Shares held back of an attack by size.
fn shares(run: &RunFolder, attack: &str) -> Vec<(u64, f64)> {
    let report = run.report();
    let attacks = report["power"]["attacks"].as_array().unwrap().iter();
    let found = attacks.clone().find(|one| one["id"] == attack).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let results = found["results"].as_array().unwrap().iter();
    results
        .map(|result| {
            let size = number(&result["size"]);
            (size, number(&result["held"]) as f64 / size as f64)
        })
        .collect()
}

fn with_power<'f>(pipeline: &'f Dataset, flags: &[&'f str]) -> Vec<String> {
    let file = pipeline.file("p.toml").to_str().unwrap().to_owned();
    let flags = flags.iter().map(|flag| (*flag).to_owned());
    ["--power".to_owned(), "--pipeline".to_owned(), file]
        .into_iter()
        .chain(flags)
        .collect()
}

fn sizes(sizes: &str) -> Dataset {
    let pipeline = format!("[power]\nrecords = 2500\nsizes = {sizes}\n");
    Dataset::of("p.toml", pipeline.as_bytes())
}

#[test]
fn nothing_found_is_said_in_words_everywhere_and_never_that_data_is_clean() {
    let data = reviews(1_200);
    let scanned = scan(&data.path(), &["--id", "row_id"]);
    let quiet = scanned.exits(0);
    let report = quiet.report();
    assert_eq!(report["gate"]["evidence"], false);
    assert!(report.get("power").is_none(), "nobody asked for it");
    for file in ["report.md", "report.html", "report.json"] {
        let text = quiet.text(file);
        assert!(
            text.contains("no evidence of poisoning at FDR 5 %"),
            "{file}"
        );
        assert!(text.contains("no finding by detectors"), "{file}");
        assert!(!text.contains("is clean"), "{file}");
    }
    let out = tempfile::TempDir::new().unwrap();
    let out = out.path().join("run");
    let folder = data.path();
    let said = run([
        "scan".as_ref(),
        folder.as_os_str(),
        "--out".as_ref(),
        out.as_os_str(),
        "--fdr".as_ref(),
        "0.1".as_ref(),
    ]);
    let said = said.exits(0).stdout;
    assert!(
        said.contains("no evidence of poisoning at FDR 10 %"),
        "{said}"
    );

    let scanned = scan(&fixture("reviews"), &["--id", "row_id", "--label", "label"]);
    let loud = scanned.exits(1).report();
    assert_eq!(loud["gate"]["evidence"], true);
    assert!(
        !loud["gate"]["summary"]
            .as_str()
            .unwrap()
            .contains("no evidence")
    );
}

#[test]
fn the_spike_test_says_which_attacks_on_texts_would_have_been_caught() {
    let data = reviews(2_000);
    let pipeline = sizes("[3, 60]");
    let flags = with_power(&pipeline, &["--id", "row_id", "--label", "label"]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let scanned = scan(&data.path(), &flags);
    let run_folder = scanned.exits(0);
    let trigger = shares(run_folder, "trigger-word");
    assert_eq!(
        trigger.iter().map(|(size, _)| *size).collect::<Vec<_>>(),
        [3, 60]
    );
    assert!(trigger[1].1 >= 0.9, "{trigger:?}");
    assert!(trigger[0].1 <= trigger[1].1, "{trigger:?}");
    let flood = shares(run_folder, "near-duplicate-flood");
    assert!(flood[1].1 >= 0.8, "{flood:?}");
    let report = run_folder.report();
    assert_eq!(
        report["counts"]["quarantine"], 0,
        "spikes are no records of the dataset"
    );
    let power = &report["power"];
    assert_eq!(
        (&power["records"], &power["of"]),
        (&2_000.into(), &2_000.into())
    );
    let unfit = power["attacks"].as_array().unwrap().iter();
    let unfit = unfit
        .clone()
        .find(|one| one["id"] == "shifted-vectors")
        .unwrap();
    assert!(
        unfit["not_measured"]
            .as_str()
            .unwrap()
            .contains("embedding")
    );
    for file in ["report.md", "report.html"] {
        let text = run_folder.text(file);
        assert!(
            text.contains("Spike test") && text.contains("trigger-word"),
            "{file}"
        );
        assert!(text.contains("speaks of these attacks"), "{file}");
    }
    let schema = run(["schema", "report"]).exits(0).json();
    assert!(
        jsonschema::validator_for(&schema)
            .unwrap()
            .is_valid(&report)
    );

    // The same seed gives the same bytes, at any number of threads.
    let again: Vec<&str> = flags.iter().copied().chain(["--threads", "1"]).collect();
    let again = scan(&data.path(), &again);
    assert_eq!(again.exits(0).reproducible(), run_folder.reproducible());
}

#[test]
fn attacks_fit_the_roles_of_tables_vectors_and_prompts() {
    let pipeline = sizes("[40]");
    let flags = with_power(&pipeline, &[]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let scan_of = |name: &str, bytes: Vec<u8>, more: &[&str]| {
        let data = Dataset::of(name, &bytes);
        let flags: Vec<&str> = flags.iter().chain(more).copied().collect();
        scan(&data.path(), &flags)
    };
    let loans = LoanSet::generate(62, 2_000).to_record_batch().unwrap();
    let bytes = parquet_bytes(&loans, 700).unwrap();
    let scanned = scan_of("loans.parquet", bytes, &["--label", "default"]);
    let run = scanned.judged();
    assert_eq!(shares(run, "out-of-range").len(), 1);
    assert!(
        shares(run, "out-of-range")[0].1 > 0.5,
        "{:?}",
        shares(run, "out-of-range")
    );
    assert_eq!(shares(run, "label-flips").len(), 1);
    assert!(shares(run, "trigger-word").is_empty());

    let vectors = EmbeddingSet::mixture(63, 2_000, 16, 4, 2.0)
        .to_record_batch()
        .unwrap();
    let scanned = scan_of(
        "vectors.parquet",
        parquet_bytes(&vectors, 700).unwrap(),
        &[],
    );
    let shifted = shares(scanned.judged(), "shifted-vectors");
    assert!(shifted[0].1 > 0.8, "{shifted:?}");
    assert_eq!(shares(scanned.judged(), "collapsed-cluster").len(), 1);

    let instructions = InstructionSet::generate(64, 2_000)
        .to_record_batch()
        .unwrap();
    let bytes = parquet_bytes(&instructions, 700).unwrap();
    let scanned = scan_of("instructions.parquet", bytes, &[]);
    let triggered = shares(scanned.judged(), "trigger-response");
    assert!(triggered[0].1 > 0.8, "{triggered:?}");
}

#[test]
fn poison_that_was_held_back_is_not_in_the_sample() {
    let reviews = ReviewSet::generate(65, 1_500).poison(
        &Attack::BadNets {
            rows: 50,
            words: 1,
            target: 1,
        },
        66,
    );
    let batch = reviews.to_record_batch().unwrap();
    let data = Dataset::of("reviews.parquet", &parquet_bytes(&batch, 700).unwrap());
    let pipeline = sizes("[40, 2000]");
    let flags = with_power(&pipeline, &["--id", "row_id", "--label", "label"]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let scanned = scan(&data.path(), &flags);
    let report = scanned.judged().report();
    let power = &report["power"];
    assert_eq!(power["records"], report["counts"]["pass"]);
    for attack in power["attacks"].as_array().unwrap() {
        for result in attack["results"].as_array().unwrap() {
            assert!(result["others_held"].as_u64().unwrap() <= 10, "{attack}");
        }
    }
    let first = &power["attacks"][0];
    assert!(
        first["not_measured"]
            .as_str()
            .unwrap()
            .contains("too small"),
        "{first}"
    );
}

#[test]
fn sizes_and_samples_out_of_range_are_refused() {
    let data = reviews(600);
    for (toml, words) in [
        ("[power]\nrecords = 10\n", "200..=200000"),
        ("[power]\nsizes = []\n", "one to eight"),
        ("[power]\nsize = [1]\n", "power.size"),
    ] {
        let pipeline = Dataset::of("p.toml", toml.as_bytes());
        let file = pipeline.file("p.toml");
        scan(&data.path(), &["--pipeline", file.to_str().unwrap()])
            .outcome
            .exits(2)
            .says(&[words]);
    }
}
