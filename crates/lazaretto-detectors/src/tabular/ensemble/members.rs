//! The members of the ensemble: each gives a raw score, higher is more unusual.

use lazaretto_features::QuantileSketch;
use ndarray::Axis;
use rayon::prelude::*;

use crate::tabular::column_scale::{BLOCK_ROWS, Coordinates, widen};
use crate::tabular::column_scores::ColumnScore as _;
use crate::tabular::ensemble::neighbors::NeighborSearch;
use crate::tabular::ensemble::rarity::Rarity;
use crate::tabular::forest::Forest;
use crate::tabular::mixture::Mixture;
use crate::tabular::pair_table::PairTable;
use crate::tabular::record_sample::{Records, Sample};
use crate::tabular::robust_covariance::{Ellipsoid, Shrinkage};
use crate::tabular::tail_table::{TailTable, Tails};

/// Trees of the forest member, each from [`TREE_ROWS`] records.
const N_TREES: usize = 100;
const TREE_ROWS: usize = 256;
/// Records that the forest draws from, as in `isolation-forest`.
const FOREST_ROWS: usize = 4096;
/// Records from which the robust covariance is estimated.
const COVARIANCE_ROWS: usize = 8192;
/// Records and components of the mixture.
const MIXTURE_ROWS: usize = 4096;
const MIXTURE_COMPONENTS: usize = 6;
/// Points of each column's distribution for the tail member.
const TAIL_POINTS: usize = 4096;
/// Multiply-adds that the search for neighbours may take over the whole dataset.
const SEARCH_BUDGET: u64 = 1 << 36;
/// Work per pair of records beside the product of their coordinates, in multiply-adds.
const PER_PAIR: u64 = 32;
/// Fewest records to search neighbours among.
const MIN_SEARCH_ROWS: usize = 1024;

/// What a member looks at; members of one family vote together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Values by themselves.
    Margins,
    /// Distance to other records.
    Distance,
    /// Distance from the bulk in the metric of its covariance.
    Covariance,
    /// Values that do not go together.
    Pairs,
}

/// One member.
#[derive(Debug)]
pub(crate) enum Member {
    /// Few random cuts separate the record (Liu 2008).
    Forest(Forest),
    /// Values in the tails of their columns (ECOD).
    Tails(Vec<TailTable>),
    /// Rare values (HBOS, frequencies of categories).
    Rarity(Rarity),
    /// Mean distance to the nearest records.
    Neighbors(NeighborSearch),
    /// Robust Mahalanobis distance.
    Ellipsoid(Ellipsoid),
    /// Density of a mixture of Gaussians.
    Mixture(Mixture),
    /// Combinations of values rarer than independence lets expect.
    Pairs(PairTable),
}

impl Member {
    /// What it looks at.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Forest(_) | Self::Tails(_) | Self::Rarity(_) => Kind::Margins,
            Self::Neighbors(_) => Kind::Distance,
            Self::Ellipsoid(_) | Self::Mixture(_) => Kind::Covariance,
            Self::Pairs(_) => Kind::Pairs,
        }
    }
}

/// What the choice of members depends on, beside the sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Number of records of the dataset.
    pub(crate) n_rows: u64,
    /// Neighbours whose distances are averaged.
    pub(crate) neighbors: usize,
    /// The numbers are the parts of one vector.
    pub(crate) vectors: bool,
    /// Bytes for the tables of pairs.
    pub(crate) memory_bytes: usize,
    pub(crate) seed: u64,
}

/// All members of one dataset.
#[derive(Debug)]
pub(crate) struct Members {
    coordinates: Option<Coordinates>,
    members: Vec<Member>,
}

impl Members {
    /// Chooses and fits the members that the data allows.
    pub(crate) fn fit(sample: &Sample, setting: Setting) -> Self {
        let mut members = Vec::new();
        let coordinates = Coordinates::fit(sample, setting.vectors, setting.seed);
        if let Some(coordinates) = &coordinates {
            // Cuts along the axes and single columns say little about hundreds of columns of one
            // unit: on topics of news as vectors of 256 parts a forest's AUROC is 0.55, the
            // distances' 0.93.
            if !setting.vectors {
                let forest_rows = sample.n_rows().min(FOREST_ROWS);
                let pool = sample.numbers.slice(ndarray::s![..forest_rows, ..]);
                let pool = pool.mapv(|value| value as f32);
                let forest = Forest::grow(pool.view(), N_TREES, TREE_ROWS, setting.seed);
                members.push(Member::Forest(forest));
                members.push(Member::Tails(tails(sample)));
            }
            let n_search = search_rows(setting.n_rows, coordinates.width()).min(sample.n_rows());
            let rows = coordinates.of_sample(sample, n_search.max(COVARIANCE_ROWS));
            let covariance_rows = rows.nrows().min(COVARIANCE_ROWS);
            let bulk = widen(rows.slice(ndarray::s![..covariance_rows, ..]));
            if let Some(ellipsoid) = Ellipsoid::robust(bulk.view(), Shrinkage::Always) {
                members.push(Member::Ellipsoid(ellipsoid));
            }
            if setting.vectors {
                let bulk = rows.slice(ndarray::s![..rows.nrows().min(MIXTURE_ROWS), ..]);
                let (most, shrinkage) = (MIXTURE_COMPONENTS, Shrinkage::Always);
                let mixture = Mixture::fit(&bulk.to_owned(), most, shrinkage, setting.seed);
                members.extend(mixture.map(Member::Mixture));
            }
            let rows = rows.slice_move(ndarray::s![..n_search, ..]);
            let search = NeighborSearch::new(rows, setting.neighbors);
            members.push(Member::Neighbors(search));
        }
        if !setting.vectors {
            members.push(Member::Rarity(Rarity::fit(sample)));
        }
        if sample.categories.ncols() > 0
            && let Some(pairs) = PairTable::fit(sample, setting.memory_bytes)
        {
            members.push(Member::Pairs(pairs));
        }
        Self {
            coordinates,
            members,
        }
    }

