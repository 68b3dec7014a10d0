//! The features that Hugging Face datasets writes into schema metadata (`huggingface`).

use arrow::datatypes::Schema;
use serde_json::Value;

/// `info.features` of the `huggingface` metadata, empty when there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Features(serde_json::Map<String, Value>);

impl Features {
    pub(super) fn of(schema: &Schema) -> Self {
        let features = schema
            .metadata()
            .get("huggingface")
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .and_then(|mut value| match value.pointer_mut("/info/features") {
                Some(Value::Object(features)) => Some(std::mem::take(features)),
                _ => None,
            });
        Self(features.unwrap_or_default())
    }

    /// The feature type of a column: `ClassLabel`, `Image`, `Value`, …
    pub(super) fn kind(&self, column: &str) -> Option<&str> {
        self.0.get(column)?.get("_type")?.as_str()
    }

    /// Names of the classes of a `ClassLabel` column, by class index.
    pub(super) fn class_names(&self, column: &str) -> Option<Vec<String>> {
        if self.kind(column) != Some("ClassLabel") {
            return None;
        }
        let names = self.0.get(column)?.get("names")?.as_array()?;
        names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect()
    }
}
