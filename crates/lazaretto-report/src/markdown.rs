//! `report.md`, for pull requests and job summaries.

use std::fmt::Write as _;

use lazaretto_core::report::{
    CampaignReport, DetectorStatus, ExampleReport, FindingReport, GateStatus, GroupCount,
    RecordReport, Report,
};

use crate::inert::{
    link, markdown as prose, markdown_cell as cell, markdown_code as code, shorten,
};
use crate::power::Power;
use crate::wording::{self, MAX_NAME, quoted};

/// Campaigns that are written out.
const MAX_CAMPAIGNS: usize = 10;
/// Findings that are written out.
const MAX_FINDINGS: usize = 20;
/// Examples per finding.
const MAX_EXAMPLES: usize = 3;
/// Records in the table.
const MAX_RECORDS: usize = 10;
/// Files, classes, sources and columns in a table.
const MAX_ROWS: usize = 25;
/// Longest value of an example, in characters.
const MAX_VALUE: usize = 240;
/// Longest sentence, in characters.
const MAX_TEXT: usize = 600;

pub(crate) fn report(report: &Report) -> String {
    let mut out = String::new();
    verdict(&mut out, report);
    campaigns(&mut out, report);
    findings(&mut out, report);
    records(&mut out, report);
    review(&mut out, report);
    power(&mut out, report);
    detectors(&mut out, report);
    dataset(&mut out, report);
    settings(&mut out, report);
    out
}

fn verdict(out: &mut String, report: &Report) {
    let counts = &report.counts;
    let sign = match report.gate.status {
        GateStatus::Passed => "✅",
        GateStatus::Failed => "❌",
        GateStatus::Incomplete => "⚠️",
    };
    let _ = writeln!(out, "# Lazaretto report: {}\n", name(&report.dataset.name));
    let _ = writeln!(out, "{sign} **{}**\n", wording::headline(report));
    let _ = writeln!(out, "{}\n", sentence(&report.gate.summary));
    for reason in &report.gate.reasons {
        let _ = writeln!(out, "- {}", sentence(reason));
    }
    if !report.gate.reasons.is_empty() {
        out.push('\n');
    }
    let _ = writeln!(
        out,
        "| records | passed | held back | unscanned | files | unscanned files |"
    );
    let _ = writeln!(out, "| ---: | ---: | ---: | ---: | ---: | ---: |");
    let numbers = [
        counts.records,
        counts.pass,
        counts.quarantine,
        counts.unscanned,
        counts.files,
        counts.unscanned_files,
    ]
    .map(wording::count);
    let _ = writeln!(out, "| {} |\n", numbers.join(" | "));
}

fn campaigns(out: &mut String, report: &Report) {
    if report.campaigns.is_empty() {
        return;
    }
    let _ = writeln!(out, "## Campaigns\n");
    for campaign in report.campaigns.iter().take(MAX_CAMPAIGNS) {
        one_campaign(out, campaign);
    }
    out.push('\n');
    more(out, report.campaigns.len(), MAX_CAMPAIGNS, "campaign");
}

fn one_campaign(out: &mut String, campaign: &CampaignReport) {
    let _ = writeln!(
        out,
        "- **{}** · {} · {} · {}",
        prose(&shorten(&campaign.id, MAX_NAME)),
        campaign.severity,
        wording::held_of(campaign),
        sentence(&campaign.title)
    );
    for fact in wording::campaign_facts(campaign) {
        let _ = writeln!(out, "  - {}", sentence(&fact));
    }
    let _ = writeln!(out, "  - next: {}", sentence(&campaign.suggestion));
    let findings: Vec<String> = campaign
        .findings
        .iter()
        .take(MAX_ROWS)
        .map(|id| prose(&shorten(id, MAX_NAME)))
        .collect();
    let _ = writeln!(out, "  - findings: {}", findings.join(", "));
}

fn findings(out: &mut String, report: &Report) {
    let _ = writeln!(out, "## Findings\n");
    let _ = writeln!(out, "{}\n", sentence(&wording::findings_sentence(report)));
    for finding in report.findings.iter().take(MAX_FINDINGS) {
        one_finding(out, finding);
    }
    more(out, report.findings.len(), MAX_FINDINGS, "finding");
}

