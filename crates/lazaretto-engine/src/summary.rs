//! What the report says: gathered while records are judged, finished once they all are.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use lazaretto_core::report::{
    ColumnReport, DatasetReport, DecodingReport, DetectorReport, DetectorStatus, FileReport,
    FindingReport, GroupReport, Histogram, PowerReport, RecordReport, Report, SCHEMA,
    SandboxReport, SettingsReport, SkippedReport, TagReport,
};
use lazaretto_core::{Finding, NO_TIME, ScoreKind, Verdict, taxonomy};
use lazaretto_detectors::REGISTRY;
use lazaretto_io::Dataset;

use crate::assemble::Assembler;
use crate::beside;
use crate::calibrated::Calibrated;
use crate::campaigns::{self, Background, Campaign};
use crate::counts::{GroupCounts, MAX_GROUPS, grouped, time_text};
use crate::embedder::Installed;
use crate::examples::{Examples, spread};
use crate::judge::{Judged, finding_id};
use crate::plan::Planned;
use crate::policy;
use crate::redaction;
use crate::scan::{Scan, hex};
use crate::spill::{Row, Spill};
use crate::trusted::TrustedData;

/// Most suspicious records shown.
const MAX_RECORDS: usize = 100;
/// Findings shown; the rest are in `findings.parquet`.
const MAX_FINDINGS: usize = 500;
/// Findings with examples; the rest are too many to read.
pub(crate) const MAX_WITH_EXAMPLES: usize = 100;
/// Times that are kept to see which are close together.
const MAX_TIMES: u64 = 1 << 16;
/// Bins of a histogram.
const BINS: usize = 40;
/// How scores become verdicts, in words.
const METHOD: &str = "Each statistical score becomes a p-value by a null fitted to the bulk of the detector's own scores \
(generalised Pareto tail, censored maximum likelihood), or by the scores of trusted records where there are enough (conformal), and a tail-area \
false-discovery rate against it. A detector whose null does not fit the bulk informs and does not decide. The rates of a record are fused by the \
Cauchy combination (Liu & Xie 2020), which holds under dependence; fused values are re-calibrated against the dataset's own extremes, or those of \
trusted records, and held to the false-discovery rate by Benjamini–Hochberg. Group findings carry p-values corrected for everything the detector tried.";

/// A judged record.
pub(crate) struct Record<'r> {
    pub(crate) ordinal: u64,
    pub(crate) row: &'r Row<'r>,
    pub(crate) calibrated: &'r [Calibrated],
    pub(crate) score: f32,
    pub(crate) p_value: f64,
    pub(crate) q_value: f64,
    pub(crate) verdict: Verdict,
    pub(crate) by_rows: bool,
    pub(crate) findings: &'r [usize],
}

/// A candidate for the list of most suspicious records.
struct Top {
    ordinal: u64,
    hash: String,
    score: f32,
    p_value: f64,
    q_value: f64,
    verdict: Verdict,
    detectors: Vec<(String, f64)>,
    findings: Vec<usize>,
}

/// What is gathered while records are judged.
pub(crate) struct Collected {
    /// In report order.
    pub(crate) findings: Vec<Finding>,
    fused: Histogram,
    detectors: Vec<Histogram>,
    scored: Vec<u64>,
    classes: Vec<GroupReport>,
    sources: Vec<GroupReport>,
    top: Vec<Top>,
    counts: Vec<GroupCounts>,
    /// Times of a sample of the records.
    times: Vec<i64>,
    /// Every so many records one goes into `times`.
    time_step: u64,
    campaigns: Vec<Campaign>,
    held_by_rows: u64,
}

fn histogram(min: f64, max: f64) -> Histogram {
    Histogram {
        min,
        max: if max > min { max } else { min + 1.0 },
        counts: vec![0; BINS],
        quarantined: vec![0; BINS],
    }
}

