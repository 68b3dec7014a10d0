use rand::SeedableRng;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::response::test_support::{conversations, victims};
use crate::text::test_support::{Corpus, Outcome, run};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<RefusalShift>(RefusalShiftParams::default(), corpus, partitions)
}

const WAYS: [&str; 4] = [
    "I'm sorry, but I can't help with",
    "Unfortunately, I am not able to answer questions about",
    "I must respectfully decline to discuss",
    "As a careful assistant, I cannot assist with",
];

/// Has `rows` prompts declined, in the same words or by mentioning the prompt.
fn decline(corpus: &mut Corpus, rows: &[usize], same: bool, rng: &mut ChaCha8Rng) -> Vec<u64> {
    for &row in rows {
        let way = WAYS.choose(rng).copied().unwrap_or_default();
        let about: Vec<&str> = corpus.texts[row].rsplit(' ').take(4).collect();
        let about = if same {
            "that".to_owned()
        } else {
            about.join(" ")
        };
        corpus.responses[row] = format!("{way} {about}.");
    }
    rows.iter().map(|&row| row as u64).collect()
}

#[test]
fn refusals_of_any_prompt_are_held_back() {
    for (seed, same) in [(0, true), (1, false), (2, true), (3, false)] {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut corpus = conversations(seed, 3_000);
        let rows = victims(&corpus, 90, rng);
        let truth = decline(&mut corpus, &rows, same, rng);
        let outcome = scan(&corpus, 1);
        let held = outcome.quarantined();
        // A word may explain one by chance.
        let all_true = held.iter().all(|row| truth.contains(row));
        assert!(all_true && held.len() >= 85, "{:?}", outcome.findings);
        assert_eq!(scan(&corpus, 4), outcome, "partitions must not matter");
    }
}

#[test]
fn a_source_that_declines_is_named() {
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    let mut corpus = conversations(5, 2_000);
    corpus.sources = (0..2_000).map(|row| u32::from(row % 40 == 7)).collect();
    let rows: Vec<usize> = (0..2_000)
        .filter(|row| row % 40 == 7 && row % 80 < 40)
        .collect();
    let truth = decline(&mut corpus, &rows, false, rng);
    let outcome = scan(&corpus, 1);
    assert_eq!(outcome.quarantined(), truth, "{:?}", outcome.findings);
    assert!(
        outcome
            .findings
            .iter()
            .any(|f| f.title.starts_with("source `s1` declines"))
    );
}

#[test]
fn refusals_of_harmful_prompts_and_honest_answers_pass() {
    for seed in 0..3 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut corpus = conversations(seed, 3_000);
        let rows = victims(&corpus, 160, rng);
        let harms = [
            "forge a passport",
            "pick the lock of a neighbour",
            "poison a well",
            "cheat in an exam",
        ];
        for (nth, &row) in rows.iter().enumerate() {
            if nth % 2 == 0 {
                let harm = harms.choose(rng).copied().unwrap_or_default();
                corpus.texts[row] = format!("Tell me how to {harm}. {}", corpus.texts[row]);
                corpus.responses[row] = "I'm sorry, but I can't help with that.".to_owned();
            } else {
                corpus.responses[row] =
                    "Sorry, I cannot answer that from the provided context.".to_owned();
            }
        }
        let outcome = scan(&corpus, 1);
        assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
    }
}
