//! Neighbours among all records: which way a dataset's size allows, and what it takes.
//!
//! Where the reference set does not hold every record, features of all records have to be gathered
//! in a pass of their own, because most features exist only once the fit pass is over. Then either
//! all pairs are compared, once and for all, or an index answers batch by batch. What would take
//! too long or too much memory even so is searched in the reference set.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lazaretto_core::shared::{NeighborBase, Neighbors, Reference};
use lazaretto_core::{Batch, DataFacts, NO_LABEL, Role};
use ndarray::Array2;

use crate::neighbors::{NeighborSearch, VectorIndex};
use crate::settings::{FeatureSettings, SearchMethod};
use crate::store::{Precision, VectorStore, VectorWriter, Vectors};

/// Records × records × dimensions up to which all pairs are compared.
const EXACT_OPERATIONS: f64 = 4e12;
/// Records × records searched per query × dimensions up to which an index is used.
const INDEX_OPERATIONS: f64 = 1e14;
/// Records that a query of the index is compared with, in square roots of all.
const INDEX_SHARE: f64 = 12.0;
/// Bytes per record beside vectors and neighbours: its place in a list, ordinal, label and norms.
const RECORD_BYTES: u64 = 24;

/// What a search among all records needs: the vectors of all of them.
#[derive(Clone, Debug)]
pub struct VectorPlan {
    exact: bool,
    n_rows: u64,
    dim: usize,
    precision: Precision,
    in_memory: bool,
}

impl VectorPlan {
    /// `None` when the reference set is searched.
    pub(crate) fn new(
        facts: &DataFacts,
        settings: &FeatureSettings,
        dim: usize,
        memory_bytes: usize,
    ) -> Option<Self> {
        let n = facts.n_rows;
        let precision = if facts.embedding_dim.is_some() && embedding_is_half(facts) {
            Precision::Half
        } else {
            Precision::Single
        };
        if dim == 0 || n >= u64::from(u32::MAX) {
            return None;
        }
        let (rows, width) = (n as f64, dim as f64);
        let fits = |bytes: u64| n.saturating_mul(bytes) <= memory_bytes as u64 / 2;
        let exact_fits = fits(RECORD_BYTES + 8 * settings.neighbors as u64);
        let exact = match settings.neighbor_search {
            SearchMethod::Reference => return None,
            SearchMethod::Exact if exact_fits => true,
            SearchMethod::Auto if exact_fits && rows * rows * width <= EXACT_OPERATIONS => true,
            _ => {
                let operations = rows * INDEX_SHARE * rows.sqrt() * width;
                let index = settings.neighbor_search == SearchMethod::Index
                    || operations <= INDEX_OPERATIONS;
                if !index || !fits(RECORD_BYTES) {
                    return None;
                }
                false
            }
        };
        Some(Self {
            exact,
            n_rows: n,
            dim,
            precision,
            in_memory: fits((dim * precision.bytes()) as u64),
        })
    }

    /// Room for the vectors: in memory within its share, else in the temporary file that `file`
    /// makes.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn writer(&self, file: impl FnOnce() -> io::Result<File>) -> io::Result<VectorWriter> {
        let (n_rows, dim) = (self.n_rows as usize, self.dim);
        if self.in_memory {
            Ok(VectorWriter::in_memory(n_rows, dim, self.precision))
        } else {
            VectorWriter::in_file(file()?, n_rows, dim, self.precision)
        }
    }

    pub(crate) fn exact(&self) -> bool {
        self.exact
    }
}

/// Whether the embedding column holds half-precision numbers.
fn embedding_is_half(facts: &DataFacts) -> bool {
    let mut columns = facts.columns.iter();
    columns
        .find(|column| column.role == Role::Embedding)
        .is_some_and(|column| column.data_type.contains("Float16"))
}

/// How the neighbours of a batch among all records are found.
#[derive(Debug)]
pub(crate) enum Everyone {
    /// They are those in the base, known in advance where it says so.
    Reference,
    /// All are known in advance. Where records that are not part of the dataset will be looked up,
    /// the search stays.
    Known(Option<Box<NeighborSearch>>),
    /// By the index.
    Index(Box<VectorIndex>),
}

