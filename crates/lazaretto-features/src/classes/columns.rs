//! Numeric and categorical columns as sparse features for a classifier.
//!
//! A numeric column becomes its scaled value and an indicator of the quantile bin it falls into,
//! so that a linear model can follow any shape; a categorical column becomes an indicator of its
//! value. Missing values are a bin of their own.

use crate::dense::tabular::{Scale, value_counts};
use crate::payload::Payload;

/// Quantile bins of a numeric column.
const BINS: usize = 24;
/// Values of a categorical column that are told apart.
const MAX_VALUES: usize = 10_000;
/// `√C` of the tabular block, see [`crate::linear`].
const WEIGHT: f32 = 0.7;
/// Scaled values are cut here: the bins say the rest.
const LIMIT: f64 = 4.0;

#[derive(Clone, Debug)]
struct NumericColumn {
    start: u32,
    scale: Option<Scale>,
    /// Ascending borders; a value falls behind those that are not above it.
    borders: Vec<f64>,
}

#[derive(Clone, Debug)]
struct CategoricalColumn {
    /// Sorted values with their feature.
    values: Vec<(u64, u32)>,
}

/// The features of tabular columns.
#[derive(Clone, Debug)]
pub(crate) struct ColumnSpace {
    numeric: Vec<NumericColumn>,
    categorical: Vec<CategoricalColumn>,
    n_features: usize,
}

impl ColumnSpace {
    pub(crate) fn fit(rows: &[&Payload]) -> Self {
        let mut n_features = 0_u32;
        let n_numeric = rows.first().map_or(0, |row| row.numeric.len());
        let n_categorical = rows.first().map_or(0, |row| row.categorical.len());
        let numeric = (0..n_numeric)
            .map(|column| {
                let mut values: Vec<f64> = rows.iter().map(|row| row.numeric[column]).collect();
                let scale = Scale::of(&mut values);
                let column = NumericColumn {
                    start: n_features,
                    scale,
                    borders: borders(&values),
                };
                // The scaled value, the missing bin, and one bin more than there are borders.
                n_features += column.borders.len() as u32 + 3;
                column
            })
            .collect();
        let categorical = (0..n_categorical)
            .map(|column| {
                let counts = value_counts(rows.iter().map(|row| row.categorical[column]));
                let mut values: Vec<(u64, u32)> = counts
                    .into_iter()
                    .take(MAX_VALUES)
                    .filter(|&(_, count)| count >= 2)
                    .zip(n_features..)
                    .map(|((value, _), feature)| (value, feature))
                    .collect();
                n_features += values.len() as u32;
                values.sort_unstable();
                CategoricalColumn { values }
            })
            .collect();
        Self {
            numeric,
            categorical,
            n_features: n_features as usize,
        }
    }

    pub(crate) fn n_features(&self) -> usize {
        self.n_features
    }

    /// Appends the features of a record, numbered from `offset` on.
    pub(crate) fn encode(
        &self,
        numeric: &[f64],
        categorical: &[u64],
        offset: u32,
        row: &mut Vec<(u32, f32)>,
    ) {
        for (column, &value) in self.numeric.iter().zip(numeric) {
            let start = offset + column.start;
            if value.is_nan() {
                row.push((start + 1, WEIGHT));
                continue;
            }
            if let Some(scale) = column.scale {
                let scaled = scale.apply(value).clamp(-LIMIT, LIMIT);
                row.push((start, WEIGHT * scaled as f32));
            }
            let bin = column.borders.partition_point(|&border| border <= value);
            row.push((start + 2 + bin as u32, WEIGHT));
        }
        for (column, value) in self.categorical.iter().zip(categorical) {
            if let Ok(found) = column.values.binary_search_by_key(value, |entry| entry.0) {
                row.push((offset + column.values[found].1, WEIGHT));
            }
        }
    }
}

/// Distinct quantiles of sorted values, without their minimum.
fn borders(sorted: &[f64]) -> Vec<f64> {
    let Some(&first) = sorted.first() else {
        return Vec::new();
    };
    let mut borders: Vec<f64> = (1..BINS)
        .map(|bin| sorted[bin * sorted.len() / BINS])
        .collect();
    borders.retain(|&border| border > first);
    borders.dedup();
    borders
}
