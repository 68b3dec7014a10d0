//! Scaled columns as dense features.
//!
//! A numeric column is centred at its median and divided by its interquartile range (in units of
//! the normal distribution), so that outliers do not hide themselves by widening the scale. In a
//! trial on 21 `ADBench` sets the mean AUROC of the distance to 10 neighbours was 0.709 with this
//! scale, 0.705 with z-scores, 0.690 with min–max and 0.649 with an arcsinh on top. Beyond 30 units
//! values grow logarithmically, because one absurd column should not drown all others.
//!
//! A categorical column becomes indicators of its most frequent values, scaled so that two records
//! that differ in it are one unit apart.

use std::f32::consts::FRAC_1_SQRT_2;

use ndarray::ArrayViewMut1;

use crate::payload::Payload;

/// Interquartile range of the standard normal distribution.
const NORMAL_IQR: f64 = 1.349;
/// Distance from the 1 % to the 99 % quantile of the standard normal distribution.
const NORMAL_P98: f64 = 4.653;
/// Scaled values beyond this grow logarithmically.
const SOFT_LIMIT: f64 = 30.0;
/// Indicators per categorical column; rarer values share one more.
const MAX_INDICATORS: usize = 12;

/// Centre and scale of a numeric column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    centre: f64,
    spread: f64,
}

impl Scale {
    /// From the finite ones of `values`, which are reordered; `None` for a constant column.
    pub(crate) fn of(values: &mut Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_unstable_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let at = |percent: usize| values[(values.len() - 1) * percent / 100];
        // A column with a dominating value has no interquartile range: wider ones follow.
        let spread = [
            (at(75) - at(25)) / NORMAL_IQR,
            (at(99) - at(1)) / NORMAL_P98,
            last / 2.0 - first / 2.0,
        ]
        .into_iter()
        .find(|spread| *spread > 0.0)?;
        Some(Self {
            centre: at(50),
            spread,
        })
    }

    /// The scaled value; 0 for NaN.
    pub(crate) fn apply(self, value: f64) -> f64 {
        let scaled = (value - self.centre) / self.spread;
        if scaled.is_nan() {
            return 0.0;
        }
        let excess = (scaled.abs() - SOFT_LIMIT).max(0.0);
        (scaled.abs().min(SOFT_LIMIT) + excess.min(f64::MAX).ln_1p()).copysign(scaled)
    }
}

/// The indicators of a categorical column: sorted hashes with their place.
#[derive(Clone, Debug)]
struct Indicators {
    places: Vec<(u64, u32)>,
}

/// Turns the values of a record into dense features.
#[derive(Clone, Debug)]
pub(crate) struct ColumnScaler {
    numeric: Vec<Option<Scale>>,
    categorical: Vec<Indicators>,
    dim: usize,
}

