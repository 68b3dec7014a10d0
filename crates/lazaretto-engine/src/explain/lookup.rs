//! Finding a record in `scores/` by its id, and saying which ids are near when there is none.

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, UInt32Type, UInt64Type};
use lazaretto_core::report::Report;
use lazaretto_io::{FinishedRun, IoError};

use crate::error::EngineError;

/// Places and ids that an error names.
const SHOWN: usize = 5;
/// Longest id for which near misses are looked for, in bytes.
const MAX_LENGTH: usize = 128;

/// A record as `scores/` lists it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) position: u64,
    pub(super) record_id: String,
    pub(super) row_hash: Option<String>,
    pub(super) file: String,
    pub(super) row_group: u32,
    pub(super) row: u64,
    pub(super) score: Option<f32>,
    pub(super) p_value: Option<f64>,
    pub(super) q_value: Option<f64>,
    pub(super) row_q_value: Option<f64>,
    pub(super) verdict: String,
    /// Score by detector, in the order of the columns.
    pub(super) detectors: Vec<(String, Option<f32>)>,
    /// Records of the same file and verdict before it: its place in `clean/` or `quarantine/`.
    pub(super) rank: u64,
}

/// Where a record stands, without an id column.
fn place_of(file_digest: &str, row_group: u32, row: u64) -> String {
    format!(
        "{}:{row_group}:{row}",
        file_digest.get(..16).unwrap_or(file_digest)
    )
}

/// Finds `wanted` among the ids of `scores/`, or among the places (`digest:row group:row`), which
/// always tell records apart.
///
/// # Errors
/// [`EngineError::NoRecord`] and [`EngineError::AmbiguousRecord`]; when the run cannot be read.
pub(super) fn find(
    run: &FinishedRun,
    report: &Report,
    wanted: &str,
) -> Result<Listed, EngineError> {
    let digest_of = |file: &str| {
        let files = &report.dataset.files;
        let found = files.iter().find(|known| known.path == file);
        found.map_or("", |file| file.blake3.as_str())
    };
    let mut by_id = Vec::new();
    let mut n_by_id = 0_u64;
    let mut by_place = None;
    let mut near = NearMisses::new(wanted);
    let columns = ["record_id", "file", "row_group", "row"];
    run.scores::<EngineError>(Some(&columns), |first, batch| {
        let ids = Ids::of(batch)?;
        let (files, groups, rows) = places(batch)?;
        for idx in 0..batch.num_rows() {
            let position = first + idx as u64;
            let place = || {
                let digest = digest_of(files.value(idx));
                place_of(digest, groups.value(idx), rows.value(idx))
            };
            if ids.is(idx, wanted) {
                n_by_id += 1;
                if by_id.len() < SHOWN {
                    by_id.push((position, place()));
                }
            } else if wanted.contains(':') && by_place.is_none() && place() == wanted {
                by_place = Some(position);
            }
            if n_by_id == 0 {
                near.consider(&ids, idx);
            }
        }
        Ok(true)
    })?;
    let position = match (n_by_id, by_place) {
        (1, _) => by_id[0].0,
        (0, Some(position)) => position,
        (0, None) => {
            return Err(EngineError::NoRecord {
                record: wanted.to_owned(),
                near: near.best(),
            });
        }
        (n_records, _) => {
            return Err(EngineError::AmbiguousRecord {
                record: wanted.to_owned(),
                n_records,
                places: by_id.into_iter().map(|(_, place)| place).collect(),
            });
        }
    };
    read(run, position)
}

/// The row at `position`, and how many of the same file and verdict come before it.
fn read(run: &FinishedRun, position: u64) -> Result<Listed, EngineError> {
    let mut found = None;
    run.scores::<EngineError>(None, |first, batch| {
        let end = first + batch.num_rows() as u64;
        if position < end {
            found = Some(row_of(batch, (position - first) as usize, position)?);
        }
        Ok(position >= end)
    })?;
    let mut found: Listed = found.ok_or_else(|| strange("it ends before the record"))?;
    let mut rank = 0;
    run.scores::<EngineError>(Some(&["file", "verdict"]), |first, batch| {
        let (files, verdicts) = (text(batch, "file")?, text(batch, "verdict")?);
        for idx in 0..batch.num_rows() {
            if first + idx as u64 == position {
                return Ok(false);
            }
            rank +=
                u64::from(files.value(idx) == found.file && verdicts.value(idx) == found.verdict);
        }
        Ok(true)
    })?;
    found.rank = rank;
    Ok(found)
}

