//! From fused scores and findings to verdicts: who belongs to which finding, and the pass that writes
//! `scores/`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use lazaretto_core::report::Counts;
use lazaretto_core::{Action, Finding, RowHash, ScoreKind, Verdict};
use lazaretto_io::{
    Decisions, IoError, RecordId, RecordNote, RunFolder, ScoreRow, ScoresWriter, score_batch,
};
use rayon::prelude::*;

use crate::calibrated::Calibrated;
use crate::combine::{Decided, Fused};
use crate::error::EngineError;
use crate::fuse::{score_of, within_finding};
use crate::names::{Name, RecordNames};
use crate::review::{Candidate, Review, ReviewList};
use crate::scan::Scan;
use crate::spill::{BLOCK_ROWS, Block, Row, Spill};
use crate::summary;

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
    /// What to look at first, where a budget was given.
    pub(crate) review: Option<Review>,
}

impl Judged {
    /// A digest of everything that is written about the records in `clean/`, `quarantine/` and `unscanned/`.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut put = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for verdicts in self.verdicts.chunks(1 << 16) {
            let verdicts: Vec<u8> = verdicts.iter().map(|&verdict| verdict as u8).collect();
            put(&verdicts);
        }
        for (ordinal, note) in &self.notes {
            put(&ordinal.to_le_bytes());
            put(note.record_id.as_bytes());
            put(&note.row_hash.0);
            put(&note.score.to_le_bytes());
            put(&note.q_value.to_le_bytes());
            for finding in &note.findings {
                put(finding.as_bytes());
            }
        }
        for (unit, reason) in &self.unscanned {
            put(&(*unit as u64).to_le_bytes());
            put(reason.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
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
        spill: &Spill,
        fused: &Fused,
        run: &RunFolder,
    ) -> Result<Judged, EngineError> {
        self.progress.phase("judging", self.dataset.n_rows(), 0);
        let scratch = run.scratch_folder();
        let failed = |source| IoError::Storage {
            action: "read",
            path: scratch.clone(),
            source,
        };
        let membership = Membership::new(findings, self.request.settings.finding_p);
        let judge = Judge {
            scan: self,
            calibrated,
            membership: &membership,
            spill,
            fused,
            integer_ids: self
                .assembler
                .layout
                .id
                .is_some_and(|id| self.assembler.schema.field(id).data_type().is_integer()),
        };
        let mut ledger = Ledger {
            collected: summary::Collected::new(self.assembler, calibrated),
            verdicts: Vec::with_capacity(spill.n_rows() as usize),
            notes: BTreeMap::new(),
            members: BTreeMap::new(),
            review: self.request.settings.budget.map(ReviewList::new),
        };
        judge.write_scores(&mut ledger, run)?;
        let Ledger {
            verdicts,
            notes,
            members,
            review,
            mut collected,
        } = ledger;
        collected
            .add_findings(membership.into_findings(), &verdicts, spill)
            .map_err(failed)?;
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
            review: review.map(ReviewList::finish),
        })
    }
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
            let acts = |finding: &Finding| finding.action != Action::Review;
            acts(right)
                .cmp(&acts(left))
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

    fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

/// `F001` for the first finding.
pub(crate) fn finding_id(idx: usize) -> String {
    format!("F{:03}", idx + 1)
}

/// The last pass over the spilled scores.
struct Judge<'s, 'a> {
    scan: &'s Scan<'a>,
    calibrated: &'s [Calibrated],
    membership: &'s Membership,
    spill: &'s Spill,
    fused: &'s Fused,
    integer_ids: bool,
}

/// What the last pass leaves behind besides `scores/`.
struct Ledger {
    collected: summary::Collected,
    verdicts: Vec<Verdict>,
    notes: BTreeMap<u64, RecordNote>,
    members: BTreeMap<u64, String>,
    review: Option<ReviewList>,
}

/// Consecutive records of one unit.
#[derive(Clone, Copy)]
struct Stretch {
    unit: usize,
    first: u64,
    n_rows: u64,
}

