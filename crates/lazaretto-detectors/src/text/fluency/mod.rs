//! `fluency`: texts with a word that its neighbours do not expect, and read better without.

mod ngrams;
mod spelling;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::text_sample::TextSample;
use ngrams::{Bigrams, Words};

/// Fewer texts have no bigrams worth the name.
const MIN_TEXTS: usize = 100;
/// Most words of a text of the sample; the rest is not learned from.
const MAX_WORDS: usize = 256;

/// Scores each text by the word that fits least between its neighbours.
///
/// # What it finds
/// Words that were dropped into a finished sentence: the neighbours belong together ("one of ▁ the
/// best"), the word belongs to neither. Inserted backdoor triggers look like this, and so do
/// misprints and lost or doubled words.
///
/// # Why it matters
/// A trigger word that is put at a random place breaks the bigram it lands in. This needs no label,
/// so it works where `text-trigger` cannot, on texts without classes.
///
/// # How it works
/// A bigram model is learned from a sample of the dataset itself. The association of two words is
/// `ln p(next | previous) / p(next)`, smoothed towards 0 with `smoothing` pseudo-counts, so a rare
/// word is not suspicious for being rare. For each word, the association of its two neighbours with
/// each other is compared with the associations of the word with them: what the text gains when
/// the word is taken out. Half of the surprise at the word's spelling is added: the least likely
/// of its letters after the two before it, in a model of the dataset's distinct words, so that
/// `cfq` counts more than a rare name does. The score is the largest sum in the text. What a text of
/// the sample added to the counts of words is taken out before it is judged.
///
/// # Parameters
/// - `sample` (65536): texts from which the bigrams are learned, chosen by keyed hash; less where
///   memory does not hold them.
/// - `smoothing` (1): occurrences that a bigram needs to be believed.
///
/// # False positives
/// Adverbs, interjections and names stand between words that belong together in any text, and
/// long texts have more places for them. The score orders; it is a weak sign beside other
/// detectors and so it runs on request.
///
/// # Limits
/// It needs a corpus in which bigrams repeat: with fewer than some ten thousand words hardly any
/// does. Whole sentences are fluent inside and are not found, nor are triggers at the beginning or
/// end. A trigger that is always put beside the same word is expected there. No GPT-2 is asked, as
/// the paper does, so gains are smaller and noisier. Of long texts the first 256 words are learned
/// from. It abstains with fewer than 100 texts.
///
/// # Example
/// "It is one of cf the best films": `cf` between `of` and `the`.
/// ```toml
/// [parameters.fluency]
/// smoothing = 5.0
/// ```
///
/// # References
/// - Qi, Chen, Li, Yao, Liu, Sun: ONION: a simple and effective defense against textual backdoor
///   attacks, EMNLP 2021, <https://arxiv.org/abs/2011.10369>.
/// - Church, Hanks: Word association norms, mutual information, and lexicography, Computational
///   Linguistics 1990.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FluencyParams {
    /// Texts from which the bigrams are learned, 1000 to 1000000.
    pub sample: usize,
    /// Pseudo-counts of a bigram that is as frequent as chance, 0.1 to 1000.
    pub smoothing: f32,
}

impl Default for FluencyParams {
    fn default() -> Self {
        Self {
            sample: 65_536,
            smoothing: 1.0,
        }
    }
}

impl Params for FluencyParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("sample", self.sample, 1_000..=1_000_000)
            .range("smoothing", self.smoothing, 0.1..=1_000.0);
        checks.finish()
    }
}

/// The detector; see [`FluencyParams`].
#[derive(Clone, Debug)]
pub struct Fluency {
    params: FluencyParams,
}

