//! Exact search.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use lazaretto_core::Neighbors;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::geometry::{EXTRA, Geometry, Tail, square_distance};
use super::index::Lists;
use super::nearest::Nearest;
use crate::store::Vectors;

/// Queries per task.
const QUERY_BLOCK: usize = 512;
/// Records per matrix product: with the above, half a megabyte of products, which stay in the
/// second-level cache until they are looked at.
const RECORD_BLOCK: usize = 256;
/// Products that are compared with the limit at once.
const CHUNK: usize = 64;
/// Records that centre and scale are taken from.
const SAMPLE: usize = 4096;

/// Records that can be searched for the nearest ones.
///
/// Memory: the vectors, and 8 bytes per record. Time: for each query `2 d` floating-point
/// operations per record, at close to the machine's peak.
#[derive(Debug)]
pub struct NeighborSearch {
    k: usize,
    vectors: Vectors,
    geometry: Geometry,
    tails: Vec<Tail>,
    /// Records that products say nothing about, ascending.
    far: Vec<u32>,
    n_usable: usize,
    /// Set to give up.
    stop: Arc<AtomicBool>,
}

/// Buffers of a task.
#[derive(Default)]
pub(super) struct Buffers {
    raw: Vec<f32>,
    records: Vec<f32>,
    products: Vec<f32>,
}

/// Queries of a task, with what was found for each.
pub(super) struct Queries<'a> {
    dim: usize,
    rows: &'a [f32],
    square_norms: Vec<f64>,
    /// Prepared rows, `n × (dim + 2)`.
    prepared: Vec<f32>,
    /// Index of each query among the records, `u32::MAX` where it is none of them.
    own: &'a [u32],
    nearest: Vec<Nearest>,
    limits: Vec<f32>,
}

impl NeighborSearch {
    /// Prepares the rows of `features` for `k` neighbours, or as many as there are other records.
    /// Rows with a value that is not finite are never found.
    #[must_use]
    pub fn new(features: Array2<f32>, k: usize) -> Self {
        let features = if features.is_standard_layout() {
            features
        } else {
            features.as_standard_layout().into_owned()
        };
        Self::of(Vectors::Memory(features), k)
    }

    pub(crate) fn of(vectors: Vectors, k: usize) -> Self {
        let n = vectors.n_rows();
        let step = n.div_ceil(SAMPLE).max(1);
        let mut buffer = Vec::new();
        let sample: Vec<Vec<f32>> = (0..n)
            .step_by(step)
            .map(|idx| vectors.block(idx..idx + 1, &mut buffer).to_vec())
            .collect();
        let sample: Vec<&[f32]> = sample.iter().map(Vec::as_slice).collect();
        let dim = vectors.dim();
        let geometry = Geometry::new(&sample, dim);
        let n_blocks = if dim == 0 {
            0
        } else {
            n.div_ceil(RECORD_BLOCK)
        };
        let square_norms: Vec<f64> = (0..n_blocks)
            .into_par_iter()
            .flat_map_iter(|block| {
                let start = block * RECORD_BLOCK;
                let mut buffer = Vec::new();
                let rows = vectors.block(start..(start + RECORD_BLOCK).min(n), &mut buffer);
                let norms = rows.chunks_exact(dim).map(|row| geometry.square_norm(row));
                norms.collect::<Vec<f64>>()
            })
            .collect();
        let usable = |square: &&f64| square.is_finite();
        let n_usable = square_norms.iter().filter(usable).count();
        Self {
            k: k.min(n_usable.saturating_sub(1)),
            tails: square_norms.iter().map(|&s| geometry.tail(s)).collect(),
            far: (0_u32..)
                .zip(&square_norms)
                .filter(|(_, square)| square.is_finite() && !Geometry::is_near(**square))
                .map(|(idx, _)| idx)
                .collect(),
            n_usable,
            vectors,
            geometry,
            stop: Arc::default(),
        }
    }

    /// Gives up, with whatever was found, once `stop` is set.
    pub(crate) fn until(self, stop: &Arc<AtomicBool>) -> Self {
        Self {
            stop: Arc::clone(stop),
            ..self
        }
    }

    /// Neighbours per record.
    #[must_use]
    pub fn k(&self) -> usize {
        self.k
    }

    /// Number of records that can be found.
    #[must_use]
    pub fn n_usable(&self) -> usize {
        self.n_usable
    }

