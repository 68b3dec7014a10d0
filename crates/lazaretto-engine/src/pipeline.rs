//! The pipeline file as written, and the built-in pipelines.
//!
//! A pipeline says in TOML what the flags of `lazaretto scan` say, and more: detector parameters,
//! sizes of the shared features, policy. Every problem of a file is found in one go, each with the
//! path of its key and, for misspelt keys, the nearest known one.

mod decoding;
mod encryption;

use std::collections::BTreeMap;
use std::fmt;

use lazaretto_core::{Params as _, Role};
use lazaretto_detectors::REGISTRY;
use lazaretto_features::FeatureSettings;
use lazaretto_io::Access;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::decoding::DecodingOptions;
pub use self::encryption::{EncryptionOptions, InputKeySources, KeySource};
use crate::policy::Rule;
use crate::review::MAX_BUDGET;
use crate::spike::PowerSettings;

/// Built-in pipelines by name, in the order in which they are listed.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("auto", include_str!("../../../pipelines/auto.toml")),
    (
        "embedding",
        include_str!("../../../pipelines/embedding.toml"),
    ),
    (
        "instruction",
        include_str!("../../../pipelines/instruction.toml"),
    ),
    ("tabular", include_str!("../../../pipelines/tabular.toml")),
    (
        "text-classification",
        include_str!("../../../pipelines/text-classification.toml"),
    ),
];

/// A pipeline as written. Everything is optional; flags override it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineFile {
    /// What the pipeline is for, one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// False-discovery rate of the row-level decision, in `(0, 0.5]`. Default 0.05.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fdr: Option<f64>,
    /// Number of records that somebody can review, in `1..=100000`: the best so many are listed with
    /// their expected error. Changes no verdict. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u64>,
    /// Seed of all sampling. Default 0; give your own and keep it private when the data comes
    /// from people who may know this tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Memory to stay within, such as `"4GiB"` (the default) or `"512MiB"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Number of threads; 0 (the default) is one per core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Files of records known to be good, with the columns of the dataset and not part of it, such
    /// as `["good.parquet"]`; relative paths start at the current folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<String>,
    /// Evaluation files that the dataset must not contain, such as `["gsm8k.jsonl"]`; relative paths
    /// start at the current folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evaluation: Vec<String>,
    /// A list of trusted and blocked sources (TOML or JSON); see `lazaretto detectors source-allowlist`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowlist: Option<String>,
    /// Public keys (PEM) or TOML files of keys; the list of sources must then be signed by one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_keys: Vec<String>,
    /// Who may read the run folder: `owner` (the default) or `group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// File with the Ed25519 private key (PEM) that signs runs; a relative path starts at the current folder.
    /// The environment variables `LAZARETTO_SIGNING_KEY` and `LAZARETTO_SIGNING_KEY_FILE` come first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_key_file: Option<String>,
    /// A model that makes vectors of texts.
    #[serde(skip_serializing_if = "EmbedderOptions::is_empty")]
    pub embedder: EmbedderOptions,
    /// How the input is decoded.
    #[serde(skip_serializing_if = "DecodingOptions::is_empty")]
    pub decoding: DecodingOptions,
    /// Keys of encrypted files.
    #[serde(skip_serializing_if = "EncryptionOptions::is_empty")]
    pub encryption: EncryptionOptions,
    /// Columns by role. Roles that are not given are inferred.
    pub roles: RoleOptions,
    /// Which detectors run.
    pub detectors: DetectorOptions,
    /// Parameters by detector id; see `lazaretto detectors NAME`.
    pub parameters: BTreeMap<String, Value>,
    /// Sizes of the intermediates that detectors share.
    pub features: FeatureSettings,
    /// What is held back, and when the gate fails.
    pub policy: PolicyOptions,
    /// The spike test: which share of planted attacks the run would have held back.
    #[serde(skip_serializing_if = "PowerOptions::is_default")]
    pub power: PowerOptions,
}

/// A model that makes vectors of texts where the dataset has none, from a local folder; needs a build with
/// the feature `embed-static` or `embed-onnx`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbedderOptions {
    /// Its folder, with `tokenizer.json` and either `model.safetensors` (static embeddings) or
    /// `model.onnx`; a relative path starts at the current folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// SHA-256 in hexadecimal by file name, such as `{ "model.safetensors" = "…" }`: the run ends when a
    /// file is another one. The ONNX Runtime library goes by its file name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sha256: BTreeMap<String, String>,
    /// The ONNX Runtime library (1.20 or later), which an ONNX model needs; otherwise the environment
    /// variable `ORT_DYLIB_PATH` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
}

