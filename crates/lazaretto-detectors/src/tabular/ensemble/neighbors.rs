//! Distances to the nearest records of the sample.

use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

/// Rows of the sample per matrix product: distances stay in a core's cache.
const BLOCK: usize = 1024;
/// Queries per matrix product.
const QUERY_ROWS: usize = 256;

/// The sample's coordinates, prepared for search by matrix products.
#[derive(Debug)]
pub(crate) struct NeighborSearch {
    /// `n_rows × width`.
    rows: Array2<f32>,
    /// Half the squared length of each.
    half_norms: Vec<f32>,
    k: usize,
}

impl NeighborSearch {
    /// Prepares a search for `k` neighbours among `rows`, or half of them where there are few.
    pub(crate) fn new(rows: Array2<f32>, k: usize) -> Self {
        let half_norms = rows
            .rows()
            .into_iter()
            .map(|row| row.dot(&row) / 2.0)
            .collect();
        let k = k.min((rows.nrows().saturating_sub(1) / 2).max(1));
        Self {
            rows,
            half_norms,
            k,
        }
    }

    /// The mean distance of each row to its `k` nearest other rows.
    pub(crate) fn among_themselves(&self) -> Vec<f32> {
        let n_rows = self.rows.nrows();
        (0..n_rows.div_ceil(QUERY_ROWS))
            .into_par_iter()
            .flat_map_iter(|block| {
                let start = block * QUERY_ROWS;
                let end = (start + QUERY_ROWS).min(n_rows);
                let own: Vec<Option<u32>> = (start..end).map(|row| Some(row as u32)).collect();
                self.mean_distances(self.rows.slice(s![start..end, ..]), &own)
            })
            .collect()
    }

    /// The mean distance of each query to its `k` nearest rows. `own` is the row that holds the
    /// query itself, which does not count.
    ///
    /// Squared distances come from `‖a‖² + ‖b‖² − 2 a·b`, which loses the digits of distances
    /// below a thousandth of the coordinates' length: such neighbours count as distance 0 or
    /// nearly so, which is what they are on this scale.
    pub(crate) fn mean_distances(
        &self,
        queries: ArrayView2<'_, f32>,
        own: &[Option<u32>],
    ) -> Vec<f32> {
        let mut nearest = vec![Nearest::new(self.k); queries.nrows()];
        for start in (0..self.rows.nrows()).step_by(BLOCK) {
            let end = (start + BLOCK).min(self.rows.nrows());
            let mut products = queries.dot(&self.rows.slice(s![start..end, ..]).t());
            for ((mut products, nearest), own) in
                products.rows_mut().into_iter().zip(&mut nearest).zip(own)
            {
                let Some(products) = products.as_slice_mut() else {
                    continue;
                };
                for (product, half_norm) in products.iter_mut().zip(&self.half_norms[start..end]) {
                    *product = half_norm - *product;
                }
                if let Some(own) = own.map(|own| own as usize)
                    && (start..end).contains(&own)
                {
                    products[own - start] = f32::INFINITY;
                }
                nearest.offer_all(products);
            }
        }
        let lengths = queries.rows().into_iter().map(|row| row.dot(&row));
        nearest
            .into_iter()
            .zip(lengths)
            .map(|(nearest, length)| nearest.mean_distance(length))
            .collect()
    }
}

/// The smallest values seen so far: kept unsorted, and cut to the `k` smallest when there are
/// twice as many.
#[derive(Clone, Debug)]
struct Nearest {
    k: usize,
    found: Vec<f32>,
    bound: f32,
}

impl Nearest {
    fn new(k: usize) -> Self {
        Self {
            k,
            found: Vec::with_capacity(2 * k),
            bound: f32::INFINITY,
        }
    }

    fn offer_all(&mut self, values: &[f32]) {
        for chunk in values.chunks(16) {
            // Almost all chunks hold nothing near; one comparison of the minimum settles that.
            let least = chunk.iter().copied().fold(f32::INFINITY, f32::min);
            if least >= self.bound {
                continue;
            }
            for &value in chunk {
                if value < self.bound {
                    self.found.push(value);
                    if self.found.len() == 2 * self.k {
                        self.cut();
                    }
                }
            }
        }
    }

    fn cut(&mut self) {
        if self.found.len() > self.k {
            let (_, kth, _) = self
                .found
                .select_nth_unstable_by(self.k - 1, f32::total_cmp);
            self.bound = *kth;
            self.found.truncate(self.k);
        }
    }

    fn mean_distance(mut self, length: f32) -> f32 {
        self.cut();
        // In ascending order, so that the sum is the same in whichever order they came.
        self.found.sort_unstable_by(f32::total_cmp);
        let sum: f32 = self
            .found
            .iter()
            .map(|half| (2.0 * half + length).max(0.0).sqrt())
            .sum();
        sum / self.found.len().max(1) as f32
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn the_mean_is_that_of_the_nearest_others() {
        let rows = Array2::from_shape_fn((3000, 2), |(row, column)| {
            if column == 0 { row as f32 / 100.0 } else { 1.0 }
        });
        let search = NeighborSearch::new(rows.clone(), 4);
        let queries = rows.slice(s![1500..1502, ..]);
        let found = search.mean_distances(queries, &[Some(1500), None]);
        // Two at 0.01 and two at 0.02; with itself counted, 0, twice 0.01 and one of 0.02.
        assert!((found[0] - 0.015).abs() < 2e-3, "{found:?}");
        assert!((found[1] - 0.01).abs() < 2e-3, "{found:?}");
        let far = Array2::from_elem((1, 2), 1000.0);
        assert!(search.mean_distances(far.view(), &[None])[0] > 1300.0);
    }

    #[test]
    fn few_rows_and_duplicates_give_finite_distances() {
        for n in 1..6 {
            let search = NeighborSearch::new(Array2::zeros((n, 3)), 40);
            let queries = Array2::zeros((2, 3));
            for distance in search.mean_distances(queries.view(), &[Some(0), None]) {
                assert!(distance.is_finite() || n == 1, "{n}: {distance}");
            }
        }
    }
}
