//! What is decided about a record.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The decision about one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No finding at the chosen false-discovery rate; the record is in `clean/`.
    Pass,
    /// Held back in `quarantine/` with its evidence.
    Quarantine,
    /// Could not be judged; kept in `unscanned/` and never taken for clean.
    Unscanned,
}

impl Verdict {
    /// The word used in `scores/` and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Quarantine => "quarantine",
            Self::Unscanned => "unscanned",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}
