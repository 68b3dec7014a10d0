//! `copod`: records with many values in the long tails of their columns.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use lazaretto_features::QuantileSketch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tabular::column_scores::{self, ColumnScores};
use crate::tabular::tail_table::{TailTable, Tails};

/// Scores each record by the tail areas of its numbers, in the tail that each column leans to.
///
/// # What it finds
/// Records with extreme numbers on the long side of their columns: amounts far too high where
/// amounts are mostly small, temperatures far too low where they are mostly high.
///
/// # Why it matters
/// In a skewed column the short side is crowded and the long side is where wrong units, overflows
/// and injected extremes end up. Looking at both sides alike, as `ecod` does, spends attention on
/// the smallest of many small values.
///
/// # How it works
/// For each numeric column the empirical distribution gives the probability of a value at least
/// as small and of one at least as large. The negative logarithm of the one on the side to which
/// the column is skewed counts, or the mean of both where that is more; the sum over the columns
/// is the score: the negative logarithm of the tail of an empirical copula. Up to `resolution`
/// distinct values per column this equals `PyOD`'s COPOD on the same numbers; with more, the
/// distribution is kept as that many points, exact at both ends and interpolated in the middle, so
/// that a dataset of any size is scanned in bounded memory.
///
/// A missing value counts as the column's mean score, so it makes a record neither more nor less
/// suspicious. Infinite values are the most extreme ones of their column. A record without any
/// number gets no score; a constant column adds nothing.
///
/// # Parameters
/// - `resolution` (4096): points kept per column. It is lowered when the memory given to the run
///   does not hold that many for every column.
///
/// # False positives
/// Long-tailed columns always have somebody at the end: the largest customers come first. The
/// calibration is against the bulk of the dataset.
///
/// # Limits
/// Columns are judged one by one: a combination that is unusual while each value is ordinary goes
/// unnoticed (see `isolation-forest` and `knn-distance`). An extreme on the short side of a skewed
/// column counts half. In a nearly symmetric column chance decides which side counts in full. It
/// abstains with fewer than 20 values per column or when every column is constant.
///
/// # Example
/// An income of 9 999 999 and an age of 999 in the same record put it first among 30,000.
/// ```toml
/// [parameters.copod]
/// resolution = 16384
/// ```
///
/// # References
/// - Li, Zhao, Botta, Ionescu, Hu: COPOD: copula-based outlier detection, ICDM 2020,
///   <https://arxiv.org/abs/2009.09463>. As in `PyOD`, the larger of the skewness-corrected tail
///   and the mean of both is taken per column before the sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CopodParams {
    /// Points kept of each column's distribution, 64 to 1048576; 24 bytes each.
    pub resolution: u32,
}

impl Default for CopodParams {
    fn default() -> Self {
        Self { resolution: 4096 }
    }
}

impl Params for CopodParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("resolution", self.resolution, 64..=1_048_576);
        checks.finish()
    }
}

/// The detector; see [`CopodParams`].
#[derive(Clone, Debug)]
pub struct Copod {
    params: CopodParams,
}

impl Detector for Copod {
    type Params = CopodParams;
    /// The distribution of each numeric column.
    type State = Vec<QuantileSketch>;
    type Model = ColumnScores<TailTable>;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "copod",
        family: Family::Tabular,
        summary: "records with many values in the long tails of their columns",
        score_kind: ScoreKind::Statistical,
        by_default: false,
        fit_roles: &[Role::Numeric],
        score_roles: &[Role::Numeric],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if facts.numeric_columns.is_empty() {
            return Err(NotApplicable::new("no numeric column"));
        }
        Ok(())
    }

    fn start(&self, context: &FitContext) -> Self::State {
        column_scores::start(context, self.params.resolution)
    }

    fn fit(&self, _context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        column_scores::fit(state, batch);
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        column_scores::merge(state, later);
    }

    fn model(
        &self,
        _context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        ColumnScores::compile(&state, |column| TailTable::new(column, Tails::Skewed))
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        model.of_batch(batch)
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
