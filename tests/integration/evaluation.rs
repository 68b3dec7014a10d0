//! `--eval`: evaluation files, which the dataset must not contain.

use std::collections::BTreeSet;

use lazaretto_testkit::ReviewSet;

use crate::data::{Dataset, encode, strings, table};
use crate::harness::scan;

/// Texts of about forty words.
fn passages(seed: u64, n_rows: usize) -> Vec<String> {
    let reviews = ReviewSet::generate(seed, 2 * n_rows).reviews;
    let pairs = reviews.chunks(2);
    pairs
        .map(|pair| format!("{} {}", pair[0].text, pair[1].text))
        .collect()
}

/// 400 texts of which three are on the test, and a test of fifty, nested as such files are.
fn leaked() -> Dataset {
    let test = passages(2, 50);
    let mut texts = passages(1, 400);
    for (place, question) in [(7, &test[0]), (99, &test[1]), (250, &test[1])] {
        texts[place] = format!("{} {}", question.to_uppercase(), texts[place]);
    }
    let lines: Vec<String> = test
        .iter()
        .map(|question| {
            serde_json::json!({"id": 1, "item": {"question": question, "choices": ["yes", "no"]}})
                .to_string()
        })
        .collect();
    let data = table(vec![("text", strings(texts))]);
    Dataset::of("data.parquet", &encode("data.parquet", &data))
        .with("test.jsonl", (lines.join("\n") + "\n").as_bytes())
}

#[test]
fn records_on_the_test_are_held_back_and_the_test_is_named() {
    let data = leaked();
    let test = data.file("test.jsonl");
    let flags = ["--id", "row_id", "--eval", test.to_str().unwrap()];
    let scan = scan(&data.file("data.parquet"), &flags);
    let run = scan.judged();
    let held: BTreeSet<String> = run.held();
    assert_eq!(held, ["7", "99", "250"].map(str::to_owned).into());
    let report = run.report();
    let finding = &report["findings"][0];
    assert_eq!(
        finding["title"],
        "3 records contain 2 of the 50 texts of `test.jsonl`"
    );
    assert_eq!(report["dataset"]["evaluation"][0]["records"], 50);
    let manifest = run.json("manifest.json");
    let digest = &manifest["evaluation"][0]["blake3"];
    assert_eq!(digest.as_str().unwrap().len(), 64);
}

#[test]
fn a_file_without_text_is_refused_before_anything_is_read() {
    let data = leaked().with("numbers.csv", b"a,b\n1,2\n3,4\n");
    let numbers = data.file("numbers.csv");
    let flags = ["--id", "row_id", "--eval", numbers.to_str().unwrap()];
    let scan = scan(&data.file("data.parquet"), &flags);
    scan.outcome
        .exits(2)
        .says(&["`numbers.csv`", "no column of it has text", "--eval"]);
}
