//! Scores → p-values, without asking how much of the data is poisoned.
//!
//! The null distribution of a detector's score is taken from the bulk of its own scores. Up to
//! the upper quartile a p-value is the empirical tail fraction. Beyond it, a generalised Pareto
//! tail (Pickands 1975) is fitted to the scores between the upper quartile and a *censoring*
//! quantile, by censored maximum likelihood: scores above the censoring point count, but not
//! where they are. Where poison lies therefore does not matter, but its mass still does: 5 % of it
//! makes the tail heavier and p-values larger by up to an order of magnitude (the safe direction).
//! The shape is kept at 0 or above: no finite end point is believed, so p-values never reach 0.
//! For the ranking null it is also kept at or below 0.2: the mass of the poison cannot be told from that
//! of the null, and would be taken for a heavy tail. Natural heavy tails are met by [`Decision`].
//!
//! Where the curve does not fit the bulk ([`Diagnosis`]), a detector has no calibrated threshold: its
//! null still orders its scores, and nothing is decided by it. Where records are known to be good, their
//! scores are the null instead ([`Conformal`]), and no fit is needed.

mod conformal;
mod decision;
mod diagnosis;
mod dip;
mod tail;

use rayon::prelude::*;

pub use conformal::Conformal;
pub use decision::Decision;
pub use diagnosis::Diagnosis;
use tail::{Tail, Window, fit_tail};

/// Number of quantiles kept of the bulk.
const GRID: usize = 1024;
/// Trusted scores at or beyond a score with which its conformal p-value is as fine as it needs to be.
const ENOUGH: usize = 10;

/// The null distribution of one score.
#[derive(Clone, Debug)]
pub struct Null {
    kind: Kind,
    tail: Option<Tail>,
}

#[derive(Clone, Debug)]
enum Kind {
    /// From the bulk of the scores themselves.
    Bulk {
        /// Scores at equally spaced ranks, ascending; at most [`GRID`].
        grid: Vec<f64>,
        n: usize,
        diagnosis: Option<Diagnosis>,
    },
    /// From those of trusted records.
    Trusted(Conformal),
}

impl Null {
    /// The null of `scores` (finite), censored above the `censored` largest fraction.
    #[must_use]
    pub fn fit(mut scores: Vec<f32>, censored: f64) -> Self {
        scores.par_sort_unstable_by(f32::total_cmp);
        Self::of_sorted(&scores, censored)
    }

    /// [`Null::fit`] of ascending scores.
    #[must_use]
    pub fn of_sorted(scores: &[f32], censored: f64) -> Self {
        let n = scores.len();
        let at = |rank: f64| f64::from(scores[(rank * (n - 1) as f64).round() as usize]);
        let grid = if n <= GRID {
            scores.iter().copied().map(f64::from).collect()
        } else {
            (0..GRID)
                .map(|i| at(i as f64 / (GRID - 1) as f64))
                .collect()
        };
        let (fitted, diagnosis) = diagnosis::fit(scores, censored);
        Self {
            kind: Kind::Bulk { grid, n, diagnosis },
            tail: fitted.map(|fitted| fitted.tail),
        }
    }

    /// The null that trusted records make. Within their resolution p-values are conformal; where fewer
    /// than ten of them reach a score, a tail fitted to them all orders what is beyond, because
    /// [`crate::fuse`] needs to know how far. Decisions do not rest on that ([`Decision::conformal`]).
    #[must_use]
    pub fn conformal(trusted: Conformal) -> Self {
        let window = Window {
            fraction: 0.25,
            censored: 0.0,
            max_shape: diagnosis::MAX_SHAPE,
        };
        Self {
            tail: fit_tail(trusted.scores(), window).map(|fitted| fitted.tail),
            kind: Kind::Trusted(trusted),
        }
    }

    /// Why no record can be decided on by this null alone; `None` where it fits the bulk.
    #[must_use]
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        match &self.kind {
            Kind::Bulk { diagnosis, .. } => *diagnosis,
            Kind::Trusted(_) => None,
        }
    }

    /// Whether scores beyond all others can be told how unlikely they are. False when there are
    /// too few scores or too many ties.
    #[must_use]
    pub fn has_tail(&self) -> bool {
        self.tail.is_some() || self.n_trusted().is_some()
    }

    /// Number of trusted records whose scores are the null; `None` where it is from the bulk.
    #[must_use]
    pub fn n_trusted(&self) -> Option<usize> {
        match &self.kind {
            Kind::Trusted(trusted) => Some(trusted.n_trusted()),
            Kind::Bulk { .. } => None,
        }
    }

    /// P(S ≥ `score`) under the null, in `(0, 1]`; 1 for NaN.
    #[must_use]
    pub fn p_value(&self, score: f64) -> f64 {
        if score.is_nan() {
            return 1.0;
        }
        let beyond = self.tail.as_ref().filter(|tail| score > tail.threshold);
        let beyond = beyond.map(|tail| tail.ln_survival(score).exp().max(f64::MIN_POSITIVE));
        match &self.kind {
            Kind::Bulk { grid, n, .. } => beyond.unwrap_or_else(|| in_bulk(grid, *n, score)),
            Kind::Trusted(trusted) => {
                let exact = trusted.p_value(score as f32);
                match beyond {
                    Some(p) if trusted.at_least(score as f32) < ENOUGH => p.min(exact),
                    _ => exact,
                }
            }
        }
    }

    /// In words, for the report; `id` is the detector's.
    #[must_use]
    pub fn describe(&self, id: &str) -> String {
        let tail = self.tail.as_ref().map(|tail| {
            format!(
                "tail above {:.4} with shape {:.3} and scale {:.4}",
                tail.threshold, tail.shape, tail.scale
            )
        });
        match &self.kind {
            Kind::Bulk {
                diagnosis: Some(diagnosis),
                ..
            } => format!(
                "no calibrated threshold for `{id}` here: {diagnosis}; informs, does not decide"
            ),
            Kind::Bulk { n, .. } => format!(
                "null from the bulk of {n} scores; {}",
                tail.unwrap_or_default()
            ),
            Kind::Trusted(trusted) => format!(
                "conformal p-values by {} trusted records{}",
                trusted.n_trusted(),
                tail.map_or_else(String::new, |tail| format!(
                    "; ordered beyond them by a {tail}"
                ))
            ),
        }
    }
}

