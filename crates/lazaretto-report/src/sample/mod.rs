//! A report as a scan of a poisoned review set would give it, with hostile strings in the data.
//!
//! For the tests of this crate and for `examples/sample.rs`, which shares the folder.

mod campaigns;
mod detectors;
mod findings;

use std::collections::BTreeMap;

use lazaretto_core::report::{
    ColumnReport, Counts, DatasetReport, DecodingReport, FileReport, Gate, GateStatus, GroupReport,
    Histogram, PowerAttack, PowerReport, PowerResult, RecordReport, Report, ReviewRecord,
    ReviewReport, SCHEMA, SandboxReport, SettingsReport, SkippedReport, TagReport,
};
use lazaretto_core::{Action, taxonomy};

use self::campaigns::campaigns;
use self::detectors::{bell, detectors};
use self::findings::findings;

/// The report.
pub(crate) fn report() -> Report {
    Report {
        schema: SCHEMA.to_owned(),
        tool: "lazaretto".to_owned(),
        tool_version: "0.1.0".to_owned(),
        gate: gate(),
        counts: Counts {
            records: 6_920,
            pass: 6_851,
            quarantine: 69,
            unscanned: 0,
            files: 3,
            unscanned_files: 0,
        },
        settings: settings(),
        dataset: dataset(),
        detectors: detectors(),
        campaigns: campaigns(),
        findings: findings(),
        records: records(),
        review: Some(review()),
        power: Some(power()),
        scores: fused_scores(),
        taxonomy: [
            "AML.T0020",
            "AML.T0043.004",
            "AML.T0059",
            "LLM04:2025",
            "NISTAML.013",
            "NISTAML.023",
        ]
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
    }
}

/// The report of a scan that found nothing.
pub(crate) fn quiet_report() -> Report {
    let mut report = report();
    report.gate = Gate {
        status: GateStatus::Passed,
        exit_code: 0,
        reasons: Vec::new(),
        evidence: false,
        summary: "no evidence of poisoning at FDR 5 %: no finding by detectors confident-learning, exact-duplicates, text-surface, \
                  text-trigger holds a record back"
            .to_owned(),
    };
    report.counts.pass = 6_920;
    report.counts.quarantine = 0;
    report.campaigns.clear();
    report.findings.clear();
    report.records.clear();
    report.review = None;
    report.power = None;
    report.taxonomy.clear();
    report.scores.quarantined.fill(0);
    for detector in &mut report.detectors {
        detector.findings = 0;
        if let Some(scores) = &mut detector.scores {
            scores.quarantined.fill(0);
        }
    }
    report
}

fn power() -> PowerReport {
    let result = |size: u64, held: u64| PowerResult {
        size,
        held,
        others_held: 0,
    };
    PowerReport {
        records: 6_851,
        of: 6_851,
        seed: 42,
        attacks: vec![
            PowerAttack {
                id: "trigger-word".to_owned(),
                planted: "one made-up word in texts".to_owned(),
                results: vec![result(10, 4), result(25, 25)],
                not_measured: None,
            },
            PowerAttack {
                id: "shifted-vectors".to_owned(),
                planted: "vectors of other classes, all moved by one shift".to_owned(),
                results: Vec::new(),
                not_measured: Some("no `embedding` column".to_owned()),
            },
        ],
    }
}

fn review() -> ReviewReport {
    let record = |rank: u64| ReviewRecord {
        record_id: (100 * rank).to_string(),
        file: "split=train/part-0.parquet".to_owned(),
        row_group: 0,
        row: 90 * rank,
        verdict: if rank < 3 { "quarantine" } else { "pass" }.to_owned(),
        score: 0.9 / rank as f32,
        q_value: 1e-6_f64.powf(1.0 / rank as f64),
        expected_error: 0.01 * rank as f64,
        findings: if rank < 3 {
            vec!["F002".to_owned()]
        } else {
            Vec::new()
        },
    };
    ReviewReport {
        budget: 80,
        listed: 80,
        held: 69,
        expected_error: 0.11,
        by_findings: 69,
        by_findings_error: 0.001,
        by_scores: 11,
        by_scores_error: 0.8,
        method: "How the shares are estimated.".to_owned(),
        records: (1..=4).map(record).collect(),
    }
}

fn gate() -> Gate {
    Gate {
        status: GateStatus::Failed,
        exit_code: 1,
        reasons: vec![
            "findings of severity `high` or above: 3 (F001, F002, F003)".to_owned(),
            "records held back: 69 (1 %), allowed 0.5 %".to_owned(),
        ],
        evidence: true,
        summary: "69 of 6,920 records are held back by 4 findings at FDR 5 %".to_owned(),
    }
}

