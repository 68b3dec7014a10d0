//! `near-duplicates`: records that differ by a few edits.

mod cluster;
mod content;
mod copies;
mod judge;
mod signature;

use std::collections::BTreeMap;

use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NO_LABEL, NotApplicable, ParamProblem, Params, Role, ScoreKind, Severity, Shared, TextPart,
    params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::exact::fits;
use cluster::Clustered;
pub(crate) use cluster::Forest;
use content::{ContentCounts, buckets};
use copies::{Answer, Contradictions, CopyFloods, MAX_LISTED, Signed};
use judge::{Clusters, NearEvidence};
use signature::row_cells;
pub(crate) use signature::{BAND, HASHES, MinHash, Signature, equal_entries};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of state per record: a signature, an ordinal and a label.
const BYTES_PER_ROW: usize = 2 * HASHES + size_of::<u64>() + size_of::<u32>();
/// Words of a prompt that asks for one answer.
const MIN_PROMPT: usize = 5;
/// Columns that a table must have for agreement in all of them to mean anything.
const MIN_COLUMNS: usize = 4;

/// Finds groups of records that differ by a few edits, and floods among them.
///
/// # What it finds
/// A flood: many lightly edited copies of one record that carry one label, which the original or
/// the content itself contradicts; or many lightly edited copies of one prompt with its response.
/// Ordinary near-duplicates (templates, updates of a news item) are counted and shown.
///
/// # Why it matters
/// A flood gives one wrong statement the weight of dozens of records, and small edits take it past
/// exact deduplication. Near-duplicates also waste training and leak between splits.
///
/// # How it works
/// - Texts (all text fields together) become sets of words; a 64-entry `MinHash` signature, keyed
///   by the run's seed, estimates their Jaccard similarity. Records that agree in one of 16 bands
///   are compared, and joined at an estimated similarity of `min_similarity`. Texts with fewer than
///   `min_words` distinct words are left out: short texts repeat by nature.
/// - Rows of a table without text are near-duplicates when all words are equal and all numbers
///   agree within about 1 %.
/// - Clusters with at least `min_copies` records of one label are judged. How many there are of
///   such a size is tested against the dataset's own habit of repeating (a power law fitted to the
///   small clusters). What their content says is ranked among the records of that label by naive
///   Bayes, with the whole cluster left out of its counts, because the copies would speak for
///   themselves.
/// - Floods towards one label in which other copies have another label are judged together when
///   their sizes are improbable (below 5 %): the size test is combined (Fisher) with the ranks of
///   all of them, or with how often copies disagree in this dataset anyway. They are held back at
///   a corrected p-value of at most `alpha` when the content is on the side of the contradiction.
/// - By its content alone a cluster is held back when the rank, corrected over all clusters
///   (Benjamini–Hochberg), is at most `alpha` and another copy agrees with the content, or at most
///   1 % and the size is improbable. Two proven floods also convict a contradicted cluster of
///   about their size with the same label when its content ranks in the lowest quarter.
///
/// - Without labels a flood is a group with a middle: records linked at a similarity of 0.75 whose
///   median similarity to one of them is at least 0.85, with the same response, in versions that
///   differ. Random edits of one record surround it; records of one kind form chains without a
///   middle. The sizes of such groups are tested against the dataset's habit in the same way, for
///   all of them together. Of prompts with responses all but the middle are held back; floods of
///   plain texts are for review. So are short answers (at most four words) that differ where the
///   prompt is the same.
/// - In a band each record is compared with four others. Records that share most of their bands with
///   hundreds of others and resemble none of those they were compared with are reported, because
///   they may resemble each other.
///
/// Only the records with the flooding label are held back. Cluster sizes that a tenth of the
/// dataset's records reach are its habit, and so is a table where a fifth of the rows have
/// near-copies.
///
/// # Parameters
/// - `min_copies` (8): fewest copies with one label that can be a flood.
/// - `min_similarity` (0.6): least similarity of two texts that are joined.
/// - `min_words` (6): fewest distinct words of a text.
/// - `alpha` (0.05): largest corrected p-value of what is held back.
///
/// # False positives
/// A template that annotators labelled by a rule which other words do not show, when one copy was
/// labelled differently.
///
/// # Limits
/// Without labels a single flood needs to be several times as large as what the dataset repeats
/// anyway. Paraphrases are not near-duplicates. Edits to more than
/// about a third of the words, or numbers moved by more than 1 % of their value, escape. Embeddings
/// are not compared. Needs 140 bytes of memory per record, 200 without labels, and abstains where that is more
/// than it may use. Long answers that contradict each other in other words are not recognised.
///
/// # Example
/// "20 near-copies of one record labelled `0`, against 1 labelled `2`; without them the content
/// argues for `2`"
/// ```toml
/// [parameters.near-duplicates]
/// min_similarity = 0.7
/// ```
///
/// # References
/// - Broder: On the resemblance and containment of documents, SEQUENCES 1997 (`MinHash`).
/// - Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, chapter 3 (banding).
/// - Lee et al.: Deduplicating Training Data Makes Language Models Better, ACL 2022.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NearDuplicatesParams {
    /// Fewest copies with one label that can be a flood, 3 or more.
    pub min_copies: u32,
    /// Least estimated Jaccard similarity of two texts that are joined, 0.4 to 1.
    pub min_similarity: f64,
    /// Fewest distinct words of a text that is compared, 1 or more.
    pub min_words: u32,
    /// Largest corrected p-value of a flood that is held back, 0 to 1.
    pub alpha: f64,
}

