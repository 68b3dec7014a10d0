//! From a pipeline and a dataset to verdicts.
//!
//! | module | holds |
//! |---|---|
//! | [`pipeline`] | the pipeline file as written, all its problems at once, the built-in pipelines |
//! | [`settings`] | the checked settings as run |
//! | [`survey`] | facts about the dataset: classes, sources, dimensions |
//! | [`plan`] | which detectors run, which columns are read |
//! | `assemble`, `times` | Arrow batches as detectors see them; times of any type |
//! | `embedder` | vectors of texts from a model, in the place of an embedding column |
//! | `provenance`, [`source_list`] | what is recorded about files, and which sources are trusted |
//! | `trusted` | records known to be good, beside the dataset |
//! | [`mod@scan`] | the two passes and everything after them, in order |
//! | `calibrated`, `combine` | each detector's null; one number per record, and what it decides |
//! | `judge`, `names` | verdicts, and `scores/` |
//! | `review` | the records that a person with a budget should look at |
//! | [`spike`] | what a run would have caught of planted attacks |
//! | `spill` | per-record scores on disk between the passes |
//! | [`calibrate`], [`fuse`] | scores → p-values → one p-value per record → q-values |
//! | `enrichment` | groups in which the evidence of detectors piles up: `source-enrichment` |
//! | [`policy`] | verdicts and the gate |
//! | `campaigns`, `counts` | findings with one cause, and how groups are spread over classes, sources and time |
//! | [`mod@verify`], `seal` | whether a run folder may be read, and what its signature says |
//! | `checkpoint`, `resume` | how far a run came, and runs that are gone on with |
//! | `summary`, `examples`, `compare`, `curve` | the report's content |
//! | [`mod@explain`] | why a record of a finished run has its verdict |
//!
//! What is absent on purpose: no printing, no argument parsing, no file formats.

mod assemble;
mod beside;
pub mod calibrate;
mod calibrated;
mod campaigns;
mod checkpoint;
mod combine;
mod compare;
mod counts;
mod curve;
mod embedder;
mod enrichment;
pub mod error;
mod evaluation;
mod examples;
pub mod explain;
pub mod fuse;
mod inspect;
mod judge;
mod memory;
mod names;
pub mod pipeline;
pub mod plan;
pub mod policy;
pub mod progress;
mod provenance;
mod redaction;
mod resume;
mod review;
pub mod scan;
mod seal;
pub mod settings;
pub mod source_list;
pub mod spike;
mod spill;
mod summary;
pub mod survey;
mod times;
mod trusted;
pub mod verify;

pub use checkpoint::Resumption;
pub use error::EngineError;
pub use explain::{ExplainRequest, explain};
pub use inspect::{Inspection, inspect};
pub use pipeline::PipelineFile;
pub use plan::{Plan, Planned};
pub use progress::{Progress, Silent};
pub use scan::{Outcome, ProofOptions, ReportFile, ScanRequest, scan, scan_with};
pub use seal::{RUN_PREDICATE, sign_run};
pub use settings::Settings;
pub use verify::{Verification, VerifyRequest, verify};