fn one_finding(out: &mut String, finding: &FindingReport) {
    let _ = writeln!(
        out,
        "### {} · {} · {}\n",
        prose(&shorten(&finding.id, MAX_NAME)),
        finding.severity,
        prose(&shorten(&finding.detector, MAX_NAME))
    );
    let _ = writeln!(out, "{}\n", sentence(&finding.title));
    let _ = writeln!(
        out,
        "- {}, p {}",
        wording::outcome(finding.n_records, finding.action),
        wording::p_value(finding.p_value)
    );
    if let Some(target) = &finding.target_class {
        let _ = writeln!(out, "- target class: {}", name(target));
    }
    groups(out, "labels", &finding.labels);
    groups(out, "sources", &finding.sources);
    groups(out, "files", &finding.files);
    if let Some((first, last)) = &finding.time_span {
        let _ = writeln!(out, "- time: {} to {}", name(first), name(last));
    }
    for (key, value) in &finding.evidence {
        let key = prose(&wording::words(key));
        let _ = writeln!(out, "- {key}: {}", evidence(value));
    }
    if !finding.taxonomy.is_empty() {
        let tags: Vec<String> = finding
            .taxonomy
            .iter()
            .map(|tag| prose(&shorten(tag, MAX_NAME)))
            .collect();
        let _ = writeln!(out, "- taxonomy: {}", tags.join(", "));
    }
    out.push('\n');
    for example in finding.examples.iter().take(MAX_EXAMPLES) {
        one_example(out, example);
    }
}

fn review(out: &mut String, report: &Report) {
    let Some(review) = &report.review else {
        return;
    };
    let _ = writeln!(out, "## Review list\n");
    let _ = writeln!(
        out,
        "{}. The whole list is in `review.parquet`.\n",
        wording::review(review)
    );
    let _ = writeln!(out, "{}\n", sentence(&review.method));
    let _ = writeln!(
        out,
        "| rank | record | verdict | q | expected error so far | findings |"
    );
    let _ = writeln!(out, "| ---: | --- | --- | ---: | ---: | --- |");
    for (record, rank) in review.records.iter().take(MAX_RECORDS).zip(1..) {
        let _ = writeln!(
            out,
            "| {rank} | {} | {} | {} | {} | {} |",
            cell(&shorten(&record.record_id, MAX_NAME)),
            prose(&shorten(&record.verdict, MAX_NAME)),
            wording::p_value(record.q_value),
            wording::share(record.expected_error),
            prose(&shorten(&record.findings.join(", "), MAX_NAME))
        );
    }
    out.push('\n');
}

fn power(out: &mut String, report: &Report) {
    let Some(power) = report.power.as_ref().map(Power::new) else {
        return;
    };
    let _ = writeln!(out, "## Spike test\n");
    let _ = writeln!(out, "{}\n", sentence(&power.sentence));
    let sizes: Vec<String> = power.sizes.iter().map(|&n| wording::count(n)).collect();
    if !power.rows.is_empty() {
        let _ = writeln!(out, "| attack | {} |", sizes.join(" | "));
        let _ = writeln!(out, "| --- |{}", " ---: |".repeat(sizes.len()));
    }
    for row in &power.rows {
        let _ = writeln!(
            out,
            "| {}: {} | {} |",
            cell(&shorten(row.id, MAX_NAME)),
            sentence(row.planted),
            row.cells.join(" | ")
        );
    }
    if !power.not_measured.is_empty() {
        let _ = writeln!(out, "\nNot measured: {}.", sentence(&power.not_measured));
    }
    out.push('\n');
}

fn evidence(value: &serde_json::Value) -> String {
    let text = wording::value(value);
    if value.is_number() || value.is_boolean() || value.is_null() {
        text
    } else {
        name(&text)
    }
}

fn groups(out: &mut String, title: &str, groups: &[GroupCount]) {
    if groups.is_empty() {
        return;
    }
    let shown: Vec<String> = groups
        .iter()
        .take(5)
        .map(|group| format!("{} {}", name(&group.name), wording::count(group.records)))
        .collect();
    let rest = if groups.len() > 5 {
        format!(", … and {} more", groups.len() - 5)
    } else {
        String::new()
    };
    let _ = writeln!(out, "- {title}: {}{rest}", shown.join(", "));
}

fn one_example(out: &mut String, example: &ExampleReport) {
    let _ = writeln!(
        out,
        "> {} in {}, row group {}, row {}\n>",
        name(&example.record_id),
        name(&example.file),
        example.row_group,
        example.row
    );
    for (column, value) in &example.values {
        let _ = writeln!(
            out,
            "> - {}: {}",
            name(column),
            code(&shorten(value, MAX_VALUE))
        );
    }
    out.push('\n');
}

