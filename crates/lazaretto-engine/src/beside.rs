//! Files that are read beside the dataset and are never part of it.
//!
//! They are read in full or not at all: a yardstick that is read in part measures something else.

use lazaretto_core::report::TrustedReport;
use lazaretto_io::{Dataset, FileDigest, OpenOptions, discover};

use crate::error::EngineError;
use crate::scan::hex;

/// Opens the files at `paths`; `refuse` makes the error from a file and what is wrong with it.
///
/// # Errors
/// When a file is missing, cannot be read in full or does not fit the others, and when there is no
/// record.
pub(crate) fn open(
    paths: &[String],
    options: OpenOptions,
    refuse: impl Fn(String, Vec<String>) -> EngineError,
) -> Result<Dataset, EngineError> {
    let dataset = Dataset::open(discover(paths)?, options)?;
    for file in dataset.files() {
        if let Some(problem) = &file.problem {
            return Err(refuse(file.input.relative.clone(), vec![problem.clone()]));
        }
    }
    if dataset.n_rows() == 0 {
        let problem = "it has no records".to_owned();
        return Err(refuse(dataset.name().to_owned(), vec![problem]));
    }
    Ok(dataset)
}

/// The files for the report.
pub(crate) fn report(files: &Dataset) -> Vec<TrustedReport> {
    let files = files.files().iter();
    files
        .map(|file| TrustedReport {
            path: file.input.relative.clone(),
            bytes: file.input.bytes,
            blake3: hex(&file.input.digest),
            records: file.rows.unwrap_or(0),
        })
        .collect()
}

/// The files for the manifest.
pub(crate) fn digests(files: &Dataset) -> Vec<FileDigest> {
    let files = files.files().iter();
    files
        .map(|file| FileDigest {
            path: file.input.relative.clone(),
            bytes: file.input.bytes,
            blake3: hex(&file.input.digest),
            sha256: hex(&file.input.sha256),
        })
        .collect()
}
