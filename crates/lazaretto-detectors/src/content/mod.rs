//! Detectors of what is said, where prompts and labels do not ask for it.

pub mod burst;
