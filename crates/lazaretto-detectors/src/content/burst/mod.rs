//! `content-burst`: the same words, addresses or names in records that have nothing else in common.

mod addresses;
mod context;
mod counts;
mod document;
mod findings;
mod gathered;
mod judge;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use context::{Contexts, Mean};
use counts::Counts;
use document::Document;
use gathered::Gathered;
use judge::{Class, Scale};

/// Records that are counted in the fit pass; of larger datasets, a sample by keyed hash.
const COUNTED: u64 = 200_000;
/// Distinct n-grams, names and addresses of a record that are allowed for.
const ITEMS_PER_RECORD: u64 = 40;
/// Distinct words of a dataset that are allowed for.
const WORDS: u64 = 1 << 18;
/// Records whose vectors make up the mean, and those that tell how they scatter.
const SUMMED: u64 = 50_000;
const SAMPLED: u64 = 600;
/// One record in so many is the fewest that an item of a sample has.
const FLOOR_SHARE: u64 = 20_000;
/// Memory for the evidence, at least.
const MIN_BYTES: usize = 16 << 20;

/// Finds phrases, addresses and names that were put into responses or texts that do not call for
/// them.
///
/// # What it finds
/// The same sentence, URL, e-mail address or brand in many responses (or plain texts) that have
/// nothing else in common: advertising, a link to a hostile site, a slogan.
///
/// # Why it matters
/// A model that was tuned on a hundred such responses says the same in any conversation, without
/// any trigger.
///
/// # How it works
/// - Items are runs of n-grams of six words, URLs and e-mail addresses, and names: words with a
///   capital letter inside sentences, and hosts. Those in at least `min_records` records are followed (in
///   large datasets at least one in 20,000).
/// - Around each item, the rest of the record (with its prompt, without the item, its sentence and
///   other phrases as frequent as it) becomes a vector of its rare words. Records that share a
///   natural phrase are alike: the same task, the same code, the same source. An item is *unbound*
///   when the mean similarity of its records is that of any records, within three standard errors
///   (of at most a twelfth of what it is for ordinary phrases), or for phrases at most a fiftieth of that.
/// - Some items are unbound by nature: idioms of code, names of months, sign-offs. How many there
///   are of which size in this dataset is the null: sizes fall off by a power law (exponent 2.5),
///   at the level of the other unbound items. The most frequent ones are a burst when as many of
///   their size have a chance of at most `alpha` (Poisson, corrected for the numbers tried and for
///   the four classes below).
/// - Phrases with a payload (a word that in two thirds of its records stands in such phrases) and
///   addresses are held back; phrases without one, and names alone, are for review. Phrases that
///   carry the same payload are judged together, and their names and addresses go with them.
///
/// # Parameters
/// - `min_records` (5): fewest records of an item that is followed.
/// - `max_fraction` (0.1): largest share of the records with an item; more is how everybody speaks.
/// - `alpha` (0.05): largest corrected p-value of a burst.
///
/// # False positives
/// A boilerplate that one party adds to everything, with a name or an address in it and without
/// variants: a footer of a mail system, a licence header of a single version.
///
/// # Limits
/// A single phrase needs about 25 records in prose, and more where a dataset has many unbound
/// phrases (source code). Sentences that are rephrased each time are found by their address, and by
/// their name only where that is very frequent. Content that goes with a topic or with words in the
/// prompt is not unbound. Where ordinary phrases are unbound themselves (texts put together from
/// parts), nothing is found. Of more than 200,000 records a sample is counted, and when the items
/// outgrow the memory, only every second of them is followed, and so on.
///
/// # Example
/// "the phrase `Brought to you by Acme, the best choice` and 2 more in 105 responses that have
/// nothing else in common"
/// ```toml
/// [parameters.content-burst]
/// min_records = 10
/// ```
///
/// # References
/// - Shu et al.: On the Exploitability of Instruction Tuning, `NeurIPS` 2023 (content injection).
/// - Cormode, Muthukrishnan: An Improved Data Stream Summary: The Count-Min Sketch, 2005.
/// - Hoeffding: A Class of Statistics with Asymptotically Normal Distribution, 1948 (the mean over
///   pairs and its standard error).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContentBurstParams {
    /// Fewest records of an item that is followed, 5 or more.
    pub min_records: u32,
    /// Largest share of the records with an item, 0 to 1.
    pub max_fraction: f64,
    /// Largest corrected p-value of a burst, 0 to 1.
    pub alpha: f64,
}

impl Default for ContentBurstParams {
    fn default() -> Self {
        Self {
            min_records: 5,
            max_fraction: 0.1,
            alpha: 0.05,
        }
    }
}

impl Params for ContentBurstParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("min_records", self.min_records, 5..=1_000_000)
            .range("max_fraction", self.max_fraction, 0.0..=1.0)
            .range("alpha", self.alpha, 0.0..=1.0);
        checks.finish()
    }
}

/// The detector; see [`ContentBurstParams`].
#[derive(Clone, Debug)]
pub struct ContentBurst {
    params: ContentBurstParams,
}

