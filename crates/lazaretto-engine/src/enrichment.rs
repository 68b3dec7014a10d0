//! `source-enrichment`: groups of records in which the detectors' evidence piles up.
//!
//! Two passes over the spilled scores count evidence by group, one more finds the records. Memory is one tally per
//! group and kind of evidence: the first 65,536 sources, all files, at most 400 stretches of time, and pairs of
//! the 256 largest groups of each kind. What the statistics mean is documented with the detector's parameters.

mod columns;
mod flips;
mod groups;
mod judge;
mod marks;
mod words;

use std::io;

use lazaretto_core::{Finding, NO_TIME};
use lazaretto_detectors::provenance::source_enrichment::SourceEnrichmentParams;
use lazaretto_io::IoError;

use crate::calibrated::Calibrated;
use crate::error::EngineError;
use crate::plan::Planned;
use crate::scan::Scan;
use crate::spill::Spill;
use columns::further_columns;
use flips::{Flipped, LogOdds};
use groups::{Calendar, Groups, Place};
use judge::{Enriched, Family, Rare, Tally};
use marks::{Evidence, Marker, Marks, Rates};

/// The detector that this is the work of.
const DETECTOR: &str = "source-enrichment";
/// Below this corrected p-value, with this many times what is expected and so many groups to compare, flipped labels
/// of a group are held back.
const DOUBTLESS: f64 = 1e-6;
const DOUBTLESS_RATIO: f64 = 2.0;
const DOUBTLESS_OTHERS: usize = 8;
/// Evidence other than labels needs so many other groups, and so many times what is expected: content differs between
/// honest sources more than their mistakes do.
const OTHER_OTHERS: usize = 8;
const OTHER_RATIO: f64 = 3.0;
/// Findings.
const MAX_FINDINGS: usize = 32;
/// Records that a finding for review lists.
const LISTED: usize = 10_000;
/// Share of a finding's records that another one lists already, from which it says nothing new.
const TOLD: f64 = 0.8;
/// Times from which the calendar is made.
const TIMES: u64 = 1 << 16;

/// A group that stands out by one kind of evidence.
#[derive(Clone, Debug)]
struct Candidate {
    group: usize,
    kind: usize,
    enriched: Enriched,
    /// Corrected for all groups and kinds.
    p_value: f64,
    /// Which of its records are held back.
    flipped: Option<Flipped>,
    records: Vec<u64>,
}

/// The findings about groups of records, where the detector runs. `found` are the findings of all others.
///
/// # Errors
/// When the spilled records cannot be read.
pub(crate) fn enrichment(
    scan: &Scan<'_>,
    ran: &[&Planned],
    calibrated: &[Calibrated],
    found: &[Finding],
    spill: &Spill,
) -> Result<Vec<Finding>, EngineError> {
    let planned = ran
        .iter()
        .find(|planned| planned.detector.spec().id == DETECTOR);
    let Some(planned) = planned else {
        return Ok(Vec::new());
    };
    let parameters = serde_json::from_value(planned.parameters.clone()).unwrap_or_default();
    let failed = |source| IoError::Storage {
        action: "read",
        path: "scores".into(),
        source,
    };
    let search = Search::new(scan, calibrated, found, spill, parameters).map_err(failed)?;
    let found = search.findings().map_err(failed)?;
    Ok(found)
}

struct Search<'s> {
    scan: &'s Scan<'s>,
    spill: &'s Spill,
    parameters: SourceEnrichmentParams,
    marker: Marker,
    groups: Groups,
}

impl<'s> Search<'s> {
    fn new(
        scan: &'s Scan<'_>,
        calibrated: &[Calibrated],
        found: &[Finding],
        spill: &'s Spill,
        parameters: SourceEnrichmentParams,
    ) -> io::Result<Self> {
        let facts = &scan.assembler.facts;
        let finding_p = scan.request.settings.finding_p;
        let marker = Marker::new(calibrated, found, finding_p, facts.classes.len(), spill)?;
        let files: Vec<(String, Vec<(String, String)>)> = scan
            .dataset
            .files()
            .iter()
            .map(|file| (file.input.relative.clone(), file.input.partitions.clone()))
            .collect();
        let others = further_columns(scan);
        let groups = Groups::new(&facts.sources, &files, others, calendar(spill)?);
        Ok(Self {
            scan,
            spill,
            parameters,
            marker,
            groups,
        })
    }

    /// Calls `take` with every record in order: where it is from, and its evidence.
    fn each(&self, mut take: impl FnMut(&Place, &Marks)) -> io::Result<()> {
        let units = self.scan.dataset.units();
        let mut unit = 0;
        let marks = |block: &crate::spill::Block| self.marker.all(block);
        self.spill.each_block(marks, |first, all| {
            for (ordinal, marks) in (first..).zip(&all) {
                while units
                    .get(unit + 1)
                    .is_some_and(|next| next.first_row <= ordinal)
                {
                    unit += 1;
                }
                let place = Place {
                    ordinal,
                    file: units.get(unit).map_or(0, |unit| unit.file),
                    source: marks.source,
                    time: marks.time,
                };
                take(&place, marks);
            }
            Ok(())
        })
    }

