//! Decoding in processes of their own.
//!
//! Input files are the attacker's: they make decoders panic, abort on huge allocations, or never
//! come to an end. A decoder is this program again, started with a hidden subcommand; it shuts
//! itself into limits ([`sandbox`]) before it reads the first byte, gets jobs over a pipe and hands
//! Arrow batches back over another. Whatever ends it ends one job: the unit is unscanned.

mod pool;
mod process;
mod sandbox;
mod serve;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::pool::Pool;
pub use self::sandbox::SandboxLevel;
pub use self::serve::serve_decoder;
use super::job::{Answer, Job};
use super::kind::Kind;
use super::preflight::HeaderLimits;
use super::text::{Block, Cut};
use crate::dataset::OpenOptions;
use crate::discover::{Compression, Format, InputFile};
use crate::error::IoError;

/// What one decoder may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecoderLimits {
    /// Bytes of memory for data.
    pub memory: u64,
    /// Time for one unit: waiting for it, and processor time.
    pub time: Duration,
}

/// How decoders are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// A program that calls [`serve_decoder`] when its only argument is [`Isolation::ARGUMENT`].
    pub program: PathBuf,
    /// What each may take.
    pub limits: DecoderLimits,
    /// Whether to go on only when every part of the sandbox can be had.
    pub required: bool,
}

impl Isolation {
    /// The subcommand that makes a program a decoder.
    pub const ARGUMENT: &'static str = "serve-decoder";
}

/// Where decoders run.
#[derive(Clone, Debug)]
pub(crate) enum Decoders {
    /// In this process.
    Here(HeaderLimits),
    /// In processes of their own.
    Apart(Arc<Pool>),
}

impl Decoders {
    /// Decoders for `files` as `options` say; without isolation, they run in this process.
    pub(crate) fn new(options: &OpenOptions, files: &[InputFile]) -> Result<Self, IoError> {
        match &options.isolation {
            None => Ok(Self::Here(options.headers)),
            Some(isolation) => {
                let pool = Pool::new(isolation, options, files)?;
                Ok(Self::Apart(Arc::new(pool)))
            }
        }
    }

    /// What headers may promise.
    pub(crate) fn headers(&self) -> &HeaderLimits {
        match self {
            Self::Here(headers) => headers,
            Self::Apart(pool) => pool.headers(),
        }
    }

    /// The processes, if decoders run in their own.
    pub(crate) fn pool(&self) -> Option<&Arc<Pool>> {
        match self {
            Self::Here(_) => None,
            Self::Apart(pool) => Some(pool),
        }
    }

    fn run(&self, job: &Job) -> Result<Answer, String> {
        match self {
            Self::Here(headers) => job.run(headers),
            Self::Apart(pool) => pool.run(job),
        }
    }

    /// Sees that the headers of a columnar file can be read; nothing to see for decoders in this
    /// process, which is about to read them.
    pub(crate) fn probe(&self, path: &Path, format: Format) -> Result<(), String> {
        if let Self::Apart(pool) = self {
            let path = path.into();
            pool.run(&Job::Probe { path, format })?;
        }
        Ok(())
    }

    /// Unpacks `from` into the new file `to`, at most `most` bytes.
    pub(crate) fn unpack(
        &self,
        from: &Path,
        to: &Path,
        compression: Compression,
        most: u64,
    ) -> Result<(), String> {
        let job = Job::Unpack {
            from: from.into(),
            to: to.into(),
            compression,
            most,
        };
        self.run(&job).map(drop)
    }

    /// Header and blocks of a text file.
    pub(crate) fn cut(&self, path: &Path, format: Format) -> Result<Cut, String> {
        let path = path.into();
        match self.run(&Job::Cut { path, format })? {
            Answer::Cut(cut) => Ok(cut),
            _ => Err(STRANGE.to_owned()),
        }
    }

    /// Kinds of the columns of a block of text.
    pub(crate) fn infer(
        &self,
        path: &Path,
        format: Format,
        block: &Block,
        columns: &[(String, Kind)],
    ) -> Result<Vec<(String, Kind)>, String> {
        let job = Job::Infer {
            path: path.into(),
            format,
            block: block.clone(),
            columns: columns.to_vec(),
        };
        match self.run(&job)? {
            Answer::Kinds(kinds) => Ok(kinds),
            _ => Err(STRANGE.to_owned()),
        }
    }
}

/// A decoder that was taken over by what it decoded.
const STRANGE: &str = "the decoder gave an answer to something else";
