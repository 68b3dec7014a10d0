//! Approximate search: an inverted file whose recall is measured.
//!
//! Records are put into lists by the nearest of some centres (Sivic and Zisserman 2003; Jégou,
//! Douze and Schmid 2011 without the compression), and a query looks into the lists of the centres
//! that are nearest to it. The centres come from Lloyd's iterations on the keyed reference set, in
//! which every step is an exact search, so the index is the same at any number of threads. Graph
//! indexes (HNSW, as in `usearch` and `hnsw_rs`) answer faster, but what a graph looks like depends
//! on the order in which threads insert into it, and inserting from one thread takes longer than
//! all our queries together.
//!
//! How many lists are looked into is settled by trial: as many as it takes to find 95 % of the
//! true neighbours of some records chosen by key.

use lazaretto_core::Neighbors;
use lazaretto_core::shared::Reference;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::search::{Buffers, NeighborSearch};
use crate::store::Vectors;

/// Records whose neighbours are searched both ways.
const TRIALS: usize = 256;
/// Share of the true neighbours that must be found.
const WANTED_RECALL: f64 = 0.95;
/// Lists that a query looks into, at least and at most.
const PROBES: [usize; 6] = [4, 8, 16, 32, 64, 128];
/// Lloyd's iterations.
const ITERATIONS: usize = 6;
/// Records of the sample per centre, at least.
const SAMPLE_PER_CENTRE: usize = 8;
/// Queries per task. They are sorted by their nearest centre, so that those of a task look into
/// few lists together.
const QUERY_BLOCK: usize = 2048;

/// Records by list.
#[derive(Debug)]
pub(super) struct Lists {
    offsets: Vec<usize>,
    members: Vec<u32>,
}

impl Lists {
    /// `list_of` is `u32::MAX` for records in none.
    fn new(list_of: &[u32], n_lists: usize) -> Self {
        let mut offsets = vec![0; n_lists + 1];
        for &list in list_of.iter().filter(|&&list| list != u32::MAX) {
            offsets[list as usize + 1] += 1;
        }
        for list in 0..n_lists {
            offsets[list + 1] += offsets[list];
        }
        let mut next = offsets.clone();
        let mut members = vec![0; offsets[n_lists]];
        for (idx, &list) in (0..).zip(list_of) {
            if list != u32::MAX {
                members[next[list as usize]] = idx;
                next[list as usize] += 1;
            }
        }
        Self { offsets, members }
    }

    /// Ascending.
    pub(super) fn members(&self, list: u32) -> &[u32] {
        let list = list as usize;
        &self.members[self.offsets[list]..self.offsets[list + 1]]
    }
}

/// All records in lists.
#[derive(Debug)]
pub(crate) struct VectorIndex {
    all: NeighborSearch,
    centres: NeighborSearch,
    n_lists: usize,
    lists: Lists,
    recall: f64,
}

impl VectorIndex {
    /// Puts `vectors` into lists around centres that are learned from `sample`.
    pub(crate) fn new(vectors: Vectors, sample: &Reference, k: usize) -> Self {
        let centres = centres(sample, vectors.n_rows());
        let n_lists = centres.nrows();
        let list_of = nearest_centres(&vectors, &centres);
        let lists = Lists::new(&list_of, n_lists);
        let mut index = Self {
            all: NeighborSearch::of(vectors, k),
            centres: NeighborSearch::new(centres.clone(), PROBES[0]),
            n_lists,
            lists,
            recall: 0.0,
        };
        let mut by_key: Vec<usize> = (0..sample.keys.len()).collect();
        by_key.sort_unstable_by_key(|&idx| (sample.keys[idx], idx));
        by_key.truncate(TRIALS);
        let own: Vec<u32> = by_key.iter().map(|&i| sample.ordinals[i] as u32).collect();
        let trials = sample.features.select(Axis(0), &by_key);
        let truth = index.all.find(trials.view(), &own);
        for probes in PROBES {
            index.centres = NeighborSearch::new(centres.clone(), probes);
            index.recall = recall(&truth, &index.find(trials.view(), &own));
            if index.recall >= WANTED_RECALL {
                break;
            }
        }
        index
    }

    pub(crate) fn n_usable(&self) -> usize {
        self.all.n_usable()
    }

    /// One line for the report.
    pub(crate) fn describe(&self) -> String {
        format!(
            "index, {k} of all {n} records by Euclidean distance in {probes} of {lists} lists; \
             recall@{k} {recall:.3} measured on {TRIALS} records",
            k = self.all.k(),
            n = self.all.n_usable(),
            probes = self.centres.k(),
            lists = self.n_lists,
            recall = self.recall,
        )
    }

