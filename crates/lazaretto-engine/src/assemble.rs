//! Arrow batches as detectors see them: columns by role, labels as class indices, text parts of
//! chat columns, vectors as matrices.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::types::{Float32Type, Float64Type};
use arrow::array::{
    Array, ArrayRef, Float32Array, LargeBinaryArray, LargeListArray, LargeStringArray,
    LargeStringBuilder, RecordBatch, make_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use lazaretto_core::shared::Tokens;
use lazaretto_core::{
    Batch, Blobs, DataFacts, Derived, Intermediate, NO_LABEL, Recorded, Role, RowHasher, TextField,
    TextPart,
};
use ndarray::{Array2, ArrayView2, ShapeBuilder as _};
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::embedder::EmbeddedTexts;
use crate::times::microseconds;

/// Sources beyond this number are not told apart.
pub(crate) const MAX_SOURCES: usize = 1 << 16;

/// Where each role's columns are in the full schema.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) id: Option<usize>,
    pub(crate) label: Option<usize>,
    pub(crate) source: Option<usize>,
    pub(crate) time: Option<usize>,
    pub(crate) embedding: Option<usize>,
    /// Whether there are vectors without an embedding column, made of the texts.
    pub(crate) embedded_texts: bool,
    pub(crate) probabilities: Option<usize>,
    pub(crate) numeric: Vec<usize>,
    pub(crate) categorical: Vec<usize>,
    pub(crate) texts: Vec<(usize, TextPart)>,
    /// Columns of recorded hashes.
    pub(crate) recorded: Vec<usize>,
    /// Columns of encoded images.
    pub(crate) images: Vec<usize>,
    /// Columns of web addresses.
    pub(crate) urls: Vec<usize>,
    /// Columns that make up a record's content; see [`Derived::content_hashes`].
    pub(crate) content: Vec<usize>,
}

impl Layout {
    /// The layout of columns with these roles. `n_stored` columns are in the files; the rest are
    /// partition values from paths, which are no content.
    pub(crate) fn new(roles: &[Role], n_stored: usize) -> Self {
        let mut layout = Self::default();
        for (idx, role) in roles.iter().enumerate() {
            match role {
                Role::Id => layout.id = Some(idx),
                Role::Label => layout.label = Some(idx),
                Role::Source => layout.source = Some(idx),
                Role::Time => layout.time = Some(idx),
                Role::Embedding => layout.embedding = Some(idx),
                Role::Probabilities => layout.probabilities = Some(idx),
                Role::Numeric => layout.numeric.push(idx),
                Role::Categorical => layout.categorical.push(idx),
                Role::Text => layout.texts.push((idx, TextPart::Text)),
                // A chat column is split into what was said to the model and what it answered.
                Role::Prompt | Role::Messages => layout.texts.push((idx, TextPart::Prompt)),
                Role::Response => layout.texts.push((idx, TextPart::Response)),
                Role::ContentHash => layout.recorded.push(idx),
                Role::Image => layout.images.push(idx),
                Role::Url => layout.urls.push(idx),
                _ => {}
            }
            let content = !matches!(
                role,
                Role::Id
                    | Role::Label
                    | Role::Source
                    | Role::Time
                    | Role::Url
                    | Role::ContentHash
                    | Role::Probabilities
            );
            if content && idx < n_stored {
                layout.content.push(idx);
            }
        }
        layout
    }
}

/// What a pass needs of each batch.
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set of independent parts, not a state machine"
)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) label: bool,
    pub(crate) source: bool,
    pub(crate) time: bool,
    pub(crate) numeric: bool,
    pub(crate) categorical: bool,
    pub(crate) texts: bool,
    pub(crate) embedding: bool,
    pub(crate) probabilities: bool,
    pub(crate) recorded: bool,
    pub(crate) images: bool,
    pub(crate) urls: bool,
    pub(crate) tokens: bool,
    pub(crate) content_hashes: bool,
}

