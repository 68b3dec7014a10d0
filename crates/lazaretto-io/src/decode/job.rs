//! What is asked of a decoder, in a form that can be handed to another process.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::kind::Kind;
use super::text::{Block, Cut, TextPart};
use super::{Group, RawBatches, ReadRequest, Terms, guard, ipc, parquet, preflight, text};
use crate::discover::{Compression, Format};

/// A path that need not be UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FilePath(#[serde(with = "path_bytes")] pub(crate) PathBuf);

impl From<&Path> for FilePath {
    fn from(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

/// One step of opening a file. It is small in its answer, not in what it reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// See that the headers of a columnar file can be read.
    Probe {
        /// The file.
        path: FilePath,
        /// Parquet or Arrow IPC.
        format: Format,
    },
    /// Unpack a compressed text file.
    Unpack {
        /// The compressed file.
        from: FilePath,
        /// The file to make.
        to: FilePath,
        /// How it is compressed.
        compression: Compression,
        /// Bytes at which to give up.
        most: u64,
    },
    /// Find the header and the blocks of a text file.
    Cut {
        /// The uncompressed file.
        path: FilePath,
        /// A text format.
        format: Format,
    },
    /// Find the types of the columns of a block of text.
    Infer {
        /// The uncompressed file.
        path: FilePath,
        /// A text format.
        format: Format,
        /// The block.
        block: Block,
        /// The columns as the header names them; none for JSON lines.
        columns: Vec<(String, Kind)>,
    },
}

/// The answer to a [`Job`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// Of [`Job::Cut`].
    Cut(Cut),
    /// Of [`Job::Infer`].
    Kinds(Vec<(String, Kind)>),
}

impl Job {
    /// Carries it out in this process.
    pub(crate) fn run(&self, terms: &Terms) -> Result<Answer, String> {
        guard(|| match self {
            Self::Probe { path, format } => {
                let file = Columnar::open(&path.0, *format, terms)?;
                let bytes = std::fs::metadata(&path.0).map_or(0, |file| file.len());
                preflight::check(file.schema(), file.groups(), bytes, &terms.headers)?;
                Ok(Answer::Done)
            }
            Self::Unpack {
                from,
                to,
                compression,
                most,
            } => text::unpack(&from.0, &to.0, *compression, *most).map(|()| Answer::Done),
            Self::Cut { path, format } => text::cut_file(&path.0, *format).map(Answer::Cut),
            Self::Infer {
                path,
                format,
                block,
                columns,
            } => text::infer(&path.0, *format, block, columns).map(Answer::Kinds),
        })
    }
}

/// Rows to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReadJob {
    /// The file, uncompressed.
    pub(crate) path: FilePath,
    /// Its format.
    pub(crate) format: Format,
    /// For text, what opening it found.
    pub(crate) text: Option<TextPart>,
    /// Row group.
    pub(crate) group: usize,
    /// Rows of it.
    pub(crate) rows: Range<u64>,
    /// Columns, `None` for all.
    pub(crate) columns: Option<Vec<usize>>,
    /// Target size of a batch.
    pub(crate) batch_bytes: usize,
}

impl ReadJob {
    fn request(&self) -> ReadRequest<'_> {
        ReadRequest {
            group: self.group,
            rows: self.rows.clone(),
            columns: self.columns.as_deref(),
            batch_bytes: self.batch_bytes,
        }
    }
}

/// An opened columnar file.
enum Columnar {
    Parquet(parquet::ParquetFile),
    Ipc(ipc::IpcFile),
}

impl Columnar {
    fn schema(&self) -> &SchemaRef {
        match self {
            Self::Parquet(file) => file.schema(),
            Self::Ipc(file) => file.schema(),
        }
    }

    fn groups(&self) -> &[Group] {
        match self {
            Self::Parquet(file) => file.groups(),
            Self::Ipc(file) => file.groups(),
        }
    }

    fn open(path: &Path, format: Format, terms: &Terms) -> Result<Self, String> {
        match format {
            Format::Parquet => {
                parquet::ParquetFile::open(path, terms.keys.as_ref()).map(Self::Parquet)
            }
            _ => ipc::IpcFile::open(path, &terms.headers).map(Self::Ipc),
        }
    }
}

/// The files that a decoder has read of, so that their headers are decoded once.
pub(crate) struct OpenFiles {
    /// The one used last at the end.
    files: Vec<(FilePath, Arc<Columnar>)>,
    terms: Terms,
}

impl OpenFiles {
    /// Headers of wide tables take a megabyte and more.
    const MOST: usize = 8;

    /// None yet; they will be opened on these terms.
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            files: Vec::new(),
        }
    }

    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The batches that `job` asks for.
    pub(crate) fn read(&mut self, job: &ReadJob) -> Result<RawBatches, String> {
        if let Some(part) = &job.text {
            return text::read(&job.path.0, part, &job.request());
        }
        match &*self.get(&job.path, job.format)? {
            Columnar::Parquet(file) => file.read(&job.request(), &self.terms.headers),
            Columnar::Ipc(file) => file.read(&job.request(), &self.terms.headers),
        }
    }

    fn get(&mut self, path: &FilePath, format: Format) -> Result<Arc<Columnar>, String> {
        let known = self.files.iter().position(|(known, _)| known == path);
        let file = match known {
            Some(idx) => self.files.remove(idx).1,
            None => Arc::new(Columnar::open(&path.0, format, &self.terms)?),
        };
        if self.files.len() >= Self::MOST {
            self.files.remove(0);
        }
        self.files.push((path.clone(), Arc::clone(&file)));
        Ok(file)
    }
}

/// Paths as bytes: JSON has no other place for what is not UTF-8.
mod path_bytes {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[cfg(unix)]
    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        use std::os::unix::ffi::OsStrExt as _;
        path.as_os_str().as_bytes().serialize(to)
    }

    #[cfg(unix)]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        use std::os::unix::ffi::OsStringExt as _;
        Vec::<u8>::deserialize(from).map(|bytes| OsString::from_vec(bytes).into())
    }

    #[cfg(not(unix))]
    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.serialize(to)
    }

    #[cfg(not(unix))]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        OsString::deserialize(from).map(PathBuf::from)
    }
}
