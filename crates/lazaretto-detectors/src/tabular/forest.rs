//! Isolation trees as flat arrays, grown from a sample and walked without branches.

use ndarray::ArrayView2;
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rows walked side by side, to hide the latency of one walk behind the others.
const LANES: usize = 16;

/// The Euler–Mascheroni constant, for the harmonic number in [`average_path`].
const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// Average path length of an unsuccessful search in a binary search tree of `n` records, `c(n)`
/// in equation 1 of the paper.
pub(crate) fn average_path(n: usize) -> f64 {
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let n = n as f64;
            2.0 * ((n - 1.0).ln() + EULER_GAMMA) - 2.0 * (n - 1.0) / n
        }
    }
}

/// One node. A record goes to `child + 1` when its value is below `cut`, else to `child`. Where a
/// missing value goes was drawn when the tree grew, in proportion to the sample on each side, so
/// that over many trees it takes the way of an ordinary one. Leaves lead to themselves, so that
/// every walk has the same length.
#[derive(Clone, Copy, Debug)]
struct Node {
    column: u32,
    child: u32,
    cut: f32,
    missing_is_below: bool,
}

impl Node {
    fn leaf(position: usize) -> Self {
        Self {
            column: 0,
            child: position as u32,
            // Nothing is below minus infinity.
            cut: f32::NEG_INFINITY,
            missing_is_below: false,
        }
    }

    /// Whether `value` is on the lower side. `MISSING` says whether it can be NaN at all.
    fn is_below<const MISSING: bool>(&self, value: f32) -> bool {
        (value < self.cut) || (MISSING && self.missing_is_below && value.is_nan())
    }
}

#[derive(Clone, Debug, Default)]
struct Tree {
    nodes: Vec<Node>,
    /// Path length of a record that ends in the node; 0 for inner nodes.
    path: Vec<f32>,
    depth: usize,
}

/// A grown forest.
#[derive(Debug)]
pub struct Forest {
    trees: Vec<Tree>,
    width: usize,
    /// `c(sample size)`, by which path lengths are divided.
    normal_path: f64,
}

impl Forest {
    /// Grows `n_trees` trees from `sample` (`n_rows × width`, NaN where missing), each from
    /// `sample_size` of its rows. Tree `i` depends on `seed`, `i` and the sample alone.
    pub(crate) fn grow(
        sample: ArrayView2<'_, f32>,
        n_trees: usize,
        sample_size: usize,
        seed: u64,
    ) -> Self {
        let sample_size = sample_size.min(sample.nrows());
        let max_depth = sample_size.max(2).next_power_of_two().ilog2() as usize;
        let trees = (0..n_trees)
            .map(|tree_idx| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(tree_idx as u64);
                let rows = index::sample(&mut rng, sample.nrows(), sample_size).into_vec();
                Tree::grow(sample, rows, max_depth, &mut rng)
            })
            .collect();
        Self {
            trees,
            width: sample.ncols(),
            normal_path: average_path(sample_size).max(1.0),
        }
    }

    /// Number of values per record.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Scores the rows of `block` (`scores.len() × width`, row by row); NaN for rows without any
    /// value.
    pub(crate) fn score(&self, block: &[f32], scores: &mut [f32]) {
        let panels = panels(block, self.width);
        let mut paths = vec![[0.0_f32; LANES]; scores.len().div_ceil(LANES)];
        let any_missing = block.iter().any(|value| value.is_nan());
        for tree in &self.trees {
            if any_missing {
                tree.add_paths::<true>(&panels, self.width, &mut paths);
            } else {
                tree.add_paths::<false>(&panels, self.width, &mut paths);
            }
        }
        let scale = -1.0 / (self.normal_path * self.trees.len() as f64);
        let rows = block.chunks_exact(self.width);
        for ((score, path), row) in scores.iter_mut().zip(paths.as_flattened()).zip(rows) {
            *score = if row.iter().all(|value| value.is_nan()) {
                f32::NAN
            } else {
                (f64::from(*path) * scale).exp2() as f32
            };
        }
    }
}

/// A part of the tree's sample that waits to be split.
struct Pending {
    node: usize,
    rows: Vec<usize>,
    depth: usize,
}

impl Tree {
    fn grow(
        sample: ArrayView2<'_, f32>,
        rows: Vec<usize>,
        max_depth: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let mut tree = Self::default();
        tree.push_leaf();
        let mut columns: Vec<usize> = (0..sample.ncols()).collect();
        let mut pending = vec![Pending {
            node: 0,
            rows,
            depth: 0,
        }];
        while let Some(part) = pending.pop() {
            let split = (part.depth < max_depth && part.rows.len() > 1)
                .then(|| split(sample, &part.rows, &mut columns, rng))
                .flatten();
            let Some((mut node, above, below)) = split else {
                tree.path[part.node] = (part.depth as f64 + average_path(part.rows.len())) as f32;
                tree.depth = tree.depth.max(part.depth);
                continue;
            };
            let child = tree.push_leaf();
            tree.push_leaf();
            node.child = child as u32;
            tree.nodes[part.node] = node;
            for (offset, rows) in [above, below].into_iter().enumerate() {
                pending.push(Pending {
                    node: child + offset,
                    rows,
                    depth: part.depth + 1,
                });
            }
        }
        tree
    }

