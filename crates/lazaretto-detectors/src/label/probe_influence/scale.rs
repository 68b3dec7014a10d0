//! Dense features on one scale, and few enough of them.

use ndarray::{ArrayView1, ArrayView2};
use xxhash_rust::xxh3::xxh3_64;

/// Standard deviations beyond which a feature is cut: least squares weigh a record by the square
/// of its distance, and one far-out record must not be the probe.
const LIMIT: f64 = 5.0;

/// Most columns of the probe. Longer features are folded: each column is added to one of so many
/// places with a random sign, which keeps inner products within some percent (Weinberger et al.
/// 2009) and costs no more than reading the record.
const MAX_DIM: usize = 1024;

/// Scales records to zero mean and unit deviation of the reference set.
#[derive(Debug)]
pub(super) struct Scaled {
    /// Mean and reciprocal deviation of each feature; 0 for constant ones, which say nothing.
    columns: Vec<(f64, f64)>,
    /// Where each feature goes, and with which sign.
    places: Vec<(usize, f32)>,
    dim: usize,
}

impl Scaled {
    /// From `features` (`n_rows × dim`, no NaN); `None` when no column varies.
    pub(super) fn of(features: ArrayView2<'_, f32>) -> Option<Self> {
        let n_rows = features.nrows().max(1) as f64;
        let columns: Vec<(f64, f64)> = features
            .columns()
            .into_iter()
            .map(|column| {
                let mean = column.iter().map(|&value| f64::from(value)).sum::<f64>() / n_rows;
                let squares = column
                    .iter()
                    .map(|&value| (f64::from(value) - mean).powi(2));
                let deviation = (squares.sum::<f64>() / n_rows).sqrt();
                // Rounding leaves a constant column a deviation of its own precision.
                let varies = deviation > 1e-6 * mean.abs() && deviation.is_normal();
                (mean, if varies { deviation.recip() } else { 0.0 })
            })
            .collect();
        if columns.iter().all(|&(_, factor)| factor <= 0.0) {
            return None;
        }
        let dim = columns.len().min(MAX_DIM);
        let place = |idx: usize| {
            if columns.len() <= MAX_DIM {
                return (idx, 1.0);
            }
            let hash = xxh3_64(&idx.to_le_bytes());
            let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
            ((hash % MAX_DIM as u64) as usize, sign)
        };
        let places = (0..columns.len()).map(place).collect();
        Some(Self {
            columns,
            places,
            dim,
        })
    }

    /// Length of a scaled record.
    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Writes the record `row`, whose features are no NaN, to `scaled`, which has [`Self::dim`]
    /// places.
    pub(super) fn apply(&self, row: ArrayView1<'_, f32>, scaled: &mut [f32]) {
        scaled.fill(0.0);
        let columns = self.columns.iter().zip(&self.places);
        for (&value, (&(mean, factor), &(place, sign))) in row.iter().zip(columns) {
            let value = ((f64::from(value) - mean) * factor).clamp(-LIMIT, LIMIT);
            scaled[place] += sign * value as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn columns_are_standardised_and_cut() {
        let features = array![[1.0_f32, 7.0], [3.0, 7.0]];
        let scale = Scaled::of(features.view()).unwrap();
        let mut scaled = [0.0; 2];
        scale.apply(features.row(1), &mut scaled);
        assert!(
            (scaled[0] - 1.0).abs() < 1e-6 && scaled[1].abs() < 1e-6,
            "{scaled:?}"
        );
        scale.apply(array![1e30_f32, 8.0].view(), &mut scaled);
        assert!((scaled[0] - 5.0).abs() < 1e-6, "{scaled:?}");
        assert!(Scaled::of(array![[2.0_f32], [2.0]].view()).is_none());
    }

    #[test]
    fn ten_thousand_columns_fold_to_few() {
        let features = Array2::from_shape_fn((3, 10_000), |(row, column)| {
            ((row * 31 + column * 17) % 13) as f32
        });
        let scale = Scaled::of(features.view()).unwrap();
        assert_eq!(scale.dim(), MAX_DIM);
        let mut scaled = vec![0.0; MAX_DIM];
        scale.apply(features.row(0), &mut scaled);
        let length = |values: &[f32]| values.iter().map(|v| v * v).sum::<f32>();
        let whole: Vec<f32> = (0..10_000)
            .map(|column| {
                let (mean, factor) = scale.columns[column];
                ((f64::from(features[(0, column)]) - mean) * factor) as f32
            })
            .collect();
        let ratio = length(&scaled) / length(&whole);
        assert!((0.7..1.4).contains(&ratio), "{ratio}");
    }
}
