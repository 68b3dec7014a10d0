//! `report.sarif`, for code hosts and security dashboards (SARIF 2.1.0, OASIS 2020).

use std::collections::{BTreeMap, BTreeSet};

use lazaretto_core::report::{
    DetectorReport, DetectorStatus, ExampleReport, FileReport, FindingReport, GateStatus, Report,
    TagReport,
};
use lazaretto_core::{Action, Severity};
use serde_json::{Value, json};
use serde_sarif::sarif::{
    Artifact, ArtifactLocation, Invocation, Location, LogicalLocation, Message,
    MultiformatMessageString, Notification, PhysicalLocation, PropertyBag, ReportingDescriptor,
    ReportingDescriptorReference, ReportingDescriptorRelationship, Result as SarifResult,
    ResultKind, ResultLevel, Run, Sarif, Tool, ToolComponent, ToolComponentReference,
};

use crate::inert::{line, link, markdown, markdown_code, sarif as inert, shorten, uri};
use crate::json::pretty;
use crate::wording::{self, MAX_NAME};

/// Results in the file; code hosts refuse more.
const MAX_RESULTS: usize = 5_000;
/// Longest sentence, in characters.
const MAX_TEXT: usize = 600;
/// The base that file addresses are relative to.
const BASE: &str = "DATASET";
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

pub(crate) fn report(report: &Report) -> String {
    let sarif = Sarif::builder()
        .schema(SCHEMA)
        .version(json!("2.1.0"))
        .runs(vec![run(report)])
        .build();
    pretty(&sarif)
}

fn run(report: &Report) -> Run {
    let rules: BTreeMap<&str, i64> = (0..)
        .zip(&report.detectors)
        .map(|(index, detector)| (detector.id.as_str(), index))
        .collect();
    let tags: BTreeMap<&str, &TagReport> = report
        .taxonomy
        .iter()
        .map(|tag| (tag.id.as_str(), tag))
        .collect();
    let results: Vec<SarifResult> = report
        .findings
        .iter()
        .take(MAX_RESULTS)
        .map(|finding| result(finding, &rules, &tags))
        .collect();
    Run::builder()
        .tool(tool(report, &tags))
        .invocations(vec![invocation(report)])
        .artifacts(
            report
                .dataset
                .files
                .iter()
                .map(artifact)
                .collect::<Vec<_>>(),
        )
        .original_uri_base_ids(BTreeMap::from([(
            BASE.to_owned(),
            ArtifactLocation::builder()
                .description(message("the path that was scanned"))
                .build(),
        )]))
        .taxonomies(taxonomies(report))
        .results(results)
        .properties(bag(
            &[],
            [
                ("headline", json!(wording::headline(report))),
                ("counts", json!(report.counts)),
                ("falseDiscoveryRate", json!(report.settings.fdr)),
                ("pipelineHash", json!(name(&report.settings.pipeline_hash))),
                ("seed", json!(report.settings.seed)),
                ("findings", json!(report.findings.len())),
                ("campaigns", json!(report.campaigns.len())),
            ],
        ))
        .build()
}

fn tool(report: &Report, tags: &BTreeMap<&str, &TagReport>) -> Tool {
    let rules: Vec<ReportingDescriptor> = report
        .detectors
        .iter()
        .map(|detector| rule(report, detector, tags))
        .collect();
    let taxonomies: BTreeSet<&str> = report
        .taxonomy
        .iter()
        .map(|tag| tag.taxonomy.as_str())
        .collect();
    let driver = ToolComponent::builder()
        .name(name(&report.tool))
        .version(name(&report.tool_version))
        .semantic_version(name(&report.tool_version))
        .short_description(text("quarantine for training data"))
        .supported_taxonomies(taxonomies.into_iter().map(component).collect::<Vec<_>>())
        .rules(rules)
        .build();
    Tool::builder().driver(driver).build()
}

/// A detector as a rule. Its taxonomy tags are those of its findings.
fn rule(
    report: &Report,
    detector: &DetectorReport,
    tags: &BTreeMap<&str, &TagReport>,
) -> ReportingDescriptor {
    let ids: BTreeSet<&str> = report
        .findings
        .iter()
        .filter(|finding| finding.detector == detector.id)
        .flat_map(|finding| finding.taxonomy.iter().map(String::as_str))
        .collect();
    let relationships: Vec<ReportingDescriptorRelationship> = ids
        .iter()
        .filter_map(|id| tags.get(id))
        .map(|tag| {
            ReportingDescriptorRelationship::builder()
                .target(tag_reference(tag))
                .kinds(vec!["relevant".to_owned()])
                .build()
        })
        .collect();
    let mut labels = vec!["security".to_owned(), name(&detector.family)];
    labels.extend(ids.iter().map(|id| name(id)));
    ReportingDescriptor::builder()
        .id(name(&detector.id))
        .name(name(&detector.id))
        .short_description(text(&detector.summary))
        .help(help(detector))
        .relationships(relationships)
        .properties(bag(
            &labels,
            [
                ("status", json!(detector.status)),
                ("decides", json!(detector.decides)),
                ("scored", json!(detector.scored)),
            ],
        ))
        .build()
}