fn records(out: &mut String, report: &Report) {
    if report.records.is_empty() {
        return;
    }
    let _ = writeln!(out, "## Most suspicious records\n");
    let _ = writeln!(
        out,
        "| score | q | verdict | record | file | strongest detector | findings |"
    );
    let _ = writeln!(out, "| ---: | ---: | --- | --- | --- | --- | --- |");
    for record in report.records.iter().take(MAX_RECORDS) {
        one_record(out, record);
    }
    out.push('\n');
    more(out, report.records.len(), MAX_RECORDS, "record");
}

fn one_record(out: &mut String, record: &RecordReport) {
    let strongest = record.detectors.first().map_or_else(
        || "–".to_owned(),
        |(detector, p)| format!("{}, p {}", table_name(detector), wording::p_value(*p)),
    );
    let findings: Vec<String> = record
        .findings
        .iter()
        .map(|id| prose(&shorten(id, MAX_NAME)))
        .collect();
    let _ = writeln!(
        out,
        "| {:.3} | {} | {} | {} | {} | {strongest} | {} |",
        record.score,
        wording::p_value(record.q_value),
        prose(&shorten(&record.verdict, MAX_NAME)),
        table_name(&record.example.record_id),
        table_name(&record.example.file),
        findings.join(", "),
    );
}

fn detectors(out: &mut String, report: &Report) {
    let _ = writeln!(out, "## Detectors\n");
    let _ = writeln!(
        out,
        "| detector | looks for | status | scored | findings | note |"
    );
    let _ = writeln!(out, "| --- | --- | --- | ---: | ---: | --- |");
    for detector in &report.detectors {
        let ran = detector.status == DetectorStatus::Ran;
        let number = |number| {
            if ran {
                wording::count(number)
            } else {
                "–".to_owned()
            }
        };
        let note = detector.note.as_deref().unwrap_or_default();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            prose(&shorten(&detector.id, MAX_NAME)),
            table_sentence(&detector.summary),
            wording::status(detector.status),
            number(detector.scored),
            number(detector.findings),
            table_sentence(note),
        );
    }
    out.push('\n');
}

fn dataset(out: &mut String, report: &Report) {
    let dataset = &report.dataset;
    let _ = writeln!(out, "## Dataset\n");
    let _ = writeln!(
        out,
        "| file | format | size | records | held back | BLAKE3 |"
    );
    let _ = writeln!(out, "| --- | --- | ---: | ---: | ---: | --- |");
    for file in dataset.files.iter().take(MAX_ROWS) {
        let records = file.records.map_or_else(|| "–".to_owned(), wording::count);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {records} | {} | {} |",
            table_name(&file.path),
            prose(&shorten(&file.format, MAX_NAME)),
            wording::bytes(file.bytes),
            wording::count(file.quarantined),
            table_name(&shorten(&file.blake3, 16)),
        );
    }
    out.push('\n');
    more(out, dataset.files.len(), MAX_ROWS, "file");
    for file in &dataset.files {
        if let Some(reason) = &file.unscanned_reason {
            let _ = writeln!(
                out,
                "- unscanned: {}: {}",
                name(&file.path),
                sentence(reason)
            );
        }
    }
    for skipped in dataset.skipped.iter().take(MAX_ROWS) {
        let _ = writeln!(
            out,
            "- passed over: {}: {}",
            name(&skipped.path),
            sentence(&skipped.reason)
        );
    }
    let _ = writeln!(out, "\n| column | type | role | because |");
    let _ = writeln!(out, "| --- | --- | --- | --- |");
    for column in dataset.columns.iter().take(MAX_ROWS) {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            table_name(&column.name),
            table_name(&column.data_type),
            prose(&shorten(&column.role, MAX_NAME)),
            table_sentence(&column.reason),
        );
    }
    out.push('\n');
    more(out, dataset.columns.len(), MAX_ROWS, "column");
    for (title, groups) in [("class", &dataset.classes), ("source", &dataset.sources)] {
        if groups.is_empty() {
            continue;
        }
        let _ = writeln!(out, "| {title} | records | held back | share |");
        let _ = writeln!(out, "| --- | ---: | ---: | ---: |");
        for group in groups.iter().take(MAX_ROWS) {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} |",
                table_name(&group.name),
                wording::count(group.records),
                wording::count(group.quarantined),
                prose(&wording::percent(group.quarantined, group.records)),
            );
        }
        out.push('\n');
        more(out, groups.len(), MAX_ROWS, title);
    }
}