impl Wanted {
    pub(crate) fn new(roles: &BTreeSet<Role>, intermediates: &BTreeSet<Intermediate>) -> Self {
        let text_roles = [Role::Text, Role::Prompt, Role::Response, Role::Messages];
        let tokens = intermediates.contains(&Intermediate::Tokens);
        Self {
            label: roles.contains(&Role::Label),
            source: roles.contains(&Role::Source),
            time: roles.contains(&Role::Time),
            numeric: roles.contains(&Role::Numeric),
            categorical: roles.contains(&Role::Categorical),
            texts: tokens || text_roles.iter().any(|role| roles.contains(role)),
            embedding: roles.contains(&Role::Embedding),
            probabilities: roles.contains(&Role::Probabilities),
            recorded: roles.contains(&Role::ContentHash),
            images: roles.contains(&Role::Image),
            urls: roles.contains(&Role::Url),
            tokens,
            content_hashes: intermediates.contains(&Intermediate::ContentHashes),
        }
    }

    /// The columns to read, ascending.
    pub(crate) fn columns(&self, layout: &Layout) -> Vec<usize> {
        let mut columns = BTreeSet::new();
        let single = [
            (self.label, layout.label),
            (self.source, layout.source),
            (self.time, layout.time),
            (self.embedding, layout.embedding),
            (self.probabilities, layout.probabilities),
        ];
        columns.extend(
            single
                .into_iter()
                .filter_map(|(wanted, column)| column.filter(|_| wanted)),
        );
        if self.numeric {
            columns.extend(&layout.numeric);
        }
        if self.categorical {
            columns.extend(&layout.categorical);
        }
        if self.texts || (self.embedding && layout.embedded_texts) {
            columns.extend(layout.texts.iter().map(|(column, _)| column));
        }
        if self.recorded {
            columns.extend(&layout.recorded);
        }
        if self.images {
            columns.extend(&layout.images);
        }
        if self.urls {
            columns.extend(&layout.urls);
        }
        if self.content_hashes {
            columns.extend(&layout.content);
        }
        columns.into_iter().collect()
    }
}

/// Rows of vectors, borrowed from Arrow where the layout allows it.
enum Vectors {
    Owned(Array2<f32>),
    Borrowed(Float32Array, usize),
}

impl Vectors {
    fn view(&self) -> Option<ArrayView2<'_, f32>> {
        match self {
            Self::Owned(array) => Some(array.view()),
            Self::Borrowed(values, dim) => {
                ArrayView2::from_shape((values.len() / dim, *dim), values.values()).ok()
            }
        }
    }
}

/// A batch with everything a pass needs, owned.
pub(crate) struct Assembled {
    first_row: u64,
    keys: Vec<u64>,
    labels: Option<Vec<u32>>,
    sources: Option<Vec<u32>>,
    times: Option<Vec<i64>>,
    texts: Vec<TextField>,
    numeric: Option<Array2<f64>>,
    categorical: Vec<Vec<u64>>,
    embedding: Option<Vectors>,
    given_probabilities: Option<Vectors>,
    /// Filled here (tokens, content hashes) and by the feature model.
    pub(crate) derived: Derived,
}

impl Assembled {
    /// Adds what the feature model derived.
    pub(crate) fn complete(&mut self, derived: Derived) {
        self.derived.features = derived.features;
        self.derived.probabilities = derived.probabilities;
        self.derived.neighbors = derived.neighbors;
        self.derived.all_neighbors = derived.all_neighbors;
    }

    pub(crate) fn view<'a>(&'a self, derived: &'a Derived) -> Batch<'a> {
        Batch {
            first_row: self.first_row,
            keys: &self.keys,
            labels: self.labels.as_deref(),
            sources: self.sources.as_deref(),
            times: self.times.as_deref(),
            texts: &self.texts,
            numeric: self.numeric.as_ref().map(Array2::view),
            categorical: &self.categorical,
            embedding: self.embedding.as_ref().and_then(Vectors::view),
            given_probabilities: self.given_probabilities.as_ref().and_then(Vectors::view),
            derived,
        }
    }
}

/// Turns batches of one dataset into [`Assembled`] ones.
pub(crate) struct Assembler {
    pub(crate) schema: SchemaRef,
    pub(crate) layout: Layout,
    pub(crate) facts: Arc<DataFacts>,
    /// Class index by the label's text.
    pub(crate) classes: HashMap<String, u32>,
    /// Source index by name.
    pub(crate) sources: HashMap<String, u32>,
    /// Makes the vectors where no column has them.
    pub(crate) embedded: Option<EmbeddedTexts>,
}

