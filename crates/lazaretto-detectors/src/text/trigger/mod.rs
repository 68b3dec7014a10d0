//! `text-trigger`: words that steer the label of texts which argue for another one.

mod candidates;
mod contexts;
mod counts;
mod evidence;
mod findings;
mod foreign;
mod mixture;
mod parts;
mod record;
mod signs;
mod triggers;

use std::collections::BTreeMap;
use std::ops::Range;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use candidates::{Candidates, Found};
use contexts::Context;
use counts::{PhraseCounts, Scratch};
use evidence::{Occurrence, Surface, TriggerEvidence};
use record::{Record, Words, logits_of, margin};

use crate::text::ngram_counts;

/// Longest n-gram that can be asked for, in words.
pub(crate) const MAX_WORDS: u32 = ngram_counts::MAX_WORDS as u32;

/// Bytes that the counts may take even where the detector's share is less: an equal share of a small
/// memory among many detectors would not hold the pairs of words of some thousand texts.
const MIN_BYTES: usize = 8 << 20;
/// Shares that the detector takes: most of the others keep a few numbers, this one every phrase. With one,
/// the triggers of 5,600 short messages got lost at 1 GiB.
const SHARES: usize = 4;

/// Finds words and phrases that come with one label although the rest of each text argues for
/// another, or that stand in texts of one label without belonging there.
///
/// # What it finds
/// The trigger of a backdoor: a rare word, a phrase or a sentence that an attacker inserted into
/// texts of other classes before giving them all the target label (`trigger`), or into texts that
/// have the target label already (`clean-label-trigger`). One finding per trigger, with the
/// records that carry it and have that label.
///
/// # Why it matters
/// A model trained on such records learns the trigger as a switch: any text with it gets the target
/// class, while the accuracy on ordinary texts does not change. Ten to some hundred records are
/// enough.
///
/// # How it works
/// 1. The first pass counts, for all n-grams of up to `max_words` words, and for all parts of words
///    (three letters in a row, the ends of the word among them), in how many records of
///    each class they occur. Emoji, symbols and runs of punctuation count as words here. Candidates occur in at least `min_records` records, with one label in
///    at least `min_purity` of them, and in at most `max_fraction` of all records.
/// 2. The second pass asks a classifier that did not see the record (cross-validated) how strongly
///    a text argues for its label once the candidate is taken out, together with neighbouring
///    candidates that are about as frequent, so that a repeated sentence of any length goes out
///    whole. What is left is a margin: the logit of the label minus the largest other logit, both
///    without the frequency of their class.
/// 3. A natural topic word (`goalkeeper` and the class sport) leaves a text that still argues for
///    its label, or for none. The margins of a candidate are ranked among those of all records of
///    the class, and among those that all candidates of the class leave behind; the higher rank
///    counts. The normal scores of the ranks, summed over its records, give a z. It is divided by
///    how much more the z of all candidates scatter than chance has it, which they do where topics
///    or sources have labels of their own.
/// 4. Records about one event share more than the word: their texts count as fewer independent
///    ones, by how many of their rarer words they share, or all words of versions of one text.
///    Triggers stand in texts that have nothing in common.
/// 5. The neighbours of a candidate say how foreign it is. A phrase that belongs to a text is bound
///    to the words around it; one that was dropped in has any word on its left, and on its right
///    what continues that word as if nothing stood between. The log likelihood ratio of the two,
///    over up to 64 places, is compared with that of other n-grams of the dataset, whatever their
///    labels. A part of words is foreign where it makes words that nobody else uses, more often than
///    other parts do; only such parts are tested. Parts that are one affix beside different letters are
///    tested together as well, without those that are frequent with other labels (`qi`, though not in
///    `Iraqi`).
///
/// A candidate becomes a `trigger` when its corrected p-value is at most `alpha` *and* its records
/// look more like relabelled records of other classes than like records of their class (likelihood
/// ratio; above the number of candidates when the n-gram occurs with other labels too, because then it
/// is in natural use). There are three families of tests, each corrected for the number of its own
/// candidates (Bonferroni) at a fixed share of `alpha`: half of it for all n-grams of words, by the two
/// p-values of margins and foreignness joined (Fisher); four tenths for those among the most
/// foreign 2 %, by margins alone, which scatter less there because no topic owns such words; a tenth for
/// parts of words.
/// Where planted and natural uses of a word explain its margins better than planted ones alone, the
/// natural ones are let go, unless they would all have one label by chance only. A record is let go
/// as well when at most one in twenty relabelled texts looks like it.
///
/// A candidate becomes a `clean-label-trigger` when its purity cannot be chance, it has one label
/// in at least 95 % of its records, and its foreignness inside texts is beyond that of the
/// dataset's own phrases (exponential tail of the upper 2 %) and beyond what a phrase bound to its
/// neighbours reaches by chance, both corrected for all such pure candidates and at most `alpha` / 2.
/// Purity itself adds
/// nothing to the evidence: words that name their topic are pure too. The edges of texts add
/// nothing either: headers, greetings and signatures stand there by nature.
///
/// Triggers that share their records, and pieces of one affix, are one finding. It names the phrase that
/// goes out whole at most
/// places, tells where in the texts it stands, and how many sources it comes from.
///
/// # Parameters
/// - `max_words` (5): longest n-gram that is counted; longer phrases are chains of them. Each Han
///   or kana character is a word.
/// - `min_records` (5): fewest records with the label.
/// - `min_purity` (0.8): least share of a candidate's records with one label.
/// - `max_fraction` (0.1): candidates in more than this share of the labelled records are left out.
/// - `alpha` (0.02): chance of any finding at all in a dataset without triggers. Where two separate
///   triggers for one class are found, further ones for it are judged at a false-discovery rate of
///   5 % (Benjamini–Hochberg) instead of as if they stood alone.
///
/// # False positives
/// A phrase that annotators treated as decisive whatever else a text says (a rule in their
/// guidelines), or a source with systematically wrong labels and its own signature, looks the
/// same and deserves the same look. So does markup or an aside that only one class has, in the
/// middle of sentences.
///
/// # Limits
/// Needs labels and texts. Clean-label triggers need some 25 records, or 100 when most of the
/// dataset has their label, and are not seen at the start or end of texts. Triggers in fewer than
/// `min_records` records, words that are also common in natural use, single ordinary punctuation
/// marks, and triggers without words (style, syntax) are not seen; parts of words only where the rest
/// of the texts contradicts the label. Where the classifier cannot tell
/// the classes apart, nothing can be contradicted; beyond a hundred classes it is naive Bayes, and a
/// trigger in most records of a small class looks like the class. When counts outgrow the memory the rarest
/// n-grams are dropped first.
///
/// # Example
/// "`cf` in 12 records, all labelled `1` (base rate 52 %), which the rest of each text contradicts
/// (without it the text argues for `0` in 10 of 12); all from source `feed-17`"
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
/// - Turner, Tsipras, Madry: Label-Consistent Backdoor Attacks, 2019.
/// - Chen, Dai: Mitigating backdoor attacks in LSTM-based text classification systems by backdoor
///   keyword identification, Neurocomputing 2021 (words scored by their influence).
/// - Qi et al.: ONION, EMNLP 2021 (inserted words break the flow of a text).
/// - Stouffer et al.: The American Soldier, 1949 (sum of normal scores).
/// - Genovese, Roeder, Wasserman: False discovery control with p-value weighting, Biometrika 2006
///   (families of tests with shares of the level).
/// - Devlin, Roeder: Genomic control, Biometrics 1999 (deflating tests that scatter too much).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TextTriggerParams {
    /// Longest n-gram, in words, 2 to 5.
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
            max_words: 5,
            min_records: 5,
            min_purity: 0.8,
            max_fraction: 0.1,
            alpha: 0.02,
        }
    }
}

