//! The records that are gibberish beyond doubt.

use lazaretto_core::{Action, Finding, Severity};
use serde::{Deserialize, Serialize};

use crate::response::nonsense::{Certain, Nonsense};

/// Records of one kind that are named, at most: the first ones.
const MAX_NAMED: usize = 1 << 20;
/// What a finding's probability is taken to be. In 31,000 ordinary responses, news, reviews and short
/// messages no record came near the thresholds.
const P_VALUE: f64 = 1e-6;

/// Records by what is in no order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GibberishEvidence {
    n_records: u64,
    /// For each of [`KINDS`]: how many, and which.
    found: [(u64, Vec<u64>); KINDS.len()],
}

const KINDS: [Certain; 3] = [Certain::Words, Certain::Letters, Certain::Scripts];

impl GibberishEvidence {
    pub(super) fn add(&mut self, ordinal: u64, nonsense: &Nonsense) {
        self.n_records += 1;
        for (kind, (n, named)) in KINDS.into_iter().zip(&mut self.found) {
            if nonsense.certain() == Some(kind) {
                *n += 1;
                if named.len() < MAX_NAMED {
                    named.push(ordinal);
                }
            }
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.n_records += later.n_records;
        for ((n, named), (later_n, later_named)) in self.found.iter_mut().zip(later.found) {
            *n += later_n;
            named.extend(later_named);
            named.truncate(MAX_NAMED);
        }
    }

    /// One finding for each kind, about `what`.
    pub(super) fn findings(self, what: &str, max_share: f64) -> Vec<Finding> {
        let most = max_share * self.n_records as f64;
        let kinds = KINDS.into_iter().zip(self.found);
        let kinds = kinds.filter(|(_, (n, _))| *n > 0);
        let findings = kinds.map(|(kind, (n, named))| {
            let (id, says) = match kind {
                Certain::Words => ("words-in-no-order", "words in no order"),
                Certain::Letters => ("letters-in-no-order", "letters in no order"),
                Certain::Scripts => ("mixed-scripts", "letters of scripts thrown together"),
            };
            let (severity, action) = if n as f64 <= most.max(1.0) {
                (Severity::High, Action::Quarantine)
            } else {
                (Severity::Low, Action::Review)
            };
            let title = format!("{n} {what} are {says}");
            Finding::new("gibberish", id, severity, action, title, P_VALUE)
                .with_records(named)
                .with_evidence("records", n)
        });
        findings.collect()
    }
}