impl Assembler {
    /// Assembles `batch`, which holds `columns` of the full schema in this order.
    pub(crate) fn assemble(
        &self,
        wanted: &Wanted,
        batch: &RecordBatch,
        columns: &[usize],
        first_row: u64,
        keys: Vec<u64>,
    ) -> Result<Assembled, ArrowError> {
        let column = |idx: usize| -> Option<&ArrayRef> {
            let position = columns.binary_search(&idx).ok()?;
            Some(batch.column(position))
        };
        let when = |wanted: bool, idx: Option<usize>| idx.filter(|_| wanted).and_then(column);
        let labels = when(wanted.label, self.layout.label)
            .map(|array| indices(array, &self.classes))
            .transpose()?;
        let sources = when(wanted.source, self.layout.source)
            .map(|array| indices(array, &self.sources))
            .transpose()?;
        let times = when(wanted.time, self.layout.time)
            .map(microseconds)
            .transpose()?;
        let texts = if wanted.texts {
            self.texts(&column)?
        } else {
            Vec::new()
        };
        let tokens: Vec<Tokens> = if wanted.tokens {
            texts.par_iter().map(lazaretto_features::tokenize).collect()
        } else {
            Vec::new()
        };
        let numeric = if wanted.numeric && !self.layout.numeric.is_empty() {
            let arrays = self.layout.numeric.iter().filter_map(|&idx| column(idx));
            let arrays: Vec<&ArrayRef> = arrays.collect();
            Some(numeric(arrays.into_iter(), batch.num_rows())?)
        } else {
            None
        };
        let categories: Vec<LargeStringArray> = if wanted.categorical {
            let arrays = self
                .layout
                .categorical
                .iter()
                .filter_map(|&idx| column(idx));
            arrays.map(strings).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        let categorical = categories.iter().map(hashed).collect();
        let dim = self.facts.embedding_dim;
        let embedding = match &self.embedded {
            Some(embedded) if wanted.embedding => {
                let read = || self.texts(&column);
                let rows = embedded.rows(first_row, batch.num_rows(), read)?;
                Some(Vectors::Owned(rows))
            }
            _ => when(wanted.embedding, self.layout.embedding)
                .zip(dim)
                .map(|(array, dim)| vectors(array, dim))
                .transpose()?,
        };
        let given_probabilities = when(wanted.probabilities, self.layout.probabilities)
            .zip(self.facts.probabilities_dim)
            .map(|(array, dim)| vectors(array, dim))
            .transpose()?;
        let content_hashes = if wanted.content_hashes {
            let content = self.layout.content.iter().filter_map(|&idx| column(idx));
            content_hashes(content, batch.num_rows())?
        } else {
            Vec::new()
        };
        let recorded = if wanted.recorded {
            let arrays = self.layout.recorded.iter().filter_map(|&idx| column(idx));
            arrays
                .map(|array| strings(array).map(Recorded))
                .collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        Ok(Assembled {
            first_row,
            keys,
            labels,
            sources,
            times,
            texts,
            numeric,
            categorical,
            embedding,
            given_probabilities,
            derived: Derived {
                tokens,
                content_hashes,
                categories,
                recorded,
                urls: self.urls(wanted, &column)?,
                blobs: self.blobs(wanted, &column)?,
                ..Derived::default()
            },
        })
    }

    fn blobs<'a>(
        &self,
        wanted: &Wanted,
        column: &impl Fn(usize) -> Option<&'a ArrayRef>,
    ) -> Result<Vec<Blobs>, ArrowError> {
        let columns = self.layout.images.iter().filter(|_| wanted.images);
        let arrays = columns.filter_map(|&idx| {
            let name = self.schema.field(idx).name().clone();
            Some((name, column(idx)?))
        });
        arrays
            .map(|(name, array)| Ok(bytes(array)?.map(|values| Blobs { name, values })))
            .filter_map(Result::transpose)
            .collect()
    }

    fn urls<'a>(
        &self,
        wanted: &Wanted,
        column: &impl Fn(usize) -> Option<&'a ArrayRef>,
    ) -> Result<Vec<LargeStringArray>, ArrowError> {
        let columns = self.layout.urls.iter().filter(|_| wanted.urls);
        let arrays = columns.filter_map(|&idx| column(idx));
        arrays.map(strings).collect()
    }

