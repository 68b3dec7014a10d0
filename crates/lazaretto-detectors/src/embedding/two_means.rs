//! Splitting one class in two, and testing on records that the split has not seen whether there
//! is anything between the halves.

use ndarray::Array2;
use statrs::distribution::{Binomial, DiscreteCDF as _};

use crate::embedding::spectrum::{Centred, dot};

/// Each Lloyd iteration starts from one end of a direction: this part of the records.
const END: usize = 20;
/// Iterations of Lloyd's algorithm; it ends by itself in about ten.
const MAX_ROUNDS: usize = 40;
/// Where the two clusters would meet, and where the smaller one is, along the line from the
/// larger centre (0) to the smaller one (1). Equally wide, so that counts compare as densities.
const VALLEY: std::ops::Range<f64> = 0.35..0.65;
const SUMMIT: std::ops::Range<f64> = 0.85..1.15;
/// Counts below this say little about a rate.
const FEW: u64 = 5;

/// The line through the centres of the two clusters of a class.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Projection onto it, minus `origin`, is 0 at the centre of the larger cluster and 1 at that
    /// of the smaller one.
    direction: Vec<f64>,
    origin: f64,
}

impl Line {
    /// Position of a vector along the line.
    pub(crate) fn position(&self, vector: &[f32]) -> f64 {
        dot(vector, &self.direction) - self.origin
    }

    /// 2-means of `vectors` in their `components` largest principal components, started from both
    /// ends of each. Of the local optima whose smaller cluster holds at most `max_share` it is the
    /// one with the deepest valley; where there is none, the one with the smallest cluster. `None`
    /// when the vectors do not vary.
    pub(crate) fn fit(
        vectors: &Array2<f32>,
        components: usize,
        max_share: f64,
    ) -> Option<(Self, f64)> {
        let centred = Centred::new(vectors)?;
        let basis = centred.top_directions(components);
        let means: Vec<f64> = basis
            .iter()
            .map(|axis| inner(&centred.mean, axis))
            .collect();
        let rows = vectors.rows();
        let reduced: Vec<Vec<f64>> = rows
            .into_iter()
            .filter_map(|row| {
                let row = row.to_slice()?;
                let along = basis
                    .iter()
                    .zip(&means)
                    .map(|(axis, mean)| dot(row, axis) - mean);
                Some(along.collect())
            })
            .collect();
        let mut best: Option<(Rank, Split)> = None;
        for axis in 0..basis.len() {
            for sign in [1.0, -1.0] {
                let Some(split) = Split::from_end(&reduced, axis, sign) else {
                    continue;
                };
                let rank = split.rank(&reduced, max_share);
                if best.as_ref().is_none_or(|(known, _)| rank.exceeds(known)) {
                    best = Some((rank, split));
                }
            }
        }
        let (_, split) = best?;
        let mut line = Self {
            direction: vec![0.0; vectors.ncols()],
            origin: 0.0,
        };
        let (small_centre, squared) = split.towards_smaller();
        for (((axis, mean), along), large) in
            basis.iter().zip(&means).zip(small_centre).zip(&split.large)
        {
            let amount = along / squared;
            line.origin += amount * (mean + large);
            for (sum, part) in line.direction.iter_mut().zip(axis) {
                *sum += amount * part;
            }
        }
        Some((line, split.share))
    }
}

/// How good a local optimum is.
#[derive(Clone, Copy, Debug)]
struct Rank {
    small_enough: bool,
    value: f64,
}

impl Rank {
    fn exceeds(&self, other: &Self) -> bool {
        if self.small_enough == other.small_enough {
            // Optima reached from several ends differ by rounding: the first stays.
            self.value > other.value + 1e-9
        } else {
            self.small_enough
        }
    }
}

/// A local optimum of 2-means in the reduced space.
#[derive(Debug)]
struct Split {
    large: Vec<f64>,
    small: Vec<f64>,
    /// Part of the records in the smaller cluster.
    share: f64,
}

impl Split {
    /// Lloyd's algorithm, started with the records at one end of a component against the rest.
    /// `None` when one cluster ends up empty.
    fn from_end(rows: &[Vec<f64>], axis: usize, sign: f64) -> Option<Self> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|&a, &b| (sign * rows[b][axis]).total_cmp(&(sign * rows[a][axis])));
        let mut in_second = vec![false; rows.len()];
        for &row in order.iter().take((rows.len() / END).max(2)) {
            in_second[row] = true;
        }
        for _ in 0..MAX_ROUNDS {
            let [first, second] = centres(rows, &in_second)?;
            let mut changed = false;
            for (row, in_second) in rows.iter().zip(&mut in_second) {
                let nearer_second = distance(row, &second) < distance(row, &first);
                changed |= nearer_second != *in_second;
                *in_second = nearer_second;
            }
            if !changed {
                break;
            }
        }
        let [first, second] = centres(rows, &in_second)?;
        let share = in_second.iter().filter(|&&second| second).count() as f64 / rows.len() as f64;
        let (large, small, share) = if share <= 0.5 {
            (first, second, share)
        } else {
            (second, first, 1.0 - share)
        };
        (distance(&large, &small) > 0.0).then_some(Self {
            large,
            small,
            share,
        })
    }

    /// From the larger to the smaller centre, and the square of its length.
    fn towards_smaller(&self) -> (Vec<f64>, f64) {
        let pairs = self.small.iter().zip(&self.large);
        let along = pairs.map(|(small, large)| small - large).collect();
        (along, distance(&self.small, &self.large))
    }

    fn rank(&self, rows: &[Vec<f64>], max_share: f64) -> Rank {
        let small_enough = self.share <= max_share;
        let (along, squared) = self.towards_smaller();
        let origin = inner(&self.large, &along);
        let positions = rows
            .iter()
            .map(|row| (inner(row, &along) - origin) / squared);
        let value = if small_enough {
            Valley::of(positions.collect()).depth()
        } else {
            -self.share
        };
        Rank {
            small_enough,
            value,
        }
    }
}

