//! Detectors of labels that the content contradicts.

mod confident_joint;
pub mod confident_learning;
pub mod probe_influence;
pub mod label_shift;
mod opinion;
mod separate_mode;
mod source_shift;