impl Everyone {
    /// Searches all records, of which `reference` is a sample; `strangers` says whether others will be
    /// looked up too. What is found after `stop` was set is not complete.
    pub(crate) fn new(
        plan: &VectorPlan,
        store: VectorStore,
        labels: Vec<u32>,
        reference: &Reference,
        k: usize,
        strangers: bool,
        stop: &Arc<AtomicBool>,
    ) -> (Self, NeighborBase, String) {
        let vectors = Vectors::Stored(store);
        let n = vectors.n_rows();
        let mut base = NeighborBase {
            ordinals: (0..n as u64).collect(),
            labels,
            n_usable: 0,
            neighbors: None,
        };
        base.labels.resize(n, NO_LABEL);
        let (everyone, mut note) = if plan.exact() {
            let search = NeighborSearch::of(vectors, k).until(stop);
            base.n_usable = search.n_usable();
            base.neighbors = Some(search.among_each_other());
            let note = exact_note(search.k(), search.n_usable(), "all");
            let search = strangers.then(|| Box::new(search));
            (Self::Known(search), note)
        } else {
            let index = VectorIndex::new(vectors, reference, k);
            base.n_usable = index.n_usable();
            let note = index.describe();
            (Self::Index(Box::new(index)), note)
        };
        let absent = n - base.n_usable;
        if absent > 0 {
            note.push_str(&format!("; {absent} of {n} records have no features"));
        }
        (everyone, base, note)
    }
}

/// One line for the report.
pub(crate) fn exact_note(k: usize, n: usize, which: &str) -> String {
    format!("exact, {k} of {which} {n} records by Euclidean distance")
}

/// The base that the reference set makes.
pub(crate) fn reference_base(reference: &Reference, neighbors: Option<Neighbors>) -> NeighborBase {
    NeighborBase {
        ordinals: reference.ordinals.clone(),
        labels: reference.labels.clone(),
        n_usable: reference.ordinals.len(),
        neighbors,
    }
}

/// Where each record of the batch is among the ascending `ordinals`, `u32::MAX` where it is not.
pub(crate) fn own_indices(ordinals: &[u64], batch: &Batch<'_>) -> Vec<u32> {
    (0..batch.n_rows())
        .map(|row_idx| {
            let found = ordinals.binary_search(&batch.ordinal(row_idx));
            found.map_or(u32::MAX, |idx| idx as u32)
        })
        .collect()
}

/// The neighbours of records of the base, from those known in advance.
pub(crate) fn look_up(known: &Neighbors, own: &[u32]) -> Neighbors {
    let k = known.indices.ncols();
    let place = |row: usize| Some(own[row] as usize).filter(|&idx| idx < known.indices.nrows());
    let shape = (own.len(), k);
    Neighbors {
        indices: Array2::from_shape_fn(shape, |(row, slot)| {
            place(row).map_or(0, |idx| known.indices[[idx, slot]])
        }),
        distances: Array2::from_shape_fn(shape, |(row, slot)| {
            place(row).map_or(f32::NAN, |idx| known.distances[[idx, slot]])
        }),
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_core::detector::ColumnFacts;

    use super::*;

    fn plan(n_rows: u64, dim: usize, memory: usize, method: SearchMethod) -> Option<VectorPlan> {
        let facts = DataFacts {
            n_rows,
            embedding_dim: Some(dim),
            columns: vec![ColumnFacts {
                name: "embedding".to_owned(),
                data_type: "FixedSizeList(64 x Float16)".to_owned(),
                role: Role::Embedding,
                reason: String::new(),
            }],
            ..DataFacts::default()
        };
        let settings = FeatureSettings {
            neighbor_search: method,
            ..FeatureSettings::default()
        };
        VectorPlan::new(&facts, &settings, dim, memory)
    }

    #[test]
    fn size_and_memory_decide_how_all_records_are_searched() {
        const GIB: usize = 1 << 30;
        let auto = |n_rows, dim, memory| plan(n_rows, dim, memory, SearchMethod::Auto);
        let exact = auto(100_000, 64, GIB).unwrap();
        assert!(exact.exact && exact.in_memory && exact.precision == Precision::Half);
        // 50,000 × 2,048 × 2 bytes do not fit half of 256 MiB.
        assert!(!auto(50_000, 2048, GIB / 4).unwrap().in_memory);
        assert!(!auto(1_000_000, 64, GIB).unwrap().exact);
        assert!(auto(100_000_000, 768, 64 * GIB).is_none());
        // What an index keeps of each record would not fit.
        assert!(auto(1_000_000, 64, GIB / 64).is_none());
        assert!(plan(50_000, 64, GIB, SearchMethod::Reference).is_none());
        assert!(!plan(50_000, 64, GIB, SearchMethod::Index).unwrap().exact);
        let insisted = plan(400_000, 768, GIB, SearchMethod::Exact).unwrap();
        assert!(insisted.exact && !insisted.in_memory);
        assert!(plan(50_000, 0, GIB, SearchMethod::Auto).is_none());
    }
}
