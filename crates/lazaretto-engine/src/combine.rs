//! One number per record from the scores of all detectors, and what it decides.

use std::io;
use std::path::Path;

use crate::calibrate::Decision;
use crate::calibrated::Calibrated;
use crate::fuse::{QValues, Witness, fused_p_value};
use crate::spill::{Block, Numbers, Spill};
use crate::trusted::TrustedScores;

/// What the fusion says of a record; NaN where no detector of the kind has a score.
#[derive(Clone, Copy, Debug)]
struct FusedRow {
    /// From every detector that informs: what ranks the record.
    ranking: f64,
    /// From those alone that decide.
    deciding: f64,
}

/// Fuses the scores of one record after the other.
struct Fusion<'c> {
    calibrated: &'c [Calibrated],
    /// Whether some detectors inform and do not decide.
    apart: bool,
    witnesses: Vec<Witness>,
}

impl<'c> Fusion<'c> {
    fn new(calibrated: &'c [Calibrated]) -> Self {
        Self {
            calibrated,
            apart: apart(calibrated),
            witnesses: Vec::with_capacity(calibrated.len()),
        }
    }

    fn of(&mut self, scores: &[f32]) -> FusedRow {
        let ranking = self.by(scores, Calibrated::informs);
        let deciding = if self.apart {
            self.by(scores, Calibrated::decides)
        } else {
            ranking
        };
        FusedRow { ranking, deciding }
    }

    fn by(&mut self, scores: &[f32], takes_part: impl Fn(&Calibrated) -> bool) -> f64 {
        self.witnesses.clear();
        for (detector, &score) in self.calibrated.iter().zip(scores) {
            if takes_part(detector)
                && let Some(p_value) = detector.p_value(score)
            {
                self.witnesses.push(Witness {
                    p_value,
                    rate: detector.rate(p_value),
                    weights: detector.weights,
                });
            }
        }
        fused_p_value(&self.witnesses).unwrap_or(f64::NAN)
    }
}

fn apart(calibrated: &[Calibrated]) -> bool {
    let mut detectors = calibrated.iter();
    detectors.any(|detector| detector.informs() && !detector.decides())
}

/// The fused p-values of all records, kept on disk because they are needed twice and cost more than
/// that; how they decide; and the q-values of what decides.
pub(crate) struct Fused {
    ranking: Numbers,
    /// `None` where what decides is what ranks.
    deciding: Option<Numbers>,
    decision: Decision,
    q_values: QValues,
}

/// A record as fused and decided.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    /// The fused p-value that ranks it, where a detector has something to say.
    pub(crate) ranking: Option<f64>,
    /// The p-value that decides, and its q-value, where a detector that decides has.
    pub(crate) deciding: Option<(f64, f64)>,
}

impl Fused {
    /// Fuses the scores of every record, and of the trusted ones, with which those that `calibrated`
    /// them are compared. Files are made in `folder`; the decision is fitted to at most `max_scores`.
    pub(crate) fn new(
        calibrated: &[Calibrated],
        spill: &Spill,
        trusted: Option<&TrustedScores>,
        max_scores: u64,
        folder: &Path,
    ) -> io::Result<Self> {
        let of_block = |block: &Block| {
            let mut fusion = Fusion::new(calibrated);
            let rows = block.rows().map(|(_, row)| fusion.of(row.scores));
            rows.collect::<Vec<FusedRow>>()
        };
        let step = spill.n_rows().div_ceil(max_scores).max(1);
        let mut strengths = Vec::new();
        let mut ranking = Numbers::create(&folder.join("fused"))?;
        let mut deciding = if apart(calibrated) {
            Some(Numbers::create(&folder.join("deciding"))?)
        } else {
            None
        };
        spill.each_block(of_block, |first, rows| {
            let judged = (first..)
                .zip(&rows)
                .filter(|(_, row)| !row.deciding.is_nan());
            let thinned = judged.filter(|(ordinal, _)| ordinal % step == 0);
            strengths.extend(thinned.map(|(_, row)| strength(row.deciding)));
            let of = |number: fn(&FusedRow) -> f64| rows.iter().map(number).collect::<Vec<f64>>();
            if let Some(deciding) = &mut deciding {
                deciding.extend(&of(|row| row.deciding))?;
            }
            ranking.extend(&of(|row| row.ranking))
        })?;
        let conformal = calibrated.iter().any(Calibrated::decides_by_trusted);
        let decision = match trusted.filter(|_| conformal) {
            Some(trusted) => Decision::conformal(fused_trusted(calibrated, trusted)),
            None => Decision::fit(strengths),
        };
        let decides = |values: &[f64]| -> Vec<f64> {
            let judged = values.iter().filter(|p| !p.is_nan());
            judged.map(|&p| decision.p_value(p)).collect()
        };
        let mut q_values = QValues::default();
        deciding
            .as_ref()
            .unwrap_or(&ranking)
            .each_block(decides, |_, values| {
                for p in values {
                    q_values.add(p);
                }
                Ok(())
            })?;
        Ok(Self {
            ranking,
            deciding,
            decision,
            q_values: q_values.finish(),
        })
    }

    /// The `n_rows` records from `first` on.
    pub(crate) fn range(&self, first: u64, n_rows: u64) -> io::Result<Vec<Decided>> {
        let ranking = self.ranking.range(first, n_rows)?;
        let deciding = match &self.deciding {
            Some(deciding) => deciding.range(first, n_rows)?,
            None => ranking.clone(),
        };
        let present = |p: f64| (!p.is_nan()).then_some(p);
        let rows = ranking.into_iter().zip(deciding);
        Ok(rows
            .map(|(ranking, deciding)| Decided {
                ranking: present(ranking),
                deciding: present(deciding).map(|p| {
                    let p = self.decision.p_value(p);
                    (p, self.q_values.q_value(p))
                }),
            })
            .collect())
    }
}

fn strength(p: f64) -> f32 {
    -p.log10() as f32
}

/// Strengths of the trusted records by the detectors that decide, fused as the dataset's are.
fn fused_trusted(calibrated: &[Calibrated], trusted: &TrustedScores) -> Vec<f32> {
    let mut fusion = Fusion::new(calibrated);
    let mut scores = vec![f32::NAN; calibrated.len()];
    (0..trusted.n_rows())
        .map(|row_idx| {
            trusted.row(row_idx, &mut scores);
            fusion.of(&scores).deciding
        })
        .filter(|p| !p.is_nan())
        .map(strength)
        .collect()
}