    fn push_leaf(&mut self) -> usize {
        let position = self.nodes.len();
        self.nodes.push(Node::leaf(position));
        self.path.push(0.0);
        position
    }

    /// Adds the path length of each row of `panels` to `paths`.
    fn add_paths<const MISSING: bool>(
        &self,
        panels: &[[f32; LANES]],
        width: usize,
        paths: &mut [[f32; LANES]],
    ) {
        let nodes = self.nodes.as_slice();
        for (panel, targets) in panels.chunks_exact(width).zip(paths) {
            let mut at = [0_u32; LANES];
            for _ in 0..self.depth {
                for (lane, at) in at.iter_mut().enumerate() {
                    let node = &nodes[*at as usize];
                    let value = panel[node.column as usize][lane];
                    *at = node.child + u32::from(node.is_below::<MISSING>(value));
                }
            }
            for (target, at) in targets.iter_mut().zip(at) {
                *target += self.path[at as usize];
            }
        }
    }
}

/// The rows of `block`, `LANES` at a time: for each such group, each column's values side by side,
/// so that walking to a value takes no address but the column's. Filled up with 0.
fn panels(block: &[f32], width: usize) -> Vec<[f32; LANES]> {
    let n_rows = block.len() / width.max(1);
    let mut panels = vec![[0.0; LANES]; n_rows.div_ceil(LANES) * width];
    for (row_idx, row) in block.chunks_exact(width.max(1)).enumerate() {
        let panel = &mut panels[row_idx / LANES * width..][..width];
        for (values, &value) in panel.iter_mut().zip(row) {
            values[row_idx % LANES] = value;
        }
    }
    panels
}

/// Cuts `rows` at a random point of a random column that is not constant in them. Returns the
/// node without its child, and the rows above and below the cut.
fn split(
    sample: ArrayView2<'_, f32>,
    rows: &[usize],
    columns: &mut [usize],
    rng: &mut ChaCha8Rng,
) -> Option<(Node, Vec<usize>, Vec<usize>)> {
    for drawn in 0..columns.len() {
        let other = rng.gen_range(drawn..columns.len());
        columns.swap(drawn, other);
        let column = columns[drawn];
        let present = || rows.iter().map(|&row| sample[[row, column]]);
        let (low, high) = present()
            .filter(|value| !value.is_nan())
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low >= high {
            continue;
        }
        let cut = low + rng.r#gen::<f32>() * (high - low);
        // Rounding may put the cut on the lowest value, with nothing below it.
        let cut = if cut > low { cut.min(high) } else { high };
        let (n_present, n_below) = present()
            .filter(|value| !value.is_nan())
            .fold((0_u32, 0_u32), |(n, below), value| {
                (n + 1, below + u32::from(value < cut))
            });
        let node = Node {
            column: column as u32,
            child: 0,
            cut,
            missing_is_below: rng.gen_ratio(n_below, n_present),
        };
        let (below, above) = rows
            .iter()
            .partition(|&&row| node.is_below::<true>(sample[[row, column]]));
        return Some((node, above, below));
    }
    None
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "exact by construction")]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn line(n: usize) -> Array2<f32> {
        Array2::from_shape_fn(
            (n, 2),
            |(row, column)| {
                if column == 0 { row as f32 } else { 7.0 }
            },
        )
    }

    fn scores(forest: &Forest, rows: &[[f32; 2]]) -> Vec<f32> {
        let mut scores = vec![0.0; rows.len()];
        forest.score(&rows.concat(), &mut scores);
        scores
    }

    #[test]
    fn the_average_path_is_the_one_of_the_paper() {
        // c(256) = 2 (H(255) − 255/256) = 10.2448 (Liu 2008; scikit-learn 1.7 `_average_path_length`)
        assert!((average_path(256) - 10.244_770_920_1).abs() < 1e-6);
        assert_eq!(average_path(2), 1.0);
    }

    #[test]
    fn far_rows_are_isolated_and_missing_values_are_ordinary() {
        let forest = Forest::grow(line(1000).view(), 100, 256, 5);
        let [far, middle, missing, nothing] = scores(
            &forest,
            &[
                [5000.0, 7.0],
                [500.0, 7.0],
                [f32::NAN, 7.0],
                [f32::NAN, f32::NAN],
            ],
        )[..] else {
            unreachable!()
        };
        assert!(far > 0.55 && far > middle + 0.1, "{far} {middle}");
        assert!(missing < far - 0.1, "{missing}");
        assert!(nothing.is_nan());
    }

    #[test]
    fn lanes_and_remainder_agree() {
        let forest = Forest::grow(line(300).view(), 10, 64, 5);
        let rows: Vec<[f32; 2]> = (0..21).map(|row| [row as f32 * 14.0, 7.0]).collect();
        let together = scores(&forest, &rows);
        let alone: Vec<f32> = rows
            .iter()
            .flat_map(|row| scores(&forest, &[*row]))
            .collect();
        assert_eq!(together, alone);
    }

    #[test]
    fn a_constant_sample_gives_everyone_the_same_score() {
        let forest = Forest::grow(Array2::from_elem((100, 2), 1.0).view(), 10, 64, 5);
        let scores = scores(&forest, &[[1.0, 1.0], [9.0, 9.0]]);
        assert_eq!(scores[0], scores[1]);
        assert!(scores[0].is_finite());
    }
}
