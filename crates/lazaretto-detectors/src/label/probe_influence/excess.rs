//! Whether a class holds more harmful records than the trusted records of that class do.
//!
//! Half of the trusted records are held out of the yardstick and scored like records of the
//! dataset. Where both are drawn alike, each order of the scores of a class is equally likely,
//! whatever the scores are distributed like: how many of the highest are held-out ones is then
//! hypergeometric. Few high scores that are far too high show above the largest held-out score, a
//! broad shift further down, so three levels are looked at and paid for.

use lazaretto_core::{Action, DataFacts, Finding, Severity};
use serde::{Deserialize, Serialize};
use statrs::distribution::{DiscreteCDF as _, Hypergeometric};

use super::probe::Influence;

/// Held-out records of a class below which it is not compared.
const MIN_HELD_OUT: usize = 20;

/// Shares of the held-out records that lie above each level.
const LEVELS: [f64; 3] = [0.0, 0.05, 0.2];

/// Records that findings list, at most, shared equally among the classes.
const MAX_LISTED: usize = 1 << 20;

/// What held-out trusted records score.
#[derive(Debug)]
pub(super) struct HeldOut {
    /// With the other half as the yardstick.
    pub(super) influence: Influence,
    /// Scores of each class, descending once all are seen.
    classes: Vec<Vec<f64>>,
}

impl HeldOut {
    /// Over `n_classes`, nothing seen yet.
    pub(super) fn new(influence: Influence, n_classes: usize) -> Self {
        Self {
            influence,
            classes: vec![Vec::new(); n_classes],
        }
    }

    /// Takes a held-out record of `class` with these scaled features.
    pub(super) fn see(&mut self, scaled: &[f32], class: usize) {
        self.classes[class].push(self.influence.of(scaled, class));
    }

    /// Closes it; `None` where no class has enough held-out records.
    pub(super) fn finish(mut self) -> Option<Self> {
        for scores in &mut self.classes {
            if scores.len() < MIN_HELD_OUT {
                scores.clear();
            }
            scores.sort_unstable_by(|left, right| right.total_cmp(left));
        }
        let any = self.classes.iter().any(|scores| !scores.is_empty());
        any.then_some(self)
    }

    /// The levels of `class`, descending, with the number of held-out records above each; `None`
    /// when it is not compared.
    fn levels(&self, class: usize) -> Option<[(usize, f64); LEVELS.len()]> {
        let scores = self
            .classes
            .get(class)
            .filter(|scores| !scores.is_empty())?;
        Some(LEVELS.map(|share| {
            let n_above = (share * scores.len() as f64) as usize;
            (n_above, scores[n_above.min(scores.len() - 1)])
        }))
    }
}

/// What the dataset's records of each class came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Excess {
    classes: Vec<OfClass>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OfClass {
    n_rows: u64,
    /// Records above each level.
    n_above: [u64; LEVELS.len()],
    /// Ordinals of the first of them, with the highest level that each is above.
    above: Vec<(u64, u8)>,
}

impl Excess {
    pub(super) fn new(n_classes: usize) -> Self {
        Self {
            classes: vec![OfClass::default(); n_classes],
        }
    }

    fn most_listed(&self) -> usize {
        MAX_LISTED / self.classes.len().max(1)
    }