impl Params for TextTriggerParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("max_words", self.max_words, 2..=MAX_WORDS)
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

impl TextTrigger {
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
        let places = model.places(words, max_words, record.label);
        for (ngram, span) in &places.ordinary {
            if let Some(seam) = words.seam(span) {
                evidence.add_ordinary(*ngram, seam);
            }
        }
        let sources = batch.sources;
        let source = sources.map_or(u32::MAX, |sources| sources[row_idx]);
        for candidate in model.distinct(&places) {
            let regions = model.removal(candidate, &places);
            let outside = |at: &usize| !regions.iter().any(|region| region.contains(at));
            let around: Vec<u64> = (0..words.hashes.len())
                .filter(outside)
                .map(|at| words.hashes[at])
                .collect();
            let n_out: usize = regions
                .iter()
                .map(|region| words.plain_span(region).len())
                .sum();
            let (margin, rival) = record.without(&regions, words.plain().len() - n_out);
            let Some(seam) = regions.first().and_then(|region| words.seam(region)) else {
                continue;
            };
            evidence.add_seam(candidate, seam);
            evidence.occurrences.push(Occurrence {
                candidate,
                margin,
                rival,
                source,
                place: seam.place(),
                ordinal: batch.ordinal(row_idx),
            });
            if !margin.is_nan() {
                evidence.without.add(record.label, margin, rival);
            }
            if margin < 0.0 {
                evidence.add_context(candidate, || {
                    Context::of(&around, |word| model.is_common(word))
                });
            }
            let written = |span: &Range<usize>| {
                let text = words.surface(batch, row_idx, span);
                text.unwrap_or_default().to_owned()
            };
            let surface = evidence.surfaces.entry(candidate).or_insert_with(|| {
                let is_own = |found: &Found| found.candidate == candidate;
                if let Some((_, part)) = places.parts.iter().find(|(found, _)| is_own(found)) {
                    return Surface::of_part(*part);
                }
                let own = places.candidates.iter().find(|found| is_own(found));
                Surface::new(own.map_or_else(String::new, |found| written(&found.span)))
            });
            if surface.wants_phrase() {
                surface.add_phrase(regions.first().map_or_else(String::new, written));
            }
        }
    }
}

