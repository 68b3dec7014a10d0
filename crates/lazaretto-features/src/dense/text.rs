//! Dense features of texts: TF-IDF of hashed n-grams, reduced by a randomised projection.
//!
//! Words and pairs of words in one block, 3- to 5-grams of characters in another, each with
//! sublinear term frequency and of unit length, are projected on the space of the leading right
//! singular vectors of the sample (randomised subspace iteration: Halko, Martinsson and Tropp 2011,
//! algorithm 4.4) and scaled to unit length. Only the space matters, as distances do not depend on
//! the basis; no decomposition of a small matrix is needed.
//!
//! Trial on the clean sets: accuracy of a vote of 10 neighbours on SST-2 / AG news / SMS is
//! 0.67 / 0.83 / 0.98 with both blocks, 0.65 / 0.79 / 0.96 with words alone, and 0.61 / 0.58 / 0.93
//! with a sparse random projection instead, which keeps rare words but no meaning.

use lazaretto_core::shared::Tokens;
use ndarray::{Array2, ArrayView2, Axis};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::normalise;
use crate::ngrams::{self, CharBuffer, Vocabulary};
use crate::payload::Payload;
use crate::tokens::tokenize_text;

/// Features of each block.
const MAX_FEATURES: usize = 1 << 15;
/// Entries of the sample's matrix that the projection is fitted on; bounds the time to about
/// `4e6 · dim · 6` multiplications.
const MAX_ENTRIES: usize = 4_000_000;
/// Multiplications with the matrix and its transpose after the first.
const ITERATIONS: usize = 2;

/// The fitted projection.
#[derive(Clone, Debug)]
pub(crate) struct TextReduction {
    salt: u64,
    words: Vocabulary,
    chars: Vocabulary,
    /// Orthonormal columns, `n_features × dim`: words first, then characters.
    basis: Array2<f32>,
}

/// A text on its way to features: the buckets of its words and of its characters.
#[derive(Debug, Default)]
pub(crate) struct Document {
    salt: u64,
    hashes: Vec<u64>,
    words: Vec<u32>,
    chars: Vec<u32>,
    buffer: CharBuffer,
}

impl Document {
    fn new(salt: u64) -> Self {
        Self {
            salt,
            ..Self::default()
        }
    }

    /// Adds the text of row `row_idx` of a field with words `tokens`.
    pub(crate) fn add(&mut self, text: &str, tokens: &Tokens, row_idx: usize) {
        self.hashes.extend_from_slice(tokens.row(row_idx));
        for &(start, end) in tokens.row_spans(row_idx) {
            if let Some(word) = text.get(start as usize..end as usize) {
                let chars = &mut self.chars;
                ngrams::char_ngrams(word, !self.salt, &mut self.buffer, |b| chars.push(b));
            }
        }
    }

    fn collect_words(&mut self) {
        let words = &mut self.words;
        ngrams::word_ngrams(&self.hashes, 0..self.hashes.len(), self.salt, |b| {
            words.push(b);
        });
    }

    fn clear(&mut self) {
        self.hashes.clear();
        self.words.clear();
        self.chars.clear();
    }
}

/// The words of single texts.
pub(crate) fn tokens_of(payloads: &[&Payload]) -> Vec<Tokens> {
    payloads
        .par_iter()
        .map(|payload| tokenize_text(&payload.text))
        .collect()
}

impl TextReduction {
    /// Fits a projection to `dim` dimensions on records in key order.
    pub(crate) fn fit(payloads: &[&Payload], dim: usize, seed: u64) -> Self {
        let salt = seed ^ 0x6665_6174_7572_6573;
        let documents = documents(payloads, salt);
        let words = Vocabulary::new(documents.iter().map(|d| &d.words), MAX_FEATURES);
        let chars = Vocabulary::new(documents.iter().map(|d| &d.chars), MAX_FEATURES);
        let mut reduction = Self {
            salt,
            words,
            chars,
            basis: Array2::zeros((0, dim)),
        };
        let rows: Vec<Vec<(u32, f32)>> = documents
            .par_iter()
            .map(|document| reduction.encode(&document.words, &document.chars))
            .collect();
        let n_features = reduction.words.n_features() + reduction.chars.n_features();
        reduction.basis = leading_space(&rows, n_features, dim, seed);
        reduction
    }

