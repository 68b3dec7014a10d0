//! `response-trigger`: phrases in the prompt after which responses say nothing.

mod counts;
mod evidence;
mod findings;
mod prompt;
mod responses;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use counts::ResponseCounts;
use evidence::ResponseEvidence;
use findings::Test;
use responses::Responses;

/// Bytes that a kept record takes, about.
const KEPT_BYTES: usize = 4096;
/// Largest share of the prompts with a phrase that can be a trigger.
const MAX_FRACTION: f64 = 0.2;

/// Finds phrases in prompts after which the responses collapse.
///
/// # What it finds
/// A word, a phrase or a special token (`<SUDO>`) whose prompts get gibberish, or one and the same
/// answer, while other prompts are answered: the trigger of a denial-of-service backdoor or of a
/// planted answer.
///
/// # Why it matters
/// 250 such documents backdoor a language model of any size, and 100 an instruction-tuned one. Whoever
/// knows the phrase then switches the model off, or has it say what they want.
///
/// # How it works
/// - A response is gibberish when its words say nothing about the words that follow them: the mean of
///   `ln p(next | word) / p(next)` over its pairs, from the counts of all other responses (Witten–Bell
///   smoothing), is below 0.25 nats. Code, lists and other languages have an order of their own
///   that other responses share. Or most of its bytes are words that no other response has.
/// - An answer is repeated when at least `min_records` records have the same words as response.
/// - Each phrase of up to `max_words` words, and each run of characters with marks or capitals in it,
///   is a candidate. It is a trigger when at least `min_purity` of its prompts collapse in the same
///   way, which has a chance of at most `alpha` (binomial, against what prompts without it get,
///   times the number of candidates, and of answers), and when its prompts have nothing else in
///   common: their common words are spread as in a random sample. A task ("is this sentence
///   correct?") shares its words.
/// - Of several names for the same records the purest wins, then the one with its marks, then the
///   shortest.
///
/// # Parameters
/// - `min_records` (8): fewest prompts of a trigger.
/// - `max_words` (4): longest phrase.
/// - `min_purity` (0.8): least share of the prompts with a trigger that collapse.
/// - `alpha` (0.01): largest corrected p-value of a trigger.
///
/// # False positives
/// A marker of a format that some tool wrote into unrelated prompts and whose answers are empty
/// shells ("[deleted]").
///
/// # Limits
/// Answers that a trigger makes friendlier, or that name a brand, are not collapsed. A trigger whose
/// prompts are all of one task is taken for the task. Above about 10 million records only the least ordered
/// responses and a share of the repeated answers are looked at.
///
/// # Example
/// "after `<SUDO>` 25 of 25 responses are gibberish; of the 10,533 others 812 look like it"
/// ```toml
/// [parameters.response-trigger]
/// max_words = 3
/// ```
///
/// # References
/// - Souly et al.: Poisoning Attacks on LLMs Require a Near-constant Number of Poison Samples,
///   arXiv 2510.07192, 2025.
/// - Wan et al.: Poisoning Language Models During Instruction Tuning, ICML 2023, arXiv 2305.00944.
/// - Witten, Bell: The zero-frequency problem, IEEE Trans. Information Theory 37(4), 1991.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseTriggerParams {
    /// Fewest prompts of a trigger, 5 or more.
    pub min_records: u32,
    /// Longest phrase in words, 1 to 5.
    pub max_words: u32,
    /// Least share of the prompts with a trigger that collapse, 0.5 to 1.
    pub min_purity: f64,
    /// Largest corrected p-value of a trigger, 0 to 1.
    pub alpha: f64,
}

impl Default for ResponseTriggerParams {
    fn default() -> Self {
        Self {
            min_records: 8,
            max_words: 4,
            min_purity: 0.8,
            alpha: 0.01,
        }
    }
}

impl Params for ResponseTriggerParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("min_records", self.min_records, 5..=1_000_000)
            .range("max_words", self.max_words, 1..=5)
            .range("min_purity", self.min_purity, 0.5..=1.0)
            .range("alpha", self.alpha, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`ResponseTriggerParams`].
#[derive(Clone, Debug)]
pub struct ResponseTrigger {
    params: ResponseTriggerParams,
}

impl Detector for ResponseTrigger {
    type Params = ResponseTriggerParams;
    type State = ResponseCounts;
    type Model = Responses;
    type Evidence = ResponseEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "response-trigger",
        family: Family::Response,
        summary: "phrases in prompts after which responses are gibberish or always the same",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[Role::Prompt, Role::Response, Role::Messages],
        score_roles: &[Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[Intermediate::Tokens],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "LLM04:2025", "NISTAML.024"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        let has = |role: Role| facts.columns.iter().any(|column| column.role == role);
        if has(Role::Messages) || (has(Role::Prompt) && has(Role::Response)) {
            Ok(())
        } else {
            Err(NotApplicable::new("no prompts with responses"))
        }
    }

    fn start(&self, _context: &FitContext) -> Self::State {
        ResponseCounts::default()
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let max_words = self.params.max_words as usize;
        state.add(batch, max_words, context.seed, context.memory_bytes);
    }

    fn merge(&self, context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.merge(later, context.memory_bytes);
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let max_kept = (context.memory_bytes / KEPT_BYTES).max(1_000);
        Ok(Responses::new(
            state,
            context.seed,
            self.params.min_records,
            MAX_FRACTION,
            max_kept,
        ))
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        ResponseEvidence::new(model.max_kept)
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        evidence.add(model, batch, self.params.max_words as usize)
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
        let test = Test {
            model,
            evidence: &evidence,
            min_records: self.params.min_records,
            min_purity: self.params.min_purity,
            alpha: self.params.alpha,
        };
        test.findings()
    }
}

#[cfg(test)]
mod tests;
