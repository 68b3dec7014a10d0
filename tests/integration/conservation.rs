//! Nothing lost: clean and quarantine together are the input, and clean is the input's own bytes
//! wherever nothing was taken out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StructArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Int32Type};
use lazaretto_testkit::files::parquet_bytes;
use lazaretto_testkit::{Attack, ReviewSet};
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use crate::data::{
    Dataset, clean_reviews, columns, decompress, encode, poisoned_reviews, strings, table,
};
use crate::harness::{
    Scan, files_below, fixture, parquet_batches, parquet_schema, parquet_texts, scan, texts,
};

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec())
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Ids in the Parquet files below `folder`.
fn ids(folder: &Path) -> Vec<String> {
    files_below(folder)
        .iter()
        .flat_map(|path| parquet_texts(path, "row_id"))
        .collect()
}

#[test]
fn every_review_is_in_clean_or_in_quarantine() {
    let data = fixture("reviews");
    let scan = scan(&data, &["--id", "row_id"]);
    let run = scan.exits(1);
    let (clean, held) = (ids(&run.path("clean")), ids(&run.path("quarantine")));
    assert!(held.len() >= 100);
    let all: BTreeSet<String> = ids(&data).into_iter().collect();
    assert_eq!(clean.len() + held.len(), all.len());
    let union: BTreeSet<String> = clean.into_iter().chain(held.clone()).collect();
    assert_eq!(union, all);
    assert_eq!(held.into_iter().collect::<BTreeSet<_>>(), run.held());
    let counts = &run.report()["counts"];
    assert_eq!(counts["records"], 3_000);
    assert_eq!(counts["unscanned"], 0);
}

#[test]
fn clean_parquet_is_the_input_without_the_held_rows() {
    let data = fixture("reviews");
    let scan = scan(&data, &["--id", "row_id"]);
    let run = scan.exits(1);
    let held = run.held();
    for path in files_below(&data) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let input = parquet_batches(&path);
        let input = concat_batches(&input[0].schema(), &input).unwrap();
        let keep = texts(&input, "row_id")
            .into_iter()
            .map(|id| Some(!held.contains(&id.unwrap())))
            .collect();
        let expected = filter_record_batch(&input, &keep).unwrap();

        let written = run.path("clean").join(name);
        let clean = parquet_batches(&written);
        let clean = concat_batches(&clean[0].schema(), &clean).unwrap();
        // Fields, types, nullability, values, order, and the `huggingface` metadata.
        assert_eq!(clean, expected, "{name}");
        assert_eq!(parquet_schema(&written), parquet_schema(&path));
        assert!(
            parquet_schema(&written)
                .metadata()
                .contains_key("huggingface")
        );
        assert_eq!(compressions(&path), compressions(&written));
    }
}

/// The compression of each column of the first row group.
fn compressions(path: &Path) -> Vec<String> {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let group = reader.metadata().row_group(0).clone();
    group
        .columns()
        .iter()
        .map(|column| column.compression().to_string())
        .collect()
}

#[test]
fn quarantine_keeps_the_columns_and_adds_the_evidence() {
    let data = fixture("reviews");
    let scan = scan(&data, &["--id", "row_id"]);
    let run = scan.exits(1);
    let findings: BTreeSet<String> = parquet_texts(&run.path("findings.parquet"), "finding_id")
        .into_iter()
        .collect();
    let scores = run.scores();
    for path in files_below(&run.path("quarantine")) {
        for batch in parquet_batches(&path) {
            let evidence = batch.column_by_name("_lazaretto").unwrap();
            let evidence = evidence.as_any().downcast_ref::<StructArray>().unwrap();
            let part = |name| {
                let column: ArrayRef = Arc::clone(evidence.column_by_name(name).unwrap());
                let single = table(vec![("value", column)]);
                texts(&single, "value")
            };
            let (ids, hashes) = (part("record_id"), part("row_hash"));
            assert_eq!(ids, texts(&batch, "row_id"));
            for (id, hash) in ids.iter().zip(&hashes) {
                let id = id.as_deref().unwrap();
                assert_eq!(hash.as_deref(), Some(scores[id].row_hash.as_str()));
            }
            let named = evidence.column_by_name("findings").unwrap();
            let named = named.as_any().downcast_ref::<ListArray>().unwrap();
            for row in 0..batch.num_rows() {
                let list = table(vec![("finding", named.value(row))]);
                let names = texts(&list, "finding");
                assert!(!names.is_empty());
                assert!(names.iter().flatten().all(|name| findings.contains(name)));
            }
        }
    }
}

