//! Data, and a run without an engine: verdicts by ordinal, everything written as in a scan.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, FixedSizeListArray, Float16Array, Float32Array, Int64Array,
    ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Schema, SchemaRef};
use half::f16;
use lazaretto_core::{RowHash, RowHasher, Verdict};
use lazaretto_io::{
    Dataset, Decisions, HeaderLimits, IoError, OpenOptions, RecordId, RecordNote, RunFolder,
    ScoreRow, ScoresWriter, SplitCounts, discover, split_file, write_unscanned_reasons,
};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

/// A column of every layout that datasets for training use.
pub(crate) fn schema() -> SchemaRef {
    let columns = columns(0, 1);
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), *name != "row_id"))
        .collect();
    let features =
        r#"{"info":{"features":{"label":{"names":["neg","pos"],"_type":"ClassLabel"}}}}"#;
    Arc::new(Schema::new_with_metadata(
        fields,
        [
            ("huggingface".to_owned(), features.to_owned()),
            ("origin".to_owned(), "test".to_owned()),
        ]
        .into(),
    ))
}

fn columns(start: i64, rows: i64) -> Vec<(&'static str, ArrayRef)> {
    let ids = start..start + rows;
    let texts: StringArray = ids
        .clone()
        .map(|id| (id % 7 != 3).then(|| format!("review number {id}, \"quoted\"\nsecond line")))
        .collect();
    let vectors = ids
        .clone()
        .map(|id| Some((0..4).map(move |dim| Some((id * 4 + dim) as f32))));
    let lists = ids.clone().map(|id| {
        (id % 5 != 0).then(|| {
            (0..id % 4)
                .map(move |item| Some(item as f32))
                .collect::<Vec<_>>()
        })
    });
    let tags: DictionaryArray<Int32Type> = ids
        .clone()
        .map(|id| (id % 6 != 0).then_some(["red", "green", "blue"][(id % 3) as usize]))
        .collect();
    let inner: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone()));
    let nested = StructArray::from(vec![(
        Arc::new(Field::new("inner", DataType::Int64, true)),
        inner.clone(),
    )]);
    let times = TimestampMicrosecondArray::from_iter_values(ids.clone()).with_timezone("UTC");
    vec![
        ("row_id", inner),
        ("text", Arc::new(texts)),
        (
            "label",
            Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| id % 2))),
        ),
        (
            "embedding",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 4)),
        ),
        (
            "weights",
            Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists)),
        ),
        (
            "half",
            Arc::new(Float16Array::from_iter_values(
                ids.clone().map(|id| f16::from_f32(id as f32 / 8.0)),
            )),
        ),
        ("tag", Arc::new(tags)),
        ("nested", Arc::new(nested)),
        ("at", Arc::new(times)),
        (
            "value",
            Arc::new(
                ids.map(|id| (id % 9 != 0).then_some(id as f32))
                    .collect::<Float32Array>(),
            ),
        ),
    ]
}

/// Rows `start..start + rows` of the test data.
pub(crate) fn batch(start: i64, rows: i64) -> RecordBatch {
    let columns = columns(start, rows).into_iter().map(|(_, column)| column);
    RecordBatch::try_new(schema(), columns.collect()).unwrap()
}

/// Writes `batches` to Parquet, each as a row group.
pub(crate) fn write_parquet(path: &Path, batches: &[RecordBatch], properties: WriterProperties) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
}

/// Opens what is at `path`.
pub(crate) fn open(path: &Path, scratch: &Path) -> Result<Dataset, IoError> {
    open_with(path, scratch, 1 << 20)
}

pub(crate) fn open_with(
    path: &Path,
    scratch: &Path,
    batch_bytes: usize,
) -> Result<Dataset, IoError> {
    let discovery = discover(&[path.display().to_string()])?;
    let options = OpenOptions {
        scratch: scratch.to_owned(),
        cancel: Arc::default(),
        batch_bytes,
        isolation: None,
        keys: lazaretto_io::EncryptionKeys::default(),
        headers: HeaderLimits::default(),
    };
    Dataset::open(discovery, options)
}

