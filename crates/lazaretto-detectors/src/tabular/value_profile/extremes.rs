//! The outermost values of a column, counted exactly, and where a gap cuts some of them off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Distinct values kept at each end.
const KEPT: usize = 512;
/// Distinct values that a column needs inside a gap: in a column of few codes every code is "far".
const MIN_DISTINCT: usize = 10;
/// Gaps inside of the one in question that it is compared with, and how much wider it must be.
const INNER_GAPS: usize = 10;
const INNER_RATIO: f64 = 2.0;
/// Least width of a gap in units of the tail inside it: of one that makes a column suspicious, and
/// of further ones in a column that is.
const STRICT: f64 = 3.0;
const RELAXED: f64 = 2.0;
/// Least width of a gap as a share of the range inside it.
const MIN_OF_RANGE: f64 = 0.1;
/// Share of a column that makes up its tail.
const TAIL: f64 = 0.05;
/// A bulk this much longer above its median than below is measured in logarithms.
const SKEWED: f64 = 0.3;
/// Nested gaps at one end that are looked at.
const MAX_NESTED: usize = 6;
/// A tail is heavy when the mean excess of its outermost part is so many times that of the tail, in
/// a sample of at least so many values.
const FAR_TAIL: f64 = 0.01;
const HEAVY: f64 = 1.2;
const MIN_HEAVY: usize = 1_000;
/// Chance that is stated for values of the wrong sign, a rule without a distribution behind it.
const SIGN_P: f64 = 1e-3;

/// A number as an integer of the same order.
fn ordered(value: f64) -> u64 {
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    }
}

fn number(ordered: u64) -> f64 {
    f64::from_bits(if ordered >> 63 == 1 {
        ordered & !(1 << 63)
    } else {
        !ordered
    })
}

/// The lowest and the highest distinct values of a column with their counts, as mergeable state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Extremes {
    low: BTreeMap<u64, u64>,
    high: BTreeMap<u64, u64>,
    /// Finite values seen.
    count: u64,
}

impl Extremes {
    pub(super) fn insert(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.count += 1;
        let key = ordered(value);
        let full = self.low.len() >= KEPT;
        if !full || self.low.last_key_value().is_some_and(|last| key <= *last.0) {
            *self.low.entry(key).or_default() += 1;
            if self.low.len() > KEPT {
                self.low.pop_last();
            }
        }
        let full = self.high.len() >= KEPT;
        if !full
            || self
                .high
                .first_key_value()
                .is_some_and(|first| key >= *first.0)
        {
            *self.high.entry(key).or_default() += 1;
            if self.high.len() > KEPT {
                self.high.pop_first();
            }
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.count += later.count;
        for (key, count) in later.low {
            *self.low.entry(key).or_default() += count;
        }
        for (key, count) in later.high {
            *self.high.entry(key).or_default() += count;
        }
        while self.low.len() > KEPT {
            self.low.pop_last();
        }
        while self.high.len() > KEPT {
            self.high.pop_first();
        }
    }

    /// How many records have the one number of the column, if it has exactly one.
    pub(super) fn only_value(&self) -> Option<u64> {
        (self.low.len() == 1).then_some(self.count)
    }

    /// The outermost values of a side, outermost first.
    fn outermost(&self, side: Side) -> Vec<(f64, u64)> {
        let pair = |(&key, &count): (&u64, &u64)| (number(key), count);
        match side {
            Side::High => self.high.iter().rev().map(pair).collect(),
            Side::Low | Side::Negative => self.low.iter().map(pair).collect(),
        }
    }
}

/// How many of `n_values` are the tail.
fn n_tail(n_values: usize) -> usize {
    ((n_values as f64 * TAIL) as usize).max(4).min(n_values)
}

/// Whether the tail of sorted values is longer than that of an exponential, whose mean excess is the
/// same everywhere.
fn is_heavy(sorted: &[f64], side: Side) -> bool {
    let mean_excess = |share: f64| {
        let n_tail = (sorted.len() as f64 * share) as usize;
        let (tail, inner) = if side == Side::High {
            let tail = &sorted[sorted.len() - n_tail..];
            (tail, tail.first())
        } else {
            let tail = &sorted[..n_tail];
            (tail, tail.last())
        };
        let inner = inner.copied().unwrap_or(0.0);
        tail.iter().map(|x| (x - inner).abs()).sum::<f64>() / n_tail.max(1) as f64
    };
    sorted.len() >= MIN_HEAVY && mean_excess(FAR_TAIL) > HEAVY * mean_excess(TAIL)
}

/// Whether sorted values have enough different ones for a range.
fn has_many(sorted: &[f64]) -> bool {
    let runs = sorted.chunk_by(|a, b| a.total_cmp(b).is_eq());
    runs.take(MIN_DISTINCT).count() == MIN_DISTINCT
}

/// An end of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Values far below the others.
    Low,
    /// Values far above the others.
    High,
    /// Negative values in a column that has none.
    Negative,
}

