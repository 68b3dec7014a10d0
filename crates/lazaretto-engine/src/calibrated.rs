//! The detectors with their nulls: what a score of each of them means, and who decides.

use std::path::PathBuf;

use lazaretto_core::{DataFacts, Role, ScoreKind};
use lazaretto_io::IoError;
use rayon::prelude::*;

use crate::calibrate::{Conformal, Diagnosis, Null};
use crate::curve::curve;
use crate::error::EngineError;
use crate::fuse::{QValues, Weights, weights_of};
use crate::plan::Planned;
use crate::settings::Settings;
use crate::spill::Spill;
use crate::trusted::TrustedScores;

/// Most scores from which a null is fitted; more are thinned evenly.
const MAX_NULL_SCORES: u64 = 1 << 22;
/// Upper fraction of a detector's scores whose place does not enter its null.
const CENSORED: f64 = 0.10;
/// Fewer trusted scores than this are no null: they could hold back a record only among very many.
const MIN_TRUSTED: usize = 100;

/// What calibration says about a detector.
pub(crate) struct Calibrated {
    pub(crate) id: &'static str,
    pub(crate) kind: ScoreKind,
    pub(crate) null: Option<Null>,
    rates: Option<QValues>,
    /// Smallest and largest of its scores.
    pub(crate) range: Option<(f64, f64)>,
    /// How much it counts in the fusion.
    pub(crate) weights: Weights,
    decides: bool,
}

impl Calibrated {
    /// Whether its scores take part in the row-level decision.
    pub(crate) fn decides(&self) -> bool {
        self.decides
    }

    /// Whether its scores take part in the ranking.
    pub(crate) fn informs(&self) -> bool {
        self.null.as_ref().is_some_and(Null::has_tail)
    }

    /// Whether it decides by the scores of trusted records.
    pub(crate) fn decides_by_trusted(&self) -> bool {
        self.decides && self.n_trusted().is_some()
    }

    fn n_trusted(&self) -> Option<usize> {
        self.null.as_ref().and_then(Null::n_trusted)
    }

    /// Why its scores decide nothing, where they are statistical.
    pub(crate) fn diagnosis(&self) -> Option<Diagnosis> {
        self.null.as_ref().and_then(Null::diagnosis)
    }

    pub(crate) fn p_value(&self, score: f32) -> Option<f64> {
        let null = self.null.as_ref().filter(|null| null.has_tail())?;
        score.is_finite().then(|| null.p_value(f64::from(score)))
    }

    /// Tail-area false-discovery rate of a score with p-value `p`: how many scores at least this high
    /// the null predicts, over how many there are (Efron 2004). This carries the fusion, not the
    /// p-value: the extremes of a detector that finds no more of them than chance predicts are no
    /// evidence, however extreme they are.
    pub(crate) fn rate(&self, p: f64) -> f64 {
        self.rates.as_ref().map_or(1.0, |rates| rates.q_value(p))
    }

    /// P-values of its scores as a table, for the report; empty where they do not take part.
    pub(crate) fn table(&self) -> Vec<(f64, f64)> {
        let Some((low, high)) = self.range.filter(|_| self.informs()) else {
            return Vec::new();
        };
        curve(low, high, |score| self.p_value(score as f32).unwrap_or(1.0))
    }

    /// Which null its p-values are from, in words.
    pub(crate) fn basis(&self) -> String {
        match &self.null {
            Some(null) if null.diagnosis().is_none() => match null.n_trusted() {
                Some(n) => format!("conformal, {} trusted records", grouped(n)),
                None => "bulk".to_owned(),
            },
            _ => "none".to_owned(),
        }
    }
}

/// A number with a comma between groups of three digits.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Number of scores from which a null is fitted.
pub(crate) fn null_scores(settings: &Settings) -> u64 {
    (settings.memory / 64).clamp(1 << 16, MAX_NULL_SCORES)
}

