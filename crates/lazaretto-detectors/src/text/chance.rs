//! How likely so many hits are by chance.

use statrs::distribution::{Binomial, DiscreteCDF};

/// Chance of at least `hits` hits in `trials` trials.
pub(crate) fn at_least(hits: u64, trials: u64, chance: f64) -> f64 {
    let Some(below) = hits.checked_sub(1) else {
        return 1.0;
    };
    Binomial::new(chance.clamp(0.0, 1.0), trials).map_or(1.0, |binomial| binomial.sf(below))
}
