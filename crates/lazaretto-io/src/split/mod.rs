//! Distributes the records of a file over `clean/`, `quarantine/` and `unscanned/`.
//!
//! | folder | what a file there is |
//! |---|---|
//! | `clean/` | the input's bytes when every record passes; else the input without the other records, everything else kept: schema, metadata, order, row groups, compression, and in text formats every byte of the records |
//! | `quarantine/` | the input's columns and a `_lazaretto` struct; for text formats a Parquet file `<relative>.parquet` whose struct also holds the record's bytes as `raw`; where it is encrypted, for Arrow IPC a Parquet file as well |
//! | `unscanned/` | the input's bytes when it, or a whole unit of it, could not be judged; else like `clean/`, with the unjudged records |
//!
//! A folder gets no file when it would have no record.

mod columnar;
mod evidence;
mod ipc;
pub(crate) mod reasons;
mod text;

use std::fs::File;
use std::io;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use lazaretto_core::{RowHash, Verdict};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::properties::WriterProperties;

pub use self::reasons::write_unscanned_reasons;
use crate::dataset::{Dataset, Unit};
use crate::decode::Opened;
use crate::encryption::EncryptionKeys;
use crate::error::IoError;
use crate::parquet_sink::{ParquetSink, encode_error};
use crate::regular::open_resolved;
use crate::run_folder::RunFolder;

/// What `quarantine/` says about a record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordNote {
    /// Id of the record, as in `scores/` (an integer id in decimal).
    pub record_id: String,
    /// Hash of its values.
    pub row_hash: RowHash,
    /// Fused score.
    pub score: f32,
    /// q-value.
    pub q_value: f64,
    /// Ids of the findings it belongs to.
    pub findings: Vec<String>,
}

/// The decisions of a run, by dataset-wide ordinal.
pub trait Decisions: Sync {
    /// The verdict of a record.
    fn verdict(&self, ordinal: u64) -> Verdict;
    /// What to write about a quarantined record.
    fn note(&self, ordinal: u64) -> RecordNote;
    /// Why a record is unscanned.
    fn unscanned_reason(&self, ordinal: u64) -> String;
}

/// Number of records of one file by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SplitCounts {
    /// Records in `clean/`.
    pub pass: u64,
    /// Records in `quarantine/`.
    pub quarantine: u64,
    /// Records in `unscanned/`; those of a file that cannot be read at all are not counted.
    pub unscanned: u64,
    /// Whether `clean/` has the input's bytes.
    pub copied: bool,
}

/// Writes the records of file `file` where their verdicts say. Files can be split in parallel.
///
/// A unit of which every record is unscanned is not decoded again; the whole input file is then
/// kept in `unscanned/` as it was.
///
/// # Errors
/// When a unit with judged records does not decode any more, the file system refuses, or the run
/// was cancelled.
///
/// # Panics
/// When `file` is out of range.
pub fn split_file(
    dataset: &Dataset,
    file: usize,
    decisions: &dyn Decisions,
    run: &RunFolder,
) -> Result<SplitCounts, IoError> {
    let input = &dataset.files()[file].input;
    let Some(reader) = dataset.reader(file) else {
        copy(&input.path, run, &format!("unscanned/{}", input.relative))?;
        return Ok(SplitCounts::default());
    };
    let plan = FilePlan::new(dataset, file, decisions);
    let counts = plan.counts;
    if counts.quarantine + counts.unscanned == 0 {
        copy(&input.path, run, &format!("clean/{}", input.relative))?;
        return Ok(SplitCounts {
            copied: true,
            ..counts
        });
    }
    if plan.keeps_whole_file() {
        copy(&input.path, run, &format!("unscanned/{}", input.relative))?;
    }
    match reader {
        Opened::Parquet(parquet) => columnar::split(&plan, parquet, run)?,
        Opened::Ipc(ipc) => ipc::split(&plan, ipc, run)?,
        Opened::Text(text) => text::split(&plan, text, run)?,
    }
    Ok(counts)
}

/// What is to become of one file.
struct FilePlan<'a> {
    dataset: &'a Dataset,
    file: usize,
    decisions: &'a dyn Decisions,
    counts: SplitCounts,
    /// Units with a record that was judged.
    live: Vec<Unit>,
    /// Number of units.
    units: usize,
}

