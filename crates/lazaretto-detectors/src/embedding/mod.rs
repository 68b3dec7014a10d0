//! Detectors that look at where records lie in feature space.

pub mod knn_distance;
pub mod lof;
