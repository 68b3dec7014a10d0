//! Which files make up the dataset.
//!
//! An input is a folder (taken recursively), a file, or a glob. What is passed over on purpose is
//! reported with its reason, so that nobody takes a skipped file for a scanned one.

mod walk;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use lazaretto_core::report::SkippedReport;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use self::walk::{Found, Selection};
use crate::error::IoError;
use crate::regular::{open_plain, open_resolved};

/// Extensions that discovery knows, in words.
pub const KNOWN_EXTENSIONS: &str =
    ".parquet, .arrow, .feather, .ipc, .csv, .tsv, .jsonl or .ndjson (text formats also .gz, .zst)";

/// Format of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, file or stream layout (Feather version 2 is the file layout).
    ArrowIpc,
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// One JSON object per line.
    JsonLines,
}

impl Format {
    /// The word used in reports: `parquet`, `arrow`, `csv` or `jsonl`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::ArrowIpc => "arrow",
            Self::Csv | Self::Tsv => "csv",
            Self::JsonLines => "jsonl",
        }
    }

    /// Whether records are lines of text and keep their bytes.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Csv | Self::Tsv | Self::JsonLines)
    }
}

/// Compression around a text file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Compression {
    /// None.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

/// One data file of the dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// Where it is, without links in any part.
    pub path: PathBuf,
    /// Path relative to the root of the dataset, `/` between components.
    pub relative: String,
    /// Its format, by extension.
    pub format: Format,
    /// Its compression, by extension.
    pub compression: Compression,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub digest: [u8; 32],
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// Hive partition values from the path (`split=train/…`), percent-decoded, outermost first.
    pub partitions: Vec<(String, String)>,
}

/// What discovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The last component of the path that was given.
    pub name: String,
    /// The folder that relative paths start at.
    pub root: PathBuf,
    /// Folders of the inputs, relative to `root`, sorted; the folder of a file that was given as such.
    pub bases: Vec<String>,
    /// Data files, sorted by relative path (bytewise).
    pub files: Vec<InputFile>,
    /// What was passed over, sorted by path.
    pub skipped: Vec<SkippedReport>,
}

/// Finds the data files of `inputs`, each a folder, a file or a glob.
///
/// Several inputs share one root, their deepest common folder; relative paths start there.
///
/// # Errors
/// When an input does not exist or matches nothing, when no data file is found, and when a file
/// cannot be read to compute its digest.
pub fn discover(inputs: &[String]) -> Result<Discovery, IoError> {
    let selections = inputs
        .iter()
        .map(|input| Selection::parse(input))
        .collect::<Result<Vec<_>, _>>()?;
    let root = common_root(&selections);
    let mut found = Found::default();
    for selection in &selections {
        selection.collect(&root, &mut found)?;
    }
    if found.files.is_empty() {
        return Err(nothing_found(inputs, &found));
    }
    found
        .files
        .sort_by(|left, right| left.relative.cmp(&right.relative));
    found
        .files
        .dedup_by(|left, right| left.path == right.path && left.relative == right.relative);
    if let Some(pair) = found
        .files
        .windows(2)
        .find(|pair| pair[0].relative == pair[1].relative)
    {
        return Err(IoError::DuplicatePath {
            relative: pair[0].relative.clone(),
        });
    }
    refuse_clashes(&found.files)?;
    let files = found
        .files
        .into_par_iter()
        .map(Candidate::digest)
        .collect::<Result<Vec<_>, _>>()?;
    let mut skipped: Vec<SkippedReport> = found
        .skipped
        .into_iter()
        .map(|(path, reason)| SkippedReport { path, reason })
        .collect();
    skipped.sort_by(|left, right| left.path.cmp(&right.path));
    let mut bases: Vec<String> = selections
        .iter()
        .map(|selection| walk::relative(&root, &selection.root()))
        .collect();
    bases.sort();
    bases.dedup();
    Ok(Discovery {
        name: dataset_name(inputs, &root),
        root,
        bases,
        files,
        skipped,
    })
}

/// What is held back of a file that is not Parquet can be written under another name, which must be free.
fn refuse_clashes(files: &[Candidate]) -> Result<(), IoError> {
    let others = files.iter().filter(|file| file.format != Format::Parquet);
    for file in others {
        let written = format!("{}.parquet", file.relative);
        let taken = files.binary_search_by(|other| other.relative.as_str().cmp(&written));
        if taken.is_ok() {
            return Err(IoError::QuarantineClash {
                file: file.relative.clone(),
                written,
            });
        }
    }
    Ok(())
}

/// Format and compression of a file name, or why it is no data file.
fn classify(name: &str) -> Result<(Format, Compression), String> {
    let lower = name.to_ascii_lowercase();
    let (stem, compression) = if let Some(stem) = lower.strip_suffix(".gz") {
        (stem, Compression::Gzip)
    } else if let Some(stem) = lower.strip_suffix(".zst") {
        (stem, Compression::Zstd)
    } else {
        (lower.as_str(), Compression::None)
    };
    let Some((_, extension)) = stem.rsplit_once('.') else {
        return Err("no file extension that says what it is".to_owned());
    };
    let format = match extension {
        "parquet" | "pq" => Format::Parquet,
        "arrow" | "ipc" | "feather" => Format::ArrowIpc,
        "csv" => Format::Csv,
        "tsv" => Format::Tsv,
        "jsonl" | "ndjson" | "json" => Format::JsonLines,
        _ => return Err(format!("unknown extension `.{extension}`")),
    };
    if compression != Compression::None && !format.is_text() {
        return Err(format!(
            "a compressed `.{extension}` file; that format compresses inside, unpack it first"
        ));
    }
    Ok((format, compression))
}

/// A data file without its digest.
struct Candidate {
    path: PathBuf,
    relative: String,
    format: Format,
    compression: Compression,
}

