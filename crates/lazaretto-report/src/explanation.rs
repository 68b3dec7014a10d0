//! `lazaretto explain` on a terminal, and its JSON.

use std::fmt::Write as _;

use lazaretto_core::explanation::{DetectorSays, Explanation, FindingSays, SCHEMA};
use lazaretto_core::report::ExampleReport;
use serde_json::Value;

use crate::inert::{line, shorten};
use crate::json::pretty;
use crate::wording;

/// Longest value of the record, in characters.
const MAX_VALUE: usize = 600;
/// Longest value of a near record.
const MAX_NEAR: usize = 160;
/// Longest sentence.
const MAX_TEXT: usize = 400;
/// Width of the names at the left.
const NAME: usize = 14;

pub(crate) fn human(explanation: &Explanation, color: bool) -> String {
    let out = &mut Out {
        text: String::new(),
        color,
    };
    verdict(out, explanation);
    place(out, explanation);
    record(out, explanation);
    changes(out, explanation);
    findings(out, explanation);
    detectors(out, explanation);
    nearest(out, explanation);
    for note in &explanation.notes {
        out.line(&format!("\nnote: {}", text(note)));
    }
    std::mem::take(&mut out.text)
}

pub(crate) fn json(explanation: &Explanation) -> String {
    let mut explanation = explanation.clone();
    // See `json::report`: the order of keys must not depend on features of a dependency.
    for detector in &mut explanation.detectors {
        detector.parameters.sort_all_objects();
    }
    for finding in &mut explanation.findings {
        for value in finding.evidence.values_mut() {
            value.sort_all_objects();
        }
    }
    pretty(&explanation)
}

pub(crate) fn schema() -> String {
    let mut schema = schemars::schema_for!(Explanation);
    schema.insert("$id".to_owned(), SCHEMA.into());
    schema.insert("title".to_owned(), "Lazaretto explanation".into());
    let mut value = schema.to_value();
    value.sort_all_objects();
    pretty(&value)
}

struct Out {
    text: String,
    color: bool,
}

impl Out {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        let heading = self.paint("1", heading);
        let _ = write!(self.text, "\n{heading}\n");
    }

    fn row(&mut self, name: &str, value: &str) {
        let name = self.paint("2", &format!("{name:<NAME$}"));
        self.line(&format!("  {name} {value}"));
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.color {
            format!("\u{1B}[{style}m{text}\u{1B}[0m")
        } else {
            text.to_owned()
        }
    }
}

fn text(text: &str) -> String {
    line(&shorten(text, MAX_TEXT))
}

fn verdict(out: &mut Out, explanation: &Explanation) {
    let (style, sign) = match explanation.verdict.as_str() {
        "pass" => ("1;32", "✓"),
        "quarantine" => ("1;31", "✗"),
        _ => ("1;33", "!"),
    };
    let headline = format!(
        "{sign} record {}: {}",
        text(&explanation.place.record_id),
        text(&explanation.verdict)
    );
    let headline = out.paint(style, &headline);
    out.line(&headline);
    // Words of ours; names of detectors and findings stand in it.
    out.line(&format!("  {}", line(&explanation.because)));
}

fn place(out: &mut Out, explanation: &Explanation) {
    let place = &explanation.place;
    out.heading("Where it is from");
    let version = format!(
        "{}, version {}",
        text(&place.dataset),
        text(&place.dataset_version)
    );
    out.row("dataset", &version);
    let file = format!(
        "{} (blake3 {})",
        text(&place.file),
        text(&place.file_blake3)
    );
    out.row("file", &file);
    let at = format!("row group {}, row {}", place.row_group, place.row);
    out.row("place", &at);
    if let Some(hash) = &place.row_hash {
        out.row("row hash", &text(hash));
    }
    let record = explanation.record.as_ref();
    if let Some(source) = record.and_then(|record| record.source.as_ref()) {
        out.row("source", &text(source));
    }
    if let Some(time) = &explanation.time {
        out.row("time", &text(time));
    }
    let rules = &explanation.rules;
    let made = format!(
        "{} {}, settings {}, seed {}",
        text(&explanation.tool),
        text(&explanation.tool_version),
        text(&rules.pipeline_hash),
        rules.seed
    );
    out.row("scanned by", &made);
}

