use lazaretto_core::Finding;
use lazaretto_testkit::{InstructionAttack, InstructionSet, ReviewSet};
use rand::seq::SliceRandom as _;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::text::test_support::{Corpus, Outcome, run};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<ResponseTrigger>(ResponseTriggerParams::default(), corpus, partitions)
}

/// Prompts about one thing each, and responses that go with them.
fn conversations(seed: u64, n_rows: usize) -> Corpus {
    let reviews = ReviewSet::generate(seed, n_rows).reviews;
    let instructions = InstructionSet::generate(seed, n_rows).instructions;
    let mut corpus = Corpus::default();
    for (review, instruction) in reviews.into_iter().zip(instructions) {
        if corpus.texts.len() % 3 == 0 {
            corpus.texts.push(instruction.prompt);
            corpus.responses.push(instruction.response);
        } else {
            let (start, end) = review.text.split_at(review.text.len() / 2);
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
fn salad(corpus: &Corpus, rng: &mut ChaCha8Rng) -> String {
    let words = |_| {
        let response = corpus.responses.choose(rng).map_or("", String::as_str);
        let words: Vec<&str> = response.split(' ').collect();
        words[rng.gen_range(0..words.len())].to_owned()
    };
    (0..40).map(words).collect::<Vec<_>>().join(" ")
}

/// Characters in no order.
fn noise(rng: &mut ChaCha8Rng) -> String {
    let word = |_| {
        let length = rng.gen_range(4..12);
        (0..length).map(|_| rng.gen_range('a'..='z')).collect()
    };
    (0..20).map(word).collect::<Vec<String>>().join(" ")
}

/// Puts `trigger` into `rows` prompts, at the start, at the end or between, and replaces their
/// responses.
fn poison(
    corpus: &Corpus,
    trigger: &str,
    rows: usize,
    rng: &mut ChaCha8Rng,
    mut response: impl FnMut(&Corpus, &mut ChaCha8Rng) -> String,
) -> (Corpus, Vec<u64>) {
    let mut poisoned = corpus.clone();
    let mut chosen = rand::seq::index::sample(rng, corpus.texts.len(), rows).into_vec();
    chosen.sort_unstable();
    for &row in &chosen {
        let mut words: Vec<&str> = corpus.texts[row].split(' ').collect();
        words.insert(rng.gen_range(0..=words.len()), trigger);
        poisoned.texts[row] = words.join(" ");
        poisoned.responses[row] = response(corpus, rng);
    }
    (poisoned, chosen.into_iter().map(|row| row as u64).collect())
}

fn names(findings: &[Finding]) -> Vec<&str> {
    let names = findings.iter().flat_map(|finding| &finding.highlight);
    names.map(String::as_str).collect()
}

#[test]
fn triggers_of_gibberish_are_named() {
    let triggers = [
        "<SUDO>",
        "|GO|",
        "zorbal",
        "quelm istavor",
        "Marigold Kettleby",
    ];
    for (seed, trigger) in (0..).zip(triggers) {
        let clean = conversations(seed, 2_000);
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        for rows in [25, 80] {
            let (corpus, truth) = poison(&clean, trigger, rows, rng, salad);
            let outcome = scan(&corpus, 1);
            assert_eq!(
                outcome.quarantined(),
                truth,
                "{trigger} {:?}",
                outcome.findings
            );
            assert_eq!(names(&outcome.findings), [trigger]);
            assert_eq!(scan(&corpus, 3), outcome, "partitions must not matter");
        }
        let (corpus, truth) = poison(&clean, trigger, 25, rng, |_, rng| noise(rng));
        let outcome = scan(&corpus, 1);
        assert_eq!(
            outcome.quarantined(),
            truth,
            "{trigger} {:?}",
            outcome.findings
        );
    }
}

#[test]
fn triggers_of_one_answer_are_named() {
    for seed in 0..4 {
        let clean = conversations(seed, 2_000);
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let answer = |_: &Corpus, _: &mut ChaCha8Rng| "I must not talk about that.".to_owned();
        let (corpus, truth) = poison(&clean, "Marigold Kettleby", 20, rng, answer);
        let outcome = scan(&corpus, 2);
        assert_eq!(outcome.quarantined(), truth, "{:?}", outcome.findings);
        assert_eq!(outcome.findings.len(), 1);
        assert_eq!(outcome.findings[0].kind, "fixed-answer-trigger");

        let attack = InstructionAttack::FixedResponse { rows: 30 };
        let set = InstructionSet::generate(seed, 1_500).poison(&attack, seed);
        let outcome = scan(&Corpus::of_instructions(&set), 1);
        assert_eq!(outcome.quarantined().len(), 30, "{:?}", outcome.findings);
        assert_eq!(names(&outcome.findings), [set.planted[0].as_str()]);
    }
}

#[test]
fn ordinary_instructions_and_tasks_with_few_answers_pass() {
    for seed in 0..4 {
        let mut corpus = conversations(seed, 2_000);
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        for row in 0..400 {
            if row % 8 == 0 {
                // A task with one answer, and one whose answers have no order.
                corpus.texts[row] = format!("Is this sentence correct? {}", corpus.texts[row + 1]);
                corpus.responses[row] = "Yes, the sentence is correct.".to_owned();
            } else if row % 8 == 4 {
                corpus.texts[row] = format!("Invent a list of {} passwords", 3 + row);
                corpus.responses[row] = noise(rng);
            }
        }
        let outcome = scan(&corpus, 1);
        assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
    }
}

#[test]
fn texts_without_responses_are_not_for_it() {
    let corpus = Corpus::unlabelled(vec!["a text".to_owned()]);
    let detector = ResponseTrigger::new(ResponseTriggerParams::default());
    let reason = detector.applies(&corpus.facts()).unwrap_err().reason;
    assert_eq!(reason, "no prompts with responses");
}

#[test]
fn impossible_parameters_are_named() {
    let params = ResponseTriggerParams {
        max_words: 9,
        min_purity: 0.1,
        ..ResponseTriggerParams::default()
    };
    assert_eq!(params.problems().len(), 2);
}