    /// Counts a record of `class`.
    pub(super) fn add(&mut self, held_out: &HeldOut, ordinal: u64, scaled: &[f32], class: usize) {
        let most = self.most_listed();
        let (Some(levels), Some(of_class)) = (held_out.levels(class), self.classes.get_mut(class))
        else {
            return;
        };
        of_class.n_rows += 1;
        let score = held_out.influence.of(scaled, class);
        let mut highest = None;
        for (idx, (_, level)) in levels.into_iter().enumerate() {
            if score > level {
                of_class.n_above[idx] += 1;
                highest = highest.or(Some(idx as u8));
            }
        }
        if let Some(highest) = highest
            && of_class.above.len() < most
        {
            of_class.above.push((ordinal, highest));
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        let most = self.most_listed();
        for (mine, later) in self.classes.iter_mut().zip(later.classes) {
            mine.n_rows += later.n_rows;
            for (mine, later) in mine.n_above.iter_mut().zip(later.n_above) {
                *mine += later;
            }
            let room = most.saturating_sub(mine.above.len());
            mine.above.extend(later.above.into_iter().take(room));
        }
    }

    /// Classes whose p-value, corrected for all that were compared, is at most `max_p`; the surest
    /// first.
    pub(super) fn findings(
        self,
        detector: &str,
        held_out: &HeldOut,
        facts: &DataFacts,
        max_p: f64,
    ) -> Vec<Finding> {
        let compared = self.classes.iter().filter(|class| class.n_rows > 0).count();
        let tried = (compared * LEVELS.len()) as f64;
        let mut findings: Vec<Finding> = self
            .classes
            .into_iter()
            .zip(&facts.classes)
            .enumerate()
            .filter_map(|(idx, (class, name))| {
                let surest = Surest::of(&class, held_out, idx)?;
                let p_value = (surest.p_value * tried).min(1.0);
                (p_value <= max_p).then(|| surest.finding(detector, &class, name, p_value))
            })
            .collect();
        findings.sort_by(|left, right| left.p_value.total_cmp(&right.p_value));
        findings
    }
}

/// The level at which a class stands out most.
struct Surest {
    level: usize,
    n_held_out: usize,
    n_held_out_above: usize,
    /// Of this level alone.
    p_value: f64,
}

impl Surest {
    fn of(class: &OfClass, held_out: &HeldOut, idx: usize) -> Option<Self> {
        let n_held_out = held_out.classes.get(idx)?.len();
        let levels = held_out.levels(idx)?.into_iter().enumerate();
        levels
            .map(|(level, (n_held_out_above, _))| Self {
                level,
                n_held_out,
                n_held_out_above,
                p_value: chance(
                    class.n_rows,
                    n_held_out as u64,
                    class.n_above[level],
                    n_held_out_above as u64,
                ),
            })
            .min_by(|left, right| left.p_value.total_cmp(&right.p_value))
    }

    fn finding(&self, detector: &str, class: &OfClass, name: &str, p_value: f64) -> Finding {
        let n_above = class.n_above[self.level];
        let expected =
            class.n_rows as f64 * (self.n_held_out_above + 1) as f64 / (self.n_held_out + 1) as f64;
        let others = match self.n_held_out_above {
            0 => "each".to_owned(),
            above => format!("all but {above}"),
        };
        let title = format!(
            "{n_above} of {} records labelled `{name}` would harm a model of the trusted records \
             more than {others} of the {} trusted ones with this label that were held out \
             ({expected:.0} expected)",
            class.n_rows, self.n_held_out
        );
        let listed = class.above.iter();
        let listed = listed.filter(|(_, highest)| usize::from(*highest) <= self.level);
        let mut finding = Finding::new(
            detector,
            "harmful-excess",
            Severity::Medium,
            // That trusted records are drawn like the dataset is for a person to know.
            Action::Review,
            title,
            p_value,
        )
        .with_evidence("records_above", n_above)
        .with_evidence("records_of_class", class.n_rows)
        .with_evidence("held_out_above", self.n_held_out_above)
        .with_evidence("held_out", self.n_held_out)
        .with_evidence("expected", expected)
        .with_records(listed.map(|&(ordinal, _)| ordinal).collect());
        finding.target_class = Some(name.to_owned());
        finding
    }
}

/// The chance that at least `above` of `n` records come before the one of `m` others that has
/// `others_above` of its kind before it, all in random order: that at most so many others are among
/// the first `above + others_above`.
fn chance(n: u64, m: u64, above: u64, others_above: u64) -> f64 {
    Hypergeometric::new(n + m, m, (above + others_above).min(n + m))
        .map_or(1.0, |others| others.cdf(others_above))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_is_that_of_an_urn() {
        // The first 2 of 3 and 2 others: 3/5 · 2/4.
        assert!((chance(3, 2, 2, 0) - 0.3).abs() < 1e-9);
        assert!((chance(100, 10, 0, 0) - 1.0).abs() < 1e-9);
        // At most one of 2 others among the first 3 of 5: 1 − 3/10.
        assert!((chance(3, 2, 2, 1) - 0.7).abs() < 1e-9);
        assert!(chance(1_000_000, 500, 500_000, 10) < 1e-100);
    }

    #[test]
    fn parts_add_up_in_order() {
        let part = |n_rows, above: &[(u64, u8)]| Excess {
            classes: vec![OfClass {
                n_rows,
                n_above: [0, 0, above.len() as u64],
                above: above.to_vec(),
            }],
        };
        let mut merged = part(5, &[(1, 2), (3, 0)]);
        merged.merge(part(4, &[(7, 1)]));
        assert_eq!(merged, part(9, &[(1, 2), (3, 0), (7, 1)]));
    }
}