    fn findings(mut self) -> io::Result<Vec<Finding>> {
        if self.marker.kinds.is_empty() || self.groups.n_single() == 0 {
            return Ok(Vec::new());
        }
        let mut rates = Rates::new(&self.marker);
        let mut sizes = vec![0_u64; self.groups.n_single()];
        self.each(|place, marks| {
            rates.add(marks);
            let groups = &self.groups;
            groups.each(place, |group| sizes[group] += 1);
        })?;
        self.groups.add_pairs(&sizes);
        let mut candidates = self.candidates(&self.count(&rates)?);
        self.estimate_flips(&mut candidates)?;
        self.collect(&mut candidates)?;
        Ok(self.told(candidates))
    }

    /// Tallies of all groups, one per kind of evidence. Groups with too few records have empty ones.
    fn count(&self, rates: &Rates) -> io::Result<Vec<Vec<Tally>>> {
        let mut sizes = vec![0_u64; self.groups.n_all()];
        self.each(|place, _| {
            let groups = &self.groups;
            groups.each(place, |group| sizes[group] += 1);
        })?;
        let n_kinds = self.marker.kinds.len();
        let mut places = vec![groups::NONE; sizes.len()];
        let mut n_counted = 0;
        for (place, &size) in places.iter_mut().zip(&sizes) {
            if size >= self.parameters.min_group {
                *place = n_counted;
                n_counted += 1;
            }
        }
        let mut counted = vec![Tally::default(); n_counted as usize * n_kinds];
        self.each(|place, marks| {
            let groups = &self.groups;
            groups.each(place, |group| {
                if places[group] != groups::NONE {
                    let first = places[group] as usize * n_kinds;
                    rates.count(&self.marker, marks, &mut counted[first..first + n_kinds]);
                }
            });
        })?;
        let of_kind = |kind: usize| -> Vec<Tally> {
            let tally = |&place: &u32| counted.get(place as usize * n_kinds + kind).copied();
            let tallies = places.iter().map(|place| tally(place).unwrap_or_default());
            tallies.collect()
        };
        Ok((0..n_kinds).map(of_kind).collect())
    }

    /// The groups that stand out, the most certain first.
    fn candidates(&self, tallies: &[Vec<Tally>]) -> Vec<Candidate> {
        let parameters = &self.parameters;
        let mut n_tests = 0_u64;
        let mut candidates: Vec<Candidate> = Vec::new();
        for (kind, tallies) in tallies.iter().enumerate() {
            let evidence = &self.marker.kinds[kind];
            let (exact, rare) = match evidence {
                Evidence::Contradicted(_) => (false, Rare::Skipped),
                Evidence::High(_) | Evidence::Signed(_) => (true, Rare::Skipped),
                Evidence::Held => (true, Rare::Pooled),
            };
            let of_kind = candidates.len();
            for groups in self.groups.families() {
                let first = groups.start;
                let family = Family::new(&tallies[groups.clone()], exact, rare);
                for group in groups {
                    let tally = tallies[group];
                    if !family.tested(tally, parameters.min_group, parameters.min_records) {
                        continue;
                    }
                    n_tests += 1;
                    let parts = self.groups.parts(group).unwrap_or_default();
                    let is_pair = self.groups.parts(group).is_some();
                    let without = parts.map(|part| tallies[part].without(tally).shrunk_ratio());
                    let factor = if is_pair {
                        without[0].max(without[1])
                    } else {
                        1.0
                    };
                    let Some(enriched) = family.judge(group - first, factor) else {
                        continue;
                    };
                    // What stands out as a whole is not told again by its parts.
                    let told = is_pair
                        && candidates[of_kind..]
                            .iter()
                            .any(|other| parts.contains(&other.group));
                    let enough = match evidence {
                        Evidence::Contradicted(_) => enriched.ratio() > 1.0,
                        _ => enriched.n_others >= OTHER_OTHERS && enriched.ratio() >= OTHER_RATIO,
                    };
                    if !told && enough && enriched.p_value <= parameters.level {
                        candidates.push(Candidate {
                            group,
                            kind,
                            enriched,
                            p_value: enriched.p_value,
                            flipped: None,
                            records: Vec::new(),
                        });
                    }
                }
            }
        }
        for candidate in &mut candidates {
            candidate.p_value = (candidate.enriched.p_value * n_tests as f64).min(1.0);
        }
        candidates.retain(|candidate| candidate.p_value <= parameters.level);
        candidates.sort_by(|a, b| {
            (a.p_value.total_cmp(&b.p_value))
                .then(b.enriched.ratio().total_cmp(&a.enriched.ratio()))
                .then((a.kind, a.group).cmp(&(b.kind, b.group)))
        });
        candidates.truncate(2 * MAX_FINDINGS);
        candidates
    }

