//! Bursts as findings.

use lazaretto_core::{Action, Finding, Severity};

use super::judge::{Class, Scale, Unbound};

/// Items of a burst that are quoted.
const QUOTED: usize = 5;
/// Bursts that get a finding of their own.
const MAX_FINDINGS: usize = 100;

/// Whether a burst holds its records back. A name alone may be what the dataset is about, and
/// plain words are how somebody speaks.
fn action(class: Class) -> Action {
    match class {
        Class::Loaded | Class::Address => Action::Quarantine,
        Class::Name | Class::Plain => Action::Review,
    }
}

/// A finding per burst. `speaks`: what a record is called.
pub(super) fn findings(bursts: &[(Unbound, f64)], scale: &Scale<'_>, speaks: &str) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (burst, p_value) in bursts.iter().take(MAX_FINDINGS) {
        let records = burst.all_records();
        // What is held back as a burst of phrases is not shown again as a name.
        let told = |known: &Finding| {
            let inside = |record: &&u64| known.records.binary_search(record).is_ok();
            2 * records.iter().filter(inside).count() > records.len()
        };
        if action(burst.class) == Action::Quarantine || !findings.iter().any(told) {
            findings.push(finding(burst, records, *p_value, scale, speaks));
        }
    }
    findings
}

fn finding(
    burst: &Unbound,
    records: Vec<u64>,
    p_value: f64,
    scale: &Scale<'_>,
    speaks: &str,
) -> Finding {
    let (kind, what) = match burst.class {
        Class::Loaded | Class::Plain => ("phrase-burst", "phrase"),
        Class::Address => ("address-burst", "address"),
        Class::Name => ("name-burst", "name"),
    };
    let mut quoted: Vec<String> = Vec::new();
    for written in &burst.written {
        if quoted.len() < QUOTED && !quoted.contains(written) {
            quoted.push(written.clone());
        }
    }
    let more = match quoted.len().saturating_sub(1) {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let title = format!(
        "the {what} `{}`{more} in {} {speaks} that have nothing else in common",
        quoted.first().map_or("", String::as_str),
        records.len(),
    );
    let action = action(burst.class);
    let severity = match action {
        Action::Quarantine | Action::Fail => Severity::High,
        Action::Review => Severity::Low,
    };
    let mut finding = Finding::new("content-burst", kind, severity, action, title, p_value)
        .with_records(records)
        .with_evidence("items", quoted.clone())
        .with_evidence("similarity_of_contexts", burst.togetherness)
        .with_evidence("standard_error", burst.error);
    if let Some(ordinary) = scale.ordinary {
        finding = finding.with_evidence("similarity_around_ordinary_phrases", ordinary);
    }
    finding.highlight = quoted;
    finding
}
