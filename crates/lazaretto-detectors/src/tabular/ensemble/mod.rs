//! `tabular-ensemble`: the default detector of unusual records.

mod members;
mod neighbors;
mod rarity;
mod surprise;
mod vote;

pub(crate) use neighbors::NeighborSearch;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tabular::column_scale::{BLOCK_ROWS, looks_like_vectors};
use crate::tabular::ensemble::members::{Members, Setting};
use crate::tabular::ensemble::surprise::Surprise;
use crate::tabular::ensemble::vote::Vote;
use crate::tabular::record_sample::{Places, RecordSample, Records, Sample, widths};

/// With fewer records, there is no bulk to stand out from.
const MIN_ROWS: usize = 16;
/// Records of the sample on which scores are put on one scale.
const CALIBRATION_ROWS: usize = 4096;

/// Scores each record by what several detectors of different kinds agree on.
///
/// # What it finds
/// Unusual records of any kind: extreme values, rare values, unusual combinations, records far
/// from all others or outside the shape of the bulk. Numbers, categories and both together; the
/// vectors of a dataset that has nothing else.
///
/// # Why it matters
/// Which detector is right depends on the data, and without labels nobody knows which. In the
/// 57 sets of `ADBench` each single one is poor on some; the agreement of different kinds
/// is seldom bad.
///
/// # How it works
/// Members are fitted to a sample of the records, chosen by keyed hash, and vote in families:
/// - margins: an isolation forest, the tails of each column (ECOD) and the rarity of each value
///   (histograms for numbers, frequencies for categories)
/// - distance: the mean distance to the nearest records of the sample, itself excluded
/// - covariance: the Mahalanobis distance under a robust covariance (see `robust-mahalanobis`)
/// - pairs, where there are categories: combinations of values that almost never occur together
///   (see `conditional-frequency`)
///
/// Every score becomes a surprise, `−ln` of the probability of a score as high; members are
/// averaged within their family, and so are the first three families after the same step. A
/// family counts by the square of its mean correlation with the other two, so one that
/// contradicts them is not heard. Pairs see what the others cannot: they are joined by the
/// harmonic mean of the two probabilities, which is about the smaller one. Columns are scaled by their standard deviation
/// without the influence of far values, and values beyond 5 of them grow logarithmically.
/// More than 512 columns are projected to 512 for distances and covariances. A missing value is
/// an ordinary one for every member but the rarity, infinite values are extreme ones, constant
/// columns are left out. Vectors, and 128 or more columns that look
/// like the parts of one, get one scale for all parts, a mixture of Gaussians (see `gmm-density`)
/// in the covariance family, and no margins.
///
/// On 21 `ADBench` sets the mean AUROC is 0.76, of single detectors 0.74 (isolation forest),
/// 0.73 (nearest neighbours, ECOD), 0.74 (minimum covariance determinant).
///
/// # Parameters
/// - `sample_rows` (16384): records that members are fitted to. It is lowered when the memory
///   given to the run does not hold that many.
/// - `neighbors` (40): nearest records whose distances are averaged; at most half of the sample.
///
/// # False positives
/// Records that are rightly unusual: the largest customer, the only one from a small country. The
/// calibration is against the bulk of the dataset's own scores.
///
/// # Limits
/// It says that a record is unusual, not why. A dense group of planted records is not unusual
/// once it has more than about `neighbors` members; see `duplicates` and `tight-cluster`. In
/// large datasets neighbours are searched among fewer records of the sample (about 1,000 of
/// 1,000,000 × 32), which sees broad structure only. It abstains with fewer than 16 records or
/// when every column is constant.
///
/// # Example
/// ```toml
/// [parameters.tabular-ensemble]
/// sample_rows = 32768
/// ```
///
/// # References
/// - Aggarwal, Sathe: Theoretical foundations and algorithms for outlier ensembles, SIGKDD
///   Explorations 2015, <https://doi.org/10.1145/2830544.2830549>.
/// - Rayana, Akoglu: Less is more: building selective anomaly ensembles, TKDD 2016,
///   <https://arxiv.org/abs/1501.01924>.
/// - Han, Hu, Huang, Jiang, Zhao: `ADBench`, `NeurIPS` 2022, <https://arxiv.org/abs/2206.09426>.
/// - Members: see `isolation-forest`, `ecod`, `hbos`, `knn-distance`, `robust-mahalanobis`,
///   `conditional-frequency`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TabularEnsembleParams {
    /// Records that members are fitted to, 1024 to 262144.
    pub sample_rows: u32,
    /// Nearest records whose distances are averaged, 1 to 256.
    pub neighbors: u32,
}

impl Default for TabularEnsembleParams {
    fn default() -> Self {
        Self {
            sample_rows: 16_384,
            neighbors: 40,
        }
    }
}

impl Params for TabularEnsembleParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("sample_rows", self.sample_rows, 1024..=262_144)
            .range("neighbors", self.neighbors, 1..=256);
        checks.finish()
    }
}

