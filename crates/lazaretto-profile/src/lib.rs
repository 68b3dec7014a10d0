//! What a person wants to know about columns before a scan.
//!
//! This is the one crate that knows polars; Arrow arrays cross over without a copy in the `bridge`
//! module. Nothing here decides about records.
//!
//! What is absent on purpose: no file access, no polars type in the public interface.

mod bridge;
mod column;
mod display;
mod lengths;
mod portable;

use thiserror::Error;

pub use column::{ColumnProfile, profile};

/// A profile that cannot be computed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Batches do not belong to one dataset.
    #[error(
        "failed to profile batches with different schemas\nhint: cast them to one schema first"
    )]
    Schema,
    /// Arrow cannot cast or export an array.
    #[error("failed to prepare column `{column}`")]
    Arrow {
        /// The column.
        column: String,
        /// Arrow's error.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// Polars cannot import or compute.
    #[error("failed to compute on column `{column}`")]
    Polars {
        /// The column.
        column: String,
        /// Polars' error.
        #[source]
        source: polars::error::PolarsError,
    },
}
