//! Bytes that are still there after a power cut: files and the folders that name them are synced.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use super::{access, unwalked};
use crate::error::IoError;

/// Makes the content of a file, or the names in a folder, durable.
pub(super) fn sync(path: &Path) -> Result<(), IoError> {
    // Folders cannot be opened everywhere; where they can, their names need it as files do.
    if cfg!(not(unix)) && path.is_dir() {
        return Ok(());
    }
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(IoError::storage("write", path))
}

/// Makes everything below `root`, and `root` itself, durable; what is in the folder `except` is left out.
pub(super) fn sync_all(root: &Path, except: &Path) -> Result<(), IoError> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let walk = WalkDir::new(root).contents_first(true).into_iter();
    for entry in walk.filter_map(|entry| match entry {
        Ok(entry) if entry.path().starts_with(except) => None,
        other => Some(other),
    }) {
        let entry = entry.map_err(|error| unwalked(root, error))?;
        if entry.file_type().is_dir() {
            folders.push(entry.into_path());
        } else {
            files.push(entry.into_path());
        }
    }
    files.par_iter().try_for_each(|path| sync(path))?;
    // Innermost first: a name is not worth keeping before what it names.
    folders.iter().try_for_each(|path| sync(path))
}

/// Puts a file at `path`, for its owner alone, that is there in full or, at whatever moment the process or the
/// machine stops, not at all; one that was there before is there until then.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), IoError>,
) -> Result<(), IoError> {
    let partial = partial_of(path);
    let failed = || IoError::storage("write", path);
    let file = access::create_file(&partial).map_err(IoError::storage("create", &partial))?;
    let mut buffered = BufWriter::with_capacity(1 << 18, file);
    write(&mut buffered)?;
    let file = buffered
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .map_err(failed())?;
    file.sync_all().map_err(failed())?;
    drop(file);
    fs::rename(&partial, path).map_err(failed())?;
    match path.parent() {
        Some(parent) => sync(parent),
        None => Ok(()),
    }
}

/// Where the bytes for `path` are until all of them are durable.
fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}
