//! The vocabulary and the contracts that every other crate of Lazaretto builds on.
//!
//! A *dataset* is a set of files with *records*; *columns* play *roles*; *detectors* give records
//! *scores* and groups of records *findings*; a *policy* turns both into a *verdict*. This crate
//! holds those words as types, the [`Detector`] contract, and the canonical encoding behind a
//! record's hash.
//!
//! What is absent on purpose: no file or network access, no printing, no knowledge of the command
//! line, of pipelines or of reports.

pub mod batch;
pub mod canonical;
pub mod detector;
pub mod erased;
pub mod explanation;
pub mod finding;
pub mod params;
pub mod provenance;
pub mod record;
pub mod report;
pub mod role;
pub mod shared;
pub mod state;
pub mod taxonomy;
pub mod verdict;

pub use batch::{Batch, NO_LABEL, NO_TIME, TextField, TextPart, UNREADABLE_TIME};
pub use canonical::RowHasher;
pub use detector::{
    ColumnFacts, DataFacts, Detector, DetectorSpec, Family, FitContext, Intermediate,
    NotApplicable, ScoreKind,
};
pub use erased::{AnyEvidence, AnyModel, AnyState, DynDetector};
pub use finding::{Action, Finding, Severity};
pub use params::{ParamProblem, Params};
pub use provenance::{
    Comparison, Domains, FileFacts, Provenance, RecordedDigest, SourceList, Standing, Treatment,
};
pub use record::{RecordKey, RowHash};
pub use role::Role;
pub use shared::{
    Blobs, Derived, Evaluation, EvaluationText, NeighborBase, Neighbors, Recorded, Shared, Trusted,
};
pub use state::StateError;
pub use verdict::Verdict;
