//! Who a run is, and runs of which nothing is left to be made: they are complete, or only not in their place.

use lazaretto_core::canonical;
use lazaretto_core::report::Report;
use lazaretto_embed::Model;
use lazaretto_io::manifest::ENVELOPE_NAME;
use lazaretto_io::{
    Dataset, Discovery, FileDigest, FinishedRun, Identity, IoError, Manifest, ModelDigest,
    RunFolder, discover,
};

use crate::error::EngineError;
use crate::progress::Progress;
use crate::provenance;
use crate::scan::{Outcome, Scan, ScanRequest, hex};

/// A name and a value.
type Fact = (String, String);

/// Everything that can change the result of a scan, once its files are open.
pub(crate) fn identity(scan: &Facts<'_>) -> Identity {
    let settings = &scan.request.settings;
    let own = [
        fact("pipeline", &settings.pipeline),
        fact("`trusted_input`", settings.decoding.trusted_input),
        fact("what can be read of the files", units(scan.dataset)),
        fact("the keys of encrypted files", settings.keys.fingerprint()),
    ];
    let inputs = scan.dataset.files().iter().map(|file| &file.input);
    let inputs = inputs.map(|input| (input.relative.clone(), hex(&input.digest)));
    let facts = settings.facts().into_iter().map(|(name, value)| {
        // Those that are flags are called as in the pipeline file.
        fact(&format!("`{name}`"), value)
    });
    Identity::new(
        version(env!("CARGO_PKG_VERSION"), canonical::VERSION)
            .into_iter()
            .chain(own)
            .chain(facts)
            .chain(named("input", inputs))
            .chain(named("trusted file", digests(&scan.trusted)))
            .chain(named("evaluation file", digests(&scan.evaluation)))
            .chain(named("embedder file", models(&scan.embedder)))
            .chain(named("list of sources", scan.list.iter().map(digest))),
    )
}

/// What an identity is made of.
pub(crate) struct Facts<'a> {
    pub(crate) request: &'a ScanRequest,
    pub(crate) dataset: &'a Dataset,
    pub(crate) trusted: Vec<FileDigest>,
    pub(crate) evaluation: Vec<FileDigest>,
    pub(crate) embedder: Vec<ModelDigest>,
    pub(crate) list: Option<FileDigest>,
}

