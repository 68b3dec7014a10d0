//! From scores and findings to verdicts: the calibrated detectors, who belongs to which finding,
//! and the pass that writes `scores/`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lazaretto_core::report::Counts;
use lazaretto_core::{Action, Finding, RowHash, ScoreKind, Verdict};
use lazaretto_io::{Decisions, IoError, RecordId, RecordNote, RunFolder, ScoreRow, ScoresWriter};
use rayon::prelude::*;

use crate::calibrate::{Decision, Null};
use crate::error::EngineError;
use crate::fuse::{QValues, fused_p_value, score_of};
use crate::scan::{Modelled, Scan, hex, unreadable};
use crate::settings::Settings;
use crate::spill::{Row, Spill};
use crate::summary;

/// Most scores from which a null is fitted; more are thinned evenly.
const MAX_NULL_SCORES: u64 = 1 << 22;
/// Upper fraction of a detector's scores whose place does not enter its null.
const CENSORED: f64 = 0.10;
/// Rows per batch of `scores/`.
const SCORE_BATCH: usize = 8192;

/// What calibration says about a detector.
pub(crate) struct Calibrated {
    pub(crate) id: &'static str,
    pub(crate) kind: ScoreKind,
    pub(crate) null: Option<Null>,
    rates: Option<QValues>,
}

impl Calibrated {
    /// Whether its scores take part in the row-level decision.
    pub(crate) fn decides(&self) -> bool {
        self.kind == ScoreKind::Statistical && self.null.as_ref().is_some_and(Null::has_tail)
    }

    pub(crate) fn p_value(&self, score: f32) -> Option<f64> {
        let null = self.null.as_ref().filter(|_| self.decides())?;
        score.is_finite().then(|| null.p_value(f64::from(score)))
    }

    /// Tail-area false-discovery rate of a score: how many scores at least this high the null
    /// predicts, over how many there are (Efron 2004). This carries the fusion, not the p-value:
    /// the extremes of a detector that finds no more of them than chance predicts are no
    /// evidence, however extreme they are.
    pub(crate) fn q_value(&self, score: f32) -> Option<f64> {
        let p = self.p_value(score)?;
        Some(self.rates.as_ref()?.q_value(p))
    }
}

/// Everything that is decided about the records.
pub(crate) struct Judged {
    pub(crate) verdicts: Vec<Verdict>,
    /// Notes of quarantined records by ordinal.
    pub(crate) notes: BTreeMap<u64, RecordNote>,
    /// Names of the records of findings by ordinal.
    pub(crate) members: BTreeMap<u64, String>,
    /// Reasons by unscanned unit.
    pub(crate) unscanned: BTreeMap<usize, String>,
    pub(crate) units: Vec<(u64, usize)>,
    pub(crate) counts: Counts,
    pub(crate) summary: summary::Collected,
}

impl Decisions for Judged {
    fn verdict(&self, ordinal: u64) -> Verdict {
        self.verdicts
            .get(ordinal as usize)
            .copied()
            .unwrap_or(Verdict::Unscanned)
    }

    fn note(&self, ordinal: u64) -> RecordNote {
        self.notes.get(&ordinal).cloned().unwrap_or(RecordNote {
            record_id: String::new(),
            row_hash: RowHash([0; 32]),
            score: 0.0,
            q_value: 1.0,
            findings: Vec::new(),
        })
    }

    fn unscanned_reason(&self, ordinal: u64) -> String {
        let after = self.units.partition_point(|&(first, _)| first <= ordinal);
        after
            .checked_sub(1)
            .and_then(|position| self.unscanned.get(&self.units[position].1))
            .cloned()
            .unwrap_or_else(|| "not judged".to_owned())
    }
}

