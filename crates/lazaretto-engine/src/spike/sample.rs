//! A keyed sample of the records that passed, in columns that attacks can edit.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, BooleanArray, FixedSizeListBuilder, Float32Builder, LargeStringArray,
    RecordBatch,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, Schema};
use lazaretto_core::{Role, Verdict};
use rayon::prelude::*;

use crate::assemble::{chat, is_chat, strings, texts};
use crate::error::EngineError;
use crate::explain::vectors;
use crate::scan::{Scan, unreadable};

/// Smallest sample, however large the records.
const MIN_RECORDS: usize = 200;

/// Records to plant attacks in.
pub(super) struct Sample {
    pub(super) batch: RecordBatch,
    /// The role of every column.
    pub(super) roles: Vec<(String, Role)>,
    /// Class of each record, by the order of their names; `None` without a value.
    pub(super) labels: Vec<Option<u32>>,
    pub(super) n_classes: u32,
}

impl Sample {
    /// At most `n_records` records of the dataset that passed: those with the smallest keys.
    ///
    /// Ids are left out, because copies would share them, and so are recorded hashes, which planted
    /// content does not have. A chat becomes a prompt and a response.
    ///
    /// # Errors
    /// When the dataset cannot be read again.
    pub(super) fn draw(
        scan: &Scan<'_>,
        verdicts: &[Verdict],
        n_records: usize,
    ) -> Result<Self, EngineError> {
        let chosen = chosen(scan, verdicts, n_records.min(affordable(scan)));
        let schema = Arc::clone(scan.dataset.full_schema());
        let units: Vec<usize> = (0..scan.dataset.units().len()).collect();
        let batches = units
            .into_par_iter()
            .map(|unit| rows_of(scan, unit, &chosen))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let describe = |error| EngineError::from(unreadable("a sample", 0, &error));
        let all = concat_batches(&schema, batches.iter().flatten()).map_err(describe)?;
        Self::of(scan, &all).map_err(describe)
    }

    fn of(scan: &Scan<'_>, all: &RecordBatch) -> Result<Self, arrow::error::ArrowError> {
        let mut columns: Vec<(String, ArrayRef, Role)> = Vec::new();
        let is_taken = |columns: &[(String, ArrayRef, Role)], wanted: Role| {
            columns.iter().any(|(_, _, role)| *role == wanted)
        };
        for (facts, array) in scan.assembler.facts.columns.iter().zip(all.columns()) {
            let name = facts.name.clone();
            let empty = array.logical_null_count() == array.len();
            match facts.role {
                Role::Id | Role::ContentHash => {}
                _ if empty => {}
                Role::Messages if is_chat(array.data_type()) => {
                    // The worse of two answers, or a second chat, is no part of the attacks.
                    if !is_taken(&columns, Role::Prompt) && !is_taken(&columns, Role::Response) {
                        let (prompts, responses) = chat(array)?;
                        columns.push((format!("{name}/prompt"), Arc::new(prompts), Role::Prompt));
                        let name = format!("{name}/response");
                        columns.push((name, Arc::new(responses), Role::Response));
                    }
                }
                role @ (Role::Text | Role::Prompt | Role::Response) => {
                    columns.push((name, Arc::new(texts(array)?), role));
                }
                Role::Embedding => {
                    columns.push((name.clone(), plain_vectors(all, &name), facts.role));
                }
                role => columns.push((name, Arc::clone(array), role)),
            }
        }
        let label = columns.iter().find(|(_, _, role)| *role == Role::Label);
        let names = label.map(|(_, array, _)| strings(array)).transpose()?;
        let mut classes = BTreeMap::new();
        for name in names.iter().flat_map(LargeStringArray::iter).flatten() {
            classes.entry(name.to_owned()).or_insert(0_u32);
        }
        let n_classes = classes.len() as u32;
        for (idx, class) in classes.values_mut().zip(0..) {
            *idx = class;
        }
        let labels = match &names {
            Some(names) => names
                .iter()
                .map(|name| name.and_then(|name| classes.get(name).copied()))
                .collect(),
            None => vec![None; all.num_rows()],
        };
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, array, _)| {
                let known = all.schema().field_with_name(name).ok().cloned();
                match known {
                    // Metadata of a column may say what its values mean.
                    Some(field) => field.with_data_type(array.data_type().clone()),
                    None => Field::new(name, array.data_type().clone(), true),
                }
            })
            .map(|field| field.with_nullable(true))
            .collect();
        let schema = Schema::new_with_metadata(fields, all.schema().metadata().clone());
        let arrays = columns.iter().map(|(_, array, _)| Arc::clone(array));
        Ok(Self {
            batch: RecordBatch::try_new(Arc::new(schema), arrays.collect())?,
            roles: columns
                .iter()
                .map(|(name, _, role)| (name.clone(), *role))
                .collect(),
            labels,
            n_classes,
        })
    }

    /// Columns of a role.
    pub(super) fn with_role(&self, wanted: Role) -> impl Iterator<Item = usize> + '_ {
        let roles = self.roles.iter().enumerate();
        roles
            .filter(move |(_, (_, role))| *role == wanted)
            .map(|(idx, _)| idx)
    }
}