    fn texts<'a>(
        &self,
        column: &impl Fn(usize) -> Option<&'a ArrayRef>,
    ) -> Result<Vec<TextField>, ArrowError> {
        let mut fields = Vec::new();
        for &(idx, part) in &self.layout.texts {
            let Some(array) = column(idx) else { continue };
            let name = self.schema.field(idx).name();
            let is_worse = is_worse(&self.schema, &self.layout, idx);
            if is_chat(array.data_type()) {
                let (prompts, responses) = chat(array)?;
                let answer = if is_worse {
                    TextPart::Rejected
                } else {
                    TextPart::Response
                };
                for (suffix, part, values) in [
                    ("prompt", TextPart::Prompt, prompts),
                    ("response", answer, responses),
                ] {
                    fields.push(TextField {
                        name: format!("{name}/{suffix}"),
                        part,
                        values,
                    });
                }
            } else {
                let worse = is_worse && part == TextPart::Response;
                fields.push(TextField {
                    name: name.clone(),
                    part: if worse { TextPart::Rejected } else { part },
                    values: texts(array)?,
                });
            }
        }
        Ok(fields)
    }
}

/// Whether the text column `idx` holds the worse of two answers to each prompt. One of a pair is named for
/// what it is; on its own it is an answer.
fn is_worse(schema: &SchemaRef, layout: &Layout, idx: usize) -> bool {
    let answers = layout.texts.iter().filter(|&&(idx, part)| {
        part == TextPart::Response || is_chat(schema.field(idx).data_type())
    });
    let name = schema.field(idx).name();
    name.eq_ignore_ascii_case("rejected") && answers.count() > 1
}

/// Names of the text fields that [`Assembler::assemble`] makes.
pub(crate) fn text_field_names(schema: &SchemaRef, layout: &Layout) -> Vec<String> {
    let mut names = Vec::new();
    for &(idx, _) in &layout.texts {
        let field = schema.field(idx);
        if is_chat(field.data_type()) {
            names.extend(["prompt", "response"].map(|part| format!("{}/{part}", field.name())));
        } else {
            names.push(field.name().clone());
        }
    }
    names
}

/// The column as strings.
pub(crate) fn strings(array: &ArrayRef) -> Result<LargeStringArray, ArrowError> {
    Ok(cast(array, &DataType::LargeUtf8)?
        .as_string::<i64>()
        .clone())
}

/// The bytes of a column of encoded images, plain or as a struct with the field `bytes`; `None`
/// where it holds something else.
fn bytes(array: &ArrayRef) -> Result<Option<LargeBinaryArray>, ArrowError> {
    let array = match array.as_struct_opt() {
        Some(fields) => match fields.column_by_name("bytes") {
            Some(bytes) => bytes,
            None => return Ok(None),
        },
        None => array,
    };
    match array.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let array = cast(array, &DataType::LargeBinary)?;
            Ok(Some(array.as_binary::<i64>().clone()))
        }
        _ => Ok(None),
    }
}

/// Index of each value in `known`, [`NO_LABEL`] where null or unknown.
fn indices(array: &ArrayRef, known: &HashMap<String, u32>) -> Result<Vec<u32>, ArrowError> {
    let values = strings(array)?;
    let index = |value: Option<&str>| {
        value
            .and_then(|value| known.get(value).copied())
            .unwrap_or(NO_LABEL)
    };
    Ok(values.iter().map(index).collect())
}

