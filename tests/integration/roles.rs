//! What `lazaretto inspect` takes the columns for, above all in the shapes that language models are
//! trained on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int64Array};
use serde_json::{Value, json};

use crate::data::{Dataset, encode, strings, table};
use crate::harness::{fixture, run};

fn inspect(data: &Dataset, flags: &[&str]) -> Value {
    let path = data.path();
    let mut arguments = vec!["inspect", path.to_str().unwrap(), "--format", "json"];
    arguments.extend(flags);
    run(arguments).exits(0).json()
}

fn roles(inspection: &Value) -> BTreeMap<String, String> {
    let columns = inspection["facts"]["columns"].as_array().unwrap();
    columns
        .iter()
        .map(|column| {
            assert_ne!(column["reason"], "", "{column}");
            let part = |key: &str| column[key].as_str().unwrap().to_owned();
            (part("name"), part("role"))
        })
        .collect()
}

/// A JSONL dataset of 60 records.
fn json_lines(record: impl Fn(usize) -> Value) -> Dataset {
    let lines: Vec<String> = (0..60).map(|row| record(row).to_string() + "\n").collect();
    Dataset::of("data.jsonl", lines.concat().as_bytes())
}

fn question(row: usize) -> String {
    format!("Explain how step {row} keeps the lamp of a lighthouse turning through the night.")
}

fn answer(row: usize) -> String {
    format!("In step {row} the clockwork below the lamp is wound by hand, and a weight turns it.")
}

