//! The `lazaretto` command: arguments → settings → engine. It alone prints.

mod arguments;
mod catalogue;
mod encryption;
mod exit;
mod explain;
mod init;
mod inspect;
mod keygen;
mod output;
mod progress;
mod scan;
mod sign;
mod signing;
mod trust;
mod verify;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use lazaretto_io::serve_decoder;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    lazaretto_io::failpoint::arm();
    exit::set_panic_hook();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::refuse(&error),
    };
    let verbosity = arguments.verbosity();
    let result = match arguments.command {
        Command::Scan(options) => scan::run(&options, verbosity),
        Command::Inspect(options) => inspect::run(&options, verbosity),
        Command::Explain(options) => explain::run(&options),
        Command::Detectors(options) => catalogue::run(&options),
        Command::Init(options) => init::run(&options, verbosity),
        Command::Schema(options) => Ok(catalogue::schema(&options)),
        Command::ServeDecoder => serve_decoder()
            .context("serve as a decoder")
            .map(|()| ExitCode::SUCCESS),
        Command::Keygen(options) => keygen::run(&options, verbosity),
        Command::Sign(options) => sign::run(&options, verbosity),
        Command::Verify(options) => verify::run(&options, verbosity),
    };
    result.unwrap_or_else(|error| exit::report(&error))
}
