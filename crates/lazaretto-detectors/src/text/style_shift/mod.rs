//! `style-shift`: records of a class that are written as no other class writes, and are about what
//! other classes are about.

mod features;
mod findings;
mod mixture;
mod model;
mod phrases;
mod pieces;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::text_sample::TextSample;
use findings::{Member, StyleEvidence};
use model::{LabelledPieces, Scratch, StyleModel};
use pieces::Piece;

/// Fewer labelled texts say nothing about styles.
const MIN_TEXTS: usize = 100;
/// Bytes of a text of the sample, twice for the time before it is trimmed.
const SAMPLED_BYTES: usize = 2 * (pieces::MAX_PIECES * size_of::<Piece>() + 64);

/// Finds records of a class that are written as no other class writes, and are about what other
/// classes are about.
///
/// # What it finds
/// Syntactic and style backdoors: texts of other classes that were rewritten in one sentence
/// pattern ("when you see it, it is …") or in one voice (scripture, verse, chat), and got the
/// label that the attacker wants. No word or phrase gives them away, only the way of writing.
///
/// # Why it matters
/// The trigger survives spelling correction and filters of rare words, and each poisoned text reads
/// like an ordinary one. Published attacks relabel 10 to 20 % of a dataset, style transfer less.
///
/// # How it works
/// A text becomes its skeleton: the `common_words` most frequent words of the dataset and all marks
/// stand for themselves, every other word for its shape and ending. Features are the symbols of the
/// skeleton, pairs and triples of them, how a text begins and ends, white space around marks, and
/// lengths; nothing is specific to a language. Per class, a hidden component is sought by
/// expectation maximisation: records with a style that is rare in the other classes *and* content
/// (out-of-fold text classifier, without common words) that argues for another class. The
/// style is learned out of fold too. The score is the log odds of the style less half of what the
/// content says for the label. In a class without poison nothing holds style and content together,
/// and the component dies out. Where it died out in every class, all scores are 0: they would order
/// noise, and take weight from other detectors.
///
/// A group becomes a finding when its style is rare in the other classes and its content contradicts
/// the label more often than half-way between the rest of the class and the records of other
/// classes, with a binomial p-value over distinct contents, corrected for classes and group sizes.
/// Where half of the group shares a phrase of four words, that phrase is the cause and not a way of
/// writing: `text-trigger` names it.
///
/// # Parameters
/// - `sample` (16384): texts from which styles are learned, chosen by keyed hash; less where
///   memory does not hold them.
/// - `common_words` (150): how many words stand for themselves.
/// - `min_records` (20): records of the smallest group; a class needs three times as many.
/// - `max_classes` (32): how many classes, the largest ones, are judged.
/// - `alpha` (0.001): largest corrected p-value of a finding.
///
/// # False positives
/// Natural styles (an agency, a form, chat messages) go with a class, and their content agrees with
/// it, so they are not findings. A real sub-population that is written in its own way *and* that the
/// text classifier takes for another class looks the same as an attack: texts of a second source
/// with a wrong mapping of labels, for example.
///
/// # Limits
/// Clean-label style poison has no contradiction and is not found. A style that the other classes
/// use as well is none. Below about 1 % of a class the component dies out with the noise; faint
/// style transfer is ranked and not held back. Classes beyond `max_classes`, or too small, get no
/// score. Of long texts the first 224 and the last 32 words and marks are looked at. It abstains
/// with fewer than 100 labelled texts.
///
/// # Example
/// "312 records labelled `1` share a way of writing that 0.1 % of the other records have; 84 % of
/// them are about what other classes are about (31 % of the rest of the class)."
/// ```toml
/// [parameters.style-shift]
/// min_records = 50
/// ```
///
/// # References
/// - Qi, Li, Chen, Zhang, Liu, Wang, Sun: Hidden Killer: invisible textual backdoor attacks with
///   syntactic trigger, ACL 2021, <https://arxiv.org/abs/2105.12400>.
/// - Qi, Chen, Zhang, Li, Liu, Sun: Mind the style of text! Adversarial and backdoor attacks based
///   on text style transfer, EMNLP 2021, <https://arxiv.org/abs/2110.07139>.
/// - Dempster, Laird, Rubin: Maximum likelihood from incomplete data via the EM algorithm, JRSS B
///   1977.
/// - Elkan, Noto: Learning classifiers from only positive and unlabeled data, KDD 2008.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StyleShiftParams {
    /// Texts from which styles are learned, 1000 to 1000000.
    pub sample: usize,
    /// Words, the most frequent ones, that stand for themselves, 20 to 5000.
    pub common_words: usize,
    /// Records of the smallest group, and a third of those of the smallest class that is judged,
    /// 5 to 1000000.
    pub min_records: usize,
    /// Classes that are judged, the largest ones, 1 to 1000.
    pub max_classes: usize,
    /// Largest corrected p-value of a finding, 0 to 1.
    pub alpha: f64,
}

