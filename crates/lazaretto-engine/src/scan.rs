//! A scan from its inputs to its run folder, step by step.

mod passes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use lazaretto_core::report::{Counts, PowerReport, Report};
use lazaretto_core::{
    AnyModel, AnyState, FitContext, Intermediate, NO_LABEL, RecordKey, RowHash, Shared, canonical,
};
use lazaretto_embed::Model;
use lazaretto_features::FeatureModel;
use lazaretto_io::{
    Conservation, Dataset, FileDigest, FindingsWriter, Found, IoError, Journal, Manifest,
    OpenOptions, RolePlan, RunFolder, Seal, Written, assign_roles, check_conservation, discover,
    failpoint, manifest, split_file, write_review, write_unscanned_reasons,
};
use lazaretto_patterns::redact;
use lazaretto_proof::{Day, SecretKey, Trust};
use rayon::prelude::*;

use crate::assemble::{Assembler, Wanted};
use crate::beside;
use crate::calibrated::{Calibrated, calibrate, null_scores};
use crate::checkpoint::{Checkpoints, Resumption, Unscanned};
use crate::combine::Fused;
use crate::compare::nearest_passing;
use crate::embedder::{self, Installed};
use crate::enrichment::enrichment;
use crate::error::EngineError;
use crate::evaluation;
use crate::examples::Examples;
use crate::judge::{Judged, finding_id};
use crate::memory::give_back;
use crate::plan::{Plan, Planned};
use crate::progress::Progress;
use crate::provenance::{self, Given};
use crate::redaction;
use crate::resume::{self, Facts};
use crate::seal;
use crate::settings::Settings;
use crate::spike;
use crate::spill::Spill;
use crate::summary;
use crate::survey::survey;
use crate::trusted::{self, Gathering, Scorer, TrustedData, TrustedScores};

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
    /// Keys.
    pub proof: ProofOptions,
    /// Whether an earlier run is gone on with, and how a later one can go on with this.
    pub resumption: Resumption,
}

/// Keys that sign the run and that vouch for what it is given.
#[derive(Clone, Debug, Default)]
pub struct ProofOptions {
    /// Signs the run, where there is one.
    pub signing_key: Option<Arc<SecretKey>>,
    /// Keys of which one must have signed the list of sources; `None` when it need not be signed.
    pub trust: Option<Trust>,
    /// The day on which keys must count; `None` leaves days out.
    pub today: Option<Day>,
}

/// Name of the scores of all records in the journal.
const ROWS: &str = "rows";

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

pub(crate) fn pool(settings: &Settings) -> Result<rayon::ThreadPool, EngineError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(settings.threads)
        .thread_name(|idx| format!("lazaretto-{idx}"))
        .build()
        .map_err(|source| EngineError::Threads {
            threads: settings.threads,
            source,
        })
}

pub(crate) fn open_options(
    settings: &Settings,
    scratch: PathBuf,
    cancel: &Arc<AtomicBool>,
) -> OpenOptions {
    // A batch is held by each thread as Arrow, as matrices and as derived features; one that fits a
    // core's cache is no slower to work on than a larger one. The number of threads must not
    // enter: where batches end can show in the last digits of a score.
    let share = settings.memory / 64;
    OpenOptions {
        scratch,
        cancel: Arc::clone(cancel),
        batch_bytes: share.clamp(1 << 20, 4 << 20) as usize,
        isolation: settings.decoding.isolation(),
        keys: settings.keys.clone(),
        headers: settings.decoding.headers,
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
        let model = embedder::load(&request.settings)?;
        staged(request, model, progress, render)
    })
}

/// [`scan`] with an embedder that is not loaded from a folder: `model` makes the vectors of texts.
///
/// # Errors
/// As [`scan`].
pub fn scan_with(
    request: &ScanRequest,
    model: Model,
    progress: &dyn Progress,
    render: &(dyn Fn(&Report) -> Vec<ReportFile> + Sync),
) -> Result<Outcome, EngineError> {
    pool(&request.settings)?.install(|| staged(request, Some(model), progress, render))
}

/// [`scan`] inside the pool of another scan.
pub(crate) fn scan_in_pool(
    request: &ScanRequest,
    progress: &dyn Progress,
    render: &(dyn Fn(&Report) -> Vec<ReportFile> + Sync),
) -> Result<Outcome, EngineError> {
    staged(
        request,
        embedder::load(&request.settings)?,
        progress,
        render,
    )
}

