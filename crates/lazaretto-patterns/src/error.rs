//! What can be wrong with a file of patterns.

use thiserror::Error;

/// Why patterns cannot be used.
#[derive(Debug, Error)]
pub enum PatternError {
    /// Not TOML, or not the fields of a pattern.
    #[error("the pattern file cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A regular expression that does not compile, or to more than the limit.
    #[error("pattern `{id}`: {reason}")]
    Regex {
        /// The pattern.
        id: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Too many keywords, or keywords that are too long.
    #[error("the keywords of the patterns cannot be compiled: {0}")]
    Keywords(String),
}
