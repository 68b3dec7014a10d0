//! A class as its own records and records of other classes, all moved by one shift.

use ndarray::{Array2, ArrayView2};

use crate::embedding::spectrum::dot;
use crate::embedding::whitened::Whitened;

/// Rounds of expectation and maximisation at most.
const MAX_ROUNDS: usize = 50;
/// Responsibilities that change by less than this have converged.
const TOLERANCE: f64 = 1e-4;
/// Strength of the prior on sources, in records: every other class by its size.
const PRIOR: f64 = 1.0;
/// Most of a class that may be foreign.
const MAX_SHARE: f64 = 0.6;

/// One class among the others, in whitened coordinates.
pub(super) struct ClassView<'a> {
    /// Its records, `n_records × dim`.
    pub records: ArrayView2<'a, f32>,
    /// Positions of the other classes.
    pub sources: Vec<usize>,
    /// Share of each source among all records outside the class.
    pub prior: Vec<f64>,
    /// Centroid of each source, `n_sources × dim`.
    pub centroids: Array2<f64>,
    /// Mean of the class itself.
    pub mean: Vec<f64>,
    /// What each source says about each record: log-likelihood up to what all classes share,
    /// `n_records × n_sources`.
    likelihoods: Array2<f64>,
}

/// A class taken apart.
#[derive(Clone, Debug)]
pub(super) struct Split {
    /// What was added to every foreign record.
    pub shift: Vec<f64>,
    /// Share of each source among the foreign records.
    pub weights: Vec<f64>,
    /// Mean of the class's own records.
    pub own_mean: Vec<f64>,
    /// Share of foreign records.
    pub share: f64,
    /// Logarithm of the odds that each record is foreign.
    pub log_odds: Vec<f64>,
    /// Log-likelihood of all records, up to a constant of the class.
    pub log_likelihood: f64,
}

fn length_squared(vector: &[f64]) -> f64 {
    vector.iter().map(|part| part * part).sum()
}

fn inner(a: &[f64], b: impl IntoIterator<Item = f64>) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `ln Σ exp`, without overflow.
pub(super) fn log_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest
        + values
            .iter()
            .map(|value| (value - largest).exp())
            .sum::<f64>()
            .ln()
}

/// Logarithm of the density of `vector` in a mixture of round unit clouds, without the
/// constant that all of them share.
pub(super) fn log_density(weights: &[f64], centres: &Array2<f64>, vector: &[f64]) -> f64 {
    let terms: Vec<f64> = centres
        .rows()
        .into_iter()
        .zip(weights)
        .map(|(centre, weight)| {
            let squares = centre.iter().zip(vector).map(|(a, b)| (a - b).powi(2));
            weight.max(1e-12).ln() - 0.5 * squares.sum::<f64>()
        })
        .collect();
    log_sum_exp(&terms)
}

