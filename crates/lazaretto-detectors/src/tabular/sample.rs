//! A bounded sample of rows of numbers, chosen by keyed hash, as mergeable state.

use lazaretto_core::{Batch, DataFacts};
use ndarray::{Array2, ArrayView1, ArrayView2, s};
use serde::{Deserialize, Serialize};

/// A number of a sample. Finite values stay within a largest magnitude, which infinite ones
/// become, so that arithmetic on them stays finite; NaN stays NaN.
pub trait Number: Copy + Default + Send + Sync {
    /// The largest magnitude, which stands for infinity.
    const LARGEST: Self;

    /// The number for a value of a numeric column.
    fn of_column(value: f64) -> Self;

    /// The number for a part of a vector.
    fn of_vector(value: f32) -> Self;
}

impl Number for f32 {
    const LARGEST: Self = 1e37;

    fn of_column(value: f64) -> Self {
        Self::of_vector(value as f32)
    }

    fn of_vector(value: f32) -> Self {
        // `clamp` keeps NaN.
        value.clamp(-Self::LARGEST, Self::LARGEST)
    }
}

impl Number for f64 {
    const LARGEST: Self = 1e150;

    fn of_column(value: f64) -> Self {
        value.clamp(-Self::LARGEST, Self::LARGEST)
    }

    fn of_vector(value: f32) -> Self {
        Self::of_column(f64::from(value))
    }
}

/// Rows of numbers of a batch, from either of its two layouts.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// Numeric columns, column-major.
    Numeric(ArrayView2<'a, f64>),
    /// Vectors, row-major.
    Embedding(ArrayView2<'a, f32>),
}

/// Number of values per record: the numeric columns where there are any, else the length of the
/// embedding; 0 when there is neither.
pub(crate) fn width(facts: &DataFacts) -> usize {
    match facts.numeric_columns.len() {
        0 => facts.embedding_dim.unwrap_or(0),
        n_numeric => n_numeric,
    }
}

impl<'a> Rows<'a> {
    /// The rows of a batch, from the columns that [`width`] counts.
    pub(crate) fn of(batch: &Batch<'a>) -> Option<Self> {
        match batch.numeric {
            Some(numeric) if numeric.ncols() > 0 => Some(Self::Numeric(numeric)),
            _ => batch.embedding.map(Self::Embedding),
        }
    }

    /// `n_rows` values of a column from row `first` on, appended to `values`.
    pub(crate) fn append_column(
        &self,
        column: usize,
        first: usize,
        n_rows: usize,
        values: &mut Vec<f64>,
    ) {
        let range = s![first..first + n_rows, column];
        match self {
            Self::Numeric(rows) => {
                values.extend(rows.slice(range).iter().map(|&v| f64::of_column(v)));
            }
            Self::Embedding(rows) => {
                values.extend(rows.slice(range).iter().map(|&v| f64::of_vector(v)));
            }
        }
    }

    /// Number of values per row.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Numeric(values) => values.ncols(),
            Self::Embedding(values) => values.ncols(),
        }
    }

    /// The values of row `row_idx`, appended to `values`.
    fn append<V: Number>(&self, row_idx: usize, values: &mut Vec<V>) {
        match self {
            Self::Numeric(rows) => {
                values.extend(rows.row(row_idx).iter().map(|&v| V::of_column(v)));
            }
            Self::Embedding(rows) => {
                values.extend(rows.row(row_idx).iter().map(|&v| V::of_vector(v)));
            }
        }
    }

    /// Whether the value of row `row_idx` in a column is missing.
    pub(crate) fn is_missing(&self, row_idx: usize, column: usize) -> bool {
        match self {
            Self::Numeric(rows) => rows[[row_idx, column]].is_nan(),
            Self::Embedding(rows) => rows[[row_idx, column]].is_nan(),
        }
    }

    /// Whether row `row_idx` has a value at all.
    fn has_value(&self, row_idx: usize) -> bool {
        match self {
            Self::Numeric(rows) => rows.row(row_idx).iter().any(|v| !v.is_nan()),
            Self::Embedding(rows) => rows.row(row_idx).iter().any(|v| !v.is_nan()),
        }
    }

    /// `n_rows` rows from `first` on, row by row.
    pub(crate) fn block(&self, first: usize, n_rows: usize) -> Vec<f32> {
        let width = self.width();
        let mut block = vec![0.0; n_rows * width];
        match self {
            Self::Numeric(rows) => {
                for (column_idx, column) in rows.columns().into_iter().enumerate() {
                    copy_column(column, first, column_idx, width, &mut block);
                }
            }
            Self::Embedding(rows) => {
                for (row_idx, target) in block.chunks_exact_mut(width.max(1)).enumerate() {
                    for (target, &value) in target.iter_mut().zip(rows.row(first + row_idx)) {
                        *target = f32::of_vector(value);
                    }
                }
            }
        }
        block
    }
}

