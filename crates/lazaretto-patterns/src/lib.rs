//! Curated patterns over text, and a search for all of them that is linear in the text.
//!
//! A family of patterns is a TOML file in `data/`, with a version and, for every pattern, texts
//! that it must and must not match; [`PatternSet::problems`] is its test. What a match means is
//! for the detectors to say. [`decode`] finds what a text hides in encodings, within a budget.
//!
//! Two families are used in more than one place and are therefore judged here: [`secrets`] and
//! [`personal`] data are found by detectors, and masked by a [`Redactor`] in everything that people
//! are shown.

pub mod checksum;
mod decode;
mod error;
pub mod personal;
mod redactor;
mod refusals;
pub mod secrets;
mod set;
mod shipped;

pub use decode::{Decoded, Encoding, Layer, Limits, decode, transform};
pub use error::PatternError;
pub use redactor::{Redactor, masked, redact};
pub use refusals::{abstentions, refusals, sensitive_topics};
pub use set::{Match, Pattern, PatternSet};
pub use shipped::{injection, jailbreak};
