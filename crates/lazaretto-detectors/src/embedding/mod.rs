//! Detectors that look at where records lie in feature space.

pub(crate) mod class_sample;
pub mod knn_distance;
pub mod spectral_signature;
pub(crate) mod spectrum;
