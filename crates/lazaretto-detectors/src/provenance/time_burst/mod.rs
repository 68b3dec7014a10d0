//! `time-burst`: submissions or edits that cluster before the snapshot, and are not like the rest.

mod contrast;
mod findings;
mod series;

use lazaretto_core::{
    Batch, DataFacts, Detector, DetectorSpec, Family, Finding, FitContext, NO_LABEL, NotApplicable,
    ParamProblem, Params, Role, ScoreKind, Shared, UNREADABLE_TIME, params::Checks,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use contrast::{Contrast, Trait, contrast};
use findings::unreadable;
use series::{Clock, Window, windows};

/// Bytes of a moment in the state, with room to grow.
const MOMENT_BYTES: usize = 48;
/// Most moments that are kept; of more records a keyed sample is.
const MAX_MOMENTS: u64 = 1 << 18;
const MIN_MOMENTS: u64 = 1 << 12;
/// A burst that is told by its times alone is reported below this corrected p-value.
const ALONE: f64 = 1e-4;
/// Records of one burst, or without a readable time, that a finding lists.
const LISTED: usize = 100_000;
const LISTED_UNREADABLE: usize = 1_000;

/// Finds submissions or edits that cluster before the snapshot and differ from the rest.
///
/// # What it finds
/// A stretch of time, above all the last one before the dataset ends, with far more records than the dataset's
/// own times lead to expect, whose records also differ from the others: nearly all of one class, or nearly all
/// of one source. Overall and in each source. And times that cannot be read.
///
/// # Why it matters
/// Who knows when a snapshot is taken edits just before it, and need not fear that anybody reverts the edit in
/// time (frontrunning). Poison that is sent in at one go has times that lie together, whatever its content.
///
/// # How it works
/// - Times are divided into windows of 32 to 65,536 to the whole, all counted back from the last time. The number of
///   records in a window is compared with that of the eight windows before it, by the likelihood ratio of a change of
///   rate.
/// - The null is the dataset's own: a generalised Pareto tail through the strongest *other* windows of the same length,
///   heavier than any count with a constant over-dispersion, so daily and weekly rhythms, regular batches and steady
///   growth are ordinary. The p-value is exact arithmetic, no simulation, times the number of lengths and series tried,
///   and of windows where the window does not end with the dataset. The window must have three times what was to be
///   expected and half more strength than any other, and towards the end more than at all lengths alike, since
///   many datasets grow denser towards their end.
/// - Records of one time are one event: a load of records with a single time is no burst.
/// - A burst is a finding only where its records differ: two thirds or more of them, and a quarter more than elsewhere, are of
///   one class or of one source, by Fisher's exact test over all classes and sources (10⁻⁴). Away from the end, and within
///   a source, whose own other records are the rest, only the class counts. Without classes and sources the burst itself must be below 10⁻⁴.
/// - The window is cut to where the rate changes, to the event.
///
/// # Parameters
/// - `min_records` (200): readable times that are needed.
/// - `level` (0.01): largest corrected p-value of a burst.
///
/// # False positives
/// An honest partner who joins on the last day with records of one kind looks the same. So it only ever asks for a
/// review; records are held back where their content speaks against them, by `source-enrichment` among others.
///
/// # Limits
/// Times are what the dataset says they are. A slow campaign is no burst, nor is one in a dataset full of bursts. Above
/// 262,144 records a keyed sample is searched. Dates without a time of day show bursts of a day and longer.
///
/// # Example
/// "312 records in the 2 hours before the dataset ends, 4 would be expected; 98 % of them are labelled `1` (51 %
/// elsewhere)"
/// ```toml
/// [parameters.time-burst]
/// level = 0.001
/// ```
///
/// # References
/// - Carlini et al.: Poisoning Web-Scale Training Datasets is Practical, IEEE S&P 2024, arXiv 2302.10149.
/// - Kulldorff: A spatial scan statistic, Communications in Statistics 26 (1997).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeBurstParams {
    /// Readable times that are needed, 50 to 1000000.
    pub min_records: u64,
    /// Largest corrected p-value of a burst, 0 to 0.05.
    pub level: f64,
}

impl Default for TimeBurstParams {
    fn default() -> Self {
        Self {
            min_records: 200,
            level: 0.01,
        }
    }
}

impl Params for TimeBurstParams {
    fn problems(&self) -> Vec<ParamProblem> {
        let mut checks = Checks::default();
        checks
            .range("min_records", self.min_records, 50..=1_000_000)
            .range("level", self.level, 0.0..=0.05);
        checks.finish()
    }
}

