//! Detectors of outlying values in columns of numbers.

mod column_scores;
pub mod copod;
pub mod ecod;
mod forest;
pub mod hbos;
mod histogram_table;
pub mod isolation_forest;
pub mod pca_reconstruction;
mod principal_components;
mod sample;
mod tail_table;