impl Candidate {
    fn digest(self) -> Result<InputFile, IoError> {
        let digests = digests_of(&self.path, open_resolved)?;
        Ok(InputFile {
            partitions: partitions(&self.relative),
            path: self.path,
            relative: self.relative,
            format: self.format,
            compression: self.compression,
            bytes: digests.bytes,
            digest: digests.blake3,
            sha256: digests.sha256,
        })
    }
}

/// Bytes that are read and hashed at a time; large enough for all threads to share the work.
const DIGEST_BYTES: u64 = 4 << 20;

/// Size and digests of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digests {
    pub(crate) bytes: u64,
    pub(crate) blake3: [u8; 32],
    pub(crate) sha256: [u8; 32],
}

/// Size and BLAKE3 of a file, hashed on all threads where it is large.
///
/// Read and not memory-mapped: mapped pages count as memory of the process, up to the size of the
/// file, and a mapped file that is cut short meanwhile ends the process.
pub(crate) fn digest_file(path: &Path) -> Result<(u64, [u8; 32]), IoError> {
    let mut hasher = blake3::Hasher::new();
    let bytes = each_chunk(path, open_plain, |chunk| {
        hasher.update_rayon(chunk);
    })?;
    Ok((bytes, *hasher.finalize().as_bytes()))
}

/// Size, BLAKE3 and SHA-256 of a file, read once. SHA-256 cannot be split, so on one large file it works
/// beside BLAKE3, and on several files they go in parallel.
pub(crate) fn digests_of_file(path: &Path) -> Result<Digests, IoError> {
    digests_of(path, open_plain)
}

fn digests_of(path: &Path, open: Open) -> Result<Digests, IoError> {
    let mut blake3 = blake3::Hasher::new();
    let mut sha256 = Sha256::new();
    let bytes = each_chunk(path, open, |chunk| {
        rayon::join(
            || {
                blake3.update_rayon(chunk);
            },
            || sha256.update(chunk),
        );
    })?;
    Ok(Digests {
        bytes,
        blake3: *blake3.finalize().as_bytes(),
        sha256: sha256.finalize().into(),
    })
}

/// How a file is opened.
type Open = fn(&Path) -> io::Result<File>;

/// Hands the bytes of a file over in order; returns their number.
fn each_chunk(path: &Path, open: Open, mut take: impl FnMut(&[u8])) -> Result<u64, IoError> {
    let mut file = open(path).map_err(IoError::storage("read", path))?;
    let mut buffer = Vec::new();
    let mut bytes = 0;
    loop {
        buffer.clear();
        let read = (&mut file)
            .take(DIGEST_BYTES)
            .read_to_end(&mut buffer)
            .map_err(IoError::storage("read", path))?;
        if read == 0 {
            return Ok(bytes);
        }
        take(&buffer);
        bytes += read as u64;
    }
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Whether a file of this name is taken for data.
pub(crate) fn is_data_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    !name.starts_with(['.', '_']) && classify(name).is_ok()
}

fn common_root(selections: &[Selection]) -> PathBuf {
    let mut roots = selections.iter().map(Selection::root);
    let Some(first) = roots.next() else {
        return PathBuf::from(".");
    };
    let common = roots.fold(first, |common, root| {
        common
            .components()
            .zip(root.components())
            .take_while(|(left, right)| left == right)
            .map(|(left, _)| left)
            .collect()
    });
    if common.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        common
    }
}

fn dataset_name(inputs: &[String], root: &Path) -> String {
    let path = match inputs {
        [single] if Path::new(single).exists() => PathBuf::from(single),
        _ => root.to_owned(),
    };
    let last = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    // `.` and `..` have no last component of their own.
    last(&path)
        .or_else(|| last(&path.canonicalize().ok()?))
        .unwrap_or_else(|| "dataset".to_owned())
}

fn nothing_found(inputs: &[String], found: &Found) -> IoError {
    let path = inputs.join(" ");
    match found.skipped.first() {
        None => IoError::EmptyFolder { path },
        Some((first, reason)) => IoError::NoDataFiles {
            path,
            skipped: found.skipped.len(),
            first: first.clone(),
            reason: reason.clone(),
        },
    }
}

/// Hive partition values in the folders of a relative path.
fn partitions(relative: &str) -> Vec<(String, String)> {
    let Some((folders, _)) = relative.rsplit_once('/') else {
        return Vec::new();
    };
    folders
        .split('/')
        .filter_map(|folder| folder.split_once('='))
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (percent_decode(key), percent_decode(value)))
        .collect()
}

pub(crate) fn percent_decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digit = |idx: usize| {
            tail.get(idx)
                .and_then(|&byte| char::from(byte).to_digit(16))
        };
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            decoded.push((high * 16 + low) as u8);
            rest = &tail[2..];
        } else {
            decoded.push(first);
            rest = tail;
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_say_format_and_compression() {
        assert_eq!(
            classify("a.PARQUET"),
            Ok((Format::Parquet, Compression::None))
        );
        assert_eq!(classify("a.b.csv.gz"), Ok((Format::Csv, Compression::Gzip)));
        assert_eq!(
            classify("x.ndjson.zst"),
            Ok((Format::JsonLines, Compression::Zstd))
        );
        assert!(classify("x.parquet.gz").is_err());
        assert!(classify("README").is_err());
    }

    #[test]
    fn hive_values_are_percent_decoded() {
        assert_eq!(
            partitions("split=train/lang=de%2FAT/x.parquet"),
            [
                ("split".to_owned(), "train".to_owned()),
                ("lang".to_owned(), "de/AT".to_owned())
            ]
        );
        assert_eq!(percent_decode("100%"), "100%");
        assert!(partitions("a=b.parquet").is_empty());
    }
}
