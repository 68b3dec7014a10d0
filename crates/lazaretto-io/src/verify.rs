//! Whether a run folder is what its manifest says: for those who are about to read it.
//!
//! Nothing is scanned again. Every file is hashed once, on all threads; then the counts of `scores/` and of
//! the report are compared with those of the manifest. The folder may have been tampered with, so all of it is
//! taken for hostile: nothing outside of it is opened, no link is followed, and what does not decode is a
//! problem like another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use lazaretto_core::report::{Counts, Report};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::conservation::listed_counts;
use crate::discover::{digest_file, hex};
use crate::error::IoError;
use crate::manifest::{
    ENVELOPE_NAME, FILE_NAME, FileDigest, Manifest, SCHEMA, TIMINGS_NAME, UNLISTED,
};
use crate::run_folder::entries_below;

/// Manifests, envelopes and reports are read whole; larger ones are refused.
const MAX_BYTES: u64 = 1 << 30;

/// What was found in a run folder.
#[derive(Clone, Debug, Default)]
pub struct RunCheck {
    /// The manifest, when there is one that can be read.
    pub manifest: Option<Manifest>,
    /// The report, when it is there and can be read.
    pub report: Option<Box<Report>>,
    /// SHA-256 by name of the files that no manifest lists and a signature covers.
    pub covered: BTreeMap<String, String>,
    /// The bytes of the signed envelope, where there is one.
    pub envelope: Option<Vec<u8>>,
    /// Everything that is not as it should be, a lower-case fragment each, in path order.
    pub problems: Vec<String>,
    /// Files that are as the manifest lists them.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Checks the run folder at `run`.
///
/// # Errors
/// [`IoError::PathMissing`] when there is no such folder. What is wrong with it is in
/// [`RunCheck::problems`].
pub fn check_run(run: &Path) -> Result<RunCheck, IoError> {
    let missing = || IoError::PathMissing {
        path: run.display().to_string(),
    };
    // The folder itself may be given by a link such as `latest`; below it none is followed.
    let root = run.canonicalize().map_err(|_| missing())?;
    if !root.is_dir() {
        return Err(missing());
    }
    let mut check = RunCheck::default();
    let present = check.walk(&root);
    for name in [FILE_NAME, TIMINGS_NAME, ENVELOPE_NAME] {
        let Some(path) = present.get(name) else {
            continue;
        };
        match read(path) {
            Err(reason) => check.problems.push(format!("`{name}`: {reason}")),
            Ok(bytes) => check.keep(name, bytes),
        }
    }
    let Some(manifest) = check.manifest.take() else {
        if check.problems.is_empty() {
            let nothing = "there is no `manifest.json`: no run was finished here";
            check.problems.push(nothing.to_owned());
        }
        return Ok(check);
    };
    check.digests(&manifest, &present);
    // What is not as it was written need not be decoded.
    if check.problems.is_empty() {
        check.counts(&manifest, &root);
    }
    check.manifest = Some(manifest);
    Ok(check)
}

impl RunCheck {
    /// All regular files by relative path; anything else is a problem.
    fn walk(&mut self, root: &Path) -> BTreeMap<String, PathBuf> {
        let mut files = BTreeMap::new();
        let entries = match entries_below(root) {
            Ok(entries) => entries,
            Err(error) => {
                self.problems.push(error.to_string());
                return files;
            }
        };
        for (relative, path, is_file) in entries {
            if is_file {
                files.insert(relative, path);
            } else {
                self.problems
                    .push(format!("`{relative}`: it is a link or no regular file"));
            }
        }
        files
    }

    fn keep(&mut self, name: &str, bytes: Vec<u8>) {
        if name == ENVELOPE_NAME {
            self.envelope = Some(bytes);
            return;
        }
        let sha256 = hex(&Sha256::digest(&bytes));
        self.covered.insert(name.to_owned(), sha256);
        if name != FILE_NAME {
            return;
        }
        match serde_json::from_slice::<Manifest>(&bytes) {
            Ok(manifest) if manifest.schema == SCHEMA => self.manifest = Some(manifest),
            Ok(manifest) => self.problems.push(format!(
                "`{FILE_NAME}`: it follows the schema `{}`, not `{SCHEMA}`",
                manifest.schema
            )),
            Err(error) => self.problems.push(format!("`{FILE_NAME}`: {error}")),
        }
    }

