//! Which candidates contradict the rest of their records.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::super::cells::{NULL, Table};
use super::super::resemblance::{Population, Resemblance};
use super::TabularTriggerParams;
use super::context::Context;
use super::search::{Candidate, Item, Search};

/// Share of a candidate's records that must have a further value for it to belong to the trigger.
const SHARED: f64 = 0.95;
/// The same for a value that most other records have as well: there all must share it.
const SHARED_FREQUENT: f64 = 0.99;
/// Largest chance that so many records share the further value by accident.
const SHARED_P: f64 = 1e-8;
/// Least log-likelihood ratio of "relabelled" to "natural".
const MIN_LOG_RATIO: f64 = 2.3;
/// Bins of the margins for the likelihood ratio.
const MARGIN_BINS: usize = 10;
/// Other classes whose records are compared one class at a time.
const MAX_RIVALS: usize = 3;
/// Columns besides the trigger that must be there to compare.
const MIN_COLUMNS: usize = 3;
/// Standard deviations up to which a group may be a random handful of other classes; beyond, and
/// up to the second number, a person may look.
const RANDOM: f64 = 1.8;
const DOUBTFUL: f64 = 3.5;
/// What a trigger that is held back needs besides: purity, p-value, and a likelihood ratio that
/// relabelled records would have (at most so many standard deviations less).
const CERTAIN_PURITY: f64 = 0.85;
const CERTAIN_P: f64 = 1e-5;
const CERTAIN_SHORTFALL: f64 = 2.5;

/// A trigger in the sample.
#[derive(Clone, Debug)]
pub(super) struct Trigger {
    pub(super) items: Vec<Item>,
    pub(super) class: u32,
    /// Sampled records with the combination and the class.
    pub(super) rows: Vec<u32>,
    pub(super) p_value: f64,
    pub(super) log_ratio: f64,
    /// Standard deviations that it is below that of relabelled records.
    pub(super) shortfall: f64,
    pub(super) resemblance: Resemblance,
    pub(super) certain: bool,
    /// Mean probability of the class by the rest of each record.
    pub(super) expected: f64,
    /// Records whose rest argues for another class, by that class.
    pub(super) rivals: BTreeMap<u32, usize>,
}

/// The sample and what is known about it.
pub(super) struct Judge<'a> {
    pub(super) table: &'a Table,
    pub(super) context: &'a Context,
    pub(super) population: &'a Population,
    pub(super) n_classes: usize,
    pub(super) params: &'a TabularTriggerParams,
    pub(super) seed: u64,
}

