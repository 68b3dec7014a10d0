//! `spectre`: records that do not fit the robust spread of their class.

use faer::Mat;
use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, params::Checks,
};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::embedding::class_sample::{ClassSample, SampledClass, needs_labelled_vectors};
use crate::embedding::robust_scale::{RobustScale, median};
use crate::embedding::spectrum::{Centred, dot, eigen, multiply};

/// A class with fewer vectors than this has no covariance worth the name.
const MIN_RECORDS: usize = 20;
/// At least this many records per direction.
const RECORDS_PER_DIRECTION: usize = 4;
/// Part of a class from which its covariance is computed: the most central one.
const CENTRAL: f64 = 0.75;
/// Rounds of choosing the central part again.
const MAX_ROUNDS: usize = 20;
/// Weight of the most stretched direction against an ordinary one is `exp` of this.
const SHARPNESS: f64 = 4.0;
/// Variance, as a part of the mean one, that every direction has at least.
const FLOOR: f64 = 1e-6;
/// Rows scored together.
const BLOCK_ROWS: usize = 512;
/// Most values sampled of one class.
const MAX_VALUES: usize = 1 << 22;

/// Scores each record by how far it lies outside the robust spread of its class, most of all along
/// the directions that the class as a whole stretches.
///
/// # What it finds
/// Records that carry a backdoor's common feature, also when it is much smaller than the natural
/// spread of the class: moved in a direction in which the class hardly varies.
///
/// # Why it matters
/// A trigger needs no large change of the vector. The largest natural directions of a class
/// (style, length, brightness) hide a small common shift from `spectral-signature`.
///
/// # How it works
/// The vectors of each class are reduced to the `directions` in which it varies most. A robust mean
/// and covariance come from the most central three quarters of the class, chosen again until they
/// stay the same (the concentration steps of the fast minimum covariance determinant), and whiten
/// the vectors, so that natural variation is the same in every direction. What still stretches the
/// class then is not natural: the covariance of all whitened vectors gets large along a direction
/// that a minority shares. The score is the quantum entropy (QUE) score `zᵀQz` with
/// `Q ∝ exp(4 (Σ − I) / (‖Σ‖ − 1))`, which weighs directions by how much they stretch, in robust
/// standard deviations of the class.
///
/// Measured with backdoors of 10 to 50 records on handwritten digits (three preprocessings) and on
/// mixtures (three clusters per class, 256 dimensions), mean area under the ROC curve inside the
/// target class: 0.98 for a common shift of half the mean distance to the class mean, where
/// `spectral-signature` has 0.56; 0.99 against 0.71 for once that distance, 1.00 against 0.95 for
/// twice.
///
/// # Parameters
/// - `directions` (32): directions that a class is reduced to, at most a quarter of its records.
/// - `sample` (2048): records of a class that its model is computed from, chosen by keyed hash;
///   fewer of vectors longer than 2048 numbers, and when the memory does not hold that many.
///
/// # False positives
/// A small natural subgroup of a class, and mislabelled records, lie outside its robust spread as
/// well. The score ranks and never says that there is an attack, so this detector makes no group
/// findings; `scan` does, with a test.
///
/// # Limits
/// A very tight cluster inside the spread of its class is not outside of it (see
/// `spectral-signature`, which is better there). The poisoned records must be less than a quarter
/// of the class. Classes with fewer than 20 vectors get no scores, and it abstains when there is no
/// larger one; records without a vector or a label get none.
///
/// # Example
/// Photographs with a faint watermark labelled `bird` are the first among the birds, although no
/// principal component shows them.
/// ```toml
/// [parameters.spectre]
/// directions = 64
/// ```
///
/// # References
/// - Hayase, Kong, Somani, Oh: SPECTRE: defending against backdoor attacks using robust statistics,
///   ICML 2021, <https://arxiv.org/abs/2104.11315>. They filter by an assumed number of poisons and
///   search the number of directions; here concentration steps and a fixed number stand in, which
///   need no such assumption.
/// - Rousseeuw, Van Driessen: A fast algorithm for the minimum covariance determinant estimator,
///   Technometrics 1999.
/// - Dong, Hopkins, Li: Quantum entropy scoring for fast robust mean estimation, `NeurIPS` 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpectreParams {
    /// Directions that a class is reduced to, 1 to 256.
    pub directions: u32,
    /// Most records of a class from which its model is computed, 64 to 65536.
    pub sample: u32,
}

