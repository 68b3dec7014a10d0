//! The run folder: written beside its final place, and moved there complete or not at all.
//!
//! A run is staged in `<out>.partial` under a lock. Committing makes every file durable, writes
//! the manifest last and renames the folder. A run that fails or is dropped removes its staging
//! folder; one that is killed leaves it, without a manifest.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use crate::discover::digest_file;
use crate::error::IoError;
use crate::manifest::{FILE_NAME, FileDigest, Manifest, UNLISTED};

/// Held while a run is writing; removed before the folder takes its place.
pub(crate) const LOCK_NAME: &str = ".lock";

/// A run folder that is being written. Dropping it without [`RunFolder::commit`] removes it.
#[derive(Debug)]
pub struct RunFolder {
    out: PathBuf,
    staging: PathBuf,
    /// Keeps the lock for as long as the run lives.
    _lock: File,
    committed: bool,
}

impl RunFolder {
    /// Creates the staging folder for a run that is to end up at `out`, which must not exist or
    /// be an empty folder.
    ///
    /// # Errors
    /// [`IoError::OutExists`], [`IoError::OutLeftover`] and [`IoError::OutBusy`] when something is
    /// in the way, [`IoError::Storage`] when the file system refuses.
    pub fn stage(out: &Path) -> Result<Self, IoError> {
        let vacant = match fs::read_dir(out) {
            Ok(mut entries) => entries.next().is_none(),
            // Anything but a file in its place is met, and told, when the staging folder is made.
            Err(_) => !out.exists(),
        };
        if !vacant {
            return Err(IoError::OutExists {
                path: out.to_owned(),
            });
        }
        let staging = staging_path(out)?;
        if let Some(parent) = staging.parent() {
            fs::create_dir_all(parent).map_err(IoError::storage("create", parent))?;
        }
        let lock_path = staging.join(LOCK_NAME);
        match fs::create_dir(&staging) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(in_the_way(staging, &lock_path));
            }
            Err(error) => return Err(IoError::storage("create", &staging)(error)),
        }
        let lock = File::create(&lock_path).map_err(IoError::storage("create", &lock_path))?;
        // Nobody else can hold the lock of a folder that was created just now.
        lock.try_lock()
            .map_err(io::Error::from)
            .map_err(IoError::storage("lock", &lock_path))?;
        Ok(Self {
            out: out.to_owned(),
            staging,
            _lock: lock,
            committed: false,
        })
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
        let path = relative
            .split('/')
            .fold(self.staging.clone(), |path, part| path.join(part));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(IoError::storage("create", parent))?;
        }
        Ok(path)
    }

    /// Digests of everything written so far but the [`UNLISTED`], sorted by path: what
    /// [`Manifest::outputs`] is to hold.
    ///
    /// # Errors
    /// [`IoError::Storage`] when a file cannot be read back.
    pub fn outputs(&self) -> Result<Vec<FileDigest>, IoError> {
        let files: Vec<_> = files_below(&self.staging)?
            .into_iter()
            .filter(|(relative, _)| relative != LOCK_NAME && !UNLISTED.contains(&relative.as_str()))
            .collect();
        files
            .into_par_iter()
            .map(|(relative, path)| {
                let (bytes, digest) = digest_file(&path)?;
                Ok(FileDigest {
                    path: relative,
                    bytes,
                    blake3: blake3::Hash::from_bytes(digest).to_hex().to_string(),
                })
            })
            .collect()
    }

    /// Makes what is written so far durable. [`RunFolder::commit`] does so too; called earlier, on
    /// a thread of its own, the disk works while the processor does.
    ///
    /// # Errors
    /// [`IoError::Storage`] when the file system refuses.
    pub fn sync(&self) -> Result<(), IoError> {
        files_below(&self.staging)?
            .iter()
            .try_for_each(|(_, path)| sync(path))
    }

    /// Makes everything durable, writes `manifest` last and moves the folder into place.
    ///
    /// # Errors
    /// [`IoError::CommittedElsewhere`] when another run took the place, [`IoError::Storage`] when
    /// the file system refuses. Nothing is at the final place then.
    pub fn commit(mut self, manifest: &Manifest) -> Result<(), IoError> {
        let files = files_below(&self.staging)?;
        files.par_iter().try_for_each(|(_, path)| sync(path))?;
        let mut text = serde_json::to_vec_pretty(manifest).map_err(|error| IoError::Encode {
            path: FILE_NAME.to_owned(),
            reason: error.to_string(),
        })?;
        text.push(b'\n');
        self.write(FILE_NAME, &text)?;
        sync(&self.staging.join(FILE_NAME))?;
        let lock = self.staging.join(LOCK_NAME);
        fs::remove_file(&lock).map_err(IoError::storage("remove", &lock))?;
        sync(&self.staging)?;
        // Succeeds only on an empty folder, which a rename may not replace everywhere.
        if self.out.is_dir() && fs::remove_dir(&self.out).is_err() {
            return Err(IoError::CommittedElsewhere {
                path: self.out.clone(),
            });
        }
        fs::rename(&self.staging, &self.out).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                IoError::CommittedElsewhere {
                    path: self.out.clone(),
                }
            }
            _ => IoError::storage("create", &self.out)(error),
        })?;
        self.committed = true;
        match self.out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
            _ => sync(Path::new(".")),
        }
    }

    /// Removes what was written.
    pub fn discard(self) {
        drop(self);
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if !self.committed {
            // Left over at worst; the next run says how to clean it up.
            let _ = fs::remove_dir_all(&self.staging);
        }
    }
}