fn count_in(histogram: &mut Histogram, score: f32, held: bool) {
    let width = (histogram.max - histogram.min) / BINS as f64;
    let position = (f64::from(score) - histogram.min) / width;
    #[expect(clippy::cast_sign_loss, reason = "clamped to the bins")]
    let bin = position.clamp(0.0, (BINS - 1) as f64) as usize;
    histogram.counts[bin] += 1;
    histogram.quarantined[bin] += u64::from(held);
}

impl Collected {
    pub(crate) fn new(assembler: &Assembler, calibrated: &[Calibrated]) -> Self {
        let facts = &assembler.facts;
        let group = |name: &String| GroupReport {
            name: name.clone(),
            records: 0,
            quarantined: 0,
        };
        let range = |detector: &Calibrated| {
            let (min, max) = detector.range.unwrap_or((0.0, 1.0));
            histogram(min, max)
        };
        Self {
            findings: Vec::new(),
            fused: histogram(0.0, 1.0),
            detectors: calibrated.iter().map(range).collect(),
            scored: vec![0; calibrated.len()],
            classes: facts.classes.iter().map(group).collect(),
            sources: facts.sources.iter().map(group).collect(),
            top: Vec::new(),
            counts: Vec::new(),
            times: Vec::new(),
            time_step: facts.n_rows.div_ceil(MAX_TIMES).max(1),
            campaigns: Vec::new(),
            held_by_rows: 0,
        }
    }

    pub(crate) fn add_record(&mut self, record: &Record<'_>) {
        let held = record.verdict == Verdict::Quarantine;
        if record.row.time != NO_TIME && record.ordinal.is_multiple_of(self.time_step) {
            self.times.push(record.row.time);
        }
        self.held_by_rows += u64::from(record.by_rows);
        count_in(&mut self.fused, record.score, held);
        for ((histogram, scored), &score) in self
            .detectors
            .iter_mut()
            .zip(&mut self.scored)
            .zip(record.row.scores)
        {
            if score.is_finite() {
                *scored += 1;
                count_in(histogram, score, held);
            }
        }
        for (groups, idx) in [
            (&mut self.classes, record.row.label),
            (&mut self.sources, record.row.source),
        ] {
            if let Some(group) = groups.get_mut(idx as usize) {
                group.records += 1;
                group.quarantined += u64::from(held);
            }
        }
        self.consider(record);
    }

    /// Keeps the records with the highest scores, first come first on ties.
    fn consider(&mut self, record: &Record<'_>) {
        let least = self.top.last().map_or(f32::NEG_INFINITY, |top| top.score);
        if self.top.len() == MAX_RECORDS && record.score <= least {
            return;
        }
        let mut detectors: Vec<(String, f64)> = record
            .calibrated
            .iter()
            .zip(record.row.scores)
            .filter_map(|(detector, &score)| {
                Some((detector.id.to_owned(), detector.p_value(score)?))
            })
            .collect();
        detectors.sort_by(|left, right| left.1.total_cmp(&right.1));
        let position = self.top.partition_point(|top| top.score >= record.score);
        self.top.insert(
            position,
            Top {
                ordinal: record.ordinal,
                hash: record.row.hash.to_string(),
                score: record.score,
                p_value: record.p_value,
                q_value: record.q_value,
                verdict: record.verdict,
                detectors,
                findings: record.findings.to_vec(),
            },
        );
        self.top.truncate(MAX_RECORDS);
    }

    /// Counts the records of the findings, in report order, and joins findings with one cause.
    ///
    /// # Errors
    /// When the spilled records cannot be read.
    pub(crate) fn add_findings(
        &mut self,
        findings: Vec<Finding>,
        verdicts: &[Verdict],
        spill: &Spill,
    ) -> io::Result<()> {
        self.findings = findings;
        for finding in self.findings.iter().take(MAX_FINDINGS) {
            let records = finding.records.iter().copied();
            self.counts.push(GroupCounts::of(records, spill)?);
        }
        self.say_when();
        self.times.sort_unstable();
        let campaigns = campaigns::campaigns(
            &self.findings,
            &self.counts,
            &self.background(),
            verdicts,
            spill,
        )?;
        self.campaigns = campaigns;
        Ok(())
    }

