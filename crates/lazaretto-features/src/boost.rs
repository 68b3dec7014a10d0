//! Gradient-boosted trees over binned columns (Friedman 2001, with the histograms of `LightGBM`).
//!
//! Trees of a fixed depth on at most 64 bins per column, one tree per round and class (one for two
//! classes). Every model is grown by one thread with sums in row order, so the result does not
//! depend on the number of threads.

use crate::linear::softmax;

/// Bins of a column, at most.
pub(crate) const BINS: usize = 64;
/// Levels of a tree.
pub(crate) const DEPTH: usize = 4;
const LEAVES: usize = 1 << DEPTH;
/// Share of a tree's leaf values that is added.
const RATE: f64 = 0.1;
/// L2 penalty of leaf values, in units of the second derivative.
const PENALTY: f64 = 1.0;
/// Least sum of second derivatives in a child: about 20 records with even odds.
const MIN_CHILD: f64 = 5.0;

/// Rows of bins, row after row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BinnedRows<'a> {
    pub(crate) bins: &'a [u8],
    pub(crate) n_columns: usize,
}

impl<'a> BinnedRows<'a> {
    fn row(self, row_idx: usize) -> &'a [u8] {
        &self.bins[row_idx * self.n_columns..][..self.n_columns]
    }
}

/// A complete tree: nodes level by level. A record goes left where its bin is not above the
/// threshold, so a threshold of the largest bin sends everything left.
#[derive(Clone, Debug)]
struct Tree {
    columns: [u32; LEAVES - 1],
    thresholds: [u8; LEAVES - 1],
    leaves: [f32; LEAVES],
}

impl Tree {
    fn leaf(&self, bins: &[u8]) -> usize {
        let mut node = 0;
        for _ in 0..DEPTH {
            let right = bins[self.columns[node] as usize] > self.thresholds[node];
            node = 2 * node + 1 + usize::from(right);
        }
        node - (LEAVES - 1)
    }
}

/// A fitted model.
#[derive(Clone, Debug)]
pub(crate) struct BoostedModel {
    base: Vec<f32>,
    /// Round by round, in each the trees of all outputs.
    trees: Vec<Tree>,
}

impl BoostedModel {
    /// Fits the rows listed in `chosen` with `rounds` rounds.
    pub(crate) fn fit(
        rows: BinnedRows<'_>,
        labels: &[u32],
        chosen: &[usize],
        n_classes: usize,
        rounds: usize,
    ) -> Self {
        let n_outputs = if n_classes == 2 { 1 } else { n_classes };
        let mut growth = Growth::new(rows, labels, chosen, n_outputs);
        let base = growth.base(n_classes);
        let mut trees = Vec::with_capacity(rounds * n_outputs);
        for _ in 0..rounds {
            growth.derive();
            for output in 0..n_outputs {
                let tree = growth.grow(output);
                growth.add(&tree, output);
                trees.push(tree);
            }
        }
        Self { base, trees }
    }

    /// Class probabilities of a record; `probabilities` has a place for each class.
    pub(crate) fn probabilities(&self, bins: &[u8], probabilities: &mut [f32]) {
        let n_outputs = self.base.len();
        // With one output it is the logit of the second class, that of the first being 0.
        let first = probabilities.len() - n_outputs;
        probabilities.fill(0.0);
        probabilities[first..].copy_from_slice(&self.base);
        for (idx, tree) in self.trees.iter().enumerate() {
            probabilities[first + idx % n_outputs] += tree.leaves[tree.leaf(bins)];
        }
        softmax(probabilities);
    }
}

/// Sums of first and second derivatives.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    gradient: f64,
    curvature: f64,
}

impl Sums {
    fn gain(self) -> f64 {
        self.gradient * self.gradient / (self.curvature + PENALTY)
    }

    fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            curvature: self.curvature - other.curvature,
        }
    }
}

