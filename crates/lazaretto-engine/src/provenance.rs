//! What is recorded about the files of a dataset, as detectors see it.

use std::sync::Arc;

use lazaretto_core::{Comparison, FileFacts, Provenance, RecordedDigest};
use lazaretto_io::Dataset;

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

/// Tells the detectors about files and sources; returns lines about them for the report.
pub(crate) fn install(
    dataset: &Dataset,
    recorded: Vec<RecordedDigest>,
    list: Option<&LoadedList>,
    assembler: &mut Assembler,
    progress: &dyn Progress,
) -> Vec<String> {
    let notes = describe(&recorded)
        .into_iter()
        .chain(list.map(LoadedList::describe))
        .collect();
    let sources = list.map(|loaded| {
        let applied = loaded.apply(dataset, assembler);
        for unused in loaded.without_column(&applied) {
            progress.warn(&unused);
        }
        applied
    });
    let provenance = Provenance {
        files: file_facts(dataset),
        recorded,
        sources,
    };
    Arc::make_mut(&mut assembler.facts).provenance = provenance;
    notes
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
