//! `pca-reconstruction`: records off the axes along which the columns vary together.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tabular::principal_components::{Distance, PrincipalComponents};
use crate::tabular::sample::{RowSample, Rows, width};
use crate::tabular::standardised::BLOCK_ROWS;

/// With fewer records than this, components are chance.
const MIN_ROWS: usize = 32;

/// Columns that are decomposed at most: time grows with their third power, 2,048 take seconds.
const MAX_COLUMNS: usize = 2048;

/// Scores each record by its distance from the centre along the principal components, measured in
/// what is usual along each.
///
/// # What it finds
/// Records that break the way in which columns go together: a weight that does not follow from the
/// height, a total that is not the sum. Records far from the centre in many columns.
///
/// # Why it matters
/// Records that are off the axes of the data have leverage: they turn the axes, and with them
/// every linear model, more than any number of ordinary records.
///
/// # How it works
/// The columns are standardised (mean 0, variance 1) and decomposed into principal components.
/// The score is the sum, over the components, of the squared projection of the record divided by
/// the variance along the component: a step along which the data hardly varies counts more than a
/// long way along the main axis. Components with less than a billionth of the largest variance
/// are rounding and left out. Means, variances and components come from `sample_rows` records
/// chosen by keyed hash (all of them in smaller datasets); every record is scored. It looks at the
/// numeric columns, or at the embedding where there is no numeric column.
///
/// `PyOD`'s PCA adds up the Euclidean distances to the tips of the components' unit vectors
/// instead, which hardly depend on the direction: records that break a correlation inside the
/// range of every column rank *below* ordinary ones there (AUROC 0.30, here 0.99, in our tests).
/// `pyod_score = true` gives that score.
///
/// A missing value counts as what is usual, so it makes a record neither more nor less suspicious. Infinite values are a million
/// standard deviations out. Constant columns are left out. A record without any number gets no
/// score.
///
/// # Parameters
/// - `sample_rows` (32768): records the components are computed from. It is lowered when the
///   memory given to the run does not hold that many.
/// - `pyod_score` (false): whether to score as `PyOD` does.
///
/// # False positives
/// Long-tailed columns put legitimate records far out; a logarithm before the scan helps. The
/// calibration is against the bulk of the dataset.
///
/// # Limits
/// Mean and variance are not robust: a dense group of poison far out widens the scale it is
/// measured with (see `robust-mahalanobis`). With hardly more records than columns every record is
/// as far out as any other. Several clusters are seen as one cloud (see `isolation-forest`, `knn-distance`).
/// It abstains with fewer than 32 records, when every column is constant, and with more than 2,048
/// columns that vary.
///
/// # Example
/// Height and weight rise together; a record with the smallest height and the largest weight comes
/// first though each value occurs.
/// ```toml
/// [parameters.pca-reconstruction]
/// sample_rows = 100000
/// ```
///
/// # References
/// - Shyu, Chen, Sarinnapakorn, Chang: A novel anomaly detection scheme based on principal
///   component classifier, ICDM foundation workshop 2003: the sum over the major and the minor
///   components.
/// - Aggarwal: Outlier analysis, Springer 2017, section 3.3, for `PyOD`'s score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PcaReconstructionParams {
    /// Records that the components are computed from, 256 to 1048576; 8 bytes per value.
    pub sample_rows: u32,
    /// Whether to add up distances to unit vectors, as `PyOD` does.
    pub pyod_score: bool,
}

impl Default for PcaReconstructionParams {
    fn default() -> Self {
        Self {
            sample_rows: 32_768,
            pyod_score: false,
        }
    }
}

impl Params for PcaReconstructionParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("sample_rows", self.sample_rows, 256..=1_048_576);
        checks.finish()
    }
}

/// The detector; see [`PcaReconstructionParams`].
#[derive(Clone, Debug)]
pub struct PcaReconstruction {
    params: PcaReconstructionParams,
}

impl Detector for PcaReconstruction {
    type Params = PcaReconstructionParams;
    type State = RowSample<f64>;
    type Model = PrincipalComponents;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "pca-reconstruction",
        family: Family::Tabular,
        summary: "records off the axes along which the columns vary together",
        score_kind: ScoreKind::Statistical,
        by_default: false,
        fit_roles: &[Role::Numeric, Role::Embedding],
        score_roles: &[Role::Numeric, Role::Embedding],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if width(facts) == 0 {
            return Err(NotApplicable::new("no numeric column and no embedding"));
        }
        Ok(())
    }

    fn start(&self, context: &FitContext) -> Self::State {
        // The sample holds up to twice its size before it is cut back.
        let bytes_per_row = 2 * size_of::<f64>() * width(&context.facts).max(1);
        let affordable = context.memory_bytes / bytes_per_row;
        RowSample::new(affordable.min(self.params.sample_rows as usize).max(256))
    }

    fn fit(&self, _context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        if let Some(rows) = Rows::of(batch) {
            state.insert(batch, rows);
        }
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.merge(later);
    }

    fn model(
        &self,
        _context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let sample = state.into_matrix();
        if sample.nrows() < MIN_ROWS {
            return Err(NotApplicable::new(format!(
                "{} records with values, at least {MIN_ROWS} are needed",
                sample.nrows()
            )));
        }
        let distance = if self.params.pyod_score {
            Distance::UnitVectors
        } else {
            Distance::Mahalanobis
        };
        PrincipalComponents::of(sample.view(), MAX_COLUMNS, distance)
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![f32::NAN; batch.n_rows()];
        let Some(rows) = Rows::of(batch).filter(|rows| rows.width() == model.width()) else {
            return scores;
        };
        scores
            .par_chunks_mut(BLOCK_ROWS)
            .enumerate()
            .for_each(|(block_idx, scores)| {
                model.score(&rows, block_idx * BLOCK_ROWS, scores);
            });
        scores
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
