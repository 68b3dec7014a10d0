//! Many p-values per record → one; one per record → q-values.

use std::f64::consts::PI;

/// p-values nearer to 1 than this are pulled in: the Cauchy statistic of a p-value of 1 is −∞ and
/// would cancel any evidence.
const LARGEST: f64 = 0.9;

/// The Cauchy combination of p-values (Liu & Xie 2020, JASA 115): the mean of
/// `tan(π (½ − p))` is again about Cauchy distributed in its upper tail *whatever the dependence*
/// between the p-values. That is why it is used here: detectors look at the same records and
/// agree by construction, which rules out Fisher's and Stouffer's methods; the minimum
/// (Bonferroni) is valid too but ignores agreement.
///
/// Returns `None` without p-values.
///
/// ```
/// use lazaretto_engine::fuse::cauchy_combination;
/// assert_eq!(cauchy_combination(&[]), None);
/// let p = cauchy_combination(&[1e-9, 0.5, 0.5]).unwrap();
/// assert!((p / 3e-9 - 1.0).abs() < 0.01);
/// ```
#[must_use]
pub fn cauchy_combination(p_values: &[f64]) -> Option<f64> {
    if p_values.is_empty() {
        return None;
    }
    let term = |p: f64| {
        let p = p.clamp(f64::MIN_POSITIVE, LARGEST);
        // tan(π(½−p)) = 1/tan(πp), which keeps its digits for tiny p.
        1.0 / (PI * p).tan()
    };
    let mean = p_values.iter().copied().map(term).sum::<f64>() / p_values.len() as f64;
    // P(Cauchy > t) = atan(1/t)/π for t > 0, again without cancellation.
    let p = if mean > 0.0 {
        (1.0 / mean).atan() / PI
    } else {
        0.5 - mean.atan() / PI
    };
    Some(p.clamp(f64::MIN_POSITIVE, 1.0))
}

/// Weight of the plain p-values beside the tail-area rates in [`fused_p_value`].
const PLAIN_WEIGHT: f64 = 0.03;

/// One number per record from each detector's p-value and tail-area false-discovery rate (how
/// many scores at least this high its null predicts, over how many there are; Efron 2004).
///
/// The rates carry the weight: the extremes of a detector that finds no more of them than chance
/// predicts are no evidence, however extreme they are, while a detector with an excess is heard
/// throughout its tail. Rates of detectors without an excess are all near 1, though, so the plain
/// p-values enter with a small exponent and order what the rates leave tied. Both are combined by
/// [`cauchy_combination`]. The result is not a p-value until it has been re-calibrated
/// ([`crate::calibrate::Decision`]). `None` without p-values.
#[must_use]
pub fn fused_p_value(p_values: &[f64], rates: &[f64]) -> Option<f64> {
    let plain = cauchy_combination(p_values)?;
    let rate = cauchy_combination(rates)?;
    Some((rate * plain.powf(PLAIN_WEIGHT)).clamp(f64::MIN_POSITIVE, 1.0))
}

/// A p-value as a score in `0..1`: `s / (s + 3)` with `s = −log10 p`. Half way at p = 0.001.
#[must_use]
pub fn score_of(p: f64) -> f32 {
    let strength = -p.clamp(f64::MIN_POSITIVE, 1.0).log10();
    (strength / (strength + 3.0)) as f32
}

/// Benjamini–Hochberg q-values for streams: counts p-values in narrow logarithmic bins, so that
/// memory does not grow with the number of records.
///
/// The bins are the upper 21 bits of the `f32` nearest above the p-value: 4,096 bins per factor
/// of two, so a q-value is exact to 0.03 % and never too small.
#[derive(Clone, Debug)]
pub struct QValues {
    /// Number of p-values per bin, then (after [`QValues::finish`]) the q-value at its upper edge.
    bins: Vec<f64>,
    n: u64,
}

const BIN_BITS: u32 = 11;

