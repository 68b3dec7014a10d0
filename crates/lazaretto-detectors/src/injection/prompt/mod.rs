//! `prompt-injection`: instructions to a model where data should be.

mod flood;
mod judge;
mod request;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use lazaretto_patterns::Limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::{Gathered, SHOW, habit};
use super::parts::parts;
use judge::{Judge, WORDS};

/// Finds texts that give a language model instructions where none belong.
///
/// # What it finds
/// - Overrides of prior instructions, in 25 languages, and modes and roles that a text claims to
///   switch on.
/// - Forged delimiters and roles: control tokens of chat formats, borders of "untrusted input",
///   lines that speak as the system.
/// - Attempts to extract the prompt or a secret, to send private data away, to use tools behind
///   the user's back, to dictate the answer; texts that speak to the models that will read them.
/// - Requests that belong to no task of their record, whatever they say.
/// - Floods of repeated characters, which push instructions out of sight.
/// - All of these in base64, hexadecimal digits, bits, percent-encoding, HTML entities, backslash
///   escapes, tag characters, variation selectors, zero-width bits, look-alike or broken letters,
///   leetspeak, spaced, rotated or reversed letters, also inside each other.
///
/// # Why it matters
/// A model learns from such records to obey what stands in the data, or carries the instruction
/// out itself whenever the record is read by an agent, a grader or a pipeline of prompts.
///
/// # How it works
/// - *Structure.* The texts of a record have places: an instruction, the data it is about (a column
///   such as `input` or `context` beside another prompt column), a response. A first or last line
///   of data or response that has the form of a request and shares no content word with the rest
///   of the record was not written for it.
/// - *Patterns.* A versioned file of curated patterns with examples; how far each convinces depends
///   on its kind and on the place. Signs of different kinds near each other support one another
///   as if independent.
/// - *Use or mention.* Signs count a third where they are quoted, stand in code, are reported (`told
///   them to ignore …`) or surrounded by the vocabulary of texts about attacks, and less where the
///   record's instruction is about prompts or chat formats.
/// - *Encodings* are decoded within a budget of bytes and depth, and read again; a strong sign that
///   was hidden is nearly certain. Where the budget ends before the text, a finding says so.
///
/// The score is the degree in `0..=1`. Records at 0.7 and above are held back, one finding per
/// kind; those from 0.4 are shown for review, as are records whose response declines (they teach
/// to resist), control tokens that more than `habit_fraction` of the records carry, and every
/// kind that so many show (requests without a tie: a fifth of it). Stated p-values: 1e-6 for what is held back, 0.2 for what is shown.
///
/// # Parameters
/// - `habit_fraction` (0.1): share of the records above which a sign is a habit of the dataset.
/// - `alien_requests` (true): whether to look for requests without a tie to their record.
/// - `decode_bytes` (4 MiB), `decode_depth` (5): budget of decoding, per text.
///
/// # False positives
/// What passes: articles and code about injections or chat templates, quoted examples, system
/// prompts that were asked for, fiction, "ignore my previous email", a dataset in a chat format,
/// exercises whose data are questions or requests. A collection of attacks without responses that
/// decline is found, rightly; `habit_fraction` makes it a note.
///
/// # Limits
/// Requests without a tie are recognised in English. An instruction in the same words as the
/// task, or one that a whole record was written for, looks like a task. Attacks that pose as
/// an article about attacks are shown, not held back. Other ciphers are not tried.
///
/// # Example
/// "18 records with an instruction override: `Ignore all previous instructions`"
/// ```toml
/// [parameters.prompt-injection]
/// alien_requests = false
/// ```
///
/// # References
/// - OWASP Top 10 for LLM Applications: LLM01 Prompt Injection.
/// - Greshake et al.: Not what you've signed up for, `AISec` 2023 (indirect injection).
/// - Toyer et al.: Tensor Trust, ICLR 2024; Yi et al.: BIPIA, KDD 2025 (attack collections).
/// - Yan et al.: Backdooring instruction-tuned models with virtual prompt injection, NAACL 2024.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PromptInjectionParams {
    /// Share of the records, 0 to 1, above which a sign is taken for a habit of the dataset and
    /// proposed for review only.
    pub habit_fraction: f64,
    /// Whether to look for requests that share nothing with their record.
    pub alien_requests: bool,
    /// Bytes that decoding may read and write per text, 65,536 to 67,108,864.
    pub decode_bytes: u64,
    /// Encodings inside each other that are undone, 1 to 16.
    pub decode_depth: u32,
}

impl Default for PromptInjectionParams {
    fn default() -> Self {
        Self {
            habit_fraction: 0.1,
            alien_requests: true,
            decode_bytes: 4 << 20,
            decode_depth: 5,
        }
    }
}

impl Params for PromptInjectionParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("habit_fraction", self.habit_fraction, 0.0..=1.0)
            .range("decode_bytes", self.decode_bytes, 65_536..=67_108_864)
            .range("decode_depth", self.decode_depth, 1..=16);
        checks.finish()
    }
}

/// The detector; see [`PromptInjectionParams`].
#[derive(Clone, Debug)]
pub struct PromptInjection {
    params: PromptInjectionParams,
}

/// The compiled patterns, and the number of records that makes a habit.
#[derive(Clone, Debug)]
pub struct InjectionModel {
    judge: Judge,
    habit: u64,
}

impl Detector for PromptInjection {
    type Params = PromptInjectionParams;
    type State = ();
    type Model = InjectionModel;
    type Evidence = Gathered;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "prompt-injection",
        family: Family::Injection,
        summary: "instructions to a model where data should be, also encoded",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &[
            "AML.T0020",
            "AML.T0043",
            "LLM04:2025",
            "LLM05:2026",
            "NISTAML.024",
        ],
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
        let limits = Limits {
            bytes: usize::try_from(self.params.decode_bytes).unwrap_or(usize::MAX),
            depth: self.params.decode_depth as usize,
            ..Limits::default()
        };
        Ok(InjectionModel {
            judge: Judge::new(set, limits, self.params.alien_requests),
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
            let mut judged = model.judge.judge(&parts(batch, row_idx));
            evidence.with_format += u64::from(judged.has_format);
            let degree = judged.entry.degree;
            if degree >= SHOW {
                judged.entry.record = batch.ordinal(row_idx);
                evidence.push(judged.entry);
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
