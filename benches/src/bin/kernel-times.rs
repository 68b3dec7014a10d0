//! Times one detector's own work on one Parquet file: fit, model and score, without the rest of a
//! scan. The counterpart of calling a Python library's `fit` and `decision_function`.
//!
//! ```text
//! kernel-times DETECTOR FILE [--label COLUMN] [--threads N] [--memory-of-input] [--scores FILE]
//! ```
//!
//! Every numeric column but `row_id` and the label is data; a list column is the embedding, or the
//! class probabilities when that is its name (`probabilities`). By
//! default both passes read the file, as a scan does; with `--memory-of-input` it is decoded
//! before the clock starts, as a library is given an array. Prints one line of JSON: wall and CPU
//! seconds, peak resident memory; exit code 3 when there is no such detector. `--scores` writes
//! the scores as little-endian `f32`, in record order.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use lazaretto_core::{
    AnyEvidence, AnyModel, AnyState, Batch, DataFacts, Derived, DynDetector, FitContext,
    Intermediate, RecordKey, Shared,
};
use lazaretto_features::{FeatureFit, FeatureModel, FeatureSettings, fit_roles};
use lazaretto_io::{Dataset, HeaderLimits, OpenOptions, discover};
use ndarray::{Array2, ArrayBase, ArrayView2, ShapeBuilder as _};
use rayon::prelude::*;

/// What `--memory` is when a scan is not told.
const MEMORY: usize = 4 << 30;
/// Batches as a scan reads them.
const BATCH_BYTES: usize = 4 << 20;
/// Name of a list column that holds class probabilities.
const PROBABILITIES: &str = "probabilities";
/// No such detector.
const ABSENT: u8 = 3;

struct Options {
    detector: String,
    file: PathBuf,
    label: Option<String>,
    threads: usize,
    in_memory: bool,
    scores: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = parse(std::env::args().skip(1)).and_then(|options| {
        let Some(registration) = lazaretto_detectors::find(&options.detector) else {
            return Ok(ExitCode::from(ABSENT));
        };
        let detector = registration
            .build(&serde_json::Value::Null)
            .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        rayon::ThreadPoolBuilder::new()
            .num_threads(options.threads)
            .build()?
            .install(|| run(&options, detector.as_ref()))?;
        Ok(ExitCode::SUCCESS)
    });
    outcome.unwrap_or_else(|error| {
        #[expect(clippy::print_stderr, reason = "a command")]
        {
            eprintln!("{error:#}");
        }
        ExitCode::FAILURE
    })
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let usage = "usage: kernel-times DETECTOR FILE [--label COLUMN] [--threads N] [--memory-of-input] [--scores FILE]";
    let mut options = Options {
        detector: arguments.next().context(usage)?,
        file: arguments.next().context(usage)?.into(),
        label: None,
        threads: 2,
        in_memory: false,
        scores: None,
    };
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().context(usage);
        match flag.as_str() {
            "--label" => options.label = Some(value()?),
            "--threads" => options.threads = value()?.parse().context(usage)?,
            "--memory-of-input" => options.in_memory = true,
            "--scores" => options.scores = Some(value()?.into()),
            _ => bail!("unknown argument `{flag}`\n{usage}"),
        }
    }
    Ok(options)
}

