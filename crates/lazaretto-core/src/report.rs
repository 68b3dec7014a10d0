//! The content of `report.json`: everything a report shows, and nothing that differs between two
//! runs over the same input (times and host facts go to `timings.json`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::finding::{Action, Severity};

/// Identifies the version of this structure.
pub const SCHEMA: &str = "https://lazaretto.dev/schemas/report-1.json";

/// The whole report.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Version of the structure, an address.
    pub schema: String,
    /// Name of the tool.
    pub tool: String,
    /// Version of the tool.
    pub tool_version: String,
    /// What the gate decided, and why.
    pub gate: Gate,
    /// Number of records by verdict.
    pub counts: Counts,
    /// How the run was set up.
    pub settings: SettingsReport,
    /// What was read.
    pub dataset: DatasetReport,
    /// Each detector of the registry: what it did, or why it did nothing. Sorted by id.
    pub detectors: Vec<DetectorReport>,
    /// Findings with one cause, in the order of their first findings.
    pub campaigns: Vec<CampaignReport>,
    /// Findings, the most severe and most certain first.
    pub findings: Vec<FindingReport>,
    /// The most suspicious records, highest score first; bounded in number.
    pub records: Vec<RecordReport>,
    /// The records to review first, where a budget was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewReport>,
    /// What this run would have caught of planted attacks, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<PowerReport>,
    /// Distribution of the fused score over all scanned records.
    pub scores: Histogram,
    /// Entries of public taxonomies that the findings refer to.
    pub taxonomy: Vec<TagReport>,
    /// Version of the taxonomy table.
    pub taxonomy_version: String,
}

/// The outcome of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateStatus {
    /// The policy holds; exit code 0.
    Passed,
    /// The policy does not hold; exit code 1.
    Failed,
    /// Something is unscanned; exit code 3.
    Incomplete,
}

/// What the gate decided.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// The outcome.
    pub status: GateStatus,
    /// Exit code of the command.
    pub exit_code: u8,
    /// Reasons in words, one per rule of the policy that spoke.
    pub reasons: Vec<String>,
    /// Whether anything was held back. False is an outcome of its own: no evidence of poisoning at
    /// this false-discovery rate by these detectors, in what could be scanned.
    pub evidence: bool,
    /// The outcome in one sentence ("no finding by detectors X at FDR q", never "clean").
    pub summary: String,
}

/// Number of records by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// All records of the input that could be counted.
    pub records: u64,
    /// Records in `clean/`.
    pub pass: u64,
    /// Records in `quarantine/`.
    pub quarantine: u64,
    /// Records in `unscanned/` (those of unreadable files cannot be counted).
    pub unscanned: u64,
    /// Input files.
    pub files: u64,
    /// Input files that could not be read, whole or in part.
    pub unscanned_files: u64,
}

/// How the run was set up.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsReport {
    /// Name of the pipeline.
    pub pipeline: String,
    /// BLAKE3 of the settings as run.
    pub pipeline_hash: String,
    /// Seed of the run.
    pub seed: u64,
    /// False-discovery rate of the row-level decision.
    pub fdr: f64,
    /// Largest p-value of a finding whose records are held back.
    pub finding_p: f64,
    /// Whether single records are held back at `fdr`.
    pub hold_rows: bool,
    /// The policy, in words, one rule a line.
    pub policy: Vec<String>,
    /// How scores become p-values and how these are fused, in words.
    pub method: String,
    /// How the input was decoded.
    pub decoding: DecodingReport,
    /// The model that made vectors of the texts, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedder: Option<EmbedderReport>,
}

/// How the input was decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecodingReport {
    /// What the decoders, processes of their own, were shut into; absent when the input was decoded
    /// in the process of the scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxReport>,
}