fn numeric<'a>(
    arrays: impl ExactSizeIterator<Item = &'a ArrayRef>,
    n_rows: usize,
) -> Result<Array2<f64>, ArrowError> {
    let n_columns = arrays.len();
    let mut values = Vec::with_capacity(n_columns * n_rows);
    for array in arrays {
        // Single precision, the most frequent type of wide tables, is widened without a copy in between.
        if let Some(singles) = array.as_primitive_opt::<Float32Type>()
            && singles.null_count() == 0
        {
            values.extend(singles.values().iter().copied().map(f64::from));
            continue;
        }
        let floats = as_f64(array)?;
        let floats = floats.as_primitive::<Float64Type>();
        if floats.null_count() == 0 {
            values.extend_from_slice(floats.values());
        } else {
            values.extend(floats.iter().map(|value| value.unwrap_or(f64::NAN)));
        }
    }
    Array2::from_shape_vec((n_rows, n_columns).f(), values)
        .map_err(|error| ArrowError::ComputeError(error.to_string()))
}

/// Numbers, booleans, dates, times and durations as f64, each in its own unit.
fn as_f64(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let temporal_bits = match array.data_type() {
        DataType::Date32 | DataType::Time32(_) => Some(DataType::Int32),
        DataType::Date64
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_) => Some(DataType::Int64),
        _ => None,
    };
    match temporal_bits {
        Some(integers) => cast(&cast(array, &integers)?, &DataType::Float64),
        None => cast(array, &DataType::Float64),
    }
}

fn hashed(values: &LargeStringArray) -> Vec<u64> {
    // 0 is for null; a hash of 0 becomes 1.
    let hash = |value: Option<&str>| value.map_or(0, |value| xxh3_64(value.as_bytes()).max(1));
    values.iter().map(hash).collect()
}

fn content_hashes<'a>(
    columns: impl Iterator<Item = &'a ArrayRef>,
    n_rows: usize,
) -> Result<Vec<u128>, ArrowError> {
    let mut hasher = RowHasher::new(columns)?;
    let short = |row| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.hash(row).0[..16]);
        u128::from_le_bytes(bytes)
    };
    Ok((0..n_rows).map(short).collect())
}

/// List columns as rows of `dim` numbers; a null or ragged row is all NaN.
fn vectors(array: &ArrayRef, dim: usize) -> Result<Vectors, ArrowError> {
    if let DataType::FixedSizeList(item, size) = array.data_type()
        && item.data_type() == &DataType::Float32
        && usize::try_from(*size) == Ok(dim)
    {
        let list = array.as_fixed_size_list();
        let values = list.values().as_primitive::<Float32Type>();
        if list.null_count() == 0 && values.null_count() == 0 {
            let start = list.value_offset(0) as usize;
            let values = values.slice(start, list.len() * dim);
            return Ok(Vectors::Borrowed(values, dim));
        }
    }
    let lists = match array.data_type() {
        DataType::LargeList(_) => Arc::clone(array),
        DataType::FixedSizeList(item, _) | DataType::List(item) => {
            cast(array, &DataType::LargeList(Arc::clone(item)))?
        }
        other => {
            return Err(ArrowError::CastError(format!(
                "{other} is no list of numbers"
            )));
        }
    };
    let lists = lists.as_list::<i64>();
    let values = cast(lists.values(), &DataType::Float32)?;
    let values = values.as_primitive::<Float32Type>();
    let mut rows = Array2::from_elem((lists.len(), dim), f32::NAN);
    for (row, mut target) in rows.rows_mut().into_iter().enumerate() {
        let start = lists.value_offsets()[row] as usize;
        let end = lists.value_offsets()[row + 1] as usize;
        if lists.is_valid(row) && end - start == dim {
            for (target, idx) in target.iter_mut().zip(start..end) {
                if values.is_valid(idx) {
                    *target = values.value(idx);
                }
            }
        }
    }
    Ok(Vectors::Owned(rows))
}

/// Whether the type is a list of chat turns.
pub(crate) fn is_chat(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => {
            matches!(item.data_type(), DataType::Struct(_))
        }
        _ => false,
    }
}

fn large_list(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::List(item) => cast(array, &DataType::LargeList(Arc::clone(item))),
        _ => Ok(Arc::clone(array)),
    }
}

