//! What a killed run can be gone on from: who it is, and how far it came.
//!
//! The folder `.resume` of a staging folder holds `run.json`, which names everything that can change the result,
//! and checkpoints. A checkpoint is written beside its place, synced and renamed, and ends with a digest of
//! itself and the run's identity: one that is torn, rotten or of another run is as good as none. It is not known
//! here what checkpoints hold.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{RunFolder, durable};
use crate::error::IoError;

/// Folder of the journal in a staging folder.
pub(crate) const JOURNAL: &str = ".resume";
/// Names of the journal's files.
const IDENTITY: &str = "run.json";
const CHECKPOINT_SUFFIX: &str = ".checkpoint";
const MAGIC: &[u8; 5] = b"LZCP\x01";
const DIGEST: usize = 32;
/// Differences that are told, at most.
const MAX_TOLD: usize = 6;
/// Characters of a value that is told.
const MAX_VALUE: usize = 48;

/// Everything that can change the result of a run: names and values, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity(Vec<(String, String)>);

impl Identity {
    /// The identity of a run with these facts; each name may occur once.
    #[must_use]
    pub fn new(facts: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut facts: Vec<_> = facts.into_iter().collect();
        facts.sort();
        Self(facts)
    }

    /// How this run differs from `then`, for people: lower-case fragments, the first few of them.
    #[must_use]
    pub fn differences(&self, then: &Self) -> Vec<String> {
        let find = |facts: &Self, name: &str| {
            let position = facts
                .0
                .binary_search_by(|(other, _)| other.as_str().cmp(name));
            position.ok().map(|position| facts.0[position].1.clone())
        };
        let mut told = Vec::new();
        for (name, value) in &self.0 {
            match find(then, name) {
                None => told.push(format!("{name} is new")),
                Some(before) if before.len().max(value.len()) > MAX_VALUE && &before != value => {
                    told.push(format!("{name} is not what it was"));
                }
                Some(before) if &before != value => {
                    told.push(format!("{name} was `{before}` and is `{value}`"));
                }
                Some(_) => {}
            }
        }
        let gone = then.0.iter().filter(|(name, _)| find(self, name).is_none());
        told.extend(gone.map(|(name, _)| format!("{name} is gone")));
        if told.len() > MAX_TOLD {
            let more = told.len() - MAX_TOLD;
            told.truncate(MAX_TOLD);
            told.push(format!("and {more} more"));
        }
        told
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The journal of a run that is being written.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    identity: [u8; DIGEST],
}

impl Journal {
    /// Starts the journal of a new run.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn begin(run: &RunFolder, identity: &Identity) -> Result<Self, IoError> {
        let journal = Self::of(run, identity);
        let path = journal.folder.join(IDENTITY);
        let bytes = identity.bytes();
        durable::replace(&path, |out| {
            out.write_all(&bytes)
                .map_err(IoError::storage("write", &path))
        })?;
        durable::sync(run.path())?;
        Ok(journal)
    }

    /// The journal of a run that was begun before, if it was this one. From here on the folder belongs to this
    /// run: it is removed when the run fails, unless [`RunFolder::keep`] says otherwise.
    ///
    /// # Errors
    /// [`IoError::OtherRun`] with what differs; the folder stays as it was.
    pub fn reopen(run: &RunFolder, identity: &Identity) -> Result<Self, IoError> {
        let journal = Self::of(run, identity);
        let then = read_identity(&journal.folder);
        let differences = match &then {
            Some(then) => identity.differences(then),
            None => vec!["its journal cannot be read".to_owned()],
        };
        if differences.is_empty() {
            run.keep(false);
            return Ok(journal);
        }
        Err(IoError::OtherRun {
            path: run.path().to_owned(),
            differences,
        })
    }

    fn of(run: &RunFolder, identity: &Identity) -> Self {
        Self {
            folder: run.journal_folder(),
            identity: *blake3::hash(&identity.bytes()).as_bytes(),
        }
    }

    /// Whether there is a checkpoint, of whatever kind.
    #[must_use]
    pub fn has_checkpoints(run: &RunFolder) -> bool {
        let Ok(entries) = fs::read_dir(run.journal_folder()) else {
            return false;
        };
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().ends_with(CHECKPOINT_SUFFIX)
        })
    }

    /// Puts a durable checkpoint in the place of the one of the same name. `write` adds its sections.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses, and what `write` says; the former checkpoint is there
    /// then.
    pub fn save(
        &self,
        name: &str,
        write: impl FnOnce(&mut Sections<'_>) -> Result<(), IoError>,
    ) -> Result<(), IoError> {
        let path = self.place(name);
        durable::replace(&path, |out| {
            let mut sections = Sections {
                out,
                hasher: blake3::Hasher::new(),
                path: &path,
            };
            sections.put(MAGIC)?;
            sections.put(&self.identity)?;
            write(&mut sections)?;
            let digest = *sections.hasher.finalize().as_bytes();
            sections.put(&digest)
        })
    }

    /// The checkpoint `name`; `None` when there is none that can be trusted.
    #[must_use]
    pub fn load(&self, name: &str) -> Option<SavedSections> {
        SavedSections::open(&self.place(name), &self.identity).ok()?
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{CHECKPOINT_SUFFIX}"))
    }
}

