//! Walking folders and matching globs.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use walkdir::WalkDir;

use super::{Candidate, Compression, Format, classify};
use crate::error::IoError;
use crate::regular::open_resolved;
use crate::{recorded, run_folder};

/// One input as given: where to walk and what to take.
pub(super) struct Selection {
    base: PathBuf,
    pattern: Option<(String, GlobMatcher)>,
}

impl Selection {
    pub(super) fn parse(input: &str) -> Result<Self, IoError> {
        let path = Path::new(input);
        if path.exists() {
            if !path.is_dir() && !path.is_file() {
                return Err(IoError::SpecialFile {
                    path: input.to_owned(),
                });
            }
            return Ok(Self {
                base: path.to_owned(),
                pattern: None,
            });
        }
        let is_glob = |text: &str| text.contains(['*', '?', '[', '{']);
        if !is_glob(input) {
            return Err(IoError::PathMissing {
                path: input.to_owned(),
            });
        }
        // Walk from the deepest folder that has no wildcard in it.
        let base: PathBuf = path
            .components()
            .take_while(|part| !is_glob(&part.as_os_str().to_string_lossy()))
            .collect();
        let base = if base.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            base
        };
        let rest: PathBuf = path
            .components()
            .skip_while(|part| !is_glob(&part.as_os_str().to_string_lossy()))
            .collect();
        let matcher = GlobBuilder::new(&rest.to_string_lossy())
            .literal_separator(true)
            .build()
            .map_err(|error| IoError::BadPattern {
                pattern: input.to_owned(),
                reason: error.kind().to_string(),
            })?
            .compile_matcher();
        if !base.is_dir() {
            return Err(IoError::PathMissing {
                path: base.display().to_string(),
            });
        }
        Ok(Self {
            base,
            pattern: Some((input.to_owned(), matcher)),
        })
    }

    /// The folder that relative paths of this input alone would start at.
    pub(super) fn root(&self) -> PathBuf {
        if self.base.is_dir() {
            return self.base.clone();
        }
        match self.base.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        }
    }

    /// Adds what the input selects, with paths relative to `root`.
    pub(super) fn collect(&self, root: &Path, found: &mut Found) -> Result<(), IoError> {
        if self.base.is_file() {
            // A file that was named on purpose is taken even when it is hidden.
            found.file(&self.base, root)?;
            return Ok(());
        }
        let before = found.files.len();
        let mut walk = WalkDir::new(&self.base)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    found.walk_error(root, error)?;
                    continue;
                }
            };
            if entry.depth() == 0 {
                continue;
            }
            let name = entry.file_name().to_string_lossy();
            if run_folder::is_lock(&name) {
                continue;
            }
            // What a scan, this one for example, is writing: neither data nor worth a word.
            if entry.file_type().is_dir() && entry.path().join(run_folder::JOURNAL).is_dir() {
                walk.skip_current_dir();
                continue;
            }
            let passed_over = if name.starts_with('.') {
                Some("hidden")
            } else if name.starts_with('_') {
                Some("starts with `_`")
            } else if entry.path_is_symlink() && leaves(&self.base, entry.path()) {
                Some("a symbolic link that leaves the folder")
            } else if entry.file_type().is_dir() && is_run_folder(entry.path()) {
                Some("a run folder of lazaretto")
            } else if !entry.file_type().is_dir() && !entry.file_type().is_file() {
                Some("a pipe, socket or device")
            } else {
                None
            };
            if let Some(reason) = passed_over {
                found.skip(root, entry.path(), reason.to_owned());
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
            } else if entry.file_type().is_file() && self.takes(entry.path()) {
                found.file(entry.path(), root)?;
            }
        }
        match &self.pattern {
            Some((pattern, _)) if found.files.len() == before => Err(IoError::NothingMatches {
                pattern: pattern.clone(),
            }),
            _ => Ok(()),
        }
    }

    fn takes(&self, path: &Path) -> bool {
        self.pattern.as_ref().is_none_or(|(_, matcher)| {
            path.strip_prefix(&self.base)
                .is_ok_and(|rest| matcher.is_match(rest))
        })
    }
}

/// Whether `path` was written by a scan: not data to scan again.
fn is_run_folder(path: &Path) -> bool {
    path.join("scores/part-00000.parquet").is_file()
        && path.join(crate::manifest::FILE_NAME).is_file()
}

/// Whether the target of the symbolic link `link` lies outside of `base`.
fn leaves(base: &Path, link: &Path) -> bool {
    match (base.canonicalize(), link.canonicalize()) {
        (Ok(base), Ok(target)) => !target.starts_with(base),
        _ => true,
    }
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) files: Vec<Candidate>,
    /// Paths passed over and why.
    pub(super) skipped: BTreeSet<(String, String)>,
}

impl Found {
    fn skip(&mut self, root: &Path, path: &Path, reason: String) {
        self.skipped.insert((relative(root, path), reason));
    }

    fn file(&mut self, path: &Path, root: &Path) -> Result<(), IoError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let relative = relative(root, path);
        if let Some(reason) = recorded::described(&name, path) {
            self.skipped.insert((relative, reason));
            return Ok(());
        }
        let classified = match classify(&name) {
            Ok((Format::JsonLines, Compression::None)) if starts_with_array(path)? => {
                Err("a JSON array, not one object per line; convert it to .jsonl".to_owned())
            }
            other => other,
        };
        match classified {
            Ok((format, compression)) => self.files.push(Candidate {
                // Links are followed once, here; from now on there must be none.
                path: path
                    .canonicalize()
                    .map_err(IoError::storage("read", path))?,
                relative,
                format,
                compression,
            }),
            Err(reason) => {
                self.skipped.insert((relative, reason));
            }
        }
        Ok(())
    }

    /// A folder that cannot be read is an error; a link that leads nowhere or in circles is not.
    fn walk_error(&mut self, root: &Path, error: walkdir::Error) -> Result<(), IoError> {
        let path = error.path().unwrap_or(root).to_owned();
        if error.loop_ancestor().is_some() {
            self.skip(
                root,
                &path,
                "a symbolic link to a folder above it".to_owned(),
            );
            return Ok(());
        }
        if path.is_symlink() {
            self.skip(root, &path, "a symbolic link that leads nowhere".to_owned());
            return Ok(());
        }
        match error.into_io_error() {
            Some(source) => Err(IoError::Storage {
                action: "read",
                path,
                source,
            }),
            None => Ok(()),
        }
    }
}

/// Whether the first character of a `.json` file opens an array.
fn starts_with_array(path: &Path) -> Result<bool, IoError> {
    let mut start = Vec::new();
    path.canonicalize()
        .and_then(|path| open_resolved(&path))
        .and_then(|file| file.take(4096).read_to_end(&mut start))
        .map_err(IoError::storage("read", path))?;
    let text = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&start);
    Ok(text.trim_ascii_start().first() == Some(&b'['))
}

pub(super) fn relative(root: &Path, path: &Path) -> String {
    let rest = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> = rest
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .map(|part| text_of(part.as_os_str()))
        .collect();
    parts.join("/")
}

/// The name of a file as text, the same for no two names of a folder but by chance: what is not UTF-8 becomes `%`
/// and two digits per byte.
fn text_of(name: &OsStr) -> Cow<'_, str> {
    if let Some(text) = name.to_str() {
        return text.into();
    }
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text.into()
}