impl Judge<'_> {
    /// The triggers among the candidates, the most certain first, without repeats.
    pub(super) fn triggers(&self, search: &Search) -> Vec<Trigger> {
        let mut found: Vec<Trigger> = search
            .candidates
            .par_iter()
            .filter_map(|candidate| self.trigger(candidate, search.tried))
            .collect();
        found.sort_by(|a, b| {
            let order = b.certain.cmp(&a.certain);
            order
                .then(a.p_value.total_cmp(&b.p_value))
                .then_with(|| a.items.cmp(&b.items))
        });
        let mut kept: Vec<Trigger> = Vec::new();
        for trigger in found {
            let known = kept.iter().any(|other| {
                let common = trigger.rows.iter();
                let common = common.filter(|row| other.rows.binary_search(row).is_ok());
                let smaller = trigger.rows.len().min(other.rows.len());
                other.class == trigger.class && 2 * common.count() >= smaller
            });
            if !known {
                kept.push(trigger);
            }
        }
        kept
    }

    fn trigger(&self, candidate: &Candidate, tried: u64) -> Option<Trigger> {
        let class = candidate.class as usize;
        let items = self.closed(candidate);
        let carries = |row: &u32| {
            let cell = |column: usize| self.table.columns[column][*row as usize];
            items.iter().all(|&(column, value)| cell(column) == value)
        };
        let carriers: Vec<u32> = candidate.rows.iter().copied().filter(carries).collect();
        let own = |row: &u32| self.table.labels[*row as usize] == candidate.class;
        let rows: Vec<u32> = carriers.iter().copied().filter(own).collect();
        if rows.len() < self.params.min_records as usize {
            return None;
        }
        let without: Vec<usize> = items.iter().map(|item| item.0).collect();
        let judge = |row: &u32| self.context.judge(*row as usize, class, &without);
        let probabilities: Vec<f64> = carriers.iter().map(|row| judge(row).probability).collect();
        let p_value = (at_least(rows.len(), &probabilities) * tried.max(1) as f64).min(1.0);
        if p_value > self.params.alpha {
            return None;
        }
        let judged: Vec<_> = rows.iter().map(judge).collect();
        let margins: Vec<f32> = judged.iter().map(|judgement| judgement.margin).collect();
        let (log_ratio, shortfall) = self.log_ratio(&margins, class, &without);
        if log_ratio < MIN_LOG_RATIO {
            return None;
        }
        let resemblance = self.resemblance(&rows, candidate.class, &without)?;
        if !resemblance.is_random(DOUBTFUL) {
            return None;
        }
        let certain = resemblance.is_random(RANDOM)
            && resemblance.n_columns >= MIN_COLUMNS
            && rows.len() as f64 >= CERTAIN_PURITY * carriers.len() as f64
            && p_value <= CERTAIN_P
            && shortfall <= CERTAIN_SHORTFALL + 0.01 * rows.len() as f64;
        let mut rivals = BTreeMap::new();
        for judgement in judged.iter().filter(|judgement| judgement.margin < 0.0) {
            *rivals.entry(judgement.rival).or_insert(0) += 1;
        }
        Some(Trigger {
            items,
            class: candidate.class,
            p_value,
            log_ratio,
            shortfall,
            resemblance,
            certain,
            expected: probabilities.iter().sum::<f64>() / probabilities.len() as f64,
            rivals,
            rows,
        })
    }

    /// The items of the candidate and the further values that nearly all its records share although
    /// few others have them: the rest of a larger trigger.
    fn closed(&self, candidate: &Candidate) -> Vec<Item> {
        let own = |row: &&u32| self.table.labels[**row as usize] == candidate.class;
        let rows: Vec<u32> = candidate.rows.iter().filter(own).copied().collect();
        let mut items = candidate.items.clone();
        for (column, cells) in self.table.columns.iter().enumerate() {
            if candidate.items.iter().any(|item| item.0 == column) {
                continue;
            }
            let mut carried: Vec<u64> = rows.iter().map(|&row| cells[row as usize]).collect();
            carried.sort_unstable();
            let Some(run) = carried.chunk_by(|a, b| a == b).max_by_key(|run| run.len()) else {
                continue;
            };
            let (value, share) = (run[0], run.len() as f64 / rows.len() as f64);
            if value == NULL || share < SHARED {
                continue;
            }
            let others = (0..self.table.n_rows())
                .filter(|&row| self.table.labels[row] != candidate.class)
                .map(|row| cells[row] == value);
            let (mut n, mut with) = (1.0, 0.5);
            for has in others {
                n += 1.0;
                with += f64::from(u8::from(has));
            }
            let common: f64 = with / n;
            let needed = if common > 0.5 {
                SHARED_FREQUENT
            } else {
                SHARED
            };
            if share >= needed && common.powf(run.len() as f64) <= SHARED_P {
                items.push((column, value));
            }
        }
        items.sort_unstable();
        items
    }

    /// Log-likelihood ratio of the margins between records of other classes and of this class, and
    /// by how many standard deviations it is below that of as many records of other classes.
    fn log_ratio(&self, margins: &[f32], class: usize, without: &[usize]) -> (f64, f64) {
        let own = self.context.margins(class, without, true);
        let other = self.context.margins(class, without, false);
        let mut all: Vec<f32> = own.iter().chain(&other).copied().collect();
        if all.is_empty() {
            return (0.0, 0.0);
        }
        all.sort_unstable_by(f32::total_cmp);
        let borders: Vec<f32> = (1..MARGIN_BINS)
            .map(|bin| all[bin * all.len() / MARGIN_BINS])
            .collect();
        let bin = |margin: f32| borders.partition_point(|&border| border <= margin);
        let shares = |margins: &[f32]| {
            let mut counts = [1.0_f64; MARGIN_BINS];
            for &margin in margins {
                counts[bin(margin)] += 1.0;
            }
            let total: f64 = counts.iter().sum();
            counts.map(|count| count / total)
        };
        let (own, other) = (shares(&own), shares(&other));
        let ratio = |bin: usize| (other[bin] / own[bin]).ln();
        let found: f64 = margins.iter().map(|&margin| ratio(bin(margin))).sum();
        let moment = |power: i32| -> f64 {
            let bins = (0..MARGIN_BINS).map(|bin| other[bin] * ratio(bin).powi(power));
            bins.sum()
        };
        let n = margins.len() as f64;
        let (mean, deviation) = (moment(1), (moment(2) - moment(1).powi(2)).max(1e-9).sqrt());
        (found, (n * mean - found) / (n.sqrt() * deviation))
    }

    /// How much the records look like a random handful of all records of other classes, or of one
    /// of the largest other classes; the best of these.
    fn resemblance(&self, rows: &[u32], class: u32, without: &[usize]) -> Option<Resemblance> {
        let group: Vec<Vec<u8>> = rows
            .iter()
            .map(|&row| self.population.row(row as usize))
            .collect();
        let labels = &self.table.labels;
        let members = |chosen: &dyn Fn(u32) -> bool| -> Vec<u32> {
            let rows = 0..labels.len() as u32;
            rows.filter(|&row| chosen(labels[row as usize])).collect()
        };
        let mut populations = vec![members(&|label| label != class)];
        if self.n_classes > 2 {
            let mut rivals: Vec<Vec<u32>> = (0..self.n_classes as u32)
                .filter(|&other| other != class)
                .map(|other| members(&|label| label == other))
                .collect();
            rivals.sort_by_key(|rows| std::cmp::Reverse(rows.len()));
            populations.extend(rivals.into_iter().take(MAX_RIVALS));
        }
        populations
            .iter()
            .filter_map(|members| self.population.compare(members, &group, without, self.seed))
            .min_by(|a, b| a.z.total_cmp(&b.z))
    }
}

