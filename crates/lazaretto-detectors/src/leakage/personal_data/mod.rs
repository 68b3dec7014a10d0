//! `personal-data`: records that identify private persons.

use std::collections::BTreeMap;

use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Severity, Shared, params::Checks,
};
use lazaretto_patterns::masked;
use lazaretto_patterns::personal::{Kind, Personal, find, identified};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stated p-value of an identity that is complete.
const P_VALUE: f64 = 1e-3;
/// Stated p-value of a lone address or number, which holds nothing back.
const P_LONE: f64 = 0.2;
/// Bytes within which finds are about one person: a line of a table, a signature, a short paragraph.
const WINDOW: usize = 400;
/// Masked values that a finding shows.
const SHOWN: usize = 5;
/// Lone addresses and numbers: records that the finding for review names.
const MAX_LONE: usize = 10_000;
/// Sums of weights are compared with this slack.
const SLACK: f64 = 1e-6;

/// Finds records that identify private persons.
///
/// # What it finds
/// Records in which a private person is identified: an identity, card or account number, or several of
/// e-mail address, telephone number, date of birth, postal address and name together.
///
/// # Why it matters
/// A model that has learned personal data gives it to anyone, and cannot be made to forget it.
/// Training on it without a reason is unlawful in much of the world.
///
/// # How it works
/// - Identity numbers of some 30 countries are told by their form, their check digit where they have
///   one, and what they are called around them; cards by issuer and Luhn digit, accounts (IBAN) by
///   country, length and check digits. Numbers whose check digit says little need their name.
/// - E-mail addresses count unless they are examples (`user@example.com`), roles (`info@`) or made up;
///   telephone numbers in international form, in usual national forms, or with a word beside them,
///   unless a regulator keeps them for films (555-01xx).
/// - Names, dates of birth and streets count only within 160 bytes of one of these.
/// - Each find has a weight: 1 is an identity number with its name or an unmistakable form, 0.4 to 0.6 an
///   e-mail address, 0.3 to 0.4 a telephone number, 0.4 a date of birth, 0.3 a street, 0.2 a name. Within
///   400 bytes the heaviest of each kind are added. Records that reach `threshold` are held back; those with
///   less go into one finding for review.
/// - Values are masked in everything that the run writes but the records themselves.
///
/// # Parameters
/// - `threshold` (1): sum of weights at which a record is held back. 0.4 also holds back records with a
///   single private e-mail address.
///
/// # False positives
/// Public contacts of a named person (press offices, authors of papers), invented persons with
/// plausible numbers in exercises, and numbers of another meaning that fit a check digit.
///
/// # Limits
/// Names alone, public figures, network addresses, and personal data in prose ("the baker's daughter") are
/// not found; national forms of countries that are not listed neither. Only text columns are read.
///
/// # Example
/// "US social security number in 53 records: `23…(11 chars)`"
/// ```toml
/// [parameters.personal-data]
/// threshold = 0.4
/// ```
///
/// # References
/// - Lukas et al.: Analyzing Leakage of Personally Identifiable Information in Language Models, IEEE S&P 2023.
/// - Microsoft Presidio, whose recognisers are covered where a rule can decide.
/// - ISO 7064, ISO 13616 (IBAN), ISO/IEC 7812 (cards).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PersonalDataParams {
    /// Sum of weights at which a record is held back, 0.1 to 3.
    pub threshold: f64,
}

impl Default for PersonalDataParams {
    fn default() -> Self {
        Self { threshold: 1.0 }
    }
}

impl Params for PersonalDataParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("threshold", self.threshold, 0.1..=3.0);
        checks.finish()
    }
}

/// The detector; see [`PersonalDataParams`].
#[derive(Clone, Debug)]
pub struct PersonalData {
    params: PersonalDataParams,
}

/// Records and their values, masked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Found {
    count: u64,
    records: Vec<u64>,
    shown: Vec<String>,
}

impl Found {
    fn add(&mut self, ordinal: u64, limit: usize) {
        self.count += 1;
        if self.records.len() < limit {
            self.records.push(ordinal);
        }
    }

    fn show(&mut self, value: String) {
        if self.shown.len() < SHOWN && !self.shown.contains(&value) {
            self.shown.push(value);
        }
    }

    fn merge(&mut self, later: Self, limit: usize) {
        self.count += later.count;
        let room = limit.saturating_sub(self.records.len());
        self.records.extend(later.records.into_iter().take(room));
        for value in later.shown {
            self.show(value);
        }
    }
}