/// Ids and places of passing records of the given files, by their place in `clean/`.
///
/// # Errors
/// When the run cannot be read.
pub(super) fn passing(
    run: &FinishedRun,
    wanted: &[(String, u64)],
) -> Result<Vec<Option<Named>>, EngineError> {
    let mut found = vec![None; wanted.len()];
    let mut ranks = std::collections::BTreeMap::<String, u64>::new();
    let columns = ["record_id", "file", "row_group", "row", "verdict"];
    run.scores::<EngineError>(Some(&columns), |_, batch| {
        let ids = Ids::of(batch)?;
        let (files, groups, rows) = places(batch)?;
        let verdicts = text(batch, "verdict")?;
        for idx in 0..batch.num_rows() {
            if verdicts.value(idx) != "pass" {
                continue;
            }
            let rank = match ranks.get_mut(files.value(idx)) {
                Some(rank) => rank,
                None => ranks.entry(files.value(idx).to_owned()).or_default(),
            };
            for (place, (file, row)) in found.iter_mut().zip(wanted) {
                if row == rank && file == files.value(idx) {
                    *place = Some((ids.text(idx), groups.value(idx), rows.value(idx)));
                }
            }
            *rank += 1;
        }
        Ok(found.iter().any(Option::is_none))
    })?;
    Ok(found)
}

fn row_of(batch: &RecordBatch, idx: usize, position: u64) -> Result<Listed, EngineError> {
    const FIXED: [&str; 10] = [
        "record_id",
        "row_hash",
        "file",
        "row_group",
        "row",
        "score",
        "p_value",
        "q_value",
        "row_q_value",
        "verdict",
    ];
    let (files, groups, rows) = places(batch)?;
    let single = |name: &str| -> Result<Option<f32>, EngineError> {
        let column = batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<Float32Type>());
        let column = column.ok_or_else(|| strange(&format!("no column `{name}`")))?;
        Ok(column.is_valid(idx).then(|| column.value(idx)))
    };
    let double = |name: &str| -> Result<Option<f64>, EngineError> {
        let column = batch.column_by_name(name);
        let column = column.and_then(|column| column.as_primitive_opt::<Float64Type>());
        let column = column.ok_or_else(|| strange(&format!("no column `{name}`")))?;
        Ok(column.is_valid(idx).then(|| column.value(idx)))
    };
    let hashes = text(batch, "row_hash")?;
    let schema = batch.schema();
    let detectors = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| !FIXED.contains(name))
        .map(|name| Ok((name.to_owned(), single(name)?)))
        .collect::<Result<_, EngineError>>()?;
    Ok(Listed {
        position,
        record_id: Ids::of(batch)?.text(idx),
        row_hash: hashes.is_valid(idx).then(|| hashes.value(idx).to_owned()),
        file: files.value(idx).to_owned(),
        row_group: groups.value(idx),
        row: rows.value(idx),
        score: single("score")?,
        p_value: double("p_value")?,
        q_value: double("q_value")?,
        row_q_value: double("row_q_value")?,
        verdict: text(batch, "verdict")?.value(idx).to_owned(),
        detectors,
        rank: 0,
    })
}

/// Id, row group and row of a record.
pub(super) type Named = (String, u32, u64);

type Places<'b> = (
    &'b arrow::array::StringArray,
    &'b arrow::array::PrimitiveArray<UInt32Type>,
    &'b arrow::array::PrimitiveArray<UInt64Type>,
);

fn places(batch: &RecordBatch) -> Result<Places<'_>, EngineError> {
    let groups = batch.column_by_name("row_group");
    let rows = batch.column_by_name("row");
    Ok((
        text(batch, "file")?,
        groups
            .and_then(|groups| groups.as_primitive_opt())
            .ok_or_else(|| strange("no column `row_group`"))?,
        rows.and_then(|rows| rows.as_primitive_opt())
            .ok_or_else(|| strange("no column `row`"))?,
    ))
}

