//! The same records give the same verdicts in every format, and what is not read is said.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, FixedSizeListArray, LargeListArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type};
use lazaretto_testkit::files::parquet_bytes;
use lazaretto_testkit::{EmbeddingAttack, EmbeddingSet};

use crate::data::{Dataset, clean_reviews, columns, encode, poisoned_reviews, table};
use crate::harness::{fixture, run, scan, scan_all};

#[test]
fn all_formats_of_the_same_rows_give_the_same_verdicts() {
    let set = poisoned_reviews(1_500);
    let batch = columns(
        &set.to_record_batch().unwrap(),
        &["row_id", "text", "label", "stars", "category", "source"],
    );
    let planted: BTreeSet<String> = set
        .truth()
        .iter()
        .enumerate()
        .filter(|(_, attack)| attack.is_some())
        .map(|(row, _)| row.to_string())
        .collect();
    // What these look for does not depend on which records a fold or a reference set drew, and
    // that follows from the bytes of a file.
    let exact = "text-surface,exact-duplicates,near-duplicates";
    let reference = Dataset::of("r.parquet", &encode("r.parquet", &batch));
    let expected = scan(&reference.path(), &["--id", "row_id", "--only", exact]);
    let expected = expected.exits(1).held();
    assert!(expected.len() >= 40, "{} held back", expected.len());
    for name in [
        "r.parquet",
        "r.arrow",
        "r.ipc",
        "r.csv",
        "r.tsv",
        "r.jsonl",
        "r.csv.gz",
        "r.csv.zst",
        "r.tsv.gz",
        "r.jsonl.gz",
        "r.jsonl.zst",
    ] {
        let data = Dataset::of(name, &encode(name, &batch));
        let flags = ["--id", "row_id", "--label", "label", "--only", exact];
        scan(&data.path(), &flags)
            .exits(1)
            .holds_exactly(&expected, name);

        let scan = scan(&data.path(), &flags[..4]);
        let run = scan.exits(1);
        let held = run.held();
        let missed = planted.difference(&held).count();
        assert!(missed <= 2, "{name}: {missed} planted records passed");
        let false_alarms = held.difference(&planted).count();
        assert!(
            false_alarms <= 15,
            "{name}: {false_alarms} false alarms\n{}",
            run.titles()
        );
        let report = run.report();
        let classes: Vec<&str> = report["dataset"]["classes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|class| class["name"].as_str().unwrap())
            .collect();
        assert_eq!(classes, ["0", "1"], "{name}");
        assert!(run.path("clean").join(name).exists(), "{name}");
    }
}

#[test]
fn hive_partitions_become_columns_and_stay_folders() {
    let batch = clean_reviews(900);
    let mut data = Dataset::new();
    for (split, start) in [("test", 0), ("train", 300), ("validation", 600)] {
        let part = parquet_bytes(&batch.slice(start, 300), 300).unwrap();
        data = data.with(&format!("split={split}/lang=en/part-0.parquet"), &part);
    }
    let scan = scan(&data.path(), &["--id", "row_id"]);
    let run = scan.exits(0);
    let report = run.report();
    let files = report["dataset"]["files"].as_array().unwrap();
    assert_eq!(files.len(), 3);
    assert_eq!(files[1]["partitions"]["split"], "train");
    assert_eq!(files[1]["partitions"]["lang"], "en");
    let columns = report["dataset"]["columns"].as_array().unwrap();
    assert!(columns.iter().any(|column| column["name"] == "split"));
    assert!(
        run.path("clean/split=train/lang=en/part-0.parquet")
            .exists()
    );
}

#[test]
fn files_passed_over_are_said_with_the_reason() {
    let part = encode("a.parquet", &clean_reviews(600));
    let data = Dataset::of("a.parquet", &part)
        .with(".hidden.parquet", &part)
        .with("_SUCCESS", b"")
        .with("_delta_log/00000.json", b"{}")
        .with("README.md", b"# about\n");
    let scan = scan(&data.path(), &[]);
    let report = scan.exits(0).report();
    let skipped: Vec<String> = report["dataset"]["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| format!("{}: {}", file["path"], file["reason"]).replace('"', ""))
        .collect();
    let skipped = skipped.join("\n");
    for expected in [
        ".hidden.parquet: hidden",
        "_SUCCESS: starts with `_`",
        "_delta_log",
        "README.md",
    ] {
        assert!(skipped.contains(expected), "{expected}\n{skipped}");
    }
    assert_eq!(report["counts"]["records"], 600);
    let outcome = run(["inspect".as_ref(), data.path().as_os_str()]).exits(0);
    assert!(
        outcome
            .stdout
            .contains("passed over: .hidden.parquet (hidden)")
    );
}

#[test]
fn globs_take_what_matches_and_nothing_else() {
    let batch = clean_reviews(900);
    let part = |start| parquet_bytes(&batch.slice(start, 300), 300).unwrap();
    let data = Dataset::of("a/train-0.parquet", &part(0))
        .with("b/c/train-1.parquet", &part(300))
        .with("b/test-0.parquet", &part(600));
    let pattern = data.file("**/train-*.parquet");
    let scan = scan(&pattern, &["--id", "row_id"]);
    let report = scan.exits(0).report();
    assert_eq!(report["counts"]["records"], 600);
    assert_eq!(report["counts"]["files"], 2);
    let none = crate::harness::scan(&data.file("**/*.csv"), &[]);
    none.outcome
        .exits(2)
        .says(&["nothing matches", "*.csv", "hint: "]);
}

#[test]
fn several_inputs_are_one_dataset() {
    let batch = clean_reviews(600);
    let part = |start| parquet_bytes(&batch.slice(start, 300), 300).unwrap();
    let data = Dataset::of("a/x.parquet", &part(0)).with("b/y.parquet", &part(300));
    let scan = scan_all(&[&data.file("b/y.parquet"), &data.file("a")], &[]);
    assert_eq!(scan.exits(0).report()["counts"]["records"], 600);
    assert_eq!(scan.run.scores().len(), 600);
}

#[test]
fn a_single_file_is_a_dataset() {
    let scan = scan(&fixture("digits").join("digits.parquet"), &[]);
    assert!(scan.judged().path("clean/digits.parquet").exists());
}

/// The vectors of the digits fixture in another list layout and number type.
fn vectors(set: &EmbeddingSet, layout: &str, number: &DataType) -> ArrayRef {
    let flat = arrow::array::Float32Array::from(set.vectors.clone());
    let values = cast(&flat, number).unwrap();
    let item = Arc::new(Field::new("item", number.clone(), true));
    let dim = set.dim;
    let lengths = std::iter::repeat_n(dim, set.n_rows());
    match layout {
        "fixed" => Arc::new(FixedSizeListArray::new(
            item,
            i32::try_from(dim).unwrap(),
            values,
            None,
        )),
        "list" => Arc::new(ListArray::new(
            item,
            OffsetBuffer::from_lengths(lengths),
            values,
            None,
        )),
        _ => Arc::new(LargeListArray::new(
            item,
            OffsetBuffer::from_lengths(lengths),
            values,
            None,
        )),
    }
}

#[test]
fn embeddings_of_any_layout_and_width_rank_alike() {
    let set = EmbeddingSet::digits()
        .poison(&EmbeddingAttack::Outliers { rows: 15 }, 91)
        .poison(&EmbeddingAttack::LabelFlips { rows: 40 }, 92);
    let batch = set.to_record_batch().unwrap();
    let label = Arc::clone(batch.column_by_name("label").unwrap());
    let mut top = Vec::new();
    for (layout, number) in [
        ("fixed", DataType::Float32),
        ("fixed", DataType::Float16),
        ("list", DataType::Float64),
        ("large", DataType::Float32),
        ("large", DataType::Float16),
    ] {
        let rows = table(vec![
            ("embedding", vectors(&set, layout, &number)),
            ("label", Arc::clone(&label)),
        ]);
        let name = if layout == "fixed" {
            "e.parquet"
        } else {
            "e.arrow"
        };
        let data = Dataset::of(name, &encode(name, &rows));
        let scan = scan(
            &data.path(),
            &["--id", "row_id", "--embedding", "embedding"],
        );
        let run = scan.judged();
        assert!(
            run.ran().contains(&"knn-distance".to_owned()),
            "{layout} {number}"
        );
        let scores = run.scores();
        let mut ranked: Vec<(f32, usize)> = scores
            .iter()
            .map(|(id, score)| (score.fused.unwrap(), id.parse().unwrap()))
            .collect();
        ranked.sort_by(|left, right| right.0.total_cmp(&left.0));
        let poison = ranked
            .iter()
            .take(55)
            .filter(|(_, row)| set.truth[*row].is_some())
            .count();
        assert!(
            poison >= 40,
            "{layout} {number}: {poison} of 55 on top are poison"
        );
        top.push(poison);
    }
    assert!(
        top.iter().max().unwrap() - top.iter().min().unwrap() <= 6,
        "{top:?}"
    );
    let first = batch
        .column_by_name("embedding")
        .unwrap()
        .as_fixed_size_list();
    assert_eq!(
        first.values().as_primitive::<Float32Type>().len(),
        set.dim * set.n_rows()
    );
}
