//! Lazaretto's detectors, grouped by family, and the one list that names them all.
//!
//! A detector is a file: user documentation on its parameters, its state, its implementation, its
//! tests. To add one, write the file, give it a `mod` line in its family and a line in
//! [`registry`]. Detectors read no files, print nothing, and know neither pipelines nor reports.

pub mod content;
pub mod duplicates;
pub mod embedding;
pub mod injection;
pub mod label;
pub mod leakage;
pub mod provenance;
pub mod registry;
pub mod response;
pub mod tabular;
pub mod text;

pub use registry::{REGISTRY, Registration, find};
