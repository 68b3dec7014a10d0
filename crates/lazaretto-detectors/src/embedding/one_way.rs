//! Relabelling of many classes as one, told apart from confusion and from random relabelling.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use statrs::distribution::{DiscreteCDF, Poisson};

/// Classes that are needed to compare one of them with the others.
const MIN_CLASSES: usize = 4;
/// A finding needs more than the expected number from this share of the other classes.
const MIN_SOURCES: f64 = 0.5;
/// Added to each expected number: a pair that was never seen is not impossible.
const UNSEEN: f64 = 0.5;
/// Fewest records for a finding.
const MIN_RECORDS: u64 = 5;

/// Number of contradicted records per (label, class of the neighbours).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ContradictedCounts(BTreeMap<(u32, u32), u64>);

/// A class with more contradicted records than confusion and chance explain.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Excess {
    /// The class.
    pub(super) class: u32,
    /// Contradicted records with this label.
    pub(super) observed: u64,
    /// How many were expected at most.
    pub(super) expected: f64,
    /// Number of other classes from which more came than expected.
    pub(super) sources: usize,
    /// Variance of the other classes' counts over that of a Poisson law, at least 1.
    pub(super) scatter: f64,
    /// Multiplied by the number of classes.
    pub(super) p_value: f64,
}

/// The counts of one class against what was expected, the strongest source left out of the test.
struct Row {
    observed: u64,
    expected: f64,
    tested_observed: f64,
    tested_expected: f64,
    sources: usize,
}

impl ContradictedCounts {
    /// Adds `n` records labelled `label` among records of `class`.
    pub(super) fn add(&mut self, label: u32, class: u32, n: u64) {
        *self.0.entry((label, class)).or_default() += n;
    }

    /// Adds the counts of another partition.
    pub(super) fn merge(&mut self, later: Self) {
        for ((label, class), n) in later.0 {
            self.add(label, class, n);
        }
    }

    fn get(&self, label: u32, class: u32) -> f64 {
        self.0.get(&(label, class)).map_or(0.0, |&n| n as f64)
    }

    /// The classes with `p ≤ 0.05`. `class_counts` are the sizes of the classes, 0 for those that
    /// are not judged.
    pub(super) fn excesses(&self, class_counts: &[u64]) -> Vec<Excess> {
        let judged: Vec<u32> = (0..class_counts.len() as u32)
            .filter(|&class| class_counts[class as usize] > 0)
            .collect();
        if judged.len() < MIN_CLASSES {
            return Vec::new();
        }
        // What came from each class in all, and to each: expectations need no loop over all triples.
        let mut from: BTreeMap<u32, f64> = BTreeMap::new();
        for (&(_, class), &n) in &self.0 {
            *from.entry(class).or_default() += n as f64;
        }
        let total: f64 = judged
            .iter()
            .map(|&c| class_counts[c as usize] as f64)
            .sum();
        let rows: Vec<(u32, Row)> = judged
            .iter()
            .map(|&class| (class, self.row(class, &judged, class_counts, &from, total)))
            .collect();
        rows.iter()
            .filter_map(|(class, row)| {
                let sources_wanted = MIN_SOURCES * (judged.len() - 1) as f64;
                if row.observed < MIN_RECORDS || (row.sources as f64) < sources_wanted.max(3.0) {
                    return None;
                }
                let scatter = scatter(rows.iter().filter(|(other, _)| other != class));
                let p = Poisson::new(row.tested_expected / scatter).map_or(1.0, |chance| {
                    let strength = (row.tested_observed / scatter).floor() as u64;
                    if strength == 0 {
                        1.0
                    } else {
                        chance.sf(strength - 1)
                    }
                });
                let p_value = (p * judged.len() as f64).min(1.0);
                (p_value <= 0.05).then_some(Excess {
                    class: *class,
                    observed: row.observed,
                    expected: row.expected,
                    sources: row.sources,
                    scatter,
                    p_value,
                })
            })
            .collect()
    }

