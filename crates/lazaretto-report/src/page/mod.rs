//! `report.html`: the page that people read.
//!
//! The report is turned into what each part of the page shows (here and in [`card`]); the
//! templates only lay it out. The page loads nothing: its content policy forbids all but its own
//! inline style and the one script whose hash it names.

mod campaign;
mod card;
mod filters;
mod review;

use askama::Template;
use lazaretto_core::report::{
    DetectorReport, DetectorStatus, GateStatus, GroupReport, RecordReport, Report, TagReport,
};

use self::campaign::Campaign;
use self::card::{Card, Example};
use self::review::Review;
use crate::histogram::{self, Chart};
use crate::inert::link;
use crate::power::Power;
use crate::wording;

/// Campaigns with a card.
const MAX_CAMPAIGNS: usize = 40;
/// Findings with a card.
const MAX_CARDS: usize = 60;
/// Records in the table.
const MAX_RECORDS: usize = 200;
/// Files, columns, classes and sources in their tables.
const MAX_ROWS: usize = 200;
/// p-values below this fill the whole bar.
const FULL_BAR_EXPONENT: f64 = 12.0;

/// The style of the page.
pub(crate) const STYLE: &str = include_str!("../../templates/report.css");
/// The script of the page.
pub(crate) const SCRIPT: &str = include_str!("../../templates/report.js");
/// SHA-256 of [`SCRIPT`] in base64, for the content policy. A test says the new one when stale.
const SCRIPT_HASH: &str = "bfmNsD1FS66A8Q9sZgGGmvHxVTaakghbluxyj8BLkNw=";

pub(crate) fn report(report: &Report) -> String {
    let page = Page::new(report);
    page.render()
        .expect("writing to a string does not fail, and no filter of the page does")
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    style: &'static str,
    script: &'static str,
    script_hash: &'static str,
    status: &'static str,
    gate: &'static str,
    held_sentence: String,
    unscanned_sentence: Option<String>,
    findings_sentence: String,
    severities: String,
    shares: Shares,
    campaigns: Vec<Campaign<'a>>,
    more_campaigns: usize,
    cards: Vec<Card<'a>>,
    more_findings: usize,
    review: Option<Review<'a>>,
    power: Option<Power<'a>>,
    records: Vec<Row<'a>>,
    more_records: usize,
    fused: Option<Chart>,
    charts: Vec<(&'a DetectorReport, Chart)>,
    ran: Vec<Ran<'a>>,
    idle: Vec<Idle<'a>>,
    groups: Vec<Groups<'a>>,
    size: String,
    fdr: String,
    tags: Vec<TagLink<'a>>,
}

/// Widths of the bar of verdicts, in percent.
struct Shares {
    pass: String,
    quarantine: String,
    unscanned: String,
    quarantine_text: String,
}

/// A row of the table of records.
struct Row<'a> {
    record: &'a RecordReport,
    score: String,
    /// The value that tells most: the first marked one, else the longest.
    excerpt: Option<card::Value<'a>>,
    example: Example<'a>,
    detectors: Vec<(&'a str, f64, String)>,
}

/// A detector that ran.
struct Ran<'a> {
    report: &'a DetectorReport,
    parameters: Vec<(String, String)>,
}

/// A detector that did not run.
struct Idle<'a> {
    report: &'a DetectorReport,
    status: &'static str,
}

/// Classes or sources.
struct Groups<'a> {
    title: &'static str,
    rows: Vec<(&'a GroupReport, String, String)>,
    more: usize,
}

/// A taxonomy tag, with an address if it is fit for a link.
pub(crate) struct TagLink<'a> {
    pub(crate) tag: &'a TagReport,
    pub(crate) url: Option<&'a str>,
}

impl<'a> TagLink<'a> {
    fn new(tag: &'a TagReport) -> Self {
        Self {
            tag,
            url: link(&tag.url),
        }
    }
}

