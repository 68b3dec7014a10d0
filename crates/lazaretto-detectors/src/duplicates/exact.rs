//! `exact-duplicates`: records with the same content.

use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NO_LABEL, NotApplicable, ParamProblem, Params, Role, ScoreKind, Severity, Shared,
    params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use super::flood::{Habit, adjusted, by_class, dissenting};
use super::near::NearDuplicates;

/// Bytes of state per record.
const BYTES_PER_ROW: usize = size_of::<Keyed>();
/// Records that one finding about all duplicates lists.
const MAX_LISTED: usize = 100_000;
/// Largest corrected p-value of a flood that is shown.
const FLOOD_P_VALUE: f64 = 0.01;
/// Floods that get a finding of their own.
const MAX_FLOODS: usize = 100;

/// Finds records with identical content, and identical content with different labels.
///
/// # What it finds
/// - Floods: one content many more times than the dataset's habit of repeating explains, with one
///   label against the label of another copy.
/// - Contradictions: the same content under different labels.
/// - All other duplicates, as a number.
///
/// # Why it matters
/// Copies are the cheapest way to give a wrong label weight: forty copies with the wrong label
/// outvote the one original. Ordinary duplicates make a model memorise them and leak between
/// training and test sets.
///
/// # How it works
/// Content is every column but the id, label, source, time, url and recorded-hash columns. Equal
/// content has an equal hash (16 bytes of BLAKE3). The sizes of the small groups give the dataset's
/// habit, a power law; a larger group is a flood when its p-value against that habit, corrected for
/// all large groups (Benjamini–Hochberg), is at most 0.01, another copy contradicts its label, and
/// the label is more frequent in the group than in the dataset. In datasets of vectors and other
/// content that no other detector reads, the copies with the flooding label are held back. Where
/// there are texts or a table, `near-duplicates` decides, which knows what the content argues for,
/// and the flood is for review here: five hundred times `great!` with a few wrong labels is what
/// honest people write.
///
/// # Parameters
/// - `min_copies` (8): fewest copies with one label that can be a flood.
///
/// # False positives
/// Records that were repeated on purpose (oversampling of a class) are consistent in their labels
/// and pass. Coarse tables, in which many people share all values, show contradictions for review.
///
/// # Limits
/// One changed letter makes other content: see `near-duplicates`. Needs 40 bytes of memory per
/// record, and abstains where that is more than it may use.
///
/// # Example
/// "one content in 41 records labelled `>50K`, against 1 identical record labelled `<=50K`"
/// ```toml
/// [parameters.exact-duplicates]
/// min_copies = 12
/// ```
///
/// # References
/// - Lee et al.: Deduplicating Training Data Makes Language Models Better, ACL 2022.
/// - Carlini et al.: Poisoning Web-Scale Training Datasets is Practical, IEEE S&P 2024.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExactDuplicatesParams {
    /// Fewest copies with one label that can be a flood, 3 or more.
    pub min_copies: u32,
}

impl Default for ExactDuplicatesParams {
    fn default() -> Self {
        Self { min_copies: 8 }
    }
}

impl Params for ExactDuplicatesParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("min_copies", self.min_copies, 3..=1_000_000);
        checks.finish()
    }
}

/// The detector; see [`ExactDuplicatesParams`].
#[derive(Clone, Debug)]
pub struct ExactDuplicates {
    params: ExactDuplicatesParams,
}

/// One record: its content hash, ordinal and label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Keyed {
    content: u128,
    ordinal: u64,
    label: u32,
}

/// State of the fit pass: one entry per record, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContentKeys {
    records: Vec<Keyed>,
}

/// Records with the same content.
#[derive(Clone, Debug)]
struct Group {
    /// Ordinal and label, ascending.
    records: Vec<(u64, u32)>,
    /// Records by class, most first.
    classes: Vec<(u32, usize)>,
}

impl Group {
    fn of_class(&self, class: u32) -> Vec<u64> {
        let own = self.records.iter().filter(|(_, label)| *label == class);
        own.map(|&(ordinal, _)| ordinal).collect()
    }
}

