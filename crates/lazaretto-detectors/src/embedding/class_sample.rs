//! A bounded sample of the vectors of each class, chosen by keyed hash, as mergeable state.
//!
//! Detectors that look inside a class need some of its vectors together. Every class keeps the
//! records with the smallest keys, so the sample depends on the set of records alone: partial
//! samples merge exactly, and an attacker who does not know the seed cannot choose what is in it.

use std::cmp::Reverse;

use lazaretto_core::{Batch, DataFacts, FitContext, NotApplicable};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Bytes kept of a sampled record besides its vector: key and ordinal.
const BYTES_OF_KEY: usize = 16;

/// While a sample grows it holds up to twice what it keeps.
const GROWTH: usize = 2;

/// Whether there are vectors and at least two classes to look at.
///
/// # Errors
/// What is missing.
pub(crate) fn needs_labelled_vectors(facts: &DataFacts) -> Result<(), NotApplicable> {
    if facts.embedding_dim.is_none_or(|dim| dim == 0) {
        return Err(NotApplicable::new("no embedding column"));
    }
    if !facts.has_labels() {
        return Err(NotApplicable::new("no labels of at least two classes"));
    }
    Ok(())
}

/// The vectors with the smallest keyed hashes of each class, at most a fixed number per class.
/// Records without a label, or whose vector is missing or not finite, are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassSample {
    /// Most records kept of a class.
    capacity: usize,
    dim: usize,
    /// By class index.
    classes: Vec<ClassRows>,
}

/// What is kept of one class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct ClassRows {
    /// Key and ordinal of each kept record; unsorted.
    keys: Vec<(u64, u64)>,
    /// Vectors in the order of `keys`.
    values: Vec<f32>,
    /// No record with a larger key can enter any more.
    bound: Option<(u64, u64)>,
}

/// The sample of one class, in the order of the keys.
#[derive(Clone, Debug)]
pub(crate) struct SampledClass {
    /// Dataset-wide ordinal of each sampled record.
    pub ordinals: Vec<u64>,
    /// Vectors, `n_sampled × dim`; finite.
    pub vectors: Array2<f32>,
}

impl SampledClass {
    /// Number of sampled records.
    pub(crate) fn len(&self) -> usize {
        self.ordinals.len()
    }
}

impl ClassSample {
    /// An empty sample for the classes of the dataset: at most `max_per_class` vectors of each, and
    /// fewer of the largest classes when the memory of the context does not hold that many.
    pub(crate) fn new(context: &FitContext, max_per_class: usize) -> Self {
        let facts = &context.facts;
        let dim = facts.embedding_dim.unwrap_or(0);
        let bytes_per_row = GROWTH * (dim * size_of::<f32>() + BYTES_OF_KEY);
        let affordable = context.memory_bytes / bytes_per_row;
        Self {
            capacity: common_bound(&facts.class_counts, affordable).clamp(1, max_per_class.max(1)),
            dim,
            classes: vec![ClassRows::default(); facts.classes.len()],
        }
    }

    /// Adds the records of a batch. Vectors of another length than the dataset's are left out.
    pub(crate) fn insert(&mut self, batch: &Batch<'_>) {
        let Some(vectors) = batch.embedding.filter(|v| v.ncols() == self.dim) else {
            return;
        };
        for (row_idx, &key) in batch.keys.iter().enumerate() {
            let class = batch.label(row_idx);
            let Some(rows) = class.and_then(|class| self.classes.get_mut(class as usize)) else {
                continue;
            };
            let key = (key, batch.ordinal(row_idx));
            if rows.bound.is_some_and(|bound| key >= bound) {
                continue;
            }
            let vector = vectors.row(row_idx);
            if vector.iter().all(|value| value.is_finite()) {
                rows.keys.push(key);
                rows.values.extend(vector);
                if rows.keys.len() >= self.capacity * GROWTH {
                    rows.trim(self.capacity, self.dim);
                }
            }
        }
    }

    /// Adds the sample of another part of the same dataset.
    pub(crate) fn merge(&mut self, later: Self) {
        if later.dim != self.dim || later.classes.len() != self.classes.len() {
            // Only a state from another dataset looks like this.
            return;
        }
        for (rows, later) in self.classes.iter_mut().zip(later.classes) {
            rows.keys.extend(later.keys);
            rows.values.extend(later.values);
            rows.trim(self.capacity, self.dim);
        }
    }

    /// The sample of each class, by class index.
    pub(crate) fn into_classes(self) -> Vec<SampledClass> {
        let (capacity, dim) = (self.capacity, self.dim);
        let of_class = |mut rows: ClassRows| {
            rows.trim(capacity, dim);
            let shape = (rows.keys.len(), dim);
            SampledClass {
                ordinals: rows.keys.iter().map(|&(_, ordinal)| ordinal).collect(),
                vectors: Array2::from_shape_vec(shape, rows.values)
                    .unwrap_or_else(|_| Array2::zeros((0, dim))),
            }
        };
        self.classes.into_iter().map(of_class).collect()
    }
}

