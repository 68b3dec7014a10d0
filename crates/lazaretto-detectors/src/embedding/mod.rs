//! Detectors that look at where records lie in feature space.

pub mod activation_clustering;
pub mod class_collision;
pub(crate) mod class_sample;
mod class_split;
mod fragments;
mod groups;
pub mod knn_distance;
pub mod knn_label_disagreement;
pub mod lof;
mod one_way;
pub mod ood_cluster;
mod reference_graph;
pub(crate) mod robust_scale;
pub mod scan;
pub mod spectral_signature;
pub mod spectre;
pub(crate) mod spectrum;
mod suspects;
pub mod tight_cluster;
mod two_means;
pub(crate) mod whitened;
