//! `knn-distance`: records far from every other record.

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate,
    NotApplicable, ParamProblem, Params, ScoreKind, Shared, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// With fewer records than this to compare with, "far away" has no meaning.
const MIN_RECORDS: usize = 20;

/// Scores each record by its distance to the most similar records.
///
/// # What it finds
/// Records that have no near neighbour: vectors from another distribution, texts in another
/// language or on another subject, rows of numbers that fit no known combination.
///
/// # Why it matters
/// Injected and scraped-in content often resembles nothing else in the dataset. A model gives
/// such records a large influence, because nothing around them says otherwise.
///
/// # How it works
/// Every record has dense features: its embedding, else features made from its text, else its
/// robustly scaled numbers. The score is the mean of the Euclidean distances to its `neighbors`
/// nearest records (or the distance to the last of them, see `statistic`). A record is never its
/// own neighbour. All pairs of records are compared while records × records × dimensions is at
/// most 4 × 10¹² (100,000 records of 400 dimensions); larger datasets are searched by an index
/// whose recall is measured and reported, or, where that would take too much time or memory, in a
/// reference set drawn by keyed hash (`[features] neighbor_search` decides otherwise). The
/// distance is calibrated against the bulk of the dataset, so its unit does not matter.
///
/// # Parameters
/// - `neighbors` (10): how many neighbours count. A group of poisons smaller than this still
///   stands out; a larger group hides itself.
/// - `statistic` (`mean`): `mean` of the distances, or `kth`, the largest of them.
///
/// # False positives
/// Rare but legitimate records: a minority language, a small class, very short or very long
/// texts. They come out as single records, not as a group with a common label.
///
/// # Limits
/// Blind to poisons that lie close to clean records (clean-label attacks) and to groups of more
/// than `neighbors` similar poisons. Distances say less the more dimensions are noise. Records
/// without features get no score. It abstains with fewer than 20 records that have features.
///
/// # Example
/// A crawl in English with 30 product pages in another language: those pages have the 30 largest
/// scores.
/// ```toml
/// [parameters.knn-distance]
/// neighbors = 20
/// ```
///
/// # References
/// - Ramaswamy, Rastogi, Shim: Efficient algorithms for mining outliers from large data sets,
///   SIGMOD 2000 (distance to the k-th neighbour).
/// - Angiulli, Pizzuti: Fast outlier detection in high dimensional spaces, PKDD 2002 (the sum).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KnnDistanceParams {
    /// Number of nearest records, 1 to 256; at most as many as the run computes.
    pub neighbors: u32,
    /// What is taken of their distances: `mean` or `kth`.
    pub statistic: DistanceStatistic,
}

/// What is taken of the distances to the nearest records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DistanceStatistic {
    /// Their mean.
    Mean,
    /// The largest of them.
    Kth,
}

impl Default for KnnDistanceParams {
    fn default() -> Self {
        Self {
            neighbors: 10,
            statistic: DistanceStatistic::Mean,
        }
    }
}

impl Params for KnnDistanceParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("neighbors", self.neighbors, 1..=256);
        checks.finish()
    }
}

/// The detector; see [`KnnDistanceParams`].
#[derive(Clone, Debug)]
pub struct KnnDistance {
    params: KnnDistanceParams,
}

impl KnnDistance {
    /// The score of one record from the ascending distances to its nearest records.
    fn distance(&self, distances: &[f32]) -> f32 {
        let wanted = distances.len().min(self.params.neighbors as usize);
        // Where there are fewer neighbours than columns, the rest is not a number.
        let known = distances[..wanted]
            .iter()
            .take_while(|distance| distance.is_finite())
            .count();
        let Some(last) = known.checked_sub(1) else {
            return f32::NAN;
        };
        match self.params.statistic {
            DistanceStatistic::Kth => distances[last],
            DistanceStatistic::Mean => {
                let sum: f64 = distances[..known].iter().map(|&d| f64::from(d)).sum();
                (sum / known as f64) as f32
            }
        }
    }
}

impl Detector for KnnDistance {
    type Params = KnnDistanceParams;
    type State = ();
    type Model = ();
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "knn-distance",
        family: Family::Embedding,
        summary: "records far from every other record",
        score_kind: ScoreKind::Statistical,
        by_default: true,
        fit_roles: &[],
        score_roles: &[],
        intermediates: &[Intermediate::AllNeighbors],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0020", "AML.T0059", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        if facts.has_features() {
            Ok(())
        } else {
            Err(NotApplicable::new(
                "no embedding, text or numeric column to measure distances in",
            ))
        }
    }

    fn start(&self, _context: &FitContext) -> Self::State {}

    fn fit(&self, _context: &FitContext, _state: &mut Self::State, _batch: &Batch<'_>) {}

    fn merge(&self, _context: &FitContext, _state: &mut Self::State, _later: Self::State) {}

    fn model(
        &self,
        _context: &FitContext,
        _state: Self::State,
        shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        enough_records(shared)
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    fn score(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let Some(neighbors) = &batch.derived.all_neighbors else {
            return vec![f32::NAN; batch.n_rows()];
        };
        neighbors
            .distances
            .rows()
            .into_iter()
            .map(|row| match row.as_slice() {
                Some(distances) => self.distance(distances),
                None => self.distance(&row.to_vec()),
            })
            .collect()
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

/// Whether there are enough records with features to speak of distances.
pub(super) fn enough_records(shared: &Shared) -> Result<(), NotApplicable> {
    let base = shared.neighbor_base.as_ref();
    let n_usable = base.map_or(0, |base| base.n_usable);
    if n_usable < MIN_RECORDS {
        return Err(NotApplicable::new(format!(
            "{n_usable} records with features, at least {MIN_RECORDS} are needed"
        )));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use super::*;

    #[test]
    fn mean_and_kth_count_only_the_neighbours_asked_for() {
        let mut params = KnnDistanceParams {
            neighbors: 3,
            ..KnnDistanceParams::default()
        };
        let distances = [1.0, 2.0, 6.0, 100.0];
        assert_eq!(KnnDistance::new(params.clone()).distance(&distances), 3.0);
        params.statistic = DistanceStatistic::Kth;
        let kth = KnnDistance::new(params);
        assert_eq!(kth.distance(&distances), 6.0);
        assert_eq!(kth.distance(&[1.0, f32::NAN, f32::NAN]), 1.0);
        assert!(kth.distance(&[f32::NAN; 3]).is_nan());
        assert!(kth.distance(&[]).is_nan());
    }
}