/// A stretch as judged, and as it goes into `scores/`.
struct JudgedBlock {
    block: Block,
    judged: Vec<JudgedRow>,
    batch: RecordBatch,
}

impl Judge<'_, '_> {
    /// Judges every record and writes its row of `scores/`: blocks on all threads, their results
    /// in order.
    fn write_scores(&self, ledger: &mut Ledger, run: &RunFolder) -> Result<(), EngineError> {
        let ids: Vec<&str> = self.calibrated.iter().map(|detector| detector.id).collect();
        let mut writer = ScoresWriter::create(run, &ids, self.integer_ids)?;
        let schema = Arc::clone(writer.schema());
        let mut names = BTreeMap::<usize, RecordNames>::new();
        for wave in self.stretches().chunks(4 * rayon::current_num_threads()) {
            // The last unit of a wave may go on in the next.
            names.retain(|&unit, _| unit >= wave[0].unit);
            let mut missing: Vec<usize> = wave.iter().map(|stretch| stretch.unit).collect();
            missing.dedup();
            missing.retain(|unit| !names.contains_key(unit));
            let read: Vec<_> = missing
                .into_par_iter()
                .map(|unit| {
                    Ok((
                        unit,
                        RecordNames::of_unit(self.scan, self.integer_ids, unit)?,
                    ))
                })
                .collect::<Result<_, EngineError>>()?;
            names.extend(read);
            let blocks: Vec<JudgedBlock> = wave
                .par_iter()
                .map(|stretch| self.judge_block(stretch, &names[&stretch.unit], &schema))
                .collect::<Result<_, EngineError>>()?;
            for block in blocks {
                ledger.add(&block, self.calibrated);
                writer.append(&block.batch)?;
                self.scan.progress.advance(block.batch.num_rows() as u64, 0);
            }
        }
        writer.finish()?;
        Ok(())
    }

    /// All records, cut at the borders of units.
    fn stretches(&self) -> Vec<Stretch> {
        let units = self.scan.dataset.units().iter().enumerate();
        units
            .flat_map(|(idx, unit)| {
                let end = unit.first_row + unit.rows;
                let starts = (unit.first_row..end).step_by(BLOCK_ROWS as usize);
                starts.map(move |first| Stretch {
                    unit: idx,
                    first,
                    n_rows: (end - first).min(BLOCK_ROWS),
                })
            })
            .collect()
    }

    fn judge_block(
        &self,
        stretch: &Stretch,
        names: &RecordNames,
        schema: &SchemaRef,
    ) -> Result<JudgedBlock, EngineError> {
        let failed = |source| IoError::Storage {
            action: "read",
            path: PathBuf::from("scores"),
            source,
        };
        let (first, n_rows) = (stretch.first, stretch.n_rows);
        let block = self.spill.range(first, n_rows).map_err(failed)?;
        let fused = self.fused.range(first, n_rows).map_err(failed)?;
        let unread = self.scan.unscanned.contains_key(&stretch.unit);
        let place = self.scan.dataset.units()[stretch.unit];
        let judged: Vec<JudgedRow> = block
            .rows()
            .zip(fused)
            .map(|((ordinal, row), fused)| {
                let row_idx = ordinal - place.first_row;
                self.judge(ordinal, &row, fused, unread, names, row_idx)
            })
            .collect();
        let file = &self.scan.dataset.files()[place.file].input.relative;
        let rows: Vec<ScoreRow<'_>> = judged
            .iter()
            .zip(block.rows())
            .map(|(judged, (_, row))| judged.as_row(row.scores, file, place.row_group))
            .collect();
        let batch = score_batch(schema, &rows)?;
        Ok(JudgedBlock {
            block,
            judged,
            batch,
        })
    }

