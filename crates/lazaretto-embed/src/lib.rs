//! Vectors of texts from a model in a local folder.
//!
//! [`load`] looks at a folder, reads its files once, holds them to the digests that the user pinned
//! and gives an [`Embedder`]: static embeddings (the mean of a text's token vectors, as `Model2Vec`,
//! `WordLlama` and sentence-transformers' `StaticEmbedding` write them) or a sentence model in ONNX.
//! Both are behind cargo features, `static` and `onnx`; without them a folder is recognised and
//! refused with what to build.
//!
//! The vector of a text depends on the text alone: each goes through the model by itself, so neither
//! batches nor threads can show. It has unit length.
//!
//! What is absent on purpose: downloads, model names, pickles, GPUs, and batches that pad.

mod error;
#[cfg_attr(
    not(feature = "onnx"),
    expect(
        dead_code,
        reason = "other kinds of models need less of it, and none nothing"
    )
)]
mod folder;
#[cfg(feature = "static")]
mod mean;
#[cfg(feature = "onnx")]
mod onnx;
#[cfg(any(feature = "static", feature = "onnx"))]
mod texts;

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array2;

pub use error::EmbedError;
use folder::Folder;

/// Turns texts into vectors.
pub trait Embedder: Send + Sync {
    /// Length of the vectors.
    fn dim(&self) -> usize;

    /// Tokens of a text that are looked at; the rest of it has no say.
    fn max_tokens(&self) -> usize;

    /// The kind of model in words.
    fn method(&self) -> &'static str;

    /// One vector of unit length per text, `n_texts × dim`; all NaN for a text without a known
    /// token. A row depends on its text alone. Uses the threads of the current rayon pool.
    ///
    /// # Errors
    /// When a text cannot be tokenised or the model fails.
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, EmbedError>;
}

/// What to load.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The model's folder.
    pub folder: &'a Path,
    /// SHA-256 in hexadecimal by file name, for the files that are pinned.
    pub sha256: &'a BTreeMap<String, String>,
    /// The ONNX Runtime library, which an ONNX model needs.
    pub runtime: Option<&'a Path>,
    /// Bytes that the model may take.
    pub max_bytes: u64,
}

/// A file that a model was loaded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// Its name in the folder, `/` between components.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// A loaded model.
pub struct Model {
    /// Makes the vectors.
    pub embedder: Box<dyn Embedder>,
    /// The files it is made of, sorted by name.
    pub files: Vec<ModelFile>,
}

/// Loads the model in a folder.
///
/// # Errors
/// When a file is missing, is not what was pinned, is a pickle or does not have the shape of its
/// kind; when the model is too large; and when this build cannot run models of its kind.
pub fn load(request: &Request<'_>) -> Result<Model, EmbedError> {
    let mut folder = Folder::open(request)?;
    Ok(Model {
        embedder: embedder(&mut folder)?,
        files: folder.finish()?,
    })
}

fn embedder(folder: &mut Folder<'_>) -> Result<Box<dyn Embedder>, EmbedError> {
    let kind = folder.kind();
    #[cfg(feature = "static")]
    if kind == folder::Kind::Static {
        return Ok(Box::new(mean::MeanOfTokens::load(folder)?));
    }
    #[cfg(feature = "onnx")]
    if kind == folder::Kind::Onnx {
        return Ok(Box::new(onnx::SentenceModel::load(folder)?));
    }
    Err(EmbedError::NotBuilt { kind: kind.name() })
}
