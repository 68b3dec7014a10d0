//! Wrong labels that stand apart from ordinary doubt.
//!
//! How strongly contents contradict their labels falls off steadily on honest data: there are
//! fewer and fewer records the stronger the contradiction, on the clean AG news, SST-2, SMS, adult and
//! digits sets as much as anywhere. Where classes are told apart well, flipped labels do not join in: their
//! contents are ordinary members of another class, and contradict as strongly as those are
//! sure. A second mode with a valley before it shows that.

use lazaretto_core::detector::DataFacts;
use lazaretto_core::shared::{Neighbors, Reference};
use lazaretto_core::{Action, Finding, NO_LABEL, Severity};
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use crate::label::confident_joint::class_name;

/// Width of a bin of the log odds against the label.
const BIN: f64 = 0.25;
/// Bins from 0 on; the last one holds everything beyond 14, which probabilities in `f32` hardly
/// reach.
const BINS: usize = 56;
/// Widths of the two stretches that are compared, in bins.
const WIDTHS: [usize; 3] = [4, 6, 8];
/// Stretches begin at every second bin.
const STEP: usize = 2;
/// Below this corrected p-value there is a second mode.
const LEVEL: f64 = 1e-3;
/// Share of the records of a finding that may be ordinary doubtful ones, by the decay of those.
const ORDINARY_SHARE: f64 = 0.1;
/// Contradicted records kept at most; beyond it the most strongly contradicted stay.
const CAPACITY: usize = 1 << 18;
/// Nearest labelled records that are asked.
const VOTERS: usize = 10;
/// Largest share of them with the record's own label, when they contradict it too.
const OWN_SHARE: f32 = 0.35;

/// A record whose log odds against its label are positive and that looks like another class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Candidate {
    ordinal: u64,
    label: u32,
    looks_like: u32,
    log_odds: f32,
    /// Share of the nearest records with the same label; not a number without neighbours.
    own_share: f32,
}

/// Evidence of the score pass.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct SeparateMode {
    histogram: Vec<u64>,
    candidates: Vec<Candidate>,
}

/// Share of the nearest labelled records of row `row_idx` that have label `label`; not a number
/// without any.
pub(super) fn own_share(
    neighbors: Option<&Neighbors>,
    reference: Option<&Reference>,
    row_idx: usize,
    label: u32,
) -> f32 {
    let (Some(neighbors), Some(reference)) = (neighbors, reference) else {
        return f32::NAN;
    };
    let indices = neighbors.indices.row(row_idx);
    let distances = neighbors.distances.row(row_idx);
    let voters = indices
        .iter()
        .zip(distances)
        .filter(|(_, distance)| distance.is_finite())
        .filter_map(|(&idx, _)| reference.labels.get(idx as usize))
        .filter(|&&voter| voter != NO_LABEL)
        .take(VOTERS);
    let (mut own, mut all) = (0.0, 0.0);
    for &voter in voters {
        own += f32::from(u8::from(voter == label));
        all += 1.0;
    }
    own / all
}

impl SeparateMode {
    /// Adds a record with positive `log_odds` against its label.
    pub(super) fn add(
        &mut self,
        ordinal: u64,
        (label, looks_like): (u32, u32),
        log_odds: f32,
        own_share: f32,
    ) {
        self.histogram.resize(BINS, 0);
        #[expect(clippy::cast_sign_loss, reason = "positive")]
        let bin = (f64::from(log_odds.max(0.0)) / BIN) as usize;
        self.histogram[bin.min(BINS - 1)] += 1;
        self.candidates.push(Candidate {
            ordinal,
            label,
            looks_like,
            log_odds,
            own_share,
        });
        if self.candidates.len() >= 2 * CAPACITY {
            self.trim();
        }
    }

