//! `robust-mahalanobis`: distance from the bulk in the metric of its own covariance.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tabular::column_scale::{BLOCK_ROWS, Coordinates, widen};
use crate::tabular::record_sample::{RecordSample, Records, Sample, number_widths};
use crate::tabular::robust_covariance::{Ellipsoid, Shrinkage};

/// With fewer records, half of them determine no covariance worth the name.
const MIN_ROWS: usize = 16;

/// Scores each record by its distance from the bulk of the records, in the metric of the bulk's
/// covariance.
///
/// # What it finds
/// Records outside the shape of the cloud: extreme in a direction in which the others hardly
/// vary, such as a weight that does not go with the height, though both are ordinary.
///
/// # Why it matters
/// Linear models, scalers and covariances are pulled most by such records. Groups of planted
/// records at one place hide from a covariance that they were part of; not from a robust one.
///
/// # How it works
/// The minimum covariance determinant: the half of a sample of the records whose covariance has
/// the smallest determinant gives centre and covariance, found by concentration steps from three
/// deterministic starts and then re-weighted by all records that lie within the ellipsoid. The
/// score is the Mahalanobis distance. With few records per column, and for embeddings, the
/// covariance is shrunk towards a multiple of the identity. Columns are first scaled by a standard deviation
/// without the influence of far values; values beyond 5 of them grow logarithmically; more than
/// 512 columns are projected to 512. A missing value counts as the mean of its column, an infinite
/// one as extreme; constant columns are left out. Without numeric columns it looks at the
/// embedding.
///
/// # Parameters
/// - `sample_rows` (8192): records the covariance is estimated from, chosen by keyed hash. It is
///   lowered when the memory given to the run does not hold that many.
/// - `shrink_below` (6): with fewer records of the half per column than this, the covariance is
///   shrunk; 0 never, as in scikit-learn's `MinCovDet`. In samples of 21 datasets shrinking gains
///   0.005 to 0.025 AUROC on average at 2 to 5 records per column and less than 0.005 at 6 to 12;
///   on single sets it decides (0.90 shrunk, 0.94 not, on scikit-learn's breast cancer at 7
///   records per column). Embeddings are always shrunk.
///
/// # False positives
/// In data of several clusters the half of the records may be one of them, and everybody else is
/// far away. Indicators that are rarely on make whoever has two of them look far.
///
/// # Limits
/// One ellipsoid: no gaps in the middle, no clusters (see `gmm-density` and `knn-distance`). More
/// than half of the records must be ordinary. It abstains with fewer than 16 records or when every
/// column is constant.
///
/// # Example
/// ```toml
/// [parameters.robust-mahalanobis]
/// sample_rows = 32768
/// ```
///
/// # References
/// - Rousseeuw, Van Driessen: A fast algorithm for the minimum covariance determinant estimator,
///   Technometrics 1999, <https://doi.org/10.1080/00401706.1999.10485670>.
/// - Hubert, Rousseeuw, Verdonck: A deterministic algorithm for robust location and scatter, JCGS
///   2012, <https://doi.org/10.1080/10618600.2012.672100>.
/// - Boudt, Rousseeuw, Vanduffel, Verdonck: The minimum regularized covariance determinant
///   estimator, Statistics and Computing 2020, <https://arxiv.org/abs/1701.07086>.
/// - Chen, Wiesel, Eldar, Hero: Shrinkage algorithms for MMSE covariance estimation, IEEE TSP
///   2010, <https://arxiv.org/abs/0907.4698>.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RobustMahalanobisParams {
    /// Records the covariance is estimated from, 256 to 262144.
    pub sample_rows: u32,
    /// Records of the half per column below which the covariance is shrunk, 0 to 1000000.
    pub shrink_below: f64,
}

impl Default for RobustMahalanobisParams {
    fn default() -> Self {
        Self {
            sample_rows: 8192,
            shrink_below: 6.0,
        }
    }
}

impl Params for RobustMahalanobisParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("sample_rows", self.sample_rows, 256..=262_144)
            .range("shrink_below", self.shrink_below, 0.0..=1e6);
        checks.finish()
    }
}

/// The detector; see [`RobustMahalanobisParams`].
#[derive(Clone, Debug)]
pub struct RobustMahalanobis {
    params: RobustMahalanobisParams,
}

impl Detector for RobustMahalanobis {
    type Params = RobustMahalanobisParams;
    type State = RecordSample;
    type Model = RobustMahalanobisModel;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "robust-mahalanobis",
        family: Family::Tabular,
        summary: "records outside the ellipsoid of the bulk",
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
        if number_widths(facts).0 == 0 {
            return Err(NotApplicable::new("no numeric column and no embedding"));
        }
        Ok(())
    }

    fn start(&self, context: &FitContext) -> Self::State {
        let widths = number_widths(&context.facts);
        // The other half is for the coordinates.
        let memory = context.memory_bytes / 2;
        RecordSample::new(self.params.sample_rows as usize, widths, memory)
    }

    fn fit(&self, _context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        state.insert(batch, Records::numbers_of(batch));
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.merge(later);
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let vectors = context.facts.numeric_columns.is_empty();
        let shrinkage = if vectors {
            // The parts of a vector share one unit, which is what the identity stands for.
            Shrinkage::Always
        } else {
            Shrinkage::Below(self.params.shrink_below)
        };
        RobustMahalanobisModel::fit(&state.finish(), vectors, shrinkage, context.seed)
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
        let records = Records::numbers_of(batch);
        if records.widths().0 != model.width {
            return scores;
        }
        scores
            .par_chunks_mut(BLOCK_ROWS)
            .enumerate()
            .for_each(|(block_idx, scores)| {
                let first_row = block_idx * BLOCK_ROWS;
                let coordinates = model.coordinates.of(&records, first_row, scores.len());
                let squared = model
                    .ellipsoid
                    .squared_distances(widen(coordinates.view()).view());
                for ((score, squared), row) in scores.iter_mut().zip(squared).zip(first_row..) {
                    if records.has_value(row) {
                        *score = squared.sqrt() as f32;
                    }
                }
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

/// The ellipsoid of the bulk, in scaled coordinates.
#[derive(Debug)]
pub struct RobustMahalanobisModel {
    coordinates: Coordinates,
    ellipsoid: Ellipsoid,
    width: usize,
}

impl RobustMahalanobisModel {
    fn fit(
        sample: &Sample,
        vectors: bool,
        shrinkage: Shrinkage,
        seed: u64,
    ) -> Result<Self, NotApplicable> {
        let n_rows = sample.n_rows();
        if n_rows < MIN_ROWS {
            return Err(NotApplicable::new(format!(
                "{n_rows} records with values, at least {MIN_ROWS} are needed"
            )));
        }
        let constant = || NotApplicable::new("every numeric column is constant");
        let coordinates = Coordinates::fit(sample, vectors, seed).ok_or_else(constant)?;
        let rows = coordinates.of_sample(sample, n_rows);
        let ellipsoid = Ellipsoid::robust(widen(rows.view()).view(), shrinkage)
            .ok_or_else(|| NotApplicable::new("more than half of the records are the same"))?;
        Ok(Self {
            coordinates,
            ellipsoid,
            width: sample.numbers.ncols(),
        })
    }
}
