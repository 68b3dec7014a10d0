//! What a person wants to know about columns before a scan, and counts by group after it.
//!
//! This is the one crate that knows polars; Arrow arrays cross over without a copy in the `bridge`
//! module. Nothing here decides about records: profiles are for `lazaretto inspect`, counts for
//! reports.
//!
//! What is absent on purpose: no file access, no polars type in the public interface.

mod bridge;
mod column;
mod counts;
mod display;
mod lengths;
mod portable;

use thiserror::Error;

pub use column::{ColumnProfile, profile};
pub use counts::{GroupCount, count_by};

/// A profile that cannot be computed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Batches do not belong to one dataset.
    #[error(
        "failed to profile batches with different schemas\nhint: cast them to one schema first"
    )]
    Schema,
    /// A column is not as long as the others.
    #[error("failed to count by `{column}`: it has {found} records where {expected} are expected")]
    Length {
        /// The column.
        column: String,
        /// Its length.
        found: usize,
        /// The length of the others.
        expected: usize,
    },
    /// A column has a type that groups cannot be made of.
    #[error("failed to count by `{column}`: {reason}")]
    Unsupported {
        /// The column.
        column: String,
        /// Why, for example `nested type List(Int32)`.
        reason: String,
    },
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
