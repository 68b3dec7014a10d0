//! The list of sources that `--allowlist` names: read, its signature checked, and applied to a dataset.
//!
//! It is read before anything else: a list that cannot be trusted ends the run before a record is looked at.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use lazaretto_core::{Domains, Role, SourceList, Standing, Treatment};
use lazaretto_io::{Dataset, FileDigest, IoError};
use lazaretto_proof::{Envelope, ProofError, Statement, statement::hex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::assemble::Assembler;
use crate::error::EngineError;
use crate::scan::ProofOptions;

/// Says what the predicate of a signed list is.
pub const SOURCES_PREDICATE: &str = "https://lazaretto.dev/attestations/sources/v1";

/// Larger lists are refused.
const MAX_BYTES: u64 = 64 << 20;

/// A list of sources as written, in TOML or JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceListFile {
    /// What becomes of records from sources that are not listed; default `review`.
    pub unknown: Option<Treatment>,
    /// Who is vouched for.
    pub trusted: TrustedSources,
    /// From whom nothing is to come.
    pub blocked: BlockedSources,
}

/// Sources that somebody vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrustedSources {
    /// Values of the source column; `*` and `?` match.
    pub sources: Vec<String>,
    /// Hosts of the url column, subdomains included.
    pub domains: Vec<String>,
    /// Files by path.
    pub files: Vec<ListedFiles>,
}

/// Sources from which nothing is to come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BlockedSources {
    /// What becomes of their records; default `quarantine`.
    pub action: Option<Treatment>,
    /// Values of the source column; `*` and `?` match.
    pub sources: Vec<String>,
    /// Hosts of the url column, subdomains included.
    pub domains: Vec<String>,
    /// Files by path, or by digest wherever they lie.
    pub files: Vec<ListedFiles>,
}

/// Files of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedFiles {
    /// Glob of paths relative to the dataset, such as `2026/*.parquet`.
    pub pattern: String,
    /// SHA-256 of the contents that are meant, in hexadecimal; empty for any content.
    #[serde(default)]
    pub sha256: Vec<String>,
}

/// A list that was read, with its signature checked.
#[derive(Clone, Debug)]
pub(crate) struct LoadedList {
    file: SourceListFile,
    trusted: Patterns,
    blocked: Patterns,
    name: String,
    digest: FileDigest,
    signed_by: Vec<String>,
}

/// What names and paths are compared with.
#[derive(Clone, Debug, Default)]
struct Patterns {
    sources: GlobSet,
    /// Paths, with the digests that the content may have; none for any content.
    files: Vec<(GlobSet, Vec<String>)>,
}

impl Patterns {
    /// Problems go to `problems`, each with `key` in front.
    fn new(
        key: &str,
        sources: &[String],
        files: &[ListedFiles],
        problems: &mut Vec<String>,
    ) -> Self {
        let mut patterns = Self::default();
        match globs(sources, false) {
            Ok(set) => patterns.sources = set,
            Err(problem) => problems.push(format!("`{key}.sources`: {problem}")),
        }
        for listed in files {
            for digest in &listed.sha256 {
                if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    problems.push(format!(
                        "`{key}.files`: `{digest}` is no SHA-256, expected 64 hexadecimal digits"
                    ));
                }
            }
            match globs(std::slice::from_ref(&listed.pattern), true) {
                Ok(set) => {
                    let digests = listed.sha256.iter();
                    let digests = digests.map(|digest| digest.to_ascii_lowercase());
                    patterns.files.push((set, digests.collect()));
                }
                Err(problem) => problems.push(format!("`{key}.files`: {problem}")),
            }
        }
        patterns
    }

    fn has_file(&self, path: &str, sha256: &str) -> bool {
        self.files.iter().any(|(set, digests)| {
            let fits = digests.is_empty() || digests.iter().any(|digest| digest == sha256);
            fits && set.is_match(path)
        })
    }
}

