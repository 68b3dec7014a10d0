//! Whether a group has more of something than the other groups of its kind, as these differ.

use lazaretto_detectors::provenance::enriched::upper_tail;
use statrs::distribution::{DiscreteCDF as _, NegativeBinomial};

/// Groups with fewer expected records say nothing about how much groups differ.
const MIN_EXPECTED: f64 = 3.0;
/// Groups that are needed to know how much groups differ, the one in question among them.
const MIN_GROUPS: usize = 5;
/// Many small groups together: expected records of each, and how many groups.
const MIN_SMALL: f64 = 0.1;
const MIN_SMALL_GROUPS: usize = 20;
/// Honest groups differ by at least so much, as a coefficient of variation; small ones by more.
const NATURAL_VARIATION: f64 = 0.25;
const SMALL_VARIATION: f64 = 0.5;
/// Share of the other groups that the law must cover; the rest may be as bad as the one in question.
const COVERED: f64 = 0.9;
/// The standard normal law has so much of its mass below this.
const COVERED_DEVIATION: f64 = 1.281_6;
/// Share of a dataset beyond which a group is what the others are compared with.
const MAX_SHARE: f64 = 0.5;

/// Records of one group with one kind of evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    /// Records that were looked at.
    pub(super) looked: u64,
    /// Of these, records with the evidence.
    pub(super) marked: u64,
    /// How many the records lead to expect by what they are; where nothing is known of that, the overall share of
    /// those looked at.
    pub(super) expected: f64,
}

impl Tally {
    fn ratio(self) -> f64 {
        self.marked as f64 / self.expected.max(f64::MIN_POSITIVE)
    }

    fn add(&mut self, other: Self) {
        self.looked += other.looked;
        self.marked += other.marked;
        self.expected += other.expected;
    }

    /// This group without a part of it.
    pub(super) fn without(self, part: Self) -> Self {
        Self {
            looked: self.looked - part.looked.min(self.looked),
            marked: self.marked - part.marked.min(self.marked),
            expected: (self.expected - part.expected).max(0.0),
        }
    }

    /// How many times more than is expected, drawn to 1 by as many records as say something.
    pub(super) fn shrunk_ratio(self) -> f64 {
        (self.marked as f64 + MIN_EXPECTED) / (self.expected + MIN_EXPECTED)
    }
}

/// A group that stands out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Enriched {
    pub(super) tally: Tally,
    /// What the other groups lead to expect.
    pub(super) expected: f64,
    /// Not corrected.
    pub(super) p_value: f64,
    /// Number of groups it is compared with.
    pub(super) n_others: usize,
    /// Coefficient of variation between them.
    pub(super) scatter: f64,
}

impl Enriched {
    pub(super) fn ratio(&self) -> f64 {
        self.tally.marked as f64 / self.expected.max(f64::MIN_POSITIVE)
    }
}

/// What to do where most groups have none of the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rare {
    /// Compare with all other groups together: evidence that honest groups have none of.
    Pooled,
    /// Say nothing: evidence that groups have or have not by what their records are about.
    Skipped,
}

/// Judges the groups of one kind, one after the other. `exact` asks for Fisher's exact test as well, where all records
/// of a group are alike before the evidence.
pub(super) struct Family<'a> {
    tallies: &'a [Tally],
    total: Tally,
    exact: bool,
    rare: Rare,
}

impl<'a> Family<'a> {
    pub(super) fn new(tallies: &'a [Tally], exact: bool, rare: Rare) -> Self {
        let mut total = Tally::default();
        for &tally in tallies {
            total.add(tally);
        }
        Self {
            tallies,
            total,
            exact,
            rare,
        }
    }

    /// Whether a group is large enough to be judged.
    pub(super) fn tested(&self, tally: Tally, min_group: u64, min_records: u64) -> bool {
        tally.looked >= min_group
            && tally.marked >= min_records
            && tally.looked as f64 <= MAX_SHARE * self.total.looked as f64
            && tally.expected > 0.0
    }

