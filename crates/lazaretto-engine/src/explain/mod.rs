//! Why a record of a finished run has its verdict, what would have to change for another one, and
//! which clean records are near it.
//!
//! Everything comes from the run folder, after its digests have been checked: `scores/`,
//! `findings.parquet`, `report.json`, and the record itself from `clean/` or `quarantine/`. The
//! dataset may be gone by then.

mod lookup;
mod nearest;
mod record;
mod rules;

pub(crate) use self::nearest::vectors;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lazaretto_core::explanation::{
    CampaignSays, DetectorSays, Explanation, FindingSays, NearRecord, Nearest, Place, Rules, SCHEMA,
};
use lazaretto_core::report::{DetectorStatus, ExampleReport, Report};
use lazaretto_io::{Dataset, EncryptionKeys, FinishedRun, HeaderLimits, IoError, OpenOptions};
use lazaretto_patterns::Redactor;

use self::lookup::Listed;
use self::nearest::Measure;
use self::record::{Shown, row_of};
use self::rules::Evidence;
use crate::curve::p_value_at;
use crate::error::EngineError;

/// Most clean records that are shown.
pub const MAX_NEAREST: usize = 100;
/// Bytes of a batch of `clean/` in memory, on each thread.
const BATCH_BYTES: usize = 4 << 20;

/// What to explain.
#[derive(Clone, Debug)]
pub struct ExplainRequest {
    /// The folder of a finished run.
    pub run: PathBuf,
    /// Id of the record as in `scores/`, or its place: the first 16 digits of the file's BLAKE3,
    /// the row group and the row, with `:` between them.
    pub record: String,
    /// Number of near clean records to show, at most [`MAX_NEAREST`].
    pub nearest: usize,
    /// Keys of what is encrypted in it.
    pub keys: EncryptionKeys,
    /// Set to stop.
    pub cancel: Arc<AtomicBool>,
}

/// Explains a record.
///
/// # Errors
/// [`EngineError::NoRecord`] and [`EngineError::AmbiguousRecord`] when the id does not name one record;
/// [`IoError::NoRun`] and [`IoError::RunChanged`] when there is no run that can be trusted.
pub fn explain(request: &ExplainRequest) -> Result<Explanation, EngineError> {
    let run = FinishedRun::open(&request.run)?;
    let report = run.report()?;
    let row = lookup::find(&run, &report, &request.record)?;
    let scratch = tempfile::tempdir().map_err(|source| IoError::Storage {
        action: "create",
        path: std::env::temp_dir(),
        source,
    })?;
    let open = |folder: &str, keys: &EncryptionKeys| -> Result<Option<Dataset>, IoError> {
        let scratch = scratch.path().join(folder);
        std::fs::create_dir_all(&scratch).map_err(|source| IoError::Storage {
            action: "create",
            path: scratch.clone(),
            source,
        })?;
        let options = OpenOptions {
            scratch,
            cancel: Arc::clone(&request.cancel),
            batch_bytes: BATCH_BYTES,
            // The run's own files, whose digests were checked.
            isolation: None,
            keys: keys.clone(),
            headers: HeaderLimits::default(),
        };
        run.dataset(folder, options)
    };
    let explained = Explained {
        request,
        run: &run,
        report: &report,
        row,
        clean: open("clean", &request.keys)?,
        quarantine: open("quarantine", &request.keys.of_quarantine())?,
    };
    explained.explanation()
}

/// A record that was found.
struct Explained<'a> {
    request: &'a ExplainRequest,
    run: &'a FinishedRun,
    report: &'a Report,
    row: Listed,
    clean: Option<Dataset>,
    quarantine: Option<Dataset>,
}

