//! Detectors of outlying values in columns of numbers and categories.

mod column_scale;
pub mod conditional_frequency;
pub mod ecod;
pub mod ensemble;
mod forest;
pub mod gmm_density;
pub mod isolation_forest;
mod mixture;
mod pair_table;
mod record_sample;
mod robust_covariance;
pub mod robust_mahalanobis;
mod sample;
mod tail_table;
mod value_codes;