fn staging_path(out: &Path) -> Result<PathBuf, IoError> {
    let name = out.file_name().ok_or_else(|| IoError::Storage {
        action: "create",
        path: out.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "not the name of a folder"),
    })?;
    let mut staging = name.to_owned();
    staging.push(".partial");
    Ok(out.with_file_name(staging))
}

fn in_the_way(staging: PathBuf, lock_path: &Path) -> IoError {
    let locked = File::open(lock_path)
        .is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    if locked {
        IoError::OutBusy { path: staging }
    } else {
        IoError::OutLeftover { path: staging }
    }
}

/// All files below `root` with their relative paths (`/` between components), sorted by these.
pub(crate) fn files_below(root: &Path) -> Result<Vec<(String, PathBuf)>, IoError> {
    let mut files = Vec::new();
    for entry in WalkDir::new(root) {
        let entry = entry.map_err(|error| IoError::Storage {
            action: "read",
            path: error.path().unwrap_or(root).to_owned(),
            source: error.into(),
        })?;
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
        files.push((parts.join("/"), entry.into_path()));
    }
    files.sort();
    Ok(files)
}

fn sync(path: &Path) -> Result<(), IoError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(IoError::storage("write", path))
}

#[cfg(test)]
mod tests {
    use lazaretto_core::report::Counts;

    use super::*;

    fn manifest(run: &RunFolder) -> Manifest {
        Manifest {
            schema: crate::manifest::SCHEMA.to_owned(),
            tool: "lazaretto".to_owned(),
            tool_version: "0".to_owned(),
            pipeline: "auto".to_owned(),
            settings_hash: String::new(),
            seed: 0,
            canonical_encoding: lazaretto_core::canonical::VERSION,
            counts: Counts::default(),
            inputs: Vec::new(),
            trusted: Vec::new(),
            evaluation: Vec::new(),
            embedder: Vec::new(),
            outputs: run.outputs().unwrap(),
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
        run.commit(&manifest).unwrap();
        let read: Manifest =
            serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
        let listed: Vec<_> = read.outputs.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(listed, ["clean/a/x.csv"]);
        assert_eq!(
            files_below(&out).unwrap().len(),
            3,
            "file, manifest and timings, no lock"
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
            run.commit(&manifest),
            Err(IoError::CommittedElsewhere { .. })
        ));
        assert!(!folder.path().join("run.partial").exists());
    }
}