fn help(detector: &DetectorReport) -> MultiformatMessageString {
    let mut facts = vec![format!("Status: {}.", wording::status(detector.status))];
    if let Some(note) = &detector.note {
        facts.push(format!("Note: {}.", shorten(note, MAX_TEXT)));
    }
    if detector.status == DetectorStatus::Ran {
        facts.push(format!(
            "Parameters: {}.",
            wording::value(&detector.parameters)
        ));
    }
    let manual = format!("lazaretto detectors {}", shorten(&detector.id, MAX_NAME));
    let facts = facts.join(" ");
    let summary = shorten(&detector.summary, MAX_TEXT);
    MultiformatMessageString::builder()
        .text(inert(&format!(
            "{summary}. {facts} Documentation: {manual}"
        )))
        .markdown(format!(
            "{}.\n\n{}\n\nDocumentation: {}",
            markdown(&summary),
            markdown(&facts),
            markdown_code(&manual)
        ))
        .build()
}

fn result(
    finding: &FindingReport,
    rules: &BTreeMap<&str, i64>,
    tags: &BTreeMap<&str, &TagReport>,
) -> SarifResult {
    let (kind, level) = match (finding.action, finding.severity) {
        // A result that a person has to judge has no level (3.27.10).
        (Action::Review, _) => (ResultKind::Review, ResultLevel::None),
        (Action::Quarantine | Action::Fail, Severity::Critical | Severity::High) => {
            (ResultKind::Fail, ResultLevel::Error)
        }
        (Action::Quarantine | Action::Fail, Severity::Medium) => {
            (ResultKind::Fail, ResultLevel::Warning)
        }
        (Action::Quarantine | Action::Fail, Severity::Low | Severity::Info) => {
            (ResultKind::Fail, ResultLevel::Note)
        }
    };
    let taxa: Vec<ReportingDescriptorReference> = finding
        .taxonomy
        .iter()
        .filter_map(|id| tags.get(id.as_str()))
        .map(|tag| tag_reference(tag))
        .collect();
    let mut result = SarifResult::builder()
        .rule_id(name(&finding.detector))
        .kind(kind)
        .level(level)
        .message(result_message(finding))
        .locations(locations(finding))
        .taxa(taxa)
        .occurrence_count(i64::try_from(finding.n_records.max(1)).unwrap_or(i64::MAX))
        .partial_fingerprints(BTreeMap::from([(
            "lazarettoFinding/v1".to_owned(),
            fingerprint(finding),
        )]))
        .properties(bag(
            &[],
            [
                ("finding", json!(name(&finding.id))),
                ("findingKind", json!(name(&finding.kind))),
                ("severity", json!(finding.severity)),
                ("action", json!(finding.action)),
                ("pValue", json!(finding.p_value)),
                ("records", json!(finding.n_records)),
                (
                    "targetClass",
                    json!(finding.target_class.as_deref().map(name)),
                ),
                ("labels", groups(&finding.labels)),
                ("sources", groups(&finding.sources)),
                ("files", groups(&finding.files)),
                ("evidence", evidence(finding)),
            ],
        ))
        .build();
    result.rule_index = rules.get(finding.detector.as_str()).copied();
    result
}

fn result_message(finding: &FindingReport) -> Message {
    let facts = format!(
        "{}, p {}.",
        wording::outcome(finding.n_records, finding.action),
        wording::p_value(finding.p_value)
    );
    let title = inert(&shorten(&finding.title, MAX_TEXT));
    Message::builder().text(format!("{title}. {facts}")).build()
}

/// The example records; without any, the files.
fn locations(finding: &FindingReport) -> Vec<Location> {
    if finding.examples.is_empty() {
        return finding
            .files
            .iter()
            .map(|group| {
                Location::builder()
                    .physical_location(place(&group.name))
                    .build()
            })
            .collect();
    }
    finding.examples.iter().map(record_location).collect()
}

