//! The end of `lazaretto scan` on a terminal: verdict, counts, the top findings, where to look.

use std::fmt::Write as _;

use lazaretto_core::Severity;
use lazaretto_core::report::{DetectorStatus, FindingReport, GateStatus, Report};

use crate::inert::{line, shorten};
use crate::power::Power;
use crate::wording;

/// Campaigns of several findings that are written out.
const MAX_CAMPAIGNS: usize = 2;
/// Findings that are written out.
const MAX_FINDINGS: usize = 6;
/// Reasons of the gate and unscanned files that are written out.
const MAX_REASONS: usize = 4;
/// Longest line of text from the report, in characters.
const MAX_LINE: usize = 160;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const YELLOW: &str = "33";
const BOLD_RED: &str = "1;31";
const BOLD_GREEN: &str = "1;32";
const BOLD_YELLOW: &str = "1;33";

struct Paint(bool);

impl Paint {
    fn apply(&self, style: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1B}[{style}m{text}\u{1B}[0m")
        } else {
            text.to_owned()
        }
    }
}

pub(crate) fn report(report: &Report, color: bool) -> String {
    let paint = Paint(color);
    let mut out = String::new();
    verdict(&mut out, report, &paint);
    campaigns(&mut out, report, &paint);
    findings(&mut out, report, &paint);
    review(&mut out, report, &paint);
    power(&mut out, report, &paint);
    unscanned(&mut out, report, &paint);
    detectors(&mut out, report, &paint);
    where_to_look(&mut out, report, &paint);
    out
}

fn verdict(out: &mut String, report: &Report, paint: &Paint) {
    let (style, sign) = match report.gate.status {
        GateStatus::Passed => (BOLD_GREEN, "✓"),
        GateStatus::Failed => (BOLD_RED, "✗"),
        GateStatus::Incomplete => (BOLD_YELLOW, "!"),
    };
    let headline = format!("{sign} {}", wording::headline(report));
    let _ = writeln!(out, "{}", paint.apply(style, &headline));
    if !report.gate.summary.is_empty() {
        let _ = writeln!(out, "  {}", text(&report.gate.summary));
    }
    for reason in report.gate.reasons.iter().take(MAX_REASONS) {
        let _ = writeln!(out, "  {} {}", paint.apply(DIM, "because"), text(reason));
    }
    more(out, report.gate.reasons.len(), MAX_REASONS, "reason", paint);
}

/// Causes with several findings; the others are told by their one finding.
fn campaigns(out: &mut String, report: &Report, paint: &Paint) {
    let joined: Vec<_> = report
        .campaigns
        .iter()
        .filter(|campaign| campaign.findings.len() > 1)
        .collect();
    if joined.is_empty() {
        return;
    }
    let title = wording::counted(report.campaigns.len() as u64, "campaign");
    let _ = writeln!(out, "\n{}", paint.apply(BOLD, &title));
    for campaign in joined.iter().take(MAX_CAMPAIGNS) {
        let _ = writeln!(out, "  {} {}", text(&campaign.id), text(&campaign.title));
        let facts = format!(
            "{} · next: {}",
            wording::held_of(campaign),
            campaign.suggestion
        );
        let _ = writeln!(out, "       {}", paint.apply(DIM, &text(&facts)));
    }
    more(out, joined.len(), MAX_CAMPAIGNS, "campaign", paint);
}

fn findings(out: &mut String, report: &Report, paint: &Paint) {
    if report.findings.is_empty() {
        return;
    }
    let title = format!(
        "{} ({})",
        wording::counted(report.findings.len() as u64, "finding"),
        wording::severities(&report.findings)
    );
    let _ = writeln!(out, "\n{}", paint.apply(BOLD, &title));
    for finding in report.findings.iter().take(MAX_FINDINGS) {
        one_finding(out, finding, paint);
    }
    more(out, report.findings.len(), MAX_FINDINGS, "finding", paint);
}

fn one_finding(out: &mut String, finding: &FindingReport, paint: &Paint) {
    let style = match finding.severity {
        Severity::Critical | Severity::High => RED,
        Severity::Medium => YELLOW,
        Severity::Low | Severity::Info => DIM,
    };
    let severity = paint.apply(style, &format!("{:<8}", finding.severity));
    let _ = writeln!(
        out,
        "  {severity} {}  {}",
        text(&finding.id),
        text(&finding.title)
    );
    let facts = format!(
        "{} · {} · p {}",
        text(&finding.detector),
        wording::outcome(finding.n_records, finding.action),
        wording::p_value(finding.p_value),
    );
    let _ = writeln!(out, "           {}", paint.apply(DIM, &facts));
}

fn review(out: &mut String, report: &Report, paint: &Paint) {
    if let Some(review) = &report.review {
        let _ = writeln!(out, "\n{}", paint.apply(BOLD, "Review list"));
        let _ = writeln!(out, "  {} (review.parquet)", wording::review(review));
    }
}

