//! The schema metadata that the `datasets` library writes into Parquet files.

use std::collections::HashMap;
use std::fmt::Write as _;

/// The type of a column, as far as it is used here.
#[derive(Clone, Copy, Debug)]
pub enum Feature<'a> {
    /// A plain value of this dtype.
    Value(&'a str),
    /// A class index with these names.
    ClassLabel(&'a [&'a str]),
    /// A vector of float32 of this length.
    Vector(usize),
}

/// The metadata for columns of these features. Names must not need JSON escapes.
#[must_use]
pub fn metadata(features: &[(&str, Feature<'_>)]) -> HashMap<String, String> {
    let mut json = String::from(r#"{"info": {"features": {"#);
    for (idx, (name, feature)) in features.iter().enumerate() {
        if idx > 0 {
            json.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = write!(json, "\"{name}\": ");
        let _ = match feature {
            Feature::Value(dtype) => {
                write!(json, r#"{{"dtype": "{dtype}", "_type": "Value"}}"#)
            }
            Feature::ClassLabel(names) => {
                let names = names.join("\", \"");
                write!(json, r#"{{"names": ["{names}"], "_type": "ClassLabel"}}"#)
            }
            Feature::Vector(length) => write!(
                json,
                r#"{{"feature": {{"dtype": "float32", "_type": "Value"}}, "length": {length}, "_type": "Sequence"}}"#
            ),
        };
    }
    json.push_str("}}}");
    HashMap::from([("huggingface".to_owned(), json)])
}