/// What decoders were shut into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SandboxReport {
    /// Whether their memory, processor time and files were limited in size.
    pub resource_limits: bool,
    /// Whether they could read nothing but the input, and write nothing but the scratch folder.
    pub file_access: bool,
    /// Whether they had no network and could start no program.
    pub system_calls: bool,
    /// Bytes of memory that a decoder could take for data.
    pub memory_bytes: u64,
    /// Seconds that decoding one unit could take.
    pub seconds: u64,
}

/// A model that makes vectors of texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbedderReport {
    /// The kind of model, in words.
    pub method: String,
    /// Length of its vectors.
    pub dim: u32,
    /// Tokens of a text that it looks at.
    pub max_tokens: u32,
    /// Whether the vectors were used; not where the dataset has vectors of its own, or no text.
    pub used: bool,
    /// The files it was loaded from, sorted by name.
    pub files: Vec<ModelFileReport>,
}

/// A file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelFileReport {
    /// Path relative to the model's folder.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, in hexadecimal, as models are published and pinned.
    pub sha256: String,
}

/// What was read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetReport {
    /// The last component of the path that was scanned.
    pub name: String,
    /// BLAKE3 over the paths and digests of its files: another version of the dataset has another.
    pub version: String,
    /// Input files in path order.
    pub files: Vec<FileReport>,
    /// Files that were passed over on purpose, with the reason.
    pub skipped: Vec<SkippedReport>,
    /// Files of records given as known to be good, in path order; they are not part of the dataset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<TrustedReport>,
    /// Evaluation files that the dataset was compared with, in path order; they are not part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluation: Vec<TrustedReport>,
    /// Columns in schema order.
    pub columns: Vec<ColumnReport>,
    /// Classes in index order; empty without labels.
    pub classes: Vec<GroupReport>,
    /// Sources, those with the most quarantined records first; bounded in number.
    pub sources: Vec<GroupReport>,
}

/// One input file.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileReport {
    /// Path relative to the input root, `/` between components.
    pub path: String,
    /// `parquet`, `arrow`, `csv` or `jsonl`.
    pub format: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub blake3: String,
    /// Number of records, `None` when the file could not be read.
    pub records: Option<u64>,
    /// Number of row groups or record batches.
    pub row_groups: u32,
    /// Records held back.
    pub quarantined: u64,
    /// Records that could not be judged.
    pub unscanned: u64,
    /// Why (a part of) the file is unscanned.
    pub unscanned_reason: Option<String>,
    /// Hive partition values from the path.
    pub partitions: BTreeMap<String, String>,
}

/// A file that was given beside the dataset: records known to be good, or an evaluation set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedReport {
    /// Path relative to the common folder of these files.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub blake3: String,
    /// Number of records.
    pub records: u64,
}

/// A file that was passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkippedReport {
    /// Path relative to the input root.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// One column.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnReport {
    /// Its name.
    pub name: String,
    /// Its Arrow type, as text.
    pub data_type: String,
    /// Its role.
    pub role: String,
    /// Why it has that role.
    pub reason: String,
}

/// Records of one class or source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupReport {
    /// Name of the class or source.
    pub name: String,
    /// All its records.
    pub records: u64,
    /// Its records that were held back.
    pub quarantined: u64,
}

/// What became of a detector in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetectorStatus {
    /// It ran.
    Ran,
    /// The dataset has nothing for it.
    NotApplicable,
    /// It looked and could not say anything.
    Abstained,
    /// The pipeline or a flag left it out.
    Skipped,
}

