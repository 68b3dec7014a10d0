//! Numbers and vectors as they should not be: every dataset ends in a verdict with finite scores,
//! in abstentions with their reasons, or in a message, whatever detectors look at it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray as _, BooleanArray, Date32Array, Float16Array, Float32Array, Float64Array,
    Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type};
use half::f16;
use lazaretto_testkit::seed::{normal, stream};

use crate::data::{Dataset, encode, strings, table};
use crate::harness::{RunFolder, Scan, files_below, parquet_batches, run, scan};

const N_ROWS: usize = 600;
const DIM: usize = 16;
const N_CLASSES: usize = 3;

/// Where a value is put that does not belong there.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Every seventh record.
    Records,
    /// The third number of each record.
    Column,
    /// One number of every second record, of another column each time.
    Cells,
    Everywhere,
}

const PLACES: [Place; 4] = [
    Place::Records,
    Place::Column,
    Place::Cells,
    Place::Everywhere,
];

impl Place {
    fn holds(self, row: usize, column: usize, n_columns: usize) -> bool {
        match self {
            Self::Records => row.is_multiple_of(7),
            Self::Column => column == 2,
            Self::Cells => row.is_multiple_of(2) && row / 2 % n_columns == column,
            Self::Everywhere => true,
        }
    }
}

/// Rows of `n_columns` numbers in three clusters, one per class.
fn rows(n_rows: usize, n_columns: usize) -> Vec<Vec<f64>> {
    let mut rng = stream(31, "bad values");
    let mut row = |row_idx: usize| -> Vec<f64> {
        let centre = |column| {
            if column % N_CLASSES == class(row_idx) {
                4.0
            } else {
                0.0
            }
        };
        (0..n_columns)
            .map(|column| centre(column) + normal(&mut rng))
            .collect()
    };
    (0..n_rows).map(&mut row).collect()
}

fn class(row: usize) -> usize {
    row % N_CLASSES
}

fn labels(n_rows: usize) -> ArrayRef {
    strings((0..n_rows).map(|row| format!("class {}", class(row))))
}

fn with(mut rows: Vec<Vec<f64>>, value: f64, place: Place) -> Vec<Vec<f64>> {
    for (row_idx, row) in rows.iter_mut().enumerate() {
        let n_columns = row.len();
        for (column, cell) in row.iter_mut().enumerate() {
            if place.holds(row_idx, column, n_columns) {
                *cell = value;
            }
        }
    }
    rows
}

/// A table of the rows' numbers as columns.
fn numbers(rows: &[Vec<f64>], more: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let n_columns = rows.first().map_or(6, Vec::len);
    let names: Vec<String> = (0..n_columns).map(|column| format!("f{column}")).collect();
    let column = |column: usize| -> ArrayRef {
        let values = rows.iter().map(|row| row[column]);
        Arc::new(Float64Array::from_iter_values(values))
    };
    let columns = names.iter().enumerate();
    let columns = columns.map(|(idx, name)| (name.as_str(), column(idx)));
    table(columns.chain(more).collect())
}

/// A list column; rows may differ in length, `None` is a null row.
fn lists(rows: impl IntoIterator<Item = Option<Vec<f64>>>) -> ArrayRef {
    let rows: Vec<Option<Vec<f64>>> = rows.into_iter().collect();
    let values = rows.iter().flatten().flatten().map(|&value| value as f32);
    let values: Float32Array = Float32Array::from_iter_values(values);
    let lengths = rows.iter().map(|row| row.as_ref().map_or(0, Vec::len));
    let nulls = rows.iter().map(Option::is_some).collect::<Vec<bool>>();
    Arc::new(ListArray::new(
        Arc::new(Field::new("item", DataType::Float32, true)),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(values),
        Some(nulls.into()),
    ))
}

