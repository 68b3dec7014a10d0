//! Evidence about a group of records.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How bad it would be if the finding were true, apart from how sure it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing, no action needed.
    Info,
    /// Lowers data quality.
    Low,
    /// Can bias a model.
    Medium,
    /// Can plant behaviour in a model.
    High,
    /// Deliberate manipulation, beyond reasonable doubt.
    Critical,
}

impl Severity {
    /// All severities, mildest first.
    pub const ALL: [Self; 5] = [
        Self::Info,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// The word used in pipelines and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.name() == text)
            .ok_or_else(|| format!("unknown severity `{text}`"))
    }
}

/// What the detector proposes to do with the records of a finding; the policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Hold the records back.
    Quarantine,
    /// Let them pass, but show the finding to a person.
    Review,
    /// Let them pass and fail the gate: too much is in question to be held back without a person.
    Fail,
}

/// Evidence about a *group* of one or more records: what, why, how sure, which records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The detector that made it, for example `text-trigger`.
    pub detector: String,
    /// What was found, a stable kebab-case word, for example `trigger` or `flood`.
    pub kind: String,
    /// How bad it would be.
    pub severity: Severity,
    /// What the detector proposes.
    pub action: Action,
    /// One sentence that a person can accept or reject, with the numbers in it. Text from the
    /// data stands between backticks; it is escaped by the reports, not here.
    pub title: String,
    /// Probability of evidence this strong without an attack, corrected for everything the
    /// detector tried, in `(0, 1]`. Rule findings carry a conservative documented value.
    pub p_value: f64,
    /// Dataset-wide ordinals of the records, ascending and without repeats.
    pub records: Vec<u64>,
    /// The class the attack aims at, if it has one.
    pub target_class: Option<String>,
    /// Strings from the data to highlight in example records (the trigger).
    pub highlight: Vec<String>,
    /// Numbers and words behind the sentence, by name.
    pub evidence: BTreeMap<String, Value>,
}

impl Finding {
    /// A finding of `detector` with no records, evidence or highlights yet.
    #[must_use]
    pub fn new(
        detector: &str,
        kind: &str,
        severity: Severity,
        action: Action,
        title: String,
        p_value: f64,
    ) -> Self {
        Self {
            detector: detector.to_owned(),
            kind: kind.to_owned(),
            severity,
            action,
            title,
            p_value: p_value.clamp(f64::MIN_POSITIVE, 1.0),
            records: Vec::new(),
            target_class: None,
            highlight: Vec::new(),
            evidence: BTreeMap::new(),
        }
    }

    /// The same finding about `records` (sorted and deduplicated here).
    #[must_use]
    pub fn with_records(mut self, mut records: Vec<u64>) -> Self {
        records.sort_unstable();
        records.dedup();
        self.records = records;
        self
    }

    /// The same finding with one more named piece of evidence.
    #[must_use]
    pub fn with_evidence(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.evidence.insert(name.to_owned(), value.into());
        self
    }
}
