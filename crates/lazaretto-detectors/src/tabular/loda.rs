//! `loda`: records where the data is thin along random directions.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tabular::random_cuts::{RandomCuts, rice_bins};
use crate::tabular::sample::{RowSample, Rows, width};
use crate::tabular::standardised::BLOCK_ROWS;

/// With fewer records than this, histograms are chance.
const MIN_ROWS: usize = 32;

/// Separates the directions from the other draws of a run.
const STREAM: u64 = 0x6c6f_6461;

/// Scores each record by how thin the data is around it along random directions.
///
/// # What it finds
/// Records outside the mass of the data: extreme in a column or in a mixture of a few columns, or
/// in a gap between groups.
///
/// # Why it matters
/// It costs little, has nothing to tune, works on any number of columns, and what it sees differs
/// from what trees or tails see, which is what an ensemble needs.
///
/// # How it works
/// The columns that vary are standardised. Each of `cuts` random directions mixes √d of the d
/// columns with normal weights; a histogram of `bins` bins says how the records of the sample are
/// spread along it. The score is the mean over the directions of the negative logarithm of the
/// share of the record's bin. Histograms come from `sample_rows` records chosen by keyed hash (all
/// of them in smaller datasets); every record is scored. It looks at the numeric columns, or at
/// the embedding where there is no numeric column.
///
/// A record with missing values is judged by the directions that need none of them; without any
/// such direction it gets no score. Infinite values lie outside every histogram, which counts like
/// half a record. Constant columns are left out.
///
/// # Parameters
/// - `cuts` (100): random directions. More make scores steadier; time grows in proportion.
/// - `bins` (0): bins per histogram; 0 takes twice the cube root of the number of sampled records,
///   5 to 200.
/// - `sample_rows` (32768): records the histograms are made from. It is lowered when the memory
///   given to the run does not hold that many.
///
/// # False positives
/// Long-tailed columns put legitimate records into thin bins. The calibration is against the bulk
/// of the dataset.
///
/// # Limits
/// With equal bins, one value far out squeezes everybody else into one bin of the directions that
/// use its column. A relation between two columns is seen by the few directions that mix both
/// (see `pca-reconstruction`). It abstains with fewer than 32 records and when every column is
/// constant.
///
/// # Example
/// ```toml
/// [parameters.loda]
/// cuts = 500
/// ```
///
/// # References
/// - Pevný: Loda: lightweight on-line detector of anomalies, Machine Learning 2016,
///   <https://doi.org/10.1007/s10994-015-5521-0>.
/// - The number of bins is the Rice rule (Terrell, Scott 1985) in place of the paper's penalised
///   likelihood. `PyOD`'s LODA looks values up one bin beside their own and neither standardises nor
///   skips missing values; the tests compare with its histograms, looked up in the right bin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LodaParams {
    /// Random directions, 1 to 5000.
    pub cuts: u32,
    /// Bins per histogram, 0 (chosen from the number of records) to 1024.
    pub bins: u32,
    /// Records that the histograms are made from, 256 to 1048576; 8 bytes per value.
    pub sample_rows: u32,
}

impl Default for LodaParams {
    fn default() -> Self {
        Self {
            cuts: 100,
            bins: 0,
            sample_rows: 32_768,
        }
    }
}

impl Params for LodaParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("cuts", self.cuts, 1..=5000)
            .range("bins", self.bins, 0..=1024)
            .range("sample_rows", self.sample_rows, 256..=1_048_576);
        checks.finish()
    }
}

/// The detector; see [`LodaParams`].
#[derive(Clone, Debug)]
pub struct Loda {
    params: LodaParams,
}

impl Detector for Loda {
    type Params = LodaParams;
    type State = RowSample<f64>;
    type Model = RandomCuts;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "loda",
        family: Family::Tabular,
        summary: "records where the data is thin along random directions",
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
        let n_bins = match self.params.bins {
            0 => rice_bins(sample.nrows()),
            given => given as usize,
        };
        let n_cuts = self.params.cuts as usize;
        let cuts = RandomCuts::of(sample.view(), n_cuts, n_bins, context.seed ^ STREAM);
        if cuts.is_empty() {
            return Err(NotApplicable::new("every column is constant"));
        }
        Ok(cuts)
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