impl ClassRows {
    /// Keeps the `capacity` records with the smallest keys, in the order of the keys.
    fn trim(&mut self, capacity: usize, dim: usize) {
        if self.values.len() != self.keys.len() * dim {
            // Only a damaged state from elsewhere can look like this: better no sample, and a
            // detector that abstains, than a panic.
            self.keys.clear();
            self.values.clear();
        }
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by_key(|&idx| self.keys[idx]);
        if let Some(&first_out) = order.get(capacity) {
            self.bound = Some(self.keys[first_out]);
        }
        order.truncate(capacity);
        let mut values = Vec::with_capacity(order.len() * dim);
        for &idx in &order {
            values.extend_from_slice(&self.values[idx * dim..(idx + 1) * dim]);
        }
        self.keys = order.iter().map(|&idx| self.keys[idx]).collect();
        self.values = values;
    }
}

/// The largest bound with `Σ min(count, bound) ≤ total`: small classes are kept whole, and what
/// they leave goes to the large ones in equal parts.
fn common_bound(counts: &[u64], total: usize) -> usize {
    let mut sizes: Vec<usize> = counts.iter().map(|&count| count as usize).collect();
    sizes.sort_unstable_by_key(|&size| Reverse(size));
    let mut left = total;
    while let Some(size) = sizes.pop() {
        let part = left / (sizes.len() + 1);
        if size > part {
            return part;
        }
        left -= size;
    }
    total
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lazaretto_core::{Derived, NO_LABEL};
    use ndarray::{Array2, s};

    use super::*;

    fn context(class_counts: Vec<u64>, dim: usize, memory_bytes: usize) -> FitContext {
        FitContext {
            facts: Arc::new(DataFacts {
                n_rows: class_counts.iter().sum(),
                classes: (0..class_counts.len())
                    .map(|class| class.to_string())
                    .collect(),
                class_counts,
                embedding_dim: Some(dim),
                ..DataFacts::default()
            }),
            seed: 1,
            memory_bytes,
        }
    }

    fn vectors(n_rows: usize) -> (Vec<u64>, Vec<u32>, Array2<f32>) {
        let keys = (0..n_rows as u64)
            .map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        let labels = (0..n_rows)
            .map(|row| [0, 1, NO_LABEL, 0][row % 4])
            .collect();
        let mut values =
            Array2::from_shape_fn((n_rows, 3), |(row, column)| (row * 3 + column) as f32);
        values.row_mut(8).fill(f32::NAN);
        (keys, labels, values)
    }

    fn sample_of(context: &FitContext, max: usize, rows: std::ops::Range<usize>) -> ClassSample {
        let (keys, labels, values) = vectors(200);
        let mut sample = ClassSample::new(context, max);
        sample.insert(&Batch {
            first_row: rows.start as u64,
            keys: &keys[rows.clone()],
            labels: Some(&labels[rows.clone()]),
            sources: None,
            times: None,
            texts: &[],
            numeric: None,
            categorical: &[],
            embedding: Some(values.slice(s![rows, ..])),
            given_probabilities: None,
            derived: &Derived::default(),
        });
        sample
    }

    #[test]
    fn the_smallest_keys_of_each_class_are_kept_however_the_records_are_cut() {
        let context = context(vec![100, 50], 3, 1 << 20);
        let whole = sample_of(&context, 20, 0..200).into_classes();
        let mut parts = sample_of(&context, 20, 0..61);
        parts.merge(sample_of(&context, 20, 61..130));
        parts.merge(sample_of(&context, 20, 130..200));
        let (keys, labels, values) = vectors(200);
        for (class, (whole, parts)) in whole.iter().zip(parts.into_classes()).enumerate() {
            assert_eq!(whole.ordinals, parts.ordinals);
            assert_eq!(whole.vectors, parts.vectors);
            let mut members: Vec<usize> = (0..200)
                .filter(|&row| labels[row] == class as u32 && row != 8)
                .collect();
            members.sort_by_key(|&row| keys[row]);
            members.truncate(20);
            let ordinals: Vec<usize> = whole.ordinals.iter().map(|&o| o as usize).collect();
            assert_eq!(ordinals, members);
            assert_eq!(whole.len(), 20);
            for (row, &member) in members.iter().enumerate() {
                assert_eq!(whole.vectors.row(row), values.row(member));
            }
        }
    }

    #[test]
    fn memory_is_shared_so_that_small_classes_stay_whole() {
        assert_eq!(common_bound(&[1000, 10, 500], 210), 100);
        assert_eq!(common_bound(&[1000, 10, 500], 5000), 5000);
        assert_eq!(common_bound(&[], 7), 7);
        // 2 × (3 × 4 + 16) bytes per row: 40 rows in all.
        let context = context(vec![100, 50], 3, 40 * 56);
        let classes = sample_of(&context, 4096, 0..200).into_classes();
        assert_eq!(
            classes.iter().map(SampledClass::len).collect::<Vec<_>>(),
            [20, 20]
        );
    }

    #[test]
    fn other_shapes_are_left_out() {
        let mut sample = sample_of(&context(vec![100, 50], 3, 1 << 20), 20, 0..50);
        let before = sample.clone();
        sample.merge(ClassSample::new(&context(vec![1], 3, 1 << 20), 20));
        sample.merge(ClassSample::new(&context(vec![1, 1], 4, 1 << 20), 20));
        assert_eq!(sample, before);
    }
}