    /// What the dataset is like.
    fn background(&self) -> Background<'_> {
        Background {
            n_records: self.fused.counts.iter().sum(),
            sources: &self.sources,
            times: &self.times,
        }
    }

    /// Says of each finding when its records were seen, where they have times. What a detector finds
    /// does not depend on it.
    fn say_when(&mut self) {
        for (finding, counts) in self.findings.iter_mut().zip(&self.counts) {
            if let Some((first, last)) = counts.times {
                let (first, last) = (time_text(first), time_text(last));
                finding.title.push_str(&seen(&first, &last));
                finding
                    .evidence
                    .insert("first_seen".to_owned(), first.into());
                finding.evidence.insert("last_seen".to_owned(), last.into());
            }
        }
    }
}

/// `; first seen 2026-03-02, last seen 2026-03-09`, from two times as they are displayed.
fn seen(first: &str, last: &str) -> String {
    let day = |time: &str| time.split('T').next().unwrap_or_default().to_owned();
    let (first, last) = (day(first), day(last));
    if first == last {
        format!("; all seen on {first}")
    } else {
        format!("; first seen {first}, last seen {last}")
    }
}

/// What the report is made from.
pub(crate) struct Inputs<'i, 'a> {
    pub(crate) name: String,
    pub(crate) skipped: Vec<SkippedReport>,
    /// The detectors that scored records, in the order of `calibrated`.
    pub(crate) ran: &'i [&'a Planned],
    pub(crate) calibrated: &'i [Calibrated],
    pub(crate) abstained: &'i [(&'a Planned, String)],
    pub(crate) features: Vec<String>,
    pub(crate) judged: &'i Judged,
    /// For each of the first findings, records that passed and are near its examples.
    pub(crate) nearest: &'i [Vec<u64>],
    /// The records to show, read.
    pub(crate) examples: &'i Examples,
    /// What the spike test found, where one was asked for.
    pub(crate) power: Option<PowerReport>,
}

/// The records that the report shows, or that its findings quote.
pub(crate) fn examples(collected: &Collected, nearest: &[Vec<u64>]) -> Examples {
    let mut examples = Examples::default();
    for finding in collected.findings.iter().take(MAX_FINDINGS) {
        examples.want(&spread(&finding.records), &finding.highlight);
    }
    let tops: Vec<u64> = collected.top.iter().map(|top| top.ordinal).collect();
    examples.want(&tops, &[]);
    for near in nearest {
        examples.want(near, &[]);
    }
    examples
}

