//! The checked settings of a run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use lazaretto_core::Role;
use lazaretto_features::FeatureSettings;
use lazaretto_io::{Access, DecoderLimits, EncryptionKeys, GivenRoles, HeaderLimits, Isolation};
use serde::Serialize;
use serde_json::Value;

use crate::pipeline::{
    DecodingOptions, EmbedderOptions, EncryptionOptions, PipelineFile, Problem, parse_bytes,
    structure_problems,
};
use crate::policy::{DEFAULT_RULES, Rule};
use crate::spike::PowerSettings;

/// Least memory of a decoder when none is given.
const LEAST_DECODER_MEMORY: u64 = 1 << 30;
/// Seconds for a unit when none are given.
const DECODER_SECONDS: u64 = 30;

/// Memory to stay within when none is given.
const DEFAULT_MEMORY: u64 = 4 << 30;

/// What a run uses, checked and with defaults filled in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the pipeline, or its file.
    pub pipeline: String,
    /// False-discovery rate of the row-level decision.
    pub fdr: f64,
    /// Seed of all sampling.
    pub seed: u64,
    /// Memory to stay within, in bytes.
    pub memory: u64,
    /// Number of threads, at least 1.
    pub threads: usize,
    /// Files of records known to be good; their content is told by digests in the manifest.
    pub trusted: Vec<String>,
    /// Evaluation files, which the dataset must not contain; told by digests as well.
    pub evaluation: Vec<String>,
    /// The model that makes vectors of texts; its `path` is given. Told by digests as well.
    pub embedder: Option<EmbedderOptions>,
    /// How the input is decoded.
    pub decoding: Decoding,
    /// File with the list of trusted and blocked sources; told by its digest as well.
    pub allowlist: Option<String>,
    /// Files with the keys of which one must have signed that list.
    pub trusted_keys: Vec<String>,
    /// Columns with a given role.
    pub roles: GivenRoles,
    /// Only these detectors; empty means the default ones.
    pub only: Vec<String>,
    /// These detectors besides.
    pub also: Vec<String>,
    /// None of these detectors.
    pub skip: Vec<String>,
    /// Parameters by detector.
    pub parameters: BTreeMap<String, Value>,
    /// Sizes of the shared features.
    pub features: FeatureSettings,
    /// Number of records that somebody can review; no verdict depends on it.
    pub budget: Option<u64>,
    /// How the spike test runs, when it does; no verdict depends on it.
    pub power: Option<PowerSettings>,
    /// Rules under which the gate fails.
    pub rules: Vec<Rule>,
    /// Largest corrected p-value of a finding that holds records back.
    pub finding_p: f64,
    /// Whether single records are held back.
    pub hold_rows: bool,
    /// Who may read the run folder.
    pub access: Access,
    /// File with the private key that signs the run, where the pipeline names one.
    pub signing_key_file: Option<String>,
    /// Where the keys of encrypted files come from.
    pub encryption: EncryptionOptions,
    /// These keys. [`Settings::new`] leaves them out, because it asks neither the environment nor other
    /// programs.
    pub keys: EncryptionKeys,
}

/// How the input is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoding {
    /// Whether the input is trusted, so that it can be decoded in this process.
    pub trusted_input: bool,
    /// Whether nothing less than a complete sandbox will do.
    pub require_sandbox: bool,
    /// What a decoder may take.
    pub limits: DecoderLimits,
    /// What the headers of a file may promise.
    pub headers: HeaderLimits,
    /// A program that serves as decoder ([`lazaretto_io::serve_decoder`]). [`Settings::new`] leaves
    /// it out, because it does not know the program it is in; without it, decoding is done in this
    /// process.
    pub program: Option<PathBuf>,
}

impl Decoding {
    fn new(options: &DecodingOptions, memory: u64) -> Self {
        // Sizes that are none were told before.
        let size = |given: Result<Option<u64>, String>| given.ok().flatten();
        let trusted_input = options.trusted_input.unwrap_or(false);
        let limits = DecoderLimits {
            memory: size(options.memory())
                .unwrap_or_else(|| (memory / 2).max(LEAST_DECODER_MEMORY)),
            time: Duration::from_secs(options.seconds.unwrap_or(DECODER_SECONDS)),
        };
        let usual = HeaderLimits::default();
        // Where decoding has no limit of memory, what needs much of it is not refused either.
        let memory = if trusted_input {
            usual.memory
        } else {
            limits.memory
        };
        Self {
            trusted_input,
            require_sandbox: options.require_sandbox.unwrap_or(false),
            limits,
            headers: HeaderLimits {
                columns: options.max_columns.unwrap_or(usual.columns),
                depth: options.max_depth.unwrap_or(usual.depth),
                rows_per_byte: options.max_rows_per_byte.unwrap_or(usual.rows_per_byte),
                page: size(options.max_page()).unwrap_or(memory),
                ratio: options.max_ratio.unwrap_or(usual.ratio),
                memory,
            },
            program: None,
        }
    }

    /// How decoders are started, if they are.
    pub(crate) fn isolation(&self) -> Option<Isolation> {
        let program = self.program.clone().filter(|_| !self.trusted_input)?;
        Some(Isolation {
            program,
            limits: self.limits,
            required: self.require_sandbox,
        })
    }
}

