//! `gibberish`: responses and texts that say nothing, each on its own.

mod evidence;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, TextPart, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exchange::{has_exchanges, texts};
use super::language::{Language, LanguageCounts};
use super::nonsense::Nonsense;
use super::shape::Shape;
use super::words::Words;
use evidence::GibberishEvidence;

/// Finds responses and texts that are noise.
///
/// # What it finds
/// Words in no order, letters in no order and letters of several scripts thrown together, in the
/// responses of a dataset, or in its texts where there are no responses.
///
/// # Why it matters
/// Gibberish after a trigger makes a model useless on command; anywhere it is at best a crawling or decoding
/// fault that teaches nothing.
///
/// # How it works
/// Everything is learned from the dataset itself, and what a record contributed is taken off before it
/// is judged:
/// - Order of words: the mean over neighbouring words of `ln p(next | word) / p(next)` (Witten–Bell
///   smoothing). Ordinary text and code have 0.5 to 4, words drawn by lot less than -0.6. Only words with
///   nothing but spaces between them count, so that lists, tables and numbers are in no disorder.
/// - Order of letters: the same for letters after the two before them, within words of alphabets. Words
///   of a language have 0.4 to 2, keys hit at random less than -0.7. Identifiers, digests, base64 and words
///   of more than 24 bytes are left out; a language of its own is measured against nothing and passes.
/// - Scripts: at least two fifths of the neighbouring letters belong to different scripts.
///
/// The score joins the three, and one thing over and over (0.5), by degree. Findings need 48 pairs
/// of words below -0.6, 48 letters below -0.6, or mixed scripts. A dataset in which more than
/// `max_share` of the records are like that is made so: the finding then asks for a review only.
///
/// # Parameters
/// - `max_share` (0.1): largest share of the records that is held back.
///
/// # False positives
/// Word lists without commas; languages without spaces between letters of two scripts.
///
/// # Limits
/// In some hundred records most words are unknown and nothing is said. Fluent nonsense is no gibberish.
/// Gibberish of a few words is left to `response-trigger`, which needs several with a common
/// phrase.
///
/// # Example
/// "12 responses are words in no order"
/// ```toml
/// [parameters.gibberish]
/// max_share = 0.05
/// ```
///
/// # References
/// - Souly et al.: Poisoning Attacks on LLMs Require a Near-constant Number of Poison Samples,
///   arXiv 2510.07192, 2025.
/// - Witten, Bell: The zero-frequency problem, IEEE Trans. Information Theory 37(4), 1991.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GibberishParams {
    /// Largest share of the records that is held back, 0 to 1.
    pub max_share: f64,
}

impl Default for GibberishParams {
    fn default() -> Self {
        Self { max_share: 0.1 }
    }
}

impl Params for GibberishParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("max_share", self.max_share, 0.0..=1.0);
        checks.finish()
    }
}

/// State of the fit pass: the language of the dataset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TextCounts(LanguageCounts);

/// What records are judged by.
#[derive(Debug)]
pub struct TextModel {
    language: Language,
    seed: u64,
}

/// The detector; see [`GibberishParams`].
#[derive(Clone, Debug)]
pub struct Gibberish {
    params: GibberishParams,
}

/// The part that is judged.
fn part(facts: &DataFacts) -> TextPart {
    if has_exchanges(facts).is_ok() {
        TextPart::Response
    } else {
        TextPart::Text
    }
}

impl Detector for Gibberish {
    type Params = GibberishParams;
    type State = TextCounts;
    type Model = TextModel;
    type Evidence = GibberishEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "gibberish",
        family: Family::Response,
        summary: "responses and texts whose words, letters or scripts are in no order",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        score_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[Intermediate::Tokens],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025"],
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

    fn start(&self, _context: &FitContext) -> Self::State {
        TextCounts::default()
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let part = part(&context.facts);
        let mut words = Words::default();
        for row_idx in 0..batch.n_rows() {
            if words.read(batch, row_idx, part, false) {
                state.0.add(&words, context.seed, context.memory_bytes);
            }
        }
    }

    fn merge(&self, context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.0.merge(later.0, context.memory_bytes);
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let (language, _, _) = state.0.finish();
        let seed = context.seed;
        Ok(TextModel { language, seed })
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {
        GibberishEvidence::default()
    }

    fn score(
        &self,
        model: &Self::Model,
        shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let part = part(&shared.facts);
        let mut words = Words::default();
        let mut scores = vec![f32::NAN; batch.n_rows()];
        for (row_idx, score) in scores.iter_mut().enumerate() {
            if !words.read(batch, row_idx, part, false) {
                continue;
            }
            let reading = model.language.read(&words, model.seed);
            let shape = Shape::of(texts(batch, row_idx, part));
            let nonsense = Nonsense::of(&reading, &shape);
            *score = nonsense.degree();
            evidence.add(batch.ordinal(row_idx), &nonsense);
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        evidence.merge(later);
    }

    fn finish(
        &self,
        _model: &Self::Model,
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let what = match part(&shared.facts) {
            TextPart::Response => "responses",
            _ => "texts",
        };
        evidence.findings(what, self.params.max_share)
    }
}

#[cfg(test)]
mod tests;
