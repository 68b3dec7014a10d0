//! The `_lazaretto` column of `quarantine/`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Float32Array, Float64Array, ListBuilder, StringArray, StringBuilder,
    StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::RecordNote;
use crate::scores::hexadecimal;

/// Name of the column; when the input has a column of this name, `_` is appended until it is new.
pub(crate) const COLUMN: &str = "_lazaretto";

/// Fields of the column; `raw` for text formats only.
fn fields(raw: bool) -> Fields {
    let item = Field::new("item", DataType::Utf8, false);
    let mut fields = vec![
        Field::new("record_id", DataType::Utf8, false),
        Field::new("row_hash", DataType::Utf8, false),
        Field::new("score", DataType::Float32, true),
        Field::new("q_value", DataType::Float64, true),
        Field::new("findings", DataType::List(Arc::new(item)), false),
    ];
    if raw {
        fields.push(Field::new("raw", DataType::Binary, false));
    }
    fields.into()
}

/// `schema` with the column appended.
pub(super) fn with_evidence(schema: &Schema, raw: bool) -> SchemaRef {
    let mut name = COLUMN.to_owned();
    while schema.field_with_name(&name).is_ok() {
        name.push('_');
    }
    let mut columns: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    columns.push(Arc::new(Field::new(
        name,
        DataType::Struct(fields(raw)),
        false,
    )));
    Arc::new(Schema::new_with_metadata(
        columns,
        schema.metadata().clone(),
    ))
}

/// Values of the column; `raw` holds the bytes of each record where there are any.
pub(super) fn evidence(
    notes: &[RecordNote],
    raw: Option<Vec<&[u8]>>,
) -> Result<ArrayRef, ArrowError> {
    let item = Field::new("item", DataType::Utf8, false);
    let mut findings = ListBuilder::new(StringBuilder::new()).with_field(item);
    for note in notes {
        for finding in &note.findings {
            findings.values().append_value(finding);
        }
        findings.append(true);
    }
    let fields = fields(raw.is_some());
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            notes.iter().map(|note| &note.record_id),
        )),
        Arc::new(StringArray::from_iter_values(
            notes.iter().map(|note| hexadecimal(note.row_hash)),
        )),
        Arc::new(
            notes
                .iter()
                .map(|note| (!note.score.is_nan()).then_some(note.score))
                .collect::<Float32Array>(),
        ),
        Arc::new(
            notes
                .iter()
                .map(|note| (!note.q_value.is_nan()).then_some(note.q_value))
                .collect::<Float64Array>(),
        ),
        Arc::new(findings.finish()),
    ];
    columns.extend(raw.map(|raw| Arc::new(BinaryArray::from_vec(raw)) as ArrayRef));
    StructArray::try_new(fields, columns, None).map(|array| Arc::new(array) as ArrayRef)
}
