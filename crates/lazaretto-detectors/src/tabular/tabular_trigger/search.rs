//! Value combinations that come with one label more often than their parts do.

use rayon::prelude::*;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::super::cells::{NULL, Table};
use super::TabularTriggerParams;

/// Columns whose pairs are searched; of more, those with the most repeated values.
const MAX_COLUMNS: usize = 64;
/// Largest chance of a combination's purity given its purest part; only selects, so it is lax: the
/// label that most records have is hardly ever surprising.
const MINIMAL_P: f64 = 0.05;
/// The same for pairs that are not pure.
const PROMISING_P: f64 = 1e-3;
/// Least purity of a pair that is extended by a third value.
const PROMISING_PURITY: f64 = 0.4;
/// Pairs that are extended, and candidates that are judged, at most.
const MAX_PROMISING: usize = 1000;
const MAX_KEPT: usize = 4000;
/// No item.
const NONE: u32 = u32::MAX;

/// A value of a column.
pub(super) type Item = (usize, u64);

/// A combination and the class that it is pure in.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// By column.
    pub(super) items: Vec<Item>,
    pub(super) class: u32,
    /// Sampled records that carry it.
    pub(super) rows: Vec<u32>,
    /// Chance of its purity given its purest part.
    p_value: f64,
}

/// What a search came to.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub(super) candidates: Vec<Candidate>,
    /// Combinations that were frequent enough to be looked at.
    pub(super) tried: u64,
}

/// The repeated values of a column with their classes.
struct Values {
    column: usize,
    cells: Vec<u64>,
    /// Count of each class, by value.
    by_class: Vec<Vec<u32>>,
    /// Index of the value of each record, [`NONE`] for rare ones.
    codes: Vec<u32>,
}

impl Values {
    fn of(table: &Table, column: usize, n_classes: usize, min_records: usize) -> Self {
        let cells = &table.columns[column];
        let mut order: Vec<u32> = (0..cells.len() as u32).collect();
        order.sort_unstable_by_key(|&row| (cells[row as usize], row));
        let mut values = Self {
            column,
            cells: Vec::new(),
            by_class: Vec::new(),
            codes: vec![NONE; cells.len()],
        };
        for run in order.chunk_by(|&a, &b| cells[a as usize] == cells[b as usize]) {
            let cell = cells[run[0] as usize];
            if cell == NULL || run.len() < min_records {
                continue;
            }
            let mut counts = vec![0; n_classes];
            for &row in run {
                counts[table.labels[row as usize] as usize] += 1;
                values.codes[row as usize] = values.cells.len() as u32;
            }
            values.cells.push(cell);
            values.by_class.push(counts);
        }
        values
    }

    /// Records with a repeated value other than the most frequent one.
    fn varied(&self) -> u32 {
        let totals = self
            .by_class
            .iter()
            .map(|counts| counts.iter().sum::<u32>());
        totals.clone().sum::<u32>() - totals.max().unwrap_or(0)
    }

    fn purity(&self, code: u32, class: usize) -> f64 {
        let counts = &self.by_class[code as usize];
        f64::from(counts[class]) / f64::from(counts.iter().sum::<u32>().max(1))
    }
}

/// The most frequent class, its count and the total.
fn majority(counts: &[u32]) -> (usize, u64, u64) {
    let class = (0..counts.len())
        .rev()
        .max_by_key(|&class| counts[class])
        .unwrap_or(0);
    let total = counts.iter().map(|&count| u64::from(count)).sum();
    (class, u64::from(counts[class]), total)
}

/// Chance of at least `successes` of `total` at rate `rate`.
fn at_least(successes: u64, total: u64, rate: f64) -> f64 {
    match Binomial::new(rate.clamp(1e-9, 1.0), total) {
        Ok(chance) if successes > 0 => chance.sf(successes - 1),
        _ => 1.0,
    }
}