    /// Every listed file must be there with its bytes, and no other file.
    fn digests(&mut self, manifest: &Manifest, present: &BTreeMap<String, PathBuf>) {
        let mut listed = BTreeSet::new();
        for file in &manifest.outputs {
            if UNLISTED.contains(&file.path.as_str()) || !listed.insert(file.path.as_str()) {
                self.problems
                    .push(format!("`{}`: it is listed twice", file.path));
            }
        }
        for relative in present.keys() {
            if !listed.contains(relative.as_str()) && !UNLISTED.contains(&relative.as_str()) {
                self.problems
                    .push(format!("`{relative}`: the manifest does not list it"));
            }
        }
        let outcomes: Vec<Result<u64, String>> = manifest
            .outputs
            .par_iter()
            .map(|file| same(file, present.get(&file.path)))
            .collect();
        for (file, outcome) in manifest.outputs.iter().zip(outcomes) {
            match outcome {
                Ok(bytes) => {
                    self.files += 1;
                    self.bytes += bytes;
                }
                Err(reason) => self.problems.push(format!("`{}`: {reason}", file.path)),
            }
        }
        self.problems.sort();
    }

    /// The counts of manifest, report and scores must agree, and nothing be lost.
    fn counts(&mut self, manifest: &Manifest, root: &Path) {
        let counts = manifest.counts;
        if counts.pass + counts.quarantine + counts.unscanned != counts.records {
            self.problems.push(format!(
                "{} clean, {} quarantined and {} unscanned records are not {}",
                counts.pass, counts.quarantine, counts.unscanned, counts.records
            ));
        }
        if counts.files != manifest.inputs.len() as u64 {
            self.problems.push(format!(
                "{} input files are counted and {} listed",
                counts.files,
                manifest.inputs.len()
            ));
        }
        match listed_counts(root) {
            Err(error) => self.problems.push(error.to_string()),
            Ok(scores) => {
                let of = |counts: &Counts| [counts.pass, counts.quarantine, counts.unscanned];
                if of(&scores) != of(&counts) {
                    self.problems.push(format!(
                        "`scores` lists {:?} records as clean, quarantined and unscanned, the manifest {:?}",
                        of(&scores),
                        of(&counts)
                    ));
                }
            }
        }
        let report = read(&root.join("report.json")).and_then(|bytes| {
            serde_json::from_slice::<Report>(&bytes).map_err(|error| error.to_string())
        });
        match report {
            Err(reason) => self.problems.push(format!("`report.json`: {reason}")),
            Ok(report) => {
                if report.counts != counts || report.gate.status != manifest.gate {
                    let reason = "`report.json`: its counts or its gate are not the manifest's";
                    self.problems.push(reason.to_owned());
                }
                self.report = Some(Box::new(report));
            }
        }
    }
}

/// Whether the file at `path` is what the manifest says; its size.
fn same(file: &FileDigest, path: Option<&PathBuf>) -> Result<u64, String> {
    // Paths are looked up among what is there, so none can lead out of the folder.
    let path = path.ok_or("it is missing")?;
    let (bytes, digest) = digest_file(path).map_err(|error| error.to_string())?;
    if bytes != file.bytes {
        return Err(format!("it has {bytes} bytes, not {}", file.bytes));
    }
    if hex(&digest) != file.blake3 {
        return Err("its bytes are not those that were written".to_owned());
    }
    Ok(bytes)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let size = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if !size.is_file() || size.len() > MAX_BYTES {
        return Err(format!(
            "it is no regular file of at most {MAX_BYTES} bytes"
        ));
    }
    (&mut file)
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}
