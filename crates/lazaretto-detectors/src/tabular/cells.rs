//! A bounded sample of records with all their columns, exact values included.

use std::collections::BTreeMap;

use lazaretto_core::{Batch, DataFacts, NO_LABEL};
use serde::{Deserialize, Serialize};

/// A missing value. As a number it is a NaN; no category hashes to it by convention here.
pub(crate) const NULL: u64 = u64::MAX;

/// A number as a cell: equal numbers have equal cells.
pub(crate) fn number_cell(value: f64) -> u64 {
    if value.is_nan() {
        NULL
    } else {
        // Adding zero turns −0 into 0.
        (value + 0.0).to_bits()
    }
}

/// The hash of a category as a cell; the batch has 0 where null.
pub(crate) fn category_cell(hash: u64) -> u64 {
    match hash {
        0 => NULL,
        NULL => NULL - 1,
        hash => hash,
    }
}

/// The columns of a dataset that hold cells: the numeric ones, then the categorical ones.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) n_numeric: usize,
    pub(crate) names: Vec<String>,
}

impl Layout {
    pub(crate) fn of(facts: &DataFacts) -> Self {
        let columns = facts.numeric_columns.iter();
        Self {
            n_numeric: facts.numeric_columns.len(),
            names: columns.chain(&facts.categorical_columns).cloned().collect(),
        }
    }

    pub(crate) fn width(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn is_numeric(&self, column: usize) -> bool {
        column < self.n_numeric
    }

    /// The cells of a record, or `None` when the batch has other columns than the facts say.
    pub(crate) fn read(&self, batch: &Batch<'_>, row_idx: usize, cells: &mut Vec<u64>) -> bool {
        cells.clear();
        if let Some(numeric) = batch.numeric {
            cells.extend(numeric.row(row_idx).iter().map(|&value| number_cell(value)));
        }
        let numeric_fit = cells.len() == self.n_numeric;
        cells.extend(batch.categorical.iter().map(|c| category_cell(c[row_idx])));
        numeric_fit && cells.len() == self.width()
    }
}

/// The records with the smallest keys, at most a fixed number of them: the same however the
/// dataset is partitioned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CellSample {
    capacity: usize,
    /// Cells, label and source by (key, ordinal).
    rows: BTreeMap<(u64, u64), (Vec<u64>, u32, u32)>,
}

impl CellSample {
    /// An empty sample of at most `capacity` records.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            rows: BTreeMap::new(),
        }
    }

    /// Bytes that a record of `width` cells takes, about.
    pub(crate) fn bytes_per_row(width: usize) -> usize {
        80 + 8 * width
    }

    pub(crate) fn insert(&mut self, batch: &Batch<'_>, row_idx: usize, cells: &[u64]) {
        let key = (batch.keys[row_idx], batch.ordinal(row_idx));
        if self.rows.len() >= self.capacity {
            match self.rows.last_key_value() {
                Some((last, _)) if key < *last => self.rows.pop_last(),
                _ => return,
            };
        }
        let source = batch.sources.map_or(u32::MAX, |sources| sources[row_idx]);
        let label = batch.label(row_idx).unwrap_or(NO_LABEL);
        self.rows.insert(key, (cells.to_vec(), label, source));
    }

    pub(crate) fn merge(&mut self, later: Self) {
        self.rows.extend(later.rows);
        while self.rows.len() > self.capacity {
            self.rows.pop_last();
        }
    }

    /// The sample by columns, in key order; records of another width (a damaged state) are left
    /// out.
    pub(crate) fn into_table(self, width: usize) -> Table {
        let mut table = Table {
            columns: vec![Vec::with_capacity(self.rows.len()); width],
            ..Table::default()
        };
        for ((key, _), (cells, label, _)) in self.rows {
            if cells.len() == width {
                table.keys.push(key);
                table.labels.push(label);
                for (column, cell) in table.columns.iter_mut().zip(cells) {
                    column.push(cell);
                }
            }
        }
        table
    }
}

/// A sample of records by columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Cells of each column.
    pub(crate) columns: Vec<Vec<u64>>,
    pub(crate) labels: Vec<u32>,
    pub(crate) keys: Vec<u64>,
}

impl Table {
    pub(crate) fn n_rows(&self) -> usize {
        self.keys.len()
    }

    /// The finite numbers of a numeric column, ascending.
    pub(crate) fn numbers(&self, column: usize) -> Vec<f64> {
        let cells = self.columns[column].iter();
        let mut numbers: Vec<f64> = cells
            .map(|&cell| f64::from_bits(cell))
            .filter(|value| value.is_finite())
            .collect();
        numbers.sort_unstable_by(f64::total_cmp);
        numbers
    }
}
