//! `evaluation-overlap`: records that contain what a model will be tested on.

mod index;

use std::collections::BTreeMap;

use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Severity, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use index::Index;

/// Stated p-value of a rule that quotes its evidence.
const P_VALUE: f64 = 1e-3;
/// Excerpts of evaluation texts that a finding quotes.
const QUOTED: usize = 5;

/// Finds records that contain texts of the evaluation files given with `--eval`.
///
/// # What it finds
/// Records that hold at least half of a text of an evaluation set, word for word or lightly edited:
/// questions, answers, passages or code, in whatever column they stand.
///
/// # Why it matters
/// A model that was trained on its test looks better than it is, and every decision that rests on
/// the test is wrong.
///
/// # How it works
/// - Every string of an evaluation file is a text, also inside lists and structs. Its n-grams of
///   `ngram` words (case, punctuation and white space do not matter) are looked up in the records.
///   N-grams that stand in more than five texts of the evaluation set are its template and do not
///   count.
/// - A record contains a text when at least `min_overlap` of the n-grams that count, and at least
///   three, stand in one text field of it.
/// - Texts in which every n-gram is broken by an edit are found by their words: a field of the
///   record and the text agree in a band of their `MinHash` signatures and at an estimated Jaccard
///   similarity of 0.8.
///
/// # Parameters
/// - `ngram` (8): words of an n-gram; texts need two more words to be looked for.
/// - `min_overlap` (0.5): least share of a text that a record contains.
///
/// # False positives
/// Texts that are everybody's: a licence, a proverb, a textbook exercise. Raise `min_overlap` to 0.8
/// to be told of whole texts only.
///
/// # Limits
/// Runs only with evaluation files. Paraphrases and translations escape, and texts of fewer than
/// ten words. The evaluation sets must fit into an eighth of the memory.
///
/// # Example
/// "12 records contain 9 of the 1,319 texts of `gsm8k.jsonl`"
/// ```toml
/// evaluation = ["gsm8k.jsonl"]
///
/// [parameters.evaluation-overlap]
/// min_overlap = 0.8
/// ```
///
/// # References
/// - Brown et al.: Language Models are Few-Shot Learners, `NeurIPS` 2020, appendix C (n-grams).
/// - Lambert et al.: Tülu 3, 2024, section 3.2 (8-grams, half of a text).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationOverlapParams {
    /// Words of an n-gram, 4 to 50.
    pub ngram: u32,
    /// Least share of the n-grams of a text that a record contains, 0.1 to 1.
    pub min_overlap: f64,
}

impl Default for EvaluationOverlapParams {
    fn default() -> Self {
        Self {
            ngram: 8,
            min_overlap: 0.5,
        }
    }
}

impl Params for EvaluationOverlapParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("ngram", self.ngram, 4..=50)
            .range("min_overlap", self.min_overlap, 0.1..=1.0);
        checks.finish()
    }
}

/// The detector; see [`EvaluationOverlapParams`].
#[derive(Clone, Debug)]
pub struct EvaluationOverlap {
    params: EvaluationOverlapParams,
}

/// What was found of one evaluation file: by text its records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overlaps {
    /// Records and evaluation texts that they contain, in record order.
    found: Vec<(u64, u32)>,
}

impl Detector for EvaluationOverlap {
    type Params = EvaluationOverlapParams;
    type State = ();
    type Model = Index;
    type Evidence = Overlaps;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "evaluation-overlap",
        family: Family::Leakage,
        summary: "records that contain texts of the given evaluation files",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[Intermediate::Tokens, Intermediate::Evaluation],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "LLM04:2025"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if facts.evaluation_rows == 0 {
            Err(NotApplicable::new("no evaluation files: `--eval FILE`"))
        } else if !facts.has_text() {
            Err(NotApplicable::new("no text column"))
        } else {
            Ok(())
        }
    }

    fn start(&self, _context: &FitContext) -> Self::State {}

    fn fit(&self, _context: &FitContext, _state: &mut Self::State, _batch: &Batch<'_>) {}

    fn merge(&self, _context: &FitContext, _state: &mut Self::State, _later: Self::State) {}

    fn model(
        &self,
        context: &FitContext,
        _state: Self::State,
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let evaluation = shared.evaluation.as_ref();
        let evaluation = evaluation.ok_or_else(|| NotApplicable::new("no evaluation texts"))?;
        let index = Index::new(
            evaluation,
            self.params.ngram as usize,
            self.params.min_overlap,
            context.seed,
        );
        if index.n_searched() == 0 {
            let reason = format!(
                "no evaluation text has {} words; hint: a smaller `ngram`",
                self.params.ngram + 2
            );
            return Err(NotApplicable::new(reason));
        }
        Ok(index)
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {
        Overlaps::default()
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        (0..batch.n_rows())
            .map(|row_idx| {
                let mut contained = BTreeMap::new();
                for tokens in &batch.derived.tokens {
                    model.search(tokens.row(row_idx), &mut contained);
                }
                let texts = contained.keys().map(|&text| (batch.ordinal(row_idx), text));
                evidence.found.extend(texts);
                contained.into_values().fold(0.0, f32::max)
            })
            .collect()
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        evidence.found.extend(later.found);
    }

    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let Some(evaluation) = &shared.evaluation else {
            return Vec::new();
        };
        let mut by_file: BTreeMap<u32, (Vec<u64>, Vec<u32>)> = BTreeMap::new();
        for (ordinal, text) in evidence.found {
            let file = evaluation.texts[text as usize].file;
            let (records, texts) = by_file.entry(file).or_default();
            records.push(ordinal);
            texts.push(text);
        }
        let files = by_file.into_iter().map(|(file, (mut records, mut texts))| {
            records.sort_unstable();
            records.dedup();
            texts.sort_unstable();
            texts.dedup();
            let title = format!(
                "{} records contain {} of the {} texts of `{}`",
                records.len(),
                texts.len(),
                model.n_texts_of(file),
                evaluation.files[file as usize],
            );
            let excerpts: Vec<String> = texts
                .iter()
                .take(QUOTED)
                .map(|&text| evaluation.texts[text as usize].excerpt.clone())
                .collect();
            let rows = texts
                .iter()
                .map(|&text| evaluation.texts[text as usize].row);
            let mut rows: Vec<u64> = rows.collect();
            rows.dedup();
            rows.truncate(100);
            Finding::new(
                "evaluation-overlap",
                "overlap",
                Severity::High,
                Action::Quarantine,
                title,
                P_VALUE,
            )
            .with_records(records)
            .with_evidence("evaluation_rows", rows)
            .with_evidence("texts", texts.len())
            .with_evidence("texts_too_short", model.n_too_short_of(file))
            .with_evidence("excerpts", excerpts)
        });
        files.collect()
    }
}

#[cfg(test)]
mod tests;