impl EmbedderOptions {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Columns by role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoleOptions {
    /// The column that names a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The class a model is to learn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Free text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<String>,
    /// What a language model is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What a language model is to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// A vector of numbers per record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<String>,
    /// Class probabilities of a trained model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<String>,
    /// Where the record comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When the record was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Any other column by name, with its role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, Role>,
}

/// Which detectors run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorOptions {
    /// Only these; empty means the default ones that apply.
    pub only: Vec<String>,
    /// These besides: detectors that run on request.
    pub also: Vec<String>,
    /// All but these.
    pub skip: Vec<String>,
}

/// What is held back, and when the gate fails.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyOptions {
    /// Rules under which the gate fails; see `lazaretto scan --help`. Default:
    /// `["high", "quarantine>1%", "group>20%"]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_on: Option<Vec<String>>,
    /// Largest corrected p-value of a finding whose records are held back, in `(0, 0.1]`.
    /// Default 0.05.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding_p: Option<f64>,
    /// Whether single records are held back when their fused q-value is within `fdr`. When
    /// false, only findings hold records back. Default true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_rows: Option<bool>,
}

/// The spike test. It scans a sample of the records once per attack and size, and changes no verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PowerOptions {
    /// Whether it runs. Default false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<bool>,
    /// Most records of the sample, in `200..=200000`. Default 20000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<usize>,
    /// Numbers of records planted, at most eight, each in `1..=10000`. Default
    /// `[10, 25, 50, 100, 250]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Vec<usize>>,
}

impl PowerOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The settings of a spike test that runs.
    pub(crate) fn checked(self) -> Option<PowerSettings> {
        let mut sizes = self.sizes.unwrap_or_else(|| vec![10, 25, 50, 100, 250]);
        sizes.sort_unstable();
        sizes.dedup();
        let records = self.records.unwrap_or(20_000);
        (self.run == Some(true)).then_some(PowerSettings { records, sizes })
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(records) = self.records
            && !(200..=200_000).contains(&records)
        {
            let message = format!("`{records}` is out of range, expected a value in 200..=200000");
            problems.push(Problem::new("power.records", message));
        }
        if let Some(sizes) = &self.sizes
            && (sizes.is_empty()
                || sizes.len() > 8
                || sizes.iter().any(|size| !(1..=10_000).contains(size)))
        {
            let message = "expected one to eight numbers in 1..=10000";
            problems.push(Problem::new("power.sizes", message));
        }
        problems
    }
}

/// One thing that cannot be used as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key, such as `parameters.ecod.capacity`, or the flag.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem at `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: {}", self.key, self.message)
    }
}

/// `, did you mean `…`?` when a known word is close to `word`, else the list of known words.
#[must_use]
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let nearest = known
        .clone()
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .max_by(|left, right| left.0.total_cmp(&right.0));
    match nearest {
        Some((similarity, candidate)) if similarity >= 0.75 => {
            format!(", did you mean `{candidate}`?")
        }
        _ => {
            let known: Vec<_> = known.into_iter().map(|word| format!("`{word}`")).collect();
            format!(", expected one of {}", known.join(", "))
        }
    }
}

/// Reads a pipeline file.
///
/// # Errors
/// Every problem at once.
pub fn parse(text: &str) -> Result<PipelineFile, Vec<Problem>> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| vec![Problem::new("file", error.to_string())])?;
    let mut reader = Reader::default();
    let mut file = PipelineFile::default();
    let known = [
        "description",
        "fdr",
        "budget",
        "seed",
        "memory",
        "threads",
        "trusted",
        "evaluation",
        "allowlist",
        "trusted_keys",
        "access",
        "signing_key_file",
        "embedder",
        "decoding",
        "encryption",
        "roles",
        "detectors",
        "parameters",
        "features",
        "policy",
        "power",
    ];
    for (key, value) in table {
        match key.as_str() {
            "description" => reader.take(&key, value, &mut file.description),
            "fdr" => reader.take(&key, value, &mut file.fdr),
            "budget" => reader.take(&key, value, &mut file.budget),
            "seed" => reader.take(&key, value, &mut file.seed),
            "memory" => reader.take(&key, value, &mut file.memory),
            "threads" => reader.take(&key, value, &mut file.threads),
            "trusted" => reader.take(&key, value, &mut file.trusted),
            "evaluation" => reader.take(&key, value, &mut file.evaluation),
            "allowlist" => reader.take(&key, value, &mut file.allowlist),
            "trusted_keys" => reader.take(&key, value, &mut file.trusted_keys),
            "access" => reader.take(&key, value, &mut file.access),
            "signing_key_file" => reader.take(&key, value, &mut file.signing_key_file),
            "embedder" => reader.section(&key, value, &mut file.embedder),
            "decoding" => reader.section(&key, value, &mut file.decoding),
            "encryption" => reader.section(&key, value, &mut file.encryption),
            "roles" => reader.section(&key, value, &mut file.roles),
            "detectors" => reader.section(&key, value, &mut file.detectors),
            "parameters" => reader.take(&key, value, &mut file.parameters),
            "features" => reader.section(&key, value, &mut file.features),
            "policy" => reader.section(&key, value, &mut file.policy),
            "power" => reader.section(&key, value, &mut file.power),
            _ => reader.0.push(Problem::new(
                key.as_str(),
                format!("unknown key{}", suggestion(&key, known)),
            )),
        }
    }
    let mut problems = reader.0;
    problems.extend(structure_problems(&file));
    if problems.is_empty() {
        Ok(file)
    } else {
        Err(problems)
    }
}

