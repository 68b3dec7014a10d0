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
    /// Nearest reference records per record, in `1..=256`.
    pub neighbors: usize,
    /// Length of the dense features of a text, in `8..=1024`.
    pub text_dim: usize,
    /// Folds of the cross-validated class probabilities, in `2..=20`.
    pub folds: usize,
}

impl Default for FeatureSettings {
    fn default() -> Self {
        Self {
            reference_rows: 16_384,
            neighbors: 10,
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
            text_dim: 1,
            folds: 1,
        };
        assert_eq!(wrong.problems().len(), 4);
    }
}
