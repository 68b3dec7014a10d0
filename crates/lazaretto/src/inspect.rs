//! `lazaretto inspect`: files, columns with their roles and profiles, detectors.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use lazaretto_core::report::DetectorStatus;
use lazaretto_engine::{Inspection, inspect};
use lazaretto_patterns::{Redactor, redact};
use lazaretto_profile::{ColumnProfile, profile};
use lazaretto_report::terminal;
use serde_json::{Value, json};

use crate::arguments::{Format, InspectOptions, Verbosity};
use crate::output::{print, table};

/// Files listed unless `--verbose` is given.
const MAX_FILES: usize = 20;

pub(crate) fn run(options: &InspectOptions, verbosity: Verbosity) -> Result<ExitCode> {
    let settings = options.dataset.plain_settings()?;
    let cancel = Arc::new(AtomicBool::new(false));
    let inspection = inspect(&options.dataset.inputs, &settings, options.sample, &cancel)?;
    let profiles = profile(&inspection.sample).context("profile the columns")?;
    print(&match options.format {
        Format::Human => human(&inspection, &profiles, verbosity),
        Format::Json => lazaretto_report::value_json(&machine(&inspection, &profiles)),
    });
    Ok(ExitCode::SUCCESS)
}

fn human(inspection: &Inspection, profiles: &[ColumnProfile], verbosity: Verbosity) -> String {
    let mut text = files(inspection, verbosity);
    text.push_str("\ncolumns:\n");
    text.push_str(&columns(inspection, profiles));
    let facts = &inspection.facts;
    if facts.has_labels() {
        let classes: Vec<String> = facts
            .classes
            .iter()
            .zip(&facts.class_counts)
            .take(MAX_FILES)
            .map(|(class, count)| format!("{} ({count})", terminal(&redact(class))))
            .collect();
        let more = facts.classes.len().saturating_sub(MAX_FILES);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        text.push_str(&format!("\nclasses: {}{more}\n", classes.join(", ")));
    }
    text.push_str("\ndetectors:\n");
    text.push_str(&detectors(inspection));
    text
}

fn files(inspection: &Inspection, verbosity: Verbosity) -> String {
    let dataset = &inspection.dataset;
    let bytes: u64 = dataset.files().iter().map(|file| file.input.bytes).sum();
    let mut text = format!(
        "{} file(s), {} records, {}\n",
        dataset.files().len(),
        dataset.n_rows(),
        indicatif::HumanBytes(bytes)
    );
    let limit = if verbosity == Verbosity::Verbose {
        usize::MAX
    } else {
        MAX_FILES
    };
    let rows: Vec<Vec<String>> = dataset
        .files()
        .iter()
        .take(limit)
        .map(|file| {
            vec![
                terminal(&file.input.relative),
                file.input.format.name().to_owned(),
                match (&file.problem, file.rows) {
                    (Some(problem), _) => format!("unreadable: {}", terminal(&redact(problem))),
                    (None, rows) => format!("{} records", rows.unwrap_or(0)),
                },
                format!("{} row group(s)", file.row_groups),
            ]
        })
        .collect();
    text.push_str(&table(&rows));
    if dataset.files().len() > limit {
        text.push_str(&format!(
            "  … and {} more (-v lists all)\n",
            dataset.files().len() - limit
        ));
    }
    for skipped in &inspection.skipped {
        text.push_str(&format!(
            "  passed over: {} ({})\n",
            terminal(&skipped.path),
            terminal(&skipped.reason)
        ));
    }
    text
}

fn columns(inspection: &Inspection, profiles: &[ColumnProfile]) -> String {
    let mut rows = vec![
        [
            "name",
            "type",
            "role",
            "nulls",
            "distinct",
            "values",
            "why this role",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for column in &inspection.facts.columns {
        let profile = profiles.iter().find(|profile| profile.name == column.name);
        let nulls = profile.map_or(0.0, |profile| {
            100.0 * profile.nulls as f64 / profile.records.max(1) as f64
        });
        rows.push(vec![
            terminal(&column.name),
            terminal(&column.data_type).chars().take(24).collect(),
            column.role.name().to_owned(),
            format!("{nulls:.1}%"),
            profile
                .and_then(|profile| profile.distinct)
                .map_or_else(|| "-".to_owned(), |distinct| distinct.to_string()),
            profile.map(values).unwrap_or_default(),
            terminal(&redact(&column.reason)),
        ]);
    }
    table(&rows)
}

/// The values of a column in a few words.
fn values(profile: &ColumnProfile) -> String {
    let clip = |text: &str| -> String {
        // Before it is cut: half a secret is no longer known as one.
        let text = terminal(&redact(text));
        if text.chars().count() > 18 {
            text.chars().take(17).chain(['…']).collect()
        } else {
            text
        }
    };
    if let (Some(min), Some(median), Some(max)) = (&profile.min, profile.median, &profile.max) {
        return format!("{} … {median:.4} … {}", clip(min), clip(max));
    }
    if let Some((value, count)) = profile.top.first() {
        return format!("most often {} ({count})", clip(value));
    }
    profile
        .mean_length
        .map(|length| format!("mean length {length:.1}"))
        .unwrap_or_default()
}

fn detectors(inspection: &Inspection) -> String {
    let mut rows: Vec<Vec<String>> = inspection
        .plan
        .detectors
        .iter()
        .map(|planned| {
            let spec = planned.detector.spec();
            vec![
                spec.id.to_owned(),
                "runs".to_owned(),
                spec.summary.to_owned(),
            ]
        })
        .chain(inspection.plan.passed_over.iter().map(|over| {
            let status = match over.status {
                DetectorStatus::Skipped => "left out",
                _ => "does not apply",
            };
            vec![
                over.id.to_owned(),
                status.to_owned(),
                terminal(&redact(&over.reason)),
            ]
        }))
        .collect();
    rows.sort();
    table(&rows)
}

fn machine(inspection: &Inspection, profiles: &[ColumnProfile]) -> Value {
    let masked = |value: Value| Redactor::default().redact_value(value);
    let dataset = &inspection.dataset;
    let files: Vec<Value> = dataset
        .files()
        .iter()
        .map(|file| {
            json!({
                "path": file.input.relative,
                "format": file.input.format.name(),
                "bytes": file.input.bytes,
                "records": file.rows,
                "row_groups": file.row_groups,
                "problem": file.problem.as_deref().map(redact),
            })
        })
        .collect();
    let runs: Vec<&str> = inspection
        .plan
        .detectors
        .iter()
        .map(|planned| planned.detector.spec().id)
        .collect();
    let passed_over: Vec<Value> = inspection
        .plan
        .passed_over
        .iter()
        .map(|over| json!({"id": over.id, "status": over.status, "reason": over.reason}))
        .collect();
    json!({
        "records": dataset.n_rows(),
        "files": files,
        "skipped": inspection.skipped,
        "facts": masked(json!(*inspection.facts)),
        "profiles": masked(json!(profiles)),
        "detectors": {"run": runs, "passed_over": passed_over},
    })
}