#[test]
fn a_file_that_lost_no_record_is_copied_byte_for_byte() {
    let data = fixture("reviews-clean");
    let scan = scan(&data, &["--id", "row_id"]);
    let run = scan.exits(0);
    for path in files_below(&data) {
        let written = run.path("clean").join(path.file_name().unwrap());
        assert!(
            fs::read(&path).unwrap() == fs::read(written).unwrap(),
            "{}",
            path.display()
        );
    }
    assert!(!run.path("quarantine").exists());
    assert!(!run.path("unscanned").exists());
}

#[test]
fn clean_text_files_keep_the_original_lines() {
    let set = poisoned_reviews(1_200);
    let batch = columns(
        &set.to_record_batch().unwrap(),
        &["row_id", "text", "label", "source"],
    );
    for name in [
        "r.csv",
        "r.tsv",
        "r.jsonl",
        "r.csv.gz",
        "r.jsonl.gz",
        "r.jsonl.zst",
    ] {
        let data = Dataset::of(name, &encode(name, &batch));
        let scan = scan(&data.path(), &["--id", "row_id"]);
        let run = scan.exits(1);
        let held = run.held();
        assert!(held.len() >= 70, "{name}: {} held back", held.len());
        let header = usize::from(!name.contains("jsonl"));
        // Row ids are positions, and no review has a line break in it.
        let input = lines(&decompress(&data.file(name)));
        assert_eq!(input.len(), 1_200 + header);
        let expected: Vec<&String> = input
            .iter()
            .enumerate()
            .filter(|(idx, _)| *idx < header || !held.contains(&(idx - header).to_string()))
            .map(|(_, line)| line)
            .collect();
        let clean = lines(&decompress(&run.path("clean").join(name)));
        assert_eq!(clean.iter().collect::<Vec<_>>(), expected, "{name}");
        let quarantine = run.path("quarantine").join(format!("{name}.parquet"));
        assert_eq!(
            parquet_texts(&quarantine, "row_id")
                .into_iter()
                .collect::<BTreeSet<_>>(),
            held,
            "{name}"
        );
    }
}

#[test]
fn csv_quoting_line_ends_and_number_spelling_survive() {
    // CRLF, quotes around what needs none, a quoted line break, numbers with trailing zeros.
    let mut csv = String::from("row_id,\"text\",label,price\r\n");
    let set = poisoned_reviews(600);
    for (row, review) in set.reviews.iter().enumerate() {
        let text = review.text.replace('"', "\"\"");
        let line_break = if row % 7 == 0 { "\nthe end" } else { "" };
        let price = row % 13;
        let label = review.label;
        csv += [&row.to_string(), ",\"", &text, line_break, "\","]
            .concat()
            .as_str();
        csv += [&label.to_string(), ",", &price.to_string(), ".50\r\n"]
            .concat()
            .as_str();
    }
    let data = Dataset::of("prices.csv", csv.as_bytes());
    let scan = scan(&data.path(), &["--id", "row_id", "--label", "label"]);
    let run = scan.exits(1);
    let held = run.held();
    assert!(held.len() >= 30, "{} held back", held.len());
    let mut expected = String::new();
    let mut rest = csv.as_str();
    let mut row = 0;
    while let Some(end) = rest.find("\r\n") {
        let (record, after) = rest.split_at(end + 2);
        if row == 0 || !held.contains(&(row - 1).to_string()) {
            expected += record;
        }
        rest = after;
        row += 1;
    }
    assert!(run.text("clean/prices.csv") == expected);
}