    fn row(
        &self,
        class: u32,
        judged: &[u32],
        class_counts: &[u64],
        from: &BTreeMap<u32, f64>,
        total: f64,
    ) -> Row {
        let own = class_counts[class as usize] as f64;
        let mut row = Row {
            observed: 0,
            expected: 0.0,
            tested_observed: 0.0,
            tested_expected: 0.0,
            sources: 0,
        };
        let mut strongest = (f64::NEG_INFINITY, 0.0, 0.0);
        for &source in judged.iter().filter(|&&source| source != class) {
            let size = class_counts[source as usize] as f64;
            let observed = self.get(class, source);
            let back = self.get(source, class);
            let elsewhere = from.get(&source).copied().unwrap_or(0.0) - observed;
            let expected = [
                back,
                back * size / own,
                elsewhere / (judged.len() - 2) as f64,
                elsewhere * own / (total - own - size).max(1.0),
            ]
            .into_iter()
            .fold(0.0, f64::max)
                + UNSEEN;
            row.observed += observed as u64;
            row.expected += expected;
            row.sources += usize::from(observed > expected);
            if observed - expected > strongest.0 {
                strongest = (observed - expected, observed, expected);
            }
        }
        row.tested_observed = row.observed as f64 - strongest.1;
        row.tested_expected = (row.expected - strongest.2).max(UNSEEN);
        row
    }
}

/// How much wider than a Poisson law the counts of these classes scatter above expectation.
fn scatter<'r>(rows: impl Iterator<Item = &'r (u32, Row)>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for (_, row) in rows {
        let above = (row.tested_observed - row.tested_expected).max(0.0);
        sum += above * above / row.tested_expected;
        count += 1.0;
    }
    // Half of the classes lie below their expectation and say nothing about its upper side.
    (2.0 * sum / f64::max(count, 1.0)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[[u64; 6]; 6]) -> ContradictedCounts {
        let mut counts = ContradictedCounts::default();
        for (label, row) in (0..).zip(rows) {
            for (class, &n) in (0..).zip(row) {
                counts.add(label, class, n);
            }
        }
        counts
    }

    #[test]
    fn many_classes_relabelled_as_one_are_an_excess() {
        let mut rows = [[0; 6]; 6];
        rows[2] = [4, 3, 0, 5, 3, 4];
        rows[4] = [1, 0, 0, 2, 0, 0];
        let excesses = counts(&rows).excesses(&[100; 6]);
        assert_eq!(excesses.len(), 1, "{excesses:?}");
        assert_eq!(excesses[0].class, 2);
        assert_eq!((excesses[0].observed, excesses[0].sources), (19, 5));
        assert!(excesses[0].p_value < 0.01);
    }

    #[test]
    fn confusion_random_relabelling_and_one_lopsided_pair_are_not() {
        let confused = {
            let mut rows = [[0; 6]; 6];
            rows[2] = [4, 3, 0, 5, 3, 4];
            let back = rows[2];
            for (row, n) in rows.iter_mut().zip(back) {
                row[2] = n;
            }
            rows
        };
        let random = [[3; 6]; 6];
        let lopsided = {
            let mut rows = [[0; 6]; 6];
            rows[2][3] = 40;
            rows
        };
        for rows in [confused, random, lopsided] {
            assert_eq!(counts(&rows).excesses(&[100; 6]), []);
        }
    }

    #[test]
    fn uniform_relabelling_reaches_small_classes_more_often() {
        // 2 % of each class of 1000 go to each other one, 2 % of 50 from the small one.
        let mut rows = [[20; 6]; 6];
        for row in &mut rows {
            row[5] = 1;
        }
        let excesses = counts(&rows).excesses(&[1000, 1000, 1000, 1000, 1000, 50]);
        assert_eq!(excesses, []);
    }

    #[test]
    fn two_classes_cannot_be_compared_with_others() {
        let mut counts = ContradictedCounts::default();
        counts.add(0, 1, 50);
        assert_eq!(counts.excesses(&[100, 100]), []);
    }
}
