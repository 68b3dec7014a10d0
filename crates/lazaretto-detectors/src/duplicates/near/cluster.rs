//! Groups of near-equal records: candidates by locality-sensitive hashing, verified, joined.

use super::signature::{BAND, HASHES, equal_entries};

/// Members of a bucket that each other member is compared with.
const COMPARED: usize = 4;

/// Sets that grow together. The smallest index leads, so the result does not depend on the order
/// of the unions.
struct Forest {
    parents: Vec<u32>,
}

impl Forest {
    fn new(n: usize) -> Self {
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

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// Sets of at least two, by their first member; members ascend.
    fn sets(mut self) -> Vec<Vec<u32>> {
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
pub(super) fn texts(signatures: &[u16], min_similarity: f64) -> Vec<Vec<u32>> {
    let signature = |idx: u32| &signatures[idx as usize * HASHES..][..HASHES];
    let reaches = |equal: u32| f64::from(equal) >= min_similarity * HASHES as f64;
    let n = signatures.len() / HASHES;
    let mut forest = Forest::new(n);
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
        });
    }
    forest.sets()
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
        assert_eq!(texts(&signatures, 0.6), [[0, 2]]);
    }
}
