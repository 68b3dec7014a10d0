//! Numbers and sentences as all reports write them.
//!
//! One rule stands above the rest: no report calls data clean. A run without findings says which
//! detectors looked, and at which false-discovery rate.

use lazaretto_core::report::{
    CampaignReport, DetectorReport, DetectorStatus, FindingReport, GateStatus, GroupCount, Report,
    ReviewReport,
};
use lazaretto_core::{Action, Severity};
use serde_json::Value;

use crate::inert::shorten;

/// Most elements of a list that are written out.
const MAX_LISTED: usize = 8;
/// Longest text from the data in a sentence or a number cell, in characters.
pub(crate) const MAX_NAME: usize = 120;

/// `6920` as `6,920`.
pub(crate) fn count(number: u64) -> String {
    grouped(&number.to_string())
}

/// Decimal digits in groups of three.
fn grouped(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 record`, `6,920 records`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// `part` of `whole` in percent, with digits for small shares and never a misleading `0 %`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    share(part as f64 / whole as f64)
}

/// A share in `0..=1` as a percentage.
pub(crate) fn share(share: f64) -> String {
    let value = share * 100.0;
    if !value.is_finite() {
        "–".to_owned()
    } else if value <= 0.0 {
        "0 %".to_owned()
    } else if value < 0.01 {
        "<0.01 %".to_owned()
    } else if value < 1.0 {
        format!("{} %", trimmed(format!("{value:.2}")))
    } else if value < 10.0 {
        format!("{} %", trimmed(format!("{value:.1}")))
    } else if value < 100.0 && value > 99.5 {
        ">99.5 %".to_owned()
    } else {
        format!("{value:.0} %")
    }
}

/// A p-value or q-value: three digits, two significant ones when small, or a power of ten.
pub(crate) fn p_value(value: f64) -> String {
    if value.is_nan() {
        "–".to_owned()
    } else if value >= 0.01 {
        trimmed(format!("{value:.3}"))
    } else if value >= 0.000_1 {
        number((value * 1e6).round() / 1e6)
    } else if value < 1e-300 {
        "<1e-300".to_owned()
    } else {
        format!("{value:.1e}").replace(".0e", "e")
    }
}

/// A number with four significant digits, whole numbers in full.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".to_owned()
    } else if value.fract() == 0.0 && size < 1e15 {
        let sign = if value < 0.0 { "−" } else { "" };
        format!("{sign}{}", grouped(&format!("{size:.0}")))
    } else if (1e-4..1e6).contains(&size) {
        let decimals = [1_000.0, 100.0, 10.0, 1.0, 0.1, 0.01, 0.001]
            .iter()
            .take_while(|bound| size < **bound)
            .count();
        let sign = if value < 0.0 { "−" } else { "" };
        format!("{sign}{}", trimmed(format!("{size:.decimals$}")))
    } else {
        format!("{value:.2e}")
    }
}

fn trimmed(text: String) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A size in bytes, in decimal units.
pub(crate) fn bytes(size: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if size < 1_000 {
        return counted(size, "byte");
    }
    let mut value = size as f64 / 1_000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1_000.0;
        unit += 1;
    }
    let decimals = usize::from(value < 99.5);
    format!("{} {}", trimmed(format!("{value:.decimals$}")), UNITS[unit])
}

/// A name such as `median_margin` in words.
pub(crate) fn words(name: &str) -> String {
    shorten(name, MAX_NAME).replace('_', " ")
}

/// A piece of evidence or a parameter. Text in it is from the data: not escaped here.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(inner) => match (inner.as_u64(), inner.as_f64()) {
            (Some(whole), _) => count(whole),
            (None, Some(real)) => number(real),
            (None, None) => inner.to_string(),
        },
        Value::String(text) => shorten(text, MAX_NAME).into_owned(),
        Value::Array(items) => listed(items.iter().map(self::value), items.len()),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            let total = fields.len();
            listed(
                fields
                    .into_iter()
                    .map(|(name, inner)| format!("{}: {}", words(name), self::value(inner))),
                total,
            )
        }
    }
}

fn listed(items: impl Iterator<Item = String>, total: usize) -> String {
    let mut shown: Vec<String> = items.take(MAX_LISTED).collect();
    if total > MAX_LISTED {
        shown.push(format!("… and {} more", count((total - MAX_LISTED) as u64)));
    }
    if shown.is_empty() {
        "none".to_owned()
    } else {
        shorten(&shown.join(", "), 4 * MAX_NAME).into_owned()
    }
}

/// The parts of a sentence of ours: text from the data stands between backticks (`true`).
///
/// An unpaired backtick, which only data can bring in, is an ordinary character.
pub(crate) fn quoted(sentence: &str) -> Vec<(bool, &str)> {
    let mut parts = Vec::new();
    let mut rest = sentence;
    while let Some(open) = rest.find('`') {
        let inner = &rest[open + 1..];
        let Some(close) = inner.find('`') else { break };
        if open > 0 {
            parts.push((false, &rest[..open]));
        }
        if close > 0 {
            parts.push((true, &inner[..close]));
        }
        rest = &inner[close + 1..];
    }
    if !rest.is_empty() {
        parts.push((false, rest));
    }
    parts
}

