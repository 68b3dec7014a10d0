//! Numbers of any unit as coordinates in which distances and covariances mean something.

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::tabular::record_sample::{LARGEST, Records, Sample};

/// Coordinates beyond this grow logarithmically: one absurd value should not drown the others.
const SOFT_LIMIT: f64 = 5.0;
/// Rows that are scored together, in one matrix product.
pub(crate) const BLOCK_ROWS: usize = 256;
/// More columns than this are projected to as many coordinates.
const MAX_WIDTH: usize = 512;
/// From this many columns on it is asked whether they are the parts of one vector.
const VECTOR_WIDTH: usize = 128;
/// The parts of a vector have more distinct values than this, in nine of ten columns.
const VECTOR_DISTINCT: usize = 20;
/// Spreads of the columns at most this far apart, from the lowest to the highest tenth.
const VECTOR_SPREADS: f64 = 4.0;
/// Sets the projection apart from other uses of the run's seed.
const PROJECTION: u64 = 0x70_726f_6a65_6374;

/// Centre and spread of one column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    column: usize,
    centre: f64,
    spread: f64,
}

impl Scale {
    /// Mean and standard deviation after values far beyond the outer half percents were pulled
    /// in; `None` for a constant column. Quartiles are not used: most columns of counts and
    /// indicators have none to speak of.
    pub(crate) fn of(column: usize, values: ArrayView1<'_, f64>) -> Option<Self> {
        let mut known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        known.sort_unstable_by(f64::total_cmp);
        let (first, last) = (*known.first()?, *known.last()?);
        let margin = known.len() / 200;
        let (low, high) = (known[margin], known[known.len() - 1 - margin]);
        let (low, high) = if low < high {
            let range = high - low;
            (low - range, high + range)
        } else {
            (first, last)
        };
        let n = known.len() as f64;
        let tame = |value: f64| value.clamp(low, high);
        let centre = known.iter().map(|&value| tame(value) / n).sum::<f64>();
        let variance = known
            .iter()
            .map(|&value| (tame(value) - centre).powi(2) / n);
        let spread = variance.sum::<f64>().sqrt();
        // Rounding alone must not look like a spread.
        (spread > centre.abs() * 1e-12 && spread <= LARGEST).then_some(Self {
            column,
            centre,
            spread,
        })
    }

    /// The coordinate of a value; 0 for NaN, so that a missing value is an ordinary one.
    pub(crate) fn apply(self, value: f64) -> f32 {
        let scaled = (value - self.centre) / self.spread;
        if scaled.is_nan() {
            return 0.0;
        }
        let excess = (scaled.abs() - SOFT_LIMIT).max(0.0);
        (scaled.abs().min(SOFT_LIMIT) + excess.ln_1p()).copysign(scaled) as f32
    }
}

/// Whether the numbers look like the parts of one vector (an embedding in columns of its own):
/// many columns of one unit with many values each.
pub(crate) fn looks_like_vectors(sample: &Sample) -> bool {
    let n_columns = sample.numbers.ncols();
    if n_columns < VECTOR_WIDTH {
        return false;
    }
    let columns: Vec<_> = sample.numbers.axis_iter(Axis(1)).enumerate().collect();
    let (mut spreads, rich): (Vec<f64>, Vec<bool>) = columns
        .into_par_iter()
        .filter_map(|(column, values)| {
            let spread = Scale::of(column, values)?.spread;
            let mut bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            bits.sort_unstable();
            bits.dedup();
            Some((spread, bits.len() > VECTOR_DISTINCT))
        })
        .unzip();
    let n_rich = rich.iter().filter(|&&rich| rich).count();
    if n_rich * 10 < n_columns * 9 {
        return false;
    }
    spreads.sort_unstable_by(f64::total_cmp);
    let last = spreads.len() - 1;
    spreads[last - last / 10] <= VECTOR_SPREADS * spreads[last / 10]
}

/// The coordinates of records: scaled columns without the constant ones, or a random projection
/// of them where there are more than [`MAX_WIDTH`] (Johnson & Lindenstrauss 1984; random signs as
/// in Achlioptas 2003).
#[derive(Debug)]
pub(crate) struct Coordinates {
    scales: Vec<Scale>,
    /// `n_scaled × MAX_WIDTH`.
    projection: Option<Array2<f32>>,
}

