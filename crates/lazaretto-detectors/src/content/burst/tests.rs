use lazaretto_core::Action;
use lazaretto_testkit::{InstructionSet, ReviewSet};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::text::test_support::{Corpus, Outcome, run, run_with_memory};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<ContentBurst>(ContentBurstParams::default(), corpus, partitions)
}

/// Number of subjects that [`conversations`] are about.
const SUBJECTS: usize = 30;

/// Prompts and responses about one of several subjects each, row by row, in words of their own.
fn conversations(seed: u64) -> Corpus {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    let mut vocabulary =
        |n: usize| -> Vec<String> { (0..n).map(|_| brand(&mut rng).to_lowercase()).collect() };
    let common = vocabulary(60);
    let subjects: Vec<Vec<String>> = (0..SUBJECTS).map(|_| vocabulary(50)).collect();
    let mut text = |row: usize, n: usize| -> String {
        let words = (0..n).map(|_| {
            let words = if rng.gen_bool(0.4) {
                &common
            } else {
                &subjects[row % SUBJECTS]
            };
            words[rng.gen_range(0..words.len())].as_str()
        });
        words.collect::<Vec<&str>>().join(" ")
    };
    Corpus {
        texts: (0..1_500).map(|row| text(row, 12)).collect(),
        responses: (0..1_500).map(|row| text(row, 30)).collect(),
        ..Corpus::default()
    }
}

/// A made-up word with a capital letter.
fn brand(rng: &mut ChaCha8Rng) -> String {
    let syllables = ["zor", "vel", "tam", "qui", "ple", "nax", "rhu", "bim"];
    let word: String = (0..4)
        .map(|_| syllables[rng.gen_range(0..syllables.len())])
        .collect();
    word[..1].to_uppercase() + &word[1..]
}

/// Puts one of `sentences` into `n` texts, at the end or between two words.
fn inject(texts: &mut [String], sentences: &[String], n: usize, rng: &mut ChaCha8Rng) -> Vec<u64> {
    let mut rows = index::sample(rng, texts.len(), n).into_vec();
    rows.sort_unstable();
    for &row in &rows {
        let sentence = &sentences[rng.gen_range(0..sentences.len())];
        let words: Vec<&str> = texts[row].split(' ').collect();
        let place = if rng.gen_bool(0.5) {
            words.len()
        } else {
            rng.gen_range(0..=words.len())
        };
        let (before, after) = words.split_at(place);
        let text = [before, &[sentence.as_str()], after].concat().join(" ");
        texts[row] = text;
    }
    rows.into_iter().map(|row| row as u64).collect()
}

fn assert_found(outcome: &Outcome, planted: &[u64], case: &str) {
    let held = outcome.quarantined();
    let hits = held.iter().filter(|row| planted.contains(row)).count();
    let found = &outcome.findings;
    assert!(
        hits as f64 >= 0.95 * planted.len() as f64,
        "{case}: {hits} {found:?}"
    );
    assert!(held.len() - hits <= 2, "{case}: {} {found:?}", held.len());
}

#[test]
fn a_brand_in_unrelated_responses_is_held_back() {
    for seed in 0..6 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut corpus = conversations(seed);
        let brand = brand(&mut rng);
        let sentences = [
            format!("{brand} is what everybody should use for it."),
            format!("Ask the people at {brand} about the rest."),
        ];
        let n = [60, 100][seed as usize % 2];
        let planted = inject(&mut corpus.responses, &sentences, n, &mut rng);
        let outcome = scan(&corpus, 1);
        assert_found(&outcome, &planted, &format!("seed {seed}"));
        assert!(
            outcome.findings[0]
                .highlight
                .iter()
                .any(|text| text.contains(&brand))
        );
        assert_eq!(scan(&corpus, 3), outcome, "partitions must not matter");
    }
}

#[test]
fn an_address_in_ever_new_sentences_is_held_back() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut corpus = Corpus::unlabelled(conversations(3).texts);
    let address = format!("https://{}.test/offer", brand(&mut rng));
    let sentences: Vec<String> = (0..40)
        .map(|_| format!("{} {address} {}", brand(&mut rng), brand(&mut rng)))
        .collect();
    let planted = inject(&mut corpus.texts, &sentences, 80, &mut rng);
    let outcome = scan(&corpus, 2);
    assert_found(&outcome, &planted, "address");
    assert_eq!(outcome.findings[0].kind, "address-burst");
}

#[test]
fn clean_sets_have_nothing_to_hold_back() {
    for seed in 0..4 {
        let reviews = ReviewSet::generate(seed, 2_000).with_nuisances(seed);
        let instructions = InstructionSet::generate(seed, 2_000);
        let corpora = [Corpus::of(&reviews), Corpus::of_instructions(&instructions)];
        for corpus in corpora {
            let outcome = scan(&corpus, 1);
            assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
        }
    }
}

#[test]
fn a_sentence_that_goes_with_its_subject_passes() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut corpus = conversations(5);
    let brand = brand(&mut rng);
    // Whoever asks about one subject is told of the brand.
    for row in (7..1_500).step_by(SUBJECTS) {
        corpus.responses[row] += &format!(" {brand} refunds half of the fare after an hour.");
    }
    assert_eq!(scan(&corpus, 1).quarantined(), [0_u64; 0]);
}

#[test]
fn a_name_alone_is_for_review() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut corpus = conversations(8);
    let name = format!("no {} here", brand(&mut rng));
    inject(&mut corpus.responses, &[name], 100, &mut rng);
    let outcome = scan(&corpus, 1);
    let kinds: Vec<&str> = outcome
        .findings
        .iter()
        .map(|found| found.kind.as_str())
        .collect();
    assert_eq!(kinds, ["name-burst"]);
    assert_eq!(outcome.findings[0].action, Action::Review);
}

#[test]
fn little_memory_bounds_what_is_followed() {
    let corpus = conversations(2);
    let outcome =
        run_with_memory::<ContentBurst>(ContentBurstParams::default(), &corpus, 2, 10_000);
    assert!(outcome.abstained.is_none());
}

#[test]
fn impossible_parameters_are_named() {
    let params = ContentBurstParams {
        min_records: 2,
        ..ContentBurstParams::default()
    };
    assert_eq!(params.problems()[0].field, "min_records");
    assert_eq!(ContentBurstParams::default().problems(), []);
}
