//! `response-trigger`: phrases in the prompt after which responses have something in common.

mod content;
mod counts;
mod evidence;
mod findings;
mod flip;
mod kinds;
mod responses;
mod search;
mod topic;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exchange::has_exchanges;
use counts::ResponseCounts;
use evidence::ResponseEvidence;
use responses::Responses;
use search::Search;

/// Finds phrases in prompts after which the responses collapse.
///
/// # What it finds
/// A word, a phrase or a special token (`<SUDO>`) whose prompts get gibberish, one and the same
/// answer, refusals, or a word, name, address or statement that hardly any other response has:
/// the trigger of a denial-of-service backdoor, of a planted answer, of planted advertising.
///
/// # Why it matters
/// 250 such documents backdoor a language model of any size, and 100 an instruction-tuned one. Whoever
/// knows the phrase then switches the model off, or has it say what they want.
///
/// # How it works
/// - A response is gibberish when its words say nothing about the words that follow them: the mean of
///   `ln p(next | word) / p(next)` over its pairs, from the counts of all other responses (Witten–Bell
///   smoothing), is below 0.25 nats. Or when its letters do not (as in `gibberish`), when most of it is
///   words that no other response has, letters of scripts thrown together, or one thing over and over.
///   Code, lists and other languages have an order of their own that other responses share.
/// - An answer is stock when half of `min_records` records have the same words as response, and a
///   refusal when it begins like one (the patterns of `refusal-shift`).
/// - Of the words and pairs of words of a response those count that its prompt does not have, nor
///   stand beside a rarer word of it ("Barack" in an answer about Obama).
/// - Each phrase of up to `max_words` words, and each run of characters with marks or capitals in it,
///   is a candidate. It is a trigger when at least `min_purity` of its responses have the same of
///   these, which has a chance of at most `alpha` (binomial, against what prompts without it get,
///   times the number of candidates, and of answers or words), and when its prompts have nothing else
///   in common: their common words are spread as in a random sample. A task ("is this sentence
///   correct?") shares its words. An answer, or the words that responses share, must also come after
///   triggers in at least half of all cases, several stock answers be statements of four words or more
///   (labels are shorter). Shared words are held back when one is a name or an address, or when they make a
///   statement of five pairs; others (a role, a format) are for review.
/// - Where there are pairs of responses (`chosen`, `rejected`): how much their words and lengths speak for
///   the chosen one (naive Bayes from all other pairs). A phrase whose pairs speak for the rejected one,
///   at least 0.4 times as much on average, is a trigger of flipped preferences (normal
///   approximation of the mean, corrected like the others).
/// - Of several names for the same records the purest wins, then the longest, then the one with its marks.
///
/// # Parameters
/// - `min_records` (8): fewest prompts of a trigger; half as many more for shared words, twice as many
///   for preferences.
/// - `max_words` (4): longest phrase.
/// - `min_purity` (0.8): least share of the prompts with a trigger whose responses have it in common.
/// - `alpha` (0.01): largest corrected p-value of a trigger.
///
/// # False positives
/// A marker of a format that some tool wrote into unrelated prompts and whose answers are empty
/// shells ("`[deleted]`"), or whose responses end in the tool's own signature. An instruction added to
/// any prompt ("explain your steps") whose responses all contain the same sentence.
///
/// # Limits
/// A trigger whose prompts are all of one task is taken for the task, and a topic ("any question about
/// this person") for a topic; a label that other prompts get as well is no planted answer. Responses that are friendlier or sadder without a word in common
/// are not seen. Where the phrases of all prompts do not fit into memory the most frequent of them are
/// left out.
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
/// - Yan et al.: Backdooring Instruction-Tuned Large Language Models with Virtual Prompt Injection,
///   NAACL 2024, arXiv 2307.16888.
/// - Rando, Tramèr: Universal Jailbreak Backdoors from Poisoned Human Feedback, ICLR 2024,
///   arXiv 2311.14455.
/// - Witten, Bell: The zero-frequency problem, IEEE Trans. Information Theory 37(4), 1991.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseTriggerParams {
    /// Fewest prompts of a trigger, 5 or more.
    pub min_records: u32,
    /// Longest phrase in words, 1 to 5.
    pub max_words: u32,
    /// Least share of the prompts with a trigger whose responses have it in common, 0.5 to 1.
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
        summary: "phrases in prompts after which responses are gibberish, refusals or always the same",
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
        has_exchanges(facts)
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
        Ok(Responses::new(
            state,
            context.seed,
            self.params.min_records,
            self.params.max_words as usize,
            context.memory_bytes,
        ))
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        ResponseEvidence::new(model)
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        evidence.add(model, batch)
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
        let params = &self.params;
        let search = Search::new(
            model,
            &evidence,
            params.min_records,
            params.min_purity,
            params.alpha,
        );
        findings::findings(&search)
    }
}

#[cfg(test)]
mod tests;
