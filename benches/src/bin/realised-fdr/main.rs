//! Realised false-discovery rate and power over seeded repetitions, and what contamination does to the
//! nulls: is what Lazaretto promises at `--fdr` true?
//!
//! ```text
//! cargo run --release -p lazaretto-benches --bin realised-fdr -- [--repetitions N] [--records N] [--threads N]
//!     [--kind NAME] [--level NAME] [--trusted N] [--show yes]
//! ```
//!
//! Every repetition makes a dataset of its own, plants one attack in it and scans it with default settings.
//! With `--trusted N`, `N` more clean records are given as known to be good. `--show yes` names the findings of
//! every run that held back a clean record.

mod figures;
mod run;
mod sets;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use rayon::prelude::*;

use crate::figures::Cell;
use crate::run::Repetition;
use crate::sets::{KINDS, LEVELS};

/// What to measure.
#[derive(Clone, Debug)]
struct Options {
    repetitions: u64,
    records: usize,
    threads: usize,
    trusted: usize,
    show: bool,
    kind: Option<String>,
    level: Option<String>,
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a command")]
            {
                eprintln!("{error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "a command")]
fn measure() -> Result<()> {
    let options = parse(std::env::args().skip(1))?;
    // Each scan is small, so that many of them side by side use the cores best.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()?;
    println!(
        "{} repetitions of {} records, q = 5 %, {} trusted records\n\n{}",
        options.repetitions,
        options.records,
        options.trusted,
        Cell::header()
    );
    let mut nulls = Vec::new();
    let wanted =
        |given: &Option<String>, name: &str| given.as_ref().is_none_or(|given| given == name);
    for kind in KINDS.iter().filter(|kind| wanted(&options.kind, kind.name)) {
        for level in LEVELS
            .iter()
            .filter(|level| wanted(&options.level, level.name))
        {
            let repetitions = pool.install(|| {
                (0..options.repetitions)
                    .into_par_iter()
                    .map(|seed| run::repeat(kind, level, options.records, options.trusted, seed))
                    .collect::<Result<Vec<Repetition>>>()
            })?;
            let cell = Cell::of(&repetitions);
            println!("{}", cell.row(kind.name, level.name));
            for repetition in repetitions
                .iter()
                .filter(|run| options.show && run.held[0] > 0)
            {
                println!(
                    "    seed {}: {:?} clean and poisoned records held",
                    repetition.seed, repetition.held
                );
                for title in &repetition.findings {
                    println!("        {title}");
                }
            }
            nulls.extend(figures::null_rows(kind.name, level.name, &repetitions));
        }
    }
    println!("\n{}", figures::null_header());
    for row in nulls {
        println!("{row}");
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options> {
    let mut options = Options {
        repetitions: 200,
        records: 1500,
        threads: 2,
        trusted: 0,
        show: false,
        kind: None,
        level: None,
    };
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .with_context(|| format!("`{flag}` needs a value"))?;
        let number = || {
            let number = value.parse::<usize>();
            number.with_context(|| format!("`{flag}` needs a number, not `{value}`"))
        };
        match flag.as_str() {
            "--repetitions" => options.repetitions = number()? as u64,
            "--records" => options.records = number()?,
            "--threads" => options.threads = number()?,
            "--trusted" => options.trusted = number()?,
            "--show" => options.show = value == "yes",
            "--kind" => options.kind = Some(value),
            "--level" => options.level = Some(value),
            _ => bail!(
                "unknown argument `{flag}`\nhint: --repetitions, --records, --threads and --trusted take a number, \
                 --kind one of {}, --level one of {}",
                sets::names(KINDS.iter().map(|kind| kind.name)),
                sets::names(LEVELS.iter().map(|level| level.name))
            ),
        }
    }
    Ok(options)
}