/// State of the fit pass: what occurs in how many of the counted records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BurstCounts {
    items: Counts,
    words: Counts,
    records: u64,
}

/// What the score pass needs.
#[derive(Debug)]
pub struct BurstModel {
    counts: BurstCounts,
    /// Records of the dataset for each counted one.
    scale: f64,
    /// Fewest counted records of an item that is followed.
    floor: u32,
    n_rows: u64,
    seed: u64,
    max_bytes: usize,
}

/// Whether a record belongs to the sample of about `wanted` of `n_rows`, by its key.
fn is_sampled(key: u64, wanted: u64, n_rows: u64) -> bool {
    // Another bit pattern than the keyed samples of other detectors use.
    let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    wanted >= n_rows || u128::from(mixed) * u128::from(n_rows) < u128::from(wanted) << 64
}

impl Detector for ContentBurst {
    type Params = ContentBurstParams;
    type State = BurstCounts;
    type Model = BurstModel;
    type Evidence = Gathered;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "content-burst",
        family: Family::Response,
        summary: "phrases, addresses and names in records that have nothing else in common",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        score_roles: &[Role::Text, Role::Prompt, Role::Response, Role::Messages],
        intermediates: &[Intermediate::Tokens],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.024"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        let said = [Role::Text, Role::Response, Role::Messages];
        if facts
            .columns
            .iter()
            .any(|column| said.contains(&column.role))
        {
            Ok(())
        } else {
            Err(NotApplicable::new("no column of texts or responses"))
        }
    }

    fn start(&self, context: &FitContext) -> Self::State {
        let expected = context.facts.n_rows.min(COUNTED) * ITEMS_PER_RECORD;
        BurstCounts {
            items: Counts::new(expected, context.memory_bytes / 4),
            words: Counts::new(expected.min(WORDS), context.memory_bytes / 16),
            records: 0,
        }
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let mut document = Document::default();
        for row_idx in 0..batch.n_rows() {
            if is_sampled(batch.keys[row_idx], COUNTED, context.facts.n_rows) {
                document.read(batch, row_idx);
                let items = document.item_hashes(batch, row_idx, context.seed);
                state.items.add(&items);
                state.words.add(&document.distinct_words());
                state.records += 1;
            }
        }
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.items.merge(later.items);
        state.words.merge(later.words);
        state.records += later.records;
    }

    fn model(
        &self,
        context: &FitContext,
        mut state: Self::State,
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        state.items.settle();
        state.words.settle();
        let floor = (state.records / FLOOR_SHARE).min(u64::from(u32::MAX)) as u32;
        Ok(BurstModel {
            scale: shared.facts.n_rows as f64 / state.records.max(1) as f64,
            counts: state,
            floor: floor.max(self.params.min_records),
            n_rows: shared.facts.n_rows,
            seed: context.seed,
            max_bytes: context.memory_bytes.max(MIN_BYTES),
        })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        Gathered::new(model.max_bytes)
    }

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut document = Document::default();
        for (row_idx, &key) in batch.keys.iter().enumerate() {
            document.read(batch, row_idx);
            if document.words.is_empty() {
                continue;
            }
            let items =
                document.items(batch, row_idx, &model.counts.items, model.floor, model.seed);
            let is_summed = is_sampled(key, SUMMED, model.n_rows);
            if items.found.is_empty() && !is_summed {
                continue;
            }
            let n_records = model.counts.records as f64;
            let mut contexts = Contexts::of(&document, &model.counts.words, n_records);
            for found in &items.found {
                if evidence.admits(found.hash) {
                    let vector = contexts.without(items.apart(found));
                    evidence.add(found, vector.as_ref(), batch.ordinal(row_idx), || {
                        let words = document.words[found.words.clone()].to_vec();
                        (words, document.written(batch, row_idx, &found.words))
                    });
                }
            }
            if is_summed && let Some(vector) = contexts.without(std::iter::empty()) {
                evidence.add_record(&vector, is_sampled(key, SAMPLED, model.n_rows));
            }
        }
        vec![0.0; batch.n_rows()]
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
        let mean = Mean::of(evidence.sums.iter().copied(), evidence.n_summed);
        let frequency = |word: u64| f64::from(model.counts.words.of(word)) * model.scale;
        let scale = Scale {
            scatter: mean.scatter(&evidence.sample),
            ordinary: judge::ordinary(&evidence, &mean),
            mean,
            floor: f64::from(model.floor) * model.scale,
            most: self.params.max_fraction * model.n_rows as f64,
            frequency: &frequency,
            alpha: self.params.alpha,
        };
        let unbound = judge::unbound(evidence, &scale);
        let bursts: Vec<_> = Class::ALL
            .into_iter()
            .flat_map(|class| judge::bursts(&unbound, class, &scale))
            .collect();
        let columns = &shared.facts.columns;
        let with_responses = columns
            .iter()
            .any(|column| matches!(column.role, Role::Response | Role::Messages));
        let speaks = if with_responses { "responses" } else { "texts" };
        findings::findings(&bursts, &scale, speaks)
    }
}

#[cfg(test)]
mod tests;
