//! Content that a model must not learn.

pub mod evaluation_overlap;
