//! Detectors of outlying values in columns of numbers, and of planted ones in any columns.

mod cells;
pub mod ecod;
mod forest;
pub mod isolation_forest;
mod resemblance;
mod sample;
pub mod tabular_trigger;
mod tail_table;
#[cfg(test)]
mod test_support;
pub mod value_profile;
mod words;