fn text<'b>(
    batch: &'b RecordBatch,
    name: &str,
) -> Result<&'b arrow::array::StringArray, EngineError> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or_else(|| strange(&format!("no column `{name}`")))
}

fn strange(reason: &str) -> EngineError {
    IoError::NoRun {
        path: "scores".into(),
        reason: reason.to_owned(),
    }
    .into()
}

/// The column `record_id`, whatever its type.
enum Ids<'b> {
    Integers(&'b arrow::array::PrimitiveArray<Int64Type>),
    Texts(&'b arrow::array::StringArray),
}

impl<'b> Ids<'b> {
    fn of(batch: &'b RecordBatch) -> Result<Self, EngineError> {
        let column = batch
            .column_by_name("record_id")
            .ok_or_else(|| strange("no column `record_id`"))?;
        match column.data_type() {
            DataType::Int64 => Ok(Self::Integers(column.as_primitive())),
            _ => Ok(Self::Texts(text(batch, "record_id")?)),
        }
    }

    fn is(&self, idx: usize, wanted: &str) -> bool {
        match self {
            // As written in `scores/`: `007` is no integer id.
            Self::Integers(ids) => wanted.parse() == Ok(ids.value(idx)) && self.text(idx) == wanted,
            Self::Texts(ids) => ids.value(idx) == wanted,
        }
    }

    fn text(&self, idx: usize) -> String {
        match self {
            Self::Integers(ids) => ids.value(idx).to_string(),
            Self::Texts(ids) => ids.value(idx).to_owned(),
        }
    }
}

/// The ids nearest to one that does not exist.
struct NearMisses<'w> {
    wanted: &'w str,
    /// Distance and id, the nearest first.
    best: Vec<(usize, String)>,
}

impl<'w> NearMisses<'w> {
    fn new(wanted: &'w str) -> Self {
        Self {
            wanted,
            best: Vec::new(),
        }
    }

    fn consider(&mut self, ids: &Ids<'_>, idx: usize) {
        // What is written in another case or with blanks around it is nearest.
        let limit = (self.wanted.chars().count() / 2).clamp(1, 4);
        let close = |id: &str| {
            let (id, wanted) = (id.trim(), self.wanted.trim());
            let too_far = id.len().abs_diff(wanted.len()) > 2 * limit || id.len() > MAX_LENGTH;
            if too_far || wanted.len() > MAX_LENGTH {
                return None;
            }
            let distance = strsim::damerau_levenshtein(&id.to_lowercase(), &wanted.to_lowercase());
            (distance <= limit).then_some(distance)
        };
        let found = match ids {
            Ids::Texts(texts) => close(texts.value(idx)).map(|near| (near, ids.text(idx))),
            Ids::Integers(_) => {
                let text = ids.text(idx);
                close(&text).map(|near| (near, text))
            }
        };
        let Some(found) = found else { return };
        let position = self.best.partition_point(|known| *known < found);
        if position < SHOWN && self.best.get(position) != Some(&found) {
            self.best.insert(position, found);
            self.best.truncate(SHOWN);
        }
    }

    fn best(self) -> Vec<String> {
        self.best.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn batch(ids: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("record_id", ids)]).unwrap()
    }

    #[test]
    fn the_nearest_ids_come_first_and_far_ones_not_at_all() {
        let ids = ["review-17", "review-71", "REVIEW-7 ", "other", "review-700"];
        let batch = batch(Arc::new(StringArray::from(ids.to_vec())));
        let ids = Ids::of(&batch).unwrap();
        let mut near = NearMisses::new("review-7");
        for idx in 0..5 {
            near.consider(&ids, idx);
        }
        assert_eq!(
            near.best(),
            ["REVIEW-7 ", "review-17", "review-71", "review-700"]
        );
    }

    #[test]
    fn integer_ids_are_found_as_they_are_written() {
        let batch = batch(Arc::new(Int64Array::from(vec![7, -7])));
        let ids = Ids::of(&batch).unwrap();
        assert!(ids.is(0, "7") && ids.is(1, "-7"));
        assert!(!ids.is(0, "007") && !ids.is(0, "+7") && !ids.is(0, "x"));
    }
}
