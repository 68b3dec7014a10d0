//! Generated datasets with one attack of a given size.

use anyhow::Result;
use arrow::array::RecordBatch;
use lazaretto_testkit::seed::{normal, stream};
use lazaretto_testkit::{Attack, EmbeddingAttack, EmbeddingSet, LoanAttack, LoanSet, ReviewSet};

/// How much of a dataset is poison.
pub(crate) struct Level {
    pub(crate) name: &'static str,
    size: Size,
}

enum Size {
    Records(usize),
    Percent(usize),
}

impl Level {
    /// Number of poisoned records among `records`.
    pub(crate) fn of(&self, records: usize) -> usize {
        match self.size {
            Size::Records(rows) => rows.min(records),
            Size::Percent(percent) => records * percent / 100,
        }
    }
}

const fn records(name: &'static str, rows: usize) -> Level {
    Level {
        name,
        size: Size::Records(rows),
    }
}

const fn percent(name: &'static str, percent: usize) -> Level {
    Level {
        name,
        size: Size::Percent(percent),
    }
}

/// From clean to more than any null can be fitted beside.
pub(crate) const LEVELS: &[Level] = &[
    records("clean", 0),
    records("10", 10),
    records("100", 100),
    percent("1%", 1),
    percent("5%", 5),
    percent("20%", 20),
    percent("30%", 30),
];

/// A dataset, and which of its records are poison.
pub(crate) struct Set {
    pub(crate) batch: RecordBatch,
    pub(crate) poison: Vec<bool>,
    /// The label column, where it has to be named.
    pub(crate) label: &'static str,
}

/// One kind of data under one attack.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Seed, number of records, number of poisoned ones.
    pub(crate) make: fn(u64, usize, usize) -> Result<Set>,
}

/// What is measured.
pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "table-outliers",
        make: table_outliers,
    },
    Kind {
        name: "vector-outliers",
        make: vector_outliers,
    },
    Kind {
        name: "vector-cluster",
        make: vector_cluster,
    },
    Kind {
        name: "vector-flips",
        make: vector_flips,
    },
    Kind {
        name: "text-trigger",
        make: text_trigger,
    },
];

/// Names for a message.
pub(crate) fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn marked(truth: &[Option<&str>]) -> Vec<bool> {
    truth.iter().map(Option::is_some).collect()
}

/// Loan applications, some with numbers that cannot be.
fn table_outliers(seed: u64, records: usize, rows: usize) -> Result<Set> {
    let set = LoanSet::generate(seed, records).poison(&LoanAttack::OutOfRange { rows }, seed);
    Ok(Set {
        batch: set.to_record_batch()?,
        poison: marked(&set.truth()),
        label: "default",
    })
}

fn mixture(seed: u64, records: usize) -> EmbeddingSet {
    EmbeddingSet::mixture(seed, records, 24, 4, 0.9)
}

fn vectors(set: &EmbeddingSet) -> Result<Set> {
    Ok(Set {
        batch: set.to_record_batch()?,
        poison: marked(&set.truth),
        label: "label",
    })
}

/// Vectors whose coordinates are ordinary one by one.
fn vector_outliers(seed: u64, records: usize, rows: usize) -> Result<Set> {
    vectors(&mixture(seed, records).poison(&EmbeddingAttack::Outliers { rows }, seed))
}

/// Labels of another class.
fn vector_flips(seed: u64, records: usize, rows: usize) -> Result<Set> {
    vectors(&mixture(seed, records).poison(&EmbeddingAttack::LabelFlips { rows }, seed))
}

/// A backdoor as a model embeds it: records of all classes, with their labels, at one place away from
/// all classes.
fn vector_cluster(seed: u64, records: usize, rows: usize) -> Result<Set> {
    let mut set = mixture(seed, records);
    let mut rng = stream(seed, "cluster");
    let centre: Vec<f64> = (0..set.dim).map(|_| 1.8 * normal(&mut rng)).collect();
    // Records come in no order, so the first ones are as good as any.
    for row_idx in 0..rows {
        let place = &mut set.vectors[row_idx * set.dim..(row_idx + 1) * set.dim];
        for (value, centre) in place.iter_mut().zip(&centre) {
            *value = (centre + 0.3 * normal(&mut rng)) as f32;
        }
        set.truth[row_idx] = Some("cluster");
    }
    vectors(&set)
}

/// Reviews with rare words that cause a label.
fn text_trigger(seed: u64, records: usize, rows: usize) -> Result<Set> {
    let attack = Attack::BadNets {
        rows,
        words: 2,
        target: 1,
    };
    let set = ReviewSet::generate(seed, records).poison(&attack, seed);
    Ok(Set {
        batch: set.to_record_batch()?,
        poison: marked(&set.truth()),
        label: "label",
    })
}