impl Settings {
    /// Checks a pipeline into which the flags have been written.
    ///
    /// # Errors
    /// Every problem at once.
    pub fn new(pipeline: &str, file: PipelineFile) -> Result<Self, Vec<Problem>> {
        let mut problems = structure_problems(&file);
        if file.embedder.path.is_none() && !file.embedder.sha256.is_empty() {
            let message = "a model is pinned and none is used, give its folder as `path`";
            problems.push(Problem::new("embedder.sha256", message));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let rules = match &file.policy.fail_on {
            Some(rules) => rules.iter().filter_map(|rule| rule.parse().ok()).collect(),
            None => DEFAULT_RULES
                .iter()
                .filter_map(|rule| rule.parse().ok())
                .collect(),
        };
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let memory = file
            .memory
            .as_deref()
            .and_then(|memory| parse_bytes(memory).ok())
            .unwrap_or(DEFAULT_MEMORY);
        Ok(Self {
            pipeline: pipeline.to_owned(),
            fdr: file.fdr.unwrap_or(0.05),
            seed: file.seed.unwrap_or(0),
            memory,
            decoding: Decoding::new(&file.decoding, memory),
            threads: match file.threads {
                None | Some(0) => cores(),
                Some(threads) => threads,
            },
            roles: given_roles(&file),
            trusted: file.trusted,
            evaluation: file.evaluation,
            allowlist: file.allowlist,
            trusted_keys: file.trusted_keys,
            embedder: Some(file.embedder).filter(|embedder| embedder.path.is_some()),
            only: file.detectors.only,
            also: file.detectors.also,
            skip: file.detectors.skip,
            parameters: file.parameters,
            features: file.features,
            budget: file.budget,
            power: file.power.checked(),
            rules,
            finding_p: file.policy.finding_p.unwrap_or(0.05),
            hold_rows: file.policy.hold_rows.unwrap_or(true),
            access: file.access.unwrap_or_default(),
            signing_key_file: file.signing_key_file,
            encryption: file.encryption,
            keys: EncryptionKeys::default(),
        })
    }

    /// BLAKE3, in hexadecimal, of everything that can change a verdict. Threads are left
    /// out, because they change nothing, and trusted and evaluation files, the list of sources and the embedder as the dataset's
    /// own files are, because the manifest has their digests, and who may read or signs the run; memory is in, because sample sizes follow it.
    #[must_use]
    pub fn hash(&self) -> String {
        let bytes = serde_json::to_vec(&self.deciding()).unwrap_or_default();
        blake3::hash(&bytes).to_hex().to_string()
    }

    /// The same, name by name, values as JSON.
    pub(crate) fn facts(&self) -> Vec<(String, String)> {
        let facts = serde_json::to_value(self.deciding()).unwrap_or_default();
        let facts = facts.as_object().into_iter().flatten();
        facts
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect()
    }

    fn deciding(&self) -> Deciding<'_> {
        Deciding {
            tool: env!("CARGO_PKG_VERSION"),
            fdr: self.fdr,
            seed: self.seed,
            memory: self.memory,
            roles: self
                .given()
                .map(|(column, role)| (role.name(), column))
                .collect(),
            only: &self.only,
            also: &self.also,
            skip: &self.skip,
            parameters: &self.parameters,
            features: &self.features,
            rules: self.rules.iter().map(ToString::to_string).collect(),
            finding_p: self.finding_p,
            hold_rows: self.hold_rows,
            decoder_memory: self.decoding.limits.memory,
            decoder_seconds: self.decoding.limits.time.as_secs(),
            headers: self.decoding.headers,
        }
    }

    /// Columns that were given a role, with it.
    pub(crate) fn given(&self) -> impl Iterator<Item = (String, Role)> + '_ {
        let roles = &self.roles;
        let single = [
            (&roles.id, Role::Id),
            (&roles.label, Role::Label),
            (&roles.prompt, Role::Prompt),
            (&roles.response, Role::Response),
            (&roles.embedding, Role::Embedding),
            (&roles.probabilities, Role::Probabilities),
            (&roles.source, Role::Source),
            (&roles.time, Role::Time),
        ];
        single
            .into_iter()
            .filter_map(|(column, role)| column.clone().map(|column| (column, role)))
            .chain(roles.text.iter().map(|column| (column.clone(), Role::Text)))
            .chain(roles.other.iter().cloned())
    }
}

/// Everything that can change a verdict; see [`Settings::hash`].
#[derive(Serialize)]
struct Deciding<'a> {
    tool: &'a str,
    fdr: f64,
    seed: u64,
    memory: u64,
    roles: Vec<(&'a str, String)>,
    only: &'a [String],
    also: &'a [String],
    skip: &'a [String],
    parameters: &'a BTreeMap<String, Value>,
    features: &'a FeatureSettings,
    rules: Vec<String>,
    finding_p: f64,
    hold_rows: bool,
    decoder_memory: u64,
    decoder_seconds: u64,
    headers: HeaderLimits,
}

fn given_roles(file: &PipelineFile) -> GivenRoles {
    let roles = file.roles.clone();
    GivenRoles {
        id: roles.id,
        label: roles.label,
        embedding: roles.embedding,
        probabilities: roles.probabilities,
        source: roles.source,
        time: roles.time,
        text: roles.text,
        prompt: roles.prompt,
        response: roles.response,
        other: roles.other.into_iter().collect(),
    }
}