/// How many records lie between the two clusters of a class, and how many at the smaller one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Valley {
    valley: u64,
    summit: u64,
}

impl Valley {
    /// Counts of positions along a line. Copies of a record count once: they are no mode.
    pub(crate) fn of(mut positions: Vec<f64>) -> Self {
        positions.sort_unstable_by(f64::total_cmp);
        positions.dedup();
        let within = |zone: std::ops::Range<f64>| {
            positions.iter().filter(|at| zone.contains(at)).count() as u64
        };
        Self {
            valley: within(VALLEY),
            summit: within(SUMMIT),
        }
    }

    /// Both counts together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            valley: self.valley + other.valley,
            summit: self.summit + other.summit,
        }
    }

    /// Share of the records at the smaller cluster among these and those in the valley, drawn
    /// towards one half where there are few.
    pub(crate) fn rate(self) -> f64 {
        (self.summit + FEW) as f64 / (self.summit + self.valley + 2 * FEW) as f64
    }

    /// How empty the valley is, in `0..1`: 0 without any, near 1 for a gap.
    pub(crate) fn depth(self) -> f64 {
        2.0 * self.rate() - 1.0
    }

    /// Chance of so many records at the smaller cluster when they are at most the part `rate` of
    /// both. At one half that is every distribution that has one mode, in the larger cluster, be
    /// its tails as heavy as they may.
    pub(crate) fn p_value(self, rate: f64) -> f64 {
        match (self.summit, Binomial::new(rate, self.summit + self.valley)) {
            (1.., Ok(chance)) => chance.sf(self.summit - 1),
            _ => 1.0,
        }
    }
}

fn centres(rows: &[Vec<f64>], in_second: &[bool]) -> Option<[Vec<f64>; 2]> {
    let dim = rows.first()?.len();
    let mut sums = [vec![0.0; dim], vec![0.0; dim]];
    let mut counts = [0_u32; 2];
    for (row, &second) in rows.iter().zip(in_second) {
        let side = usize::from(second);
        counts[side] += 1;
        for (sum, value) in sums[side].iter_mut().zip(row) {
            *sum += value;
        }
    }
    if counts.contains(&0) {
        return None;
    }
    for (sum, count) in sums.iter_mut().zip(counts) {
        for sum in sum.iter_mut() {
            *sum /= f64::from(count);
        }
    }
    Some(sums)
}

fn inner(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

/// Squared distance.
pub(crate) fn distance(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_runs_from_the_larger_to_the_smaller_cluster() {
        let vectors = Array2::from_shape_fn((200, 30), |(row, column)| {
            let wobble = ((row * 31 + column * 17) % 13) as f32 * 0.05;
            wobble + if row % 10 == 0 { 4.0 } else { -1.0 }
        });
        let (line, share) = Line::fit(&vectors, 10, 0.35).unwrap();
        assert!((share - 0.1).abs() < 1e-9);
        for (row, vector) in vectors.rows().into_iter().enumerate() {
            let expected = if row % 10 == 0 { 1.0 } else { 0.0 };
            let position = line.position(vector.to_slice().unwrap());
            assert!((position - expected).abs() < 0.2, "{row}: {position}");
        }
        assert!(Line::fit(&Array2::ones((50, 4)), 10, 0.35).is_none());
    }

    #[test]
    fn a_slope_has_no_valley_and_copies_make_no_summit() {
        let slope: Vec<f64> = (0..200).map(|i| (f64::from(i) / 100.0).powi(2)).collect();
        assert!(Valley::of(slope).p_value(0.5) > 0.5);
        let copies = Valley::of(vec![1.0; 50]);
        assert!(copies.p_value(0.5) > 0.4 && copies.depth() < 0.4);
        let summit = Valley::of((0..20).map(|i| 1.0 + f64::from(i) / 1e3).collect());
        // 2^-20, from the definition.
        assert!((summit.p_value(0.5) * 2_f64.powi(20) - 1.0).abs() < 1e-6);
        assert!((Valley::default().p_value(0.5) - 1.0).abs() < 1e-12);
    }
}