fn vectors(rows: &[Vec<f64>]) -> RecordBatch {
    let n_rows = rows.len();
    table(vec![
        ("embedding", lists(rows.iter().cloned().map(Some))),
        ("label", labels(n_rows)),
    ])
}

const EMBEDDING: &[&str] = &["--embedding", "embedding"];

/// Scans with the detectors of a default scan, then with all there are, and checks what must hold
/// for whatever they make of it. Returns the default scan.
#[track_caller]
fn assert_sound(name: &str, batches: &[RecordBatch], flags: &[&str]) -> Scan {
    let mut data = Dataset::new();
    for (file, batch) in batches.iter().enumerate() {
        let path = format!("{file}.parquet");
        data = data.with(&path, &encode(&path, batch));
    }
    let all = run(["detectors", "--format", "json"]).exits(0).json();
    let all = all.as_array().unwrap().iter();
    let on_request: Vec<&str> = all
        .filter(|detector| detector["by_default"] == false)
        .map(|detector| detector["id"].as_str().unwrap())
        .collect();
    let also = on_request.join(",");
    assert!(also.contains("lof"), "{also}");
    let by_default = scan(&data.path(), flags);
    let everything = scan(&data.path(), &[flags, &["--also", &also]].concat());
    for scan in [&by_default, &everything] {
        let outcome = &scan.outcome;
        assert!(
            !outcome.stderr.contains("panicked"),
            "{name}: {}",
            outcome.stderr
        );
        match outcome.code {
            0 | 1 | 3 => assert_finite(name, &scan.run),
            2 => assert!(
                outcome.stderr.contains("error: ") && outcome.stderr.contains("hint: "),
                "{name}: {}",
                outcome.stderr
            ),
            code => panic!("{name}: exit code {code}: {}", outcome.stderr),
        }
    }
    by_default
}

/// No score is NaN or infinite, and a detector that did not run says why.
fn assert_finite(name: &str, run: &RunFolder) {
    for path in files_below(&run.path("scores")) {
        for batch in parquet_batches(&path) {
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                if field.data_type() == &DataType::Float32 {
                    let values = column.as_primitive::<Float32Type>();
                    assert!(
                        values.iter().flatten().all(f32::is_finite),
                        "{name}: `{}` has scores that are no numbers",
                        field.name()
                    );
                }
            }
        }
    }
    for detector in run.report()["detectors"].as_array().unwrap() {
        if detector["status"] != "ran" {
            let note = detector["note"].as_str().unwrap_or_default();
            assert!(!note.is_empty(), "{name}: {} says nothing", detector["id"]);
        }
    }
}

/// Findings of this kind, by title.
fn titles(scan: &Scan, kind: &str) -> Vec<String> {
    let report = scan.judged().report();
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["kind"] == kind)
        .map(|finding| finding["title"].as_str().unwrap().to_owned())
        .collect()
}

/// What a detector that did not run says.
fn note(scan: &Scan, detector: &str) -> String {
    let report = scan.judged().report();
    let detectors = report["detectors"].as_array().unwrap();
    let found = detectors.iter().find(|one| one["id"] == detector).unwrap();
    assert_ne!(found["status"], "ran", "{detector}");
    found["note"].as_str().unwrap().to_owned()
}

#[test]
fn numbers_that_are_none() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for place in PLACES {
            let name = format!("{value} in {place:?}");
            let rows = with(rows(N_ROWS, 6), value, place);
            let batch = numbers(&rows, vec![("label", labels(N_ROWS))]);
            let scan = assert_sound(&name, &[batch], &[]);
            let infinite = titles(&scan, "infinite");
            assert_eq!(infinite.len(), usize::from(value.is_infinite()), "{name}");
            if value.is_infinite() && matches!(place, Place::Column) {
                assert_eq!(infinite, ["`f2` (600 records) is infinite"]);
            }
        }
    }
}