#[track_caller]
fn assert_roles(data: &Dataset, expected: &[(&str, &str)], text_fields: &[&str]) {
    let inspection = inspect(data, &[]);
    let expected: BTreeMap<String, String> = expected
        .iter()
        .map(|(column, role)| ((*column).to_owned(), (*role).to_owned()))
        .collect();
    assert_eq!(roles(&inspection), expected);
    let found: BTreeSet<&str> = inspection["facts"]["text_fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field.as_str().unwrap())
        .collect();
    assert_eq!(found, text_fields.iter().copied().collect());
    let run = inspection["detectors"]["run"].as_array().unwrap();
    for detector in ["text-surface", "near-duplicates"] {
        assert!(run.contains(&json!(detector)), "{detector} does not apply");
    }
}

#[test]
fn plain_texts() {
    let data = json_lines(|row| json!({"id": row, "text": question(row) + &answer(row)}));
    assert_roles(&data, &[("id", "id"), ("text", "text")], &["text"]);
}

#[test]
fn prompt_and_completion() {
    let data = json_lines(|row| json!({"prompt": question(row), "completion": answer(row)}));
    assert_roles(
        &data,
        &[("prompt", "prompt"), ("completion", "response")],
        &["prompt", "completion"],
    );
}

#[test]
fn prompt_chosen_and_rejected() {
    let data = json_lines(|row| {
        json!({
            "prompt": question(row),
            "chosen": answer(row),
            "rejected": format!("Step {row} is not known to me, please ask somebody else."),
        })
    });
    assert_roles(
        &data,
        &[
            ("prompt", "prompt"),
            ("chosen", "response"),
            ("rejected", "response"),
        ],
        &["prompt", "chosen", "rejected"],
    );
}

#[test]
fn instruction_input_and_output() {
    let data = json_lines(|row| {
        let input = if row % 2 == 0 {
            String::new()
        } else {
            format!("lamp {row}")
        };
        json!({"instruction": question(row), "input": input, "output": answer(row)})
    });
    assert_roles(
        &data,
        &[
            ("instruction", "prompt"),
            ("input", "prompt"),
            ("output", "response"),
        ],
        &["instruction", "input", "output"],
    );
}

#[test]
fn chat_messages_and_sharegpt_conversations() {
    let messages = json_lines(|row| {
        json!({"messages": [
            {"role": "system", "content": "You know lighthouses."},
            {"role": "user", "content": question(row)},
            {"role": "assistant", "content": answer(row)},
        ]})
    });
    assert_roles(
        &messages,
        &[("messages", "messages")],
        &["messages/prompt", "messages/response"],
    );
    let conversations = json_lines(|row| {
        json!({"conversations": [
            {"from": "human", "value": question(row)},
            {"from": "gpt", "value": answer(row)},
        ]})
    });
    assert_roles(
        &conversations,
        &[("conversations", "messages")],
        &["conversations/prompt", "conversations/response"],
    );
}

#[test]
fn hugging_face_class_names_are_read() {
    let path = fixture("reviews");
    let inspection = run(["inspect", path.to_str().unwrap(), "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(
        inspection["facts"]["classes"],
        json!(["negative", "positive"])
    );
    let roles = roles(&inspection);
    for (column, role) in [
        ("row_id", "id"),
        ("text", "text"),
        ("label", "label"),
        ("stars", "numeric"),
        ("category", "categorical"),
        ("source", "source"),
        ("created_at", "time"),
    ] {
        assert_eq!(roles[column], role, "{column}");
    }
}

/// Columns whose names say nothing.
fn unnamed() -> Dataset {
    let reviews = crate::data::clean_reviews(400);
    let column = |name| Arc::clone(reviews.column_by_name(name).unwrap());
    let height: ArrayRef = Arc::new(Float32Array::from_iter_values(
        (0..400).map(|row| 1.5 + (row * 7919 % 400) as f32 / 800.0),
    ));
    let group: ArrayRef = Arc::new(Int64Array::from_iter_values((0..400).map(|row| row % 3)));
    let kind = strings((0..400).map(|row| ["oak", "ash", "elm"][row % 3]));
    let rows = table(vec![
        ("c1", column("text")),
        ("c2", group),
        ("c3", height),
        ("c4", kind),
    ]);
    Dataset::of("rows.parquet", &encode("rows.parquet", &rows))
}

#[test]
fn content_decides_when_names_say_nothing() {
    let roles = roles(&inspect(&unnamed(), &[]));
    assert_eq!(roles["c1"], "text");
    assert_eq!(roles["c3"], "numeric");
    assert_eq!(roles["c4"], "categorical");
}

#[test]
fn flags_win_over_inference() {
    let roles = roles(&inspect(&unnamed(), &["--label", "c4", "--source", "c2"]));
    assert_eq!(roles["c4"], "label");
    assert_eq!(roles["c2"], "source");
}

#[test]
fn detectors_that_do_not_apply_say_why() {
    let data = json_lines(|row| json!({"id": row, "text": question(row) + &answer(row)}));
    let inspection = inspect(&data, &[]);
    let passed_over = inspection["detectors"]["passed_over"].as_array().unwrap();
    let reason = |id: &str| {
        let over = passed_over.iter().find(|over| over["id"] == id).unwrap();
        over["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason("tabular-ensemble").contains("numeric"));
    assert!(reason("ecod").contains("on request"));
    assert!(reason("text-trigger").contains("label"));
    let human = run(["inspect".as_ref(), data.path().as_os_str()]).exits(0);
    assert!(human.stdout.contains("does not apply"));
}

#[test]
fn an_initialised_pipeline_scans_the_dataset_it_was_made_for() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("reviews.toml");
    let data = fixture("reviews");
    let init = || {
        run([
            "init".as_ref(),
            data.as_os_str(),
            "--out".as_ref(),
            file.as_os_str(),
        ])
    };
    init().exits(0);
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("id = \"row_id\""), "{written}");
    assert!(written.contains("label = \"label\""), "{written}");
    let plain = crate::harness::scan(&data, &[]);
    let with = crate::harness::scan(&data, &["--pipeline", file.to_str().unwrap()]);
    assert_eq!(plain.exits(1).held(), with.exits(1).held());
    // A file of the user's is never overwritten.
    init().exits(2).says(&["reviews.toml"]);
}
