//! `content-hash`: content that is not what was recorded.

mod files;
mod scheme;

use lazaretto_core::{
    Action, Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Severity, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use files::ChangedFile;
use scheme::{Scheme, Trials, content_names, digits};

/// Stated p-value: content that differs has another digest, and content that does not has the same.
const P_VALUE: f64 = 1e-12;
/// Records on which the schemes are tried, about.
const TRIED: u64 = 10_000;

/// Finds records and files whose content is not what its recorded hash says.
///
/// # What it finds
/// - Records with a `content_hash` column (`sha256`, `md5`, …) in which the recorded digest is not the digest of
///   the content that stands beside it.
/// - Files that are not what is recorded of them beside the data: in `SHA256SUMS`, `MD5SUMS`, `B3SUMS`,
///   `checksums.txt`, `*.sha256` and the like, in the `distribution` of a Croissant description
///   (`croissant.json`, `metadata.json`), or in the etags that the Hugging Face client keeps under
///   `.cache/huggingface/download`. Recorded data files that are not there are shown too.
///
/// # Why it matters
/// Web-scale datasets are lists of addresses with digests. Who buys an expired domain serves other content
/// than what was indexed (split-view poisoning); who edits a copy of a dataset forgets the digests.
///
/// # How it works
/// - What was digested is found from the data: on a keyed sample of 10,000 records each text or image column,
///   as it stands, trimmed or with a final line break, is compared under each function whose digests have that
///   length (MD5, SHA-1, SHA-256, BLAKE3, SHA-512). Prefixes such as `sha256:` are left out.
/// - The column is checked when one such reading holds for at least `min_agreement` of the sample. Then every
///   record for which it does not hold is found, down to a single changed byte.
/// - Records about files are looked for in the folders of the data files and above them, within the input.
///   Names that lead out of their folder are left out; what has no digest is left out.
///
/// # Parameters
/// - `min_agreement` (0.5): least share of the sampled records for which one reading must hold.
/// - `changed_file` (`"fail"`): what becomes of a changed file. Which of its records were changed cannot be
///   told, and to hold all of them back could delete a dataset, so the gate fails and a person decides.
///   With `"quarantine"` they are all held back, with `"review"` the finding is only shown.
///
/// # False positives
/// Text that was normalised after its digest was recorded, in a part of the dataset only. Files that were
/// edited or converted on purpose and not recorded again.
///
/// # Limits
/// Whoever changes the content and the digest escapes. Digests of other things (of files in an archive, of a
/// raw web page before extraction) hold for no record: the detector then abstains and says so. A Git LFS pointer
/// in the place of a file is not scanned, and missing here.
///
/// # Example
/// "SHA-256 recorded in `sha256` differs from that of `text` in 1 of 1,000,000 records";
/// "`train.parquet` is not the file that `SHA256SUMS` records"
/// ```toml
/// [roles.other]
/// sha256 = "content_hash"
///
/// [parameters.content-hash]
/// changed_file = "quarantine"
/// ```
///
/// # References
/// - Carlini et al.: Poisoning Web-Scale Training Datasets is Practical, IEEE S&P 2024, arXiv 2302.10149.
/// - Akhtar et al.: Croissant: A Metadata Format for ML-Ready Datasets, `NeurIPS` 2024, arXiv 2403.19546.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContentHashParams {
    /// Least share of the sampled records for which one reading must hold, 0.1 to 1.
    pub min_agreement: f64,
    /// What becomes of a file that is not what is recorded of it: `review`, `fail` or `quarantine`.
    pub changed_file: ChangedFile,
}

impl Default for ContentHashParams {
    fn default() -> Self {
        Self {
            min_agreement: 0.5,
            changed_file: ChangedFile::Fail,
        }
    }
}

impl Params for ContentHashParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("min_agreement", self.min_agreement, 0.1..=1.0);
        checks.finish()
    }
}

/// The detector; see [`ContentHashParams`].
#[derive(Clone, Debug)]
pub struct ContentHash {
    params: ContentHashParams,
}

/// State of the fit pass: by column of recorded hashes what they are digests of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Readings {
    trials: Vec<Trials>,
    contents: Vec<String>,
}

/// What is checked.
#[derive(Debug)]
pub struct Checked {
    /// By column of recorded hashes, in schema order.
    columns: Vec<CheckedColumn>,
}

#[derive(Debug)]
struct CheckedColumn {
    name: String,
    /// The scheme with the name of its content, where one holds.
    scheme: Option<(Scheme, String)>,
}

/// Evidence of the score pass, by column of recorded hashes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mismatches {
    columns: Vec<Mismatched>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mismatched {
    checked: u64,
    records: Vec<u64>,
}

fn recorded_columns(facts: &DataFacts) -> impl Iterator<Item = &str> {
    let columns = facts.columns.iter();
    let recorded = columns.filter(|column| column.role == Role::ContentHash);
    recorded.map(|column| column.name.as_str())
}

