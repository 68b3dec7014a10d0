//! Whether a group of records looks like a random handful of a population.
//!
//! Values that an attacker writes over others stand in records that are otherwise ordinary: apart
//! from the written columns, these records are a random sample of the attacked ones. A natural rare
//! value belongs to a kind of record and shows in other columns too. The test that tells
//! the two apart compares, column by column, how the group falls into coarse bins with how as many
//! random records of the population do.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::cells::{Layout, NULL, Table};

/// A cell that takes no part.
pub(crate) const SKIP: u8 = u8::MAX;
/// Bins of a numeric column, besides the missing one.
const NUMERIC_BINS: usize = 8;
/// Values of a categorical column that are told apart; rarer ones share a bin.
const CATEGORY_BINS: usize = 10;
/// Random groups drawn.
const ROUNDS: usize = 300;
/// Records of a group that are compared.
pub(crate) const MAX_GROUP: usize = 400;
/// Columns that are compared.
const MAX_COLUMNS: usize = 128;

/// How the cells of one column fall into bins.
#[derive(Clone, Debug)]
enum Bins {
    Numeric { borders: Vec<f64> },
    Categorical { values: Vec<(u64, u8)> },
}

impl Bins {
    fn numeric(sorted: &[f64]) -> Self {
        let mut borders: Vec<f64> = (1..NUMERIC_BINS)
            .filter_map(|bin| sorted.get(bin * sorted.len() / NUMERIC_BINS).copied())
            .filter(|border| sorted.first().is_some_and(|first| border > first))
            .collect();
        borders.dedup();
        if borders.is_empty() {
            // Mostly one value, zero as a rule: the others are halved.
            let first = sorted.first().copied().unwrap_or(0.0);
            let others = &sorted[sorted.partition_point(|&value| value <= first)..];
            borders.extend(others.first());
            borders.extend(
                others
                    .get(others.len() / 2)
                    .filter(|&half| *half > others[0]),
            );
        }
        Self::Numeric { borders }
    }

    fn categorical(cells: &[u64]) -> Self {
        let mut sorted: Vec<u64> = cells.iter().copied().filter(|&cell| cell != NULL).collect();
        sorted.sort_unstable();
        let mut counts: Vec<(usize, u64)> = sorted
            .chunk_by(|a, b| a == b)
            .map(|run| (run.len(), run[0]))
            .collect();
        counts.sort_unstable_by_key(|&(count, value)| (std::cmp::Reverse(count), value));
        let frequent = counts.into_iter().take(CATEGORY_BINS - 1);
        let mut values: Vec<(u64, u8)> = frequent.map(|(_, v)| v).zip(1_u8..).collect();
        values.sort_unstable();
        Self::Categorical { values }
    }

    /// The bin of a cell: 0 where missing.
    fn code(&self, cell: u64) -> u8 {
        match self {
            _ if cell == NULL => 0,
            Self::Numeric { borders } => {
                let value = f64::from_bits(cell);
                1 + borders.partition_point(|&border| border <= value) as u8
            }
            Self::Categorical { values } => values
                .binary_search_by_key(&cell, |entry| entry.0)
                .map_or(CATEGORY_BINS as u8, |found| values[found].1),
        }
    }

    fn width(&self) -> usize {
        1 + match self {
            Self::Numeric { borders } => borders.len() + 1,
            Self::Categorical { .. } => CATEGORY_BINS,
        }
    }
}

/// A population in coarse bins.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    bins: Vec<Bins>,
    /// Bins of each column and record.
    codes: Vec<Vec<u8>>,
}

/// What the comparison came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resemblance {
    /// How much more the group differs from the population than random groups of its size do, in
    /// their standard deviations, over all columns together.
    pub(crate) z: f64,
    /// Records compared.
    pub(crate) n_records: usize,
    /// Columns compared.
    pub(crate) n_columns: usize,
    /// The column that differs most.
    pub(crate) column: usize,
}

impl Resemblance {
    /// Whether the group may be a random handful. Large groups are allowed a trace of a difference:
    /// no sample is perfectly random, and in thousands of records everything is significant.
    pub(crate) fn is_random(&self, limit: f64) -> bool {
        self.z <= limit + 0.01 * self.n_records as f64
    }
}

impl Population {
    pub(crate) fn new(table: &Table, layout: &Layout) -> Self {
        let bins: Vec<Bins> = (0..layout.width())
            .map(|column| {
                if layout.is_numeric(column) {
                    Bins::numeric(&table.numbers(column))
                } else {
                    Bins::categorical(&table.columns[column])
                }
            })
            .collect();
        let codes = bins.iter().zip(&table.columns);
        let codes = codes
            .map(|(bins, cells)| cells.iter().map(|&cell| bins.code(cell)).collect())
            .collect();
        Self { bins, codes }
    }

