//! Histograms of records along random directions.

use ndarray::{ArrayView1, ArrayView2};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::tabular::sample::Rows;
use crate::tabular::standardised::{BLOCK_ROWS, Standardisation};

/// Number of bins for a histogram of `n` values by the Rice rule, `2 ∛n`.
pub(crate) fn rice_bins(n: usize) -> usize {
    ((n as f64).cbrt() * 2.0).ceil().clamp(5.0, 200.0) as usize
}

/// A direction in a few of the columns, and how the sample is spread along it.
#[derive(Debug)]
struct Cut {
    /// Column and weight.
    parts: Vec<(usize, f32)>,
    start: f32,
    end: f32,
    per_length: f32,
    /// Surprise of a value before the first bin, in each bin, and after the last.
    surprises: Vec<f32>,
}

/// Random directions with their histograms.
#[derive(Debug)]
pub struct RandomCuts {
    standardisation: Standardisation,
    cuts: Vec<Cut>,
}

impl RandomCuts {
    /// `n_cuts` cuts of `sample` (`n_rows × width`, NaN where missing), each a histogram of `n_bins`
    /// bins. Cut `i` depends on `seed`, `i` and the sample alone. Without a column that varies there
    /// are no cuts.
    pub(crate) fn of(sample: ArrayView2<'_, f64>, n_cuts: usize, n_bins: usize, seed: u64) -> Self {
        let standardisation = Standardisation::of(sample);
        let n_columns = standardisation.n_columns();
        let cuts = if n_columns == 0 {
            Vec::new()
        } else {
            let sample = standardisation.sample(sample);
            (0..n_cuts)
                .filter_map(|cut_idx| {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(cut_idx as u64);
                    let n_parts = n_columns.isqrt();
                    let parts = index::sample(&mut rng, n_columns, n_parts)
                        .into_iter()
                        .map(|column| (column, normal(&mut rng)));
                    Cut::of(sample.view(), parts.collect(), n_bins)
                })
                .collect()
        };
        Self {
            standardisation,
            cuts,
        }
    }

    /// Whether there is nothing to score by.
    pub(crate) fn is_empty(&self) -> bool {
        self.cuts.is_empty()
    }

    /// Number of values per record.
    pub(crate) fn width(&self) -> usize {
        self.standardisation.width()
    }

    /// Scores `scores.len()` rows (at most [`BLOCK_ROWS`]) from `first` on: the mean surprise over
    /// the cuts that need none of the row's missing values. NaN where every cut does.
    pub(crate) fn score(&self, rows: &Rows<'_>, first: usize, scores: &mut [f32]) {
        let block = self.standardisation.block(rows, first, scores.len());
        let mut sums = [0.0_f32; BLOCK_ROWS];
        let mut n_used = [0_u32; BLOCK_ROWS];
        for cut in &self.cuts {
            let mut projections = [0.0_f32; BLOCK_ROWS];
            for &(column, weight) in &cut.parts {
                for (projection, &value) in projections.iter_mut().zip(block.row(column)) {
                    *projection += weight * value;
                }
            }
            let targets = sums.iter_mut().zip(&mut n_used);
            for (projection, (sum, n_used)) in projections.into_iter().zip(targets) {
                let is_known = !projection.is_nan();
                *sum += if is_known {
                    cut.surprise(projection)
                } else {
                    0.0
                };
                *n_used += u32::from(is_known);
            }
        }
        for ((score, sum), n_used) in scores.iter_mut().zip(sums).zip(n_used) {
            // No cut used is 0 / 0, which is NaN.
            *score = sum / n_used as f32;
        }
    }
}

impl Cut {
    /// `None` when the sample has no two different values along the direction.
    fn of(sample: ArrayView2<'_, f32>, parts: Vec<(usize, f32)>, n_bins: usize) -> Option<Self> {
        let project = |row: ArrayView1<'_, f32>| -> f32 {
            // In the order of [`RandomCuts::score`], so that the sums round the same way.
            let terms = parts.iter().map(|&(column, weight)| weight * row[column]);
            terms.fold(0.0, |sum, term| sum + term)
        };
        let projections: Vec<f32> = sample
            .rows()
            .into_iter()
            .map(project)
            .filter(|projection| !projection.is_nan())
            .collect();
        let start = projections.iter().copied().fold(f32::INFINITY, f32::min);
        let end = projections
            .iter()
            .copied()
            .fold(f32::NEG_INFINITY, f32::max);
        let per_length = n_bins as f32 / (end - start);
        if !(end > start && per_length.is_finite()) {
            return None;
        }
        let mut cut = Self {
            parts,
            start,
            end,
            per_length,
            surprises: vec![0.0; n_bins + 2],
        };
        let mut counts = vec![0_u32; n_bins + 2];
        for &projection in &projections {
            counts[cut.bin(projection)] += 1;
        }
        let n = projections.len() as f32;
        for (surprise, count) in cut.surprises.iter_mut().zip(counts) {
            // An empty bin is as rare as half a record.
            let share = if count == 0 {
                0.5 / n
            } else {
                count as f32 / n
            };
            *surprise = -share.ln();
        }
        Some(cut)
    }

    /// 0 before the first bin, then the bins, then one behind the last.
    fn bin(&self, projection: f32) -> usize {
        let position = (projection - self.start) * self.per_length + 1.0;
        // The largest value belongs to the last bin, not behind it.
        let behind = self.surprises.len() - 1;
        let last = if projection > self.end {
            behind
        } else {
            behind - 1
        };
        position.clamp(0.0, last as f32) as i32 as usize
    }

    fn surprise(&self, projection: f32) -> f32 {
        self.surprises[self.bin(projection)]
    }
}

/// A draw from the standard normal distribution (Box–Muller, one of the pair).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.r#gen::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * rng.r#gen::<f64>()).cos()) as f32
}