    pub(crate) fn dim(&self) -> usize {
        self.basis.ncols()
    }

    /// Writes the features of the document that `read` builds for each row. Rows of documents
    /// without words stay as they are.
    pub(crate) fn fill(
        &self,
        features: &mut Array2<f32>,
        read: impl Fn(usize, &mut Document) + Sync,
    ) {
        features
            .axis_iter_mut(Axis(0))
            .into_par_iter()
            .enumerate()
            .for_each_init(
                || Document::new(self.salt),
                |document, (row_idx, mut target)| {
                    document.clear();
                    read(row_idx, document);
                    if document.hashes.is_empty() {
                        return;
                    }
                    document.collect_words();
                    target.fill(0.0);
                    for (feature, value) in self.encode(&document.words, &document.chars) {
                        target.scaled_add(value, &self.basis.row(feature as usize));
                    }
                    normalise(target);
                },
            );
    }

    /// The TF-IDF row of a document, both blocks of unit length.
    fn encode(&self, words: &[u32], chars: &[u32]) -> Vec<(u32, f32)> {
        let mut row = Vec::new();
        encode_block(&self.words, words, 0, &mut row);
        encode_block(&self.chars, chars, self.words.n_features() as u32, &mut row);
        row
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "TF-IDF of {} word and {} character n-grams, reduced to {} dimensions by randomised \
             subspace iteration",
            self.words.n_features(),
            self.chars.n_features(),
            self.dim()
        )
    }
}

/// The documents of the longest prefix of `payloads` within [`MAX_ENTRIES`].
fn documents(payloads: &[&Payload], salt: u64) -> Vec<Document> {
    let mut entries = 0;
    let mut documents = Vec::new();
    for block in payloads.chunks(1024) {
        let read: Vec<Document> = tokens_of(block)
            .par_iter()
            .zip(block)
            .map(|(tokens, payload)| {
                let mut document = Document::new(salt);
                document.add(&payload.text, tokens, 0);
                document.collect_words();
                document.hashes = Vec::new();
                document
            })
            .collect();
        entries += read
            .iter()
            .map(|d| d.words.len() + d.chars.len())
            .sum::<usize>();
        documents.extend(read);
        if entries > MAX_ENTRIES {
            break;
        }
    }
    documents
}

fn encode_block(vocabulary: &Vocabulary, buckets: &[u32], offset: u32, row: &mut Vec<(u32, f32)>) {
    let mut known: Vec<(u32, f32)> = buckets.iter().filter_map(|&b| vocabulary.get(b)).collect();
    known.sort_unstable_by_key(|&(feature, _)| feature);
    let start = row.len();
    for run in known.chunk_by(|a, b| a.0 == b.0) {
        let (feature, idf) = run[0];
        row.push((offset + feature, (1.0 + (run.len() as f32).ln()) * idf));
    }
    let length = row[start..].iter().map(|&(_, x)| x * x).sum::<f32>().sqrt();
    for (_, value) in &mut row[start..] {
        *value /= length;
    }
}