#[expect(clippy::print_stdout, reason = "a command")]
fn run(options: &Options, detector: &dyn DynDetector) -> Result<()> {
    let source = Source::open(options)?;
    let (cpu, clock) = (cpu_seconds(), Instant::now());
    let scores = source.scores(detector)?;
    let (wall, cpu) = (clock.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "{}",
        serde_json::json!({
            "detector": options.detector,
            "rows": scores.len(),
            "wall": wall,
            "cpu": cpu,
            "peak_mib": peak_rss_mib(),
        })
    );
    if let Some(path) = &options.scores {
        let bytes: Vec<u8> = scores
            .iter()
            .flat_map(|score| score.to_le_bytes())
            .collect();
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// The file, or its batches.
struct Source {
    dataset: Dataset,
    /// Columns that are read, of the file's schema.
    columns: Vec<usize>,
    label: Option<String>,
    /// Values of the label by class, ascending.
    labels: Vec<i64>,
    facts: Arc<DataFacts>,
    /// Batches of each unit, when the input is in memory.
    decoded: Option<Vec<Vec<RecordBatch>>>,
    _scratch: tempfile::TempDir,
}

impl Source {
    fn open(options: &Options) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let open = OpenOptions {
            scratch: scratch.path().to_owned(),
            cancel: Arc::new(AtomicBool::new(false)),
            batch_bytes: BATCH_BYTES,
            isolation: None,
            keys: lazaretto_io::EncryptionKeys::default(),
            headers: HeaderLimits::default(),
        };
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let dataset = Dataset::open(discover(&[path(&options.file)])?, open)?;
        let fields = dataset.schema().fields().iter().enumerate();
        let columns: Vec<usize> = fields
            .filter(|(_, field)| field.name() != "row_id")
            .map(|(idx, _)| idx)
            .collect();
        let mut source = Self {
            columns,
            label: options.label.clone(),
            labels: Vec::new(),
            facts: Arc::new(DataFacts::default()),
            decoded: None,
            dataset,
            _scratch: scratch,
        };
        let (facts, labels) = source.survey()?;
        (source.facts, source.labels) = (Arc::new(facts), labels);
        if options.in_memory {
            let units = 0..source.dataset.units().len();
            let decoded = units.into_par_iter().map(|unit| {
                let batches = source.dataset.batches(unit, Some(&source.columns))?;
                Ok(batches.collect::<Result<Vec<_>, _>>()?)
            });
            source.decoded = Some(decoded.collect::<Result<_>>()?);
        }
        Ok(source)
    }

    /// Columns and classes, as a scan's survey finds them, and the labels of the classes.
    fn survey(&self) -> Result<(DataFacts, Vec<i64>)> {
        let mut labels = Vec::new();
        let mut facts = DataFacts {
            n_rows: self.dataset.n_rows(),
            ..DataFacts::default()
        };
        for &column in &self.columns {
            let field = self.dataset.schema().field(column);
            match field.data_type() {
                DataType::FixedSizeList(_, dim) if field.name() == PROBABILITIES => {
                    facts.probabilities_dim = usize::try_from(*dim).ok();
                }
                DataType::FixedSizeList(_, dim) => {
                    facts.embedding_dim = usize::try_from(*dim).ok();
                }
                _ if Some(field.name()) == self.label.as_ref() => {
                    let mut counts = std::collections::BTreeMap::<i64, u64>::new();
                    for unit in 0..self.dataset.units().len() {
                        for batch in self.dataset.batches(unit, Some(&[column]))? {
                            let labels = cast(batch?.column(0), &DataType::Int64)?;
                            for &label in labels.as_primitive::<Int64Type>().values() {
                                *counts.entry(label).or_default() += 1;
                            }
                        }
                    }
                    facts.classes = counts.keys().map(ToString::to_string).collect();
                    labels = counts.keys().copied().collect();
                    facts.class_counts = counts.into_values().collect();
                }
                _ => facts.numeric_columns.push(field.name().clone()),
            }
        }
        Ok((facts, labels))
    }

    /// Fits, makes the model and scores.
    fn scores(&self, detector: &dyn DynDetector) -> Result<Vec<f32>> {
        detector
            .applies(&self.facts)
            .map_err(|not| anyhow::anyhow!("does not apply: {}", not.reason))?;
        let context = FitContext {
            facts: Arc::clone(&self.facts),
            seed: 0,
            memory_bytes: MEMORY / 4,
        };
        let (state, shared, features) = self.fit(detector, &context)?;
        let model = detector
            .model(&context, state, &shared)
            .map_err(|not| anyhow::anyhow!("abstains: {}", not.reason))?;
        self.score(detector, &model, &shared, &features)
    }

    fn fit(
        &self,
        detector: &dyn DynDetector,
        context: &FitContext,
    ) -> Result<(AnyState, Shared, FeatureModel)> {
        let mut wanted: BTreeSet<Intermediate> =
            detector.spec().intermediates.iter().copied().collect();
        if wanted.contains(&Intermediate::Neighbors) {
            wanted.extend([Intermediate::Features, Intermediate::Reference]);
        }
        let start = || {
            let features = FeatureFit::start(context, &wanted, &FeatureSettings::default());
            (detector.start(context), features)
        };
        // As a scan: where nothing is learned from the records, they are not read to be learned from.
        let fits =
            !detector.spec().fit_roles.is_empty() || !fit_roles(&wanted, &self.facts).is_empty();
        let units = if fits { self.dataset.units().len() } else { 0 };
        let (mut state, mut features) = start();
        for wave in waves(units) {
            let fitted = wave.into_par_iter().map(|unit| {
                let (mut state, mut features) = start();
                self.each_batch(unit, |view| {
                    detector.fit(context, &mut state, view);
                    features.update(view);
                })?;
                Ok((state, features))
            });
            for (later, later_features) in fitted.collect::<Result<Vec<_>>>()? {
                detector.merge(context, &mut state, later);
                features.merge(later_features);
            }
        }
        let (shared, features) = features.finish(context);
        Ok((state, shared, features))
    }

    fn score(
        &self,
        detector: &dyn DynDetector,
        model: &AnyModel,
        shared: &Shared,
        features: &FeatureModel,
    ) -> Result<Vec<f32>> {
        let mut scores = Vec::with_capacity(self.dataset.n_rows() as usize);
        let mut evidence: AnyEvidence = detector.start_evidence(model);
        for wave in waves(self.dataset.units().len()) {
            let scored = wave.into_par_iter().map(|unit| {
                let mut evidence = detector.start_evidence(model);
                let mut scores = Vec::new();
                self.each_batch(unit, |view| {
                    let mut derived = Derived::default();
                    features.derive(shared, view, &mut derived);
                    let view = with_derived(view, &derived);
                    scores.extend(detector.score(model, shared, &view, &mut evidence));
                })?;
                Ok((scores, evidence))
            });
            for (some, later) in scored.collect::<Result<Vec<_>>>()? {
                scores.extend(some);
                detector.merge_evidence(&mut evidence, later);
            }
        }
        drop(detector.finish(model, shared, evidence));
        Ok(scores)
    }

    fn each_batch(&self, unit: usize, mut each: impl FnMut(&Batch<'_>)) -> Result<()> {
        let place = self.dataset.units()[unit];
        let mut first_row = place.first_row;
        let mut take = |batch: &RecordBatch| -> Result<()> {
            let columns = Columns::of(batch, self)?;
            let keys: Vec<u64> = (first_row..first_row + batch.num_rows() as u64)
                .map(|row| RecordKey::new(0).of(&[0; 32], 0, row))
                .collect();
            each(&Batch {
                times: None,
                first_row,
                keys: &keys,
                labels: columns.labels.as_deref(),
                sources: None,
                texts: &[],
                numeric: columns.numeric.as_ref().map(Array2::view),
                categorical: &[],
                embedding: rows_of(columns.embedding.as_ref()),
                given_probabilities: rows_of(columns.probabilities.as_ref()),
                derived: &Derived::default(),
            });
            first_row += batch.num_rows() as u64;
            Ok(())
        };
        match &self.decoded {
            Some(decoded) => decoded[unit].iter().try_for_each(&mut take),
            None => self
                .dataset
                .batches(unit, Some(&self.columns))?
                .try_for_each(|batch| take(&batch?)),
        }
    }
}

/// Units that are worked on at a time, as in a scan.
fn waves(units: usize) -> Vec<Vec<usize>> {
    let units: Vec<usize> = (0..units).collect();
    let wave = 2 * rayon::current_num_threads();
    units.chunks(wave).map(<[usize]>::to_vec).collect()
}

/// The batch with other intermediates. Array views are invariant in their lifetime, so each is
/// borrowed anew.
fn with_derived<'b>(batch: &'b Batch<'_>, derived: &'b Derived) -> Batch<'b> {
    Batch {
        times: batch.times,
        first_row: batch.first_row,
        keys: batch.keys,
        labels: batch.labels,
        sources: batch.sources,
        texts: batch.texts,
        numeric: batch.numeric.as_ref().map(ArrayBase::view),
        categorical: batch.categorical,
        embedding: batch.embedding.as_ref().map(ArrayBase::view),
        given_probabilities: None,
        derived,
    }
}

