//! Detectors that look at where records lie in feature space.

#[expect(dead_code, reason = "the first user comes with the next detector")]
pub(crate) mod class_sample;
pub mod knn_distance;
