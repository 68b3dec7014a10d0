//! Limited-memory BFGS (Liu and Nocedal 1989) for smooth convex objectives.
//!
//! Vectors are `f32`, which halves the memory that bounds the speed; all inner products are
//! accumulated in `f64`, in index order.

use std::collections::VecDeque;

/// Pairs of steps and gradient changes kept.
const MEMORY: usize = 6;
/// Sufficient decrease of the line search.
const ARMIJO: f64 = 1e-4;
const MAX_HALVINGS: usize = 20;

/// A smooth function to be minimised.
pub(crate) trait Objective {
    /// The value at `point`; overwrites `gradient`.
    fn evaluate(&mut self, point: &[f32], gradient: &mut [f32]) -> f64;
}

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) max_iterations: usize,
    /// Relative decrease of the value in one iteration below which it stops.
    pub(crate) tolerance: f64,
}

struct Pair {
    step: Vec<f32>,
    change: Vec<f32>,
    curvature: f64,
}

/// Minimises `objective` from `point` on, in place. Returns the number of iterations.
pub(crate) fn minimise(objective: &mut impl Objective, point: &mut [f32], stop: Stop) -> usize {
    let n = point.len();
    let mut gradient = vec![0.0; n];
    let mut value = objective.evaluate(point, &mut gradient);
    let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let (mut trial, mut trial_gradient) = (vec![0.0; n], vec![0.0; n]);
    for iteration in 0..stop.max_iterations {
        let mut direction = descent_direction(&gradient, &pairs);
        let mut slope = dot(&direction, &gradient);
        if slope >= 0.0 {
            // Rounding spoiled the curvature estimate: steepest descent instead.
            pairs.clear();
            direction = descent_direction(&gradient, &pairs);
            slope = dot(&direction, &gradient);
        }
        if slope >= 0.0 {
            return iteration;
        }
        let mut length = 1.0_f64;
        let mut found = None;
        for _ in 0..MAX_HALVINGS {
            for ((t, &p), &d) in trial.iter_mut().zip(&*point).zip(&direction) {
                *t = p + length as f32 * d;
            }
            let trial_value = objective.evaluate(&trial, &mut trial_gradient);
            if trial_value <= value + ARMIJO * length * slope {
                found = Some(trial_value);
                break;
            }
            length /= 2.0;
        }
        let Some(next) = found else {
            return iteration;
        };
        remember(
            &mut pairs,
            &direction,
            length as f32,
            &gradient,
            &trial_gradient,
        );
        point.copy_from_slice(&trial);
        std::mem::swap(&mut gradient, &mut trial_gradient);
        let decrease = value - next;
        value = next;
        if decrease <= stop.tolerance * value.abs().max(f64::MIN_POSITIVE) {
            return iteration + 1;
        }
    }
    stop.max_iterations
}

fn remember(
    pairs: &mut VecDeque<Pair>,
    direction: &[f32],
    length: f32,
    before: &[f32],
    after: &[f32],
) {
    let mut pair = if pairs.len() == MEMORY {
        pairs.pop_front()
    } else {
        None
    }
    .unwrap_or_else(|| Pair {
        step: vec![0.0; direction.len()],
        change: vec![0.0; direction.len()],
        curvature: 0.0,
    });
    for (s, &d) in pair.step.iter_mut().zip(direction) {
        *s = length * d;
    }
    for ((c, &a), &b) in pair.change.iter_mut().zip(after).zip(before) {
        *c = a - b;
    }
    pair.curvature = dot(&pair.step, &pair.change);
    if pair.curvature > 0.0 {
        pairs.push_back(pair);
    }
}

/// The two-loop recursion.
fn descent_direction(gradient: &[f32], pairs: &VecDeque<Pair>) -> Vec<f32> {
    let mut direction: Vec<f32> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let alpha = dot(&pair.step, &direction) / pair.curvature;
        add_scaled(&mut direction, -alpha, &pair.change);
        alphas.push(alpha);
    }
    let scale = match pairs.back() {
        Some(pair) => pair.curvature / dot(&pair.change, &pair.change),
        // A first step of length one at most.
        None => 1.0 / dot(gradient, gradient).sqrt().max(1.0),
    };
    for d in &mut direction {
        *d *= scale as f32;
    }
    for (pair, alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
        let beta = dot(&pair.change, &direction) / pair.curvature;
        add_scaled(&mut direction, alpha - beta, &pair.step);
    }
    direction
}

fn add_scaled(target: &mut [f32], factor: f64, other: &[f32]) {
    for (t, &o) in target.iter_mut().zip(other) {
        *t += factor as f32 * o;
    }
}

/// Inner product with eight accumulators, which the compiler can vectorise; the order is fixed.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks
        .remainder()
        .iter()
        .zip(b_chunks.remainder())
        .map(|(&x, &y)| f64::from(x) * f64::from(y))
        .sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for (lane, (&x, &y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += f64::from(x) * f64::from(y);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rosenbrock;

    impl Objective for Rosenbrock {
        fn evaluate(&mut self, point: &[f32], gradient: &mut [f32]) -> f64 {
            let (x, y) = (f64::from(point[0]), f64::from(point[1]));
            let bend = y - x * x;
            gradient[0] = (-2.0 * (1.0 - x) - 40.0 * x * bend) as f32;
            gradient[1] = (20.0 * bend) as f32;
            (1.0 - x).powi(2) + 10.0 * bend * bend
        }
    }

    #[test]
    fn finds_the_bottom_of_a_bent_valley() {
        let mut point = [-1.2, 1.0];
        let stop = Stop {
            max_iterations: 200,
            tolerance: 1e-12,
        };
        let iterations = minimise(&mut Rosenbrock, &mut point, stop);
        assert!(iterations < 100, "{iterations} iterations");
        assert!((point[0] - 1.0).abs() < 1e-2 && (point[1] - 1.0).abs() < 1e-2);
    }
}