    /// Adds the evidence of another partition.
    pub(super) fn merge(&mut self, later: Self) {
        self.histogram
            .resize(self.histogram.len().max(later.histogram.len()), 0);
        for (sum, count) in self.histogram.iter_mut().zip(later.histogram) {
            *sum += count;
        }
        self.candidates.extend(later.candidates);
        if self.candidates.len() >= 2 * CAPACITY {
            self.trim();
        }
    }

    /// Keeps the most strongly contradicted, in order.
    fn trim(&mut self) {
        self.candidates.sort_unstable_by(|a, b| {
            b.log_odds
                .total_cmp(&a.log_odds)
                .then(a.ordinal.cmp(&b.ordinal))
        });
        self.candidates.truncate(CAPACITY);
    }

    /// The records of the second mode, if there is one and their neighbours contradict them too.
    pub(super) fn finding(
        mut self,
        detector: &str,
        facts: &DataFacts,
        min_records: u64,
    ) -> Option<Finding> {
        self.trim();
        let mode = Mode::find(&self.histogram).filter(|mode| mode.p_value <= LEVEL)?;
        let beyond = |c: &&Candidate| f64::from(c.log_odds) >= mode.cut;
        let beyond: Vec<&Candidate> = self.candidates.iter().filter(beyond).collect();
        let asked = beyond.iter().filter(|c| !c.own_share.is_nan()).count();
        let contradicted: Vec<&Candidate> = beyond
            .iter()
            .filter(|c| c.own_share <= OWN_SHARE)
            .copied()
            .collect();
        // A sub-population that the model takes for another class has neighbours of its own; so
        // have records that are wrong by the thousand. Neither is held back.
        let agreed = 2 * asked >= beyond.len() && 3 * contradicted.len() >= 2 * asked;
        let (action, listed) = if agreed && asked > 0 {
            (Action::Quarantine, contradicted)
        } else if asked == 0 {
            (Action::Review, beyond.clone())
        } else {
            return None;
        };
        if (listed.len() as u64) < min_records {
            return None;
        }
        Some(mode.describe(detector, facts, action, &listed, &self.histogram))
    }
}

/// A second mode of the contradictions.
#[derive(Debug)]
struct Mode {
    /// Times the number of pairs of stretches.
    p_value: f64,
    /// Records of the stretch of the valley and of the stretch of the mode.
    valley: u64,
    peak: u64,
    /// Log odds from which on records belong to the mode.
    cut: f64,
    /// Ordinary records expected from there on.
    ordinary: f64,
}

impl Mode {
    /// Compares every stretch of the histogram with all later ones of the same width. Where the
    /// density does not rise, at most half of the records of both are in the later one: the exact
    /// binomial tail, times the number of pairs.
    fn find(histogram: &[u64]) -> Option<Self> {
        let up_to: Vec<u64> = std::iter::once(0)
            .chain(histogram.iter().scan(0, |sum, &count| {
                *sum += count;
                Some(*sum)
            }))
            .collect();
        let bins = histogram.len();
        let mut n_tests = 0_u64;
        let mut best: Option<(f64, usize, u64, u64)> = None;
        for width in WIDTHS {
            for early in (0..(bins + 1).saturating_sub(2 * width)).step_by(STEP) {
                for late in (early + width..=bins - width).step_by(STEP) {
                    n_tests += 1;
                    let valley = up_to[early + width] - up_to[early];
                    let peak = up_to[late + width] - up_to[late];
                    if peak <= valley {
                        continue;
                    }
                    let p = Binomial::new(0.5, valley + peak).ok()?.sf(peak - 1);
                    if best.is_none_or(|(least, ..)| p < least) {
                        best = Some((p, early + width, valley, peak));
                    }
                }
            }
        }
        let (p, end, valley, peak) = best?;
        // A wide stretch may reach into the foot of the mode, where nothing falls off any more: then
        // the decay is taken up to the bottom of the valley.
        let (cut, ordinary) = cut(&up_to, end).or_else(|| cut(&up_to, bottom(&up_to, end)))?;
        Some(Self {
            p_value: (p * n_tests as f64).min(1.0),
            valley,
            peak,
            cut,
            ordinary,
        })
    }

