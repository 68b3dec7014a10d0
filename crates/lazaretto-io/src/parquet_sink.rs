//! Writes Parquet with the columns of a row group encoded on all threads.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriter,
    ArrowWriterOptions, compute_leaves,
};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;

use crate::error::IoError;

/// A Parquet file that is being written, one row group after the other.
pub(crate) struct ParquetSink {
    path: PathBuf,
    schema: SchemaRef,
    writer: SerializedFileWriter<BufWriter<File>>,
    factory: ArrowRowGroupWriterFactory,
    /// Number of leaf columns of each top-level column.
    leaves: Vec<usize>,
    groups: usize,
}

/// The encoder of one top-level column of one row group.
pub(crate) struct ColumnSink {
    field: FieldRef,
    writers: Vec<ArrowColumnWriter>,
}

impl ColumnSink {
    /// Appends values.
    pub(crate) fn write(&mut self, values: &ArrayRef) -> Result<(), ParquetError> {
        let leaves = compute_leaves(&self.field, values)?;
        for (writer, leaf) in self.writers.iter_mut().zip(&leaves) {
            writer.write(leaf)?;
        }
        Ok(())
    }

    /// Ends the column.
    pub(crate) fn close(self) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        self.writers
            .into_iter()
            .map(ArrowColumnWriter::close)
            .collect()
    }
}

impl ParquetSink {
    /// Creates the file at `path`.
    pub(crate) fn create(
        path: &Path,
        schema: &SchemaRef,
        options: ArrowWriterOptions,
    ) -> Result<Self, IoError> {
        let file = File::create(path).map_err(IoError::storage("create", path))?;
        let (writer, factory) =
            ArrowWriter::try_new_with_options(BufWriter::new(file), Arc::clone(schema), options)
                .and_then(ArrowWriter::into_serialized_writer)
                .map_err(|error| encode_error(path, error))?;
        let mut leaves = vec![0; schema.fields().len()];
        for leaf in 0..writer.schema_descr().num_columns() {
            leaves[writer.schema_descr().get_column_root_idx(leaf)] += 1;
        }
        Ok(Self {
            path: path.to_owned(),
            schema: Arc::clone(schema),
            writer,
            factory,
            leaves,
            groups: 0,
        })
    }

    /// Encoders for the next row group, one per top-level column.
    pub(crate) fn start_group(&self) -> Result<Vec<ColumnSink>, IoError> {
        let mut writers = self
            .factory
            .create_column_writers(self.groups)
            .map_err(|error| encode_error(&self.path, error))?
            .into_iter();
        Ok(self
            .schema
            .fields()
            .iter()
            .zip(&self.leaves)
            .map(|(field, &leaves)| ColumnSink {
                field: Arc::clone(field),
                writers: writers.by_ref().take(leaves).collect(),
            })
            .collect())
    }

    /// Appends an encoded row group, columns in order.
    pub(crate) fn append_group(
        &mut self,
        chunks: impl IntoIterator<Item = ArrowColumnChunk>,
    ) -> Result<(), IoError> {
        self.groups += 1;
        let append = || {
            let mut group = self.writer.next_row_group()?;
            for chunk in chunks {
                chunk.append_to_row_group(&mut group)?;
            }
            group.close()
        };
        append()
            .map(drop)
            .map_err(|error| encode_error(&self.path, error))
    }

    /// Encodes and appends batches as one row group.
    pub(crate) fn write_group(&mut self, batches: &[RecordBatch]) -> Result<(), IoError> {
        let columns = self.start_group()?;
        let chunks: Vec<_> = columns
            .into_par_iter()
            .enumerate()
            .map(|(idx, mut sink)| {
                for batch in batches {
                    sink.write(batch.column(idx))?;
                }
                sink.close()
            })
            .collect::<Result<_, ParquetError>>()
            .map_err(|error| encode_error(&self.path, error))?;
        self.append_group(chunks.into_iter().flatten())
    }

    /// Writes the footer.
    pub(crate) fn close(self) -> Result<(), IoError> {
        self.writer
            .close()
            .map(drop)
            .map_err(|error| encode_error(&self.path, error))
    }
}

/// An encoder's error about `path`; that of the disk behind it keeps its kind, for the hint.
pub(crate) fn encode_error(path: &Path, error: ParquetError) -> IoError {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(source) => IoError::storage("write", path)(*source),
            Err(other) => IoError::Encode {
                path: path.display().to_string(),
                reason: other.to_string(),
            },
        },
        other => IoError::Encode {
            path: path.display().to_string(),
            reason: other.to_string(),
        },
    }
}
