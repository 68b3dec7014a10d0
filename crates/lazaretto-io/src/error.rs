//! Everything that can go wrong between the file system and a batch of records.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::decode::isolated::SandboxLevel;

/// A failed input or output operation. The message is a lower-case fragment that names file, row
/// group, column and value where there are any; [`IoError::hint`] says what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IoError {
    /// An input path does not exist.
    #[error("find `{path}`: no such file or folder")]
    PathMissing {
        /// The path as given.
        path: String,
    },
    /// A glob does not parse.
    #[error("read the pattern `{pattern}`: {reason}")]
    BadPattern {
        /// The pattern as given.
        pattern: String,
        /// The parser's words.
        reason: String,
    },
    /// A glob matches no file.
    #[error("find files: nothing matches `{pattern}`")]
    NothingMatches {
        /// The pattern as given.
        pattern: String,
    },
    /// A folder without any file.
    #[error("find data files: `{path}` is empty")]
    EmptyFolder {
        /// The folder.
        path: String,
    },
    /// Files, but none in a known format.
    #[error(
        "find data files in `{path}`: none of {skipped} files has a known format (first: `{first}`, {reason})"
    )]
    NoDataFiles {
        /// The folder or the inputs.
        path: String,
        /// Number of files and folders passed over.
        skipped: usize,
        /// The first of them.
        first: String,
        /// Why it was passed over.
        reason: String,
    },
    /// Two files would have the same relative path.
    #[error("tell files apart: `{relative}` occurs twice among the inputs")]
    DuplicatePath {
        /// The relative path.
        relative: String,
    },
    /// What is held back of a file would have the name of another.
    #[error(
        "tell files apart: what is held back of `{file}` is written as `{written}`, which is there as well"
    )]
    QuarantineClash {
        /// The file.
        file: String,
        /// The name, which an input has.
        written: String,
    },
    /// Two files differ in the case of letters alone, which the file system of the run folder does not tell apart.
    #[error("write to `{path}`: it does not tell `{first}` and `{second}` apart, which differ in upper and lower case only", path = .path.display())]
    CaseClash {
        /// The run folder.
        path: PathBuf,
        /// A file.
        first: String,
        /// Another one.
        second: String,
    },
    /// An input is no file and no folder.
    #[error("read `{path}`: it is a pipe, socket or device")]
    SpecialFile {
        /// The input.
        path: String,
    },
    /// A file's schema does not fit that of the dataset.
    #[error(
        "fit `{file}` into the dataset: column `{column}` is `{found}` here and `{expected}` in the other files"
    )]
    SchemaMismatch {
        /// The file that does not fit.
        file: String,
        /// The first column that differs.
        column: String,
        /// Its type in the dataset, or `absent`.
        expected: String,
        /// Its type in the file, or `absent`.
        found: String,
    },
    /// (A part of) a file does not decode.
    #[error("read `{file}`{location}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// Empty, or ` row group 3`, or ` line 17`.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No file of the dataset can be read.
    #[error("read the dataset: none of its {files} files is readable (`{file}`: {reason})")]
    NothingReadable {
        /// Number of files.
        files: usize,
        /// The first of them.
        file: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// A column that was asked for does not exist.
    #[error("find column `{column}` for role `{role}`: no such column")]
    UnknownColumn {
        /// The name as given.
        column: String,
        /// What it was to be used as.
        role: String,
        /// The closest existing name.
        suggestion: Option<String>,
        /// The existing columns.
        columns: Vec<String>,
    },
    /// A column that cannot play the role that was asked for.
    #[error("use column `{column}` of type `{data_type}` as `{role}`: a {expected} is needed")]
    UnfitColumn {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
        /// The role.
        role: String,
        /// What the role needs.
        expected: String,
    },
    /// One column was given two roles.
    #[error("use column `{column}` as `{second}`: it was already given as `{first}`")]
    RoleConflict {
        /// The column.
        column: String,
        /// The first role.
        first: String,
        /// The second role.
        second: String,
    },
    /// The output folder is there already.
    #[error("create `{path}`: it exists and is not empty")]
    OutExists {
        /// The output folder.
        path: PathBuf,
    },
    /// An earlier run did not finish and left its staging folder.
    #[error("create `{path}`: a run that did not finish left it behind")]
    OutLeftover {
        /// The staging folder.
        path: PathBuf,
    },
    /// A run cannot be gone on with, because it is not the one that was asked for.
    #[error("resume the run in `{path}`: it is another one ({})", .differences.join("; "))]
    OtherRun {
        /// Its folder.
        path: PathBuf,
        /// How it differs, a lower-case fragment each.
        differences: Vec<String>,
    },
    /// Another run is writing to the same place at this moment.
    #[error("create `{path}`: another run is writing there")]
    OutBusy {
        /// The staging folder.
        path: PathBuf,
    },
    /// Another run put its result in place while this one was working.
    #[error("put the run into `{path}`: another run committed there first")]
    CommittedElsewhere {
        /// The output folder.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{action} `{path}`: {source}")]
    Storage {
        /// What was attempted, for example `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A file could not be encoded.
    #[error("write `{path}`: {reason}")]
    Encode {
        /// The file.
        path: String,
        /// The encoder's words.
        reason: String,
    },
    /// A folder that is not the folder of a finished run, or not of this version.
    #[error("read the run `{path}`: {reason}")]
    NoRun {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What is missing or strange.
        reason: String,
    },
    /// A file of a finished run is not what its manifest says.
    #[error("trust the run `{path}`: `{file}` {detail}")]
    RunChanged {
        /// The run folder.
        path: PathBuf,
        /// The file, relative to it.
        file: String,
        /// How it differs.
        detail: String,
    },
    /// What was written is not what was read.
    #[error("account for every record of `{file}`{location}: {detail}")]
    Conservation {
        /// The input file, or a file of the run folder.
        file: String,
        /// Empty, or ` at row 17`: the first row that differs, counted in the file from 0.
        location: String,
        /// What differs.
        detail: String,
    },
    /// Decoders cannot be started as processes of their own.
    #[error("decode apart from this process: {reason}")]
    Isolation {
        /// Why.
        reason: String,
    },
    /// A complete sandbox was asked for, and this machine does not have one.
    #[error("decode in a complete sandbox: {}", .level.missing())]
    SandboxIncomplete {
        /// What there is of it.
        level: SandboxLevel,
    },
    /// The run was cancelled.
    #[error("finish: interrupted")]
    Interrupted,
}

impl IoError {
    /// What the user can do about it, one sentence, for a `hint:` line.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::PathMissing { .. } => {
                "check the spelling; relative paths start at the current folder".to_owned()
            }
            Self::BadPattern { .. } | Self::NothingMatches { .. } => {
                "quote patterns so that the shell leaves them alone: `'data/**/*.parquet'`"
                    .to_owned()
            }
            Self::EmptyFolder { .. } | Self::NoDataFiles { .. } => format!(
                "data files end in {}; hidden files and those that start with `_` are passed over",
                crate::discover::KNOWN_EXTENSIONS
            ),
            Self::QuarantineClash { .. } => "rename one of them, or scan them one at a time".to_owned(),
            Self::CaseClash { .. } => "give a folder on another file system as `--out`, or rename one of them".to_owned(),
            Self::SpecialFile { .. } => "write what it has to a file and scan that".to_owned(),
            Self::DuplicatePath { .. } => {
                "give their common folder, or scan them one at a time".to_owned()
            }
            Self::SchemaMismatch { .. } => {
                "scan files with different columns separately, or bring them to one schema"
                    .to_owned()
            }
            Self::Unreadable { .. } => {
                "write the file again from its source, or leave it in `unscanned/`".to_owned()
            }
            Self::NothingReadable { .. } => {
                "check that the files are complete and that their extension says what they are"
                    .to_owned()
            }
            Self::UnknownColumn {
                suggestion: Some(name),
                ..
            } => format!("did you mean `{name}`?"),
            Self::UnknownColumn { columns, .. } => {
                format!("the columns are {}", listed(columns))
            }
            Self::UnfitColumn { .. } | Self::RoleConflict { .. } => {
                "`lazaretto inspect` shows the columns and the roles they can play".to_owned()
            }
            Self::OutExists { .. } => {
                "choose another `--out`, or remove the folder first; runs are never overwritten"
                    .to_owned()
            }
            Self::OutLeftover { path } => format!(
                "nothing in it is final; go on with it by the same command and `--resume`, or remove it with `rm -r {}`",
                path.display()
            ),
            Self::OtherRun { path, .. } => format!(
                "give the inputs and settings of that run, choose another `--out`, or remove it with `rm -r {}`",
                path.display()
            ),
            Self::OutBusy { .. } | Self::CommittedElsewhere { .. } => {
                "wait for the other run, or choose another `--out`".to_owned()
            }
            Self::Storage { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "the disk is full; free some space or choose an `--out` on another disk"
                        .to_owned()
                }
                io::ErrorKind::PermissionDenied => "check who may read and write there".to_owned(),
                _ => "check the disk and the path, then run the same command again".to_owned(),
            },
            Self::Conservation { .. } => {
                "do not use this run; if the disk is sound, report it as a bug".to_owned()
            }
            Self::Isolation { .. } => {
                "with `--trusted-input` files are decoded in this process; only for files that you made yourself".to_owned()
            }
            Self::SandboxIncomplete { .. } => {
                "leave out `--require-sandbox`, or use Linux on x86-64 or Arm with Landlock (5.13 or newer)".to_owned()
            }
            Self::NoRun { .. } => {
                "give the folder that `lazaretto scan --out` made, with this version".to_owned()
            }
            Self::RunChanged { .. } => {
                "do not use this run; scan the dataset again into another folder".to_owned()
            }
            Self::Encode { .. } | Self::Interrupted => return None,
        })
    }

    /// A [`IoError::Storage`] about `path`, for `map_err`.
    pub(crate) fn storage(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Storage {
            action,
            path,
            source,
        }
    }
}

fn listed(columns: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<String> = columns
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    if columns.len() > SHOWN {
        names.push(format!("and {} more", columns.len() - SHOWN));
    }
    names.join(", ")
}