impl Default for NearDuplicatesParams {
    fn default() -> Self {
        Self {
            min_copies: 8,
            min_similarity: 0.6,
            min_words: 6,
            alpha: 0.05,
        }
    }
}

impl Params for NearDuplicatesParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("min_copies", self.min_copies, 3..=1_000_000)
            .range("min_similarity", self.min_similarity, 0.4..=1.0)
            .range("min_words", self.min_words, 1..=1_000_000)
            .range("alpha", self.alpha, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`NearDuplicatesParams`].
#[derive(Clone, Debug)]
pub struct NearDuplicates {
    params: NearDuplicatesParams,
}

/// State of the fit pass: signatures of the records that can be compared, in order, and what
/// values go with which label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signatures {
    ordinals: Vec<u64>,
    labels: Vec<u32>,
    /// `HASHES` entries per record, for texts.
    texts: Vec<u16>,
    /// One entry per record, for rows of a table.
    cells: Vec<[u64; 2]>,
    /// One entry per record, for texts without labels.
    answers: Vec<Answer>,
    content: ContentCounts,
}

/// What the score pass needs.
#[derive(Debug)]
pub struct NearModel {
    clusters: Clusters,
    /// Floods that no label could contradict.
    copies: CopyFloods,
    /// Answers that contradict each other.
    contradictions: Contradictions,
    /// Records that were not compared with all that share a band with them, ascending.
    crowded: Vec<u64>,
}

/// Bytes of state per record of this dataset; without labels something is kept of each response.
fn bytes_per_row(facts: &DataFacts) -> usize {
    let answer = if facts.has_labels() {
        0
    } else {
        size_of::<Answer>()
    };
    BYTES_PER_ROW + answer
}

