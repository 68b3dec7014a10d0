//! The quantile sketch against exact counting.
#![expect(
    clippy::float_cmp,
    reason = "exactness is what most of these tests assert"
)]

use lazaretto_features::{Moments, QuantileSketch};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

fn sketch(capacity: usize, parts: &[&[f64]]) -> QuantileSketch {
    let mut merged = QuantileSketch::new(capacity);
    for part in parts {
        let mut sketch = QuantileSketch::new(capacity);
        sketch.insert_column(part);
        merged.merge(&sketch);
    }
    merged
}

fn exact(values: &[f64], x: f64) -> (f64, f64) {
    let n = values.len() as f64;
    let share = |keep: &dyn Fn(&f64) -> bool| values.iter().filter(|v| keep(v)).count() as f64 / n;
    (share(&|&v| v < x), share(&|&v| v <= x))
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (-20_i32..20).prop_map(f64::from),
        3 => -1e3_f64..1e3,
        1 => Just(0.0),
        1 => Just(-0.0),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(1e300), Just(-1e300)],
    ]
}

proptest! {
    #[test]
    fn few_distinct_values_are_exact_however_they_are_cut(
        values in prop::collection::vec(value(), 1..300),
        cut in 0_usize..300,
        probes in prop::collection::vec(value(), 20),
    ) {
        let cut = cut.min(values.len());
        let whole = sketch(1024, &[&values]);
        let merged = sketch(1024, &[&values[..cut], &values[cut..]]);
        prop_assert_eq!(merged.count(), values.len() as u64);
        for x in probes.into_iter().filter(|x| !x.is_nan()) {
            // Between two values the function is interpolated; at values it is exact.
            if values.contains(&x) {
                prop_assert_eq!(merged.cdf_both(x), exact(&values, x));
            }
            prop_assert_eq!(merged.cdf_both(x), whole.cdf_both(x));
        }
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        prop_assert_eq!(merged.min(), sorted[0]);
        prop_assert_eq!(merged.max(), sorted[sorted.len() - 1]);
    }

    #[test]
    fn moments_do_not_depend_on_the_cut(
        values in prop::collection::vec(-1e3_f64..1e3, 2..200),
        cut in 0_usize..200,
    ) {
        let cut = cut.min(values.len());
        let mut merged = Moments::of(&values[..cut]);
        merged.merge(&Moments::of(&values[cut..]));
        let whole = Moments::of(&values);
        prop_assert_eq!(merged.count, whole.count);
        for (a, b, size) in [
            (merged.mean, whole.mean, 1e3),
            (merged.m2, whole.m2, 1e6 * values.len() as f64),
            (merged.m3, whole.m3, 1e9 * values.len() as f64),
        ] {
            prop_assert!((a - b).abs() <= 1e-10 * size, "{} and {}", a, b);
        }
    }

    #[test]
    fn ranks_stay_close_when_knots_are_dropped(
        seed in 0_u64..1000,
        n_parts in 1_usize..8,
        heavy in 0.0_f64..0.95,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values: Vec<f64> = (0..6000)
            .map(|_| if rng.gen_bool(heavy) { 0.0 } else { rng.gen_range(0.0_f64..1.0).powi(-2) - 2.0 })
            .collect();
        let parts: Vec<&[f64]> = values.chunks(values.len().div_ceil(n_parts)).collect();
        let sketch = sketch(256, &parts);
        prop_assert!(sketch.knots() <= 256);
        let total = values.len() as f64;
        values.sort_by(f64::total_cmp);
        for (rank, &x) in values.iter().enumerate().step_by(37) {
            let (below, upto) = exact(&values, x);
            let (got_below, got_upto) = sketch.cdf_both(x);
            let depth = (rank as f64 / total).min(1.0 - rank as f64 / total);
            // A gap holds at most two units of the k1 scale: by its derivative here, and by its
            // curvature at the ends.
            let step = 2.0 * std::f64::consts::PI / 128.0;
            let unit = step * (depth * (1.0 - depth)).sqrt() + step * step / 4.0;
            let allowed = 2.0 * unit + 3.0 / total;
            prop_assert!((got_upto - upto).abs() <= allowed, "at {} upto {} got {}", x, upto, got_upto);
            prop_assert!((got_below - below).abs() <= allowed, "at {} below {} got {}", x, below, got_below);
        }
        for q in [0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999] {
            let (below, upto) = exact(&values, sketch.quantile(q));
            prop_assert!(below <= q + 0.04 && upto >= q - 0.04, "quantile {} is {}..{}", q, below, upto);
        }
        for &extreme in [&values[0], &values[values.len() - 1]] {
            prop_assert_eq!(sketch.cdf_both(extreme), exact(&values, extreme));
        }
    }
}

#[test]
fn ties_are_kept_apart_from_their_surroundings() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut values = vec![0.0; 92_000];
    values.extend((0..8000).map(|_| rng.gen_range(0.1..9.0)));
    let sketch = sketch(512, &[&values[..40_000], &values[40_000..]]);
    let (below, upto) = sketch.cdf_both(0.0);
    assert!(below.abs() < 1e-12 && (upto - 0.92).abs() < 1e-12);
    assert_eq!(sketch.quantile(0.9), 0.0);
    assert!(sketch.quantile(0.93) > 0.1);
}

#[test]
fn nothing_seen_says_nothing() {
    let mut sketch = QuantileSketch::default();
    sketch.insert_column(&[f64::NAN, f64::NAN]);
    assert!(sketch.is_empty() && sketch.nan_count() == 2);
    for value in [
        sketch.min(),
        sketch.max(),
        sketch.quantile(0.5),
        sketch.cdf(0.0),
    ] {
        assert!(value.is_nan());
    }
    sketch.insert_column(&[3.0]);
    assert_eq!(
        (sketch.quantile(0.0), sketch.quantile(1.0), sketch.cdf(2.9)),
        (3.0, 3.0, 0.0)
    );
    assert!(sketch.cdf(f64::NAN).is_nan() && sketch.quantile(f64::NAN).is_nan());
}

#[test]
fn skewness_agrees_with_scipy() {
    // scipy 1.17.1 `scipy.stats.skew([1, 2, 2, 3, 10])`.
    let skewness = Moments::of(&[1.0, 2.0, 2.0, 3.0, 10.0, f64::NAN, f64::INFINITY]).skewness();
    assert!(
        (skewness - 1.360_892_729_443_322_4).abs() < 1e-12,
        "{skewness}"
    );
    assert_eq!(Moments::of(&[4.0; 3]).skewness(), 0.0);
}

#[test]
fn states_survive_their_bytes() {
    let values: Vec<f64> = (0..9000).map(|i| f64::from(i).sin()).collect();
    let sketch = sketch(256, &[&values]);
    let bytes = postcard::to_allocvec(&sketch).unwrap();
    assert_eq!(
        postcard::from_bytes::<QuantileSketch>(&bytes).unwrap(),
        sketch
    );
}
