//! A scan from its inputs to its run folder, step by step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use lazaretto_core::report::{Counts, Report};
use lazaretto_core::{
    Action, AnyEvidence, AnyModel, AnyState, Derived, Finding, FitContext, RecordKey, RowHash,
    RowHasher, ScoreKind, Shared, Verdict, canonical,
};
use lazaretto_features::{FeatureFit, FeatureModel};
use lazaretto_io::{
    Conservation, Dataset, Decisions, FileDigest, FindingsWriter, IoError, Manifest, OpenOptions,
    RecordId, RecordNote, RolePlan, RunFolder, ScoreRow, ScoresWriter, assign_roles,
    check_conservation, discover, manifest, split_file, write_unscanned_reasons,
};
use rayon::prelude::*;

use crate::assemble::{Assembler, Wanted};
use crate::calibrate::{Decision, Null};
use crate::error::EngineError;
use crate::fuse::{QValues, fused_p_value, score_of};
use crate::plan::{Plan, Planned};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::spill::{Row, Spill, SpillWriter};
use crate::summary;
use crate::survey::survey;

/// Most scores from which a null is fitted; more are thinned evenly.
const MAX_NULL_SCORES: u64 = 1 << 22;
/// Upper fraction of a detector's scores that may be poison without stretching its null.
const CENSORED: f64 = 0.10;
/// Rows per batch of `scores/`.
const SCORE_BATCH: usize = 8192;

/// What to scan, and where to put the result.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// Folders, files and globs.
    pub inputs: Vec<String>,
    /// The run folder to make.
    pub out: PathBuf,
    /// How.
    pub settings: Settings,
    /// Set to stop the scan.
    pub cancel: Arc<AtomicBool>,
}

/// Name and bytes of a report file.
pub type ReportFile = (String, Vec<u8>);

/// What a finished scan left behind.
#[derive(Debug)]
pub struct Outcome {
    /// The report that was written.
    pub report: Report,
    /// Seconds by phase, in order.
    pub timings: Vec<(String, f64)>,
}

/// What a dataset is and how it would be scanned.
pub struct Inspection {
    /// The opened dataset.
    pub dataset: Dataset,
    /// Files that were passed over.
    pub skipped: Vec<lazaretto_core::report::SkippedReport>,
    /// Facts and roles.
    pub facts: Arc<lazaretto_core::DataFacts>,
    /// What runs and what does not.
    pub plan: Plan,
    /// Records of the first units, for profiling.
    pub sample: Vec<RecordBatch>,
    // Holds decompressed copies of text files while the dataset is in use.
    _scratch: tempfile::TempDir,
}

/// Looks at a dataset without scanning it. `sample_rows` records are read for profiling.
///
/// # Errors
/// When nothing can be read, a column does not exist, or no detector applies.
pub fn inspect(
    inputs: &[String],
    settings: &Settings,
    sample_rows: usize,
    cancel: &Arc<AtomicBool>,
) -> Result<Inspection, EngineError> {
    pool(settings)?.install(|| {
        let scratch = tempfile::tempdir().map_err(|source| IoError::Storage {
            action: "make a scratch folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let discovery = discover(inputs)?;
        let skipped = discovery.skipped.clone();
        let dataset = Dataset::open(
            discovery,
            open_options(settings, scratch.path().to_owned(), cancel),
        )?;
        let roles = assign_roles(&dataset, &settings.roles).map_err(EngineError::Roles)?;
        let assembler = survey(&dataset, roles, settings.roles.label.is_some())?;
        let plan = Plan::new(&assembler.facts, settings)?;
        let sample = sample(&dataset, sample_rows);
        Ok(Inspection {
            skipped,
            facts: assembler.facts,
            plan,
            sample,
            dataset,
            _scratch: scratch,
        })
    })
}

/// Records from units spread over the dataset.
fn sample(dataset: &Dataset, n_rows: usize) -> Vec<RecordBatch> {
    let n_units = dataset.units().len();
    let chosen = n_units.min(16);
    let mut batches = Vec::new();
    for nth in 0..chosen {
        let mut wanted = n_rows.div_ceil(chosen);
        let Ok(unit) = dataset.batches(nth * n_units / chosen, None) else {
            continue;
        };
        for batch in unit {
            let Ok(batch) = batch else { break };
            let taken = batch.slice(0, batch.num_rows().min(wanted));
            wanted -= taken.num_rows();
            batches.push(taken);
            if wanted == 0 {
                break;
            }
        }
    }
    batches
}

fn pool(settings: &Settings) -> Result<rayon::ThreadPool, EngineError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(settings.threads)
        .thread_name(|idx| format!("lazaretto-{idx}"))
        .build()
        .map_err(|source| EngineError::Threads {
            threads: settings.threads,
            source,
        })
}

fn open_options(settings: &Settings, scratch: PathBuf, cancel: &Arc<AtomicBool>) -> OpenOptions {
    // A batch is held by each thread as Arrow, as matrices and as derived features. The number of
    // threads must not enter: where batches end can show in the last digits of a score.
    let share = settings.memory / 64;
    OpenOptions {
        scratch,
        cancel: Arc::clone(cancel),
        batch_bytes: share.clamp(1 << 20, 16 << 20) as usize,
    }
}

/// Scans a dataset into a run folder. `render` makes the report files, as (name, bytes).
///
/// # Errors
/// When the scan cannot be carried out; nothing is left that looks finished. Files or row groups
/// that cannot be read do not end the scan: they are unscanned.
pub fn scan(
    request: &ScanRequest,
    progress: &dyn Progress,
    render: &(dyn Fn(&Report) -> Vec<ReportFile> + Sync),
) -> Result<Outcome, EngineError> {
    pool(&request.settings)?.install(|| {
        let run = RunFolder::stage(&request.out)?;
        match Scan::run(request, progress, render, &run) {
            Ok((outcome, manifest)) => {
                run.commit(&manifest)?;
                Ok(outcome)
            }
            Err(error) => {
                run.discard();
                Err(error)
            }
        }
    })
}

/// Measures phases.
pub(crate) struct Clock {
    started: std::time::Instant,
    timings: Vec<(String, f64)>,
}

impl Clock {
    /// Its readings go to `timings.json`, which no digest covers, and nowhere else.
    fn start() -> Self {
        Self {
            started: std::time::Instant::now(),
            timings: Vec::new(),
        }
    }

    fn lap(&mut self, phase: &str) {
        let before: f64 = self.timings.iter().map(|(_, seconds)| seconds).sum();
        let seconds = self.started.elapsed().as_secs_f64() - before;
        self.timings.push((phase.to_owned(), seconds));
    }
}

/// A detector with its model.
pub(crate) struct Modelled<'a> {
    pub(crate) planned: &'a Planned,
    model: AnyModel,
}