/// Values beyond the range of their column.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) column: usize,
    pub(super) side: Side,
    /// The innermost of them.
    pub(super) bound: f64,
    /// The outermost of the other values.
    pub(super) inside: f64,
    /// The values with their counts, outermost first.
    pub(super) values: Vec<(f64, u64)>,
    pub(super) n_records: u64,
    /// Width of the gap in units of the tail inside it; 0 for a wrong sign.
    pub(super) gap: f64,
    /// Corrected for the columns and ends of the dataset.
    pub(super) p_value: f64,
}

impl Range {
    pub(super) fn contains(&self, value: f64) -> bool {
        match self.side {
            Side::High => value >= self.bound && value.is_finite(),
            Side::Low | Side::Negative => value <= self.bound && value.is_finite(),
        }
    }

    /// Whether nearly all of it is zeros, a usual way to write "missing".
    pub(super) fn is_zero(&self) -> bool {
        let zeros = self.values.iter().filter(|(value, _)| *value == 0.0);
        let zeros: u64 = zeros.map(|(_, count)| count).sum();
        5 * zeros >= 4 * self.n_records
    }

    /// Records per distinct value.
    pub(super) fn repetition(&self) -> f64 {
        self.n_records as f64 / self.values.len().max(1) as f64
    }
}

/// The ranges of foreign values of a column, nested ones at each end, the widest first. `sorted` is a sample of its values, `max_share` the
/// largest share of them, `n_tests` the number of columns.
pub(super) fn ranges(
    column: usize,
    extremes: &Extremes,
    sorted: &[f64],
    max_share: f64,
    n_tests: usize,
) -> Vec<Range> {
    let most = ((max_share * extremes.count as f64) as u64).max(1);
    let end = End {
        column,
        extremes,
        sorted,
        max_share,
        most,
        n_tests: 4.0 * n_tests.max(1) as f64,
    };
    let mut found: Vec<Range> = [Side::High, Side::Low]
        .into_iter()
        .flat_map(|side| end.cuts(side))
        .collect();
    let has_low = found
        .iter()
        .any(|range| range.side == Side::Low && range.inside >= 0.0);
    if !has_low {
        found.extend(end.negative());
    }
    found
}

struct End<'a> {
    column: usize,
    extremes: &'a Extremes,
    sorted: &'a [f64],
    max_share: f64,
    most: u64,
    n_tests: f64,
}