fn power(out: &mut String, report: &Report, paint: &Paint) {
    let Some(power) = report.power.as_ref().map(Power::new) else {
        return;
    };
    let title = "Spike test: share of planted records that would have been held back";
    let _ = writeln!(out, "\n{}", paint.apply(BOLD, title));
    for row in &power.rows {
        let _ = writeln!(out, "  {}", text(&power.line(row)));
    }
    let note = line(&power.sentence);
    let _ = writeln!(out, "  {}", paint.apply(DIM, &note));
}

fn unscanned(out: &mut String, report: &Report, paint: &Paint) {
    let files: Vec<_> = report
        .dataset
        .files
        .iter()
        .filter_map(|file| Some((file, file.unscanned_reason.as_ref()?)))
        .collect();
    if files.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", paint.apply(BOLD, "Unscanned"));
    for (file, reason) in files.iter().take(MAX_REASONS) {
        let _ = writeln!(out, "  {}: {}", text(&file.path), text(reason));
    }
    more(out, files.len(), MAX_REASONS, "file", paint);
}

fn detectors(out: &mut String, report: &Report, paint: &Paint) {
    let with = |wanted: DetectorStatus| -> Vec<String> {
        report
            .detectors
            .iter()
            .filter(|detector| detector.status == wanted)
            .map(|detector| match &detector.diagnosis {
                Some(diagnosis) => format!(
                    "{} (not calibrated: {})",
                    text(&detector.id),
                    text(diagnosis)
                ),
                None => text(&detector.id),
            })
            .collect()
    };
    out.push('\n');
    for (status, name) in [
        (DetectorStatus::Ran, "Ran"),
        (DetectorStatus::Abstained, "Abstained"),
        (DetectorStatus::NotApplicable, "Not applicable"),
        (DetectorStatus::Skipped, "Skipped"),
    ] {
        let ids = with(status);
        if !ids.is_empty() || status == DetectorStatus::Ran {
            let list = if ids.is_empty() {
                "none".to_owned()
            } else {
                ids.join(", ")
            };
            let list = shorten(&list, 2 * MAX_LINE).into_owned();
            let _ = writeln!(out, "{} {list}", paint.apply(DIM, &format!("{name:<15}")));
        }
    }
}

fn where_to_look(out: &mut String, report: &Report, paint: &Paint) {
    let counts = &report.counts;
    out.push('\n');
    let mut row = |place: &str, what: &str| {
        let _ = writeln!(out, "{} {what}", paint.apply(BOLD, &format!("{place:<15}")));
    };
    row("report.html", "the evidence, to read in a browser");
    row(
        "clean/",
        &format!("{} that passed", wording::counted(counts.pass, "record")),
    );
    if counts.quarantine > 0 {
        row(
            "quarantine/",
            &format!(
                "{} held back, with their findings",
                wording::counted(counts.quarantine, "record")
            ),
        );
    }
    if counts.unscanned > 0 || counts.unscanned_files > 0 {
        row("unscanned/", "what could not be judged, as it was");
    }
}

fn more(out: &mut String, total: usize, shown: usize, noun: &str, paint: &Paint) {
    if total > shown {
        let rest = wording::counted((total - shown) as u64, &format!("more {noun}"));
        let _ = writeln!(
            out,
            "  {}",
            paint.apply(DIM, &format!("… and {rest} in report.html"))
        );
    }
}

fn text(text: &str) -> String {
    line(&shorten(text, MAX_LINE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_summary_of_a_failed_gate() {
        insta::assert_snapshot!(super::report(&sample::report(), false));
    }

    #[test]
    fn the_summary_without_findings_names_the_detectors() {
        let text = super::report(&sample::quiet_report(), false);
        assert!(
            text.starts_with("✓ 0 of 6,920 records held back · gate passed\n"),
            "{text}"
        );
        assert!(text.contains("no finding by detectors"), "{text}");
        assert!(!text.contains("is clean"), "{text}");
        assert!(!text.contains("quarantine/"), "{text}");
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let mut plain = super::report(&sample::report(), true);
        assert!(plain.contains("\u{1B}[1;31m✗"));
        for style in [
            BOLD,
            DIM,
            RED,
            YELLOW,
            BOLD_RED,
            BOLD_GREEN,
            BOLD_YELLOW,
            "0",
        ] {
            plain = plain.replace(&format!("\u{1B}[{style}m"), "");
        }
        assert_eq!(plain, super::report(&sample::report(), false));
    }

    #[test]
    fn many_findings_reasons_and_files_stay_within_a_screen() {
        let mut report = sample::report();
        report.gate.status = GateStatus::Incomplete;
        report.gate.reasons = vec!["one more reason".to_owned(); 50];
        report.findings = report.findings.iter().cycle().take(500).cloned().collect();
        for file in &mut report.dataset.files {
            file.unscanned_reason = Some("cut off in row group 1".to_owned());
        }
        let text = super::report(&report, false);
        // The review list and the spike test are there because somebody asked for them.
        assert!(text.lines().count() <= 48, "{}", text.lines().count());
        assert!(
            text.contains("… and 494 more findings in report.html"),
            "{text}"
        );
        assert!(
            text.contains("split=train/late.csv: cut off in row group 1"),
            "{text}"
        );
    }
}
