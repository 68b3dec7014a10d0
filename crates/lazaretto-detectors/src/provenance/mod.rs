//! Detectors that compare records with what is recorded about where and when they come from.

pub mod content_hash;
pub mod enriched;
pub mod source_allowlist;
pub mod source_enrichment;
pub mod time_burst;
