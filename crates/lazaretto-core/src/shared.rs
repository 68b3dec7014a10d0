//! Intermediates that several detectors use and the engine computes once.
//!
//! This module holds the carriers; `lazaretto-features` computes them. [`Derived`] belongs to one
//! batch, [`Shared`] to the whole run and is complete once the fit pass is over.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, LargeBinaryArray, LargeStringArray};
use ndarray::Array2;

use crate::detector::DataFacts;

/// Words of one text field of a batch, normalised (NFKC, lower case) and hashed.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// `n_rows + 1` offsets into the other two.
    pub offsets: Vec<u32>,
    /// Hash of each normalised word, the same in all batches.
    pub hashes: Vec<u64>,
    /// Byte range of each word in its text.
    pub spans: Vec<(u32, u32)>,
}

impl Tokens {
    fn range(&self, row_idx: usize) -> Range<usize> {
        self.offsets[row_idx] as usize..self.offsets[row_idx + 1] as usize
    }

    /// Hashes of the words of row `row_idx`.
    #[must_use]
    pub fn row(&self, row_idx: usize) -> &[u64] {
        &self.hashes[self.range(row_idx)]
    }

    /// Byte ranges of the words of row `row_idx`.
    #[must_use]
    pub fn row_spans(&self, row_idx: usize) -> &[(u32, u32)] {
        &self.spans[self.range(row_idx)]
    }
}

/// The nearest records of each of a number of records, itself excluded.
#[derive(Clone, Debug)]
pub struct Neighbors {
    /// `n_rows × k` indices, nearest first: into the reference set for [`Derived::neighbors`],
    /// into the neighbour base for [`Derived::all_neighbors`].
    pub indices: Array2<u32>,
    /// `n_rows × k` Euclidean distances, ascending. Where there is no neighbour the distance is
    /// not a number, and the index means nothing.
    pub distances: Array2<f32>,
}

impl Neighbors {
    /// Takes the neighbours of rows `rows` from `found`, one after the other.
    ///
    /// # Panics
    /// When there is no such row, or the numbers of neighbours differ.
    pub fn insert(&mut self, rows: &[usize], found: &Self) {
        let pairs = found.indices.rows().into_iter().zip(found.distances.rows());
        for (&row, (indices, distances)) in rows.iter().zip(pairs) {
            self.indices.row_mut(row).assign(&indices);
            self.distances.row_mut(row).assign(&distances);
        }
    }
}

/// Encoded content of one column of a batch, images for example.
#[derive(Clone, Debug)]
pub struct Blobs {
    /// Name of the column.
    pub name: String,
    /// The bytes; null where the record has none.
    pub values: LargeBinaryArray,
}

impl Blobs {
    /// The bytes of row `row_idx` of the batch, if it has any.
    #[must_use]
    pub fn get(&self, row_idx: usize) -> Option<&[u8]> {
        self.values
            .is_valid(row_idx)
            .then(|| self.values.value(row_idx))
    }
}

/// Digests that a dataset records for its content: one column of a batch, as text.
#[derive(Clone, Debug)]
pub struct Recorded(
    /// As recorded; null where nothing is.
    pub LargeStringArray,
);

impl Recorded {
    /// What is recorded for row `row_idx` of the batch, if anything.
    #[must_use]
    pub fn get(&self, row_idx: usize) -> Option<&str> {
        self.0.is_valid(row_idx).then(|| self.0.value(row_idx))
    }
}

impl<'s> FromIterator<Option<&'s str>> for Recorded {
    fn from_iter<I: IntoIterator<Item = Option<&'s str>>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Shared intermediates of one batch. In the fit pass only `tokens`, `content_hashes`,
/// `categories`, `recorded` and `blobs` exist.
#[derive(Clone, Debug, Default)]
pub struct Derived {
    /// Words of each text field, in the order of [`crate::Batch::texts`].
    pub tokens: Vec<Tokens>,
    /// First 16 bytes of the BLAKE3 hash over the content of each record: every column but the
    /// id, label, source, time, url and recorded-hash columns.
    pub content_hashes: Vec<u128>,
    /// Values of the categorical columns as text, in the order of [`crate::Batch::categorical`],
    /// for reports; empty where a caller has hashes alone.
    pub categories: Vec<LargeStringArray>,
    /// Recorded hashes, by column in schema order, for detectors that read the role
    /// [`crate::Role::ContentHash`].
    pub recorded: Vec<Recorded>,
    /// Columns of web addresses, in schema order, for detectors that read the role
    /// [`crate::Role::Url`].
    pub urls: Vec<LargeStringArray>,
    /// Columns of encoded content, in schema order, for detectors that read the role
    /// [`crate::Role::Image`].
    pub blobs: Vec<Blobs>,
    /// Dense features, `n_rows × dim`: the embedding, or the reduced text features, or the
    /// robustly scaled numeric columns. A record without features is all NaN.
    pub features: Option<Array2<f32>>,
    /// Class probabilities, `n_rows × n_classes`: given, or out of fold, that is from a model
    /// that did not see the record. A record without features is all NaN.
    pub probabilities: Option<Array2<f32>>,
    /// Nearest reference records of each record.
    pub neighbors: Option<Neighbors>,
    /// Nearest of all records, as far as the dataset's size allows: see [`NeighborBase`].
    pub all_neighbors: Option<Neighbors>,
}

impl Derived {
    /// The value of categorical column `column` in row `row_idx` as text, where it is known.
    #[must_use]
    pub fn category(&self, column: usize, row_idx: usize) -> Option<&str> {
        let values = self.categories.get(column)?;
        (row_idx < values.len() && values.is_valid(row_idx)).then(|| values.value(row_idx))
    }
}

/// A bounded sample of the records, chosen by keyed hash, with their features.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Dense features, `n_reference × dim`.
    pub features: Array2<f32>,
    /// Class index of each, [`crate::NO_LABEL`] where there is none.
    pub labels: Vec<u32>,
    /// Dataset-wide ordinal of each.
    pub ordinals: Vec<u64>,
    /// Keyed hash of each.
    pub keys: Vec<u64>,
}