impl<'a> FilePlan<'a> {
    fn new(dataset: &'a Dataset, file: usize, decisions: &'a dyn Decisions) -> Self {
        let mut counts = SplitCounts::default();
        let units = dataset.units_of(file);
        let mut live = Vec::new();
        for unit in units {
            let before = counts.unscanned;
            for ordinal in unit.first_row..unit.first_row + unit.rows {
                match decisions.verdict(ordinal) {
                    Verdict::Pass => counts.pass += 1,
                    Verdict::Quarantine => counts.quarantine += 1,
                    Verdict::Unscanned => counts.unscanned += 1,
                }
            }
            if counts.unscanned - before < unit.rows {
                live.push(*unit);
            }
        }
        Self {
            dataset,
            file,
            decisions,
            counts,
            live,
            units: units.len(),
        }
    }

    fn relative(&self) -> &str {
        &self.dataset.files()[self.file].input.relative
    }

    /// Whether a unit as a whole is unscanned, so that it may not decode.
    fn keeps_whole_file(&self) -> bool {
        self.live.len() < self.units
    }

    /// The outputs that get records from decoding, with their verdicts.
    fn outputs(&self) -> Vec<Verdict> {
        let unscanned_rows = self.counts.unscanned > 0 && !self.keeps_whole_file();
        [
            (Verdict::Pass, self.counts.pass > 0),
            (Verdict::Quarantine, self.counts.quarantine > 0),
            (Verdict::Unscanned, unscanned_rows),
        ]
        .into_iter()
        .filter_map(|(verdict, wanted)| wanted.then_some(verdict))
        .collect()
    }

    /// Runs of rows of each row group that are decoded: `(group, first row in the group, rows,
    /// ordinal of the first row)`.
    fn live_ranges(&self) -> Vec<LiveRange> {
        let mut ranges: Vec<LiveRange> = Vec::new();
        for unit in &self.live {
            match ranges.last_mut() {
                Some(last)
                    if last.group == unit.row_group as usize
                        && last.first_row + last.rows == unit.row_in_group =>
                {
                    last.rows += unit.rows;
                }
                _ => ranges.push(LiveRange {
                    group: unit.row_group as usize,
                    first_row: unit.row_in_group,
                    rows: unit.rows,
                    ordinal: unit.first_row,
                }),
            }
        }
        ranges
    }

    /// Positions relative to `ordinal` of the records of `verdict` among the next `rows`.
    fn mask(&self, verdict: Verdict, ordinal: u64, rows: usize) -> arrow::array::BooleanArray {
        (ordinal..ordinal + rows as u64)
            .map(|ordinal| Some(self.decisions.verdict(ordinal) == verdict))
            .collect()
    }
}

/// Consecutive rows of a row group.
#[derive(Clone, Copy, Debug)]
struct LiveRange {
    group: usize,
    first_row: u64,
    rows: u64,
    ordinal: u64,
}

/// Where records of `verdict` go.
fn folder(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "clean",
        Verdict::Quarantine => "quarantine",
        Verdict::Unscanned => "unscanned",
    }
}

/// A Parquet file of `quarantine/` for input of another format.
fn quarantine_sink(
    path: &Path,
    schema: &SchemaRef,
    keys: &EncryptionKeys,
) -> Result<ParquetSink, IoError> {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("lazaretto {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Codec::ZSTD(ZstdLevel::default()));
    let encryption = keys.quarantine_encryption(None);
    if let Some(encryption) = encryption.map_err(|error| encode_error(path, error))? {
        properties = properties.with_file_encryption_properties(encryption);
    }
    let options = ArrowWriterOptions::new().with_properties(properties.build());
    ParquetSink::create(path, schema, options)
}

fn copy(from: &Path, run: &RunFolder, relative: &str) -> Result<(), IoError> {
    let to = run.target(relative)?;
    let mut source = open_resolved(from).map_err(IoError::storage("read", from))?;
    // Within one file system, blocks are shared where it can do that.
    File::create(&to)
        .and_then(|mut target| io::copy(&mut source, &mut target))
        .map(drop)
        .map_err(IoError::storage("copy to", &to))
}
