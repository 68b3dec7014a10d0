//! What is recorded about the files of a dataset, as detectors see it.

use std::sync::Arc;

use lazaretto_core::{Comparison, FileFacts, Provenance, RecordedDigest};
use lazaretto_io::{Dataset, Discovery, FileDigest, check_recorded};

use crate::assemble::Assembler;
use crate::error::EngineError;
use crate::progress::Progress;
use crate::scan::ScanRequest;
use crate::source_list::{self, LoadedList};

/// Reads the list of sources, where one is given.
///
/// # Errors
/// When it cannot be used, or is not signed by a trusted key and must be.
pub(crate) fn load_list(request: &ScanRequest) -> Result<Option<LoadedList>, EngineError> {
    let path = request.settings.allowlist.as_deref();
    path.map(|path| source_list::load(path, &request.proof))
        .transpose()
}

/// What is said about the files and sources of a dataset, before it is opened.
pub(crate) struct Given {
    recorded: Vec<RecordedDigest>,
    list: Option<LoadedList>,
}

impl Given {
    /// Compares the files with the digests that are recorded of them.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn new(
        discovery: &Discovery,
        list: Option<LoadedList>,
    ) -> Result<Self, EngineError> {
        let recorded = check_recorded(discovery)?;
        Ok(Self { recorded, list })
    }

    /// Tells the detectors about files and sources; returns lines about them for the report.
    pub(crate) fn install(
        &self,
        dataset: &Dataset,
        assembler: &mut Assembler,
        progress: &dyn Progress,
    ) -> Vec<String> {
        let list = self.list.as_ref();
        let sources = list.map(|loaded| {
            let applied = loaded.apply(dataset, assembler);
            for unused in loaded.without_column(&applied) {
                progress.warn(&unused);
            }
            applied
        });
        let provenance = Provenance {
            files: file_facts(dataset),
            recorded: self.recorded.clone(),
            sources,
        };
        Arc::make_mut(&mut assembler.facts).provenance = provenance;
        describe(&self.recorded)
            .into_iter()
            .chain(list.map(LoadedList::describe))
            .collect()
    }

    /// The list of sources for the manifest.
    pub(crate) fn list_digest(&self) -> Option<FileDigest> {
        self.list.as_ref().map(LoadedList::digest)
    }
}

fn file_facts(dataset: &Dataset) -> Vec<FileFacts> {
    let mut first_row = 0;
    let files = dataset.files().iter();
    files
        .map(|file| {
            let facts = FileFacts {
                path: file.input.relative.clone(),
                first_row,
                n_rows: file.rows.unwrap_or(0),
            };
            first_row += facts.n_rows;
            facts
        })
        .collect()
}

fn describe(recorded: &[RecordedDigest]) -> Option<String> {
    let same = recorded
        .iter()
        .filter(|recorded| recorded.comparison == Comparison::Same);
    (!recorded.is_empty()).then(|| {
        format!(
            "{} of {} digests that are recorded of files hold.",
            same.count(),
            recorded.len()
        )
    })
}
