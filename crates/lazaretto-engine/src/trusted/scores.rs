//! What the detectors of a run say of trusted records, as a yardstick for what they say of the dataset's.
//!
//! A trusted record is scored as a record of the dataset is: by the models fitted to the dataset, with
//! its neighbours looked up among the dataset's records and its classes given by the model of its fold.
//! It took no part in any fit. A record of the dataset did: it is left out of its own neighbours and of
//! the model that gives its classes, so that there the two are exchangeable up to one record in all of
//! them; where a fit includes it (histograms, trees, densities), the fit can only be kinder to it than
//! to a stranger, which makes p-values larger. Detectors that read the trusted records themselves are
//! left out, since there the trusted ones would be kinder to each other.

use lazaretto_core::{AnyModel, Derived, DynDetector, Intermediate, ScoreKind, Shared};
use rayon::prelude::*;

use super::{Gathering, TrustedData, compared};
use crate::error::EngineError;

/// Trusted records that are scored, at most.
pub(crate) const MAX_SCORED: usize = 20_000;

/// Scores of trusted records, by detector.
pub(crate) struct TrustedScores {
    n_rows: usize,
    /// One score per record, NaN where there is none; `None` for a detector that cannot score them.
    scores: Vec<Option<Vec<f32>>>,
}

impl TrustedScores {
    /// Number of records.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The scores by detector `detector`, where it has any.
    pub(crate) fn of(&self, detector: usize) -> Option<&[f32]> {
        self.scores[detector].as_deref()
    }

    /// Writes the scores of record `row_idx` by every detector; NaN where there is none.
    pub(crate) fn row(&self, row_idx: usize, row: &mut [f32]) {
        for (score, scores) in row.iter_mut().zip(&self.scores) {
            *score = scores.as_ref().map_or(f32::NAN, |scores| scores[row_idx]);
        }
    }
}

/// A detector and its model.
pub(crate) struct Scorer<'s> {
    pub(crate) detector: &'s dyn DynDetector,
    pub(crate) model: &'s AnyModel,
}

impl Scorer<'_> {
    /// Whether what it says of trusted records can be compared with what it says of others.
    fn compares(&self) -> bool {
        let spec = self.detector.spec();
        spec.score_kind == ScoreKind::Statistical
            && !spec.intermediates.contains(&Intermediate::Trusted)
            && spec.score_roles.iter().all(|&role| compared(role))
    }
}

impl TrustedData {
    /// Scores a keyed sample of the trusted records with every detector that can.
    ///
    /// # Errors
    /// When a file does not decode.
    pub(crate) fn score(
        &self,
        gathering: &Gathering<'_>,
        shared: &Shared,
        scorers: &[Scorer<'_>],
    ) -> Result<TrustedScores, EngineError> {
        let chosen = self.chosen(gathering.key, gathering.max_rows);
        let units = (0..self.files.units().len()).into_par_iter().map(|unit| {
            let mut scores = vec![Vec::new(); scorers.len()];
            self.each_chosen(gathering, unit, &chosen, |mut assembled, _| {
                let mut derived = Derived::default();
                let view = assembled.view(&assembled.derived);
                gathering.model.derive(shared, &view, &mut derived);
                assembled.complete(derived);
                let view = assembled.view(&assembled.derived);
                for (scorer, scores) in scorers.iter().zip(&mut scores) {
                    if scorer.compares() {
                        // What it would make of them as evidence is dropped.
                        let mut evidence = scorer.detector.start_evidence(scorer.model);
                        let detector = scorer.detector;
                        scores.extend(detector.score(scorer.model, shared, &view, &mut evidence));
                    }
                }
            })?;
            Ok(scores)
        });
        let units = units.collect::<Result<Vec<Vec<Vec<f32>>>, EngineError>>()?;
        let scores = (0..scorers.len()).map(|idx| {
            let scores: Vec<f32> = units.iter().flat_map(|unit| &unit[idx]).copied().collect();
            scores
                .iter()
                .any(|score| score.is_finite())
                .then_some(scores)
        });
        Ok(TrustedScores {
            n_rows: chosen.len(),
            scores: scores.collect(),
        })
    }
}