/// Looks for candidates in labelled records.
pub(super) fn search(table: &Table, n_classes: usize, params: &TabularTriggerParams) -> Search {
    let min_records = params.min_records as usize;
    let mut columns: Vec<Values> = (0..table.columns.len())
        .into_par_iter()
        .map(|column| Values::of(table, column, n_classes, min_records))
        .filter(|values| !values.cells.is_empty())
        .collect();
    columns.sort_by_key(|values| (std::cmp::Reverse(values.varied()), values.column));
    let searcher = Searcher {
        table,
        params,
        columns,
        n_classes,
        max_records: (params.max_fraction * table.n_rows() as f64) as u64,
    };
    let mut search = searcher.singles();
    if params.max_values >= 2 {
        let (pairs, promising) = searcher.pairs(&mut search.tried);
        search.candidates.extend(pairs);
        if params.max_values >= 3 {
            let triples = searcher.triples(&promising, &mut search.tried);
            search.candidates.extend(triples);
        }
    }
    let order = |a: &Candidate, b: &Candidate| {
        a.p_value
            .total_cmp(&b.p_value)
            .then_with(|| a.items.cmp(&b.items))
    };
    search.candidates.sort_by(order);
    search.candidates.truncate(MAX_KEPT);
    search
}

struct Searcher<'a> {
    table: &'a Table,
    params: &'a TabularTriggerParams,
    columns: Vec<Values>,
    n_classes: usize,
    max_records: u64,
}

