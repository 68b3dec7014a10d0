//! Labelled vectors: a Gaussian mixture, and real handwritten digits.

use std::io::Read as _;
use std::sync::Arc;

use arrow::array::{FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use rand::Rng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use crate::hugging_face::{self, Feature};
use crate::seed::{normal, stream};

/// 1,797 rows of 64 pixels (0 to 16) and the digit; see `fixtures/README.md` for its origin.
const DIGITS: &[u8] = include_bytes!("../data/digits.csv.gz");

/// An attack on labelled vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmbeddingAttack {
    /// Labels become another class, nothing else.
    LabelFlips {
        /// Number of poisoned records.
        rows: usize,
    },
    /// The vector becomes noise: each coordinate is that of some random record, so that every
    /// coordinate alone is ordinary and the whole is not.
    Outliers {
        /// Number of poisoned records.
        rows: usize,
    },
}

impl EmbeddingAttack {
    /// The name in the truth.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::LabelFlips { .. } => "label-flip",
            Self::Outliers { .. } => "outlier",
        }
    }
}

/// A set of labelled vectors.
///
/// ```
/// use lazaretto_testkit::{EmbeddingAttack, EmbeddingSet};
///
/// let set = EmbeddingSet::digits().poison(&EmbeddingAttack::LabelFlips { rows: 90 }, 1);
/// assert_eq!((set.n_rows(), set.dim), (1_797, 64));
/// assert_eq!(set.truth.iter().flatten().count(), 90);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingSet {
    /// Length of a vector.
    pub dim: usize,
    /// The vectors, row-major, `n_rows × dim`.
    pub vectors: Vec<f32>,
    /// Class index of each record.
    pub labels: Vec<u32>,
    /// Class names.
    pub classes: Vec<String>,
    /// For each record the name of the attack behind it, `None` for clean ones.
    pub truth: Vec<Option<&'static str>>,
}

impl EmbeddingSet {
    /// A mixture of one spherical Gaussian of unit variance for each of `n_classes` classes,
    /// whose means are `separation` times a standard normal draw.
    #[must_use]
    pub fn mixture(seed: u64, n_rows: usize, dim: usize, n_classes: u32, separation: f64) -> Self {
        let mut rng = stream(seed, "mixture");
        let means: Vec<f64> = (0..n_classes as usize * dim)
            .map(|_| separation * normal(&mut rng))
            .collect();
        let mut vectors = Vec::with_capacity(n_rows * dim);
        let mut labels = Vec::with_capacity(n_rows);
        for _ in 0..n_rows {
            let label = rng.gen_range(0..n_classes.max(1));
            let mean = &means[label as usize * dim..(label as usize + 1) * dim];
            vectors.extend(mean.iter().map(|mean| (mean + normal(&mut rng)) as f32));
            labels.push(label);
        }
        Self {
            dim,
            vectors,
            labels,
            classes: (0..n_classes)
                .map(|class| format!("class {class}"))
                .collect(),
            truth: vec![None; n_rows],
        }
    }

    /// The handwritten digits of the UCI machine learning repository as scikit-learn ships them:
    /// 1,797 images of 8 × 8 pixels, scaled to `0..=1`.
    ///
    /// # Panics
    /// Never: the data is part of the crate and covered by a test.
    #[must_use]
    pub fn digits() -> Self {
        let mut csv = String::new();
        flate2::read::GzDecoder::new(DIGITS)
            .read_to_string(&mut csv)
            .expect("built-in digits decompress");
        let mut vectors = Vec::new();
        let mut labels = Vec::new();
        for line in csv.lines() {
            let mut numbers = line
                .split(',')
                .map(|number| number.parse::<u8>().expect("built-in digits parse"));
            vectors.extend(
                numbers
                    .by_ref()
                    .take(64)
                    .map(|pixel| f32::from(pixel) / 16.0),
            );
            labels.push(u32::from(numbers.next().expect("a label after 64 pixels")));
        }
        Self {
            dim: 64,
            vectors,
            truth: vec![None; labels.len()],
            labels,
            classes: (0..10).map(|digit| digit.to_string()).collect(),
        }
    }