fn record_location(example: &ExampleReport) -> Location {
    let record = LogicalLocation::builder()
        .name(name(&example.record_id))
        .fully_qualified_name(format!(
            "{}/row group {}/row {}",
            line(&shorten(&example.file, MAX_TEXT)),
            example.row_group,
            example.row
        ))
        .kind("record")
        .build();
    Location::builder()
        .physical_location(place(&example.file))
        .logical_locations(vec![record])
        .build()
}

fn place(path: &str) -> PhysicalLocation {
    PhysicalLocation::builder()
        .artifact_location(address(path))
        .build()
}

fn address(path: &str) -> ArtifactLocation {
    ArtifactLocation::builder()
        .uri(uri(path))
        .uri_base_id(BASE)
        .build()
}

/// What stays the same when the finding comes back in a later scan of grown data.
fn fingerprint(finding: &FindingReport) -> String {
    let mut parts = vec![finding.detector.as_str(), finding.kind.as_str()];
    parts.extend(finding.target_class.as_deref());
    if finding.highlight.is_empty() {
        parts.extend(
            finding
                .examples
                .iter()
                .take(1)
                .map(|example| example.record_id.as_str()),
        );
    } else {
        parts.extend(finding.highlight.iter().map(String::as_str));
    }
    let parts: Vec<String> = parts.into_iter().map(name).collect();
    parts.join("/")
}

fn evidence(finding: &FindingReport) -> Value {
    let fields = finding
        .evidence
        .iter()
        .map(|(key, value)| (name(key), json!(line(&wording::value(value)))));
    Value::Object(fields.collect())
}

fn groups(groups: &[lazaretto_core::report::GroupCount]) -> Value {
    groups
        .iter()
        .map(|group| json!({"name": name(&group.name), "records": group.records}))
        .collect()
}

fn artifact(file: &FileReport) -> Artifact {
    Artifact::builder()
        .location(address(&file.path))
        .length(i64::try_from(file.bytes).unwrap_or(i64::MAX))
        .hashes(BTreeMap::from([("blake3".to_owned(), name(&file.blake3))]))
        .roles(vec![json!("analysisTarget")])
        .build()
}

fn invocation(report: &Report) -> Invocation {
    let files = report.dataset.files.iter().filter_map(|file| {
        let reason = file.unscanned_reason.as_ref()?;
        Some(
            Notification::builder()
                .level(json!("error"))
                .message(message(&format!(
                    "unscanned: {}",
                    shorten(reason, MAX_TEXT)
                )))
                .locations(vec![
                    Location::builder()
                        .physical_location(place(&file.path))
                        .build(),
                ])
                .build(),
        )
    });
    let mut execution: Vec<Notification> = files.collect();
    if report.findings.len() > MAX_RESULTS {
        let rest = wording::counted((report.findings.len() - MAX_RESULTS) as u64, "more finding");
        execution.push(
            Notification::builder()
                .level(json!("warning"))
                .message(message(&format!("{rest} in report.json")))
                .build(),
        );
    }
    let configuration: Vec<Notification> = (0..)
        .zip(&report.detectors)
        .filter(|(_, detector)| detector.status != DetectorStatus::Ran)
        .map(|(index, detector)| not_run(index, detector))
        .collect();
    Invocation::builder()
        .execution_successful(report.gate.status != GateStatus::Incomplete)
        .exit_code(i64::from(report.gate.exit_code))
        .exit_code_description(line(&shorten(&report.gate.summary, MAX_TEXT)))
        .tool_execution_notifications(execution)
        .tool_configuration_notifications(configuration)
        .build()
}

fn not_run(index: i64, detector: &DetectorReport) -> Notification {
    let status = wording::status(detector.status);
    let note = wording::note(detector);
    Notification::builder()
        .level(json!("note"))
        .associated_rule(
            ReportingDescriptorReference::builder()
                .id(name(&detector.id))
                .index(index)
                .build(),
        )
        .message(message(&format!("{status}: {}", shorten(&note, MAX_TEXT))))
        .build()
}

fn taxonomies(report: &Report) -> Vec<ToolComponent> {
    let mut by_name: BTreeMap<&str, Vec<ReportingDescriptor>> = BTreeMap::new();
    for tag in &report.taxonomy {
        let mut taxon = ReportingDescriptor::builder()
            .id(name(&tag.id))
            .name(name(&tag.name))
            .short_description(text(&tag.name))
            .build();
        taxon.help_uri = link(&tag.url).map(str::to_owned);
        by_name.entry(&tag.taxonomy).or_default().push(taxon);
    }
    by_name
        .into_iter()
        .map(|(taxonomy, taxa)| {
            ToolComponent::builder()
                .name(name(taxonomy))
                .version(name(&report.taxonomy_version))
                .taxa(taxa)
                .build()
        })
        .collect()
}

