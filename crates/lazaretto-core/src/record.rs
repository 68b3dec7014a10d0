//! Identity of a record: where it stands, what it holds, and its keyed hash for sampling.

use std::fmt;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

/// BLAKE3 hash over the versioned canonical encoding of one record's values
/// (see [`crate::canonical`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowHash(pub [u8; 32]);

impl fmt::Display for RowHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for RowHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RowHash({self})")
    }
}

/// Derives a record's keyed 64-bit hash, the only source of chance in a scan.
///
/// Reference samples and cross-validation folds are chosen by this hash and not by position or by
/// a stream of random numbers: the choice is then the same at any thread count, in any file order
/// and on any partitioning, and an attacker who does not know the seed cannot steer it.
#[derive(Clone, Copy, Debug)]
pub struct RecordKey {
    hasher: SipHasher24,
}

impl RecordKey {
    /// The key derivation for `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            hasher: SipHasher24::new_with_keys(seed, 0x6c61_7a61_7265_7474),
        }
    }

    /// The keyed hash of row `row` of row group `row_group` in the file with content digest
    /// `file_digest`.
    #[must_use]
    pub fn of(&self, file_digest: &[u8; 32], row_group: u32, row: u64) -> u64 {
        let mut hasher = self.hasher;
        hasher.write(file_digest);
        hasher.write_u32(row_group);
        hasher.write_u64(row);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_seed_file_and_row() {
        let key = RecordKey::new(1);
        let base = key.of(&[0; 32], 0, 0);
        assert_ne!(base, RecordKey::new(2).of(&[0; 32], 0, 0));
        assert_ne!(base, key.of(&[1; 32], 0, 0));
        assert_ne!(base, key.of(&[0; 32], 1, 0));
        assert_ne!(base, key.of(&[0; 32], 0, 1));
        assert_eq!(base, RecordKey::new(1).of(&[0; 32], 0, 0));
    }
}
