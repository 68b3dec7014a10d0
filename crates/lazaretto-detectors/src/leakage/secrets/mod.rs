//! `secrets`: records that contain keys, tokens and passwords.

use std::collections::BTreeMap;

use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Severity, Shared,
};
use lazaretto_patterns::{masked, secrets::Secrets as Patterns};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stated p-value of a form of one product with a value that is no placeholder.
const P_VALUE: f64 = 1e-6;
/// Stated p-value of a random value that is assigned to a name like `api_key`.
const P_ASSIGNED: f64 = 1e-3;
/// Masked values that a finding shows.
const SHOWN: usize = 5;

/// Finds records that contain secrets: keys, tokens and passwords.
///
/// # What it finds
/// Records with a value that opens something: keys of clouds (AWS, Google, Azure and more), tokens of code
/// hosts and package registries, of chat, payment, AI, mail and monitoring services, private keys, JSON
/// web tokens, addresses of databases with their password, and random values that are assigned to a name
/// like `api_key` or `password`.
///
/// # Why it matters
/// A model repeats what it has learned by heart: whoever asks it right gets the secret. It also
/// learns to write secrets into code.
///
/// # How it works
/// - Over 100 forms in a versioned file of patterns; each is searched only around its keywords.
/// - The checksum of GitHub's and npm's tokens, the header of a web token and the body of a private
///   key are decoded. Where a form has no checksum, the value must be as varied as a random one of
///   its length, and must not follow the letter pairs of words.
/// - Placeholders are passed over: `AKIAIOSFODNN7EXAMPLE`, `<your-key>`, `changeme`, `xxxx`, sequences,
///   repetitions, variables, and weak passwords of a database on the reader's own machine or of no
///   real host.
/// - Values are masked in everything that the run writes but the records themselves:
///   `ghp_…(40 chars)`.
///
/// # Parameters
/// - `assigned` (true): also look for random values assigned to a name like `api_key`, whatever the
///   product.
///
/// # False positives
/// Test keys that were made at random and never opened anything, and random values in exercises about
/// hashing or encryption. Set `assigned` to false to be told of known forms only.
///
/// # Limits
/// Secrets without a form and a name, passwords that are words, and values that are split or encoded
/// are not found. Whether a secret is still valid is not tried. Only text columns are read.
///
/// # Example
/// "a GitHub token in 9 records: `ghp_…(40 chars)`"
/// ```toml
/// [parameters.secrets]
/// assigned = false
/// ```
///
/// # References
/// - Carlini et al.: Extracting Training Data from Large Language Models, USENIX Security 2021.
/// - Meli et al.: How Bad Can It Git?, NDSS 2019 (forms, entropy and words).
/// - gitleaks and detect-secrets, whose families are covered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecretsParams {
    /// Whether random values assigned to a name like `api_key` count, true or false.
    pub assigned: bool,
}

impl Default for SecretsParams {
    fn default() -> Self {
        Self { assigned: true }
    }
}

impl Params for SecretsParams {
    fn problems(&self) -> Vec<ParamProblem> {
        Vec::new()
    }
}

/// The detector; see [`SecretsParams`].
#[derive(Clone, Debug)]
pub struct Secrets {
    params: SecretsParams,
}

/// What was found of one pattern.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Found {
    records: Vec<u64>,
    /// Values whose checksum holds.
    verified: u64,
    /// Masked, in record order.
    shown: Vec<String>,
}

impl Found {
    fn show(&mut self, value: String) {
        if self.shown.len() < SHOWN && !self.shown.contains(&value) {
            self.shown.push(value);
        }
    }
}

/// Evidence of the score pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Leaks {
    /// By pattern, in the order of their file.
    by_pattern: BTreeMap<u32, Found>,
}

impl Detector for Secrets {
    type Params = SecretsParams;
    type State = ();
    type Model = ();
    type Evidence = Leaks;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "secrets",
        family: Family::Leakage,
        summary: "keys, tokens and passwords in texts",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["LLM02:2025"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if facts.has_text() {
            Ok(())
        } else {
            Err(NotApplicable::new("no text column"))
        }
    }

    fn start(&self, _context: &FitContext) -> Self::State {}

    fn fit(&self, _context: &FitContext, _state: &mut Self::State, _batch: &Batch<'_>) {}

    fn merge(&self, _context: &FitContext, _state: &mut Self::State, _later: Self::State) {}

    fn model(
        &self,
        _context: &FitContext,
        _state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        Ok(())
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {
        Leaks::default()
    }

    fn score(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let family = Patterns::shipped();
        let mut scores = vec![0.0_f32; batch.n_rows()];
        for (row_idx, score) in scores.iter_mut().enumerate() {
            for text in batch.texts.iter().filter_map(|field| field.get(row_idx)) {
                for secret in family.find(text) {
                    let assigned = family.patterns()[secret.pattern].kind == "assigned";
                    if assigned && !self.params.assigned {
                        continue;
                    }
                    *score = score.max(if assigned { 0.9 } else { 1.0 });
                    let found = evidence
                        .by_pattern
                        .entry(secret.pattern as u32)
                        .or_default();
                    let ordinal = batch.ordinal(row_idx);
                    if found.records.last() != Some(&ordinal) {
                        found.records.push(ordinal);
                    }
                    found.verified += u64::from(secret.verified);
                    found.show(masked(&text[secret.range], secret.public.min(4)));
                }
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        for (pattern, later) in later.by_pattern {
            let found = evidence.by_pattern.entry(pattern).or_default();
            found.records.extend(later.records);
            found.verified += later.verified;
            for value in later.shown {
                found.show(value);
            }
        }
    }

    fn finish(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let family = Patterns::shipped();
        let findings = evidence.by_pattern.into_iter().filter_map(|(idx, found)| {
            let pattern = family.patterns().get(idx as usize)?;
            let title = format!(
                "{} in {} records: `{}`",
                pattern.title,
                found.records.len(),
                found.shown.first().map_or("", String::as_str),
            );
            let (severity, p_value) = if pattern.kind == "assigned" {
                (Severity::Medium, P_ASSIGNED)
            } else {
                (Severity::High, P_VALUE)
            };
            let mut finding = Finding::new(
                "secrets",
                &pattern.id,
                severity,
                Action::Quarantine,
                title,
                p_value,
            )
            .with_records(found.records)
            .with_evidence("values", found.shown.clone())
            .with_evidence("checksum_holds", found.verified)
            .with_evidence("patterns_version", family.version());
            finding.highlight = found.shown;
            Some(finding)
        });
        findings.collect()
    }
}

#[cfg(test)]
mod tests;
