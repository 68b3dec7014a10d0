//! `value-profile`: values that do not belong into their column.

mod broken;
mod constants;
mod extremes;
mod findings;
mod missing;
#[cfg(test)]
mod review_tests;
mod reviews;
#[cfg(test)]
mod tests;
mod types;
mod variants;
mod vocabulary;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cells::{CellSample, Layout};
use super::resemblance::Population;
use extremes::{Extremes, Range};
use findings::ProfileEvidence;
use missing::MissingCounts;
use reviews::Review;
use types::Kinds;
use vocabulary::{Stray, Vocabulary};

/// Fewer records than this have no profile.
const MIN_ROWS: u64 = 50;
/// Records of the sample that ranges and random handfuls are drawn from.
const SAMPLE_ROWS: usize = 20_000;

/// Finds values that do not belong into their column: numbers out of range, wrong signs, categories
/// of nothing or of another column. Remarks on missing values, types and spellings.
///
/// # What it finds
/// - `range`: numbers beyond a gap at an end of their column that is wide for how the column ends
///   otherwise, and negative numbers in a column that has none. Several foreign values at one end
///   are one finding.
/// - `foreign-value`: a category that is rare in several columns whose other values have nothing in
///   common, or one that belongs to another column.
///
/// Remarks, which are for review and hold nothing back:
/// - `missing`: columns whose missing values mark one class or one source.
/// - `empty-record`: few records that miss most columns where all others miss few.
/// - `mixed-type`: categorical columns of numbers, dates or words with a few values of another kind.
/// - `spelling`: values that are a frequent value but for case, spaces or one letter.
/// - `constant-column`: columns without values and columns of one value, all in one remark.
/// - `infinite`: infinite numbers, by column.
/// - `unusable-vector`: records without an embedding of the usual length, or with missing or infinite
///   parts, which no detector of vectors can judge.
///
/// # Why it matters
/// A few impossible values pull scalers and linear models, break bins and encoders, and are how
/// careless poison and broken imports look.
///
/// # How it works
/// The first pass counts the outermost 512 distinct numbers at each end of each column and all
/// categories, exactly. A gap is foreign when it is at least three times as wide as the mean excess
/// of the 5 % of values inside it, twice as wide as any of the ten gaps inside it and a
/// tenth of the range, and at most `max_share` of the values lie beyond. Long upper
/// tails are measured in logarithms as well, other heavy ones (returns) in logarithms of the distance
/// from the median, and both must agree. The p-value is
/// that of the spacing in an exponential tail whose scale is known as well as the sample tells it,
/// corrected for columns and ends. A wrong sign counts where half of the negative numbers lie further
/// below zero than the lowest positive ones let expect, so that a column whose lower end goes on below
/// zero has none; it and a foreign category are rules and stand at 0.001.
///
/// Natural data has all of that too: top codes, sentinels, sub-populations far out. What separates
/// written values from natural ones is the rest of the record. A natural extreme belongs to some kind
/// of record (a capital gain of 99999 to the rich), so its records differ from others in
/// other columns; a written value stands in records that are a random handful of the dataset. Only
/// groups of at least `min_records` records that are within 2.5 standard deviations of random
/// handfuls, in at least three other columns, are held back. Smaller groups, and groups within 4
/// standard deviations, are held back when two other groups of the dataset are. Of several gaps at
/// one end the innermost one counts whose records look random. Zeros alone below a positive column are a usual way to write
/// "missing" and are for review, as are groups that do not look random.
///
/// Remarks count everything exactly. A class or source (the first 256 and 4,096, and at most 2^20
/// counters over all columns) is named when it misses a column in at least 5 % and 20 of its
/// records, 20 times as often as the other records, with a Hoeffding-Chvátal bound on the
/// hypergeometric tail of at most 1e-6 over all columns and groups. Columns count for the group they
/// mark most clearly, and a group is one remark. Empty records miss half of at least eight columns,
/// or four of fewer, and twice as many as any other record; at most 1 % are. A column has one type when at most 2 % of its values
/// are written in another way, and one list of categories when values of 0.5 % or more cover 90 % of
/// it; a variant is 20 times (case, spaces) or 500 times (one letter of at least six) rarer than what
/// it resembles. The usual length of vectors is the most frequent one. Rules without a distribution state 0.001. A remark lists 10,000 records at most, that
/// on constant columns the first three for example.
///
/// # Parameters
/// - `min_records` (5): fewest records of a group that is held back on its own.
/// - `max_share` (0.02): largest share of a column that can be foreign.
/// - `alpha` (0.001): largest corrected p-value of a range.
///
/// # False positives
/// Sensor glitches and missing-value codes that hit records at random are what this looks for, though
/// nobody may have meant harm: look at the values, they are in the finding. A source that never
/// recorded a column is remarked on as well.
///
/// # Limits
/// Foreign values inside the range of their column, single wrong values, columns of fewer than ten
/// distinct numbers, categories that occur in one column only, and attackers who choose records of
/// one kind are not held back. Types and spellings need the text of the categories. Fewer than 50 records are not profiled.
///
/// # Example
/// "`age` is `999` (12 records) where the next highest value is `90`"
/// ```toml
/// [parameters.value-profile]
/// max_share = 0.01
/// ```
///
/// # References
/// - Rényi: On the theory of order statistics, 1953 (spacings of exponential samples).
/// - Abedjan, Golab, Naumann: Profiling relational data: a survey, VLDB Journal 2015.
/// - Chvátal: The tail of the hypergeometric distribution, Discrete Mathematics 1979.
/// - Breck, Polyzotis, Roy, Whang, Zinkevich: Data validation for machine learning, `MLSys` 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ValueProfileParams {
    /// Fewest records of a group that is held back on its own, 3 or more.
    pub min_records: u32,
    /// Largest share of a column that can be foreign, 0 to 0.1.
    pub max_share: f64,
    /// Largest corrected p-value of a range, 0 to 1.
    pub alpha: f64,
}

