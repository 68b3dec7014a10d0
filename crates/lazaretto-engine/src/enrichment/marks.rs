//! What the scores say about each record, in a form that can be counted.

use std::collections::BTreeMap;

use lazaretto_core::{Action, Family, Finding, NO_LABEL, ScoreKind};

use super::judge::Tally;
use crate::calibrated::Calibrated;
use crate::spill::{Block, Row, Spill};

/// Share of a detector's scores that count as high.
const HIGH: f64 = 0.01;
/// Scores from which the threshold is read.
const THRESHOLD_SCORES: u64 = 1 << 18;
/// Kinds of evidence that are looked at, bits of [`Marks::marked`].
const MAX_KINDS: usize = 32;
/// Classes that are told apart.
const MAX_CLASSES: usize = 64;
/// Lower ends of the steps of how sure the model is, as absolute log odds; none straddles one of [`SURE`].
const SURENESS: [f32; 14] = [
    0.0, 0.25, 0.5, 0.75, SURE[1], 1.5, SURE[2], 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0,
];
/// Log odds of one half, three quarters and nine tenths: flips among records that are easy to judge stand out, and where
/// none is easy the others have to do.
const SURE: [f32; 3] = [0.0, 1.098_612_3, 2.197_224_6];
/// The detector whose score is the log odds against the label.
const JUDGES_LABELS: &str = "confident-learning";

/// A kind of evidence that a record has or has not.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Evidence {
    /// The content speaks for another label, among records of which the model is at least so sure, in log odds.
    Contradicted(f32),
    /// Among the highest scores of a detector.
    High(&'static str),
    /// Has the sign that a detector looks for, whether that is a finding or not: a copy, an invisible character.
    Signed(&'static str),
    /// In a finding that holds records back.
    Held,
}

/// How evidence is read off a record.
#[derive(Debug)]
pub(super) struct Marker {
    pub(super) kinds: Vec<Evidence>,
    /// Place of the log odds against the label among the scores.
    log_odds: Option<usize>,
    /// Place among the scores and threshold, by kind.
    thresholds: Vec<Option<(usize, f32)>>,
    /// Records of findings that hold records back, ascending.
    held: Vec<u64>,
    n_classes: usize,
}

/// The evidence of one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub(super) source: u32,
    pub(super) time: i64,
    /// Class, as far as classes are told apart.
    pub(super) class: usize,
    /// Log odds against the label, NaN where it is not judged.
    pub(super) log_odds: f32,
    /// Kinds of evidence that were looked for, and that were found, as bits.
    pub(super) looked: u32,
    pub(super) marked: u32,
}

impl Marker {
    pub(super) fn new(
        calibrated: &[Calibrated],
        found: &[Finding],
        finding_p: f64,
        n_classes: usize,
        spill: &Spill,
    ) -> std::io::Result<Self> {
        let log_odds = calibrated
            .iter()
            .position(|detector| detector.id == JUDGES_LABELS);
        let (mut kinds, mut thresholds) = (Vec::new(), Vec::new());
        if log_odds.is_some() {
            kinds.extend(SURE.map(Evidence::Contradicted));
            thresholds.extend(SURE.map(|_| None));
        }
        // What is about one source to begin with is no evidence that it comes from one.
        let holds = |finding: &&Finding| {
            finding.action == Action::Quarantine
                && finding.p_value <= finding_p
                && !finding.evidence.contains_key("source")
        };
        let mut held: Vec<u64> = found
            .iter()
            .filter(holds)
            .flat_map(|finding| finding.records.iter().copied())
            .collect();
        held.sort_unstable();
        held.dedup();
        if !held.is_empty() {
            kinds.push(Evidence::Held);
            thresholds.push(None);
        }
        for (place, detector) in calibrated.iter().enumerate() {
            if detector.kind == ScoreKind::Rule && says_sign(detector.id) && kinds.len() < MAX_KINDS
            {
                kinds.push(Evidence::Signed(detector.id));
                thresholds.push(Some((place, 0.0)));
            }
        }
        let statistical: Vec<usize> = (0..calibrated.len())
            .filter(|&place| {
                let detector = &calibrated[place];
                detector.kind == ScoreKind::Statistical && detector.decides()
            })
            .filter(|&place| Some(place) != log_odds)
            .take(MAX_KINDS - kinds.len())
            .collect();
        let scores = spill.scores(&statistical, THRESHOLD_SCORES)?;
        for (&place, mut scores) in statistical.iter().zip(scores) {
            if scores.is_empty() {
                continue;
            }
            let detector = &calibrated[place];
            let from = ((1.0 - HIGH) * (scores.len() - 1) as f64).ceil() as usize;
            let (_, &mut threshold, _) = scores.select_nth_unstable_by(from, f32::total_cmp);
            kinds.push(Evidence::High(detector.id));
            thresholds.push(Some((place, threshold)));
        }
        Ok(Self {
            kinds,
            log_odds,
            thresholds,
            held,
            n_classes: if n_classes > MAX_CLASSES {
                1
            } else {
                n_classes.max(1)
            },
        })
    }

