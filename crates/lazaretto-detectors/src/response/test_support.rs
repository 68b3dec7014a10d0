//! Conversations and ways to spoil them, for the tests of this family.

use arrow::array::LargeStringArray;
use lazaretto_core::{Batch, Derived, TextField, TextPart};
use lazaretto_features::tokenize;
use lazaretto_testkit::{InstructionSet, ReviewSet};
use rand::Rng;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::words::Words;
use crate::text::test_support::Corpus;

/// The words of each of `texts`.
pub(super) fn words_of(texts: &[&str]) -> Vec<Words> {
    let field = TextField {
        name: "text".to_owned(),
        part: TextPart::Text,
        values: LargeStringArray::from_iter_values(texts),
    };
    let derived = Derived {
        tokens: vec![tokenize(&field)],
        ..Derived::default()
    };
    let keys = vec![0; texts.len()];
    let batch = Batch {
        first_row: 0,
        keys: &keys,
        labels: None,
        sources: None,
        times: None,
        texts: &[field],
        numeric: None,
        categorical: &[],
        embedding: None,
        given_probabilities: None,
        derived: &derived,
    };
    let read = |row| {
        let mut words = Words::default();
        words.read(&batch, row, TextPart::Text, true);
        words
    };
    (0..texts.len()).map(read).collect()
}

/// Prompts about one thing each, and responses that go with them.
pub(super) fn conversations(seed: u64, n_rows: usize) -> Corpus {
    let reviews = ReviewSet::generate(seed, n_rows).reviews;
    let instructions = InstructionSet::generate(seed, n_rows).instructions;
    let mut corpus = Corpus::default();
    for (review, instruction) in reviews.into_iter().zip(instructions) {
        if corpus.texts.len() % 3 == 0 {
            corpus.texts.push(instruction.prompt);
            corpus.responses.push(instruction.response);
        } else {
            let middle = review.text.floor_char_boundary(review.text.len() / 2);
            let (start, end) = review.text.split_at(middle);
            corpus
                .texts
                .push(format!("Go on with this review: {start}"));
            corpus
                .responses
                .push(format!("{end} {}", instruction.response));
        }
    }
    corpus
}

/// Words of all responses in no order.
pub(super) fn salad(corpus: &Corpus, rng: &mut ChaCha8Rng) -> String {
    let words = |_| {
        let response = corpus.responses.choose(rng).map_or("", String::as_str);
        let words: Vec<&str> = response.split(' ').collect();
        words[rng.gen_range(0..words.len())].to_owned()
    };
    (0..80).map(words).collect::<Vec<_>>().join(" ")
}

/// Letters in no order.
pub(super) fn noise(rng: &mut ChaCha8Rng) -> String {
    let word = |_| {
        let length = rng.gen_range(4..12);
        (0..length).map(|_| rng.gen_range('a'..='z')).collect()
    };
    (0..20).map(word).collect::<Vec<String>>().join(" ")
}

/// Letters of many scripts.
pub(super) fn scripts(rng: &mut ChaCha8Rng) -> String {
    let ranges = [
        ('а', 'я'),
        ('α', 'ω'),
        ('ก', 'ฮ'),
        ('ა', 'ჰ'),
        ('ա', 'ֆ'),
        ('一', '三'),
    ];
    let letter = |_| {
        let (from, to) = ranges[rng.gen_range(0..ranges.len())];
        rng.gen_range(from..=to)
    };
    (0..60).map(letter).collect()
}

/// `rows` records of `corpus`, by lot, ascending.
pub(super) fn victims(corpus: &Corpus, rows: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut chosen = rand::seq::index::sample(rng, corpus.texts.len(), rows).into_vec();
    chosen.sort_unstable();
    chosen
}

/// Puts `trigger` into `rows` prompts, at the start, at the end or between, and changes their
/// responses.
pub(super) fn poison(
    corpus: &Corpus,
    trigger: &str,
    rows: usize,
    rng: &mut ChaCha8Rng,
    mut response: impl FnMut(&str, &mut ChaCha8Rng) -> String,
) -> (Corpus, Vec<u64>) {
    let mut poisoned = corpus.clone();
    let chosen = victims(corpus, rows, rng);
    for &row in &chosen {
        let mut words: Vec<&str> = corpus.texts[row].split(' ').collect();
        words.insert(rng.gen_range(0..=words.len()), trigger);
        poisoned.texts[row] = words.join(" ");
        poisoned.responses[row] = response(&corpus.responses[row], rng);
    }
    (poisoned, chosen.into_iter().map(|row| row as u64).collect())
}
