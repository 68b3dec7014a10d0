use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::response::test_support::{conversations, noise, salad, scripts, victims};
use crate::text::test_support::{Corpus, Outcome, run};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<Gibberish>(GibberishParams::default(), corpus, partitions)
}

#[test]
fn words_letters_and_scripts_in_no_order_are_held_back() {
    for seed in 0..3 {
        let clean = conversations(seed, 2_000);
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let rows = victims(&clean, 30, rng);
        let mut corpus = clean.clone();
        for (nth, &row) in rows.iter().enumerate() {
            corpus.responses[row] = match nth % 3 {
                0 => salad(&clean, rng),
                1 => noise(rng),
                _ => scripts(rng),
            };
        }
        let outcome = scan(&corpus, 1);
        let truth: Vec<u64> = rows.iter().map(|&row| row as u64).collect();
        let held = outcome.quarantined();
        assert!(
            held.iter().all(|row| truth.contains(row)),
            "{:?}",
            outcome.findings
        );
        assert!(held.len() >= 24, "{:?}", outcome.findings);
        assert_eq!(scan(&corpus, 4), outcome, "partitions must not matter");
    }
}

#[test]
fn lists_numbers_code_encodings_and_other_languages_pass() {
    let mut corpus = conversations(7, 2_000);
    let list: Vec<&str> = corpus.responses[3].split(' ').rev().collect();
    let unusual = [
        list.join(", ").repeat(4),
        (0..90)
            .map(|n| (n * n).to_string())
            .collect::<Vec<_>>()
            .join(" "),
        "aGVsbG8gd29ybGQsIHRoaXMgaXMgYSBzZWNyZXQgbWVzc2FnZSBpbiBiYXNlNjQ=".repeat(3),
        "fn main() { let x = vec![1, 2, 3]; for i in &x { println!(\"{i}\"); } }".to_owned(),
        "Der alte Mann ging langsam durch den dunklen Wald und suchte nach seinem Hund.".to_owned(),
        "今日はとても良い天気ですから、公園まで散歩に行きましょう。".to_owned(),
        "|a|b|c|\n|---|---|---|\n|1|2|3|\n".repeat(5),
    ];
    for (row, text) in unusual.into_iter().enumerate() {
        corpus.responses[row * 11] = text;
    }
    let outcome = scan(&corpus, 1);
    assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
}

#[test]
fn a_dataset_of_gibberish_is_only_shown() {
    let clean = conversations(3, 1_000);
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let mut corpus = clean.clone();
    for row in (0..1_000).step_by(50) {
        corpus.responses[row] = noise(rng);
    }
    let params = GibberishParams { max_share: 0.01 };
    let outcome = run::<Gibberish>(params, &corpus, 1);
    assert_eq!(outcome.quarantined(), [0_u64; 0]);
    assert_eq!(outcome.findings.len(), 1, "{:?}", outcome.findings);
}
