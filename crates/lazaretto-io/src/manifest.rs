//! The manifest: digests of all that went in and came out, written last. Readers trust it alone.

use lazaretto_core::report::{Counts, GateStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name of the manifest in the run folder.
pub const FILE_NAME: &str = "manifest.json";

/// Name of the signed envelope about the run folder, where the run is signed.
pub const ENVELOPE_NAME: &str = "manifest.dsse.json";

/// Times of the run, which differ between two runs over the same input.
pub const TIMINGS_NAME: &str = "timings.json";

/// Files of a run folder that the manifest does not list: itself, its signature, and what differs
/// between two runs over the same input. A signature covers the last as well.
pub const UNLISTED: [&str; 3] = [FILE_NAME, ENVELOPE_NAME, TIMINGS_NAME];

/// Identifies the version of [`Manifest`].
pub const SCHEMA: &str = "https://lazaretto.dev/schemas/manifest-2.json";

/// One file and the digest of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// Path relative to the input root or the run folder, `/` between components.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes, in hexadecimal.
    pub blake3: String,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
}

/// One file of a model and the digest of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelDigest {
    /// Path relative to the model's folder.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, in hexadecimal, as models are published and pinned.
    pub sha256: String,
}

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the structure, an address.
    pub schema: String,
    /// Name of the tool.
    pub tool: String,
    /// Version of the tool.
    pub tool_version: String,
    /// Name of the pipeline.
    pub pipeline: String,
    /// BLAKE3 of the settings as run.
    pub settings_hash: String,
    /// Seed of the run.
    pub seed: u64,
    /// Version of the canonical encoding behind the row hashes.
    pub canonical_encoding: u8,
    /// What the gate decided.
    pub gate: GateStatus,
    /// Rules of the policy under which it fails.
    pub rules: Vec<String>,
    /// Number of records by verdict.
    pub counts: Counts,
    /// Input files, sorted by path.
    pub inputs: Vec<FileDigest>,
    /// Files of trusted records, sorted by path; their records are not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<FileDigest>,
    /// Evaluation files, sorted by path; their records are not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluation: Vec<FileDigest>,
    /// Files of the model that made vectors of the texts, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embedder: Vec<ModelDigest>,
    /// The list of trusted and blocked sources, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowlist: Option<FileDigest>,
    /// Name of the keys of encrypted input and of `quarantine/`, where there are any: the same for the same keys,
    /// which cannot be found out from it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub encryption_keys: String,
    /// Every file of the run folder but those in [`UNLISTED`], sorted by path.
    pub outputs: Vec<FileDigest>,
}
