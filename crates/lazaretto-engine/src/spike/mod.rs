//! The spike test: which share of a planted attack a run like this one would have held back.
//!
//! "Nothing was found" says little without it. A keyed sample of the records that passed gets attacks that
//! fit the dataset's roles, of several sizes, and each spiked sample goes through the same pipeline with
//! the same settings. The answer speaks of these attacks in a sample of this size, and of nothing else:
//! attacks of another kind, and of an attacker who knows the detectors, may pass.

mod attacks;
mod edits;
mod sample;

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::ipc::writer::FileWriter;
use lazaretto_core::Verdict;
use lazaretto_core::report::{PowerAttack, PowerReport, PowerResult};
use lazaretto_io::{FinishedRun, GivenRoles, IoError};
use lazaretto_patterns::redact;

use self::attacks::{Attack, Spiked};
use self::sample::Sample;
use crate::checkpoint::Resumption;
use crate::error::EngineError;
use crate::progress::Silent;
use crate::scan::{ProofOptions, Scan, ScanRequest, scan_in_pool};
use crate::settings::Settings;

/// Records per batch of a spiked file.
const BATCH_ROWS: usize = 4_096;
/// Largest part of the sample that is planted.
const MAX_SHARE: f64 = 0.2;

/// How the spike test runs, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PowerSettings {
    /// Most records of the sample.
    pub records: usize,
    /// Numbers of records planted, ascending.
    pub sizes: Vec<usize>,
}

/// Plants every attack that fits, in every size, and counts what is held back.
///
/// # Errors
/// When the dataset cannot be read again or the disk refuses; a spiked sample that cannot be
/// scanned is an attack that was not measured.
pub(crate) fn measure(
    scan: &Scan<'_>,
    verdicts: &[Verdict],
    settings: &PowerSettings,
    scratch: &Path,
) -> Result<PowerReport, EngineError> {
    let seed = scan.request.settings.seed;
    let sample = Sample::draw(scan, verdicts, settings.records)?;
    let folder = scratch.join("spike");
    let mut report = PowerReport {
        records: sample.batch.num_rows() as u64,
        of: verdicts
            .iter()
            .filter(|verdict| **verdict == Verdict::Pass)
            .count() as u64,
        seed,
        attacks: Vec::new(),
    };
    for attack in Attack::ALL {
        let mut measured = PowerAttack {
            id: attack.id().to_owned(),
            planted: attack.description().to_owned(),
            results: Vec::new(),
            not_measured: None,
        };
        for &size in &settings.sizes {
            scan.dataset.check_cancelled()?;
            if size as f64 > MAX_SHARE * sample.batch.num_rows() as f64 {
                measured.not_measured = Some(format!("the sample is too small for {size} records"));
                break;
            }
            let spiked = match attack.plant(&sample, size, seed) {
                Ok(spiked) => spiked,
                Err(reason) => {
                    measured.not_measured = Some(reason);
                    break;
                }
            };
            scan.progress.phase(
                &format!("spike test: {} of {size} records", attack.id()),
                spiked.batch.num_rows() as u64,
                0,
            );
            match held(scan, &sample, &spiked, &folder) {
                Ok(result) => measured.results.push(result),
                Err(error) if error.is_interrupted() => return Err(error),
                Err(error) => {
                    // Decoders and detectors quote values.
                    measured.not_measured = Some(redact(&error.to_string()).into_owned());
                    break;
                }
            }
        }
        report.attacks.push(measured);
    }
    Ok(report)
}

/// Scans a spiked sample and counts.
fn held(
    scan: &Scan<'_>,
    sample: &Sample,
    spiked: &Spiked,
    folder: &Path,
) -> Result<PowerResult, EngineError> {
    let storage = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| IoError::Storage {
            action,
            path,
            source,
        }
    };
    std::fs::create_dir_all(folder).map_err(storage("create", folder))?;
    let data = folder.join("sample.arrow");
    write(&spiked.batch, &data)?;
    let out = folder.join("run");
    let request = ScanRequest {
        inputs: vec![data.to_string_lossy().into_owned()],
        out: out.clone(),
        settings: inner_settings(&scan.request.settings, sample),
        cancel: std::sync::Arc::clone(&scan.request.cancel),
        // Nobody is to rely on a run that is thrown away.
        proof: ProofOptions::default(),
        resumption: Resumption::NEVER,
    };
    scan_in_pool(&request, &Silent, &|_| Vec::new())?;
    let planted = |row: u64| spiked.planted.binary_search(&(row as usize)).is_ok();
    let mut result = PowerResult {
        size: spiked.planted.len() as u64,
        held: 0,
        others_held: 0,
    };
    FinishedRun::open(&out)?.scores::<EngineError>(Some(&["verdict"]), |first, batch| {
        let verdicts = batch.column(0).as_string::<i32>();
        for (row, verdict) in (first..).zip(verdicts) {
            if verdict == Some(Verdict::Quarantine.name()) {
                if planted(row) {
                    result.held += 1;
                } else {
                    result.others_held += 1;
                }
            }
        }
        Ok(true)
    })?;
    std::fs::remove_dir_all(folder).map_err(storage("remove", folder))?;
    Ok(result)
}

/// The run's settings for a sample whose columns have the roles of the dataset's.
fn inner_settings(settings: &Settings, sample: &Sample) -> Settings {
    let mut roles = GivenRoles::default();
    for (column, role) in &sample.roles {
        roles.other.push((column.clone(), *role));
    }
    let mut inner = Settings {
        roles,
        budget: None,
        power: None,
        // Its signature was checked for the run; the sample has no sources that it could be about.
        allowlist: None,
        trusted_keys: Vec::new(),
        signing_key_file: None,
        ..settings.clone()
    };
    // The sample was written by this process.
    inner.decoding.program = None;
    inner
}

fn write(batch: &RecordBatch, path: &PathBuf) -> Result<(), IoError> {
    let encode = |reason: String| IoError::Encode {
        path: path.display().to_string(),
        reason,
    };
    let file = File::create(path).map_err(|source| IoError::Storage {
        action: "create",
        path: path.clone(),
        source,
    })?;
    let mut writer =
        FileWriter::try_new_buffered(file, &batch.schema()).map_err(|e| encode(e.to_string()))?;
    for start in (0..batch.num_rows()).step_by(BATCH_ROWS) {
        let rows = BATCH_ROWS.min(batch.num_rows() - start);
        writer
            .write(&batch.slice(start, rows))
            .map_err(|error| encode(error.to_string()))?;
    }
    writer.finish().map_err(|error| encode(error.to_string()))
}
