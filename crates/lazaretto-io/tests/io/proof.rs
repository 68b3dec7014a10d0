use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use lazaretto_io::{Dataset, IoError, RunFolder, check_conservation};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;

use crate::support::{Place, batch, every_third, run, write_parquet};

fn scanned() -> (Place, Dataset, RunFolder) {
    let place = Place::new();
    let properties = WriterProperties::builder().build();
    write_parquet(
        &place.data().join("a.parquet"),
        &[batch(0, 40), batch(40, 20)],
        properties.clone(),
    );
    write_parquet(&place.data().join("b.parquet"), &[batch(0, 1)], properties);
    let dataset = place.open();
    let (folder, _) = run(&dataset, &place.out(), every_third);
    check_conservation(&dataset, folder.path()).unwrap();
    (place, dataset, folder)
}

fn read(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn replace(path: &Path, batch: &RecordBatch) {
    write_parquet(
        path,
        std::slice::from_ref(batch),
        WriterProperties::builder().build(),
    );
}

fn noticed(dataset: &Dataset, folder: &RunFolder) -> String {
    match check_conservation(dataset, folder.path()) {
        Err(error @ IoError::Conservation { .. }) => error.to_string(),
        other => panic!("not noticed: {other:?}"),
    }
}

#[test]
fn a_changed_value_is_noticed() {
    let (_place, dataset, folder) = scanned();
    let path = folder.path().join("clean/a.parquet");
    let clean = read(&path);
    let mut columns = clean.columns().to_vec();
    let texts = columns[1].clone();
    let changed: StringArray = (0..clean.num_rows())
        .map(|row| {
            let text = arrow::array::cast::AsArray::as_string::<i32>(&texts).value(row);
            Some(if row == 30 { "changed" } else { text })
        })
        .collect();
    columns[1] = Arc::new(changed) as ArrayRef;
    replace(
        &path,
        &RecordBatch::try_new(clean.schema(), columns).unwrap(),
    );
    let message = noticed(&dataset, &folder);
    assert!(message.contains("`a.parquet`"), "{message}");
}

#[test]
fn a_dropped_a_repeated_and_a_moved_row_are_noticed() {
    for case in 0..3 {
        let (_place, dataset, folder) = scanned();
        let path = folder.path().join("clean/a.parquet");
        let clean = read(&path);
        let rows = clean.num_rows();
        let parts = match case {
            0 => vec![clean.slice(0, 10), clean.slice(11, rows - 11)],
            1 => vec![clean.slice(0, 10), clean.slice(9, rows - 10)],
            _ => vec![
                clean.slice(0, 9),
                clean.slice(10, 1),
                clean.slice(9, 1),
                clean.slice(11, rows - 11),
            ],
        };
        replace(&path, &concat_batches(&clean.schema(), &parts).unwrap());
        noticed(&dataset, &folder);
    }
}

#[test]
fn missing_added_and_altered_files_are_noticed() {
    let (_place, dataset, folder) = scanned();
    let quarantine = folder.path().join("quarantine/a.parquet");
    let held = fs::read(&quarantine).unwrap();
    fs::remove_file(&quarantine).unwrap();
    noticed(&dataset, &folder);
    fs::write(&quarantine, held).unwrap();
    check_conservation(&dataset, folder.path()).unwrap();

    let copy = folder.path().join("clean/b.parquet");
    let bytes = fs::read(&copy).unwrap();
    fs::write(&copy, &bytes[1..]).unwrap();
    assert!(noticed(&dataset, &folder).contains("clean/b.parquet"));
    fs::write(&copy, bytes).unwrap();

    fs::write(folder.path().join("clean/extra.parquet"), b"").unwrap();
    assert!(noticed(&dataset, &folder).contains("extra.parquet"));
}

#[test]
fn a_changed_line_of_text_is_noticed() {
    let place = Place::new();
    let text: String = (0..20).map(|row| format!("{row},text {row}\n")).collect();
    fs::write(place.data().join("x.csv"), format!("id,text\n{text}")).unwrap();
    let dataset = place.open();
    let (folder, _) = run(&dataset, &place.out(), every_third);
    check_conservation(&dataset, folder.path()).unwrap();
    let path = folder.path().join("clean/x.csv");
    let clean = fs::read_to_string(&path).unwrap();
    for tampered in [
        clean.replace("text 6", "text 66"),
        clean.replace("6,text 6\n", ""),
        format!("{clean}20,more\n"),
    ] {
        fs::write(&path, tampered).unwrap();
        noticed(&dataset, &folder);
    }
}

#[test]
fn a_swapped_note_and_a_short_list_are_noticed() {
    let (_place, dataset, folder) = scanned();
    let path = folder.path().join("quarantine/a.parquet");
    let held = read(&path);
    let notes = held.column(held.num_columns() - 1);
    let swapped = arrow::compute::concat(&[
        &notes.slice(1, 1),
        &notes.slice(0, 1),
        &notes.slice(2, held.num_rows() - 2),
    ])
    .unwrap();
    let mut columns = held.columns().to_vec();
    *columns.last_mut().unwrap() = swapped;
    replace(
        &path,
        &RecordBatch::try_new(held.schema(), columns).unwrap(),
    );
    noticed(&dataset, &folder);

    let (_place, dataset, folder) = scanned();
    let path = folder.path().join("scores/part-00000.parquet");
    let scores = read(&path);
    replace(&path, &scores.slice(0, scores.num_rows() - 1));
    noticed(&dataset, &folder);
}
