//! Detectors of outlying values in columns of numbers, and of planted ones in any columns.

mod cells;
mod column_scores;
pub mod copod;
//! Detectors of outlying values in columns of numbers and categories.

mod column_scale;
pub mod conditional_frequency;
pub mod ecod;
pub mod ensemble;
mod forest;
pub mod hbos;
mod histogram_table;
pub mod isolation_forest;
pub mod loda;
pub mod pca_reconstruction;
mod principal_components;
mod random_cuts;
mod resemblance;
pub mod gmm_density;
pub mod isolation_forest;
mod mixture;
mod pair_table;
mod record_sample;
mod robust_covariance;
pub mod robust_mahalanobis;
mod sample;
mod standardised;
pub mod tabular_trigger;
mod tail_table;
pub mod value_profile;
mod words;
mod value_codes;