/// Records that are known to be good, given beside the dataset and not part of it: a bounded
/// sample by keyed hash, with the same intermediates as the records of the dataset.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// Ordinal of each among all trusted records, ascending.
    pub ordinals: Vec<u64>,
    /// Keyed hash of each.
    pub keys: Vec<u64>,
    /// Class index of each (into [`DataFacts::classes`]), [`crate::NO_LABEL`] where there is none.
    pub labels: Vec<u32>,
    /// Dense features, `n_trusted × dim`, from the model that makes [`Derived::features`]; a record
    /// without features is all NaN. `None` where the dataset has none or no detector wanted them.
    pub features: Option<Array2<f32>>,
    /// Class probabilities, `n_trusted × n_classes`, as in [`Derived::probabilities`].
    pub probabilities: Option<Array2<f32>>,
}

impl Trusted {
    /// Number of records.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.ordinals.len()
    }
}

/// A text of an evaluation file, one per record and column with text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvaluationText {
    /// Index into [`Evaluation::files`].
    pub file: u32,
    /// Place of its record in the file, from 0.
    pub row: u64,
    /// Hashes of its words, as in [`Tokens`].
    pub words: Vec<u64>,
    /// Its beginning, for reports.
    pub excerpt: String,
}

/// Evaluation files, which a model must not be trained on: given beside the dataset and not part
/// of it.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// Names of the files, in path order.
    pub files: Vec<String>,
    /// Their texts, by file, record and column.
    pub texts: Vec<EvaluationText>,
}

/// The records among which [`Derived::all_neighbors`] are found.
///
/// These are all records where that is affordable (searched exactly, or beyond a number of
/// operations by an index with measured recall), else the reference set, in the same order.
#[derive(Clone, Debug)]
pub struct NeighborBase {
    /// Dataset-wide ordinal of each, ascending.
    pub ordinals: Vec<u64>,
    /// Class index of each, [`crate::NO_LABEL`] where there is none.
    pub labels: Vec<u32>,
    /// How many of them have features; the others are nobody's neighbours.
    pub n_usable: usize,
    /// Their neighbours among each other; `None` where an index is searched, which answers only
    /// for the records of a batch.
    pub neighbors: Option<Neighbors>,
}

/// The out-of-fold text classifier, for detectors that ask what a text says without a phrase.
pub trait TextClassifier: Send + Sync {
    /// Number of classes.
    fn n_classes(&self) -> usize;

    /// The fold of the record with keyed hash `key`; its model did not see the record.
    fn fold_of(&self, key: u64) -> usize;

    /// Adds the logit of each class for a text with words `tokens` to `logits`.
    fn logits(&self, fold: usize, tokens: &[u64], logits: &mut [f32]);

    /// Adds what the words `tokens[span]`, and every n-gram that touches them, contribute to the
    /// logits: `logits − contribution` is what the text says without them.
    fn contribution(&self, fold: usize, tokens: &[u64], span: Range<usize>, logits: &mut [f32]);
}

/// What the run knows once the fit pass is over.
pub struct Shared {
    /// Facts about the dataset.
    pub facts: Arc<DataFacts>,
    /// Seed of the run.
    pub seed: u64,
    /// The reference set, when a detector declared it (or neighbours).
    pub reference: Option<Reference>,
    /// The records that were searched for neighbours, when a detector declared
    /// [`crate::Intermediate::AllNeighbors`].
    pub neighbor_base: Option<NeighborBase>,
    /// The text classifier, when a detector declared it and there is text with labels.
    pub text_classifier: Option<Box<dyn TextClassifier>>,
    /// The trusted records, when the run was given some and a detector declared
    /// [`crate::Intermediate::Trusted`].
    pub trusted: Option<Trusted>,
    /// The evaluation files, when the run was given some and a detector declared
    /// [`crate::Intermediate::Evaluation`].
    pub evaluation: Option<Evaluation>,
}
