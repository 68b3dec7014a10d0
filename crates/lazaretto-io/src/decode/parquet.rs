//! Reads Parquet by row group, with projection.

use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, RowGroupMetaData};

use super::preflight::{ChunkChecks, HeaderLimits};
use super::{Group, RawBatches, ReadRequest};
use crate::encryption::{FileEncryption, InputKeys, has_encrypted_footer};
use crate::regular::open_resolved;

/// Bytes of decoded data that one part of a large row group is to have.
const PART_BYTES: u64 = 64 << 20;
/// Bounds on the rows of a part. The upper one is one page of 4-byte values as the common writers
/// cut them, so that few pages are decoded twice.
const PART_ROWS: (u64, u64) = (32_768, 262_144);

/// Parts of a row group; one has 2³¹ rows at most in the common writers.
const MAX_PARTS: u64 = 1 << 16;

/// An opened Parquet file.
#[derive(Debug)]
pub(crate) struct ParquetFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    groups: Vec<Group>,
    encryption: Option<FileEncryption>,
    chunks: ChunkChecks,
}

impl ParquetFile {
    pub(crate) fn open(path: &Path, keys: Option<&InputKeys>) -> Result<Self, String> {
        let file = open_resolved(path).map_err(|error| error.to_string())?;
        let mut options =
            ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
        match keys {
            Some(keys) => {
                let decryption = keys.decryption().map_err(|error| error.to_string())?;
                options = options.with_file_decryption_properties(decryption);
            }
            None if has_encrypted_footer(path).unwrap_or(false) => {
                return Err(
                    "it is encrypted and no key was given (`LAZARETTO_INPUT_KEY`, or `encryption.inputs` of the pipeline)"
                        .to_owned(),
                );
            }
            None => {}
        }
        let metadata =
            ArrowReaderMetadata::load(&file, options).map_err(|error| error.to_string())?;
        let groups = (0..metadata.metadata().num_row_groups())
            .map(|idx| group(metadata.metadata(), idx))
            .collect::<Result<_, _>>()?;
        let bytes = file.metadata().map_err(|error| error.to_string())?.len();
        Ok(Self {
            encryption: FileEncryption::of(path, metadata.metadata())?,
            path: path.to_owned(),
            chunks: ChunkChecks::new(metadata.metadata(), bytes),
            metadata,
            groups,
        })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How it is encrypted, if it is.
    pub(crate) fn encryption(&self) -> Option<&FileEncryption> {
        self.encryption.as_ref()
    }

    /// The footer.
    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    pub(crate) fn read(
        &self,
        request: &ReadRequest<'_>,
        limits: &HeaderLimits,
    ) -> Result<RawBatches, String> {
        let mut file = open_resolved(&self.path).map_err(|error| error.to_string())?;
        let leaves = (0..self.metadata().file_metadata().schema_descr().num_columns())
            .filter(|&leaf| self.is_read(leaf, request.columns));
        self.chunks
            .check(&mut file, self.metadata(), request.group, leaves, limits)?;
        let row_group = self.metadata().row_group(request.group);
        let rows = &request.rows;
        let whole = rows.end - rows.start == self.groups[request.group].rows;
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![request.group])
                .with_batch_size(request.batch_rows(row_bytes(row_group, request.columns)));
        if let Some(columns) = request.columns {
            let mask =
                ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        if !whole {
            builder = builder
                .with_offset(rows.start as usize)
                .with_limit((rows.end - rows.start) as usize);
        }
        let reader = builder.build().map_err(|error| error.to_string())?;
        Ok(Box::new(
            reader.map(|batch| batch.map_err(|error| error.to_string())),
        ))
    }

    /// Whether leaf `leaf` belongs to one of the top-level columns `columns`.
    fn is_read(&self, leaf: usize, columns: Option<&[usize]>) -> bool {
        let schema = self.metadata().file_metadata().schema_descr();
        columns.is_none_or(|roots| roots.contains(&schema.get_column_root_idx(leaf)))
    }
}

fn group(metadata: &ParquetMetaData, idx: usize) -> Result<Group, String> {
    let row_group = metadata.row_group(idx);
    let rows = u64::try_from(row_group.num_rows())
        .map_err(|_| format!("row group {idx} has {} rows", row_group.num_rows()))?;
    // Without an offset index, rows before a part can be skipped page by page only where a page's
    // number of rows stands in its header, that is in columns without repetition.
    let flat = row_group
        .columns()
        .iter()
        .all(|column| column.column_descr().max_rep_level() == 0);
    let indexed = metadata
        .offset_index()
        .is_some_and(|index| index.get(idx).is_some_and(|columns| !columns.is_empty()));
    let target = (PART_BYTES / row_bytes(row_group, None).max(1)).clamp(PART_ROWS.0, PART_ROWS.1);
    // The number of rows comes from the file, and is not believed yet.
    let believable = rows / target <= MAX_PARTS;
    if rows <= target + target / 2 || !(flat || indexed) || !believable {
        return Ok(Group::whole(rows));
    }
    let mut parts = vec![target; (rows / target) as usize];
    match (rows % target, parts.last_mut()) {
        (0, _) => {}
        (rest, Some(last)) if rest < target / 2 => *last += rest,
        (rest, _) => parts.push(rest),
    }
    Ok(Group { rows, parts })
}

/// Estimated bytes of memory per row of the top-level columns `columns`.
fn row_bytes(row_group: &RowGroupMetaData, columns: Option<&[usize]>) -> u64 {
    let rows = u64::try_from(row_group.num_rows()).unwrap_or(0).max(1);
    let schema = row_group.schema_descr();
    row_group
        .columns()
        .iter()
        .enumerate()
        .filter(|(leaf, _)| {
            columns.is_none_or(|roots| roots.contains(&schema.get_column_root_idx(*leaf)))
        })
        .map(|(_, column)| {
            // Dictionary pages make the stored size smaller than the decoded one.
            let values = u64::try_from(column.num_values()).unwrap_or(0);
            let width = match column.column_type() {
                Type::BOOLEAN => 1,
                Type::INT32 | Type::FLOAT => 4,
                Type::INT64 | Type::DOUBLE | Type::INT96 => 8,
                Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => 16,
            };
            let stored = u64::try_from(column.uncompressed_size()).unwrap_or(0);
            let decoded = column
                .unencoded_byte_array_data_bytes()
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(0);
            stored.max(decoded).max(values.saturating_mul(width)) / rows
        })
        .sum::<u64>()
        .max(1)
}