#[test]
fn vectors_with_parts_that_are_no_numbers() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for place in PLACES {
            let name = format!("{value} in {place:?}");
            let batch = vectors(&with(rows(N_ROWS, DIM), value, place));
            let scan = assert_sound(&name, &[batch], EMBEDDING);
            let unusable = titles(&scan, "unusable-vector");
            let n_unusable = match place {
                Place::Records => N_ROWS.div_ceil(7),
                Place::Cells => N_ROWS / 2,
                Place::Column | Place::Everywhere => N_ROWS,
            };
            assert_eq!(unusable.len(), 1, "{name}");
            let start = format!("{n_unusable} of 600 records have no vector of 16 finite numbers");
            assert!(unusable[0].starts_with(&start), "{name}: {unusable:?}");
        }
    }
}

#[test]
fn extreme_magnitudes() {
    let mut huge = rows(N_ROWS, 6);
    (huge[5][0], huge[6][1]) = (1e308, -1e308);
    let tiny: Vec<Vec<f64>> = rows(N_ROWS, 6)
        .iter()
        .map(|row| row.iter().map(|value| value * 1e-310).collect())
        .collect();
    for (name, rows) in [("huge", huge), ("tiny", tiny)] {
        let batch = numbers(&rows, vec![("label", labels(N_ROWS))]);
        assert_sound(name, &[batch], &[]).judged();
    }
    for factor in [3e37, 1e-40] {
        let scaled: Vec<Vec<f64>> = rows(N_ROWS, DIM)
            .iter()
            .map(|row| row.iter().map(|value| value * factor).collect())
            .collect();
        assert_sound(&format!("× {factor}"), &[vectors(&scaled)], EMBEDDING).judged();
    }
}

#[test]
fn nothing_but_null() {
    let null = |data_type: &DataType| new_null_array(data_type, N_ROWS);
    let rows = rows(N_ROWS, 6);
    let one = numbers(&rows, vec![("empty", null(&DataType::Float64))]);
    let scan = assert_sound("a null column", &[one], &[]);
    let constant = titles(&scan, "constant-column");
    assert!(constant[0].contains("`empty` has no value"), "{constant:?}");

    let all = vec![
        ("a", null(&DataType::Float64)),
        ("b", null(&DataType::Int64)),
        ("c", null(&DataType::Boolean)),
        ("d", null(&DataType::Date32)),
    ];
    let scan = assert_sound("null columns", &[table(all)], &[]);
    let ensemble = note(&scan, "tabular-ensemble");
    assert!(ensemble.contains("records with values"), "{ensemble}");

    let nothing = table(vec![
        ("embedding", lists(vec![None; N_ROWS])),
        ("label", labels(N_ROWS)),
    ]);
    let scan = assert_sound("null vectors", &[nothing], EMBEDDING);
    scan.outcome.exits(2).says(&["`embedding`", "null"]);

    let some = (0..N_ROWS).map(|row| (row % 5 > 0).then(|| vec![1.0; DIM]));
    let some = table(vec![("embedding", lists(some)), ("label", labels(N_ROWS))]);
    let scan = assert_sound("some null vectors", &[some], EMBEDDING);
    let unusable = titles(&scan, "unusable-vector");
    assert!(
        unusable[0].starts_with("120 of 600 records"),
        "{unusable:?}"
    );
}

#[test]
fn nothing_but_one_value() {
    let ones = vec![vec![1.0; 6]; N_ROWS];
    let batch = numbers(&ones, vec![("label", labels(N_ROWS))]);
    let scan = assert_sound("constant numbers", &[batch], &[]);
    let ensemble = note(&scan, "tabular-ensemble");
    assert!(ensemble.contains("constant"), "{ensemble}");
    for value in [1.0, 0.0] {
        let same = vectors(&vec![vec![value; DIM]; N_ROWS]);
        assert_sound("constant vectors", &[same], EMBEDDING).judged();
    }
    let mut some = rows(N_ROWS, DIM);
    for row in some.iter_mut().step_by(20) {
        row.fill(0.0);
    }
    assert_sound("some zero vectors", &[vectors(&some)], EMBEDDING).judged();
}

