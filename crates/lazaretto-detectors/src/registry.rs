//! The list of all detectors, and what the rest of the product may ask about one.

use std::collections::BTreeMap;

use lazaretto_core::{Detector, DetectorSpec, DynDetector, ParamProblem, Params};
use schemars::{Schema, schema_for};
use serde_json::{Map, Value};

use crate::content::burst::ContentBurst;
use crate::duplicates::exact::ExactDuplicates;
use crate::duplicates::near::NearDuplicates;
use crate::duplicates::semantic::SemanticDuplicates;
use crate::embedding::activation_clustering::ActivationClustering;
use crate::embedding::class_collision::ClassCollision;
use crate::embedding::knn_distance::KnnDistance;
use crate::embedding::knn_label_disagreement::KnnLabelDisagreement;
use crate::embedding::lof::LocalOutlierFactor;
use crate::embedding::ood_cluster::OodCluster;
use crate::embedding::scan::Scan;
use crate::embedding::spectral_signature::SpectralSignature;
use crate::embedding::spectre::Spectre;
use crate::embedding::tight_cluster::TightCluster;
use crate::injection::hidden::HiddenText;
use crate::injection::jailbreak::Jailbreak;
use crate::injection::prompt::PromptInjection;
use crate::label::confident_learning::ConfidentLearning;
use crate::label::label_shift::LabelShift;
use crate::label::probe_influence::ProbeInfluence;
use crate::leakage::evaluation_overlap::EvaluationOverlap;
use crate::leakage::personal_data::PersonalData;
use crate::leakage::secrets::Secrets;
use crate::provenance::content_hash::ContentHash;
use crate::provenance::source_allowlist::SourceAllowlist;
use crate::provenance::source_enrichment::SourceEnrichment;
use crate::provenance::time_burst::TimeBurst;
use crate::response::gibberish::Gibberish;
use crate::response::refusal_shift::RefusalShift;
use crate::response::trigger::ResponseTrigger;
use crate::tabular::conditional_frequency::ConditionalFrequency;
use crate::tabular::copod::Copod;
use crate::tabular::ecod::Ecod;
use crate::tabular::ensemble::TabularEnsemble;
use crate::tabular::gmm_density::GmmDensity;
use crate::tabular::hbos::Hbos;
use crate::tabular::isolation_forest::IsolationForest;
use crate::tabular::loda::Loda;
use crate::tabular::pca_reconstruction::PcaReconstruction;
use crate::tabular::robust_mahalanobis::RobustMahalanobis;
use crate::tabular::tabular_trigger::TabularTrigger;
use crate::tabular::value_profile::ValueProfile;
use crate::text::fluency::Fluency;
use crate::text::style_shift::StyleShift;
use crate::text::surface::TextSurface;
use crate::text::trigger::TextTrigger;

/// All detectors, sorted by id. One line each; the tests below hold the conventions.
pub static REGISTRY: &[Registration] = &[
    Registration::of::<ActivationClustering>(),
    Registration::of::<ClassCollision>(),
    Registration::of::<ConditionalFrequency>(),
    Registration::of::<ConfidentLearning>(),
    Registration::of::<ContentBurst>(),
    Registration::of::<ContentHash>(),
    Registration::of::<Copod>(),
    Registration::of::<Ecod>(),
    Registration::of::<EvaluationOverlap>(),
    Registration::of::<ExactDuplicates>(),
    Registration::of::<Fluency>(),
    Registration::of::<Gibberish>(),
    Registration::of::<GmmDensity>(),
    Registration::of::<Hbos>(),
    Registration::of::<HiddenText>(),
    Registration::of::<IsolationForest>(),
    Registration::of::<Jailbreak>(),
    Registration::of::<KnnDistance>(),
    Registration::of::<KnnLabelDisagreement>(),
    Registration::of::<LabelShift>(),
    Registration::of::<Loda>(),
    Registration::of::<LocalOutlierFactor>(),
    Registration::of::<NearDuplicates>(),
    Registration::of::<OodCluster>(),
    Registration::of::<PcaReconstruction>(),
    Registration::of::<PersonalData>(),
    Registration::of::<ProbeInfluence>(),
    Registration::of::<PromptInjection>(),
    Registration::of::<RefusalShift>(),
    Registration::of::<ResponseTrigger>(),
    Registration::of::<RobustMahalanobis>(),
    Registration::of::<Scan>(),
    Registration::of::<Secrets>(),
    Registration::of::<SemanticDuplicates>(),
    Registration::of::<SourceAllowlist>(),
    Registration::of::<SourceEnrichment>(),
    Registration::of::<SpectralSignature>(),
    Registration::of::<Spectre>(),
    Registration::of::<StyleShift>(),
    Registration::of::<TabularEnsemble>(),
    Registration::of::<TabularTrigger>(),
    Registration::of::<TextSurface>(),
    Registration::of::<TextTrigger>(),
    Registration::of::<TightCluster>(),
    Registration::of::<TimeBurst>(),
    Registration::of::<ValueProfile>(),
];

