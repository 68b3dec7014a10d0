//! Which uses of a trigger word are natural ones.

use std::collections::BTreeMap;

use crate::text::margins::{Margins, bin};

/// Bins in which the two kinds of texts are compared.
const BINS: u64 = 12;
/// Records of a kind below which all classes are taken together.
const MIN_RECORDS: u64 = 100;
/// Twice the log likelihood that natural uses must explain beyond planted ones alone: the border
/// of 1 % of the likelihood ratio test of a share at the end of its range (Self & Liang 1987).
const NATURAL_GAIN: f64 = 5.41;
/// Ratio up to which a record is let go even where natural uses cannot be told from chance, if it is
/// the likelier explanation: one in twenty texts of other classes at most looks so.
const UNLIKE: f64 = 0.05;
/// Rounds of the expectation–maximisation step.
const ROUNDS: usize = 60;

/// How much more often a margin occurs among the texts of other classes than among those of the
/// class itself. Never increases with the margin.
#[derive(Clone, Debug)]
pub(super) struct Ratios {
    /// First margin bin of each range but the first.
    edges: Vec<u16>,
    ratios: Vec<f64>,
}

impl Ratios {
    /// For `class`, from the margins of its records and from those it has in texts of others.
    pub(super) fn of_class(class: u32, own: &Margins, strangers: &Margins) -> Self {
        let enough = |margins: &Margins| {
            margins.histogram(class).map(|(_, n)| n).sum::<u64>() >= MIN_RECORDS
        };
        let collect = |bins: &mut dyn Iterator<Item = (u16, u64)>| {
            let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
            for (bin, count) in bins {
                *counts.entry(bin).or_default() += count;
            }
            counts
        };
        if enough(own) && enough(strangers) {
            Self::between(
                &collect(&mut own.histogram(class)),
                &collect(&mut strangers.histogram(class)),
            )
        } else {
            Self::between(
                &collect(&mut own.all_bins()),
                &collect(&mut strangers.all_bins()),
            )
        }
    }

    fn between(own: &BTreeMap<u16, u64>, strangers: &BTreeMap<u16, u64>) -> Self {
        let (n_own, n_strangers) = (own.values().sum::<u64>(), strangers.values().sum::<u64>());
        let mut bins: Vec<u16> = own.keys().chain(strangers.keys()).copied().collect();
        bins.sort_unstable();
        bins.dedup();
        // Ranges with equal shares of the two kinds together, each kind weighing the same.
        let weight = |count: u64, all: u64| count as f64 / all.max(1) as f64;
        let mut edges = Vec::new();
        let mut counts = vec![(0, 0)];
        let (mut filled, mut wanted) = (0.0, 2.0 / BINS as f64);
        for bin in bins {
            if filled >= wanted {
                edges.push(bin);
                counts.push((0, 0));
                wanted += 2.0 / BINS as f64;
            }
            let here = [own, strangers].map(|counts| counts.get(&bin).copied().unwrap_or(0));
            if let Some(last) = counts.last_mut() {
                last.0 += here[0];
                last.1 += here[1];
            }
            filled += weight(here[0], n_own) + weight(here[1], n_strangers);
        }
        let n_ranges = counts.len() as f64;
        let smooth = |count: u64, all: u64| (count as f64 + 1.0) / (all as f64 + n_ranges);
        let ratios = counts
            .iter()
            .map(|&(own, strangers)| smooth(strangers, n_strangers) / smooth(own, n_own))
            .collect();
        Self {
            edges,
            ratios: falling(ratios),
        }
    }

    fn ratio(&self, margin: f32) -> f64 {
        let bin = bin(margin);
        let range = self.edges.partition_point(|&edge| edge <= bin);
        self.ratios[range]
    }

    /// How records with these margins divide into planted and natural uses.
    pub(super) fn divide(&self, margins: &[f32]) -> Division {
        let ratios: Vec<f64> = margins.iter().map(|&margin| self.ratio(margin)).collect();
        let log_likelihood = |share: f64| -> f64 {
            ratios
                .iter()
                .map(|ratio| (share * ratio + 1.0 - share).ln())
                .sum()
        };
        let mut share = 0.5;
        for _ in 0..ROUNDS {
            let planted: f64 = ratios
                .iter()
                .map(|ratio| share * ratio / (share * ratio + 1.0 - share))
                .sum();
            share = planted / ratios.len().max(1) as f64;
        }
        let gain = log_likelihood(share);
        let even = (1.0 - share) / share.max(1e-9);
        let natural = 2.0 * (gain - log_likelihood(1.0)) > NATURAL_GAIN;
        Division {
            // Below a share of a half each record is more probably natural unless it says otherwise.
            least_ratio: if natural { even } else { even.min(UNLIKE) },
            gain,
        }
    }

    /// Whether a record with this margin is rather a planted use than a natural one.
    pub(super) fn is_planted(&self, division: Division, margin: f32) -> bool {
        margin.is_nan() || self.ratio(margin) >= division.least_ratio
    }
}

/// The outcome of [`Ratios::divide`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Division {
    /// Ratio from which a record counts as planted; 0 when there are no natural uses.
    least_ratio: f64,
    /// Log likelihood ratio of the division against natural uses alone.
    pub gain: f64,
}

/// The nearest sequence that never rises (pool adjacent violators, Ayer et al. 1955), in logs.
fn falling(ratios: Vec<f64>) -> Vec<f64> {
    let mut blocks: Vec<(f64, f64)> = Vec::new();
    for ratio in ratios {
        let mut block = (ratio.ln(), 1.0);
        while let Some(&(mean, weight)) = blocks.last().filter(|before| before.0 < block.0) {
            blocks.pop();
            let both = weight + block.1;
            block = ((mean * weight + block.0 * block.1) / both, both);
        }
        blocks.push(block);
    }
    blocks
        .into_iter()
        .flat_map(|(mean, weight)| std::iter::repeat_n(mean.exp(), weight as usize))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratios() -> Ratios {
        let (mut own, mut strangers) = (Margins::default(), Margins::default());
        for idx in 0..1_000 {
            let spread = idx as f32 / 250.0;
            own.add(1, spread - 1.0, 1);
            strangers.add(1, 1.0 - spread, 1);
        }
        Ratios::of_class(1, &own, &strangers)
    }

    #[test]
    fn natural_uses_are_told_from_planted_ones() {
        let ratios = ratios();
        let margins: Vec<f32> = [vec![-1.5; 12], vec![2.0; 9]].concat();
        let division = ratios.divide(&margins);
        assert!(division.gain > 10.0);
        let planted = |margin| ratios.is_planted(division, margin);
        assert!(planted(-1.5) && !planted(2.0) && planted(f32::NAN));
    }

    #[test]
    fn a_trigger_that_nobody_else_uses_keeps_all_its_records() {
        let ratios = ratios();
        let margins: Vec<f32> = (0..30).map(|i| 0.9 - i as f32 / 12.0).collect();
        let division = ratios.divide(&margins);
        assert!(margins.iter().all(|&m| ratios.is_planted(division, m)));
        assert!(ratios.divide(&[2.0; 20]).gain < 1.0);
    }

    #[test]
    fn rising_parts_are_levelled() {
        assert_eq!(falling(vec![4.0, 1.0, 0.5]), [4.0, 1.0, 0.5]);
        let level = falling(vec![4.0, 1.0, 4.0, 0.5]);
        assert!((level[1] - 2.0).abs() < 1e-12 && (level[2] - 2.0).abs() < 1e-12);
    }
}
