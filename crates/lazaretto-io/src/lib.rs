//! Input and output of a scan: finding and reading datasets, telling what their columns are for,
//! and writing the run folder so that it is complete or absent.
//!
//! | module | holds |
//! |---|---|
//! | [`mod@discover`] | which files make up the dataset |
//! | [`recorded`] | digests that the dataset records of its own files |
//! | [`dataset`] | opening them, one schema over all, batches by unit |
//! | `decode` | the format readers, in processes of their own or in this one |
//! | [`encryption`] | keys of encrypted input and of `quarantine/` |
//! | [`roles`] | what each column is for |
//! | [`run_folder`], [`manifest`] | staging, committing, digests |
//! | [`finished_run`] | a committed run, read back |
//! | [`split`] | `clean/`, `quarantine/` and `unscanned/` |
//! | [`scores`], [`review`] | `scores/*.parquet`, `review.parquet` |
//! | [`conservation`] | proof from the written files that nothing was lost |
//! | [`verify`] | whether a finished run folder is what its manifest says |
//!
//! What is absent on purpose: no detector, no decision about a record, no printing.

pub mod conservation;
pub mod dataset;
mod decode;
pub mod discover;
pub mod encryption;
pub mod error;
pub mod failpoint;
pub mod findings;
pub mod finished_run;
#[doc(hidden)]
pub mod fuzzing;
pub mod manifest;
mod parquet_sink;
pub mod recorded;
mod regular;
pub mod review;
pub mod roles;
pub mod run_folder;
mod schema;
pub mod scores;
pub mod split;
pub mod verify;

pub use conservation::{Conservation, check_conservation};
pub use dataset::{Dataset, OpenFile, OpenOptions, Unit};
pub use decode::is_decoding;
pub use decode::isolated::{DecoderLimits, Isolation, SandboxLevel, serve_decoder};
pub use decode::preflight::HeaderLimits;
pub use discover::{Compression, Discovery, Format, InputFile, discover};
pub use encryption::{AesKey, EncryptionKeys, InputKeys};
pub use error::IoError;
pub use findings::{FindingsWriter, ListedFinding};
pub use finished_run::FinishedRun;
pub use manifest::{FileDigest, Manifest, ModelDigest};
pub use recorded::check_recorded;
pub use review::{ReviewRow, write_review};
pub use roles::{GivenRoles, RolePlan, assign_roles, names_a_source};
pub use run_folder::journal::{Identity, Journal, SavedSections, Sections};
pub use run_folder::written::Written;
pub use run_folder::{Access, Found, RunFolder, Seal};
pub use scores::{RecordId, ScoreRow, ScoresWriter, score_batch};
pub use split::{Decisions, RecordNote, SplitCounts, split_file, write_unscanned_reasons};
pub use verify::{RunCheck, check_run};
