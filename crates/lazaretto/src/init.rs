//! `lazaretto init`: a commented pipeline file for a dataset.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use lazaretto_core::Role;
use lazaretto_detectors::{Registration, find};
use lazaretto_engine::{Inspection, inspect, pipeline};
use lazaretto_report::{is_hidden, terminal};

use crate::arguments::{InitOptions, Verbosity};
use crate::catalogue::parameters;
use crate::output::{print, shown};

pub(crate) fn run(options: &InitOptions, verbosity: Verbosity) -> Result<ExitCode> {
    let settings = options.dataset.plain_settings()?;
    let cancel = Arc::new(AtomicBool::new(false));
    let inspection = inspect(&options.dataset.inputs, &settings, 0, &cancel)?;
    let text = write(&inspection);
    let path = &options.out;
    let mut file = File::create_new(path)
        .with_context(|| format!("write `{}` (give another file with --out)", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("write `{}`", path.display()))?;
    if verbosity > Verbosity::Quiet {
        print(&format!(
            "wrote {0}; use it with `lazaretto scan DATA --pipeline {0} --out RUN`\n",
            shown(path)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The pipeline for an inspected dataset.
fn write(inspection: &Inspection) -> String {
    let mut text = String::from(
        "# A Lazaretto pipeline. Lines that are commented out show the defaults.\n\
         # `lazaretto schema pipeline` prints the JSON Schema, `lazaretto detectors NAME` documents a detector.\n\n\
         # False-discovery rate among single records held back.\n# fdr = 0.05\n\
         # Number of records that somebody can review: the best so many are listed. No default.\n# budget = 200\n\
         # Seed of all sampling; keep your own private when the data comes from people who may know this tool.\n# seed = 0\n\
         # Memory to stay within, and threads (0 is one per core).\n# memory = \"4GiB\"\n# threads = 0\n\
         # Files of records known to be good, with the columns of the dataset and not part of it.\n# trusted = [\"FILE\"]\n\
         # Evaluation files that the dataset must not contain.\n# evaluation = [\"FILE\"]\n",
    );
    text.push_str(
        "\n# A model that makes vectors of texts where the dataset has none, and its files' SHA-256.\n\
         # [embedder]\n# path = \"FOLDER\"\n# sha256 = { \"model.safetensors\" = \"DIGEST\", \"tokenizer.json\" = \"DIGEST\" }\n",
    );
    text.push_str(&roles(inspection));
    text.push_str("\n[detectors]\n# Only these; empty means the default ones that apply.\nonly = []\n# These besides; `lazaretto detectors` marks those that run on request.\nalso = []\n# All but these.\nskip = []\n");
    text.push_str(
        "\n[policy]\n# The gate fails on any of these; see `lazaretto scan --help`.\n\
         # fail_on = [\"high\", \"quarantine>1%\", \"group>20%\"]\n\
         # Largest corrected p-value of a finding that holds its records back.\n# finding_p = 0.05\n\
         # Whether single records are held back when their fused q-value is within fdr.\n# hold_rows = true\n\
         \n# The spike test: which share of attacks planted in a sample the run would have held back.\n\
         # [power]\n# run = true\n# records = 20000\n# sizes = [10, 25, 50, 100, 250]\n",
    );
    text.push_str("\n# Detectors that apply to this dataset, with their default parameters.\n");
    for planned in &inspection.plan.detectors {
        let spec = planned.detector.spec();
        if let Some(registration) = find(spec.id) {
            let _ = write!(
                text,
                "\n# {}: {}\n{}",
                spec.id,
                spec.summary,
                commented(registration)
            );
        }
    }
    text.push_str("\n# Detectors that do not apply:\n");
    for over in &inspection.plan.passed_over {
        let _ = writeln!(text, "# {}: {}", over.id, terminal(&over.reason));
    }
    debug_assert!(pipeline::parse(&text).is_ok());
    text
}

fn commented(registration: &Registration) -> String {
    parameters(registration, "# ")
}

/// The roles as inferred, each with its reason; columns without a special role are comments.
fn roles(inspection: &Inspection) -> String {
    let columns = &inspection.facts.columns;
    let mut text = String::from("\n[roles]\n");
    let single = [
        (Role::Id, "id"),
        (Role::Label, "label"),
        (Role::Embedding, "embedding"),
        (Role::Probabilities, "probabilities"),
        (Role::Source, "source"),
        (Role::Time, "time"),
    ];
    for (role, key) in single {
        match columns.iter().find(|column| column.role == role) {
            Some(column) => {
                let _ = writeln!(
                    text,
                    "# {}\n{key} = {}",
                    terminal(&column.reason),
                    quoted(&column.name)
                );
            }
            None => {
                let _ = writeln!(text, "# {key} = \"COLUMN\"");
            }
        }
    }
    let texts: Vec<String> = columns
        .iter()
        .filter(|column| column.role == Role::Text)
        .map(|column| quoted(&column.name))
        .collect();
    let _ = writeln!(text, "text = [{}]", texts.join(", "));
    text.push_str("\n# Any other column by name, with its role.\n[roles.other]\n");
    let listed =
        |role: Role| role != Role::Text && single.iter().all(|(single, _)| *single != role);
    for column in columns.iter().filter(|column| listed(column.role)) {
        let _ = writeln!(
            text,
            "{} = \"{}\" # {}",
            quoted(&column.name),
            column.role,
            terminal(&column.reason)
        );
    }
    text
}

/// A TOML string on one line, usable as key and as value; what does not show itself is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            hidden if is_hidden(hidden) => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(hidden));
            }
            shown => quoted.push(shown),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for name in [
            "plain",
            "",
            "a\"b\\c'",
            "x\n\r\ty",
            "\u{1b}[2J\u{9b}\u{202e}\u{7f}",
            "世界 🦀\u{e0041}",
        ] {
            let text = quoted(name);
            assert!(
                text.chars().all(|shown| shown != '\n' && !is_hidden(shown)),
                "{text}"
            );
            let table: toml::Table = format!("{text} = {text}").parse().unwrap();
            assert_eq!(table[name].as_str(), Some(name));
        }
    }
}
