//! A finished run folder, read: nothing in it is believed before its digest is the manifest's.
//!
//! For commands that come after a scan. Not here: signatures, and judging anything anew.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use lazaretto_core::report::Report;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::de::DeserializeOwned;

use crate::dataset::{Dataset, OpenOptions};
use crate::discover::{digest_file, discover};
use crate::encryption::has_encrypted_footer;
use crate::error::IoError;
use crate::findings::{ListedFinding, findings_of};
use crate::manifest::{FILE_NAME, FileDigest, Manifest};

/// Largest manifest or report that is read, in bytes.
const MAX_JSON: u64 = 1 << 30;

/// The folder of a finished run.
#[derive(Debug)]
pub struct FinishedRun {
    root: PathBuf,
    manifest: Manifest,
}

impl FinishedRun {
    /// Opens the run folder `root`.
    ///
    /// # Errors
    /// [`IoError::NoRun`] when there is no finished run of this version.
    pub fn open(root: &Path) -> Result<Self, IoError> {
        let path = root.join(FILE_NAME);
        if !path.is_file() {
            let reason = if root.exists() {
                "it has no `manifest.json`: no run was finished there"
            } else {
                "no such folder"
            };
            return Err(no_run(root, reason));
        }
        Ok(Self {
            manifest: json(&path)?,
            root: root.to_owned(),
        })
    }

    /// Its manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The report.
    ///
    /// # Errors
    /// [`IoError::RunChanged`] when it is not what was written, [`IoError::NoRun`] when it cannot be
    /// understood.
    pub fn report(&self) -> Result<Report, IoError> {
        json(&self.checked("report.json")?)
    }

    /// Calls `visit` with the columns `columns` of `scores/` in batches, each with the position of
    /// its first record, until it returns false.
    ///
    /// # Errors
    /// As [`FinishedRun::report`], and what `visit` returns.
    pub fn scores<E: From<IoError>>(
        &self,
        columns: Option<&[&str]>,
        mut visit: impl FnMut(u64, &RecordBatch) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut first = 0;
        for part in self.outputs_in("scores/") {
            let path = self.checked(&part.path)?;
            let file = File::open(&path).map_err(IoError::storage("read", &path))?;
            let strange = |reason: String| no_run(&path, reason);
            let builder = ParquetRecordBatchReaderBuilder::try_new(file)
                .map_err(|error| strange(error.to_string()))?;
            let mask = match columns {
                Some(columns) => {
                    for column in columns {
                        if builder.schema().field_with_name(column).is_err() {
                            return Err(strange(format!("no column `{column}`")).into());
                        }
                    }
                    let schema = builder.parquet_schema();
                    ProjectionMask::columns(schema, columns.iter().copied())
                }
                None => ProjectionMask::all(),
            };
            let reader = builder
                .with_projection(mask)
                .build()
                .map_err(|error| strange(error.to_string()))?;
            for batch in reader {
                let batch = batch.map_err(|error| strange(error.to_string()))?;
                if !visit(first, &batch)? {
                    return Ok(());
                }
                first += batch.num_rows() as u64;
            }
        }
        Ok(())
    }

    /// The findings of the record that `scores/` lists at `row`, counted from 0.
    ///
    /// # Errors
    /// As [`FinishedRun::report`].
    pub fn findings_of(&self, row: u64) -> Result<Vec<ListedFinding>, IoError> {
        findings_of(&self.checked("findings.parquet")?, row)
    }

    /// The records below `folder` (`clean` or `quarantine`) as a dataset; `None` when there are none.
    ///
    /// # Errors
    /// As [`FinishedRun::report`], and [`IoError::Storage`] when the file system refuses.
    pub fn dataset(&self, folder: &str, options: OpenOptions) -> Result<Option<Dataset>, IoError> {
        let prefix = format!("{folder}/");
        if self.outputs_in(&prefix).next().is_none() {
            return Ok(None);
        }
        let path = self.root.join(folder);
        let discovery = discover(&[path.to_string_lossy().into_owned()])?;
        for file in &discovery.files {
            let name = format!("{prefix}{}", file.relative);
            let digest = blake3::Hash::from_bytes(file.digest).to_hex();
            let listed = self.listed(&name)?;
            if listed.blake3 != digest.as_str() {
                return Err(self.changed(&name, "is not what the run wrote"));
            }
            if options.keys.inputs.is_none() && has_encrypted_footer(&file.path).unwrap_or(false) {
                let variable = match folder {
                    "quarantine" => "LAZARETTO_QUARANTINE_KEY",
                    _ => "LAZARETTO_INPUT_KEY",
                };
                let reason = format!(
                    "`{name}` is encrypted; give its key in `{variable}` or by `--pipeline`"
                );
                return Err(no_run(&self.root, reason));
            }
        }
        Dataset::open(discovery, options).map(Some)
    }

    fn outputs_in<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = &'s FileDigest> {
        let outputs = self.manifest.outputs.iter();
        outputs.filter(move |file| file.path.starts_with(prefix))
    }

    fn listed(&self, relative: &str) -> Result<&FileDigest, IoError> {
        let mut outputs = self.manifest.outputs.iter();
        outputs
            .find(|file| file.path == relative)
            .ok_or_else(|| self.changed(relative, "is not in the manifest"))
    }

    /// The path of an output whose bytes are those that the manifest speaks of.
    fn checked(&self, relative: &str) -> Result<PathBuf, IoError> {
        let listed = self.listed(relative)?;
        let path = relative
            .split('/')
            .fold(self.root.clone(), |path, part| path.join(part));
        if !path.is_file() {
            return Err(self.changed(relative, "is missing"));
        }
        let (bytes, digest) = digest_file(&path)?;
        let digest = blake3::Hash::from_bytes(digest).to_hex();
        if (bytes, digest.as_str()) != (listed.bytes, listed.blake3.as_str()) {
            return Err(self.changed(relative, "is not what the run wrote"));
        }
        Ok(path)
    }

    fn changed(&self, file: &str, detail: &str) -> IoError {
        IoError::RunChanged {
            path: self.root.clone(),
            file: file.to_owned(),
            detail: detail.to_owned(),
        }
    }
}

fn no_run(path: &Path, reason: impl Into<String>) -> IoError {
    IoError::NoRun {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, IoError> {
    let metadata = fs::metadata(path).map_err(IoError::storage("read", path))?;
    if metadata.len() > MAX_JSON {
        return Err(no_run(path, "too large"));
    }
    let bytes = fs::read(path).map_err(IoError::storage("read", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| no_run(path, format!("not of this version ({error})")))
}
