//! What the rest of the texts says: margins, their distribution, and the test of a candidate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// The distribution of the margins of each class, in bins of about 3 % of the value, and how often
/// the classifier gives each class to the records of another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Margins {
    bins: BTreeMap<(u32, u16), u64>,
    /// Records by label.
    labelled: BTreeMap<u32, u64>,
    /// Records by the class that the classifier prefers.
    preferred: BTreeMap<u32, u64>,
    /// Records whose label the classifier prefers, by label.
    agreeing: BTreeMap<u32, u64>,
}

fn count(counts: &BTreeMap<u32, u64>, class: u32) -> u64 {
    counts.get(&class).copied().unwrap_or(0)
}

/// A bin that keeps the order of margins: the upper half of the bits of the float, flipped so that
/// they sort as numbers.
pub(crate) fn bin(margin: f32) -> u16 {
    let bits = margin.to_bits();
    let sortable = if bits >> 31 == 1 {
        !bits
    } else {
        bits | (1 << 31)
    };
    (sortable >> 18) as u16
}

impl Margins {
    pub(crate) fn add(&mut self, class: u32, margin: f32, preferred: u32) {
        *self.bins.entry((class, bin(margin))).or_default() += 1;
        *self.labelled.entry(class).or_default() += 1;
        *self.preferred.entry(preferred).or_default() += 1;
        if class == preferred {
            *self.agreeing.entry(class).or_default() += 1;
        }
    }

    pub(crate) fn merge(&mut self, later: Self) {
        for (key, count) in later.bins {
            *self.bins.entry(key).or_default() += count;
        }
        for (own, others) in [
            (&mut self.labelled, later.labelled),
            (&mut self.preferred, later.preferred),
            (&mut self.agreeing, later.agreeing),
        ] {
            for (key, count) in others {
                *own.entry(key).or_default() += count;
            }
        }
    }

    /// Records of `class` by bin, ascending by margin.
    pub(crate) fn histogram(&self, class: u32) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.bins
            .range((class, 0)..=(class, u16::MAX))
            .map(|(&(_, bin), &count)| (bin, count))
    }

    /// Records of all classes by bin, in no order.
    pub(crate) fn all_bins(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        self.bins.iter().map(|(&(_, bin), &count)| (bin, count))
    }

    /// The distribution of class `class`, ready for look-ups. How often the texts of other classes
    /// argue against it is taken from `others`.
    pub(crate) fn of_class(&self, class: u32, others: &Self) -> ClassMargins {
        let mut bins = Vec::new();
        let mut below = 0;
        for (bin, count) in self.histogram(class) {
            bins.push((bin, below, count));
            below += count;
        }
        let own = count(&self.labelled, class);
        let contradicted = own - count(&self.agreeing, class);
        let strangers = others.labelled.values().sum::<u64>() - count(&others.labelled, class);
        let preferring = count(&others.preferred, class) - count(&others.agreeing, class);
        ClassMargins {
            bins,
            total: below,
            contradicted: share((contradicted, own)),
            contradicted_of_others: share((strangers - preferring, strangers)),
        }
    }
}

/// A share that is never certain: with few records, or a perfect classifier, the exact share would
/// let one record decide.
fn share((part, whole): (u64, u64)) -> f64 {
    ((part as f64 + 1.0) / (whole as f64 + 2.0)).clamp(0.01, 0.99)
}

/// The margins of the records of one class.
pub(crate) struct ClassMargins {
    /// Bin, records below it, records in it.
    bins: Vec<(u16, u64, u64)>,
    total: u64,
    /// Share of the class's own records that the classifier would give another label.
    pub(crate) contradicted: f64,
    /// Share of the other classes' records whose text argues against this class.
    pub(crate) contradicted_of_others: f64,
}

impl ClassMargins {
    /// Share of the class whose margin is below `margin` (ties count half), in `(0, 1)`.
    pub(crate) fn rank(&self, margin: f32) -> f64 {
        let bin = bin(margin);
        let at = self.bins.partition_point(|entry| entry.0 < bin);
        let (below, tied) = match self.bins.get(at) {
            Some(&(known, below, count)) if known == bin => (below, count),
            Some(&(_, below, _)) => (below, 0),
            None => (self.total, 0),
        };
        (below as f64 + tied as f64 / 2.0 + 0.5) / (self.total as f64 + 1.0)
    }

