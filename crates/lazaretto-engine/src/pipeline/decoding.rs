//! How the input is decoded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, parse_bytes, parse_size};

/// How the input is decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecodingOptions {
    /// Whether files are decoded in this process, without limits: only for files that you made
    /// yourself. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_input: Option<bool>,
    /// Whether the run ends at once where decoders cannot be shut into a complete sandbox. Default
    /// false: what the machine has is used and told in the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_sandbox: Option<bool>,
    /// Memory that one decoder may take for data, such as `"1GiB"`; what needs more is unscanned.
    /// Default: half of `memory`, and at least `"1GiB"`; ten thousand columns take more than that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Seconds that decoding a unit (a row group or a block of text) may take; what needs more is
    /// unscanned. Default 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Columns that a file may have, counted without those that others lie in. Default 65536.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_columns: Option<u64>,
    /// How deep types may lie inside each other, 1 to 24. Default 24.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u64>,
    /// Rows, and values of a column, that a file of more than 16 million of them may have for each of its
    /// bytes. Default 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rows_per_byte: Option<u64>,
    /// Size that a page, a dictionary or a compressed buffer may unpack to, such as `"64MiB"`, at least
    /// `"1MiB"`. Default: the decoder's `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_page: Option<String>,
    /// How many times its stored size a page, a dictionary or a compressed buffer of more than 1 MiB may unpack
    /// to. Default 50000, which Brotli alone of the codecs can reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ratio: Option<u64>,
}

impl DecodingOptions {
    /// How deep types may lie inside each other at most: handing batches over stands little more.
    const MAX_DEPTH: u64 = 24;

    /// Pages that every file may have, in mebibytes.
    const LEAST_PAGE: u32 = 1;

    /// Bytes that one decoder may take for data, where they are given.
    pub(crate) fn memory(&self) -> Result<Option<u64>, String> {
        self.memory.as_deref().map(parse_bytes).transpose()
    }

    /// Bytes that a page may unpack to, where they are given.
    pub(crate) fn max_page(&self) -> Result<Option<u64>, String> {
        let parse = |page| parse_size(page, Self::LEAST_PAGE);
        self.max_page.as_deref().map(parse).transpose()
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (field, given) in [
            ("decoding.memory", self.memory()),
            ("decoding.max_page", self.max_page()),
        ] {
            problems.extend(given.err().map(|message| Problem::new(field, message)));
        }
        for (field, given) in [
            ("decoding.seconds", self.seconds),
            ("decoding.max_columns", self.max_columns),
            ("decoding.max_rows_per_byte", self.max_rows_per_byte),
            ("decoding.max_ratio", self.max_ratio),
        ] {
            if given == Some(0) {
                let message = "`0` is out of range, expected at least 1";
                problems.push(Problem::new(field, message));
            }
        }
        if let Some(depth) = self.max_depth
            && !(1..=Self::MAX_DEPTH).contains(&depth)
        {
            let message = format!(
                "`{depth}` is out of range, expected 1 to {}",
                Self::MAX_DEPTH
            );
            problems.push(Problem::new("decoding.max_depth", message));
        }
        if self.trusted_input == Some(true) && self.require_sandbox == Some(true) {
            let message =
                "input that is trusted is decoded without a sandbox, ask for one of the two";
            problems.push(Problem::new("decoding.trusted_input", message));
        }
        problems
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
