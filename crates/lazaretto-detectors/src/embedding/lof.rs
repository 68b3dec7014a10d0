//! `lof`: records in sparser surroundings than their neighbours.

use std::borrow::Cow;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, Intermediate, Neighbors,
    NotApplicable, ParamProblem, Params, ScoreKind, Shared, params::Checks,
};
use lazaretto_features::NeighborSearch;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::knn_distance::enough_records;

/// Keeps the density of records finite that have more than `neighbors` duplicates; as in
/// scikit-learn.
const TINY: f64 = 1e-10;

/// Scores each record by how much sparser its surroundings are than those of its neighbours.
///
/// # What it finds
/// Records beside a group rather than far from everything: next to a dense cluster, but outside
/// it. `knn-distance` misses them wherever other parts of the dataset are sparse anyway.
///
/// # Why it matters
/// Datasets are mixtures: a large dense class, a small sparse one. A poison that stands out in its
/// own class can have an ordinary distance for the dataset as a whole.
///
/// # How it works
/// The local outlier factor of Breunig et al., as in scikit-learn. Records have dense features:
/// the embedding, else features made from the text, else robustly scaled numbers. The
/// reachability of a record from a neighbour is their Euclidean distance, but at least the
/// neighbour's own distance to its `neighbors`-th neighbour; the local density is one over the mean
/// reachability from its `neighbors` nearest records; the score is the mean density of these over
/// its own. About 1 is ordinary, 2 is half as dense as the neighbours. All records are compared
/// with each other while records × records × dimensions is at most 4 × 10¹² (100,000 records of
/// 400 dimensions). In larger datasets the densities are those of a reference set of bounded size
/// drawn by keyed hash, and every record is compared with it.
///
/// # Parameters
/// - `neighbors` (20): how many neighbours make the surroundings. A group of poisons that is
///   smaller stands out, a larger one is a cluster of its own.
///
/// # False positives
/// Records near groups of more than `neighbors` exact duplicates, whose density has no limit:
/// remove duplicates first. The rim of every cluster scores a little higher than its middle.
///
/// # Limits
/// Blind to groups of more than `neighbors` similar poisons. Distances say less the more
/// dimensions are noise. Records without features get no score. It abstains with fewer than 20
/// records that have features.
///
/// # Example
/// Vectors of two classes, one ten times as wide as the other: a vector that is five widths of the
/// narrow class away from it has a score of about 4, and no unusual distance.
/// ```toml
/// [parameters.lof]
/// neighbors = 30
/// ```
///
/// # References
/// - Breunig, Kriegel, Ng, Sander: LOF: identifying density-based local outliers, SIGMOD 2000.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LofParams {
    /// Number of nearest records that make the surroundings, 1 to 256; at most as many as the run
    /// computes.
    pub neighbors: u32,
}

impl Default for LofParams {
    fn default() -> Self {
        Self { neighbors: 20 }
    }
}

impl Params for LofParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("neighbors", self.neighbors, 1..=256);
        checks.finish()
    }
}

/// The detector; see [`LofParams`].
#[derive(Clone, Debug)]
pub struct LocalOutlierFactor {
    params: LofParams,
}

/// The surroundings of the records that others are compared with.
#[derive(Debug)]
pub struct LofModel {
    /// Distance of each to its last neighbour, NaN where it has none.
    reaches: Vec<f32>,
    /// Local density of each.
    densities: Vec<f64>,
    /// For datasets where the neighbours of all records are not known in advance: the reference
    /// set, to be searched.
    search: Option<NeighborSearch>,
}

impl LocalOutlierFactor {
    fn surroundings(&self, neighbors: &Neighbors, search: Option<NeighborSearch>) -> LofModel {
        let k = self.params.neighbors as usize;
        let rows = neighbors.distances.rows().into_iter();
        let reaches = rows
            .map(|row| {
                let known = row.iter().take(k).take_while(|d| d.is_finite());
                known.last().copied().unwrap_or(f32::NAN)
            })
            .collect();
        let mut model = LofModel {
            reaches,
            densities: Vec::new(),
            search,
        };
        model.densities = (0..neighbors.distances.nrows())
            .map(|row| model.density(neighbors, row, k))
            .collect();
        model
    }
}

impl LofModel {
    /// Local density of row `row` of `neighbors`, from its first `k` neighbours; NaN without any.
    fn density(&self, neighbors: &Neighbors, row: usize, k: usize) -> f64 {
        let (mut total, mut known) = (0.0, 0_u32);
        for (idx, distance) in nearest(neighbors, row, k) {
            let reach = self.reaches.get(idx).copied().unwrap_or(f32::NAN);
            total += f64::from(distance.max(reach));
            known += 1;
        }
        if known == 0 {
            return f64::NAN;
        }
        1.0 / (total / f64::from(known) + TINY)
    }