impl Scan<'_> {
    /// Verdicts, `scores/` and what the report needs.
    pub(crate) fn judge(
        &self,
        calibrated: &[Calibrated],
        findings: Vec<Finding>,
        spill: &mut Spill,
        run: &RunFolder,
    ) -> Result<Judged, EngineError> {
        let settings = &self.request.settings;
        let failed = |source| IoError::Storage {
            action: "read",
            path: run.path().join(".scratch"),
            source,
        };
        self.progress.phase("judging", self.dataset.n_rows(), 0);
        let fused = |row: &Row| {
            let detectors = calibrated.iter().zip(&row.scores);
            let (p_values, rates): (Vec<f64>, Vec<f64>) = detectors
                .filter_map(|(detector, &score)| {
                    Some((detector.p_value(score)?, detector.q_value(score)?))
                })
                .unzip();
            fused_p_value(&p_values, &rates)
        };
        let step = spill.n_rows().div_ceil(null_scores(settings)).max(1);
        let mut strengths = Vec::new();
        spill
            .for_each(|ordinal, row| {
                if ordinal % step == 0
                    && let Some(p) = fused(&row)
                {
                    strengths.push(-p.log10() as f32);
                }
            })
            .map_err(failed)?;
        let decision = Decision::fit(strengths);
        let membership = Membership::new(findings, settings.finding_p);
        let mut q_values = QValues::default();
        spill
            .for_each(|_, row| {
                if let Some(p) = fused(&row) {
                    q_values.add(decision.p_value(p));
                }
            })
            .map_err(failed)?;
        let q_values = q_values.finish();
        let mut judge = Judge {
            scan: self,
            calibrated,
            membership: &membership,
            decision,
            q_values,
            fused: &fused,
            collected: summary::Collected::new(self.assembler, calibrated),
            verdicts: Vec::with_capacity(spill.n_rows() as usize),
            notes: BTreeMap::new(),
            members: BTreeMap::new(),
        };
        judge.write_scores(spill, run)?;
        let Judge {
            verdicts,
            notes,
            members,
            mut collected,
            ..
        } = judge;
        for finding in membership.findings() {
            collected.add_finding(finding, spill).map_err(failed)?;
        }
        let count = |verdict| verdicts.iter().filter(|&&v| v == verdict).count() as u64;
        let files = self.dataset.files();
        let counts = Counts {
            records: verdicts.len() as u64,
            pass: count(Verdict::Pass),
            quarantine: count(Verdict::Quarantine),
            unscanned: count(Verdict::Unscanned),
            files: files.len() as u64,
            unscanned_files: self.unscanned_files(),
        };
        collected.findings = membership.into_findings();
        Ok(Judged {
            verdicts,
            notes,
            members,
            unscanned: self.unscanned.clone(),
            units: self
                .dataset
                .units()
                .iter()
                .enumerate()
                .map(|(idx, unit)| (unit.first_row, idx))
                .collect(),
            counts,
            summary: collected,
        })
    }
}

/// Number of scores from which a null is fitted.
pub(crate) fn null_scores(settings: &Settings) -> u64 {
    (settings.memory / 64).clamp(1 << 16, MAX_NULL_SCORES)
}