#[test]
fn nested_columns_and_file_metadata_survive_a_rewrite() {
    let n_rows = 1_500;
    let set = ReviewSet::generate(81, n_rows).poison(
        &Attack::InvisibleCharacters {
            rows: 30,
            target: 1,
        },
        82,
    );
    let reviews = set.to_record_batch().unwrap();
    let tags: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
        (0..1_500).map(|row| (row % 5 != 0).then(|| (0..row % 4).map(Some).collect::<Vec<_>>())),
    ));
    let fields = Fields::from(vec![
        Field::new("country", DataType::Utf8, true),
        Field::new("tags", tags.data_type().clone(), true),
    ]);
    let country = strings((0..n_rows).map(|row| if row % 3 == 0 { "AT" } else { "PT" }));
    let meta: ArrayRef = Arc::new(StructArray::new(fields, vec![country, tags], None));
    let batch = table(vec![
        ("text", Arc::clone(reviews.column_by_name("text").unwrap())),
        (
            "label",
            Arc::clone(reviews.column_by_name("label").unwrap()),
        ),
        ("meta", meta),
    ]);
    let data = Dataset::of("nested.parquet", &parquet_bytes(&batch, 400).unwrap());
    let scan = scan(&data.path(), &[]);
    let run = scan.exits(1);
    let held = run.held();
    assert!(held.len() >= 29, "{} held back", held.len());
    let keep = (0..n_rows)
        .map(|row| Some(!held.contains(&row.to_string())))
        .collect();
    let expected = filter_record_batch(&batch, &keep).unwrap();
    let clean = parquet_batches(&run.path("clean/nested.parquet"));
    assert_eq!(
        concat_batches(&clean[0].schema(), &clean).unwrap(),
        expected
    );
}

#[test]
fn the_manifest_lists_every_file_with_its_size() {
    let scan = scan(&fixture("reviews"), &["--id", "row_id"]);
    let run = scan.exits(1);
    let manifest = run.json("manifest.json");
    let listed: Vec<(String, u64)> = manifest["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let path = file["path"].as_str().unwrap().to_owned();
            (path, file["bytes"].as_u64().unwrap())
        })
        .collect();
    let mut found: Vec<(String, u64)> = run
        .reproducible()
        .into_iter()
        .filter(|(path, _)| path != "manifest.json")
        .map(|(path, bytes)| (path, bytes.len() as u64))
        .collect();
    found.sort();
    assert_eq!(listed, found);
    assert_eq!(manifest["inputs"].as_array().unwrap().len(), 3);
}

#[test]
fn the_input_is_not_touched() {
    let batch = poisoned_reviews(800).to_record_batch().unwrap();
    let data = Dataset::of("a.parquet", &encode("a.parquet", &batch));
    let before = crate::harness::contents(&data.path());
    let scan: Scan = scan(&data.path(), &[]);
    scan.exits(1);
    assert!(before == crate::harness::contents(&data.path()));
}

#[test]
fn a_scan_of_what_passed_holds_back_nothing_more() {
    let first = scan(&fixture("reviews"), &["--id", "row_id"]);
    let clean = first.exits(1).path("clean");
    let second = scan(&clean, &["--id", "row_id"]);
    let held = second.exits(0).held();
    assert!(held.len() <= 14, "{} of 2870 held back", held.len());
}

#[test]
fn an_empty_table_comes_through() {
    let batch = clean_reviews(10).slice(0, 0);
    let data = Dataset::of("none.parquet", &parquet_bytes(&batch, 10).unwrap()).with(
        "some.parquet",
        &parquet_bytes(&clean_reviews(600), 200).unwrap(),
    );
    let scan = scan(&data.path(), &[]);
    let run = scan.exits(0);
    assert!(
        fs::read(data.file("none.parquet")).unwrap()
            == fs::read(run.path("clean/none.parquet")).unwrap()
    );
}