/// The outcome as two words.
pub(crate) fn gate(status: GateStatus) -> &'static str {
    match status {
        GateStatus::Passed => "gate passed",
        GateStatus::Failed => "gate failed",
        GateStatus::Incomplete => "gate incomplete",
    }
}

/// The first line of all reports: `69 of 6,920 records held back · gate failed`.
pub(crate) fn headline(report: &Report) -> String {
    let counts = &report.counts;
    let mut parts = vec![format!(
        "{} of {} held back",
        count(counts.quarantine),
        counted(counts.records, "record")
    )];
    if counts.unscanned > 0 {
        parts.push(format!("{} unscanned", counted(counts.unscanned, "record")));
    } else if counts.unscanned_files > 0 {
        parts.push(format!(
            "{} unscanned",
            counted(counts.unscanned_files, "file")
        ));
    }
    parts.push(gate(report.gate.status).to_owned());
    parts.join(" · ")
}

/// What the absence of findings means, or how many there are.
pub(crate) fn findings_sentence(report: &Report) -> String {
    let ran: Vec<&str> = report
        .detectors
        .iter()
        .filter(|detector| detector.status == DetectorStatus::Ran)
        .map(|detector| detector.id.as_str())
        .collect();
    let by = match ran.len() {
        0 => "no detector ran".to_owned(),
        1 => format!("1 detector ran ({})", ran[0]),
        n => format!("{n} detectors ran ({})", ran.join(", ")),
    };
    let fdr = share(report.settings.fdr);
    if report.findings.is_empty() {
        format!("No finding at a false-discovery rate of {fdr}; {by}.")
    } else {
        let held = report
            .findings
            .iter()
            .filter(|finding| finding.action == Action::Quarantine)
            .count() as u64;
        let total = report.findings.len() as u64;
        format!(
            "{}, {} of them with records held back, at a false-discovery rate of {fdr}; {by}.",
            counted(total, "finding"),
            count(held)
        )
    }
}

/// `69 of 80 records held back`, or `69 records held back`.
pub(crate) fn held_of(campaign: &CampaignReport) -> String {
    let all = counted(campaign.n_records, "record");
    if campaign.held == campaign.n_records {
        format!("{all} held back")
    } else {
        format!("{} of {all} held back", count(campaign.held))
    }
}

/// What is known about a campaign, in short sentences with text from the data between backticks.
pub(crate) fn campaign_facts(campaign: &CampaignReport) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(class) = &campaign.target_class {
        facts.push(format!("aims at class `{class}`"));
    }
    let most = |source: &&GroupCount| 2 * source.records > campaign.n_records;
    if let Some(source) = campaign.sources.first().filter(most) {
        let share = percent(source.records, campaign.n_records);
        facts.push(format!("{share} from source `{}`", source.name));
    }
    if let Some((first, last)) = &campaign.time_span {
        facts.push(format!("first seen {first}, last seen {last}"));
    }
    let detectors = campaign.detectors.iter().map(|detector| {
        let findings = counted(detector.findings, "finding");
        format!(
            "{} {findings}, p {}",
            detector.id,
            p_value(detector.p_value)
        )
    });
    facts.extend(detectors);
    if !campaign.links.is_empty() {
        facts.push(format!("in common: {}", campaign.links.join(", ")));
    }
    facts
}

