//! What is known about where the records of a dataset come from, beside the records themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A file of the dataset and its records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileFacts {
    /// Path relative to the root of the dataset, `/` between components.
    pub path: String,
    /// Dataset-wide ordinal of its first record.
    pub first_row: u64,
    /// Number of its records; 0 when it cannot be read.
    pub n_rows: u64,
}

/// How a file compares with a digest that the dataset records of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Comparison {
    /// It has the recorded digest.
    Same,
    /// It has another one, here in hexadecimal.
    Differs(String),
    /// There is no such file.
    Missing,
}

/// A digest that a dataset records of one of its own files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordedDigest {
    /// Path of the file, relative to the root of the dataset.
    pub path: String,
    /// Path of the file that records the digest.
    pub recorded_in: String,
    /// Name of the digest function, such as `SHA-256`.
    pub algorithm: String,
    /// The digest as recorded, in lower-case hexadecimal.
    pub recorded: String,
    /// What was found.
    pub comparison: Comparison,
}

/// How a source stands with those who run the scan.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Somebody vouches for it.
    Trusted,
    /// Nobody has said anything about it.
    Unknown,
    /// Nothing is to come from it.
    Blocked,
}

/// What becomes of records from a source that is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Treatment {
    /// They pass, and nothing is said.
    Allow,
    /// They pass, and a finding shows them.
    Review,
    /// They pass, and the gate fails.
    Fail,
    /// They are held back.
    Quarantine,
}

/// Domains by standing, in lower case; subdomains are included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Domains {
    /// Domains that are trusted.
    pub trusted: Vec<String>,
    /// Domains that are blocked.
    pub blocked: Vec<String>,
}

/// A list of trusted and blocked sources, as far as it applies to this dataset. A record is as good as the
/// worst that the list says about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceList {
    /// Name of the file with the list.
    pub name: String,
    /// What becomes of records from unknown sources.
    pub unknown: Treatment,
    /// What becomes of records from blocked sources.
    pub blocked: Treatment,
    /// Standing of each source, by its index in `DataFacts::sources`; where the list names sources and there is
    /// a source column.
    pub sources: Option<Vec<Standing>>,
    /// Standing of each file, by its index in [`Provenance::files`]; where the list names files.
    pub files: Option<Vec<Standing>>,
    /// Where the list names domains and there is a column of addresses.
    pub domains: Option<Domains>,
}

/// Facts about files and sources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The files of the dataset, in path order.
    pub files: Vec<FileFacts>,
    /// Digests that the dataset records of them, by path and by where they are recorded.
    pub recorded: Vec<RecordedDigest>,
    /// The list of sources, when the run was given one.
    pub sources: Option<SourceList>,
}

impl Provenance {
    /// The file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&FileFacts> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Index of the file that record `ordinal` is in.
    #[must_use]
    pub fn file_of(&self, ordinal: u64) -> Option<usize> {
        let after = self.files.partition_point(|file| file.first_row <= ordinal);
        let has = |idx: &usize| {
            let file = &self.files[*idx];
            ordinal < file.first_row + file.n_rows
        };
        // Files without records share the first row of the next.
        (0..after).rev().find(has)
    }
}