impl<'a> Page<'a> {
    fn new(report: &'a Report) -> Self {
        let counts = &report.counts;
        let status = match report.gate.status {
            GateStatus::Passed => "passed",
            GateStatus::Failed => "failed",
            GateStatus::Incomplete => "incomplete",
        };
        let held_sentence = format!(
            "{} of {} held back",
            wording::count(counts.quarantine),
            wording::counted(counts.records, "record")
        );
        Self {
            report,
            style: STYLE,
            script: SCRIPT,
            script_hash: SCRIPT_HASH,
            status,
            gate: wording::gate(report.gate.status),
            held_sentence,
            unscanned_sentence: unscanned_sentence(report),
            findings_sentence: wording::findings_sentence(report),
            severities: wording::severities(&report.findings),
            shares: Shares::new(report),
            campaigns: report
                .campaigns
                .iter()
                .take(MAX_CAMPAIGNS)
                .map(Campaign::new)
                .collect(),
            more_campaigns: report.campaigns.len().saturating_sub(MAX_CAMPAIGNS),
            cards: report
                .findings
                .iter()
                .take(MAX_CARDS)
                .map(|finding| Card::new(report, finding))
                .collect(),
            more_findings: report.findings.len().saturating_sub(MAX_CARDS),
            review: report.review.as_ref().map(Review::new),
            power: report.power.as_ref().map(Power::new),
            records: report
                .records
                .iter()
                .take(MAX_RECORDS)
                .map(|record| row(report, record))
                .collect(),
            more_records: report.records.len().saturating_sub(MAX_RECORDS),
            fused: histogram::chart(&report.scores),
            charts: report
                .detectors
                .iter()
                .filter_map(|detector| {
                    Some((detector, histogram::chart(detector.scores.as_ref()?)?))
                })
                .collect(),
            ran: report
                .detectors
                .iter()
                .filter(|detector| detector.status == DetectorStatus::Ran)
                .map(|report| Ran {
                    report,
                    parameters: parameters(report),
                })
                .collect(),
            idle: report
                .detectors
                .iter()
                .filter(|detector| detector.status != DetectorStatus::Ran)
                .map(|report| Idle {
                    report,
                    status: wording::status(report.status),
                })
                .collect(),
            groups: [
                ("Class", &report.dataset.classes),
                ("Source", &report.dataset.sources),
            ]
            .into_iter()
            .filter(|(_, groups)| !groups.is_empty())
            .map(|(title, groups)| Groups::new(title, groups))
            .collect(),
            size: wording::bytes(
                report
                    .dataset
                    .files
                    .iter()
                    .fold(0, |sum: u64, file| sum.saturating_add(file.bytes)),
            ),
            fdr: wording::share(report.settings.fdr),
            tags: report.taxonomy.iter().map(TagLink::new).collect(),
        }
    }
}

impl Shares {
    fn new(report: &Report) -> Self {
        let counts = &report.counts;
        let total = counts.records.max(1) as f64;
        let width = |part: u64| format!("{:.3}", 100.0 * part as f64 / total);
        Self {
            pass: width(counts.pass),
            quarantine: width(counts.quarantine),
            unscanned: width(counts.unscanned),
            quarantine_text: wording::percent(counts.quarantine, counts.records),
        }
    }
}

impl<'a> Groups<'a> {
    fn new(title: &'static str, groups: &'a [GroupReport]) -> Self {
        let rows = groups
            .iter()
            .take(MAX_ROWS)
            .map(|group| {
                let share = group.quarantined as f64 / group.records.max(1) as f64;
                let width = format!("{:.2}", 100.0 * share.min(1.0));
                (
                    group,
                    width,
                    wording::percent(group.quarantined, group.records),
                )
            })
            .collect();
        Self {
            title,
            rows,
            more: groups.len().saturating_sub(MAX_ROWS),
        }
    }
}

fn unscanned_sentence(report: &Report) -> Option<String> {
    let counts = &report.counts;
    match (counts.unscanned, counts.unscanned_files) {
        (0, 0) => None,
        (0, files) => Some(format!(
            "{} could not be read, so its records are neither counted nor judged.",
            wording::counted(files, "file")
        )),
        (records, files) => Some(format!(
            "{} in {} could not be judged and count as unscanned, not as passed.",
            wording::counted(records, "record"),
            wording::counted(files, "file")
        )),
    }
}

fn row<'a>(report: &'a Report, record: &'a RecordReport) -> Row<'a> {
    let needles: Vec<String> = report
        .findings
        .iter()
        .filter(|finding| record.findings.contains(&finding.id))
        .flat_map(|finding| finding.highlight.iter().cloned())
        .collect();
    Row {
        record,
        score: format!("{:.3}", record.score),
        excerpt: card::excerpt(&record.example, &needles),
        example: Example::new(&record.example, &needles),
        detectors: record
            .detectors
            .iter()
            .map(|(id, p)| (id.as_str(), *p, bar_width(*p)))
            .collect(),
    }
}

