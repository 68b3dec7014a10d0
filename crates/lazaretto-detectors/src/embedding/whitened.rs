//! The sampled vectors in coordinates where every class has the same, round spread.
//!
//! All classes share one covariance around their means. Dividing by it makes Euclidean distances
//! comparable between directions and classes, and a Gaussian model of each class linear: what a
//! class says about a record is an inner product.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use ndarray::{Array2, ArrayView2, s};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::embedding::class_sample::SampledClass;
use crate::embedding::spectrum::{dot, eigen, multiply};

/// Longer vectors are projected onto this many random directions first, which keeps distances
/// within some percent (Johnson & Lindenstrauss 1984) and the covariance affordable.
const MAX_DIM: usize = 512;

/// Part of the mean variance that is added to every direction, so that one without natural
/// variance does not decide alone.
const RIDGE: f64 = 0.1;

/// The covariance is summed in this many parts, whatever the number of threads.
const PARTS: usize = 4;

/// The classes that are large enough, whitened by their shared covariance.
pub(crate) struct Whitened {
    /// Class indices, ascending.
    pub classes: Vec<usize>,
    /// Centroid of each of `classes`, `n_classes × dim`, whitened.
    pub centroids: Array2<f64>,
    /// Whitened vectors of all of them, class after class.
    vectors: Array2<f32>,
    /// Where each class's vectors start; one more than classes.
    starts: Vec<usize>,
    /// Mean of all vectors, in the unit of the data.
    origin: Vec<f64>,
    /// Coordinates of the data to whitened ones, `data_dim × dim`.
    transform: Mat<f64>,
}

/// What a direction of the whitened space means for a vector of the data.
#[derive(Clone, Debug)]
pub(crate) struct Functional {
    /// Inner product with the vector …
    direction: Vec<f64>,
    /// … plus this.
    offset: f64,
}

impl Functional {
    /// Its value at a vector of the data.
    pub(crate) fn of(&self, vector: &[f32]) -> f64 {
        dot(vector, &self.direction) + self.offset
    }
}

impl Whitened {
    /// Whitens the classes with at least `min_records` sampled vectors; `None` with fewer than two
    /// of them or without any spread inside classes.
    pub(crate) fn new(sample: &[SampledClass], min_records: usize, seed: u64) -> Option<Self> {
        let classes: Vec<usize> = (0..sample.len())
            .filter(|&class| sample[class].len() >= min_records)
            .collect();
        let data_dim = sample.first()?.vectors.ncols();
        if classes.len() < 2 || data_dim == 0 {
            return None;
        }
        let mut starts = vec![0];
        for &class in &classes {
            starts.push(starts.last()? + sample[class].len());
        }
        let origin = origin(sample, &classes);
        let (scaled, scale) = scaled(sample, &classes, &origin)?;
        let projection = projection(data_dim, seed);
        let base = match &projection {
            Some(projection) => times(&scaled, projection),
            None => scaled,
        };
        let (values, vectors) = eigen(&within_covariance(&base, &starts))?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        if !mean.is_normal() || mean <= 0.0 {
            return None;
        }
        let whitening = Mat::from_fn(vectors.nrows(), vectors.ncols(), |row, column| {
            vectors[(row, column)] / (values[column].max(0.0) + RIDGE * mean).sqrt()
        });
        let vectors = times(&base, &whitening);
        let mut transform = match projection {
            Some(projection) => multiply(projection.as_ref(), whitening.as_ref()),
            None => whitening,
        };
        transform *= faer::Scale(1.0 / scale);
        let centroids = means(&vectors, &starts);
        Some(Self {
            classes,
            centroids,
            vectors,
            starts,
            origin,
            transform,
        })
    }

    /// The whitened vectors of the class at `position` in [`Self::classes`], `n_records × dim`.
    pub(crate) fn of_class(&self, position: usize) -> ArrayView2<'_, f32> {
        let rows = self.starts[position]..self.starts[position + 1];
        self.vectors.slice(s![rows, ..])
    }

    /// Number of sampled records of the class at `position`.
    pub(crate) fn n_records(&self, position: usize) -> usize {
        self.starts[position + 1] - self.starts[position]
    }

    /// The inner product with `whitened` as a function of vectors of the data.
    pub(crate) fn functional(&self, whitened: &[f64]) -> Functional {
        let mut direction = vec![0.0; self.transform.nrows()];
        for (column, &weight) in whitened.iter().enumerate() {
            for (sum, &part) in direction.iter_mut().zip(self.transform.col(column).iter()) {
                *sum += weight * part;
            }
        }
        let offset = -self
            .origin
            .iter()
            .zip(&direction)
            .map(|(a, b)| a * b)
            .sum::<f64>();
        Functional { direction, offset }
    }
}

