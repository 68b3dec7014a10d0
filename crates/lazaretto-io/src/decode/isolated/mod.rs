//! Decoding in processes of their own.
//!
//! Input files are the attacker's: they make decoders panic, abort on huge allocations, or never
//! come to an end. A decoder is this program again, started with a hidden subcommand; it shuts
//! itself into limits ([`sandbox`]) before it reads the first byte, gets jobs over a pipe and hands
//! Arrow batches back over another. Whatever ends it ends one job: the unit is unscanned.

mod hear;
mod plain;
mod pool;
mod process;
mod sandbox;
mod serve;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::hear::hear_decoder;
pub(crate) use self::pool::Pool;
pub use self::sandbox::SandboxLevel;
pub use self::serve::serve_decoder;
use super::Terms;
use super::job::{Answer, Job};
use super::kind::Kind;
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
pub(crate) struct Decoders {
    /// Processes; without them, it is done in this one.
    pool: Option<Arc<Pool>>,
    terms: Terms,
}

impl Decoders {
    /// Decoders for `files` as `options` say; without isolation, they run in this process.
    pub(crate) fn new(options: &OpenOptions, files: &[InputFile]) -> Result<Self, IoError> {
        let terms = Terms {
            headers: options.headers,
            keys: options.keys.inputs.clone(),
        };
        let isolation = options.isolation.as_ref();
        let pool = isolation
            .map(|isolation| Pool::new(isolation, options, files))
            .transpose()?;
        Ok(Self {
            pool: pool.map(Arc::new),
            terms,
        })
    }

    /// What files are opened with.
    pub(crate) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The processes, if decoders run in their own.
    pub(crate) fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }

    fn run(&self, job: &Job) -> Result<Answer, String> {
        match &self.pool {
            None => job.run(&self.terms),
            Some(pool) => pool.run(job),
        }
    }

    /// Sees that the headers of a columnar file can be read; nothing to see for decoders in this
    /// process, which is about to read them.
    pub(crate) fn probe(&self, path: &Path, format: Format) -> Result<(), String> {
        if let Some(pool) = &self.pool {
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
