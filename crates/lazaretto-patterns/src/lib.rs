//! Curated patterns over text, and a search for all of them that is linear in the text.
//!
//! A family of patterns is a TOML file in `data/`, with a version and, for every pattern, texts
//! that it must and must not match; [`PatternSet::problems`] is its test. What a match means is
//! for the detectors to say.

mod error;
mod refusals;
mod set;

pub use error::PatternError;
pub use refusals::{abstentions, refusals, sensitive_topics};
pub use set::{Match, Pattern, PatternSet};
