//! A bounded sample of whole records, numbers and categories, as mergeable state.
//!
//! What [`super::sample::RowSample`] is for numbers alone: the records with the smallest keyed
//! hashes, so the sample is uniform and the same however the records are partitioned. This one
//! also keeps categories, full precision (dates in nanoseconds lose their days in an `f32`) and
//! the ordinals, without which a sampled record would count itself among its own neighbours.

use lazaretto_core::{Batch, DataFacts};
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

/// The largest magnitude kept; infinite values become this, so that arithmetic stays finite.
pub(crate) const LARGEST: f64 = 1e37;

/// A finite number stays (within [`LARGEST`]), infinite ones become it, NaN stays NaN.
pub(crate) fn tame(value: f64) -> f64 {
    // `clamp` keeps NaN.
    value.clamp(-LARGEST, LARGEST)
}

/// The numbers of a batch, from either of its two layouts, and its categories.
#[derive(Clone, Copy)]
pub(crate) struct Records<'a> {
    numbers: Numbers<'a>,
    categories: &'a [Vec<u64>],
}

#[derive(Clone, Copy)]
enum Numbers<'a> {
    Columns(Option<ArrayView2<'a, f64>>),
    Vectors(ArrayView2<'a, f32>),
}

/// Number of numbers and of categories per record: the columns, or the vectors where there are
/// no columns.
pub(crate) fn widths(facts: &DataFacts) -> (usize, usize) {
    let n_categorical = facts.categorical_columns.len();
    match facts.numeric_columns.len() {
        0 if n_categorical == 0 => (facts.embedding_dim.unwrap_or(0), 0),
        n_numeric => (n_numeric, n_categorical),
    }
}

/// The same without the categories: for detectors of numbers alone, which look at the vectors
/// of a dataset that has categories but no numeric column.
pub(crate) fn number_widths(facts: &DataFacts) -> (usize, usize) {
    match facts.numeric_columns.len() {
        0 => (facts.embedding_dim.unwrap_or(0), 0),
        n_numeric => (n_numeric, 0),
    }
}

impl<'a> Records<'a> {
    /// The columns of the batch; its vectors when it has none.
    pub(crate) fn of(batch: &Batch<'a>) -> Self {
        let numeric = batch.numeric.filter(|numeric| numeric.ncols() > 0);
        let numbers = match (numeric, batch.embedding) {
            (None, Some(vectors)) if batch.categorical.is_empty() => Numbers::Vectors(vectors),
            (numeric, _) => Numbers::Columns(numeric),
        };
        Self {
            numbers,
            categories: batch.categorical,
        }
    }

    /// The numbers of the batch without its categories; see [`number_widths`].
    pub(crate) fn numbers_of(batch: &Batch<'a>) -> Self {
        let numeric = batch.numeric.filter(|numeric| numeric.ncols() > 0);
        let numbers = match (numeric, batch.embedding) {
            (None, Some(vectors)) => Numbers::Vectors(vectors),
            (numeric, _) => Numbers::Columns(numeric),
        };
        Self {
            numbers,
            categories: &[],
        }
    }

    /// Number of numbers and of categories per record.
    pub(crate) fn widths(&self) -> (usize, usize) {
        let n_numeric = match self.numbers {
            Numbers::Columns(columns) => columns.map_or(0, |columns| columns.ncols()),
            Numbers::Vectors(vectors) => vectors.ncols(),
        };
        (n_numeric, self.categories.len())
    }

    /// Number `column` of record `row_idx`.
    pub(crate) fn number(&self, row_idx: usize, column: usize) -> f64 {
        match self.numbers {
            Numbers::Columns(Some(columns)) => tame(columns[(row_idx, column)]),
            Numbers::Columns(None) => f64::NAN,
            Numbers::Vectors(vectors) => tame(f64::from(vectors[(row_idx, column)])),
        }
    }

    /// Category `column` of record `row_idx`, 0 where null.
    pub(crate) fn category(&self, row_idx: usize, column: usize) -> u64 {
        self.categories[column][row_idx]
    }

    /// Whether record `row_idx` has a value at all.
    pub(crate) fn has_value(&self, row_idx: usize) -> bool {
        let (n_numeric, _) = self.widths();
        (0..n_numeric).any(|column| !self.number(row_idx, column).is_nan())
            || self.categories.iter().any(|values| values[row_idx] != 0)
    }
}

/// The sample under construction; see the module documentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordSample {
    capacity: usize,
    n_numeric: usize,
    n_categorical: usize,
    /// Key and ordinal of each record; unsorted.
    keys: Vec<(u64, u64)>,
    /// Numbers of each record, in the order of `keys`.
    numbers: Vec<f64>,
    /// Categories of each record, in the order of `keys`.
    categories: Vec<u64>,
    /// No record with a larger key can enter any more.
    bound: Option<(u64, u64)>,
}

