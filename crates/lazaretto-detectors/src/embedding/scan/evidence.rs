//! Whether the foreign part of a class is what an attack leaves, or a natural part of the class.
//!
//! Nothing here trusts the Gaussian model for how sure it is: the model only orders explanations,
//! record by record, and each record is explained by what the *others* show. The test is then a
//! signed-rank test over records.

use super::mixture::{ClassView, Split, log_density};
use crate::embedding::robust_scale::median;

/// Fewest distinct foreign records that can be a finding.
pub(super) const MIN_RECORDS: usize = 5;
/// Fewest sources, as an effective number (inverse Simpson index). Records of one or two sources
/// may as well be a natural subgroup that lies near another class.
pub(super) const MIN_SOURCES: f64 = 2.5;
/// Most of the class that may be foreign: the rest says what the class is.
const MAX_SHARE: f64 = 0.5;
/// By how much the shift must explain the median record better than its class does, in nats: where
/// classes overlap, records between them are foreign by a hair.
const MIN_FOREIGN: f64 = 5.0;
/// By how much the median record must look like other classes rather than like a compact subgroup,
/// in nats. Overlapping classes without an attack stay below 0.6 where the test is significant.
const MIN_SPREAD: f64 = 2.0;
/// Records that the test looks at, at most.
const MAX_TESTED: usize = 512;
/// Squared distance below which two records count as one, as a part of what two records of one
/// class have: copies of a record are no independent evidence.
const SAME: f64 = 0.1;

/// What speaks for an attack.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    /// Distinct foreign records that were tested.
    pub n_tested: usize,
    /// Effective number of sources.
    pub effective_sources: f64,
    /// Number of tested records by source.
    pub by_source: Vec<f64>,
    /// That the records agree on a shift, against plain label errors and records between classes.
    pub shift_p_value: f64,
    /// That the records are spread like other classes, against one compact subgroup.
    pub spread_p_value: f64,
}

impl Evidence {
    /// Both must hold, so the weaker counts (an intersection–union test).
    pub(super) fn p_value(&self) -> f64 {
        self.shift_p_value.max(self.spread_p_value)
    }
}

/// A foreign record as the test sees it.
struct Member {
    vector: Vec<f64>,
    /// Mean of its sources' centroids.
    source: Vec<f64>,
}

/// The evidence for `split`; `None` when the foreign records are too few, too many or from too few
/// sources, or do not stand out.
pub(super) fn evidence(class: &ClassView<'_>, split: &Split) -> Option<Evidence> {
    let foreign: Vec<usize> = (0..split.log_odds.len())
        .filter(|&row| split.log_odds[row] > 0.0)
        .collect();
    let largest = MAX_SHARE * split.log_odds.len() as f64;
    if foreign.len() < MIN_RECORDS || foreign.len() as f64 > largest {
        return None;
    }
    let rows = distinct(class, &foreign);
    let mut by_source = vec![0.0; class.sources.len()];
    let mut members = Vec::with_capacity(rows.len());
    for &row in &rows {
        let chances = class.sources_of(split, row);
        for (sum, chance) in by_source.iter_mut().zip(&chances) {
            *sum += chance;
        }
        members.push(Member {
            vector: class.record(row),
            source: class.mixed(&chances),
        });
    }
    let n = members.len() as f64;
    let effective_sources = n * n / by_source.iter().map(|count| count * count).sum::<f64>();
    if members.len() < MIN_RECORDS || effective_sources < MIN_SOURCES {
        return None;
    }
    let between = class.towards(&split.own_mean, part_of_the_way(&members, &split.own_mean));
    let vectors = sum(members.iter().map(|member| &member.vector));
    let sources = sum(members.iter().map(|member| &member.source));
    let (mut foreign, mut shift, mut spread) = (Vec::new(), Vec::new(), Vec::new());
    for Member { vector, source } in &members {
        // What the other members show, with one record's worth of doubt.
        let others_shift: Vec<f64> = (0..vector.len())
            .map(|idx| ((vectors[idx] - vector[idx]) - (sources[idx] - source[idx])) / n)
            .collect();
        let others_mean: Vec<f64> = (0..vector.len())
            .map(|idx| (vectors[idx] - vector[idx]) / (n - 1.0))
            .collect();
        let unmoved: Vec<f64> = vector
            .iter()
            .zip(&others_shift)
            .map(|(a, b)| a - b)
            .collect();
        let shifted = log_density(&split.weights, &class.centroids, &unmoved);
        let unshifted = log_density(&split.weights, &class.centroids, vector);
        let in_between = log_density(&split.weights, &between, vector);
        foreign.push(shifted + 0.5 * distance_squared(vector, &split.own_mean));
        shift.push(shifted - unshifted.max(in_between));
        spread.push(shifted + 0.5 * distance_squared(vector, &others_mean));
    }
    if median(&mut foreign) < MIN_FOREIGN || median(&mut spread.clone()) < MIN_SPREAD {
        return None;
    }
    Some(Evidence {
        n_tested: members.len(),
        effective_sources,
        by_source,
        shift_p_value: signed_rank_p_value(&shift),
        spread_p_value: signed_rank_p_value(&spread),
    })
}