fn bin(p: f64) -> usize {
    ((p.clamp(f64::from(f32::MIN_POSITIVE), 1.0) as f32).to_bits() >> BIN_BITS) as usize
}

fn upper_edge(bin: usize) -> f64 {
    f64::from(f32::from_bits((((bin as u32) + 1) << BIN_BITS) - 1)).min(1.0)
}

impl Default for QValues {
    fn default() -> Self {
        Self {
            bins: vec![0.0; bin(1.0) + 1],
            n: 0,
        }
    }
}

impl QValues {
    /// Counts a p-value.
    pub fn add(&mut self, p: f64) {
        self.bins[bin(p)] += 1.0;
        self.n += 1;
    }

    /// Turns counts into q-values: `q(p) = min over p' ≥ p of n p' / #{p'' ≤ p'}`.
    #[must_use]
    pub fn finish(mut self) -> Self {
        let n = self.n as f64;
        let mut at_most = 0.0;
        for (idx, slot) in self.bins.iter_mut().enumerate() {
            at_most += *slot;
            *slot = if at_most > 0.0 {
                (n * upper_edge(idx) / at_most).min(1.0)
            } else {
                1.0
            };
        }
        let mut least = 1.0_f64;
        for slot in self.bins.iter_mut().rev() {
            least = least.min(*slot);
            *slot = least;
        }
        self
    }

    /// The q-value of `p`, after [`QValues::finish`].
    #[must_use]
    pub fn q_value(&self, p: f64) -> f64 {
        self.bins[bin(p)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_strong_witness_is_heard_and_many_weak_ones_are_not_a_strong_one() {
        let strong = cauchy_combination(&[1e-12, 0.99, 0.99, 0.99]).unwrap();
        assert!(strong < 1e-10, "{strong}");
        let weak = cauchy_combination(&[0.04; 5]).unwrap();
        assert!((weak - 0.04).abs() < 1e-9, "{weak}");
        let nothing = cauchy_combination(&[0.5; 3]).unwrap();
        assert!((nothing - 0.5).abs() < 1e-9);
        assert!(cauchy_combination(&[1.0]).unwrap() >= 0.89);
        assert!(cauchy_combination(&[0.0]).unwrap() > 0.0);
    }

    #[test]
    fn an_excess_outranks_an_extreme_and_extremes_order_ties() {
        let excess = fused_p_value(&[0.01, 0.5], &[0.01, 1.0]).unwrap();
        let extreme = fused_p_value(&[0.5, 1e-5], &[1.0, 1.0]).unwrap();
        let ordinary = fused_p_value(&[0.5, 0.4], &[1.0, 1.0]).unwrap();
        assert!(excess < extreme && extreme < ordinary);
        assert_eq!(fused_p_value(&[], &[]), None);
    }

    #[test]
    fn q_values_match_the_textbook() {
        // Benjamini & Hochberg 1995, section 3.1: 15 p-values, 4 rejected at q = 0.05.
        let p_values = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.000,
        ];
        let mut q_values = QValues::default();
        for p in p_values {
            q_values.add(p);
        }
        let q_values = q_values.finish();
        let rejected = p_values
            .iter()
            .filter(|&&p| q_values.q_value(p) <= 0.05)
            .count();
        assert_eq!(rejected, 4);
        let exact = 15.0 * 0.0095 / 4.0;
        assert!((q_values.q_value(0.0095) / exact - 1.0).abs() < 1e-3);
        assert!(
            p_values
                .windows(2)
                .all(|w| q_values.q_value(w[0]) <= q_values.q_value(w[1]))
        );
    }

    #[test]
    fn scores_rise_as_p_falls_within_their_range() {
        let scores: Vec<f32> = [1.0, 0.1, 1e-3, 1e-300].map(score_of).to_vec();
        assert!(scores.windows(2).all(|w| w[0] < w[1]));
        assert!(scores[0] == 0.0 && scores[3] < 1.0);
    }
}
