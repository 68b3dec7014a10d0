//! Detectors of labels that the content contradicts.

mod confident_joint;
pub mod confident_learning;
pub mod label_shift;
mod opinion;
pub mod probe_influence;
mod separate_mode;
mod source_shift;
