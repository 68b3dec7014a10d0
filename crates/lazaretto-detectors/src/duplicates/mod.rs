//! Detectors of repeated content.

pub mod exact;
pub(crate) mod flood;
pub mod near;
pub mod semantic;
