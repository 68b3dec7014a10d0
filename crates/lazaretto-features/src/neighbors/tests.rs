//! Both searches against a plain loop over all pairs.

use lazaretto_core::Neighbors;
use lazaretto_core::shared::Reference;
use ndarray::{Array2, Axis};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{NeighborSearch, VectorIndex};
use crate::store::{Precision, VectorWriter, Vectors};

fn plain(records: &Array2<f32>, k: usize) -> Vec<Vec<(f64, u32)>> {
    let finite = |row: usize| records.row(row).iter().all(|value| value.is_finite());
    (0..records.nrows())
        .map(|row| {
            let mut found: Vec<(f64, u32)> = (0..records.nrows())
                .filter(|&other| other != row && finite(row) && finite(other))
                .map(|other| {
                    let pairs = records.row(row).into_iter().zip(records.row(other));
                    let square = pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
                    (square.sum::<f64>(), other as u32)
                })
                .collect();
            found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            found.truncate(k);
            found
        })
        .collect()
}

/// Equal distances, and equal indices where no other record is as near but for rounding.
fn assert_same(found: &Neighbors, expected: &[Vec<(f64, u32)>], what: &str) {
    assert_eq!(found.indices.nrows(), expected.len());
    for (row, expected) in expected.iter().enumerate() {
        let distances = found.distances.row(row);
        let known = distances.iter().filter(|d| !d.is_nan()).count();
        assert_eq!(
            known,
            expected.len().min(found.indices.ncols()),
            "{what}, {row}"
        );
        for (slot, &(square, idx)) in expected.iter().enumerate().take(known) {
            let distance = f64::from(distances[slot]);
            let apart = (distance - square.sqrt().min(f64::from(f32::MAX))).abs();
            assert!(
                apart <= 1e-6 * square.sqrt(),
                "{what}, {row}: {distance} {square}"
            );
            let twin = |other: &(f64, u32)| {
                other.1 != idx && (other.0 - square).abs() <= 1e-12 * square && square > 0.0
            };
            if !expected.iter().any(twin) && slot + 1 < expected.len() {
                assert_eq!(found.indices[[row, slot]], idx, "{what}, {row}, {slot}");
            }
        }
    }
}

fn cloud(n: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((n, dim), || rng.gen_range(-1.0_f32..1.0))
}