/// The detector; see [`TimeBurstParams`].
#[derive(Clone, Debug)]
pub struct TimeBurst {
    params: TimeBurstParams,
}

/// When a record was made, by whom, and its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Moment {
    time: i64,
    source: u32,
    label: u32,
}

/// State of the fit pass: the moments of a keyed sample.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moments {
    sampled: Vec<Moment>,
}

/// What stands out.
#[derive(Clone, Debug, Default)]
pub struct Bursts {
    bursts: Vec<Burst>,
}

#[derive(Clone, Debug)]
struct Burst {
    window: Window,
    /// The source it is in, where it is not overall.
    source: Option<u32>,
    contrast: Option<Contrast>,
}

/// Evidence of the score pass: the records of each burst, and those whose time cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InBursts {
    bursts: Vec<Members>,
    unreadable: Members,
    with_time: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Members {
    number: u64,
    /// The first of them.
    records: Vec<u64>,
}

impl Members {
    fn add(&mut self, ordinal: u64, listed: usize) {
        self.number += 1;
        if self.records.len() < listed {
            self.records.push(ordinal);
        }
    }

    fn merge(&mut self, later: Self, listed: usize) {
        self.number += later.number;
        self.records.extend(later.records);
        self.records.truncate(listed);
    }
}

/// Every so many records, by their keys, one is kept.
fn step(context: &FitContext) -> u64 {
    let room = (context.memory_bytes / MOMENT_BYTES) as u64;
    let kept = room.clamp(MIN_MOMENTS, MAX_MOMENTS);
    context.facts.n_rows.div_ceil(kept).max(1)
}

impl Detector for TimeBurst {
    type Params = TimeBurstParams;
    type State = Moments;
    type Model = Bursts;
    type Evidence = InBursts;

    const SPEC: DetectorSpec = DetectorSpec {
        id: "time-burst",
        family: Family::Source,
        summary: "submissions that cluster before the snapshot and differ from the rest",
        score_kind: ScoreKind::Rule,
        by_default: true,
        fit_roles: ROLES,
        score_roles: ROLES,
        intermediates: &[],
        state_bytes_per_row: 0,
        taxonomy: &["AML.T0019", "AML.T0020", "LLM04:2025", "NISTAML.013"],
        state_version: 1,
    };

    fn new(params: Self::Params) -> Self {
        Self { params }
    }

    fn applies(&self, facts: &DataFacts) -> Result<(), NotApplicable> {
        let has_time = facts.columns.iter().any(|column| column.role == Role::Time);
        if has_time {
            Ok(())
        } else {
            Err(NotApplicable::new("no time column"))
        }
    }

    fn start(&self, _context: &FitContext) -> Self::State {
        Moments::default()
    }

    fn fit(&self, context: &FitContext, state: &mut Self::State, batch: &Batch<'_>) {
        let step = step(context);
        for (row_idx, key) in batch.keys.iter().enumerate() {
            if !key.is_multiple_of(step) {
                continue;
            }
            if let Some(time) = batch.time(row_idx) {
                state.sampled.push(Moment {
                    time,
                    source: batch.sources.map_or(u32::MAX, |sources| sources[row_idx]),
                    label: batch.label(row_idx).unwrap_or(NO_LABEL),
                });
            }
        }
    }

    fn merge(&self, _context: &FitContext, state: &mut Self::State, later: Self::State) {
        state.sampled.extend(later.sampled);
    }

    fn model(
        &self,
        context: &FitContext,
        state: Self::State,
        _shared: &Shared,
    ) -> Result<Self::Model, NotApplicable> {
        // Too few times to search still say which of them cannot be read.
        let mut moments = state.sampled;
        moments.sort_unstable_by_key(|moment| (moment.time, moment.source, moment.label));
        let bursts = self.search(&moments, &context.facts);
        Ok(Bursts { bursts })
    }

    fn start_evidence(&self, model: &Self::Model) -> Self::Evidence {
        InBursts {
            bursts: vec![Members::default(); model.bursts.len()],
            ..InBursts::default()
        }
    }