    /// What the other groups say about group `idx`, whose records would have `factor` times the expected evidence by
    /// what is known otherwise; `None` where they are too few or have nothing of it.
    pub(super) fn judge(&self, idx: usize, factor: f64) -> Option<Enriched> {
        let tally = *self.tallies.get(idx)?;
        let comparable = |least: f64| -> Vec<(f64, f64)> {
            let others = self.tallies.iter().enumerate();
            others
                .filter(|&(other, tally)| other != idx && tally.expected >= least)
                .map(|(_, tally)| (tally.ratio(), tally.expected))
                .collect()
        };
        // Groups of its own size tell more than small ones, whose ratios scatter by chance.
        let mut others = comparable((tally.expected / 4.0).max(MIN_EXPECTED));
        if others.len() < 2 * MIN_GROUPS {
            others = comparable(MIN_EXPECTED);
        }
        if others.len() + 1 < MIN_GROUPS {
            // Content differs between groups by more than any law of small numbers covers.
            let by_content = self.exact && self.rare == Rare::Skipped;
            return (!by_content).then(|| self.judge_small(idx, factor))?;
        }
        others.sort_by(|a, b| a.0.total_cmp(&b.0));
        let middle = others[others.len() / 2].0;
        // Where most groups have nothing of it, all of them together say what is ordinary, and a record
        // more than they have, so that having none is no proof.
        let rest = self.total.without(tally);
        let pooled = (rest.marked + 1) as f64 / (rest.expected + 1.0);
        let centre = match self.rare {
            Rare::Pooled if middle <= 0.0 => pooled,
            _ => middle,
        };
        if centre <= 0.0 {
            return None;
        }
        let scatter = scatter(&others, centre);
        self.by_law(tally, centre * factor.max(1.0), scatter, others.len())
    }

    /// As [`Family::judge`], among many groups that are too small to have a ratio each, such as the days of a year: all of
    /// them together say what is ordinary and, but for the upper tenth, how much they differ.
    fn judge_small(&self, idx: usize, factor: f64) -> Option<Enriched> {
        let tally = *self.tallies.get(idx)?;
        let others = self.tallies.iter().enumerate();
        let mut others: Vec<Tally> = others
            .filter(|&(other, tally)| other != idx && tally.expected >= MIN_SMALL)
            .map(|(_, tally)| *tally)
            .collect();
        if others.len() < MIN_SMALL_GROUPS {
            return None;
        }
        let rest = self.total.without(tally);
        let centre = (rest.marked + 1) as f64 / (rest.expected + 1.0);
        let deviation = |tally: &Tally| {
            let mean = tally.expected * centre;
            (tally.marked as f64 - mean) / mean.sqrt()
        };
        others.sort_by(|a, b| deviation(a).total_cmp(&deviation(b)));
        let kept = &others[..(others.len() as f64 * COVERED).ceil() as usize];
        let (mut beyond, mut squares) = (0.0, 0.0);
        for tally in kept {
            let mean = tally.expected * centre;
            beyond += (tally.marked as f64 - mean).powi(2) - mean;
            squares += mean * mean;
        }
        // What the upper tenth would add.
        let scatter = 1.5 * (beyond.max(0.0) / squares.max(f64::MIN_POSITIVE)).sqrt();
        let scatter = scatter.max(SMALL_VARIATION);
        self.by_law(tally, centre * factor.max(1.0), scatter, others.len())
    }

    /// The tail of a negative binomial law.
    fn by_law(&self, tally: Tally, ratio: f64, scatter: f64, n_others: usize) -> Option<Enriched> {
        let expected = tally.expected * ratio;
        // Mean m and variance m + (m × scatter)².
        let size = scatter.powi(-2);
        let natural = NegativeBinomial::new(size, size / (size + expected)).ok()?;
        let mut p_value = natural.sf(tally.marked.saturating_sub(1));
        if self.exact {
            let (all, looked) = (self.total, tally.looked);
            let chance = upper_tail(all.looked, all.marked, looked, tally.marked);
            p_value = p_value.max(chance);
        }
        // The tail of the law underflows, and may come out as no number at all.
        let p_value = if p_value.is_nan() { 1.0 } else { p_value };
        Some(Enriched {
            tally,
            expected,
            p_value: p_value.max(f64::MIN_POSITIVE),
            n_others,
            scatter,
        })
    }
}