/// The nulls of the detectors that `ran`, from the spilled scores or, where there are enough of them,
/// those of trusted records. At most `max_scores` scores of a detector are in memory, and four times
/// as many of all.
pub(crate) fn calibrate(
    ran: &[&Planned],
    facts: &DataFacts,
    spill: &Spill,
    trusted: Option<&TrustedScores>,
    max_scores: u64,
) -> Result<Vec<Calibrated>, EngineError> {
    let failed = |source| IoError::Storage {
        action: "read",
        path: PathBuf::from("scores"),
        source,
    };
    let mut calibrated: Vec<Calibrated> = ran
        .iter()
        .map(|planned| Calibrated {
            id: planned.detector.spec().id,
            kind: planned.detector.spec().score_kind,
            null: None,
            rates: None,
            range: None,
            weights: Weights::EQUAL,
            decides: false,
        })
        .collect();
    let statistical: Vec<usize> = (0..ran.len())
        .filter(|&idx| calibrated[idx].kind == ScoreKind::Statistical)
        .collect();
    // Every read goes through all of the spill, so as many detectors share one as memory allows.
    let at_once = (4 * max_scores / spill.n_rows().clamp(1, max_scores)).clamp(1, 64) as usize;
    for some in statistical.chunks(at_once) {
        let scores = spill.scores(some, max_scores).map_err(failed)?;
        for (&idx, mut scores) in some.iter().zip(scores) {
            scores.par_sort_unstable_by(f32::total_cmp);
            calibrated[idx].fit(&scores, trusted.and_then(|trusted| trusted.of(idx)));
        }
    }
    // Beside exact p-values those from a bulk would be the weakest link.
    let exact_only = calibrated
        .iter()
        .any(|detector| detector.n_trusted().is_some());
    for detector in &mut calibrated {
        detector.decides = detector.informs()
            && detector.diagnosis().is_none()
            && (!exact_only || detector.n_trusted().is_some());
    }
    weigh(&mut calibrated, ran, facts);
    Ok(calibrated)
}

impl Calibrated {
    /// Takes the null from ascending `scores` or from the `trusted` ones.
    fn fit(&mut self, scores: &[f32], trusted: Option<&[f32]>) {
        let trusted = trusted.map(|scores| Conformal::new(scores.to_vec()));
        let null = match trusted.filter(|trusted| trusted.n_trusted() >= MIN_TRUSTED) {
            Some(trusted) => Null::conformal(trusted),
            None => Null::of_sorted(scores, CENSORED),
        };
        if null.has_tail() {
            self.rates = Some(rates(&null, scores));
        }
        let ends = scores.first().zip(scores.last());
        self.range = ends.map(|(&least, &most)| (least.into(), most.into()));
        self.null = Some(null);
    }
}

/// Tail-area rates of ascending `scores` under `null`.
fn rates(null: &Null, scores: &[f32]) -> QValues {
    const PART: usize = 1 << 16;
    let mut rates = QValues::default();
    for some in scores.chunks(PART) {
        let p_values = some.par_iter().map(|&score| null.p_value(score.into()));
        for p in p_values.collect::<Vec<f64>>() {
            rates.add(p);
        }
    }
    rates.finish()
}

/// Sets how much each detector counts.
fn weigh(calibrated: &mut [Calibrated], ran: &[&Planned], facts: &DataFacts) {
    // Among vectors the distances are as good a witness as the labels: all count the same.
    // Those that an embedder makes of texts are not.
    if facts.embedding_dim.is_some() && !facts.embedded_texts {
        return;
    }
    let informing = calibrated.iter().filter(|detector| detector.informs());
    let informing: Vec<&str> = informing.map(|detector| detector.id).collect();
    for (detector, planned) in calibrated.iter_mut().zip(ran) {
        let spec = planned.detector.spec();
        let judges_labels = spec.score_roles.contains(&Role::Label);
        detector.weights = weights_of(spec.id, judges_labels, &informing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [7, 100, 1000, 1_234_567].map(grouped),
            ["7", "100", "1,000", "1,234,567"]
        );
    }
}
