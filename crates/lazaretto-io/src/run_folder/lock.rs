//! The lock of a run folder: a hidden file beside it, so that it is still held while the folder is moved.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::IoError;

/// End of the name of a lock; it starts with a dot.
const SUFFIX: &str = ".lock";

/// Says that a run is writing to a staging folder. The operating system lets go of it when the process
/// ends, in whatever way; dropping it removes the file as well.
#[derive(Debug)]
pub(super) struct RunLock {
    path: PathBuf,
    _file: File,
}

impl RunLock {
    /// Takes the lock for `staging`, whose parent must exist.
    ///
    /// # Errors
    /// [`IoError::OutBusy`] when another run has it, [`IoError::Storage`] when the file system refuses.
    pub(super) fn take(staging: &Path) -> Result<Self, IoError> {
        let path = place(staging);
        loop {
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(IoError::storage("create", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(IoError::OutBusy {
                        path: staging.to_owned(),
                    });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(IoError::storage("lock", &path)(error));
                }
            }
            // Whoever had it may have removed it between the two calls; then others will not meet this one.
            if is_at(&file, &path).map_err(IoError::storage("read", &path))? {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

/// Removes the lock for `staging` if one is left that nobody holds.
pub(super) fn remove_stale(staging: &Path) {
    if place(staging).exists() {
        // Dropping it removes it; whoever holds it does so himself.
        drop(RunLock::take(staging));
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // A file that stays is locked by nobody and taken by the next run.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether `name` is that of a lock.
pub(crate) fn is_lock(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(&format!("{}{SUFFIX}", super::STAGING_SUFFIX))
}

fn place(staging: &Path) -> PathBuf {
    let name = staging.file_name().unwrap_or_default().to_string_lossy();
    staging.with_file_name(format!(".{name}{SUFFIX}"))
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;

    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((held.dev(), held.ino()) == (found.dev(), found.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere a name stays taken for as long as the file is open.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "Unix can fail")]
fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}