impl Searcher<'_> {
    /// The candidate behind `rows`, if they are pure beyond what the purest part explains.
    fn candidate(
        &self,
        items: Vec<Item>,
        rows: &[u32],
        explained: impl Fn(usize) -> f64,
    ) -> Option<Candidate> {
        let mut counts = vec![0; self.n_classes];
        for &row in rows {
            counts[self.table.labels[row as usize] as usize] += 1;
        }
        let (class, pure, total) = majority(&counts);
        let min_records = u64::from(self.params.min_records);
        let fits = pure >= min_records
            && total <= self.max_records
            && pure as f64 >= self.params.min_purity * total as f64;
        if !fits {
            return None;
        }
        let p_value = at_least(pure, total, explained(class));
        (p_value <= MINIMAL_P).then(|| Candidate {
            items,
            class: class as u32,
            rows: rows.to_vec(),
            p_value,
        })
    }

    fn singles(&self) -> Search {
        let mut class_shares = vec![0.0; self.n_classes];
        for &label in &self.table.labels {
            class_shares[label as usize] += 1.0 / self.table.n_rows() as f64;
        }
        let mut search = Search::default();
        for values in &self.columns {
            let mut rows: Vec<Vec<u32>> = vec![Vec::new(); values.cells.len()];
            for (row, &code) in values.codes.iter().enumerate() {
                if code != NONE {
                    rows[code as usize].push(row as u32);
                }
            }
            search.tried += values.cells.len() as u64;
            for (rows, &cell) in rows.iter().zip(&values.cells) {
                let item = vec![(values.column, cell)];
                let found = self.candidate(item, rows, |class| class_shares[class]);
                search.candidates.extend(found);
            }
        }
        search
    }

    /// Candidates of two values, and pairs that a third value may make pure.
    fn pairs(&self, tried: &mut u64) -> (Vec<Candidate>, Vec<Candidate>) {
        let columns = &self.columns[..self.columns.len().min(MAX_COLUMNS)];
        let places: Vec<(usize, usize)> = (0..columns.len())
            .flat_map(|a| (a + 1..columns.len()).map(move |b| (a, b)))
            .collect();
        let found: Vec<(u64, Vec<Candidate>, Vec<Candidate>)> = places
            .into_par_iter()
            .map(|(a, b)| self.pairs_of(&columns[a], &columns[b]))
            .collect();
        let (mut pure, mut promising) = (Vec::new(), Vec::new());
        for (n, pairs, others) in found {
            *tried += n;
            pure.extend(pairs);
            promising.extend(others);
        }
        promising.sort_by(|a, b| {
            let order = a.p_value.total_cmp(&b.p_value);
            order.then_with(|| a.items.cmp(&b.items))
        });
        promising.truncate(MAX_PROMISING);
        (pure, promising)
    }

    fn pairs_of(&self, a: &Values, b: &Values) -> (u64, Vec<Candidate>, Vec<Candidate>) {
        let codes = a.codes.iter().zip(&b.codes).enumerate();
        let mut carried: Vec<(u64, u32)> = codes
            .filter(|(_, (a, b))| **a != NONE && **b != NONE)
            .map(|(row, (&a, &b))| (u64::from(a) << 32 | u64::from(b), row as u32))
            .collect();
        carried.sort_unstable();
        let (mut tried, mut pure, mut promising) = (0, Vec::new(), Vec::new());
        let mut rows = Vec::new();
        for run in carried.chunk_by(|x, y| x.0 == y.0) {
            if run.len() < self.params.min_records as usize {
                continue;
            }
            tried += 1;
            rows.clear();
            rows.extend(run.iter().map(|&(_, row)| row));
            let (code_a, code_b) = ((run[0].0 >> 32) as u32, run[0].0 as u32);
            let explained = |class| a.purity(code_a, class).max(b.purity(code_b, class));
            let mut items = vec![
                (a.column, a.cells[code_a as usize]),
                (b.column, b.cells[code_b as usize]),
            ];
            items.sort_unstable();
            if let Some(candidate) = self.candidate(items.clone(), &rows, explained) {
                pure.push(candidate);
            } else if self.params.max_values >= 3 {
                promising.extend(self.promising(items, &rows, explained));
            }
        }
        (tried, pure, promising)
    }

    /// A pair that has a class more often than its parts, but is not pure.
    fn promising(
        &self,
        items: Vec<Item>,
        rows: &[u32],
        explained: impl Fn(usize) -> f64,
    ) -> Option<Candidate> {
        let mut counts = vec![0; self.n_classes];
        for &row in rows {
            counts[self.table.labels[row as usize] as usize] += 1;
        }
        let (class, pure, total) = majority(&counts);
        let enough = (PROMISING_PURITY..self.params.min_purity)
            .contains(&(pure as f64 / total.max(1) as f64));
        let p_value = at_least(pure, total, explained(class));
        (enough && p_value <= PROMISING_P).then(|| Candidate {
            items,
            class: class as u32,
            rows: rows.to_vec(),
            p_value,
        })
    }

    fn triples(&self, pairs: &[Candidate], tried: &mut u64) -> Vec<Candidate> {
        let found: Vec<(u64, Vec<Candidate>)> = pairs
            .par_iter()
            .map(|pair| {
                let (mut tried, mut candidates) = (0, Vec::new());
                let class = pair.class;
                let labels = &self.table.labels;
                let own = |rows: &[u32]| {
                    let own = rows.iter().filter(|&&row| labels[row as usize] == class);
                    own.count() as f64 / rows.len() as f64
                };
                let explained = own(&pair.rows);
                for values in &self.columns {
                    if pair.items.iter().any(|item| item.0 == values.column) {
                        continue;
                    }
                    let coded = pair.rows.iter();
                    let mut carried: Vec<(u32, u32)> = coded
                        .map(|&row| (values.codes[row as usize], row))
                        .filter(|&(code, _)| code != NONE)
                        .collect();
                    carried.sort_unstable();
                    for run in carried.chunk_by(|x, y| x.0 == y.0) {
                        if run.len() < self.params.min_records as usize {
                            continue;
                        }
                        tried += 1;
                        let rows: Vec<u32> = run.iter().map(|&(_, row)| row).collect();
                        let code = run[0].0;
                        let mut items = pair.items.clone();
                        items.push((values.column, values.cells[code as usize]));
                        items.sort_unstable();
                        let part = |class| explained.max(values.purity(code, class));
                        candidates.extend(self.candidate(items, &rows, part));
                    }
                }
                (tried, candidates)
            })
            .collect();
        let mut candidates = Vec::new();
        for (n, some) in found {
            *tried += n;
            candidates.extend(some);
        }
        // The same three values are reached from up to three pairs.
        candidates.sort_by(|a: &Candidate, b| a.items.cmp(&b.items));
        candidates.dedup_by(|a, b| a.items == b.items);
        candidates
    }
}
