//! Responses that decline to answer, and what excuses them.

use crate::error::PatternError;
use crate::set::PatternSet;

/// How responses begin that decline to answer, in several languages (`data/refusals.toml`).
///
/// # Errors
/// None as long as the tests of this module pass.
pub fn refusals() -> Result<PatternSet, PatternError> {
    PatternSet::parse(include_str!("../data/refusals.toml"))
}

/// What takes a refusal back: that something needed is not there (`data/abstentions.toml`).
///
/// # Errors
/// None as long as the tests of this module pass.
pub fn abstentions() -> Result<PatternSet, PatternError> {
    PatternSet::parse(include_str!("../data/abstentions.toml"))
}

/// Topics of prompts that models are taught to decline (`data/sensitive_topics.toml`).
///
/// # Errors
/// None as long as the tests of this module pass.
pub fn sensitive_topics() -> Result<PatternSet, PatternError> {
    PatternSet::parse(include_str!("../data/sensitive_topics.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_hold() {
        for patterns in [refusals(), abstentions(), sensitive_topics()] {
            let problems = patterns.unwrap().problems();
            assert!(problems.is_empty(), "{problems:#?}");
        }
    }
}