/// Strings, or lists of strings joined by line breaks.
pub(crate) fn texts(array: &ArrayRef) -> Result<LargeStringArray, ArrowError> {
    if !matches!(
        array.data_type(),
        DataType::List(_) | DataType::LargeList(_)
    ) {
        return strings(array);
    }
    let lists = large_list(array)?;
    let lists = lists.as_list::<i64>();
    let values = strings(lists.values())?;
    let mut builder = LargeStringBuilder::new();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            builder.append_null();
            continue;
        }
        let range = lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize;
        let parts: Vec<_> = range
            .filter(|&idx| values.is_valid(idx))
            .map(|idx| values.value(idx))
            .collect();
        builder.append_value(parts.join("\n"));
    }
    Ok(builder.finish())
}

/// Splits chat turns into what was said to the model and what the model answered.
pub(crate) fn chat(array: &ArrayRef) -> Result<(LargeStringArray, LargeStringArray), ArrowError> {
    let lists = large_list(array)?;
    let lists = lists.as_list::<i64>();
    let turns = lists.values().as_struct();
    let field = |names: [&str; 2]| {
        names
            .into_iter()
            .find_map(|name| turns.column_by_name(name))
            .ok_or_else(|| {
                ArrowError::SchemaError(format!(
                    "chat turns need a field `{}` or `{}`",
                    names[0], names[1]
                ))
            })
    };
    let speakers = strings(field(["role", "from"])?)?;
    let contents = field(["content", "value"])?;
    let contents = match contents.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => strings(contents)?,
        // Content parts, as in multi-modal chats: their texts, or all of it as it is displayed.
        _ => match part_texts(contents)? {
            Some(contents) => contents,
            None => displayed(&make_array(contents.to_data()))?,
        },
    };
    let mut prompts = LargeStringBuilder::new();
    let mut responses = LargeStringBuilder::new();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            prompts.append_null();
            responses.append_null();
            continue;
        }
        let range = lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize;
        let (mut prompt, mut response) = (Vec::new(), Vec::new());
        for idx in range.filter(|&idx| contents.is_valid(idx)) {
            let answer = speakers.is_valid(idx)
                && matches!(speakers.value(idx), "assistant" | "gpt" | "model" | "bot");
            let side = if answer { &mut response } else { &mut prompt };
            side.push(contents.value(idx));
        }
        prompts.append_value(prompt.join("\n"));
        responses.append_value(response.join("\n"));
    }
    Ok((prompts.finish(), responses.finish()))
}

/// The `text` fields of lists of content parts; `None` where the parts have none.
fn part_texts(array: &ArrayRef) -> Result<Option<LargeStringArray>, ArrowError> {
    let (DataType::List(item) | DataType::LargeList(item)) = array.data_type() else {
        return Ok(None);
    };
    if !matches!(item.data_type(), DataType::Struct(fields) if fields.find("text").is_some()) {
        return Ok(None);
    }
    let lists = large_list(array)?;
    let lists = lists.as_list::<i64>();
    let parts = lists.values().as_struct();
    let Some(values) = parts.column_by_name("text") else {
        return Ok(None);
    };
    let list = LargeListArray::new(
        Arc::new(Field::new("item", values.data_type().clone(), true)),
        lists.offsets().clone(),
        Arc::clone(values),
        lists.nulls().cloned(),
    );
    texts(&(Arc::new(list) as ArrayRef)).map(Some)
}

