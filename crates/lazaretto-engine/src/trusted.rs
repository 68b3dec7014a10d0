//! Records known to be good: read beside the dataset, and never part of it.
//!
//! Roles, classes and models are those of the dataset; a trusted file only has to have the columns
//! that the roles name. What does not fit ends the run before the fit pass, because a yardstick
//! that is read in part measures something else.

mod columns;
mod scores;

use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema};
use lazaretto_core::report::TrustedReport;
use lazaretto_core::{Derived, NO_LABEL, RecordKey, Role, Trusted};
use lazaretto_features::FeatureModel;
use lazaretto_io::{Dataset, FileDigest, IoError, OpenOptions};
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rayon::prelude::*;

use crate::assemble::{Assembled, Assembler, Wanted, strings};
use crate::beside;
use crate::error::EngineError;
use crate::scan::unreadable;
use crate::settings::Settings;

pub(crate) use scores::{MAX_SCORED, Scorer, TrustedScores};

/// Trusted records that detectors get, at most.
const MAX_ROWS: u64 = 20_000;

/// Unknown classes that an error names, at most.
const MAX_NAMED: usize = 5;

/// Opens the files of `settings.trusted`; `None` when there are none.
///
/// # Errors
/// When a file is missing, cannot be read in full or does not fit the others, and when there is no
/// record.
pub(crate) fn open(
    settings: &Settings,
    options: OpenOptions,
) -> Result<Option<Dataset>, EngineError> {
    if settings.trusted.is_empty() {
        return Ok(None);
    }
    beside::open(&settings.trusted, options, |file, problems| {
        EngineError::Trusted { file, problems }
    })
    .map(Some)
}

/// Trusted files whose columns and classes fit the dataset.
pub(crate) struct TrustedData {
    files: Dataset,
    /// For each column of the dataset's full schema its index in the trusted files, where its role
    /// is one that is compared.
    columns: Vec<Option<usize>>,
}

impl TrustedData {
    /// Looks up the columns of the dataset by name, and the classes by theirs.
    ///
    /// # Errors
    /// [`EngineError::Trusted`] with every column that is missing or of another type, or with the
    /// classes that the dataset does not have.
    pub(crate) fn new(files: Dataset, assembler: &Assembler) -> Result<Self, EngineError> {
        let columns =
            columns::find(&files, assembler).map_err(|problems| EngineError::Trusted {
                file: files.name().to_owned(),
                problems,
            })?;
        let data = Self { files, columns };
        data.check_classes(assembler)?;
        Ok(data)
    }

    /// Reads the label column alone, so that a wrong class does not show up after the fit pass.
    fn check_classes(&self, assembler: &Assembler) -> Result<(), EngineError> {
        let Some(label) = assembler.layout.label else {
            return Ok(());
        };
        let unknown_in = |unit: usize| -> Result<BTreeSet<String>, EngineError> {
            let mut unknown = BTreeSet::new();
            for batch in self.batches(assembler, unit, &[label])? {
                let batch = batch?;
                let values = strings(batch.column(0)).map_err(|error| self.bad(unit, &error))?;
                let foreign = values
                    .iter()
                    .flatten()
                    .filter(|value| !assembler.classes.contains_key(*value));
                for value in foreign {
                    if unknown.len() <= MAX_NAMED && !unknown.contains(value) {
                        unknown.insert(value.to_owned());
                    }
                }
            }
            Ok(unknown)
        };
        for unit in 0..self.files.units().len() {
            let unknown = unknown_in(unit)?;
            if unknown.is_empty() {
                continue;
            }
            let file = &self.files.files()[self.files.units()[unit].file].input;
            return Err(EngineError::Trusted {
                file: file.relative.clone(),
                problems: vec![format!(
                    "column `{}` has classes that the dataset does not have: {} (it has {})",
                    assembler.schema.field(label).name(),
                    listed(unknown.iter().map(String::as_str)),
                    listed(assembler.facts.classes.iter().map(String::as_str)),
                )],
            });
        }
        Ok(())
    }

