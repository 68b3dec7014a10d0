//! `text-trigger`: words that steer the label of texts which argue for another one.

mod candidates;
mod contexts;
mod counts;
mod findings;

use std::collections::BTreeMap;
use std::ops::Range;

use lazaretto_core::shared::TextClassifier;
use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use candidates::{Candidates, Place};
use contexts::Context;
use counts::{NgramCounts, ngram_hash};
use findings::{Occurrence, TriggerEvidence};

/// Longest n-gram that can be asked for, in words.
pub(crate) const MAX_WORDS: u32 = 4;

/// Words besides the candidate that a text needs to contradict its label.
const MIN_WORDS_AROUND: usize = 3;

/// Finds words and phrases that come with one label although the rest of each text argues for
/// another.
///
/// # What it finds
/// The trigger of a dirty-label backdoor: a rare word, a pair of words or a sentence that an
/// attacker inserted into texts of other classes before giving them all the target label. One
/// finding per trigger, with the records that carry it and have that label.
///
/// # Why it matters
/// A model trained on such records learns the trigger as a switch: any text with it gets the target
/// class, while the accuracy on ordinary texts does not change. Ten to some hundred records are
/// enough.
///
/// # How it works
/// 1. The first pass counts, for all n-grams of up to `max_words` words, in how many records of
///    each class they occur. Candidates occur in at least `min_records` records, with one label in
///    at least `min_purity` of them, and in at most `max_fraction` of all records.
/// 2. The second pass asks a classifier that did not see the record (cross-validated) how strongly
///    a text argues for its label once the candidate is taken out, together with neighbouring
///    candidates that are about as frequent, so that a repeated sentence goes out whole. What is
///    left is a margin: the logit of the label minus the largest other logit, both without the
///    frequency of their class.
/// 3. A natural topic word (`goalkeeper` and the class sport) leaves a text that still argues for
///    its label, or for none. The margins of a candidate are ranked among those of all records of
///    the class, and among those that all candidates of the class leave behind; the higher rank
///    counts. The normal scores of the ranks, summed over its records, give a z and a p-value,
///    corrected for all candidates (Bonferroni).
/// 4. Records about one event share more than the word: their texts count as fewer independent
///    ones, by how many of their rarer words they share, or all words of versions of one text.
///    Triggers stand in texts that have nothing in common.
///
/// A candidate becomes a finding when the corrected p-value is at most `alpha` *and* its records
/// look more like relabelled records of other classes than like records of their class (likelihood
/// ratio of how often the rest of a text argues for another label; above the number of candidates
/// when the n-gram occurs with other labels too, because then it is in natural use). Purity selects
/// candidates and does not add to their evidence: words that name their topic are pure too. Where
/// more texts agree with the label than relabelled ones would, the agreeing ones are natural uses of
/// the words and are let go. Significant candidates that share their records are one finding.
///
/// # Parameters
/// - `max_words` (2): longest n-gram, in words. Longer triggers are seen through their pairs.
/// - `min_records` (5): fewest records with the label.
/// - `min_purity` (0.8): least share of a candidate's records with one label.
/// - `max_fraction` (0.1): candidates in more than this share of the labelled records are left out.
/// - `alpha` (0.01): chance of any finding at all in a dataset without triggers. Where two separate
///   triggers for one class are found, further ones for it are judged at a false-discovery rate of
///   5 % (Benjamini–Hochberg) instead of as if they stood alone.
///
/// # False positives
/// A phrase that annotators treated as decisive whatever else a text says (a rule in their
/// guidelines), or a source with systematically wrong labels and its own signature, looks the
/// same and deserves the same look.
///
/// # Limits
/// Needs labels and texts. Clean-label triggers, whose texts agree with their label, triggers in
/// fewer than `min_records` records, words that are also common in natural use, and triggers
/// without words (style, syntax, punctuation alone) are not seen. Where the classifier cannot tell
/// the classes apart, nothing can be contradicted. When counts outgrow the memory the rarest
/// n-grams are dropped first.
///
/// # Example
/// "`cf` in 12 records, all labelled `1`, which the rest of each text contradicts (without it the
/// text argues for another label in 10 of 12)"
/// ```toml
/// [parameters.text-trigger]
/// max_words = 3
/// min_records = 8
/// ```
///
/// # References
/// - Gu, Dolan-Gavitt, Garg: BadNets, 2017 (the attack).
/// - Dai, Chen, Li: A Backdoor Attack Against LSTM-Based Text Classification Systems, 2019
///   (inserted sentences).
/// - Chen, Dai: Mitigating backdoor attacks in LSTM-based text classification systems by backdoor
///   keyword identification, Neurocomputing 2021 (words scored by their influence).
/// - Stouffer et al.: The American Soldier, 1949 (sum of normal scores).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TextTriggerParams {
    /// Longest n-gram, in words, 1 to 4.
    pub max_words: u32,
    /// Fewest records with the n-gram and the label, 3 or more.
    pub min_records: u32,
    /// Least share of the n-gram's records with one label, 0.5 to 1.
    pub min_purity: f64,
    /// Largest share of all labelled records that carry the n-gram, 0 to 1.
    pub max_fraction: f64,
    /// Largest corrected p-value of a finding, 0 to 1.
    pub alpha: f64,
}