fn settings(out: &mut String, report: &Report) {
    let settings = &report.settings;
    let _ = writeln!(out, "## Settings and method\n");
    let _ = writeln!(
        out,
        "Pipeline {} ({}), seed {}, false-discovery rate {}, {} {}.\n",
        name(&settings.pipeline),
        name(&shorten(&settings.pipeline_hash, 16)),
        settings.seed,
        wording::share(settings.fdr),
        prose(&shorten(&report.tool, MAX_NAME)),
        prose(&shorten(&report.tool_version, MAX_NAME)),
    );
    for line in settings.method.lines() {
        let _ = writeln!(out, "{}\n", sentence(line));
    }
    for rule in &settings.policy {
        let _ = writeln!(out, "- {}", sentence(rule));
    }
    if report.taxonomy.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n## Taxonomy\n\nTable of {}.\n",
        prose(&shorten(&report.taxonomy_version, MAX_NAME))
    );
    for tag in &report.taxonomy {
        let text = format!(
            "{} {}, {}",
            prose(&shorten(&tag.id, MAX_NAME)),
            prose(&shorten(&tag.name, MAX_NAME)),
            prose(&shorten(&tag.taxonomy, MAX_NAME))
        );
        match link(&tag.url) {
            Some(url) => {
                let _ = writeln!(out, "- [{text}]({url})");
            }
            None => {
                let _ = writeln!(out, "- {text}");
            }
        }
    }
}

/// A name from the data, anywhere but in tables.
fn name(text: &str) -> String {
    code(&shorten(text, MAX_NAME))
}

/// A name from the data in a table cell.
fn table_name(text: &str) -> String {
    cell(&shorten(text, MAX_NAME))
}

/// A sentence of ours, in which text from the data stands between backticks.
fn sentence(text: &str) -> String {
    with_code(text, code)
}

fn table_sentence(text: &str) -> String {
    with_code(text, cell)
}

fn with_code(text: &str, code: fn(&str) -> String) -> String {
    quoted(&shorten(text, MAX_TEXT))
        .into_iter()
        .map(|(data, part)| {
            if data {
                code(&shorten(part, MAX_NAME))
            } else {
                prose(part)
            }
        })
        .collect()
}

fn more(out: &mut String, total: usize, shown: usize, noun: &str) {
    if total > shown {
        let rest = wording::counted((total - shown) as u64, &format!("more {noun}"));
        let _ = writeln!(out, "… and {rest}, see `report.json`.\n");
    }
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;
    use crate::sample;

    #[test]
    fn the_report_of_a_failed_gate() {
        insta::assert_snapshot!(super::report(&sample::report()));
    }

    #[test]
    fn without_findings_the_detectors_are_named() {
        let text = super::report(&sample::quiet_report());
        assert!(
            text.contains("No finding at a false-discovery rate of 5 %"),
            "{text}"
        );
        assert!(text.contains("text-trigger"), "{text}");
        assert!(!text.contains("is clean"), "{text}");
    }

    #[test]
    fn data_forms_no_markup() {
        let mut report = sample::report();
        let hostile = "\n\n# h\n![x](http://evil.example/a) <script>x</script> ``` [a](b) | c";
        report.dataset.name = hostile.to_owned();
        report.findings[0].title = hostile.to_owned();
        report.findings[1].title = format!("Token `{hostile}` found");
        report.findings[2].examples[0].values[1].1 = hostile.to_owned();
        report.records[0].example.record_id = hostile.to_owned();
        report.dataset.sources[0].name = hostile.to_owned();
        let text = super::report(&report);
        let tags = |text: &str| {
            let mut links = Vec::new();
            let mut tables = 0;
            let mut headings = 0;
            for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
                match event {
                    Event::Html(html) | Event::InlineHtml(html) => panic!("html {html} in {text}"),
                    Event::Start(Tag::Image { .. }) => panic!("image in {text}"),
                    Event::Start(Tag::Link { dest_url, .. }) => links.push(dest_url.into_string()),
                    Event::Start(Tag::TableCell) => tables += 1,
                    Event::Start(Tag::Heading { .. }) => headings += 1,
                    _ => {}
                }
            }
            (links, tables, headings)
        };
        let (links, cells, headings) = tags(&text);
        assert!(
            links.iter().all(|url| url.starts_with("https://")),
            "{links:?}"
        );
        assert_eq!(
            (links, cells, headings),
            tags(&super::report(&sample::report()))
        );
    }

    #[test]
    fn only_some_of_many_findings_are_written_out() {
        let mut report = sample::report();
        report.findings = report
            .findings
            .iter()
            .cycle()
            .take(5_000)
            .cloned()
            .collect();
        let text = super::report(&report);
        assert_eq!(text.matches("\n### ").count(), MAX_FINDINGS);
        assert!(text.contains("… and 4,980 more findings, see `report.json`."));
    }
}
