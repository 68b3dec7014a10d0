//! `conditional-frequency`: records whose values do not go together.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tabular::pair_table::PairTable;
use crate::tabular::record_sample::{Places, RecordSample, Records, Sample, widths};

/// With fewer records, what goes together cannot be counted.
const MIN_ROWS: usize = 50;

/// Rows scored together.
const BLOCK_ROWS: usize = 2048;

/// Scores each record by pairs of its values that almost never occur together.
///
/// # What it finds
/// Records that contradict themselves: `relationship` = Husband with `sex` = Female, a bachelor's
/// degree with nine years of school, a child of 71. Each value is ordinary on its own.
///
/// # Why it matters
/// Shuffled columns, joins that went wrong and records made up by somebody who knows every
/// column but not how they hang together look like this. So do value combinations planted as a
/// trigger.
///
/// # How it works
/// Every column becomes a small number of codes: the 64 most frequent values of a category and
/// one code for the rest, the numbers of a column with up to 24 distinct ones, 12 bins of equal
/// frequency otherwise, and one code for null. For each pair of columns the occurrences of each
/// combination are counted in a sample of the records, chosen by keyed hash. The strength of a
/// combination is `ln((e + 1) / (n + 1))` where it occurs `n` times and independence lets expect
/// `e` times, and 0 where it is positive the other way round: a combination that was expected 200
/// times and never occurs counts much, one that was expected twice little. The score is the
/// square root of the sum of the squared strengths over all pairs. A record of the sample does
/// not count itself.
///
/// # Parameters
/// - `sample_rows` (65536): records that are counted. It is lowered when the memory given to the
///   run does not hold that many.
///
/// # False positives
/// Rare but true combinations: the only female husband of a census is first. Columns that were
/// merged from two sources have combinations that only occur in one of them.
///
/// # Limits
/// Pairs only: a contradiction of three values, of which every two go together, goes unnoticed.
/// At most 48 columns take part, categories first, then numbers in their order. Values seen less
/// often than about five times as often as the sample has combinations cannot contradict
/// anything. A category with another value in (almost) every record is left out. It abstains
/// with fewer than 50 records or two usable columns.
///
/// # Example
/// On census records of which 1 % had values exchanged between persons, the AUROC is 0.98; the
/// frequency of single values gives 0.53.
/// ```toml
/// [parameters.conditional-frequency]
/// sample_rows = 262144
/// ```
///
/// # References
/// - Das, Schneider: Detecting anomalous records in categorical datasets, KDD 2007,
///   <https://doi.org/10.1145/1281192.1281219>: the ratio of joint to expected frequency of
///   subsets of columns, here for pairs and summed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConditionalFrequencyParams {
    /// Records that are counted, 1024 to 4194304.
    pub sample_rows: u32,
}

impl Default for ConditionalFrequencyParams {
    fn default() -> Self {
        Self {
            sample_rows: 65_536,
        }
    }
}

impl Params for ConditionalFrequencyParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("sample_rows", self.sample_rows, 1024..=4_194_304);
        checks.finish()
    }
}

/// The detector; see [`ConditionalFrequencyParams`].
#[derive(Clone, Debug)]
pub struct ConditionalFrequency {
    params: ConditionalFrequencyParams,
}

impl Detector for ConditionalFrequency {
    type Params = ConditionalFrequencyParams;
    type State = RecordSample;
    type Model = ConditionalFrequencyModel;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "conditional-frequency",
        family: Family::Tabular,
        summary: "records with pairs of values that almost never occur together",
        score_kind: ScoreKind::Statistical,
        by_default: false,
        fit_roles: &[Role::Numeric, Role::Categorical],
        score_roles: &[Role::Numeric, Role::Categorical],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if facts.numeric_columns.len() + facts.categorical_columns.len() < 2 {
            return Err(NotApplicable::new(
                "fewer than two numeric or categorical columns",
            ));
        }
        Ok(())
    }

    fn start(&self, context: &FitContext) -> Self::State {
        // The tables take the other half.
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
        ConditionalFrequencyModel::fit(&state.finish(), context.memory_bytes / 2)
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
                let sampled: Vec<bool> = rows
                    .clone()
                    .map(|row| model.places.of(batch.ordinal(row)).is_some())
                    .collect();
                model.pairs.score(&records, first_row, &sampled, scores);
                for (score, row) in scores.iter_mut().zip(rows) {
                    if !records.has_value(row) {
                        *score = f32::NAN;
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

/// The counted pairs, and which records were counted.
#[derive(Debug)]
pub struct ConditionalFrequencyModel {
    pairs: PairTable,
    places: Places,
    widths: (usize, usize),
}

impl ConditionalFrequencyModel {
    fn fit(sample: &Sample, memory_bytes: usize) -> Result<Self, NotApplicable> {
        let n_rows = sample.n_rows();
        if n_rows < MIN_ROWS {
            return Err(NotApplicable::new(format!(
                "{n_rows} records with values, at least {MIN_ROWS} are needed"
            )));
        }
        let pairs = PairTable::fit(sample, memory_bytes)
            .ok_or_else(|| NotApplicable::new("fewer than two columns with values that repeat"))?;
        Ok(Self {
            pairs,
            places: sample.places.clone(),
            widths: (sample.numbers.ncols(), sample.categories.ncols()),
        })
    }
}
