//! The campaigns of the sample report.

use lazaretto_core::Severity;
use lazaretto_core::report::{CampaignReport, DetectorEvidence, GroupCount};

pub(super) fn campaigns() -> Vec<CampaignReport> {
    vec![
        campaign("C001", Severity::Critical, 14, &["F001"], "text-surface"),
        CampaignReport {
            title: "2 findings of near-duplicates and text-trigger about 51 records, most of them \
                    from source `partner-feed-7`, aimed at class `positive`; the strongest: Token \
                    `cf` in 41 records, all labelled `positive`"
                .to_owned(),
            target_class: Some("positive".to_owned()),
            sources: vec![GroupCount {
                name: "partner-feed-7".to_owned(),
                records: 48,
            }],
            time_span: Some((
                "2026-03-02 04:11:09".to_owned(),
                "2026-03-02 04:26:51".to_owned(),
            )),
            links: vec!["source `partner-feed-7`".to_owned()],
            ..campaign(
                "C002",
                Severity::High,
                51,
                &["F002", "F003"],
                "text-trigger",
            )
        },
    ]
}

fn campaign(
    id: &str,
    severity: Severity,
    n_records: u64,
    findings: &[&str],
    detector: &str,
) -> CampaignReport {
    CampaignReport {
        id: id.to_owned(),
        title: format!("{n_records} records carry text in <i>hidden</i> characters: `<b>`"),
        severity,
        confidence: 0.999_999,
        n_records,
        held: n_records,
        target_class: None,
        labels: Vec::new(),
        sources: Vec::new(),
        time_span: None,
        links: Vec::new(),
        findings: findings.iter().map(|id| (*id).to_owned()).collect(),
        detectors: vec![DetectorEvidence {
            id: detector.to_owned(),
            findings: findings.len() as u64,
            records: n_records,
            p_value: 1e-9,
        }],
        suggestion: "train without these records until a person has seen them".to_owned(),
        taxonomy: vec!["AML.T0020".to_owned()],
    }
}
