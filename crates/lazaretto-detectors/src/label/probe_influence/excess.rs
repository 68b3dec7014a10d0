//! Whether a class holds more harmful records than the trusted records of that class do.
//!
//! Half of the trusted records are held out of the yardstick and scored like records of the
//! dataset. Where both are drawn alike, each order of the scores of a class is equally likely,
//! whatever the scores are distributed like: the chance that the `k` highest are all from the
//! dataset is that of drawing `k` of its `n` records from an urn with `m` held-out ones more.

use lazaretto_core::{Action, DataFacts, Finding, Severity};
use serde::{Deserialize, Serialize};

use super::probe::Influence;

/// Held-out records of a class below which it is not compared.
const MIN_HELD_OUT: u32 = 20;

/// Records of a class that a finding lists, at most: the first ones.
const MAX_LISTED: usize = 100_000;

/// What held-out trusted records score.
#[derive(Debug)]
pub(super) struct HeldOut {
    /// With the other half as the yardstick.
    pub(super) influence: Influence,
    classes: Vec<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    n_rows: u32,
    largest: f64,
}

impl HeldOut {
    /// Over `n_classes`, nothing seen yet.
    pub(super) fn new(influence: Influence, n_classes: usize) -> Self {
        Self {
            influence,
            classes: vec![Seen::default(); n_classes],
        }
    }

    /// Takes a held-out record of `class` with these scaled features.
    pub(super) fn see(&mut self, scaled: &[f32], class: usize) {
        let score = self.influence.of(scaled, class);
        let seen = &mut self.classes[class];
        if seen.n_rows == 0 || score > seen.largest {
            seen.largest = score;
        }
        seen.n_rows += 1;
    }

    /// Whether any class is compared.
    pub(super) fn compares(&self) -> bool {
        self.classes.iter().any(|seen| seen.n_rows >= MIN_HELD_OUT)
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
    /// Records above every held-out one.
    n_above: u64,
    /// Ordinals of the first of them.
    above: Vec<u64>,
}

impl Excess {
    pub(super) fn new(n_classes: usize) -> Self {
        Self {
            classes: vec![OfClass::default(); n_classes],
        }
    }

    /// Counts a record of `class`, which was judged.
    pub(super) fn add(&mut self, held_out: &HeldOut, ordinal: u64, scaled: &[f32], class: usize) {
        let (Some(seen), Some(of_class)) =
            (held_out.classes.get(class), self.classes.get_mut(class))
        else {
            return;
        };
        if seen.n_rows < MIN_HELD_OUT {
            return;
        }
        of_class.n_rows += 1;
        if held_out.influence.of(scaled, class) > seen.largest {
            of_class.n_above += 1;
            if of_class.above.len() < MAX_LISTED {
                of_class.above.push(ordinal);
            }
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        for (mine, later) in self.classes.iter_mut().zip(later.classes) {
            mine.n_rows += later.n_rows;
            mine.n_above += later.n_above;
            let room = MAX_LISTED.saturating_sub(mine.above.len());
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
        let mut findings: Vec<Finding> = self
            .classes
            .into_iter()
            .zip(&held_out.classes)
            .zip(&facts.classes)
            .filter(|((class, _), _)| !class.above.is_empty())
            .filter_map(|((class, seen), name)| {
                let ln_p = ln_all_above(class.n_rows, u64::from(seen.n_rows), class.n_above);
                let p_value = (ln_p.exp() * compared as f64).min(1.0);
                (p_value <= max_p).then(|| finding(detector, class, seen.n_rows, name, p_value))
            })
            .collect();
        findings.sort_by(|left, right| left.p_value.total_cmp(&right.p_value));
        findings
    }
}

/// Logarithm of the chance that the `k` first of `n + m` records in random order are all among the
/// `n`: `∏ (n − i) / (n + m − i)` for `i < k`.
fn ln_all_above(n: u64, m: u64, k: u64) -> f64 {
    let mut ln_p = 0.0;
    for i in 0..k.min(n) {
        ln_p += (-(m as f64) / (n + m - i) as f64).ln_1p();
        // Beyond what a p-value can hold.
        if ln_p < -745.0 {
            break;
        }
    }
    ln_p
}

fn finding(detector: &str, class: OfClass, n_held_out: u32, name: &str, p_value: f64) -> Finding {
    let expected = class.n_rows as f64 / f64::from(n_held_out + 1);
    let title = format!(
        "{} of {} records labelled `{name}` would harm a model of the trusted records more than \
         any of the {n_held_out} trusted ones with this label that were held out does ({expected:.0} \
         would be expected)",
        class.n_above, class.n_rows
    );
    let mut finding = Finding::new(
        detector,
        "harmful-excess",
        Severity::Medium,
        // That trusted records are drawn like the dataset is for a person to know.
        Action::Review,
        title,
        p_value,
    )
    .with_evidence("records_above", class.n_above)
    .with_evidence("records_of_class", class.n_rows)
    .with_evidence("held_out", n_held_out)
    .with_evidence("expected", expected)
    .with_records(class.above);
    finding.target_class = Some(name.to_owned());
    finding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chance_is_that_of_an_urn() {
        // 2 of 3 against 2 others: 3/5 · 2/4.
        assert!((ln_all_above(3, 2, 2).exp() - 0.3).abs() < 1e-12);
        assert!((ln_all_above(100, 10, 0).exp() - 1.0).abs() < 1e-12);
        assert!((ln_all_above(4, 1, 4).exp() - 0.2).abs() < 1e-12);
        assert!(ln_all_above(1_000_000, 500, 500_000) < -300.0);
    }

    #[test]
    fn parts_add_up_in_order() {
        let part = |n_rows, above: &[u64]| Excess {
            classes: vec![OfClass {
                n_rows,
                n_above: above.len() as u64,
                above: above.to_vec(),
            }],
        };
        let mut merged = part(5, &[1, 3]);
        merged.merge(part(4, &[7]));
        assert_eq!(merged, part(9, &[1, 3, 7]));
    }
}