/// Evidence of the score pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identities {
    /// Records that identify a person, by the kinds of data that do.
    held: BTreeMap<String, Found>,
    lone: Found,
}

/// What all text fields of a record say, as if they stood one after the other.
fn of_record(batch: &Batch<'_>, row_idx: usize) -> Vec<(Personal, String)> {
    let mut all = Vec::new();
    let mut offset = 0;
    for text in batch.texts.iter().filter_map(|field| field.get(row_idx)) {
        for mut one in find(text) {
            let shown = if one.is_masked() {
                masked(&text[one.range.clone()], 2)
            } else {
                String::new()
            };
            one.range = one.range.start + offset..one.range.end + offset;
            all.push((one, shown));
        }
        offset += text.len() + 1;
    }
    all
}

/// The kind of evidence: the heaviest identifier, or that several lighter ones come together.
fn group_of(found: &[(Personal, String)]) -> String {
    let strongest = found
        .iter()
        .map(|(one, _)| one)
        .filter(|one| matches!(one.kind, Kind::Identity(_) | Kind::Card | Kind::BankAccount));
    strongest
        .max_by(|left, right| {
            left.weight
                .total_cmp(&right.weight)
                .then(right.range.start.cmp(&left.range.start))
        })
        .map_or_else(|| "contact".to_owned(), |one| one.kind.name().to_owned())
}

impl Detector for PersonalData {
    type Params = PersonalDataParams;
    type State = ();
    type Model = ();
    type Evidence = Identities;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "personal-data",
        family: Family::Leakage,
        summary: "identity numbers and contacts of private persons in texts",
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
        Identities::default()
    }

    fn score(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![0.0_f32; batch.n_rows()];
        for (row_idx, score) in scores.iter_mut().enumerate() {
            let found = of_record(batch, row_idx);
            if found.is_empty() {
                continue;
            }
            let finds: Vec<Personal> = found.iter().map(|(one, _)| one.clone()).collect();
            let (weight, inside) = identified(&finds, WINDOW);
            let ordinal = batch.ordinal(row_idx);
            *score = (weight / self.params.threshold).min(1.0) as f32;
            let inside = &found[inside];
            let (entry, limit) = if weight >= self.params.threshold - SLACK {
                (
                    evidence.held.entry(group_of(inside)).or_default(),
                    usize::MAX,
                )
            } else {
                // Everything below is one matter: contacts here and there.
                *score *= 0.5;
                (&mut evidence.lone, MAX_LONE)
            };
            entry.add(ordinal, limit);
            for (_, shown) in inside
                .iter()
                .filter(|(_, shown)| !shown.is_empty())
                .take(SHOWN)
            {
                entry.show(shown.clone());
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        for (group, later) in later.held {
            evidence
                .held
                .entry(group)
                .or_default()
                .merge(later, usize::MAX);
        }
        evidence.lone.merge(later.lone, MAX_LONE);
    }

    fn finish(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let mut findings: Vec<Finding> = evidence
            .held
            .into_iter()
            .map(|(group, found)| held(&group, found))
            .collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.records.len()));
        if evidence.lone.count > 0 {
            findings.push(lone(evidence.lone));
        }
        findings
    }
}

fn held(group: &str, found: Found) -> Finding {
    let shown = found.shown.first().map_or("", String::as_str);
    let (kind, title, severity) = if group == "contact" {
        let title = format!(
            "contact data that identify a person in {} records: `{shown}`",
            found.count
        );
        ("contact-data", title, Severity::Medium)
    } else {
        let title = format!("{group} in {} records: `{shown}`", found.count);
        ("identity-number", title, Severity::High)
    };
    let mut finding = Finding::new(
        "personal-data",
        kind,
        severity,
        Action::Quarantine,
        title,
        P_VALUE,
    )
    .with_records(found.records)
    .with_evidence("values", found.shown.clone());
    finding.highlight = found.shown;
    finding
}

fn lone(found: Found) -> Finding {
    let title = format!(
        "single addresses or numbers of persons in {} records, not enough to identify one",
        found.count
    );
    let mut finding = Finding::new(
        "personal-data",
        "single-contacts",
        Severity::Info,
        Action::Review,
        title,
        P_LONE,
    )
    .with_records(found.records)
    .with_evidence("records_with_contacts", found.count)
    .with_evidence("values", found.shown.clone());
    finding.highlight = found.shown;
    finding
}

#[cfg(test)]
mod tests;
