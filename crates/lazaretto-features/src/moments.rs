//! Mean, variance and skewness that merge.
//!
//! Central sums are merged pairwise with the formulas of Chan et al. (1979) and Pébay (2008),
//! which stay accurate where sums of powers cancel.

use serde::{Deserialize, Serialize};

/// Sums that are added to in turn.
const LANES: usize = 8;

/// Central moments of the finite values of a column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Number of finite values.
    pub count: u64,
    /// Their mean; 0 when there are none.
    pub mean: f64,
    /// Sum of squared differences from the mean.
    pub m2: f64,
    /// Sum of cubed differences from the mean.
    pub m3: f64,
}

impl Moments {
    /// The moments of the finite ones of `values`.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let [count, total] = lane_sums(values, |value| [1.0, value]);
        if count < 1.0 {
            return Self::default();
        }
        let mean = total / count;
        let [m2, m3] = lane_sums(values, |value| {
            let difference = value - mean;
            let square = difference * difference;
            [square, square * difference]
        });
        Self {
            count: count as u64,
            mean,
            m2,
            m3,
        }
    }

    /// Adds the values behind `other`.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let n = a + b;
        let delta = other.mean - self.mean;
        self.m3 += other.m3
            + delta.powi(3) * a * b * (a - b) / (n * n)
            + 3.0 * delta * (a * other.m2 - b * self.m2) / n;
        self.m2 += other.m2 + delta * delta * a * b / n;
        self.mean += delta * b / n;
        self.count += other.count;
    }

    /// Population variance; 0 when empty.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.m2 / self.count as f64
        }
    }

    /// Population skewness `√n · m3 / m2^1.5`; 0 for constant or no values.
    #[must_use]
    pub fn skewness(&self) -> f64 {
        let spread = self.m2.powf(1.5);
        if spread > 0.0 && spread.is_finite() {
            (self.count as f64).sqrt() * self.m3 / spread
        } else {
            0.0
        }
    }
}

/// Sums of both terms over the finite values. Each goes into one of a few sums in turn, because
/// every addition to a single one would wait for the last: a third of the time.
fn lane_sums(values: &[f64], terms: impl Fn(f64) -> [f64; 2]) -> [f64; 2] {
    let mut lanes = [[0.0; LANES]; 2];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        add_terms(chunk, &terms, &mut lanes);
    }
    add_terms(rest, &terms, &mut lanes);
    lanes.map(|lanes| lanes.iter().sum())
}

#[inline]
fn add_terms(values: &[f64], terms: &impl Fn(f64) -> [f64; 2], lanes: &mut [[f64; LANES]; 2]) {
    let [first, second] = lanes;
    for ((&value, first), second) in values.iter().zip(first).zip(second) {
        let terms = if value.is_finite() {
            terms(value)
        } else {
            [0.0; 2]
        };
        *first += terms[0];
        *second += terms[1];
    }
}
