//! Whether a null fits the bulk of the scores that it was fitted to, and in words why not.

use super::dip::Steps;
use super::tail::{Fitted, Window, fit_tail};

/// Fewer scores than this give no tail.
const MIN_SCORES: usize = 40;
/// Heaviest tail of a detector's null.
pub(super) const MAX_SHAPE: f64 = 0.2;
/// Where a null's tail begins, and what is fitted when the upper tenth is poison.
const UPPER: f64 = 0.25;
/// What is fitted where more than a tenth of the scores lie apart: the tail begins at the median, and
/// where the upper quarter lies does not matter.
const LOWER: Window = Window {
    fraction: 0.5,
    censored: 0.25,
    max_shape: MAX_SHAPE,
};
/// An upper group is one that holds more than this many times what the rest predicts.
const EXCESS: f64 = 2.0;
/// Points at which the dip is measured.
const POINTS: usize = 1024;

/// Distance between the tail's curve and the scores up to which it fits, in units of probability.
/// Smooth distributions stay below (at 10,000 scores uniform ones, which no tail of this kind has,
/// reach 0.013, log-normal ones with σ = 2 0.015); a second group of 12 to 25 % of the scores, six
/// standard deviations off, makes 0.037 to 0.051. The second term is sampling.
fn largest_distance(n: usize) -> f64 {
    0.02 + 0.3 / (n as f64).sqrt()
}

/// Dip up to which the bulk has one mode. Two modes of 30 and 70 % six standard deviations apart make
/// 0.05 to 0.06, of 50 and 50 % 0.1. A uniform distribution, the worst of the unimodal ones, stays
/// below `0.6/√n` in 99 of 100 samples, and the first term allows for shoulders.
fn largest_dip(n: usize) -> f64 {
    0.03 + 0.4 / (n as f64).sqrt()
}

/// Why a detector's scores cannot be calibrated: it informs and does not decide.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Diagnosis {
    /// Fewer scores than a tail can be fitted to.
    TooFew,
    /// So many equal scores that no curve can be laid through them.
    Ties,
    /// The bulk has more than one mode; its dip.
    Bimodal(f64),
    /// More than a tenth of the scores form a group above the rest: a second kind of records, or a
    /// contamination beyond what a null can be fitted beside. The fraction that the rest predicts
    /// where the upper tenth begins.
    UpperGroup(f64),
    /// Between bulk and tail the scores do not follow the curve; their distance.
    Misfit(f64),
}

impl std::fmt::Display for Diagnosis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooFew => formatter.write_str("too few scores"),
            Self::Ties => formatter.write_str("too few distinct scores"),
            Self::Bimodal(dip) => write!(formatter, "bimodal scores (dip {dip:.3})"),
            Self::UpperGroup(predicted) => write!(
                formatter,
                "bimodal scores (the upper 10 % are a group of their own, where the rest predicts {:.1} %)",
                100.0 * predicted
            ),
            Self::Misfit(distance) => write!(
                formatter,
                "scores between bulk and tail do not follow the fitted curve (distance {distance:.3})"
            ),
        }
    }
}

/// The tail of ascending `scores`, censored above the `censored` largest fraction, and what is wrong
/// with it.
pub(super) fn fit(scores: &[f32], censored: f64) -> (Option<Fitted>, Option<Diagnosis>) {
    let n = scores.len();
    if n < MIN_SCORES {
        return (None, Some(Diagnosis::TooFew));
    }
    let window = Window {
        fraction: UPPER,
        censored,
        max_shape: MAX_SHAPE,
    };
    let Some(upper) = fit_tail(scores, window) else {
        return (None, Some(Diagnosis::Ties));
    };
    let dip = dip_below(scores, censored);
    if dip <= largest_dip(n) && upper.distance <= largest_distance(n) {
        return (Some(upper), None);
    }
    // Where the rest is in order, what it says of the upper group is worth knowing.
    if let Some(lower) = fit_tail(scores, LOWER)
        && lower.distance <= largest_distance(n)
        && dip_below(scores, LOWER.censored) <= largest_dip(n)
    {
        let upper_tenth = scores[n - 1 - (censored * n as f64) as usize];
        let predicted = lower.tail.ln_survival(upper_tenth.into()).exp();
        if EXCESS * predicted < censored {
            return (Some(lower), Some(Diagnosis::UpperGroup(predicted)));
        }
    }
    let diagnosis = if dip > largest_dip(n) {
        Diagnosis::Bimodal(dip)
    } else {
        Diagnosis::Misfit(upper.distance)
    };
    (Some(upper), Some(diagnosis))
}

