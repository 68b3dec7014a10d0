//! The nearest neighbours of the reference records among each other, as a graph.
//!
//! Groups that hold together are components of the *mutual* graph: an edge joins two records that
//! are each among the nearest of the other. A record that merely lies closest to a group, as
//! outliers do, is not pulled in, because the group's members have nearer neighbours than it
//! (Brito, Chávez, Quiroz, Yukich 1997).

use lazaretto_core::shared::Reference;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

/// Rows per task.
const ROW_BLOCK: usize = 128;
/// Columns per matrix product: with the above, 1 MB of products.
const COLUMN_BLOCK: usize = 2048;
/// Candidates beyond what is asked for, whose order is then settled by exact distances.
const MARGIN: usize = 6;

/// The `k` nearest other reference records of each reference record.
#[derive(Clone, Debug)]
pub(super) struct ReferenceGraph {
    /// Per record: (record, Euclidean distance), nearest first; shorter where there are fewer.
    nearest: Vec<Vec<(u32, f32)>>,
}

impl ReferenceGraph {
    /// Exact neighbours by blocked matrix products, `O(n² · dim)` time and `O(n · k)` memory.
    pub(super) fn new(reference: &Reference, k: usize) -> Self {
        let all: Vec<u32> = (0..reference.features.nrows() as u32).collect();
        let nearest = nearest_allowed(reference.features.view(), &all, k, |a, b| a != b);
        Self { nearest }
    }

    /// Number of reference records.
    pub(super) fn len(&self) -> usize {
        self.nearest.len()
    }

    /// The nearest others of `record`, nearest first.
    pub(super) fn of(&self, record: u32) -> &[(u32, f32)] {
        &self.nearest[record as usize]
    }

    /// Mean distance from `record` to its nearest `k` others that are `allowed`; `None` when its
    /// list has none.
    pub(super) fn mean_distance(
        &self,
        record: u32,
        k: usize,
        allowed: impl Fn(u32) -> bool,
    ) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0);
        for &(_, distance) in self
            .of(record)
            .iter()
            .filter(|&&(other, _)| allowed(other))
            .take(k)
        {
            sum += f64::from(distance);
            count += 1;
        }
        (count > 0).then(|| sum / f64::from(count))
    }

    /// Components of the mutual graph of the `k` nearest, each ascending, in order of their first
    /// record.
    pub(super) fn mutual_components(&self, k: usize) -> Vec<Vec<u32>> {
        let lists = |record: u32, other: u32| {
            let nearest = self.of(record).iter().take(k);
            nearest.into_iter().any(|&(found, _)| found == other)
        };
        let mut parents: Vec<u32> = (0..self.len() as u32).collect();
        for record in 0..self.len() as u32 {
            for &(other, _) in self.of(record).iter().take(k) {
                if record < other && lists(other, record) {
                    let (a, b) = (root(&mut parents, record), root(&mut parents, other));
                    // The smaller index stays the root, so the order of edges does not matter.
                    parents[a.max(b) as usize] = a.min(b);
                }
            }
        }
        let mut components = vec![Vec::new(); self.len()];
        for record in 0..self.len() as u32 {
            components[root(&mut parents, record) as usize].push(record);
        }
        components.retain(|members| !members.is_empty());
        components
    }
}

fn root(parents: &mut [u32], mut record: u32) -> u32 {
    while parents[record as usize] != record {
        let grandparent = parents[parents[record as usize] as usize];
        parents[record as usize] = grandparent;
        record = grandparent;
    }
    record
}

