//! One column's histogram of equal bins, compiled for fast lookup.

use lazaretto_features::QuantileSketch;

use crate::tabular::column_scores::ColumnScore;

/// How suspicious each value of one column is, by the density of its bin.
#[derive(Debug)]
pub struct HistogramTable {
    scaling: Scaling,
    /// Borders of the bins after scaling, one more than there are bins; empty for a constant
    /// column.
    edges: Vec<f64>,
    /// Bins per unit of the scaled column.
    per_unit: f64,
    /// Score of each bin.
    scores: Vec<f32>,
    /// Score of a value outside all bins: that of the rarest.
    outside: f32,
    /// Score of a missing value: the mean over the column.
    missing: f32,
}

/// Maps values to the axis on which the bins lie. Values are scaled before they are compared with
/// borders, as by a user who scales the columns first: whole numbers often lie on a border, and
/// rounding then decides.
#[derive(Clone, Copy, Debug)]
struct Scaling {
    half_start: f64,
    half_length: f64,
}

impl Scaling {
    const NONE: Self = Self {
        half_start: 0.0,
        half_length: 0.5,
    };

    /// Halves, because the difference of two finite values can be infinite.
    fn apply(self, value: f64) -> f64 {
        (value / 2.0 - self.half_start) / self.half_length
    }
}

impl HistogramTable {
    /// Cuts a column into `n_bins` bins of the same width and scores each
    /// `−log₂(density + alpha)`. Densities are per unit of the column or, when `unit_free`, per
    /// range of the column.
    pub(crate) fn new(sketch: &QuantileSketch, n_bins: usize, alpha: f64, unit_free: bool) -> Self {
        let finite: Vec<(f64, f64, f64)> = sketch
            .steps()
            .filter(|(value, ..)| value.is_finite())
            .collect();
        let ends = finite.first().zip(finite.last());
        // Halves of the smallest numbers can be equal.
        let Some((&low, &high)) = ends.filter(|(low, high)| low.0 / 2.0 < high.0 / 2.0) else {
            return Self::constant();
        };
        let scaling = if unit_free {
            Scaling {
                half_start: low.0 / 2.0,
                half_length: high.0 / 2.0 - low.0 / 2.0,
            }
        } else {
            Scaling::NONE
        };
        let (start, end) = (scaling.apply(low.0), scaling.apply(high.0));
        let width = (end / 2.0 - start / 2.0) / n_bins as f64 * 2.0;
        let mut edges: Vec<f64> = (0..n_bins).map(|bin| start + bin as f64 * width).collect();
        edges.push(end);

        let total = high.2 - low.1;
        let points = finite
            .iter()
            .map(|&(value, below, upto)| (scaling.apply(value), below - low.1, upto - low.1));
        let below = masses_below(&points.collect::<Vec<_>>(), &edges[..n_bins]);
        let ends_of_bins = below.iter().copied().skip(1).chain([total]);
        let (mut mean, mut scores) = (0.0, Vec::with_capacity(n_bins));
        for (start, end) in below.iter().zip(ends_of_bins) {
            let share = (end - start).max(0.0) / total;
            let density = (share / width).min(f64::MAX);
            let score = -(density + alpha).log2();
            mean += share * score;
            scores.push(score as f32);
        }
        let per_unit = 1.0 / width;
        Self {
            scaling,
            edges,
            per_unit: if per_unit.is_finite() { per_unit } else { 0.0 },
            outside: scores.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            scores,
            missing: mean as f32,
        }
    }

    fn constant() -> Self {
        Self {
            scaling: Scaling::NONE,
            edges: Vec::new(),
            per_unit: 0.0,
            scores: Vec::new(),
            outside: 0.0,
            missing: 0.0,
        }
    }

    /// The score of one value. Bins contain their upper border here, as in `PyOD`, and their lower
    /// one where they are counted, as in `NumPy`.
    fn value(&self, value: f64) -> f32 {
        let value = self.scaling.apply(value);
        let (start, end) = (self.edges[0], self.edges[self.scores.len()]);
        if value >= start && value <= end {
            // Rounding may miss by one bin either way.
            let guess = ((value - start) * self.per_unit) as usize;
            let mut bin = guess.min(self.scores.len() - 1);
            if value > self.edges[bin + 1] {
                bin += 1;
            } else if value <= self.edges[bin] && bin > 0 {
                bin -= 1;
            }
            self.scores[bin]
        } else if value.is_nan() {
            self.missing
        } else {
            self.outside
        }
    }
}

impl ColumnScore for HistogramTable {
    fn is_constant(&self) -> bool {
        self.scores.is_empty()
    }

    fn add(&self, values: &[f64], sums: &mut [f32]) {
        if self.is_constant() {
            return;
        }
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += self.value(value);
        }
    }
}

/// The mass below each of `edges`, from `points` `(value, mass below, mass up to)`; both ascending.
/// Between two points the mass is spread evenly.
fn masses_below(points: &[(f64, f64, f64)], edges: &[f64]) -> Vec<f64> {
    let mass_below = |&edge: &f64| {
        let idx = points.partition_point(|&(value, ..)| value < edge);
        match (idx.checked_sub(1).map(|idx| points[idx]), points.get(idx)) {
            (Some((left, _, upto)), Some(&(right, below, _))) => {
                let share = (edge - left) / (right - left);
                upto + (below - upto) * share.clamp(0.0, 1.0)
            }
            (None, _) => 0.0,
            (Some((_, _, upto)), None) => upto,
        }
    };
    edges.iter().map(mass_below).collect()
}
