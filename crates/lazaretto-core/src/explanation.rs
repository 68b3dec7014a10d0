//! What `lazaretto explain` says about one record of a finished run, as its JSON has it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::report::ExampleReport;

/// Identifies the version of this structure.
pub const SCHEMA: &str = "https://lazaretto.dev/schemas/explanation-1.json";

/// Why a record has its verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// Version of the structure, an address.
    pub schema: String,
    /// Name of the tool that made the run.
    pub tool: String,
    /// Version of the tool that made the run.
    pub tool_version: String,
    /// Where the record stands.
    pub place: Place,
    /// The record: its class, its source and its values, shortened and with secrets and personal
    /// data masked. `None` when it could not be read.
    pub record: Option<ExampleReport>,
    /// When it was made, where there is a time column.
    pub time: Option<String>,
    /// `pass`, `quarantine` or `unscanned`.
    pub verdict: String,
    /// The verdict and what it rests on, in one sentence.
    pub because: String,
    /// Fused score in `0..=1`; `None` when it was not judged, like the numbers below.
    pub score: Option<f32>,
    /// p-value of all evidence.
    pub p_value: Option<f64>,
    /// q-value of all evidence.
    pub q_value: Option<f64>,
    /// q-value of its own scores alone; `None` too when no detector that decides scored it.
    pub row_q_value: Option<f64>,
    /// The rules that were applied.
    pub rules: Rules,
    /// The detectors that ran, those that say most against it first.
    pub detectors: Vec<DetectorSays>,
    /// The findings it belongs to, in the order of the report.
    pub findings: Vec<FindingSays>,
    /// The campaigns of these findings.
    pub campaigns: Vec<CampaignSays>,
    /// What would have to change for another verdict: each entry alone is enough.
    pub changes: Vec<Change>,
    /// Records that passed and are nearest to it.
    pub nearest: Nearest,
    /// What else a reader has to know, in words.
    pub notes: Vec<String>,
}

/// Where a record stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Its id, as in `scores/`.
    pub record_id: String,
    /// Hash of its values; `None` when it could not be read.
    pub row_hash: Option<String>,
    /// Name of the dataset.
    pub dataset: String,
    /// Version of the dataset, see [`crate::report::DatasetReport::version`].
    pub dataset_version: String,
    /// Path of its file.
    pub file: String,
    /// BLAKE3 of the bytes of its file.
    pub file_blake3: String,
    /// Row group or batch in the file.
    pub row_group: u32,
    /// Row in the row group.
    pub row: u64,
    /// Position in `scores/`, counted from 0.
    pub position: u64,
}

/// The rules of the row-level decision and of findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Largest q-value at which a single record is held back.
    pub fdr: f64,
    /// Whether single records are held back at all.
    pub hold_rows: bool,
    /// Largest p-value of a finding that holds records back.
    pub finding_p: f64,
    /// Seed of the run.
    pub seed: u64,
    /// BLAKE3 of all settings.
    pub pipeline_hash: String,
}

/// What a detector says about the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectorSays {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// Whether its scores take part in the row-level decision.
    pub decides: bool,
    /// Its score; `None` where it has nothing to say.
    pub score: Option<f32>,
    /// p-value of the score, to 1 % in the tail (5 % below 1e-6) and to a third in the bulk; `None` where its scores
    /// have no calibrated tail.
    pub p_value: Option<f64>,
    /// Its findings about the record.
    pub findings: Vec<String>,
    /// Its parameters as run.
    pub parameters: Value,
}

/// A finding that the record belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingSays {
    /// Its id in the report.
    pub id: String,
    /// The detector that made it.
    pub detector: String,
    /// What was found, a stable word.
    pub kind: String,
    /// How bad it would be.
    pub severity: String,
    /// Whether it holds its records back; otherwise it is for review.
    pub holds: bool,
    /// One sentence; text from the data between backticks.
    pub title: String,
    /// Probability of evidence this strong without an attack, corrected for all that was tried.
    pub p_value: f64,
    /// Number of its records.
    pub n_records: u64,
    /// The class the attack aims at.
    pub target_class: Option<String>,
    /// Numbers behind the sentence.
    pub evidence: BTreeMap<String, Value>,
    /// Id of its campaign.
    pub campaign: Option<String>,
}

/// A campaign that the record belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignSays {
    /// Its id in the report.
    pub id: String,
    /// The cause in one sentence.
    pub title: String,
    /// See [`crate::report::CampaignReport::confidence`].
    pub confidence: f64,
    /// Number of records.
    pub n_records: u64,
    /// What to do next.
    pub suggestion: String,
}

/// Settings that together would give the record another verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The verdict that it would have.
    pub verdict: String,
    /// In words.
    pub sentence: String,
    /// Whether it follows from the rules. Otherwise (detectors left out) the run says that no other
    /// evidence holds the record, but all scores would be weighed anew.
    pub exact: bool,
    /// The settings, all of them needed.
    pub settings: Vec<Setting>,
}

/// A setting with the values that would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, tag = "key", rename_all = "snake_case")]
pub enum Setting {
    /// `policy.finding_p` below this value.
    FindingP {
        /// The p-value that holds it.
        below: f64,
    },
    /// `fdr` below this value.
    FdrBelow {
        /// The q-value that holds it.
        below: f64,
    },
    /// `fdr` of at least this value.
    FdrAtLeast {
        /// Its q-value.
        at_least: f64,
    },
    /// `policy.hold_rows`.
    HoldRows {
        /// The value.
        value: bool,
    },
    /// `detectors.skip` with these.
    Skip {
        /// Their ids.
        detectors: Vec<String>,
    },
}

/// Records that passed and are nearest to the record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nearest {
    /// What nearness is here, in words; empty when there is nothing to compare.
    pub measure: String,
    /// Number of records compared.
    pub compared: u64,
    /// The records, nearest first.
    pub records: Vec<NearRecord>,
}

/// A record near the one that is explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NearRecord {
    /// The record.
    pub record: ExampleReport,
    /// How near: 1 is the same, 0 has nothing in common (vectors: down to −1).
    pub similarity: f64,
}