/// The mean of all vectors of `classes`.
fn origin(sample: &[SampledClass], classes: &[usize]) -> Vec<f64> {
    let mut sums = vec![0.0; sample.first().map_or(0, |class| class.vectors.ncols())];
    let mut n_rows = 0;
    for &class in classes {
        for row in sample[class].vectors.rows() {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
            n_rows += 1;
        }
    }
    for sum in &mut sums {
        *sum /= f64::from(n_rows.max(1));
    }
    sums
}

/// All vectors of `classes` around `origin`, divided by the largest coordinate among them so that
/// single precision holds their squares; and that divisor. `None` when all are the same.
fn scaled(
    sample: &[SampledClass],
    classes: &[usize],
    origin: &[f64],
) -> Option<(Array2<f32>, f64)> {
    let rows = || {
        classes
            .iter()
            .flat_map(|&class| sample[class].vectors.rows())
    };
    let scale = rows()
        .flat_map(|row| row.into_iter().zip(origin))
        .fold(0.0_f64, |largest, (&value, &mean)| {
            largest.max((f64::from(value) - mean).abs())
        });
    if scale <= f64::from(f32::MIN_POSITIVE) {
        return None;
    }
    let mut values = Vec::new();
    for row in rows() {
        let centred = row.into_iter().zip(origin);
        values.extend(centred.map(|(&value, &mean)| ((f64::from(value) - mean) / scale) as f32));
    }
    let n_rows = values.len() / origin.len();
    let scaled = Array2::from_shape_vec((n_rows, origin.len()), values).ok()?;
    Some((scaled, scale))
}

/// Random directions for vectors longer than [`MAX_DIM`], as columns: signs suffice (Achlioptas
/// 2003).
fn projection(data_dim: usize, seed: u64) -> Option<Mat<f64>> {
    if data_dim <= MAX_DIM {
        return None;
    }
    let size = (1.0 / MAX_DIM as f64).sqrt();
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7768_6974_656e_6564);
    Some(Mat::from_fn(data_dim, MAX_DIM, |_, _| {
        if rng.r#gen() { size } else { -size }
    }))
}

/// `rows · matrix` in single precision, in blocks of rows side by side.
fn times(rows: &Array2<f32>, matrix: &Mat<f64>) -> Array2<f32> {
    const BLOCK: usize = 1024;
    let (dim, out_dim) = (matrix.nrows(), matrix.ncols());
    let matrix = Mat::from_fn(dim, out_dim, |row, column| matrix[(row, column)] as f32);
    let mut out = vec![0.0_f32; rows.nrows() * out_dim];
    out.par_chunks_mut(BLOCK * out_dim)
        .enumerate()
        .for_each(|(block_idx, out)| {
            let first = block_idx * BLOCK;
            let n_rows = out.len() / out_dim;
            let block = rows.slice(s![first..first + n_rows, ..]);
            let Some(block) = block.as_slice() else {
                return;
            };
            let product = faer::MatMut::from_row_major_slice_mut(out, n_rows, out_dim);
            let block = MatRef::from_row_major_slice(block, n_rows, dim);
            matmul(product, Accum::Replace, block, &matrix, 1.0, Par::Seq);
        });
    Array2::from_shape_vec((rows.nrows(), out_dim), out).unwrap_or_else(|_| Array2::zeros((0, 0)))
}