    /// Batches of a unit with the dataset's `columns`, ascending and of roles that are compared, as
    /// [`Assembler::assemble`] takes them.
    fn batches<'a>(
        &'a self,
        assembler: &'a Assembler,
        unit: usize,
        columns: &'a [usize],
    ) -> Result<impl Iterator<Item = Result<RecordBatch, IoError>> + 'a, IoError> {
        let found: Vec<usize> = columns
            .iter()
            .filter_map(|&column| self.columns[column])
            .collect();
        let mut read = found.clone();
        read.sort_unstable();
        read.dedup();
        let batches = self.files.batches(unit, Some(&read))?;
        Ok(batches.map(move |batch| {
            let batch = batch?;
            let mut fields = Vec::with_capacity(columns.len());
            let mut arrays = Vec::with_capacity(columns.len());
            for (&column, own) in columns.iter().zip(&found) {
                let array = batch.column(read.partition_point(|other| other < own));
                let role = assembler.facts.columns[column].role;
                let expected = assembler.schema.field(column);
                let array = columns::adapted(array, expected.data_type(), role)
                    .map_err(|error| self.bad(unit, &error))?;
                fields.push(Field::new(expected.name(), array.data_type().clone(), true));
                arrays.push(array);
            }
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let schema = Arc::new(Schema::new(fields));
            RecordBatch::try_new_with_options(schema, arrays, &options)
                .map_err(|error| self.bad(unit, &error))
        }))
    }

    fn bad(&self, unit: usize, error: &arrow::error::ArrowError) -> IoError {
        let unit = self.files.units()[unit];
        let file = &self.files.files()[unit.file].input;
        unreadable(&file.relative, unit.row_group, error)
    }

    /// Ordinals and keys of the records that detectors get, ascending: those with the smallest
    /// keys, which are known without reading anything.
    fn chosen(&self, key: RecordKey, max_rows: usize) -> Vec<(u64, u64)> {
        let mut smallest = BinaryHeap::new();
        for unit in self.files.units() {
            let digest = &self.files.files()[unit.file].input.digest;
            for row in 0..unit.rows {
                let key = key.of(digest, unit.row_group, unit.row_in_group + row);
                smallest.push((key, unit.first_row + row));
                if smallest.len() > max_rows {
                    smallest.pop();
                }
            }
        }
        let mut chosen: Vec<(u64, u64)> = smallest
            .into_iter()
            .map(|(key, ordinal)| (ordinal, key))
            .collect();
        chosen.sort_unstable();
        chosen
    }

    /// Reads a bounded sample of the trusted records and derives its intermediates with the
    /// models of the dataset.
    ///
    /// # Errors
    /// When a file does not decode.
    pub(crate) fn gather(&self, gathering: &Gathering<'_>) -> Result<Trusted, EngineError> {
        let chosen = self.chosen(gathering.key, gathering.max_rows);
        let parts = (0..self.files.units().len())
            .into_par_iter()
            .map(|unit| self.gather_unit(gathering, unit, &chosen))
            .collect::<Result<Vec<_>, IoError>>()?;
        Ok(joined(parts.into_iter().flatten().collect()))
    }

    fn gather_unit(
        &self,
        gathering: &Gathering<'_>,
        unit: usize,
        chosen: &[(u64, u64)],
    ) -> Result<Vec<Trusted>, IoError> {
        let mut parts = Vec::new();
        self.each_chosen(gathering, unit, chosen, |assembled, rows| {
            parts.push(gathering.derive(&assembled, rows));
        })?;
        Ok(parts)
    }

    /// Calls `each` with the `chosen` records, (ordinal, key) each, of every batch of a unit that has
    /// some.
    fn each_chosen(
        &self,
        gathering: &Gathering<'_>,
        unit: usize,
        chosen: &[(u64, u64)],
        mut each: impl FnMut(Assembled, &[(u64, u64)]),
    ) -> Result<(), IoError> {
        let place = self.files.units()[unit];
        let between = |first: u64, n_rows: u64| {
            let start = chosen.partition_point(|&(ordinal, _)| ordinal < first);
            let end = chosen.partition_point(|&(ordinal, _)| ordinal < first + n_rows);
            &chosen[start..end]
        };
        if between(place.first_row, place.rows).is_empty() {
            return Ok(());
        }
        let assembler = gathering.assembler;
        let columns = gathering.wanted.columns(&assembler.layout);
        let mut first = place.first_row;
        for batch in self.batches(assembler, unit, &columns)? {
            let batch = batch?;
            let n_rows = batch.num_rows();
            let rows = between(first, n_rows as u64);
            let mut keep = vec![false; n_rows];
            for &(ordinal, _) in rows {
                keep[(ordinal - first) as usize] = true;
            }
            first += n_rows as u64;
            if rows.is_empty() {
                continue;
            }
            let assembled = filter_record_batch(&batch, &BooleanArray::from(keep))
                .and_then(|batch| gathering.assemble(&batch, &columns, rows));
            each(assembled.map_err(|error| self.bad(unit, &error))?, rows);
        }
        Ok(())
    }

    /// The files for the report.
    pub(crate) fn report(&self) -> Vec<TrustedReport> {
        beside::report(&self.files)
    }

    /// The files for the manifest.
    pub(crate) fn digests(&self) -> Vec<FileDigest> {
        beside::digests(&self.files)
    }

    /// One line for the report: how many of the records detectors got.
    pub(crate) fn describe(&self, trusted: &Trusted) -> String {
        format!(
            "trusted: {} of the {} records of `{}` by keyed hash",
            trusted.n_rows(),
            self.files.n_rows(),
            self.files.name()
        )
    }
}

