//! The command line, and how its flags override a pipeline.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lazaretto_engine::pipeline::{self, BUILT_IN, KeySource, PipelineFile, Problem, suggestion};
use lazaretto_engine::{EngineError, Resumption, Settings};
use lazaretto_io::{Access, EncryptionKeys, Isolation};

use crate::encryption;
use crate::keygen::KeygenOptions;
use crate::sign::SignOptions;
use crate::verify::VerifyOptions;

/// Quarantine for training data: scans datasets for poisoned records before a training job may
/// read them.
#[derive(Debug, Parser)]
#[command(name = "lazaretto", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print nothing but errors.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print more: timings, every detector.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
}

impl Arguments {
    pub(crate) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}

/// How much is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Scan a dataset: clean records to OUT/clean, suspicious ones to OUT/quarantine, evidence
    /// beside them.
    ///
    /// Exit codes: 0 the policy passed, 1 the policy failed, 2 usage or configuration, 3
    /// incomplete (something could not be judged), 4 integrity failure, 5 another run committed
    /// first. Treat anything else as failure.
    Scan(ScanOptions),
    /// Show what a dataset is and how it would be scanned.
    Inspect(InspectOptions),
    /// Say why a record of a finished run has its verdict, what would have to change for another
    /// one, and which clean records are nearest to it.
    Explain(ExplainOptions),
    /// List the detectors, or document one.
    Detectors(DetectorsOptions),
    /// Write a commented pipeline file for a dataset.
    Init(InitOptions),
    /// Print the JSON Schema of a file that Lazaretto reads or writes.
    Schema(SchemaOptions),
    /// Decode for a scan, which starts this; not for people.
    #[command(name = Isolation::ARGUMENT, hide = true)]
    ServeDecoder,
    /// Make a pair of Ed25519 keys that sign runs and lists of sources.
    Keygen(KeygenOptions),
    /// Sign a run folder, or a list of sources.
    ///
    /// A run is checked first (exit code 4 when it is not as it was written); a signature by another key stays.
    Sign(SignOptions),
    /// Check a run folder before a training job reads it: signature, files, counts, policy.
    ///
    /// Exit codes: 0 as it was written and passed, 1 the policy failed, 2 usage, 3 incomplete (something
    /// could not be judged), 4 not as it was written, or not signed by a trusted key.
    Verify(VerifyOptions),
}

/// The dataset and what its columns are for.
#[derive(Args, Debug)]
pub(crate) struct DatasetOptions {
    /// Folders, files or globs: Parquet, Arrow IPC, CSV, JSONL (text formats also .gz, .zst).
    #[arg(required = true, value_name = "DATA")]
    pub(crate) inputs: Vec<String>,
    /// Pipeline: `auto`, `tabular`, `text-classification`, `instruction`, `embedding`, or a file.
    #[arg(long, value_name = "NAME|FILE", default_value = "auto")]
    pub(crate) pipeline: String,
    /// Column that names a record.
    #[arg(
        long,
        value_name = "COL",
        help_heading = "Columns (inferred when not given)"
    )]
    id: Option<String>,
    /// Column with the class a model is to learn.
    #[arg(
        long,
        value_name = "COL",
        help_heading = "Columns (inferred when not given)"
    )]
    label: Option<String>,
    /// Column with free text; may be repeated.
    #[arg(long, value_name = "COL", num_args = 1.., help_heading = "Columns (inferred when not given)")]
    text: Vec<String>,
    /// Column with what a language model is given.
    #[arg(
        long,
        value_name = "COL",
        help_heading = "Columns (inferred when not given)"
    )]
    prompt: Option<String>,
    /// Column with what a language model is to answer.
    #[arg(
        long,
        value_name = "COL",
        help_heading = "Columns (inferred when not given)"
    )]
    response: Option<String>,
    /// Column with a vector per record.
    #[arg(
        long,
        value_name = "COL",
        help_heading = "Columns (inferred when not given)"
    )]
    embedding: Option<String>,
    /// Column with the class probabilities of a trained model.
    #[arg(
        long,
        value_name = "COL",
        help_heading = "Columns (inferred when not given)"
    )]
    probabilities: Option<String>,
    /// Column that says where a record comes from.
    #[arg(
        long,
        value_name = "COL",
        help_heading = "Columns (inferred when not given)"
    )]
    source: Option<String>,
    /// Column that says when a record was made.
    #[arg(
        long,
        value_name = "COL",
        help_heading = "Columns (inferred when not given)"
    )]
    time: Option<String>,
    /// Files of records known to be good, in any format and with the columns of DATA; they are
    /// compared with and not scanned.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    trusted: Vec<String>,
    /// Evaluation files, in any format; records that contain their texts are held back.
    #[arg(long = "eval", value_name = "FILE", num_args = 1..)]
    evaluation: Vec<String>,
    /// List of trusted and blocked sources (TOML or JSON); see `lazaretto detectors source-allowlist`.
    #[arg(long, value_name = "FILE")]
    allowlist: Option<String>,
    /// Public key (PEM), or a TOML file of keys: the list of sources must be signed by one of them.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    trusted_key: Vec<String>,
    /// Folder with a model that makes vectors of texts where DATA has none: `tokenizer.json` and
    /// `model.safetensors` (static embeddings) or `model.onnx`; needs a build with the feature
    /// `embed-static` or `embed-onnx`.
    #[arg(long, value_name = "FOLDER")]
    embedder: Option<String>,
    /// Run only these detectors.
    #[arg(long, value_name = "DETECTOR", num_args = 1.., value_delimiter = ',')]
    only: Vec<String>,
    /// Run these detectors too, which are not among the default ones.
    #[arg(long, value_name = "DETECTOR", num_args = 1.., value_delimiter = ',')]
    also: Vec<String>,
    /// Run all but these detectors.
    #[arg(long, value_name = "DETECTOR", num_args = 1.., value_delimiter = ',')]
    skip: Vec<String>,
    /// Memory to stay within [default: 4GiB].
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Number of threads; 0 is one per core [default: 0].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Decode DATA in this process, without a sandbox: only for files that you made yourself.
    #[arg(long, conflicts_with = "require_sandbox")]
    trusted_input: bool,
    /// End the run where decoders cannot be shut into a complete sandbox.
    #[arg(long)]
    require_sandbox: bool,
    /// Seed of all sampling; the same seed gives the same bytes [default: 0].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Args, Debug)]
