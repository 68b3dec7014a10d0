//! Detectors of instructions to a model where data should be.

mod evidence;
pub mod hidden;
pub mod jailbreak;
mod mention;
mod parts;
pub mod prompt;
mod reading;