/// The tail fraction of `score` among `n` scores with quantiles `grid`.
fn in_bulk(grid: &[f64], n: usize, score: f64) -> f64 {
    if n == 0 {
        return 1.0;
    }
    let below = grid.partition_point(|&point| point < score);
    // Linear between the grid points; a score equal to many others gets their upper tail.
    let position = match below {
        0 => 0.0,
        _ if below == grid.len() => below as f64 - 1.0,
        _ => {
            let (left, right) = (grid[below - 1], grid[below]);
            let step = if right > left {
                (score - left) / (right - left)
            } else {
                0.0
            };
            below as f64 - 1.0 + step
        }
    };
    let cdf = position / (grid.len().max(2) - 1) as f64;
    (1.0 - cdf).max(1.0 / (n as f64 + 1.0))
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn exponential(rng: &mut ChaCha8Rng, n: usize) -> Vec<f32> {
        (0..n)
            .map(|_| -(rng.gen_range(f32::MIN_POSITIVE..1.0)).ln())
            .collect()
    }

    #[test]
    fn p_values_of_null_scores_are_about_uniform() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let null = Null::fit(exponential(&mut rng, 20_000), 0.05);
        for (score, expected) in [(0.1, 0.905), (1.0, 0.368), (4.0, 0.0183), (9.0, 1.23e-4)] {
            let p: f64 = null.p_value(score);
            assert!(
                (p / expected).ln().abs() < 0.5,
                "{score}: {p} for {expected}"
            );
        }
    }

    #[test]
    fn censoring_limits_how_far_poison_stretches_the_null() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut scores = exponential(&mut rng, 10_000);
        let clean = Null::fit(scores.clone(), 0.06);
        scores.extend((0..500).map(|_| 30.0 + rng.r#gen::<f32>()));
        let uncensored = Null::fit(scores.clone(), 0.0);
        let poisoned = Null::fit(scores, 0.06);
        // The poison's mass makes the tail somewhat heavier (the safe direction), its place not.
        let shift = (poisoned.p_value(6.0) / clean.p_value(6.0)).log10();
        assert!((0.0..1.5).contains(&shift), "{shift}");
        let (censored, uncensored) = (poisoned.p_value(30.0), uncensored.p_value(30.0));
        assert!(censored < 0.6 * uncensored, "{censored} {uncensored}");
    }

    #[test]
    fn p_values_fall_with_the_score_and_stay_in_range() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for n in [0, 1, 2, 39, 40, 1000, 5000] {
            let null = Null::fit(exponential(&mut rng, n), 0.05);
            let mut last = 1.0;
            for step in -10..2000 {
                let p = null.p_value(f64::from(step) * 0.05);
                assert!(
                    p > 0.0 && p <= last + 1e-12,
                    "n {n} step {step}: {p} after {last}"
                );
                last = p;
            }
            assert!((null.p_value(f64::NAN) - 1.0).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn tied_scores_give_no_tail() {
        assert!(!Null::fit(vec![1.0; 1000], 0.05).has_tail());
        let null = Null::fit(vec![0.0; 1000], 0.05);
        assert!(null.p_value(5.0) >= 1.0 / 1001.0);
    }

    #[test]
    fn scores_of_few_values_neither_calibrate_nor_decide() {
        // One in ten records has the rarest of five values.
        let value = |row: usize| [0.40, 0.41, 0.42, 0.45, 0.60][(row % 10).min(8) / 2];
        let scores: Vec<f32> = (0..3000).map(value).collect();
        assert!(!Null::fit(scores, 0.1).has_tail());
        let strengths: Vec<f32> = (0..3000)
            .map(|row| if row % 10 == 0 { 9.0 } else { 0.1 })
            .collect();
        let decision = Decision::fit(strengths);
        assert!(decision.p_value(1e-9) >= 0.1);
    }

    #[test]
    fn natural_heavy_tails_are_not_decided_on() {
        // Student-like tail: the bulk alone would call its extremes impossible.
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let n = 20_000;
        let strengths: Vec<f32> = (0..n)
            .map(|_| {
                let u: f32 = rng.gen_range(1e-6..1.0);
                u.powf(-0.4)
            })
            .collect();
        let decision = Decision::fit(strengths.clone());
        let rejected = strengths
            .iter()
            .filter(|&&s| decision.p_value(10_f64.powf(-f64::from(s))) < 0.05 / f64::from(n))
            .count();
        assert!(rejected <= 2, "{rejected}");
    }
}
