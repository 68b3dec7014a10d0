//! One schema over all files of a dataset, and what keeps a file out of it.
//!
//! Files in binary formats must have the same columns with the same types; layouts of one type
//! (plain, large, view, dictionary), nullability, column order and an all-null column do not
//! count as differences. Text files have inferred types, which widen to what holds all files.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::decode::Opened;
use crate::decode::kind::{Kind, arrow_fields};
use crate::discover::{Format, InputFile};
use crate::error::IoError;

/// What the files of a dataset have in common.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    fields: Vec<FieldRef>,
    /// Set while all files are text.
    kinds: Option<Vec<(String, Kind)>>,
}

impl Shape {
    /// The shape of one file.
    pub(crate) fn of(file: &Opened) -> Self {
        Self {
            fields: file.schema().fields().iter().cloned().collect(),
            kinds: match file {
                Opened::Text(text) => Some(text.columns().to_vec()),
                _ => None,
            },
        }
    }

    /// The common kinds, while all files are text.
    pub(crate) fn kinds(&self) -> Option<&[(String, Kind)]> {
        self.kinds.as_deref()
    }

    /// The common schema with the metadata of `first`.
    pub(crate) fn schema(&self, first: &Schema) -> SchemaRef {
        Arc::new(Schema::new_with_metadata(
            self.fields.clone(),
            first.metadata().clone(),
        ))
    }

