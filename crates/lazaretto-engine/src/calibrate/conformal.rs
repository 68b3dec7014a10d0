//! p-values from records that are known to be good.

/// The scores of `m` trusted records, as the null of a record's score.
///
/// `p(s) = (1 + #{trusted scores ≥ s}) / (m + 1)` (Vovk, Gammerman & Shafer 2005; as a test for
/// outliers Bates et al. 2023, Annals of Statistics 51). Where the record's score and the trusted
/// ones are exchangeable, `P(p ≤ t) ≤ t` for every `t` and every `m`, whatever the distribution of
/// the scores; ties count against the record being an outlier. It needs no tail and no bulk, and it
/// is never smaller than `1 / (m + 1)`.
///
/// ```
/// use lazaretto_engine::calibrate::Conformal;
/// let null = Conformal::new(vec![0.1, 0.4, 0.4, 0.9]);
/// assert_eq!([1.0, 0.4, 0.0].map(|score| null.p_value(score)), [0.2, 0.8, 1.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Conformal {
    /// Ascending.
    scores: Vec<f32>,
}

impl Conformal {
    /// The null of these trusted scores; those that are not finite are left out.
    #[must_use]
    pub fn new(mut scores: Vec<f32>) -> Self {
        scores.retain(|score| score.is_finite());
        scores.sort_unstable_by(f32::total_cmp);
        Self { scores }
    }

    /// Number of trusted scores.
    #[must_use]
    pub fn n_trusted(&self) -> usize {
        self.scores.len()
    }

    /// The conformal p-value of `score`; 1 for NaN.
    #[must_use]
    pub fn p_value(&self, score: f32) -> f64 {
        if score.is_nan() {
            return 1.0;
        }
        (1 + self.at_least(score)) as f64 / (1 + self.scores.len()) as f64
    }

    /// Number of trusted scores of at least `score`.
    pub(super) fn at_least(&self, score: f32) -> usize {
        self.scores.len() - self.scores.partition_point(|&trusted| trusted < score)
    }

    /// Ascending.
    pub(super) fn scores(&self) -> &[f32] {
        &self.scores
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Over many draws of `m` trusted scores and one more of the same kind: how often its p-value is
    /// at most each level.
    fn rejected(m: usize, levels: &[f64], draw: impl Fn(&mut ChaCha8Rng) -> f32) -> Vec<f64> {
        const DRAWS: u32 = 20_000;
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut counts = vec![0; levels.len()];
        for _ in 0..DRAWS {
            let null = Conformal::new((0..m).map(|_| draw(&mut rng)).collect());
            let p = null.p_value(draw(&mut rng));
            for (count, &level) in counts.iter_mut().zip(levels) {
                *count += i32::from(p <= level + 1e-12);
            }
        }
        counts
            .into_iter()
            .map(|count| f64::from(count) / f64::from(DRAWS))
            .collect()
    }

    #[test]
    fn it_is_exact_for_exchangeable_scores_of_any_distribution() {
        // Levels that are multiples of 1/(m + 1) are met, not just kept: five standard errors.
        let levels = [0.05, 0.1, 0.5, 0.9];
        let bimodal = |rng: &mut ChaCha8Rng| {
            let far = if rng.gen_bool(0.2) { 50.0 } else { 0.0 };
            far + rng.r#gen::<f32>()
        };
        let heavy = |rng: &mut ChaCha8Rng| rng.gen_range(1e-6_f32..1.0).powf(-2.0);
        for rates in [rejected(19, &levels, bimodal), rejected(19, &levels, heavy)] {
            for (rate, level) in rates.iter().zip(levels) {
                let error = 5.0 * (level * (1.0 - level) / 20_000.0_f64).sqrt();
                assert!((rate - level).abs() < error, "{rate} at {level}");
            }
        }
    }

    #[test]
    fn ties_are_counted_against_the_outlier() {
        let levels = [0.05, 0.1, 0.2, 0.5];
        let coarse = |rng: &mut ChaCha8Rng| f32::from(rng.gen_range(0_u8..4));
        for (rate, level) in rejected(19, &levels, coarse).iter().zip(levels) {
            assert!(*rate < level + 0.01, "{rate} at {level}");
        }
        let constant = Conformal::new(vec![1.0; 99]);
        assert!((constant.p_value(1.0) - 1.0).abs() < 1e-12);
        assert!((constant.p_value(2.0) - 0.01).abs() < 1e-12);
    }
}