/// The detector; see [`TabularEnsembleParams`].
#[derive(Clone, Debug)]
pub struct TabularEnsemble {
    params: TabularEnsembleParams,
}

impl Detector for TabularEnsemble {
    type Params = TabularEnsembleParams;
    type State = RecordSample;
    type Model = TabularEnsembleModel;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "tabular-ensemble",
        family: Family::Tabular,
        summary: "records that detectors of different kinds agree are unusual",
        score_kind: ScoreKind::Statistical,
        by_default: true,
        fit_roles: &[Role::Numeric, Role::Categorical, Role::Embedding],
        score_roles: &[Role::Numeric, Role::Categorical, Role::Embedding],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if widths(facts) == (0, 0) {
            return Err(NotApplicable::new(
                "no numeric or categorical column and no embedding",
            ));
        }
        Ok(())
    }

    fn start(&self, context: &FitContext) -> Self::State {
        // The other half is for the copies that the members keep.
        let memory = context.memory_bytes / 2;
        RecordSample::new(
            self.params.sample_rows as usize,
            widths(&context.facts),
            memory,
        )
    }

    fn fit(&self, _context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        state.insert(batch, Records::of(batch));
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
        let facts = &context.facts;
        let setting = Setting {
            n_rows: facts.n_rows,
            neighbors: self.params.neighbors as usize,
            vectors: facts.numeric_columns.is_empty() && facts.categorical_columns.is_empty(),
            memory_bytes: context.memory_bytes / 4,
            seed: context.seed,
        };
        let sample = state.finish();
        let setting = Setting {
            vectors: setting.vectors
                || sample.categories.ncols() == 0 && looks_like_vectors(&sample),
            ..setting
        };
        TabularEnsembleModel::fit(&sample, setting)
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
        let records = Records::of(batch);
        if records.widths() != model.widths {
            return scores;
        }
        scores
            .par_chunks_mut(BLOCK_ROWS)
            .enumerate()
            .for_each(|(block_idx, scores)| {
                let first_row = block_idx * BLOCK_ROWS;
                let rows = first_row..first_row + scores.len();
                let own: Vec<Option<u32>> = rows
                    .map(|row| model.places.of(batch.ordinal(row)))
                    .collect();
                model.score(&records, first_row, &own, scores);
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

/// The fitted members with their scales and weights.
#[derive(Debug)]
pub struct TabularEnsembleModel {
    members: Members,
    vote: Vote,
    places: Places,
    widths: (usize, usize),
}

impl TabularEnsembleModel {
    fn fit(sample: &Sample, setting: Setting) -> Result<Self, NotApplicable> {
        let n_rows = sample.n_rows();
        if n_rows < MIN_ROWS {
            return Err(NotApplicable::new(format!(
                "{n_rows} records with values, at least {MIN_ROWS} are needed"
            )));
        }
        let mut members = Members::fit(sample, setting);
        let raw = scores_of(&members, sample);
        let keep: Vec<bool> = raw
            .iter()
            .map(|scores| !Surprise::fit(scores).is_constant())
            .collect();
        members.retain(&keep);
        let mut keep = keep.iter();
        let mut raw = raw;
        raw.retain(|_| keep.next().is_some_and(|&keep| keep));
        if members.all().is_empty() {
            return Err(NotApplicable::new("every column is constant"));
        }
        Ok(Self {
            vote: Vote::fit(members.all(), &raw),
            members,
            places: sample.places.clone(),
            widths: (sample.numbers.ncols(), sample.categories.ncols()),
        })
    }

    fn score(
        &self,
        records: &Records<'_>,
        first_row: usize,
        own: &[Option<u32>],
        scores: &mut [f32],
    ) {
        let raw = self.members.score(records, first_row, own);
        self.vote.combine(&raw, scores);
        for (score, row) in scores.iter_mut().zip(first_row..) {
            if !records.has_value(row) {
                *score = f32::NAN;
            }
        }
    }
}

/// The raw scores of the first records of the sample, one vector per member.
fn scores_of(members: &Members, sample: &Sample) -> Vec<Vec<f32>> {
    let n_rows = sample.n_rows().min(CALIBRATION_ROWS);
    let categories = sample.columns_of_categories();
    let records = sample.records(&categories);
    let blocks: Vec<Vec<Vec<f32>>> = (0..n_rows.div_ceil(BLOCK_ROWS))
        .into_par_iter()
        .map(|block| {
            let first_row = block * BLOCK_ROWS;
            let last_row = (first_row + BLOCK_ROWS).min(n_rows);
            let own: Vec<Option<u32>> = (first_row..last_row).map(|row| Some(row as u32)).collect();
            members.score(&records, first_row, &own)
        })
        .collect();
    let mut raw = vec![Vec::with_capacity(n_rows); members.all().len()];
    for block in blocks {
        for (all, scores) in raw.iter_mut().zip(block) {
            all.extend(scores);
        }
    }
    raw
}