impl Detector for ContentHash {
    type Params = ContentHashParams;
    type State = Readings;
    type Model = Checked;
    type Evidence = Mismatches;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "content-hash",
        family: Family::Source,
        summary: "records and files that differ from their recorded hashes",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: ROLES,
        score_roles: ROLES,
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0019", "AML.T0020", "LLM04:2025"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if !facts.provenance.recorded.is_empty() {
            return Ok(());
        }
        let has_content = facts.columns.iter().any(|column| {
            matches!(
                column.role,
                Role::Text | Role::Prompt | Role::Response | Role::Messages | Role::Image
            )
        });
        if recorded_columns(facts).next().is_none() {
            Err(NotApplicable::new(
                "no column of recorded hashes, and none recorded of the files",
            ))
        } else if !has_content {
            Err(NotApplicable::new(
                "no text or image to compare the recorded hashes with",
            ))
        } else {
            Ok(())
        }
    }

    fn start(&self, context: &FitContext) -> Self::State {
        Readings {
            trials: recorded_columns(&context.facts)
                .map(|_| Trials::default())
                .collect(),
            contents: Vec::new(),
        }
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        if state.contents.is_empty() {
            state.contents = content_names(batch);
        }
        let step = context.facts.n_rows.div_ceil(TRIED).max(1);
        for (row_idx, key) in batch.keys.iter().enumerate() {
            if !key.is_multiple_of(step) {
                continue;
            }
            for (trials, recorded) in state.trials.iter_mut().zip(&batch.derived.recorded) {
                if let Some(recorded) = recorded.get(row_idx) {
                    trials.add(batch, row_idx, digits(recorded));
                }
            }
        }
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        for (trials, later) in state.trials.iter_mut().zip(&later.trials) {
            trials.merge(later);
        }
        if state.contents.is_empty() {
            state.contents = later.contents;
        }
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let mut agreements = Vec::new();
        let columns: Vec<CheckedColumn> = recorded_columns(&context.facts)
            .zip(&state.trials)
            .map(|(name, trials)| {
                let (scheme, held) = trials.best().unzip();
                let agreement = held.unwrap_or(0) as f64 / trials.tried.max(1) as f64;
                agreements.push(format!("{:.1} % of `{name}`", 100.0 * agreement));
                let scheme = scheme.filter(|_| agreement >= self.params.min_agreement);
                CheckedColumn {
                    name: name.to_owned(),
                    scheme: scheme.and_then(|scheme| {
                        let content = state.contents.get(scheme.content as usize)?;
                        Some((scheme, content.clone()))
                    }),
                }
            })
            .collect();
        // An empty dataset has nothing to disagree about.
        let tried = state.trials.iter().any(|trials| trials.tried > 0);
        let no_reading = tried && columns.iter().all(|column| column.scheme.is_none());
        if no_reading && context.facts.provenance.recorded.is_empty() {
            return Err(NotApplicable::new(format!(
                "the recorded hashes are of something else than the columns here: the best reading holds for {}",
                agreements.join(", ")
            )));
        }
        Ok(Checked { columns })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        Mismatches {
            columns: vec![Mismatched::default(); model.columns.len()],
        }
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![f32::NAN; batch.n_rows()];
        let columns = model.columns.iter().zip(&batch.derived.recorded);
        for ((column, recorded), found) in columns.zip(&mut evidence.columns) {
            let Some((scheme, _)) = &column.scheme else {
                continue;
            };
            for (row_idx, score) in scores.iter_mut().enumerate() {
                let holds = recorded
                    .get(row_idx)
                    .and_then(|recorded| scheme.holds(batch, row_idx, digits(recorded)));
                let Some(holds) = holds else {
                    continue;
                };
                found.checked += 1;
                let mismatch = if holds { 0.0 } else { 1.0 };
                *score = if score.is_nan() {
                    mismatch
                } else {
                    score.max(mismatch)
                };
                if !holds {
                    found.records.push(batch.ordinal(row_idx));
                }
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        for (found, later) in evidence.columns.iter_mut().zip(later.columns) {
            found.checked += later.checked;
            found.records.extend(later.records);
        }
    }

    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let columns = model.columns.iter().zip(evidence.columns);
        let found = columns.filter(|(_, found)| !found.records.is_empty());
        let mut findings: Vec<Finding> = found
            .filter_map(|(column, found)| {
                let (scheme, content) = column.scheme.as_ref()?;
                let title = format!(
                    "{} recorded in `{}` differs from that of `{content}`{} in {} of {} records",
                    scheme.algorithm.name(),
                    column.name,
                    scheme.form.in_words(),
                    found.records.len(),
                    found.checked,
                );
                let finding = Finding::new(
                    "content-hash",
                    "split-view",
                    Severity::High,
                    Action::Quarantine,
                    title,
                    P_VALUE,
                );
                Some(
                    finding
                        .with_evidence("algorithm", scheme.algorithm.name())
                        .with_evidence("content", content.as_str())
                        .with_evidence("checked", found.checked)
                        .with_records(found.records),
                )
            })
            .collect();
        findings.extend(files::findings(
            &shared.facts.provenance,
            self.params.changed_file,
        ));
        findings
    }
}

/// What is read in both passes.
const ROLES: &[Role] = &[
    Role::ContentHash,
    Role::Text,
    Role::Prompt,
    Role::Response,
    Role::Messages,
    Role::Image,
];

#[cfg(test)]
mod tests;
