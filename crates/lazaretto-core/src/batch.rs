//! What a detector sees of the dataset: one batch of consecutive records.

use arrow::array::{Array, LargeStringArray};
use ndarray::ArrayView2;

use crate::shared::Derived;

/// Class index of a record without a label.
pub const NO_LABEL: u32 = u32::MAX;
/// Time of a record without one.
pub const NO_TIME: i64 = i64::MIN;
/// Time of a record whose time column has a value that is no time.
pub const UNREADABLE_TIME: i64 = i64::MIN + 1;

/// The part of a record a text stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextPart {
    /// The text itself, in datasets of plain or labelled texts.
    Text,
    /// What a language model is given.
    Prompt,
    /// What a language model is to answer.
    Response,
    /// The worse answer of a pair, which a language model is to like less than the response.
    Rejected,
}

/// One text per record of a batch.
#[derive(Clone, Debug)]
pub struct TextField {
    /// Name of the column, or of the part of a chat column (`messages/user`).
    pub name: String,
    /// The part of the record it stands for.
    pub part: TextPart,
    /// The texts; null where the record has none.
    pub values: LargeStringArray,
}

impl TextField {
    /// The text of row `row_idx` of the batch, if it has one.
    #[must_use]
    pub fn get(&self, row_idx: usize) -> Option<&str> {
        self.values
            .is_valid(row_idx)
            .then(|| self.values.value(row_idx))
    }
}

/// A batch of consecutive records of one partition, columns by role.
///
/// Only what the planned detectors declared is filled in; everything else is empty or `None`.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Dataset-wide ordinal of the first record: files in path order, row groups and rows in
    /// file order.
    pub first_row: u64,
    /// Keyed hash of each record ([`crate::RecordKey`]); its length is the number of records.
    pub keys: &'a [u64],
    /// Class index of each record (into [`crate::DataFacts::classes`]), [`NO_LABEL`] where null.
    pub labels: Option<&'a [u32]>,
    /// Index of each record's source (into [`crate::DataFacts::sources`]), `u32::MAX` where null
    /// or beyond the number of sources that are told apart.
    pub sources: Option<&'a [u32]>,
    /// Time of each record in microseconds since 1970, UTC; [`NO_TIME`] where null,
    /// [`UNREADABLE_TIME`] where the value is no time. See [`Batch::time`].
    pub times: Option<&'a [i64]>,
    /// Text columns, in schema order; the same fields in every batch.
    pub texts: &'a [TextField],
    /// Numeric columns as `n_rows × n_numeric` in column-major order; NaN where null. Booleans
    /// are 0 and 1, dates and times are in their own unit.
    pub numeric: Option<ArrayView2<'a, f64>>,
    /// Categorical columns: a 64-bit hash per value, 0 where null.
    pub categorical: &'a [Vec<u64>],
    /// The embedding column, or the vectors that an embedder makes of the texts, as `n_rows × dim`,
    /// row-major; a null vector is all NaN.
    pub embedding: Option<ArrayView2<'a, f32>>,
    /// The given class probabilities as `n_rows × n_classes`; a null row is all NaN.
    pub given_probabilities: Option<ArrayView2<'a, f32>>,
    /// Shared intermediates, computed once per batch for all detectors that declare them.
    pub derived: &'a Derived,
}

impl Batch<'_> {
    /// Number of records.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.keys.len()
    }

    /// Dataset-wide ordinal of row `row_idx` of the batch.
    #[must_use]
    pub fn ordinal(&self, row_idx: usize) -> u64 {
        self.first_row + row_idx as u64
    }

    /// Class index of row `row_idx`, if it has a label.
    #[must_use]
    pub fn label(&self, row_idx: usize) -> Option<u32> {
        self.labels
            .map(|labels| labels[row_idx])
            .filter(|&label| label != NO_LABEL)
    }

    /// Time of row `row_idx` of the batch in microseconds since 1970, if it has one that can be
    /// read.
    #[must_use]
    pub fn time(&self, row_idx: usize) -> Option<i64> {
        self.times
            .map(|times| times[row_idx])
            .filter(|&time| time > UNREADABLE_TIME)
    }
}
