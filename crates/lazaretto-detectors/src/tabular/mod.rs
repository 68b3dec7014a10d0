//! Detectors of outlying values in columns of numbers, and of planted ones in any columns.

mod cells;
mod column_scores;
pub mod copod;
pub mod ecod;
mod forest;
pub mod hbos;
mod histogram_table;
pub mod isolation_forest;
pub mod pca_reconstruction;
mod principal_components;
mod resemblance;
mod sample;
pub mod tabular_trigger;
mod tail_table;
pub mod value_profile;
mod words;