    /// The neighbours of every record among the others.
    #[must_use]
    pub fn among_each_other(&self) -> Neighbors {
        let n = self.vectors.n_rows();
        self.collect(n, |buffers, start, indices, distances| {
            let end = start + indices.len() / self.k;
            let mut raw = Vec::new();
            let rows = self.vectors.block(start..end, &mut raw);
            let own: Vec<u32> = (start as u32..end as u32).collect();
            let mut queries = self.queries(rows, &own);
            // Data is often sorted. What is near in it bounds the distances, so that records
            // which come closer and closer are not all measured.
            for first in (start..end).step_by(RECORD_BLOCK) {
                self.visit(
                    &mut queries,
                    first..(first + RECORD_BLOCK).min(end),
                    buffers,
                );
            }
            queries.restart(&self.geometry);
            self.visit_all(&mut queries, buffers);
            queries.write(self.k, indices, distances);
        })
    }

    /// The neighbours of the rows of `features`. `own` has the index of each row among the
    /// records, which is not its own neighbour, and `u32::MAX` for other rows. A row with a value
    /// that is not finite gets distances that are no numbers, and index 0.
    ///
    /// # Panics
    /// When `own` is shorter than `features`, or the dimensions differ.
    #[must_use]
    pub fn find(&self, features: ArrayView2<'_, f32>, own: &[u32]) -> Neighbors {
        assert_eq!(features.ncols(), self.vectors.dim(), "dimensions differ");
        let features = features.as_standard_layout();
        let rows = features.as_slice().unwrap_or_default();
        let dim = self.vectors.dim();
        self.collect(features.nrows(), |buffers, start, indices, distances| {
            let end = start + indices.len() / self.k;
            let mut queries = self.queries(&rows[start * dim..end * dim], &own[start..end]);
            self.visit_all(&mut queries, buffers);
            queries.write(self.k, indices, distances);
        })
    }

    /// Runs `task(buffers, first query, indices, distances)` over blocks of `n` queries.
    fn collect(
        &self,
        n: usize,
        task: impl Fn(&mut Buffers, usize, &mut [u32], &mut [f32]) + Sync,
    ) -> Neighbors {
        let k = self.k;
        let mut indices = vec![0_u32; n * k];
        let mut distances = vec![f32::NAN; n * k];
        if k > 0 {
            indices
                .par_chunks_mut(QUERY_BLOCK * k)
                .zip(distances.par_chunks_mut(QUERY_BLOCK * k))
                .enumerate()
                .for_each_init(
                    Buffers::default,
                    |buffers, (block, (indices, distances))| {
                        if self.stop.load(Ordering::Relaxed) {
                            return;
                        }
                        task(buffers, block * QUERY_BLOCK, indices, distances);
                    },
                );
        }
        Neighbors {
            indices: Array2::from_shape_vec((n, k), indices).unwrap_or_default(),
            distances: Array2::from_shape_vec((n, k), distances).unwrap_or_default(),
        }
    }

    pub(super) fn queries<'a>(&self, rows: &'a [f32], own: &'a [u32]) -> Queries<'a> {
        let dim = self.vectors.dim();
        let mut queries = Queries {
            dim,
            rows,
            square_norms: Vec::with_capacity(own.len()),
            prepared: Vec::with_capacity(own.len() * (dim + EXTRA)),
            own,
            nearest: vec![Nearest::new(self.k); own.len()],
            limits: Vec::new(),
        };
        for row in rows.chunks_exact(dim) {
            let square_norm = self.geometry.square_norm(row);
            queries.square_norms.push(square_norm);
            self.geometry
                .push_query(row, square_norm, &mut queries.prepared);
        }
        queries.restart(&self.geometry);
        queries
    }

    fn visit_all(&self, queries: &mut Queries<'_>, buffers: &mut Buffers) {
        let n = self.vectors.n_rows();
        for start in (0..n).step_by(RECORD_BLOCK) {
            self.visit(queries, start..(start + RECORD_BLOCK).min(n), buffers);
        }
        self.visit_far(queries, buffers);
    }

    /// Compares queries with the records in `range`.
    fn visit(
        &self,
        queries: &mut Queries<'_>,
        range: std::ops::Range<usize>,
        buffers: &mut Buffers,
    ) {
        let (dim, n_queries) = (queries.dim, queries.own.len());
        let raw = self.vectors.block(range.clone(), &mut buffers.raw);
        buffers.records.clear();
        for (row, &tail) in raw.chunks_exact(dim).zip(&self.tails[range.clone()]) {
            self.geometry.push_record(row, tail, &mut buffers.records);
        }
        let products = multiply(
            &buffers.records,
            &queries.prepared,
            dim + EXTRA,
            &mut buffers.products,
        );
        for (query, products) in (0..n_queries).zip(products.chunks_exact(range.len())) {
            queries.look(query, products, raw, &self.geometry, |place| {
                (range.start + place) as u32
            });
        }
    }

