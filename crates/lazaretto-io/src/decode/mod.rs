//! The format readers, and the border behind which they may fail.
//!
//! Everything that interprets bytes of the input goes through [`Opened`]: it is opened once, knows
//! its row groups, and reads ranges of rows. What a file makes a decoder do happens in processes of
//! their own ([`isolated`]), or behind a guard in this one that turns errors and panics of the
//! decoders into words.

pub(crate) mod ipc;
pub(crate) mod isolated;
pub(crate) mod job;
pub(crate) mod kind;
pub(crate) mod parquet;
pub(crate) mod preflight;
pub(crate) mod records;
pub(crate) mod text;

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use self::isolated::Decoders;
use self::job::ReadJob;
use self::preflight::HeaderLimits;
use crate::discover::{Format, InputFile};
use crate::encryption::InputKeys;

/// What files are opened with: what their headers may promise, and the keys of encrypted ones.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) headers: HeaderLimits,
    pub(crate) keys: Option<InputKeys>,
}

/// Batches of a file, with the reason when one cannot be decoded.
pub(crate) type RawBatches = Box<dyn Iterator<Item = Result<RecordBatch, String>> + Send>;

/// Rows that are decoded together at least, however large they are.
pub(crate) const LEAST_BATCH_ROWS: u64 = 256;

/// A row group, record batch or block of text lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Number of records.
    pub(crate) rows: u64,
    /// Number of records of each part that can be read on its own without reading the parts
    /// before it; the sum is `rows`.
    pub(crate) parts: Vec<u64>,
}

impl Group {
    /// A group that is read as a whole.
    pub(crate) fn whole(rows: u64) -> Self {
        Self {
            rows,
            parts: vec![rows],
        }
    }
}

/// What to read of a file.
#[derive(Clone, Debug)]
pub(crate) struct ReadRequest<'a> {
    /// Index of the row group.
    pub(crate) group: usize,
    /// Rows of the group; must begin and end where parts do.
    pub(crate) rows: Range<u64>,
    /// Top-level columns of the file, ascending; `None` for all.
    pub(crate) columns: Option<&'a [usize]>,
    /// Target size of one batch in bytes of memory.
    pub(crate) batch_bytes: usize,
}

impl ReadRequest<'_> {
    /// Rows per batch when a row takes about `row_bytes`.
    pub(crate) fn batch_rows(&self, row_bytes: u64) -> usize {
        let fitting = self.batch_bytes as u64 / row_bytes.max(1);
        fitting.clamp(LEAST_BATCH_ROWS, 65_536) as usize
    }
}

/// An opened file of any format.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Apache Parquet.
    Parquet(parquet::ParquetFile),
    /// Arrow IPC.
    Ipc(ipc::IpcFile),
    /// CSV, TSV or JSON lines.
    Text(text::TextFile),
}

impl Opened {
    /// Opens `input`. Text is unpacked to `scratch` when it is compressed.
    ///
    /// The headers of a columnar file are decoded here only once a decoder has come through them
    /// unharmed: writers need them to make files like the input.
    pub(crate) fn open(
        input: &InputFile,
        scratch: &Path,
        decoders: &Decoders,
    ) -> Result<Self, String> {
        let opened = guard(|| match input.format {
            Format::Parquet => {
                decoders.probe(&input.path, input.format)?;
                parquet::ParquetFile::open(&input.path, decoders.terms().keys.as_ref())
                    .map(Self::Parquet)
            }
            Format::ArrowIpc => {
                decoders.probe(&input.path, input.format)?;
                ipc::IpcFile::open(&input.path, &decoders.terms().headers).map(Self::Ipc)
            }
            Format::Csv | Format::Tsv | Format::JsonLines => {
                text::TextFile::open(input, scratch, decoders).map(Self::Text)
            }
        })?;
        preflight::check(
            opened.schema(),
            opened.groups(),
            input.bytes,
            &decoders.terms().headers,
        )?;
        Ok(opened)
    }

    /// The file's own schema.
    pub(crate) fn schema(&self) -> &SchemaRef {
        match self {
            Self::Parquet(file) => file.schema(),
            Self::Ipc(file) => file.schema(),
            Self::Text(file) => file.schema(),
        }
    }

    /// The file's row groups.
    pub(crate) fn groups(&self) -> &[Group] {
        match self {
            Self::Parquet(file) => file.groups(),
            Self::Ipc(file) => file.groups(),
            Self::Text(file) => file.groups(),
        }
    }

    /// Reads rows of a group. The number of rows that comes out is exactly what was asked for, or
    /// the last item is an error; after an error there are no more items.
    pub(crate) fn read(
        &self,
        request: &ReadRequest<'_>,
        decoders: &Decoders,
    ) -> Result<RawBatches, String> {
        let inner = match decoders.pool() {
            Some(pool) => pool.read(&self.job(request))?,
            None => guard(|| match self {
                Self::Parquet(file) => file.read(request, &decoders.terms().headers),
                Self::Ipc(file) => file.read(request, &decoders.terms().headers),
                Self::Text(file) => text::read(file.path(), &file.part(request.group), request),
            })?,
        };
        Ok(Box::new(Guarded {
            inner: Some(inner),
            missing: request.rows.end - request.rows.start,
        }))
    }

    /// `request` for another process.
    fn job(&self, request: &ReadRequest<'_>) -> ReadJob {
        let (path, format, text) = match self {
            Self::Parquet(file) => (file.path(), Format::Parquet, None),
            Self::Ipc(file) => (file.path(), Format::ArrowIpc, None),
            Self::Text(file) => {
                let part = file.part(request.group);
                (file.path(), part.format, Some(part))
            }
        };
        ReadJob {
            path: path.into(),
            format,
            text,
            group: request.group,
            rows: request.rows.clone(),
            columns: request.columns.map(<[usize]>::to_vec),
            batch_bytes: request.batch_bytes,
        }
    }
}

/// Stops at the first failure, catches panics, and holds the decoder to the promised row count.
struct Guarded {
    inner: Option<RawBatches>,
    missing: u64,
}

impl Iterator for Guarded {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let inner = self.inner.as_mut()?;
        let outcome = match guard(|| inner.next().transpose()) {
            Ok(Some(batch)) if batch.num_rows() as u64 > self.missing => {
                Err("more rows than its metadata promises".to_owned())
            }
            Ok(None) if self.missing > 0 => Err(format!(
                "{} rows fewer than its metadata promises",
                self.missing
            )),
            other => other,
        };
        match outcome {
            Ok(Some(batch)) => {
                self.missing -= batch.num_rows() as u64;
                Some(Ok(batch))
            }
            Ok(None) => {
                self.inner = None;
                None
            }
            Err(reason) => {
                self.inner = None;
                Some(Err(reason))
            }
        }
    }
}

thread_local! {
    /// How many guarded decoders run on this thread, one inside the other.
    static DECODING: Cell<u32> = const { Cell::new(0) };
}

/// Whether a panic on this thread would be caught and reported as an unreadable file; for panic
/// hooks, which are called before anything is caught.
#[must_use]
pub fn is_decoding() -> bool {
    DECODING.get() > 0
}

/// Runs a decoder and turns a panic in it into a reason: hostile files make decoders panic.
pub(crate) fn guard<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    DECODING.set(DECODING.get() + 1);
    // Unwind safety: after a panic the decoder is dropped and never called again.
    let outcome = catch_unwind(AssertUnwindSafe(decode));
    DECODING.set(DECODING.get() - 1);
    outcome.unwrap_or_else(|panic| Err(format!("the decoder panicked ({})", panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