fn record(out: &mut Out, explanation: &Explanation) {
    out.heading("Record");
    if let Some(record) = &explanation.record {
        values(out, record, MAX_VALUE);
    }
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), wording::p_value);
    let score = explanation.score.map(f64::from);
    let scores = format!(
        "{} · p {} · q {} (by its own scores alone {})",
        score.map_or_else(|| "–".to_owned(), wording::number),
        number(explanation.p_value),
        number(explanation.q_value),
        number(explanation.row_q_value)
    );
    out.row("fused score", &scores);
}

fn values(out: &mut Out, record: &ExampleReport, longest: usize) {
    for (column, value) in &record.values {
        let name = line(&shorten(column, 40));
        out.row(&name, &line(&shorten(value, longest)));
    }
}

fn changes(out: &mut Out, explanation: &Explanation) {
    out.heading("What would have to change");
    if explanation.changes.is_empty() {
        out.line("  no setting of the policy alone would change its verdict");
    }
    for change in &explanation.changes {
        out.line(&format!("  {}", line(&change.sentence)));
    }
}

fn findings(out: &mut Out, explanation: &Explanation) {
    if explanation.findings.is_empty() {
        return;
    }
    out.heading("Findings");
    for finding in &explanation.findings {
        one_finding(out, finding);
    }
    for campaign in &explanation.campaigns {
        let told = format!(
            "{}, confidence {:.4} · next: {}",
            text(&campaign.title),
            campaign.confidence,
            text(&campaign.suggestion)
        );
        out.row(&text(&campaign.id), &told);
    }
}

fn one_finding(out: &mut Out, finding: &FindingSays) {
    let action = if finding.holds {
        "held back"
    } else {
        "for review"
    };
    out.row(&text(&finding.id), &text(&finding.title));
    let facts = format!(
        "{} · {} · {} {action} · p {}{}",
        text(&finding.detector),
        text(&finding.severity),
        wording::counted(finding.n_records, "record"),
        wording::p_value(finding.p_value),
        match &finding.campaign {
            Some(campaign) => format!(" · campaign {}", text(campaign)),
            None => String::new(),
        }
    );
    out.row("", &facts);
    let evidence = finding.evidence.iter();
    let evidence: Vec<String> = evidence.map(|(name, value)| named(name, value)).collect();
    if !evidence.is_empty() {
        out.row("", &text(&evidence.join(" · ")));
    }
}

fn named(name: &str, value: &Value) -> String {
    format!("{} {}", wording::words(name), wording::value(value))
}

/// Those that have something to say, with their parameters; the others by name.
fn detectors(out: &mut Out, explanation: &Explanation) {
    out.heading("Detectors");
    // A rule that is not broken scores 0.
    let scored = |score: f32| score > 0.0;
    let speaks = |detector: &&DetectorSays| {
        detector.p_value.is_some()
            || detector.score.is_some_and(scored)
            || !detector.findings.is_empty()
    };
    for detector in explanation.detectors.iter().filter(speaks) {
        let mut says = Vec::new();
        if let Some(score) = detector.score {
            says.push(format!("score {}", wording::number(f64::from(score))));
        }
        if let Some(p) = detector.p_value {
            says.push(format!("p {}", wording::p_value(p)));
        }
        if !detector.findings.is_empty() {
            says.push(text(&detector.findings.join(", ")));
        }
        if !detector.decides {
            says.push("decides by findings alone".to_owned());
        }
        let name = format!("{} (version {})", text(&detector.id), detector.version);
        out.line(&format!("  {name:<36} {}", says.join(" · ")));
        let parameters = match &detector.parameters {
            Value::Object(fields) => {
                let mut fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect();
                fields.sort();
                fields.join(", ")
            }
            _ => String::new(),
        };
        if !parameters.is_empty() {
            let parameters = out.paint("2", &text(&parameters));
            out.line(&format!("      {parameters}"));
        }
    }
    let silent: Vec<String> = explanation
        .detectors
        .iter()
        .filter(|detector| !speaks(detector))
        .map(|detector| text(&detector.id))
        .collect();
    if !silent.is_empty() {
        out.line(&format!("  nothing from {}", silent.join(", ")));
    }
}

