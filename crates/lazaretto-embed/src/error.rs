//! Why a model cannot be used.

use thiserror::Error;

/// Why a model cannot be used; the messages go on after the name of its folder and a colon.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// A file could not be read.
    #[error("`{file}` cannot be read: {source}")]
    Read {
        /// Its name in the folder.
        file: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The folder holds no model.
    #[error("it holds neither `model.onnx` nor `model.safetensors`")]
    NoModel,
    /// The model is a pickle, whatever its name.
    #[error("`{file}` is a pickle, which can run any code; no pickle is ever loaded")]
    Pickle {
        /// Its name in the folder.
        file: String,
    },
    /// This build leaves models of this kind out.
    #[error("this build cannot run {} models", .kind)]
    NotBuilt {
        /// `static` or `onnx`, the cargo feature without its prefix.
        kind: &'static str,
    },
    /// A file is not the one that was pinned.
    #[error("`{file}` has sha256 {found}, pinned is {pinned}")]
    Digest {
        /// Its name in the folder.
        file: String,
        /// What the user gave.
        pinned: String,
        /// What it is.
        found: String,
    },
    /// A file is not what it should be.
    #[error("`{file}` {problem}")]
    Shape {
        /// Its name in the folder.
        file: String,
        /// What is wrong, a fragment that goes on after the name.
        problem: String,
    },
    /// The model needs more than it may take.
    #[error("the model takes {bytes} bytes, a quarter of the memory is {limit}")]
    TooLarge {
        /// What it takes.
        bytes: u64,
        /// What it may take.
        limit: u64,
    },
    /// An ONNX model without a library to run it.
    #[error("an ONNX model needs the ONNX Runtime library, and none was named")]
    NoRuntime,
    /// The library cannot be used.
    #[error("the ONNX Runtime library `{file}` cannot be used: {problem}")]
    Runtime {
        /// Its file name.
        file: String,
        /// What it said.
        problem: String,
    },
    /// A text could not be embedded.
    #[error("embed a text: {0}")]
    Text(String),
}

impl EmbedError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { .. } | Self::NoModel => {
                "give the folder of a model with `tokenizer.json` and `model.safetensors` (static embeddings) or `model.onnx`".to_owned()
            }
            Self::Pickle { .. } => {
                "give the model as safetensors or ONNX; most are published in one of them".to_owned()
            }
            Self::NotBuilt { kind } => {
                format!("build the command with it: `cargo build --release --features embed-{kind}`")
            }
            Self::Digest { .. } => {
                "the file has changed since it was pinned: get the pinned one back, or look at the new one and pin that".to_owned()
            }
            Self::Shape { .. } => {
                "static models have a table `embeddings` or `embedding.weight` with a row per token of `tokenizer.json`; transformers are needed in ONNX".to_owned()
            }
            Self::TooLarge { .. } => "raise `--memory`, or give a smaller model".to_owned(),
            Self::NoRuntime | Self::Runtime { .. } => {
                "name the library (version 1.20 or later) in the pipeline as `embedder.runtime`, or in the environment as `ORT_DYLIB_PATH`".to_owned()
            }
            Self::Text(_) => "leave `--embedder` out, or give another model".to_owned(),
        }
    }
}
