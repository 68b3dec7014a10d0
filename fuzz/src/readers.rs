//! The readers of all formats, as a scan uses them with `--trusted-input`: find the file, open it,
//! tell the roles of its columns, read every unit, hash every record.

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic is a finding, as the documentation of the crate says"
)]

use std::fs;
use std::path::Path;
use std::sync::Once;

use lazaretto_core::RowHasher;
use lazaretto_io::{
    Dataset, EncryptionKeys, Format, GivenRoles, HeaderLimits, OpenOptions, assign_roles, discover,
    fuzzing,
};

use crate::panics::held_to_account;

/// Records read of one file: headers may promise millions that cost nothing to store.
const MOST_RECORDS: usize = 20_000;

/// Parquet: footer, pages, records.
pub fn parquet(bytes: &[u8]) {
    held_to_account(|| read("data.parquet", bytes));
}

/// Arrow IPC in the file layout.
pub fn arrow_file(bytes: &[u8]) {
    // Without it, bytes would be read as a stream.
    let magic = b"ARROW1";
    let with_magic = [magic, bytes.get(magic.len()..).unwrap_or_default()].concat();
    held_to_account(|| read("data.arrow", &with_magic));
}

/// Arrow IPC in the stream layout.
pub fn arrow_stream(bytes: &[u8]) {
    held_to_account(|| read("data.arrow", bytes));
}

/// CSV and TSV.
pub fn csv(bytes: &[u8]) {
    held_to_account(|| {
        fuzzing::split_text(Format::Csv, bytes);
        fuzzing::split_text(Format::Tsv, bytes);
        read("data.csv", bytes);
        read("data.tsv", bytes);
    });
}

/// JSON lines.
pub fn json_lines(bytes: &[u8]) {
    held_to_account(|| {
        fuzzing::split_text(Format::JsonLines, bytes);
        read("data.jsonl", bytes);
    });
}

/// gzip and Zstandard around text.
pub fn compressed(bytes: &[u8]) {
    let end = if bytes.starts_with(&[0x1f, 0x8b]) {
        "gz"
    } else {
        "zst"
    };
    held_to_account(|| read(&format!("data.jsonl.{end}"), bytes));
}

/// Headers of columnar files and what they may promise; no record is read.
pub fn headers(bytes: &[u8]) {
    let name = if bytes.starts_with(b"PAR1") {
        "data.parquet"
    } else {
        "data.arrow"
    };
    held_to_account(|| {
        with_file(name, bytes, |dataset| {
            let of_units: u64 = dataset.units().iter().map(|unit| unit.rows).sum();
            assert_eq!(of_units, dataset.n_rows());
        });
    });
}

/// What comes from a decoder, which a hostile file may have taken over.
pub fn wire(bytes: &[u8]) {
    held_to_account(|| fuzzing::hear(bytes));
}

fn read(name: &str, bytes: &[u8]) {
    with_file(name, bytes, |dataset| {
        let mut left = MOST_RECORDS;
        for unit in 0..dataset.units().len() {
            let rows = read_unit(dataset, unit, &mut left);
            if left == 0 {
                return;
            }
            assert!(rows.is_none_or(|rows| rows == dataset.units()[unit].rows));
        }
        let _ = assign_roles(dataset, &GivenRoles::default());
    });
}

/// Reads at most `left` records of a unit and hashes them; the number of records when it decodes
/// as a whole.
fn read_unit(dataset: &Dataset, unit: usize, left: &mut usize) -> Option<u64> {
    let mut rows = 0;
    for batch in dataset.batches(unit, None).ok()? {
        let batch = batch.ok()?;
        let mut hasher = RowHasher::new(batch.columns()).ok()?;
        for row in 0..batch.num_rows().min(*left) {
            hasher.hash(row);
        }
        *left = left.saturating_sub(batch.num_rows());
        if *left == 0 {
            return None;
        }
        rows += batch.num_rows() as u64;
    }
    Some(rows)
}

/// Opens `bytes` as a dataset of one file called `name`.
fn with_file(name: &str, bytes: &[u8], then: impl FnOnce(&Dataset)) {
    static POOL: Once = Once::new();
    // One thread, this one: libFuzzer knows whose the coverage is, and nothing waits.
    POOL.call_once(|| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1);
        // Where there is a pool already, that one serves.
        let _ = pool.use_current_thread().build_global();
    });
    let folder = tempfile::tempdir().expect("no folder for temporary files");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("no room for temporary files");
    let Some(dataset) = open(&path, folder.path()) else {
        return;
    };
    then(&dataset);
}

fn open(path: &Path, scratch: &Path) -> Option<Dataset> {
    let discovery = discover(&[path.to_str()?.to_owned()]).ok()?;
    let options = OpenOptions {
        scratch: scratch.to_owned(),
        cancel: std::sync::Arc::default(),
        batch_bytes: 1 << 20,
        isolation: None,
        headers: HeaderLimits::default(),
        keys: EncryptionKeys::default(),
    };
    Dataset::open(discovery, options).ok()
}
