//! How often content is repeated in a dataset by habit, and what is more than that.

use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, DiscreteCDF, Poisson};

/// Groups as large as this share of the dataset together are its habit.
const HABIT_SHARE: f64 = 0.1;
/// Shapes of the tail that are tried.
const SHAPES: std::ops::RangeInclusive<u32> = 20..=160;

/// Groups of repeated records as the dataset has them anyway: how large they get, and how often
/// their labels differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Habit {
    /// Tail of the sizes: the share of groups of at least `n` is `((n - ½) / 1½)^-shape`.
    shape: f64,
    /// Number of ordinary groups.
    groups: f64,
    /// Chance that a copy has another label than most of its group.
    pub dissent: f64,
}

impl Habit {
    /// The habit shown by groups with these `(size, dissenting labels)`. Only groups of fewer than
    /// `min_copies` count, because the others are what is judged.
    ///
    /// The tail is a power law, which is what counts of repeated texts follow; its shape is the
    /// maximum of the truncated likelihood under a normal prior around 2.5 (few groups say little).
    pub(crate) fn of(groups: impl Iterator<Item = (usize, usize)>, min_copies: usize) -> Self {
        let mut by_size = vec![0_u64; min_copies.max(3)];
        let (mut dissent, mut copies) = (0_u64, 0_u64);
        for (size, dissenting) in groups.filter(|&(size, _)| (2..min_copies).contains(&size)) {
            by_size[size] += 1;
            dissent += dissenting as u64;
            copies += size as u64 - 1;
        }
        let end = by_size.len() as f64 - 0.5;
        let posterior = |shape: f64| {
            let whole = 1.5_f64.powf(-shape) - end.powf(-shape);
            let likelihood: f64 = (2..by_size.len())
                .filter(|&size| by_size[size] > 0)
                .map(|size| {
                    let edge = size as f64 - 0.5;
                    let share = (edge.powf(-shape) - (edge + 1.0).powf(-shape)) / whole;
                    by_size[size] as f64 * share.max(f64::MIN_POSITIVE).ln()
                })
                .sum();
            likelihood - (shape - 2.5).powi(2) / 2.0
        };
        let shape = SHAPES
            .map(|tenth| f64::from(tenth) / 20.0)
            .max_by(|a, b| posterior(*a).total_cmp(&posterior(*b)))
            .unwrap_or(2.5);
        Self {
            shape,
            groups: by_size.iter().sum::<u64>() as f64,
            dissent: (dissent as f64 + 1.0) / (copies as f64 + 10.0),
        }
    }

    /// Chance that a dataset with this habit has at least `count` groups of at least `size`
    /// (Poisson).
    pub(crate) fn size_p_value(&self, size: usize, count: usize) -> f64 {
        let tail = ((size as f64 - 0.5) / 1.5).powf(-self.shape);
        let expected = (self.groups + 1.0) * tail;
        match Poisson::new(expected.max(1e-12)) {
            Ok(chance) if count > 1 => chance.sf(count as u64 - 1),
            _ => -(-expected).exp_m1(),
        }
    }

    /// Chance that at least `dissenting` of `size` copies have another label than the rest.
    pub(crate) fn dissent_p_value(&self, size: usize, dissenting: usize) -> f64 {
        if dissenting == 0 {
            return 1.0;
        }
        let copies = size.saturating_sub(1).max(dissenting) as u64;
        Binomial::new(self.dissent, copies).map_or(1.0, |chance| chance.sf(dissenting as u64 - 1))
    }
}

/// The size from which groups can be extraordinary: `min_copies`, or more in a dataset in which
/// groups that large hold a good part of the records.
pub(crate) fn ordinary_below(
    sizes: impl Iterator<Item = usize>,
    min_copies: usize,
    n_rows: u64,
) -> usize {
    let mut sizes: Vec<usize> = sizes.collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut held = 0;
    for size in sizes {
        held += size;
        if held as f64 > HABIT_SHARE * n_rows as f64 {
            return min_copies.max(size + 1);
        }
    }
    min_copies
}

/// One p-value from independent ones (Fisher 1925).
pub(crate) fn fisher(p_values: &[f64]) -> f64 {
    let statistic: f64 = p_values.iter().map(|p| -2.0 * p.max(1e-300).ln()).sum();
    ChiSquared::new(2.0 * p_values.len() as f64)
        .map_or(1.0, |chi| chi.sf(statistic))
        .clamp(1e-300, 1.0)
}

/// Benjamini–Hochberg adjusted p-values, in the order given.
pub(crate) fn adjusted(p_values: &[f64]) -> Vec<f64> {
    let n = p_values.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| p_values[b].total_cmp(&p_values[a]).then(a.cmp(&b)));
    let mut adjusted = vec![1.0; n];
    let mut smallest = 1.0_f64;
    for (place, idx) in order.into_iter().enumerate() {
        smallest = smallest.min(p_values[idx] * n as f64 / (n - place) as f64);
        adjusted[idx] = smallest;
    }
    adjusted
}

/// Records of a group by class, most first.
pub(crate) fn by_class(labels: impl Iterator<Item = u32>) -> Vec<(u32, usize)> {
    let mut sorted: Vec<u32> = labels
        .filter(|&label| label != lazaretto_core::NO_LABEL)
        .collect();
    sorted.sort_unstable();
    let mut counts: Vec<(u32, usize)> = sorted
        .chunk_by(|a, b| a == b)
        .map(|run| (run[0], run.len()))
        .collect();
    counts.sort_by_key(|&(label, count)| (std::cmp::Reverse(count), label));
    counts
}

/// Labels of a group that differ from its most frequent one.
pub(crate) fn dissenting(counts: &[(u32, usize)]) -> usize {
    counts.iter().skip(1).map(|&(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dataset_full_of_repeats_explains_large_groups() {
        // Group sizes of a collection of text messages: 15 copies are nothing special there.
        let messages = [(2, 222), (3, 59), (4, 26), (5, 11), (6, 9), (7, 5)];
        let groups = |sizes: &[(usize, usize)]| {
            let flat: Vec<(usize, usize)> = sizes
                .iter()
                .flat_map(|&(size, count)| std::iter::repeat_n((size, 0), count))
                .collect();
            Habit::of(flat.into_iter(), 8)
        };
        assert!(groups(&messages).size_p_value(15, 1) > 0.5);
        let news = groups(&[(2, 121), (3, 11), (4, 1)]);
        assert!(news.size_p_value(20, 1) < 0.01);
        assert!(
            news.size_p_value(20, 4) < 1e-6,
            "four of them are no accident"
        );
        assert!(groups(&[]).size_p_value(40, 1) < 0.01);
    }

    #[test]
    fn reference_values() {
        // scipy.stats.combine_pvalues([0.01, 0.2]) (1.15) and
        // scipy.stats.false_discovery_control([.01, .04, .03]) give these.
        assert!((fisher(&[0.01, 0.2]) - 0.014_429).abs() < 1e-5);
        let q = adjusted(&[0.01, 0.04, 0.03]);
        assert!((q[0] - 0.03).abs() < 1e-12 && (q[1] - 0.04).abs() < 1e-12);
        assert!((q[2] - 0.04).abs() < 1e-12);
    }

    #[test]
    fn classes_are_counted_most_first() {
        let counts = by_class([1, 0, 1, lazaretto_core::NO_LABEL, 2].into_iter());
        assert_eq!(counts, [(1, 2), (0, 1), (2, 1)]);
        assert_eq!(dissenting(&counts), 2);
    }
}
