//! How far a scan came, on the disk: checkpoints of the two passes, and how often they are written.
//!
//! A checkpoint holds what has been merged of the first units, in order. Merging the rest to it gives the same
//! bytes as merging all at once, so a run that goes on from one cannot be told from one that was never cut
//! short. It is only good for a pass that starts from where that one did: the same units are unscanned, the same
//! detectors run. What comes between and after the passes is made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lazaretto_core::{AnyEvidence, AnyState, StateError};
use lazaretto_features::FeatureFit;
use lazaretto_io::{Identity, IoError, Journal, RunFolder, SavedSections, Sections};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::plan::Planned;
use crate::progress::Progress;

/// Names of the checkpoints.
const FIT: &str = "fit";
const SCORE: &str = "score";
/// Time between checkpoints, as a multiple of the time that the last one took.
const LEAST_RATIO: u32 = 20;

/// Reasons by unscanned unit.
pub(crate) type Unscanned = BTreeMap<usize, String>;

/// Whether a run that was cut short is gone on with, and how often a run writes down how far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// Whether to go on from what an earlier run left.
    pub resume: bool,
    /// Least time between two checkpoints; they take at most a twentieth of the run's time whatever it is.
    /// `None` for a run that nobody will go on with.
    pub every: Option<Duration>,
}

impl Resumption {
    /// For runs that are thrown away.
    pub(crate) const NEVER: Self = Self {
        resume: false,
        every: None,
    };
}

impl Default for Resumption {
    /// A new run, with a checkpoint every half minute.
    fn default() -> Self {
        Self {
            resume: false,
            every: Some(Duration::from_secs(30)),
        }
    }
}

/// The journal of a run, and the time of its last checkpoint.
pub(crate) struct Checkpoints<'p> {
    journal: Journal,
    progress: &'p dyn Progress,
    pace: Mutex<Pace>,
}

struct Pace {
    /// `None` when no more checkpoints are to be written.
    every: Option<Duration>,
    last: Instant,
    /// How long it took.
    cost: Duration,
}