    /// The members, in the order of the scores.
    pub(crate) fn all(&self) -> &[Member] {
        &self.members
    }

    /// Keeps the members that `keep` says yes to, by position.
    pub(crate) fn retain(&mut self, keep: &[bool]) {
        let mut keep = keep.iter();
        self.members
            .retain(|_| keep.next().is_some_and(|&keep| keep));
    }

    /// The raw scores of the records from `first_row` on, at most [`BLOCK_ROWS`]: one vector per
    /// member. `own` holds each record's place in the sample.
    pub(crate) fn score(
        &self,
        records: &Records<'_>,
        first_row: usize,
        own: &[Option<u32>],
    ) -> Vec<Vec<f32>> {
        let n_rows = own.len().min(BLOCK_ROWS);
        let (width, _) = records.widths();
        let coordinates = self
            .coordinates
            .as_ref()
            .map(|coordinates| coordinates.of(records, first_row, n_rows));
        let padded: Vec<Option<u32>> = (0..BLOCK_ROWS)
            .map(|row| own.get(row).copied().flatten())
            .collect();
        let score = |member: &Member| {
            let mut scores = vec![0.0; n_rows];
            match (member, &coordinates) {
                (Member::Forest(forest), _) => {
                    let block: Vec<f32> = (first_row..first_row + n_rows)
                        .flat_map(|row| {
                            (0..width).map(move |column| records.number(row, column) as f32)
                        })
                        .collect();
                    forest.score(&block, &mut scores);
                }
                (Member::Tails(tables), _) => {
                    for (column, table) in tables.iter().enumerate() {
                        let rows = first_row..first_row + n_rows;
                        let values: Vec<f64> =
                            rows.map(|row| records.number(row, column)).collect();
                        table.add(&values, &mut scores);
                    }
                }
                (Member::Rarity(rarity), _) => rarity.score(records, first_row, &mut scores),
                (Member::Pairs(pairs), _) => {
                    let sampled: Vec<bool> = own.iter().map(Option::is_some).collect();
                    pairs.score(records, first_row, &sampled, &mut scores);
                }
                (Member::Neighbors(search), Some(coordinates)) => {
                    scores = search.mean_distances(coordinates.view(), &padded);
                }
                (Member::Ellipsoid(ellipsoid), Some(coordinates)) => {
                    let squared = ellipsoid.squared_distances(widen(coordinates.view()).view());
                    scores = squared.into_iter().map(|d| d.sqrt() as f32).collect();
                }
                (Member::Mixture(mixture), Some(coordinates)) => {
                    let densities = mixture.ln_densities(widen(coordinates.view()).view());
                    scores = densities.into_iter().map(|d| -d as f32).collect();
                }
                // Not fitted without coordinates.
                (Member::Neighbors(_) | Member::Ellipsoid(_) | Member::Mixture(_), None) => {}
            }
            scores.truncate(n_rows);
            scores
        };
        self.members.iter().map(score).collect()
    }
}

/// How many records of the sample neighbours are searched among: the more records there are to
/// score, the fewer.
fn search_rows(n_rows: u64, width: usize) -> usize {
    let per_row = n_rows.max(1).saturating_mul(width as u64 + PER_PAIR);
    usize::try_from(SEARCH_BUDGET / per_row)
        .unwrap_or(usize::MAX)
        .max(MIN_SEARCH_ROWS)
}

fn tails(sample: &Sample) -> Vec<TailTable> {
    let columns: Vec<_> = sample.numbers.axis_iter(Axis(1)).collect();
    columns
        .into_par_iter()
        .map(|column| {
            let mut sketch = QuantileSketch::new(TAIL_POINTS);
            sketch.insert_column(&column.to_vec());
            TailTable::new(&sketch, Tails::Larger)
        })
        .collect()
}
