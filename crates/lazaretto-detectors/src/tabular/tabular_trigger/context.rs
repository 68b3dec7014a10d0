//! What the rest of a record says about its label, without some of its columns.

use lazaretto_features::IndicatorModels;

use super::super::cells::{Layout, NULL, Table};

const BINS: usize = 24;
const FOLDS: usize = 5;
/// Values of a categorical column that are told apart.
const MAX_VALUES: usize = 2000;
/// Records of each class that candidates are compared with.
const MAX_REFERENCE: usize = 4000;

/// The features of one column, numbered from `start`: missing, then bins or values.
struct Column {
    start: u32,
    n_features: u32,
    borders: Vec<f64>,
    values: Vec<u64>,
}

impl Column {
    fn of(table: &Table, layout: &Layout, column: usize, start: u32) -> Self {
        let (mut borders, mut values) = (Vec::new(), Vec::new());
        if layout.is_numeric(column) {
            let sorted = table.numbers(column);
            let at = |bin: usize| sorted.get(bin * sorted.len() / BINS).copied();
            borders.extend((1..BINS).filter_map(at));
            borders.retain(|border| sorted.first().is_some_and(|first| border > first));
            borders.dedup();
        } else {
            let mut sorted: Vec<u64> = table.columns[column].clone();
            sorted.sort_unstable();
            let mut counts: Vec<(usize, u64)> = sorted
                .chunk_by(|a, b| a == b)
                .filter(|run| run[0] != NULL && run.len() >= 2)
                .map(|run| (run.len(), run[0]))
                .collect();
            counts.sort_unstable_by_key(|&(count, value)| (std::cmp::Reverse(count), value));
            values.extend(counts.into_iter().take(MAX_VALUES).map(|(_, value)| value));
            values.sort_unstable();
        }
        let n_features = 2 + borders.len().max(values.len()) as u32;
        Self {
            start,
            n_features,
            borders,
            values,
        }
    }

    fn feature(&self, cell: u64, numeric: bool) -> u32 {
        let within = if cell == NULL {
            0
        } else if numeric {
            let value = f64::from_bits(cell);
            1 + self.borders.partition_point(|&border| border <= value)
        } else {
            let last = 1 + self.values.len();
            self.values.binary_search(&cell).map_or(last, |at| 1 + at)
        };
        self.start + within as u32
    }
}

/// Out-of-fold logits of sampled records, column by column.
pub(super) struct Context {
    n_classes: usize,
    width: usize,
    /// Feature of each record and column, row by row.
    features: Vec<u32>,
    folds: Vec<usize>,
    models: IndicatorModels,
    /// Sum of all columns' logits, `n_rows × n_classes`, each column centred.
    totals: Vec<f32>,
    /// Mean logits of each fold, column and class.
    means: Vec<f32>,
    labels: Vec<u32>,
    /// Records of each class that candidates are compared with.
    reference: Vec<Vec<u32>>,
}

impl Context {
    pub(super) fn fit(table: &Table, layout: &Layout, n_classes: usize) -> Self {
        let width = layout.width();
        let mut columns: Vec<Column> = Vec::with_capacity(width);
        let mut n_features = 0;
        for column in 0..width {
            let space = Column::of(table, layout, column, n_features);
            n_features += space.n_features;
            columns.push(space);
        }
        let mut features = Vec::with_capacity(table.n_rows() * width);
        for row in 0..table.n_rows() {
            let spaces = columns.iter().zip(&table.columns).enumerate();
            features.extend(spaces.map(|(column, (space, cells))| {
                space.feature(cells[row], layout.is_numeric(column))
            }));
        }
        let models = IndicatorModels::fit(
            &features,
            width,
            n_features as usize,
            &table.labels,
            n_classes,
            &table.keys,
            FOLDS,
        );
        let folds = table.keys.iter().map(|&key| models.fold_of(key)).collect();
        let mut reference = vec![Vec::new(); n_classes];
        for (row, &label) in table.labels.iter().enumerate() {
            let rows = &mut reference[label as usize];
            if rows.len() < MAX_REFERENCE {
                rows.push(row as u32);
            }
        }
        let mut context = Self {
            n_classes,
            width,
            features,
            folds,
            models,
            totals: Vec::new(),
            means: Vec::new(),
            labels: table.labels.clone(),
            reference,
        };
        context.centre(n_features as usize);
        context
    }