#[test]
fn awkward_records_are_found_as_by_a_plain_loop() {
    let mut sorted = cloud(700, 3, 1);
    for (row, mut values) in sorted.rows_mut().into_iter().enumerate() {
        values[0] = row as f32;
    }
    let offset = cloud(600, 9, 2).mapv(|x| x + 5000.0);
    let mut duplicates = cloud(900, 5, 3);
    for row in 100..800 {
        let copy = duplicates.row(row % 7).to_owned();
        duplicates.row_mut(row).assign(&copy);
    }
    let grid = cloud(800, 2, 4).mapv(|x| (x * 4.0).round());
    let mut wild = cloud(600, 4, 5);
    wild.row_mut(17).fill(1e30);
    wild.row_mut(400).fill(-3e38);
    wild.row_mut(401).fill(3e38);
    wild[[30, 2]] = f32::NAN;
    wild[[31, 2]] = f32::INFINITY;
    let mut scales = cloud(500, 6, 6);
    for (row, mut values) in scales.rows_mut().into_iter().enumerate() {
        values *= 10_f32.powi(row as i32 % 60 - 30);
    }
    let tiny = cloud(300, 4, 7).mapv(|x| x * 1e-30);
    for (what, records) in [
        ("sorted", sorted),
        ("offset", offset),
        ("duplicates", duplicates),
        ("grid", grid),
        ("wild", wild),
        ("scales", scales),
        ("tiny", tiny),
        ("all the same", Array2::from_elem((600, 3), 7.0)),
        ("zeros", Array2::zeros((300, 3))),
        ("two", cloud(2, 3, 8)),
        ("one", cloud(1, 3, 9)),
        ("none", cloud(0, 3, 9)),
        ("no dimension", cloud(5, 0, 9)),
    ] {
        let search = NeighborSearch::new(records.clone(), 7);
        if search.k() == 0 {
            assert!(records.nrows() < 2 || records.ncols() == 0, "{what}");
            assert_eq!(search.among_each_other().distances.ncols(), 0);
            continue;
        }
        let expected = plain(&records, 7);
        let among = search.among_each_other();
        assert_same(&among, &expected, what);
        let own: Vec<u32> = (0..records.nrows() as u32).collect();
        let found = search.find(records.view(), &own);
        assert_eq!(found.indices, among.indices, "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_cloud_is_searched_as_by_a_plain_loop(
        n in 2_usize..700,
        dim in 1_usize..40,
        k in 1_usize..30,
        digits in 0_i32..4,
        seed in 0_u64..1000,
    ) {
        let unit = 10_f32.powi(digits);
        let records = cloud(n, dim, seed).mapv(|x| (x * unit).round() / unit);
        let search = NeighborSearch::new(records.clone(), k);
        assert_same(&search.among_each_other(), &plain(&records, search.k()), "cloud");
    }
}

/// Clusters in a store, and a sample of them.
fn stored(n: usize) -> (Array2<f32>, Vectors, Reference) {
    let mut records = cloud(n, 8, 11);
    let centres = cloud(40, 8, 12).mapv(|x| x * 6.0);
    for (row, mut values) in records.rows_mut().into_iter().enumerate() {
        values += &centres.row(row * 31 % 40);
    }
    records.row_mut(5).fill(f32::NAN);
    let writer = VectorWriter::in_memory(n, 8, Precision::Single);
    writer.write(0, records.view()).unwrap();
    let rows: Vec<usize> = (0..n).filter(|row| row % 4 == 1 && *row != 5).collect();
    let sample = Reference {
        features: records.select(Axis(0), &rows),
        labels: vec![0; rows.len()],
        ordinals: rows.iter().map(|&row| row as u64).collect(),
        keys: rows
            .iter()
            .map(|&row| (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect(),
    };
    (records, Vectors::Stored(writer.finish().unwrap()), sample)
}

#[test]
fn the_index_finds_most_and_says_how_much() {
    let (records, vectors, sample) = stored(6000);
    let index = VectorIndex::new(vectors, &sample, 10);
    let own: Vec<u32> = (0..6000).collect();
    let found = index.find(records.view(), &own);
    let expected = plain(&records, 10);
    let (mut hits, mut total) = (0, 0);
    for (row, expected) in expected.iter().enumerate() {
        for &(_, idx) in expected {
            total += 1;
            hits += u32::from(found.indices.row(row).iter().any(|&other| other == idx));
        }
    }
    let recall = f64::from(hits) / f64::from(total);
    assert!(recall > 0.93, "{recall}");
    let note = index.describe();
    let said: f64 = note
        .split("recall@10 ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|number| number.parse().ok())
        .unwrap();
    assert!((said - recall).abs() < 0.03, "{note}: {recall}");
    assert!(found.distances.row(5).iter().all(|d| d.is_nan()));
    assert_eq!(index.n_usable(), 5999);
}

#[test]
fn threads_and_batches_do_not_matter() {
    let run = |threads: usize, batch: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let (records, vectors, sample) = stored(3000);
            let exact = NeighborSearch::new(records.clone(), 10).among_each_other();
            let index = VectorIndex::new(vectors, &sample, 10);
            let mut bits: Vec<u32> = exact.distances.iter().map(|d| d.to_bits()).collect();
            bits.extend(&exact.indices);
            for first in (0..3000).step_by(batch) {
                let rows: Vec<usize> = (first..(first + batch).min(3000)).collect();
                let own: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
                let found = index.find(records.select(Axis(0), &rows).view(), &own);
                bits.extend(found.distances.iter().map(|d| d.to_bits()));
                bits.extend(&found.indices);
            }
            (bits, index.describe())
        })
    };
    assert_eq!(run(1, 3000), run(2, 3000));
    let (one, _) = run(2, 1000);
    let (other, _) = run(1, 1000);
    assert_eq!(one, other);
}