/// What calibration says about a detector.
pub(crate) struct Calibrated {
    pub(crate) id: &'static str,
    pub(crate) kind: ScoreKind,
    pub(crate) null: Option<Null>,
    rates: Option<QValues>,
}

impl Calibrated {
    /// Whether its scores take part in the row-level decision.
    pub(crate) fn decides(&self) -> bool {
        self.kind == ScoreKind::Statistical && self.null.as_ref().is_some_and(Null::has_tail)
    }

    pub(crate) fn p_value(&self, score: f32) -> Option<f64> {
        let null = self.null.as_ref().filter(|_| self.decides())?;
        score.is_finite().then(|| null.p_value(f64::from(score)))
    }

    /// Tail-area false-discovery rate of a score: how many scores at least this high the null
    /// predicts, over how many there are (Efron 2004). This is what is fused, not the p-value:
    /// the extremes of a detector that finds no more of them than chance predicts are no
    /// evidence, however extreme they are.
    pub(crate) fn q_value(&self, score: f32) -> Option<f64> {
        let p = self.p_value(score)?;
        Some(self.rates.as_ref()?.q_value(p))
    }
}

/// Everything that is decided about the records.
pub(crate) struct Judged {
    pub(crate) verdicts: Vec<Verdict>,
    /// Notes of quarantined records by ordinal.
    pub(crate) notes: BTreeMap<u64, RecordNote>,
    /// Names of the records of findings by ordinal.
    pub(crate) members: BTreeMap<u64, String>,
    /// Reasons by unscanned unit.
    pub(crate) unscanned: BTreeMap<usize, String>,
    pub(crate) units: Vec<(u64, usize)>,
    pub(crate) counts: Counts,
    pub(crate) summary: summary::Collected,
}

impl Decisions for Judged {
    fn verdict(&self, ordinal: u64) -> Verdict {
        self.verdicts
            .get(ordinal as usize)
            .copied()
            .unwrap_or(Verdict::Unscanned)
    }

    fn note(&self, ordinal: u64) -> RecordNote {
        self.notes.get(&ordinal).cloned().unwrap_or(RecordNote {
            record_id: String::new(),
            row_hash: RowHash([0; 32]),
            score: 0.0,
            q_value: 1.0,
            findings: Vec::new(),
        })
    }

    fn unscanned_reason(&self, ordinal: u64) -> String {
        let after = self.units.partition_point(|&(first, _)| first <= ordinal);
        after
            .checked_sub(1)
            .and_then(|position| self.unscanned.get(&self.units[position].1))
            .cloned()
            .unwrap_or_else(|| "not judged".to_owned())
    }
}

/// State of a running scan.
pub(crate) struct Scan<'a> {
    pub(crate) request: &'a ScanRequest,
    progress: &'a dyn Progress,
    pub(crate) dataset: &'a Dataset,
    pub(crate) assembler: &'a Assembler,
    pub(crate) plan: &'a Plan,
    key: RecordKey,
    /// Why a unit is unscanned.
    unscanned: BTreeMap<usize, String>,
}

