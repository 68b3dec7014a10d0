//! Compact signatures of records, such that near-equal records can be found without comparing all
//! pairs: MinHash for texts, rounded values for tables.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hash functions of a MinHash signature.
pub(crate) const HASHES: usize = 64;
/// Hash functions per band: records that agree in a whole band are compared.
pub(crate) const BAND: usize = 4;

/// The relative width of the cells that numbers are rounded into.
const CELL: f64 = 0.01;

/// A MinHash signature (Broder 1997), 16 bits per hash function: the share of equal entries
/// estimates the Jaccard similarity of two sets.
pub(crate) type Signature = [u16; HASHES];

/// A mixing step of `splitmix64`, a bijection.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Computes signatures; keyed by the seed, so that texts cannot be prepared to collide or evade.
#[derive(Clone, Debug)]
pub(crate) struct MinHash {
    factors: [u32; HASHES],
    offsets: [u32; HASHES],
    seed: u64,
}

impl MinHash {
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mix(state) as u32
        };
        Self {
            factors: std::array::from_fn(|_| next() | 1),
            offsets: std::array::from_fn(|_| next()),
            seed,
        }
    }

    /// The signature of the set `words` (repeats do not matter), which must not be empty.
    pub(crate) fn signature(&self, words: &[u64]) -> Signature {
        let mut smallest = [u32::MAX; HASHES];
        for &word in words {
            let base = mix(word ^ self.seed);
            let (low, high) = (base as u32, (base >> 32) as u32);
            for ((least, &factor), &offset) in
                smallest.iter_mut().zip(&self.factors).zip(&self.offsets)
            {
                let hashed = (low ^ offset).wrapping_mul(factor);
                *least = (*least).min((hashed ^ (hashed >> 15)).wrapping_mul(0x2c1b_3c6d) ^ high);
            }
        }
        // The upper bits of a minimum are nearly always 0; the lower ones are uniform.
        smallest.map(|least| least as u16)
    }
}

/// Number of equal entries.
pub(crate) fn equal_entries(a: &[u16], b: &[u16]) -> u32 {
    a.iter().zip(b).map(|(x, y)| u32::from(x == y)).sum()
}

/// Two hashes of a table row: equal rows have both equal, rows whose numbers differ by little have
/// at least one equal with a high chance.
///
/// Numbers are rounded into cells of a relative width of 1 %, once on a grid and once on the same
/// grid moved by half a cell, so that a cell's border on one grid is a cell's middle on the other.
pub(super) fn row_cells(
    numbers: impl Iterator<Item = f64>,
    words: impl Iterator<Item = u64>,
    seed: u64,
) -> [u64; 2] {
    let mut keys = [Vec::new(), Vec::new()];
    for number in numbers {
        for (key, shift) in keys.iter_mut().zip([0.0, 0.5]) {
            key.extend_from_slice(&cell(number, shift).to_le_bytes());
        }
    }
    for word in words {
        for key in &mut keys {
            key.extend_from_slice(&word.to_le_bytes());
        }
    }
    keys.map(|key| xxh3_64_with_seed(&key, seed))
}

fn cell(number: f64, shift: f64) -> i64 {
    if number == 0.0 {
        0
    } else if number.is_finite() {
        let place = (number.abs().ln() / CELL + shift).floor() as i64;
        // Odd for positive, even for negative numbers; never 0 or the marks below.
        2 * (place + 1_000_000) + i64::from(number > 0.0)
    } else if number.is_nan() {
        -1
    } else {
        -2 - i64::from(number > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_entries_estimate_the_jaccard_similarity() {
        let min_hash = MinHash::new(5);
        let mut error = 0.0;
        for case in 0..40_u64 {
            let words = |from: u64, to: u64| (from..to).map(|w| mix(w + 1_000 * case)).collect();
            let a: Vec<u64> = words(0, 40);
            let b: Vec<u64> = words(20, 60);
            let equal = equal_entries(&min_hash.signature(&a), &min_hash.signature(&b));
            error += f64::from(equal) / HASHES as f64 - 1.0 / 3.0;
        }
        // The mean of 40 estimates has a standard error below 0.01.
        assert!((error / 40.0).abs() < 0.04, "{}", error / 40.0);
    }

    #[test]
    fn close_rows_share_a_cell_and_different_rows_do_not() {
        let cells = |number: f64| row_cells([number, 7.0].into_iter(), [9_u64].into_iter(), 0);
        for step in 0..200 {
            let number = 100_000.0 + f64::from(step) * 13.0;
            let (a, b) = (cells(number), cells(number * 1.000_5));
            assert!(a[0] == b[0] || a[1] == b[1], "{number}");
            let far = cells(number * 1.03);
            assert!(a[0] != far[0] && a[1] != far[1]);
        }
        assert_ne!(cells(5.0), cells(-5.0));
        assert_eq!(cells(f64::NAN), cells(f64::NAN));
    }
}