    /// Which records of groups with flipped labels beyond doubt are most likely flipped.
    fn estimate_flips(&self, candidates: &mut [Candidate]) -> io::Result<()> {
        let doubtless = |candidate: &Candidate| {
            self.about_labels(candidate)
                && candidate.p_value <= DOUBTLESS
                && candidate.enriched.ratio() >= DOUBTLESS_RATIO
                && candidate.enriched.n_others >= DOUBTLESS_OTHERS
        };
        let n_classes = self.marker.n_classes();
        let n_labels = self.scan.assembler.facts.classes.len();
        let mut all = LogOdds::new(n_classes, n_labels);
        let mut of_groups: Vec<(usize, LogOdds)> = candidates
            .iter()
            .filter(|candidate| doubtless(candidate))
            .map(|candidate| (candidate.group, LogOdds::new(n_classes, n_labels)))
            .collect();
        if of_groups.is_empty() {
            return Ok(());
        }
        self.each(|place, marks| {
            if !marks.log_odds.is_finite() {
                return;
            }
            all.add(marks.class, marks.log_odds);
            self.groups.each(place, |group| {
                for (of, counts) in &mut of_groups {
                    if *of == group {
                        counts.add(marks.class, marks.log_odds);
                    }
                }
            });
        })?;
        let estimated = candidates
            .iter_mut()
            .filter(|candidate| doubtless(candidate));
        for (candidate, (_, counts)) in estimated.zip(&of_groups) {
            let flipped = Flipped::estimate(&all, counts, self.parameters.ordinary_share);
            let least = self.parameters.min_records;
            candidate.flipped =
                flipped.filter(|flipped| flipped.records.iter().sum::<u64>() >= least);
        }
        Ok(())
    }

    fn about_labels(&self, candidate: &Candidate) -> bool {
        matches!(self.marker.kinds[candidate.kind], Evidence::Contradicted(_))
    }

    /// Finds the records of the groups: those to hold back, or those with the evidence.
    fn collect(&self, candidates: &mut [Candidate]) -> io::Result<()> {
        if candidates.is_empty() {
            return Ok(());
        }
        self.each(|place, marks| {
            self.groups.each(place, |group| {
                for candidate in candidates.iter_mut() {
                    let listed = match &candidate.flipped {
                        _ if candidate.group != group => false,
                        Some(flipped) => {
                            marks.log_odds.is_finite() && flipped.holds(marks.class, marks.log_odds)
                        }
                        None => {
                            marks.marked >> candidate.kind & 1 == 1
                                && candidate.records.len() < LISTED
                        }
                    };
                    if listed {
                        candidate.records.push(place.ordinal);
                    }
                }
            });
        })
    }

    /// The findings, without those whose records an earlier one of the same kind of evidence lists.
    fn told(&self, candidates: Vec<Candidate>) -> Vec<Finding> {
        let mut kept: Vec<Candidate> = Vec::new();
        for candidate in candidates {
            let told = kept.iter().any(|other| {
                let shared = candidate
                    .records
                    .iter()
                    .filter(|record| other.records.binary_search(record).is_ok());
                let shared = shared.count() as f64;
                let alike = other.kind == candidate.kind
                    || self.about_labels(other) && self.about_labels(&candidate);
                let told = shared >= TOLD * candidate.records.len() as f64;
                alike && (told || other.group == candidate.group)
            });
            if !told && !candidate.records.is_empty() && kept.len() < MAX_FINDINGS {
                kept.push(candidate);
            }
        }
        kept.into_iter()
            .map(|candidate| self.finding(candidate))
            .collect()
    }
}

/// The calendar of the times of the records; stray ones, beyond the outermost two in a hundred by more than all
/// others span, are left out.
fn calendar(spill: &Spill) -> io::Result<Option<Calendar>> {
    let step = spill.n_rows().div_ceil(TIMES).max(1);
    let mut times = Vec::new();
    let of_block = |block: &crate::spill::Block| -> Vec<i64> {
        let sampled = block.rows().filter(|(ordinal, _)| ordinal % step == 0);
        let times = sampled.map(|(_, row)| row.time);
        times.filter(|&time| time != NO_TIME).collect()
    };
    spill.each_block(of_block, |_, some| {
        times.extend(some);
        Ok(())
    })?;
    times.sort_unstable();
    let at = |share: f64| {
        times
            .get((times.len().saturating_sub(1) as f64 * share) as usize)
            .copied()
    };
    let (Some(low), Some(high)) = (at(0.01), at(0.99)) else {
        return Ok(None);
    };
    let stray = high.saturating_sub(low);
    let within =
        |time: i64| time >= low.saturating_sub(stray) && time <= high.saturating_add(stray);
    let mut within = times.iter().copied().filter(|&time| within(time));
    let first = within.next();
    let last = within.next_back().or(first);
    Ok(first
        .zip(last)
        .and_then(|(first, last)| Calendar::of(first, last)))
}
