//! `ecod`: records with many values in the tails of their columns.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use lazaretto_features::QuantileSketch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tabular::column_scores::{self, ColumnScores};
use crate::tabular::tail_table::{TailTable, Tails};

/// Scores each record by how far its numbers lie in the tails of their columns.
///
/// # What it finds
/// Records with extreme numbers: out of range, wrong unit, sign flipped, or moderately unusual in
/// many columns at once.
///
/// # Why it matters
/// Extreme values pull means, scalers and linear models; a few injected records are enough. They
/// are also how broken imports and unit mix-ups look.
///
/// # How it works
/// For each numeric column the empirical distribution gives the probability of a value at least
/// as small and of one at least as large. The negative logarithm of the smaller of the two (of
/// both together in a column without skewness) is added up over the columns. There is nothing to
/// tune and no distance, so columns of any unit go together. Up to `resolution` distinct values
/// per column this equals `PyOD`'s ECOD on the same numbers; with more, the distribution is kept as
/// that many points, exact at both ends and interpolated in the middle, so that a dataset of any
/// size is scanned in bounded memory.
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
/// Long-tailed columns always have somebody at the end. Records that are legitimately extreme in
/// many columns (the largest customer, the newest sensor) come first. The calibration is against
/// the bulk of the dataset.
///
/// # Limits
/// Columns are judged one by one: a combination that is unusual while each value is ordinary goes
/// unnoticed (see `isolation-forest` and `knn-distance`), and so does a value in a gap in the
/// middle of its column. Category codes stored as numbers have no tails in a useful sense. It
/// abstains with fewer than 20 values per column or when every column is constant.
///
/// # Example
/// An income of 9 999 999 and an age of 999 in the same record put it first among 30,000.
/// ```toml
/// [parameters.ecod]
/// resolution = 16384
/// ```
///
/// # References
/// - Li, Zhao, Hu, Botta, Ionescu, Chen: ECOD: unsupervised outlier detection using empirical
///   cumulative distribution functions, TKDE 2022, <https://arxiv.org/abs/2201.00382>. As in
///   `PyOD`, the larger tail is taken per column before the sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EcodParams {
    /// Points kept of each column's distribution, 64 to 1048576; 24 bytes each.
    pub resolution: u32,
}

impl Default for EcodParams {
    fn default() -> Self {
        Self { resolution: 4096 }
    }
}

impl Params for EcodParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("resolution", self.resolution, 64..=1_048_576);
        checks.finish()
    }
}

/// The detector; see [`EcodParams`].
#[derive(Clone, Debug)]
pub struct Ecod {
    params: EcodParams,
}

impl Detector for Ecod {
    type Params = EcodParams;
    /// The distribution of each numeric column.
    type State = Vec<QuantileSketch>;
    type Model = ColumnScores<TailTable>;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "ecod",
        family: Family::Tabular,
        summary: "records with many values in the tails of their columns",
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
        ColumnScores::compile(&state, |column| TailTable::new(column, Tails::Larger))
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
