//! Records that passed and are nearest to the examples of a finding, to compare them with.

use std::collections::{BTreeMap, BTreeSet};

use lazaretto_core::{Finding, Shared, Verdict};
use lazaretto_features::{FeatureModel, NeighborSearch};
use ndarray::{Array2, Axis};
use rayon::prelude::*;

use crate::error::EngineError;
use crate::examples::spread;
use crate::plan::Plan;
use crate::scan::Scan;

/// Records shown beside the examples of a finding.
const SHOWN: usize = 3;
/// Neighbours looked at per example: the nearest may be records of the same finding.
const LOOKED_AT: usize = 16;

/// For each of `findings` the ordinals of at most [`SHOWN`] records, nearest first. They are those
/// of the reference set that passed and are not in the finding, by the Euclidean distance of
/// their features to an example. Empty where there are no features.
///
/// # Errors
/// When the examples cannot be read again.
pub(crate) fn nearest_passing(
    scan: &Scan<'_>,
    findings: &[Finding],
    verdicts: &[Verdict],
    shared: &Shared,
    model: &FeatureModel,
) -> Result<Vec<Vec<u64>>, EngineError> {
    let Some(reference) = &shared.reference else {
        return Ok(Vec::new());
    };
    let passed = |idx: &usize| {
        let verdict = verdicts.get(reference.ordinals[*idx] as usize);
        verdict == Some(&Verdict::Pass)
    };
    let passing: Vec<usize> = (0..reference.ordinals.len()).filter(passed).collect();
    if findings.is_empty() || passing.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: BTreeSet<u64> = findings
        .iter()
        .flat_map(|finding| spread(&finding.records))
        .collect();
    let examples: BTreeMap<u64, Vec<f32>> = (0..scan.dataset.units().len())
        .into_par_iter()
        .map(|unit| features_in(scan, model, unit, &wanted))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    let search = NeighborSearch::new(reference.features.select(Axis(0), &passing), LOOKED_AT);
    let nearest_of = |finding: &Finding| {
        let mut near: Vec<(f32, u64)> = Vec::new();
        for ordinal in spread(&finding.records) {
            let Some(row) = examples.get(&ordinal) else {
                continue;
            };
            let Ok(query) = Array2::from_shape_vec((1, row.len()), row.clone()) else {
                continue;
            };
            let found = search.find(query.view(), &[u32::MAX]);
            let pairs = found.distances.iter().zip(&found.indices);
            near.extend(
                pairs
                    .filter(|(distance, _)| distance.is_finite())
                    .map(|(&distance, &idx)| (distance, reference.ordinals[passing[idx as usize]]))
                    .filter(|(_, near)| finding.records.binary_search(near).is_err()),
            );
        }
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut seen = BTreeSet::new();
        near.retain(|&(_, ordinal)| seen.insert(ordinal));
        near.truncate(SHOWN);
        near.into_iter().map(|(_, ordinal)| ordinal).collect()
    };
    Ok(findings.iter().map(nearest_of).collect())
}

/// Features of the wanted records of a unit. A unit that cannot be read has none.
fn features_in(
    scan: &Scan<'_>,
    model: &FeatureModel,
    unit: usize,
    wanted: &BTreeSet<u64>,
) -> Result<Vec<(u64, Vec<f32>)>, EngineError> {
    let place = scan.dataset.units()[unit];
    let rows = place.first_row..place.first_row + place.rows;
    let mut found = Vec::new();
    if scan.unscanned.contains_key(&unit) || wanted.range(rows).next().is_none() {
        return Ok(found);
    }
    let reads = Plan::gather_wanted(&scan.assembler.facts);
    let columns = reads.columns(&scan.assembler.layout);
    scan.each_batch(unit, &reads, &columns, |_, assembled| {
        let view = assembled.view(&assembled.derived);
        let end = view.first_row + view.n_rows() as u64;
        if wanted.range(view.first_row..end).next().is_none() {
            return Ok(());
        }
        if let Some(features) = model.features_of(&view) {
            for &ordinal in wanted.range(view.first_row..end) {
                let row = features.row((ordinal - view.first_row) as usize);
                found.push((ordinal, row.to_vec()));
            }
        }
        Ok(())
    })?;
    Ok(found)
}