/// Reads the list at `path`. With trusted keys it must be signed by one of them, in `PATH.dsse.json`.
///
/// # Errors
/// [`EngineError::Sources`] when it cannot be used, [`EngineError::Signature`] when its signature does not hold.
pub(crate) fn load(path: &str, proof: &ProofOptions) -> Result<LoadedList, EngineError> {
    let bytes = read(Path::new(path))?;
    let name = Path::new(path).file_name().map_or_else(
        || path.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    );
    let signed_by =
        check_signature(path, &name, &bytes, proof).map_err(|source| EngineError::Signature {
            file: path.to_owned(),
            source,
        })?;
    let refuse = |problem: String| EngineError::Sources {
        file: path.to_owned(),
        problems: vec![problem],
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| refuse(error.to_string()))?;
    let file: SourceListFile = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?
    } else {
        toml::from_str(text).map_err(|error| refuse(error.to_string().trim().to_owned()))?
    };
    let mut problems = problems(&file);
    let [trusted, blocked] = [
        ("trusted", &file.trusted.sources, &file.trusted.files),
        ("blocked", &file.blocked.sources, &file.blocked.files),
    ]
    .map(|(key, sources, files)| Patterns::new(key, sources, files, &mut problems));
    if !problems.is_empty() {
        return Err(EngineError::Sources {
            file: path.to_owned(),
            problems,
        });
    }
    Ok(LoadedList {
        file,
        trusted,
        blocked,
        digest: FileDigest {
            path: name.clone(),
            bytes: bytes.len() as u64,
            blake3: blake3::hash(&bytes).to_hex().to_string(),
            sha256: hex(&Sha256::digest(&bytes)),
        },
        name,
        signed_by,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    let failed = |source| IoError::Storage {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(EngineError::Sources {
            file: path.display().to_string(),
            problems: vec![format!("it is no file of at most {MAX_BYTES} bytes")],
        });
    }
    Ok(std::fs::read(path).map_err(failed)?)
}

/// Where the signature of a list is.
#[must_use]
pub fn envelope_path(list: &Path) -> std::path::PathBuf {
    let mut path = list.as_os_str().to_owned();
    path.push(".dsse.json");
    path.into()
}

/// The statement about a list called `name` with these bytes.
#[must_use]
pub fn statement_about(name: &str, bytes: &[u8]) -> Statement {
    Statement::new(SOURCES_PREDICATE, serde_json::json!({})).about(name, bytes)
}

/// Ids of the trusted keys that signed the list; empty when none is asked for.
fn check_signature(
    path: &str,
    name: &str,
    bytes: &[u8],
    proof: &ProofOptions,
) -> Result<Vec<String>, ProofError> {
    let Some(trust) = &proof.trust else {
        return Ok(Vec::new());
    };
    let envelope = envelope_path(Path::new(path));
    let envelope = std::fs::read(&envelope).map_err(|error| {
        ProofError::NoTrustedSignature(format!("`{}`: {error}", envelope.display()))
    })?;
    let checked = Envelope::parse(&envelope)?.verify(trust, proof.today)?;
    let statement = checked.statement;
    if statement.predicate_type != SOURCES_PREDICATE {
        return Err(ProofError::Statement(format!(
            "it is of type `{}`, and about no list of sources",
            statement.predicate_type
        )));
    }
    if statement.sha256_of(name) != Some(hex(&Sha256::digest(bytes)).as_str()) {
        let reason = format!("`{name}` is not what was signed");
        return Err(ProofError::Statement(reason));
    }
    Ok(checked.keys)
}

/// What in a list cannot be used, besides its patterns.
fn problems(file: &SourceListFile) -> Vec<String> {
    let mut problems = Vec::new();
    if file.blocked.action == Some(Treatment::Allow) {
        problems.push("`blocked.action`: what is blocked cannot be allowed".to_owned());
    }
    let domains = file.trusted.domains.iter().chain(&file.blocked.domains);
    for domain in domains {
        if domain.trim_matches('.').is_empty() || domain.contains(['/', ':', '*', ' ']) {
            problems.push(format!(
                "`{domain}` is no domain, expected one like `example.org`; subdomains are included"
            ));
        }
    }
    problems
}

fn globs(patterns: &[String], as_path: bool) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(as_path).build();
        set.add(glob.map_err(|error| format!("`{pattern}`: {}", error.kind()))?);
    }
    set.build().map_err(|error| error.to_string())
}

