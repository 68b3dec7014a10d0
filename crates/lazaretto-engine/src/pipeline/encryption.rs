//! Where the keys of encrypted files come from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Problem;

/// Parquet encryption (AES-GCM) of the input and of `quarantine/`. Keys are 16 or 32 bytes in base64 or
/// hexadecimal, and never stand in the pipeline itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EncryptionOptions {
    /// The key that everything in `quarantine/` is encrypted with, which then is Parquet whatever the input is.
    /// Default none: it is written as the input is, encrypted where the input is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<KeySource>,
    /// Keys of encrypted input. Default: the environment variable `LAZARETTO_INPUT_KEY` as the key of footers,
    /// where it is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputKeySources>,
}

/// Keys of encrypted input. What is written of it to `clean/` is encrypted with the same keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputKeySources {
    /// Of footers, and of columns that have no key of their own.
    pub footer: KeySource,
    /// Of single columns, by their path (`.` between the parts).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, KeySource>,
    /// What ties files to their place, where their writer kept it out of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aad_prefix: Option<String>,
}

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// The environment variable of this name.
    Variable(String),
    /// The output of a program with its arguments, such as `["pass", "show", "lake/quarantine"]`; no shell is
    /// involved.
    Command(Vec<String>),
}

impl EncryptionOptions {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let quarantine = self
            .quarantine
            .iter()
            .map(|key| ("encryption.quarantine".to_owned(), key));
        let inputs = self.inputs.iter().flat_map(|inputs| {
            let footer = ("encryption.inputs.footer".to_owned(), &inputs.footer);
            let columns = inputs.columns.iter();
            let columns =
                columns.map(|(name, key)| (format!("encryption.inputs.columns.{name}"), key));
            std::iter::once(footer).chain(columns)
        });
        let empty = |key: &KeySource| match key {
            KeySource::Variable(name) => name.is_empty(),
            KeySource::Command(words) => words.first().is_none_or(String::is_empty),
        };
        let all = quarantine.chain(inputs).filter(|(_, key)| empty(key));
        all.map(|(path, _)| Problem::new(path, "names no variable and no program"))
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
