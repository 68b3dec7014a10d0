//! Detectors that look at where records lie in feature space.

pub mod class_collision;
pub(crate) mod class_sample;
mod groups;
pub mod knn_distance;
pub mod knn_label_disagreement;
mod one_way;
pub mod ood_cluster;
mod reference_graph;
pub mod spectral_signature;
pub(crate) mod spectrum;
mod suspects;
pub mod tight_cluster;