/// The registration of the detector with this id.
///
/// ```
/// let ecod = lazaretto_detectors::find("ecod").expect("registered");
/// assert!(ecod.build(&serde_json::json!({})).is_ok());
/// assert!(lazaretto_detectors::find("eco").is_none());
/// ```
#[must_use]
pub fn find(id: &str) -> Option<&'static Registration> {
    REGISTRY
        .iter()
        .find(|registration| registration.spec.id == id)
}

type Built = Result<Box<dyn DynDetector>, Vec<ParamProblem>>;

/// One detector, before its parameters are known.
pub struct Registration {
    /// The fixed facts about it.
    pub spec: &'static DetectorSpec,
    build: fn(&Value) -> Built,
    defaults: fn() -> Value,
    schema: fn() -> Schema,
}

impl Registration {
    const fn of<D: Detector>() -> Self {
        Self {
            spec: &D::SPEC,
            build: build::<D>,
            defaults: defaults::<D::Params>,
            schema: || schema_for!(D::Params),
        }
    }

    /// The detector with `parameters`: an object (or null) whose missing keys take their default.
    ///
    /// # Errors
    /// Every problem at once: unknown keys (with the nearest known one), values of a wrong type,
    /// values out of range.
    pub fn build(&self, parameters: &Value) -> Result<Box<dyn DynDetector>, Vec<ParamProblem>> {
        (self.build)(parameters)
    }

    /// The default parameters, as an object.
    #[must_use]
    pub fn defaults(&self) -> Value {
        (self.defaults)()
    }

    /// JSON Schema of the parameters.
    #[must_use]
    pub fn parameters_schema(&self) -> Schema {
        (self.schema)()
    }

    /// The user documentation, in markdown, as it stands on the parameter type.
    #[must_use]
    pub fn documentation(&self) -> String {
        let schema = self.parameters_schema();
        let text = |key| schema.get(key).and_then(Value::as_str).unwrap_or_default();
        let description = text("description");
        // schemars takes a heading in the first line for the title; that heading is ours.
        match text("title") {
            title if title.is_empty() || title.ends_with("Params") => description.to_owned(),
            title => format!("# {title}\n\n{description}"),
        }
    }

    /// What each parameter means, by name: the first sentence is its meaning, units and range.
    #[must_use]
    pub fn parameter_descriptions(&self) -> BTreeMap<String, String> {
        let schema = self.parameters_schema();
        let Some(Value::Object(properties)) = schema.get("properties") else {
            return BTreeMap::new();
        };
        properties
            .iter()
            .map(|(name, property)| {
                let description = property.get("description").and_then(Value::as_str);
                (name.clone(), description.unwrap_or_default().to_owned())
            })
            .collect()
    }
}

fn defaults<P: Params>() -> Value {
    // Parameters are plain structs of numbers, booleans and strings, which always serialise; the
    // registry tests hold every detector to that.
    serde_json::to_value(P::default()).unwrap_or(Value::Null)
}

fn build<D: Detector>(written: &Value) -> Built {
    let parameters: D::Params = parse(written)?;
    let problems = parameters.problems();
    if problems.is_empty() {
        Ok(Box::new(D::new(parameters)))
    } else {
        Err(problems)
    }
}

/// Reads parameters over their defaults. Values are tried one key at a time, because serde stops
/// at the first error and users want to see all of them.
fn parse<P: Params>(written: &Value) -> Result<P, Vec<ParamProblem>> {
    let empty = Map::new();
    let written = match written {
        Value::Null => &empty,
        Value::Object(written) => written,
        other => {
            let expected = "a table of parameters";
            return Err(vec![ParamProblem::new("parameters", other, expected)]);
        }
    };
    let Value::Object(defaults) = defaults::<P>() else {
        return Ok(P::default());
    };
    let mut merged = defaults.clone();
    let mut problems = Vec::new();
    for (key, value) in written {
        if !defaults.contains_key(key) {
            problems.push(unknown_key(key, value, &defaults));
            continue;
        }
        let mut single = defaults.clone();
        single.insert(key.clone(), value.clone());
        match serde_json::from_value::<P>(Value::Object(single)) {
            Ok(_) => {
                merged.insert(key.clone(), value.clone());
            }
            Err(error) => problems.push(ParamProblem::new(key, value, &expectation(&error))),
        }
    }
    let parsed = serde_json::from_value::<P>(Value::Object(merged));
    match parsed {
        Ok(parameters) if problems.is_empty() => Ok(parameters),
        Ok(parameters) => {
            // The keys that could be read may still be out of range: say that too.
            problems.extend(parameters.problems());
            Err(problems)
        }
        Err(error) => {
            problems.push(ParamProblem::new(
                "parameters",
                "the table",
                &expectation(&error),
            ));
            Err(problems)
        }
    }
}

