//! Static embeddings: the vector of a text is the mean of its tokens' vectors.
//!
//! The layouts in use differ in names only: `Model2Vec` has a table `embeddings`, and where it is
//! compressed a `mapping` from tokens to its rows and `weights` per token; `WordLlama` and
//! `StaticEmbedding` have `embedding.weight`, a row per token. A token that the tokeniser names as the
//! unknown one is left out, as `Model2Vec` does.

use half::{bf16, f16};
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::Embedder;
use crate::error::EmbedError;
use crate::folder::Folder;
use crate::texts::{NAME as TOKENIZER, TextTokenizer, normalise};

/// Tokens of a text that are looked at, as in `Model2Vec`.
const MAX_TOKENS: usize = 512;
/// Names of the table.
const TABLES: [&str; 2] = ["embeddings", "embedding.weight"];
/// Tensor names that an error tells, at most.
const MAX_NAMED: usize = 5;

/// A table of token vectors.
pub(crate) struct MeanOfTokens {
    tokenizer: TextTokenizer,
    unknown: Option<u32>,
    table: Array2<f32>,
    /// Row of the table by token id; the id itself where there is none.
    rows: Option<Vec<u32>>,
    /// Weight by token id; all weigh the same where there is none.
    weights: Option<Vec<f32>>,
}

impl MeanOfTokens {
    pub(crate) fn load(folder: &mut Folder<'_>) -> Result<Self, EmbedError> {
        let model = folder.model();
        let bytes = folder.read(model)?;
        let shape = |problem: String| EmbedError::Shape {
            file: model.to_owned(),
            problem,
        };
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| shape(format!("is no safetensors file: {error}")))?;
        let table = table_of(&tensors).map_err(shape)?;
        folder.check_size(4 * table.len() as u64)?;
        let optional = |name: &str| tensors.tensor(name).ok();
        let rows = optional("mapping")
            .map(|tensor| row_numbers(&tensor, table.nrows()))
            .transpose()
            .map_err(shape)?;
        let weights = optional("weights")
            .map(|tensor| flat("weights", &tensor))
            .transpose()
            .map_err(shape)?;
        let (tokenizer, file) = TextTokenizer::load(folder, None)?;
        let n_ids = tokenizer.n_ids();
        let lengths = [
            (
                "row in the table",
                rows.as_ref().map_or(table.nrows(), Vec::len),
            ),
            ("weight", weights.as_ref().map_or(n_ids, Vec::len)),
        ];
        for (what, length) in lengths {
            if length < n_ids {
                return Err(shape(format!(
                    "has a {what} for {length} tokens, `{TOKENIZER}` has {n_ids}"
                )));
            }
        }
        Ok(Self {
            unknown: tokenizer.unknown(&file),
            tokenizer,
            table,
            rows,
            weights,
        })
    }

    /// Writes the vector of one text.
    fn embed_one(&self, text: &str, vector: &mut [f32]) -> Result<(), EmbedError> {
        vector.fill(0.0);
        let ids = self.tokenizer.ids(text)?.into_iter();
        for id in ids.filter(|&id| Some(id) != self.unknown).take(MAX_TOKENS) {
            let id = id as usize;
            let row = self.rows.as_ref().map_or(id, |rows| rows[id] as usize);
            let weight = self.weights.as_ref().map_or(1.0, |weights| weights[id]);
            for (sum, &value) in vector.iter_mut().zip(self.table.row(row)) {
                *sum += weight * value;
            }
        }
        // A mean has the direction of the sum.
        normalise(vector);
        Ok(())
    }
}

impl Embedder for MeanOfTokens {
    fn dim(&self) -> usize {
        self.table.ncols()
    }

    fn max_tokens(&self) -> usize {
        MAX_TOKENS
    }