/// One detector in this run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectorReport {
    /// Its id.
    pub id: String,
    /// Its version: a higher one can give the same record another score.
    pub version: u32,
    /// Its family.
    pub family: String,
    /// What it looks for, one line.
    pub summary: String,
    /// What became of it.
    pub status: DetectorStatus,
    /// Why it did not run, or what to know about its calibration.
    pub note: Option<String>,
    /// Its parameters as run.
    pub parameters: Value,
    /// Whether its scores take part in the row-level decision.
    pub decides: bool,
    /// What its p-values are from: `conformal, 1,000 trusted records`, `bulk` or `none`. Null for a
    /// detector that did not run or decides by its findings alone.
    pub null: Option<String>,
    /// Why there is no calibrated threshold for its scores, which then inform and do not decide:
    /// `bimodal scores (dip 0.085)`.
    pub diagnosis: Option<String>,
    /// Number of records that got a score.
    pub scored: u64,
    /// Number of its findings.
    pub findings: u64,
    /// Distribution of its scores.
    pub scores: Option<Histogram>,
    /// Scores, ascending, each with its p-value; between two of them ln p is linear in the score.
    /// Empty where its scores do not decide.
    pub calibration: Vec<(f64, f64)>,
}

/// Counts over equally wide bins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Left edge of the first bin.
    pub min: f64,
    /// Right edge of the last bin.
    pub max: f64,
    /// Records per bin.
    pub counts: Vec<u64>,
    /// Of these, records held back.
    pub quarantined: Vec<u64>,
}

/// Findings with one cause: what a person acts on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignReport {
    /// `C001`, `C002`, … in the order of the report.
    pub id: String,
    /// The cause in one sentence; text from the data between backticks.
    pub title: String,
    /// The severity of its gravest finding that holds records back.
    pub severity: Severity,
    /// One minus the p-value of its strongest finding, corrected for all findings of the run, at
    /// least 0 and below 1.
    pub confidence: f64,
    /// Number of records of its findings that hold records back.
    pub n_records: u64,
    /// Of these, records held back.
    pub held: u64,
    /// The class that all its findings with an aim agree on.
    pub target_class: Option<String>,
    /// Its records by class, most first.
    pub labels: Vec<GroupCount>,
    /// Its records by source, most first; bounded in number.
    pub sources: Vec<GroupCount>,
    /// Earliest and latest time of its records, where there is a time column.
    pub time_span: Option<(String, String)>,
    /// What its findings have in common, in words.
    pub links: Vec<String>,
    /// Ids of its findings.
    pub findings: Vec<String>,
    /// What each detector contributed, the strongest first.
    pub detectors: Vec<DetectorEvidence>,
    /// What to do next, in words.
    pub suggestion: String,
    /// Ids of taxonomy tags.
    pub taxonomy: Vec<String>,
}

/// What a detector contributed to a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectorEvidence {
    /// Its id.
    pub id: String,
    /// Number of its findings.
    pub findings: u64,
    /// Records of these findings, those in several counted several times.
    pub records: u64,
    /// Smallest p-value of these findings.
    pub p_value: f64,
}

/// One finding.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingReport {
    /// `F001`, `F002`, … in the order of the report.
    pub id: String,
    /// The detector that made it.
    pub detector: String,
    /// What was found, a stable word.
    pub kind: String,
    /// How bad it would be.
    pub severity: Severity,
    /// What the policy did with its records.
    pub action: Action,
    /// One sentence; text from the data between backticks.
    pub title: String,
    /// See [`crate::Finding::p_value`].
    pub p_value: f64,
    /// Number of records.
    pub n_records: u64,
    /// The class the attack aims at.
    pub target_class: Option<String>,
    /// Its records by class, most first.
    pub labels: Vec<GroupCount>,
    /// Its records by source, most first; bounded in number.
    pub sources: Vec<GroupCount>,
    /// Its records by file, most first; bounded in number.
    pub files: Vec<GroupCount>,
    /// Earliest and latest time of its records, where there is a time column.
    pub time_span: Option<(String, String)>,
    /// Numbers behind the sentence.
    pub evidence: BTreeMap<String, Value>,
    /// Strings to highlight in the examples.
    pub highlight: Vec<String>,
    /// A few of its records.
    pub examples: Vec<ExampleReport>,
    /// Records that passed and are nearest to the examples, to compare them with: by the distance
    /// of their features, among the reference set. Empty where no detector needed features.
    pub nearest_passing: Vec<ExampleReport>,
    /// Ids of taxonomy tags.
    pub taxonomy: Vec<String>,
}

