//! Reports: what a scan found, in the formats that people, CI systems and code hosts read.
//!
//! Each function turns a [`Report`] into one text. All are pure: the same report gives the same
//! bytes, there is no time, host name or path in them, and no input makes them panic. Text from the
//! data is inert in every format (escaped, and with invisible characters written out), since a
//! poisoned dataset may try to attack the reader of its own report.
//!
//! Not here: deciding anything, writing files, and printing.
//!
//! ```
//! # fn show(report: &lazaretto_core::report::Report) {
//! let page = lazaretto_report::html(report);
//! assert!(page.starts_with("<!DOCTYPE html>"));
//! # }
//! ```

mod explanation;
mod highlight;
mod histogram;
mod human;
mod inert;
mod json;
mod junit;
mod markdown;
mod page;
mod power;
#[cfg(test)]
mod sample;
mod sarif;
#[cfg(test)]
mod tests;
mod wording;

pub use self::inert::is_hidden;

use lazaretto_core::explanation::Explanation;
use lazaretto_core::report::Report;

/// `report.json`: the whole report, indented, with a stable order of keys and a final line break.
///
/// Valid against [`schema`] as long as all numbers of the report are finite.
#[must_use]
pub fn json(report: &Report) -> String {
    json::report(report)
}

/// Any value as JSON, indented and with a final line break, in which no character acts on a terminal.
#[must_use]
pub fn value_json(value: &serde_json::Value) -> String {
    json::pretty(value)
}

/// The JSON Schema of [`json()`], indented and with a final line break.
#[must_use]
pub fn schema() -> String {
    json::schema()
}

/// `report.md`: the report in GitHub-flavoured Markdown, for pull requests and job summaries.
///
/// At most 20 findings and 10 records are written out; the rest is counted.
#[must_use]
pub fn markdown(report: &Report) -> String {
    markdown::report(report)
}

/// `report.html`: one page without any outside resource, readable without scripts, on paper, on a
/// small screen, in light and dark.
///
/// At most 60 findings get a card; the rest is counted and found in `report.json`.
#[must_use]
pub fn html(report: &Report) -> String {
    page::report(report)
}

/// `report.sarif`: SARIF 2.1.0 with one rule per detector and one result per finding.
///
/// A result points at example records: the file as its artifact, the record as a logical location.
/// Findings that the policy left for review have the kind `review`. At most 5,000 results.
#[must_use]
pub fn sarif(report: &Report) -> String {
    sarif::report(report)
}

/// `junit.xml`: a test case per detector, per unscanned file, and for the gate.
///
/// A detector fails when records were held back for its findings, and is skipped when it did not
/// run; what could not be scanned is an error.
#[must_use]
pub fn junit(report: &Report) -> String {
    junit::report(report)
}

/// The end of `lazaretto scan` on a terminal, at most about 30 lines; a review list and a spike test, where
/// they were asked for, add about ten.
///
/// With `color` it carries ANSI colours; none of the data's own escape sequences survive.
#[must_use]
pub fn human(report: &Report, color: bool) -> String {
    human::report(report, color)
}

/// `lazaretto explain` on a terminal. With `color` it carries ANSI colours, and nothing else acts.
#[must_use]
pub fn explanation(explanation: &Explanation, color: bool) -> String {
    explanation::human(explanation, color)
}

/// `lazaretto explain --format json`; valid against [`explanation_schema`].
#[must_use]
pub fn explanation_json(explanation: &Explanation) -> String {
    explanation::json(explanation)
}

/// The JSON Schema of [`explanation_json`].
#[must_use]
pub fn explanation_schema() -> String {
    explanation::schema()
}

/// Text from data as it may stand in a line of terminal output: control, escape, bidi and
/// invisible characters are spelt out.
#[must_use]
pub fn terminal(text: &str) -> String {
    inert::line(text)
}