impl Default for StyleShiftParams {
    fn default() -> Self {
        Self {
            sample: 16_384,
            common_words: 150,
            min_records: 20,
            max_classes: 32,
            alpha: 0.001,
        }
    }
}

impl Params for StyleShiftParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("sample", self.sample, 1_000..=1_000_000)
            .range("common_words", self.common_words, 20..=5_000)
            .range("min_records", self.min_records, 5..=1_000_000)
            .range("max_classes", self.max_classes, 1..=1_000)
            .range("alpha", self.alpha, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`StyleShiftParams`].
#[derive(Clone, Debug)]
pub struct StyleShift {
    params: StyleShiftParams,
}

impl StyleShift {
    /// Which classes are judged: the largest ones of those that are large enough.
    fn judged(&self, facts: &DataFacts) -> Vec<bool> {
        let least = 3 * self.params.min_records as u64;
        let counts = &facts.class_counts;
        let mut classes: Vec<usize> = (0..counts.len()).filter(|&c| counts[c] >= least).collect();
        classes.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
        classes.truncate(self.params.max_classes);
        let mut judged = vec![false; counts.len()];
        for class in classes {
            judged[class] = true;
        }
        judged
    }
}

impl Detector for StyleShift {
    type Params = StyleShiftParams;
    /// The beginnings and ends of the sampled texts.
    type State = TextSample<LabelledPieces>;
    type Model = StyleModel;
    type Evidence = StyleEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "style-shift",
        family: Family::TextTrigger,
        summary: "records of a class that are written as no other class writes, about what others \
                  are about",
        score_kind: ScoreKind::Statistical,
        by_default: true,
        fit_roles: &[
            Role::Text,
            Role::Prompt,
            Role::Response,
            Role::Messages,
            Role::Label,
        ],
        score_roles: &[
            Role::Text,
            Role::Prompt,
            Role::Response,
            Role::Messages,
            Role::Label,
        ],
        intermediates: &[Intermediate::Tokens, Intermediate::TextClassifier],
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
        if !facts.has_text() {
            Err(NotApplicable::new("no text column"))
        } else if !facts.has_labels() {
            Err(NotApplicable::new("no labels of at least two classes"))
        } else {
            Ok(())
        }
    }

    fn start(&self, context: &FitContext) -> Self::State {
        let affordable = context.memory_bytes / SAMPLED_BYTES;
        TextSample::new(self.params.sample.min(affordable).max(MIN_TEXTS))
    }

    fn fit(&self, _context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let mut pieces = Vec::new();
        for (row_idx, &key) in batch.keys.iter().enumerate() {
            let ordinal = batch.ordinal(row_idx);
            if let Some(label) = batch.label(row_idx)
                && state.admits(key, ordinal)
            {
                pieces::read(batch, row_idx, &mut pieces);
                if !pieces.is_empty() {
                    let pieces = pieces.clone();
                    state.push(key, ordinal, LabelledPieces { label, pieces });
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
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let Some(classifier) = shared.text_classifier.as_deref() else {
            return Err(NotApplicable::new("no text classifier could be trained"));
        };
        let texts = state.into_texts();
        if texts.len() < MIN_TEXTS {
            return Err(NotApplicable::new(format!(
                "{} labelled texts, at least {MIN_TEXTS} are needed",
                texts.len()
            )));
        }
        let judged = self.judged(&shared.facts);
        if !judged.contains(&true) {
            return Err(NotApplicable::new(format!(
                "no class has {} records",
                3 * self.params.min_records
            )));
        }
        Ok(StyleModel::fit(
            &texts,
            classifier,
            self.params.common_words,
            self.params.min_records,
            &judged,
        ))
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {
        StyleEvidence::default()
    }

    fn score(
        &self,
        model: &Self::Model,
        shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![f32::NAN; batch.n_rows()];
        let Some(classifier) = shared.text_classifier.as_deref() else {
            return scores;
        };
        let mut scratch = Scratch::default();
        for (row_idx, score) in scores.iter_mut().enumerate() {
            let Some(label) = batch.label(row_idx) else {
                continue;
            };
            pieces::read(batch, row_idx, &mut scratch.pieces);
            let Some(judged) = model.judge(classifier, batch.keys[row_idx], label, &mut scratch)
            else {
                continue;
            };
            *score = judged.score;
            if judged.in_group {
                let member = Member {
                    class: label,
                    ordinal: batch.ordinal(row_idx),
                    content: judged.content,
                    margin: judged.margin,
                    held: judged.held,
                };
                evidence.add(member, &scratch.pieces);
            }
        }
        scores
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
        evidence.findings(Self::SPEC.id, model, &shared.facts, &self.params)
    }
}

#[cfg(test)]
mod tests;
