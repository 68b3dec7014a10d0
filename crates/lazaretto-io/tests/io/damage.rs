use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use lazaretto_core::Verdict;
use lazaretto_io::{IoError, check_conservation};
use parquet::file::properties::WriterProperties;

use crate::support::{Place, batch, every_third, open, run, write_parquet};

fn plain() -> WriterProperties {
    WriterProperties::builder().build()
}

#[test]
fn a_damaged_file_is_kept_aside_and_the_rest_goes_on() {
    let place = Place::new();
    write_parquet(&place.data().join("a.parquet"), &[batch(0, 30)], plain());
    let bytes = fs::read(place.data().join("a.parquet")).unwrap();
    fs::write(place.data().join("b.parquet"), &bytes[..bytes.len() / 2]).unwrap();
    let dataset = place.open();
    assert_eq!(dataset.files()[1].rows, None);
    assert!(dataset.files()[1].problem.is_some());
    assert_eq!(dataset.n_rows(), 30);
    let (folder, _) = run(&dataset, &place.out(), every_third);
    assert_eq!(
        fs::read(folder.path().join("unscanned/b.parquet")).unwrap(),
        &bytes[..bytes.len() / 2]
    );
    let reasons = fs::read_to_string(folder.path().join("unscanned/reasons.json")).unwrap();
    assert!(reasons.contains("b.parquet"));
    let conservation = check_conservation(&dataset, folder.path()).unwrap();
    assert_eq!(conservation.counts.unscanned_files, 1);
}

#[test]
fn a_damaged_row_group_is_an_error_of_its_unit_alone() {
    let place = Place::new();
    let path = place.data().join("a.parquet");
    write_parquet(
        &path,
        &[batch(0, 300), batch(300, 300), batch(600, 300)],
        plain(),
    );
    let mut bytes = fs::read(&path).unwrap();
    let metadata = {
        let file = fs::File::open(&path).unwrap();
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .metadata()
            .clone()
    };
    // Overwrite the pages of the text column in the middle row group.
    let column = metadata.row_group(1).column(1);
    let (start, length) = column.byte_range();
    bytes[start as usize..(start + length) as usize].fill(0xff);
    fs::write(&path, &bytes).unwrap();
    let dataset = place.open();
    let error = dataset
        .batches(1, None)
        .and_then(|mut batches| batches.next().unwrap())
        .unwrap_err();
    assert!(matches!(error, IoError::Unreadable { .. }));
    assert!(
        error.to_string().contains("`a.parquet` row group 1"),
        "{error}"
    );
    assert!(
        dataset
            .batches(1, Some(&[0]))
            .unwrap()
            .all(|batch| batch.is_ok())
    );
    let (folder, counts) = run(&dataset, &place.out(), every_third);
    assert_eq!(counts[0].unscanned, 300);
    assert_eq!(
        fs::read(folder.path().join("unscanned/a.parquet")).unwrap(),
        bytes
    );
    let conservation = check_conservation(&dataset, folder.path()).unwrap();
    assert_eq!(conservation.counts.pass, 400);
    assert_eq!(conservation.counts.quarantine, 200);
    assert_eq!(conservation.counts.unscanned, 300);
}

#[test]
fn single_unscanned_records_are_kept_with_their_schema() {
    let place = Place::new();
    write_parquet(&place.data().join("a.parquet"), &[batch(0, 30)], plain());
    fs::write(place.data().join("b.csv"), "x\n1\n").unwrap();
    let dataset = open(&place.data().join("a.parquet"), &place.scratch()).unwrap();
    let (folder, counts) = run(&dataset, &place.out(), |ordinal| match ordinal {
        4 | 5 => Verdict::Unscanned,
        6 => Verdict::Quarantine,
        _ => Verdict::Pass,
    });
    assert_eq!(counts[0].unscanned, 2);
    check_conservation(&dataset, folder.path()).unwrap();
    let kept = open(&folder.path().join("unscanned/a.parquet"), &place.scratch()).unwrap();
    assert_eq!(kept.n_rows(), 2);
    assert_eq!(kept.schema(), dataset.schema());
    let reasons = fs::read_to_string(folder.path().join("unscanned/reasons.json")).unwrap();
    assert!(reasons.contains("over a limit") && reasons.contains("\"rows\": 2"));
}

#[test]
fn bad_text_names_its_line() {
    let place = Place::new();
    fs::write(place.data().join("a.csv"), "a,b\n1,2\n\n3,4,5\n").unwrap();
    fs::write(
        place.data().join("b.jsonl"),
        "{\"a\":1,\"b\":2}\n\n{\"a\":oops}\n",
    )
    .unwrap();
    fs::write(place.data().join("c.csv"), "a,b\n1,2\n").unwrap();
    fs::write(
        place.data().join("d.jsonl"),
        "{\"a\":1,\"b\":2}\n{\"a\":[1]}\n",
    )
    .unwrap();
    fs::write(place.data().join("e.csv"), b"a,b\n1,2\n\xff,2\n").unwrap();
    let dataset = place.open();
    let problem = |idx: usize| dataset.files()[idx].problem.clone().unwrap_or_default();
    assert!(
        problem(0).contains("line 4: 3 fields where the header has 2"),
        "{}",
        problem(0)
    );
    assert!(problem(1).contains("line 3"), "{}", problem(1));
    assert_eq!(problem(2), "");
    assert!(
        problem(3).contains("line 2") && problem(3).contains("`a`"),
        "{}",
        problem(3)
    );
    assert!(problem(4).contains("line 3: not UTF-8"), "{}", problem(4));
    assert_eq!(dataset.n_rows(), 1);
}

#[test]
fn a_file_with_other_columns_is_unscanned_with_the_difference() {
    let place = Place::new();
    let write = |name: &str, column: &str, values: ArrayRef| {
        let batch = RecordBatch::try_from_iter([(column, values)]).unwrap();
        write_parquet(&place.data().join(name), &[batch], plain());
    };
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    write("a.parquet", "x", Arc::new(StringArray::from(vec!["a"])));
    write("b.parquet", "x", Arc::clone(&numbers));
    write("c.parquet", "x", Arc::clone(&numbers));
    write("d.parquet", "y", numbers);
    let dataset = place.open();
    let problems: Vec<_> = dataset
        .files()
        .iter()
        .map(|file| file.problem.clone())
        .collect();
    assert!(
        problems[0]
            .as_ref()
            .unwrap()
            .contains("`x` is `Utf8` here and `Int64`"),
        "{problems:?}"
    );
    assert!(
        problems[1].is_none() && problems[2].is_none(),
        "most files agree"
    );
    assert!(
        problems[3].as_ref().unwrap().contains("`y`"),
        "{problems:?}"
    );
    let (folder, _) = run(&dataset, &place.out(), every_third);
    let conservation = check_conservation(&dataset, folder.path()).unwrap();
    assert_eq!(conservation.counts.unscanned_files, 2);
}

#[test]
fn nothing_readable_is_an_error() {
    let place = Place::new();
    fs::write(place.data().join("a.parquet"), b"PAR1 not really PAR1").unwrap();
    let error = open(&place.data(), &place.scratch()).unwrap_err();
    assert!(matches!(error, IoError::NothingReadable { .. }));
    assert!(error.hint().is_some());
}