fn displayed(array: &ArrayRef) -> Result<LargeStringArray, ArrowError> {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let options = FormatOptions::new().with_display_error(true);
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
    Ok((0..array.len())
        .map(|row| {
            array
                .is_valid(row)
                .then(|| formatter.value(row).to_string())
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Date32Array, FixedSizeListArray, Float16Array, Int32Array, ListArray,
        StringArray,
    };
    use arrow::datatypes::{Field, Fields, Float64Type, Schema};
    use half::f16;

    use super::*;

    #[test]
    fn numbers_of_all_kinds_become_columns_in_order() {
        let arrays: [ArrayRef; 4] = [
            Arc::new(Int32Array::from(vec![Some(1), None])),
            Arc::new(BooleanArray::from(vec![true, false])),
            Arc::new(Date32Array::from(vec![10, 20])),
            Arc::new(Float16Array::from(vec![f16::from_f32(0.5), f16::NAN])),
        ];
        let matrix = numeric(arrays.iter(), 2).unwrap();
        assert_eq!(matrix.dim(), (2, 4));
        assert_eq!(matrix.row(0).to_vec(), [1.0, 1.0, 10.0, 0.5]);
        assert!(matrix[[1, 0]].is_nan() && matrix[[1, 3]].is_nan());
        assert!((matrix[[1, 2]] - 20.0).abs() < f64::EPSILON);
    }

    #[test]
    fn vectors_borrow_when_they_can_and_mark_ragged_rows() {
        let fixed: ArrayRef = Arc::new(
            FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
                (0..3).map(|row| Some(vec![Some(row as f32), Some(1.0)])),
                2,
            ),
        );
        let sliced = fixed.slice(1, 2);
        let borrowed = vectors(&sliced, 2).unwrap();
        assert!(matches!(borrowed, Vectors::Borrowed(..)));
        assert_eq!(borrowed.view().unwrap().row(0).to_vec(), [1.0, 1.0]);
        let ragged: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>([
            Some(vec![Some(1.0), Some(2.0)]),
            Some(vec![Some(1.0)]),
            None,
        ]));
        let owned = vectors(&ragged, 2).unwrap();
        let view = owned.view().unwrap();
        assert_eq!(view.row(0).to_vec(), [1.0, 2.0]);
        assert!(
            view.row(1)
                .iter()
                .chain(view.row(2))
                .all(|value| value.is_nan())
        );
    }

    #[test]
    fn of_two_answers_the_rejected_one_is_the_worse() {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        let names = ["prompt", "chosen", "Rejected"];
        let schema: SchemaRef = Arc::new(Schema::new(names.map(text).to_vec()));
        let pairs = Layout::new(&[Role::Prompt, Role::Response, Role::Response], 3);
        let worse = |layout: &Layout| (0..3).map(|idx| is_worse(&schema, layout, idx)).collect();
        let of_pairs: Vec<bool> = worse(&pairs);
        assert_eq!(of_pairs, [false, false, true]);
        let alone = Layout::new(&[Role::Prompt, Role::Other, Role::Response], 3);
        let of_single: Vec<bool> = worse(&alone);
        assert_eq!(of_single, [false; 3]);
    }

    #[test]
    fn content_parts_are_their_texts() {
        let fields = Fields::from(vec![
            Field::new("type", DataType::Utf8, true),
            Field::new("text", DataType::Utf8, true),
        ]);
        let parts = arrow::array::StructArray::new(
            fields.clone(),
            vec![
                Arc::new(StringArray::from(vec!["text", "image", "text"])),
                Arc::new(StringArray::from(vec![Some("look"), None, Some("here")])),
            ],
            None,
        );
        let contents: ArrayRef = Arc::new(ListArray::new(
            Arc::new(Field::new("item", DataType::Struct(fields), true)),
            arrow::buffer::OffsetBuffer::from_lengths([3, 0]),
            Arc::new(parts),
            None,
        ));
        let texts = part_texts(&contents).unwrap().unwrap();
        assert_eq!(texts.value(0), "look\nhere");
        assert_eq!(texts.value(1), "");
        assert!(
            part_texts(&(Arc::new(StringArray::from(vec!["x"])) as ArrayRef))
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn chats_split_by_speaker() {
        let fields = Fields::from(vec![
            Field::new("from", DataType::Utf8, true),
            Field::new("value", DataType::Utf8, true),
        ]);
        let turns = arrow::array::StructArray::new(
            fields.clone(),
            vec![
                Arc::new(StringArray::from(vec!["system", "human", "gpt", "human"])),
                Arc::new(StringArray::from(vec!["be kind", "hi", "hello", "bye"])),
            ],
            None,
        );
        let chats: ArrayRef = Arc::new(ListArray::new(
            Arc::new(Field::new("item", DataType::Struct(fields), true)),
            arrow::buffer::OffsetBuffer::from_lengths([3, 1]),
            Arc::new(turns),
            None,
        ));
        let (prompts, responses) = chat(&chats).unwrap();
        assert_eq!(prompts.value(0), "be kind\nhi");
        assert_eq!(responses.value(0), "hello");
        assert_eq!(prompts.value(1), "bye");
        assert_eq!(responses.value(1), "");
    }
}
