//! One column's tail probabilities, compiled for fast lookup.

use lazaretto_features::QuantileSketch;

use crate::tabular::column_scores::ColumnScore;

/// Cells of the guide per point: with two, most cells hold one point or none.
const CELLS_PER_POINT: usize = 2;

/// Skewness closer to 0 than this is rounding: a sum in another order may give it another sign.
const NO_SKEWNESS: f64 = 1e-9;

/// How the two tail areas of a value become its surprise. With `l = −ln P(X ≤ x)` and
/// `r = −ln P(X ≥ x)`:
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tails {
    /// `max(l, r)`, as in `PyOD`'s ECOD: the tail that the skewness selects is one of the two.
    Larger,
    /// `max(s, (l + r) / 2)` as in COPOD, where `s` is `l` in a column that is skewed to the
    /// left, `r` in one that is skewed to the right.
    Skewed,
}

impl Tails {
    /// The surprise of a value with tails `left` and `right` in a column with this skewness.
    /// Without any skewness it is the sum of both tails.
    fn surprise(self, skewness: f64, left: f64, right: f64) -> f64 {
        if skewness.abs() < NO_SKEWNESS {
            return left + right;
        }
        match self {
            Self::Larger => left.max(right),
            Self::Skewed => {
                let selected = if skewness < 0.0 { left } else { right };
                selected.max(f64::midpoint(left, right))
            }
        }
    }
}

/// How suspicious each value of one column is, by the areas of the tails beyond it.
#[derive(Debug)]
pub struct TailTable {
    /// Distinct points, ascending.
    points: Vec<f64>,
    guide: Guide,
    /// One per point.
    steps: Vec<Step>,
    /// Values below and above the range of the points.
    outside: [f32; 2],
    /// Value of a missing number: the mean over the column, so that it counts as ordinary.
    missing: f32,
}

/// Values at a point and in the gap before it.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// At the point itself.
    at: f32,
    /// Just after the point before.
    gap_start: f32,
    /// Just before this point.
    gap_end: f32,
    /// One over the length of the gap; 0 where the gap has no usable length.
    per_length: f64,
}

impl TailTable {
    /// The table of a column.
    pub(crate) fn new(sketch: &QuantileSketch, tails: Tails) -> Self {
        // A tail is never less likely than one record in the data.
        let floor = 1.0 / sketch.count().max(1) as f64;
        let skewness = sketch.moments().skewness();
        let surprise = |left: f64, right: f64| {
            let negative_ln = |area: f64| -area.clamp(floor, 1.0).ln();
            tails.surprise(skewness, negative_ln(left), negative_ln(right))
        };
        let mut points: Vec<f64> = Vec::with_capacity(sketch.knots());
        let mut steps = Vec::with_capacity(sketch.knots());
        let (mut mean, mut before) = (0.0, 0.0);
        for (point, below, up_to) in sketch.steps() {
            let at = surprise(up_to, 1.0 - below);
            let gap_start = surprise(before, 1.0 - before);
            let gap_end = surprise(below, 1.0 - below);
            mean += (up_to - below) * at + (below - before) * (gap_start + gap_end) / 2.0;
            let length = points.last().map_or(0.0, |last| point - last);
            let per_length: f64 = 1.0 / length;
            steps.push(Step {
                at: at as f32,
                gap_start: gap_start as f32,
                gap_end: gap_end as f32,
                per_length: if per_length.is_finite() {
                    per_length
                } else {
                    0.0
                },
            });
            points.push(point);
            before = up_to;
        }
        Self {
            guide: Guide::new(&points),
            points,
            steps,
            outside: [surprise(0.0, 1.0) as f32, surprise(1.0, 0.0) as f32],
            missing: mean as f32,
        }
    }

    #[expect(clippy::float_cmp, reason = "points are values of the data, unchanged")]
    fn value(&self, value: f64, n_below: usize) -> f32 {
        let Some(step) = self.steps.get(n_below) else {
            return if value.is_nan() {
                self.missing
            } else {
                self.outside[1]
            };
        };
        if self.points[n_below] == value {
            step.at
        } else if value.is_nan() {
            self.missing
        } else if n_below == 0 {
            self.outside[0]
        } else {
            let share = ((value - self.points[n_below - 1]) * step.per_length) as f32;
            step.gap_start + (step.gap_end - step.gap_start) * share
        }
    }
}

impl ColumnScore for TailTable {
    fn is_constant(&self) -> bool {
        self.steps.len() < 2
    }

    fn add(&self, values: &[f64], sums: &mut [f32]) {
        for (sum, &value) in sums.iter_mut().zip(values) {
            *sum += self.value(value, self.guide.n_below(&self.points, value));
        }
    }
}

/// A grid of equal cells over the bulk of the points, which says for each cell how many points
/// come before it. Looking a value up then takes one cell and a short count, where a search by
/// halves takes a dozen steps of unpredictable branches.
#[derive(Debug)]
struct Guide {
    start: f64,
    per_length: f64,
    /// Number of points in earlier cells, for each cell and for the end.
    before: Vec<u32>,
}

