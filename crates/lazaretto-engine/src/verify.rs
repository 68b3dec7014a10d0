//! Whether a training job may read a run folder: signature, files, counts, and the policy's verdict.

use std::path::PathBuf;

use lazaretto_core::report::GateStatus;
use lazaretto_io::{RunCheck, check_run};
use lazaretto_proof::{Day, Envelope, Trust};

use crate::error::EngineError;
use crate::policy;
use crate::seal;
use crate::settings::Settings;

/// Exit code when something is not as it was written.
const INTEGRITY: u8 = 4;

/// What to check, and against what.
#[derive(Clone, Debug, Default)]
pub struct VerifyRequest {
    /// The run folder.
    pub run: PathBuf,
    /// Keys whose signatures count; with them the run must be signed by one.
    pub trust: Option<Trust>,
    /// The day of the check, for keys that count between two days; `None` leaves days out.
    pub today: Option<Day>,
    /// A policy that the run must pass besides the one it was made with.
    pub policy: Option<Settings>,
}

/// The outcome of a check.
#[derive(Clone, Debug)]
pub struct Verification {
    /// What was checked and holds, a line each.
    pub held: Vec<String>,
    /// Everything that is not as it was written; empty when the run folder is sound.
    pub problems: Vec<String>,
    /// Why the policy does not hold, in words.
    pub reasons: Vec<String>,
    /// 0 sound and passed, 1 sound and failed by the policy, 3 sound and incomplete, 4 not sound.
    pub exit_code: u8,
}

/// Checks a run folder, in the time that it takes to hash its files.
///
/// # Errors
/// When there is no such folder. What is wrong with it is in [`Verification::problems`].
pub fn verify(request: &VerifyRequest) -> Result<Verification, EngineError> {
    let check = check_run(&request.run)?;
    let mut verification = Verification {
        held: Vec::new(),
        problems: check.problems.clone(),
        reasons: Vec::new(),
        exit_code: INTEGRITY,
    };
    verification.signature(request, &check);
    let Some(manifest) = &check.manifest else {
        return Ok(verification);
    };
    verification.held.push(format!(
        "files: {} with {} bytes are as the manifest lists them",
        check.files, check.bytes
    ));
    let counts = manifest.counts;
    verification.held.push(format!(
        "records: {} clean + {} quarantined + {} unscanned = {} of {} input file(s)",
        counts.pass, counts.quarantine, counts.unscanned, counts.records, counts.files
    ));
    if !verification.problems.is_empty() {
        verification.held.clear();
        return Ok(verification);
    }
    let mut gate = manifest.gate;
    if gate != GateStatus::Passed {
        let recorded = check.report.as_ref().map(|report| &report.gate.reasons);
        verification
            .reasons
            .extend(recorded.into_iter().flatten().cloned());
    }
    if let (Some(policy), Some(report)) = (&request.policy, &check.report) {
        let reasons = policy::recheck(policy, report, &manifest.rules);
        if !reasons.is_empty() {
            gate = GateStatus::Failed;
            verification.reasons.extend(reasons);
        }
    }
    let (word, exit_code) = match gate {
        GateStatus::Passed => ("passed", 0),
        GateStatus::Failed => ("failed", 1),
        GateStatus::Incomplete => ("incomplete", 3),
    };
    verification
        .held
        .push(format!("policy: {word} ({})", manifest.rules.join(", ")));
    verification.exit_code = exit_code;
    Ok(verification)
}

impl Verification {
    /// Checks the signature. Without trusted keys nobody vouches for the manifest, but a signature that is
    /// there must still be about it.
    fn signature(&mut self, request: &VerifyRequest, check: &RunCheck) {
        let Some(bytes) = &check.envelope else {
            match &request.trust {
                Some(_) => self.problems.push("the run is not signed".to_owned()),
                None => self.held.push("signature: there is none".to_owned()),
            }
            return;
        };
        let outcome = Envelope::parse(bytes).and_then(|envelope| {
            if let Some(trust) = &request.trust {
                let checked = envelope.verify(trust, request.today)?;
                let by = format!("signature: by trusted key {}", checked.keys.join(", "));
                return Ok((checked.statement, by));
            }
            let claimed: Vec<&str> = envelope.claimed_keys().collect();
            let by = format!(
                "signature: not checked, give the key with `--trusted-key` (claims to be by {})",
                claimed.join(", ")
            );
            Ok((envelope.unverified_statement()?, by))
        });
        match outcome {
            Err(error) => self.problems.push(error.to_string()),
            Ok((statement, by)) => match seal::mismatch(&statement, check) {
                Some(reason) => self.problems.push(reason),
                None => self.held.push(by),
            },
        }
    }
}
