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

use rayon::prelude::*;

/// Where the fitted tail begins, as a tail fraction.
const TAIL: f64 = 0.25;
/// Fewer scores than this give no tail.
const MIN_SCORES: usize = 40;
/// Heaviest tail of a detector's null.
const MAX_SHAPE: f64 = 0.2;
/// Fewer distinct values than this among the points of the tail give no tail.
const MIN_DISTINCT: usize = 24;
/// Points of the tail that enter the likelihood; more change the third digit.
const MAX_POINTS: usize = 512;

/// The null distribution of one score.
#[derive(Clone, Debug)]
pub struct Null {
    /// Scores at equally spaced ranks, ascending; at most [`GRID`].
    grid: Vec<f64>,
    n: usize,
    tail: Option<Tail>,
}

/// Number of quantiles kept of the bulk.
const GRID: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Tail {
    /// Fraction of the null above `threshold`.
    fraction: f64,
    threshold: f64,
    shape: f64,
    scale: f64,
}

impl Tail {
    /// ln P(S ≥ s | null) for `s` above the threshold.
    fn ln_survival(&self, score: f64) -> f64 {
        self.fraction.ln() - ln_gpd_hazard(self.shape, (score - self.threshold) / self.scale)
    }
}

/// −ln of the generalised Pareto survival function at `x ≥ 0` in units of its scale.
fn ln_gpd_hazard(shape: f64, x: f64) -> f64 {
    if shape < 1e-9 {
        x
    } else {
        (shape * x).ln_1p() / shape
    }
}

impl Null {
    /// The null of `scores` (finite), censored above the `censored` largest fraction.
    #[must_use]
    pub fn fit(mut scores: Vec<f32>, censored: f64) -> Self {
        scores.par_sort_unstable_by(f32::total_cmp);
        let n = scores.len();
        let at = |rank: f64| f64::from(scores[(rank * (n - 1) as f64).round() as usize]);
        let grid = if n <= GRID {
            scores.iter().copied().map(f64::from).collect()
        } else {
            (0..GRID)
                .map(|i| at(i as f64 / (GRID - 1) as f64))
                .collect()
        };
        let tail = (n >= MIN_SCORES)
            .then(|| fit_tail(&scores, TAIL, censored, MAX_SHAPE))
            .flatten();
        Self { grid, n, tail }
    }

    /// Whether scores beyond all others can be told how unlikely they are. False when there are
    /// too few scores or too many ties; such a detector informs but does not decide.
    #[must_use]
    pub fn has_tail(&self) -> bool {
        self.tail.is_some()
    }

    /// P(S ≥ `score`) under the null, in `(0, 1]`; 1 for NaN.
    #[must_use]
    pub fn p_value(&self, score: f64) -> f64 {
        if self.n == 0 || score.is_nan() {
            return 1.0;
        }
        if let Some(tail) = &self.tail
            && score > tail.threshold
        {
            return tail.ln_survival(score).exp().max(f64::MIN_POSITIVE);
        }
        let below = self.grid.partition_point(|&point| point < score);
        // Linear between the grid points; a score equal to many others gets their upper tail.
        let position = match below {
            0 => 0.0,
            _ if below == self.grid.len() => below as f64 - 1.0,
            _ => {
                let (left, right) = (self.grid[below - 1], self.grid[below]);
                let step = if right > left {
                    (score - left) / (right - left)
                } else {
                    0.0
                };
                below as f64 - 1.0 + step
            }
        };
        let cdf = position / (self.grid.len().max(2) - 1) as f64;
        (1.0 - cdf).max(1.0 / (self.n as f64 + 1.0))
    }

    /// Smallest and largest score, if there are any.
    #[must_use]
    pub fn range(&self) -> Option<(f64, f64)> {
        Some((*self.grid.first()?, *self.grid.last()?))
    }

    /// In words, for the report.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.tail {
            None => {
                "too few distinct scores for a calibrated tail: informs, does not decide".to_owned()
            }
            Some(tail) => format!(
                "null from the bulk of {} scores; tail above {:.4} with shape {:.3} and scale {:.4}",
                self.n, tail.threshold, tail.shape, tail.scale
            ),
        }
    }
}