    /// Bins of the cells of a record.
    pub(crate) fn encode(&self, cells: &[u64]) -> Vec<u8> {
        let bins = self.bins.iter().zip(cells);
        bins.map(|(bins, &cell)| bins.code(cell)).collect()
    }

    /// The bins of sampled record `row`.
    pub(crate) fn row(&self, row: usize) -> Vec<u8> {
        self.codes.iter().map(|codes| codes[row]).collect()
    }

    /// Compares `group` with the records `members`, in all columns but `excluded`. `None` when
    /// there is nothing to compare.
    pub(crate) fn compare(
        &self,
        members: &[u32],
        group: &[Vec<u8>],
        excluded: &[usize],
        seed: u64,
    ) -> Option<Resemblance> {
        let group = &group[..group.len().min(MAX_GROUP)];
        let columns = self.columns(members, excluded);
        if group.is_empty() || members.len() < 2 || columns.is_empty() {
            return None;
        }
        let observed: Vec<f64> = columns
            .iter()
            .map(|column| column.statistic(group.iter().map(|codes| codes[column.idx])))
            .collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7265_7365_6d62_6c65);
        let rounds: Vec<Vec<f64>> = (0..ROUNDS)
            .map(|_| {
                let drawn: Vec<usize> = (0..group.len())
                    .map(|_| members[rng.gen_range(0..members.len())] as usize)
                    .collect();
                let statistic = |column: &Column| {
                    let codes = &self.codes[column.idx];
                    column.statistic(drawn.iter().map(|&row| codes[row]))
                };
                columns.iter().map(statistic).collect()
            })
            .collect();
        let scales: Vec<(f64, f64)> = (0..columns.len())
            .map(|at| mean_and_deviation(rounds.iter().map(|round| round[at])))
            .collect();
        let standardised = |values: &[f64]| -> Vec<f64> {
            let scaled = values.iter().zip(&scales);
            scaled
                .map(|(value, (mean, deviation))| (value - mean) / deviation.max(1e-6))
                .collect()
        };
        let parts = standardised(&observed);
        let sums = rounds.iter().map(|round| standardised(round).iter().sum());
        let (mean, deviation) = mean_and_deviation(sums);
        let z = (parts.iter().sum::<f64>() - mean) / deviation.max(1e-6);
        let most = (0..parts.len()).max_by(|&a, &b| parts[a].total_cmp(&parts[b]))?;
        Some(Resemblance {
            z,
            n_records: group.len(),
            n_columns: columns.len(),
            column: columns[most].idx,
        })
    }

    /// The columns that vary among `members`, those with the most even bins first.
    fn columns(&self, members: &[u32], excluded: &[usize]) -> Vec<Column> {
        let usable = (0..self.bins.len()).filter(|idx| !excluded.contains(idx));
        let mut columns: Vec<Column> = usable
            .map(|idx| {
                let mut shares = vec![0.5; self.bins[idx].width()];
                for &row in members {
                    if let Some(share) = shares.get_mut(self.codes[idx][row as usize] as usize) {
                        *share += 1.0;
                    }
                }
                let total: f64 = shares.iter().sum();
                for share in &mut shares {
                    *share /= total;
                }
                let evenness = -shares.iter().map(|p| p * p.ln()).sum::<f64>();
                let most = shares.iter().copied().fold(0.0, f64::max);
                let varies = most * total < total - 0.5 * shares.len() as f64 - 0.5;
                Column {
                    idx,
                    shares,
                    evenness: if varies { evenness } else { 0.0 },
                }
            })
            .filter(|column| column.evenness > 0.0)
            .collect();
        columns.sort_by(|a, b| b.evenness.total_cmp(&a.evenness).then(a.idx.cmp(&b.idx)));
        columns.truncate(MAX_COLUMNS);
        columns
    }
}

/// A column that takes part, with the share of each bin.
struct Column {
    idx: usize,
    shares: Vec<f64>,
    evenness: f64,
}

impl Column {
    /// The likelihood-ratio statistic G of how `codes` fall into the bins.
    fn statistic(&self, codes: impl Iterator<Item = u8>) -> f64 {
        let mut counts = [0_u32; 16];
        let mut total = 0_u32;
        for code in codes {
            if let Some(count) = counts.get_mut(code as usize) {
                *count += 1;
                total += 1;
            }
        }
        let total = f64::from(total);
        let bins = counts.iter().zip(&self.shares).filter(|bin| *bin.0 > 0);
        bins.map(|(&count, share)| {
            let count = f64::from(count);
            2.0 * count * (count / (total * share)).ln()
        })
        .sum()
    }
}

fn mean_and_deviation(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        n += 1.0;
        sum += value;
        squares += value * value;
    }
    let mean: f64 = sum / f64::max(n, 1.0);
    let variance = (squares / f64::max(n, 1.0) - mean * mean).max(0.0);
    (mean, variance.sqrt())
}
