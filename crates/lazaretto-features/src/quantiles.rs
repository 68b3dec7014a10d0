//! A mergeable summary of the distribution of one numeric column.
//!
//! The summary is an empirical distribution function kept as *knots*: values with the number of
//! records below and up to them. Between two knots the function is taken as linear; at a knot it
//! may jump, so ties are represented as ties: with 92 % zeros, `P(X < 0)` and `P(X ≤ 0)` differ
//! by 0.92. Up to `capacity` distinct values it is exact. Beyond that, knots are dropped where the
//! distance between the remaining ones stays small on the `k1` scale of the t-digest
//! (Dunning, *Computing extremely accurate quantiles using t-digests*, 2019), which is finest at
//! the two ends: the extreme values always stay, and the tails stay exact.
//!
//! Two summaries merge by adding their distribution functions. Counts merge exactly; ranks too as
//! long as nothing was dropped. Merging in partition order gives the same bytes each time.

use std::f64::consts::{FRAC_PI_2, PI};

use serde::{Deserialize, Serialize};

use crate::guide::Guide;
use crate::moments::Moments;

/// A value with its place in the distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Knot {
    value: f64,
    /// Number of records below `value`; fractional where it was interpolated.
    below: f64,
    /// Number of records up to and including `value`.
    upto: f64,
}

/// Mergeable weighted summary of `f64` values: distribution function, quantiles and moments.
///
/// NaN is counted apart and takes part in nothing. Infinities are ordinary (extreme) values for
/// ranks and quantiles, but not for the moments.
///
/// ```
/// use lazaretto_features::QuantileSketch;
///
/// let mut sketch = QuantileSketch::new(4096);
/// sketch.insert_column(&[0.0, 0.0, 0.0, 5.0, f64::NAN]);
/// assert_eq!((sketch.count(), sketch.nan_count()), (4, 1));
/// assert_eq!(sketch.cdf(0.0), 0.75);
/// assert_eq!(sketch.cdf_left(0.0), 0.0);
/// assert_eq!(sketch.quantile(0.5), 0.0);
/// assert_eq!(sketch.max(), 5.0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantileSketch {
    capacity: usize,
    knots: Vec<Knot>,
    count: u64,
    nan_count: u64,
    moments: Moments,
}

impl Default for QuantileSketch {
    fn default() -> Self {
        Self::new(Self::DEFAULT_CAPACITY)
    }
}

impl QuantileSketch {
    /// Knots that are kept unless told otherwise: about 0.3 % error of rank in the middle at worst.
    pub const DEFAULT_CAPACITY: usize = 4096;

    /// An empty summary of at most `capacity` knots (at least 16), 24 bytes each.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(16),
            knots: Vec::new(),
            count: 0,
            nan_count: 0,
            moments: Moments::default(),
        }
    }

    /// Adds the values of a column of a batch. The first ones are sorted; once there are knots,
    /// the others are counted between them, which takes a few nanoseconds per value. Batches of
    /// many thousand values are best.
    pub fn insert_column(&mut self, values: &[f64]) {
        let n_nan = values.iter().filter(|value| value.is_nan()).count();
        self.nan_count += n_nan as u64;
        self.count += (values.len() - n_nan) as u64;
        self.moments.merge(&Moments::of(values));
        let first = if self.knots.is_empty() {
            values.len().min(self.capacity * 4)
        } else if values.len() < self.knots.len() * 2 {
            values.len()
        } else {
            0
        };
        let (first, rest) = values.split_at(first);
        if !first.is_empty() {
            self.absorb(&knots_of(&sorted_keys(first.iter().copied())));
        }
        if !rest.is_empty() {
            let knots = if self.knots.is_empty() {
                knots_of(&sorted_keys(rest.iter().copied()))
            } else {
                counted(&self.knots, rest, self.delta())
            };
            self.absorb(&knots);
        }
    }

    /// Adds everything `later` has seen.
    pub fn merge(&mut self, later: &Self) {
        self.count += later.count;
        self.nan_count += later.nan_count;
        self.moments.merge(&later.moments);
        self.absorb(&later.knots);
    }

    /// The scale to compress by: half the capacity, so that the next batches do not compress again
    /// at once.
    fn delta(&self) -> f64 {
        self.capacity as f64 / 2.0
    }

    fn absorb(&mut self, other: &[Knot]) {
        if self.knots.is_empty() {
            self.knots = other.to_vec();
        } else {
            self.knots = sum(&self.knots, other);
        }
        if self.knots.len() > self.capacity {
            let delta = self.delta();
            compress(&mut self.knots, delta);
        }
        self.knots.shrink_to_fit();
    }

    /// Number of values seen, without NaN.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Number of NaN seen.
    #[must_use]
    pub fn nan_count(&self) -> u64 {
        self.nan_count
    }

    /// Whether no value was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Number of knots kept; the number of distinct values while the summary is exact.
    #[must_use]
    pub fn knots(&self) -> usize {
        self.knots.len()
    }

    /// Smallest value; NaN when empty.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.knots.first().map_or(f64::NAN, |knot| knot.value)
    }

    /// Largest value; NaN when empty.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.knots.last().map_or(f64::NAN, |knot| knot.value)
    }

    /// Count, mean and higher moments of the finite values.
    #[must_use]
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// `(x, P(X < x), P(X ≤ x))` at each knot, ascending; linear in between. For callers that
    /// compile the distribution into a table of their own.
    pub fn steps(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let n = self.count as f64;
        let knots = self.knots.iter();
        knots.map(move |knot| (knot.value, knot.below / n, knot.upto / n))
    }

    /// `(P(X < x), P(X ≤ x))` with one search; NaN for NaN or when empty.
    #[must_use]
    pub fn cdf_both(&self, x: f64) -> (f64, f64) {
        if x.is_nan() || self.is_empty() {
            return (f64::NAN, f64::NAN);
        }
        let (below, upto) = ranks(&self.knots, x);
        let n = self.count as f64;
        (below / n, upto / n)
    }

    /// `P(X ≤ x)`; NaN for NaN or when empty.
    #[must_use]
    pub fn cdf(&self, x: f64) -> f64 {
        self.cdf_both(x).1
    }

    /// `P(X < x)`; NaN for NaN or when empty.
    #[must_use]
    pub fn cdf_left(&self, x: f64) -> f64 {
        self.cdf_both(x).0
    }

    /// The smallest `x` with `P(X ≤ x) ≥ q`; NaN when empty or for a `q` that is NaN.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        let Some(first) = self.knots.first() else {
            return f64::NAN;
        };
        if q.is_nan() {
            return f64::NAN;
        }
        let target = q * self.count as f64;
        let idx = self.knots.partition_point(|knot| knot.upto < target);
        if idx == 0 {
            return first.value;
        }
        let (left, Some(right)) = (self.knots[idx - 1], self.knots.get(idx)) else {
            return self.max();
        };
        let gap = right.below - left.upto;
        if target >= right.below || gap <= 0.0 {
            return right.value;
        }
        let share = (target - left.upto) / gap;
        let value = left.value * (1.0 - share) + right.value * share;
        // Infinite ends have no point between them.
        if value.is_nan() { right.value } else { value }
    }
}