    fn describe(
        &self,
        detector: &str,
        facts: &DataFacts,
        action: Action,
        listed: &[&Candidate],
        histogram: &[u64],
    ) -> Finding {
        let mut pairs: Vec<(u32, u32)> = listed.iter().map(|c| (c.label, c.looks_like)).collect();
        pairs.sort_unstable();
        let most = pairs
            .chunk_by(|a, b| a == b)
            .max_by_key(|group| (group.len(), std::cmp::Reverse(group[0])));
        let (label, looks_like, n) = most.map_or((0, 0, 0), |group| {
            let (label, looks_like) = group[0];
            (label, looks_like, group.len())
        });
        let (label, looks_like) = (class_name(facts, label), class_name(facts, looks_like));
        let title = format!(
            "{} records contradict their label far more than doubtful ones do, and so do their \
             neighbours; {n} are `{label}` that look like `{looks_like}`",
            listed.len()
        );
        let severity = match action {
            Action::Quarantine | Action::Fail => Severity::High,
            Action::Review => Severity::Medium,
        };
        let kind = "separate-contradictions";
        Finding::new(detector, kind, severity, action, title, self.p_value)
            .with_records(listed.iter().map(|c| c.ordinal).collect())
            .with_evidence("log_odds_from", self.cut)
            .with_evidence("ordinary_expected", self.ordinary)
            .with_evidence("valley_records", self.valley)
            .with_evidence("mode_records", self.peak)
            .with_evidence("label", label)
            .with_evidence("looks_like", looks_like)
            .with_evidence("of_this_pair", n)
            .with_evidence("histogram_bin", BIN)
            .with_evidence("histogram", histogram.to_vec())
    }
}

/// The end of the emptiest stretch of the least width up to bin `end`; the first of equal ones.
fn bottom(up_to: &[u64], end: usize) -> usize {
    let width = WIDTHS[0];
    let starts = 0..=end.saturating_sub(width);
    let emptiest = starts.min_by_key(|&start| up_to[start + width] - up_to[start]);
    emptiest.unwrap_or(0) + width
}

/// Where to cut, and how many ordinary records are expected beyond: those before bin `end` are
/// taken for an exponential decay, which goes on. `None` when it swamps the mode everywhere.
fn cut(up_to: &[u64], end: usize) -> Option<(f64, f64)> {
    let total = *up_to.last()?;
    let before = *up_to.get(end)? as f64;
    let length = end as f64 * BIN;
    let moment: f64 = (0..end)
        .map(|bin| (up_to[bin + 1] - up_to[bin]) as f64 * (bin as f64 + 0.5) * BIN)
        .sum();
    let rate = decay(if before > 0.0 { moment / before } else { 0.0 }, length);
    let last = up_to.iter().position(|&sum| sum == total)? as f64 * BIN;
    (end..up_to.len()).find_map(|bin| {
        let at = bin as f64 * BIN;
        let ordinary = if rate > 0.0 {
            before * (-rate * at).exp() / -(-rate * length).exp_m1()
        } else {
            before / length * (last - at).max(0.0)
        };
        let beyond = (total - up_to[bin]) as f64;
        (beyond > 0.0 && ordinary <= ORDINARY_SHARE * beyond).then_some((at, ordinary))
    })
}

