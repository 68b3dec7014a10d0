//! `lazaretto scan`.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use lazaretto_core::report::{Report, SettingsReport};
use lazaretto_engine::{ProofOptions, ScanRequest, scan};

use crate::arguments::{Format, ScanOptions, Verbosity};
use crate::output::{colored, error_line, print, shown, table};
use crate::progress::Display;
use crate::{signing, trust};

pub(crate) fn run(options: &ScanOptions, verbosity: Verbosity) -> Result<ExitCode> {
    let checked = options.settings()?;
    let request = ScanRequest {
        inputs: options.dataset.inputs.clone(),
        out: options.out.clone(),
        proof: ProofOptions {
            signing_key: signing::key(options.sign, checked.signing_key_file.as_deref())?,
            trust: trust::keys(&checked.trusted_keys)?,
            today: Some(trust::today()),
        },
        resumption: options.resumption(),
        settings: checked,
        cancel: cancel_on_signal()?,
    };
    let progress = Display::new(verbosity);
    let outcome = scan(&request, &progress, &render);
    progress.finish();
    let outcome = outcome?;
    let report = &outcome.report;
    match options.format {
        Format::Json => print(&lazaretto_report::json(report)),
        Format::Human if verbosity > Verbosity::Quiet => {
            print(&roles(report));
            print(&lazaretto_report::human(report, colored()));
            print(&format!(
                "\nreport: {}\n",
                shown(&options.out.join("report.html"))
            ));
        }
        Format::Human => {}
    }
    if verbosity == Verbosity::Verbose {
        for (phase, seconds) in &outcome.timings {
            error_line(&format!("{phase:>10} {seconds:8.2} s"));
        }
        settings(&report.settings);
    }
    Ok(ExitCode::from(report.gate.exit_code))
}

/// A flag that Ctrl-C or a termination signal sets; the second signal ends the process at once.
pub(crate) fn cancel_on_signal() -> Result<Arc<AtomicBool>> {
    let cancel = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cancel);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::SeqCst) {
            error_line(
                "interrupted twice: the folder `OUT.partial` is left; `--resume` goes on with it",
            );
            std::process::exit(130);
        }
        error_line("interrupted: stopping (again to stop at once)");
    })
    .context("set a handler for Ctrl-C")?;
    Ok(cancel)
}

/// The report files of a run folder.
fn render(report: &Report) -> Vec<(String, Vec<u8>)> {
    let files = [
        ("report.json", lazaretto_report::json(report)),
        ("report.html", lazaretto_report::html(report)),
        ("report.md", lazaretto_report::markdown(report)),
        ("report.sarif", lazaretto_report::sarif(report)),
        ("junit.xml", lazaretto_report::junit(report)),
    ];
    files
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .collect()
}

/// The columns with their roles and why.
fn roles(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .dataset
        .columns
        .iter()
        .map(|column| {
            vec![
                lazaretto_report::terminal(&column.name),
                column.role.clone(),
                lazaretto_report::terminal(&column.reason),
            ]
        })
        .collect();
    format!("columns:\n{}\n", table(&rows))
}

fn settings(settings: &SettingsReport) {
    error_line(&format!("settings {}", settings.pipeline_hash));
    for line in settings
        .method
        .lines()
        .chain(settings.policy.iter().map(String::as_str))
    {
        error_line(&format!("  {line}"));
    }
}
