//! `hbos`: records with values where few others are.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use lazaretto_features::QuantileSketch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tabular::column_scores::{self, ColumnScores};
use crate::tabular::histogram_table::HistogramTable;

/// Scores each record by how rare the histogram bins of its numbers are.
///
/// # What it finds
/// Records with values where few others are: beyond the crowd at either end, in a gap in the
/// middle of a column, or moderately rare in many columns at once.
///
/// # Why it matters
/// Placeholders (−1, 999), values of another unit and injected clusters often lie inside the range
/// of a column, where tails do not show them. Bins do, at next to no cost.
///
/// # How it works
/// Each numeric column is cut into `bins` bins of equal width from its smallest to its largest
/// finite value. A value counts −log₂(density of its bin + `alpha`), and the counts of the
/// columns are added up. Densities are those of the column scaled to 0..1, so that metres and
/// millimetres give the same scores; this equals `PyOD`'s HBOS on columns scaled to 0..1. With
/// `unit_free = false` they are per unit of the column as in `PyOD` itself, where a column of large
/// numbers counts next to nothing and one of small numbers decides alone. The bins are read off a
/// bounded summary of each column (`resolution` points), exact up to that many distinct values.
///
/// A missing value counts as the column's mean score, so it makes a record neither more nor less
/// suspicious. Infinite values count like the rarest bin. A record without any number gets no
/// score; a constant column adds nothing.
///
/// # Parameters
/// - `bins` (10): bins per column. More bins see narrower gaps and more chance.
/// - `alpha` (0.1): what is added to every density. It bounds what an empty bin counts: raise it
///   when single rare values should matter less.
/// - `unit_free` (true): whether columns are scaled to 0..1 first.
/// - `resolution` (1024): points kept per column. It is lowered when the memory given to the run
///   does not hold that many for every column.
///
/// # False positives
/// One far outlier stretches the bins until everybody else shares one; then the column says
/// little about the rest. Rare but legitimate categories stored as numbers stand out.
///
/// # Limits
/// Columns are judged one by one: a combination that is unusual while each value is ordinary goes
/// unnoticed (see `isolation-forest` and `knn-distance`). Values in the same bin count the same,
/// so an extreme one and its nearest neighbours tie. It abstains with fewer than 20 values per
/// column or when every column is constant.
///
/// # Example
/// In a column that is 0 or 40 to 90, a value of 20 is as rare as one of 900.
/// ```toml
/// [parameters.hbos]
/// bins = 20
/// ```
///
/// # References
/// - Goldstein, Dengel: Histogram-based outlier score (HBOS): a fast unsupervised anomaly
///   detection algorithm, KI 2012. The regularised logarithm is `PyOD`'s. Its tolerance for values
///   outside the histogram has no use here, because every record that is scored was counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HbosParams {
    /// Bins per column, 2 to 1024.
    pub bins: u32,
    /// Density added to every bin, 0.000001 to 1.
    pub alpha: f64,
    /// Whether densities are those of the column scaled to 0..1.
    pub unit_free: bool,
    /// Points kept of each column's distribution, 64 to 1048576; 24 bytes each.
    pub resolution: u32,
}

impl Default for HbosParams {
    fn default() -> Self {
        Self {
            bins: 10,
            alpha: 0.1,
            unit_free: true,
            // A bin takes a tenth of the range; more points cost time and do not move its share.
            resolution: 1024,
        }
    }
}

impl Params for HbosParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("bins", self.bins, 2..=1024)
            .range("alpha", self.alpha, 1e-6..=1.0)
            .range("resolution", self.resolution, 64..=1_048_576);
        checks.finish()
    }
}

/// The detector; see [`HbosParams`].
#[derive(Clone, Debug)]
pub struct Hbos {
    params: HbosParams,
}

impl Detector for Hbos {
    type Params = HbosParams;
    /// The distribution of each numeric column.
    type State = Vec<QuantileSketch>;
    type Model = ColumnScores<HistogramTable>;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "hbos",
        family: Family::Tabular,
        summary: "records with values where few others are",
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
        ColumnScores::compile(&state, |column| {
            HistogramTable::new(
                column,
                self.params.bins as usize,
                self.params.alpha,
                self.params.unit_free,
            )
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
