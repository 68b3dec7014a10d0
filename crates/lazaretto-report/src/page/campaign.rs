//! A campaign as the page shows it: the cause, what it rests on, what to do next.

use lazaretto_core::report::CampaignReport;

use crate::wording;

/// Findings of a campaign that are linked.
const MAX_LINKED: usize = 40;

/// A campaign.
pub(super) struct Campaign<'a> {
    pub(super) report: &'a CampaignReport,
    pub(super) held: String,
    pub(super) confidence: String,
    /// Short sentences; text from the data between backticks.
    pub(super) facts: Vec<String>,
    pub(super) findings: &'a [String],
    pub(super) more_findings: usize,
}

impl<'a> Campaign<'a> {
    pub(super) fn new(report: &'a CampaignReport) -> Self {
        let shown = report.findings.len().min(MAX_LINKED);
        Self {
            report,
            held: wording::held_of(report),
            confidence: wording::share(report.confidence),
            facts: wording::campaign_facts(report),
            findings: &report.findings[..shown],
            more_findings: report.findings.len() - shown,
        }
    }
}
