use std::fs;

use lazaretto_core::Role;
use lazaretto_io::{GivenRoles, IoError, RolePlan, assign_roles};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

use crate::support::{Place, batch, write_parquet};

/// Roles by column name for a JSON-lines dataset made of `line(row)`.
fn inferred(line: impl Fn(usize) -> String) -> Vec<(String, Role)> {
    let place = Place::new();
    let text: String = (0..200).map(|row| line(row) + "\n").collect();
    fs::write(place.data().join("x.jsonl"), text).unwrap();
    by_name(&assign_roles(&place.open(), &GivenRoles::default()).unwrap())
}

fn by_name(plan: &RolePlan) -> Vec<(String, Role)> {
    assert!(plan.columns.iter().all(|column| !column.reason.is_empty()));
    plan.columns
        .iter()
        .map(|column| (column.name.clone(), column.role))
        .collect()
}

fn expect(found: &[(String, Role)], expected: &[(&str, Role)]) {
    let found: Vec<_> = found
        .iter()
        .map(|(name, role)| (name.as_str(), *role))
        .collect();
    assert_eq!(found, expected);
}

const PROSE: &str = "a sentence with quite a few words in it, number";

#[test]
fn language_model_shapes() {
    expect(
        &inferred(|row| {
            format!(
                r#"{{"instruction":"{PROSE} {row}","input":"","output":"ok {row}","source":"s{}"}}"#,
                row % 3
            )
        }),
        &[
            ("instruction", Role::Prompt),
            ("input", Role::Prompt),
            ("output", Role::Response),
            ("source", Role::Source),
        ],
    );
    expect(
        &inferred(|row| {
            format!(r#"{{"prompt":"{row}?","chosen":"yes {row}","rejected":"no {row}"}}"#)
        }),
        &[
            ("prompt", Role::Prompt),
            ("chosen", Role::Response),
            ("rejected", Role::Response),
        ],
    );
    expect(
        &inferred(|row| {
            format!(r#"{{"id":"c{row}","conversations":[{{"from":"human","value":"{PROSE}"}}]}}"#)
        }),
        &[("id", Role::Id), ("conversations", Role::Messages)],
    );
    expect(
        &inferred(|row| format!(r#"{{"messages":[{{"role":"user","content":"{row}"}}]}}"#)),
        &[("messages", Role::Messages)],
    );
    expect(
        &inferred(|row| {
            format!(
                r#"{{"prompt":"{row}?","chosen":[{{"role":"user","content":"{row}?"}}],"rejected":[]}}"#
            )
        }),
        &[
            ("prompt", Role::Prompt),
            ("chosen", Role::Messages),
            ("rejected", Role::Other),
        ],
    );
    expect(
        &inferred(|row| format!(r#"{{"chosen":"{PROSE} {row}","rejected":"{PROSE} no {row}"}}"#)),
        &[("chosen", Role::Response), ("rejected", Role::Response)],
    );
    expect(
        &inferred(|row| format!(r#"{{"human":"{PROSE} {row}","assistant":"{PROSE} {row}"}}"#)),
        &[("human", Role::Prompt), ("assistant", Role::Response)],
    );
    expect(
        &inferred(|row| format!(r#"{{"dialogue":["{PROSE}","{row}"],"tags":["a","b"]}}"#)),
        &[("dialogue", Role::Text), ("tags", Role::Other)],
    );
    expect(
        &inferred(|row| format!(r#"{{"prompt":"{PROSE} {row}","score":{row}.5}}"#)),
        &[("prompt", Role::Text), ("score", Role::Numeric)],
    );
}

#[test]
fn tables_and_classified_texts() {
    expect(
        &inferred(|row| {
            format!(
                r#"{{"row_id":{row},"age":{},"income":"{}","job":"j{}","zip":"z{row}","category":{},"ok":true,"label":{}.25}}"#,
                row % 60,
                row % 2,
                row % 9,
                row % 4,
                row
            )
        }),
        &[
            ("row_id", Role::Id),
            ("age", Role::Numeric),
            ("income", Role::Categorical),
            ("job", Role::Categorical),
            ("zip", Role::Other),
            ("category", Role::Label),
            ("ok", Role::Numeric),
            ("label", Role::Numeric),
        ],
    );
    expect(
        &inferred(|row| {
            format!(
                r#"{{"text":"{PROSE} {row}","label":{},"url":"https://x.org/{row}","sha256":"{row:064x}","created_at":"2024-01-{:02}T00:00:00","author":"a{}","probs":[0.25,0.75],"vec":[{row}.5,1.5]}}"#,
                row % 2,
                row % 28 + 1,
                row % 5
            )
        }),
        &[
            ("text", Role::Text),
            ("label", Role::Label),
            ("url", Role::Url),
            ("sha256", Role::ContentHash),
            ("created_at", Role::Time),
            ("author", Role::Source),
            ("probs", Role::Probabilities),
            ("vec", Role::Embedding),
        ],
    );
}

#[test]
fn hugging_face_classes_and_partitions() {
    let place = Place::new();
    write_parquet(
        &place.data().join("split=train/x.parquet"),
        &[batch(0, 200)],
        WriterProperties::builder().build(),
    );
    let plan = assign_roles(&place.open(), &GivenRoles::default()).unwrap();
    assert_eq!(
        plan.class_names,
        Some(vec!["neg".to_owned(), "pos".to_owned()])
    );
    expect(
        &by_name(&plan),
        &[
            ("row_id", Role::Id),
            ("text", Role::Text),
            ("label", Role::Label),
            ("embedding", Role::Embedding),
            ("weights", Role::Other),
            ("half", Role::Numeric),
            ("tag", Role::Categorical),
            ("nested", Role::Other),
            ("at", Role::Time),
            ("value", Role::Numeric),
            ("split", Role::Other),
        ],
    );
}

#[test]
fn given_roles_win_and_every_mistake_is_reported() {
    let place = Place::new();
    fs::write(
        place.data().join("x.csv"),
        "row_id,income,text,label\n1,a,some words here,0\n2,b,other words there,1\n",
    )
    .unwrap();
    let dataset = place.open();
    let given = GivenRoles {
        label: Some("income".to_owned()),
        ..GivenRoles::default()
    };
    let plan = assign_roles(&dataset, &given).unwrap();
    assert_eq!(plan.column(Role::Label), Some(1));
    assert_ne!(plan.columns[3].role, Role::Label, "one label at most");

    let wrong = GivenRoles {
        label: Some("incone".to_owned()),
        embedding: Some("text".to_owned()),
        source: Some("row_id".to_owned()),
        time: Some("row_id".to_owned()),
        ..GivenRoles::default()
    };
    let errors = assign_roles(&dataset, &wrong).unwrap_err();
    assert_eq!(errors.len(), 3);
    assert_eq!(errors[0].hint().unwrap(), "did you mean `income`?");
    assert!(matches!(errors[1], IoError::UnfitColumn { .. }));
    assert!(matches!(errors[2], IoError::RoleConflict { .. }));
}

#[test]
fn roles_are_told_from_any_unit_that_decodes() {
    let place = Place::new();
    let path = place.data().join("a.parquet");
    let properties = WriterProperties::builder().build();
    write_parquet(&path, &[batch(0, 30)], properties.clone());
    let mut bytes = fs::read(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap();
    let first = reader.metadata().row_group(0).column(0).byte_range();
    bytes[first.0 as usize..(first.0 + first.1) as usize].fill(0xff);
    // More files that open and do not decode than units are sampled, and one good one among them.
    for number in 0..40 {
        let path = place.data().join(format!("b{number:02}.parquet"));
        fs::write(path, &bytes).unwrap();
    }
    fs::remove_file(&path).unwrap();
    let good = place.data().join("b17-good.parquet");
    write_parquet(&good, &[batch(0, 30)], properties);
    let dataset = place.open();
    assert_eq!(dataset.units().len(), 41);
    let plan = assign_roles(&dataset, &GivenRoles::default()).unwrap();
    assert!(plan.column(Role::Text).is_some());
}