/// A digest of what is read from the files, by unit, and of why the rest is not.
fn units(dataset: &Dataset) -> String {
    let mut hasher = blake3::Hasher::new();
    for unit in dataset.units() {
        for number in [
            unit.file as u64,
            unit.row_group.into(),
            unit.row_in_group,
            unit.rows,
        ] {
            hasher.update(&number.to_le_bytes());
        }
    }
    for file in dataset.files() {
        let problem = file.problem.as_deref().unwrap_or_default();
        hasher.update(&(problem.len() as u64).to_le_bytes());
        hasher.update(problem.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[expect(clippy::needless_pass_by_value, reason = "numbers and texts alike")]
fn fact(name: &str, value: impl ToString) -> Fact {
    (name.to_owned(), value.to_string())
}

fn version(tool: &str, encoding: u8) -> [Fact; 2] {
    [
        fact("version of lazaretto", tool),
        fact("version of row hashes", encoding),
    ]
}

/// Facts about files: path and digest.
fn named(kind: &str, files: impl IntoIterator<Item = Fact>) -> impl Iterator<Item = Fact> {
    let files = files.into_iter();
    files.map(move |(path, digest)| (format!("{kind} `{path}`"), digest))
}

fn digest(file: &FileDigest) -> Fact {
    (file.path.clone(), file.blake3.clone())
}

fn digests(files: &[FileDigest]) -> impl Iterator<Item = Fact> {
    files.iter().map(digest)
}

fn models(files: &[ModelDigest]) -> impl Iterator<Item = Fact> {
    let files = files.iter();
    files.map(|file| (file.path.clone(), file.sha256.clone()))
}

/// What is told of a run by its manifest, and of a request before its files are open.
struct Outline {
    version: [Fact; 2],
    pipeline: String,
    settings: String,
    keys: String,
    inputs: Vec<Fact>,
    trusted: Vec<Fact>,
    evaluation: Vec<Fact>,
    embedder: Vec<Fact>,
    list: Option<Fact>,
}

impl Outline {
    /// What a manifest says about a run.
    fn written(manifest: &Manifest) -> Self {
        Self {
            version: version(&manifest.tool_version, manifest.canonical_encoding),
            pipeline: manifest.pipeline.clone(),
            settings: manifest.settings_hash.clone(),
            keys: manifest.encryption_keys.clone(),
            inputs: digests(&manifest.inputs).collect(),
            trusted: digests(&manifest.trusted).collect(),
            evaluation: digests(&manifest.evaluation).collect(),
            embedder: models(&manifest.embedder).collect(),
            list: manifest.allowlist.as_ref().map(digest),
        }
    }

    /// The same of a request.
    fn asked(request: &ScanRequest, model: Option<&Model>) -> Result<Self, EngineError> {
        let settings = &request.settings;
        let found = |inputs: &[String]| -> Result<Vec<Fact>, IoError> {
            if inputs.is_empty() {
                return Ok(Vec::new());
            }
            let Discovery { files, .. } = discover(inputs)?;
            let files = files.into_iter();
            Ok(files
                .map(|file| (file.relative, hex(&file.digest)))
                .collect())
        };
        let models = model.into_iter().flat_map(|model| &model.files);
        Ok(Self {
            version: version(env!("CARGO_PKG_VERSION"), canonical::VERSION),
            pipeline: settings.pipeline.clone(),
            settings: settings.hash(),
            keys: settings.keys.fingerprint(),
            inputs: found(&request.inputs)?,
            trusted: found(&settings.trusted)?,
            evaluation: found(&settings.evaluation)?,
            embedder: models
                .map(|file| (file.name.clone(), file.sha256.clone()))
                .collect(),
            list: provenance::load_list(request)?.map(|list| digest(&list.digest())),
        })
    }

    fn identity(self) -> Identity {
        Identity::new(
            self.version
                .into_iter()
                .chain([
                    fact("pipeline", self.pipeline),
                    fact("a setting that can change verdicts", self.settings),
                    fact("the keys of encrypted files", self.keys),
                ])
                .chain(named("input", self.inputs))
                .chain(named("trusted file", self.trusted))
                .chain(named("evaluation file", self.evaluation))
                .chain(named("embedder file", self.embedder))
                .chain(named("list of sources", self.list)),
        )
    }
}

/// What keeps a finished run from being the answer to a request.
fn differences(
    request: &ScanRequest,
    model: Option<&Model>,
    finished: &FinishedRun,
    report: &Report,
) -> Result<Vec<String>, EngineError> {
    let asked = Outline::asked(request, model)?.identity();
    let written = Outline::written(finished.manifest()).identity();
    let mut told = asked.differences(&written);
    let settings = &request.settings;
    if settings.budget != report.review.as_ref().map(|review| review.budget) {
        told.push("`budget` is not what it was".to_owned());
    }
    if settings.power.is_some() != report.power.is_some() {
        told.push("`power` is not what it was".to_owned());
    }
    Ok(told)
}

/// The outcome of a run that is in its place already.
///
/// # Errors
/// [`IoError::OutExists`] when there is something else, [`IoError::OtherRun`] when it is another run.
pub(crate) fn committed(
    request: &ScanRequest,
    model: Option<&Model>,
    progress: &dyn Progress,
) -> Result<Outcome, EngineError> {
    let finished = match FinishedRun::open(&request.out) {
        Err(IoError::NoRun { .. }) => {
            return Err(IoError::OutExists {
                path: request.out.clone(),
            }
            .into());
        }
        other => other?,
    };
    let report = finished.report()?;
    let mut differences = differences(request, model, &finished, &report)?;
    let is_signed = request.out.join(ENVELOPE_NAME).is_file();
    if request.proof.signing_key.is_some() && !is_signed {
        differences.push("it is not signed".to_owned());
    }
    refuse(&request.out, differences)?;
    progress
        .note("a finished run over the same data with the same settings is there: nothing to do");
    Ok(outcome(report))
}

/// Puts a run into its place that is complete and was not.
///
/// # Errors
/// [`IoError::OtherRun`] when it is another run; it stays then.
pub(crate) fn sealed(
    request: &ScanRequest,
    model: Option<&Model>,
    progress: &dyn Progress,
    run: RunFolder,
    manifest: &Manifest,
) -> Result<Outcome, EngineError> {
    let finished = FinishedRun::open(run.path())?;
    let report = finished.report()?;
    refuse(run.path(), differences(request, model, &finished, &report)?)?;
    progress.note("resuming: the run was complete, and is put into its place");
    run.clear_unlisted(manifest)?;
    Scan::commit(request, run, manifest)?;
    Ok(outcome(report))
}

fn refuse(folder: &std::path::Path, differences: Vec<String>) -> Result<(), IoError> {
    if differences.is_empty() {
        return Ok(());
    }
    Err(IoError::OtherRun {
        path: folder.to_owned(),
        differences,
    })
}

fn outcome(report: Report) -> Outcome {
    Outcome {
        report,
        timings: Vec::new(),
    }
}