fn nearest(out: &mut Out, explanation: &Explanation) {
    let nearest = &explanation.nearest;
    if nearest.records.is_empty() {
        return;
    }
    out.heading("Nearest records that passed");
    let measure = format!(
        "{}; {} compared",
        text(&nearest.measure),
        wording::counted(nearest.compared, "record")
    );
    out.line(&format!("  {measure}"));
    for near in &nearest.records {
        let record = &near.record;
        let place = format!(
            "{} in {}, row group {}, row {}",
            text(&record.record_id),
            text(&record.file),
            record.row_group,
            record.row
        );
        out.row(&format!("{:.3}", near.similarity), &place);
        values(out, record, MAX_NEAR);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lazaretto_core::explanation::{Change, NearRecord, Nearest, Place, Rules, Setting};
    use serde_json::json;

    use super::*;

    fn example(text: &str) -> ExampleReport {
        ExampleReport {
            record_id: "r-17\u{1b}[31m".to_owned(),
            file: "a.parquet".to_owned(),
            row_group: 1,
            row: 2,
            label: Some("good".to_owned()),
            source: Some("shop\u{202e}".to_owned()),
            values: vec![("text".to_owned(), text.to_owned())],
        }
    }

    fn explanation() -> Explanation {
        Explanation {
            schema: SCHEMA.to_owned(),
            tool: "lazaretto".to_owned(),
            tool_version: "0.1.0".to_owned(),
            place: Place {
                record_id: "r-17\u{1b}[31m".to_owned(),
                row_hash: Some("ab".repeat(32)),
                dataset: "reviews".to_owned(),
                dataset_version: "cd".repeat(32),
                file: "a.parquet".to_owned(),
                file_blake3: "ef".repeat(32),
                row_group: 1,
                row: 2,
                position: 17,
            },
            record: Some(example("worth \u{1b}]0;title\u{7} it\nall")),
            time: None,
            verdict: "quarantine".to_owned(),
            because: "held back by finding F001 of `text-trigger` (p 1.00e-9)".to_owned(),
            score: Some(0.75),
            p_value: Some(1e-9),
            q_value: Some(1e-9),
            row_q_value: Some(0.4),
            rules: Rules {
                fdr: 0.05,
                hold_rows: true,
                finding_p: 0.05,
                seed: 7,
                pipeline_hash: "01".repeat(32),
            },
            detectors: vec![DetectorSays {
                id: "text-trigger".to_owned(),
                version: 3,
                decides: false,
                score: Some(2.0),
                p_value: None,
                findings: vec!["F001".to_owned()],
                parameters: json!({"b": 1, "a": {"d": 1, "c": 2}}),
            }],
            findings: vec![FindingSays {
                id: "F001".to_owned(),
                detector: "text-trigger".to_owned(),
                kind: "trigger".to_owned(),
                severity: "high".to_owned(),
                holds: true,
                title: "word `cf\u{1b}[0m` in 40 records".to_owned(),
                p_value: 1e-9,
                n_records: 40,
                target_class: None,
                evidence: BTreeMap::from([("purity".to_owned(), json!(1.0))]),
                campaign: None,
            }],
            campaigns: Vec::new(),
            changes: vec![Change {
                verdict: "pass".to_owned(),
                sentence: "would pass with `policy.finding_p` below 1e-9".to_owned(),
                exact: true,
                settings: vec![Setting::FindingP { below: 1e-9 }],
            }],
            nearest: Nearest {
                measure: "cosine of the words".to_owned(),
                compared: 900,
                records: vec![NearRecord {
                    record: example("worth it"),
                    similarity: 0.5,
                }],
            },
            notes: Vec::new(),
        }
    }

    #[test]
    fn everything_is_told_and_nothing_acts_on_the_terminal() {
        let text = human(&explanation(), false);
        for told in [
            "quarantine",
            "F001",
            "text-trigger (version 3)",
            "below 1e-9",
            "0.500",
            "900 records compared",
            "a.parquet",
            "a = {",
        ] {
            assert!(text.contains(told), "`{told}` is missing in\n{text}");
        }
        let acts = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert_eq!(text.chars().find(|&c| acts(c)), None, "{text}");
    }

    #[test]
    fn the_json_reads_back_and_fits_its_schema() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let text = json(&explanation());
        let mut value: Value = serde_json::from_str(&text).unwrap();
        assert!(validator.is_valid(&value));
        let back: Explanation = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(json(&back), text);
        value["colour"] = "red".into();
        assert!(!validator.is_valid(&value));
    }
}
