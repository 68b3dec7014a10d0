//! `isolation-forest`: records that few random cuts separate from the rest.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tabular::forest::Forest;
use crate::tabular::sample::{RowSample, Rows, width};

/// With fewer records than this, every record is isolated by a handful of cuts.
const MIN_ROWS: usize = 32;

/// Rows scored together: their values, row by row, stay in a core's cache.
const BLOCK_ROWS: usize = 512;

/// Scores each record by how few random cuts isolate it.
///
/// # What it finds
/// Records with values, or combinations of values, that lie outside the mass of the data: a
/// number out of range, a pair of numbers that never occur together.
///
/// # Why it matters
/// Availability attacks and broken imports put records at the border of feature space, where
/// each of them moves a model more than many ordinary records do.
///
/// # How it works
/// `trees` trees are grown, each from `sample_size` records. A tree cuts a random column at a
/// random point between the smallest and the largest value present, until records are alone or
/// the tree is `log2(sample_size)` deep. Records that end in a leaf after few cuts are unusual.
/// The score is `2^(−E[path length] / c(sample_size))` as in the paper: about 0.5 for ordinary
/// records, towards 1 for isolated ones. It looks at the numeric columns, or at the embedding
/// where there is no numeric column. Trees grow from a sample chosen by keyed hash, so the same
/// seed gives the same forest on any number of machines. A missing value takes either
/// branch of a cut as often as the sample does and so counts as ordinary; infinite values count
/// as very large numbers.
///
/// # Parameters
/// - `trees` (100): more trees make scores steadier; time grows in proportion.
/// - `sample_size` (256): records per tree. Larger samples see finer structure but hide groups of
///   similar outliers behind each other.
///
/// # False positives
/// Long-tailed columns (amounts, counts) have legitimate extreme records, which score high. The
/// calibration is against the bulk of the dataset, so heavy tails reduce what is reported.
///
/// # Limits
/// Cuts are parallel to the axes: outliers inside the range of every column, off a diagonal, are
/// seen weakly. In embeddings with hundreds of dimensions single cuts say little; prefer
/// `knn-distance` there. Values are held in single precision, about 7 digits. It does not look at texts or categories. It abstains with fewer than 32
/// records. Records whose values are all missing get no score.
///
/// # Example
/// A sensor table where five rows have a temperature of −40 at a pressure seen only in summer:
/// neither value is rare, together they are.
/// ```toml
/// [parameters.isolation-forest]
/// trees = 200
/// ```
///
/// # References
/// - Liu, Ting, Zhou: Isolation forest, ICDM 2008, <https://doi.org/10.1109/ICDM.2008.17>.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IsolationForestParams {
    /// Number of trees, 1 to 1000.
    pub trees: u32,
    /// Number of records each tree is grown from, 8 to 4096.
    pub sample_size: u32,
}

impl Default for IsolationForestParams {
    fn default() -> Self {
        Self {
            trees: 100,
            sample_size: 256,
        }
    }
}

impl Params for IsolationForestParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("trees", self.trees, 1..=1000).range(
            "sample_size",
            self.sample_size,
            8..=4096,
        );
        checks.finish()
    }
}

/// The detector; see [`IsolationForestParams`].
#[derive(Clone, Debug)]
pub struct IsolationForest {
    params: IsolationForestParams,
}

impl IsolationForest {
    /// Records kept for growing trees from: enough that 100 trees of 256 seldom see the same
    /// record more than a few times, within the memory given.
    fn pool_capacity(&self, context: &FitContext) -> usize {
        let width = width(&context.facts).max(1);
        let wanted = (self.params.sample_size as usize * 16).max(4096);
        let affordable = context.memory_bytes / (width * size_of::<f32>());
        wanted.min(affordable).max(self.params.sample_size as usize)
    }
}

impl Detector for IsolationForest {
    type Params = IsolationForestParams;
    type State = RowSample<f32>;
    type Model = Forest;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "isolation-forest",
        family: Family::Tabular,
        summary: "records that few random cuts separate from the rest",
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
        RowSample::new(self.pool_capacity(context))
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
        context: &FitContext,
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
        Ok(Forest::grow(
            sample.view(),
            self.params.trees as usize,
            self.params.sample_size as usize,
            context.seed,
        ))
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
                let block = rows.block(block_idx * BLOCK_ROWS, scores.len());
                model.score(&block, scores);
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