    /// The shape that also holds `file`, called `name` in `format`.
    ///
    /// # Errors
    /// [`IoError::SchemaMismatch`] with the first column that differs.
    pub(crate) fn with(&self, file: &Opened, name: &str, format: Format) -> Result<Self, IoError> {
        let other = Self::of(file);
        let mismatch = |column: &str, expected: String, found: String| IoError::SchemaMismatch {
            file: name.to_owned(),
            column: column.to_owned(),
            expected,
            found,
        };
        if let (Some(mine), Some(theirs)) = (&self.kinds, other.kinds) {
            if format != Format::JsonLines
                && let Some((column, kind)) = difference(mine, &theirs)
            {
                return Err(mismatch(&column, kind, "absent".to_owned()));
            }
            let mut merged = Kind::Object(mine.clone());
            merged
                .merge(Kind::Object(theirs))
                .map_err(|conflict| mismatch(&conflict.place, conflict.expected, conflict.found))?;
            let kinds = match merged {
                Kind::Object(kinds) => kinds,
                _ => Vec::new(),
            };
            return Ok(Self {
                fields: arrow_fields(&kinds).iter().cloned().collect(),
                kinds: Some(kinds),
            });
        }
        let absent = || "absent".to_owned();
        for theirs in &other.fields {
            if !self.fields.iter().any(|mine| mine.name() == theirs.name()) {
                return Err(mismatch(
                    theirs.name(),
                    absent(),
                    theirs.data_type().to_string(),
                ));
            }
        }
        let fields = self
            .fields
            .iter()
            .map(|mine| {
                let theirs = other
                    .fields
                    .iter()
                    .find(|theirs| theirs.name() == mine.name())
                    .ok_or_else(|| mismatch(mine.name(), mine.data_type().to_string(), absent()))?;
                unify(mine, theirs).ok_or_else(|| {
                    mismatch(
                        mine.name(),
                        mine.data_type().to_string(),
                        theirs.data_type().to_string(),
                    )
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            fields,
            kinds: None,
        })
    }
}

/// The shape that most files share and the schema of the first of them. Files of other shapes
/// become problems.
pub(crate) fn agree(
    files: &[InputFile],
    readers: &mut [Option<Opened>],
    problems: &mut [Option<String>],
) -> Result<(Shape, SchemaRef), IoError> {
    let mut groups: Vec<(Shape, Vec<usize>)> = Vec::new();
    for (idx, (input, reader)) in files.iter().zip(readers.iter()).enumerate() {
        let Some(reader) = reader else { continue };
        let accepted = groups.iter_mut().any(|(shape, members)| {
            match shape.with(reader, &input.relative, input.format) {
                Ok(wider) => {
                    *shape = wider;
                    members.push(idx);
                    true
                }
                Err(_) => false,
            }
        });
        if !accepted {
            groups.push((Shape::of(reader), vec![idx]));
        }
    }
    // `max_by_key` takes the last of equals, so go backwards to get the first.
    let Some((mut shape, mut members)) = groups
        .into_iter()
        .rev()
        .max_by_key(|(_, files)| files.len())
    else {
        let file = files.first().map(|file| file.relative.clone());
        return Err(IoError::NothingReadable {
            files: files.len(),
            file: file.unwrap_or_default(),
            reason: problems
                .iter()
                .flatten()
                .next()
                .cloned()
                .unwrap_or_default(),
        });
    };
    for (idx, reader) in readers.iter_mut().enumerate() {
        let Err(position) = members.binary_search(&idx) else {
            continue;
        };
        let Some(outsider) = reader.as_ref() else {
            continue;
        };
        match shape.with(outsider, &files[idx].relative, files[idx].format) {
            Ok(wider) => {
                shape = wider;
                members.insert(position, idx);
            }
            Err(error) => {
                problems[idx] = Some(error.to_string());
                *reader = None;
            }
        }
    }
    // Metadata (Hugging Face features) may be missing from some files only.
    let schemas = || members.iter().filter_map(|&idx| readers[idx].as_ref());
    let first = schemas()
        .find(|reader| !reader.schema().metadata().is_empty())
        .or_else(|| schemas().next())
        .map_or_else(
            || Arc::new(Schema::empty()),
            |reader| Arc::clone(reader.schema()),
        );
    Ok((shape, first))
}

/// `schema` with a string column for each partition key that is not a column already.
pub(crate) fn with_partitions(
    schema: &SchemaRef,
    files: &[InputFile],
    readers: &[Option<Opened>],
) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    for (file, _) in files
        .iter()
        .zip(readers)
        .filter(|(_, reader)| reader.is_some())
    {
        for (key, _) in &file.partitions {
            if !fields.iter().any(|field| field.name() == key) {
                fields.push(Arc::new(Field::new(key, DataType::Utf8, true)));
            }
        }
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// A column that `mine` has and `theirs`, a CSV file, has not; or the other way round.
fn difference(mine: &[(String, Kind)], theirs: &[(String, Kind)]) -> Option<(String, String)> {
    let missing =
        |from: &[(String, Kind)], name: &str| !from.iter().any(|(other, _)| other == name);
    let lost = mine.iter().find(|(name, _)| missing(theirs, name));
    let extra = theirs.iter().find(|(name, _)| missing(mine, name));
    lost.map(|(name, kind)| (name.clone(), kind.to_string()))
        .or_else(|| extra.map(|(name, _)| (name.clone(), "absent".to_owned())))
}

/// The field that holds the values of both, with the layout and metadata of `mine`.
fn unify(mine: &FieldRef, theirs: &FieldRef) -> Option<FieldRef> {
    let data_type = unify_types(mine.data_type(), theirs.data_type())?;
    let nullable =
        mine.is_nullable() || theirs.is_nullable() || matches!(theirs.data_type(), DataType::Null);
    if data_type == *mine.data_type() && nullable == mine.is_nullable() {
        return Some(Arc::clone(mine));
    }
    Some(Arc::new(
        Field::new(mine.name(), data_type, nullable).with_metadata(mine.metadata().clone()),
    ))
}

fn unify_types(mine: &DataType, theirs: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, BinaryView, Dictionary, FixedSizeList, LargeBinary, LargeList, LargeUtf8, List,
        Map, Null, Struct, Utf8, Utf8View,
    };
    match (mine, theirs) {
        (mine, theirs) if mine == theirs => Some(mine.clone()),
        (Null, other) | (other, Null) => Some(other.clone()),
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View)
        | (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => {
            Some(mine.clone())
        }
        (Dictionary(_, value), Dictionary(_, other)) => {
            (unify_types(value, other)? == **value).then(|| mine.clone())
        }
        // The plain layout can hold what the dictionary may have no keys left for.
        (Dictionary(_, value), other) => unify_types(value, other),
        (mine, Dictionary(_, value)) => unify_types(mine, value),
        (List(item), List(other) | LargeList(other)) => Some(List(unify(item, other)?)),
        (LargeList(item), List(other) | LargeList(other)) => Some(LargeList(unify(item, other)?)),
        (FixedSizeList(item, size), FixedSizeList(other, other_size)) if size == other_size => {
            Some(FixedSizeList(unify(item, other)?, *size))
        }
        (Struct(fields), Struct(others)) if fields.len() == others.len() => {
            let unified = fields
                .iter()
                .zip(others)
                .map(|(field, other)| {
                    (field.name() == other.name())
                        .then(|| unify(field, other))
                        .flatten()
                })
                .collect::<Option<Vec<_>>>()?;
            Some(Struct(unified.into()))
        }
        (Map(entries, sorted), Map(others, _)) => {
            let Struct(fields) = entries.data_type() else {
                return None;
            };
            let Struct(other_fields) = others.data_type() else {
                return None;
            };
            let unified = fields
                .iter()
                .zip(other_fields)
                .map(|(field, other)| unify(field, other))
                .collect::<Option<Vec<_>>>()?;
            let entries = entries
                .as_ref()
                .clone()
                .with_data_type(Struct(unified.into()));
            Some(Map(Arc::new(entries), *sorted))
        }
        _ => None,
    }
}