/// All content that is there more than once.
#[derive(Clone, Debug)]
pub struct DuplicateGroups {
    groups: Vec<Group>,
    /// Score of each record of a group, by ordinal.
    scores: Vec<(u64, f32)>,
    habit: Habit,
}

/// Whether `rows` records fit into the memory that a detector may use; else the reason why not.
pub(super) fn fits(context: &FitContext, bytes_per_row: usize) -> Result<(), NotApplicable> {
    let needed = context.facts.n_rows.saturating_mul(bytes_per_row as u64);
    if needed <= context.memory_bytes as u64 {
        return Ok(());
    }
    Err(NotApplicable::new(format!(
        "needs {needed} bytes for {} records where it may use {}; hint: raise `--memory`",
        context.facts.n_rows, context.memory_bytes
    )))
}

impl ExactDuplicates {
    /// Findings about floods, and the indices of the groups that they cover.
    fn floods(&self, model: &DuplicateGroups, facts: &DataFacts) -> Vec<(usize, Finding)> {
        let large: Vec<usize> = (0..model.groups.len())
            .filter(|&idx| {
                let top = model.groups[idx].classes.first();
                top.is_some_and(|&(_, count)| count >= self.params.min_copies as usize)
            })
            .collect();
        let p_values: Vec<f64> = large
            .iter()
            .map(|&idx| {
                let group = &model.groups[idx];
                model.habit.size_p_value(group.classes[0].1, 1)
            })
            .collect();
        let mut floods: Vec<(usize, Finding)> = large
            .into_iter()
            .zip(adjusted(&p_values))
            .filter(|&(idx, p_value)| {
                p_value <= FLOOD_P_VALUE && is_one_sided(&model.groups[idx], facts)
            })
            .map(|(idx, p_value)| (idx, flood(&model.groups[idx], p_value, facts)))
            .collect();
        floods.sort_by(|a, b| a.1.p_value.total_cmp(&b.1.p_value).then(a.0.cmp(&b.0)));
        floods.truncate(MAX_FLOODS);
        floods
    }
}

/// Whether a group has a dissenting copy, and otherwise one label beyond what the class's share of
/// the dataset explains (empty texts, say, have the labels of everything else).
fn is_one_sided(group: &Group, facts: &DataFacts) -> bool {
    let others = dissenting(&group.classes);
    let (class, own) = group.classes[0];
    let total: u64 = facts.class_counts.iter().sum();
    let base =
        facts.class_counts.get(class as usize).copied().unwrap_or(0) as f64 / total.max(1) as f64;
    let size = (own + others) as u64;
    let p_value =
        Binomial::new(base.clamp(0.0, 1.0), size).map_or(1.0, |chance| chance.sf(own as u64 - 1));
    others > 0 && own >= 4 * others && p_value <= 1e-3
}

/// Whether `near-duplicates` looks at this dataset: it knows which side the content takes, and
/// copies are near-copies too.
fn reads_content(facts: &DataFacts) -> bool {
    NearDuplicates::reads(facts).is_ok()
}

fn class_name(facts: &DataFacts, class: u32) -> String {
    let name = facts.classes.get(class as usize).cloned();
    name.unwrap_or_else(|| class.to_string())
}

fn flood(group: &Group, p_value: f64, facts: &DataFacts) -> Finding {
    let (class, copies) = group.classes[0];
    let others = dissenting(&group.classes);
    let target = class_name(facts, class);
    let title = format!(
        "one content in {copies} records labelled `{target}`, against {others} identical \
         {} labelled `{}`",
        if others == 1 { "record" } else { "records" },
        class_name(facts, group.classes[1].0)
    );
    let (severity, action) = if reads_content(facts) {
        (Severity::Medium, Action::Review)
    } else {
        (Severity::High, Action::Quarantine)
    };
    let mut finding = Finding::new(
        "exact-duplicates",
        "flood",
        severity,
        action,
        title,
        p_value,
    )
    .with_records(group.of_class(class))
    .with_evidence("copies", copies)
    .with_evidence("identical_with_other_label", others);
    finding.target_class = Some(target);
    finding
}

