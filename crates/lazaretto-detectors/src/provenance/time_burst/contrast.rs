//! Whether the records of a burst are not like the others.

use std::cmp::Reverse;

use lazaretto_core::DataFacts;

use super::Moment;
use crate::provenance::enriched::upper_tail;

/// Least share of the burst's records that have in common what they are told by.
const MIN_SHARE: f64 = 2.0 / 3.0;
/// Least difference to the share elsewhere.
const MIN_DIFFERENCE: f64 = 0.25;
/// Largest chance of so many, over all classes or sources.
const LEVEL: f64 = 1e-4;

/// What records have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trait {
    Class,
    Source,
}

/// The class or source that most records of a burst have, and others have not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Contrast {
    pub(super) of: Trait,
    value: u32,
    /// Share among the records of the burst that have a value, and among all others.
    pub(super) share: f64,
    pub(super) elsewhere: f64,
    pub(super) p_value: f64,
}

/// Compares the moments `within` a burst with all others by their `value`, one of `n_values`; Fisher's exact
/// test of the most frequent one, times the number of values.
pub(super) fn contrast(
    moments: &[Moment],
    within: impl Fn(&Moment) -> bool,
    of: Trait,
    value: impl Fn(&Moment) -> u32,
    n_values: usize,
) -> Option<Contrast> {
    if n_values < 2 {
        return None;
    }
    let mut counts = vec![[0_u64; 2]; n_values];
    for moment in moments {
        if let Some(counts) = counts.get_mut(value(moment) as usize) {
            counts[usize::from(within(moment))] += 1;
        }
    }
    let sum = |place: usize| counts.iter().map(|counts| counts[place]).sum::<u64>();
    let (outside, inside) = (sum(0), sum(1));
    // The first of equally frequent ones.
    let most = counts.iter().zip(0..);
    let most = most.max_by_key(|&(counts, value): &(_, u32)| (counts[1], Reverse(value)));
    let (&[elsewhere, here], value) = most?;
    let share = here as f64 / inside.max(1) as f64;
    let share_elsewhere = elsewhere as f64 / outside.max(1) as f64;
    let tail = upper_tail(inside + outside, here + elsewhere, inside, here);
    let p_value = (tail * n_values as f64).min(1.0);
    let differs = share >= MIN_SHARE && share - share_elsewhere >= MIN_DIFFERENCE;
    (differs && p_value <= LEVEL).then_some(Contrast {
        of,
        value,
        share,
        elsewhere: share_elsewhere,
        p_value,
    })
}

impl Contrast {
    pub(super) fn name(self, facts: &DataFacts) -> String {
        let names = match self.of {
            Trait::Class => &facts.classes,
            Trait::Source => &facts.sources,
        };
        let name = names.get(self.value as usize);
        name.map_or_else(|| self.value.to_string(), Clone::clone)
    }

    pub(super) fn in_words(self, name: &str) -> String {
        let (share, elsewhere) = (100.0 * self.share, 100.0 * self.elsewhere);
        match self.of {
            Trait::Class => {
                format!("{share:.0} % of them are labelled `{name}` ({elsewhere:.0} % elsewhere)")
            }
            Trait::Source => {
                format!(
                    "{share:.0} % of them are from source `{name}` ({elsewhere:.0} % elsewhere)"
                )
            }
        }
    }
}
