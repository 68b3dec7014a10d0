//! One class as `activation-clustering` sees it: two clusters, and what lies between them.

use ndarray::{Array2, s};

use crate::embedding::class_sample::SampledClass;
use crate::embedding::robust_scale::RobustScale;
use crate::embedding::two_means::{Line, Valley};

/// A class with fewer vectors than this cannot be split on one half and tested on the other.
pub(super) const MIN_RECORDS: usize = 40;
/// Where the larger cluster ends and the smaller begins along the line between their centres.
pub(super) const MIDDLE: f64 = 0.5;
/// Up to here scores are those of an ordinary record, in robust standard deviations.
const ORDINARY: f64 = 2.0;

/// One class, split on each half of its sample and tested on the other.
#[derive(Debug)]
pub(super) struct ClassSplit {
    pub(super) line: Line,
    /// Of the positions along the line.
    usual: RobustScale,
    /// Of both halves, each on the line of the other.
    valleys: [Valley; 2],
    /// Part of the held-out halves in the smaller cluster, the larger of both.
    pub(super) share: f64,
    /// Mean of all vectors, of the larger and of the smaller cluster.
    pub(super) mean: Vec<f64>,
    pub(super) large: Vec<f64>,
    pub(super) small: Vec<f64>,
}

impl ClassSplit {
    /// Splits the sample of a class in the space of its `components` largest principal components,
    /// with at most `max_share` in the smaller cluster. `None` when it is too small or all its
    /// vectors are the same.
    pub(super) fn of(class: &SampledClass, components: usize, max_share: f64) -> Option<Self> {
        if class.len() < MIN_RECORDS {
            return None;
        }
        let halves = [0, 1].map(|half| class.vectors.slice(s![half..;2, ..]).to_owned());
        let mut lines = Vec::with_capacity(2);
        let mut valleys = [Valley::default(); 2];
        let mut share = 0.0_f64;
        for (half, valley) in valleys.iter_mut().enumerate() {
            let (line, fitted) = Line::fit(&halves[half], components, max_share)?;
            let held_out = positions(&line, &halves[1 - half]);
            let beyond = held_out.iter().filter(|&&at| at >= MIDDLE).count();
            let seen = beyond as f64 / held_out.len().max(1) as f64;
            share = share.max(seen).max(fitted);
            if fitted.max(seen) <= max_share {
                *valley = Valley::of(held_out);
            }
            lines.push(line);
        }
        // The line that the other half confirms better is the better one.
        let better = usize::from(valleys[1].depth() > valleys[0].depth());
        let line = lines.swap_remove(better);
        let mut along = positions(&line, &class.vectors);
        let mean_where = |wanted: &dyn Fn(f64) -> bool| {
            let rows = class.vectors.rows().into_iter().zip(&along);
            let mut sum = vec![0.0; class.vectors.ncols()];
            let mut count = 0_u32;
            for (row, _) in rows.filter(|&(_, &at)| wanted(at)) {
                count += 1;
                for (sum, &value) in sum.iter_mut().zip(row) {
                    *sum += f64::from(value);
                }
            }
            for sum in &mut sum {
                *sum /= f64::from(count.max(1));
            }
            sum
        };
        Some(Self {
            mean: mean_where(&|_| true),
            large: mean_where(&|at| at < MIDDLE),
            small: mean_where(&|at| at >= MIDDLE),
            usual: RobustScale::of(&mut along),
            line,
            valleys,
            share,
        })
    }

    /// The counts of both halves together.
    pub(super) fn both(&self) -> Valley {
        self.valleys[0].plus(self.valleys[1])
    }

    /// The larger of the two halves' p-values, see [`Valley::p_value`].
    pub(super) fn p_value(&self, rate: f64) -> f64 {
        let [first, second] = self.valleys.map(|valley| valley.p_value(rate));
        first.max(second)
    }

    /// The score of a record at this position.
    pub(super) fn score(&self, position: f64) -> f32 {
        let standard = f64::from(self.usual.standardised(position));
        let beyond = (standard - ORDINARY).max(0.0);
        (standard.min(ORDINARY) + self.both().depth().max(0.0) * beyond) as f32
    }
}

fn positions(line: &Line, vectors: &Array2<f32>) -> Vec<f64> {
    let rows = vectors.rows().into_iter();
    rows.filter_map(|row| Some(line.position(row.to_slice()?)))
        .collect()
}