pub(crate) fn calibrate(
    models: &[Modelled<'_>],
    spill: &mut Spill,
    max_scores: u64,
) -> Result<Vec<Calibrated>, EngineError> {
    let mut calibrated = Vec::new();
    for (idx, model) in models.iter().enumerate() {
        let spec = model.planned.detector.spec();
        let fitted = match spec.score_kind {
            ScoreKind::Rule => None,
            ScoreKind::Statistical => {
                let scores = spill
                    .scores(idx, max_scores)
                    .map_err(|source| IoError::Storage {
                        action: "read",
                        path: PathBuf::from("scores"),
                        source,
                    })?;
                let null = Null::fit(scores.clone(), CENSORED);
                let mut rates = QValues::default();
                for score in scores {
                    rates.add(null.p_value(f64::from(score)));
                }
                Some((null, rates.finish()))
            }
        };
        let (null, rates) = fitted.unzip();
        calibrated.push(Calibrated {
            id: spec.id,
            kind: spec.score_kind,
            null,
            rates,
        });
    }
    Ok(calibrated)
}

/// Which findings a record belongs to.
pub(crate) struct Membership {
    findings: Vec<Finding>,
    /// (ordinal, finding), sorted.
    members: Vec<(u64, u32)>,
}

impl Membership {
    /// Orders findings by severity, certainty and size, and settles which hold records back.
    fn new(mut findings: Vec<Finding>, finding_p: f64) -> Self {
        for finding in &mut findings {
            if finding.p_value > finding_p {
                finding.action = Action::Review;
            }
        }
        findings.sort_by(|left, right| {
            let holds = |finding: &Finding| finding.action == Action::Quarantine;
            holds(right)
                .cmp(&holds(left))
                .then(right.severity.cmp(&left.severity))
                .then(left.p_value.total_cmp(&right.p_value))
                .then(right.records.len().cmp(&left.records.len()))
                .then_with(|| left.detector.cmp(&right.detector))
                .then_with(|| left.title.cmp(&right.title))
        });
        let mut members: Vec<(u64, u32)> = findings
            .iter()
            .zip(0..)
            .flat_map(|(finding, idx)| finding.records.iter().map(move |&ordinal| (ordinal, idx)))
            .collect();
        members.par_sort_unstable();
        Self { findings, members }
    }

    fn of(&self, ordinal: u64) -> impl Iterator<Item = (usize, &Finding)> {
        let start = self
            .members
            .partition_point(|&(member, _)| member < ordinal);
        self.members[start..]
            .iter()
            .take_while(move |&&(member, _)| member == ordinal)
            .map(|&(_, idx)| (idx as usize, &self.findings[idx as usize]))
    }

    fn findings(&self) -> &[Finding] {
        &self.findings
    }

    fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

/// `F001` for the first finding.
pub(crate) fn finding_id(idx: usize) -> String {
    format!("F{:03}", idx + 1)
}

/// The last pass over the spilled scores.
struct Judge<'s, 'a, F> {
    scan: &'s Scan<'a>,
    calibrated: &'s [Calibrated],
    membership: &'s Membership,
    decision: Decision,
    q_values: QValues,
    fused: &'s F,
    collected: summary::Collected,
    verdicts: Vec<Verdict>,
    notes: BTreeMap<u64, RecordNote>,
    members: BTreeMap<u64, String>,
}

impl<F: Fn(&Row) -> Option<f64>> Judge<'_, '_, F> {
    /// Judges every record and writes its row of `scores/`.
    fn write_scores(&mut self, spill: &mut Spill, run: &RunFolder) -> Result<(), EngineError> {
        let scan = self.scan;
        let ids: Vec<&str> = self.calibrated.iter().map(|detector| detector.id).collect();
        let layout = &scan.assembler.layout;
        let integer_ids = layout
            .id
            .is_some_and(|id| scan.assembler.schema.field(id).data_type().is_integer());
        let mut writer = ScoresWriter::create(run, &ids, integer_ids)?;
        for unit in 0..scan.dataset.units().len() {
            let place = scan.dataset.units()[unit];
            let unread = scan.unscanned.contains_key(&unit);
            let names = RecordNames::of_unit(scan, unit, unread, integer_ids)?;
            let file = &scan.dataset.files()[place.file].input.relative;
            let end = place.first_row + place.rows;
            for first in (place.first_row..end).step_by(SCORE_BATCH) {
                let n_rows = (end - first).min(SCORE_BATCH as u64);
                let rows = spill
                    .range(first, n_rows)
                    .map_err(|source| IoError::Storage {
                        action: "read",
                        path: run.path().join(".scratch"),
                        source,
                    })?;
                let judged: Vec<JudgedRow> = (first..)
                    .zip(&rows)
                    .map(|(ordinal, row)| {
                        self.judge(ordinal, row, unread, &names, ordinal - place.first_row)
                    })
                    .collect();
                let rows: Vec<ScoreRow<'_>> = judged
                    .iter()
                    .map(|judged| judged.as_row(file, place.row_group))
                    .collect();
                writer.append_rows(&rows)?;
            }
            scan.progress.advance(place.rows, 0);
        }
        writer.finish()?;
        Ok(())
    }

    fn judge(
        &mut self,
        ordinal: u64,
        row: &Row,
        unread: bool,
        names: &RecordNames,
        row_idx: u64,
    ) -> JudgedRow {
        let settings = &self.scan.request.settings;
        let name = names.name(row_idx);
        let row_in_group = names.row_in_group(row_idx);
        if unread {
            self.verdicts.push(Verdict::Unscanned);
            return JudgedRow {
                name,
                row: row_in_group,
                hash: None,
                score: f32::NAN,
                p_value: f64::NAN,
                q_value: f64::NAN,
                verdict: Verdict::Unscanned,
                scores: row.scores.clone(),
            };
        }
        let fused = (self.fused)(row);
        let mut rank_p = fused.unwrap_or(1.0);
        let mut p_value = fused.map_or(1.0, |p| self.decision.p_value(p));
        let mut q_value = fused.map_or(1.0, |_| self.q_values.q_value(p_value));
        let mut held = settings.hold_rows && fused.is_some() && q_value <= settings.fdr;
        let by_rows = held;
        let mut scores = row.scores.clone();
        let mut findings = Vec::new();
        for (idx, finding) in self.membership.of(ordinal) {
            findings.push(idx);
            if let Some(position) = self.calibrated.iter().position(|detector| {
                detector.id == finding.detector && detector.kind == ScoreKind::Rule
            }) {
                let strength = score_of(finding.p_value);
                scores[position] = scores[position].max(strength);
            }
            if finding.action == Action::Quarantine {
                held = true;
                rank_p = rank_p.min(finding.p_value);
                p_value = p_value.min(finding.p_value);
                q_value = q_value.min(finding.p_value);
            }
        }
        if !findings.is_empty() {
            self.members.insert(ordinal, name.to_string());
        }
        let verdict = if held {
            Verdict::Quarantine
        } else {
            Verdict::Pass
        };
        let score = score_of(rank_p);
        if held {
            self.notes.insert(
                ordinal,
                RecordNote {
                    record_id: name.to_string(),
                    row_hash: row.hash,
                    score,
                    q_value,
                    findings: findings.iter().map(|&idx| finding_id(idx)).collect(),
                },
            );
        }
        self.verdicts.push(verdict);
        self.collected.add_record(&summary::Record {
            ordinal,
            row,
            calibrated: self.calibrated,
            score,
            p_value,
            q_value,
            verdict,
            by_rows,
            findings: &findings,
        });
        JudgedRow {
            name,
            row: row_in_group,
            hash: Some(row.hash),
            score,
            p_value,
            q_value,
            verdict,
            scores,
        }
    }
}

/// The name of a record, as `scores/` has it.
#[derive(Clone, Debug)]
enum Name {
    Integer(i64),
    Text(String),
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(id) => write!(formatter, "{id}"),
            Self::Text(id) => formatter.write_str(id),
        }
    }
}