fn staged(
    request: &ScanRequest,
    model: Option<Model>,
    progress: &dyn Progress,
    render: &(dyn Fn(&Report) -> Vec<ReportFile> + Sync),
) -> Result<Outcome, EngineError> {
    if !request.resumption.resume {
        let run = RunFolder::stage(&request.out)?;
        return begin(request, model, progress, render, (run, false));
    }
    match RunFolder::resume(&request.out)? {
        Found::Committed => resume::committed(request, model.as_ref(), progress),
        Found::Sealed(run, manifest) => {
            resume::sealed(request, model.as_ref(), progress, run, &manifest)
        }
        Found::Begun(run) => begin(request, model, progress, render, (run, true)),
        Found::Nothing(run) => {
            progress.note("there is no run to resume: a new one begins");
            begin(request, model, progress, render, (run, false))
        }
    }
}

/// Makes a run in a staging folder, where one may have been begun, and puts it into its place.
fn begin(
    request: &ScanRequest,
    model: Option<Model>,
    progress: &dyn Progress,
    render: &(dyn Fn(&Report) -> Vec<ReportFile> + Sync),
    (run, begun): (RunFolder, bool),
) -> Result<Outcome, EngineError> {
    let staging = run.path().to_owned();
    let ended = match Scan::run(request, model, progress, render, (&run, begun)) {
        Ok((outcome, manifest)) => {
            run.keep(Journal::has_checkpoints(&run));
            Scan::commit(request, run, &manifest).map(|()| outcome)
        }
        Err(error) => {
            // A run that was not accepted stays for the command that it is of.
            let goes_on = is_passing(&error) && Journal::has_checkpoints(&run);
            run.keep(run.is_kept() || goes_on);
            drop(run);
            Err(error)
        }
    };
    ended.map_err(|error| match error {
        EngineError::Io(cause) if is_passing_io(&cause) && staging.is_dir() => {
            EngineError::Resumable {
                folder: staging.display().to_string(),
                cause: Box::new(cause),
            }
        }
        other => other,
    })
}

/// Whether the same command may come further another time.
fn is_passing(error: &EngineError) -> bool {
    error.io().is_some_and(is_passing_io)
}

fn is_passing_io(error: &IoError) -> bool {
    matches!(
        error,
        IoError::Interrupted | IoError::Storage { .. } | IoError::Encode { .. }
    )
}

fn warn_of_unreadable(dataset: &Dataset, progress: &dyn Progress) {
    for file in dataset.files() {
        if let Some(problem) = &file.problem {
            progress.warn(&redact(&format!("unscanned: {problem}")));
        }
    }
}

/// Measures phases.
pub(crate) struct Clock {
    started: std::time::Instant,
    timings: Vec<(String, f64)>,
}

impl Clock {
    /// Its readings go to `timings.json`, which the manifest leaves out, and nowhere else.
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

    /// Writes `timings.json`.
    fn write(&self, settings: &Settings, run: &RunFolder) -> Result<(), IoError> {
        let phases = self.timings.iter();
        let seconds: Vec<_> = phases
            .map(|(phase, seconds)| serde_json::json!({"phase": phase, "seconds": seconds}))
            .collect();
        let timings = serde_json::json!({
            "seconds": seconds,
            "threads": settings.threads,
            "memory": settings.memory,
        });
        let timings = serde_json::to_vec_pretty(&timings).unwrap_or_default();
        run.write("timings.json", &timings)
    }
}

/// A detector with its model.
struct Modelled<'a> {
    planned: &'a Planned,
    model: AnyModel,
}

/// State of a running scan.
pub(crate) struct Scan<'a> {
    pub(crate) request: &'a ScanRequest,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) dataset: &'a Dataset,
    pub(crate) assembler: &'a Assembler,
    pub(crate) plan: &'a Plan,
    /// Records known to be good, where some were given.
    pub(crate) trusted: Option<&'a TrustedData>,
    /// Evaluation files, where some were given.
    pub(crate) evaluation: Option<&'a Dataset>,
    /// The model for vectors of texts, where one was given.
    pub(crate) embedder: Option<&'a Installed>,
    pub(crate) key: RecordKey,
    pub(crate) checkpoints: &'a Checkpoints<'a>,
    /// Why a unit is unscanned.
    pub(crate) unscanned: Unscanned,
}