    fn method(&self) -> &'static str {
        "mean of static token vectors"
    }

    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, EmbedError> {
        let mut vectors = Array2::zeros((texts.len(), self.dim()));
        vectors
            .axis_chunks_iter_mut(Axis(0), 1)
            .into_par_iter()
            .zip(texts)
            .try_for_each(|(mut row, text)| match row.as_slice_mut() {
                Some(vector) => self.embed_one(text, vector),
                None => Ok(()),
            })?;
        Ok(vectors)
    }
}

/// The table of token vectors.
fn table_of(tensors: &SafeTensors<'_>) -> Result<Array2<f32>, String> {
    let named = TABLES
        .into_iter()
        .find_map(|name| Some((name, tensors.tensor(name).ok()?)));
    let Some((name, tensor)) = named else {
        return Err(format!(
            "has no table of token vectors, only {}",
            listed(tensors)
        ));
    };
    let &[n_rows, dim] = tensor.shape() else {
        let shape = tensor.shape();
        return Err(format!(
            "has `{name}` with shape {shape:?}, not tokens × dimensions"
        ));
    };
    if n_rows == 0 || dim == 0 {
        return Err(format!(
            "has `{name}` with shape {n_rows} × {dim}, which is empty"
        ));
    }
    let values = numbers(name, &tensor)?;
    if values.iter().any(|value| !value.is_finite()) {
        return Err(format!("has values in `{name}` that are not finite"));
    }
    Array2::from_shape_vec((n_rows, dim), values).map_err(|error| error.to_string())
}

/// A tensor of one dimension.
fn flat(name: &str, tensor: &TensorView<'_>) -> Result<Vec<f32>, String> {
    if tensor.shape().len() != 1 {
        let shape = tensor.shape();
        return Err(format!(
            "has `{name}` with shape {shape:?}, not a number per token"
        ));
    }
    numbers(name, tensor)
}

/// Rows of the table by token.
fn row_numbers(tensor: &TensorView<'_>, n_rows: usize) -> Result<Vec<u32>, String> {
    let data = tensor.data();
    let rows: Vec<i64> = match tensor.dtype() {
        Dtype::I32 => of(data, i32::from_le_bytes).map(i64::from).collect(),
        Dtype::I64 => of(data, i64::from_le_bytes).collect(),
        other => return Err(format!("has `mapping` of type {other}, not I32 or I64")),
    };
    let row = |row: i64| {
        u32::try_from(row)
            .ok()
            .filter(|&row| (row as usize) < n_rows)
    };
    rows.into_iter()
        .map(|number| {
            row(number).ok_or_else(|| {
                format!("has `mapping` to row {number} of a table with {n_rows} rows")
            })
        })
        .collect()
}

/// The values of a tensor.
fn numbers(name: &str, tensor: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let data = tensor.data();
    Ok(match tensor.dtype() {
        Dtype::F64 => of(data, f64::from_le_bytes)
            .map(|value| value as f32)
            .collect(),
        Dtype::F32 => of(data, f32::from_le_bytes).collect(),
        Dtype::F16 => of(data, f16::from_le_bytes).map(f16::to_f32).collect(),
        Dtype::BF16 => of(data, bf16::from_le_bytes).map(bf16::to_f32).collect(),
        // Quantised with one scale for the whole table, which the direction does not show.
        Dtype::I8 => of(data, i8::from_le_bytes).map(f32::from).collect(),
        other => {
            return Err(format!(
                "has `{name}` of type {other}, not F64, F32, F16, BF16 or I8"
            ));
        }
    })
}

fn of<const N: usize, T>(data: &[u8], value: impl Fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    data.as_chunks::<N>()
        .0
        .iter()
        .map(move |&bytes| value(bytes))
}

/// The names of some tensors.
fn listed(tensors: &SafeTensors<'_>) -> String {
    let mut names: Vec<&str> = tensors.names();
    names.sort_unstable();
    let mut listed: Vec<String> = names
        .iter()
        .take(MAX_NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > MAX_NAMED {
        listed.push("…".to_owned());
    }
    listed.join(", ")
}
