//! Which fused p-values decide.

use rayon::prelude::*;

use super::conformal::Conformal;
use super::tail::{Tail, Window, fit_tail};

/// Re-calibrates fused p-values, for the decision.
///
/// Without trusted records: real data has heavier tails than its bulk lets expect, natural outliers. The
/// strength `−log10 p` of the fused p-values is therefore compared with a second tail, fitted without
/// censoring to its upper 2 %; the larger of the two p-values decides. The price is power: row-level
/// decisions need records that stand out even among the dataset's most unusual ones.
///
/// With trusted records, the strength is a score like any other and their strengths are its null: the
/// decision is exact where they are exchangeable with the clean records ([`Conformal`]), whatever
/// became of the fusion. It is not extrapolated: where `m` records are trusted, no p-value is below
/// `1 / (m + 1)`, and among `n` records at a false-discovery rate of `q` at least `n / (q (m + 1))` must
/// stand beyond all of them before any is held back.
///
/// Either map is monotone, so no ranking changes.
#[derive(Clone, Debug)]
pub struct Decision(Null);

#[derive(Clone, Debug)]
enum Null {
    Tail(Tail),
    /// Ascending strengths, where they give no tail.
    Ranks(Vec<f32>),
    Trusted(Conformal),
}

/// What the deciding tail is fitted to.
const DECISION: Window = Window {
    fraction: 0.02,
    censored: 0.0,
    max_shape: 1.0,
};

impl Decision {
    /// The deciding tail of these strengths (`−log10 p`).
    #[must_use]
    pub fn fit(mut strengths: Vec<f32>) -> Self {
        strengths.par_sort_unstable_by(f32::total_cmp);
        Self(match fit_tail(&strengths, DECISION) {
            Some(fitted) => Null::Tail(fitted.tail),
            None => Null::Ranks(strengths),
        })
    }

    /// The decision against the strengths of trusted records.
    #[must_use]
    pub fn conformal(trusted: Vec<f32>) -> Self {
        Self(Null::Trusted(Conformal::new(trusted)))
    }

    /// The p-value that decides, for a record with fused p-value `p`.
    #[must_use]
    pub fn p_value(&self, p: f64) -> f64 {
        let strength = -p.log10();
        let tail = match &self.0 {
            Null::Trusted(null) => return null.p_value(strength as f32),
            Null::Tail(tail) if strength > tail.threshold => tail.ln_survival(strength).exp(),
            Null::Tail(_) => p,
            // Too few records or too many ties for a tail: only the rank is known, and by rank
            // alone no record stands out.
            Null::Ranks(ranks) => {
                let below = ranks.partition_point(|&rank| f64::from(rank) < strength - 1e-6);
                (ranks.len() - below).max(1) as f64 / ranks.len().max(1) as f64
            }
        };
        p.max(tail).clamp(f64::MIN_POSITIVE, 1.0)
    }
}