/// All records of the dataset, in order, with its own columns.
pub(crate) fn read_all(dataset: &Dataset) -> Vec<RecordBatch> {
    (0..dataset.units().len())
        .flat_map(|unit| dataset.batches(unit, None).unwrap())
        .map(Result::unwrap)
        .collect()
}

/// Verdicts by ordinal, with the hashes that a scan would have.
pub(crate) struct Fixed {
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) hashes: Vec<Option<RowHash>>,
    pub(crate) ids: Vec<String>,
}

impl Fixed {
    /// Hashes every record; a unit that does not decode is unscanned.
    pub(crate) fn new(dataset: &Dataset, verdict: impl Fn(u64) -> Verdict) -> Self {
        let own: Vec<usize> = (0..dataset.schema().fields().len()).collect();
        let mut fixed = Self {
            verdicts: Vec::new(),
            hashes: Vec::new(),
            ids: Vec::new(),
        };
        for (idx, unit) in dataset.units().iter().enumerate() {
            let batches: Result<Vec<_>, _> = dataset
                .batches(idx, Some(&own))
                .and_then(Iterator::collect::<Result<Vec<_>, _>>);
            for ordinal in unit.first_row..unit.first_row + unit.rows {
                fixed.ids.push(format!("record-{ordinal}"));
                fixed.verdicts.push(match &batches {
                    Ok(_) => verdict(ordinal),
                    Err(_) => Verdict::Unscanned,
                });
            }
            match batches {
                Ok(batches) => {
                    for batch in batches {
                        let mut hasher = RowHasher::new(batch.columns()).unwrap();
                        fixed
                            .hashes
                            .extend((0..batch.num_rows()).map(|row| Some(hasher.hash(row))));
                    }
                }
                Err(_) => fixed.hashes.extend((0..unit.rows).map(|_| None::<RowHash>)),
            }
        }
        fixed
    }
}

impl Decisions for Fixed {
    fn verdict(&self, ordinal: u64) -> Verdict {
        self.verdicts[ordinal as usize]
    }

    fn note(&self, ordinal: u64) -> RecordNote {
        RecordNote {
            record_id: self.ids[ordinal as usize].clone(),
            row_hash: self.hashes[ordinal as usize].unwrap(),
            score: 0.75,
            q_value: 0.01,
            findings: vec!["F001".to_owned()],
        }
    }

    fn unscanned_reason(&self, _: u64) -> String {
        "over a limit".to_owned()
    }
}

/// A staged run over `dataset`, complete but for reports and manifest.
pub(crate) fn run(
    dataset: &Dataset,
    out: &Path,
    verdict: impl Fn(u64) -> Verdict,
) -> (RunFolder, Vec<SplitCounts>) {
    let decisions = Fixed::new(dataset, verdict);
    let run = RunFolder::stage(out).unwrap();
    let mut scores = ScoresWriter::create(&run, &["ecod"], false).unwrap();
    for unit in dataset.units() {
        for row in 0..unit.rows {
            let ordinal = (unit.first_row + row) as usize;
            scores
                .append_rows(&[ScoreRow {
                    record_id: RecordId::Text(&decisions.ids[ordinal]),
                    row_hash: decisions.hashes[ordinal],
                    file: &dataset.files()[unit.file].input.relative,
                    row_group: unit.row_group,
                    row: unit.row_in_group + row,
                    score: 0.1,
                    p_value: 0.5,
                    q_value: 1.0,
                    row_q_value: 1.0,
                    verdict: decisions.verdicts[ordinal],
                    detectors: &[1.0],
                }])
                .unwrap();
        }
    }
    scores.finish().unwrap();
    let counts = (0..dataset.files().len())
        .map(|file| split_file(dataset, file, &decisions, &run).unwrap())
        .collect();
    write_unscanned_reasons(dataset, &decisions, &run).unwrap();
    (run, counts)
}

/// Every third record is held back.
pub(crate) fn every_third(ordinal: u64) -> Verdict {
    if ordinal % 3 == 1 {
        Verdict::Quarantine
    } else {
        Verdict::Pass
    }
}

/// A folder for input, one for scratch and a place for the run.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::create_dir(folder.path().join("scratch")).unwrap();
        Self { folder }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub(crate) fn open(&self) -> Dataset {
        open(&self.data(), &self.scratch()).unwrap()
    }
}