pub(crate) struct ScanOptions {
    #[command(flatten)]
    pub(crate) dataset: DatasetOptions,
    /// Run folder to make; must not exist.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Go on with the run that was to end up in `--out` and was cut short, from its last checkpoint (one every half
    /// minute) and the files that are written; the result is the same, byte for byte. Inputs and settings must be
    /// those of that run, threads may differ. Begins a new run when there is none; does nothing when it is finished.
    #[arg(long)]
    resume: bool,
    /// Least time between two checkpoints, for tests.
    #[arg(long, value_name = "SECONDS", hide = true)]
    checkpoint_seconds: Option<u32>,
    /// False-discovery rate among single records held back, in (0, 0.5] [default: 0.05].
    #[arg(long, value_name = "Q")]
    fdr: Option<f64>,
    /// List the best N records for somebody who can review so many, with the share of innocents to
    /// be expected among them; N in 1..=100000. Changes no verdict.
    #[arg(long, value_name = "N")]
    budget: Option<u64>,
    /// Run the spike test: plant attacks in a sample of the records and tell which share this run
    /// would have held back. Takes as long as some 20 scans of up to 20,000 records.
    #[arg(long)]
    power: bool,
    /// When the gate fails; may be repeated: `never`, `low`, `medium`, `high`, `critical` (a
    /// finding of at least this severity holds records back), `quarantine`, `quarantine>N`,
    /// `quarantine>P%`, `group>P%` (share of one class, source, file or partition; `class>P%` and so on for one kind)
    /// [default: high, quarantine>1%, group>20%].
    #[arg(long, value_name = "RULE", num_args = 1.., value_delimiter = ',')]
    fail_on: Vec<String>,
    /// Sign the run with the private key (PEM) in the environment variable `LAZARETTO_SIGNING_KEY`, or in the file
    /// that `LAZARETTO_SIGNING_KEY_FILE` or the pipeline's `signing_key_file` names; a pipeline that names one
    /// signs without this flag.
    #[arg(long)]
    pub(crate) sign: bool,
    /// Encrypt `quarantine/` (Parquet, AES-GCM) with the key that the pipeline's `encryption.quarantine` names, else
    /// the one in the environment variable `LAZARETTO_QUARANTINE_KEY`; a pipeline that names one encrypts without
    /// this flag. Keys are 16 or 32 bytes in base64 or hexadecimal.
    #[arg(long)]
    encrypt_quarantine: bool,
    /// Who may read the run folder [default: owner].
    #[arg(long, value_enum, value_name = "WHO")]
    access: Option<AccessOption>,
    /// What to print at the end: a summary, or the whole report.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct InspectOptions {
    #[command(flatten)]
    pub(crate) dataset: DatasetOptions,
    /// Records that are profiled.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) sample: usize,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainOptions {
    /// Run folder of a finished scan.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Id of the record, as in the column `record_id` of `scores/`; or its place, as
    /// `DIGEST:ROW_GROUP:ROW` with the first 16 digits of the file's BLAKE3.
    #[arg(value_name = "RECORD_ID", allow_negative_numbers = true)]
    pub(crate) record: String,
    /// Number of near clean records to show, in 0..=100.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) nearest: usize,
    /// Pipeline (TOML) whose `[encryption]` names the keys of what is encrypted; without it, they are those in
    /// `LAZARETTO_QUARANTINE_KEY` and `LAZARETTO_INPUT_KEY`.
    #[arg(long, value_name = "FILE")]
    pub(crate) pipeline: Option<String>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct InitOptions {
    #[command(flatten)]
    pub(crate) dataset: DatasetOptions,
    /// The file to write; must not exist.
    #[arg(long, value_name = "FILE", default_value = "lazaretto.toml")]
    pub(crate) out: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct DetectorsOptions {
    /// The detector to document.
    pub(crate) name: Option<String>,
    /// Print the documentation of all detectors as one Markdown page.
    #[arg(long, conflicts_with = "name")]
    pub(crate) reference: bool,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
}

#[derive(Args, Debug)]
pub(crate) struct SchemaOptions {
    /// The file the schema is for.
    #[arg(value_enum)]
    pub(crate) file: SchemaOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A pipeline file.
    Pipeline,
    /// `report.json`.
    Report,
    /// What `lazaretto explain --format json` prints.
    Explanation,
    /// `manifest.json`.
    Manifest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AccessOption {
    /// Its owner alone (folders 0700, files 0600).
    Owner,
    /// Its owner, and its group for reading (0750, 0640).
    Group,
}

impl ScanOptions {
    /// Whether to go on with a run, and how often to write down how far this one came.
    pub(crate) fn resumption(&self) -> Resumption {
        let usual = Resumption::default();
        let given = self.checkpoint_seconds.map(u64::from);
        Resumption {
            resume: self.resume,
            every: given.map(Duration::from_secs).or(usual.every),
        }
    }
}

impl DatasetOptions {
    /// The pipeline with the flags written over it.
    fn overridden(&self) -> Result<PipelineFile> {
        let mut file = load(&self.pipeline)?;
        let roles = &mut file.roles;
        for (flag, role) in [
            (&self.id, &mut roles.id),
            (&self.label, &mut roles.label),
            (&self.prompt, &mut roles.prompt),
            (&self.response, &mut roles.response),
            (&self.embedding, &mut roles.embedding),
            (&self.probabilities, &mut roles.probabilities),
            (&self.source, &mut roles.source),
            (&self.time, &mut roles.time),
        ] {
            if flag.is_some() {
                role.clone_from(flag);
            }
        }
        for (flag, list) in [
            (&self.text, &mut roles.text),
            (&self.trusted, &mut file.trusted),
            (&self.evaluation, &mut file.evaluation),
            (&self.trusted_key, &mut file.trusted_keys),
            (&self.only, &mut file.detectors.only),
            (&self.also, &mut file.detectors.also),
            (&self.skip, &mut file.detectors.skip),
        ] {
            if !flag.is_empty() {
                list.clone_from(flag);
            }
        }
        if self.allowlist.is_some() {
            file.allowlist.clone_from(&self.allowlist);
        }
        if self.embedder.is_some() {
            // The pins of the pipeline stay: they say which model it must be, wherever it lies.
            file.embedder.path.clone_from(&self.embedder);
        }
        if file.embedder.path.is_some() && file.embedder.runtime.is_none() {
            let named = std::env::var("ORT_DYLIB_PATH").ok();
            file.embedder.runtime = named.filter(|path| !path.is_empty());
        }
        if self.memory.is_some() {
            file.memory.clone_from(&self.memory);
        }
        if self.trusted_input {
            file.decoding.trusted_input = Some(true);
        }
        if self.require_sandbox {
            file.decoding.require_sandbox = Some(true);
        }
        file.threads = self.threads.or(file.threads);
        file.seed = self.seed.or(file.seed);
        Ok(file)
    }

    fn settings(&self, file: PipelineFile) -> Result<Settings> {
        let origin = format!("`{}` with the flags given", self.pipeline);
        let mut settings = checked(&self.pipeline_name(), file, origin)?;
        settings.decoding.program = Some(this_program()?);
        settings.keys.inputs = encryption::input_keys(&settings.encryption)?;
        Ok(settings)
    }

    /// The settings for commands that scan nothing.
    pub(crate) fn plain_settings(&self) -> Result<Settings> {
        self.settings(self.overridden()?)
    }

    /// A pipeline file goes by its name, not by where it lies: reports are the same everywhere.
    fn pipeline_name(&self) -> String {
        std::path::Path::new(&self.pipeline)
            .file_name()
            .map_or_else(
                || self.pipeline.clone(),
                |name| name.to_string_lossy().into_owned(),
            )
    }
}

/// This program, to start decoders.
fn this_program() -> Result<PathBuf> {
    // Also when the file has been replaced since this was started.
    let running = std::path::Path::new("/proc/self/exe");
    if running.exists() {
        return Ok(running.to_owned());
    }
    std::env::current_exe().context("find this program, to start decoders")
}

impl ScanOptions {
    /// The settings of the scan.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let mut file = self.dataset.overridden()?;
        file.fdr = self.fdr.or(file.fdr);
        file.budget = self.budget.or(file.budget);
        if self.power {
            file.power.run = Some(true);
        }
        if !self.fail_on.is_empty() {
            file.policy.fail_on = Some(self.fail_on.clone());
        }
        match self.access {
            Some(AccessOption::Owner) => file.access = Some(Access::Owner),
            Some(AccessOption::Group) => file.access = Some(Access::Group),
            None => {}
        }
        if self.encrypt_quarantine {
            let variable = KeySource::Variable(encryption::QUARANTINE_VARIABLE.to_owned());
            file.encryption.quarantine.get_or_insert(variable);
        }
        let mut settings = self.dataset.settings(file)?;
        settings.keys.quarantine = encryption::quarantine_key(&settings.encryption)?;
        Ok(settings)
    }
}

/// The keys of a finished run, which the pipeline file `pipeline` or the environment names.
pub(crate) fn run_keys(pipeline: Option<&str>) -> Result<EncryptionKeys> {
    let file = pipeline.map(load).transpose()?.unwrap_or_default();
    encryption::run_keys(&file.encryption)
}

/// The settings of the pipeline called `name`, without any flag.
pub(crate) fn settings_of(name: &str) -> Result<Settings> {
    checked(name, load(name)?, format!("`{name}`"))
}

fn checked(name: &str, file: PipelineFile, origin: String) -> Result<Settings> {
    Settings::new(name, file).map_err(|problems| EngineError::Pipeline { origin, problems }.into())
}

/// The built-in pipeline or the pipeline file called `name`.
fn load(name: &str) -> Result<PipelineFile> {
    let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
    let is_file = name.contains(['/', '\\']) || name.to_ascii_lowercase().ends_with(".toml");
    let text = match built_in {
        Some((_, text)) => (*text).to_owned(),
        None if is_file => {
            std::fs::read_to_string(name).with_context(|| format!("read pipeline file `{name}`"))?
        }
        None => {
            let known = BUILT_IN.iter().map(|(known, _)| *known);
            let problem = Problem::new(
                "--pipeline",
                format!(
                    "no built-in pipeline `{name}` (a file is given with its `.toml`){}",
                    suggestion(name, known)
                ),
            );
            return Err(EngineError::Pipeline {
                origin: format!("`{name}`"),
                problems: vec![problem],
            }
            .into());
        }
    };
    pipeline::parse(&text).map_err(|problems| {
        EngineError::Pipeline {
            origin: format!("`{name}`"),
            problems,
        }
        .into()
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_override_the_pipeline() {
        let arguments = Arguments::try_parse_from([
            "lazaretto",
            "scan",
            "data",
            "--out",
            "run",
            "--pipeline",
            "tabular",
            "--only",
            "ecod",
            "--fdr",
            "0.1",
            "--seed",
            "7",
            "--fail-on",
            "never",
        ])
        .unwrap();
        let Command::Scan(options) = arguments.command else {
            panic!("not a scan")
        };
        let settings = options.settings().unwrap();
        assert_eq!(settings.only, ["ecod"]);
        assert!((settings.fdr - 0.1).abs() < 1e-12);
        assert_eq!(settings.seed, 7);
        assert_eq!(settings.rules.len(), 1);
        assert_eq!(settings.pipeline, "tabular");
    }

    #[test]
    fn a_misspelt_pipeline_is_suggested() {
        let error = load("tabluar").unwrap_err();
        let Some(EngineError::Pipeline { problems, .. }) = error.downcast_ref() else {
            panic!("{error}")
        };
        assert!(
            problems[0].message.contains("did you mean `tabular`?"),
            "{problems:?}"
        );
    }
}
