//! Detectors of outlying values in columns of numbers and categories, and of planted ones.

mod cells;
mod column_scale;
mod column_scores;
pub mod conditional_frequency;
pub mod copod;
pub mod ecod;
pub mod ensemble;
mod forest;
pub mod gmm_density;
pub mod hbos;
mod histogram_table;
pub mod isolation_forest;
pub mod loda;
mod mixture;
mod pair_table;
pub mod pca_reconstruction;
mod principal_components;
mod random_cuts;
mod record_sample;
mod resemblance;
mod robust_covariance;
pub mod robust_mahalanobis;
mod sample;
mod standardised;
pub mod tabular_trigger;
mod tail_table;
#[cfg(test)]
mod test_support;
mod value_codes;
pub mod value_profile;
mod words;