/// Maps `f64` to `u64` so that the order of values is the order of integers; −0 becomes 0.
fn order_key(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

fn value_of(key: u64) -> f64 {
    f64::from_bits(if key >> 63 == 1 {
        key & !(1 << 63)
    } else {
        !key
    })
}

/// The keys of all values but NaN, ascending.
fn sorted_keys(values: impl Iterator<Item = f64>) -> Vec<u64> {
    let mut keys: Vec<u64> = values
        .filter(|value| !value.is_nan())
        .map(order_key)
        .collect();
    keys.sort_unstable();
    keys
}

/// The distribution function of `values`, exact at each of `knots` and at both ends. Where a gap
/// between two knots is or becomes too wide, the values in it are kept as knots too; in an exact
/// summary every gap is.
fn counted(knots: &[Knot], values: &[f64], delta: f64) -> Vec<Knot> {
    const NOWHERE: u32 = u32::MAX;
    let points: Vec<f64> = knots.iter().map(|knot| knot.value).collect();
    let guide = Guide::new(&points);
    let mut at = vec![0_u32; knots.len()];
    let mut gaps = vec![0_u32; knots.len() + 1];
    let mut gap_of = Vec::with_capacity(values.len());
    for &value in values {
        let idx = guide.n_below(&points, value);
        #[expect(clippy::float_cmp, reason = "a tie is an equal value, not a close one")]
        let is_tie = idx < points.len() && points[idx] == value;
        if is_tie {
            at[idx] += 1;
            gap_of.push(NOWHERE);
        } else if value.is_nan() {
            gap_of.push(NOWHERE);
        } else {
            gaps[idx] += 1;
            gap_of.push(idx as u32);
        }
    }
    let opened = gaps_to_open(knots, &gaps, values.len(), delta);
    let inside = gap_of.iter().zip(values).filter(|(gap, _)| {
        let opened = opened.get(**gap as usize);
        opened.copied().unwrap_or(false)
    });
    let keys = sorted_keys(inside.map(|(_, &value)| value));
    let mut inside = knots_of(&keys).into_iter().peekable();

    let mut counted = Vec::with_capacity(knots.len() + inside.len());
    let mut below = 0.0;
    for (idx, &n_in_gap) in gaps.iter().enumerate() {
        if opened[idx] {
            let end = points.get(idx).copied().unwrap_or(f64::INFINITY);
            let is_last = idx == points.len();
            while let Some(knot) = inside.next_if(|knot| is_last || knot.value < end) {
                let upto = below + (knot.upto - knot.below);
                counted.push(Knot {
                    value: knot.value,
                    below,
                    upto,
                });
                below = upto;
            }
        } else {
            below += f64::from(n_in_gap);
        }
        if let Some((&value, &n_at)) = points.get(idx).zip(at.get(idx)) {
            let upto = below + f64::from(n_at);
            counted.push(Knot { value, below, upto });
            below = upto;
        }
    }
    counted
}

/// Whether the values that fall into each gap must be kept: beyond both ends, in gaps between
/// neighbours that nothing was ever dropped from, and where more than two units of the scale would
/// lie in one gap.
fn gaps_to_open(knots: &[Knot], gaps: &[u32], n_values: usize, delta: f64) -> Vec<bool> {
    let is_exact = knots.windows(2).all(|pair| pair[1].below <= pair[0].upto);
    let n = knots.last().map_or(0.0, |knot| knot.upto);
    let n_after = n + n_values as f64;
    (0..gaps.len())
        .map(|idx| {
            let left = idx.checked_sub(1).map(|left| knots[left]);
            let (Some(left), Some(right), false) = (left, knots.get(idx), is_exact) else {
                return true;
            };
            let mass = right.below - left.upto + f64::from(gaps[idx]);
            // The unit of `compress` at the finer side of the gap: by the scale's derivative, and
            // by its curvature at the ends.
            let step = 2.0 * PI / delta;
            let spread = |rank: f64| (rank / n).clamp(0.0, 1.0) * (1.0 - rank / n).clamp(0.0, 1.0);
            let finest = spread(left.upto).min(spread(right.below));
            let unit = step * finest.sqrt() + step * step / 4.0;
            mass > 2.0 * unit * n_after
        })
        .collect()
}

/// The exact distribution function of sorted values.
fn knots_of(keys: &[u64]) -> Vec<Knot> {
    let mut knots = Vec::new();
    let mut below = 0.0;
    for run in keys.chunk_by(|a, b| a == b) {
        let upto = below + run.len() as f64;
        knots.push(Knot {
            value: value_of(run[0]),
            below,
            upto,
        });
        below = upto;
    }
    knots
}

/// Ranks `(below, upto)` of `x`, interpolated between knots.
fn ranks(knots: &[Knot], x: f64) -> (f64, f64) {
    let idx = knots.partition_point(|knot| knot.value < x);
    ranks_at(knots, idx, x)
}

/// [`ranks`] where `idx` is the first knot with a value of at least `x`.
#[expect(clippy::float_cmp, reason = "a tie is an equal value, not a close one")]
fn ranks_at(knots: &[Knot], idx: usize, x: f64) -> (f64, f64) {
    match (idx.checked_sub(1).map(|i| knots[i]), knots.get(idx)) {
        (_, Some(knot)) if knot.value == x => (knot.below, knot.upto),
        (Some(left), Some(right)) => {
            // Halves, because the difference of two finite values can be infinite.
            let share = (x / 2.0 - left.value / 2.0) / (right.value / 2.0 - left.value / 2.0);
            let share = if share.is_nan() { 0.5 } else { share };
            let rank = left.upto + (right.below - left.upto) * share;
            (rank, rank)
        }
        (Some(last), None) => (last.upto, last.upto),
        (None, _) => (0.0, 0.0),
    }
}

/// The sum of two distribution functions, with the knots of both.
fn sum(left: &[Knot], right: &[Knot]) -> Vec<Knot> {
    let mut knots = Vec::with_capacity(left.len() + right.len());
    let (mut i, mut j) = (0, 0);
    while i < left.len() || j < right.len() {
        let value = match (left.get(i), right.get(j)) {
            (Some(a), Some(b)) => a.value.min(b.value),
            (Some(knot), None) | (None, Some(knot)) => knot.value,
            (None, None) => break,
        };
        let (a, b) = (ranks_at(left, i, value), ranks_at(right, j, value));
        knots.push(Knot {
            value,
            below: a.0 + b.0,
            upto: a.1 + b.1,
        });
        i += usize::from(left.get(i).is_some_and(|knot| knot.value <= value));
        j += usize::from(right.get(j).is_some_and(|knot| knot.value <= value));
    }
    knots
}

/// Drops knots so that each gap between two kept neighbours spans at most one unit of the `k1`
/// scale with `delta` / 2 units, hence at most `delta` + 2 knots stay.
fn compress(knots: &mut Vec<Knot>, delta: f64) {
    let n = knots.last().map_or(1.0, |knot| knot.upto);
    // The rank one unit of the scale beyond `rank`.
    let reach = |rank: f64| {
        let angle = (2.0 * rank / n - 1.0).clamp(-1.0, 1.0).asin() + 2.0 * PI / delta;
        if angle < FRAC_PI_2 {
            n * f64::midpoint(angle.sin(), 1.0)
        } else {
            n
        }
    };
    let last = knots.len().saturating_sub(1);
    let mut limit = f64::NEG_INFINITY;
    let mut kept = Vec::new();
    for (idx, &knot) in knots.iter().enumerate() {
        if idx == last || knots[idx + 1].below > limit {
            kept.push(knot);
            limit = reach(knot.upto);
        }
    }
    *knots = kept;
}