impl Default for SpectreParams {
    fn default() -> Self {
        Self {
            directions: 32,
            sample: 2048,
        }
    }
}

impl Params for SpectreParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks.range("directions", self.directions, 1..=256).range(
            "sample",
            self.sample,
            64..=65_536,
        );
        checks.finish()
    }
}

/// The detector; see [`SpectreParams`].
#[derive(Clone, Debug)]
pub struct Spectre {
    params: SpectreParams,
}

impl Detector for Spectre {
    type Params = SpectreParams;
    type State = ClassSample;
    type Model = SpectreModel;
    type Evidence = ();

    const SPEC: DetectorSpec = DetectorSpec {
        id: "spectre",
        family: Family::Embedding,
        summary: "vectors outside the robust spread of their class",
        score_kind: ScoreKind::Statistical,
        by_default: false,
        fit_roles: &[Role::Embedding, Role::Label],
        score_roles: &[Role::Embedding, Role::Label],
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0018", "AML.T0020", "LLM04:2025", "NISTAML.023"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        needs_labelled_vectors(facts)
    }

    fn start(&self, context: &FitContext) -> Self::State {
        let dim = context.facts.embedding_dim.unwrap_or(1).max(1);
        let affordable = (MAX_VALUES / dim).max(MIN_RECORDS);
        ClassSample::new(context, affordable.min(self.params.sample as usize))
    }

    fn fit(&self, _context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        state.insert(batch);
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.merge(later);
    }

    fn model(
        &self,
        _context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        let classes = state.into_classes();
        let largest = classes.iter().map(SampledClass::len).max().unwrap_or(0);
        if largest < MIN_RECORDS {
            return Err(NotApplicable::new(format!(
                "at most {largest} vectors in a class, at least {MIN_RECORDS} are needed"
            )));
        }
        let directions = self.params.directions as usize;
        let classes = classes
            .into_par_iter()
            .map(|class| ClassSpread::of(&class, directions))
            .collect();
        Ok(SpectreModel { classes })
    }

    fn start_evidence(&self, _model: &Self::Model) -> Self::Evidence {}

    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        _evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![f32::NAN; batch.n_rows()];
        let Some(vectors) = batch.embedding else {
            return scores;
        };
        scores
            .par_chunks_mut(BLOCK_ROWS)
            .enumerate()
            .for_each(|(block_idx, scores)| {
                for (offset, score) in scores.iter_mut().enumerate() {
                    let row_idx = block_idx * BLOCK_ROWS + offset;
                    let class = batch.label(row_idx).map(|class| class as usize);
                    let spread = class.and_then(|class| model.classes.get(class)?.as_ref());
                    let row = vectors.row(row_idx);
                    if let (Some(spread), Some(vector)) = (spread, row.as_slice()) {
                        *score = spread.usual.standardised(spread.entropy(vector));
                    }
                }
            });
        scores
    }

    fn merge_evidence(&self, _evidence: &mut Self::Evidence, _later: Self::Evidence) {}

    fn finish(
        &self,
        _model: &Self::Model,
        _shared: &Shared,
        _evidence: Self::Evidence,
    ) -> Vec<Finding> {
        Vec::new()
    }
}

/// The spread of each class; `None` for classes that are too small or have none.
#[derive(Debug)]
pub struct SpectreModel {
    classes: Vec<Option<ClassSpread>>,
}