/// An orthonormal basis, `n_features × dim`, close to the space of the `dim` leading right
/// singular vectors of the matrix with the given sparse rows. Columns beyond its rank are zero.
fn leading_space(
    rows: &[Vec<(u32, f32)>],
    n_features: usize,
    dim: usize,
    seed: u64,
) -> Array2<f32> {
    let mut columns: Vec<Vec<(u32, f32)>> = vec![Vec::new(); n_features];
    for (row_idx, row) in rows.iter().enumerate() {
        for &(feature, value) in row {
            columns[feature as usize].push((row_idx as u32, value));
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut basis =
        Array2::from_shape_simple_fn((n_features, dim), || rng.gen_range(-1.0_f32..1.0));
    for _ in 0..=ITERATIONS {
        let range = orthonormal(&product(rows, basis.view()));
        basis = product(&columns, range.view());
    }
    orthonormal(&basis)
}

/// Sparse rows times a dense matrix.
fn product(rows: &[Vec<(u32, f32)>], dense: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut result = Array2::zeros((rows.len(), dense.ncols()));
    result
        .axis_iter_mut(Axis(0))
        .into_par_iter()
        .zip(rows)
        .for_each(|(mut target, row)| {
            for &(idx, value) in row {
                target.scaled_add(value, &dense.row(idx as usize));
            }
        });
    result
}

/// Orthonormal columns with the span of those of `matrix`: Cholesky QR, done twice for accuracy
/// (Yamamoto et al. 2015). Dependent columns become zero.
fn orthonormal(matrix: &Array2<f32>) -> Array2<f32> {
    let mut columns = matrix.mapv(f64::from);
    for _ in 0..2 {
        let factor = inverse_cholesky(&columns.t().dot(&columns));
        columns = columns.dot(&factor.t());
    }
    columns.mapv(|value| value as f32)
}

/// The inverse of the Cholesky factor `L` of a Gram matrix `L Lᵀ`; rows of dependent directions
/// are zero.
fn inverse_cholesky(gram: &Array2<f64>) -> Array2<f64> {
    const DEPENDENT: f64 = 1e-10;
    let n = gram.nrows();
    let mut lower = Array2::<f64>::zeros((n, n));
    let mut inverse = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        for j in 0..i {
            if lower[[j, j]] > 0.0 {
                let known: f64 = (0..j).map(|k| lower[[i, k]] * lower[[j, k]]).sum();
                lower[[i, j]] = (gram[[i, j]] - known) / lower[[j, j]];
            }
        }
        let known: f64 = (0..i).map(|k| lower[[i, k]].powi(2)).sum();
        let rest = gram[[i, i]] - known;
        if rest.is_nan() || rest <= DEPENDENT * gram[[i, i]] {
            continue;
        }
        lower[[i, i]] = rest.sqrt();
        inverse[[i, i]] = 1.0 / lower[[i, i]];
        for j in 0..i {
            let known: f64 = (j..i).map(|k| lower[[i, k]] * inverse[[k, j]]).sum();
            inverse[[i, j]] = -known / lower[[i, i]];
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(texts: &[&str]) -> Vec<Payload> {
        let payload = |text: &&str| Payload {
            text: (*text).to_owned(),
            ..Payload::default()
        };
        texts.iter().map(payload).collect()
    }

    #[test]
    fn bases_are_orthonormal_even_when_the_rank_is_too_small() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut matrix = Array2::from_shape_simple_fn((50, 6), || rng.gen_range(-1.0_f32..1.0));
        let copy = matrix.column(1).mapv(|x| 2.0 * x);
        matrix.column_mut(4).assign(&copy);
        let basis = orthonormal(&matrix);
        let gram = basis.t().dot(&basis);
        for ((i, j), &value) in gram.indexed_iter() {
            let expected = if i == j && i != 4 { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-5, "{i} {j}: {value}");
        }
    }

    #[test]
    fn texts_on_one_subject_are_closer_than_others() {
        let subjects = [
            [
                "the cat chased a mouse",
                "a mouse fled the cat",
                "the cat ate the mouse",
            ],
            [
                "shares fell on the market",
                "the market lost, shares sank",
                "market and shares rose",
            ],
        ];
        let mut texts: Vec<&str> = subjects.concat();
        texts.push("...");
        let payloads = payloads(&texts);
        let payloads: Vec<&Payload> = payloads.iter().collect();
        let reduction = TextReduction::fit(&payloads, 8, 1);
        let tokens = tokens_of(&payloads);
        let mut features = Array2::from_elem((7, 8), f32::NAN);
        reduction.fill(&mut features, |idx, document| {
            document.add(&payloads[idx].text, &tokens[idx], 0);
        });
        let closeness = |a: usize, b: usize| features.row(a).dot(&features.row(b));
        for (a, text) in texts[..6].iter().enumerate() {
            assert!((closeness(a, a) - 1.0).abs() < 1e-5);
            let best = (0..6)
                .filter(|&b| b != a)
                .max_by(|&b, &c| closeness(a, b).total_cmp(&closeness(a, c)));
            assert_eq!(best.unwrap() / 3, a / 3, "nearest of `{text}`");
        }
        assert!(features.row(6).iter().all(|x| x.is_nan()));
    }
}
