//! Detectors of repeated content.

pub mod exact;
mod flood;
pub mod near;
