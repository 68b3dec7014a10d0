//! From the columns of a file to those of the dataset.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;

use crate::decode::Opened;
use crate::discover::InputFile;

/// A readable file and how its columns make up the dataset's.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) reader: Opened,
    /// For each column of the dataset's own schema its index in the file; `None` where a text
    /// file has no such column, which reads as null.
    columns: Vec<Option<usize>>,
}

impl Source {
    pub(super) fn new(reader: Opened, schema: &SchemaRef) -> Self {
        let own = reader.schema();
        // By name, but by position where all names agree: names may occur twice.
        let same = own.fields().len() == schema.fields().len()
            && own
                .fields()
                .iter()
                .zip(schema.fields())
                .all(|(own, common)| own.name() == common.name());
        let columns = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(idx, field)| {
                if same {
                    Some(idx)
                } else {
                    own.index_of(field.name()).ok()
                }
            })
            .collect();
        Self { reader, columns }
    }
}

/// How the columns of a batch of the dataset come about.
pub(super) struct Assembly {
    schema: SchemaRef,
    /// Columns to read from the file, ascending.
    pub(super) read: Vec<usize>,
    columns: Vec<Column>,
}

enum Column {
    /// A column of what was read.
    Read(usize),
    /// The same partition value for all rows.
    Constant(Option<String>),
}

impl Assembly {
    /// How to make columns `wanted` of `full`, the dataset's schema with partition columns.
    pub(super) fn plan(
        full: &SchemaRef,
        source: &Source,
        input: &InputFile,
        wanted: Option<&[usize]>,
    ) -> Result<Self, String> {
        let all: Vec<usize>;
        let wanted = if let Some(wanted) = wanted {
            wanted
        } else {
            all = (0..full.fields().len()).collect();
            &all
        };
        let own = |column: &usize| source.columns.get(*column).copied().flatten();
        let mut read: Vec<usize> = wanted.iter().filter_map(own).collect();
        read.sort_unstable();
        read.dedup();
        let columns = wanted
            .iter()
            .map(|column| match own(column) {
                Some(own) => Column::Read(read.partition_point(|&other| other < own)),
                None if *column < source.columns.len() => Column::Constant(None),
                None => Column::Constant(
                    input
                        .partitions
                        .iter()
                        .find(|(key, _)| key == full.field(*column).name())
                        .map(|(_, value)| value.clone()),
                ),
            })
            .collect();
        let schema = full.project(wanted).map_err(|error| error.to_string())?;
        Ok(Self {
            schema: Arc::new(schema),
            read,
            columns,
        })
    }

    /// Makes a batch of the dataset of `batch`, which has the columns `read`.
    pub(super) fn assemble(&self, batch: &RecordBatch) -> Result<RecordBatch, String> {
        let rows = batch.num_rows();
        let columns = self
            .columns
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| match column {
                Column::Read(idx) if batch.column(*idx).data_type() == field.data_type() => {
                    Ok(Arc::clone(batch.column(*idx)))
                }
                Column::Read(idx) => cast(batch.column(*idx), field.data_type()),
                Column::Constant(Some(value)) => Ok(Arc::new(StringArray::from_iter_values(
                    std::iter::repeat_n(value, rows),
                )) as ArrayRef),
                Column::Constant(None) => Ok(new_null_array(field.data_type(), rows)),
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| error.to_string())
    }
}
