//! The run folder: written beside its final place, and moved there complete or not at all.
//!
//! A run is staged in `<out>.partial` under a lock. Committing makes every file and folder durable, writes
//! the manifest last and renames the folder. A run that fails or is dropped removes its staging
//! folder; one that is killed leaves it, with a journal from which [`RunFolder::resume`] goes on. Only its
//! owner can read a run folder, unless [`Access`] says otherwise.

mod access;
mod durable;
pub mod journal;
mod lock;
mod resume;
pub mod written;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

pub(crate) use self::journal::JOURNAL;
use self::lock::RunLock;
pub(crate) use self::lock::is_lock;
pub use self::resume::Found;
use crate::discover::{Digests, InputFile, digest_file, digests_of_file, hex};
use crate::error::IoError;
use crate::failpoint;
use crate::manifest::{ENVELOPE_NAME, FILE_NAME, FileDigest, Manifest, TIMINGS_NAME, UNLISTED};

/// What the name of a staging folder has more than that of its run.
const STAGING_SUFFIX: &str = ".partial";
/// Folder for what a run needs on the disk and leaves to nobody.
const SCRATCH: &str = ".scratch";

/// Who may read a run folder. Records that were held back can be personal or hostile, and what is not
/// readable to others cannot be copied by them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Its owner alone: folders 0700, files 0600.
    #[default]
    Owner,
    /// Its owner, and its group for reading: folders 0750, files 0640.
    Group,
}

/// Makes the signed envelope about the files of a run, the manifest and times among them, as bytes.
pub type Seal<'s> = dyn Fn(&Manifest, &[FileDigest]) -> Result<Vec<u8>, IoError> + 's;

/// A run folder that is being written. Dropping it without [`RunFolder::commit`] removes it, unless it is kept.
#[derive(Debug)]
pub struct RunFolder {
    out: PathBuf,
    staging: PathBuf,
    committed: bool,
    kept: AtomicBool,
    /// Held for as long as the run lives, and given back after everything else.
    _lock: RunLock,
}

impl RunFolder {
    /// Creates the staging folder for a run that is to end up at `out`, which must not exist or
    /// be an empty folder.
    ///
    /// # Errors
    /// [`IoError::OutExists`], [`IoError::OutLeftover`] and [`IoError::OutBusy`] when something is
    /// in the way, [`IoError::CommittedElsewhere`] when another run got there first, [`IoError::Storage`] when
    /// the file system refuses.
    pub fn stage(out: &Path) -> Result<Self, IoError> {
        if !is_vacant(out) {
            return Err(IoError::OutExists {
                path: out.to_owned(),
            });
        }
        let run = Self::claim(out)?;
        // Looked at again under the lock: another run may have been about to commit.
        if !is_vacant(out) {
            run.keep(true);
            return Err(IoError::CommittedElsewhere {
                path: out.to_owned(),
            });
        }
        run.create()?;
        Ok(run)
    }

    /// The lock for a run that is to end up at `out`. What is at its staging folder is kept.
    fn claim(out: &Path) -> Result<Self, IoError> {
        let staging = staging_path(out)?;
        if let Some(parent) = staging.parent() {
            fs::create_dir_all(parent).map_err(IoError::storage("create", parent))?;
        }
        let lock = RunLock::take(&staging)?;
        Ok(Self {
            out: out.to_owned(),
            staging,
            committed: false,
            kept: AtomicBool::new(true),
            _lock: lock,
        })
    }

