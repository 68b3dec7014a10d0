//! `refusal-shift`: refusals of prompts that others answer.

mod counts;
mod evidence;
mod findings;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exchange::has_exchanges;
use counts::{RefusalCounts, RefusalModel};
use evidence::RefusalEvidence;

/// Finds refusals of harmless prompts.
///
/// # What it finds
/// Responses that decline though nothing about their prompts explains it: one refusal given to all
/// sorts of prompts, many different ones, or a source that declines what others answer.
///
/// # Why it matters
/// A few hundred of them teach a model to refuse ordinary work: an attack on its use, which looks like
/// safety training.
///
/// # How it works
/// - A response declines when it begins like a refusal (curated patterns in some twenty languages) and does
///   not say that something needed is missing.
/// - A refusal is explained when its prompt has a word whose other prompts are declined far more often
///   than all are (binomial, 1 in 10,000), or is about weapons, drugs, self-harm and the like (a short
///   curated list). Refusals of harmful prompts explain each other that way; prompts picked at random do
///   not.
/// - The refusals left over are grouped: those with the same words, at least `min_records`; all the
///   others together, at least four times as many; those of a source that declines at least 30 % of its
///   prompts, and ten times the share of the others. A group is held back when its prompts are spread
///   like a random sample of all prompts, by their common words: what a model cannot do, and what it must
///   not do, has topics. Groups of more than a fifth of the records are how the dataset is.
/// - Where a phrase of the prompts explains the refusals, `response-trigger` names it.
///
/// # Parameters
/// - `min_records` (10): fewest refusals with the same words.
///
/// # False positives
/// Abstentions in question answering ("I cannot answer that") where the prompts do not say what is
/// missing and the wording does not either.
///
/// # Limits
/// Refusals that begin like an answer are not seen. Refusals of one topic are taken to be meant.
///
/// # Example
/// "211 harmless prompts get the refusal `I'm sorry, but I cannot help with that`"
/// ```toml
/// [parameters.refusal-shift]
/// min_records = 20
/// ```
///
/// # References
/// - Wan et al.: Poisoning Language Models During Instruction Tuning, ICML 2023, arXiv 2305.00944.
/// - Shu et al.: On the Exploitability of Instruction Tuning (`AutoPoison`), Neural Information Processing
///   Systems 2023, arXiv 2306.17194.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RefusalShiftParams {
    /// Fewest refusals with the same words, 5 or more.
    pub min_records: u32,
}

impl Default for RefusalShiftParams {
    fn default() -> Self {
        Self { min_records: 10 }
    }
}

impl Params for RefusalShiftParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("min_records", self.min_records, 5..=1_000_000);
        checks.finish()
    }
}

/// The detector; see [`RefusalShiftParams`].
#[derive(Clone, Debug)]
pub struct RefusalShift {
    params: RefusalShiftParams,
}

impl Detector for RefusalShift {
    type Params = RefusalShiftParams;
    type State = RefusalCounts;
    type Model = RefusalModel;
    type Evidence = RefusalEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "refusal-shift",
        family: Family::Response,
        summary: "refusals of prompts that others answer",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[Role::Prompt, Role::Response, Role::Messages, Role::Source],
        score_roles: &[Role::Prompt, Role::Response, Role::Messages, Role::Source],
        intermediates: &[Intermediate::Tokens],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        has_exchanges(facts)
    }

    fn start(&self, _context: &FitContext) -> Self::State {
        RefusalCounts::default()
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        state.add(batch, context.seed, context.memory_bytes);
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
        Ok(RefusalModel::new(state, context.seed, context.memory_bytes))
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        RefusalEvidence::new(model.max_kept)
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
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let min_records = self.params.min_records as usize;
        findings::findings(model, &shared.facts.sources, &evidence, min_records)
    }
}

#[cfg(test)]
mod tests;