    /// Number of records.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.labels.len()
    }

    /// The vector of one record.
    ///
    /// # Panics
    /// When `row_idx` is out of range.
    #[must_use]
    pub fn vector(&self, row_idx: usize) -> &[f32] {
        &self.vectors[row_idx * self.dim..(row_idx + 1) * self.dim]
    }

    /// The set under one more attack. Records that are poisoned already are left alone; when
    /// there are fewer clean ones than asked for, all of them are taken.
    #[must_use]
    pub fn poison(mut self, attack: &EmbeddingAttack, seed: u64) -> Self {
        let name = attack.name();
        let rng = &mut stream(seed, name);
        match *attack {
            EmbeddingAttack::LabelFlips { rows } => {
                let n_classes = self.classes.len() as u32;
                for idx in self.victims(rng, rows) {
                    if n_classes > 1 {
                        let shift = rng.gen_range(1..n_classes);
                        self.labels[idx] = (self.labels[idx] + shift) % n_classes;
                        self.truth[idx] = Some(name);
                    }
                }
            }
            EmbeddingAttack::Outliers { rows } => {
                let original = self.vectors.clone();
                let n_rows = self.n_rows();
                for idx in self.victims(rng, rows) {
                    for coordinate in 0..self.dim {
                        let donor = rng.gen_range(0..n_rows);
                        self.vectors[idx * self.dim + coordinate] =
                            original[donor * self.dim + coordinate];
                    }
                    self.truth[idx] = Some(name);
                }
            }
        }
        self
    }

    fn victims(&self, rng: &mut ChaCha8Rng, rows: usize) -> Vec<usize> {
        let clean: Vec<usize> = (0..self.n_rows())
            .filter(|&idx| self.truth[idx].is_none())
            .collect();
        let mut chosen: Vec<usize> = index::sample(rng, clean.len(), rows.min(clean.len()))
            .into_iter()
            .map(|position| clean[position])
            .collect();
        chosen.sort_unstable();
        chosen
    }

    /// Columns `row_id`, `embedding` (fixed-size list of float32) and `label`, with the schema
    /// metadata of a Hugging Face dataset.
    ///
    /// # Errors
    /// When `dim` does not fit an Arrow list (it must be below 2³¹).
    pub fn to_record_batch(&self) -> Result<RecordBatch, ArrowError> {
        let dim = i32::try_from(self.dim).map_err(|error| {
            ArrowError::InvalidArgumentError(format!("dimension `{}`: {error}", self.dim))
        })?;
        let element = Arc::new(Field::new("element", DataType::Float32, true));
        let vectors = Float32Array::from(self.vectors.clone());
        let embedding =
            FixedSizeListArray::try_new(Arc::clone(&element), dim, Arc::new(vectors), None)?;
        let names: Vec<&str> = self.classes.iter().map(String::as_str).collect();
        let metadata = hugging_face::metadata(&[
            ("row_id", Feature::Value("int64")),
            ("embedding", Feature::Vector(self.dim)),
            ("label", Feature::ClassLabel(&names)),
        ]);
        let schema = Schema::new(vec![
            Field::new("row_id", DataType::Int64, false),
            Field::new("embedding", DataType::FixedSizeList(element, dim), false),
            Field::new("label", DataType::Int64, false),
        ]);
        RecordBatch::try_new(
            Arc::new(schema.with_metadata(metadata)),
            vec![
                Arc::new(Int64Array::from_iter_values((0..).take(self.n_rows()))),
                Arc::new(embedding),
                Arc::new(Int64Array::from_iter_values(
                    self.labels.iter().map(|&label| i64::from(label)),
                )),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
    }

    /// Position of the nearest other record.
    fn nearest(set: &EmbeddingSet, row_idx: usize) -> usize {
        (0..set.n_rows())
            .filter(|&other| other != row_idx)
            .min_by(|&a, &b| {
                squared_distance(set.vector(row_idx), set.vector(a))
                    .total_cmp(&squared_distance(set.vector(row_idx), set.vector(b)))
            })
            .unwrap()
    }

    #[test]
    fn digits_are_the_digits() {
        let set = EmbeddingSet::digits();
        assert_eq!(set.vectors.len(), 1_797 * 64);
        assert!(set.vectors.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
        // Class sizes as scikit-learn documents them.
        let sizes: Vec<usize> = (0..10)
            .map(|digit| set.labels.iter().filter(|&&label| label == digit).count())
            .collect();
        assert_eq!(sizes, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }

    #[test]
    fn flipped_labels_disagree_with_the_neighbours() {
        let set = EmbeddingSet::digits().poison(&EmbeddingAttack::LabelFlips { rows: 30 }, 5);
        let disagree = (0..set.n_rows())
            .filter(|&idx| set.truth[idx].is_some())
            .filter(|&idx| set.labels[nearest(&set, idx)] != set.labels[idx])
            .count();
        assert!(disagree >= 27, "{disagree}");
    }

    #[test]
    fn outliers_are_far_from_everything() {
        let set = EmbeddingSet::mixture(1, 600, 48, 4, 3.0)
            .poison(&EmbeddingAttack::Outliers { rows: 10 }, 5);
        let gap = |idx| squared_distance(set.vector(idx), set.vector(nearest(&set, idx)));
        let mut gaps: Vec<(f32, bool)> = (0..set.n_rows())
            .map(|idx| (gap(idx), set.truth[idx].is_some()))
            .collect();
        gaps.sort_by(|a, b| b.0.total_cmp(&a.0));
        let found = gaps[..10].iter().filter(|(_, poisoned)| *poisoned).count();
        assert!(found >= 9, "{:?}", &gaps[..20]);
    }
}
