//! Digests that a dataset records of its own files, and whether they hold.
//!
//! | recorded in | what |
//! |---|---|
//! | `SHA256SUMS`, `MD5SUMS`, `B3SUMS`, `checksums.txt`, `*.sha256`, `*.md5`, … | lists of coreutils, BSD or `b3sum`, or a digest alone |
//! | `croissant.json`, `metadata.json` | the `distribution` of a Croissant description |
//! | `.cache/huggingface/download/**/*.metadata` | the etag that the Hub gave: SHA-256, or the id of a git blob |
//!
//! Records count when they lie in the folder of a data file or above it, inside an input. What they name is
//! looked up among the data files that discovery found; nothing else is opened, whatever a record says.

mod algorithm;
mod croissant;
mod hugging_face;
mod lists;
pub(crate) mod pointer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use lazaretto_core::{Comparison, RecordedDigest};
use rayon::prelude::*;

use self::algorithm::{Algorithm, found_digests};
use crate::discover::{Discovery, InputFile, is_data_file};
use crate::error::IoError;
use crate::regular::open_plain;

/// Larger files of records are not read: a line per file takes about 100 bytes.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// A digest that a record gives for a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// The file, relative to the root of the dataset.
    path: String,
    /// The record, relative to the root of the dataset.
    recorded_in: String,
    algorithm: Algorithm,
    /// In lower-case hexadecimal, as long as the algorithm's digests are.
    digits: String,
}

/// A digest as a record gives it, before its name is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Names that the file may go by, relative to the folder of the record, the likeliest first.
    names: Vec<String>,
    /// Whether the file must be there if none of the names is found.
    expected: bool,
    algorithm: Algorithm,
    digits: String,
}

/// Why a file beside the data is passed over: it records digests.
pub(crate) fn described(name: &str, path: &Path) -> Option<String> {
    if lists::algorithm_of(name).is_some() {
        return Some("recorded digests, which the files are compared with".to_owned());
    }
    let is_description = croissant::may_be(name)
        && read_record(path).is_some_and(|text| croissant::entries(&text).is_some());
    is_description
        .then(|| "a Croissant description, whose digests the files are compared with".to_owned())
}

/// Compares the files of `discovery` with the digests recorded of them, on all threads.
///
/// Digests that discovery computed are used; others are computed where they are recorded. A file with several
/// digests of one kind in one record has to have one of them.
///
/// # Errors
/// When a data file cannot be read again.
pub fn check_recorded(discovery: &Discovery) -> Result<Vec<RecordedDigest>, IoError> {
    let files: BTreeMap<&str, &InputFile> = discovery
        .files
        .iter()
        .map(|file| (file.relative.as_str(), file))
        .collect();
    let claims = claims(discovery, &files);
    let mut wanted: BTreeMap<&str, BTreeSet<Algorithm>> = BTreeMap::new();
    for claim in &claims {
        let algorithms = wanted.entry(&claim.path).or_default();
        algorithms.insert(claim.algorithm);
    }
    let found: BTreeMap<&str, Option<BTreeMap<Algorithm, String>>> = wanted
        .into_par_iter()
        .map(|(path, algorithms)| {
            let here = files
                .get(path)
                .filter(|file| pointer::target_of(&file.path, file.bytes).is_none());
            let digests = here
                .map(|file| found_digests(file, &algorithms))
                .transpose()?;
            Ok((path, digests))
        })
        .collect::<Result<_, IoError>>()?;
    let mut outcomes: BTreeMap<(&str, &str, Algorithm), RecordedDigest> = BTreeMap::new();
    for claim in &claims {
        let digests = found.get(claim.path.as_str()).and_then(Option::as_ref);
        let comparison = match digests.and_then(|digests| digests.get(&claim.algorithm)) {
            None => Comparison::Missing,
            Some(digits) if *digits == claim.digits => Comparison::Same,
            Some(digits) => Comparison::Differs(digits.clone()),
        };
        let key = (
            claim.path.as_str(),
            claim.recorded_in.as_str(),
            claim.algorithm,
        );
        let better = outcomes
            .get(&key)
            .is_none_or(|_| comparison == Comparison::Same);
        if better {
            outcomes.insert(
                key,
                RecordedDigest {
                    path: claim.path.clone(),
                    recorded_in: claim.recorded_in.clone(),
                    algorithm: claim.algorithm.name().to_owned(),
                    recorded: claim.digits.clone(),
                    comparison,
                },
            );
        }
    }
    Ok(outcomes.into_values().collect())
}

/// Reads `text` as every kind of record, and holds what comes out to what is relied on.
pub(crate) fn read_any(text: &str) {
    let lists = ["SHA256SUMS", "checksums.txt", "data.csv.md5"].map(|name| {
        let named = lists::algorithm_of(name);
        named.map(|named| lists::entries(name, named, text))
    });
    let entries = lists
        .into_iter()
        .chain([croissant::entries(text)])
        .flatten()
        .flatten();
    for entry in entries {
        assert_eq!(
            entry.algorithm.digits(&entry.digits).as_ref(),
            Some(&entry.digits)
        );
        for path in entry.names.iter().filter_map(|name| resolved("data", name)) {
            let inside = path.strip_prefix("data/");
            assert!(
                inside.is_some_and(|inside| inside
                    .split('/')
                    .all(|part| !matches!(part, "" | "." | ".."))),
                "`{path}` leads out of its folder"
            );
        }
    }
    hugging_face::etag(text);
    pointer::target_in(text).as_deref().map(pointer::reason);
}