/// Collects problems while values are taken out of a parsed file.
#[derive(Default)]
struct Reader(Vec<Problem>);

impl Reader {
    fn take<T: DeserializeOwned>(&mut self, key: &str, value: toml::Value, into: &mut T) {
        let written = value.to_string();
        match value.try_into() {
            Ok(value) => *into = value,
            Err(error) => self.0.push(Problem::new(
                key,
                format!("`{written}` cannot be used: {}", error.to_string().trim()),
            )),
        }
    }

    /// Takes a table key by key, so that all its problems are found.
    fn section<T>(&mut self, name: &str, value: toml::Value, into: &mut T)
    where
        T: Default + Clone + JsonSchema + Serialize + DeserializeOwned,
    {
        let toml::Value::Table(table) = value else {
            self.0
                .push(Problem::new(name, format!("a table `[{name}]` is needed")));
            return;
        };
        let schema = schemars::schema_for!(T);
        let known: Vec<&str> = schema
            .get("properties")
            .and_then(Value::as_object)
            .map(|properties| properties.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let mut good = toml::Table::new();
        for (key, value) in table {
            let path = format!("{name}.{key}");
            if !known.contains(&key.as_str()) {
                self.0.push(Problem::new(
                    path,
                    format!("unknown key{}", suggestion(&key, known.iter().copied())),
                ));
                continue;
            }
            let mut single = toml::Table::new();
            single.insert(key.clone(), value.clone());
            let mut probe = T::default();
            let before = self.0.len();
            self.take(&path, toml::Value::Table(single), &mut probe);
            if self.0.len() == before {
                good.insert(key, value);
            }
        }
        self.take(name, toml::Value::Table(good), into);
    }
}

/// Problems that can be told without looking at the dataset.
#[must_use]
pub fn structure_problems(file: &PipelineFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(fdr) = file.fdr
        && !(fdr > 0.0 && fdr <= 0.5)
    {
        problems.push(Problem::new(
            "fdr",
            format!("`{fdr}` is out of range, expected a value in (0, 0.5]"),
        ));
    }
    if let Some(budget) = file.budget
        && !(1..=MAX_BUDGET).contains(&budget)
    {
        problems.push(Problem::new(
            "budget",
            format!("`{budget}` is out of range, expected a value in 1..={MAX_BUDGET}"),
        ));
    }
    problems.extend(file.power.problems());
    if let Some(p) = file.policy.finding_p
        && !(p > 0.0 && p <= 0.1)
    {
        problems.push(Problem::new(
            "policy.finding_p",
            format!("`{p}` is out of range, expected a value in (0, 0.1]"),
        ));
    }
    if let Some(memory) = &file.memory
        && let Err(message) = parse_bytes(memory)
    {
        problems.push(Problem::new("memory", message));
    }
    problems.extend(file.decoding.problems());
    problems.extend(file.encryption.problems());
    if let Some(threads) = file.threads
        && threads > 1024
    {
        problems.push(Problem::new(
            "threads",
            format!("`{threads}` is out of range, expected a value in 0..=1024"),
        ));
    }
    for (idx, rule) in file.policy.fail_on.iter().flatten().enumerate() {
        if let Err(message) = rule.parse::<Rule>() {
            problems.push(Problem::new(format!("policy.fail_on[{idx}]"), message));
        }
    }
    for problem in file.features.problems() {
        problems.push(Problem::new(
            format!("features.{}", problem.field),
            problem.to_string(),
        ));
    }
    for (name, digest) in &file.embedder.sha256 {
        if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            problems.push(Problem::new(
                format!("embedder.sha256.{name}"),
                format!("`{digest}` is no SHA-256, expected 64 hexadecimal digits"),
            ));
        }
    }
    let ids = || REGISTRY.iter().map(|registration| registration.spec.id);
    let lists = [
        ("detectors.only", &file.detectors.only),
        ("detectors.also", &file.detectors.also),
        ("detectors.skip", &file.detectors.skip),
    ];
    for (key, list) in lists {
        for id in list.iter().filter(|id| !ids().any(|known| known == *id)) {
            let known: Vec<_> = ids().collect();
            problems.push(Problem::new(
                key,
                format!("unknown detector `{id}`{}", suggestion(id, known)),
            ));
        }
    }
    for (id, parameters) in &file.parameters {
        let key = format!("parameters.{id}");
        let Some(registration) = lazaretto_detectors::find(id) else {
            let known: Vec<_> = ids().collect();
            problems.push(Problem::new(
                key,
                format!("unknown detector{}", suggestion(id, known)),
            ));
            continue;
        };
        if let Err(errors) = registration.build(parameters) {
            problems.extend(
                errors
                    .into_iter()
                    .map(|error| Problem::new(format!("{key}.{}", error.field), error.to_string())),
            );
        }
    }
    problems
}

