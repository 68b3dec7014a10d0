//! Where all chance in this crate comes from: `ChaCha8` streams named by a seed and a purpose.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The stream of `seed` for `purpose`.
///
/// Two purposes of one seed are independent, so that adding an attack to a generator does not
/// change the data it is planted in.
#[must_use]
pub fn stream(seed: u64, purpose: &str) -> ChaCha8Rng {
    // FNV-1a: the purpose only has to tell streams apart, and must never change between versions.
    let tag = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&tag.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A draw from the standard normal distribution (Box–Muller, one of the pair).
pub fn normal(rng: &mut impl rand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.r#gen::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.r#gen::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use rand::RngCore;

    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_purpose_and_seed() {
        let first = stream(1, "a").next_u64();
        assert_eq!(first, stream(1, "a").next_u64());
        assert_ne!(first, stream(1, "b").next_u64());
        assert_ne!(first, stream(2, "a").next_u64());
    }

    #[test]
    fn normal_has_mean_zero_and_unit_variance() {
        let mut rng = stream(7, "normal");
        let draws: Vec<f64> = (0..20_000).map(|_| normal(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }
}