impl<'a> Scan<'a> {
    fn run(
        request: &'a ScanRequest,
        progress: &'a dyn Progress,
        render: &dyn Fn(&Report) -> Vec<ReportFile>,
        run: &RunFolder,
    ) -> Result<(Outcome, Manifest), EngineError> {
        let settings = &request.settings;
        let mut clock = Clock::start();
        progress.phase("reading file headers", 0, 0);
        let discovery = discover(&request.inputs)?;
        let name = discovery.name.clone();
        let skipped = discovery.skipped.clone();
        let scratch = run.path().join(".scratch");
        create_folder(&scratch)?;
        let dataset = Dataset::open(
            discovery,
            open_options(settings, scratch.clone(), &request.cancel),
        )?;
        for file in dataset.files() {
            if let Some(problem) = &file.problem {
                progress.warn(&format!("unscanned: {problem}"));
            }
        }
        let roles: RolePlan =
            assign_roles(&dataset, &settings.roles).map_err(EngineError::Roles)?;
        let assembler = survey(&dataset, roles, settings.roles.label.is_some())?;
        let plan = Plan::new(&assembler.facts, settings)?;
        clock.lap("discover");
        let mut scan = Scan {
            request,
            progress,
            dataset: &dataset,
            assembler: &assembler,
            plan: &plan,
            key: RecordKey::new(settings.seed),
            unscanned: BTreeMap::new(),
        };
        let (fitted, shared, features) = scan.fit()?;
        let (models, abstained) = scan.models(fitted, &shared);
        clock.lap("fit");
        let (spill, findings) = scan.score(&models, &shared, &features, &scratch)?;
        clock.lap("score");
        let mut spill = spill;
        let calibrated = calibrate(&models, &mut spill, null_scores(settings))?;
        let judged = scan.judge(&calibrated, findings, &mut spill, run)?;
        clock.lap("judge");
        let report = summary::report(
            &scan,
            &summary::Inputs {
                name,
                skipped,
                models: &models,
                calibrated: &calibrated,
                abstained: &abstained,
                features: features.describe(),
                judged: &judged,
            },
        )?;
        scan.write(&judged, run)?;
        for (file, bytes) in render(&report) {
            run.write(&file, &bytes)?;
        }
        clock.lap("write");
        drop(spill);
        remove_folder(&scratch)?;
        progress.phase("checking that nothing was lost", dataset.n_rows(), 0);
        let conservation = check_conservation(&dataset, run.path())?;
        agree(&conservation, &judged.counts)?;
        clock.lap("check");
        let timings = serde_json::json!({
            "seconds": clock.timings.iter().map(|(phase, seconds)| serde_json::json!({"phase": phase, "seconds": seconds})).collect::<Vec<_>>(),
            "threads": settings.threads,
            "memory": settings.memory,
        });
        let timings = serde_json::to_vec_pretty(&timings).unwrap_or_default();
        run.write("timings.json", &timings)?;
        let manifest = scan.manifest(&report, run)?;
        Ok((
            Outcome {
                report,
                timings: clock.timings,
            },
            manifest,
        ))
    }

    /// Number of files that could not be judged, whole or in part.
    fn unscanned_files(&self) -> u64 {
        let in_part: BTreeSet<usize> = self
            .unscanned
            .keys()
            .map(|&unit| self.dataset.units()[unit].file)
            .collect();
        let files = self.dataset.files().iter().enumerate();
        files
            .filter(|(idx, file)| file.problem.is_some() || in_part.contains(idx))
            .count() as u64
    }

    fn context(&self) -> FitContext {
        // A quarter of the memory is for the detectors' states, shared equally.
        let share = self.request.settings.memory / 4 / self.plan.detectors.len().max(1) as u64;
        FitContext {
            facts: Arc::clone(&self.assembler.facts),
            seed: self.request.settings.seed,
            memory_bytes: share as usize,
        }
    }

    fn feature_context(&self) -> FitContext {
        FitContext {
            memory_bytes: (self.request.settings.memory / 4) as usize,
            ..self.context()
        }
    }

    /// Input bytes that a unit stands for, for the progress bar.
    fn unit_bytes(&self, unit: usize) -> u64 {
        let unit = &self.dataset.units()[unit];
        let file = &self.dataset.files()[unit.file];
        let rows = file.rows.unwrap_or(0).max(1);
        (file.input.bytes as f64 * unit.rows as f64 / rows as f64) as u64
    }

    fn phase(&self, name: &str) {
        let bytes = self
            .dataset
            .files()
            .iter()
            .map(|file| file.input.bytes)
            .sum();
        self.progress.phase(name, self.dataset.n_rows(), bytes);
    }

