//! Measures the shared intermediates on one of the bench sets:
//! `cargo run --release -p lazaretto-features --example evaluate -- SET.parquet LABEL`
//! (`-` for a set without labels). Prints accuracy, log loss and calibration of the out-of-fold
//! probabilities, the accuracy of a vote of the neighbours, and, with a truth file beside the set,
//! how well label confidence and neighbour distance rank the poison.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    clippy::too_many_lines
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray, LargeStringArray, RecordBatch, RecordBatchReader as _};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use lazaretto_core::detector::DataFacts;
use lazaretto_core::params::Params as _;
use lazaretto_core::{Batch, Derived, FitContext, Intermediate, RecordKey, TextField, TextPart};
use lazaretto_features::{FeatureFit, FeatureSettings, hash_word, tokenize};
use ndarray::{Array2, ShapeBuilder as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn read(path: &str) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

fn strings(array: &ArrayRef) -> LargeStringArray {
    let cast = cast(array, &DataType::LargeUtf8).unwrap();
    cast.as_string::<i64>().clone()
}

/// Area under the ROC curve, and average precision.
fn ranking(scores: &[f32], truth: &[bool]) -> (f64, f64) {
    let mut order: Vec<usize> = (0..scores.len()).filter(|&i| !scores[i].is_nan()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let positives = order.iter().filter(|&&i| truth[i]).count() as f64;
    let negatives = order.len() as f64 - positives;
    let (mut hits, mut area, mut precision) = (0.0, 0.0, 0.0);
    for (rank, &i) in order.iter().enumerate() {
        if truth[i] {
            hits += 1.0;
            precision += hits / (rank + 1) as f64;
        } else {
            area += hits;
        }
    }
    (area / (positives * negatives), precision / positives)
}

fn main() {
    assert!(FeatureSettings::default().problems().is_empty());
    let args: Vec<String> = std::env::args().collect();
    let data = read(&args[1]);
    let n = data.num_rows();
    let mut facts = DataFacts {
        n_rows: n as u64,
        ..DataFacts::default()
    };
    let mut labels = vec![u32::MAX; n];
    let mut texts = Vec::new();
    let mut numeric: Vec<f64> = Vec::new();
    let mut categorical = Vec::new();
    let mut embedding = None;
    for (field, column) in data.schema().fields().iter().zip(data.columns()) {
        let name = field.name();
        if name == "row_id" || name == "source" {
            continue;
        }
        if *name == args[2] {
            let values = strings(column);
            let classes: BTreeSet<&str> = values.iter().flatten().collect();
            facts.classes = classes.iter().map(|&c| c.to_owned()).collect();
            for (label, value) in labels.iter_mut().zip(&values) {
                *label = classes.iter().position(|&c| Some(c) == value).unwrap() as u32;
            }
        } else if let DataType::FixedSizeList(_, dim) = field.data_type() {
            let dim = *dim as usize;
            let values = cast(column.as_fixed_size_list().values(), &DataType::Float32).unwrap();
            let values = values.as_primitive::<Float32Type>().values().to_vec();
            facts.embedding_dim = Some(dim);
            embedding = Some(Array2::from_shape_vec((n, dim), values).unwrap());
        } else if let DataType::List(_) = field.data_type() {
            let values = cast(column.as_list::<i32>().values(), &DataType::Float32).unwrap();
            let values = values.as_primitive::<Float32Type>().values().to_vec();
            let dim = values.len() / n;
            facts.embedding_dim = Some(dim);
            embedding = Some(Array2::from_shape_vec((n, dim), values).unwrap());
        } else if field.data_type().is_numeric() {
            let values = cast(column, &DataType::Float64).unwrap();
            facts.numeric_columns.push(name.clone());
            let values = values.as_primitive::<Float64Type>();
            numeric.extend(values.iter().map(|v| v.unwrap_or(f64::NAN)));
        } else if ["text", "instruction", "input", "output"].contains(&name.as_str()) {
            facts.text_fields.push(name.clone());
            texts.push(TextField {
                name: name.clone(),
                part: TextPart::Text,
                values: strings(column),
            });
        } else {
            facts.categorical_columns.push(name.clone());
            let values = strings(column);
            categorical.push(
                values
                    .iter()
                    .map(|v| v.map_or(0, hash_word))
                    .collect::<Vec<_>>(),
            );
        }
    }
    let numeric = Array2::from_shape_vec((n, facts.numeric_columns.len()).f(), numeric).unwrap();
    let key = RecordKey::new(1);
    let keys: Vec<u64> = (0..n as u64).map(|row| key.of(&[0; 32], 0, row)).collect();
    let start = Instant::now();
    let derived = Derived {
        tokens: texts.iter().map(tokenize).collect(),
        ..Derived::default()
    };
    println!("tokens {:.2} s", start.elapsed().as_secs_f64());
    let batch = Batch {
        first_row: 0,
        keys: &keys,
        labels: (!facts.classes.is_empty()).then_some(&labels),
        sources: None,
        texts: &texts,
        numeric: Some(numeric.view()),
        categorical: &categorical,
        embedding: embedding.as_ref().map(Array2::view),
        given_probabilities: None,
        derived: &derived,
    };
    let context = FitContext {
        facts: Arc::new(facts),
        seed: 1,
        memory_bytes: 1 << 30,
    };
    let wanted = BTreeSet::from([
        Intermediate::Neighbors,
        Intermediate::Probabilities,
        Intermediate::TextClassifier,
    ]);
    let start = Instant::now();
    let mut fit = FeatureFit::start(&context, &wanted, &FeatureSettings::default());
    fit.update(&batch);
    let (shared, model) = fit.finish(&context);
    println!("fit {:.2} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let mut out = Derived::default();
    model.derive(&shared, &batch, &mut out);
    println!("derive {:.2} s", start.elapsed().as_secs_f64());
    for line in model.describe() {
        println!("  {line}");
    }

    let truth_path = args[1].replace(".parquet", ".truth.parquet");
    let truth = read(&truth_path);
    let poison = cast(
        truth.column_by_name("is_poison").unwrap(),
        &DataType::Float64,
    )
    .unwrap();
    let poison: Vec<bool> = poison
        .as_primitive::<Float64Type>()
        .iter()
        .map(|v| v == Some(1.0))
        .collect();
    let any = poison.iter().any(|&p| p);
    if let Some(probabilities) = &out.probabilities {
        let (mut right, mut loss, mut used) = (0, 0.0, 0);
        let mut bins: BTreeMap<usize, (usize, usize, f64)> = BTreeMap::new();
        let mut doubt = vec![f32::NAN; n];
        for (row, (p, &label)) in probabilities.rows().into_iter().zip(&labels).enumerate() {
            if p[0].is_nan() {
                continue;
            }
            used += 1;
            doubt[row] = 1.0 - p[label as usize];
            let (best, top) = p
                .iter()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(b.1))
                .unwrap();
            right += usize::from(best == label as usize);
            loss -= f64::from(p[label as usize].max(1e-6)).ln();
            let bin = bins.entry((top * 10.0) as usize).or_default();
            *bin = (
                bin.0 + 1,
                bin.1 + usize::from(best == label as usize),
                bin.2 + f64::from(*top),
            );
        }
        println!(
            "accuracy {:.4} log loss {:.4} of {used}",
            f64::from(right as u32) / f64::from(used),
            loss / f64::from(used)
        );
        if probabilities.ncols() == 2 {
            let first: Vec<bool> = labels.iter().map(|&l| l == 1).collect();
            println!(
                "AUC {:.4}",
                ranking(&probabilities.column(1).to_vec(), &first).0
            );
        }
        for (bin, (count, right, confidence)) in bins {
            println!(
                "  0.{bin}: {count} confidence {:.3} accuracy {:.3}",
                confidence / count as f64,
                right as f64 / count as f64
            );
        }
        if any {
            let (auc, ap) = ranking(&doubt, &poison);
            println!("1 - p[label]: AUROC {auc:.4} AP {ap:.4}");
        }
    }
    if let (Some(neighbors), Some(reference)) = (&out.neighbors, &shared.reference) {
        let distance: Vec<f32> = neighbors
            .distances
            .rows()
            .into_iter()
            .map(|r| r.mean().unwrap())
            .collect();
        if batch.labels.is_some() {
            let votes = neighbors
                .indices
                .rows()
                .into_iter()
                .zip(&labels)
                .map(|(row, &label)| {
                    let mut votes = vec![0; shared.facts.classes.len()];
                    row.iter()
                        .for_each(|&i| votes[reference.labels[i as usize] as usize] += 1);
                    u32::from(votes.iter().all(|&v| v <= votes[label as usize]))
                });
            println!(
                "neighbour vote accuracy {:.4}",
                f64::from(votes.sum::<u32>()) / n as f64
            );
        }
        if any {
            let (auc, ap) = ranking(&distance, &poison);
            println!("distance: AUROC {auc:.4} AP {ap:.4}");
        }
    }
}
