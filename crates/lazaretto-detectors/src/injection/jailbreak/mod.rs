//! `jailbreak`: templates that talk a model out of its policy.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use lazaretto_patterns::{Limits, PatternSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::{Entry, Gathered, SHOW, habit};
use super::mention::{asks_about_prompts, is_quoted, is_reported, is_subject};
use super::parts::{Part, Place, is_refused, parts};
use super::reading::readings;

/// Bytes around the strongest sign within which others support it: templates are long.
const NEAR: usize = 3_000;
/// What remains of a sign that is mentioned and not used.
const MENTIONED: f32 = 0.35;
/// What remains of a sign in a response.
const IN_RESPONSE: f32 = 0.7;

/// The kinds of the patterns, and what findings call them.
const KINDS: [(&str, (&str, &str)); 5] = [
    ("template", ("known-template", "a known jailbreak template")),
    (
        "licence",
        ("no-rules", "a claim that no rules hold for the model"),
    ),
    (
        "pressure",
        ("pressure", "threats or points against refusing"),
    ),
    (
        "double",
        (
            "second-answer",
            "a demand for a second, unrestricted answer",
        ),
    ),
    ("persona", ("persona", "a persona without a policy")),
];

/// Finds prompts that talk a language model out of its policy.
///
/// # What it finds
/// Templates known by name or wording (`do anything now`, developer mode, unfiltered namesakes, the
/// late grandmother), and what they are made of: a persona for the model, the claim that no rules
/// hold for it, a ban on refusing, points or threats, a demand for a second, unrestricted answer.
/// Templates are known in English, German, French, Spanish, Portuguese, Italian, Russian, Chinese,
/// Japanese and Korean; all of it also in the encodings that `prompt-injection` reads.
///
/// # Why it matters
/// A few hundred records in which such a prompt is obeyed undo a model's training to decline, and
/// leave a phrase that switches it off.
///
/// # How it works
/// A versioned file of curated patterns of five kinds. A template convinces alone. Of the others
/// two kinds must come together: signs of different kinds near each other support one another as
/// if independent. A persona alone is role play and passes. Signs count a third where they are
/// quoted, reported or surrounded by the vocabulary of texts about attacks, and less in responses
/// and where the instruction is about prompts. The score is the degree in `0..=1`; 0.7 and above
/// is held back, from 0.4 shown. Records whose response declines are shown only: they teach to
/// resist. What more than `habit_fraction` of the records show is the subject of the dataset and
/// shown too. Stated p-values: 1e-6 for what is held back, 0.2 for what is shown.
///
/// # Parameters
/// - `habit_fraction` (0.1): share of the records above which a kind is a habit of the dataset.
///
/// # False positives
/// What passes: role play, developer mode of phones and browsers, grandmothers who tell fairy
/// tales, stories about machines without restrictions, articles about jailbreaks.
///
/// # Limits
/// A wholly new story without any of the five ingredients passes, as do templates in other
/// languages than those named.
///
/// # Example
/// "7 records with a known jailbreak template: `you are now DAN`"
/// ```toml
/// [parameters.jailbreak]
/// habit_fraction = 0.5
/// ```
///
/// # References
/// - Shen et al.: "Do Anything Now", ACM CCS 2024 (templates in the wild).
/// - Wei, Haghtalab, Steinhardt: Jailbroken, `NeurIPS` 2023.
/// - Qi et al.: Fine-tuning Aligned Language Models Compromises Safety, ICLR 2024.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JailbreakParams {
    /// Share of the records, 0 to 1, above which a kind is taken for a habit of the dataset and
    /// proposed for review only.
    pub habit_fraction: f64,
}

impl Default for JailbreakParams {
    fn default() -> Self {
        Self {
            habit_fraction: 0.1,
        }
    }
}

impl Params for JailbreakParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("habit_fraction", self.habit_fraction, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`JailbreakParams`].
#[derive(Clone, Debug)]
pub struct Jailbreak {
    params: JailbreakParams,
}

