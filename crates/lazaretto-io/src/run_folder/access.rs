//! Permissions of run folders. Only Unix has the ones that are set here; elsewhere a run folder has those
//! of the folder it is made in.

use std::fs;
use std::io;
use std::path::Path;

#[cfg(unix)]
use walkdir::WalkDir;

use super::Access;
use crate::error::IoError;

/// Creates a folder that its owner alone can enter.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "the mode is Unix's"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Creates a file, or empties one, that its owner alone can read.
pub(super) fn create_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// Sets the permissions of `path` and of everything below it, whatever the process's mask. The folder itself
/// comes last: until then its content is out of reach.
#[cfg(unix)]
pub(super) fn grant(path: &Path, access: Access) -> Result<(), IoError> {
    use std::os::unix::fs::PermissionsExt as _;

    let (folder, file) = match access {
        Access::Owner => (0o700, 0o600),
        Access::Group => (0o750, 0o640),
    };
    for entry in WalkDir::new(path).contents_first(true) {
        let entry = entry.map_err(|error| IoError::Storage {
            action: "read",
            path: error.path().unwrap_or(path).to_owned(),
            source: error.into(),
        })?;
        let mode = if entry.file_type().is_dir() {
            folder
        } else {
            file
        };
        fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode))
            .map_err(IoError::storage("set the permissions of", entry.path()))?;
    }
    Ok(())
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "Unix can fail")]
pub(super) fn grant(_path: &Path, _access: Access) -> Result<(), IoError> {
    Ok(())
}