    pub(super) fn n_classes(&self) -> usize {
        self.n_classes
    }

    pub(super) fn all(&self, block: &Block) -> Vec<Marks> {
        block
            .rows()
            .map(|(ordinal, row)| self.marks(ordinal, &row))
            .collect()
    }

    fn marks(&self, ordinal: u64, row: &Row<'_>) -> Marks {
        let log_odds = self
            .log_odds
            .and_then(|place| row.scores.get(place).copied())
            .unwrap_or(f32::NAN);
        let mut marks = Marks {
            source: row.source,
            time: row.time,
            class: self.class(row.label),
            log_odds,
            looked: 0,
            marked: 0,
        };
        for (idx, (kind, threshold)) in self.kinds.iter().zip(&self.thresholds).enumerate() {
            let (looked, marked) = match (kind, threshold) {
                (Evidence::Contradicted(sure), _) => {
                    (log_odds.abs() >= *sure, log_odds >= *sure && log_odds > 0.0)
                }
                (Evidence::Held, _) => (true, self.held.binary_search(&ordinal).is_ok()),
                (Evidence::High(_) | Evidence::Signed(_), Some((place, threshold))) => {
                    let score = row.scores.get(*place).copied().unwrap_or(f32::NAN);
                    (score.is_finite(), score > *threshold)
                }
                (Evidence::High(_) | Evidence::Signed(_), None) => (false, false),
            };
            marks.looked |= u32::from(looked) << idx;
            marks.marked |= u32::from(looked && marked) << idx;
        }
        marks
    }

    fn class(&self, label: u32) -> usize {
        if self.n_classes == 1 || label == NO_LABEL {
            0
        } else {
            (label as usize).min(self.n_classes - 1)
        }
    }
}

/// Whether a rule's scores say of single records what they are, apart from where they come from and from their
/// labels, which are looked at by themselves.
fn says_sign(id: &str) -> bool {
    let families = [
        Family::Duplicates,
        Family::Injection,
        Family::Leakage,
        Family::Response,
        Family::TextSurface,
    ];
    let registered = lazaretto_detectors::find(id);
    registered.is_some_and(|registered| families.contains(&registered.spec.family))
}

/// How often each kind of evidence is found, by what a record is like before it.
#[derive(Debug)]
pub(super) struct Rates {
    /// By class and sureness, for contradicted labels: (looked at, contradicted).
    contradicted: BTreeMap<(usize, usize), (u64, u64)>,
    /// By kind.
    overall: Vec<(u64, u64)>,
}

fn sureness(log_odds: f32) -> usize {
    SURENESS.partition_point(|&from| from <= log_odds.abs())
}

impl Rates {
    pub(super) fn new(marker: &Marker) -> Self {
        Self {
            contradicted: BTreeMap::new(),
            overall: vec![(0, 0); marker.kinds.len()],
        }
    }

    pub(super) fn add(&mut self, marks: &Marks) {
        for (idx, (looked, marked)) in self.overall.iter_mut().enumerate() {
            *looked += u64::from(marks.looked >> idx & 1);
            *marked += u64::from(marks.marked >> idx & 1);
        }
        if marks.log_odds.is_finite() {
            let stratum = (marks.class, sureness(marks.log_odds));
            let counts = self.contradicted.entry(stratum).or_default();
            counts.0 += 1;
            counts.1 += u64::from(marks.log_odds > 0.0);
        }
    }

    /// Adds a record to the tallies of a group, by kind.
    pub(super) fn count(&self, marker: &Marker, marks: &Marks, tallies: &mut [Tally]) {
        for (idx, (tally, kind)) in tallies.iter_mut().zip(&marker.kinds).enumerate() {
            if marks.looked >> idx & 1 == 0 {
                continue;
            }
            let counts = match kind {
                Evidence::Contradicted(_) => {
                    let stratum = (marks.class, sureness(marks.log_odds));
                    self.contradicted.get(&stratum).copied()
                }
                _ => self.overall.get(idx).copied(),
            };
            let (looked, marked) = counts.unwrap_or((1, 0));
            tally.looked += 1;
            tally.marked += u64::from(marks.marked >> idx & 1);
            tally.expected += marked as f64 / looked.max(1) as f64;
        }
    }
}