    /// Compares the queries of the batch with the records of some lists: `pairs` has lists and
    /// queries, sorted.
    pub(super) fn visit_lists(
        &self,
        queries: &mut Queries<'_>,
        pairs: &[(u32, u32)],
        lists: &Lists,
        buffers: &mut Buffers,
    ) {
        let width = queries.dim + EXTRA;
        let mut prepared = Vec::new();
        let mut raw = Vec::new();
        for pairs in pairs.chunk_by(|a, b| a.0 == b.0) {
            prepared.clear();
            for &(_, query) in pairs {
                let start = query as usize * width;
                prepared.extend_from_slice(&queries.prepared[start..start + width]);
            }
            for members in lists.members(pairs[0].0).chunks(RECORD_BLOCK) {
                raw.clear();
                buffers.records.clear();
                for &idx in members {
                    let place = idx as usize;
                    let row = self.vectors.block(place..place + 1, &mut buffers.raw);
                    raw.extend_from_slice(row);
                    let tail = self.tails[place];
                    self.geometry.push_record(row, tail, &mut buffers.records);
                }
                let records = &buffers.records;
                let products = multiply(records, &prepared, width, &mut buffers.products);
                for (&(_, query), products) in
                    pairs.iter().zip(products.chunks_exact(members.len()))
                {
                    queries.look(query as usize, products, &raw, &self.geometry, |place| {
                        members[place]
                    });
                }
            }
        }
    }

    /// Measures what products say nothing about.
    pub(super) fn visit_far(&self, queries: &mut Queries<'_>, buffers: &mut Buffers) {
        for query in 0..queries.own.len() {
            for &idx in &self.far {
                let place = idx as usize;
                let row = self.vectors.block(place..place + 1, &mut buffers.raw);
                queries.measure(query, row, idx, &self.geometry);
            }
        }
    }
}

impl Queries<'_> {
    /// Forgets what was found, but for how near it is.
    fn restart(&mut self, geometry: &Geometry) {
        self.limits.clear();
        for (nearest, &square_norm) in self.nearest.iter_mut().zip(&self.square_norms) {
            nearest.restart();
            self.limits
                .push(geometry.limit(nearest.bound(), square_norm));
        }
    }

    /// Measures the records, rows of `raw`, whose products with a query say that they may be near.
    fn look(
        &mut self,
        query: usize,
        products: &[f32],
        raw: &[f32],
        geometry: &Geometry,
        idx_of: impl Fn(usize) -> u32,
    ) {
        let dim = self.dim;
        for (chunk, first) in products.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
            if !any_above(chunk, self.limits[query]) {
                continue;
            }
            for (&product, place) in chunk.iter().zip(first..) {
                if product > self.limits[query] {
                    let row = &raw[place * dim..(place + 1) * dim];
                    self.measure(query, row, idx_of(place), geometry);
                }
            }
        }
    }

    fn measure(&mut self, query: usize, row: &[f32], idx: u32, geometry: &Geometry) {
        if idx == self.own[query] {
            return;
        }
        let own = &self.rows[query * self.dim..(query + 1) * self.dim];
        let square = square_distance(own, row);
        if square.is_finite() {
            let nearest = &mut self.nearest[query];
            nearest.offer(square, idx);
            self.limits[query] = geometry.limit(nearest.bound(), self.square_norms[query]);
        }
    }

    pub(super) fn write(&self, k: usize, indices: &mut [u32], distances: &mut [f32]) {
        let slots = indices
            .chunks_exact_mut(k)
            .zip(distances.chunks_exact_mut(k));
        for (nearest, (indices, distances)) in self.nearest.iter().zip(slots) {
            let places = indices.iter_mut().zip(distances);
            for (&(square, idx), (index, distance)) in nearest.found().iter().zip(places) {
                *index = idx;
                // An infinite distance would look like a missing one.
                *distance = square.sqrt().min(f64::from(f32::MAX)) as f32;
            }
        }
    }
}

/// Products of all records with all queries; those of a query are consecutive.
fn multiply<'a>(
    records: &[f32],
    queries: &[f32],
    width: usize,
    products: &'a mut Vec<f32>,
) -> &'a [f32] {
    let (n_records, n_queries) = (records.len() / width, queries.len() / width);
    products.resize(n_records * n_queries, 0.0);
    matmul(
        MatMut::from_column_major_slice_mut(products, n_records, n_queries),
        Accum::Replace,
        MatRef::from_row_major_slice(records, n_records, width),
        MatRef::from_column_major_slice(queries, width, n_queries),
        1.0_f32,
        Par::Seq,
    );
    products
}

/// Without branches, so that it is done many at a time.
fn any_above(products: &[f32], limit: f32) -> bool {
    let mut any = 0;
    for &product in products {
        any |= u32::from(product > limit);
    }
    any != 0
}
