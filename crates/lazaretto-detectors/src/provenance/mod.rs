//! Detectors that compare records with what is recorded about where they come from.

pub mod content_hash;
pub mod source_allowlist;