fn copy_column(
    column: ArrayView1<'_, f64>,
    first: usize,
    column_idx: usize,
    width: usize,
    block: &mut [f32],
) {
    let targets = block.iter_mut().skip(column_idx).step_by(width);
    for (target, &value) in targets.zip(column.iter().skip(first)) {
        *target = f32::of_column(value);
    }
}

/// The rows with the smallest keyed hashes, at most a fixed number of them: a uniform sample that
/// is the same however the rows are partitioned. Rows without any value are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowSample<V> {
    capacity: usize,
    width: usize,
    /// Key and ordinal of each row; unsorted.
    keys: Vec<(u64, u64)>,
    /// Values of each row, in the order of `keys`.
    values: Vec<V>,
    /// No row with a larger key can enter any more.
    bound: Option<(u64, u64)>,
}

impl<V: Number> RowSample<V> {
    /// An empty sample of at most `capacity` rows.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            width: 0,
            keys: Vec::new(),
            values: Vec::new(),
            bound: None,
        }
    }

    /// Adds the rows of a batch. All batches must have the same width; others are left out.
    pub(crate) fn insert(&mut self, batch: &Batch<'_>, rows: Rows<'_>) {
        if self.keys.is_empty() {
            self.width = rows.width();
        }
        if rows.width() != self.width || self.width == 0 {
            return;
        }
        for (row_idx, &key) in batch.keys.iter().enumerate() {
            let key = (key, batch.ordinal(row_idx));
            if self.bound.is_some_and(|bound| key > bound) || !rows.has_value(row_idx) {
                continue;
            }
            self.keys.push(key);
            rows.append(row_idx, &mut self.values);
            // Room for as many again makes the cost of trimming constant per row.
            if self.keys.len() >= self.capacity * 2 {
                self.trim();
            }
        }
    }

    /// Adds another sample of the same dataset.
    pub(crate) fn merge(&mut self, later: Self) {
        if self.keys.is_empty() {
            *self = Self {
                capacity: self.capacity,
                ..later
            };
        } else if later.width == self.width {
            self.keys.extend(later.keys);
            self.values.extend(later.values);
        }
        self.trim();
    }

    /// Keeps the rows with the smallest keys.
    fn trim(&mut self) {
        if self.values.len() != self.keys.len() * self.width {
            // Only a damaged state from elsewhere can look like this: better no sample, and a
            // detector that abstains, than a panic.
            self.keys.clear();
            self.values.clear();
        }
        let order = self.order();
        if self.keys.len() > self.capacity {
            self.bound = order.last().map(|&idx| self.keys[idx]);
        }
        let keys = order.iter().map(|&idx| self.keys[idx]).collect();
        let mut values = Vec::with_capacity(order.len() * self.width);
        for &idx in &order {
            values.extend_from_slice(self.row(idx));
        }
        self.keys = keys;
        self.values = values;
    }

    fn row(&self, idx: usize) -> &[V] {
        &self.values[idx * self.width..(idx + 1) * self.width]
    }

    /// Positions of the kept rows, in the order of their keys.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by_key(|&idx| self.keys[idx]);
        order.truncate(self.capacity);
        order
    }

    /// The sample as `n_rows × width`, in the order of the keys.
    pub(crate) fn into_matrix(mut self) -> Array2<V> {
        self.trim();
        let shape = (self.keys.len(), self.width);
        Array2::from_shape_vec(shape, self.values).unwrap_or_else(|_| Array2::default((0, 0)))
    }
}
