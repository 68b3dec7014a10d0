//! `hidden-text`: text that a page does not display and that speaks to a model.

mod concealed;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use lazaretto_patterns::PatternSet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::{Entry, Gathered, SHOW, habit};
use super::mention::{is_quoted, is_subject};
use super::parts::{Part, parts};
use concealed::{Trick, concealed};

/// What remains of the doubt about a sign when it is kept from sight.
const HIDDEN_DOUBT: f32 = 0.4;
/// What remains of a sign that is mentioned and not used.
const MENTIONED: f32 = 0.35;
/// Least weight of a pattern that makes a concealed text one that speaks to a model.
const MIN_WEIGHT: f64 = 0.4;

/// What findings call the tricks, in the order of [`Trick`].
const WORDS: [(&str, &str); 4] = [
    ("comment", "instructions to a model in comments"),
    (
        "hidden-element",
        "instructions to a model in elements that are not displayed",
    ),
    (
        "pushed-out-of-sight",
        "instructions to a model behind a long blank",
    ),
    (
        "exfiltrating-image",
        "images or links whose address carries data away",
    ),
];

/// Finds text that a page or document does not display and that speaks to a language model.
///
/// # What it finds
/// - Comments in HTML and Markdown, and elements that are hidden (`display:none`, `hidden`, no size,
///   no opacity, white or transparent letters, moved off the page), that hold an instruction to a
///   model.
/// - Instructions behind at least 80 blanks or 15 empty lines.
/// - Images and links whose address has a place for the conversation or a secret.
///
/// # Why it matters
/// A reviewer looks at the rendered page; a model is trained on the source.
///
/// # How it works
/// Concealed stretches are cut out of the markup, in one pass and without a browser, and read with
/// the patterns of `prompt-injection`. Concealment makes a sign nearly certain: its doubt counts
/// 0.4. Concealed text that is no instruction is ordinary on web pages and passes. Signs count a
/// third in texts about attacks and in quoted code. The score is the degree in `0..=1`; 0.7 and
/// above is held back, from 0.4 shown, as is what more than `habit_fraction` of the records hold.
/// Stated p-values: 1e-6 for what is held back, 0.2 for what is shown.
///
/// # Parameters
/// - `habit_fraction` (0.1): share of the records above which a trick is a habit of the dataset.
///
/// # False positives
/// What passes: comments for developers, templates, menus and dialogs that a script will show,
/// tracking pixels, indented code. Teaching material with a live example is found.
///
/// # Limits
/// Style sheets are not resolved: only an element's own attributes count. Text drawn into
/// images is not read.
///
/// # Example
/// "4 records with instructions to a model in elements that are not displayed: `Ignore all previous
/// instructions`"
/// ```toml
/// [parameters.hidden-text]
/// habit_fraction = 0.05
/// ```
///
/// # References
/// - Greshake et al.: Not what you've signed up for, `AISec` 2023.
/// - OWASP Top 10 for LLM Applications: LLM01 Prompt Injection (indirect).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HiddenTextParams {
    /// Share of the records, 0 to 1, above which a trick is taken for a habit of the dataset and
    /// proposed for review only.
    pub habit_fraction: f64,
}

impl Default for HiddenTextParams {
    fn default() -> Self {
        Self {
            habit_fraction: 0.1,
        }
    }
}

impl Params for HiddenTextParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("habit_fraction", self.habit_fraction, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`HiddenTextParams`].
#[derive(Clone, Debug)]
pub struct HiddenText {
    params: HiddenTextParams,
}

/// The compiled patterns, and the number of records that makes a habit.
#[derive(Clone, Debug)]
pub struct HiddenModel {
    set: PatternSet,
    habit: u64,
}

impl HiddenModel {
    /// The judgement on a record; degree 0 without a sign.
    fn judge(&self, parts: &[Part<'_>]) -> Entry {
        let mut best = Entry::default();
        for part in parts {
            for (trick, range) in concealed(part.text) {
                let said = &part.text[range.clone()];
                for found in self.set.find(said) {
                    let pattern = &self.set.patterns()[found.pattern];
                    if pattern.weight < MIN_WEIGHT
                        || pattern.kind == "forgery" && trick == Trick::Comment
                    {
                        continue;
                    }
                    let mut degree = 1.0 - (1.0 - pattern.weight as f32) * HIDDEN_DOUBT;
                    let place = range.start + found.range.start..range.start + found.range.end;
                    let mentioned = is_subject(part.text, &place)
                        || is_quoted(part.text, &place) && trick != Trick::Style;
                    if mentioned {
                        degree *= MENTIONED;
                    }
                    best = stronger(best, trick as u8, degree, said[found.range].trim());
                }
            }
            if part.text.contains("](") {
                for found in self.set.find(part.text) {
                    let is_image = self.set.patterns()[found.pattern].id == "image-exfiltration";
                    let mentioned =
                        is_subject(part.text, &found.range) || is_quoted(part.text, &found.range);
                    if is_image && !mentioned {
                        best = stronger(best, 3, 0.8, &part.text[found.range]);
                    }
                }
            }
        }
        best
    }
}

fn stronger(best: Entry, kind: u8, degree: f32, excerpt: &str) -> Entry {
    if degree <= best.degree {
        return best;
    }
    Entry {
        kind,
        degree,
        without_format: degree,
        excerpt: excerpt.to_owned(),
        ..Entry::default()
    }
}

impl Detector for HiddenText {
    type Params = HiddenTextParams;
    type State = ();
    type Model = HiddenModel;
    type Evidence = Gathered;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "hidden-text",
        family: Family::Injection,
        summary: "text that is not displayed and speaks to a model",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0043", "LLM04:2025", "LLM05:2026"],
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
        let set = lazaretto_patterns::injection()
            .map_err(|error| NotApplicable::new(error.to_string()))?;
        Ok(HiddenModel {
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
        evidence.findings(Self::SPEC.id, model.habit, &WORDS)
    }
}

#[cfg(test)]
mod tests;