/// The mean of each class, `n_classes × dim`.
fn means(vectors: &Array2<f32>, starts: &[usize]) -> Array2<f64> {
    let mut means = Array2::zeros((starts.len() - 1, vectors.ncols()));
    for (mut mean, range) in means.rows_mut().into_iter().zip(starts.windows(2)) {
        for row in vectors.slice(s![range[0]..range[1], ..]).rows() {
            for (sum, &value) in mean.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        mean /= (range[1] - range[0]) as f64;
    }
    means
}

/// The covariance of vectors around the mean of their class.
fn within_covariance(vectors: &Array2<f32>, starts: &[usize]) -> Mat<f64> {
    let dim = vectors.ncols();
    let means = means(vectors, starts);
    let n_classes = means.nrows();
    let parts: Vec<Mat<f32>> = (0..PARTS.min(n_classes))
        .into_par_iter()
        .map(|part| {
            let mut sum = Mat::<f32>::zeros(dim, dim);
            for class in (part..n_classes).step_by(PARTS) {
                let rows = vectors.slice(s![starts[class]..starts[class + 1], ..]);
                let mean = means.row(class);
                let mut centred = Vec::with_capacity(rows.len());
                for row in rows.rows() {
                    let values = row.into_iter().zip(mean);
                    centred.extend(values.map(|(&value, &mean)| value - mean as f32));
                }
                let centred = MatRef::from_row_major_slice(&centred, rows.nrows(), dim);
                let transposed = centred.transpose();
                matmul(sum.as_mut(), Accum::Add, transposed, centred, 1.0, Par::Seq);
            }
            sum
        })
        .collect();
    let n_rows = vectors.nrows().max(1) as f64;
    Mat::from_fn(dim, dim, |row, column| {
        parts
            .iter()
            .map(|part| f64::from(part[(row, column)]))
            .sum::<f64>()
            / n_rows
    })
}

#[cfg(test)]
mod tests {
    use lazaretto_testkit::seed::{normal, stream};

    use super::*;

    fn sample(n_classes: usize, n_records: usize, dim: usize, unit: f32) -> Vec<SampledClass> {
        let mut rng = stream(5, "whitened");
        (0..n_classes)
            .map(|class| SampledClass {
                ordinals: (0..n_records as u64).collect(),
                vectors: Array2::from_shape_fn((n_records, dim), |(_, column)| {
                    let centre = if column == class { 30.0 } else { 0.0 };
                    let spread = if column % 2 == 0 { 3.0 } else { 1.0 };
                    unit * (centre + spread * normal(&mut rng)) as f32
                }),
            })
            .collect()
    }

    #[test]
    fn classes_become_round_in_any_unit() {
        for unit in [1e-20, 1.0, 1e30] {
            let sample = sample(3, 2000, 4, unit);
            let whitened = Whitened::new(&sample, 20, 1).unwrap();
            assert_eq!(whitened.classes, [0, 1, 2]);
            for position in 0..3 {
                let rows = whitened.of_class(position);
                let (mut spreads, mut lengths) = (vec![0.0; 4], 0.0);
                for row in rows.rows() {
                    for (column, &value) in row.iter().enumerate() {
                        let residual = f64::from(value) - whitened.centroids[[position, column]];
                        spreads[column] += residual * residual / 2000.0;
                        lengths += residual * residual / 2000.0;
                    }
                }
                // The ridge is a tenth of the mean variance 5: 9 becomes 9/9.5, 1 becomes 1/1.5.
                let expected = 2.0 * (9.0 / 9.5 + 1.0 / 1.5);
                assert!((lengths - expected).abs() < 0.2, "{spreads:?}");
            }
        }
    }

    #[test]
    fn a_functional_gives_on_the_data_what_the_whitened_inner_product_is() {
        for dim in [5, MAX_DIM + 40] {
            let sample = sample(3, 60, dim, 2.0);
            let whitened = Whitened::new(&sample, 20, 1).unwrap();
            let direction = whitened.centroids.row(1).to_vec();
            let functional = whitened.functional(&direction);
            for (row, vector) in whitened
                .of_class(2)
                .rows()
                .into_iter()
                .zip(sample[2].vectors.rows())
            {
                let expected = dot(row.as_slice().unwrap(), &direction);
                let on_data = functional.of(vector.as_slice().unwrap());
                assert!(
                    (on_data - expected).abs() < 1e-3 * expected.abs().max(1.0),
                    "{on_data} {expected}"
                );
            }
        }
    }

    #[test]
    fn small_classes_are_left_out_and_constants_refused() {
        let mut classes = sample(3, 60, 4, 1.0);
        classes[1].vectors = classes[1].vectors.slice(s![..9, ..]).to_owned();
        classes[1].ordinals.truncate(9);
        assert_eq!(Whitened::new(&classes, 20, 1).unwrap().classes, [0, 2]);
        assert!(Whitened::new(&classes[..2], 20, 1).is_none());
        for class in &mut classes {
            class.vectors.fill(3.0);
        }
        assert!(Whitened::new(&classes, 5, 1).is_none());
    }
}
