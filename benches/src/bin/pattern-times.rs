//! Throughput of the detectors that search texts for patterns, on the texts of a file.
//!
//! ```text
//! pattern-times FILE [--documents BYTES]
//! ```
//!
//! The file is cut into documents at line ends; each detector scores all of them on all cores. What
//! is printed is megabytes (10⁶ bytes) per second of wall time, the best of three.
#![expect(clippy::print_stdout, reason = "a command for people")]

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::LargeStringArray;
use lazaretto_core::{
    Batch, DataFacts, Derived, Detector, FitContext, Intermediate, RecordKey, TextField, TextPart,
};
use lazaretto_detectors::injection::{
    hidden::HiddenText, jailbreak::Jailbreak, prompt::PromptInjection,
};
use lazaretto_features::{FeatureFit, FeatureSettings};
use rayon::prelude::*;

/// Documents of a batch.
const BATCH_ROWS: usize = 512;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments
        .next()
        .context("usage: pattern-times FILE [--documents BYTES]")?;
    let bytes = match arguments.next().as_deref() {
        Some("--documents") => arguments.next().context("--documents BYTES")?.parse()?,
        _ => 2_000,
    };
    let text = std::fs::read_to_string(&file)?;
    let fields = documents(&text, bytes);
    let size = text.len() as f64 / 1e6;
    println!("{size:.1} MB, {} threads", rayon::current_num_threads());
    measure::<PromptInjection>(&fields, size)?;
    measure::<Jailbreak>(&fields, size)?;
    measure::<HiddenText>(&fields, size)
}

/// Batches of documents of about `bytes` bytes.
fn documents(text: &str, bytes: usize) -> Vec<TextField> {
    let mut documents = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let from = rest.len().min(bytes);
        let end = rest.as_bytes()[from..]
            .iter()
            .position(|&byte| byte == b'\n')
            .map_or(rest.len(), |at| from + at + 1);
        let (document, more) = rest.split_at(end);
        documents.push(document);
        rest = more;
    }
    let batches = documents.chunks(BATCH_ROWS).map(|rows| TextField {
        name: "text".to_owned(),
        part: TextPart::Text,
        values: LargeStringArray::from_iter_values(rows),
    });
    batches.collect()
}

fn measure<D: Detector>(fields: &[TextField], megabytes: f64) -> Result<()> {
    let detector = D::new(D::Params::default());
    let facts = DataFacts {
        n_rows: fields
            .iter()
            .map(|f| f.values.value_offsets().len() as u64 - 1)
            .sum(),
        text_fields: vec!["text".to_owned()],
        ..DataFacts::default()
    };
    let context = FitContext {
        facts: Arc::new(facts),
        seed: 0,
        memory_bytes: 1 << 28,
    };
    let wanted = std::iter::empty::<Intermediate>().collect();
    let features = FeatureFit::start(&context, &wanted, &FeatureSettings::default());
    let (shared, _) = features.finish(&context);
    let started = Instant::now();
    let state = detector.start(&context);
    let model = detector
        .model(&context, state, &shared)
        .map_err(|not| anyhow::anyhow!("{}", not.reason))?;
    let compiled = started.elapsed().as_secs_f64();
    let mut best = f64::INFINITY;
    let mut suspicious = 0;
    for _ in 0..3 {
        let started = Instant::now();
        suspicious = fields
            .par_iter()
            .map(|field| {
                let rows = field.values.value_offsets().len() as u64 - 1;
                let keys: Vec<u64> = (0..rows)
                    .map(|row| RecordKey::new(0).of(&[0; 32], 0, row))
                    .collect();
                let batch = Batch {
                    times: None,
                    first_row: 0,
                    keys: &keys,
                    labels: None,
                    sources: None,
                    texts: std::slice::from_ref(field),
                    numeric: None,
                    categorical: &[],
                    embedding: None,
                    given_probabilities: None,
                    derived: &Derived::default(),
                };
                let mut evidence = detector.start_evidence(&model);
                let scores = detector.score(&model, &shared, &batch, &mut evidence);
                scores.iter().filter(|&&score| score >= 0.7).count()
            })
            .sum();
        best = best.min(started.elapsed().as_secs_f64());
    }
    println!(
        "{:18} {:7.0} MB/s, compiled in {compiled:.2} s, {suspicious} documents at 0.7",
        D::SPEC.id,
        megabytes / best
    );
    Ok(())
}