/// The state of a fit.
struct Growth<'a> {
    rows: BinnedRows<'a>,
    labels: &'a [u32],
    chosen: &'a [usize],
    n_outputs: usize,
    /// Logits, then first and second derivatives: per chosen row, all outputs.
    logits: Vec<f32>,
    gradients: Vec<f32>,
    curvatures: Vec<f32>,
    /// Node of each chosen row, within its level.
    nodes: Vec<u8>,
    histogram: Vec<Sums>,
}

impl<'a> Growth<'a> {
    fn new(rows: BinnedRows<'a>, labels: &'a [u32], chosen: &'a [usize], n_outputs: usize) -> Self {
        let n = chosen.len() * n_outputs;
        Self {
            rows,
            labels,
            chosen,
            n_outputs,
            logits: vec![0.0; n],
            gradients: vec![0.0; n],
            curvatures: vec![0.0; n],
            nodes: vec![0; chosen.len()],
            histogram: vec![Sums::default(); LEAVES / 2 * rows.n_columns * BINS],
        }
    }

    /// Starts from the shares of the classes, one half added to each count.
    fn base(&mut self, n_classes: usize) -> Vec<f32> {
        let mut counts = vec![0.5_f64; n_classes];
        for &row_idx in self.chosen {
            counts[self.labels[row_idx] as usize] += 1.0;
        }
        let base: Vec<f32> = if self.n_outputs == 1 {
            vec![(counts[1] / counts[0]).ln() as f32]
        } else {
            counts.iter().map(|count| count.ln() as f32).collect()
        };
        for logits in self.logits.chunks_exact_mut(self.n_outputs) {
            logits.copy_from_slice(&base);
        }
        base
    }

    /// First and second derivatives of the loss at the logits.
    fn derive(&mut self) {
        let mut shares = vec![0.0; self.n_outputs];
        for (idx, &row_idx) in self.chosen.iter().enumerate() {
            let label = self.labels[row_idx] as usize;
            let range = idx * self.n_outputs..(idx + 1) * self.n_outputs;
            shares.copy_from_slice(&self.logits[range.clone()]);
            let own = if self.n_outputs == 1 {
                shares[0] = 1.0 / (1.0 + (-shares[0]).exp());
                usize::from(label == 0)
            } else {
                softmax(&mut shares);
                label
            };
            for (output, &share) in shares.iter().enumerate() {
                let target = f32::from(u8::from(output == own));
                self.gradients[range.start + output] = share - target;
                self.curvatures[range.start + output] = (share * (1.0 - share)).max(1e-6);
            }
        }
    }

    fn grow(&mut self, output: usize) -> Tree {
        let mut tree = Tree {
            columns: [0; LEAVES - 1],
            thresholds: [u8::MAX; LEAVES - 1],
            leaves: [0.0; LEAVES],
        };
        self.nodes.fill(0);
        for level in 0..DEPTH {
            let n_nodes = 1 << level;
            self.fill(output, n_nodes);
            for node in 0..n_nodes {
                if let Some((column, threshold)) = self.best_split(node) {
                    tree.columns[n_nodes - 1 + node] = column as u32;
                    tree.thresholds[n_nodes - 1 + node] = threshold;
                }
            }
            for (node, &row_idx) in self.nodes.iter_mut().zip(self.chosen) {
                let place = n_nodes - 1 + usize::from(*node);
                let bin = self.rows.row(row_idx)[tree.columns[place] as usize];
                *node = 2 * *node + u8::from(bin > tree.thresholds[place]);
            }
        }
        let mut sums = [Sums::default(); LEAVES];
        for (idx, &node) in self.nodes.iter().enumerate() {
            let sums = &mut sums[usize::from(node)];
            sums.gradient += f64::from(self.gradients[idx * self.n_outputs + output]);
            sums.curvature += f64::from(self.curvatures[idx * self.n_outputs + output]);
        }
        for (leaf, sums) in tree.leaves.iter_mut().zip(sums) {
            *leaf = (-RATE * sums.gradient / (sums.curvature + PENALTY)) as f32;
        }
        tree
    }

