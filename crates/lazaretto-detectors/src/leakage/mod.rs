//! Content that a model must not learn.

pub mod evaluation_overlap;
pub mod personal_data;
pub mod secrets;