impl End<'_> {
    fn range(&self, side: Side, values: Vec<(f64, u64)>, inside: f64) -> Option<Range> {
        Some(Range {
            column: self.column,
            side,
            bound: values.last()?.0,
            inside,
            n_records: values.iter().map(|(_, count)| count).sum(),
            values,
            gap: 0.0,
            p_value: 1.0,
        })
    }

    /// The gaps at this end of the column beyond which values are foreign, the innermost first.
    fn cuts(&self, side: Side) -> Vec<Range> {
        let outer = self.extremes.outermost(side);
        let mut suspicious = false;
        let mut found = Vec::new();
        let mut beyond = 0;
        for at in 1..outer.len() {
            beyond += outer[at - 1].1;
            if beyond > self.most {
                break;
            }
            let Some((gap, p_value)) = self.gap(side, outer[at - 1].0, &outer[at..], beyond) else {
                continue;
            };
            suspicious |= gap >= STRICT;
            // Next to foreign values a natural one may stand alone.
            if gap < STRICT && outer[at - 1].1 < 2 {
                continue;
            }
            if suspicious && let Some(range) = self.range(side, outer[..at].to_vec(), outer[at].0) {
                found.push(Range {
                    gap,
                    p_value,
                    ..range
                });
            }
        }
        found.reverse();
        found.truncate(MAX_NESTED);
        found
    }

    /// Width of the gap between `value` and the outermost of `inner`, and its p-value, if it is wide
    /// enough on a scale that suits the column.
    fn gap(&self, side: Side, value: f64, inner: &[(f64, u64)], beyond: u64) -> Option<(f64, f64)> {
        let linear = self.gap_on(side, value, inner, |x| x);
        // A column that goes on below zero passes it at no logarithmic distance from anything.
        let crosses_zero = self
            .extremes
            .low
            .keys()
            .next()
            .is_some_and(|&k| number(k) <= 0.0);
        let crosses_zero = crosses_zero && side != Side::High;
        let positive = inner[0].0 > 0.0 && value > 0.0 && !crosses_zero;
        let logarithmic = || self.gap_on(side, value, inner, f64::ln);
        let gap = match side {
            // A long upper tail is judged on both scales, a short one as it is.
            Side::High if positive && self.is_skewed(inner[0].0) => linear?.min(logarithmic()?),
            Side::High => self.on_both_scales(side, value, inner, linear?)?,
            // Towards zero only the logarithm sees a gap; a column that reaches it has none.
            _ if positive => linear.into_iter().chain(logarithmic()).fold(0.0, f64::max),
            Side::Low | Side::Negative => self.on_both_scales(side, value, inner, linear?)?,
        };
        // Spacings of an exponential tail: the one with k records beyond it is Exp(k / scale). The
        // scale is a mean of m excesses, which makes their ratio F(2, 2m): among thousands of
        // columns of a few hundred records some have a scale that is much too small.
        let m = n_tail(self.bulk(side, inner[0].0).len())
            .saturating_sub(1)
            .max(1) as f64;
        let p_value = (-m * (gap * beyond as f64 / m).ln_1p()).exp() * self.n_tests;
        let p_value = p_value.min(1.0);
        (gap >= RELAXED).then_some((gap, p_value))
    }

    fn gap_on(
        &self,
        side: Side,
        value: f64,
        inner: &[(f64, u64)],
        scale: impl Fn(f64) -> f64,
    ) -> Option<f64> {
        let sign = if side == Side::High { 1.0 } else { -1.0 };
        let edge = inner[0].0;
        let place = |x: f64| sign * scale(x);
        let gap = place(value) - place(edge);
        let next = inner.windows(2).take(INNER_GAPS);
        let widest = next
            .map(|pair| place(pair[0].0) - place(pair[1].0))
            .filter(|gap| gap.is_finite())
            .fold(0.0, f64::max);
        let bulk = self.bulk(side, edge);
        // Zeros of a column of counts and amounts are no part of its shape.
        let defined: Vec<f64> = bulk
            .iter()
            .map(|&x| place(x))
            .filter(|x| x.is_finite())
            .collect();
        // The far end of the column may hold foreign values of its own.
        let n_far = (self.max_share * defined.len() as f64) as usize;
        let (near, far) = if side == Side::High {
            (*defined.last()?, *defined.get(n_far)?)
        } else {
            (
                *defined.first()?,
                *defined.get(defined.len().checked_sub(n_far + 1)?)?,
            )
        };
        let range = near - far;
        let n_tail = n_tail(defined.len());
        let tail: Vec<f64> = if side == Side::High {
            defined[defined.len() - n_tail..].to_vec()
        } else {
            defined[..n_tail].to_vec()
        };
        let threshold = tail.iter().copied().fold(f64::INFINITY, f64::min);
        let excess = tail.iter().map(|x| x - threshold).sum::<f64>() / tail.len() as f64;
        let spread = if excess > 0.0 { excess } else { range / 20.0 };
        let wide = gap.is_finite()
            && range > 0.0
            && gap >= INNER_RATIO * widest
            && gap >= MIN_OF_RANGE * range;
        wide.then(|| gap / spread)
    }

    /// A gap on a linear scale, or where the tail is heavy the same in logarithms of the distance
    /// from the median if that is smaller: wide gaps are natural among prices and returns.
    fn on_both_scales(
        &self,
        side: Side,
        value: f64,
        inner: &[(f64, u64)],
        linear: f64,
    ) -> Option<f64> {
        let bulk = self.bulk(side, inner[0].0);
        if !is_heavy(bulk, side) {
            return Some(linear);
        }
        let middle = *bulk.get(bulk.len() / 2)?;
        let logarithmic = match side {
            Side::High => self.gap_on(side, value, inner, |x| (x - middle).ln()),
            _ => self.gap_on(side, value, inner, |x| -(middle - x).ln()),
        };
        Some(linear.min(logarithmic?))
    }

    /// The sampled values that lie inside of a gap, ascending; empty when they are too few to have a
    /// range.
    fn bulk(&self, side: Side, edge: f64) -> &[f64] {
        let bulk = if side == Side::High {
            &self.sorted[..self.sorted.partition_point(|&x| x <= edge)]
        } else {
            &self.sorted[self.sorted.partition_point(|&x| x < edge)..]
        };
        if has_many(bulk) { bulk } else { &[] }
    }

    /// Whether the values up to `edge` reach further up than down from their middle. In a column of
    /// mostly zeros the others are looked at.
    fn is_skewed(&self, edge: f64) -> bool {
        let mut bulk = self.bulk(Side::High, edge);
        let zeros = bulk.partition_point(|&x| x <= 0.0);
        if 2 * zeros > bulk.len() {
            bulk = &bulk[zeros..];
        }
        let at = |share: f64| bulk[((bulk.len() - 1) as f64 * share) as usize];
        if bulk.is_empty() {
            return false;
        }
        let (low, middle, high) = (at(0.05), at(0.5), at(0.95));
        low >= 0.0 && low + high - 2.0 * middle > SKEWED * (high - low)
    }

    /// Negative values of a column that is not negative otherwise.
    fn negative(&self) -> Option<Range> {
        let outer = self.extremes.outermost(Side::Negative);
        let n_negative = outer.partition_point(|(value, _)| *value < 0.0);
        // All distinct negative values must be known, and the others must be most.
        if n_negative == 0 || n_negative == outer.len() {
            return None;
        }
        let values = outer[..n_negative].to_vec();
        let range = self.range(Side::Negative, values, outer[n_negative].0)?;
        let positive = &self.sorted[self.sorted.partition_point(|&x| x <= 0.0)..];
        if !has_many(positive) || range.n_records > self.most {
            return None;
        }
        let usual = positive[positive.len() / 2];
        let mut seen = 0;
        let median = range.values.iter().find(|(_, count)| {
            seen += count;
            2 * seen >= range.n_records
        });
        let median = -median?.0;
        // Noise around zero has small negative values; a wrong sign has all sizes. And the lower end
        // of a bell two or three standard deviations above zero goes on below it: had the values
        // the (exponential) tail of the positive ones, half of them would hardly lie so far out.
        let tail = &positive[..n_tail(positive.len())];
        let threshold = tail[tail.len() - 1];
        let mean = |of: &dyn Fn(f64) -> f64| {
            let sum = tail.iter().map(|&x| of(x)).sum::<f64>();
            (sum / tail.len() as f64).max(f64::MIN_POSITIVE)
        };
        let linear = median / mean(&|x| threshold - x);
        let from_middle = |x: f64| usual - x;
        let logarithmic = if threshold < usual {
            let excess = mean(&|x| (from_middle(x) / from_middle(threshold)).ln());
            (from_middle(-median) / usual).ln() / excess
        } else {
            linear
        };
        let n_records = range.n_records as f64;
        let log_p = n_records * (std::f64::consts::LN_2 - 0.5 * linear.min(logarithmic));
        let foreign = log_p + self.n_tests.ln() <= SIGN_P.ln();
        let large = median >= 0.1 * usual && -range.bound >= 0.02 * usual;
        (large && foreign).then_some(Range {
            p_value: SIGN_P,
            ..range
        })
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_testkit::seed::{normal, stream};

    use super::*;

    fn ranges_of(values: &[f64]) -> Vec<Range> {
        let mut extremes = Extremes::default();
        for &value in values {
            extremes.insert(value);
        }
        let mut sorted: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        ranges(0, &extremes, &sorted, 0.02, 1)
    }

    /// Ages from 17 to 90, fewer of the old.
    fn ages() -> Vec<f64> {
        (0..3000_u32)
            .map(|i| 17.0 + f64::from(i % 74) * f64::from(i % 7 + 1) / 7.0)
            .map(f64::floor)
            .collect()
    }

    #[test]
    fn order_is_kept_both_ways() {
        let values = [f64::MIN, -2.5, -0.0, 1e-300, 3.0, f64::MAX];
        let keys: Vec<u64> = values.iter().map(|&value| ordered(value)).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        let back = values.map(|value| number(ordered(value)) - value);
        assert!(back.iter().all(|difference| *difference == 0.0));
    }

    #[test]
    fn values_beyond_a_gap_are_cut_off_at_both_ends() {
        assert!(ranges_of(&ages()).is_empty());
        let mut values = ages();
        values.extend([999.0; 7]);
        values.extend([150.0; 5]);
        values.extend([-1.0; 6]);
        let found = ranges_of(&values);
        assert_eq!((found[0].side, found[0].n_records), (Side::High, 12));
        assert_eq!((found[0].bound, found[0].inside), (150.0, 90.0));
        assert!(found[0].p_value < 1e-9);
        assert_eq!(
            (found[1].side, found[1].n_records),
            (Side::High, 7),
            "nested"
        );
        let low = found.last().unwrap();
        assert_eq!((low.side, low.n_records), (Side::Low, 6));
        assert!(low.contains(-1.0) && !low.contains(17.0));
    }

    #[test]
    fn long_tails_and_codes_have_no_foreign_values() {
        // Pareto with shape 1.2, exponential, log-normal, and rare codes.
        let uniform: Vec<f64> = (1..4000).map(|i| f64::from(i) / 4000.0).collect();
        let shapes: [fn(f64) -> f64; 4] = [
            |u| (1.0 - u).powf(-1.0 / 1.2),
            |u| -(1.0 - u).ln(),
            |u| (3.0 * (u / (1.0 - u)).ln()).exp(),
            |u| if u > 0.99 { 9.0 } else { (u * 4.0).floor() },
        ];
        for (idx, shape) in shapes.iter().enumerate() {
            let values: Vec<f64> = uniform.iter().map(|&u| shape(u)).collect();
            assert!(ranges_of(&values).is_empty(), "shape {idx}");
        }
    }

    /// Draws of a standard normal distribution.
    fn normals(seed: u64, n: usize) -> Vec<f64> {
        let mut rng = stream(seed, "extremes");
        (0..n).map(|_| normal(&mut rng)).collect()
    }

    /// Ranges that could hold records back.
    fn grave(values: &[f64]) -> usize {
        let found = ranges_of(values).into_iter();
        found
            .filter(|range| range.p_value <= 1e-3 && range.n_records >= 5)
            .count()
    }

    #[test]
    fn tails_that_go_on_below_zero_have_no_foreign_values() {
        let mut n_grave = 0;
        for seed in 0..60 {
            let bell = normals(seed, 2000);
            for mean in [2.0, 2.3, 2.6, 3.0] {
                let moved: Vec<f64> = bell.iter().map(|x| x + mean).collect();
                n_grave += grave(&moved);
            }
        }
        assert!(n_grave <= 1, "{n_grave} of 240 columns");
    }

    #[test]
    fn heavy_tails_on_both_sides_have_no_foreign_values() {
        let mut n_grave = 0;
        for seed in 0..60 {
            // Student's t with three degrees of freedom, about 0 and about 5.
            let parts: Vec<Vec<f64>> = (0..4).map(|i| normals(4 * seed + i, 2000)).collect();
            let t = |row: usize| {
                let squares = parts[1][row].powi(2) + parts[2][row].powi(2) + parts[3][row].powi(2);
                parts[0][row] / (squares / 3.0).sqrt()
            };
            for mean in [0.0, 5.0] {
                let values: Vec<f64> = (0..2000).map(|row| mean + t(row)).collect();
                n_grave += grave(&values);
            }
        }
        // Without the logarithms 21.
        assert!(n_grave <= 4, "{n_grave} of 120 columns");
        // What is written far beyond such a tail still shows.
        let mut values: Vec<f64> = normals(9, 2000).iter().map(|x| x.powi(3)).collect();
        assert_eq!(grave(&values), 0);
        values.extend([-9999.0; 8]);
        assert!(grave(&values) >= 1);
    }

    #[test]
    fn a_wrong_sign_is_foreign_where_there_is_no_sign() {
        let mut amounts: Vec<f64> = (1..4000_u32).map(|i| f64::from(i % 900) * 10.0).collect();
        assert!(ranges_of(&amounts).is_empty());
        amounts.extend([-5000.0; 9]);
        let found = ranges_of(&amounts);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].bound, found[0].n_records), (-5000.0, 9));
        let noisy: Vec<f64> = (0..4000_u32).map(|i| f64::from(i) - 40.0).collect();
        assert!(ranges_of(&noisy).is_empty());
    }

    #[test]
    fn parts_merge_to_the_whole() {
        let values: Vec<f64> = (0..5000_u32).map(|i| f64::from(i * 7919 % 3001)).collect();
        let of = |values: &[f64]| {
            let mut extremes = Extremes::default();
            for &value in values {
                extremes.insert(value);
            }
            extremes
        };
        let mut merged = of(&values[..1700]);
        merged.merge(of(&values[1700..]));
        assert_eq!(merged, of(&values));
    }
}
