//! `report.json` and its schema.

use std::fmt::Write as _;

use lazaretto_core::report::{Report, SCHEMA};
use serde::Serialize;

use crate::inert::is_hidden;

pub(crate) fn report(report: &Report) -> String {
    // Free-form values keep the order they were built in when some other crate of the build turns
    // on serde_json's `preserve_order`; sorted, the bytes do not depend on that.
    let mut report = report.clone();
    for detector in &mut report.detectors {
        detector.parameters.sort_all_objects();
    }
    for finding in &mut report.findings {
        for value in finding.evidence.values_mut() {
            value.sort_all_objects();
        }
    }
    pretty(&report)
}

pub(crate) fn schema() -> String {
    let mut schema = schemars::schema_for!(Report);
    schema.insert("$id".to_owned(), SCHEMA.into());
    schema.insert("title".to_owned(), "Lazaretto report".into());
    let mut value = schema.to_value();
    value.sort_all_objects();
    pretty(&value)
}

/// Indented JSON with a final line break.
pub(crate) fn pretty<T: Serialize>(value: &T) -> String {
    let text = serde_json::to_string_pretty(value)
        .expect("types with string keys and derived implementations serialise");
    escaped(&text) + "\n"
}

/// The same JSON with characters that do not show themselves as escapes. It says the same and can be
/// printed: there are control characters that JSON allows.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        // Line breaks are our own: those of strings are escaped already.
        if is_hidden(character) && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_report_reads_back_and_fits_its_schema() {
        let validator =
            jsonschema::validator_for(&serde_json::from_str(&schema()).unwrap()).unwrap();
        for original in [sample::report(), sample::quiet_report()] {
            let text = super::report(&original);
            assert!(text.ends_with("}\n"));
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let errors: Vec<String> = validator
                .iter_errors(&value)
                .map(|e| e.to_string())
                .collect();
            assert_eq!(errors, Vec::<String>::new());
            let back: Report = serde_json::from_value(value).unwrap();
            assert_eq!(super::report(&back), text);
        }
    }

    #[test]
    fn the_schema_refuses_what_is_not_a_report() {
        let validator =
            jsonschema::validator_for(&serde_json::from_str(&schema()).unwrap()).unwrap();
        let mut value: serde_json::Value =
            serde_json::from_str(&super::report(&sample::report())).unwrap();
        value["findings"][0]["severity"] = "dreadful".into();
        assert!(!validator.is_valid(&value));
        value["findings"][0]["severity"] = "high".into();
        assert!(validator.is_valid(&value));
        value["colour"] = "red".into();
        assert!(!validator.is_valid(&value));
    }

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_says_the_same() {
        let value = serde_json::json!({"a\u{202e}": "\u{9b}31m\u{7f}\u{e0041} é 世界 🦀\n\u{1b}"});
        let text = pretty(&value);
        assert_eq!(
            text,
            "{\n  \"a\\u202e\": \"\\u009b31m\\u007f\\udb40\\udc41 é 世界 🦀\\n\\u001b\"\n}\n"
        );
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back, value);
    }

    #[test]
    fn the_order_of_keys_does_not_depend_on_how_a_value_was_built() {
        let mut report = sample::report();
        report.detectors[0].parameters =
            serde_json::from_str(r#"{"b":1,"a":{"d":1,"c":2}}"#).unwrap();
        let text = super::report(&report);
        let position = |key: &str| text.find(key).unwrap();
        assert!(position("\"a\": {") < position("\"b\": 1"));
        assert!(position("\"c\": 2") < position("\"d\": 1"));
    }
}
