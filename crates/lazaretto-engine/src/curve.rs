//! A detector's p-values as a short table, so that a finished run can say what a score means.

/// Levels per decade of p, by how far down they go: where a decision may lie they are dense.
const STEPS: [(f64, f64); 3] = [(-6.0, 0.125), (-30.0, 0.5), (-300.0, 10.0)];

/// A fall of p by this factor between neighbouring scores is a step.
const STEP: f64 = 1.05;

/// Scores from `low` to `high`, ascending, each with its p-value, at falling levels of p.
///
/// `p_value` must not rise with the score. Between two entries ln p is about linear in the score: in
/// the tail of a fitted null to 1 % (5 % below 1e-6), in the bulk to a third (the distance of two levels).
pub(crate) fn curve(low: f64, high: f64, p_value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let least = p_value(high);
    let mut points = vec![(low, p_value(low))];
    for level in levels() {
        if level <= least {
            break;
        }
        let (before, score) = first_at_most(level, low, high, &p_value);
        let p = p_value(score);
        // Scores with many ties fall in steps; a step must not become a slope.
        let steps = [(before, p_value(before)), (score, p)];
        let from = usize::from(steps[0].1 <= STEP * p);
        for point in &steps[from..] {
            if points.last().is_some_and(|&(last, _)| point.0 > last) {
                points.push(*point);
            }
        }
    }
    if points.last().is_some_and(|&(last, _)| high > last) {
        points.push((high, least));
    }
    points
}

fn levels() -> impl Iterator<Item = f64> {
    let mut exponent = 0.0;
    std::iter::from_fn(move || {
        let (_, step) = STEPS.iter().find(|(down_to, _)| exponent > *down_to)?;
        exponent -= step;
        Some(10_f64.powf(exponent))
    })
}

/// The least score whose p-value is at most `level`, which that of `high` is, after the score just
/// below it.
fn first_at_most(level: f64, low: f64, high: f64, p_value: impl Fn(f64) -> f64) -> (f64, f64) {
    let (mut above, mut found) = (low, high);
    for _ in 0..64 {
        let middle = f64::midpoint(above, found);
        if p_value(middle) <= level {
            found = middle;
        } else {
            above = middle;
        }
    }
    (above, found)
}

/// The p-value of `score` by the table that [`curve`] made; `None` for an empty one.
pub(crate) fn p_value_at(curve: &[(f64, f64)], score: f64) -> Option<f64> {
    let (first, last) = (curve.first()?, curve.last()?);
    let above = curve.partition_point(|&(point, _)| point < score);
    if above == 0 {
        return Some(first.1);
    }
    let Some(&(right, p_right)) = curve.get(above) else {
        return Some(last.1);
    };
    let (left, p_left) = curve[above - 1];
    let share = (score - left) / (right - left);
    Some((p_left.ln() + share * (p_right.ln() - p_left.ln())).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_gives_back_the_tail_and_the_bulk() {
        let shape = 0.2;
        let p_value = |score: f64| (1.0 + shape * score).powf(-1.0 / shape);
        let table = curve(0.0, 500.0, p_value);
        assert!(table.len() < 120, "{}", table.len());
        for step in 0..5_000 {
            let score = f64::from(step) * 0.1;
            let told = p_value_at(&table, score).unwrap();
            let tolerance = if p_value(score) > 1e-6 { 0.01 } else { 0.05 };
            assert!(
                (told / p_value(score)).ln().abs() < tolerance,
                "{score}: {told} for {}",
                p_value(score)
            );
        }
        assert!((p_value_at(&table, 1e9).unwrap() / p_value(500.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn steps_and_constants_have_tables_too() {
        let steps = |score: f64| if score < 1.0 { 1.0 } else { 1e-5 };
        let table = curve(0.0, 2.0, steps);
        assert!((p_value_at(&table, 0.5).unwrap() - 1.0).abs() < 1e-9);
        assert!((p_value_at(&table, 1.5).unwrap() / 1e-5 - 1.0).abs() < 1e-9);
        assert_eq!(curve(3.0, 3.0, |_| 1.0), [(3.0, 1.0)]);
        assert_eq!(p_value_at(&[], 1.0), None);
    }
}
