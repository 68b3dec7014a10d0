//! Detector parameters: written by users, checked before use.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One parameter that cannot be used as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamProblem {
    /// Name of the field.
    pub field: String,
    /// The value as written.
    pub value: String,
    /// What would be accepted, for example `an integer in 1..=64`.
    pub expected: String,
}

impl ParamProblem {
    /// A problem with `field`, which has `value` where `expected` is allowed.
    pub fn new(field: &str, value: impl fmt::Display, expected: &str) -> Self {
        Self {
            field: field.to_owned(),
            value: value.to_string(),
            expected: expected.to_owned(),
        }
    }
}

impl fmt::Display for ParamProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "`{}` is `{}`, expected {}",
            self.field, self.value, self.expected
        )
    }
}

/// The parameters of one detector, as a user writes them.
///
/// The type's own documentation is the detector's user documentation: it reaches the command line
/// and the reference through the JSON Schema, so it is written for users.
pub trait Params: Serialize + DeserializeOwned + JsonSchema + Default + Send + Sync {
    /// Every problem at once; empty when the parameters can be used.
    fn problems(&self) -> Vec<ParamProblem>;
}

/// Collects range violations; meant for the body of [`Params::problems`].
///
/// ```
/// use lazaretto_core::params::Checks;
/// let mut checks = Checks::default();
/// checks.range("trees", 0, 1..=10_000).range("bins", 10, 2..=512);
/// let problems = checks.finish();
/// assert_eq!(problems.len(), 1);
/// assert_eq!(problems[0].to_string(), "`trees` is `0`, expected a value in 1..=10000");
/// ```
#[derive(Debug, Default)]
pub struct Checks(Vec<ParamProblem>);

impl Checks {
    /// Adds a problem unless `value` lies in `allowed`.
    pub fn range<T>(
        &mut self,
        field: &str,
        value: T,
        allowed: std::ops::RangeInclusive<T>,
    ) -> &mut Self
    where
        T: PartialOrd + fmt::Display + fmt::Debug,
    {
        if !allowed.contains(&value) {
            let expected = format!("a value in {allowed:?}");
            self.0.push(ParamProblem::new(field, value, &expected));
        }
        self
    }

    /// The problems collected.
    #[must_use]
    pub fn finish(self) -> Vec<ParamProblem> {
        self.0
    }
}