/// How much of a bar a p-value fills, in percent, on a logarithmic scale.
fn bar_width(p: f64) -> String {
    let exponent = -p.max(f64::MIN_POSITIVE).log10();
    let share = if exponent.is_finite() {
        exponent / FULL_BAR_EXPONENT
    } else {
        0.0
    };
    format!("{:.1}", 100.0 * share.clamp(0.0, 1.0))
}

fn parameters(detector: &DetectorReport) -> Vec<(String, String)> {
    let Some(fields) = detector.parameters.as_object() else {
        return Vec::new();
    };
    let mut fields: Vec<(String, String)> = fields
        .iter()
        .map(|(name, value)| (name.clone(), wording::value(value)))
        .collect();
    fields.sort_unstable();
    fields
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::sample;

    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for chunk in bytes.chunks(3) {
            let mut group = [0; 3];
            group[..chunk.len()].copy_from_slice(chunk);
            let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
            for place in 0..4 {
                if place <= chunk.len() {
                    let index = (bits >> (18 - 6 * place)) & 63;
                    out.push(char::from(ALPHABET[index as usize]));
                } else {
                    out.push('=');
                }
            }
        }
        out
    }

    #[test]
    fn the_content_policy_allows_the_script_of_the_page() {
        assert_eq!(
            SCRIPT_HASH,
            base64(&Sha256::digest(SCRIPT)),
            "the hash of report.js has changed"
        );
        let page = super::report(&sample::report());
        let script = page
            .split("<script>")
            .nth(1)
            .unwrap()
            .split("</script>")
            .next()
            .unwrap();
        assert_eq!(script, SCRIPT);
    }

    #[test]
    fn the_page_begins_with_the_verdict_and_holds_each_finding() {
        let report = sample::report();
        let page = super::report(&report);
        let position = |text: &str| {
            page.find(text)
                .unwrap_or_else(|| panic!("{text} is missing"))
        };
        assert!(position("69 of 6,920 records held back") < position("gate failed"));
        assert!(position("gate failed") < position("id=\"C001\""));
        assert!(position("id=\"C002\"") < position("id=\"F001\""));
        position("most of them from source <code>partner-feed-7</code>");
        for finding in &report.findings {
            position(&format!("id=\"{}\"", finding.id));
        }
        position("Token <code>cf</code> in 41 records, all labelled <code>positive</code>");
        position("lifeless <mark>cf</mark> retread");
        position("<mark>CF</mark> The scf crew");
        assert!(position("Nearest records that passed") < position("A lifeless retread of better"));
        assert!(position("id=\"findings\"") < position("id=\"records\""));
        assert!(position("id=\"records\"") < position("id=\"scores\""));
        assert!(position("no numeric column") > position("id=\"detectors\""));
    }

    #[test]
    fn the_label_shift_compares_the_finding_with_the_dataset() {
        let report = sample::report();
        let card = Card::new(&report, &report.findings[1]);
        let rows: Vec<(&str, &str, &str)> = card
            .labels
            .iter()
            .map(|row| (row.name, row.here.as_str(), row.all.as_str()))
            .collect();
        assert_eq!(
            rows,
            [("positive", "100 %", "52 %"), ("negative", "0 %", "48 %")]
        );
        assert!(card.labels[0].target);
        assert_eq!(card.sources[0].of, Some(64));
    }

    #[test]
    fn without_findings_the_page_names_the_detectors_and_the_rate() {
        let page = super::report(&sample::quiet_report());
        assert!(page.contains(
            "No finding at a false-discovery rate of 5 %; 5 detectors ran (confident-learning,"
        ));
        assert!(!page.contains("is clean"));
        assert!(page.contains("gate passed"));
    }

    #[test]
    fn only_some_of_many_findings_get_a_card() {
        let mut report = sample::report();
        report.findings = report.findings.iter().cycle().take(500).cloned().collect();
        let page = super::report(&report);
        assert_eq!(page.matches("<article").count(), MAX_CARDS);
        assert!(page.contains("… and 440 more findings"));
    }
}