fn settings() -> SettingsReport {
    SettingsReport {
        pipeline: "auto".to_owned(),
        pipeline_hash: "5b0c8a5d1f6f0e7c3f0f2f7f4a9d1f5f6a1c2b3d4e5f60718293a4b5c6d7e8f9"
            .to_owned(),
        seed: 42,
        fdr: 0.05,
        finding_p: 0.05,
        hold_rows: true,
        policy: vec![
            "fail on findings of severity `high` or above".to_owned(),
            "fail when more than 0.5 % of the records are held back".to_owned(),
            "fail when anything is unscanned".to_owned(),
        ],
        method: "Each detector's scores become p-values against a null fitted to the bulk of the \
                 data. The p-values of a record are fused with the Cauchy combination, which holds \
                 for correlated detectors, and records are held back by Benjamini–Hochberg."
            .to_owned(),
        decoding: DecodingReport {
            sandbox: Some(SandboxReport {
                resource_limits: true,
                file_access: true,
                system_calls: true,
                memory_bytes: 1 << 30,
                seconds: 30,
            }),
        },
        embedder: None,
    }
}

fn dataset() -> DatasetReport {
    let column = |name: &str, data_type: &str, role: &str, reason: &str| ColumnReport {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        role: role.to_owned(),
        reason: reason.to_owned(),
    };
    DatasetReport {
        name: "reviews".to_owned(),
        version: "c3d1f0a9".repeat(8),
        files: vec![
            file(
                "split=train/part-0.parquet",
                "parquet",
                412_331,
                3_460,
                2,
                41,
            ),
            file(
                "split=train/part-1.parquet",
                "parquet",
                409_872,
                3_200,
                2,
                28,
            ),
            file("split=train/late.csv", "csv", 31_240, 260, 1, 0),
        ],
        skipped: vec![SkippedReport {
            path: "_metadata".to_owned(),
            reason: "name begins with `_`".to_owned(),
        }],
        trusted: Vec::new(),
        evaluation: Vec::new(),
        columns: vec![
            column("row_id", "Utf8", "id", "given with `--id`"),
            column("text", "LargeUtf8", "text", "name `text` and long strings"),
            column(
                "label",
                "Int64",
                "label",
                "ClassLabel in the schema's metadata",
            ),
            column(
                "source",
                "Utf8",
                "source",
                "name `source`, 12 distinct values",
            ),
            column("date", "Timestamp(Microsecond, None)", "time", "its type"),
        ],
        classes: vec![group("negative", 3_310, 3), group("positive", 3_610, 66)],
        sources: vec![
            group("partner-feed-7", 64, 51),
            group("forum<b>import</b>", 210, 14),
            group("web-crawl", 4_106, 3),
            group("app", 2_540, 1),
        ],
    }
}

fn group(name: &str, records: u64, quarantined: u64) -> GroupReport {
    GroupReport {
        name: name.to_owned(),
        records,
        quarantined,
    }
}

fn file(
    path: &str,
    format: &str,
    bytes: u64,
    records: u64,
    row_groups: u32,
    quarantined: u64,
) -> FileReport {
    FileReport {
        path: path.to_owned(),
        format: format.to_owned(),
        bytes,
        blake3: digest(bytes),
        records: Some(records),
        row_groups,
        quarantined,
        unscanned: 0,
        unscanned_reason: None,
        partitions: BTreeMap::from([("split".to_owned(), "train".to_owned())]),
    }
}

/// 64 hexadecimal digits that look like a hash (`SplitMix64`).
fn digest(seed: u64) -> String {
    let word = |index: u64| {
        let mut z = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    format!(
        "{:016x}{:016x}{:016x}{:016x}",
        word(1),
        word(2),
        word(3),
        word(4)
    )
}

fn records() -> Vec<RecordReport> {
    let mut records: Vec<RecordReport> = Vec::new();
    for finding in findings() {
        let held = finding.action == Action::Quarantine;
        for example in finding.examples {
            let place = u32::try_from(records.len()).unwrap_or_default();
            let p_value = if held {
                1e-9 * 10f64.powf(f64::from(place))
            } else {
                0.012
            };
            records.push(RecordReport {
                row_hash: digest(u64::from(place)),
                score: if held {
                    0.999 - 0.004 * place as f32
                } else {
                    0.871
                },
                p_value,
                q_value: (p_value * 400.0).min(1.0),
                verdict: if held { "quarantine" } else { "pass" }.to_owned(),
                detectors: vec![
                    (finding.detector.clone(), p_value / 2.0),
                    ("confident-learning".to_owned(), 0.004),
                    ("exact-duplicates".to_owned(), 1.0),
                ],
                findings: vec![finding.id.clone()],
                example,
            });
        }
    }
    records
}

fn fused_scores() -> Histogram {
    bell(0.3, 0.12, 6_851, &[(36, 8), (37, 12), (38, 21), (39, 28)])
}
