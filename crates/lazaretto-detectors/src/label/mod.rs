//! Detectors of labels that the content contradicts.

mod confident_joint;
pub mod confident_learning;
pub mod probe_influence;