/// Number of bytes in `text`, such as `4GiB`, `512 MiB`, `2GB` or `1000000`.
///
/// # Errors
/// When the text is not a size of at least 64 MiB.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    parse_size(text, 64)
}

/// [`parse_bytes`] with another least size, in mebibytes.
fn parse_size(text: &str, least: u32) -> Result<u64, String> {
    let trimmed = text.trim();
    let split = trimmed
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kib" | "k" => 1024.0,
        "mib" | "m" => 1024.0 * 1024.0,
        "gib" | "g" => 1024.0 * 1024.0 * 1024.0,
        "tib" | "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => {
            return Err(format!(
                "`{text}` is no size, expected something like `4GiB`"
            ));
        }
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no size, expected something like `4GiB`"))?;
    let bytes = number * factor;
    if !(f64::from(least << 20)..1e18).contains(&bytes) {
        return Err(format!(
            "`{text}` is out of range, at least {least}MiB are needed"
        ));
    }
    #[expect(clippy::cast_sign_loss, reason = "the range was checked above")]
    Ok(bytes as u64)
}

/// JSON Schema of the pipeline file, pretty-printed.
#[must_use]
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(PipelineFile);
    let mut parameters = serde_json::Map::new();
    let mut definitions = serde_json::Map::new();
    for registration in REGISTRY {
        let mut one = registration.parameters_schema().to_value();
        if let Some(one) = one.as_object_mut() {
            one.remove("$schema");
            // References are to the root of the file, so that is where definitions go.
            if let Some(Value::Object(own)) = one.remove("$defs") {
                definitions.extend(own);
            }
        }
        parameters.insert(registration.spec.id.to_owned(), one);
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "parameters".to_owned(),
            serde_json::json!({
                "description": "Parameters by detector id.",
                "type": "object",
                "additionalProperties": false,
                "properties": parameters,
            }),
        );
    }
    if let Some(root) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        root.extend(definitions);
    }
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_pipelines_have_no_problem_and_are_sorted() {
        for (name, text) in BUILT_IN {
            let file = parse(text).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
            assert!(file.description.is_some(), "{name}");
        }
        assert!(BUILT_IN.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let problems = parse(
            "fdrr = 0.1\nfdr = 7\nmemory = \"some\"\n[embedder]\nsha256 = { \"model.onnx\" = \"12\" }\n[roles]\nlable = \"y\"\n[detectors]\nonly = [\"ecodd\"]\n\
             [parameters.isolation-forest]\ntrees = 0\n[policy]\nfail_on = [\"sometimes\"]\n[features]\nfolds = \"x\"\n\
             [decoding]\nmax_page = \"big\"\nmax_ratio = 0\nmax_depth = 25\n",
        )
        .unwrap_err();
        let text = problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        for expected in [
            "`fdrr`: unknown key, did you mean `fdr`?",
            "`fdr`: `7` is out of range",
            "`memory`: `some` is no size",
            "`embedder.sha256.model.onnx`: `12` is no SHA-256",
            "`roles.lable`: unknown key, did you mean `label`?",
            "unknown detector `ecodd`, did you mean `ecod`?",
            "parameters.isolation-forest.trees",
            "policy.fail_on[0]",
            "features.folds",
            "`decoding.max_page`: `big` is no size",
            "`decoding.max_ratio`: `0` is out of range",
            "`decoding.max_depth`: `25` is out of range, expected 1 to 24",
        ] {
            assert!(text.contains(expected), "{expected} not in\n{text}");
        }
    }

    #[test]
    fn the_pipeline_in_the_readme_can_be_used() {
        let readme = include_str!("../../../README.md");
        let example = readme
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("an example");
        let file = parse(example).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert!(file.parameters.contains_key("near-duplicates"));
    }

    #[test]
    fn sizes_parse() {
        assert_eq!(parse_bytes("4GiB"), Ok(4 << 30));
        assert_eq!(parse_bytes("512 MiB"), Ok(512 << 20));
        assert_eq!(parse_bytes("1.5gb"), Ok(1_500_000_000));
        assert!(parse_bytes("4 parsecs").is_err());
        assert!(parse_bytes("1MiB").is_err());
        assert!(parse_bytes("").is_err());
    }
}
