//! `source-enrichment`: sources, files, partitions and times that have more of the evidence than the others.
//!
//! Here are its parameters, its documentation and what it needs. It looks at the scores of all other detectors,
//! so what it does runs in the engine, between the scores and the verdicts.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Finds sources, files, partitions, times, and pairs of them, in which other detectors' evidence piles up.
///
/// # What it finds
/// A contributor, annotator, file, hive partition or stretch of time, or a pair of them (one contributor in one
/// week), that has far more contradicted labels, records unlike all others, or records held back by findings than the
/// other groups of its kind.
///
/// # Why it matters
/// Poison comes from somewhere. A flipped label among many honest ones is lost among ordinary mistakes; that a third
/// of what one contributor delivered is contradicted is not, and changes what each of its records is worth.
///
/// # How it works
/// A second look at the scores of a run, once all records have theirs:
/// - *Groups:* the values of the source column and of up to three more that are named like one (`annotator_id`), files, each
///   key of hive partitions, and hours, days, weeks or four weeks, whichever makes at most 400 of them; and pairs of
///   these kinds, of the largest groups of each (256 at most, 65,536 pairs in all).
/// - *Evidence:* labels that the content contradicts (`confident-learning`); the upper hundredth of every other score that
///   takes part in the decision; records with the sign that a rule looks for (copies, invisible characters, injections,
///   leaks); records of findings that hold records back, but for those that are about one source to begin with.
/// - *Labels:* how many contradictions a group leads to expect is counted from all records of the same class of which the
///   model is as sure, so a group of hard records, or of one class, is not blamed for them. The number found is judged by
///   a negative binomial law around the median group, as wide as the groups scatter (all but a tenth of
///   them), and at least 25 % wide; over all records, and over those of which the model is sure (3 to 1, 9 to 1).
/// - *Other evidence:* Fisher's exact test *and* the same law must both speak.
/// - A pair is compared with what its two groups have without it. Everything is corrected for all that was tried.
/// - *Records:* of a group whose labels are contradicted beyond doubt (p ≤ 10⁻⁶, twice what is expected, nine
///   or more groups to compare), the share of flipped ones among its records of each class is estimated by
///   expectation maximisation: honest records score as those of the other groups do, flipped ones as the mirror image
///   of the other classes'. That gives each record a local false-discovery rate, and the records with the lowest are held
///   back, as many as keep the share of honest ones among them within `ordinary_share`. All else asks for a review.
///
/// # Parameters
/// - `level` (0.001): largest corrected p-value of a finding.
/// - `min_group` (30): records that a group needs.
/// - `min_records` (10): records with evidence that it needs.
/// - `ordinary_share` (0.17): share of honest records that may be held back with the flipped ones of a group.
///
/// # False positives
/// A source with rules of its own (another annotation guide, another language) is contradicted as well, and the finding is
/// right that its labels do not mean what those of the others mean. Content of another kind is unusual without being
/// poison: unusual records only ask for a review.
///
/// # Limits
/// Five groups of a kind are needed, nine for other evidence than labels. The first 65,536 sources are told
/// apart. A source that provides most of a dataset is what the others are compared with. Where flipped and honest
/// records overlap, no rule finds all flips: of a census with 30 % of one contributor's labels flipped, the best
/// possible one reaches 83 % of them at a precision of 80 %.
///
/// # Example
/// "source `c09`: the content contradicts 571 of its 1609 labels, 232 would be expected as the other sources go; 487 of
/// its records are the ones that are most likely flipped"
/// ```toml
/// [parameters.source-enrichment]
/// ordinary_share = 0.1
/// ```
///
/// # References
/// - Baracaldo et al.: Detecting Poisoning Attacks on Machine Learning in `IoT` Environments, IEEE ICIOT 2018.
/// - Efron: Large-Scale Inference, Cambridge University Press (2010), chapter 5.
/// - Northcutt, Jiang, Chuang: Confident learning, JAIR 70 (2021), <https://arxiv.org/abs/1911.00068>.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceEnrichmentParams {
    /// Largest corrected p-value of a finding, 0 to 0.05.
    pub level: f64,
    /// Records that a group needs, 10 to 1000000.
    pub min_group: u64,
    /// Records with evidence that a group needs, 2 to 1000000.
    pub min_records: u64,
    /// Share of honest records that may be held back with the flipped ones of a group, 0.01 to 0.5.
    pub ordinary_share: f64,
}

impl Default for SourceEnrichmentParams {
    fn default() -> Self {
        Self {
            level: 0.001,
            min_group: 30,
            min_records: 10,
            ordinary_share: 0.17,
        }
    }
}

impl Params for SourceEnrichmentParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("level", self.level, 0.0..=0.05)
            .range("min_group", self.min_group, 10..=1_000_000)
            .range("min_records", self.min_records, 2..=1_000_000)
            .range("ordinary_share", self.ordinary_share, 0.01..=0.5);
        checks.finish()
    }
}

/// The detector; see [`SourceEnrichmentParams`].
#[derive(Clone, Debug)]
pub struct SourceEnrichment;

impl Detector for SourceEnrichment {
    type Params = SourceEnrichmentParams;
    type State = ();
    type Model = ();
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "source-enrichment",
        family: Family::Source,
        summary: "sources, files and times in which the other detectors' evidence piles up",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[],
        score_roles: &[Role::Source, Role::Time, Role::Label],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &[
            "AML.T0019",
            "AML.T0020",
            "AML.T0059",
            "LLM04:2025",
            "NISTAML.013",
        ],
        state_version: 1,
    };

    fn new(_params: Self::Params) -> Self {
        Self
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        let has_time = facts.columns.iter().any(|column| column.role == Role::Time);
        if facts.sources.len() > 1 || facts.n_files > 1 || has_time {
            Ok(())
        } else {
            Err(NotApplicable::new(
                "one file, and no column of sources or times",
            ))
        }
    }

    fn start(&self, _context: &FitContext) -> Self::State {}

    fn fit(&self, _context: &FitContext, _state: &mut Self::State, _batch: &Batch<'_>) {}

    fn merge(&self, _context: &FitContext, _state: &mut Self::State, _later: Self::State) {}

    fn model(
        &self,
        _context: &FitContext,
        _state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        Ok(())
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    /// Nothing is known before all scores are: 0 for every record.
    fn score(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        vec![0.0; batch.n_rows()]
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
    use lazaretto_testkit::contract;

    use super::*;

    #[test]
    fn holds_the_contract() {
        contract::assert_contract(&SourceEnrichment::new(SourceEnrichmentParams::default()));
    }

    #[test]
    fn one_file_without_sources_and_times_has_nothing_to_compare() {
        let mut facts = DataFacts {
            n_files: 1,
            ..DataFacts::default()
        };
        assert!(SourceEnrichment.applies(&facts).is_err());
        facts.n_files = 2;
        assert!(SourceEnrichment.applies(&facts).is_ok());
    }
}