/// All claims about files of the dataset, or about files that should be part of it; sorted.
fn claims(discovery: &Discovery, files: &BTreeMap<&str, &InputFile>) -> Vec<Claim> {
    let folders: Vec<String> = folders_of(discovery).into_iter().collect();
    let mut claims: Vec<Claim> = folders
        .par_iter()
        .flat_map_iter(|folder| {
            let records = records_in(&discovery.root, folder).into_iter();
            records.flat_map(move |(name, entries)| {
                let recorded_in = joined(folder, &name);
                entries
                    .into_iter()
                    .filter_map(|entry| {
                        let path = locate(&discovery.root, folder, &entry, files)?;
                        Some(Claim {
                            path,
                            recorded_in: recorded_in.clone(),
                            algorithm: entry.algorithm,
                            digits: entry.digits,
                        })
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    claims.extend(hugging_face::claims(discovery));
    claims.sort();
    claims.dedup();
    claims
}

/// Folders of data files and those above them, as far as they lie inside an input.
fn folders_of(discovery: &Discovery) -> BTreeSet<String> {
    let mut folders = BTreeSet::new();
    for file in &discovery.files {
        let mut path = file.relative.as_str();
        loop {
            path = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let inside = discovery.bases.iter().any(|base| {
                base.is_empty()
                    || path == base
                    || path
                        .strip_prefix(base.as_str())
                        .is_some_and(|rest| rest.starts_with('/'))
            });
            // What is known already is known with all above it.
            if !inside || !folders.insert(path.to_owned()) || path.is_empty() {
                break;
            }
        }
    }
    folders
}

/// The records in a folder by name, in its order.
fn records_in(root: &Path, folder: &str) -> Vec<(String, Vec<Entry>)> {
    let Some(path) = plain_path(root, folder) else {
        return Vec::new();
    };
    let Ok(listed) = fs::read_dir(&path) else {
        return Vec::new();
    };
    let mut names: Vec<String> = listed
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| lists::algorithm_of(name).is_some() || croissant::may_be(name))
        .collect();
    names.sort();
    names
        .into_iter()
        .filter_map(|name| {
            let text = read_record(&path.join(&name))?;
            let entries = match lists::algorithm_of(&name) {
                Some(algorithm) => lists::entries(&name, algorithm, &text),
                None => croissant::entries(&text)?,
            };
            Some((name, entries))
        })
        .collect()
}

/// The text of a record; `None` when it is a link, too large or no text.
fn read_record(path: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_RECORD_BYTES {
        return None;
    }
    let mut text = String::new();
    let file = open_plain(path).ok()?;
    file.take(MAX_RECORD_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The file that an entry is about: a data file of the dataset, or one that is missing.
fn locate(
    root: &Path,
    folder: &str,
    entry: &Entry,
    files: &BTreeMap<&str, &InputFile>,
) -> Option<String> {
    let paths: Vec<String> = entry
        .names
        .iter()
        .filter_map(|name| resolved(folder, name))
        .collect();
    if let Some(path) = paths.iter().find(|path| files.contains_key(path.as_str())) {
        return Some(path.clone());
    }
    // A README that is not there is nobody's loss, and what is there and was not selected is not missing.
    let path = paths.into_iter().next().filter(|_| entry.expected)?;
    (is_data_file(&path) && is_absent(root, &path)).then_some(path)
}

/// `name` as recorded in `folder`, relative to the root; `None` when it leads out of the folder.
fn resolved(folder: &str, name: &str) -> Option<String> {
    if name.starts_with('/') || name.contains(['\\', '\0']) {
        return None;
    }
    let mut path = folder.to_owned();
    for part in name.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            return None;
        }
        path = joined(&path, part);
    }
    (path != folder).then_some(path)
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// The place of `relative` below `root` when no part of it is a symbolic link.
fn plain_path(root: &Path, relative: &str) -> Option<PathBuf> {
    let mut path = root.to_owned();
    for part in relative.split('/').filter(|part| !part.is_empty()) {
        path.push(part);
        let metadata = fs::symlink_metadata(&path).ok()?;
        if metadata.is_symlink() {
            return None;
        }
    }
    Some(path)
}

/// Whether nothing is at `relative`, as far as that can be told without following links.
fn is_absent(root: &Path, relative: &str) -> bool {
    let mut path = root.to_owned();
    for part in relative.split('/') {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Err(error) => return error.kind() == std::io::ErrorKind::NotFound,
            Ok(metadata) if metadata.is_symlink() => return false,
            Ok(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_lead_out_of_their_folder() {
        for (name, expected) in [
            ("a.csv", Some("data/a.csv")),
            ("./b/a.csv", Some("data/b/a.csv")),
            ("b//a.csv", Some("data/b/a.csv")),
            ("../a.csv", None),
            ("b/../../a.csv", None),
            ("/etc/passwd", None),
            ("..\\a.csv", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(resolved("data", name).as_deref(), expected, "{name}");
        }
        assert_eq!(resolved("", "a.csv").as_deref(), Some("a.csv"));
    }
}