/// Whether the folder of a journal names the run that it is of.
pub(super) fn is_begun(folder: &Path) -> bool {
    read_identity(folder).is_some()
}

fn read_identity(folder: &Path) -> Option<Identity> {
    let bytes = fs::read(folder.join(IDENTITY)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A checkpoint that is being written.
pub struct Sections<'w> {
    out: &'w mut dyn Write,
    hasher: blake3::Hasher,
    path: &'w Path,
}

impl Sections<'_> {
    /// Adds a section.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.put(&(bytes.len() as u64).to_le_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.hasher.update(bytes);
        self.out
            .write_all(bytes)
            .map_err(IoError::storage("write", self.path))
    }
}

/// A checkpoint whose digest holds.
#[derive(Debug)]
pub struct SavedSections {
    file: BufReader<File>,
    /// Bytes of sections that are still to come.
    left: u64,
}

impl SavedSections {
    fn open(path: &Path, identity: &[u8; DIGEST]) -> io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let head = MAGIC.len() + DIGEST;
        let Some(covered) = file.metadata()?.len().checked_sub(DIGEST as u64) else {
            return Ok(None);
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader((&mut file).take(covered))?;
        let mut digest = [0; DIGEST];
        file.read_exact(&mut digest)?;
        file.seek(SeekFrom::Start(0))?;
        let mut found = vec![0; head];
        let mut file = BufReader::with_capacity(1 << 18, file);
        file.read_exact(&mut found)?;
        let left = covered.saturating_sub(head as u64);
        let expected = [MAGIC.as_slice(), identity].concat();
        let holds = hasher.finalize() == blake3::Hash::from_bytes(digest) && found == expected;
        Ok(holds.then_some(Self { file, left }))
    }

    /// The next section; `None` after the last one, or when it cannot be read.
    pub fn section(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 8];
        self.left = self.left.checked_sub(8)?;
        self.file.read_exact(&mut length).ok()?;
        let length = u64::from_le_bytes(length);
        self.left = self.left.checked_sub(length)?;
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        self.file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(seed: u64) -> Identity {
        let facts = [
            ("seed", seed.to_string()),
            ("input `a.csv`", "f".repeat(64)),
        ];
        Identity::new(facts.map(|(name, value)| (name.to_owned(), value)))
    }

    #[test]
    fn a_run_is_told_from_another_by_name() {
        let other = Identity::new([("seed".to_owned(), "8".to_owned())]);
        assert!(identity(7).differences(&identity(7)).is_empty());
        assert_eq!(
            identity(7).differences(&other),
            ["input `a.csv` is new", "seed was `8` and is `7`"]
        );
        assert_eq!(other.differences(&identity(8)), ["input `a.csv` is gone"]);
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let run = RunFolder::stage(&out).unwrap();
        Journal::begin(&run, &identity(7)).unwrap();
        run.keep(true);
        drop(run);
        let Ok(super::super::Found::Begun(run)) = RunFolder::resume(&out) else {
            panic!("a run that was begun is not found");
        };
        let refused = Journal::reopen(&run, &identity(8)).unwrap_err();
        assert!(
            refused.to_string().contains("seed was `7` and is `8`"),
            "{refused}"
        );
        drop(run);
        assert!(
            folder.path().join("run.partial").exists(),
            "kept for its own command"
        );
    }

    #[test]
    fn a_checkpoint_is_whole_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::stage(&folder.path().join("run")).unwrap();
        let journal = Journal::begin(&run, &identity(7)).unwrap();
        assert!(!Journal::has_checkpoints(&run));
        assert!(journal.load("fit").is_none());
        let parts: [&[u8]; 3] = [b"one", b"", b"three"];
        journal
            .save("fit", |sections| {
                parts.iter().try_for_each(|part| sections.add(part))
            })
            .unwrap();
        assert!(Journal::has_checkpoints(&run));
        let mut saved = journal.load("fit").unwrap();
        for part in parts {
            assert_eq!(saved.section().unwrap(), part);
        }
        assert!(saved.section().is_none());
        let failed = journal.save("fit", |_| Err(IoError::Interrupted));
        assert!(failed.is_err());
        assert!(journal.load("fit").is_some(), "the former one is there");

        // Any bit, and any length, that is not what was written.
        let path = journal.place("fit");
        let bytes = fs::read(&path).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(journal.load("fit").is_none(), "byte {place}");
            fs::write(&path, &bytes[..place]).unwrap();
            assert!(journal.load("fit").is_none(), "{place} bytes");
        }
        fs::write(&path, &bytes).unwrap();
        assert!(journal.load("fit").is_some());
        let other = Journal::of(&run, &identity(8));
        assert!(other.load("fit").is_none(), "of another run");
    }
}