#[test]
fn hardly_any_record() {
    for n_rows in 0..=3 {
        let name = format!("{n_rows} records");
        let few = rows(n_rows, 6);
        let labelled = numbers(&few, vec![("label", labels(n_rows))]);
        let ids = ["--id", "row_id"];
        let scan = assert_sound(&name, &[labelled], &ids);
        assert!(!scan.judged().ran().contains(&"knn-distance".to_owned()));
        assert_sound(&name, &[numbers(&few, Vec::new())], &ids).judged();
        let scan = assert_sound(&name, &[vectors(&rows(n_rows, DIM))], &ids);
        assert_eq!(scan.judged().report()["counts"]["records"], n_rows);
    }
}

#[test]
fn more_columns_than_records() {
    let wide = numbers(&rows(40, 300), vec![("label", labels(40))]);
    let scan = assert_sound("300 columns", &[wide], &[]);
    assert!(scan.judged().ran().contains(&"tabular-ensemble".to_owned()));
    assert_sound("800 parts", &[vectors(&rows(40, 800))], EMBEDDING).judged();
}

#[test]
fn ten_thousand_columns() {
    let n_columns = 10_000;
    let noise = numbers(&rows(120, n_columns), Vec::new());
    let scan = assert_sound("10,000 columns", &[noise], &[]);
    assert!(scan.judged().ran().contains(&"tabular-ensemble".to_owned()));
    // Among so many columns some look odd by chance.
    assert!(scan.run.held().is_empty(), "{}", scan.run.titles());
}

#[test]
fn ragged_lists_are_no_reason_to_look_at_nothing() {
    let ragged = |n_ragged: usize| {
        let rows = rows(N_ROWS, DIM).into_iter().enumerate();
        // The first of all among them.
        let every = N_ROWS / n_ragged;
        let rows = rows.map(|(row_idx, mut row)| {
            row.truncate(DIM - usize::from(row_idx % every == 0));
            Some(row)
        });
        table(vec![("embedding", lists(rows)), ("label", labels(N_ROWS))])
    };
    let scan = assert_sound("few ragged", &[ragged(6)], &[]);
    assert!(scan.judged().ran().contains(&"class-collision".to_owned()));
    let unusable = titles(&scan, "unusable-vector");
    assert!(unusable[0].starts_with("6 of 600 records"), "{unusable:?}");
    // Half of them are no vectors, unless somebody says so.
    let scan = assert_sound("half ragged", &[ragged(N_ROWS / 2)], &[]);
    let reason = note(&scan, "class-collision");
    assert!(reason.contains("no embedding"), "{reason}");
    let scan = assert_sound("half ragged, given", &[ragged(N_ROWS / 2)], EMBEDDING);
    let unusable = titles(&scan, "unusable-vector");
    assert!(
        unusable[0].starts_with("300 of 600 records"),
        "{unusable:?}"
    );
}

#[test]
fn a_file_with_vectors_of_another_length_is_told_from_the_rest() {
    let file = |dim: usize| vectors(&rows(N_ROWS, dim));
    // The odd one first: it must not win by its name.
    let files = [file(12), file(DIM), file(DIM)];
    let scan = assert_sound("lists", &files, EMBEDDING);
    let unusable = titles(&scan, "unusable-vector");
    assert!(
        unusable[0].starts_with("600 of 1,800 records"),
        "{unusable:?}"
    );
    // Where the length is in the type, it is another schema.
    let fixed = |dim: usize| {
        let rows = vectors(&rows(N_ROWS, dim));
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let size = DataType::FixedSizeList(item, i32::try_from(dim).unwrap());
        let vectors = arrow::compute::cast(rows.column(1), &size).unwrap();
        table(vec![("embedding", vectors), ("label", labels(N_ROWS))])
    };
    let scan = assert_sound("fixed", &[fixed(DIM), fixed(12), fixed(DIM)], EMBEDDING);
    let reasons = scan.exits(3).text("unscanned/reasons.json");
    assert!(reasons.contains("1.parquet"), "{reasons}");
}

