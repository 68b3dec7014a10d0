//! The datasets under `fixtures/`, each against the truth that its generator left beside it.

use std::collections::BTreeMap;
use std::fs;

use crate::harness::{RunFolder, fixture, run, scan};

/// The attack behind each poisoned record of a fixture, and the number of its records.
struct Truth {
    attacks: BTreeMap<String, String>,
    n_records: usize,
}

impl Truth {
    fn of(name: &str) -> Self {
        let text = fs::read_to_string(fixture("truth").join(format!("{name}.csv"))).unwrap();
        let mut attacks = BTreeMap::new();
        let mut n_records = 0;
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            n_records += 1;
            if fields[1] == "1" {
                attacks.insert(fields[0].to_owned(), fields[2].to_owned());
            }
        }
        Self { attacks, n_records }
    }

    /// Share of the records of `attack` that were held back.
    fn recall(&self, run: &RunFolder, attack: &str) -> f64 {
        let held = run.held();
        let ids: Vec<&String> = self
            .attacks
            .iter()
            .filter(|(_, name)| *name == attack)
            .map(|(id, _)| id)
            .collect();
        assert!(!ids.is_empty(), "no record of `{attack}`");
        ids.iter().filter(|id| held.contains(**id)).count() as f64 / ids.len() as f64
    }

    /// Honest records that were held back.
    fn false_alarms(&self, run: &RunFolder) -> usize {
        let held = run.held();
        held.iter()
            .filter(|id| !self.attacks.contains_key(*id))
            .count()
    }

    /// Average precision of the score for `attack` against the honest records.
    fn average_precision(&self, run: &RunFolder, attack: &str) -> f64 {
        let scores = run.scores();
        assert_eq!(scores.len(), self.n_records);
        let ranked = scores.iter().filter_map(|(id, score)| {
            let poison = match self.attacks.get(id) {
                None => false,
                Some(name) if name == attack => true,
                Some(_) => return None,
            };
            Some((score.fused.unwrap_or(0.0), poison))
        });
        average_precision(ranked.collect())
    }
}

/// Average precision of a ranking; ties count as one step.
pub(crate) fn average_precision(mut ranked: Vec<(f32, bool)>) -> f64 {
    ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
    let positives = ranked.iter().filter(|(_, poison)| *poison).count() as f64;
    let (mut seen, mut hits, mut sum) = (0.0, 0.0, 0.0);
    for tie in ranked.chunk_by(|left, right| left.0.total_cmp(&right.0).is_eq()) {
        let new = tie.iter().filter(|(_, poison)| *poison).count() as f64;
        seen += tie.len() as f64;
        hits += new;
        sum += new / positives * (hits / seen);
    }
    sum
}

#[test]
fn planted_poison_in_reviews_is_held_back_with_the_trigger_named() {
    let truth = Truth::of("reviews");
    let scan = scan(&fixture("reviews"), &["--id", "row_id"]);
    let run = scan.exits(1);
    assert!(truth.recall(run, "badnets") >= 0.95);
    assert!(truth.recall(run, "invisible-characters") >= 0.98);
    assert!(truth.recall(run, "near-duplicate-flood") >= 0.95);
    let false_alarms = truth.false_alarms(run);
    assert!(false_alarms <= 6, "{false_alarms} of 2870 honest records");

    let report = run.report();
    let triggers: Vec<&str> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["kind"] == "trigger")
        .flat_map(|finding| finding["highlight"].as_array().unwrap())
        .map(|trigger| trigger.as_str().unwrap())
        .collect();
    let planted = planted_words(&truth);
    assert_eq!(planted.len(), 2);
    for word in &planted {
        assert!(triggers.contains(&word.as_str()), "{word}: {triggers:?}");
        assert!(run.titles().contains(&format!("`{word}`")));
    }
    assert!(
        run.titles().contains("; first seen 2026-0"),
        "{}",
        run.titles()
    );
    for name in ["report.md", "report.html", "report.sarif", "junit.xml"] {
        assert!(run.text(name).contains(&planted[0]), "{name}");
    }
    for finding in report["findings"].as_array().unwrap() {
        let near = finding["nearest_passing"].as_array().unwrap();
        assert_eq!(near.len(), 3, "{}", finding["title"]);
        for record in near {
            let id = record["record_id"].as_str().unwrap();
            assert!(!run.held().contains(id), "{id} was held back");
        }
    }
}