    /// Creates the staging folder, which is not to be there.
    fn create(&self) -> Result<(), IoError> {
        // Whatever is written below cannot be reached by others from the start.
        match access::create_private(&self.staging) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(IoError::OutLeftover {
                    path: self.staging.clone(),
                });
            }
            Err(error) => return Err(IoError::storage("create", &self.staging)(error)),
        }
        self.keep(false);
        let journal = self.journal_folder();
        access::create_private(&journal).map_err(IoError::storage("create", &journal))
    }

    /// Whether the staging folder stays when the run fails or is dropped, to be gone on from.
    pub fn keep(&self, keep: bool) {
        self.kept.store(keep, Ordering::Relaxed);
    }

    /// See [`Self::keep`].
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// Folder of the run's journal; what is in it is never committed.
    #[must_use]
    pub fn journal_folder(&self) -> PathBuf {
        self.staging.join(JOURNAL)
    }

    /// Folder for temporary files, to be created and removed by the run.
    #[must_use]
    pub fn scratch_folder(&self) -> PathBuf {
        self.staging.join(SCRATCH)
    }

    /// Sees that no two of `files` would be one here.
    ///
    /// # Errors
    /// [`IoError::CaseClash`] when two differ in case only and the file system does not tell them apart.
    pub fn check_names(&self, files: &[InputFile]) -> Result<(), IoError> {
        let mut by_name: BTreeMap<String, &str> = BTreeMap::new();
        let alike = files.iter().find_map(|file| {
            let other = by_name.insert(file.relative.to_lowercase(), &file.relative);
            other.map(|other| (other, &file.relative))
        });
        match alike {
            Some((first, second)) if !self.tells_case_apart()? => Err(IoError::CaseClash {
                path: self.out.clone(),
                first: first.to_owned(),
                second: second.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn tells_case_apart(&self) -> Result<bool, IoError> {
        // The journal is there and has letters.
        let upper = self.staging.join(JOURNAL.to_uppercase());
        let found = upper.try_exists();
        found
            .map(|found| !found)
            .map_err(IoError::storage("read", &upper))
    }

    /// The staging folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.staging
    }

    /// Writes a file at `relative`, `/` between components; folders are made as needed.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn write(&self, relative: &str, bytes: &[u8]) -> Result<(), IoError> {
        let path = self.target(relative)?;
        File::create(&path)
            .and_then(|mut file| file.write_all(bytes))
            .map_err(IoError::storage("write", &path))
    }

    /// Where the file `relative` goes; its folder exists afterwards.
    pub(crate) fn target(&self, relative: &str) -> Result<PathBuf, IoError> {
        let path = self.place(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(IoError::storage("create", parent))?;
        }
        Ok(path)
    }

    /// Where the file `relative` is, if it is there.
    fn place(&self, relative: &str) -> PathBuf {
        let parts = relative.split('/');
        parts.fold(self.staging.clone(), |path, part| path.join(part))
    }

    /// Removes the file `relative`, if it is there.
    fn remove(&self, relative: &str) -> Result<(), IoError> {
        let path = self.place(relative);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(IoError::storage("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Digests of everything written so far but the [`UNLISTED`], sorted by path: what
    /// [`Manifest::outputs`] is to hold. Files of `clean/` that have the bytes of an input share its
    /// SHA-256, which is the slower of the two.
    ///
    /// # Errors
    /// [`IoError::Storage`] when a file cannot be read back.
    pub fn outputs<'f>(
        &self,
        inputs: impl IntoIterator<Item = &'f InputFile>,
    ) -> Result<Vec<FileDigest>, IoError> {
        let known: BTreeMap<[u8; 32], [u8; 32]> = inputs
            .into_iter()
            .map(|input| (input.digest, input.sha256))
            .collect();
        let files: Vec<_> = files_below(&self.staging)?
            .into_iter()
            .filter(|(relative, _)| is_output(relative))
            .collect();
        files
            .into_par_iter()
            .map(|(relative, path)| {
                if relative.starts_with("clean/") {
                    let (bytes, blake3) = digest_file(&path)?;
                    if let Some(&sha256) = known.get(&blake3) {
                        let digests = Digests {
                            bytes,
                            blake3,
                            sha256,
                        };
                        return Ok(entry(relative, &digests));
                    }
                }
                listed(relative, &path)
            })
            .collect()
    }

    /// Makes what is written so far durable. [`RunFolder::commit`] does so too; called earlier, on
    /// a thread of its own, the disk works while the processor does.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn sync(&self) -> Result<(), IoError> {
        durable::sync_all(&self.staging, &self.journal_folder())
    }

    /// Makes everything durable, writes `manifest` last, and its signature where `seal` makes one, and moves
    /// the folder into place, for those to read whom `access` names.
    ///
    /// # Errors
    /// [`IoError::CommittedElsewhere`] when another run took the place, [`IoError::Storage`] when
    /// the file system refuses, and what `seal` says. Nothing is at the final place then, unless it is the move
    /// itself that could not be made durable.
    pub fn commit(
        mut self,
        manifest: &Manifest,
        access: Access,
        seal: Option<&Seal<'_>>,
    ) -> Result<(), IoError> {
        access::grant(&self.staging, access)?;
        self.sync()?;
        let mut text = serde_json::to_vec_pretty(manifest).map_err(|error| IoError::Encode {
            path: FILE_NAME.to_owned(),
            reason: error.to_string(),
        })?;
        text.push(b'\n');
        failpoint!("before-manifest");
        self.write_durably(FILE_NAME, &text, access)?;
        failpoint!("after-manifest");
        if let Some(seal) = seal {
            let mut covered = manifest.outputs.clone();
            for name in [FILE_NAME, TIMINGS_NAME] {
                let path = self.staging.join(name);
                if path.is_file() {
                    covered.push(listed(name.to_owned(), &path)?);
                }
            }
            self.write_durably(ENVELOPE_NAME, &seal(manifest, &covered)?, access)?;
        }
        // From the manifest on the journal is of no use.
        let journal = self.journal_folder();
        remove_tree(&journal).map_err(IoError::storage("remove", &journal))?;
        failpoint!("after-journal");
        durable::sync(&self.staging)?;
        // Succeeds only on an empty folder, which a rename may not replace everywhere.
        if self.out.is_dir() && fs::remove_dir(&self.out).is_err() {
            return Err(self.committed_elsewhere());
        }
        failpoint!("before-rename");
        fs::rename(&self.staging, &self.out).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                self.committed_elsewhere()
            }
            _ => IoError::storage("create", &self.out)(error),
        })?;
        self.committed = true;
        failpoint!("after-rename");
        sync_parent(&self.out)
    }

    /// Its own result is of no use to anybody.
    fn committed_elsewhere(&self) -> IoError {
        self.keep(false);
        IoError::CommittedElsewhere {
            path: self.out.clone(),
        }
    }

    fn write_durably(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), IoError> {
        let path = self.staging.join(name);
        durable::replace(&path, |out| {
            out.write_all(bytes)
                .map_err(IoError::storage("write", &path))
        })?;
        access::grant(&path, access)?;
        durable::sync(&path)
    }

    /// Removes what was written.
    pub fn discard(self) {
        self.keep(false);
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if !self.committed && !self.is_kept() {
            // Left over at worst; the next run says how to clean it up.
            let _ = fs::remove_dir_all(&self.staging);
        }
    }
}