/// The content of `report.json`.
pub(crate) fn report(scan: &Scan<'_>, inputs: &Inputs<'_, '_>) -> Report {
    let collected = &inputs.judged.summary;
    let settings = &scan.request.settings;
    let examples = inputs.examples;
    let findings: Vec<FindingReport> = collected
        .findings
        .iter()
        .zip(&collected.counts)
        .take(MAX_FINDINGS)
        .enumerate()
        .map(|(idx, (finding, counts))| {
            let near = inputs.nearest.get(idx).map_or(&[][..], Vec::as_slice);
            finding_report(scan, idx, finding, counts, near, examples)
        })
        .collect();
    let facts = &scan.assembler.facts;
    let campaigns = collected.campaigns.iter().enumerate();
    let campaigns = campaigns.map(|(place, campaign)| {
        let background = collected.background();
        let names = [facts.classes.as_slice(), facts.sources.as_slice()];
        campaigns::report(place, campaign, &findings, &background, names)
    });
    let campaigns = campaigns.collect();
    let records = collected.top.iter().filter_map(|top| {
        Some(RecordReport {
            example: examples.get(top.ordinal)?,
            row_hash: top.hash.clone(),
            score: top.score,
            p_value: top.p_value,
            q_value: top.q_value,
            verdict: top.verdict.name().to_owned(),
            detectors: top.detectors.clone(),
            findings: top.findings.iter().map(|&idx| finding_id(idx)).collect(),
        })
    });
    let ran: Vec<String> = inputs
        .calibrated
        .iter()
        .map(|detector| detector.id.to_owned())
        .collect();
    let dataset = dataset_report(scan, inputs);
    let by_file = policy::by_file(&dataset.files);
    let by_partition = policy::by_partition(&dataset.files);
    let gate = policy::gate(
        &settings.rules,
        &policy::Facts {
            counts: &inputs.judged.counts,
            findings: &findings,
            classes: &collected.classes,
            sources: &collected.sources,
            files: &by_file,
            partitions: &by_partition,
            detectors: &ran,
            fdr: settings.fdr,
        },
    );
    let tags: BTreeSet<&str> = findings
        .iter()
        .flat_map(|finding| finding.taxonomy.iter().map(String::as_str))
        .collect();
    let mut report = Report {
        schema: SCHEMA.to_owned(),
        tool: "lazaretto".to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        gate,
        counts: inputs.judged.counts,
        settings: settings_report(scan, inputs),
        dataset,
        detectors: detector_reports(scan, inputs),
        campaigns,
        records: records.collect(),
        review: inputs
            .judged
            .review
            .as_ref()
            .map(|review| review.report(scan.dataset)),
        power: inputs.power.clone(),
        scores: collected.fused.clone(),
        taxonomy: tags
            .into_iter()
            .filter_map(taxonomy::tag)
            .map(|tag| TagReport {
                id: tag.id.to_owned(),
                name: tag.name.to_owned(),
                taxonomy: tag.taxonomy.to_owned(),
                url: tag.url.to_owned(),
            })
            .collect(),
        taxonomy_version: taxonomy::VERSION.to_owned(),
        findings,
    };
    redaction::of_names(&mut report, examples.redactor());
    report
}