/// Distinct words of a record over its text fields, those of `part` alone if it is given.
fn words(batch: &Batch<'_>, row_idx: usize, part: Option<TextPart>) -> Vec<u64> {
    let fields = batch.texts.iter().zip(&batch.derived.tokens);
    let mut words: Vec<u64> = fields
        .filter(|(field, _)| part.is_none_or(|part| field.part == part))
        .flat_map(|(_, tokens)| tokens.row(row_idx).iter().copied())
        .collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// What is kept of a record without labels besides its signature.
fn answer(batch: &Batch<'_>, row_idx: usize, min_hash: &MinHash) -> Answer {
    let response = words(batch, row_idx, Some(TextPart::Response));
    let signature: Option<Signature> =
        (!response.is_empty()).then(|| min_hash.signature(&response));
    let in_order = |part: Option<TextPart>| -> Vec<u8> {
        let fields = batch.texts.iter().zip(&batch.derived.tokens);
        fields
            .filter(|(field, _)| part.is_none_or(|part| field.part == part))
            .flat_map(|(_, tokens)| tokens.row(row_idx))
            .flat_map(|word| word.to_le_bytes())
            .collect()
    };
    let prompt = in_order(Some(TextPart::Prompt));
    let prompt = (prompt.len() >= MIN_PROMPT * size_of::<u64>()).then(|| xxh3_64(&prompt));
    let exact = xxh3_64(&in_order(None));
    Answer::new(signature.as_ref(), response.len(), exact, prompt)
}

/// Numbers of a table row.
fn numbers(batch: &Batch<'_>, row_idx: usize) -> Vec<f64> {
    batch
        .numeric
        .map_or_else(Vec::new, |numeric| numeric.row(row_idx).to_vec())
}

/// Values of a table row that say something about its label: each word with its column, and each
/// number as a class of magnitude.
fn values(batch: &Batch<'_>, row_idx: usize) -> Vec<u64> {
    let tagged = |column: usize, value: u64| {
        (value ^ (column as u64).wrapping_mul(0xd6e8_feb8_6659_fd93))
            .wrapping_mul(0xff51_afd7_ed55_8ccd)
    };
    let words = batch.categorical.iter().map(|column| column[row_idx]);
    let sizes = numbers(batch, row_idx).into_iter().map(|number| {
        // Steps of a factor of about 1.2 away from zero, narrower around it.
        #[expect(clippy::cast_sign_loss, reason = "the logarithm of 1 or more")]
        let step = (number.abs().ln_1p() * 4.0).min(1e6) as u64;
        2 * step + u64::from(number < 0.0)
    });
    let columns = words.chain(sizes).enumerate();
    columns
        .map(|(column, value)| tagged(column, value))
        .collect()
}

impl NearDuplicates {
    /// Whether the dataset has content that can be compared.
    pub(super) fn reads(facts: &DataFacts) -> Result<(), NotApplicable> {
        let columns = facts.numeric_columns.len() + facts.categorical_columns.len();
        if facts.has_text() {
            Ok(())
        } else if facts.numeric_columns.is_empty() || columns < MIN_COLUMNS {
            Err(NotApplicable::new(
                "no text, and too few columns of numbers and words to tell near-copies from chance",
            ))
        } else {
            Ok(())
        }
    }

    /// What stands for the content of a record: words or table values, as buckets.
    fn content_of(batch: &Batch<'_>, row_idx: usize) -> Vec<u16> {
        if batch.texts.is_empty() {
            buckets(values(batch, row_idx).into_iter())
        } else {
            buckets(words(batch, row_idx, None).into_iter())
        }
    }
}

impl Detector for NearDuplicates {
    type Params = NearDuplicatesParams;
    type State = Signatures;
    type Model = NearModel;
    type Evidence = NearEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "near-duplicates",
        family: Family::Duplicates,
        summary: "groups of records that differ by a few edits, and floods among them",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[
            Role::Text,
            Role::Prompt,
            Role::Response,
            Role::Messages,
            Role::Numeric,
            Role::Categorical,
            Role::Label,
        ],
        score_roles: &[
            Role::Text,
            Role::Prompt,
            Role::Response,
            Role::Messages,
            Role::Numeric,
            Role::Categorical,
            Role::Label,
        ],
        intermediates: &[Intermediate::Tokens],
        state_bytes_per_row: BYTES_PER_ROW + size_of::<Answer>(),
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 3,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        Self::reads(facts)
    }

    fn start(&self, _context: &FitContext) -> Self::State {
        Signatures::default()
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        if fits(context, bytes_per_row(&context.facts)).is_err() {
            return;
        }
        let min_hash = MinHash::new(context.seed);
        let n_classes = context.facts.classes.len();
        for row_idx in 0..batch.n_rows() {
            if batch.texts.is_empty() {
                let numbers = numbers(batch, row_idx).into_iter();
                let others = batch.categorical.iter().map(|column| column[row_idx]);
                state.cells.push(row_cells(numbers, others, context.seed));
            } else {
                let words = words(batch, row_idx, None);
                if words.len() < self.params.min_words as usize {
                    continue;
                }
                state.texts.extend_from_slice(&min_hash.signature(&words));
                if !context.facts.has_labels() {
                    state.answers.push(answer(batch, row_idx, &min_hash));
                }
            }
            let label = batch.label(row_idx).unwrap_or(NO_LABEL);
            state.ordinals.push(batch.ordinal(row_idx));
            state.labels.push(label);
            if label != NO_LABEL {
                let content = Self::content_of(batch, row_idx);
                state.content.add(n_classes, label, &content);
            }
        }
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.ordinals.extend(later.ordinals);
        state.labels.extend(later.labels);
        state.texts.extend(later.texts);
        state.cells.extend(later.cells);
        state.answers.extend(later.answers);
        state.content.merge(later.content);
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        fits(context, bytes_per_row(&context.facts))?;
        let clustered = if state.texts.is_empty() {
            Clustered {
                sets: cluster::rows(&state.cells),
                crowded: Vec::new(),
            }
        } else {
            cluster::texts(&state.texts, self.params.min_similarity)
        };
        let crowded = clustered.crowded.iter();
        let crowded = crowded.map(|&idx| state.ordinals[idx as usize]).collect();
        let min_copies = self.params.min_copies as usize;
        let copies = if state.answers.is_empty() {
            CopyFloods::default()
        } else {
            let signed = Signed {
                ordinals: &state.ordinals,
                signatures: &state.texts,
                answers: &state.answers,
            };
            CopyFloods::new(signed, min_copies, self.params.alpha)
        };
        Ok(NearModel {
            contradictions: Contradictions::among(&state.ordinals, &state.answers),
            crowded,
            clusters: Clusters::new(
                clustered.sets,
                &state.ordinals,
                &state.labels,
                state.content,
                &context.facts,
                min_copies,
            ),
            copies,
        })
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {
        NearEvidence::default()
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![0.0; batch.n_rows()];
        for (row_idx, score) in scores.iter_mut().enumerate() {
            if model.copies.contains(batch.ordinal(row_idx)) {
                *score = 0.3;
            }
        }
        let model = &model.clusters;
        if !model.judges_content() {
            return scores;
        }
        for (row_idx, score) in scores.iter_mut().enumerate() {
            let Some(label) = batch.label(row_idx) else {
                continue;
            };
            let content = Self::content_of(batch, row_idx);
            match model.judged(batch.ordinal(row_idx)) {
                None if batch.texts.is_empty()
                    || content.len() >= self.params.min_words as usize =>
                {
                    let own = |class: u32| u32::from(class == label);
                    let margin = model
                        .content
                        .margin(label, &content, |class, _| own(class), own);
                    evidence.margins.add(label, margin, label);
                }
                None => {}
                Some(cluster) => {
                    *score = 0.3;
                    let members: &mut BTreeMap<(u32, u16), u32> =
                        evidence.members.entry(cluster).or_default();
                    for bucket in content {
                        *members.entry((label, bucket)).or_default() += 1;
                    }
                }
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
        let columns = &shared.facts.columns;
        let with_responses = columns
            .iter()
            .any(|column| matches!(column.role, Role::Response | Role::Messages));
        let mut findings = model.copies.findings(with_responses);
        let clusters = &model.clusters;
        findings.extend(judge::findings(
            clusters,
            &self.params,
            &shared.facts,
            &evidence,
        ));
        findings.extend(model.contradictions.finding());
        findings.extend(overflow(&model.crowded));
        findings
    }
}

/// What was not compared because too many records share a band of their signatures.
fn overflow(crowded: &[u64]) -> Option<Finding> {
    let listed: Vec<u64> = crowded.iter().copied().take(MAX_LISTED).collect();
    let title = format!(
        "{} records share most bands of their signatures with hundreds of others and resemble none \
         of the few they were compared with: near-copies among them may be missing",
        crowded.len()
    );
    let (kind, severity) = ("crowded-bucket", Severity::Info);
    (!listed.is_empty()).then(|| {
        Finding::new(
            "near-duplicates",
            kind,
            severity,
            Action::Review,
            title,
            1.0,
        )
        .with_records(listed)
        .with_evidence("records", crowded.len())
    })
}

#[cfg(test)]
mod tests;