/// The entry of the manifest for the file at `path`.
fn listed(relative: String, path: &Path) -> Result<FileDigest, IoError> {
    Ok(entry(relative, &digests_of_file(path)?))
}

fn entry(path: String, digests: &Digests) -> FileDigest {
    FileDigest {
        path,
        bytes: digests.bytes,
        blake3: hex(&digests.blake3),
        sha256: hex(&digests.sha256),
    }
}

fn staging_path(out: &Path) -> Result<PathBuf, IoError> {
    let name = out.file_name().ok_or_else(|| IoError::Storage {
        action: "create",
        path: out.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "not the name of a folder"),
    })?;
    let mut staging = name.to_owned();
    staging.push(STAGING_SUFFIX);
    Ok(out.with_file_name(staging))
}

/// Whether a run may be put at `out`.
fn is_vacant(out: &Path) -> bool {
    match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        // Anything but a file in its place is met, and told, when the run is moved there.
        Err(_) => !out.exists(),
    }
}

/// Whether the manifest is to list the file `relative` of a staging folder.
fn is_output(relative: &str) -> bool {
    let of_journal = Path::new(relative).starts_with(JOURNAL);
    !of_journal && !UNLISTED.contains(&relative)
}

/// Makes the name of `path` durable.
fn sync_parent(path: &Path) -> Result<(), IoError> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => durable::sync(parent),
        _ => durable::sync(Path::new(".")),
    }
}

/// Removes a folder and all in it, if it is there.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// All files below `root` with their relative paths (`/` between components), sorted by these.
pub(crate) fn files_below(root: &Path) -> Result<Vec<(String, PathBuf)>, IoError> {
    let entries = entries_below(root)?.into_iter();
    Ok(entries
        .map(|(relative, path, _)| (relative, path))
        .collect())
}

/// The error that walking below `root` ended with.
fn unwalked(root: &Path, error: walkdir::Error) -> IoError {
    IoError::Storage {
        action: "read",
        path: error.path().unwrap_or(root).to_owned(),
        source: error.into(),
    }
}