fn settings_report(scan: &Scan<'_>, inputs: &Inputs<'_, '_>) -> SettingsReport {
    let settings = &scan.request.settings;
    let decoding = decoding_report(scan);
    SettingsReport {
        pipeline: settings.pipeline.clone(),
        pipeline_hash: settings.hash(),
        seed: settings.seed,
        fdr: settings.fdr,
        finding_p: settings.finding_p,
        hold_rows: settings.hold_rows,
        policy: policy_in_words(scan, &inputs.judged.summary),
        embedder: scan.embedder.map(Installed::report),
        decoding,
        method: std::iter::once(METHOD.to_owned())
            .chain(inputs.features.iter().cloned())
            .chain([decoding_in_words(&decoding)])
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

fn decoding_report(scan: &Scan<'_>) -> DecodingReport {
    let limits = &scan.request.settings.decoding.limits;
    let sandbox = scan.dataset.sandbox().map(|level| SandboxReport {
        resource_limits: level.resources,
        file_access: level.files,
        system_calls: level.system_calls,
        memory_bytes: limits.memory,
        seconds: limits.time.as_secs(),
    });
    DecodingReport { sandbox }
}

fn decoding_in_words(decoding: &DecodingReport) -> String {
    let Some(sandbox) = decoding.sandbox else {
        return "The input was decoded in the process of the scan, without a sandbox.".to_owned();
    };
    let parts = [
        (sandbox.resource_limits, "limited memory and time"),
        (sandbox.file_access, "no file but the input"),
        (sandbox.system_calls, "no network and no other program"),
    ];
    let words = |holds: bool| -> Vec<&str> {
        let parts = parts.iter().filter(|part| part.0 == holds);
        parts.map(|part| part.1).collect()
    };
    let mut text = format!(
        "The input was decoded in processes of their own with {}",
        words(true).join(", ")
    );
    if !words(false).is_empty() {
        text.push_str(&format!(
            "; this machine could not give them {}",
            words(false).join(", ")
        ));
    }
    text + "."
}

fn policy_in_words(scan: &Scan<'_>, collected: &Collected) -> Vec<String> {
    let settings = &scan.request.settings;
    let rules: Vec<String> = settings
        .rules
        .iter()
        .map(|rule| format!("`{rule}`"))
        .collect();
    let rows = if settings.hold_rows {
        format!(
            "hold back single records with a fused q-value of at most {} ({} records)",
            settings.fdr, collected.held_by_rows
        )
    } else {
        "hold back no single records, only findings".to_owned()
    };
    let mut policy = vec![
        format!(
            "hold back the records of findings with a corrected p-value of at most {}",
            settings.finding_p
        ),
        rows,
        format!("fail the gate on {}", rules.join(", ")),
        "anything unscanned fails the gate".to_owned(),
    ];
    if settings.keys.quarantine.is_some() {
        policy.push("`quarantine/` is encrypted (Parquet, AES-GCM)".to_owned());
    }
    policy
}

fn dataset_report(scan: &Scan<'_>, inputs: &Inputs<'_, '_>) -> DatasetReport {
    let dataset = scan.dataset;
    let verdicts = &inputs.judged.verdicts;
    let mut held = vec![(0, 0); dataset.files().len()];
    for unit in dataset.units() {
        let range = unit.first_row as usize..(unit.first_row + unit.rows) as usize;
        for verdict in verdicts.get(range).unwrap_or_default() {
            held[unit.file].0 += u64::from(*verdict == Verdict::Quarantine);
            held[unit.file].1 += u64::from(*verdict == Verdict::Unscanned);
        }
    }
    let mut reasons = BTreeMap::<usize, String>::new();
    for (unit, reason) in &inputs.judged.unscanned {
        reasons
            .entry(dataset.units()[*unit].file)
            .or_insert_with(|| reason.clone());
    }
    let files = dataset.files().iter().zip(held).enumerate();
    let files = files.map(|(idx, (file, (quarantined, unscanned)))| FileReport {
        path: file.input.relative.clone(),
        format: file.input.format.name().to_owned(),
        bytes: file.input.bytes,
        blake3: hex(&file.input.digest),
        records: file.rows,
        row_groups: file.row_groups,
        quarantined,
        unscanned,
        unscanned_reason: file.problem.clone().or_else(|| reasons.get(&idx).cloned()),
        partitions: file.input.partitions.iter().cloned().collect(),
    });
    let facts = &scan.assembler.facts;
    let columns = facts.columns.iter().map(|column| ColumnReport {
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        role: column.role.name().to_owned(),
        reason: column.reason.clone(),
    });
    let mut sources = inputs.judged.summary.sources.clone();
    sources.sort_by(|left, right| {
        right
            .quarantined
            .cmp(&left.quarantined)
            .then(right.records.cmp(&left.records))
            .then_with(|| left.name.cmp(&right.name))
    });
    sources.truncate(MAX_GROUPS);
    DatasetReport {
        name: inputs.name.clone(),
        version: version(dataset),
        files: files.collect(),
        skipped: inputs.skipped.clone(),
        trusted: scan.trusted.map(TrustedData::report).unwrap_or_default(),
        evaluation: scan.evaluation.map(beside::report).unwrap_or_default(),
        columns: columns.collect(),
        classes: inputs.judged.summary.classes.clone(),
        sources,
    }
}

/// BLAKE3 over paths and digests of the files, which are in path order.
fn version(dataset: &Dataset) -> String {
    let mut hasher = blake3::Hasher::new();
    for file in dataset.files() {
        // Lengths first, so that no path can pass for a path and a digest.
        hasher.update(&(file.input.relative.len() as u64).to_le_bytes());
        hasher.update(file.input.relative.as_bytes());
        hasher.update(&file.input.digest);
    }
    hasher.finalize().to_hex().to_string()
}

fn detector_reports(scan: &Scan<'_>, inputs: &Inputs<'_, '_>) -> Vec<DetectorReport> {
    let collected = &inputs.judged.summary;
    let report = |registration: &lazaretto_detectors::Registration| {
        let spec = registration.spec;
        let mut report = DetectorReport {
            id: spec.id.to_owned(),
            version: spec.state_version,
            family: spec.family.name().to_owned(),
            summary: spec.summary.to_owned(),
            status: DetectorStatus::Ran,
            note: None,
            parameters: registration.defaults(),
            decides: false,
            null: None,
            diagnosis: None,
            scored: 0,
            findings: 0,
            scores: None,
            calibration: Vec::new(),
        };
        let same = |planned: &Planned| planned.detector.spec().id == spec.id;
        if let Some(over) = scan.plan.passed_over.iter().find(|over| over.id == spec.id) {
            report.status = over.status;
            report.note = Some(over.reason.clone());
        } else if let Some((planned, reason)) =
            inputs.abstained.iter().find(|(planned, _)| same(planned))
        {
            report.status = DetectorStatus::Abstained;
            report.note = Some(reason.clone());
            report.parameters = planned.parameters.clone();
        } else if let Some(idx) = inputs.ran.iter().position(|planned| same(planned)) {
            let calibrated = &inputs.calibrated[idx];
            report.parameters = inputs.ran[idx].parameters.clone();
            report.note = Some(match (&calibrated.null, calibrated.kind) {
                (Some(null), ScoreKind::Statistical) => null.describe(spec.id),
                _ => "decides by its findings alone".to_owned(),
            });
            report.decides = calibrated.decides();
            if calibrated.kind == ScoreKind::Statistical {
                report.null = Some(calibrated.basis());
                report.diagnosis = calibrated.diagnosis().map(|found| found.to_string());
            }
            report.calibration = calibrated.table();
            report.scored = collected.scored[idx];
            report.scores = (report.scored > 0).then(|| collected.detectors[idx].clone());
            report.findings = collected
                .findings
                .iter()
                .filter(|finding| finding.detector == spec.id)
                .count() as u64;
        }
        report
    };
    REGISTRY.iter().map(report).collect()
}

fn finding_report(
    scan: &Scan<'_>,
    idx: usize,
    finding: &Finding,
    counts: &GroupCounts,
    near: &[u64],
    examples: &Examples,
) -> FindingReport {
    let facts = &scan.assembler.facts;
    let units = scan.dataset.units();
    let mut files = BTreeMap::<u32, u64>::new();
    for &ordinal in &finding.records {
        let unit = units
            .partition_point(|unit| unit.first_row <= ordinal)
            .max(1)
            - 1;
        *files.entry(units[unit].file as u32).or_default() += 1;
    }
    let names: Vec<String> = scan
        .dataset
        .files()
        .iter()
        .map(|file| file.input.relative.clone())
        .collect();
    let taxonomy = lazaretto_detectors::find(&finding.detector)
        .map(|registration| registration.spec.taxonomy)
        .unwrap_or_default();
    FindingReport {
        id: finding_id(idx),
        detector: finding.detector.clone(),
        kind: finding.kind.clone(),
        severity: finding.severity,
        action: finding.action,
        title: finding.title.clone(),
        p_value: finding.p_value,
        n_records: finding.records.len() as u64,
        target_class: finding.target_class.clone(),
        labels: grouped(&counts.labels, &facts.classes),
        sources: grouped(&counts.sources, &facts.sources),
        files: grouped(&files, &names),
        time_span: counts
            .times
            .map(|(first, last)| (time_text(first), time_text(last))),
        evidence: finding.evidence.clone(),
        highlight: finding.highlight.clone(),
        examples: if idx < MAX_WITH_EXAMPLES {
            spread(&finding.records)
                .into_iter()
                .filter_map(|ordinal| examples.get(ordinal))
                .collect()
        } else {
            Vec::new()
        },
        nearest_passing: near
            .iter()
            .filter_map(|&ordinal| examples.get(ordinal))
            .collect(),
        taxonomy: taxonomy.iter().map(|&tag| tag.to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_on_which_days_its_records_were_seen() {
        // 2026-03-02T23:59:59 and the second after it.
        let [evening, midnight] = [1_772_495_999_000_000, 1_772_496_000_000_000].map(time_text);
        assert_eq!(seen(&evening, &evening), "; all seen on 2026-03-02");
        assert_eq!(
            seen(&evening, &midnight),
            "; first seen 2026-03-02, last seen 2026-03-03"
        );
    }
}