/// For each of `rows`, the nearest `k` reference records for which `allowed(row, record)` holds,
/// nearest first. Records with NaN features have no neighbours and are nobody's neighbour.
///
/// Squared distances come from `‖a‖² + ‖b‖² − 2 a·b` on centred features; a few more candidates
/// than needed are kept and their distances computed directly, because that form loses the digits
/// of small distances.
pub(super) fn nearest_allowed(
    features: ArrayView2<'_, f32>,
    rows: &[u32],
    k: usize,
    allowed: impl Fn(u32, u32) -> bool + Sync,
) -> Vec<Vec<(u32, f32)>> {
    let centred = centre(features);
    let norms: Vec<f32> = centred
        .rows()
        .into_iter()
        .map(|row| row.dot(&row))
        .collect();
    let blocks: Vec<Vec<Vec<(u32, f32)>>> = rows
        .par_chunks(ROW_BLOCK)
        .map(|rows| {
            let places: Vec<usize> = rows.iter().map(|&row| row as usize).collect();
            let queries = centred.select(Axis(0), &places);
            let mut found: Vec<Smallest> = rows.iter().map(|_| Smallest::new(k + MARGIN)).collect();
            for start in (0..norms.len()).step_by(COLUMN_BLOCK) {
                let end = (start + COLUMN_BLOCK).min(norms.len());
                let products = queries.dot(&centred.slice(s![start..end, ..]).t());
                for ((products, found), &row) in
                    products.rows().into_iter().zip(&mut found).zip(rows)
                {
                    for ((&product, &norm), other) in
                        products.iter().zip(&norms[start..end]).zip(start as u32..)
                    {
                        let value = norm - 2.0 * product;
                        if value < found.worst && allowed(row, other) {
                            found.insert(value, other);
                        }
                    }
                }
            }
            rows.iter()
                .zip(found)
                .map(|(&row, found)| settle(features, row, &found.values, k))
                .collect()
        })
        .collect();
    blocks.into_iter().flatten().collect()
}

/// The exact distances of the candidates of `row`, the nearest `k` of them.
fn settle(
    features: ArrayView2<'_, f32>,
    row: u32,
    candidates: &[(f32, u32)],
    k: usize,
) -> Vec<(u32, f32)> {
    let own = features.row(row as usize);
    let mut exact: Vec<(f64, u32)> = candidates
        .iter()
        .map(|&(_, other)| {
            let squares = own.iter().zip(features.row(other as usize)).map(|(&a, b)| {
                let difference = f64::from(a) - f64::from(*b);
                difference * difference
            });
            (squares.sum::<f64>(), other)
        })
        .collect();
    exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    exact
        .into_iter()
        .take(k)
        .map(|(square, other)| (other, square.sqrt() as f32))
        .collect()
}

/// The features without their mean, over the rows that have one.
fn centre(features: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut sums = vec![0.0_f64; features.ncols()];
    let mut count = 0_u32;
    for row in features.rows() {
        if row.iter().all(|value| value.is_finite()) {
            count += 1;
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
    }
    let mut centred = features.as_standard_layout().into_owned();
    for mut row in centred.rows_mut() {
        for (value, sum) in row.iter_mut().zip(&sums) {
            *value -= (sum / f64::from(count.max(1))) as f32;
        }
    }
    centred
}

/// The smallest values seen, ascending; of equal ones the first seen.
struct Smallest {
    keep: usize,
    values: Vec<(f32, u32)>,
    worst: f32,
}

impl Smallest {
    fn new(keep: usize) -> Self {
        Self {
            keep,
            values: Vec::with_capacity(keep + 1),
            worst: f32::INFINITY,
        }
    }

    fn insert(&mut self, value: f32, record: u32) {
        let place = self.values.partition_point(|&(other, _)| other <= value);
        self.values.insert(place, (value, record));
        self.values.truncate(self.keep);
        if self.values.len() == self.keep {
            self.worst = self.values[self.keep - 1].0;
        }
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_core::NO_LABEL;

    use super::*;

    fn reference(values: &[f32]) -> Reference {
        let n = values.len();
        Reference {
            features: Array2::from_shape_vec((n, 1), values.to_vec()).unwrap(),
            labels: vec![NO_LABEL; n],
            ordinals: (0..n as u64).collect(),
            keys: (0..n as u64).collect(),
        }
    }

    #[test]
    fn two_clumps_and_an_outlier_are_two_components_and_a_single() {
        let values = [0.0, 0.1, 0.2, 10.0, 10.1, 10.2, 13.0, f32::NAN];
        let graph = ReferenceGraph::new(&reference(&values), 2);
        let components = graph.mutual_components(2);
        assert_eq!(components, [vec![0, 1, 2], vec![3, 4, 5], vec![6], vec![7]]);
        let ids: Vec<u32> = graph.of(6).iter().map(|&(other, _)| other).collect();
        assert_eq!(ids, [5, 4]);
        assert!(graph.of(7).is_empty());
        assert!((graph.mean_distance(6, 2, |_| true).unwrap() - 2.85).abs() < 1e-5);
    }

    #[test]
    fn only_allowed_records_are_found() {
        let reference = reference(&[0.0, 1.0, 2.0, 3.0]);
        let found = nearest_allowed(reference.features.view(), &[0], 2, |_, other| other > 1);
        assert_eq!(found, [vec![(2, 2.0), (3, 3.0)]]);
    }
}