impl Guide {
    fn new(points: &[f64]) -> Self {
        // The outermost points of a long tail would stretch the grid over nothing.
        let margin = points.len() / 100;
        let inner = &points[margin..points.len() - margin];
        let start = inner.first().copied().unwrap_or(0.0);
        let length = inner.last().copied().unwrap_or(0.0) - start;
        let n_cells = points.len() * CELLS_PER_POINT + 2;
        let per_length = (n_cells - 2) as f64 / length;
        let usable = start.is_finite() && length > 0.0 && per_length.is_finite();
        let mut guide = Self {
            start: if usable { start } else { 0.0 },
            per_length: if usable { per_length } else { 0.0 },
            before: vec![0; n_cells + 1],
        };
        for &point in points {
            let cell = guide.cell(point);
            guide.before[cell + 1] += 1;
        }
        let mut sum = 0;
        for before in &mut guide.before {
            sum += *before;
            *before = sum;
        }
        guide
    }

    /// The cell of a value. Never decreases with the value, which is all that correctness needs;
    /// the first and last cell hold everything outside the grid.
    fn cell(&self, value: f64) -> usize {
        // Infinity times a length of 0 would not be a number, and land in the wrong cell.
        let offset = (value - self.start).clamp(f64::MIN, f64::MAX);
        let position = offset * self.per_length + 1.0;
        #[expect(
            clippy::cast_sign_loss,
            reason = "the cast saturates: 0 below, NaN too"
        )]
        let cell = position as usize;
        cell.min(self.before.len() - 2)
    }

    /// The number of points below `value`.
    fn n_below(&self, points: &[f64], value: f64) -> usize {
        let cell = self.cell(value);
        let (start, end) = (self.before[cell] as usize, self.before[cell + 1] as usize);
        let in_cell = &points[start..end];
        if in_cell.len() > 16 {
            start + in_cell.partition_point(|&point| point < value)
        } else {
            start + in_cell.iter().filter(|&&point| point < value).count()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(values: &[f64]) -> TailTable {
        let mut sketch = QuantileSketch::new(4096);
        sketch.insert_column(values);
        TailTable::new(&sketch, Tails::Larger)
    }

    fn lookup(table: &TailTable, value: f64) -> f32 {
        let mut sums = [0.0];
        table.add(&[value], &mut sums);
        sums[0]
    }

    #[test]
    fn every_point_and_both_ends_are_found() {
        for n in 3..40 {
            // Squares are skewed, so the larger tail counts.
            let values: Vec<f64> = (0..n).map(|i| f64::from(i * i)).collect();
            let table = table(&values);
            let n = f64::from(n);
            for (rank, &value) in values.iter().enumerate() {
                let left = (rank as f64 + 1.0) / n;
                let right = 1.0 - rank as f64 / n;
                let expected = -left.min(right).ln();
                assert!((f64::from(lookup(&table, value)) - expected).abs() < 1e-5);
            }
            for outside in [-1.0, n * n, f64::INFINITY, f64::NEG_INFINITY] {
                assert!((f64::from(lookup(&table, outside)) - n.ln()).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn between_points_the_value_lies_between() {
        let table = table(&[0.0, 1.0, 2.0, 3.0, 50.0, f64::INFINITY]);
        let (start, middle, end) = (
            lookup(&table, 3.000_001),
            lookup(&table, 20.0),
            lookup(&table, 49.999),
        );
        assert!(start <= middle && middle <= end, "{start} {middle} {end}");
        assert!(lookup(&table, 1e300).is_finite());
    }

    #[test]
    fn the_guide_finds_what_a_plain_search_finds() {
        let spread: Vec<f64> = (0..700).map(|i| f64::from(i - 350)).collect();
        let long_tailed: Vec<f64> = (0..700).map(|i| f64::from(i).exp()).collect();
        let ends = [
            f64::NEG_INFINITY,
            -1e300,
            -0.0,
            1e-300,
            2.0,
            1e300,
            f64::INFINITY,
        ];
        for points in [spread, long_tailed, ends.to_vec(), vec![5.0], Vec::new()] {
            let guide = Guide::new(&points);
            let between = points
                .iter()
                .flat_map(|&p| [p, p.next_up(), p.next_down(), p * 1.5]);
            for value in between.chain(ends) {
                let expected = points.partition_point(|&point| point < value);
                assert_eq!(guide.n_below(&points, value), expected, "{value}");
            }
        }
    }

    #[test]
    fn missing_values_are_ordinary_and_an_empty_column_says_nothing() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i).powi(2)).collect();
        let missing = lookup(&table(&values), f64::NAN);
        // The mean of −ln min(F, 1 − F) over a continuous column is 1 + ln 2.
        assert!((missing - 1.693).abs() < 0.01, "{missing}");
        let empty = table(&[]);
        assert_eq!((lookup(&empty, 3.0), lookup(&empty, f64::NAN)), (0.0, 0.0));
        let constant = table(&[7.0; 9]);
        assert_eq!(
            (lookup(&constant, 7.0), constant.is_constant()),
            (0.0, true)
        );
    }
}
