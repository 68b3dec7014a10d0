//! Detectors that read prompts together with their responses.

pub mod trigger;