impl Default for ValueProfileParams {
    fn default() -> Self {
        Self {
            min_records: 5,
            max_share: 0.02,
            alpha: 0.001,
        }
    }
}

impl Params for ValueProfileParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("min_records", self.min_records, 3..=1_000_000)
            .range("max_share", self.max_share, 0.0..=0.1)
            .range("alpha", self.alpha, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`ValueProfileParams`].
#[derive(Clone, Debug)]
pub struct ValueProfile {
    params: ValueProfileParams,
}

/// What the fit pass keeps of the columns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProfileState {
    /// Of each numeric column.
    extremes: Vec<Extremes>,
    /// Of each categorical column.
    vocabularies: Vec<Vocabulary>,
    /// Of each categorical column.
    kinds: Vec<Kinds>,
    missing: MissingCounts,
    sample: CellSample,
    n_rows: u64,
}

/// Values that may not belong, and the population their records are compared with.
#[derive(Debug)]
pub struct ProfileModel {
    layout: Layout,
    ranges: Vec<Range>,
    strays: Vec<Stray>,
    /// Remarks, which hold nothing back.
    reviews: Vec<Review>,
    population: Population,
    /// Records of the sample.
    n_sampled: usize,
}

impl Detector for ValueProfile {
    type Params = ValueProfileParams;
    type State = ProfileState;
    type Model = ProfileModel;
    type Evidence = ProfileEvidence;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "value-profile",
        family: Family::Tabular,
        summary: "numbers out of range, foreign categories, odd missing values, types and spellings",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[Role::Numeric, Role::Categorical, Role::Label, Role::Source],
        score_roles: &[
            Role::Numeric,
            Role::Categorical,
            Role::Embedding,
            Role::Label,
            Role::Source,
        ],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 3,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if Layout::of(facts).width() == 0 && facts.embedding_dim.is_none() {
            return Err(NotApplicable::new(
                "no numeric or categorical column and no embedding",
            ));
        }
        Ok(())
    }

    fn start(&self, context: &FitContext) -> Self::State {
        let facts = &context.facts;
        let width = Layout::of(facts).width();
        let affordable = context.memory_bytes / (2 * CellSample::bytes_per_row(width));
        ProfileState {
            extremes: vec![Extremes::default(); facts.numeric_columns.len()],
            vocabularies: vec![Vocabulary::default(); facts.categorical_columns.len()],
            kinds: vec![Kinds::default(); facts.categorical_columns.len()],
            missing: MissingCounts::new(facts, width, context.memory_bytes / 8),
            sample: CellSample::new(affordable.min(SAMPLE_ROWS)),
            n_rows: 0,
        }
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let layout = Layout::of(&context.facts);
        let mut cells = Vec::with_capacity(layout.width());
        state.n_rows += batch.n_rows() as u64;
        for row_idx in 0..batch.n_rows() {
            if layout.read(batch, row_idx, &mut cells) {
                state.sample.insert(batch, row_idx, &cells);
                state.missing.insert(batch, row_idx, &cells);
            }
        }
        if let Some(numeric) = batch.numeric {
            for (extremes, column) in state.extremes.iter_mut().zip(numeric.columns()) {
                column.iter().for_each(|&value| extremes.insert(value));
            }
        }
        let n_columns = state.vocabularies.len().min(batch.categorical.len());
        for (column, vocabulary) in state.vocabularies[..n_columns].iter_mut().enumerate() {
            vocabulary.insert(batch, column);
        }
        for (column, kinds) in state.kinds[..n_columns].iter_mut().enumerate() {
            kinds.insert(batch, column);
        }
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.n_rows += later.n_rows;
        state.sample.merge(later.sample);
        for (extremes, later) in state.extremes.iter_mut().zip(later.extremes) {
            extremes.merge(later);
        }
        for (vocabulary, later) in state.vocabularies.iter_mut().zip(later.vocabularies) {
            vocabulary.merge(later);
        }
        for (kinds, later) in state.kinds.iter_mut().zip(later.kinds) {
            kinds.merge(later);
        }
        state.missing.merge(later.missing);
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        if state.n_rows < MIN_ROWS {
            return Err(NotApplicable::new(format!(
                "{} records, at least {MIN_ROWS} are needed",
                state.n_rows
            )));
        }
        let layout = Layout::of(&context.facts);
        let reviews = reviews(&state, &layout, &context.facts);
        let table = state.sample.into_table(layout.width());
        let n_tests = state.extremes.len();
        let mut ranges = Vec::new();
        for (column, column_extremes) in state.extremes.iter().enumerate() {
            let sorted = table.numbers(column);
            let share = self.params.max_share;
            let found = extremes::ranges(column, column_extremes, &sorted, share, n_tests);
            ranges.extend(found.into_iter().filter(|r| r.p_value <= self.params.alpha));
        }
        let min_records = u64::from(self.params.min_records);
        Ok(ProfileModel {
            ranges,
            strays: vocabulary::strays(&state.vocabularies, min_records.min(4)),
            reviews,
            population: Population::new(&table, &layout),
            n_sampled: table.n_rows(),
            layout,
        })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        ProfileEvidence::new(model)
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![0.0; batch.n_rows()];
        evidence.add_broken(batch);
        if model.ranges.is_empty() && model.strays.is_empty() && model.reviews.is_empty() {
            return scores;
        }
        let mut cells = Vec::with_capacity(model.layout.width());
        for (row_idx, score) in scores.iter_mut().enumerate() {
            if model.layout.read(batch, row_idx, &mut cells)
                && evidence.add(model, batch, row_idx, &cells)
            {
                *score = 1.0;
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        evidence.merge(later);
    }

    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        evidence.findings(model, shared, u64::from(self.params.min_records))
    }
}

/// Remarks on the columns, the gravest first.
fn reviews(state: &ProfileState, layout: &Layout, facts: &DataFacts) -> Vec<Review> {
    let mut reviews = state.missing.reviews(layout, facts);
    let closed = state.vocabularies.iter().map(Vocabulary::is_closed);
    let closed: Vec<bool> = closed.collect();
    reviews.extend(types::reviews(&state.kinds, &closed, layout));
    reviews.extend(variants::reviews(&state.vocabularies, layout));
    let in_all = |column: usize| {
        let only = match column.checked_sub(layout.n_numeric) {
            None => state.extremes[column].only_value(),
            Some(category) => state.vocabularies[category].only_value(),
        };
        only == Some(state.n_rows)
    };
    let (empty, others): (Vec<usize>, Vec<usize>) =
        (0..layout.width()).partition(|&column| state.missing.total(column) == state.n_rows);
    let constant: Vec<usize> = others
        .into_iter()
        .filter(|&column| in_all(column))
        .collect();
    reviews.extend(constants::review(&empty, &constant, layout));
    reviews
}
