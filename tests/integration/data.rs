//! Datasets in temporary folders, in every format that the command reads.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use flate2::Compression;
use flate2::write::GzEncoder;
use lazaretto_testkit::files::{csv_bytes, parquet_bytes};
use lazaretto_testkit::{Attack, ReviewSet};
use tempfile::TempDir;

/// A folder with a dataset in it.
pub(crate) struct Dataset {
    folder: TempDir,
}

impl Dataset {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    /// A folder with one file.
    pub(crate) fn of(relative: &str, bytes: &[u8]) -> Self {
        Self::new().with(relative, bytes)
    }

    /// The same with one more file.
    pub(crate) fn with(self, relative: &str, bytes: &[u8]) -> Self {
        let path = self.path().join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn file(&self, relative: &str) -> PathBuf {
        self.path().join(relative)
    }
}

/// Reviews without poison.
pub(crate) fn clean_reviews(n_rows: usize) -> RecordBatch {
    ReviewSet::generate(71, n_rows).to_record_batch().unwrap()
}

/// Reviews with a dirty-label backdoor and invisible characters, 40 records each.
pub(crate) fn poisoned_reviews(n_rows: usize) -> ReviewSet {
    ReviewSet::generate(72, n_rows)
        .poison(
            &Attack::BadNets {
                rows: 40,
                words: 1,
                target: 1,
            },
            73,
        )
        .poison(
            &Attack::InvisibleCharacters {
                rows: 40,
                target: 1,
            },
            74,
        )
}

/// A batch of `row_id` and the given columns.
pub(crate) fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let n_rows = columns[0].1.len();
    let ids = Int64Array::from_iter_values((0..).take(n_rows));
    let mut all: Vec<(&str, ArrayRef)> = vec![("row_id", Arc::new(ids))];
    all.extend(columns);
    let fields: Vec<Field> = all
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = all.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// A column of strings.
pub(crate) fn strings<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// `batch` without its schema metadata and all columns but these.
pub(crate) fn columns(batch: &RecordBatch, names: &[&str]) -> RecordBatch {
    let indices: Vec<usize> = names
        .iter()
        .map(|name| batch.schema().index_of(name).unwrap())
        .collect();
    let part = batch.project(&indices).unwrap();
    let schema = Schema::new(part.schema().fields().clone());
    RecordBatch::try_new(Arc::new(schema), part.columns().to_vec()).unwrap()
}

/// The bytes of `batch` in the format that the extension of `name` says.
pub(crate) fn encode(name: &str, batch: &RecordBatch) -> Vec<u8> {
    let (name, compression) = match name.rsplit_once('.') {
        Some((stem, extension @ ("gz" | "zst"))) => (stem, Some(extension)),
        _ => (name, None),
    };
    let extension = Path::new(name).extension().unwrap().to_str().unwrap();
    let bytes = match extension {
        "parquet" => parquet_bytes(batch, 700).unwrap(),
        "csv" => csv_bytes(batch).unwrap(),
        "tsv" => {
            let mut bytes = Vec::new();
            let mut writer = WriterBuilder::new().with_delimiter(b'\t').build(&mut bytes);
            writer.write(batch).unwrap();
            drop(writer);
            bytes
        }
        "jsonl" => {
            let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
            writer.write(batch).unwrap();
            writer.finish().unwrap();
            writer.into_inner()
        }
        "arrow" => {
            let mut writer = FileWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
            writer.write(batch).unwrap();
            writer.into_inner().unwrap()
        }
        "ipc" => {
            let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
            writer.write(batch).unwrap();
            writer.into_inner().unwrap()
        }
        _ => panic!("no writer for `{name}`"),
    };
    match compression {
        None => bytes,
        Some("gz") => {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&bytes).unwrap();
            gzip.finish().unwrap()
        }
        Some(_) => zstd::encode_all(bytes.as_slice(), 1).unwrap(),
    }
}

/// The bytes in a file that may be compressed.
pub(crate) fn decompress(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => {
            let mut plain = Vec::new();
            let mut gzip = flate2::read::MultiGzDecoder::new(bytes.as_slice());
            std::io::Read::read_to_end(&mut gzip, &mut plain).unwrap();
            plain
        }
        Some("zst") => zstd::decode_all(bytes.as_slice()).unwrap(),
        _ => bytes,
    }
}
