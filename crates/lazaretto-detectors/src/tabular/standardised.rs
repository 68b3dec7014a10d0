//! Records with every column at mean 0 and variance 1, by a sample of them.

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::tabular::sample::{Number as _, Rows};

/// Rows of a block.
pub(crate) const BLOCK_ROWS: usize = 512;

/// Standardised values stay within this, infinite ones are this far out: their squares still add
/// up in single precision.
const FARTHEST: f32 = 1e6;

/// A column that varies, and how to standardise it.
#[derive(Clone, Copy, Debug)]
struct Scaling {
    column: usize,
    mean: f64,
    per_deviation: f64,
}

impl Scaling {
    /// The scaling of a column by its sample, leaving out infinite values; `None` when it is constant.
    fn of(column: usize, values: ArrayView1<'_, f64>) -> Option<Self> {
        let present = || {
            values
                .iter()
                .copied()
                .filter(|value| value.abs() < f64::LARGEST)
        };
        let count = present().count() as f64;
        let mean = present().sum::<f64>() / count;
        let variance = present().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt();
        // What is left of a constant after the rounding of its mean does not vary.
        let varies = deviation > mean.abs() * 1e-12 && (1.0 / deviation).is_finite();
        varies.then_some(Self {
            column,
            mean,
            per_deviation: 1.0 / deviation,
        })
    }

    fn apply(&self, value: f64) -> f32 {
        let standardised = (value - self.mean) * self.per_deviation;
        // `clamp` keeps NaN.
        (standardised as f32).clamp(-FARTHEST, FARTHEST)
    }
}

/// The columns that vary, and how to standardise them.
#[derive(Debug)]
pub(crate) struct Standardisation {
    width: usize,
    scalings: Vec<Scaling>,
}

impl Standardisation {
    /// The standardisation by `sample` (`n_rows × width`, NaN where missing).
    pub(crate) fn of(sample: ArrayView2<'_, f64>) -> Self {
        let columns = sample.columns().into_iter().enumerate();
        Self {
            width: sample.ncols(),
            scalings: columns
                .filter_map(|(column, values)| Scaling::of(column, values))
                .collect(),
        }
    }

    /// Number of columns that vary.
    pub(crate) fn n_columns(&self) -> usize {
        self.scalings.len()
    }

    /// Number of values per record, in columns that vary and others.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The rows of a sample: `n_rows × n_columns`, NaN where missing.
    pub(crate) fn sample(&self, sample: ArrayView2<'_, f64>) -> Array2<f32> {
        Array2::from_shape_fn((sample.nrows(), self.n_columns()), |(row, idx)| {
            let scaling = &self.scalings[idx];
            scaling.apply(sample[[row, scaling.column]])
        })
    }

    /// `n_rows` rows from `first` on: `n_columns × BLOCK_ROWS`, column by column, NaN where missing.
    /// Blocks always have this many rows, the last one filled up with 0, so that what is computed
    /// for a record does not depend on where its batch ends.
    pub(crate) fn block(&self, rows: &Rows<'_>, first: usize, n_rows: usize) -> Array2<f32> {
        let mut block = Array2::zeros((self.n_columns(), BLOCK_ROWS));
        let mut values = Vec::with_capacity(n_rows);
        for (scaling, mut column) in self.scalings.iter().zip(block.rows_mut()) {
            values.clear();
            rows.append_column(scaling.column, first, n_rows, &mut values);
            for (target, &value) in column.iter_mut().zip(&values) {
                *target = scaling.apply(value);
            }
        }
        block
    }
}