impl LoadedList {
    /// The list as the detectors see it.
    pub(crate) fn apply(&self, dataset: &Dataset, assembler: &Assembler) -> SourceList {
        let SourceListFile {
            unknown,
            trusted,
            blocked,
        } = &self.file;
        let has = |role: Role| {
            let mut columns = assembler.facts.columns.iter();
            columns.any(|column| column.role == role)
        };
        let domains = |list: &[String]| -> Vec<String> {
            let domains = list.iter();
            domains
                .map(|domain| domain.trim_matches('.').to_lowercase())
                .collect()
        };
        let by_source = !(trusted.sources.is_empty() && blocked.sources.is_empty());
        let by_domain = !(trusted.domains.is_empty() && blocked.domains.is_empty());
        let by_file = !(trusted.files.is_empty() && blocked.files.is_empty());
        SourceList {
            name: self.name.clone(),
            unknown: unknown.unwrap_or(Treatment::Review),
            blocked: blocked.action.unwrap_or(Treatment::Quarantine),
            sources: (by_source && has(Role::Source)).then(|| {
                let names = assembler.facts.sources.iter();
                names.map(|name| self.standing_of_source(name)).collect()
            }),
            files: by_file.then(|| {
                let files = dataset.files().iter();
                files
                    .map(|file| {
                        let sha256 = hex(&file.input.sha256);
                        self.standing_of_file(&file.input.relative, &sha256)
                    })
                    .collect()
            }),
            domains: (by_domain && has(Role::Url)).then(|| Domains {
                trusted: domains(&trusted.domains),
                blocked: domains(&blocked.domains),
            }),
        }
    }

    /// What of the list has nothing to speak about in this dataset.
    pub(crate) fn without_column(&self, list: &SourceList) -> Vec<String> {
        let SourceListFile {
            trusted, blocked, ..
        } = &self.file;
        let unused = [
            (
                !(trusted.sources.is_empty() && blocked.sources.is_empty())
                    && list.sources.is_none(),
                "sources",
                "source",
            ),
            (
                !(trusted.domains.is_empty() && blocked.domains.is_empty())
                    && list.domains.is_none(),
                "domains",
                "url",
            ),
        ];
        unused
            .into_iter()
            .filter(|(unused, ..)| *unused)
            .map(|(_, entries, role)| {
                format!(
                    "`{}` lists {entries} and the dataset has no {role} column: they are not checked",
                    self.name
                )
            })
            .collect()
    }

    fn standing_of_source(&self, name: &str) -> Standing {
        if self.blocked.sources.is_match(name) {
            Standing::Blocked
        } else if self.trusted.sources.is_match(name) {
            Standing::Trusted
        } else {
            Standing::Unknown
        }
    }

    /// `sha256` in lower-case hexadecimal.
    fn standing_of_file(&self, path: &str, sha256: &str) -> Standing {
        if self.blocked.has_file(path, sha256) {
            Standing::Blocked
        } else if self.trusted.has_file(path, sha256) {
            Standing::Trusted
        } else {
            Standing::Unknown
        }
    }

    /// The list for the manifest.
    pub(crate) fn digest(&self) -> FileDigest {
        self.digest.clone()
    }