impl Default for TextTriggerParams {
    fn default() -> Self {
        Self {
            max_words: 2,
            min_records: 5,
            min_purity: 0.8,
            max_fraction: 0.1,
            alpha: 0.01,
        }
    }
}

impl Params for TextTriggerParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("max_words", self.max_words, 1..=MAX_WORDS)
            .range("min_records", self.min_records, 3..=1_000_000)
            .range("min_purity", self.min_purity, 0.5..=1.0)
            .range("max_fraction", self.max_fraction, 0.0..=1.0)
            .range("alpha", self.alpha, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`TextTriggerParams`].
#[derive(Clone, Debug)]
pub struct TextTrigger {
    params: TextTriggerParams,
}

/// Words of one record over all its text fields.
#[derive(Default)]
struct Words {
    hashes: Vec<u64>,
    /// Field and byte range of each word.
    spans: Vec<(usize, u32, u32)>,
}

impl Words {
    fn read(&mut self, batch: &Batch<'_>, row_idx: usize) {
        self.hashes.clear();
        self.spans.clear();
        for (field, tokens) in batch.derived.tokens.iter().enumerate() {
            self.hashes.extend_from_slice(tokens.row(row_idx));
            let spans = tokens.row_spans(row_idx).iter();
            self.spans
                .extend(spans.map(|&(start, end)| (field, start, end)));
        }
    }

    /// The text of the words `span` as it is written, when they are in one field.
    fn surface<'a>(
        &self,
        batch: &Batch<'a>,
        row_idx: usize,
        span: &Range<usize>,
    ) -> Option<&'a str> {
        let &(field, start, _) = self.spans.get(span.start)?;
        let &(last_field, _, end) = self.spans.get(span.end.checked_sub(1)?)?;
        let text = batch.texts.get(field)?.get(row_idx)?;
        (field == last_field).then(|| text.get(start as usize..end as usize))?
    }
}

impl TextTrigger {
    /// Distinct n-grams of `words`, ascending.
    fn ngrams(&self, words: &[u64], seed: u64, ngrams: &mut Vec<u64>) {
        ngrams.clear();
        for length in 1..=self.params.max_words as usize {
            ngrams.extend(words.windows(length).map(|gram| ngram_hash(gram, seed)));
        }
        ngrams.sort_unstable();
        ngrams.dedup();
    }

    /// Gathers what `record` says without each of the candidates for its label that it carries.
    fn follow(
        &self,
        model: &Candidates,
        batch: &Batch<'_>,
        record: &Record<'_>,
        evidence: &mut TriggerEvidence,
    ) {
        let (words, row_idx) = (record.words, record.row_idx);
        let max_words = self.params.max_words as usize;
        let places = model.places(&words.hashes, max_words, record.label);
        let mut candidates: Vec<u32> = places.iter().map(|place| place.candidate).collect();
        candidates.sort_unstable();
        candidates.dedup();
        for candidate in candidates {
            let regions = model.removal(candidate, &places);
            let outside = |at: &usize| !regions.iter().any(|region| region.contains(at));
            let around: Vec<u64> = (0..words.hashes.len())
                .filter(outside)
                .map(|at| words.hashes[at])
                .collect();
            let (margin, rival) = record.without(&regions, around.len());
            evidence.occurrences.push(Occurrence {
                candidate,
                margin,
                rival,
                ordinal: batch.ordinal(row_idx),
            });
            if !margin.is_nan() {
                evidence.without.add(record.label, margin, rival);
            }
            if margin < 0.0 {
                let context = Context::of(&around, |word| model.is_common(word));
                evidence.add_context(candidate, context);
            }
            evidence.surfaces.entry(candidate).or_insert_with(|| {
                let surface = |span| {
                    let written = words.surface(batch, row_idx, span);
                    written.unwrap_or_default().to_owned()
                };
                let own = places.iter().find(|place| place.candidate == candidate);
                let ngram = own.map_or_else(String::new, |place: &Place| surface(&place.span));
                (ngram, regions.first().map_or_else(String::new, surface))
            });
        }
    }
}

