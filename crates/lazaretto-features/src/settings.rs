//! How large and how fine the shared intermediates are.

use lazaretto_core::params::{Checks, ParamProblem, Params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sizes of the intermediates which the detectors share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FeatureSettings {
    /// Records of the reference set that detectors compare with, in `64..=1048576`. Distances to
    /// them cost time in proportion.
    pub reference_rows: usize,
    /// Nearest records that are searched for each record, in `1..=256`; detectors use as many of
    /// them as their own parameters say.
    pub neighbors: usize,
    /// Among which records they are searched, and how.
    pub neighbor_search: SearchMethod,
    /// Length of the dense features of a text, in `8..=1024`.
    pub text_dim: usize,
    /// Folds of the cross-validated class probabilities, in `2..=20`.
    pub folds: usize,
}

/// How the nearest of all records are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SearchMethod {
    /// The best of the other three that the dataset's size allows.
    Auto,
    /// Among all records, comparing all pairs: records × records × dimensions operations. `auto`
    /// does so up to 4 × 10¹², which takes two cores 20 seconds.
    Exact,
    /// Among all records, by an inverted file; its recall is measured and reported.
    Index,
    /// Among the records of the reference set alone.
    Reference,
}

impl Default for FeatureSettings {
    fn default() -> Self {
        Self {
            reference_rows: 16_384,
            neighbors: 20,
            neighbor_search: SearchMethod::Auto,
            text_dim: 128,
            folds: 10,
        }
    }
}

impl Params for FeatureSettings {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("reference_rows", self.reference_rows, 64..=1 << 20)
            .range("neighbors", self.neighbors, 1..=256)
            .range("text_dim", self.text_dim, 8..=1024)
            .range("folds", self.folds, 2..=20);
        checks.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_can_be_used_and_every_violation_is_named() {
        assert!(FeatureSettings::default().problems().is_empty());
        let wrong = FeatureSettings {
            reference_rows: 1,
            neighbors: 0,
            neighbor_search: SearchMethod::Auto,
            text_dim: 1,
            folds: 1,
        };
        assert_eq!(wrong.problems().len(), 4);
    }
}