/// Fits the tail of ascending `scores` that begins at the upper fraction `fraction`, censored at
/// the upper fraction `censored`.
fn fit_tail(scores: &[f32], fraction: f64, censored: f64, max_shape: f64) -> Option<Tail> {
    let n = scores.len();
    let start = ((1.0 - fraction) * n as f64) as usize;
    let end = n - (censored * n as f64).ceil() as usize;
    let threshold = f64::from(*scores.get(start)?);
    let excess: Vec<f64> = scores
        .get(start..end)?
        .iter()
        .map(|&score| f64::from(score) - threshold)
        .collect();
    let points = excess.len().min(MAX_POINTS);
    if points < 8 {
        return None;
    }
    let weight = excess.len() as f64 / points as f64;
    let sample: Vec<f64> = (0..points)
        .map(|i| excess[i * (excess.len() - 1) / (points - 1)])
        .collect();
    let limit = *sample.last()?;
    let median = sample[points / 2];
    // Scores of a few distinct values (trees over one column of five stars) have no tail: a
    // curve through their steps would call the rarest value impossible.
    let distinct = 1 + sample.windows(2).filter(|pair| pair[0] < pair[1]).count();
    if limit <= 0.0 || median <= 0.0 || distinct < MIN_DISTINCT.min(points / 2) {
        return None;
    }
    let n_censored = (n - end) as f64 / weight;
    let ln_likelihood = |shape: f64, ln_scale: f64| {
        let scale = ln_scale.exp();
        let observed: f64 = sample
            .iter()
            .map(|&x| {
                let hazard = ln_gpd_hazard(shape, x / scale);
                -ln_scale - (1.0 + shape) * hazard
            })
            .sum();
        observed - n_censored * ln_gpd_hazard(shape, limit / scale)
    };
    let best = (0..=20)
        .map(|step| f64::from(step) * 0.05 * max_shape)
        .map(|shape| {
            let ln_scale = golden_section(median.ln() - 6.0, median.ln() + 6.0, |ln_scale| {
                ln_likelihood(shape, ln_scale)
            });
            (ln_likelihood(shape, ln_scale), shape, ln_scale)
        })
        .max_by(|left, right| left.0.total_cmp(&right.0))?;
    Some(Tail {
        fraction,
        threshold,
        shape: best.1,
        scale: best.2.exp(),
    })
}

/// Place of the maximum of a unimodal function.
fn golden_section(mut low: f64, mut high: f64, value: impl Fn(f64) -> f64) -> f64 {
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut left, mut right) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_left, mut at_right) = (value(left), value(right));
    for _ in 0..48 {
        if at_left < at_right {
            (low, left, at_left) = (left, right, at_right);
            right = low + ratio * (high - low);
            at_right = value(right);
        } else {
            (high, right, at_right) = (right, left, at_left);
            left = high - ratio * (high - low);
            at_left = value(left);
        }
    }
    f64::midpoint(low, high)
}

/// Re-calibrates fused p-values against their own tail, for the decision.
///
/// Real data has heavier tails than its bulk lets expect: natural outliers. The strength
/// `−log10 p` of the fused p-values is therefore compared with a second tail, fitted without
/// censoring to its upper 2 %; the larger of the two p-values decides. The map is
/// monotone, so no ranking changes. The price is power: row-level decisions need records that
/// stand out even among the dataset's most unusual ones.
#[derive(Clone, Debug)]
pub struct Decision {
    tail: Option<Tail>,
    /// Ascending strengths, kept only when they give no tail.
    ranks: Vec<f32>,
}

/// Upper fraction of the fused strengths to which the deciding tail is fitted.
const DECISION_TAIL: f64 = 0.02;

impl Decision {
    /// The deciding tail of these strengths (`−log10 p`).
    #[must_use]
    pub fn fit(mut strengths: Vec<f32>) -> Self {
        strengths.par_sort_unstable_by(f32::total_cmp);
        let tail = fit_tail(&strengths, DECISION_TAIL, 0.0, 1.0);
        if tail.is_some() {
            strengths = Vec::new();
        }
        Self {
            tail,
            ranks: strengths,
        }
    }

    /// The p-value that decides, for a record with fused p-value `p`.
    #[must_use]
    pub fn p_value(&self, p: f64) -> f64 {
        let strength = -p.log10();
        let tail = match &self.tail {
            Some(tail) if strength > tail.threshold => tail.ln_survival(strength).exp(),
            Some(_) => p,
            // Too few records or too many ties for a tail: only the rank is known, and by rank
            // alone no record stands out.
            None => {
                let below = self
                    .ranks
                    .partition_point(|&rank| f64::from(rank) < strength - 1e-6);
                (self.ranks.len() - below).max(1) as f64 / self.ranks.len().max(1) as f64
            }
        };
        p.max(tail).clamp(f64::MIN_POSITIVE, 1.0)
    }
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
