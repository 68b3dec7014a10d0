//! The two passes over all units: fit and score, in parallel, merged in order, gone on with where they were cut
//! short.

use std::collections::BTreeSet;
use std::path::Path;

use arrow::array::RecordBatch;
use lazaretto_core::{
    AnyEvidence, AnyState, Derived, Finding, NO_LABEL, NO_TIME, RowHasher, Shared,
};
use lazaretto_features::{FeatureFit, FeatureModel};
use lazaretto_io::{IoError, failpoint};
use lazaretto_patterns::redact;
use rayon::prelude::*;

use super::{Modelled, Scan, unreadable};
use crate::checkpoint::{Fitted, Unscanned, basis};
use crate::error::EngineError;
use crate::plan::Planned;
use crate::spill::{Row, Spill, SpillWriter};

/// What a pass hands over, in order.
pub(crate) enum Step<'u, T> {
    /// The result of the unit, or `None` when it could not be read.
    Unit(usize, Option<T>),
    /// All units before `next` were handed over: a place to go on from.
    Before {
        next: usize,
        unscanned: &'u Unscanned,
    },
}

impl<'a> Scan<'a> {
    /// Runs `work` on every readable unit in parallel and hands the results over in order. A unit
    /// that cannot be read becomes unscanned and is handed over as `None`.
    pub(crate) fn each_unit<T: Send>(
        &mut self,
        work: impl Fn(&Self, usize) -> Result<T, IoError> + Sync,
        mut take: impl FnMut(usize, Option<T>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.each_unit_from(0, work, |step| match step {
            Step::Unit(unit, result) => take(unit, result),
            Step::Before { .. } => Ok(()),
        })
    }

    /// [`Self::each_unit`] for the units from `first` on, which tells between them how far it is.
    fn each_unit_from<T: Send>(
        &mut self,
        first: usize,
        work: impl Fn(&Self, usize) -> Result<T, IoError> + Sync,
        mut take: impl FnMut(Step<'_, T>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for unit in 0..first {
            self.advance_by(unit);
        }
        let units: Vec<usize> = (first..self.dataset.units().len()).collect();
        // Twice the threads, so that one slow unit does not idle the others, yet few enough that
        // the results waiting for their turn stay small.
        let wave = 2 * rayon::current_num_threads();
        for units in units.chunks(wave) {
            let this = &*self;
            let results: Vec<Option<Result<T, IoError>>> = units
                .par_iter()
                .map(|&unit| {
                    let readable = !this.unscanned.contains_key(&unit);
                    let result = readable.then(|| work(this, unit));
                    this.advance_by(unit);
                    result
                })
                .collect();
            for (&unit, result) in units.iter().zip(results) {
                match result {
                    None => take(Step::Unit(unit, None))?,
                    Some(Ok(result)) => take(Step::Unit(unit, Some(result)))?,
                    // What cannot be written down says nothing about the unit.
                    Some(Err(error @ (IoError::Interrupted | IoError::Storage { .. }))) => {
                        return Err(error.into());
                    }
                    Some(Err(error)) => {
                        // Decoders quote the value they stumble over.
                        let reason = redact(&error.to_string()).into_owned();
                        self.progress.warn(&format!("unscanned: {reason}"));
                        self.unscanned.insert(unit, reason);
                        take(Step::Unit(unit, None))?;
                    }
                }
            }
            take(Step::Before {
                next: units[units.len() - 1] + 1,
                unscanned: &self.unscanned,
            })?;
        }
        Ok(())
    }

    fn advance_by(&self, unit: usize) {
        let rows = self.dataset.units()[unit].rows;
        self.progress.advance(rows, self.unit_bytes(unit));
    }

    /// The fit pass.
    pub(super) fn fit(&mut self) -> Result<(Vec<AnyState>, Shared, FeatureModel), EngineError> {
        let context = self.context();
        let feature_context = self.feature_context();
        let settings = &self.request.settings;
        let plan = self.plan;
        let wanted = plan.fit_wanted(&self.assembler.facts);
        let columns = wanted.columns(&self.assembler.layout);
        let start = || Fitted {
            states: plan
                .detectors
                .iter()
                .map(|planned| planned.detector.start(&context))
                .collect(),
            features: FeatureFit::start(&feature_context, &plan.intermediates, &settings.features),
            present: BTreeSet::new(),
        };
        let mut fitted = start();
        if !columns.is_empty() {
            self.phase("fitting");
            let (checkpoints, n_units) = (self.checkpoints, self.dataset.units().len());
            let basis = basis(&self.unscanned, plan.detectors.iter());
            let mut first = 0;
            if let Some((saved, next, unscanned)) =
                checkpoints.load_fit(&basis, &plan.detectors, n_units)
            {
                (fitted, first, self.unscanned) = (saved, next, unscanned);
            }
            let fit_unit = |this: &Self, unit: usize| {
                let mut fitted = start();
                this.each_batch(unit, &wanted, &columns, |batch, assembled| {
                    for (column, array) in columns.iter().zip(batch.columns()) {
                        if array.logical_null_count() < array.len() {
                            fitted.present.insert(*column);
                        }
                    }
                    let view = assembled.view(&assembled.derived);
                    for (planned, state) in plan.detectors.iter().zip(&mut fitted.states) {
                        planned.detector.fit(&context, state, &view);
                    }
                    fitted.features.update(&view);
                    Ok(())
                })?;
                Ok(fitted)
            };
            self.each_unit_from(first, fit_unit, |step| {
                match step {
                    Step::Unit(_, Some(later)) => {
                        for ((planned, state), later) in plan
                            .detectors
                            .iter()
                            .zip(&mut fitted.states)
                            .zip(later.states)
                        {
                            planned.detector.merge(&context, state, later);
                        }
                        fitted.features.merge(later.features);
                        fitted.present.extend(later.present);
                    }
                    Step::Unit(_, None) => {}
                    Step::Before { next, unscanned } => checkpoints.when_due(|| {
                        failpoint!("before-fit-checkpoint");
                        checkpoints.save_fit(&basis, &plan.detectors, &fitted, next, unscanned)?;
                        failpoint!("after-fit-checkpoint");
                        Ok(())
                    }),
                }
                Ok(())
            })?;
            self.refuse_empty_columns(&columns, &fitted.present)?;
        }
        let (shared, model) = fitted.features.finish(&feature_context);
        Ok((fitted.states, shared, model))
    }

    /// The score pass. Its rows go to `path`.
    pub(super) fn score(
        &mut self,
        models: &[Modelled<'a>],
        shared: &Shared,
        features: &FeatureModel,
        path: &Path,
    ) -> Result<(Spill, Vec<Finding>), EngineError> {
        self.phase("scoring");
        let wanted = self.plan.score_wanted(&self.assembler.facts);
        // Every stored column is read: the hash of a record covers all of them.
        let n_stored = self.dataset.schema().fields().len();
        let mut columns: BTreeSet<usize> = (0..n_stored).collect();
        columns.extend(wanted.columns(&self.assembler.layout));
        let columns: Vec<usize> = columns.into_iter().collect();
        let failed = |source| IoError::Storage {
            action: "write",
            path: path.to_owned(),
            source,
        };
        let start = || -> Vec<AnyEvidence> {
            models
                .iter()
                .map(|model| model.planned.detector.start_evidence(&model.model))
                .collect()
        };
        let (dataset, checkpoints) = (self.dataset, self.checkpoints);
        let detectors = || models.iter().map(|model| -> &Planned { model.planned });
        let basis = basis(&self.unscanned, detectors());
        let first_row = |unit: usize| {
            let place = dataset.units().get(unit);
            place.map_or(dataset.n_rows(), |place| place.first_row)
        };
        let n_units = dataset.units().len();
        let saved = checkpoints.load_score(&basis, detectors(), n_units);
        let saved = saved.and_then(|saved| {
            let writer = SpillWriter::reopen(path, models.len()).ok()?;
            let rows = writer.settled(first_row(saved.next)).ok()?;
            (rows == saved.rows).then_some((writer, saved))
        });
        let (writer, mut evidence, first) = if let Some((writer, saved)) = saved {
            checkpoints.tell_score(saved.next, n_units);
            self.unscanned = saved.unscanned;
            (writer, saved.evidence, saved.next)
        } else {
            let writer = SpillWriter::create(path, models.len()).map_err(failed)?;
            (writer, start(), 0)
        };
        let score_unit = |this: &Self, unit: usize| {
            let mut evidence = start();
            this.each_batch(unit, &wanted, &columns, |batch, mut assembled| {
                let mut derived = Derived::default();
                features.derive(shared, &assembled.view(&assembled.derived), &mut derived);
                assembled.complete(derived);
                let view = assembled.view(&assembled.derived);
                let scores: Vec<Vec<f32>> = models
                    .iter()
                    .zip(&mut evidence)
                    .map(|(model, evidence)| {
                        let detector = &model.planned.detector;
                        detector.score(&model.model, shared, &view, evidence)
                    })
                    .collect();
                let rows = Self::spill_rows(batch, &columns[..n_stored], &view, &scores)?;
                writer.write(view.first_row, &rows).map_err(failed)
            })?;
            Ok(evidence)
        };
        self.each_unit_from(first, score_unit, |step| {
            match step {
                Step::Unit(_, Some(later)) => {
                    for ((model, evidence), later) in models.iter().zip(&mut evidence).zip(later) {
                        model.planned.detector.merge_evidence(evidence, later);
                    }
                }
                Step::Unit(unit, None) => {
                    let place = dataset.units()[unit];
                    write_unread(&writer, place.first_row, place.rows, models.len())
                        .map_err(failed)?;
                }
                Step::Before { next, unscanned } => checkpoints.when_due(|| {
                    failpoint!("before-score-checkpoint");
                    let rows = writer.settled(first_row(next)).map_err(failed)?;
                    let evidence = detectors().zip(&evidence);
                    checkpoints.save_score(&basis, &rows, evidence, next, unscanned)?;
                    failpoint!("after-score-checkpoint");
                    Ok(())
                }),
            }
            Ok(())
        })?;
        let spill = writer.finish().map_err(failed)?;
        self.progress.phase("weighing the evidence", 0, 0);
        let findings = models
            .par_iter()
            .zip(evidence)
            .map(|(model, evidence)| {
                model
                    .planned
                    .detector
                    .finish(&model.model, shared, evidence)
            })
            .collect::<Vec<_>>();
        Ok((spill, findings.into_iter().flatten().collect()))
    }

    /// The encoded results of a batch.
    fn spill_rows(
        batch: &RecordBatch,
        stored: &[usize],
        view: &lazaretto_core::Batch<'_>,
        scores: &[Vec<f32>],
    ) -> Result<Vec<u8>, IoError> {
        let mut rows = Vec::new();
        let describe = |error: arrow::error::ArrowError| unreadable("a batch", 0, &error);
        let mut hasher = RowHasher::new(&batch.columns()[..stored.len()]).map_err(describe)?;
        let mut row_scores = vec![f32::NAN; scores.len()];
        for row in 0..batch.num_rows() {
            for (score, scores) in row_scores.iter_mut().zip(scores) {
                *score = scores[row];
            }
            Row {
                hash: hasher.hash(row),
                label: view.labels.map_or(NO_LABEL, |labels| labels[row]),
                source: view.sources.map_or(u32::MAX, |sources| sources[row]),
                time: view.time(row).unwrap_or(NO_TIME),
                scores: &row_scores,
            }
            .encode(&mut rows);
        }
        Ok(rows)
    }
}

/// Rows without scores, over what was written before the unit failed.
fn write_unread(
    writer: &SpillWriter,
    first_row: u64,
    n_rows: u64,
    n_detectors: usize,
) -> std::io::Result<()> {
    let no_scores = vec![f32::NAN; n_detectors];
    let mut bytes = Vec::new();
    Row::unread(&no_scores).encode(&mut bytes);
    (first_row..first_row + n_rows).try_for_each(|ordinal| writer.write(ordinal, &bytes))
}
