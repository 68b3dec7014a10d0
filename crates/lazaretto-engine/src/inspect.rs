//! Looking at a dataset without scanning it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use lazaretto_io::{Dataset, IoError, assign_roles, discover};

use crate::embedder::{self, Installed};
use crate::error::EngineError;
use crate::plan::Plan;
use crate::progress::Silent;
use crate::provenance::Given;
use crate::scan::{ProofOptions, open_options, pool};
use crate::settings::Settings;
use crate::source_list;
use crate::survey::survey;
use crate::trusted::{self, TrustedData};

/// What a dataset is and how it would be scanned.
pub struct Inspection {
    /// The opened dataset.
    pub dataset: Dataset,
    /// Files that were passed over.
    pub skipped: Vec<lazaretto_core::report::SkippedReport>,
    /// Facts and roles.
    pub facts: Arc<lazaretto_core::DataFacts>,
    /// What runs and what does not.
    pub plan: Plan,
    /// Records of the first units, for profiling.
    pub sample: Vec<RecordBatch>,
    // Holds decompressed copies of text files while the dataset is in use.
    _scratch: tempfile::TempDir,
}

/// Looks at a dataset without scanning it. `sample_rows` records are read for profiling.
///
/// # Errors
/// When nothing can be read, a column does not exist, or no detector applies.
pub fn inspect(
    inputs: &[String],
    settings: &Settings,
    sample_rows: usize,
    cancel: &Arc<AtomicBool>,
) -> Result<Inspection, EngineError> {
    pool(settings)?.install(|| {
        let scratch = tempfile::tempdir().map_err(|source| IoError::Storage {
            action: "make a scratch folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let discovery = discover(inputs)?;
        let skipped = discovery.skipped.clone();
        // Whether the list is signed matters to a scan; here it only tells what would apply.
        let list = settings.allowlist.as_deref();
        let list = list
            .map(|path| source_list::load(path, &ProofOptions::default()))
            .transpose()?;
        let given = Given::new(&discovery, list)?;
        let dataset = Dataset::open(
            discovery,
            open_options(settings, scratch.path().to_owned(), cancel),
        )?;
        let roles = assign_roles(&dataset, &settings.roles).map_err(EngineError::Roles)?;
        let trusted = trusted::open(
            settings,
            open_options(settings, scratch.path().to_owned(), cancel),
        )?;
        let trusted_rows = trusted.as_ref().map_or(0, Dataset::n_rows);
        let label_is_given = settings.roles.label.is_some();
        let mut assembler = survey(&dataset, roles, label_is_given, [trusted_rows, 0])?;
        given.install(&dataset, &mut assembler, &Silent);
        if let Some(trusted) = trusted {
            TrustedData::new(trusted, &assembler)?;
        }
        if let Some(model) = embedder::load(settings)? {
            Installed::new(model, &mut assembler);
        }
        let plan = Plan::new(&assembler.facts, settings)?;
        let sample = sample(&dataset, sample_rows);
        Ok(Inspection {
            skipped,
            facts: assembler.facts,
            plan,
            sample,
            dataset,
            _scratch: scratch,
        })
    })
}

/// Records from units spread over the dataset.
fn sample(dataset: &Dataset, n_rows: usize) -> Vec<RecordBatch> {
    let n_units = dataset.units().len();
    let chosen = n_units.min(16);
    let mut batches = Vec::new();
    for nth in 0..chosen {
        let mut wanted = n_rows.div_ceil(chosen);
        let Ok(unit) = dataset.batches(nth * n_units / chosen, None) else {
            continue;
        };
        for batch in unit {
            let Ok(batch) = batch else { break };
            let taken = batch.slice(0, batch.num_rows().min(wanted));
            wanted -= taken.num_rows();
            batches.push(taken);
            if wanted == 0 {
                break;
            }
        }
    }
    batches
}
