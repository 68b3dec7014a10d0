//! What is usual among the scores of one class, so that scores of several classes compare.

/// The largest standardised score: a class without spread gives no infinite ones.
const MAX_SCORE: f64 = 1e6;

/// Centre and spread of the bulk of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RobustScale {
    median: f64,
    /// Median absolute deviation, as the standard deviation of a normal distribution.
    spread: f64,
}

impl RobustScale {
    /// The scale of `values`; reorders and changes them.
    pub(crate) fn of(values: &mut [f64]) -> Self {
        let centre = median(values);
        for value in &mut *values {
            *value = (*value - centre).abs();
        }
        Self {
            median: centre,
            spread: 1.4826 * median(values),
        }
    }

    /// Robust standard deviations of `value` above the median; NaN for a value that is not finite.
    pub(crate) fn standardised(&self, value: f64) -> f32 {
        if !value.is_finite() {
            return f32::NAN;
        }
        let beyond = value - self.median;
        let score = if self.spread > 0.0 {
            beyond / self.spread
        } else if beyond > 0.0 {
            // More than half of the values are the same.
            MAX_SCORE
        } else {
            0.0
        };
        score.clamp(-MAX_SCORE, MAX_SCORE) as f32
    }
}

/// The median (the upper of two), 0 without values. Reorders them.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use super::*;

    #[test]
    fn outliers_do_not_move_the_scale() {
        let scale = RobustScale::of(&mut [1.0, 2.0, 3.0, 4.0, 1e9]);
        assert_eq!(scale.standardised(3.0), 0.0);
        assert!((scale.standardised(3.0 + 1.4826) - 1.0).abs() < 1e-6);
        assert!(scale.standardised(f64::INFINITY).is_nan());
    }

    #[test]
    fn values_without_spread_give_finite_scores() {
        let scale = RobustScale::of(&mut [2.0, 2.0, 2.0, 5.0]);
        assert_eq!(scale.standardised(2.0), 0.0);
        assert_eq!(scale.standardised(1.0), 0.0);
        assert_eq!(scale.standardised(5.0), 1e6);
        assert_eq!(RobustScale::of(&mut []).standardised(0.0), 0.0);
    }
}