/// One finding about `groups`: `sentence` with the numbers of records and contents.
fn summary(groups: &[&Group], kind: &str, severity: Severity, sentence: &str) -> Finding {
    let n_records: usize = groups.iter().map(|group| group.records.len()).sum();
    let records = groups
        .iter()
        .flat_map(|group| group.records.iter().map(|&(ordinal, _)| ordinal))
        .take(MAX_LISTED)
        .collect();
    let title = format!(
        "{n_records} records share {} contents{sentence}",
        groups.len()
    );
    let largest = groups.iter().map(|group| group.records.len()).max();
    Finding::new(
        "exact-duplicates",
        kind,
        severity,
        Action::Review,
        title,
        1.0,
    )
    .with_records(records)
    .with_evidence("contents", groups.len())
    .with_evidence("records", n_records)
    .with_evidence("copies_of_the_most_repeated", largest.unwrap_or(0))
}

impl Detector for ExactDuplicates {
    type Params = ExactDuplicatesParams;
    type State = ContentKeys;
    type Model = DuplicateGroups;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "exact-duplicates",
        family: Family::Duplicates,
        summary: "identical content: floods, contradictory labels, ordinary duplicates",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[Role::Label],
        score_roles: &[],
        intermediates: &[Intermediate::ContentHashes],
        state_bytes_per_row: BYTES_PER_ROW,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, _facts: &DataFacts) -> Result<(), NotApplicable> {
        Ok(())
    }

    fn start(&self, _context: &FitContext) -> Self::State {
        ContentKeys::default()
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        if fits(context, BYTES_PER_ROW).is_err() {
            return;
        }
        for (row_idx, &content) in batch.derived.content_hashes.iter().enumerate() {
            state.records.push(Keyed {
                content,
                ordinal: batch.ordinal(row_idx),
                label: batch.label(row_idx).unwrap_or(NO_LABEL),
            });
        }
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.records.extend(later.records);
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        fits(context, BYTES_PER_ROW)?;
        let mut records = state.records;
        records.sort_unstable();
        let mut groups: Vec<Group> = records
            .chunk_by(|a, b| a.content == b.content)
            .filter(|run| run.len() > 1)
            .map(|run| Group {
                records: run.iter().map(|r| (r.ordinal, r.label)).collect(),
                classes: by_class(run.iter().map(|r| r.label)),
            })
            .collect();
        groups.sort_by_key(|group| group.records[0].0);
        let min_copies = self.params.min_copies as usize;
        let sizes = groups
            .iter()
            .map(|group| (group.records.len(), dissenting(&group.classes)));
        let habit = Habit::of(sizes, min_copies);
        let mut scores: Vec<(u64, f32)> = groups
            .iter()
            .flat_map(|group| {
                let score = match (dissenting(&group.classes), group.records.len()) {
                    (0, _) => 0.0,
                    (_, size) if size > min_copies => 0.5,
                    _ => 0.3,
                };
                group
                    .records
                    .iter()
                    .map(move |&(ordinal, _)| (ordinal, score))
            })
            .filter(|&(_, score)| score > 0.0)
            .collect();
        scores.sort_by_key(|&(ordinal, _)| ordinal);
        Ok(DuplicateGroups {
            groups,
            scores,
            habit,
        })
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![0.0; batch.n_rows()];
        let from = model
            .scores
            .partition_point(|&(ordinal, _)| ordinal < batch.first_row);
        let end = batch.first_row + batch.n_rows() as u64;
        for &(ordinal, score) in model.scores[from..].iter().take_while(|(o, _)| *o < end) {
            scores[(ordinal - batch.first_row) as usize] = score;
        }
        scores
    }

    fn merge_evidence(&self, _evidence: &mut Self::Evidence, _later: Self::Evidence) {}

    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        _evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let floods = self.floods(model, &shared.facts);
        let covered: Vec<usize> = floods.iter().map(|&(idx, _)| idx).collect();
        let mut findings: Vec<Finding> = floods.into_iter().map(|(_, finding)| finding).collect();
        let rest = || {
            let all = model.groups.iter().enumerate();
            all.filter(|(idx, _)| !covered.contains(idx))
                .map(|(_, group)| group)
        };
        let contradictory: Vec<&Group> = rest().filter(|g| dissenting(&g.classes) > 0).collect();
        let consistent: Vec<&Group> = rest().filter(|g| dissenting(&g.classes) == 0).collect();
        if !contradictory.is_empty() {
            let sentence = " and have different labels";
            let (kind, severity) = ("contradictory-labels", Severity::Low);
            findings.push(summary(&contradictory, kind, severity, sentence));
        }
        if !consistent.is_empty() {
            findings.push(summary(&consistent, "duplicates", Severity::Info, ""));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_testkit::ReviewSet;

    use super::*;
    use crate::text::test_support::{Corpus, Outcome, run, run_with_memory};

    fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
        run::<ExactDuplicates>(ExactDuplicatesParams::default(), corpus, partitions)
    }

    /// A dataset that only hashes describe, with `copies` more of record 10, which get the label
    /// that it has not.
    fn flooded_vectors(copies: usize) -> Corpus {
        let mut corpus = Corpus {
            categorical: vec![(0..1_200).collect()],
            labels: (0..1_200).map(|row| row % 2).collect(),
            ..Corpus::default()
        };
        for _ in 0..copies {
            corpus.categorical[0].push(10);
            corpus.labels.push(1);
        }
        corpus
    }

    /// Reviews with `copies` more of review 10, which get the label that it has not.
    fn flooded(copies: usize) -> Corpus {
        let mut corpus = Corpus::of(&ReviewSet::generate(3, 1_200));
        for _ in 0..copies {
            corpus.texts.push(corpus.texts[10].clone());
            corpus.labels.push(1 - corpus.labels[10]);
        }
        corpus
    }

    #[test]
    fn ordinary_repeats_are_only_shown() {
        let outcome = scan(&Corpus::of(&ReviewSet::generate(3, 2_000)), 2);
        assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
        assert!(!outcome.findings.is_empty(), "short reviews repeat");
    }

    #[test]
    fn a_contradictory_flood_is_held_back_and_its_original_is_not() {
        let outcome = scan(&flooded_vectors(40), 1);
        assert_eq!(outcome.quarantined(), (1_200..1_240).collect::<Vec<_>>());
        assert_eq!(outcome.findings[0].kind, "flood");
        let parts = scan(&flooded_vectors(40), 7);
        assert_eq!(parts, outcome, "partitions must not matter");
    }

    #[test]
    fn where_the_content_can_be_read_a_flood_is_for_review() {
        let outcome = scan(&flooded(60), 1);
        assert_eq!(outcome.quarantined(), [0_u64; 0]);
        assert_eq!(outcome.findings[0].kind, "flood");
        assert_eq!(outcome.findings[0].records.len(), 60);
    }

    #[test]
    fn two_copies_with_two_labels_are_for_review() {
        let outcome = scan(&flooded(1), 1);
        assert_eq!(outcome.quarantined(), [0_u64; 0]);
        let contradiction = &outcome.findings[0];
        assert_eq!(contradiction.kind, "contradictory-labels");
        assert!(contradiction.records.contains(&1_200));
        assert!(outcome.scores[1_200] > 0.0);
    }

    #[test]
    fn oversampling_with_one_label_passes() {
        let mut corpus = flooded(0);
        for copy in 0..300 {
            corpus.texts.push(corpus.texts[copy % 6].clone());
            corpus.labels.push(corpus.labels[copy % 6]);
        }
        assert_eq!(scan(&corpus, 1).quarantined(), [0_u64; 0]);
    }

    #[test]
    fn short_of_memory_it_abstains_with_the_need() {
        let params = ExactDuplicatesParams::default();
        let outcome = run_with_memory::<ExactDuplicates>(params, &flooded(5), 2, 1_000);
        let reason = outcome.abstained.map(|n| n.reason).unwrap_or_default();
        assert!(reason.contains("raise `--memory`"), "{reason}");
        assert_eq!(outcome.findings, []);
    }
}