    /// As [`NeighborSearch::find`], but some neighbours may be missed.
    pub(crate) fn find(&self, features: ArrayView2<'_, f32>, own: &[u32]) -> Neighbors {
        let (n, k) = (features.nrows(), self.all.k());
        let mut found = Neighbors {
            indices: Array2::zeros((n, k)),
            distances: Array2::from_elem((n, k), f32::NAN),
        };
        if k == 0 {
            return found;
        }
        let probes = self.centres.find(features, &vec![u32::MAX; n]);
        let mut order: Vec<usize> = (0..n)
            .filter(|&row| !probes.distances[[row, 0]].is_nan())
            .collect();
        order.sort_by_key(|&row| probes.indices[[row, 0]]);
        let parts: Vec<Neighbors> = order
            .par_chunks(QUERY_BLOCK)
            .map_init(Buffers::default, |buffers, order| {
                let rows = features.select(Axis(0), order);
                let own: Vec<u32> = order.iter().map(|&row| own[row]).collect();
                let mut pairs: Vec<(u32, u32)> = (0..)
                    .zip(order)
                    .flat_map(|(query, &row)| {
                        let lists = probes.indices.row(row);
                        lists.to_vec().into_iter().map(move |list| (list, query))
                    })
                    .collect();
                pairs.sort_unstable();
                let mut queries = self.all.queries(rows.as_slice().unwrap_or_default(), &own);
                self.all
                    .visit_lists(&mut queries, &pairs, &self.lists, buffers);
                self.all.visit_far(&mut queries, buffers);
                let mut part = Neighbors {
                    indices: Array2::zeros((order.len(), k)),
                    distances: Array2::from_elem((order.len(), k), f32::NAN),
                };
                if let (Some(indices), Some(distances)) =
                    (part.indices.as_slice_mut(), part.distances.as_slice_mut())
                {
                    queries.write(k, indices, distances);
                }
                part
            })
            .collect();
        for (order, part) in order.chunks(QUERY_BLOCK).zip(&parts) {
            found.insert(order, part);
        }
        found
    }
}

/// Centres of `n_rows` records, from a sample.
fn centres(sample: &Reference, n_rows: usize) -> Array2<f32> {
    let n_sample = sample.ordinals.len();
    let most = n_sample / SAMPLE_PER_CENTRE;
    let n_centres = (2.0 * (n_rows as f64).sqrt()) as usize;
    let n_centres = n_centres.clamp(2, most.max(2)).min(n_sample);
    let mut by_key: Vec<usize> = (0..n_sample).collect();
    by_key.sort_unstable_by_key(|&idx| (sample.keys[idx], idx));
    by_key.truncate(n_centres);
    let mut centres = sample.features.select(Axis(0), &by_key);
    let none = vec![u32::MAX; n_sample];
    for _ in 0..ITERATIONS {
        let search = NeighborSearch::new(centres.clone(), 1);
        let nearest = search.find(sample.features.view(), &none);
        if nearest.indices.ncols() == 0 {
            break;
        }
        let mut sums = Array2::<f64>::zeros(centres.raw_dim());
        let mut counts = vec![0.0_f64; n_centres];
        for (row, &list) in sample.features.rows().into_iter().zip(&nearest.indices) {
            let mut sum = sums.row_mut(list as usize);
            sum.zip_mut_with(&row, |sum, &value| *sum += f64::from(value));
            counts[list as usize] += 1.0;
        }
        for ((mut centre, sum), &count) in centres
            .rows_mut()
            .into_iter()
            .zip(sums.rows())
            .zip(&counts)
            .filter(|(_, count)| **count > 0.0)
        {
            centre.zip_mut_with(&sum, |centre, &sum| *centre = (sum / count) as f32);
        }
    }
    centres
}

/// The nearest centre of each record, `u32::MAX` where it has no vector.
fn nearest_centres(vectors: &Vectors, centres: &Array2<f32>) -> Vec<u32> {
    const BLOCK: usize = 8192;
    let search = NeighborSearch::new(centres.clone(), 1);
    let (n, dim) = (vectors.n_rows(), vectors.dim());
    let none = vec![u32::MAX; BLOCK];
    let mut lists = Vec::with_capacity(n);
    let mut buffer = Vec::new();
    for start in (0..n).step_by(BLOCK) {
        let end = (start + BLOCK).min(n);
        let rows = vectors.block(start..end, &mut buffer);
        let Ok(rows) = ArrayView2::from_shape((end - start, dim), rows) else {
            break;
        };
        let found = search.find(rows, &none);
        let nearest = found.indices.iter().zip(&found.distances);
        lists.extend(nearest.map(|(&list, d)| if d.is_nan() { u32::MAX } else { list }));
    }
    lists.resize(n, u32::MAX);
    lists
}

/// Share of the true neighbours that were found, by distance: ties may be exchanged.
fn recall(truth: &Neighbors, found: &Neighbors) -> f64 {
    let (mut n_true, mut n_found) = (0_u64, 0_u64);
    for (truth, found) in truth
        .distances
        .rows()
        .into_iter()
        .zip(found.distances.rows())
    {
        let known = truth.iter().filter(|d| !d.is_nan()).count();
        let Some(&last) = known.checked_sub(1).and_then(|last| truth.get(last)) else {
            continue;
        };
        n_true += known as u64;
        n_found += found.iter().filter(|&&distance| distance <= last).count() as u64;
    }
    if n_true == 0 {
        1.0
    } else {
        n_found as f64 / n_true as f64
    }
}