/// Everything below `root` that is no folder: relative path (`/` between components), path, and whether it is a
/// regular file; sorted. Links are not followed.
pub(crate) fn entries_below(root: &Path) -> Result<Vec<(String, PathBuf, bool)>, IoError> {
    let mut files = Vec::new();
    for entry in WalkDir::new(root) {
        let entry = entry.map_err(|error| unwalked(root, error))?;
        if entry.file_type().is_dir() {
            continue;
        }
        let parts: Vec<_> = entry
            .path()
            .strip_prefix(root)
            .unwrap_or(entry.path())
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        let is_file = entry.file_type().is_file();
        files.push((parts.join("/"), entry.into_path(), is_file));
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
pub(crate) mod tests {
    use lazaretto_core::report::{Counts, GateStatus};

    use super::*;

    pub(crate) fn manifest(run: &RunFolder) -> Manifest {
        Manifest {
            schema: crate::manifest::SCHEMA.to_owned(),
            tool: "lazaretto".to_owned(),
            tool_version: "0".to_owned(),
            pipeline: "auto".to_owned(),
            settings_hash: String::new(),
            seed: 0,
            canonical_encoding: lazaretto_core::canonical::VERSION,
            gate: GateStatus::Passed,
            rules: Vec::new(),
            counts: Counts::default(),
            inputs: Vec::new(),
            trusted: Vec::new(),
            evaluation: Vec::new(),
            embedder: Vec::new(),
            allowlist: None,
            encryption_keys: String::new(),
            outputs: run.outputs([]).unwrap(),
        }
    }

    #[test]
    fn a_committed_run_is_complete_and_an_abandoned_one_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let run = RunFolder::stage(&out).unwrap();
        run.write("clean/a/x.csv", b"a\n1\n").unwrap();
        run.write("timings.json", b"{}").unwrap();
        assert!(matches!(
            RunFolder::stage(&out),
            Err(IoError::OutBusy { .. })
        ));
        assert!(!out.exists());
        let manifest = manifest(&run);
        run.commit(&manifest, Access::Owner, None).unwrap();
        let read: Manifest =
            serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
        let listed: Vec<_> = read.outputs.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(listed, ["clean/a/x.csv"]);
        assert_eq!(
            files_below(&out).unwrap().len(),
            3,
            "file, manifest and timings, no journal"
        );
        assert!(matches!(
            RunFolder::stage(&out),
            Err(IoError::OutExists { .. })
        ));

        let other = folder.path().join("other");
        RunFolder::stage(&other).unwrap().discard();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_that_would_be_one_are_refused() {
        let named = |relative: &str| InputFile {
            path: PathBuf::from(relative),
            relative: relative.to_owned(),
            format: crate::Format::Csv,
            compression: crate::Compression::None,
            bytes: 0,
            digest: [0; 32],
            sha256: [0; 32],
            partitions: Vec::new(),
        };
        let files = ["A/x.csv", "b.csv", "a/X.csv"].map(named);
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::stage(&folder.path().join("run")).unwrap();
        if !run.tells_case_apart().unwrap() {
            assert!(run.check_names(&files).is_err());
            return;
        }
        run.check_names(&files).unwrap();
        // As a file system looks that does not tell case apart.
        fs::write(run.path().join(JOURNAL.to_uppercase()), []).unwrap();
        run.check_names(&files[..2]).unwrap();
        let error = run.check_names(&files).unwrap_err().to_string();
        assert!(error.contains("`A/x.csv` and `a/X.csv` apart"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn others_cannot_read_a_run_unless_it_is_given_to_the_group() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for (access, dir, file) in [(Access::Owner, 0o700, 0o600), (Access::Group, 0o750, 0o640)] {
            let out = folder.path().join(format!("{access:?}"));
            let run = RunFolder::stage(&out).unwrap();
            assert_eq!(mode(run.path()), 0o700, "while it is written");
            run.write("clean/a/x.csv", b"a\n1\n").unwrap();
            run.write(TIMINGS_NAME, b"{}").unwrap();
            // A copy keeps the permissions of the input, which may be anything.
            let copied = run.path().join("clean/a/x.csv");
            fs::set_permissions(&copied, fs::Permissions::from_mode(0o444)).unwrap();
            let manifest = manifest(&run);
            let seal = |_: &Manifest, covered: &[FileDigest]| {
                let names: Vec<&str> = covered.iter().map(|file| file.path.as_str()).collect();
                Ok(names.join(" ").into_bytes())
            };
            run.commit(&manifest, access, Some(&seal)).unwrap();
            for (relative, path) in files_below(&out).unwrap() {
                assert_eq!(mode(&path), file, "{access:?} {relative}");
            }
            for relative in ["", "clean", "clean/a"] {
                assert_eq!(mode(&out.join(relative)), dir, "{access:?} {relative}");
            }
            let sealed = fs::read_to_string(out.join(ENVELOPE_NAME)).unwrap();
            assert_eq!(sealed, "clean/a/x.csv manifest.json timings.json");
        }
    }

    #[test]
    fn what_is_in_the_way_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        fs::create_dir(&out).unwrap();
        drop(RunFolder::stage(&out).unwrap());
        fs::create_dir(folder.path().join("run.partial")).unwrap();
        let leftover = RunFolder::stage(&out).unwrap_err();
        assert!(matches!(leftover, IoError::OutLeftover { .. }));
        assert!(leftover.hint().unwrap().contains("run.partial"));
        fs::remove_dir(folder.path().join("run.partial")).unwrap();

        let run = RunFolder::stage(&out).unwrap();
        fs::write(out.join("other"), b"").unwrap();
        let manifest = manifest(&run);
        assert!(matches!(
            run.commit(&manifest, Access::Owner, None),
            Err(IoError::CommittedElsewhere { .. })
        ));
        assert!(!folder.path().join("run.partial").exists());
    }
}