    /// Tests whether `margins`, of the records that carry a candidate, are lower than those of the
    /// class here and in `also`: a record takes the higher of its two ranks. Of the records
    /// the share `independent` counts.
    pub(crate) fn test(&self, also: &Self, margins: &[f32], independent: f64) -> Contradiction {
        let standard = Normal::standard();
        let rank = |margin: f32| self.rank(margin).max(also.rank(margin));
        let sum: f64 = margins
            .iter()
            .map(|&margin| -standard.inverse_cdf(rank(margin).clamp(1e-9, 1.0 - 1e-9)))
            .sum();
        let n = margins.len() as f64;
        let z = sum / n.max(1.0).sqrt() * independent.sqrt();
        let contradicted = margins.iter().filter(|&&margin| margin < 0.0).count();
        let agreeing = n - contradicted as f64;
        let log_likelihood_ratio = contradicted as f64
            * (self.contradicted_of_others / self.contradicted).ln()
            + agreeing * ((1.0 - self.contradicted_of_others) / (1.0 - self.contradicted)).ln();
        Contradiction {
            z,
            p_value: standard.sf(z),
            contradicted,
            log_likelihood_ratio,
        }
    }
}

impl Contradiction {
    /// The same test where candidates scatter `spread` times as much as chance alone has them do.
    pub(crate) fn deflated(self, spread: f64) -> Self {
        let z = self.z / spread;
        Self {
            z,
            p_value: Normal::standard().sf(z),
            ..self
        }
    }
}

/// The outcome of the test of one candidate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contradiction {
    /// Normal scores of the ranks, summed and standardised.
    pub(crate) z: f64,
    /// Chance of so low margins for records drawn from the class.
    pub(crate) p_value: f64,
    /// Records whose remaining text argues for another label.
    pub(crate) contradicted: usize,
    /// Above 0 when the records look more like records of other classes that were relabelled than
    /// like records of the class.
    pub(crate) log_likelihood_ratio: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uniform(n: u32) -> Margins {
        let mut margins = Margins::default();
        for idx in 0..n {
            let margin = (idx as f32 + 0.5) / n as f32 * 4.0 - 1.0;
            margins.add(1, margin, u32::from(margin >= 0.0));
            margins.add(0, 1.0, 0);
        }
        margins
    }

    #[test]
    fn bins_keep_the_order_of_numbers() {
        let values = [-1e30, -2.0, -1.0, -0.1, 0.0, 0.1, 1.0, 1.5, 40.0, 1e30_f32];
        let bins: Vec<u16> = values.iter().map(|&value| bin(value)).collect();
        assert!(bins.is_sorted_by(|a, b| a < b), "{bins:?}");
    }

    #[test]
    fn records_of_the_class_do_not_contradict_it() {
        let margins = uniform(2_000);
        let class = margins.of_class(1, &margins);
        let ordinary: Vec<f32> = (0..12).map(|idx| idx as f32 / 3.0 - 0.9).collect();
        let test = class.test(&class, &ordinary, 1.0);
        assert!(test.p_value > 0.1, "{test:?}");
        assert!(test.log_likelihood_ratio < 0.0);
        let relabelled = class.test(&class, &[-0.9; 12], 1.0);
        assert!(relabelled.p_value < 1e-6, "{relabelled:?}");
        assert!(relabelled.log_likelihood_ratio > 0.0);
        assert_eq!(relabelled.contradicted, 12);
        let dependent = class.test(&class, &[-0.9; 12], 0.25);
        assert!((dependent.z - relabelled.z / 2.0).abs() < 1e-9);
    }

    #[test]
    fn merging_is_adding() {
        let mut left = uniform(10);
        left.merge(uniform(7));
        let mut both = uniform(7);
        both.merge(uniform(10));
        assert_eq!(left, both);
    }
}