/// Number of records that fit into a part of the memory, if they are as large as they are on the disk
/// and a few times more unpacked.
fn affordable(scan: &Scan<'_>) -> usize {
    let files = scan.dataset.files().iter();
    let bytes: u64 = files.map(|file| file.input.bytes).sum();
    let each = (bytes / scan.dataset.n_rows().max(1)).max(1);
    ((scan.request.settings.memory / 64 / each) as usize).max(MIN_RECORDS)
}

/// Ordinals of the passing records with the smallest keys, ascending.
fn chosen(scan: &Scan<'_>, verdicts: &[Verdict], n_records: usize) -> Vec<u64> {
    let mut smallest = BinaryHeap::new();
    for unit in scan.dataset.units() {
        let digest = &scan.dataset.files()[unit.file].input.digest;
        for row in 0..unit.rows {
            let ordinal = unit.first_row + row;
            if verdicts.get(ordinal as usize) != Some(&Verdict::Pass) {
                continue;
            }
            let key = scan.key.of(digest, unit.row_group, unit.row_in_group + row);
            smallest.push((key, ordinal));
            if smallest.len() > n_records {
                smallest.pop();
            }
        }
    }
    let mut ordinals: Vec<u64> = smallest.into_iter().map(|(_, ordinal)| ordinal).collect();
    ordinals.sort_unstable();
    ordinals
}

/// The chosen records of a unit.
fn rows_of(scan: &Scan<'_>, unit: usize, chosen: &[u64]) -> Result<Vec<RecordBatch>, EngineError> {
    let place = scan.dataset.units()[unit];
    let end = place.first_row + place.rows;
    let start = chosen.partition_point(|&ordinal| ordinal < place.first_row);
    let mine = &chosen[start..start + chosen[start..].partition_point(|&ordinal| ordinal < end)];
    let mut rows = Vec::new();
    if mine.is_empty() {
        return Ok(rows);
    }
    let mut first = place.first_row;
    for batch in scan.dataset.batches(unit, None)? {
        let batch = batch?;
        let keep: BooleanArray = (first..first + batch.num_rows() as u64)
            .map(|ordinal| Some(mine.binary_search(&ordinal).is_ok()))
            .collect();
        let kept = filter_record_batch(&batch, &keep);
        rows.push(kept.map_err(|error| unreadable("a sample", place.row_group, &error))?);
        first += batch.num_rows() as u64;
    }
    Ok(rows)
}

/// Vectors of one length and type; null where there is none, or one of another length.
fn plain_vectors(batch: &RecordBatch, name: &str) -> ArrayRef {
    let rows = vectors(batch, name);
    let dim = rows.iter().flatten().map(Vec::len).next().unwrap_or(1);
    vector_array(
        rows.into_iter()
            .map(|row| row.filter(|row| row.len() == dim)),
        dim,
    )
}

/// A column of vectors of length `dim`.
pub(super) fn vector_array(rows: impl Iterator<Item = Option<Vec<f64>>>, dim: usize) -> ArrayRef {
    let length = i32::try_from(dim).unwrap_or(i32::MAX);
    let mut builder = FixedSizeListBuilder::new(Float32Builder::new(), length);
    for row in rows {
        if let Some(row) = row {
            for value in row {
                builder.values().append_value(value as f32);
            }
            builder.append(true);
        } else {
            for _ in 0..dim {
                builder.values().append_null();
            }
            builder.append(false);
        }
    }
    Arc::new(builder.finish())
}