/// One class: the QUE score as a sum of squared projections.
#[derive(Debug)]
struct ClassSpread {
    /// Directions in the space of the data, each with what is subtracted from the projection; the
    /// weight of the direction is in its length.
    axes: Vec<(Vec<f64>, f64)>,
    /// Of the QUE scores.
    usual: RobustScale,
}

impl ClassSpread {
    fn of(class: &SampledClass, directions: usize) -> Option<Self> {
        let n_records = class.len();
        if n_records < MIN_RECORDS {
            return None;
        }
        let most = directions.min(n_records / RECORDS_PER_DIRECTION);
        let basis = Centred::new(&class.vectors)?.top_directions(most);
        let dim = basis.len();
        if dim == 0 {
            return None;
        }
        let rows: Vec<&[f32]> = class
            .vectors
            .rows()
            .into_iter()
            .filter_map(|row| row.to_slice())
            .collect();
        let reduced = Mat::from_fn(rows.len(), dim, |row, column| {
            dot(rows[row], &basis[column])
        });
        let (mean, whitening) = concentrate(&reduced)?;
        let centred = around(&reduced, &mean);
        let white = multiply(centred.as_ref(), whitening.as_ref());
        let (stretches, turn) = eigen(&covariance(&white))?;
        let largest = *stretches.last()?;
        let weight = |stretch: f64| {
            if largest > 1.0 {
                (SHARPNESS * (stretch - largest) / (largest - 1.0).max(FLOOR)).exp()
            } else {
                1.0
            }
        };
        let total: f64 = stretches.iter().map(|&stretch| weight(stretch)).sum();
        let turned = multiply(whitening.as_ref(), turn.as_ref());
        let axes: Vec<(Vec<f64>, f64)> = stretches
            .iter()
            .enumerate()
            .map(|(axis, &stretch)| {
                let size = (weight(stretch) / total).sqrt();
                let mut direction = vec![0.0; class.vectors.ncols()];
                let mut origin = 0.0;
                for (column, part) in basis.iter().enumerate() {
                    let amount = size * turned[(column, axis)];
                    origin += amount * mean[column];
                    for (sum, part) in direction.iter_mut().zip(part) {
                        *sum += amount * part;
                    }
                }
                (direction, origin)
            })
            .collect();
        let mut spread = Self {
            axes,
            usual: RobustScale::of(&mut []),
        };
        let mut entropies: Vec<f64> = rows.iter().map(|row| spread.entropy(row)).collect();
        spread.usual = RobustScale::of(&mut entropies);
        Some(spread)
    }

    /// The QUE score.
    fn entropy(&self, vector: &[f32]) -> f64 {
        let along = self
            .axes
            .iter()
            .map(|(axis, origin)| dot(vector, axis) - origin);
        along.map(|along| along * along).sum()
    }
}

/// Mean of the central part of `rows` and the matrix that whitens by its covariance, which is
/// scaled so that the median record of a normal cloud would lie where it should. `None` when the
/// rows do not vary.
fn concentrate(rows: &Mat<f64>) -> Option<(Vec<f64>, Mat<f64>)> {
    let (n_rows, dim) = (rows.nrows(), rows.ncols());
    let n_central = ((n_rows as f64 * CENTRAL).ceil() as usize).clamp(1, n_rows);
    let mut distances = marginal_distances(rows);
    let mut central: Vec<usize> = Vec::new();
    let mut fitted = None;
    for _ in 0..MAX_ROUNDS {
        let mut order: Vec<usize> = (0..n_rows).collect();
        order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]).then(a.cmp(&b)));
        order.truncate(n_central);
        order.sort_unstable();
        if order == central {
            break;
        }
        central = order;
        let (mean, whitening) = whitening_of(rows, &central)?;
        let centred = around(rows, &mean);
        let white = multiply(centred.as_ref(), whitening.as_ref());
        distances.fill(0.0);
        for axis in 0..dim {
            for (distance, along) in distances.iter_mut().zip(white.col(axis).iter()) {
                *distance += along * along;
            }
        }
        fitted = Some((mean, whitening));
    }
    let (mean, mut whitening) = fitted?;
    // Median of chi-squared by Wilson and Hilferty.
    let expected = dim as f64 * (1.0 - 2.0 / (9.0 * dim as f64)).powi(3);
    let actual = median(&mut distances);
    if actual > 0.0 {
        whitening *= faer::Scale((expected / actual).sqrt());
    }
    Some((mean, whitening))
}

