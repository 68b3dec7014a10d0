//! The families of patterns that are shipped.

use crate::error::PatternError;
use crate::set::PatternSet;

/// Instructions to a language model: overrides, forged delimiters, leaks, dictated answers.
///
/// # Errors
/// None in practice: the tests compile the file.
pub fn injection() -> Result<PatternSet, PatternError> {
    PatternSet::parse(include_str!("../data/injection.toml"))
}

/// Templates that talk a language model out of its policy.
///
/// # Errors
/// None in practice: the tests compile the file.
pub fn jailbreak() -> Result<PatternSet, PatternError> {
    PatternSet::parse(include_str!("../data/jailbreak.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_patterns_hold_to_their_examples() {
        for set in [injection(), jailbreak()] {
            let set = set.unwrap();
            assert!(set.problems().is_empty(), "{:#?}", set.problems());
            for pattern in set.patterns() {
                assert!(!pattern.kind.is_empty(), "{}", pattern.id);
                assert!((0.0..=1.0).contains(&pattern.weight), "{}", pattern.id);
                assert!(
                    !pattern.keywords.is_empty(),
                    "{}: without keywords it is tried everywhere",
                    pattern.id
                );
            }
        }
    }

    #[test]
    fn kinds_are_those_that_the_detectors_know() {
        let known = [
            "override",
            "leak",
            "forgery",
            "force",
            "goal",
            "exfiltration",
            "tool",
            "address",
            "encoding",
        ];
        for pattern in injection().unwrap().patterns() {
            assert!(known.contains(&pattern.kind.as_str()), "{}", pattern.id);
        }
        let known = ["template", "persona", "licence", "pressure", "double"];
        for pattern in jailbreak().unwrap().patterns() {
            assert!(known.contains(&pattern.kind.as_str()), "{}", pattern.id);
        }
    }
}