    /// The factor of row `row` of `neighbors`.
    fn factor(&self, neighbors: &Neighbors, row: usize, k: usize) -> f32 {
        let own = self.density(neighbors, row, k);
        let (mut total, mut known) = (0.0, 0_u32);
        for (idx, _) in nearest(neighbors, row, k) {
            total += self.densities.get(idx).copied().unwrap_or(f64::NAN);
            known += 1;
        }
        if known == 0 {
            return f32::NAN;
        }
        (total / f64::from(known) / own).min(f64::from(f32::MAX)) as f32
    }
}

/// The first `k` neighbours of a row that exist: index and distance.
fn nearest(neighbors: &Neighbors, row: usize, k: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
    let indices = neighbors.indices.row(row).into_iter();
    let distances = neighbors.distances.row(row).into_iter();
    indices
        .zip(distances)
        .take(k)
        .take_while(|(_, distance)| distance.is_finite())
        .map(|(&idx, &distance)| (idx as usize, distance))
}

impl Detector for LocalOutlierFactor {
    type Params = LofParams;
    type State = ();
    type Model = LofModel;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "lof",
        family: Family::Embedding,
        summary: "records in sparser surroundings than their neighbours",
        score_kind: ScoreKind::Statistical,
        by_default: false,
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
        enough_records(shared)?;
        let base = shared.neighbor_base.as_ref();
        if let Some(neighbors) = base.and_then(|base| base.neighbors.as_ref()) {
            return Ok(self.surroundings(neighbors, None));
        }
        let Some(reference) = &shared.reference else {
            return Err(NotApplicable::new("no reference set to compare with"));
        };
        let k = self.params.neighbors as usize;
        let search = NeighborSearch::new(reference.features.clone(), k);
        let neighbors = search.among_each_other();
        Ok(self.surroundings(&neighbors, Some(search)))
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    fn score(
        &self,
        model: &Self::Model,
        shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let neighbors = match (&model.search, &shared.reference, &batch.derived.features) {
            (Some(search), Some(reference), Some(features)) => {
                let own: Vec<u32> = (0..batch.n_rows())
                    .map(|row| {
                        let found = reference.ordinals.binary_search(&batch.ordinal(row));
                        found.map_or(u32::MAX, |idx| idx as u32)
                    })
                    .collect();
                Some(Cow::Owned(search.find(features.view(), &own)))
            }
            _ => batch.derived.all_neighbors.as_ref().map(Cow::Borrowed),
        };
        let Some(neighbors) = neighbors else {
            return vec![f32::NAN; batch.n_rows()];
        };
        let k = self.params.neighbors as usize;
        (0..batch.n_rows())
            .map(|row| model.factor(&neighbors, row, k))
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

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// Factors of points on a line among each other.
    fn factors(points: &[f32], k: u32) -> Vec<f32> {
        let rows = Array2::from_shape_fn((points.len(), 1), |(row, _)| points[row]);
        let search = NeighborSearch::new(rows, k as usize);
        let neighbors = search.among_each_other();
        let detector = LocalOutlierFactor::new(LofParams { neighbors: k });
        let model = detector.surroundings(&neighbors, None);
        (0..points.len())
            .map(|row| model.factor(&neighbors, row, k as usize))
            .collect()
    }

    #[test]
    fn the_factor_is_that_of_the_paper() {
        // By hand, k = 2, on 0, 1, 2, 10. Distances to the second neighbour: 2, 1, 2, 9.
        // Mean reachability: 0: (1 + 2)/2, 1: (2 + 2)/2, 2: (1 + 2)/2, 10: (8 + 9)/2.
        let found = factors(&[0.0, 1.0, 2.0, 10.0], 2);
        let [a, b, c, d] = [1.5_f32, 2.0, 1.5, 8.5].map(|reach| 1.0 / reach);
        let expected = [
            f32::midpoint(b, c) / a,
            f32::midpoint(a, c) / b,
            f32::midpoint(a, b) / c,
            f32::midpoint(b, c) / d,
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn a_point_beside_a_dense_group_stands_out_where_distances_do_not() {
        // A dense group, a sparse one, and a point whose distance is ordinary in the sparse one.
        let mut points: Vec<f32> = (0..30_u8).map(|i| f32::from(i) * 0.01).collect();
        points.extend((0..30_u8).map(|i| 100.0 + f32::from(i)));
        points.push(2.0);
        let found = factors(&points, 5);
        let best = (0..61).max_by(|&a, &b| found[a].total_cmp(&found[b]));
        assert_eq!(best, Some(60), "{found:?}");
    }

    #[test]
    fn duplicates_have_factors_that_are_numbers() {
        let mut points = vec![1.0; 40];
        points.extend([1.5, 2.0, 7.0]);
        assert!(factors(&points, 5).iter().all(|factor| factor.is_finite()));
    }
}
