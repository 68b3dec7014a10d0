//! Texts as tokens.

#[cfg(feature = "static")]
use serde::Deserialize;
use tokenizers::{Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

use crate::error::EmbedError;
use crate::folder::Folder;

/// The file.
pub(crate) const NAME: &str = "tokenizer.json";

/// Bytes of a text that are tokenised. Some tokenisers take the whole text for one word, and time
/// grows faster than its length.
const MAX_TEXT_BYTES: usize = 8192;

/// A tokeniser that never pads.
pub(crate) struct TextTokenizer {
    inner: Tokenizer,
    /// With the marks of beginning and end that the model was trained with.
    marks: bool,
}

impl TextTokenizer {
    /// Reads the folder's tokeniser; also gives the bytes of its file. With `marked`, texts have the
    /// special tokens of the model around them and are cut to so many tokens, these included.
    pub(crate) fn load(
        folder: &mut Folder<'_>,
        marked: Option<usize>,
    ) -> Result<(Self, Vec<u8>), EmbedError> {
        let bytes = folder.read(NAME)?;
        let shape = |problem: String| EmbedError::Shape {
            file: NAME.to_owned(),
            problem,
        };
        let mut inner = Tokenizer::from_bytes(&bytes)
            .map_err(|error| shape(format!("is no tokenizer: {error}")))?;
        inner.with_padding(None);
        let truncation = marked.map(|max_length| TruncationParams {
            direction: TruncationDirection::Right,
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        });
        inner
            .with_truncation(truncation)
            .map_err(|error| shape(format!("cannot be cut to a length: {error}")))?;
        let marks = marked.is_some();
        Ok((Self { inner, marks }, bytes))
    }

    /// The largest token id and one.
    #[cfg(feature = "static")]
    pub(crate) fn n_ids(&self) -> usize {
        let vocabulary = self.inner.get_vocab(true);
        vocabulary.values().max().map_or(0, |&id| id as usize + 1)
    }

    /// Ids of the tokens at the beginning of a text.
    pub(crate) fn ids(&self, text: &str) -> Result<Vec<u32>, EmbedError> {
        let start = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
        let encoding = self
            .inner
            .encode_fast(start, self.marks)
            .map_err(|error| EmbedError::Text(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The part of the file that names the token for what is unknown; everything else of it is passed
/// over.
#[cfg(feature = "static")]
#[derive(Deserialize)]
struct TokenizerFile {
    model: TokenizerModel,
}

#[cfg(feature = "static")]
#[derive(Deserialize)]
struct TokenizerModel {
    #[serde(default)]
    unk_token: Option<String>,
}

impl TextTokenizer {
    /// Id of the token that stands for what is unknown, where the file names one. Models of the
    /// `Unigram` kind give a number instead and are trained with its vector.
    #[cfg(feature = "static")]
    pub(crate) fn unknown(&self, file: &[u8]) -> Option<u32> {
        let model = serde_json::from_slice::<TokenizerFile>(file).ok()?.model;
        self.inner.token_to_id(model.unk_token.as_deref()?)
    }
}

/// Scales to unit length; NaN throughout where there is no direction.
pub(crate) fn normalise(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = square.sqrt();
    if !length.is_finite() || length <= 0.0 {
        vector.fill(f32::NAN);
        return;
    }
    for value in vector {
        *value = (f64::from(*value) / length) as f32;
    }
}