    /// Runs `work` on every readable unit in parallel and hands the results over in order. A unit
    /// that cannot be read becomes unscanned and is handed over as `None`.
    fn each_unit<T: Send>(
        &mut self,
        work: impl Fn(&Self, usize) -> Result<T, IoError> + Sync,
        mut take: impl FnMut(usize, Option<T>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let units: Vec<usize> = (0..self.dataset.units().len()).collect();
        // Twice the threads, so that one slow unit does not idle the others, yet few enough that
        // the results waiting for their turn stay small.
        let wave = 2 * rayon::current_num_threads();
        for units in units.chunks(wave) {
            let this = &*self;
            let results: Vec<Option<Result<T, IoError>>> = units
                .par_iter()
                .map(|&unit| {
                    let readable = !this.unscanned.contains_key(&unit);
                    let result = readable.then(|| work(this, unit));
                    this.progress
                        .advance(this.dataset.units()[unit].rows, this.unit_bytes(unit));
                    result
                })
                .collect();
            for (&unit, result) in units.iter().zip(results) {
                match result {
                    None => take(unit, None)?,
                    Some(Ok(result)) => take(unit, Some(result))?,
                    Some(Err(IoError::Interrupted)) => return Err(IoError::Interrupted.into()),
                    Some(Err(error)) => {
                        self.progress.warn(&format!("unscanned: {error}"));
                        self.unscanned.insert(unit, error.to_string());
                        take(unit, None)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Calls `each` with every batch of a unit, assembled.
    fn each_batch(
        &self,
        unit: usize,
        wanted: &Wanted,
        columns: &[usize],
        mut each: impl FnMut(&RecordBatch, crate::assemble::Assembled) -> Result<(), IoError>,
    ) -> Result<(), IoError> {
        let place = self.dataset.units()[unit];
        let file = &self.dataset.files()[place.file].input;
        let mut done = 0;
        for batch in self.dataset.batches(unit, Some(columns))? {
            let batch = batch?;
            let n_rows = batch.num_rows() as u64;
            let keys = (0..n_rows)
                .map(|row| {
                    let row = place.row_in_group + done + row;
                    self.key.of(&file.digest, place.row_group, row)
                })
                .collect();
            let assembled = self
                .assembler
                .assemble(wanted, &batch, columns, place.first_row + done, keys)
                .map_err(|error| unreadable(&file.relative, place.row_group, &error))?;
            each(&batch, assembled)?;
            done += n_rows;
        }
        if done == place.rows {
            Ok(())
        } else {
            Err(IoError::Unreadable {
                file: file.relative.clone(),
                location: format!(" row group {}", place.row_group),
                reason: format!("{done} records where the header promises {}", place.rows),
            })
        }
    }

    /// The fit pass.
    fn fit(&mut self) -> Result<(Vec<AnyState>, Shared, FeatureModel), EngineError> {
        let context = self.context();
        let feature_context = self.feature_context();
        let settings = &self.request.settings;
        let plan = self.plan;
        let wanted = plan.fit_wanted(&self.assembler.facts);
        let columns = wanted.columns(&self.assembler.layout);
        let start = || {
            let states: Vec<AnyState> = plan
                .detectors
                .iter()
                .map(|planned| planned.detector.start(&context))
                .collect();
            let features =
                FeatureFit::start(&feature_context, &plan.intermediates, &settings.features);
            (states, features)
        };
        let (mut states, mut features) = start();
        let mut present = BTreeSet::new();
        if !columns.is_empty() {
            self.phase("fitting");
            let fit_unit = |this: &Self, unit: usize| {
                let (mut states, mut features) = start();
                let mut present = BTreeSet::new();
                this.each_batch(unit, &wanted, &columns, |batch, assembled| {
                    for (column, array) in columns.iter().zip(batch.columns()) {
                        if array.logical_null_count() < array.len() {
                            present.insert(*column);
                        }
                    }
                    let view = assembled.view(&assembled.derived);
                    for (planned, state) in plan.detectors.iter().zip(&mut states) {
                        planned.detector.fit(&context, state, &view);
                    }
                    features.update(&view);
                    Ok(())
                })?;
                Ok((states, features, present))
            };
            self.each_unit(fit_unit, |_, fitted| {
                if let Some((later_states, later_features, later_present)) = fitted {
                    for ((planned, state), later) in
                        plan.detectors.iter().zip(&mut states).zip(later_states)
                    {
                        planned.detector.merge(&context, state, later);
                    }
                    features.merge(later_features);
                    present.extend(later_present);
                }
                Ok(())
            })?;
            self.refuse_empty_columns(&columns, &present)?;
        }
        let (shared, model) = features.finish(&feature_context);
        Ok((states, shared, model))
    }

    /// A column that the user gave a role must have a value somewhere.
    fn refuse_empty_columns(
        &self,
        columns: &[usize],
        present: &BTreeSet<usize>,
    ) -> Result<(), EngineError> {
        if self.dataset.n_rows() == 0 || !self.unscanned.is_empty() {
            return Ok(());
        }
        for (name, role) in self.request.settings.given() {
            let empty = columns.iter().any(|&column| {
                self.assembler.schema.field(column).name() == &name && !present.contains(&column)
            });
            if empty {
                return Err(EngineError::AllNull {
                    column: name,
                    role: role.name().to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Turns states into models; a detector may abstain.
    fn models(
        &self,
        states: Vec<AnyState>,
        shared: &Shared,
    ) -> (Vec<Modelled<'a>>, Vec<(&'a Planned, String)>) {
        let context = self.context();
        let mut models = Vec::new();
        let mut abstained = Vec::new();
        for (planned, state) in self.plan.detectors.iter().zip(states) {
            match planned.detector.model(&context, state, shared) {
                Ok(model) => models.push(Modelled { planned, model }),
                Err(not) => abstained.push((planned, not.reason)),
            }
        }
        (models, abstained)
    }

    /// The score pass.
    fn score(
        &mut self,
        models: &[Modelled<'a>],
        shared: &Shared,
        features: &FeatureModel,
        scratch: &std::path::Path,
    ) -> Result<(Spill, Vec<Finding>), EngineError> {
        self.phase("scoring");
        let wanted = self.plan.score_wanted(&self.assembler.facts);
        // Every stored column is read: the hash of a record covers all of them.
        let n_stored = self.dataset.schema().fields().len();
        let mut columns: BTreeSet<usize> = (0..n_stored).collect();
        columns.extend(wanted.columns(&self.assembler.layout));
        let columns: Vec<usize> = columns.into_iter().collect();
        let path = scratch.join("scores");
        let failed = |source| IoError::Storage {
            action: "write",
            path: path.clone(),
            source,
        };
        let writer = SpillWriter::create(&path, models.len()).map_err(failed)?;
        let start = || -> Vec<AnyEvidence> {
            models
                .iter()
                .map(|model| model.planned.detector.start_evidence(&model.model))
                .collect()
        };
        let mut evidence = start();
        let score_unit = |this: &Self, unit: usize| {
            let mut evidence = start();
            this.each_batch(unit, &wanted, &columns, |batch, mut assembled| {
                let mut derived = Derived::default();
                features.derive(shared, &assembled.view(&assembled.derived), &mut derived);
                assembled.complete(derived);
                let view = assembled.view(&assembled.derived);
                let scores: Vec<Vec<f32>> = models
                    .iter()
                    .zip(&mut evidence)
                    .map(|(model, evidence)| {
                        let detector = &model.planned.detector;
                        detector.score(&model.model, shared, &view, evidence)
                    })
                    .collect();
                let rows = this.spill_rows(batch, &columns[..n_stored], &view, &scores)?;
                writer.write(view.first_row, &rows).map_err(failed)
            })?;
            Ok(evidence)
        };
        let dataset = self.dataset;
        let unread = Row::unread(models.len());
        self.each_unit(score_unit, |unit, scored| {
            if let Some(later) = scored {
                for ((model, evidence), later) in models.iter().zip(&mut evidence).zip(later) {
                    model.planned.detector.merge_evidence(evidence, later);
                }
            } else {
                // What was written before the unit failed is written over.
                let place = dataset.units()[unit];
                let mut bytes = Vec::new();
                unread.encode(&mut bytes);
                for ordinal in place.first_row..place.first_row + place.rows {
                    writer.write(ordinal, &bytes).map_err(failed)?;
                }
            }
            Ok(())
        })?;
        let spill = writer.finish().map_err(failed)?;
        self.progress.phase("weighing the evidence", 0, 0);
        let findings = models
            .par_iter()
            .zip(evidence)
            .map(|(model, evidence)| {
                model
                    .planned
                    .detector
                    .finish(&model.model, shared, evidence)
            })
            .collect::<Vec<_>>();
        Ok((spill, findings.into_iter().flatten().collect()))
    }

    /// The encoded results of a batch.
    fn spill_rows(
        &self,
        batch: &RecordBatch,
        stored: &[usize],
        view: &lazaretto_core::Batch<'_>,
        scores: &[Vec<f32>],
    ) -> Result<Vec<u8>, IoError> {
        let mut rows = Vec::new();
        let describe = |error: arrow::error::ArrowError| unreadable("a batch", 0, &error);
        let mut hasher = RowHasher::new(&batch.columns()[..stored.len()]).map_err(describe)?;
        let times = match self.assembler.layout.time {
            Some(column) if column < stored.len() => {
                Some(summary::microseconds(batch.column(column)))
            }
            _ => None,
        };
        for row in 0..batch.num_rows() {
            Row {
                hash: hasher.hash(row),
                label: view
                    .labels
                    .map_or(lazaretto_core::NO_LABEL, |labels| labels[row]),
                source: view.sources.map_or(u32::MAX, |sources| sources[row]),
                time: times
                    .as_ref()
                    .map_or(crate::spill::NO_TIME, |times| times[row]),
                scores: scores.iter().map(|scores| scores[row]).collect(),
            }
            .encode(&mut rows);
        }
        Ok(rows)
    }

    /// Verdicts, `scores/` and what the report needs.
    fn judge(
        &self,
        calibrated: &[Calibrated],
        findings: Vec<Finding>,
        spill: &mut Spill,
        run: &RunFolder,
    ) -> Result<Judged, EngineError> {
        let settings = &self.request.settings;
        let failed = |source| IoError::Storage {
            action: "read",
            path: run.path().join(".scratch"),
            source,
        };
        self.progress.phase("judging", self.dataset.n_rows(), 0);
        let fused = |row: &Row| {
            let detectors = calibrated.iter().zip(&row.scores);
            let (p_values, rates): (Vec<f64>, Vec<f64>) = detectors
                .filter_map(|(detector, &score)| {
                    Some((detector.p_value(score)?, detector.q_value(score)?))
                })
                .unzip();
            fused_p_value(&p_values, &rates)
        };
        let step = spill.n_rows().div_ceil(null_scores(settings)).max(1);
        let mut strengths = Vec::new();
        spill
            .for_each(|ordinal, row| {
                if ordinal % step == 0
                    && let Some(p) = fused(&row)
                {
                    strengths.push(-p.log10() as f32);
                }
            })
            .map_err(failed)?;
        let decision = Decision::fit(strengths);
        let membership = Membership::new(findings, settings.finding_p);
        let mut q_values = QValues::default();
        spill
            .for_each(|_, row| {
                if let Some(p) = fused(&row) {
                    q_values.add(decision.p_value(p));
                }
            })
            .map_err(failed)?;
        let q_values = q_values.finish();
        let mut judge = Judge {
            scan: self,
            calibrated,
            membership: &membership,
            decision,
            q_values,
            fused: &fused,
            collected: summary::Collected::new(self.assembler, calibrated),
            verdicts: Vec::with_capacity(spill.n_rows() as usize),
            notes: BTreeMap::new(),
            members: BTreeMap::new(),
        };
        judge.write_scores(spill, run)?;
        let Judge {
            verdicts,
            notes,
            members,
            mut collected,
            ..
        } = judge;
        for finding in membership.findings() {
            collected.add_finding(finding, spill).map_err(failed)?;
        }
        let count = |verdict| verdicts.iter().filter(|&&v| v == verdict).count() as u64;
        let files = self.dataset.files();
        let counts = Counts {
            records: verdicts.len() as u64,
            pass: count(Verdict::Pass),
            quarantine: count(Verdict::Quarantine),
            unscanned: count(Verdict::Unscanned),
            files: files.len() as u64,
            unscanned_files: self.unscanned_files(),
        };
        collected.findings = membership.into_findings();
        Ok(Judged {
            verdicts,
            notes,
            members,
            unscanned: self.unscanned.clone(),
            units: self
                .dataset
                .units()
                .iter()
                .enumerate()
                .map(|(idx, unit)| (unit.first_row, idx))
                .collect(),
            counts,
            summary: collected,
        })
    }

    /// `clean/`, `quarantine/`, `unscanned/` and the findings.
    fn write(&self, judged: &Judged, run: &RunFolder) -> Result<(), EngineError> {
        self.phase("writing");
        let split = |file: usize| {
            let counts = split_file(self.dataset, file, judged, run)?;
            let open = &self.dataset.files()[file];
            self.progress
                .advance(open.rows.unwrap_or(0), open.input.bytes);
            Ok(counts)
        };
        (0..self.dataset.files().len())
            .into_par_iter()
            .map(split)
            .collect::<Result<Vec<_>, IoError>>()?;
        write_unscanned_reasons(self.dataset, judged, run)?;
        let mut writer = FindingsWriter::new(run);
        for (idx, finding) in judged.summary.findings.iter().enumerate() {
            let names = finding.records.iter();
            let names: Vec<&str> = names
                .filter_map(|ordinal| judged.members.get(ordinal).map(String::as_str))
                .collect();
            writer.append(&finding_id(idx), finding, &names);
        }
        writer.finish()?;
        Ok(())
    }

    fn manifest(&self, report: &Report, run: &RunFolder) -> Result<Manifest, EngineError> {
        let inputs = self.dataset.files().iter().map(|file| FileDigest {
            path: file.input.relative.clone(),
            bytes: file.input.bytes,
            blake3: hex(&file.input.digest),
        });
        Ok(Manifest {
            schema: manifest::SCHEMA.to_owned(),
            tool: report.tool.clone(),
            tool_version: report.tool_version.clone(),
            pipeline: report.settings.pipeline.clone(),
            settings_hash: report.settings.pipeline_hash.clone(),
            seed: report.settings.seed,
            canonical_encoding: canonical::VERSION,
            counts: report.counts,
            inputs: inputs.collect(),
            outputs: run.outputs()?,
        })
    }
}

/// A digest in hexadecimal.
pub(crate) fn hex(digest: &[u8; 32]) -> String {
    RowHash(*digest).to_string()
}

fn unreadable(file: &str, row_group: u32, error: &arrow::error::ArrowError) -> IoError {
    IoError::Unreadable {
        file: file.to_owned(),
        location: format!(" row group {row_group}"),
        reason: error.to_string(),
    }
}

fn create_folder(path: &std::path::Path) -> Result<(), IoError> {
    std::fs::create_dir_all(path).map_err(|source| IoError::Storage {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

fn remove_folder(path: &std::path::Path) -> Result<(), IoError> {
    std::fs::remove_dir_all(path).map_err(|source| IoError::Storage {
        action: "remove",
        path: path.to_owned(),
        source,
    })
}

/// The check of what was written must count what was decided.
fn agree(conservation: &Conservation, counts: &Counts) -> Result<(), EngineError> {
    if &conservation.counts == counts {
        return Ok(());
    }
    Err(IoError::Conservation {
        file: "run folder".to_owned(),
        location: String::new(),
        detail: format!("{:?} decided, {:?} written", counts, conservation.counts),
    }
    .into())
}

/// Number of scores from which a null is fitted.
fn null_scores(settings: &Settings) -> u64 {
    (settings.memory / 64).clamp(1 << 16, MAX_NULL_SCORES)
}

fn calibrate(
    models: &[Modelled<'_>],
    spill: &mut Spill,
    max_scores: u64,
) -> Result<Vec<Calibrated>, EngineError> {
    let mut calibrated = Vec::new();
    for (idx, model) in models.iter().enumerate() {
        let spec = model.planned.detector.spec();
        let fitted = match spec.score_kind {
            ScoreKind::Rule => None,
            ScoreKind::Statistical => {
                let scores = spill
                    .scores(idx, max_scores)
                    .map_err(|source| IoError::Storage {
                        action: "read",
                        path: PathBuf::from("scores"),
                        source,
                    })?;
                let null = Null::fit(scores.clone(), CENSORED);
                let mut rates = QValues::default();
                for score in scores {
                    rates.add(null.p_value(f64::from(score)));
                }
                Some((null, rates.finish()))
            }
        };
        let (null, rates) = fitted.unzip();
        calibrated.push(Calibrated {
            id: spec.id,
            kind: spec.score_kind,
            null,
            rates,
        });
    }
    Ok(calibrated)
}

/// Which findings a record belongs to.
pub(crate) struct Membership {
    findings: Vec<Finding>,
    /// (ordinal, finding), sorted.
    members: Vec<(u64, u32)>,
}

impl Membership {
    /// Orders findings by severity, certainty and size, and settles which hold records back.
    fn new(mut findings: Vec<Finding>, finding_p: f64) -> Self {
        for finding in &mut findings {
            if finding.p_value > finding_p {
                finding.action = Action::Review;
            }
        }
        findings.sort_by(|left, right| {
            let holds = |finding: &Finding| finding.action == Action::Quarantine;
            holds(right)
                .cmp(&holds(left))
                .then(right.severity.cmp(&left.severity))
                .then(left.p_value.total_cmp(&right.p_value))
                .then(right.records.len().cmp(&left.records.len()))
                .then_with(|| left.detector.cmp(&right.detector))
                .then_with(|| left.title.cmp(&right.title))
        });
        let mut members: Vec<(u64, u32)> = findings
            .iter()
            .zip(0..)
            .flat_map(|(finding, idx)| finding.records.iter().map(move |&ordinal| (ordinal, idx)))
            .collect();
        members.par_sort_unstable();
        Self { findings, members }
    }

    fn of(&self, ordinal: u64) -> impl Iterator<Item = (usize, &Finding)> {
        let start = self
            .members
            .partition_point(|&(member, _)| member < ordinal);
        self.members[start..]
            .iter()
            .take_while(move |&&(member, _)| member == ordinal)
            .map(|&(_, idx)| (idx as usize, &self.findings[idx as usize]))
    }

    fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

/// `F001` for the first finding.
pub(crate) fn finding_id(idx: usize) -> String {
    format!("F{:03}", idx + 1)
}

/// The last pass over the spilled scores.
struct Judge<'s, 'a, F> {
    scan: &'s Scan<'a>,
    calibrated: &'s [Calibrated],
    membership: &'s Membership,
    decision: Decision,
    q_values: QValues,
    fused: &'s F,
    collected: summary::Collected,
    verdicts: Vec<Verdict>,
    notes: BTreeMap<u64, RecordNote>,
    members: BTreeMap<u64, String>,
}

impl<F: Fn(&Row) -> Option<f64>> Judge<'_, '_, F> {
    /// Judges every record and writes its row of `scores/`.
    fn write_scores(&mut self, spill: &mut Spill, run: &RunFolder) -> Result<(), EngineError> {
        let scan = self.scan;
        let ids: Vec<&str> = self.calibrated.iter().map(|detector| detector.id).collect();
        let layout = &scan.assembler.layout;
        let integer_ids = layout
            .id
            .is_some_and(|id| scan.assembler.schema.field(id).data_type().is_integer());
        let mut writer = ScoresWriter::create(run, &ids, integer_ids)?;
        for unit in 0..scan.dataset.units().len() {
            let place = scan.dataset.units()[unit];
            let unread = scan.unscanned.contains_key(&unit);
            let names = RecordNames::of_unit(scan, unit, unread, integer_ids)?;
            let file = &scan.dataset.files()[place.file].input.relative;
            let end = place.first_row + place.rows;
            for first in (place.first_row..end).step_by(SCORE_BATCH) {
                let n_rows = (end - first).min(SCORE_BATCH as u64);
                let rows = spill
                    .range(first, n_rows)
                    .map_err(|source| IoError::Storage {
                        action: "read",
                        path: run.path().join(".scratch"),
                        source,
                    })?;
                let judged: Vec<JudgedRow> = (first..)
                    .zip(&rows)
                    .map(|(ordinal, row)| {
                        self.judge(ordinal, row, unread, &names, ordinal - place.first_row)
                    })
                    .collect();
                let rows: Vec<ScoreRow<'_>> = judged
                    .iter()
                    .map(|judged| judged.as_row(file, place.row_group))
                    .collect();
                writer.append_rows(&rows)?;
            }
            scan.progress.advance(place.rows, 0);
        }
        writer.finish()?;
        Ok(())
    }

    fn judge(
        &mut self,
        ordinal: u64,
        row: &Row,
        unread: bool,
        names: &RecordNames,
        row_idx: u64,
    ) -> JudgedRow {
        let settings = &self.scan.request.settings;
        let name = names.name(row_idx);
        let row_in_group = names.row_in_group(row_idx);
        if unread {
            self.verdicts.push(Verdict::Unscanned);
            return JudgedRow {
                name,
                row: row_in_group,
                hash: None,
                score: f32::NAN,
                p_value: f64::NAN,
                q_value: f64::NAN,
                verdict: Verdict::Unscanned,
                scores: row.scores.clone(),
            };
        }
        let fused = (self.fused)(row);
        let mut rank_p = fused.unwrap_or(1.0);
        let mut p_value = fused.map_or(1.0, |p| self.decision.p_value(p));
        let mut q_value = fused.map_or(1.0, |_| self.q_values.q_value(p_value));
        let mut held = settings.hold_rows && fused.is_some() && q_value <= settings.fdr;
        let by_rows = held;
        let mut scores = row.scores.clone();
        let mut findings = Vec::new();
        for (idx, finding) in self.membership.of(ordinal) {
            findings.push(idx);
            if let Some(position) = self.calibrated.iter().position(|detector| {
                detector.id == finding.detector && detector.kind == ScoreKind::Rule
            }) {
                let strength = score_of(finding.p_value);
                scores[position] = scores[position].max(strength);
            }
            if finding.action == Action::Quarantine {
                held = true;
                rank_p = rank_p.min(finding.p_value);
                p_value = p_value.min(finding.p_value);
                q_value = q_value.min(finding.p_value);
            }
        }
        if !findings.is_empty() {
            self.members.insert(ordinal, name.to_string());
        }
        let verdict = if held {
            Verdict::Quarantine
        } else {
            Verdict::Pass
        };
        let score = score_of(rank_p);
        if held {
            self.notes.insert(
                ordinal,
                RecordNote {
                    record_id: name.to_string(),
                    row_hash: row.hash,
                    score,
                    q_value,
                    findings: findings.iter().map(|&idx| finding_id(idx)).collect(),
                },
            );
        }
        self.verdicts.push(verdict);
        self.collected.add_record(&summary::Record {
            ordinal,
            row,
            calibrated: self.calibrated,
            score,
            p_value,
            q_value,
            verdict,
            by_rows,
            findings: &findings,
        });
        JudgedRow {
            name,
            row: row_in_group,
            hash: Some(row.hash),
            score,
            p_value,
            q_value,
            verdict,
            scores,
        }
    }
}

/// The name of a record, as `scores/` has it.
#[derive(Clone, Debug)]
enum Name {
    Integer(i64),
    Text(String),
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(id) => write!(formatter, "{id}"),
            Self::Text(id) => formatter.write_str(id),
        }
    }
}

struct JudgedRow {
    name: Name,
    row: u64,
    hash: Option<RowHash>,
    score: f32,
    p_value: f64,
    q_value: f64,
    verdict: Verdict,
    scores: Vec<f32>,
}

impl JudgedRow {
    fn as_row<'r>(&'r self, file: &'r str, row_group: u32) -> ScoreRow<'r> {
        ScoreRow {
            record_id: match &self.name {
                Name::Integer(id) => RecordId::Integer(*id),
                Name::Text(id) => RecordId::Text(id),
            },
            row_hash: self.hash,
            file,
            row_group,
            row: self.row,
            score: self.score,
            p_value: self.p_value,
            q_value: self.q_value,
            verdict: self.verdict,
            detectors: &self.scores,
        }
    }
}

/// Names of the records of one unit.
struct RecordNames {
    integers: Option<Vec<Option<i64>>>,
    texts: Option<Vec<Option<String>>>,
    prefix: String,
    integer_ids: bool,
    row_in_group: u64,
}

impl RecordNames {
    fn of_unit(
        scan: &Scan<'_>,
        unit: usize,
        unread: bool,
        integer_ids: bool,
    ) -> Result<Self, EngineError> {
        use arrow::array::AsArray as _;
        use arrow::datatypes::{DataType, Int64Type};
        let place = scan.dataset.units()[unit];
        let file = &scan.dataset.files()[place.file].input;
        let mut names = Self {
            integers: None,
            texts: None,
            // Without an id column a record is named by where it stands.
            prefix: format!("{}:{}", &hex(&file.digest)[..16], place.row_group),
            integer_ids,
            row_in_group: place.row_in_group,
        };
        let Some(id) = scan.assembler.layout.id.filter(|_| !unread) else {
            return Ok(names);
        };
        let describe = |error| unreadable(&file.relative, place.row_group, &error);
        let (mut integers, mut texts) = (Vec::new(), Vec::new());
        for batch in scan.dataset.batches(unit, Some(&[id]))? {
            let batch = batch?;
            let column = batch.column(0);
            if integer_ids {
                let column = arrow::compute::cast(column, &DataType::Int64).map_err(describe)?;
                integers.extend(column.as_primitive::<Int64Type>().iter());
            } else {
                let column = crate::assemble::strings(column).map_err(describe)?;
                texts.extend(column.iter().map(|id| id.map(str::to_owned)));
            }
        }
        names.integers = integer_ids.then_some(integers);
        names.texts = (!integer_ids).then_some(texts);
        Ok(names)
    }

    fn row_in_group(&self, row_idx: u64) -> u64 {
        self.row_in_group + row_idx
    }

    fn name(&self, row_idx: u64) -> Name {
        let row = row_idx as usize;
        if self.integer_ids {
            // A record without an id in an integer column cannot borrow another's.
            let id = self
                .integers
                .as_ref()
                .and_then(|ids| ids.get(row).copied().flatten());
            return Name::Integer(id.unwrap_or(i64::MIN));
        }
        let id = self
            .texts
            .as_ref()
            .and_then(|ids| ids.get(row).cloned().flatten());
        Name::Text(id.unwrap_or_else(|| format!("{}:{}", self.prefix, self.row_in_group(row_idx))))
    }
}
