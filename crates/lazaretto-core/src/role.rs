//! What a column is for.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The part a column plays in the dataset. Every column has exactly one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Names the record; never used as a feature.
    Id,
    /// The class a model is to learn.
    Label,
    /// Free text without a more special role.
    Text,
    /// The text a language model is given.
    Prompt,
    /// The text a language model is to answer.
    Response,
    /// A list of chat turns.
    Messages,
    /// A vector of numbers per record.
    Embedding,
    /// Class probabilities of a trained model, one per class.
    Probabilities,
    /// A number.
    Numeric,
    /// A value out of few.
    Categorical,
    /// An encoded image; no detector reads it yet.
    Image,
    /// Where the record, or the person who gave it, comes from.
    Source,
    /// When the record was made or collected.
    Time,
    /// An address the content was fetched from.
    Url,
    /// A digest recorded for the content.
    ContentHash,
    /// Nothing that a detector uses; carried through unchanged.
    Other,
}

impl Role {
    /// All roles, in the order in which they are documented.
    pub const ALL: [Self; 16] = [
        Self::Id,
        Self::Label,
        Self::Text,
        Self::Prompt,
        Self::Response,
        Self::Messages,
        Self::Embedding,
        Self::Probabilities,
        Self::Numeric,
        Self::Categorical,
        Self::Image,
        Self::Source,
        Self::Time,
        Self::Url,
        Self::ContentHash,
        Self::Other,
    ];

    /// The name used in pipelines and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Label => "label",
            Self::Text => "text",
            Self::Prompt => "prompt",
            Self::Response => "response",
            Self::Messages => "messages",
            Self::Embedding => "embedding",
            Self::Probabilities => "probabilities",
            Self::Numeric => "numeric",
            Self::Categorical => "categorical",
            Self::Image => "image",
            Self::Source => "source",
            Self::Time => "time",
            Self::Url => "url",
            Self::ContentHash => "content_hash",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("unknown role `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back() {
        for role in Role::ALL {
            assert_eq!(role.name().parse::<Role>(), Ok(role));
            assert_eq!(
                serde_json::to_value(role).unwrap(),
                serde_json::Value::from(role.name())
            );
        }
    }
}