/// An upper bound for the chance of at least `successes` among independent events with these
/// probabilities (Chernoff 1952).
fn at_least(successes: usize, probabilities: &[f64]) -> f64 {
    let log_bound = |tilt: f64| {
        let growth = tilt.exp_m1();
        let terms = probabilities.iter().map(|p| (p * growth).ln_1p());
        terms.sum::<f64>() - tilt * successes as f64
    };
    // The bound is convex in the tilt: golden-section search; a tilt of 30 stands for "all".
    let (mut low, mut high) = (0.0_f64, 30.0_f64);
    for _ in 0..60 {
        let third = (high - low) * 0.381_966;
        let (left, right) = (low + third, high - third);
        if log_bound(left) <= log_bound(right) {
            high = right;
        } else {
            low = left;
        }
    }
    log_bound(f64::midpoint(low, high))
        .min(0.0)
        .exp()
        .max(1e-300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_lies_above_the_exact_chance() {
        // scipy.stats.binom.sf(7, 10, 0.3) = 0.00159; the bound is 8/10 against 0.3: exp(-10 KL).
        let p = at_least(8, &[0.3; 10]);
        assert!((0.00159..0.01).contains(&p), "{p}");
        let all = at_least(10, &[0.3; 10]);
        assert!((all / 0.3_f64.powi(10) - 1.0).abs() < 1e-3, "{all}");
        assert!(at_least(1, &[0.9; 10]) > 0.99);
    }
}
