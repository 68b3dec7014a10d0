//! The kernels that a scan spends its time in, each on data of the size of a batch.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::LargeStringArray;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lazaretto_core::{
    Batch, DataFacts, Derived, Detector, FitContext, Intermediate, RecordKey, RowHasher, TextField,
    TextPart,
};
use lazaretto_detectors::duplicates::near::{NearDuplicates, NearDuplicatesParams};
use lazaretto_features::{FeatureFit, FeatureSettings, QuantileSketch, tokenize};
use lazaretto_testkit::seed::{normal, stream};
use lazaretto_testkit::{EmbeddingSet, ReviewSet};
use ndarray::ArrayView2;

fn quantile_sketch(criterion: &mut Criterion) {
    const VALUES: usize = 131_072;
    let mut rng = stream(1, "quantiles");
    let values: Vec<f64> = (0..VALUES).map(|_| normal(&mut rng)).collect();
    let mut sketch = QuantileSketch::default();
    sketch.insert_column(&values);
    let mut group = criterion.benchmark_group("quantile-sketch");
    group.throughput(Throughput::Elements(VALUES as u64));
    group.bench_function("insert", |bencher| {
        bencher.iter(|| {
            let mut sketch = QuantileSketch::default();
            sketch.insert_column(black_box(&values));
            sketch
        });
    });
    group.bench_function("look up", |bencher| {
        bencher.iter(|| values.iter().map(|&value| sketch.cdf(value)).sum::<f64>());
    });
    group.finish();
}

/// Texts as people write them.
fn review_texts() -> TextField {
    let reviews = ReviewSet::generate(1, 2_000).with_nuisances(2).reviews;
    TextField {
        name: "text".to_owned(),
        part: TextPart::Text,
        values: LargeStringArray::from_iter_values(reviews.iter().map(|review| &review.text)),
    }
}

fn keys(n_rows: u64) -> Vec<u64> {
    let key = RecordKey::new(1);
    (0..n_rows).map(|row| key.of(&[0; 32], 0, row)).collect()
}

fn tokenizer(criterion: &mut Criterion) {
    let field = review_texts();
    let mut group = criterion.benchmark_group("tokenizer");
    group.throughput(Throughput::Bytes(field.values.value_data().len() as u64));
    group.bench_function("reviews", |bencher| {
        bencher.iter(|| tokenize(black_box(&field)));
    });
    group.finish();
}

fn row_hashing(criterion: &mut Criterion) {
    let Ok(batch) = ReviewSet::generate(1, 2_000).to_record_batch() else {
        return;
    };
    let mut group = criterion.benchmark_group("row-hash");
    group.throughput(Throughput::Elements(batch.num_rows() as u64));
    group.bench_function("reviews", |bencher| {
        bencher.iter(|| {
            let mut hasher = RowHasher::new(batch.columns())?;
            for row_idx in 0..batch.num_rows() {
                black_box(hasher.hash(row_idx));
            }
            Ok::<(), arrow::error::ArrowError>(())
        });
    });
    group.finish();
}

/// `MinHash` signatures of near-duplicate detection: its whole fit pass.
fn min_hash(criterion: &mut Criterion) {
    let texts = [review_texts()];
    let derived = Derived {
        tokens: texts.iter().map(tokenize).collect(),
        ..Derived::default()
    };
    let keys = keys(2_000);
    let facts = DataFacts {
        n_rows: keys.len() as u64,
        text_fields: vec![texts[0].name.clone()],
        ..DataFacts::default()
    };
    let context = FitContext {
        facts: Arc::new(facts),
        seed: 1,
        memory_bytes: 1 << 30,
    };
    let batch = Batch {
        times: None,
        first_row: 0,
        keys: &keys,
        labels: None,
        sources: None,
        texts: &texts,
        numeric: None,
        categorical: &[],
        embedding: None,
        given_probabilities: None,
        derived: &derived,
    };
    let detector = NearDuplicates::new(NearDuplicatesParams::default());
    let mut group = criterion.benchmark_group("min-hash");
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("reviews", |bencher| {
        bencher.iter(|| {
            let mut state = detector.start(&context);
            detector.fit(&context, &mut state, black_box(&batch));
            state
        });
    });
    group.finish();
}

/// The blocked search for neighbours, through the interface that the engine uses.
fn neighbors(criterion: &mut Criterion) {
    const QUERIES: usize = 2_048;
    let set = EmbeddingSet::mixture(1, 16_384, 64, 10, 1.0);
    let facts = DataFacts {
        n_rows: set.n_rows() as u64,
        embedding_dim: Some(set.dim),
        ..DataFacts::default()
    };
    let context = FitContext {
        facts: Arc::new(facts),
        seed: 1,
        memory_bytes: 1 << 30,
    };
    let keys = keys(set.n_rows() as u64);
    let Ok(vectors) = ArrayView2::from_shape((set.n_rows(), set.dim), &set.vectors) else {
        return;
    };
    let nothing = Derived::default();
    let batch = |n_rows: usize| Batch {
        times: None,
        first_row: 0,
        keys: &keys[..n_rows],
        labels: None,
        sources: None,
        texts: &[],
        numeric: None,
        categorical: &[],
        embedding: Some(vectors.slice_move(ndarray::s![..n_rows, ..])),
        given_probabilities: None,
        derived: &nothing,
    };
    let wanted = BTreeSet::from([Intermediate::Neighbors]);
    let mut fit = FeatureFit::start(&context, &wanted, &FeatureSettings::default());
    fit.update(&batch(set.n_rows()));
    let (shared, model) = fit.finish(&context);
    let queries = batch(QUERIES);
    let mut group = criterion.benchmark_group("neighbors");
    group.sample_size(10);
    group.throughput(Throughput::Elements(QUERIES as u64));
    group.bench_function("2,048 x 16,384 x 64", |bencher| {
        bencher.iter(|| {
            let mut derived = Derived::default();
            model.derive(&shared, black_box(&queries), &mut derived);
            derived
        });
    });
    group.finish();
}

criterion_group!(
    kernels,
    quantile_sketch,
    tokenizer,
    row_hashing,
    min_hash,
    neighbors
);
criterion_main!(kernels);