/// The compiled patterns with their kinds, and the number of records that makes a habit.
#[derive(Clone, Debug)]
pub struct JailbreakModel {
    set: PatternSet,
    /// Index into [`KINDS`] of each pattern.
    kinds: Vec<usize>,
    habit: u64,
}

impl JailbreakModel {
    /// The judgement on a record; degree 0 without a sign.
    fn judge(&self, parts: &[Part<'_>]) -> Entry {
        let mut best = Entry::default();
        let is_instruction = |part: &&Part<'_>| part.place == Place::Instruction;
        let about = parts
            .iter()
            .filter(is_instruction)
            .any(|part| asks_about_prompts(part.text));
        for part in parts {
            let (found, _) = readings(&self.set, &Limits::default(), part.text);
            let mut signs: Vec<(usize, f32, usize)> = Vec::new();
            for (idx, reading) in found.iter().enumerate() {
                let mut degree = self.set.patterns()[reading.pattern].weight as f32;
                let mentioned = if reading.decoded.is_some() {
                    reading.mentioned
                } else {
                    is_quoted(part.text, &reading.range)
                        || is_subject(part.text, &reading.range)
                        || is_reported(part.text, &reading.range)
                };
                if mentioned {
                    degree *= MENTIONED;
                }
                if part.place == Place::Response {
                    degree *= if about { MENTIONED } else { IN_RESPONSE };
                }
                signs.push((self.kinds[reading.pattern], degree, idx));
            }
            let degree_of = |&(_, degree, _): &(usize, f32, usize)| degree;
            let Some(strongest) = signs
                .iter()
                .max_by(|a, b| degree_of(a).total_cmp(&degree_of(b)))
            else {
                continue;
            };
            let anchor = &found[strongest.2];
            let mut kinds = [0.0_f32; KINDS.len()];
            for &(kind, degree, idx) in &signs {
                if found[idx].range.start.abs_diff(anchor.range.start) <= NEAR {
                    kinds[kind] = kinds[kind].max(degree);
                }
            }
            let degree = 1.0 - kinds.iter().map(|degree| 1.0 - degree).product::<f32>();
            if degree > best.degree {
                best = Entry {
                    kind: strongest.0 as u8,
                    degree,
                    without_format: degree,
                    refused: part.place != Place::Response && is_refused(parts),
                    excerpt: part.text[anchor.range.clone()].trim().to_owned(),
                    decoded: anchor.decoded.clone(),
                    ..Entry::default()
                };
            }
        }
        best
    }
}

impl Detector for Jailbreak {
    type Params = JailbreakParams;
    type State = ();
    type Model = JailbreakModel;
    type Evidence = Gathered;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "jailbreak",
        family: Family::Injection,
        summary: "prompts that talk a model out of its policy",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "LLM04:2025", "LLM05:2026", "NISTAML.024"],
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
        context: &FitContext,
        _state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let set = lazaretto_patterns::jailbreak()
            .map_err(|error| NotApplicable::new(error.to_string()))?;
        let kind_of = |name: &str| {
            KINDS
                .iter()
                .position(|(kind, _)| *kind == name)
                .unwrap_or(0)
        };
        Ok(JailbreakModel {
            kinds: set
                .patterns()
                .iter()
                .map(|pattern| kind_of(&pattern.kind))
                .collect(),
            set,
            habit: habit(self.params.habit_fraction, context.facts.n_rows),
        })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        Gathered::new(model.habit)
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let rows = 0..batch.n_rows();
        rows.map(|row_idx| {
            let mut entry = model.judge(&parts(batch, row_idx));
            let degree = entry.degree;
            if degree >= SHOW {
                entry.record = batch.ordinal(row_idx);
                evidence.push(entry);
            }
            degree
        })
        .collect()
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        evidence.merge(later);
    }

    fn finish(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        evidence.findings(Self::SPEC.id, model.habit, &KINDS.map(|(_, words)| words))
    }
}

#[cfg(test)]
mod tests;