/// Squared distances from the medians in robust units, column by column: a start that outliers do
/// not move.
fn marginal_distances(rows: &Mat<f64>) -> Vec<f64> {
    let mut distances = vec![0.0; rows.nrows()];
    for column in 0..rows.ncols() {
        let values: Vec<f64> = rows.col(column).iter().copied().collect();
        let usual = RobustScale::of(&mut values.clone());
        for (distance, &value) in distances.iter_mut().zip(&values) {
            *distance += f64::from(usual.standardised(value)).powi(2);
        }
    }
    distances
}

/// Mean and whitening matrix of some rows.
fn whitening_of(rows: &Mat<f64>, chosen: &[usize]) -> Option<(Vec<f64>, Mat<f64>)> {
    let dim = rows.ncols();
    let n = chosen.len() as f64;
    let mean: Vec<f64> = (0..dim)
        .map(|column| chosen.iter().map(|&row| rows[(row, column)]).sum::<f64>() / n)
        .collect();
    let centred = Mat::from_fn(chosen.len(), dim, |row, column| {
        rows[(chosen[row], column)] - mean[column]
    });
    let (values, vectors) = eigen(&covariance(&centred))?;
    let floor = FLOOR * values.iter().sum::<f64>() / dim as f64;
    if !floor.is_normal() || floor <= 0.0 {
        return None;
    }
    let whitening = Mat::from_fn(dim, dim, |row, column| {
        vectors[(row, column)] / values[column].max(floor).sqrt()
    });
    Some((mean, whitening))
}

/// The rows without their mean.
fn around(rows: &Mat<f64>, mean: &[f64]) -> Mat<f64> {
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| {
        rows[(row, column)] - mean[column]
    })
}

/// The mean outer product of the rows.
fn covariance(rows: &Mat<f64>) -> Mat<f64> {
    let mut sum = multiply(rows.transpose(), rows.as_ref());
    sum *= faer::Scale(1.0 / rows.nrows().max(1) as f64);
    sum
}

#[cfg(test)]
mod tests {
    use lazaretto_testkit::seed::{normal, stream};

    use super::*;

    #[test]
    fn the_central_part_decides_the_spread() {
        let mut rng = stream(3, "concentrate");
        let rows = Mat::from_fn(400, 3, |row, column| {
            let far = if row % 8 == 0 && column == 1 {
                40.0
            } else {
                0.0
            };
            far + normal(&mut rng) * [1.0, 2.0, 5.0][column]
        });
        let (mean, whitening) = concentrate(&rows).unwrap();
        assert!(mean.iter().all(|mean| mean.abs() < 0.6), "{mean:?}");
        let white = multiply(around(&rows, &mean).as_ref(), whitening.as_ref());
        let mut lengths: Vec<f64> = (0..400)
            .filter(|row| row % 8 != 0)
            .map(|row| white.row(row).iter().map(|part| part * part).sum())
            .collect();
        // Chi-squared with three degrees of freedom has its median at 2.37.
        let middle = median(&mut lengths);
        assert!((1.6..2.6).contains(&middle), "{middle}");
        assert!(white.row(8).iter().map(|part| part * part).sum::<f64>() > 100.0);
        assert!(concentrate(&Mat::from_fn(30, 2, |_, _| 4.0)).is_none());
    }
}