/// The dip of ascending `scores` without the `censored` largest fraction.
fn dip_below(scores: &[f32], censored: f64) -> f64 {
    let n = scores.len() - (censored * scores.len() as f64).ceil() as usize;
    let points = n.min(POINTS);
    let at = |point: usize| f64::from(scores[point * (n - 1) / (points - 1)]);
    let grid: Vec<f64> = (0..points).map(at).collect();
    Steps::of_sorted(&grid).map_or(0.0, |steps| steps.dip())
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn normal(rng: &mut ChaCha8Rng) -> f32 {
        let (u, v): (f32, f32) = (rng.gen_range(1e-7..1.0), rng.r#gen());
        (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
    }

    fn diagnosis(mut scores: Vec<f32>) -> Option<Diagnosis> {
        scores.sort_unstable_by(f32::total_cmp);
        fit(&scores, 0.1).1
    }

    /// How many of `draws` samples of `n` scores are diagnosed as something else than `as_expected`
    /// says.
    fn mistaken(
        n: usize,
        draw: impl Fn(&mut ChaCha8Rng) -> f32,
        as_expected: impl Fn(Option<Diagnosis>) -> bool,
    ) -> usize {
        let samples = (0..20).map(|seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            diagnosis((0..n).map(|_| draw(&mut rng)).collect())
        });
        samples.filter(|&diagnosis| !as_expected(diagnosis)).count()
    }

    #[test]
    fn smooth_scores_with_one_mode_are_calibrated() {
        let exponential = |rng: &mut ChaCha8Rng| -rng.gen_range(1e-7_f32..1.0).ln();
        let heavy = |rng: &mut ChaCha8Rng| rng.gen_range(1e-5_f32..1.0).powf(-0.5);
        let log_normal = |rng: &mut ChaCha8Rng| (2.0 * normal(rng)).exp();
        let uniform = |rng: &mut ChaCha8Rng| rng.r#gen::<f32>();
        for n in [200, 1000, 10_000] {
            let wrong = [
                mistaken(n, normal, |found| found.is_none()),
                mistaken(n, exponential, |found| found.is_none()),
                mistaken(n, heavy, |found| found.is_none()),
                mistaken(n, log_normal, |found| found.is_none()),
                mistaken(n, uniform, |found| found.is_none()),
            ];
            assert!(wrong.iter().sum::<usize>() <= 2, "{n}: {wrong:?}");
        }
    }

    /// A group of `share` of the scores, six standard deviations above the rest.
    fn beside(share: f64) -> impl Fn(&mut ChaCha8Rng) -> f32 {
        move |rng| normal(rng) + if rng.gen_bool(share) { 6.0 } else { 0.0 }
    }

    #[test]
    fn poison_up_to_a_twentieth_leaves_the_null_alone() {
        for n in [400, 2000, 10_000] {
            let wrong = mistaken(n, beside(0.05), |found| found.is_none());
            assert!(wrong <= 1, "{n}: {wrong}");
        }
    }

    #[test]
    fn two_modes_are_told_whatever_their_shares() {
        for share in [0.15, 0.2, 0.3, 0.5, 0.7] {
            let wrong = mistaken(2000, beside(share), |found| {
                use Diagnosis::{Bimodal, UpperGroup};
                matches!(found, Some(Bimodal(_) | UpperGroup(_)))
            });
            assert!(wrong <= 1, "{share}: {wrong}");
        }
    }

    #[test]
    fn an_upper_group_does_not_stretch_what_the_rest_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut scores: Vec<f32> = (0..10_000).map(|_| beside(0.2)(&mut rng)).collect();
        scores.sort_unstable_by(f32::total_cmp);
        let (fitted, diagnosis) = fit(&scores, 0.1);
        assert!(
            matches!(diagnosis, Some(Diagnosis::UpperGroup(_))),
            "{diagnosis:?}"
        );
        // The group's mass counts, its place does not: at 2, where 0.2 + 0.8 · 0.023 of all scores are
        // beyond, the curve goes on as if these were the tail; among the group it is far below their share.
        let p = |score| fitted.unwrap().tail.ln_survival(score).exp();
        assert!((0.023..0.22).contains(&p(2.0)), "{}", p(2.0));
        assert!(p(6.0) < 0.04, "{}", p(6.0));
    }

    #[test]
    fn a_heap_between_bulk_and_tail_is_no_tail() {
        let heap = |rng: &mut ChaCha8Rng| {
            if rng.gen_bool(0.12) {
                1.8
            } else {
                -rng.gen_range(1e-7_f32..1.0).ln()
            }
        };
        assert_eq!(mistaken(2000, heap, |found| found.is_some()), 0);
    }
}