impl<'a> Scan<'a> {
    #[expect(
        clippy::too_many_lines,
        reason = "all steps of a scan, one after the other"
    )]
    fn run(
        request: &'a ScanRequest,
        model: Option<Model>,
        progress: &'a dyn Progress,
        render: &dyn Fn(&Report) -> Vec<ReportFile>,
        (run, begun): (&RunFolder, bool),
    ) -> Result<(Outcome, Manifest), EngineError> {
        let settings = &request.settings;
        let mut clock = Clock::start();
        progress.phase("reading file headers", 0, 0);
        let (list, discovery) = (provenance::load_list(request)?, discover(&request.inputs)?);
        let given = Given::new(&discovery, list)?;
        let name = discovery.name.clone();
        let skipped = discovery.skipped.clone();
        run.check_names(&discovery.files)?;
        let scratch = run.scratch_folder();
        if begun && scratch.exists() {
            remove_folder(&scratch)?;
        }
        create_folder(&scratch)?;
        let dataset = Dataset::open(
            discovery,
            open_options(settings, scratch.clone(), &request.cancel),
        )?;
        warn_of_unreadable(&dataset, progress);
        let roles: RolePlan =
            assign_roles(&dataset, &settings.roles).map_err(EngineError::Roles)?;
        let (trusted, evaluation) = Self::open_beside(request, &scratch)?;
        let beside = [&trusted, &evaluation].map(|files| files.as_ref().map_or(0, Dataset::n_rows));
        let label_is_given = settings.roles.label.is_some();
        let mut assembler = survey(&dataset, roles, label_is_given, beside)?;
        let notes = given.install(&dataset, &mut assembler, progress);
        let embedder = model.map(|model| Installed::new(model, &mut assembler));
        if let Some(reason) = embedder.as_ref().and_then(Installed::unused) {
            progress.warn(&format!("the embedder is not used: {reason}"));
        }
        let trusted = trusted
            .map(|files| TrustedData::new(files, &assembler))
            .transpose()?;
        let plan = Plan::new(&assembler.facts, settings)?;
        let identity = resume::identity(&Facts {
            request,
            dataset: &dataset,
            trusted: trusted
                .as_ref()
                .map(TrustedData::digests)
                .unwrap_or_default(),
            evaluation: evaluation.as_ref().map(beside::digests).unwrap_or_default(),
            embedder: embedder
                .as_ref()
                .map(Installed::digests)
                .unwrap_or_default(),
            list: given.list_digest(),
        });
        failpoint!("before-identity");
        // Checkpoints hold texts of the data, and are not encrypted.
        let every = request.resumption.every;
        let every = every.filter(|_| settings.keys.inputs.is_none());
        let checkpoints = Checkpoints::open(run, begun, &identity, every, progress)?;
        failpoint!("after-identity");
        clock.lap("discover");
        let mut scan = Scan {
            request,
            progress,
            dataset: &dataset,
            assembler: &assembler,
            plan: &plan,
            trusted: trusted.as_ref(),
            evaluation: evaluation.as_ref(),
            embedder: embedder.as_ref(),
            key: RecordKey::new(settings.seed),
            checkpoints: &checkpoints,
            unscanned: BTreeMap::new(),
        };
        scan.embed_texts(&scratch)?;
        let (fitted, mut shared, mut features) = scan.fit()?;
        failpoint!("after-fit");
        scan.gather(&mut shared, &mut features, &scratch)?;
        let trusted_note = scan.gather_beside(&mut shared, &features)?;
        let (models, abstained) = scan.models(fitted, &shared);
        clock.lap("fit");
        let (spill, mut findings) = scan.score(
            &models,
            &shared,
            &features,
            &run.journal_folder().join(ROWS),
        )?;
        failpoint!("after-score");
        let trusted_scores = scan.score_trusted(&models, &shared, &features)?;
        clock.lap("score");
        // Models are large, and from here on it only matters which detectors ran.
        let ran: Vec<&Planned> = models.into_iter().map(|model| model.planned).collect();
        give_back();
        let (calibrated, fused) = scan.fuse(&ran, &spill, trusted_scores.as_ref(), &scratch)?;
        findings.extend(enrichment(&scan, &ran, &calibrated, &findings, &spill)?);
        clock.lap("fuse");
        let mut judged = scan.judge(&calibrated, findings, &spill, &fused, run)?;
        failpoint!("after-judge");
        let shown = &judged.summary.findings;
        let shown = &shown[..shown.len().min(summary::MAX_WITH_EXAMPLES)];
        let nearest = nearest_passing(&scan, shown, &judged.verdicts, &shared, &features)?;
        // What was needed to score is large, and the writers need room.
        let embedder_note = embedder.as_ref().map(Installed::describe);
        let notes = notes.into_iter().chain(embedder_note).chain(trusted_note);
        let features_described = features.describe().into_iter().chain(notes).collect();
        drop((features, shared));
        give_back();
        let examples = scan.examples(&mut judged, &nearest)?;
        clock.lap("judge");
        let inputs = summary::Inputs {
            name,
            skipped,
            ran: &ran,
            calibrated: &calibrated,
            abstained: &abstained,
            features: features_described,
            judged: &judged,
            nearest: &nearest,
            examples: &examples,
            power: scan.spike_test(&judged, &scratch, &mut clock)?,
        };
        let report = scan.report(&inputs, render, run)?;
        failpoint!("after-write");
        clock.lap("write");
        drop(spill);
        remove_folder(&scratch)?;
        progress.phase("checking that nothing was lost", dataset.n_rows(), 0);
        let conservation = check_and_sync(&dataset, run)?;
        agree(&conservation, &judged.counts)?;
        failpoint!("after-check");
        // Whoever was told that the run stops must not find it finished.
        dataset.check_cancelled()?;
        clock.lap("check");
        clock.write(settings, run)?;
        let manifest = scan.manifest(&report, given.list_digest(), run)?;
        Ok((
            Outcome {
                report,
                timings: clock.timings,
            },
            manifest,
        ))
    }

    /// Writes the records and the reports.
    fn report(
        &self,
        inputs: &summary::Inputs<'_, '_>,
        render: &dyn Fn(&Report) -> Vec<ReportFile>,
        run: &RunFolder,
    ) -> Result<Report, EngineError> {
        let (report, written) = rayon::join(
            || summary::report(self, inputs),
            || self.write(inputs.judged, run),
        );
        written?;
        for (file, bytes) in render(&report) {
            run.write(&file, &bytes)?;
        }
        Ok(report)
    }

    /// The records to show; what findings quote of them is masked.
    fn examples(&self, judged: &mut Judged, nearest: &[Vec<u64>]) -> Result<Examples, EngineError> {
        let mut examples = summary::examples(&judged.summary, nearest);
        examples.read(self)?;
        redaction::of_findings(&mut judged.summary.findings, examples.redactor());
        Ok(examples)
    }

    /// What this run would have caught of planted attacks, where that was asked for.
    fn spike_test(
        &self,
        judged: &Judged,
        scratch: &std::path::Path,
        clock: &mut Clock,
    ) -> Result<Option<PowerReport>, EngineError> {
        let Some(power) = &self.request.settings.power else {
            return Ok(None);
        };
        let report = spike::measure(self, &judged.verdicts, power, scratch)?;
        clock.lap("spike test");
        Ok(Some(report))
    }

    /// Number of files that could not be judged, whole or in part.
    pub(crate) fn unscanned_files(&self) -> u64 {
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

    pub(crate) fn phase(&self, name: &str) {
        let bytes = self
            .dataset
            .files()
            .iter()
            .map(|file| file.input.bytes)
            .sum();
        self.progress.phase(name, self.dataset.n_rows(), bytes);
    }

    /// Calls `each` with every batch of a unit, assembled.
    pub(crate) fn each_batch(
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

    /// The pass that gathers the features of all records, where neighbours are searched among all.
    fn gather(
        &mut self,
        shared: &mut Shared,
        model: &mut FeatureModel,
        scratch: &std::path::Path,
    ) -> Result<(), EngineError> {
        let Some(vectors) = model.all_vectors() else {
            return Ok(());
        };
        self.phase("gathering vectors");
        let failed = |source| IoError::Storage {
            action: "write",
            path: scratch.join("vectors"),
            source,
        };
        // Without a name, so that it is gone when the run ends in whatever way.
        let writer = vectors
            .writer(|| tempfile::tempfile_in(scratch))
            .map_err(failed)?;
        let wanted = Plan::gather_wanted(&self.assembler.facts);
        let columns = wanted.columns(&self.assembler.layout);
        let mut labels = vec![NO_LABEL; self.dataset.n_rows() as usize];
        let gathered: &FeatureModel = model;
        let gather_unit = |this: &Self, unit: usize| {
            let mut labels = Vec::new();
            this.each_batch(unit, &wanted, &columns, |batch, assembled| {
                let view = assembled.view(&assembled.derived);
                match view.labels {
                    Some(given) => labels.extend_from_slice(given),
                    None => labels.resize(labels.len() + batch.num_rows(), NO_LABEL),
                }
                match gathered.features_of(&view) {
                    Some(rows) => writer.write(view.first_row, rows.view()).map_err(failed),
                    None => Ok(()),
                }
            })?;
            Ok(labels)
        };
        let dataset = self.dataset;
        self.each_unit(gather_unit, |unit, read| {
            let place = dataset.units()[unit];
            match read {
                Some(read) => {
                    let first = place.first_row as usize;
                    labels[first..first + read.len()].copy_from_slice(&read);
                }
                // What was written before the unit failed is taken back.
                None => writer.erase(place.first_row, place.rows).map_err(failed)?,
            }
            Ok(())
        })?;
        let store = writer.finish().map_err(failed)?;
        self.progress.phase("searching neighbors", 0, 0);
        model.search_all(shared, store, labels, &self.request.cancel);
        self.dataset.check_cancelled()?;
        Ok(())
    }

    /// Opens the files that are read beside the dataset, where some were given: trusted records and
    /// evaluation sets.
    fn open_beside(
        request: &ScanRequest,
        scratch: &std::path::Path,
    ) -> Result<(Option<Dataset>, Option<Dataset>), EngineError> {
        let settings = &request.settings;
        let options = |name: &str| {
            let scratch = scratch.join(name);
            create_folder(&scratch)?;
            Ok::<_, EngineError>(open_options(settings, scratch, &request.cancel))
        };
        let trusted = trusted::open(settings, options("trusted")?)?;
        let evaluation = evaluation::open(settings, options("evaluation")?)?;
        Ok((trusted, evaluation))
    }

    /// Reads the evaluation files and the trusted records, where a detector asks for them; returns
    /// a line about the latter for the report.
    fn gather_beside(
        &self,
        shared: &mut Shared,
        model: &FeatureModel,
    ) -> Result<Option<String>, EngineError> {
        let wanted = self.plan.intermediates.contains(&Intermediate::Evaluation);
        if let Some(files) = self.evaluation.filter(|_| wanted) {
            self.progress.phase("reading evaluation sets", 0, 0);
            let max_bytes = self.request.settings.memory / 8;
            shared.evaluation = Some(evaluation::gather(files, max_bytes)?);
        }
        self.gather_trusted(shared, model)
    }

    /// Reads the trusted records, where a detector asks for them; returns a line for the report.
    fn gather_trusted(
        &self,
        shared: &mut Shared,
        model: &FeatureModel,
    ) -> Result<Option<String>, EngineError> {
        let Some(data) = self.trusted else {
            return Ok(None);
        };
        if !self.plan.intermediates.contains(&Intermediate::Trusted) {
            return Ok(None);
        }
        self.progress.phase("reading trusted records", 0, 0);
        let trusted = data.gather(&Gathering {
            assembler: self.assembler,
            wanted: &self.plan.trusted_wanted(&self.assembler.facts),
            key: self.key,
            model,
            max_rows: trusted::max_rows(&self.request.settings, self.assembler),
        })?;
        let note = data.describe(&trusted);
        shared.trusted = Some(trusted);
        Ok(Some(note))
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

    /// The scores of trusted records, where some were given.
    fn score_trusted(
        &self,
        models: &[Modelled<'a>],
        shared: &Shared,
        features: &FeatureModel,
    ) -> Result<Option<TrustedScores>, EngineError> {
        let Some(data) = self.trusted else {
            return Ok(None);
        };
        self.progress.phase("scoring trusted records", 0, 0);
        let gathering = Gathering {
            assembler: self.assembler,
            wanted: &self.plan.trusted_score_wanted(&self.assembler.facts),
            key: self.key,
            model: features,
            max_rows: trusted::MAX_SCORED,
        };
        let scorers: Vec<Scorer<'_>> = models
            .iter()
            .map(|model| Scorer {
                detector: &*model.planned.detector,
                model: &model.model,
            })
            .collect();
        data.score(&gathering, shared, &scorers).map(Some)
    }

    /// Every detector's null, and every record's scores as one.
    fn fuse(
        &self,
        ran: &[&Planned],
        spill: &Spill,
        trusted: Option<&TrustedScores>,
        scratch: &std::path::Path,
    ) -> Result<(Vec<Calibrated>, Fused), EngineError> {
        let max_scores = null_scores(&self.request.settings);
        let facts = &self.assembler.facts;
        let calibrated = calibrate(ran, facts, spill, trusted, max_scores)?;
        let fused =
            Fused::new(&calibrated, spill, trusted, max_scores, scratch).map_err(|source| {
                IoError::Storage {
                    action: "read",
                    path: scratch.to_owned(),
                    source,
                }
            })?;
        Ok((calibrated, fused))
    }

    /// `clean/`, `quarantine/`, `unscanned/` and the findings.
    fn write(&self, judged: &Judged, run: &RunFolder) -> Result<(), EngineError> {
        self.phase("writing");
        let checkpoints = self.checkpoints;
        let written = Written::open(run, checkpoints.journal(), judged.digest())?;
        let split = |file: usize| -> Result<(), IoError> {
            let open = &self.dataset.files()[file];
            if !written.has(&open.input.relative) {
                split_file(self.dataset, file, judged, run)?;
                written.add(&open.input.relative);
                checkpoints.when_due(|| {
                    failpoint!("before-written-checkpoint");
                    written.save()?;
                    failpoint!("after-written-checkpoint");
                    Ok(())
                });
            }
            self.progress
                .advance(open.rows.unwrap_or(0), open.input.bytes);
            Ok(())
        };
        (0..self.dataset.files().len())
            .into_par_iter()
            .try_for_each(split)?;
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
        if let Some(review) = &judged.review {
            write_review(run, &review.rows(self.dataset))?;
        }
        Ok(())
    }

    /// Puts a complete run into its place, signed where there is a key.
    pub(crate) fn commit(
        request: &ScanRequest,
        run: RunFolder,
        manifest: &Manifest,
    ) -> Result<(), EngineError> {
        let key = request.proof.signing_key.as_deref();
        let seal = key.map(|key| {
            move |manifest: &Manifest, covered: &[FileDigest]| seal::seal(key, manifest, covered)
        });
        let seal = seal.as_ref().map(|seal| seal as &Seal<'_>);
        Ok(run.commit(manifest, request.settings.access, seal)?)
    }

    fn manifest(
        &self,
        report: &Report,
        allowlist: Option<FileDigest>,
        run: &RunFolder,
    ) -> Result<Manifest, EngineError> {
        let inputs = self.dataset.files().iter().map(|file| FileDigest {
            path: file.input.relative.clone(),
            bytes: file.input.bytes,
            blake3: hex(&file.input.digest),
            sha256: hex(&file.input.sha256),
        });
        Ok(Manifest {
            schema: manifest::SCHEMA.to_owned(),
            tool: report.tool.clone(),
            tool_version: report.tool_version.clone(),
            pipeline: report.settings.pipeline.clone(),
            settings_hash: report.settings.pipeline_hash.clone(),
            seed: report.settings.seed,
            canonical_encoding: canonical::VERSION,
            gate: report.gate.status,
            rules: rules_in_words(&self.request.settings),
            counts: report.counts,
            inputs: inputs.collect(),
            trusted: self.trusted.map(TrustedData::digests).unwrap_or_default(),
            evaluation: self.evaluation.map(beside::digests).unwrap_or_default(),
            embedder: self.embedder.map(Installed::digests).unwrap_or_default(),
            allowlist,
            encryption_keys: self.request.settings.keys.fingerprint(),
            outputs: run.outputs(self.dataset.files().iter().map(|file| &file.input))?,
        })
    }
}

fn rules_in_words(settings: &Settings) -> Vec<String> {
    let rules = settings.rules.iter();
    rules.map(ToString::to_string).collect()
}

/// A digest in hexadecimal.
pub(crate) fn hex(digest: &[u8; 32]) -> String {
    RowHash(*digest).to_string()
}

pub(crate) fn unreadable(file: &str, row_group: u32, error: &arrow::error::ArrowError) -> IoError {
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

/// Reads again what was written, while it goes to the disk.
fn check_and_sync(dataset: &Dataset, run: &RunFolder) -> Result<Conservation, IoError> {
    // A failure to sync is told once; it must not get lost here.
    let (conservation, synced) = std::thread::scope(|scope| {
        let syncing = scope.spawn(|| run.sync());
        let conservation = check_conservation(dataset, run.path());
        (conservation, syncing.join())
    });
    let conservation = conservation?;
    synced.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok(conservation)
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