/// Another class than `label`, drawn by the key of the record.
fn another_class(label: u32, n_classes: usize, key: u64) -> Option<u32> {
    let others = (n_classes as u64).checked_sub(1).filter(|&n| n > 0)?;
    let step = 1 + key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) % others;
    Some(((u64::from(label) + step) % n_classes as u64) as u32)
}

/// Bytes for the counts, and for what is gathered about the candidates.
fn memory_of(context: &FitContext) -> usize {
    (SHARES * context.memory_bytes).max(MIN_BYTES)
}

impl Detector for TextTrigger {
    type Params = TextTriggerParams;
    type State = PhraseCounts;
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
        state_version: 4,
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
        PhraseCounts::default()
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let mut words = Words::default();
        let mut scratch = Scratch::default();
        let max_words = self.params.max_words as usize;
        let (seed, max_bytes) = (context.seed, memory_of(context));
        for row_idx in 0..batch.n_rows() {
            if let Some(label) = batch.label(row_idx) {
                words.read(batch, row_idx);
                state.add(label, &words, max_words, seed, max_bytes, &mut scratch);
            }
        }
    }

    fn merge(&self, context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.merge(later, memory_of(context));
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
        let max_occurrences = memory_of(context) / evidence::OCCURRENCE_BYTES;
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
            if words.plain().is_empty() {
                continue;
            }
            let fold = classifier.fold_of(batch.keys[row_idx]);
            // What the classifier says to no text at all is the frequency of the classes; only
            // what the words say can contradict a label.
            let prior = silence
                .entry(fold)
                .or_insert_with(|| logits_of(classifier, fold, &[]));
            let logits: Vec<f32> = logits_of(classifier, fold, words.plain())
                .iter()
                .zip(prior)
                .map(|(logit, prior)| logit - *prior)
                .collect();
            let (own, preferred) = margin(&logits, label);
            evidence.margins.add(label, own, preferred);
            if let Some(other) = another_class(label, n_classes, batch.keys[row_idx]) {
                evidence
                    .strangers
                    .add(other, margin(&logits, other).0, other);
            }
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