/// How much groups with these (ratio, expected number), ascending, differ beyond chance: by the middle of their
/// deviations and by the upper tenth, whichever is more.
fn scatter(others: &[(f64, f64)], centre: f64) -> f64 {
    let mut deviations: Vec<f64> = others
        .iter()
        .map(|(ratio, _)| (ratio / centre - 1.0).abs())
        .collect();
    deviations.sort_by(f64::total_cmp);
    let typical = 1.4826 * deviations[deviations.len() / 2];
    let place = ((others.len() - 1) as f64 * COVERED).floor() as usize;
    let upper = (others[place].0 / centre - 1.0) / COVERED_DEVIATION;
    // The chance of small numbers is in the law already.
    let mut sizes: Vec<f64> = others.iter().map(|&(_, expected)| expected).collect();
    sizes.sort_by(f64::total_cmp);
    let by_chance = 1.0 / (sizes[sizes.len() / 2] * centre).max(1.0);
    let beyond = typical.max(upper).powi(2) - by_chance;
    beyond.max(0.0).sqrt().max(NATURAL_VARIATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(looked: u64, marked: u64) -> Tally {
        Tally {
            looked,
            marked,
            expected: looked as f64 * 0.02,
        }
    }

    #[test]
    fn one_group_far_above_the_others_stands_out() {
        let mut tallies = vec![tally(1_000, 20); 20];
        tallies[7].marked = 150;
        let family = Family::new(&tallies, true, Rare::Skipped);
        let found = family.judge(7, 1.0).unwrap();
        assert!(found.p_value < 1e-9, "{found:?}");
        assert!((found.expected - 20.0).abs() < 1.0 && found.n_others == 19);
        assert!(family.judge(6, 1.0).unwrap().p_value > 0.3);
        // A pair whose groups explain it does not.
        assert!(family.judge(7, 7.0).unwrap().p_value > 0.1);
    }

    #[test]
    fn groups_that_differ_by_nature_do_not_stand_out() {
        let tallies: Vec<Tally> = (0..20).map(|idx| tally(1_000, 5 + idx * idx)).collect();
        let family = Family::new(&tallies, true, Rare::Skipped);
        for idx in 0..20 {
            assert!(family.judge(idx, 1.0).unwrap().p_value > 1e-3, "{idx}");
        }
    }

    #[test]
    fn few_groups_are_no_comparison() {
        let mut tallies = vec![tally(1_000, 20); 4];
        tallies[0].marked = 500;
        assert_eq!(
            Family::new(&tallies, true, Rare::Skipped).judge(0, 1.0),
            None
        );
    }

    #[test]
    fn what_only_one_group_has_counts_where_honest_ones_have_none() {
        let mut tallies = vec![tally(1_000, 0); 20];
        tallies[3].marked = 200;
        for tally in &mut tallies {
            tally.expected = 10.0;
        }
        assert_eq!(
            Family::new(&tallies, true, Rare::Skipped).judge(3, 1.0),
            None
        );
        let found = Family::new(&tallies, true, Rare::Pooled)
            .judge(3, 1.0)
            .unwrap();
        assert!(found.p_value < 1e-20, "{found:?}");
    }

    #[test]
    fn many_small_groups_are_compared_together() {
        // 0, 1 or 2 of 60 records a day.
        let mut tallies: Vec<Tally> = (0..100).map(|day| tally(60, day * 7 % 3)).collect();
        let quiet = Family::new(&tallies, false, Rare::Skipped);
        assert!((0..100).all(|day| quiet.judge(day, 1.0).unwrap().p_value > 0.05));
        tallies[50].marked = 30;
        let family = Family::new(&tallies, false, Rare::Skipped);
        let found = family.judge(50, 1.0).unwrap();
        assert!(found.p_value < 1e-9 && found.n_others == 99, "{found:?}");
        assert!(family.judge(51, 1.0).unwrap().p_value > 0.05);
        assert_eq!(
            Family::new(&tallies[40..55], false, Rare::Skipped).judge(10, 1.0),
            None
        );
    }

    #[test]
    fn large_groups_are_compared_with_large_ones() {
        // Hundreds of small ones scatter by chance alone.
        let mut tallies: Vec<Tally> = (0..300).map(|idx| tally(200, idx % 9)).collect();
        tallies.extend(vec![tally(5_000, 100); 15]);
        tallies[310].marked = 420;
        let found = Family::new(&tallies, false, Rare::Skipped)
            .judge(310, 1.0)
            .unwrap();
        assert!(found.p_value < 1e-7 && found.n_others == 14, "{found:?}");
    }
}