impl Coordinates {
    /// Learns the scales from the sample; `None` when every column is constant. With
    /// `common_spread` all columns share one unit, as the parts of a vector do.
    pub(crate) fn fit(sample: &Sample, common_spread: bool, seed: u64) -> Option<Self> {
        let columns: Vec<_> = sample.numbers.axis_iter(Axis(1)).collect();
        let mut scales: Vec<Scale> = columns
            .into_par_iter()
            .enumerate()
            .filter_map(|(column, values)| Scale::of(column, values))
            .collect();
        if scales.is_empty() {
            return None;
        }
        if common_spread {
            let total: f64 = scales.iter().map(|scale| scale.spread.powi(2)).sum();
            let spread = (total / scales.len() as f64).sqrt();
            for scale in &mut scales {
                scale.spread = spread;
            }
        }
        let projection = (scales.len() > MAX_WIDTH).then(|| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed ^ PROJECTION);
            let length = (1.0 / MAX_WIDTH as f32).sqrt();
            Array2::from_shape_simple_fn((scales.len(), MAX_WIDTH), || {
                if rng.r#gen::<bool>() { length } else { -length }
            })
        });
        Some(Self { scales, projection })
    }

    /// Number of coordinates.
    pub(crate) fn width(&self) -> usize {
        self.scales.len().min(MAX_WIDTH)
    }

    /// The coordinates of `n_rows` records from `first_row` on. The result always has
    /// [`BLOCK_ROWS`] rows, zero beyond `n_rows`: matrix products of one shape give each row the
    /// same bits wherever it stands.
    pub(crate) fn of(&self, records: &Records<'_>, first_row: usize, n_rows: usize) -> Array2<f32> {
        let scaled = Array2::from_shape_fn((BLOCK_ROWS, self.scales.len()), |(row, idx)| {
            let scale = self.scales[idx];
            if row < n_rows {
                scale.apply(records.number(first_row + row, scale.column))
            } else {
                0.0
            }
        });
        match &self.projection {
            Some(projection) => scaled.dot(projection),
            None => scaled,
        }
    }

    /// The coordinates of the first `n_rows` records of the sample, `n_rows × width`.
    pub(crate) fn of_sample(&self, sample: &Sample, n_rows: usize) -> Array2<f32> {
        let n_rows = n_rows.min(sample.n_rows());
        let categories = sample.columns_of_categories();
        let records = sample.records(&categories);
        let blocks: Vec<Array2<f32>> = (0..n_rows.div_ceil(BLOCK_ROWS))
            .into_par_iter()
            .map(|block| {
                let first_row = block * BLOCK_ROWS;
                let in_block = BLOCK_ROWS.min(n_rows - first_row);
                let coordinates = self.of(&records, first_row, in_block);
                coordinates.slice_move(s![..in_block, ..])
            })
            .collect();
        let views: Vec<_> = blocks.iter().map(Array2::view).collect();
        concatenate(Axis(0), &views).unwrap_or_default()
    }
}

/// The same numbers in double precision.
pub(crate) fn widen(values: ArrayView2<'_, f32>) -> Array2<f64> {
    values.mapv(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_absurd_value_does_not_set_the_scale() {
        let mut values: Vec<f64> = (0..1000).map(|i| f64::from(i % 100)).collect();
        values[7] = LARGEST;
        let scale = Scale::of(0, ArrayView1::from(&values)).unwrap();
        assert!(scale.spread < 40.0, "{scale:?}");
        assert!(scale.apply(LARGEST).is_finite());
        assert!(scale.apply(LARGEST) > scale.apply(1e6));
        assert!(scale.apply(f64::NAN).abs() < 1e-6);
    }

    #[test]
    fn rare_indicators_have_a_scale_and_constants_do_not() {
        let mut values = vec![0.0; 1000];
        assert!(Scale::of(0, ArrayView1::from(&values)).is_none());
        values[1] = 1.0;
        let scale = Scale::of(0, ArrayView1::from(&values)).unwrap();
        assert!(scale.apply(1.0) > 5.0);
        assert!(Scale::of(0, ArrayView1::from(&[0.1 + 0.2, 0.3])).is_none());
        assert!(Scale::of(0, ArrayView1::from(&[f64::NAN])).is_none());
    }
}
