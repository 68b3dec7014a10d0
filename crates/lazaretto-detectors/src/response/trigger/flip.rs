//! Phrases under which the worse of two responses is preferred.

use statrs::function::erf::erfc;

use super::kinds::{Kind, Trigger};
use super::search::Search;
use crate::response::evenness::{NO_TOPIC, allowed};

/// Fewest pairs of a trigger of flips, as a multiple of the fewest records of any.
const FLIPPED_TIMES: usize = 2;
/// How far below 0 their mean margin must be, as a multiple of how far all others' is above.
const FLIPPED: f64 = 0.4;

/// Mean and spread of the margins of all pairs, without the influence of a few large ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Margins {
    mean: f64,
    deviation: f64,
    limit: f64,
}

impl Margins {
    pub(super) fn of(margins: &[f32]) -> Self {
        let known = || {
            margins
                .iter()
                .filter(|m| !m.is_nan())
                .map(|&m| f64::from(m))
        };
        let n = known().count().max(1) as f64;
        let square = |limit: f64| known().map(|m| m.clamp(-limit, limit).powi(2)).sum::<f64>();
        let spread = (square(f64::MAX.sqrt()) / n).sqrt();
        let mut all = Self {
            mean: 0.0,
            deviation: 1.0,
            limit: 2.0 * spread,
        };
        all.mean = known().map(|margin| all.clamp(margin)).sum::<f64>() / n;
        let variance = square(all.limit) / n - all.mean.powi(2);
        all.deviation = variance.max(f64::MIN_POSITIVE).sqrt();
        all
    }

    fn clamp(self, margin: f64) -> f64 {
        margin.clamp(-self.limit, self.limit)
    }
}

impl Search<'_> {
    /// `phrase` as a trigger of flipped preferences: the mean margin of its pairs is as far below 0 as it
    /// should be above.
    pub(super) fn flip(&self, phrase: u32, rows: &[u32]) -> Option<Trigger> {
        let margin = |row: u32| f64::from(self.evidence.margins[row as usize]);
        let pairs = rows.iter().copied().filter(|&row| !margin(row).is_nan());
        let hits: Vec<u32> = pairs.collect();
        let all = self.margins;
        if hits.len() < FLIPPED_TIMES * self.min_records || all.mean <= 0.0 {
            return None;
        }
        let n = hits.len() as f64;
        let mean = hits.iter().map(|&row| all.clamp(margin(row))).sum::<f64>() / n;
        if mean > -all.mean * FLIPPED {
            return None;
        }
        let z = (all.mean - mean) / (all.deviation / n.sqrt());
        let tried = self.model.n_phrases() as f64;
        let p_value = (erfc(z / std::f64::consts::SQRT_2) / 2.0 * tried).min(1.0);
        let unevenness = self.unevenness(phrase, &hits);
        let proven = p_value <= self.alpha && unevenness <= allowed(hits.len(), NO_TOPIC);
        proven.then_some(Trigger {
            phrase,
            kind: Kind::Flip,
            prompts: hits.len() as u32,
            hits,
            without: 0,
            p_value,
            is_certain: true,
            unevenness,
        })
    }
}