/// What it takes to derive the intermediates of trusted records.
pub(crate) struct Gathering<'a> {
    pub(crate) assembler: &'a Assembler,
    pub(crate) wanted: &'a Wanted,
    pub(crate) key: RecordKey,
    pub(crate) model: &'a FeatureModel,
    /// Records to gather at most, see [`max_rows`].
    pub(crate) max_rows: usize,
}

impl Gathering<'_> {
    /// The trusted records `rows`, (ordinal, key) each, which are those of `batch`.
    fn assemble(
        &self,
        batch: &RecordBatch,
        columns: &[usize],
        rows: &[(u64, u64)],
    ) -> Result<Assembled, arrow::error::ArrowError> {
        // Beyond the dataset, so that no record of it is taken for one of these.
        let first_row = self.assembler.facts.n_rows + rows.first().map_or(0, |row| row.0);
        let keys = rows.iter().map(|row| row.1).collect();
        self.assembler
            .assemble(self.wanted, batch, columns, first_row, keys)
    }

    /// What detectors get of the trusted records `rows`.
    fn derive(&self, assembled: &Assembled, rows: &[(u64, u64)]) -> Trusted {
        let (ordinals, keys): (Vec<u64>, Vec<u64>) = rows.iter().copied().unzip();
        let view = assembled.view(&assembled.derived);
        let mut derived = Derived::default();
        self.model.derive_apart(&view, &mut derived);
        Trusted {
            labels: view
                .labels
                .map_or_else(|| vec![NO_LABEL; keys.len()], <[u32]>::to_vec),
            features: derived.features,
            probabilities: derived.probabilities,
            ordinals,
            keys,
        }
    }
}

/// Records that may be gathered within a sixteenth of the memory.
pub(crate) fn max_rows(settings: &Settings, assembler: &Assembler) -> usize {
    let facts = &assembler.facts;
    let dim = facts
        .embedding_dim
        .unwrap_or(settings.features.text_dim.max(facts.numeric_columns.len()));
    let row_bytes = 4 * (dim + facts.classes.len()) + 24;
    (settings.memory / 16 / row_bytes as u64).clamp(64, MAX_ROWS) as usize
}

/// Parts in order as one.
fn joined(parts: Vec<Trusted>) -> Trusted {
    let matrix = |of: fn(&Trusted) -> Option<&Array2<f32>>| {
        let views: Option<Vec<ArrayView2<'_, f32>>> =
            parts.iter().map(|part| Some(of(part)?.view())).collect();
        concatenate(Axis(0), &views?).ok()
    };
    let features = matrix(|part| part.features.as_ref());
    let probabilities = matrix(|part| part.probabilities.as_ref());
    let mut all = Trusted {
        ordinals: Vec::new(),
        keys: Vec::new(),
        labels: Vec::new(),
        features,
        probabilities,
    };
    for part in parts {
        all.ordinals.extend(part.ordinals);
        all.keys.extend(part.keys);
        all.labels.extend(part.labels);
    }
    all
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len() > MAX_NAMED;
    let mut listed: Vec<String> = names
        .take(MAX_NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    if more {
        listed.push("…".to_owned());
    }
    listed.join(", ")
}

/// Roles whose columns trusted records must have: what features, classes and models are made of.
pub(crate) fn compared(role: Role) -> bool {
    matches!(
        role,
        Role::Label
            | Role::Text
            | Role::Prompt
            | Role::Response
            | Role::Messages
            | Role::Numeric
            | Role::Categorical
            | Role::Embedding
            | Role::Probabilities
    )
}