/// The columns of a batch by role.
struct Columns {
    numeric: Option<Array2<f64>>,
    labels: Option<Vec<u32>>,
    embedding: Option<Lists>,
    probabilities: Option<Lists>,
}

/// Values of a list column, and how many there are per row.
type Lists = (arrow::array::Float32Array, usize);

impl Columns {
    fn of(batch: &RecordBatch, source: &Source) -> Result<Self> {
        let n_columns = source.facts.numeric_columns.len();
        let mut numbers = Vec::with_capacity(batch.num_rows() * n_columns);
        let mut columns = Self {
            numeric: None,
            labels: None,
            embedding: None,
            probabilities: None,
        };
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            if let DataType::FixedSizeList(_, dim) = field.data_type() {
                let list = column.as_fixed_size_list();
                let start = list.value_offset(0) as usize;
                let dim = usize::try_from(*dim)?;
                let values = list.values().slice(start, list.len() * dim);
                let values = cast(&values, &DataType::Float32)?;
                let target = if field.name() == PROBABILITIES {
                    &mut columns.probabilities
                } else {
                    &mut columns.embedding
                };
                *target = Some((values.as_primitive::<Float32Type>().clone(), dim));
            } else if Some(field.name()) == source.label.as_ref() {
                let labels = cast(column, &DataType::Int64)?;
                let index = |label: Option<i64>| {
                    let known = label.and_then(|label| source.labels.binary_search(&label).ok());
                    known.map_or(u32::MAX, |idx| idx as u32)
                };
                let labels = labels.as_primitive::<Int64Type>().iter();
                columns.labels = Some(labels.map(index).collect());
            } else if let Some(singles) = column.as_primitive_opt::<Float32Type>()
                && singles.null_count() == 0
            {
                // Widened as a scan does it, without a copy in between.
                numbers.extend(singles.values().iter().copied().map(f64::from));
            } else {
                let floats = cast(column, &DataType::Float64)?;
                numbers.extend_from_slice(floats.as_primitive::<Float64Type>().values());
            }
        }
        if n_columns > 0 {
            let shape = (batch.num_rows(), n_columns).f();
            columns.numeric = Some(Array2::from_shape_vec(shape, numbers)?);
        }
        Ok(columns)
    }
}

fn rows_of(lists: Option<&Lists>) -> Option<ArrayView2<'_, f32>> {
    let (values, dim) = lists?;
    ArrayView2::from_shape((values.len() / dim, *dim), values.values()).ok()
}

/// User and system seconds of this process so far, to a hundredth; 0 where there is no `/proc`.
fn cpu_seconds() -> f64 {
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name, which may hold spaces.
        let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
        let user: f64 = fields.next()?.parse().ok()?;
        let system: f64 = fields.next()?.parse().ok()?;
        Some(user + system)
    };
    ticks().unwrap_or(0.0) / 100.0
}

/// High-water mark of the resident memory of this process.
fn peak_rss_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}
