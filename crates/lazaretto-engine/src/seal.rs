//! What a signature over a run says: an in-toto statement about every file of the run folder.

use std::path::Path;

use lazaretto_io::manifest::{FILE_NAME, FileDigest, TIMINGS_NAME};
use lazaretto_io::{IoError, Manifest, RunCheck, check_run};
use lazaretto_proof::{Envelope, ProofError, SecretKey, Statement};
use serde_json::json;

use crate::error::EngineError;

/// Says what the predicate of a signed run is.
pub const RUN_PREDICATE: &str = "https://lazaretto.dev/attestations/run/v1";

/// The envelope about the files `covered` of a run, as bytes.
pub(crate) fn seal(
    key: &SecretKey,
    manifest: &Manifest,
    covered: &[FileDigest],
) -> Result<Vec<u8>, IoError> {
    let failed = |error: ProofError| IoError::Encode {
        path: lazaretto_io::manifest::ENVELOPE_NAME.to_owned(),
        reason: error.to_string(),
    };
    let digests = covered.iter().map(|file| (&*file.path, &*file.sha256));
    let statement = statement(manifest, digests);
    Ok(Envelope::sign(&statement, &[key])
        .map_err(failed)?
        .to_bytes())
}

/// The statement about a run with these files, by name and SHA-256.
pub(crate) fn statement<'f>(
    manifest: &Manifest,
    files: impl Iterator<Item = (&'f str, &'f str)>,
) -> Statement {
    let inputs: Vec<_> = manifest
        .inputs
        .iter()
        .map(|file| json!({"name": file.path, "digest": {"sha256": file.sha256}}))
        .collect();
    let predicate = json!({
        "tool": {"name": manifest.tool, "version": manifest.tool_version},
        "pipeline": {"name": manifest.pipeline, "settingsBlake3": manifest.settings_hash},
        "seed": manifest.seed,
        "gate": manifest.gate,
        "rules": manifest.rules,
        "counts": manifest.counts,
        "inputs": inputs,
    });
    files.fold(
        Statement::new(RUN_PREDICATE, predicate),
        |statement, (name, sha256)| statement.about_digest(name, sha256),
    )
}

/// Signs a finished run, beside the signatures that it has; returns the envelope.
///
/// # Errors
/// [`EngineError::Unsound`] when the run is not as it was written, or signed as something else.
pub fn sign_run(run: &Path, key: &SecretKey) -> Result<Envelope, EngineError> {
    let check = check_run(run)?;
    let unsound = |problems: Vec<String>| EngineError::Unsound {
        run: run.display().to_string(),
        problems,
    };
    let wrong = |error: ProofError| unsound(vec![error.to_string()]);
    let manifest = match &check.manifest {
        Some(manifest) if check.problems.is_empty() => manifest,
        _ => return Err(unsound(check.problems)),
    };
    if let Some(bytes) = &check.envelope {
        let mut envelope = Envelope::parse(bytes).map_err(wrong)?;
        let signed = envelope.unverified_statement().map_err(wrong)?;
        if let Some(reason) = mismatch(&signed, &check) {
            return Err(unsound(vec![reason]));
        }
        envelope.countersign(key).map_err(wrong)?;
        return Ok(envelope);
    }
    let outputs = manifest.outputs.iter();
    let outputs = outputs.map(|file| (file.path.as_str(), file.sha256.as_str()));
    let covered = check.covered.iter();
    let covered = covered.map(|(name, sha256)| (name.as_str(), sha256.as_str()));
    let statement = statement(manifest, outputs.chain(covered));
    Envelope::sign(&statement, &[key]).map_err(wrong)
}

/// Why a statement is not about the run that was checked; `None` when it is.
pub(crate) fn mismatch(statement: &Statement, check: &RunCheck) -> Option<String> {
    if statement.predicate_type != RUN_PREDICATE {
        return Some(format!(
            "what is signed is of type `{}`, and no run",
            statement.predicate_type
        ));
    }
    for name in [FILE_NAME, TIMINGS_NAME] {
        let found = check.covered.get(name).map(String::as_str);
        if statement.sha256_of(name) != found {
            return Some(format!("`{name}` is not the one that was signed"));
        }
    }
    None
}