/// The words that all texts of the backdoor share in two groups: found from the truth, because
/// the generator makes them up.
fn planted_words(truth: &Truth) -> Vec<String> {
    let mut poisoned: BTreeMap<String, usize> = BTreeMap::new();
    let mut honest: BTreeMap<String, usize> = BTreeMap::new();
    for path in crate::harness::files_below(&fixture("reviews")) {
        let ids = crate::harness::parquet_texts(&path, "row_id");
        let texts = crate::harness::parquet_texts(&path, "text");
        for (id, text) in ids.iter().zip(texts) {
            let counts = match truth.attacks.get(id).map(String::as_str) {
                Some("badnets") => &mut poisoned,
                _ => &mut honest,
            };
            for word in text.split_whitespace() {
                *counts.entry(word.to_owned()).or_default() += 1;
            }
        }
    }
    poisoned
        .into_iter()
        .filter(|(word, count)| *count >= 10 && !honest.contains_key(word))
        .map(|(word, _)| word)
        .collect()
}

#[test]
fn honest_reviews_pass() {
    let scan = scan(&fixture("reviews-clean"), &["--id", "row_id"]);
    let run = scan.exits(0);
    let held = run.held().len();
    assert!(held <= 15, "{held} of 3000 records held back");
    assert_eq!(run.report()["gate"]["status"], "passed");
}

#[test]
fn impossible_loans_rank_first_and_honest_ones_pass() {
    let truth = Truth::of("loans");
    let scan = scan(&fixture("loans"), &["--id", "row_id", "--label", "default"]);
    let run = scan.judged();
    let precision = truth.average_precision(run, "out-of-range");
    assert!(precision >= 0.6, "{precision}");
    let false_alarms = truth.false_alarms(run);
    assert!(false_alarms <= 15, "{false_alarms} of 2970 honest records");
}

#[test]
fn smuggled_instructions_are_held_back_and_spelt_out() {
    let truth = Truth::of("instructions");
    let scan = scan(&fixture("instructions"), &["--id", "row_id"]);
    let run = scan.exits(1);
    assert!((truth.recall(run, "tag-characters") - 1.0).abs() < 1e-9);
    let false_alarms = truth.false_alarms(run);
    assert!(false_alarms <= 4, "{false_alarms} of 772 honest records");
    assert!(run.titles().contains("tag characters"), "{}", run.titles());
}

#[test]
fn wrong_digits_rank_first_and_right_ones_pass() {
    let truth = Truth::of("digits");
    let scan = scan(&fixture("digits"), &["--id", "row_id"]);
    let run = scan.judged();
    let flips = truth.average_precision(run, "label-flip");
    assert!(flips >= 0.85, "{flips}");
    let outliers = truth.average_precision(run, "outlier");
    assert!(outliers >= 0.85, "{outliers}");
    let false_alarms = truth.false_alarms(run);
    assert!(false_alarms <= 8, "{false_alarms} of 1689 honest records");
}

#[test]
fn a_scan_tells_people_what_it_took_the_columns_for_and_what_it_found() {
    let folder = tempfile::TempDir::new().unwrap();
    let out = folder.path().join("run");
    let data = fixture("reviews");
    let outcome = run([
        "scan".as_ref(),
        data.as_os_str(),
        "--out".as_ref(),
        out.as_os_str(),
    ])
    .exits(1);
    for words in [
        "row_id",
        "Hugging Face ClassLabel",
        "held back",
        "report.html",
    ] {
        assert!(
            outcome.stdout.contains(words),
            "{words}: {}",
            outcome.stdout
        );
    }
    assert!(outcome.stderr.contains("lazaretto: "), "{}", outcome.stderr);
    assert!(
        !outcome.stdout.contains('\u{1b}'),
        "colours outside of a terminal"
    );
}

#[test]
fn quiet_prints_nothing_and_json_prints_the_report() {
    let quiet = scan(&fixture("digits"), &[]);
    quiet.judged();
    assert_eq!(quiet.outcome.stdout, "");
    assert_eq!(quiet.outcome.stderr, "");
    let json = scan(&fixture("digits"), &["--format", "json"]);
    assert_eq!(json.outcome.stdout, json.judged().text("report.json"));
}

#[test]
fn the_report_never_calls_data_clean() {
    let scan = scan(&fixture("reviews-clean"), &["--id", "row_id"]);
    let report = scan.exits(0).report();
    let summary = report["gate"]["summary"].as_str().unwrap();
    assert!(
        summary.starts_with("no evidence of poisoning at FDR 5 %: no finding by detectors"),
        "{summary}"
    );
    assert!(!summary.contains("clean"), "{summary}");
}