/// `invalid type: string "x", expected u32` → `an unsigned integer`; other messages as they are.
fn expectation(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let expected = message
        .rsplit_once("expected ")
        .map_or(message.as_str(), |(_, expected)| expected);
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer of at least 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    }
}

fn unknown_key(key: &str, value: &Value, known: &Map<String, Value>) -> ParamProblem {
    let nearest = known
        .keys()
        .map(|name| (strsim::jaro_winkler(key, name), name))
        .filter(|(similarity, _)| *similarity > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let names = || {
        let quoted: Vec<_> = known.keys().map(|name| format!("`{name}`")).collect();
        quoted.join(", ")
    };
    let expected = match nearest {
        Some((_, name)) => format!("no such parameter; did you mean `{name}`?"),
        None if known.is_empty() => "no such parameter; this detector has none".to_owned(),
        None => format!("no such parameter; there are {}", names()),
    };
    ParamProblem::new(key, value, &expected)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECTIONS: [&str; 8] = [
        "What it finds",
        "Why it matters",
        "How it works",
        "Parameters",
        "False positives",
        "Limits",
        "Example",
        "References",
    ];

    #[test]
    fn ids_are_unique_sorted_and_kebab_case() {
        assert!(
            REGISTRY
                .windows(2)
                .all(|pair| pair[0].spec.id < pair[1].spec.id)
        );
        for registration in REGISTRY {
            let id = registration.spec.id;
            assert!(
                id.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{id}"
            );
            assert!(!registration.spec.summary.ends_with('.'), "{id}");
            assert!(!registration.spec.summary.is_empty(), "{id}");
        }
    }

    #[test]
    fn documentation_has_every_section_in_order_with_text_in_each() {
        for registration in REGISTRY {
            let id = registration.spec.id;
            let documentation = registration.documentation();
            let sections: Vec<(&str, &str)> = documentation
                .split("\n# ")
                .skip(1)
                .map(|section| section.split_once('\n').unwrap_or((section, "")))
                .collect();
            let headings: Vec<&str> = sections.iter().map(|(heading, _)| *heading).collect();
            assert_eq!(headings, SECTIONS, "{id}");
            for (heading, body) in sections {
                assert!(body.trim().len() > 20, "{id}: `{heading}` says nothing");
            }
        }
    }

    #[test]
    fn every_parameter_is_documented_in_its_field_and_in_the_text() {
        for registration in REGISTRY {
            let id = registration.spec.id;
            let documentation = registration.documentation();
            for (name, description) in registration.parameter_descriptions() {
                assert!(!description.is_empty(), "{id}: `{name}` says nothing");
                assert!(
                    documentation.contains(&format!("`{name}`")),
                    "{id}: the documentation does not mention `{name}`"
                );
            }
        }
    }

    #[test]
    fn defaults_are_valid_and_read_back() {
        for registration in REGISTRY {
            let id = registration.spec.id;
            let defaults = registration.defaults();
            assert!(defaults.is_object(), "{id}");
            assert!(registration.build(&defaults).is_ok(), "{id}");
            assert!(registration.build(&json!({})).is_ok(), "{id}");
            let described = registration.parameter_descriptions();
            let names: Vec<_> = defaults.as_object().unwrap().keys().collect();
            assert_eq!(names, described.keys().collect::<Vec<_>>(), "{id}");
        }
    }

    #[test]
    fn taxonomy_tags_exist() {
        for registration in REGISTRY {
            let id = registration.spec.id;
            assert!(!registration.spec.taxonomy.is_empty(), "{id}");
            for tag in registration.spec.taxonomy {
                assert!(
                    lazaretto_core::taxonomy::tag(tag).is_some(),
                    "{id}: no tag `{tag}`"
                );
            }
        }
    }

    #[test]
    fn all_problems_come_at_once_and_name_the_nearest_key() {
        let registration = find("isolation-forest").unwrap();
        let written = json!({"tres": 10, "trees": "many", "sample_size": 1});
        let problems = registration.build(&written).err().unwrap();
        let messages: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), 3, "{messages:?}");
        assert!(messages.iter().any(|m| m.contains("did you mean `trees`?")));
        assert!(
            messages
                .iter()
                .any(|m| m.contains("`trees` is `\"many\"`, expected an integer"))
        );
        assert!(
            messages
                .iter()
                .any(|m| m.starts_with("`sample_size` is `1`"))
        );
    }

    #[test]
    fn unknown_keys_are_problems_for_every_detector() {
        for registration in REGISTRY {
            let id = registration.spec.id;
            let problems = registration.build(&json!({"qqq": 1})).err().unwrap();
            assert_eq!(problems.len(), 1, "{id}");
            assert_eq!(problems[0].field, "qqq", "{id}");
            assert!(registration.build(&json!([1])).is_err(), "{id}");
        }
    }
}