#[test]
fn labels_with_one_member() {
    let label = |row: usize| match row {
        17 => "lonely".to_owned(),
        row => format!("class {}", class(row)),
    };
    let lonely = || strings((0..N_ROWS).map(label));
    let unique = || strings((0..N_ROWS).map(|row| format!("only {row}")));
    for (name, labels) in [("lonely", lonely()), ("each its own", unique())] {
        let flags = ["--label", "label", "--id", "row_id"];
        let rows_of = |n_columns| rows(N_ROWS, n_columns).into_iter().map(Some);
        let columns = vec![
            ("embedding", lists(rows_of(DIM))),
            ("label", Arc::clone(&labels)),
        ];
        assert_sound(name, &[table(columns)], &flags).judged();
        let batch = numbers(&rows(N_ROWS, 6), vec![("label", labels)]);
        let scan = assert_sound(name, &[batch], &flags);
        assert!(scan.judged().held().is_empty(), "{}", scan.run.titles());
    }
}

#[test]
fn dates_booleans_and_integers_are_numbers() {
    let n = N_ROWS as i64;
    let micros = (0..n).map(|row| 1_577_836_800_000_000 + row * 3_600_000_000);
    let mut days: Vec<i32> = (0..N_ROWS as i32).map(|row| 18_262 + row % 900).collect();
    // A date of the year 2999 in a dozen records, as a form writes it that has no date.
    for day in days.iter_mut().skip(3).step_by(50) {
        *day = 376_200;
    }
    let batch = table(vec![
        ("day", Arc::new(Date32Array::from(days))),
        (
            "moment",
            Arc::new(TimestampMicrosecondArray::from_iter_values(micros)),
        ),
        (
            "flag",
            Arc::new(
                (0..n)
                    .map(|row| Some(row % 3 > 0))
                    .collect::<BooleanArray>(),
            ),
        ),
        (
            "count",
            Arc::new(Int64Array::from_iter_values(
                (0..n).map(|row| row * row % 97),
            )),
        ),
        (
            "word",
            Arc::new(StringArray::from_iter_values(
                (0..n).map(|row| ["x", "y", "z"][row as usize * 7 % 3]),
            )),
        ),
        ("label", labels(N_ROWS)),
    ]);
    let scan = assert_sound("dates and booleans", &[batch], &["--time", "moment"]);
    assert!(scan.judged().ran().contains(&"tabular-ensemble".to_owned()));
    let ranges = titles(&scan, "range");
    assert!(
        ranges
            .iter()
            .any(|title| title.starts_with("`day` is `3000-01-01`")),
        "{ranges:?}"
    );
}

#[test]
fn half_precision_vectors() {
    let rows = rows(N_ROWS, DIM);
    let values = rows.iter().flatten().map(|&value| f16::from_f64(value));
    let mut values: Vec<f16> = values.collect();
    values[40 * DIM] = f16::INFINITY;
    let item = Arc::new(Field::new("item", DataType::Float16, true));
    let lengths = OffsetBuffer::from_lengths(vec![DIM; N_ROWS]);
    let vectors = ListArray::new(item, lengths, Arc::new(Float16Array::from(values)), None);
    let batch = table(vec![
        ("embedding", Arc::new(vectors) as ArrayRef),
        ("label", labels(N_ROWS)),
    ]);
    let scan = assert_sound("half precision", &[batch], EMBEDDING);
    let unusable = titles(&scan, "unusable-vector");
    assert!(
        unusable[0].starts_with("1 of 600 records has"),
        "{unusable:?}"
    );
}