impl Explained<'_> {
    fn explanation(self) -> Result<Explanation, EngineError> {
        let (report, row) = (self.report, &self.row);
        let rules = Rules {
            fdr: report.settings.fdr,
            hold_rows: report.settings.hold_rows,
            finding_p: report.settings.finding_p,
            seed: report.settings.seed,
            pipeline_hash: report.settings.pipeline_hash.clone(),
        };
        let mut redactor = Redactor::default();
        let mut notes = Vec::new();
        let stored = self.stored(&mut notes)?;
        let shown = stored.as_ref().map(|(batch, _)| {
            let shown = Shown::new(batch, &report.dataset.columns, &mut redactor);
            (shown.example(row, &report.dataset.classes), shown.time)
        });
        let nearest = match &stored {
            Some((batch, relative)) => self.nearest(batch, relative, &mut redactor)?,
            None => Nearest::default(),
        };
        let findings = self.findings(&redactor)?;
        let evidence = Evidence {
            rules: &rules,
            findings: &findings,
            row_q: row.row_q_value,
        };
        let unscanned = row.verdict == "unscanned";
        let because = if unscanned {
            let file = report.dataset.files.iter().find(|f| f.path == row.file);
            let reason = file.and_then(|file| file.unscanned_reason.as_deref());
            format!("not judged: {}", reason.unwrap_or("it could not be read"))
        } else {
            evidence.because()
        };
        if !unscanned && evidence.holds() != (row.verdict == "quarantine") {
            return Err(IoError::NoRun {
                path: self.request.run.clone(),
                reason: "the verdict does not follow from the rules: another version wrote it"
                    .to_owned(),
            }
            .into());
        }
        let (record, time) = shown.unzip();
        Ok(Explanation {
            schema: SCHEMA.to_owned(),
            tool: report.tool.clone(),
            tool_version: report.tool_version.clone(),
            place: self.place(),
            record,
            time: time.flatten(),
            verdict: row.verdict.clone(),
            because,
            score: row.score,
            p_value: row.p_value,
            q_value: row.q_value,
            row_q_value: row.row_q_value,
            changes: if unscanned {
                Vec::new()
            } else {
                evidence.changes()
            },
            detectors: self.detectors(&findings),
            campaigns: self.campaigns(&findings),
            findings,
            nearest,
            notes,
            rules,
        })
    }

    fn place(&self) -> Place {
        let (dataset, row) = (&self.report.dataset, &self.row);
        let file = dataset.files.iter().find(|file| file.path == row.file);
        Place {
            record_id: row.record_id.clone(),
            row_hash: row.row_hash.clone(),
            dataset: dataset.name.clone(),
            dataset_version: dataset.version.clone(),
            file: row.file.clone(),
            file_blake3: file.map(|file| file.blake3.clone()).unwrap_or_default(),
            row_group: row.row_group,
            row: row.row,
            position: row.position,
        }
    }

    /// The record as the run keeps it, and the path of the file that it is in.
    fn stored(
        &self,
        notes: &mut Vec<String>,
    ) -> Result<Option<(arrow::array::RecordBatch, String)>, EngineError> {
        let row = &self.row;
        // Records of text formats are in a Parquet file of their own (see `lazaretto_io::split`).
        let places = match row.verdict.as_str() {
            "pass" => vec![(&self.clean, row.file.clone())],
            "quarantine" => vec![
                (&self.quarantine, row.file.clone()),
                (&self.quarantine, format!("{}.parquet", row.file)),
            ],
            _ => Vec::new(),
        };
        for (dataset, relative) in places {
            let Some(dataset) = dataset else { continue };
            if let Some(batch) = row_of(dataset, &relative, row.rank)? {
                return Ok(Some((batch, relative)));
            }
        }
        notes.push(match row.verdict.as_str() {
            "unscanned" => "its values could not be read".to_owned(),
            folder => format!("it was not found again in `{folder}/`"),
        });
        Ok(None)
    }

    fn findings(&self, redactor: &Redactor) -> Result<Vec<FindingSays>, EngineError> {
        let listed = self.run.findings_of(self.row.position)?;
        let says = listed.into_iter().map(|finding| {
            let evidence: BTreeMap<String, serde_json::Value> =
                serde_json::from_str(&finding.evidence).unwrap_or_default();
            let evidence = evidence.into_iter();
            let campaigns = &self.report.campaigns;
            let campaign = campaigns
                .iter()
                .find(|campaign| campaign.findings.contains(&finding.id));
            FindingSays {
                detector: finding.detector,
                kind: finding.kind,
                severity: finding.severity,
                holds: finding.holds,
                title: redactor.redact(&finding.title),
                p_value: finding.p_value,
                n_records: finding.n_records,
                target_class: finding.target_class.map(|class| redactor.redact(&class)),
                evidence: evidence
                    .map(|(name, value)| (name, redactor.redact_value(value)))
                    .collect(),
                campaign: campaign.map(|campaign| campaign.id.clone()),
                id: finding.id,
            }
        });
        Ok(says.collect())
    }

    fn campaigns(&self, findings: &[FindingSays]) -> Vec<CampaignSays> {
        let mine = |id: &String| findings.iter().any(|finding| finding.id == *id);
        let campaigns = self.report.campaigns.iter();
        campaigns
            .filter(|campaign| campaign.findings.iter().any(mine))
            .map(|campaign| CampaignSays {
                id: campaign.id.clone(),
                title: campaign.title.clone(),
                confidence: campaign.confidence,
                n_records: campaign.n_records,
                suggestion: campaign.suggestion.clone(),
            })
            .collect()
    }

    /// The detectors that ran: those with findings first, then by the p-value of the score.
    fn detectors(&self, findings: &[FindingSays]) -> Vec<DetectorSays> {
        let detectors = self.report.detectors.iter();
        let mut says: Vec<DetectorSays> = detectors
            .filter(|detector| detector.status == DetectorStatus::Ran)
            .map(|detector| {
                let scores = &self.row.detectors;
                let score = scores.iter().find(|(id, _)| *id == detector.id);
                let score = score.and_then(|(_, score)| *score);
                DetectorSays {
                    id: detector.id.clone(),
                    version: detector.version,
                    decides: detector.decides,
                    score,
                    p_value: score
                        .and_then(|score| p_value_at(&detector.calibration, f64::from(score))),
                    findings: findings
                        .iter()
                        .filter(|finding| finding.detector == detector.id)
                        .map(|finding| finding.id.clone())
                        .collect(),
                    parameters: detector.parameters.clone(),
                }
            })
            .collect();
        let rank = |detector: &DetectorSays| {
            let p = detector.p_value.unwrap_or(2.0);
            (detector.findings.is_empty(), p)
        };
        says.sort_by(|left, right| {
            let (left, right) = (rank(left), rank(right));
            left.0.cmp(&right.0).then(left.1.total_cmp(&right.1))
        });
        says
    }

    fn nearest(
        &self,
        record: &arrow::array::RecordBatch,
        relative: &str,
        redactor: &mut Redactor,
    ) -> Result<Nearest, EngineError> {
        let columns = &self.report.dataset.columns;
        let (Some(clean), Some(measure)) = (&self.clean, Measure::of(columns)) else {
            return Ok(Nearest::default());
        };
        let itself = (self.row.verdict == "pass").then_some((relative, self.row.rank));
        let k = self.request.nearest.min(MAX_NEAREST);
        let (found, compared) = nearest::nearest(clean, &measure, record, itself, k)?;
        let places: Vec<(String, u64)> = found
            .iter()
            .map(|near| (clean.files()[near.file].input.relative.clone(), near.row))
            .collect();
        let names = lookup::passing(self.run, &places)?;
        let mut records = Vec::new();
        for ((near, (file, row)), name) in found.iter().zip(places).zip(names) {
            let Some(batch) = row_of(clean, &file, row)? else {
                continue;
            };
            let Some((record_id, row_group, row)) = name else {
                continue;
            };
            let shown = Shown::new(&batch, columns, redactor);
            let record = ExampleReport {
                record_id,
                file,
                row_group,
                row,
                ..shown.example(&self.row, &self.report.dataset.classes)
            };
            records.push(NearRecord {
                record,
                similarity: near.similarity,
            });
        }
        Ok(Nearest {
            measure: measure.in_words(),
            compared,
            records,
        })
    }
}