impl<'p> Checkpoints<'p> {
    /// The journal of `run`: of one that was begun before, which must have been the same, or a new one.
    ///
    /// # Errors
    /// See [`Journal::reopen`] and [`Journal::begin`].
    pub(crate) fn open(
        run: &RunFolder,
        begun: bool,
        identity: &Identity,
        every: Option<Duration>,
        progress: &'p dyn Progress,
    ) -> Result<Self, IoError> {
        let journal = if begun {
            let journal = Journal::reopen(run, identity)?;
            run.clear(&journal)?;
            journal
        } else {
            Journal::begin(run, identity)?
        };
        Ok(Self {
            journal,
            progress,
            pace: Mutex::new(Pace {
                every,
                last: Instant::now(),
                cost: Duration::ZERO,
            }),
        })
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Calls `write` if it is time for a checkpoint. A checkpoint is a convenience: where it cannot be written
    /// the run goes on, without any more of them.
    pub(crate) fn when_due(&self, write: impl FnOnce() -> Result<(), IoError>) {
        let started = Instant::now();
        {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            // With no time between them at all, as in tests, their cost is not looked at either.
            let rests = |every: Duration| {
                !every.is_zero() && pace.last.elapsed() < every.max(pace.cost * LEAST_RATIO)
            };
            if pace.every.is_none_or(rests) {
                return;
            }
            // Others that come while this one is written find that it is not time.
            pace.last = started;
        }
        let written = write();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.last = Instant::now();
        pace.cost = started.elapsed();
        if let Err(error) = written {
            pace.every = None;
            let message = format!("no more checkpoints of this run: failed to {error}");
            self.progress.warn(&message);
        }
    }

    /// Says from where a pass goes on.
    fn tell(&self, pass: &str, next: usize, n_units: usize) {
        let message = format!("resuming: {pass} goes on after unit {next} of {n_units}");
        self.progress.note(&message);
    }
}

/// What a pass starts from, as a digest.
pub(crate) fn basis<'d>(
    unscanned: &Unscanned,
    detectors: impl Iterator<Item = &'d Planned>,
) -> Basis {
    let mut hasher = blake3::Hasher::new();
    let mut put = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for (unit, reason) in unscanned {
        put(&(*unit as u64).to_le_bytes());
        put(reason.as_bytes());
    }
    for planned in detectors {
        put(planned.detector.spec().id.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// See [`basis`].
pub(crate) type Basis = [u8; 32];

/// What the fit pass made of the units before some unit.
pub(crate) struct Fitted {
    pub(crate) states: Vec<AnyState>,
    pub(crate) features: FeatureFit,
    /// Columns with a value.
    pub(crate) present: BTreeSet<usize>,
}

impl Checkpoints<'_> {
    /// Writes down what the fit pass made of the units before `next`.
    ///
    /// # Errors
    /// When it does not encode, or the file system refuses.
    pub(crate) fn save_fit(
        &self,
        basis: &Basis,
        detectors: &[Planned],
        fitted: &Fitted,
        next: usize,
        unscanned: &Unscanned,
    ) -> Result<(), IoError> {
        self.journal.save(FIT, |sections| {
            let head = (basis, next as u64, unscanned, &fitted.present);
            put(sections, FIT, &head)?;
            put(sections, FIT, &fitted.features)?;
            for (planned, state) in detectors.iter().zip(&fitted.states) {
                let bytes = planned.detector.encode_state(state);
                sections.add(&bytes.map_err(unencoded)?)?;
            }
            Ok(())
        })
    }

    /// What was written down of a fit pass with this `basis`: the merged units, the next one, and the unscanned
    /// ones.
    pub(crate) fn load_fit(
        &self,
        basis: &Basis,
        detectors: &[Planned],
        n_units: usize,
    ) -> Option<(Fitted, usize, Unscanned)> {
        let mut saved = self.journal.load(FIT)?;
        let (then, next, unscanned, present): (Basis, u64, Unscanned, _) = get(&mut saved)?;
        let next = usize::try_from(next).ok()?;
        if &then != basis || next > n_units {
            return None;
        }
        let features = get(&mut saved)?;
        let states = detectors
            .iter()
            .map(|planned| planned.detector.decode_state(&saved.section()?).ok())
            .collect::<Option<_>>()?;
        self.tell("the fit pass", next, n_units);
        let fitted = Fitted {
            states,
            features,
            present,
        };
        Some((fitted, next, unscanned))
    }

    /// Writes down the evidence of the units before `next`, whose rows are durable and have the digest `rows`.
    ///
    /// # Errors
    /// When it does not encode, or the file system refuses.
    pub(crate) fn save_score<'d, 'e>(
        &self,
        basis: &Basis,
        rows: &[u8; 32],
        evidence: impl Iterator<Item = (&'d Planned, &'e AnyEvidence)>,
        next: usize,
        unscanned: &Unscanned,
    ) -> Result<(), IoError> {
        self.journal.save(SCORE, |sections| {
            put(sections, SCORE, &(basis, rows, next as u64, unscanned))?;
            for (planned, evidence) in evidence {
                let bytes = planned.detector.encode_evidence(evidence);
                sections.add(&bytes.map_err(unencoded)?)?;
            }
            Ok(())
        })
    }

    /// What was written down of a score pass with this `basis`.
    pub(crate) fn load_score<'d>(
        &self,
        basis: &Basis,
        detectors: impl Iterator<Item = &'d Planned>,
        n_units: usize,
    ) -> Option<Scored> {
        let mut saved = self.journal.load(SCORE)?;
        let (then, rows, next, unscanned): (Basis, _, u64, _) = get(&mut saved)?;
        let next = usize::try_from(next).ok()?;
        if &then != basis || next > n_units {
            return None;
        }
        let evidence = detectors
            .map(|planned| planned.detector.decode_evidence(&saved.section()?).ok())
            .collect::<Option<_>>()?;
        Some(Scored {
            evidence,
            rows,
            next,
            unscanned,
        })
    }

    /// Says that the rows of a checkpoint are there as well.
    pub(crate) fn tell_score(&self, next: usize, n_units: usize) {
        self.tell("the score pass", next, n_units);
    }
}

/// What the score pass made of the units before `next`.
pub(crate) struct Scored {
    pub(crate) evidence: Vec<AnyEvidence>,
    /// Digest of their rows.
    pub(crate) rows: [u8; 32],
    pub(crate) next: usize,
    pub(crate) unscanned: Unscanned,
}

fn put(sections: &mut Sections<'_>, name: &str, value: &impl Serialize) -> Result<(), IoError> {
    let bytes = postcard::to_stdvec(value).map_err(|error| IoError::Encode {
        path: name.to_owned(),
        reason: error.to_string(),
    })?;
    sections.add(&bytes)
}

fn get<T: DeserializeOwned>(saved: &mut SavedSections) -> Option<T> {
    postcard::from_bytes(&saved.section()?).ok()
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unencoded(error: StateError) -> IoError {
    IoError::Encode {
        path: "a checkpoint".to_owned(),
        reason: error.to_string(),
    }
}