impl RecordSample {
    /// An empty sample of at most `wanted` records of these [`widths`], fewer where
    /// `memory_bytes` does not hold that many.
    pub(crate) fn new(
        wanted: usize,
        (n_numeric, n_categorical): (usize, usize),
        memory_bytes: usize,
    ) -> Self {
        // Twice: the sample grows to double its capacity before it is trimmed.
        let bytes_per_row = 2 * (16 + 8 * (n_numeric + n_categorical));
        Self {
            capacity: wanted.min(memory_bytes / bytes_per_row).max(64),
            n_numeric,
            n_categorical,
            keys: Vec::new(),
            numbers: Vec::new(),
            categories: Vec::new(),
            bound: None,
        }
    }

    /// Adds the records of a batch; those without any value are left out.
    pub(crate) fn insert(&mut self, batch: &Batch<'_>, records: Records<'_>) {
        if records.widths() != (self.n_numeric, self.n_categorical) {
            return;
        }
        for (row_idx, &key) in batch.keys.iter().enumerate() {
            let key = (key, batch.ordinal(row_idx));
            if self.bound.is_some_and(|bound| key > bound) || !records.has_value(row_idx) {
                continue;
            }
            self.keys.push(key);
            self.numbers
                .extend((0..self.n_numeric).map(|column| records.number(row_idx, column)));
            self.categories
                .extend((0..self.n_categorical).map(|column| records.category(row_idx, column)));
            // Room for as many again makes the cost of trimming constant per record.
            if self.keys.len() >= self.capacity * 2 {
                self.trim();
            }
        }
    }

    /// Adds another sample of the same dataset.
    pub(crate) fn merge(&mut self, later: Self) {
        if (later.n_numeric, later.n_categorical) != (self.n_numeric, self.n_categorical) {
            return;
        }
        self.keys.extend(later.keys);
        self.numbers.extend(later.numbers);
        self.categories.extend(later.categories);
        self.trim();
    }

    /// Keeps the records with the smallest keys, in the order of the keys.
    fn trim(&mut self) {
        let (width, n_categories) = (self.n_numeric, self.n_categorical);
        if self.numbers.len() != self.keys.len() * width
            || self.categories.len() != self.keys.len() * n_categories
        {
            // Only a damaged state from elsewhere can look like this: better no sample, and a
            // detector that abstains, than a panic.
            self.keys.clear();
            self.numbers.clear();
            self.categories.clear();
        }
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by_key(|&idx| self.keys[idx]);
        if order.len() > self.capacity {
            order.truncate(self.capacity);
            self.bound = order.last().map(|&idx| self.keys[idx]);
        }
        self.keys = order.iter().map(|&idx| self.keys[idx]).collect();
        self.numbers = order
            .iter()
            .flat_map(|&idx| &self.numbers[idx * width..(idx + 1) * width])
            .copied()
            .collect();
        self.categories = order
            .iter()
            .flat_map(|&idx| &self.categories[idx * n_categories..(idx + 1) * n_categories])
            .copied()
            .collect();
    }

    /// The finished sample, in the order of the keys.
    pub(crate) fn finish(mut self) -> Sample {
        self.trim();
        let n_rows = self.keys.len();
        let mut places: Vec<(u64, u32)> = (0..)
            .zip(&self.keys)
            .map(|(place, &(_, ordinal))| (ordinal, place))
            .collect();
        places.sort_unstable();
        Sample {
            numbers: Array2::from_shape_vec((n_rows, self.n_numeric), self.numbers)
                .unwrap_or_default(),
            categories: Array2::from_shape_vec((n_rows, self.n_categorical), self.categories)
                .unwrap_or_default(),
            places: Places(places),
        }
    }
}

/// A finished sample.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// `n_rows × n_numeric`, NaN where null.
    pub(crate) numbers: Array2<f64>,
    /// `n_rows × n_categorical`, 0 where null.
    pub(crate) categories: Array2<u64>,
    /// Which records these are.
    pub(crate) places: Places,
}

impl Sample {
    /// The categorical columns one by one, for [`Sample::records`].
    pub(crate) fn columns_of_categories(&self) -> Vec<Vec<u64>> {
        let columns = self.categories.axis_iter(Axis(1));
        columns.map(|column| column.to_vec()).collect()
    }

    /// The sample as if it were a batch; `categories` comes from
    /// [`Sample::columns_of_categories`].
    pub(crate) fn records<'a>(&'a self, categories: &'a [Vec<u64>]) -> Records<'a> {
        Records {
            numbers: Numbers::Columns(Some(self.numbers.view())),
            categories,
        }
    }

    /// Number of sampled records.
    pub(crate) fn n_rows(&self) -> usize {
        self.places.0.len()
    }
}

/// Finds a record of the dataset in the sample.
#[derive(Clone, Debug)]
pub(crate) struct Places(Vec<(u64, u32)>);

impl Places {
    /// The row of the sample that holds the record with this ordinal, if it was sampled.
    pub(crate) fn of(&self, ordinal: u64) -> Option<u32> {
        let found = self
            .0
            .binary_search_by_key(&ordinal, |&(ordinal, _)| ordinal);
        found.ok().map(|idx| self.0[idx].1)
    }
}
