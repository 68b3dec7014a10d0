//! Opening files that somebody else put there: regular files alone, and no link that took their place.
//!
//! A folder of data can change while it is read. Discovery resolves every link, and whoever then puts a link in the
//! place of a file or a folder makes it fail to open, where it would lead out of the input. Pipes and devices are
//! told by what was opened, not by what was looked at before, and opening them waits for nobody.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens the regular file at `path`, of which no part may be a link: a path as
/// [`std::fs::canonicalize`] gives it.
///
/// Where the system cannot forbid links everywhere (Linux before 5.6, other Unixes) the last part alone is checked.
pub(crate) fn open_resolved(path: &Path) -> io::Result<File> {
    regular(imp::open_resolved(path)?)
}

/// Opens the regular file at `path`, which must not be a link itself.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    regular(imp::open_plain(path)?)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a regular file",
    ))
}

#[cfg(unix)]
mod imp {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::{Mode, OFlags};

    /// A pipe would be waited for until somebody writes to it.
    fn flags() -> OFlags {
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY
    }

    pub(super) fn open_plain(path: &Path) -> io::Result<File> {
        let file = rustix::fs::open(path, flags(), Mode::empty()).map_err(told)?;
        Ok(file.into())
    }

    #[cfg(target_os = "linux")]
    pub(super) fn open_resolved(path: &Path) -> io::Result<File> {
        use rustix::fs::{CWD, ResolveFlags};
        use rustix::io::Errno;

        match rustix::fs::openat2(CWD, path, flags(), Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            Ok(file) => Ok(file.into()),
            // Not known, or forbidden by a sandbox around this one.
            Err(Errno::NOSYS | Errno::PERM) => open_plain(path),
            Err(error) => Err(told(error)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn open_resolved(path: &Path) -> io::Result<File> {
        open_plain(path)
    }

    /// "Too many levels of symbolic links" is about one that should not be there.
    fn told(error: rustix::io::Errno) -> io::Error {
        if error == rustix::io::Errno::LOOP {
            return io::Error::new(
                io::ErrorKind::InvalidInput,
                "a symbolic link took its place",
            );
        }
        error.into()
    }
}

#[cfg(not(unix))]
mod imp {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn open_plain(path: &Path) -> io::Result<File> {
        File::open(path)
    }

    pub(super) fn open_resolved(path: &Path) -> io::Result<File> {
        File::open(path)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_in_any_part_and_pipes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("data")).unwrap();
        let file = root.join("data/a.csv");
        fs::write(&file, "a\n1\n").unwrap();
        open_resolved(&file).unwrap();
        open_plain(&file).unwrap();

        symlink(&file, root.join("link.csv")).unwrap();
        symlink(root.join("data"), root.join("folder")).unwrap();
        for open in [open_plain, open_resolved] {
            let error = open(&root.join("link.csv")).unwrap_err().to_string();
            assert!(error.contains("symbolic link"), "{error}");
            let error = open(Path::new("/dev/null")).unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
            assert!(open(&root.join("data")).is_err());
        }
        #[cfg(target_os = "linux")]
        open_resolved(&root.join("folder/a.csv")).unwrap_err();

        let pipe = root.join("pipe.csv");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        // Nobody writes to it: this returns at once, or the test never ends.
        open_resolved(&pipe).unwrap_err();
    }
}