/// Rate of the exponential law, cut off at `length`, with mean `mean`; 0 when it does not fall.
fn decay(mean: f64, length: f64) -> f64 {
    if mean >= 0.5 * length || length <= 0.0 {
        return 0.0;
    }
    // The mean falls from length / 2 as the rate grows; beyond 100 per unit nothing is left.
    let (mut low, mut high) = (1e-6, 100.0);
    for _ in 0..60 {
        let rate = f64::midpoint(low, high);
        if 1.0 / rate - length / (rate * length).exp_m1() > mean {
            low = rate;
        } else {
            high = rate;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn facts() -> DataFacts {
        DataFacts {
            classes: ["a", "b"].map(String::from).to_vec(),
            ..DataFacts::default()
        }
    }

    /// `n` doubtful records whose log odds fall off exponentially, by half every third of a unit,
    /// and `flips` around 5.
    fn scene(seed: u64, n: u64, flips: u64, own_share: f32) -> SeparateMode {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut separate = SeparateMode::default();
        for row in 0..n + flips {
            let log_odds = if row < n {
                -rng.gen_range(f32::MIN_POSITIVE..1.0).ln() / 2.0
            } else {
                5.0 + rng.gen_range(-1.5..1.5)
            };
            let own = if row < n { 0.5 } else { own_share };
            separate.add(row, (1, 0), log_odds, own);
        }
        separate
    }

    #[test]
    fn flips_beyond_a_valley_are_held_back_and_no_others() {
        let finding = scene(1, 400, 100, 0.1).finding("label-shift", &facts(), 10);
        let finding = finding.unwrap();
        assert_eq!(finding.action, Action::Quarantine);
        assert!(finding.records.len() > 80, "{}", finding.records.len());
        assert!(finding.records.iter().all(|&row| row >= 400));
        assert!(finding.p_value < 1e-6);
    }

    #[test]
    fn a_mode_right_behind_the_valley_has_a_cut_too() {
        // Drawn: 60 doubtful records with an exponential decay of 1.3, 280 flips in a broad bell around
        // 4.7. The best wide stretch ends in the foot of the bell, where nothing falls off.
        let mut histogram = vec![
            17, 10, 12, 8, 6, 4, 6, 4, 5, 5, 6, 10, 14, 9, 14, 16, 17, 15, 19, 21, 20, 10, 15, 16,
            11, 11, 10, 5, 5, 6, 2, 5, 2, 1, 1, 1, 0, 1,
        ];
        histogram.resize(BINS, 0);
        let mode = Mode::find(&histogram).unwrap();
        assert!(mode.p_value < LEVEL);
        assert!((mode.cut - 2.25).abs() < 1e-9, "{}", mode.cut);
    }

    #[test]
    fn steady_decay_is_no_finding_whatever_its_rate() {
        for seed in 0..50 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut separate = SeparateMode::default();
            let rate = rng.gen_range(0.3..3.0);
            for row in 0..3000 {
                let log_odds = -rng.gen_range(f32::MIN_POSITIVE..1.0).ln() / rate;
                separate.add(row, (1, 0), log_odds, 0.0);
            }
            assert_eq!(
                separate.finding("label-shift", &facts(), 10),
                None,
                "{seed}"
            );
        }
    }

    #[test]
    fn a_sub_population_with_neighbours_of_its_own_is_left_alone() {
        assert_eq!(
            scene(1, 400, 100, 0.9).finding("label-shift", &facts(), 10),
            None
        );
    }

    #[test]
    fn without_neighbours_a_person_decides() {
        let finding = scene(1, 400, 100, 0.9);
        let mut blind = SeparateMode::default();
        for c in &finding.candidates {
            blind.add(c.ordinal, (c.label, c.looks_like), c.log_odds, f32::NAN);
        }
        let finding = blind.finding("label-shift", &facts(), 10).unwrap();
        assert_eq!(finding.action, Action::Review);
    }

    #[test]
    fn a_few_records_or_none_say_nothing() {
        assert_eq!(
            SeparateMode::default().finding("label-shift", &facts(), 1),
            None
        );
        assert_eq!(
            scene(1, 0, 5, 0.0).finding("label-shift", &facts(), 1),
            None
        );
        let whole = scene(2, 300, 90, 0.0);
        let mut merged = scene(2, 300, 90, 0.0);
        merged.merge(SeparateMode::default());
        assert_eq!(
            merged.finding("label-shift", &facts(), 10),
            whole.finding("label-shift", &facts(), 10)
        );
    }
}
