//! Detectors of outlying values in columns of numbers.

pub mod ecod;
mod forest;
pub mod isolation_forest;
mod sample;
mod tail_table;
