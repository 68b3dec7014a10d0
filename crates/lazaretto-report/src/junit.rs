//! `junit.xml`, for CI systems that show test results.

use lazaretto_core::Action;
use lazaretto_core::report::{DetectorReport, DetectorStatus, FindingReport, GateStatus, Report};
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use crate::inert::{line, shorten, xml};
use crate::wording::{self, MAX_NAME};

/// Findings of a detector that are written out.
const MAX_FINDINGS: usize = 50;
/// Longest sentence, in characters.
const MAX_TEXT: usize = 600;

pub(crate) fn report(report: &Report) -> String {
    let mut out = quick_junit::Report::new(format!("lazaretto {}", name(&report.dataset.name)));
    out.add_test_suite(gate(report));
    out.add_test_suite(detectors(report));
    if report.counts.unscanned_files > 0 || report.counts.unscanned > 0 {
        out.add_test_suite(unscanned(report));
    }
    let text = out
        .to_string()
        .expect("a report without times and with legal characters serialises");
    if text.ends_with('\n') {
        text
    } else {
        text + "\n"
    }
}

fn gate(report: &Report) -> TestSuite {
    let mut suite = TestSuite::new("lazaretto.gate");
    for (name, value) in [
        ("records", report.counts.records),
        ("pass", report.counts.pass),
        ("quarantine", report.counts.quarantine),
        ("unscanned", report.counts.unscanned),
    ] {
        suite.add_property((name, value.to_string().as_str()));
    }
    suite.add_property((
        "pipeline_hash",
        name(&report.settings.pipeline_hash).as_str(),
    ));
    suite.add_property(("seed", report.settings.seed.to_string().as_str()));
    let kind = match report.gate.status {
        GateStatus::Passed => None,
        GateStatus::Failed => Some(NonSuccessKind::Failure),
        GateStatus::Incomplete => Some(NonSuccessKind::Error),
    };
    let mut status = kind.map_or_else(TestCaseStatus::success, TestCaseStatus::non_success);
    if kind.is_some() {
        status.set_message(wording::headline(report));
        status.set_type("policy");
        let mut lines = vec![paragraph(&report.gate.summary)];
        lines.extend(report.gate.reasons.iter().map(|reason| paragraph(reason)));
        status.set_description(lines.join("\n"));
    }
    let mut case = TestCase::new("policy", status);
    case.set_classname("lazaretto.gate");
    case.set_system_out(paragraph(&wording::findings_sentence(report)));
    suite.add_test_case(case);
    suite
}

fn detectors(report: &Report) -> TestSuite {
    let mut suite = TestSuite::new("lazaretto.detectors");
    for detector in &report.detectors {
        let status = match detector.status {
            DetectorStatus::Ran => ran(report, detector),
            DetectorStatus::NotApplicable | DetectorStatus::Abstained | DetectorStatus::Skipped => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(format!(
                    "{}: {}",
                    wording::status(detector.status),
                    line(&shorten(&wording::note(detector), MAX_TEXT))
                ));
                status
            }
        };
        let mut case = TestCase::new(name(&detector.id), status);
        case.set_classname(format!("lazaretto.{}", name(&detector.family)));
        suite.add_test_case(case);
    }
    suite
}

fn ran(report: &Report, detector: &DetectorReport) -> TestCaseStatus {
    let held: Vec<&FindingReport> = report
        .findings
        .iter()
        .filter(|finding| finding.detector == detector.id && finding.action != Action::Review)
        .collect();
    let Some(first) = held.first() else {
        return TestCaseStatus::success();
    };
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    let title = line(&shorten(&first.title, MAX_TEXT));
    status.set_message(match held.len() {
        1 => title,
        more => format!(
            "{title} (and {})",
            wording::counted(more as u64 - 1, "more finding")
        ),
    });
    status.set_type(name(&first.kind));
    let mut blocks: Vec<String> = held
        .iter()
        .take(MAX_FINDINGS)
        .map(|finding| block(finding))
        .collect();
    if held.len() > MAX_FINDINGS {
        blocks.push(format!("… and {} more", held.len() - MAX_FINDINGS));
    }
    status.set_description(blocks.join("\n\n"));
    status
}

fn block(finding: &FindingReport) -> String {
    let mut lines = vec![
        format!(
            "{} {}: {}",
            name(&finding.id),
            finding.severity,
            paragraph(&finding.title)
        ),
        format!(
            "{} · {} · p {}",
            wording::counted(finding.n_records, "record"),
            wording::action(finding.action),
            wording::p_value(finding.p_value)
        ),
    ];
    for example in &finding.examples {
        lines.push(format!(
            "  {} · {} · row group {} · row {}",
            name(&example.record_id),
            paragraph(&example.file),
            example.row_group,
            example.row
        ));
    }
    lines.join("\n")
}

fn unscanned(report: &Report) -> TestSuite {
    let mut suite = TestSuite::new("lazaretto.unscanned");
    for file in &report.dataset.files {
        let Some(reason) = &file.unscanned_reason else {
            continue;
        };
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(line(&shorten(reason, MAX_TEXT)));
        status.set_type("unscanned");
        let mut case = TestCase::new(line(&shorten(&file.path, MAX_TEXT)), status);
        case.set_classname("lazaretto.unscanned");
        suite.add_test_case(case);
    }
    if suite.test_cases.is_empty() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(format!(
            "{} unscanned",
            wording::counted(report.counts.unscanned, "record")
        ));
        status.set_type("unscanned");
        let mut case = TestCase::new("records", status);
        case.set_classname("lazaretto.unscanned");
        suite.add_test_case(case);
    }
    suite
}

fn name(text: &str) -> String {
    line(&shorten(text, MAX_NAME))
}

fn paragraph(text: &str) -> String {
    xml(&shorten(text, MAX_TEXT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_failed_gate_and_its_detectors() {
        insta::assert_snapshot!(super::report(&sample::report()));
    }

    #[test]
    fn review_findings_do_not_fail_a_detector() {
        let mut report = sample::report();
        for finding in &mut report.findings {
            finding.action = Action::Review;
        }
        report.gate.status = GateStatus::Passed;
        let text = super::report(&report);
        assert!(text.contains("failures=\"0\" errors=\"0\""), "{text}");
        assert_eq!(text.matches("<skipped").count(), 3);
    }

    #[test]
    fn unscanned_files_are_errors() {
        let mut report = sample::report();
        report.gate.status = GateStatus::Incomplete;
        report.counts.unscanned_files = 1;
        report.dataset.files[2].unscanned_reason =
            Some("line 7 has 9 fields, 5 expected".to_owned());
        let text = super::report(&report);
        assert!(
            text.contains("<error message=\"line 7 has 9 fields, 5 expected\" type=\"unscanned\""),
            "{text}"
        );
        assert!(
            text.contains("testcase name=\"split=train/late.csv\""),
            "{text}"
        );
        assert!(text.contains("errors=\"2\""), "{text}");
    }
}
