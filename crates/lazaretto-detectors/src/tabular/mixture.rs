//! A mixture of Gaussians with as many components as the data supports.

use std::f64::consts::PI;

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::GaussianMixtureModel;
use ndarray::{Array2, ArrayView2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::tabular::ensemble::NeighborSearch;
use crate::tabular::robust_covariance::{Ellipsoid, Shrinkage};

/// Share of the rows, those farthest from their neighbours, that take no part in the fit: they
/// are what is looked for, and the first to get a component of their own.
const TRIMMED: f64 = 0.05;
/// Neighbours whose distances decide what is trimmed.
const NEIGHBORS: usize = 20;
/// Added to the variances, in units of the scaled columns: duplicates and whole numbers would
/// otherwise be clusters without extent, of infinite density.
const REGULARISATION: f64 = 1e-2;
/// A component of less than this share of the rows is not the bulk: dense groups of planted
/// records look like that. It takes no part in the density.
const LEAST_WEIGHT: f64 = 0.03;
/// Fewest rows per column and component.
const ROWS_PER_COLUMN: usize = 5;
/// Wider data gets one component: the search would take minutes.
const MAX_MIXTURE_WIDTH: usize = 128;
const MAX_ITERATIONS: u64 = 100;
const TOLERANCE: f64 = 1e-3;

/// The fitted mixture.
#[derive(Debug)]
pub(crate) struct Mixture {
    /// Logarithm of each weight, and the component.
    components: Vec<(f64, Ellipsoid)>,
}

impl Mixture {
    /// Fits mixtures of 1 to `max_components` to the trimmed `rows` (`n × width`) and keeps the
    /// one with the smallest Bayesian information criterion (Schwarz 1978). `None` when not even
    /// one component can be fitted.
    pub(crate) fn fit(
        rows: &Array2<f32>,
        max_components: usize,
        shrinkage: Shrinkage,
        seed: u64,
    ) -> Option<Self> {
        let bulk = trimmed(rows);
        let (n, width) = bulk.dim();
        let affordable = n / (ROWS_PER_COLUMN * width.max(1));
        let most = if width > MAX_MIXTURE_WIDTH {
            1
        } else {
            max_components.min(affordable).max(1)
        };
        let candidates: Vec<Option<(f64, Self)>> = (1..=most)
            .into_par_iter()
            .map(|n_components| {
                let mixture = Self::of(&bulk, n_components, shrinkage, seed)?;
                let parameters = n_components * (width + 2) * (width + 1) / 2 - 1;
                let likelihood: f64 = mixture.ln_densities(bulk.view()).iter().sum();
                let criterion = parameters as f64 * (n as f64).ln() - 2.0 * likelihood;
                criterion.is_finite().then_some((criterion, mixture))
            })
            .collect();
        candidates
            .into_iter()
            .flatten()
            // The first of equals.
            .reduce(|best, other| if other.0 < best.0 { other } else { best })
            .map(|(_, mixture)| mixture.without_small_components())
    }

    fn without_small_components(mut self) -> Self {
        self.components
            .retain(|(ln_weight, _)| *ln_weight >= LEAST_WEIGHT.ln());
        self
    }

    fn of(
        bulk: &Array2<f64>,
        n_components: usize,
        shrinkage: Shrinkage,
        seed: u64,
    ) -> Option<Self> {
        if n_components == 1 {
            let centre = bulk.mean_axis(Axis(0))?;
            let centred = bulk - &centre;
            let mut covariance = centred.t().dot(&centred) / bulk.nrows() as f64;
            covariance.diag_mut().mapv_inplace(|x| x + REGULARISATION);
            let ellipsoid = Ellipsoid::new(centre, &shrinkage.apply(covariance, bulk.nrows()))?;
            return Some(Self {
                components: vec![(0.0, ellipsoid)],
            });
        }
        let rng = ChaCha8Rng::seed_from_u64(seed ^ n_components as u64);
        let fitted = GaussianMixtureModel::params_with_rng(n_components, rng)
            .n_runs(1)
            .max_n_iterations(MAX_ITERATIONS)
            .tolerance(TOLERANCE)
            .reg_covariance(REGULARISATION)
            .fit(&DatasetBase::from(bulk.view()))
            .ok()?;
        let components = (0..n_components)
            .map(|idx| {
                let weight = fitted.weights()[idx];
                let covariance = fitted.covariances().index_axis(Axis(0), idx).to_owned();
                let n = (weight * bulk.nrows() as f64) as usize;
                let ellipsoid = Ellipsoid::new(
                    fitted.means().row(idx).to_owned(),
                    &shrinkage.apply(covariance, n),
                )?;
                Some((weight.ln(), ellipsoid))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { components })
    }

    /// Number of components.
    #[cfg(test)]
    pub(crate) fn n_components(&self) -> usize {
        self.components.len()
    }

    /// The logarithm of the density at each row.
    pub(crate) fn ln_densities(&self, rows: ArrayView2<'_, f64>) -> Vec<f64> {
        let constant = rows.ncols() as f64 * (2.0 * PI).ln();
        let mut terms = vec![Vec::with_capacity(self.components.len()); rows.nrows()];
        for (ln_weight, ellipsoid) in &self.components {
            let scale = constant + ellipsoid.ln_determinant();
            for (terms, squared) in terms.iter_mut().zip(ellipsoid.squared_distances(rows)) {
                terms.push(ln_weight - 0.5 * (squared + scale));
            }
        }
        terms
            .into_iter()
            .map(|terms: Vec<f64>| {
                // Far out every density underflows; their logarithms do not.
                let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                most + terms
                    .iter()
                    .map(|term| (term - most).exp())
                    .sum::<f64>()
                    .ln()
            })
            .collect()
    }
}

/// The rows without those farthest from their neighbours.
fn trimmed(rows: &Array2<f32>) -> Array2<f64> {
    let n = rows.nrows();
    let search = NeighborSearch::new(rows.clone(), NEIGHBORS);
    let distances = search.among_themselves();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_unstable_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(a.cmp(&b)));
    order.truncate(n - (n as f64 * TRIMMED) as usize);
    order.sort_unstable();
    rows.select(Axis(0), &order).mapv(f64::from)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn clouds(n: usize, centres: &[f32], seed: u64) -> Array2<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Array2::from_shape_fn((n, 2), |(row, _)| {
            let noise: f32 = (0..12).map(|_| rng.r#gen::<f32>()).sum::<f32>() - 6.0;
            centres[row % centres.len()] + 0.3 * noise
        })
    }

    #[test]
    fn the_number_of_clouds_is_found_and_the_gap_between_them_is_empty() {
        let rows = clouds(900, &[-4.0, 0.0, 4.0], 1);
        let mixture = Mixture::fit(&rows, 6, Shrinkage::Always, 1).unwrap();
        assert_eq!(mixture.n_components(), 3);
        let at = |x: f64| mixture.ln_densities(Array2::from_elem((1, 2), x).view())[0];
        assert!(at(2.0) < at(0.0) - 4.0 && at(2.0) < at(4.0) - 4.0);
        assert!(at(1e6).is_finite() && at(1e6) < at(100.0));
        assert_eq!(
            Mixture::fit(&clouds(900, &[0.0], 2), 6, Shrinkage::Always, 1)
                .unwrap()
                .n_components(),
            1
        );
    }

    #[test]
    fn duplicates_give_a_finite_density() {
        let rows = Array2::from_shape_fn((200, 2), |(row, _)| (row % 2) as f32);
        let mixture = Mixture::fit(&rows, 6, Shrinkage::Always, 1).unwrap();
        let densities = mixture.ln_densities(rows.mapv(f64::from).view());
        assert!(densities.iter().all(|density| density.is_finite()));
    }
}