    /// Fills in the means and the totals.
    fn centre(&mut self, n_features: usize) {
        let n_rows = self.labels.len();
        let mut counts = vec![0_u32; n_features];
        for &feature in &self.features {
            counts[feature as usize] += 1;
        }
        let mut column_of = vec![0; n_features];
        for row in self.features.chunks_exact(self.width) {
            for (column, &feature) in row.iter().enumerate() {
                column_of[feature as usize] = column;
            }
        }
        let mut means = vec![0.0_f32; FOLDS * self.width * self.n_classes];
        let mut logits = vec![0.0; self.n_classes];
        for fold in 0..FOLDS {
            for (feature, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                logits.fill(0.0);
                self.models.add(fold, feature as u32, &mut logits);
                let start = (fold * self.width + column_of[feature]) * self.n_classes;
                for (mean, logit) in means[start..].iter_mut().zip(&logits) {
                    *mean += logit * count as f32 / n_rows as f32;
                }
            }
        }
        self.means = means;
        let mut totals = vec![0.0; n_rows * self.n_classes];
        for (row, totals) in totals.chunks_exact_mut(self.n_classes).enumerate() {
            for column in 0..self.width {
                self.add(row, column, 1.0, totals);
            }
        }
        self.totals = totals;
    }

    /// Adds `sign` times the centred logits of a column of a record.
    fn add(&self, row: usize, column: usize, sign: f32, target: &mut [f32]) {
        let fold = self.folds[row];
        let mut logits = [0.0_f32; 64];
        let mut large;
        let logits = if self.n_classes <= logits.len() {
            &mut logits[..self.n_classes]
        } else {
            large = vec![0.0; self.n_classes];
            &mut large[..]
        };
        self.models
            .add(fold, self.features[row * self.width + column], logits);
        let start = (fold * self.width + column) * self.n_classes;
        let means = &self.means[start..start + self.n_classes];
        for ((target, logit), mean) in target.iter_mut().zip(logits).zip(means) {
            *target += sign * (*logit - mean);
        }
    }

    /// What a record says without the columns `without`: the margin of `class` and the class that
    /// is preferred, both without the frequency of classes; and the probability of `class`.
    pub(super) fn judge(&self, row: usize, class: usize, without: &[usize]) -> Judgement {
        let start = row * self.n_classes;
        let mut logits = self.totals[start..start + self.n_classes].to_vec();
        for &column in without {
            self.add(row, column, -1.0, &mut logits);
        }
        let best = (0..self.n_classes)
            .filter(|&other| other != class)
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a)))
            .unwrap_or(class);
        let margin = logits[class] - logits[best];
        // The means were taken out of the totals; the prior needs them back.
        let fold = self.folds[row];
        for means in self.means[fold * self.width * self.n_classes..]
            .chunks_exact(self.n_classes)
            .take(self.width)
        {
            for (logit, mean) in logits.iter_mut().zip(means) {
                *logit += mean;
            }
        }
        self.models.add_bias(fold, &mut logits);
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = logits.iter().map(|logit| (logit - top).exp()).sum();
        Judgement {
            margin,
            rival: best as u32,
            probability: f64::from((logits[class] - top).exp() / total),
        }
    }

    /// Margins of `class` of reference records that have that class, or of those that have not.
    pub(super) fn margins(&self, class: usize, without: &[usize], own: bool) -> Vec<f32> {
        let classes = (0..self.n_classes).filter(|&other| (other == class) == own);
        classes
            .flat_map(|other| &self.reference[other])
            .map(|&row| self.judge(row as usize, class, without).margin)
            .collect()
    }
}

/// What the rest of a record says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judgement {
    /// Logit of the class minus the largest other one.
    pub(super) margin: f32,
    /// The class with the largest other logit.
    pub(super) rival: u32,
    /// Probability of the class.
    pub(super) probability: f64,
}
