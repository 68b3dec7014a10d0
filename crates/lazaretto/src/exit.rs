//! Errors as people see them, and exit codes as scripts see them.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::process::ExitCode;

use anyhow::Error;
use lazaretto_engine::EngineError;
use lazaretto_io::IoError;
use lazaretto_proof::ProofError;

use crate::output::{error_line, error_lines};

const USAGE: u8 = 2;
const INTEGRITY: u8 = 4;
const OTHER_RUN: u8 = 5;
/// The file system failed (`EX_IOERR` of sysexits.h).
const STORAGE: u8 = 74;
/// Ended by Ctrl-C, as shells report it.
const INTERRUPTED: u8 = 130;

/// Hostile files make decoders panic. Those panics are caught and reported as unreadable files, so
/// nothing is printed of them. Any other panic is a mistake of ours; its message may quote the data,
/// so it is printed as everything else is: without secrets, and without power over the terminal.
pub(crate) fn set_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        if lazaretto_io::is_decoding() {
            return;
        }
        error_lines(&format!("internal error: {panic}"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            error_lines(&backtrace.to_string());
        } else {
            error_line("hint: `RUST_BACKTRACE=1` shows where; please report it");
        }
    }));
}

/// Prints what is wrong with the arguments, or the help that was asked for. Names of files stand
/// among arguments, and whoever chose them is not trusted.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        error_lines(&error.render().to_string());
        ExitCode::from(USAGE)
    } else {
        // A closed pipe is no error.
        let _ = error.print();
        ExitCode::SUCCESS
    }
}

/// Prints `error` with its causes and hints, and gives its exit code.
pub(crate) fn report(error: &Error) -> ExitCode {
    let engine = error.downcast_ref::<EngineError>();
    if engine.is_some_and(EngineError::is_interrupted) {
        if let Some(EngineError::Resumable { folder, .. }) = engine {
            error_line(&format!(
                "interrupted: nothing was committed; what is done is kept in `{folder}`"
            ));
            error_line("hint: the same command with `--resume` goes on from there");
        } else {
            error_line("interrupted: nothing was committed and the partial output is removed");
            error_line("hint: run the same command to start again");
        }
        return ExitCode::from(INTERRUPTED);
    }
    error_line(&format!("error: failed to {error}"));
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Messages often carry their cause's words already.
        if !last.contains(&text) {
            error_line(&format!("  caused by: {text}"));
        }
        last = text;
    }
    match engine {
        Some(EngineError::Pipeline { problems, .. }) => {
            for problem in problems {
                // Those of TOML show the place in the file.
                error_lines(&format!("  {problem}"));
            }
        }
        Some(EngineError::NoDetector { reasons }) => {
            for (detector, reason) in reasons {
                error_line(&format!("  {detector}: {reason}"));
            }
        }
        _ => {}
    }
    let proof = error.downcast_ref::<ProofError>();
    let hint = engine.and_then(EngineError::hint);
    if let Some(hint) = hint.or_else(|| proof.and_then(ProofError::hint)) {
        error_line(&format!("hint: {hint}"));
    }
    ExitCode::from(code(engine))
}

fn code(engine: Option<&EngineError>) -> u8 {
    match engine {
        Some(EngineError::Signature { .. } | EngineError::Unsound { .. }) => INTEGRITY,
        Some(error) => error.io().map_or(USAGE, |error| match error {
            IoError::Conservation { .. } | IoError::RunChanged { .. } => INTEGRITY,
            IoError::OutBusy { .. } | IoError::CommittedElsewhere { .. } => OTHER_RUN,
            IoError::Storage { .. } | IoError::Encode { .. } => STORAGE,
            _ => USAGE,
        }),
        None => USAGE,
    }
}
