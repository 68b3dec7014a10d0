//! `lazaretto verify`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lazaretto_engine::{Verification, VerifyRequest, verify};
use serde_json::json;

use crate::arguments::{Format, Verbosity, settings_of};
use crate::output::{error_line, print};
use crate::trust;

/// Problems that are printed; a folder that was swapped has thousands.
const MAX_SHOWN: usize = 20;

#[derive(Args, Debug)]
pub(crate) struct VerifyOptions {
    /// The run folder.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Public key (PEM), or a TOML file of keys, whose signature the run must have; may be repeated. Without
    /// one nobody vouches for the manifest.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    trusted_key: Vec<String>,
    /// A pipeline whose policy the run must pass besides the one it was made with.
    #[arg(long, value_name = "NAME|FILE")]
    policy: Option<String>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

pub(crate) fn run(options: &VerifyOptions, verbosity: Verbosity) -> Result<ExitCode> {
    let request = VerifyRequest {
        run: options.run.clone(),
        trust: trust::keys(&options.trusted_key)?,
        today: Some(trust::today()),
        policy: options.policy.as_deref().map(settings_of).transpose()?,
    };
    let verification = verify(&request)?;
    match options.format {
        Format::Json => print(&machine(&verification)),
        Format::Human => human(&options.run, &verification, verbosity),
    }
    Ok(ExitCode::from(verification.exit_code))
}

fn human(run: &Path, verification: &Verification, verbosity: Verbosity) {
    if verbosity > Verbosity::Quiet {
        for line in &verification.held {
            print(&format!("{}\n", lazaretto_report::terminal(line)));
        }
    }
    for problem in verification.problems.iter().take(MAX_SHOWN) {
        error_line(&format!("error: {problem}"));
    }
    let more = verification.problems.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        error_line(&format!("error: and {more} more"));
    }
    for reason in &verification.reasons {
        error_line(&format!("policy: {reason}"));
    }
    if !verification.problems.is_empty() {
        error_line(&format!(
            "hint: `{}` is not as it was written; do not read it",
            run.display()
        ));
    }
}

fn machine(verification: &Verification) -> String {
    lazaretto_report::value_json(&json!({
        "exit_code": verification.exit_code,
        "held": verification.held,
        "problems": verification.problems,
        "reasons": verification.reasons,
    }))
}