/// The review list in a sentence.
pub(crate) fn review(review: &ReviewReport) -> String {
    let mut parts = Vec::new();
    if review.by_findings > 0 {
        parts.push(format!(
            "{} by findings (about {})",
            count(review.by_findings),
            share(review.by_findings_error)
        ));
    }
    if review.by_scores > 0 {
        parts.push(format!(
            "{} by their own scores (at most {})",
            count(review.by_scores),
            share(review.by_scores_error)
        ));
    }
    format!(
        "{} to review, of them {} held back; expected share of innocents {}: {}",
        counted(review.listed, "record"),
        count(review.held),
        share(review.expected_error),
        parts.join(", ")
    )
}

/// What the policy did with the records of a finding.
pub(crate) fn action(action: Action) -> &'static str {
    match action {
        Action::Quarantine => "held back",
        Action::Review => "for review",
        Action::Fail => "fails the gate",
    }
}

/// What became of the records of a finding; one about files alone has none.
pub(crate) fn outcome(n_records: u64, action: Action) -> String {
    match (n_records, action) {
        (0, _) => self::action(action).to_owned(),
        (_, Action::Fail) => format!("{} let pass, the gate fails", counted(n_records, "record")),
        _ => format!("{} {}", counted(n_records, "record"), self::action(action)),
    }
}

/// What became of a detector.
pub(crate) fn status(status: DetectorStatus) -> &'static str {
    match status {
        DetectorStatus::Ran => "ran",
        DetectorStatus::NotApplicable => "not applicable",
        DetectorStatus::Abstained => "abstained",
        DetectorStatus::Skipped => "skipped",
    }
}

/// Why a detector did not run, in words.
pub(crate) fn note(detector: &DetectorReport) -> String {
    detector
        .note
        .clone()
        .unwrap_or_else(|| status(detector.status).to_owned())
}

/// `1 critical, 2 high`: findings by severity, the worst first.
pub(crate) fn severities(findings: &[FindingReport]) -> String {
    let parts: Vec<String> = Severity::ALL
        .into_iter()
        .rev()
        .filter_map(|severity| {
            let number = findings
                .iter()
                .filter(|finding| finding.severity == severity)
                .count();
            (number > 0).then(|| format!("{} {severity}", count(number as u64)))
        })
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(percent(69, 6_920), "1 %");
        assert_eq!(percent(1, 1_000_000), "<0.01 %");
        assert_eq!(percent(0, 10), "0 %");
        assert_eq!(percent(1, 0), "–");
        assert_eq!(percent(9_999, 10_000), ">99.5 %");
        assert_eq!(percent(52, 100), "52 %");
        assert_eq!(p_value(0.05), "0.05");
        assert_eq!(p_value(1.0), "1");
        assert_eq!(p_value(0.001_234_5), "0.001235");
        assert_eq!(p_value(1e-9), "1e-9");
        assert_eq!(p_value(3.21e-12), "3.2e-12");
        assert_eq!(p_value(f64::MIN_POSITIVE), "<1e-300");
        assert_eq!(p_value(f64::NAN), "–");
        assert_eq!(number(-6.25), "−6.25");
        assert_eq!(number(0.123_456), "0.1235");
        assert_eq!(number(1_234.567), "1235");
        assert_eq!(number(f64::INFINITY), "–");
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(bytes(999_999), "1 MB");
        assert_eq!(bytes(u64::MAX), "18447 PB");
    }

    #[test]
    fn evidence_of_any_shape_is_written_out() {
        let list: Vec<u64> = (0..20).collect();
        assert_eq!(value(&list.into()), "0, 1, 2, 3, 4, 5, 6, 7, … and 12 more");
        assert_eq!(
            value(&serde_json::json!({"b": 1.5, "a_b": null})),
            "a b: –, b: 1.5"
        );
        assert_eq!(value(&serde_json::json!([])), "none");
    }

    #[test]
    fn backticks_split_sentences_and_unpaired_ones_stay() {
        assert_eq!(
            quoted("Token `cf` in `a`"),
            [
                (false, "Token "),
                (true, "cf"),
                (false, " in "),
                (true, "a")
            ]
        );
        assert_eq!(quoted("it`s"), [(false, "it`s")]);
        assert_eq!(quoted("``x"), [(false, "x")]);
    }
}