impl<'a> ClassView<'a> {
    /// The class at `position`.
    pub(super) fn new(whitened: &'a Whitened, position: usize) -> Self {
        let records = whitened.of_class(position);
        let sources: Vec<usize> = (0..whitened.classes.len())
            .filter(|&other| other != position)
            .collect();
        let sizes: Vec<f64> = sources
            .iter()
            .map(|&source| whitened.n_records(source) as f64)
            .collect();
        let total: f64 = sizes.iter().sum();
        let centroids = whitened.centroids.select(ndarray::Axis(0), &sources);
        let likelihoods = Array2::from_shape_vec(
            (records.nrows(), sources.len()),
            records
                .rows()
                .into_iter()
                .flat_map(|record| {
                    let says = |centroid: ndarray::ArrayView1<'_, f64>| {
                        let terms = record.iter().zip(centroid);
                        terms
                            .map(|(&z, &m)| m * (f64::from(z) - 0.5 * m))
                            .sum::<f64>()
                    };
                    centroids.rows().into_iter().map(says).collect::<Vec<f64>>()
                })
                .collect(),
        );
        Self {
            records,
            prior: sizes.iter().map(|size| size / total).collect(),
            mean: whitened.centroids.row(position).to_vec(),
            likelihoods: likelihoods.unwrap_or_default(),
            sources,
            centroids,
        }
    }

    /// The split to which the records with `foreign` and `shift` as a start converge. `None` when
    /// no foreign records remain.
    pub(super) fn split(&self, foreign: &[bool], shift: Vec<f64>) -> Option<Split> {
        let n_records = self.records.nrows() as f64;
        let mut odds: Vec<f64> = foreign.iter().map(|&is| f64::from(u8::from(is))).collect();
        let share = odds.iter().sum::<f64>() / n_records;
        let mut split = Split {
            shift,
            weights: self.prior.clone(),
            own_mean: self.own_mean(&odds),
            share: share.clamp(1e-4, MAX_SHARE),
            log_odds: vec![0.0; foreign.len()],
            log_likelihood: f64::NEG_INFINITY,
        };
        for _ in 0..MAX_ROUNDS {
            let by_source = self.expect(&mut split);
            let mut change = 0.0_f64;
            for (odds, log_odds) in odds.iter_mut().zip(&split.log_odds) {
                let probability = 1.0 / (1.0 + (-log_odds).exp());
                change = change.max((probability - *odds).abs());
                *odds = probability;
            }
            if odds.iter().sum::<f64>() < 2.0 {
                return None;
            }
            if change < TOLERANCE {
                break;
            }
            self.maximise(&mut split, &odds, by_source);
        }
        self.expect(&mut split);
        Some(split)
    }

    /// What the class says about itself without shift and without foreign records: the start that
    /// asks which records other classes claim.
    pub(super) fn unshifted(&self) -> Split {
        let mut split = Split {
            shift: vec![0.0; self.mean.len()],
            weights: self.prior.clone(),
            own_mean: self.mean.clone(),
            share: 0.5,
            log_odds: vec![0.0; self.records.nrows()],
            log_likelihood: f64::NEG_INFINITY,
        };
        self.expect(&mut split);
        split
    }

    /// Log-likelihoods of the sources for a shift, as what is to be added to those without, apart
    /// from the part that all sources share.
    fn offsets(&self, split: &Split) -> Vec<f64> {
        let shift = length_squared(&split.shift);
        self.centroids
            .rows()
            .into_iter()
            .zip(&split.weights)
            .map(|(centroid, weight)| {
                weight.max(1e-12).ln() - inner(&split.shift, centroid.iter().copied()) - 0.5 * shift
            })
            .collect()
    }

    /// The log-likelihood of record `row` under every source of `split`, into `terms`.
    fn terms(&self, row: usize, offsets: &[f64], terms: &mut Vec<f64>) {
        terms.clear();
        let likelihoods = self.likelihoods.row(row);
        terms.extend(likelihoods.iter().zip(offsets).map(|(a, b)| a + b));
    }

    /// Sets log-odds and log-likelihood; gives the number of foreign records by source.
    fn expect(&self, split: &mut Split) -> Vec<f64> {
        let offsets = self.offsets(split);
        let own_half = 0.5 * length_squared(&split.own_mean);
        let (foreign, own) = (split.share.ln(), (1.0 - split.share).ln());
        let mut by_source = vec![0.0; self.sources.len()];
        let mut terms = Vec::new();
        let mut total = 0.0;
        for (row, record) in self.records.rows().into_iter().enumerate() {
            let Some(record) = record.to_slice() else {
                continue;
            };
            self.terms(row, &offsets, &mut terms);
            let log_foreign = foreign + log_sum_exp(&terms) + dot(record, &split.shift);
            let log_own = own + dot(record, &split.own_mean) - own_half;
            split.log_odds[row] = log_foreign - log_own;
            let both = log_sum_exp(&[log_foreign, log_own]);
            total += both;
            let shared = foreign + dot(record, &split.shift) - both;
            for (sum, term) in by_source.iter_mut().zip(&terms) {
                *sum += (term + shared).exp();
            }
        }
        split.log_likelihood = total;
        by_source
    }

    fn maximise(&self, split: &mut Split, odds: &[f64], by_source: Vec<f64>) {
        let foreign: f64 = odds.iter().sum();
        split.share = (foreign / odds.len() as f64).clamp(1e-4, MAX_SHARE);
        let mut shift = vec![0.0; split.shift.len()];
        for (record, &weight) in self.records.rows().into_iter().zip(odds) {
            for (sum, &value) in shift.iter_mut().zip(record) {
                *sum += weight * f64::from(value);
            }
        }
        for (centroid, &count) in self.centroids.rows().into_iter().zip(&by_source) {
            for (sum, &value) in shift.iter_mut().zip(centroid) {
                *sum -= count * value;
            }
        }
        // One record's worth of doubt keeps the shift small where few records speak for it.
        for sum in &mut shift {
            *sum /= foreign + 1.0;
        }
        split.shift = shift;
        for ((weight, count), prior) in split.weights.iter_mut().zip(by_source).zip(&self.prior) {
            *weight = (count + PRIOR * prior) / (foreign + PRIOR);
        }
        split.own_mean = self.own_mean(odds);
    }

    /// Mean of the records, each by the chance that it is not foreign.
    fn own_mean(&self, odds: &[f64]) -> Vec<f64> {
        let mut mean = vec![0.0; self.mean.len()];
        let mut total = 0.0;
        for (record, &foreign) in self.records.rows().into_iter().zip(odds) {
            for (sum, &value) in mean.iter_mut().zip(record) {
                *sum += (1.0 - foreign) * f64::from(value);
            }
            total += 1.0 - foreign;
        }
        for sum in &mut mean {
            *sum /= total.max(1.0);
        }
        mean
    }

    /// Chance of each source for record `row`, given that it is foreign.
    pub(super) fn sources_of(&self, split: &Split, row: usize) -> Vec<f64> {
        let mut terms = Vec::new();
        self.terms(row, &self.offsets(split), &mut terms);
        let total = log_sum_exp(&terms);
        terms.iter().map(|term| (term - total).exp()).collect()
    }

    /// Record `row`.
    pub(super) fn record(&self, row: usize) -> Vec<f64> {
        self.records
            .row(row)
            .iter()
            .map(|&value| f64::from(value))
            .collect()
    }

    /// The mean of the sources' centroids with these chances.
    pub(super) fn mixed(&self, chances: &[f64]) -> Vec<f64> {
        let mut mean = vec![0.0; self.mean.len()];
        for (centroid, chance) in self.centroids.rows().into_iter().zip(chances) {
            for (sum, value) in mean.iter_mut().zip(centroid) {
                *sum += chance * value;
            }
        }
        mean
    }

    /// The sources' centroids, moved this part of the way to `mean`.
    pub(super) fn towards(&self, mean: &[f64], part: f64) -> Array2<f64> {
        let mut moved = self.centroids.clone();
        for mut centroid in moved.rows_mut() {
            for (value, &mean) in centroid.iter_mut().zip(mean) {
                *value += part * (mean - *value);
            }
        }
        moved
    }

    /// The shift from the other classes to these records.
    pub(super) fn shift_of(&self, rows: &[bool]) -> Vec<f64> {
        let mut shift = self.mixed(&self.prior);
        let n_rows = rows.iter().filter(|is| **is).count().max(1) as f64;
        for part in &mut shift {
            *part = -*part;
        }
        for (record, _) in self
            .records
            .rows()
            .into_iter()
            .zip(rows)
            .filter(|(_, is)| **is)
        {
            for (sum, &value) in shift.iter_mut().zip(record) {
                *sum += f64::from(value) / n_rows;
            }
        }
        shift
    }
}
