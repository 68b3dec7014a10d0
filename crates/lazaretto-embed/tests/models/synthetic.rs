//! Tiny models, written by the test that needs them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use lazaretto_embed::{EmbedError, Model, Request, load};
use tempfile::TempDir;

/// A model's folder that is gone with the test.
pub(crate) struct Folder(TempDir);

/// Words that the tokenizer knows beside `[UNK]`, which has id 0.
const WORDS: [&str; 3] = ["good", "bad", "film"];

impl Folder {
    /// A folder with a tokenizer of four tokens: words between white space, in lower case.
    pub(crate) fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.with("tokenizer.json", &tokenizer())
    }

    /// Adds a file.
    #[must_use]
    pub(crate) fn with(self, name: &str, bytes: &[u8]) -> Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Loads it without pins.
    pub(crate) fn load(&self) -> Result<Model, EmbedError> {
        load(&Request {
            folder: self.path(),
            sha256: &BTreeMap::new(),
            runtime: None,
            max_bytes: 1 << 20,
        })
    }

    /// What loading it fails with.
    #[track_caller]
    pub(crate) fn refused(&self) -> String {
        match self.load() {
            Ok(_) => panic!("the model was loaded"),
            Err(error) => error.to_string(),
        }
    }
}

fn tokenizer() -> Vec<u8> {
    let mut vocabulary = "\"[UNK]\": 0".to_owned();
    for (word, id) in WORDS.iter().zip(1..) {
        let _ = write!(vocabulary, ", \"{word}\": {id}");
    }
    format!(
        "{{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [], \
          \"normalizer\": {{\"type\": \"Lowercase\"}}, \"pre_tokenizer\": {{\"type\": \"WhitespaceSplit\"}}, \
          \"post_processor\": null, \"decoder\": null, \
          \"model\": {{\"type\": \"WordLevel\", \"vocab\": {{{vocabulary}}}, \"unk_token\": \"[UNK]\"}}}}"
    )
    .into_bytes()
}

/// Texts with vectors that another implementation made, where `variable` names such a file: a JSON
/// list of `{"text": …, "vector": […]}`.
pub(crate) fn reference(variable: &str) -> Option<Vec<(String, Vec<f32>)>> {
    let path = std::env::var_os(variable)?;
    let list: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let read = |entry: &serde_json::Value| {
        let vector = entry["vector"].as_array().unwrap().iter();
        let vector = vector.map(|value| value.as_f64().unwrap() as f32).collect();
        (entry["text"].as_str().unwrap().to_owned(), vector)
    };
    Some(list.iter().map(read).collect())
}

/// Checks that a model gives the vectors of a reference, apart from their length.
pub(crate) fn agrees(model: &Model, reference: &[(String, Vec<f32>)], at_least: f32) {
    let texts: Vec<&str> = reference.iter().map(|(text, _)| text.as_str()).collect();
    let vectors = model.embedder.embed(&texts).unwrap();
    for ((text, expected), vector) in reference.iter().zip(vectors.rows()) {
        assert_eq!(expected.len(), vector.len());
        let length = expected.iter().map(|x| x * x).sum::<f32>().sqrt();
        let cosine = expected.iter().zip(vector).map(|(x, y)| x * y).sum::<f32>() / length;
        assert!(cosine >= at_least, "{cosine} for `{text}`");
    }
    println!(
        "{} vectors agree, {}",
        reference.len(),
        model.embedder.method()
    );
}
