//! Detectors that look at where records lie in feature space.

pub(crate) mod class_sample;
pub mod knn_distance;
pub(crate) mod robust_scale;
pub mod scan;
pub mod spectral_signature;
pub mod spectre;
pub(crate) mod spectrum;
pub(crate) mod whitened;
