//! Everything that ends a scan.

use lazaretto_embed::EmbedError;
use lazaretto_io::IoError;
use lazaretto_proof::ProofError;
use thiserror::Error;

use crate::pipeline::Problem;

/// Why a scan could not be carried out. A file that cannot be read does not end a scan.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The run was cut short, and what it did so far is there to be gone on from.
    #[error("{cause}")]
    Resumable {
        /// The staging folder.
        folder: String,
        /// What cut it short.
        cause: Box<IoError>,
    },
    /// Several columns were asked for that do not exist or do not fit.
    #[error("assign roles to columns: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Roles(Vec<IoError>),
    /// The pipeline or the flags cannot be used.
    #[error("use pipeline {origin}: {} problem(s)", .problems.len())]
    Pipeline {
        /// The file or the built-in pipeline.
        origin: String,
        /// All problems.
        problems: Vec<Problem>,
    },
    /// Nothing to look with.
    #[error("scan the dataset: no detector applies")]
    NoDetector {
        /// Each candidate with the reason why it does not apply.
        reasons: Vec<(String, String)>,
    },
    /// A column that was given a role has no value at all.
    #[error("use column `{column}` as `{role}`: all of its values are null")]
    AllNull {
        /// The column.
        column: String,
        /// The role it was given.
        role: String,
    },
    /// A label column that is not a set of classes.
    #[error("use column `{column}` as `label`: it has more than {limit} distinct values")]
    TooManyClasses {
        /// The column.
        column: String,
        /// Largest supported number of classes.
        limit: usize,
    },
    /// Records given as trusted that cannot be compared with the dataset.
    #[error("use `{file}` as trusted records: {}", .problems.join("; "))]
    Trusted {
        /// The file, or the common name of several.
        file: String,
        /// What does not fit, a lower-case fragment each.
        problems: Vec<String>,
    },
    /// Evaluation files that cannot be compared with the dataset.
    #[error("use `{file}` as an evaluation set: {}", .problems.join("; "))]
    Evaluation {
        /// The file, or the common name of several.
        file: String,
        /// What is wrong, a lower-case fragment each.
        problems: Vec<String>,
    },
    /// A model that cannot make vectors of texts.
    #[error("use `{folder}` as the embedder: {source}")]
    Embedder {
        /// Its folder.
        folder: String,
        /// Why not.
        #[source]
        source: EmbedError,
    },
    /// A run folder that is not as it was written.
    #[error("vouch for `{run}`: {}", .problems.join("; "))]
    Unsound {
        /// The folder.
        run: String,
        /// What is wrong, a lower-case fragment each.
        problems: Vec<String>,
    },
    /// A list of sources that cannot be used.
    #[error("use `{file}` as the list of sources: {}", .problems.join("; "))]
    Sources {
        /// The file.
        file: String,
        /// What is wrong, a lower-case fragment each.
        problems: Vec<String>,
    },
    /// A list of sources without the signature that it must have.
    #[error("check the signature of `{file}`: {source}")]
    Signature {
        /// The file.
        file: String,
        /// What is wrong with it.
        #[source]
        source: ProofError,
    },
    /// A record that a run does not have.
    #[error("find record `{record}`: the run has no such record")]
    NoRecord {
        /// The id as given.
        record: String,
        /// Ids that are nearly the same, nearest first.
        near: Vec<String>,
    },
    /// An id that several records have.
    #[error("tell records apart: {n_records} records have the id `{record}`")]
    AmbiguousRecord {
        /// The id as given.
        record: String,
        /// Number of records.
        n_records: u64,
        /// Where the first of them stand: digest, row group and row.
        places: Vec<String>,
    },
    /// The thread pool could not be made.
    #[error("start {threads} threads")]
    Threads {
        /// The number asked for.
        threads: usize,
        /// The pool's error.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}

impl EngineError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Io(error) => error.hint(),
            Self::Resumable { folder, cause } => {
                let kept = format!(
                    "what is done is kept in `{folder}`: the same command with `--resume` goes on from there"
                );
                Some(match cause.hint() {
                    Some(hint) => format!("{hint}; {kept}"),
                    None => kept,
                })
            }
            Self::Roles(errors) => {
                let hints: Vec<_> = errors.iter().filter_map(IoError::hint).collect();
                (!hints.is_empty()).then(|| hints.join("; "))
            }
            Self::Pipeline { .. } => Some(
                "`lazaretto detectors` lists detectors and their parameters; `lazaretto init` writes a commented pipeline".to_owned(),
            ),
            Self::NoDetector { .. } => Some(
                "give the columns their roles (--label, --text, --embedding, …); `lazaretto inspect` shows what each detector needs".to_owned(),
            ),
            Self::AllNull { role, .. } => {
                Some(format!("give another column with `--{role}`, or drop the flag"))
            }
            Self::TooManyClasses { .. } => Some(
                "give the class column with `--label`, or a role in the pipeline file: [roles.other] with `COLUMN = \"numeric\"`".to_owned(),
            ),
            Self::Trusted { .. } => Some(
                "trusted records need the dataset's columns by name, of the same types and with its classes; write the file again with them, or leave `--trusted` out".to_owned(),
            ),
            Self::Evaluation { .. } => Some(
                "evaluation sets need text columns and must be readable in full; give other files with `--eval`, or raise `--memory` when they are too large".to_owned(),
            ),
            Self::Embedder { source, .. } => Some(source.hint()),
            Self::Unsound { .. } => Some(
                "`lazaretto verify` tells everything that is wrong with it; scan again".to_owned(),
            ),
            Self::Sources { .. } => Some(
                "`lazaretto detectors source-allowlist` shows what a list looks like".to_owned(),
            ),
            Self::Signature { .. } => Some(
                "use a list that one of the trusted keys signed (`lazaretto sign FILE`); without `--trusted-key` it need not be signed".to_owned(),
            ),
            Self::NoRecord { near, .. } if near.is_empty() => Some(
                "ids are in the column `record_id` of `scores/`; without an id column they are DIGEST:ROW_GROUP:ROW".to_owned(),
            ),
            Self::NoRecord { near, .. } => {
                let near: Vec<String> = near.iter().map(|id| format!("`{id}`")).collect();
                Some(format!("did you mean {}?", near.join(", ")))
            }
            Self::AmbiguousRecord { places, .. } => Some(format!(
                "give its place instead of the id, such as {}",
                places.join(", ")
            )),
            Self::Threads { .. } => Some("give a smaller number with `--threads`".to_owned()),
        }
    }

    /// The failed input or output operation behind it, where there is one.
    #[must_use]
    pub fn io(&self) -> Option<&IoError> {
        match self {
            Self::Io(error) => Some(error),
            Self::Resumable { cause, .. } => Some(cause),
            _ => None,
        }
    }

    /// Whether the user stopped the run.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        matches!(self.io(), Some(IoError::Interrupted))
    }
}