    /// Findings alone decide: 0 for every record with a time that can be read.
    fn score(
        &self,
        model: &Self::Model,
        _shared: &Shared,
        batch: &Batch<'_>,
        evidence: &mut Self::Evidence,
    ) -> Vec<f32> {
        let mut scores = vec![f32::NAN; batch.n_rows()];
        let Some(times) = batch.times else {
            return scores;
        };
        for (row_idx, score) in scores.iter_mut().enumerate() {
            let ordinal = batch.ordinal(row_idx);
            if times[row_idx] == UNREADABLE_TIME {
                evidence.unreadable.add(ordinal, LISTED_UNREADABLE);
            }
            let Some(time) = batch.time(row_idx) else {
                continue;
            };
            *score = 0.0;
            evidence.with_time += 1;
            let source = batch.sources.map_or(u32::MAX, |sources| sources[row_idx]);
            for (burst, members) in model.bursts.iter().zip(&mut evidence.bursts) {
                let within = time >= burst.window.start && time <= burst.window.end;
                if within && burst.source.is_none_or(|of| of == source) {
                    members.add(ordinal, LISTED);
                }
            }
        }
        scores
    }

    fn merge_evidence(&self, evidence: &mut Self::Evidence, later: Self::Evidence) {
        for (members, later) in evidence.bursts.iter_mut().zip(later.bursts) {
            members.merge(later, LISTED);
        }
        evidence
            .unreadable
            .merge(later.unreadable, LISTED_UNREADABLE);
        evidence.with_time += later.with_time;
    }

    fn finish(
        &self,
        model: &Self::Model,
        shared: &Shared,
        evidence: Self::Evidence,
    ) -> Vec<Finding> {
        let mut findings: Vec<Finding> = model
            .bursts
            .iter()
            .zip(evidence.bursts)
            .filter(|(_, members)| members.number > 0)
            .map(|(burst, members)| burst.finding(&shared.facts, members))
            .collect();
        findings.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
        findings.extend(unreadable(
            &shared.facts,
            evidence.unreadable,
            evidence.with_time,
        ));
        findings
    }
}

impl TimeBurst {
    /// The bursts in moments that ascend by time.
    fn search(&self, moments: &[Moment], facts: &DataFacts) -> Vec<Burst> {
        let times: Vec<i64> = moments.iter().map(|moment| moment.time).collect();
        let Some(clock) =
            Clock::of(&times).filter(|_| times.len() as u64 >= self.params.min_records)
        else {
            return Vec::new();
        };
        let mut by_source = vec![Vec::new(); facts.sources.len()];
        for moment in moments {
            if let Some(times) = by_source.get_mut(moment.source as usize) {
                times.push(moment.time);
            }
        }
        let enough = |times: &&Vec<i64>| times.len() as u64 >= self.params.min_records;
        let n_series = 1 + by_source.iter().filter(enough).count();
        let sources = by_source.iter().zip(0..).filter(|(times, _)| enough(times));
        let series = std::iter::once((&times, None));
        let series = series.chain(sources.map(|(times, source)| (times, Some(source))));
        let mut bursts: Vec<Burst> = Vec::new();
        for (times, source) in series {
            for mut window in windows(times, clock) {
                window.p_value = (window.p_value * n_series as f64).min(1.0);
                let told = bursts.iter().any(|told| {
                    let overlap =
                        told.window.start <= window.end && window.start <= told.window.end;
                    overlap && (told.source.is_none() || told.source == source)
                });
                if window.p_value > self.params.level || told {
                    continue;
                }
                bursts.extend(judged(window, source, moments, facts));
            }
        }
        bursts
    }
}

/// The burst in a window, where its records differ from all others, or where nothing is known that could
/// differ and its times speak for themselves.
fn judged(
    window: Window,
    source: Option<u32>,
    moments: &[Moment],
    facts: &DataFacts,
) -> Option<Burst> {
    // Within a source its own other records are the rest: sources have class shares of their own.
    let moments: Vec<Moment> = moments
        .iter()
        .filter(|moment| source.is_none_or(|of| of == moment.source))
        .copied()
        .collect();
    let moments = moments.as_slice();
    let within = |moment: &Moment| moment.time >= window.start && moment.time <= window.end;
    let label = |moment: &Moment| moment.label;
    let mut found = contrast(moments, within, Trait::Class, label, facts.classes.len());
    let of_sources = window.at_end && source.is_none();
    if found.is_none() && of_sources {
        let from = |moment: &Moment| moment.source;
        found = contrast(moments, within, Trait::Source, from, facts.sources.len());
    }
    let comparable = facts.has_labels() || of_sources && facts.sources.len() > 1;
    let alone = !comparable && window.at_end && window.p_value <= ALONE;
    (found.is_some() || alone).then_some(Burst {
        window,
        source,
        contrast: found,
    })
}

/// What is read in both passes.
const ROLES: &[Role] = &[Role::Time, Role::Source, Role::Label];

#[cfg(test)]
mod tests;
