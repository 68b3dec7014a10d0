//! Centring, scaling and the error bound of the products.
//!
//! With `u` and `v` centred, `‖u − v‖² = ‖u‖² − 2 p` where `p = u·v − ½‖v‖²`. A product in single
//! precision misses `p` by at most `κ (‖u‖ ‖v‖ + ½‖v‖²)`, `κ = (d + 8) 2⁻²⁴` (Higham, Accuracy and
//! Stability of Numerical Algorithms, §3.1). Two further coordinates put both the norm and that
//! bound into the product: `(u, 1, ‖u‖) · (v, −½‖v‖² (1 − κ), κ‖v‖)` is never below `p`.

/// Records this many times farther from the centre than the median are measured one by one: their
/// products would overflow or drown the others in rounding errors.
const FAR: f64 = 1e6;
/// Stands for minus infinity in products: no record with it is ever looked at.
const NEVER: f32 = -3e38;
/// Above [`NEVER`], below every product.
const LOWEST: f32 = -1e38;
/// Coordinates beside the features.
pub(super) const EXTRA: usize = 2;

/// What makes products of records comparable.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    centre: Vec<f32>,
    /// A power of two, which scales without rounding.
    scale: f32,
    kappa: f64,
}

/// The two further coordinates of a record that is searched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    half: f32,
    reach: f32,
}

impl Geometry {
    /// Medians of the sample rows, which a few far-out records do not move.
    pub(super) fn new(sample: &[&[f32]], dim: usize) -> Self {
        let mut column = Vec::with_capacity(sample.len());
        let centre: Vec<f32> = (0..dim)
            .map(|idx| {
                column.clear();
                column.extend(sample.iter().map(|row| row[idx]).filter(|x| x.is_finite()));
                median(&mut column).unwrap_or(0.0)
            })
            .collect();
        let mut geometry = Self {
            centre,
            scale: 1.0,
            kappa: 1.05 * (dim + 8) as f64 / f64::from(1 << 24),
        };
        let mut norms: Vec<f32> = sample
            .iter()
            .map(|row| geometry.square_norm(row).sqrt() as f32)
            .filter(|norm| norm.is_finite() && *norm > 0.0)
            .collect();
        if let Some(middle) = median(&mut norms) {
            geometry.scale = (-f64::from(middle).log2())
                .round()
                .clamp(-120.0, 120.0)
                .exp2() as f32;
        }
        geometry
    }

    /// Squared length of a centred and scaled record.
    pub(super) fn square_norm(&self, row: &[f32]) -> f64 {
        square_distance(row, &self.centre) * f64::from(self.scale).powi(2)
    }

    /// Whether products say something about a record of this squared length.
    pub(super) fn is_near(square_norm: f64) -> bool {
        square_norm <= FAR * FAR
    }

    /// The further coordinates of a searched record.
    pub(super) fn tail(&self, square_norm: f64) -> Tail {
        if Self::is_near(square_norm) {
            Tail {
                half: (-0.5 * square_norm * (1.0 - self.kappa)) as f32,
                reach: (self.kappa * square_norm.sqrt()) as f32,
            }
        } else {
            Tail {
                half: NEVER,
                reach: 0.0,
            }
        }
    }

    /// Appends a searched record.
    pub(super) fn push_record(&self, row: &[f32], tail: Tail, block: &mut Vec<f32>) {
        self.push(row, tail.half > NEVER, block);
        block.extend([tail.half, tail.reach]);
    }

    /// Appends a query.
    pub(super) fn push_query(&self, row: &[f32], square_norm: f64, block: &mut Vec<f32>) {
        let near = Self::is_near(square_norm);
        self.push(row, near, block);
        let norm = if near {
            square_norm.sqrt() * (1.0 + 2e-7)
        } else {
            0.0
        };
        block.extend([1.0, norm as f32]);
    }

    fn push(&self, row: &[f32], near: bool, block: &mut Vec<f32>) {
        if near {
            let centred = row.iter().zip(&self.centre);
            block.extend(centred.map(|(&value, &middle)| (value - middle) * self.scale));
        } else {
            block.extend(std::iter::repeat_n(0.0, row.len()));
        }
    }

    /// Products up to this belong to records beyond the squared distance `bound` of a query.
    /// All products with a query that lies far out are above it.
    pub(super) fn limit(&self, bound: f64, query_square_norm: f64) -> f32 {
        if bound < 0.0 || !query_square_norm.is_finite() {
            return f32::INFINITY;
        }
        if !Self::is_near(query_square_norm) {
            return LOWEST;
        }
        let bound = bound * f64::from(self.scale).powi(2);
        let limit = 0.5 * (query_square_norm - bound * (1.0 + 1e-9));
        let slack = 1.2e-7 * limit.abs() + 1e-9 * query_square_norm + 1e-30;
        ((limit - slack) as f32).max(LOWEST)
    }
}

fn median(values: &mut [f32]) -> Option<f32> {
    let middle = values.len().checked_sub(1)? / 2;
    Some(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
}

/// Squared Euclidean distance, the same on every machine: eight sums over every eighth term.
pub(super) fn square_distance(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0_f64; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            let difference = f64::from(a) - f64::from(b);
            *sum += difference * difference;
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_out_records_move_neither_centre_nor_scale() {
        let near: Vec<Vec<f32>> = (0..9_u8).map(|i| vec![f32::from(i), 5.0]).collect();
        let far = vec![3e38_f32, -3e38];
        let mut sample: Vec<&[f32]> = near.iter().map(Vec::as_slice).collect();
        sample.extend([far.as_slice(), &[f32::NAN, f32::INFINITY]]);
        let geometry = Geometry::new(&sample, 2);
        assert!(geometry.square_norm(&near[4]) < 10.0);
        assert!(!Geometry::is_near(geometry.square_norm(&far)));
        assert!(!Geometry::is_near(geometry.square_norm(&[f32::NAN, 0.0])));
    }

    #[test]
    fn distances_count_every_coordinate_once() {
        let a: Vec<f32> = (0..19_u8).map(f32::from).collect();
        let square = square_distance(&a, &[0.0; 19]);
        assert!((square - 2109.0).abs() < 1e-9);
    }
}