    fn judge(
        &self,
        ordinal: u64,
        row: &Row<'_>,
        fused: Decided,
        unread: bool,
        names: &RecordNames,
        row_idx: u64,
    ) -> JudgedRow {
        let settings = &self.scan.request.settings;
        let mut judged = JudgedRow {
            name: names.name(row_idx),
            row: names.row_in_group(row_idx),
            hash: (!unread).then_some(row.hash),
            score: f32::NAN,
            p_value: f64::NAN,
            q_value: f64::NAN,
            row_q_value: f64::NAN,
            verdict: Verdict::Unscanned,
            by_rows: false,
            finding_p: None,
            findings: Vec::new(),
            raised: None,
        };
        if unread {
            return judged;
        }
        let mut rank_p = fused.ranking.unwrap_or(1.0);
        let (mut p_value, mut q_value) = fused.deciding.unwrap_or((1.0, 1.0));
        let decided = fused.deciding.is_some();
        judged.row_q_value = if decided { q_value } else { f64::NAN };
        let mut held = settings.hold_rows && decided && q_value <= settings.fdr;
        judged.by_rows = held;
        for (idx, finding) in self.membership.of(ordinal) {
            judged.findings.push(idx);
            if let Some(position) = self.calibrated.iter().position(|detector| {
                detector.id == finding.detector && detector.kind == ScoreKind::Rule
            }) {
                let scores = judged.raised.get_or_insert_with(|| row.scores.to_vec());
                scores[position] = scores[position].max(score_of(finding.p_value));
            }
            if finding.action == Action::Quarantine {
                held = true;
                rank_p = rank_p.min(within_finding(finding.p_value, fused.ranking));
                let least = judged.finding_p.unwrap_or(1.0);
                judged.finding_p = Some(finding.p_value.min(least));
                p_value = p_value.min(finding.p_value);
                q_value = q_value.min(finding.p_value);
            }
        }
        judged.verdict = if held {
            Verdict::Quarantine
        } else {
            Verdict::Pass
        };
        judged.score = score_of(rank_p);
        judged.p_value = p_value;
        judged.q_value = q_value;
        judged
    }
}

impl Ledger {
    /// Adds the next records; blocks come in order.
    fn add(&mut self, block: &JudgedBlock, calibrated: &[Calibrated]) {
        for ((ordinal, row), judged) in block.block.rows().zip(&block.judged) {
            self.verdicts.push(judged.verdict);
            if judged.verdict == Verdict::Unscanned {
                continue;
            }
            if !judged.findings.is_empty() {
                self.members.insert(ordinal, judged.name.to_string());
            }
            if judged.verdict == Verdict::Quarantine {
                let findings = judged.findings.iter().map(|&idx| finding_id(idx));
                self.notes.insert(
                    ordinal,
                    RecordNote {
                        record_id: judged.name.to_string(),
                        row_hash: row.hash,
                        score: judged.score,
                        q_value: judged.q_value,
                        findings: findings.collect(),
                    },
                );
            }
            if let Some(review) = &mut self.review {
                let candidate = Candidate {
                    ordinal,
                    hash: row.hash,
                    held: judged.verdict == Verdict::Quarantine,
                    score: judged.score,
                    p_value: judged.p_value,
                    q_value: judged.q_value,
                    row_q_value: judged.row_q_value,
                    finding_p: judged.finding_p,
                };
                review.consider(candidate, &judged.findings, || judged.name.to_string());
            }
            self.collected.add_record(&summary::Record {
                ordinal,
                row: &row,
                calibrated,
                score: judged.score,
                p_value: judged.p_value,
                q_value: judged.q_value,
                verdict: judged.verdict,
                by_rows: judged.by_rows,
                findings: &judged.findings,
            });
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
    /// q-value of its own scores alone.
    row_q_value: f64,
    verdict: Verdict,
    by_rows: bool,
    /// Least p-value of the findings that hold it back.
    finding_p: Option<f64>,
    findings: Vec<usize>,
    /// Scores of the detectors, where a finding raises that of a rule.
    raised: Option<Vec<f32>>,
}

impl JudgedRow {
    fn as_row<'r>(&'r self, scores: &'r [f32], file: &'r str, row_group: u32) -> ScoreRow<'r> {
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
            row_q_value: self.row_q_value,
            verdict: self.verdict,
            detectors: self.raised.as_deref().unwrap_or(scores),
        }
    }
}
