//! One repetition: a dataset, its scan, and what became of each record.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result, anyhow};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Float32Type;
use lazaretto_core::Action;
use lazaretto_engine::calibrate::{Diagnosis, Null};
use lazaretto_engine::{
    PipelineFile, ProofOptions, Resumption, ScanRequest, Settings, Silent, scan,
};
use lazaretto_testkit::files::parquet_bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::sets::{Kind, Level};

/// Upper fraction of the clean scores whose null p-value is asked for.
const QUANTILE: f64 = 0.01;

/// What one scan came to.
pub(crate) struct Repetition {
    pub(crate) seed: u64,
    pub(crate) poison: usize,
    pub(crate) clean: usize,
    /// Clean and poisoned records that were held back.
    pub(crate) held: [usize; 2],
    /// The findings that hold records back, in words.
    pub(crate) findings: Vec<String>,
    pub(crate) nulls: Vec<NullUnderPoison>,
}

/// What a contaminated dataset does to the null of a detector.
pub(crate) struct NullUnderPoison {
    pub(crate) detector: String,
    /// The p-value that the null gives to the least of the upper 1 % of the clean records.
    pub(crate) p_value: f64,
    pub(crate) diagnosis: Option<Diagnosis>,
}

/// Scans the dataset that `seed` makes.
pub(crate) fn repeat(
    kind: &Kind,
    level: &Level,
    records: usize,
    trusted: usize,
    seed: u64,
) -> Result<Repetition> {
    let folder = tempfile::tempdir().context("failed to create a folder")?;
    let poison = level.of(records);
    let attacked = (kind.make)(seed, records, poison)?;
    let data = folder.path().join("data.parquet");
    fs::write(&data, parquet_bytes(&attacked.batch, records)?)?;
    let mut file = PipelineFile {
        threads: Some(1),
        seed: Some(seed),
        ..PipelineFile::default()
    };
    file.roles.id = Some("row_id".to_owned());
    file.roles.label = Some(attacked.label.to_owned());
    if trusted > 0 {
        // The same process goes on, so that trusted and clean records are exchangeable.
        let longer = (kind.make)(seed, records + trusted, 0)?;
        let good = folder.path().join("good.parquet");
        let rows = longer.batch.slice(records, trusted);
        fs::write(&good, parquet_bytes(&rows, trusted)?)?;
        file.trusted = vec![good.display().to_string()];
    }
    let settings = Settings::new("default", file).map_err(|problems| {
        anyhow!(
            "{}",
            crate::sets::names(problems.iter().map(|p| p.message.as_str()))
        )
    })?;
    let request = ScanRequest {
        inputs: vec![data.display().to_string()],
        out: folder.path().join("run"),
        settings,
        cancel: Arc::new(AtomicBool::new(false)),
        proof: ProofOptions::default(),
        resumption: Resumption::default(),
    };
    let outcome = scan(&request, &Silent, &|_| Vec::new())?;
    let scores = read_scores(&request.out.join("scores"))?;
    let verdicts = column(&scores, "verdict")?.as_string::<i32>();
    let mut held = [0; 2];
    for (verdict, &poisoned) in verdicts.iter().zip(&attacked.poison) {
        held[usize::from(poisoned)] += usize::from(verdict == Some("quarantine"));
    }
    let statistical = outcome
        .report
        .detectors
        .iter()
        .filter(|detector| detector.null.is_some());
    let nulls = statistical
        .filter_map(|detector| null_of(&detector.id, &scores, &attacked.poison).transpose())
        .collect::<Result<_>>()?;
    Ok(Repetition {
        seed,
        poison: attacked.poison.iter().filter(|&&poisoned| poisoned).count(),
        clean: attacked
            .poison
            .iter()
            .filter(|&&poisoned| !poisoned)
            .count(),
        held,
        findings: outcome
            .report
            .findings
            .iter()
            .filter(|finding| finding.action == Action::Quarantine)
            .map(|finding| format!("{}: {}", finding.detector, finding.title))
            .collect(),
        nulls,
    })
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b dyn arrow::array::Array> {
    let column = batch.column_by_name(name);
    Ok(&**column.with_context(|| format!("no column `{name}` in `scores/`"))?)
}

/// All parts of `scores/`, in order.
fn read_scores(folder: &Path) -> Result<RecordBatch> {
    let mut parts: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    parts.sort();
    let mut batches = Vec::new();
    for part in parts {
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(part)?)?.build()?;
        for batch in reader {
            batches.push(batch?);
        }
    }
    let first = batches.first().context("no scores")?;
    Ok(concat_batches(&first.schema(), &batches)?)
}

/// The null that a detector's scores come to, against its clean records alone.
fn null_of(
    detector: &str,
    scores: &RecordBatch,
    poison: &[bool],
) -> Result<Option<NullUnderPoison>> {
    let column = column(scores, detector)?.as_primitive::<Float32Type>();
    let mut all = Vec::new();
    let mut clean = Vec::new();
    for (row_idx, &poisoned) in poison.iter().enumerate() {
        if column.is_null(row_idx) {
            continue;
        }
        let score = column.value(row_idx);
        all.push(score);
        if !poisoned {
            clean.push(score);
        }
    }
    if clean.len() < 200 {
        return Ok(None);
    }
    clean.sort_unstable_by(f32::total_cmp);
    let upper = clean[clean.len() - 1 - (QUANTILE * clean.len() as f64) as usize];
    let null = Null::fit(all, 0.10);
    Ok(Some(NullUnderPoison {
        detector: detector.to_owned(),
        p_value: null.p_value(upper.into()),
        diagnosis: null.diagnosis(),
    }))
}