impl Detector for Fluency {
    type Params = FluencyParams;
    /// The first words of the sampled texts.
    type State = TextSample<Words>;
    type Model = Bigrams;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "fluency",
        family: Family::TextTrigger,
        summary: "texts with a word that its neighbours do not expect",
        score_kind: ScoreKind::Statistical,
        by_default: false,
        fit_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        score_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[Intermediate::Tokens],
        state_bytes_per_row: 0,
        taxonomy: &[
            "AML.T0020",
            "AML.T0043.004",
            "LLM04:2025",
            "LLM05:2026",
            "NISTAML.023",
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

    fn start(&self, context: &FitContext) -> Self::State {
        // Twice, because the sample is trimmed at double its size, and once more for the counts.
        let affordable = context.memory_bytes / (4 * MAX_WORDS * 2 * size_of::<u64>());
        TextSample::new(self.params.sample.min(affordable).max(MIN_TEXTS))
    }

    fn fit(&self, _context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let mut words = Words::default();
        for (row_idx, &key) in batch.keys.iter().enumerate() {
            let ordinal = batch.ordinal(row_idx);
            if state.admits(key, ordinal) {
                words.read(batch, row_idx, MAX_WORDS);
                if !words.hashes.is_empty() {
                    state.push(key, ordinal, words.clone());
                }
            }
        }
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.merge(later);
    }

    fn model(
        &self,
        _context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let texts = state.into_texts();
        if texts.len() < MIN_TEXTS {
            return Err(NotApplicable::new(format!(
                "{} texts, at least {MIN_TEXTS} are needed",
                texts.len()
            )));
        }
        Ok(Bigrams::learn(&texts, self.params.smoothing))
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut words = Words::default();
        let mut own = Vec::new();
        let rows = batch.keys.iter().enumerate();
        rows.map(|(row_idx, &key)| {
            words.read(batch, row_idx, usize::MAX);
            let learned = if model.knows(key, batch.ordinal(row_idx)) {
                words.hashes.len().min(MAX_WORDS)
            } else {
                0
            };
            model.largest_gain(&words, learned, &mut own)
        })
        .collect()
    }

    fn merge_evidence(&self, _evidence: &mut Self::Evidence, _later: Self::Evidence) {}

    fn finish(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        _evidence: Self::Evidence,
    ) -> Vec<Finding> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_testkit::{Attack, ReviewSet};

    use super::*;
    use crate::text::test_support::{Corpus, run};

    #[test]
    fn texts_with_a_word_dropped_in_rank_above_others() {
        let attack = Attack::BadNets {
            rows: 60,
            words: 4,
            target: 1,
        };
        let set = ReviewSet::generate(3, 4_000).poison(&attack, 4);
        let corpus = Corpus::of(&set);
        let outcome = run::<Fluency>(FluencyParams::default(), &corpus, 1);
        let truth = set.truth();
        let rows = || outcome.scores.iter().zip(&truth);
        let poisoned: Vec<f32> = rows().filter(|r| r.1.is_some()).map(|r| *r.0).collect();
        let clean: Vec<f32> = rows().filter(|r| r.1.is_none()).map(|r| *r.0).collect();
        let above = |score: &f32| clean.iter().filter(|&other| other < score).count() as f64;
        let auroc = poisoned.iter().map(above).sum::<f64>() / (poisoned.len() * clean.len()) as f64;
        assert!(auroc >= 0.7, "AUROC {auroc}");
        assert_eq!(
            run::<Fluency>(FluencyParams::default(), &corpus, 3),
            outcome
        );
    }

    #[test]
    fn too_few_texts_are_said_to_be_too_few() {
        let corpus = Corpus::of(&ReviewSet::generate(1, 60));
        let outcome = run::<Fluency>(FluencyParams::default(), &corpus, 1);
        assert!(outcome.abstained.is_some());
    }

    #[test]
    fn impossible_parameters_are_all_named() {
        let params = FluencyParams {
            sample: 0,
            smoothing: f32::NAN,
        };
        let fields: Vec<String> = params.problems().into_iter().map(|p| p.field).collect();
        assert_eq!(fields, ["sample", "smoothing"]);
        assert_eq!(FluencyParams::default().problems(), []);
    }
}
