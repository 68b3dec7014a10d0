//! Finding a number's place among sorted points in constant time.

/// Cells per point: with four, most cells hold one point or none.
const CELLS_PER_POINT: usize = 4;

/// Points in a cell up to which they are compared one after the other, without a branch.
const FEW: u32 = 2;

/// A grid of equal cells over the bulk of sorted points, which says for each cell how many points
/// come before it. Looking a value up then takes one cell and a comparison or two, where a search
/// by halves takes a dozen steps of unpredictable branches.
///
/// ```
/// let points = [1.0, 2.0, 5.0];
/// let guide = lazaretto_features::Guide::new(&points);
/// assert_eq!(guide.n_below(&points, 2.0), 1);
/// assert_eq!(guide.n_below(&points, f64::INFINITY), 3);
/// ```
#[derive(Clone, Debug)]
pub struct Guide {
    start: f64,
    per_length: f64,
    last_cell: f64,
    /// Number of points in earlier cells, for each cell and for the end.
    before: Vec<u32>,
}

impl Guide {
    /// The guide to `points`: ascending, without NaN, fewer than 2²⁸.
    #[must_use]
    pub fn new(points: &[f64]) -> Self {
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
            // Not 0, because infinity times 0 is not a number.
            per_length: if usable {
                per_length
            } else {
                f64::MIN_POSITIVE
            },
            last_cell: (n_cells - 1) as f64,
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
    #[inline]
    fn cell(&self, value: f64) -> usize {
        let position = (value - self.start) * self.per_length + 1.0;
        // Clamped as a float and cast to a signed number, which is much cheaper than the cast to
        // an unsigned one. NaN becomes 0.
        position.clamp(0.0, self.last_cell) as i32 as usize
    }

    /// The number of `points`, which are those the guide was made for, below `value`; 0 for NaN.
    #[inline]
    #[must_use]
    pub fn n_below(&self, points: &[f64], value: f64) -> usize {
        let Some(last) = points.len().checked_sub(1) else {
            return 0;
        };
        let cell = self.cell(value);
        let (start, end) = (self.before[cell], self.before[cell + 1]);
        let n_in_cell = end - start;
        let start = start as usize;
        if n_in_cell <= FEW {
            (0..FEW)
                .map(|idx| {
                    let point = points[(start + idx as usize).min(last)];
                    usize::from(idx < n_in_cell) & usize::from(point < value)
                })
                .sum::<usize>()
                + start
        } else {
            start + points[start..end as usize].partition_point(|&point| point < value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