impl ColumnScaler {
    pub(crate) fn fit(rows: &[&Payload]) -> Self {
        let n_numeric = rows.first().map_or(0, |row| row.numeric.len());
        let n_categorical = rows.first().map_or(0, |row| row.categorical.len());
        let numeric: Vec<_> = (0..n_numeric)
            .map(|column| Scale::of(&mut rows.iter().map(|row| row.numeric[column]).collect()))
            .collect();
        let mut dim = numeric.iter().flatten().count();
        let categorical = (0..n_categorical)
            .map(|column| {
                let counts = value_counts(rows.iter().map(|row| row.categorical[column]));
                // The last place is for all other values.
                let used = counts.len().min(MAX_INDICATORS);
                let mut places: Vec<(u64, u32)> = counts
                    .iter()
                    .take(used)
                    .enumerate()
                    .map(|(idx, &(value, _))| (value, (dim + idx) as u32))
                    .collect();
                places.sort_unstable();
                dim += used + 1;
                Indicators { places }
            })
            .collect();
        Self {
            numeric,
            categorical,
            dim,
        }
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Writes the features of a record; leaves `row` NaN when the record has no value at all.
    pub(crate) fn fill(
        &self,
        mut row: ArrayViewMut1<'_, f32>,
        numeric: &[f64],
        categorical: &[u64],
    ) {
        let missing = |value: &f64| value.is_nan();
        if numeric.iter().all(missing) && categorical.iter().all(|&value| value == 0) {
            return;
        }
        row.fill(0.0);
        let scales = self.numeric.iter().zip(numeric);
        let scaled = scales.filter_map(|(scale, &value)| scale.map(|scale| scale.apply(value)));
        let mut end = 0;
        for value in scaled {
            row[end] = value as f32;
            end += 1;
        }
        for (column, &value) in self.categorical.iter().zip(categorical) {
            let width = column.places.len() + 1;
            let place = match column.places.binary_search_by_key(&value, |place| place.0) {
                Ok(found) => column.places[found].1 as usize,
                Err(_) => end + width - 1,
            };
            row[place] = FRAC_1_SQRT_2;
            end += width;
        }
    }

    pub(crate) fn describe(&self) -> String {
        let used = self.numeric.iter().flatten().count();
        format!(
            "{used} numeric columns scaled by median and interquartile range ({} constant ones \
             left out) and {} categorical columns as indicators, {} dimensions",
            self.numeric.len() - used,
            self.categorical.len(),
            self.dim
        )
    }
}

/// Distinct values with their counts, the most frequent first, ties by value.
pub(crate) fn value_counts(values: impl Iterator<Item = u64>) -> Vec<(u64, usize)> {
    let mut sorted: Vec<u64> = values.collect();
    sorted.sort_unstable();
    let mut counts: Vec<(u64, usize)> = sorted
        .chunk_by(|a, b| a == b)
        .map(|run| (run[0], run.len()))
        .collect();
    counts.sort_by_key(|&(value, count)| (std::cmp::Reverse(count), value));
    counts
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::*;

    #[test]
    fn outliers_do_not_widen_their_own_scale() {
        let mut values: Vec<f64> = (0..100).map(f64::from).collect();
        values.extend([1e9; 5]);
        let scale = Scale::of(&mut values).unwrap();
        assert!(scale.apply(100.0).abs() < 3.0);
        assert!(scale.apply(1e9) > 30.0 && scale.apply(1e9) < 60.0);
        assert!(scale.apply(f64::NEG_INFINITY) < -30.0 && scale.apply(f64::MIN).is_finite());
        assert!(scale.apply(f64::NAN).abs() < 1e-12);
        assert!(Scale::of(&mut vec![2.0; 9]).is_none());
        assert!(Scale::of(&mut vec![f64::NAN, f64::INFINITY]).is_none());
        // 92 % zeros still have a scale.
        let mut zeros = vec![0.0; 92];
        zeros.extend((1..=8).map(f64::from));
        assert!(Scale::of(&mut zeros).unwrap().apply(8.0) > 1.0);
    }

    #[test]
    fn records_that_differ_in_one_category_are_one_unit_apart() {
        let payload = |value: f64, category: u64| Payload {
            numeric: vec![value, 7.0],
            categorical: vec![category],
            ..Payload::default()
        };
        let rows: Vec<Payload> = (0..60_u32)
            .map(|i| payload(f64::from(i), u64::from(i % 3 + 1)))
            .collect();
        let scaler = ColumnScaler::fit(&rows.iter().collect::<Vec<_>>());
        // One varying numeric column, three values and the rest.
        assert_eq!(scaler.dim(), 5);
        let features = |value: f64, category: u64| {
            let mut row = Array1::from_elem(5, f32::NAN);
            scaler.fill(row.view_mut(), &[value, 7.0], &[category]);
            row
        };
        let distance = |a: &Array1<f32>, b: &Array1<f32>| (a - b).mapv(|x| x * x).sum().sqrt();
        for (a, b) in [(1, 2), (2, 99), (3, 0)] {
            let apart = distance(&features(5.0, a), &features(5.0, b));
            assert!((apart - 1.0).abs() < 1e-6);
        }
        let mut nothing = Array1::from_elem(5, f32::NAN);
        scaler.fill(nothing.view_mut(), &[f64::NAN, f64::NAN], &[0]);
        assert!(nothing.iter().all(|x| x.is_nan()));
    }
}