fn tag_reference(tag: &TagReport) -> ReportingDescriptorReference {
    ReportingDescriptorReference::builder()
        .id(name(&tag.id))
        .tool_component(component(&tag.taxonomy))
        .build()
}

fn component(taxonomy: &str) -> ToolComponentReference {
    ToolComponentReference::builder()
        .name(name(taxonomy))
        .build()
}

fn name(text: &str) -> String {
    line(&shorten(text, MAX_NAME))
}

fn message(sentence: &str) -> Message {
    Message::builder().text(inert(sentence)).build()
}

fn text(sentence: &str) -> MultiformatMessageString {
    MultiformatMessageString::builder()
        .text(inert(&shorten(sentence, MAX_TEXT)))
        .build()
}

fn bag<const N: usize>(tags: &[String], properties: [(&str, Value); N]) -> PropertyBag {
    let properties: BTreeMap<String, Value> = properties
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let mut bag = PropertyBag::builder()
        .additional_properties(properties)
        .build();
    bag.tags = (!tags.is_empty()).then(|| tags.to_vec());
    bag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn parsed(report: &Report) -> (Sarif, Value) {
        let text = super::report(report);
        let value = serde_json::from_str(&text).unwrap();
        (serde_json::from_str(&text).unwrap(), value)
    }

    #[test]
    fn the_report_of_a_failed_gate() {
        insta::assert_snapshot!(super::report(&sample::report()));
    }

    #[test]
    fn rules_are_detectors_and_results_are_findings() {
        let report = sample::report();
        let (mut sarif, _) = parsed(&report);
        let run = sarif.runs.remove(0);
        let rules: Vec<String> = run
            .tool
            .driver
            .rules
            .unwrap()
            .into_iter()
            .map(|rule| rule.id)
            .collect();
        let detectors: Vec<&str> = report
            .detectors
            .iter()
            .map(|detector| detector.id.as_str())
            .collect();
        assert_eq!(rules, detectors);
        let results = run.results.unwrap();
        assert_eq!(results.len(), report.findings.len());
        for (result, finding) in results.iter().zip(&report.findings) {
            let index = usize::try_from(result.rule_index.unwrap()).unwrap();
            assert_eq!(rules[index], finding.detector);
            let locations = result.locations.as_ref().unwrap();
            assert_eq!(locations.len(), finding.examples.len());
            let record = &locations[0].logical_locations.as_ref().unwrap()[0];
            assert_eq!(
                record.name.as_deref(),
                Some(finding.examples[0].record_id.as_str())
            );
        }
    }

    #[test]
    fn review_findings_have_no_level_and_severity_sets_the_rest() {
        let (_, value) = parsed(&sample::report());
        let results = value["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results[0]["level"], "error");
        assert_eq!(results[3]["kind"], "review");
        assert_eq!(results[3]["level"], "none");
    }

    #[test]
    fn unscanned_files_are_errors_of_the_run() {
        let mut report = sample::report();
        report.gate.status = GateStatus::Incomplete;
        report.dataset.files[2].unscanned_reason = Some("not UTF-8 in [row](1) 3".to_owned());
        let (_, value) = parsed(&report);
        let invocation = &value["runs"][0]["invocations"][0];
        assert_eq!(invocation["executionSuccessful"], false);
        let notification = &invocation["toolExecutionNotifications"][0];
        assert_eq!(
            notification["message"]["text"],
            "unscanned: not UTF-8 in \\[row\\](1) 3"
        );
        let place = &notification["locations"][0]["physicalLocation"]["artifactLocation"];
        assert_eq!(place["uri"], "split=train/late.csv");
    }

    #[test]
    fn taxa_of_results_exist_in_the_taxonomies() {
        let (_, value) = parsed(&sample::report());
        let run = &value["runs"][0];
        let known: BTreeSet<(&str, &str)> = run["taxonomies"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|taxonomy| {
                let name = taxonomy["name"].as_str().unwrap();
                taxonomy["taxa"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(move |taxon| (name, taxon["id"].as_str().unwrap()))
            })
            .collect();
        for result in run["results"].as_array().unwrap() {
            for taxon in result["taxa"].as_array().unwrap() {
                let name = taxon["toolComponent"]["name"].as_str().unwrap();
                assert!(known.contains(&(name, taxon["id"].as_str().unwrap())));
            }
        }
    }
}