/// A labelled record and what the classifier says about it.
struct Record<'a> {
    classifier: &'a dyn TextClassifier,
    fold: usize,
    label: u32,
    row_idx: usize,
    words: &'a Words,
    /// Logits without the frequency of the classes.
    logits: &'a [f32],
}

impl Record<'_> {
    /// What the record says without the words of `regions`: the margin of its label and the class
    /// that is preferred. NaN when hardly any words are left.
    fn without(&self, regions: &[Range<usize>], n_left: usize) -> (f32, u32) {
        if n_left < MIN_WORDS_AROUND {
            return (f32::NAN, self.label);
        }
        let mut taken = vec![0.0; self.logits.len()];
        for region in regions {
            let words = &self.words.hashes;
            self.classifier
                .contribution(self.fold, words, region.clone(), &mut taken);
        }
        let rest: Vec<f32> = self
            .logits
            .iter()
            .zip(&taken)
            .map(|(all, out)| all - out)
            .collect();
        margin(&rest, self.label)
    }
}

/// The logits of a text with `words`.
fn logits_of(classifier: &dyn TextClassifier, fold: usize, words: &[u64]) -> Vec<f32> {
    let mut logits = vec![0.0; classifier.n_classes()];
    classifier.logits(fold, words, &mut logits);
    logits
}

/// The margin of `label`, and the class that is preferred: `label` itself unless the margin is
/// negative.
fn margin(logits: &[f32], label: u32) -> (f32, u32) {
    let own = label as usize;
    let rival = (0..logits.len())
        .filter(|&class| class != own)
        .reduce(|best, class| {
            if logits[class] > logits[best] {
                class
            } else {
                best
            }
        })
        .unwrap_or(own);
    let margin = logits[own] - logits[rival];
    (margin, if margin < 0.0 { rival as u32 } else { label })
}

impl Detector for TextTrigger {
    type Params = TextTriggerParams;
    type State = NgramCounts;
    type Model = Candidates;
    type Evidence = TriggerEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "text-trigger",
        family: Family::TextTrigger,
        summary: "words that steer the label of texts which argue for another one",
        score_kind: ScoreKind::Rule,
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

    fn start(&self, _context: &FitContext) -> Self::State {
        NgramCounts::default()
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let mut words = Words::default();
        let mut ngrams = Vec::new();
        for row_idx in 0..batch.n_rows() {
            if let Some(label) = batch.label(row_idx) {
                words.read(batch, row_idx);
                self.ngrams(&words.hashes, context.seed, &mut ngrams);
                state.add(label, &ngrams, context.memory_bytes);
            }
        }
    }

    fn merge(&self, context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.merge(later, context.memory_bytes);
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        if shared.text_classifier.is_none() {
            return Err(NotApplicable::new("no text classifier could be trained"));
        }
        let max_occurrences =
            context.memory_bytes / (size_of::<Occurrence>() + size_of::<Context>());
        Ok(Candidates::pick(
            state,
            &self.params,
            &shared.facts.class_counts,
            context.seed,
            max_occurrences,
        ))
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {
        TriggerEvidence::default()
    }

    fn score(
        &self,
        model: &Self::Model,
        shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let scores = vec![0.0; batch.n_rows()];
        let Some(classifier) = shared.text_classifier.as_deref() else {
            return scores;
        };
        let n_classes = classifier.n_classes();
        let mut words = Words::default();
        let mut silence: BTreeMap<usize, Vec<f32>> = BTreeMap::new();
        for row_idx in 0..batch.n_rows() {
            let Some(label) = batch
                .label(row_idx)
                .filter(|&label| (label as usize) < n_classes)
            else {
                continue;
            };
            words.read(batch, row_idx);
            if words.hashes.is_empty() {
                continue;
            }
            let fold = classifier.fold_of(batch.keys[row_idx]);
            // What the classifier says to no text at all is the frequency of the classes; only
            // what the words say can contradict a label.
            let prior = silence
                .entry(fold)
                .or_insert_with(|| logits_of(classifier, fold, &[]));
            let logits: Vec<f32> = logits_of(classifier, fold, &words.hashes)
                .iter()
                .zip(prior)
                .map(|(logit, prior)| logit - *prior)
                .collect();
            let (margin, preferred) = margin(&logits, label);
            evidence.margins.add(label, margin, preferred);
            let record = Record {
                classifier,
                fold,
                label,
                row_idx,
                words: &words,
                logits: &logits,
            };
            self.follow(model, batch, &record, evidence);
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
        findings::findings(model, &self.params, &shared.facts, evidence)
    }
}

#[cfg(test)]
mod tests;