    /// Sums per node, column and bin.
    fn fill(&mut self, output: usize, n_nodes: usize) {
        let width = self.rows.n_columns * BINS;
        self.histogram[..n_nodes * width].fill(Sums::default());
        for (idx, &row_idx) in self.chosen.iter().enumerate() {
            let gradient = f64::from(self.gradients[idx * self.n_outputs + output]);
            let curvature = f64::from(self.curvatures[idx * self.n_outputs + output]);
            let of_node = &mut self.histogram[usize::from(self.nodes[idx]) * width..][..width];
            let columns = of_node.chunks_exact_mut(BINS);
            for (of_column, &bin) in columns.zip(self.rows.row(row_idx)) {
                let sums = &mut of_column[usize::from(bin) % BINS];
                sums.gradient += gradient;
                sums.curvature += curvature;
            }
        }
    }

    /// Column and threshold with the largest gain; the first of equals.
    fn best_split(&self, node: usize) -> Option<(usize, u8)> {
        let width = self.rows.n_columns * BINS;
        let of_node = &self.histogram[node * width..(node + 1) * width];
        let mut best = None;
        let mut most = 1e-9;
        for (column, of_column) in of_node.chunks_exact(BINS).enumerate() {
            let mut all = Sums::default();
            for sums in of_column {
                all.gradient += sums.gradient;
                all.curvature += sums.curvature;
            }
            let mut left = Sums::default();
            for (bin, sums) in of_column[..BINS - 1].iter().enumerate() {
                left.gradient += sums.gradient;
                left.curvature += sums.curvature;
                let right = all.minus(left);
                if left.curvature < MIN_CHILD || right.curvature < MIN_CHILD {
                    continue;
                }
                let gain = left.gain() + right.gain() - all.gain();
                if gain > most {
                    most = gain;
                    best = Some((column, bin as u8));
                }
            }
        }
        best
    }

    /// Adds the tree just grown to the logits.
    fn add(&mut self, tree: &Tree, output: usize) {
        for (idx, &node) in self.nodes.iter().enumerate() {
            self.logits[idx * self.n_outputs + output] += tree.leaves[usize::from(node)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two columns whose exclusive or is the class, the third is noise.
    fn checkerboard(n: usize) -> (Vec<u8>, Vec<u32>) {
        let mut bins = Vec::new();
        let mut labels = Vec::new();
        for row in 0..n {
            let (a, b) = ((row * 7 % 10) as u8, (row * 13 / 10 % 10) as u8);
            bins.extend([a, b, (row * 31 % 64) as u8]);
            labels.push(u32::from((a < 5) != (b < 5)));
        }
        (bins, labels)
    }

    #[test]
    fn trees_learn_what_no_linear_model_can() {
        let (bins, mut labels) = checkerboard(2000);
        let rows = BinnedRows {
            bins: &bins,
            n_columns: 3,
        };
        let chosen: Vec<usize> = (0..1000).collect();
        for n_classes in [2, 3] {
            if n_classes == 3 {
                for label in &mut labels {
                    *label *= 2;
                }
            }
            let model = BoostedModel::fit(rows, &labels, &chosen, n_classes, 40);
            let mut probabilities = vec![0.0; n_classes];
            for row_idx in 1000..2000 {
                model.probabilities(rows.row(row_idx), &mut probabilities);
                let sum: f32 = probabilities.iter().sum();
                assert!((sum - 1.0).abs() < 1e-5);
                let own = probabilities[labels[row_idx] as usize];
                assert!(own > 0.8, "{n_classes} classes, row {row_idx}: {own}");
            }
        }
    }

    #[test]
    fn without_a_column_that_tells_the_shares_are_left() {
        let bins = vec![3_u8; 300];
        let labels: Vec<u32> = (0..300).map(|row| u32::from(row % 3 == 0)).collect();
        let rows = BinnedRows {
            bins: &bins,
            n_columns: 1,
        };
        let chosen: Vec<usize> = (0..300).collect();
        let model = BoostedModel::fit(rows, &labels, &chosen, 2, 20);
        let mut probabilities = [0.0; 2];
        model.probabilities(&[3], &mut probabilities);
        assert!(
            (probabilities[1] - 1.0 / 3.0).abs() < 0.01,
            "{probabilities:?}"
        );
    }
}
