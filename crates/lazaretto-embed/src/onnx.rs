//! Sentence models in ONNX, run by the ONNX Runtime library that the user names.
//!
//! A text goes through the model by itself: a batch would have to be padded, and quantised models
//! scale by the largest value of a batch, so that a text's vector would depend on its neighbours. One
//! thread works on a text, which makes the order of sums fixed; the cores are used over texts, with
//! one session for each thread that is at work.

use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, Axis};
use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{Tensor, TensorElementType, ValueType};
use rayon::prelude::*;
use serde::Deserialize;

use crate::Embedder;
use crate::error::EmbedError;
use crate::folder::Folder;
use crate::texts::{TextTokenizer, normalise};

/// Tokens of a text that are looked at when the model does not say.
const DEFAULT_TOKENS: usize = 256;
/// Tokens of a text that are looked at, at most.
const MAX_TOKENS: usize = 512;
/// How sentence-transformers writes a model's length, and how its tokens become one vector.
const LENGTH: &str = "sentence_bert_config.json";
const POOLING: &str = "1_Pooling/config.json";

/// Inputs that a model may have, all `1 × tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Ids,
    Mask,
    Types,
}

/// How a text's token vectors become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pooling {
    Mean,
    First,
}

/// A sentence model.
pub(crate) struct SentenceModel {
    tokenizer: TextTokenizer,
    max_tokens: usize,
    environment: Environment,
    model: Vec<u8>,
    inputs: Vec<(String, Input)>,
    output: String,
    pooling: Pooling,
    dim: usize,
    /// Sessions that nobody uses at the moment.
    idle: Mutex<Vec<Session>>,
}

impl SentenceModel {
    pub(crate) fn load(folder: &mut Folder<'_>) -> Result<Self, EmbedError> {
        let file = folder.model();
        let model = folder.read(file)?;
        // A session keeps its own copy of the weights.
        let copies = rayon::current_num_threads() as u64 + 1;
        folder.check_size(copies * model.len() as u64)?;
        let max_tokens = max_tokens(folder)?;
        let pooling = pooling(folder)?;
        let (tokenizer, _) = TextTokenizer::load(folder, Some(max_tokens))?;
        let environment = environment(folder)?;
        let shape = |problem: String| EmbedError::Shape {
            file: file.to_owned(),
            problem,
        };
        let session = start(&environment, &model)
            .map_err(|error| shape(format!("cannot be loaded: {error}")))?;
        let inputs = inputs_of(&session).map_err(shape)?;
        let output = output_of(&session).map_err(shape)?;
        let mut sentences = Self {
            tokenizer,
            max_tokens,
            environment,
            model,
            inputs,
            output,
            pooling,
            dim: 0,
            idle: Mutex::new(vec![session]),
        };
        // What a model says about its shapes may be open; what it gives is not.
        sentences.dim = sentences
            .vector("a")
            .map_err(|error| shape(format!("does not work: {error}")))?
            .len();
        Ok(sentences)
    }

    /// The vector of one text; empty without tokens.
    fn vector(&self, text: &str) -> Result<Vec<f32>, EmbedError> {
        let ids = self.tokenizer.ids(text)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let free = idle().pop();
        let failed = |error: ort::Error| EmbedError::Text(error.to_string());
        let mut session = match free {
            Some(session) => session,
            None => start(&self.environment, &self.model).map_err(failed)?,
        };
        let pooled = self.pooled(&mut session, &ids);
        idle().push(session);
        pooled
    }

    fn pooled(&self, session: &mut Session, ids: &[u32]) -> Result<Vec<f32>, EmbedError> {
        let failed = |error: ort::Error| EmbedError::Text(error.to_string());
        let shape = [1_usize, ids.len()];
        let mut values: Vec<(&str, SessionInputValue<'_>)> = Vec::new();
        for (name, input) in &self.inputs {
            let data: Vec<i64> = match input {
                Input::Ids => ids.iter().copied().map(i64::from).collect(),
                Input::Mask => vec![1; ids.len()],
                Input::Types => vec![0; ids.len()],
            };
            let tensor = Tensor::from_array((shape, data)).map_err(failed)?;
            values.push((name, tensor.into()));
        }
        let outputs = session.run(values).map_err(failed)?;
        let unexpected = || EmbedError::Text(format!("the model gave no `{}`", self.output));
        let output = outputs.get(&self.output).ok_or_else(unexpected)?;
        let (shape, data) = output.try_extract_tensor::<f32>().map_err(failed)?;
        let wrong = || {
            let shape: &[i64] = shape;
            EmbedError::Text(format!("`{}` has shape {shape:?}", self.output))
        };
        let mut vector = match **shape {
            [1, dim] if dim > 0 => data.to_vec(),
            [1, n, dim] if n as usize == ids.len() && dim > 0 => match self.pooling {
                Pooling::First => data[..dim as usize].to_vec(),
                Pooling::Mean => {
                    let mut sum = vec![0.0_f32; dim as usize];
                    for token in data.chunks_exact(dim as usize) {
                        sum.iter_mut().zip(token).for_each(|(sum, x)| *sum += x);
                    }
                    sum
                }
            },
            _ => return Err(wrong()),
        };
        if self.dim > 0 && vector.len() != self.dim {
            return Err(wrong());
        }
        normalise(&mut vector);
        Ok(vector)
    }
}

impl Embedder for SentenceModel {
    fn dim(&self) -> usize {
        self.dim
    }

    fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    fn method(&self) -> &'static str {
        match self.pooling {
            Pooling::Mean => "sentence model in ONNX, mean of its token vectors",
            Pooling::First => "sentence model in ONNX, vector of its first token",
        }
    }

    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, EmbedError> {
        let mut vectors = Array2::from_elem((texts.len(), self.dim), f32::NAN);
        vectors
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .zip(texts)
            .try_for_each(|(mut row, text)| {
                // The marks around nothing are no text.
                if !text.trim().is_empty() {
                    let vector = self.vector(text)?;
                    row.iter_mut()
                        .zip(vector)
                        .for_each(|(to, value)| *to = value);
                }
                Ok(())
            })?;
        Ok(vectors)
    }
}

/// The library of this process, by its digest: it cannot be unloaded, nor loaded twice.
static LIBRARY: Mutex<Option<(String, Environment)>> = Mutex::new(None);

/// Loads the library, unless an earlier model did.
fn environment(folder: &mut Folder<'_>) -> Result<Environment, EmbedError> {
    let path = folder.request().runtime.ok_or(EmbedError::NoRuntime)?;
    let name = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    // Held to its pin, and named in the report.
    folder.read_at(&name, path)?;
    let digest = folder.digest(&name);
    let failed = |problem: String| EmbedError::Runtime {
        file: name.clone(),
        problem,
    };
    let mut library = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((loaded, environment)) = &*library {
        return if *loaded == digest {
            Ok(environment.clone())
        } else {
            let problem = "another one is in use in this process";
            Err(failed(problem.to_owned()))
        };
    }
    // `ort` takes a relative path from the folder of the executable.
    let absolute = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
    let environment = ort::init_from(absolute)
        .map_err(|error| failed(error.to_string()))?
        .with_name("lazaretto")
        .with_telemetry(false)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    *library = Some((digest, environment.clone()));
    Ok(environment)
}

fn start(environment: &Environment, model: &[u8]) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_deterministic_compute(true)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .commit_from_memory(model)
}

/// The inputs in the model's order.
fn inputs_of(session: &Session) -> Result<Vec<(String, Input)>, String> {
    let known = [
        ("input_ids", Input::Ids),
        ("attention_mask", Input::Mask),
        ("token_type_ids", Input::Types),
    ];
    let mut inputs = Vec::new();
    for input in session.inputs() {
        let name = input.name();
        let Some((_, kind)) = known.iter().find(|(known, _)| *known == name) else {
            return Err(format!(
                "wants an input `{name}`; known are `input_ids`, `attention_mask` and `token_type_ids`"
            ));
        };
        if !has_type(input.dtype(), TensorElementType::Int64) {
            let found = input.dtype();
            return Err(format!("wants {found} as `{name}`, not 64-bit integers"));
        }
        inputs.push((name.to_owned(), *kind));
    }
    if inputs.iter().all(|(_, kind)| *kind != Input::Ids) {
        return Err("has no input `input_ids`".to_owned());
    }
    Ok(inputs)
}

/// The output with a text's vector, or else with its tokens'.
fn output_of(session: &Session) -> Result<String, String> {
    let outputs = session.outputs();
    let preferred = [
        "sentence_embedding",
        "last_hidden_state",
        "token_embeddings",
    ];
    let found = preferred
        .iter()
        .find_map(|name| outputs.iter().find(|output| output.name() == *name))
        .or(outputs.first())
        .ok_or("has no output")?;
    if !has_type(found.dtype(), TensorElementType::Float32) {
        let (name, dtype) = (found.name(), found.dtype());
        return Err(format!("gives {dtype} as `{name}`, not 32-bit floats"));
    }
    Ok(found.name().to_owned())
}

fn has_type(value: &ValueType, wanted: TensorElementType) -> bool {
    matches!(value, ValueType::Tensor { ty, .. } if *ty == wanted)
}

#[derive(Deserialize)]
struct LengthFile {
    max_seq_length: Option<usize>,
}

fn max_tokens(folder: &mut Folder<'_>) -> Result<usize, EmbedError> {
    let Some(bytes) = folder.read_if_there(LENGTH)? else {
        return Ok(DEFAULT_TOKENS);
    };
    let file: LengthFile = parsed(LENGTH, &bytes)?;
    Ok(file
        .max_seq_length
        .unwrap_or(DEFAULT_TOKENS)
        .clamp(8, MAX_TOKENS))
}

#[derive(Deserialize)]
struct PoolingFile {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
}

fn pooling(folder: &mut Folder<'_>) -> Result<Pooling, EmbedError> {
    let Some(bytes) = folder.read_if_there(POOLING)? else {
        return Ok(Pooling::Mean);
    };
    let file: PoolingFile = parsed(POOLING, &bytes)?;
    match (file.pooling_mode_mean_tokens, file.pooling_mode_cls_token) {
        (true, false) => Ok(Pooling::Mean),
        (false, true) => Ok(Pooling::First),
        _ => Err(EmbedError::Shape {
            file: POOLING.to_owned(),
            problem: "asks for another pooling than the mean or the first token".to_owned(),
        }),
    }
}

fn parsed<T: for<'de> Deserialize<'de>>(file: &str, bytes: &[u8]) -> Result<T, EmbedError> {
    serde_json::from_slice(bytes).map_err(|error| EmbedError::Shape {
        file: file.to_owned(),
        problem: format!("cannot be understood: {error}"),
    })
}
