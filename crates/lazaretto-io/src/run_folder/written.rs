//! Which files of a dataset have been written for good, so that a resumed run need not write them again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::journal::Journal;
use super::{RunFolder, durable};
use crate::discover::digest_file;
use crate::error::IoError;

/// Name of the checkpoint.
const NAME: &str = "written";

/// A file that was written, as it was then.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Output {
    path: String,
    bytes: u64,
    blake3: [u8; 32],
}

/// Outputs by relative path of the input.
type Done = BTreeMap<String, Vec<Output>>;

/// The inputs whose records are in `clean/`, `quarantine/` and `unscanned/`.
pub struct Written<'r> {
    run: &'r RunFolder,
    journal: &'r Journal,
    /// What the records' verdicts were when the files were written.
    decisions: [u8; 32],
    kept: BTreeSet<String>,
    state: Mutex<State>,
    saving: AtomicBool,
}

#[derive(Default)]
struct State {
    done: Done,
    /// Inputs that are written and not yet known to be durable.
    pending: Vec<String>,
}

impl<'r> Written<'r> {
    /// What was written by a run that came to these `decisions` (a digest) before. Files that are not as they
    /// were, or hold other decisions, are removed.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn open(
        run: &'r RunFolder,
        journal: &'r Journal,
        decisions: [u8; 32],
    ) -> Result<Self, IoError> {
        let (then, saved) = load(journal).unwrap_or_default();
        let mut done = Done::new();
        for (input, outputs) in saved {
            let holds = then == decisions && outputs.par_iter().all(|output| output.holds(run));
            if holds {
                done.insert(input, outputs);
                continue;
            }
            for output in outputs {
                run.remove(&output.path)?;
            }
        }
        Ok(Self {
            run,
            journal,
            decisions,
            kept: done.keys().cloned().collect(),
            state: Mutex::new(State {
                done,
                pending: Vec::new(),
            }),
            saving: AtomicBool::new(false),
        })
    }

    /// Whether the records of this input, by relative path, need not be written again.
    #[must_use]
    pub fn has(&self, input: &str) -> bool {
        self.kept.contains(input)
    }

    /// Notes that the records of this input are written.
    pub fn add(&self, input: &str) {
        self.state().pending.push(input.to_owned());
    }

    /// Makes what was written since the last time durable, and writes that down. Does nothing while another
    /// thread is at it.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn save(&self) -> Result<(), IoError> {
        // No lock is held while files are read: that is done on all threads, and one that waits may come
        // back here with work of another's.
        if self.saving.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let saved = self.save_pending();
        self.saving.store(false, Ordering::Release);
        saved
    }

    fn save_pending(&self) -> Result<(), IoError> {
        let pending = std::mem::take(&mut self.state().pending);
        if pending.is_empty() {
            return Ok(());
        }
        let fresh: Vec<(String, Vec<Output>)> = pending
            .into_par_iter()
            .map(|input| {
                let outputs = outputs_of(self.run, &input)?;
                Ok((input, outputs))
            })
            .collect::<Result<_, IoError>>()?;
        let bytes = {
            let mut state = self.state();
            state.done.extend(fresh);
            serde_json::to_vec(&state.done)
        };
        let bytes = bytes.map_err(|error| IoError::Encode {
            path: NAME.to_owned(),
            reason: error.to_string(),
        })?;
        self.journal.save(NAME, |sections| {
            sections.add(&self.decisions)?;
            sections.add(&bytes)
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Paths that a resumed run may find use for.
pub(super) fn listed(journal: &Journal) -> BTreeSet<String> {
    let (_, done) = load(journal).unwrap_or_default();
    done.into_values()
        .flatten()
        .map(|output| output.path)
        .collect()
}

fn load(journal: &Journal) -> Option<([u8; 32], Done)> {
    let mut saved = journal.load(NAME)?;
    let decisions = saved.section()?.try_into().ok()?;
    let done = serde_json::from_slice(&saved.section()?).ok()?;
    Some((decisions, done))
}

impl Output {
    fn holds(&self, run: &RunFolder) -> bool {
        digest_file(&run.place(&self.path))
            .is_ok_and(|(bytes, blake3)| (bytes, blake3) == (self.bytes, self.blake3))
    }
}

/// What there is of an input, durable from now on.
fn outputs_of(run: &RunFolder, input: &str) -> Result<Vec<Output>, IoError> {
    let mut outputs = Vec::new();
    let mut folders = BTreeSet::<PathBuf>::new();
    for path in [
        format!("clean/{input}"),
        format!("quarantine/{input}"),
        // Records of text formats are held back as Parquet.
        format!("quarantine/{input}.parquet"),
        format!("unscanned/{input}"),
    ] {
        let place = run.place(&path);
        if !place.is_file() {
            continue;
        }
        durable::sync(&place)?;
        let above = place.ancestors().skip(1);
        folders.extend(
            above
                .take_while(|folder| folder.starts_with(run.path()))
                .map(PathBuf::from),
        );
        let (bytes, blake3) = digest_file(&place)?;
        outputs.push(Output {
            path,
            bytes,
            blake3,
        });
    }
    folders
        .iter()
        .try_for_each(|folder| durable::sync(folder))?;
    Ok(outputs)
}