    /// A line for the report.
    pub(crate) fn describe(&self) -> String {
        let signed = match self.signed_by.as_slice() {
            [] => "its signature was not checked".to_owned(),
            keys => format!("signed by trusted key {}", keys.join(", ")),
        };
        format!(
            "The list of sources `{}` (SHA-256 {}) was used; {signed}.",
            self.name, self.digest.sha256
        )
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_proof::{SecretKey, Trust};

    use super::*;

    const LIST: &str = "unknown = \"fail\"\n[trusted]\nsources = [\"curated\", \"partner-*\"]\n\
        files = [{ pattern = \"2026/*.parquet\", sha256 = [\"AA\"] }]\n[blocked]\nsources = [\"partner-9\"]\n";

    fn written(folder: &Path, text: &str) -> String {
        let path = folder.join("sources.toml");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn loaded(text: &str) -> Result<LoadedList, EngineError> {
        let folder = tempfile::tempdir().unwrap();
        load(&written(folder.path(), text), &ProofOptions::default())
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let good = LIST.replace("AA", &"AA".repeat(32));
        let list = loaded(&good).unwrap();
        let json = serde_json::to_string(&list.file).unwrap();
        assert_eq!(loaded(&json).unwrap().file, list.file);
        for (name, expected) in [
            ("curated", Standing::Trusted),
            ("partner-1", Standing::Trusted),
            ("partner-9", Standing::Blocked),
            ("curated2", Standing::Unknown),
        ] {
            assert_eq!(list.standing_of_source(name), expected, "{name}");
        }
        let digest = "aa".repeat(32);
        for (path, sha256, expected) in [
            ("2026/a.parquet", digest.as_str(), Standing::Trusted),
            ("2026/a.parquet", "bb", Standing::Unknown),
            ("2026/x/a.parquet", &digest, Standing::Unknown),
        ] {
            assert_eq!(list.standing_of_file(path, sha256), expected, "{path}");
        }
    }

    #[test]
    fn every_problem_of_a_list_is_told_at_once() {
        let bad = "[trusted]\ndomains = [\"https://x.org\"]\nfiles = [{ pattern = \"[\", sha256 = [\"12\"] }]\n\
            [blocked]\naction = \"allow\"\n";
        let Err(EngineError::Sources { problems, .. }) = loaded(bad) else {
            panic!("it was taken");
        };
        let text = problems.join("\n");
        for expected in [
            "blocked.action",
            "`[`",
            "`12` is no SHA-256",
            "https://x.org",
        ] {
            assert!(text.contains(expected), "{expected} not in {text}");
        }
        for text in ["unknwon = \"review\"", "unknown = \"maybe\"", "{\"a\": 1}"] {
            assert!(loaded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn with_trusted_keys_a_list_must_be_signed_as_it_is() {
        let [own, other] = [(); 2].map(|()| SecretKey::generate().unwrap());
        let trust_in = |key: &SecretKey| ProofOptions {
            trust: Some(Trust::parse(&key.public().to_pem().unwrap()).unwrap()),
            ..ProofOptions::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let text = "[trusted]\nsources = [\"a\"]\n";
        let path = written(folder.path(), text);
        let unsigned = load(&path, &trust_in(&own)).unwrap_err();
        assert!(
            matches!(unsigned, EngineError::Signature { .. }),
            "{unsigned}"
        );

        let sign = |statement: &Statement| {
            let envelope = Envelope::sign(statement, &[&own]).unwrap();
            std::fs::write(envelope_path(Path::new(&path)), envelope.to_bytes()).unwrap();
        };
        sign(&statement_about("sources.toml", text.as_bytes()));
        let list = load(&path, &trust_in(&own)).unwrap();
        assert_eq!(list.signed_by, [own.public().id().unwrap()]);
        assert!(load(&path, &trust_in(&other)).is_err());
        assert!(load(&path, &ProofOptions::default()).is_ok());

        written(folder.path(), "[trusted]\nsources = [\"*\"]\n");
        let changed = load(&path, &trust_in(&own)).unwrap_err();
        assert!(
            changed.to_string().contains("not what was signed"),
            "{changed}"
        );
        // A signature about a run with a file of that name and content is none about a list.
        let run = Statement::new(crate::RUN_PREDICATE, serde_json::json!({}));
        written(folder.path(), text);
        sign(&run.about("sources.toml", text.as_bytes()));
        assert!(load(&path, &trust_in(&own)).is_err());
    }
}