/// The first [`MAX_TESTED`] of `rows` without (near) copies of each other.
fn distinct(class: &ClassView<'_>, rows: &[usize]) -> Vec<usize> {
    let tested = &rows[..rows.len().min(MAX_TESTED)];
    // Two records of one class differ by twice its variance, which is about one per direction.
    let same = SAME * 2.0 * class.mean.len() as f64;
    let mut kept: Vec<(usize, Vec<f64>)> = Vec::new();
    for &row in tested {
        let vector = class.record(row);
        if kept
            .iter()
            .all(|(_, known)| distance_squared(known, &vector) > same)
        {
            kept.push((row, vector));
        }
    }
    kept.into_iter().map(|(row, _)| row).collect()
}

/// How far the members lie from their sources towards the class, 0 to 1: hard records do.
fn part_of_the_way(members: &[Member], own_mean: &[f64]) -> f64 {
    let (mut along, mut length) = (0.0, 0.0);
    for member in members {
        for ((value, source), own) in member.vector.iter().zip(&member.source).zip(own_mean) {
            along += (value - source) * (own - source);
            length += (own - source).powi(2);
        }
    }
    if length > 0.0 {
        (along / length).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

fn sum<'a>(vectors: impl Iterator<Item = &'a Vec<f64>>) -> Vec<f64> {
    let mut total: Vec<f64> = Vec::new();
    for vector in vectors {
        total.resize(vector.len(), 0.0);
        for (sum, value) in total.iter_mut().zip(vector) {
            *sum += value;
        }
    }
    total
}

fn distance_squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

/// Wilcoxon's signed-rank test: the chance of so large a sum of the ranks of positive differences
/// when differences are symmetric around 0. Exact, by counting; at most [`MAX_TESTED`] differences.
fn signed_rank_p_value(differences: &[f64]) -> f64 {
    let mut order: Vec<f64> = differences
        .iter()
        .copied()
        .filter(|difference| *difference != 0.0 && !difference.is_nan())
        .collect();
    // Equal magnitudes of opposite sign: the negative one gets the higher rank, to be safe.
    order.sort_by(|a, b| a.abs().total_cmp(&b.abs()).then(b.total_cmp(a)));
    let n = order.len();
    let positive: usize = order
        .iter()
        .enumerate()
        .filter(|(_, difference)| **difference > 0.0)
        .map(|(idx, _)| idx + 1)
        .sum();
    // Chance of each rank sum.
    let mut chances = vec![0.0; n * (n + 1) / 2 + 1];
    chances[0] = 1.0;
    for rank in 1..=n {
        for total in (0..chances.len()).rev() {
            let with = total.checked_sub(rank).map_or(0.0, |less| chances[less]);
            chances[total] = 0.5 * (chances[total] + with);
        }
    }
    chances[positive..].iter().sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_ranks_give_the_numbers_of_scipy() {
        // scipy 1.17.1, scipy.stats.wilcoxon(d, alternative="greater").pvalue
        let small = [1.5, -0.4, 2.2, 3.1, -1.1, 0.7, 2.9, 4.0];
        assert!((signed_rank_p_value(&small) - 0.027_343_75).abs() < 1e-9);
        assert!((signed_rank_p_value(&[1.0, 2.0, 3.0, 4.0, 5.0]) - 0.031_25).abs() < 1e-12);
        let many: Vec<f64> = (1..=60)
            .map(|i| f64::from(i) * if i % 4 == 0 { -1.0 } else { 1.0 })
            .collect();
        assert!((signed_rank_p_value(&many) - 0.000_552_625).abs() < 1e-8);
        assert!((signed_rank_p_value(&[]) - 1.0).abs() < 1e-12);
        assert!((signed_rank_p_value(&[-1.0, -2.0]) - 1.0).abs() < 1e-12);
    }
}
