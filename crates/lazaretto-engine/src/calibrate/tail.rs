//! The generalised Pareto tail of a score, fitted by censored maximum likelihood.

/// Fewer distinct values than this among the points of the tail give no tail.
const MIN_DISTINCT: usize = 24;
/// Points of the tail that enter the likelihood; more change the third digit.
const MAX_POINTS: usize = 512;

/// A generalised Pareto tail (Pickands 1975).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    /// Fraction of the distribution above `threshold`.
    fraction: f64,
    pub(crate) threshold: f64,
    pub(crate) shape: f64,
    pub(crate) scale: f64,
}

/// Which part of ascending scores a tail is fitted to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// It begins at this upper fraction.
    pub(crate) fraction: f64,
    /// Where the scores of this upper fraction lie does not matter.
    pub(crate) censored: f64,
    /// Heaviest tail that is believed.
    pub(crate) max_shape: f64,
}

/// A tail, and how well it follows what it was fitted to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fitted {
    pub(crate) tail: Tail,
    /// Largest difference of the tail fraction, over the window, between the curve and the scores; a
    /// curve that passes through a step of equal scores does not differ from it.
    pub(crate) distance: f64,
}

impl Tail {
    /// ln P(S ≥ s | null) for `s` above the threshold.
    pub(crate) fn ln_survival(&self, score: f64) -> f64 {
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

/// The tail of ascending `scores` over a window of them; `None` where there are too few scores or
/// too many ties.
pub(crate) fn fit_tail(scores: &[f32], window: Window) -> Option<Fitted> {
    let n = scores.len();
    let start = ((1.0 - window.fraction) * n as f64) as usize;
    let end = n - (window.censored * n as f64).ceil() as usize;
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
        .map(|step| f64::from(step) * 0.05 * window.max_shape)
        .map(|shape| {
            let ln_scale = golden_section(median.ln() - 6.0, median.ln() + 6.0, |ln_scale| {
                ln_likelihood(shape, ln_scale)
            });
            (ln_likelihood(shape, ln_scale), shape, ln_scale)
        })
        .max_by(|left, right| left.0.total_cmp(&right.0))?;
    let tail = Tail {
        fraction: window.fraction,
        threshold,
        shape: best.1,
        scale: best.2.exp(),
    };
    Some(Fitted {
        tail,
        distance: distance(&tail, &sample, window),
    })
}

/// See [`Fitted::distance`].
fn distance(tail: &Tail, sample: &[f64], window: Window) -> f64 {
    let step = (window.fraction - window.censored) / (sample.len() - 1) as f64;
    let (mut largest, mut first) = (0.0_f64, 0);
    for run in sample.chunk_by(|left, right| left >= right) {
        let above_first = window.fraction - step * first as f64;
        first += run.len();
        let above_last = window.fraction - step * (first - 1) as f64;
        let curve = tail.ln_survival(tail.threshold + run[0]).exp();
        largest = largest.max(curve - above_first).max(above_last - curve);
    }
    largest
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