/// A name and how many records it has in a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupCount {
    /// Name of the class, source or file.
    pub name: String,
    /// Number of records.
    pub records: u64,
}

/// A record shown as an example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExampleReport {
    /// Its id.
    pub record_id: String,
    /// File it stands in.
    pub file: String,
    /// Row group (or batch) in the file.
    pub row_group: u32,
    /// Row in the row group.
    pub row: u64,
    /// Its class.
    pub label: Option<String>,
    /// Its source.
    pub source: Option<String>,
    /// Its values, shortened, in schema order.
    pub values: Vec<(String, String)>,
}

/// One of the most suspicious records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordReport {
    /// The record.
    pub example: ExampleReport,
    /// Hash of its values.
    pub row_hash: String,
    /// Fused score in `0..=1`.
    pub score: f32,
    /// Fused p-value.
    pub p_value: f64,
    /// q-value (Benjamini–Hochberg).
    pub q_value: f64,
    /// Its verdict.
    pub verdict: String,
    /// p-value by detector, most suspicious first.
    pub detectors: Vec<(String, f64)>,
    /// Ids of the findings it belongs to.
    pub findings: Vec<String>,
}

/// The records that a person who can look at so many should look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewReport {
    /// How many records were asked for.
    pub budget: u64,
    /// How many are on the list; all of them are in `review.parquet`.
    pub listed: u64,
    /// Of these, records held back.
    pub held: u64,
    /// Expected share of innocents on the list, in `0..=1`.
    pub expected_error: f64,
    /// Records on the list that findings hold back.
    pub by_findings: u64,
    /// Expected share of innocents among them.
    pub by_findings_error: f64,
    /// All other records on the list.
    pub by_scores: u64,
    /// Expected share of innocents among them, at most.
    pub by_scores_error: f64,
    /// How the shares are estimated, in words.
    pub method: String,
    /// The first records of the list; bounded in number.
    pub records: Vec<ReviewRecord>,
}

/// A record on the review list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewRecord {
    /// Its id.
    pub record_id: String,
    /// File it stands in.
    pub file: String,
    /// Row group (or batch) in the file.
    pub row_group: u32,
    /// Row in the row group.
    pub row: u64,
    /// Its verdict.
    pub verdict: String,
    /// Fused score in `0..=1`.
    pub score: f32,
    /// q-value.
    pub q_value: f64,
    /// Expected share of innocents among this record and all before it.
    pub expected_error: f64,
    /// Ids of the findings it belongs to.
    pub findings: Vec<String>,
}

/// What a run like this one would have held back of attacks planted in a sample of the records that
/// passed. It speaks of these attacks and of a sample of this size only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerReport {
    /// Records of the sample.
    pub records: u64,
    /// Records that passed, of which it is a keyed sample.
    pub of: u64,
    /// Seed of the sample and of the attacks.
    pub seed: u64,
    /// The attacks, in a fixed order.
    pub attacks: Vec<PowerAttack>,
}

/// A planted attack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerAttack {
    /// A stable word.
    pub id: String,
    /// What was planted, in words.
    pub planted: String,
    /// By number of planted records, ascending.
    pub results: Vec<PowerResult>,
    /// Why (the larger sizes of) it was not measured.
    pub not_measured: Option<String>,
}

/// What became of an attack of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerResult {
    /// Records planted.
    pub size: u64,
    /// Of these, records held back.
    pub held: u64,
    /// Other records of the sample held back.
    pub others_held: u64,
}

/// An entry of a public taxonomy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TagReport {
    /// Identifier.
    pub id: String,
    /// Name.
    pub name: String,
    /// Taxonomy.
    pub taxonomy: String,
    /// Address of its description.
    pub url: String,
}
