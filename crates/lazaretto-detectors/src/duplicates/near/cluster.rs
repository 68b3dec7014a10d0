//! Groups of near-equal records: candidates by locality-sensitive hashing, verified, joined.

use super::signature::{BAND, HASHES, equal_entries};

/// Members of a bucket that each other member is compared with.
const COMPARED: usize = 4;
/// Members of a bucket from which it is crowded: those that resemble none of the compared ones may
/// resemble each other.
const CROWDED: usize = 256;
/// Bands of a text whose buckets are crowded from which its copies may be missing. In large datasets
/// some bands of most texts are.
const CROWDED_BANDS: u8 = 12;

/// Clusters of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clustered {
    /// Clusters by their first member; members ascend.
    pub(super) sets: Vec<Vec<u32>>,
    /// Texts in no cluster most of whose buckets are crowded, ascending.
    pub(super) crowded: Vec<u32>,
}

/// Sets that grow together. The smallest index leads, so the result does not depend on the order
/// of the unions.
pub(crate) struct Forest {
    parents: Vec<u32>,
}

impl Forest {
    /// `n` sets of one.
    pub(crate) fn new(n: usize) -> Self {
        Self {
            parents: (0..n as u32).collect(),
        }
    }

    fn root(&mut self, mut idx: u32) -> u32 {
        while self.parents[idx as usize] != idx {
            let above = self.parents[self.parents[idx as usize] as usize];
            self.parents[idx as usize] = above;
            idx = above;
        }
        idx
    }

    /// Joins the sets of `a` and `b`.
    pub(crate) fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// Sets of at least two, by their first member; members ascend.
    pub(crate) fn sets(mut self) -> Vec<Vec<u32>> {
        let mut rooted: Vec<(u32, u32)> = (0..self.parents.len() as u32)
            .map(|idx| (self.root(idx), idx))
            .collect();
        rooted.sort_unstable();
        rooted
            .chunk_by(|a, b| a.0 == b.0)
            .filter(|set| set.len() > 1)
            .map(|set| set.iter().map(|&(_, idx)| idx).collect())
            .collect()
    }
}

/// Calls `visit` with the indices of each bucket of at least two, ascending.
fn buckets(mut keyed: Vec<(u64, u32)>, mut visit: impl FnMut(&[(u64, u32)])) {
    keyed.sort_unstable();
    for bucket in keyed.chunk_by(|a, b| a.0 == b.0) {
        if bucket.len() > 1 {
            visit(bucket);
        }
    }
}

/// Clusters of texts by their `signatures` (`HASHES` entries each). Two texts that agree in a band
/// are joined when the estimated similarity of their signatures is at least `min_similarity`.
pub(super) fn texts(signatures: &[u16], min_similarity: f64) -> Clustered {
    let signature = |idx: u32| &signatures[idx as usize * HASHES..][..HASHES];
    let reaches = |equal: u32| f64::from(equal) >= min_similarity * HASHES as f64;
    let n = signatures.len() / HASHES;
    let mut forest = Forest::new(n);
    let mut crowded_bands = vec![0_u8; n];
    for band in 0..HASHES / BAND {
        let keyed = (0..n as u32)
            .map(|idx| {
                let part = &signature(idx)[band * BAND..][..BAND];
                let key = part
                    .iter()
                    .fold(0, |key, &entry| key << 16 | u64::from(entry));
                (key, idx)
            })
            .collect();
        buckets(keyed, |bucket| {
            for (place, &(_, idx)) in bucket.iter().enumerate().skip(1) {
                for &(_, other) in &bucket[..place.min(COMPARED)] {
                    if forest.root(idx) != forest.root(other)
                        && reaches(equal_entries(signature(idx), signature(other)))
                    {
                        forest.join(idx, other);
                    }
                }
            }
            if bucket.len() >= CROWDED {
                for &(_, idx) in &bucket[COMPARED..] {
                    crowded_bands[idx as usize] += 1;
                }
            }
        });
    }
    let sets = forest.sets();
    let mut joined: Vec<u32> = sets.concat();
    joined.sort_unstable();
    let is_crowded = |&idx: &u32| {
        crowded_bands[idx as usize] >= CROWDED_BANDS && joined.binary_search(&idx).is_err()
    };
    let crowded = (0..n as u32).filter(is_crowded).collect();
    Clustered { sets, crowded }
}

/// Clusters of table rows: those that share a cell on either grid.
pub(super) fn rows(cells: &[[u64; 2]]) -> Vec<Vec<u32>> {
    let mut forest = Forest::new(cells.len());
    for grid in 0..2 {
        let keyed = cells
            .iter()
            .enumerate()
            .map(|(idx, cell)| (cell[grid], idx as u32))
            .collect();
        buckets(keyed, |bucket| {
            for &(_, idx) in &bucket[1..] {
                forest.join(bucket[0].1, idx);
            }
        });
    }
    forest.sets()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_chain_through_both_grids() {
        let cells = [[1, 10], [2, 10], [2, 11], [3, 12], [3, 13]];
        assert_eq!(rows(&cells), [vec![0, 1, 2], vec![3, 4]]);
    }

    #[test]
    fn a_shared_band_is_not_enough() {
        let mut signatures = vec![0_u16; HASHES];
        let far: Vec<u16> = (0..HASHES as u16)
            .map(|i| if i < 4 { 0 } else { i })
            .collect();
        let near: Vec<u16> = (0..HASHES as u16).map(|i| u16::from(i % 8 == 7)).collect();
        signatures.extend(far);
        signatures.extend(near);
        assert_eq!(texts(&signatures, 0.6).sets, [[0, 2]]);
    }

    #[test]
    fn what_a_crowded_bucket_left_out_is_known() {
        // In each band a text is in one of four groups: a quarter of two texts is equal.
        let signature = |text: u64| {
            (0..HASHES as u64).map(move |entry| {
                let mixed =
                    (text * 16 + entry / BAND as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                1 + ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 62) as u16
            })
        };
        let few: Vec<u16> = (0..400).flat_map(signature).collect();
        assert_eq!(texts(&few, 0.9).crowded, [0_u32; 0]);
        let mut many: Vec<u16> = (0..2_000).flat_map(signature).collect();
        many.extend(signature(0));
        let found = texts(&many, 0.9);
        assert_eq!(found.sets, [[0, 2_000]]);
        assert!(found.crowded.len() > 1_900, "{}", found.crowded.len());
    }
}