struct JudgedRow {
    name: Name,
    row: u64,
    hash: Option<RowHash>,
    score: f32,
    p_value: f64,
    q_value: f64,
    verdict: Verdict,
    scores: Vec<f32>,
}

impl JudgedRow {
    fn as_row<'r>(&'r self, file: &'r str, row_group: u32) -> ScoreRow<'r> {
        ScoreRow {
            record_id: match &self.name {
                Name::Integer(id) => RecordId::Integer(*id),
                Name::Text(id) => RecordId::Text(id),
            },
            row_hash: self.hash,
            file,
            row_group,
            row: self.row,
            score: self.score,
            p_value: self.p_value,
            q_value: self.q_value,
            verdict: self.verdict,
            detectors: &self.scores,
        }
    }
}

/// Names of the records of one unit.
struct RecordNames {
    integers: Option<Vec<Option<i64>>>,
    texts: Option<Vec<Option<String>>>,
    prefix: String,
    integer_ids: bool,
    row_in_group: u64,
}

impl RecordNames {
    fn of_unit(
        scan: &Scan<'_>,
        unit: usize,
        unread: bool,
        integer_ids: bool,
    ) -> Result<Self, EngineError> {
        use arrow::array::AsArray as _;
        use arrow::datatypes::{DataType, Int64Type};
        let place = scan.dataset.units()[unit];
        let file = &scan.dataset.files()[place.file].input;
        let mut names = Self {
            integers: None,
            texts: None,
            // Without an id column a record is named by where it stands.
            prefix: format!("{}:{}", &hex(&file.digest)[..16], place.row_group),
            integer_ids,
            row_in_group: place.row_in_group,
        };
        let Some(id) = scan.assembler.layout.id.filter(|_| !unread) else {
            return Ok(names);
        };
        let describe = |error| unreadable(&file.relative, place.row_group, &error);
        let (mut integers, mut texts) = (Vec::new(), Vec::new());
        for batch in scan.dataset.batches(unit, Some(&[id]))? {
            let batch = batch?;
            let column = batch.column(0);
            if integer_ids {
                let column = arrow::compute::cast(column, &DataType::Int64).map_err(describe)?;
                integers.extend(column.as_primitive::<Int64Type>().iter());
            } else {
                let column = crate::assemble::strings(column).map_err(describe)?;
                texts.extend(column.iter().map(|id| id.map(str::to_owned)));
            }
        }
        names.integers = integer_ids.then_some(integers);
        names.texts = (!integer_ids).then_some(texts);
        Ok(names)
    }

    fn row_in_group(&self, row_idx: u64) -> u64 {
        self.row_in_group + row_idx
    }

    fn name(&self, row_idx: u64) -> Name {
        let row = row_idx as usize;
        if self.integer_ids {
            // A record without an id in an integer column cannot borrow another's.
            let id = self
                .integers
                .as_ref()
                .and_then(|ids| ids.get(row).copied().flatten());
            return Name::Integer(id.unwrap_or(i64::MIN));
        }
        let id = self
            .texts
            .as_ref()
            .and_then(|ids| ids.get(row).cloned().flatten());
        Name::Text(id.unwrap_or_else(|| format!("{}:{}", self.prefix, self.row_in_group(row_idx))))
    }
}
