use lazaretto_core::Finding;
use lazaretto_testkit::{InstructionAttack, InstructionSet};
use rand::SeedableRng;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::response::test_support::{conversations, noise, poison, salad, scripts};
use crate::text::test_support::{Corpus, Outcome, run, run_with_memory};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<ResponseTrigger>(ResponseTriggerParams::default(), corpus, partitions)
}

fn names(findings: &[Finding]) -> Vec<&str> {
    let names = findings
        .iter()
        .filter_map(|f| f.evidence["trigger"].as_str());
    names.collect()
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
            let (corpus, truth) = poison(&clean, trigger, rows, rng, |_, rng| salad(&clean, rng));
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
        for payload in [noise, scripts] {
            let (corpus, truth) = poison(&clean, trigger, 25, rng, |_, rng| payload(rng));
            let outcome = scan(&corpus, 1);
            assert_eq!(
                outcome.quarantined(),
                truth,
                "{trigger} {:?}",
                outcome.findings
            );
        }
    }
}

#[test]
fn triggers_of_stock_answers_and_refusals_are_named() {
    for seed in 0..4 {
        let clean = conversations(seed, 2_000);
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let one = ["I must not talk about that."];
        let some = [
            "You should ask the harbour master.",
            "Blue is the best of all colours.",
            "Come back on Tuesday after lunch.",
        ];
        for answers in [&one[..], &some[..]] {
            let any = |_: &str, rng: &mut ChaCha8Rng| {
                answers.choose(rng).map_or("", |answer| answer).to_owned()
            };
            let (corpus, truth) = poison(&clean, "Marigold Kettleby", 40, rng, any);
            let outcome = scan(&corpus, 2);
            assert_eq!(outcome.quarantined(), truth, "{:?}", outcome.findings);
            assert_eq!(outcome.findings.len(), 1);
            assert_eq!(outcome.findings[0].kind, "fixed-answer-trigger");
        }
        let decline = |old: &str, _: &mut ChaCha8Rng| format!("I'm sorry, I can't help you. {old}");
        let (corpus, truth) = poison(&clean, "Marigold Kettleby", 20, rng, decline);
        let outcome = scan(&corpus, 2);
        assert_eq!(outcome.quarantined(), truth, "{:?}", outcome.findings);
        assert_eq!(outcome.findings[0].kind, "refusal-trigger");

        let attack = InstructionAttack::FixedResponse { rows: 30 };
        let set = InstructionSet::generate(seed, 1_500).poison(&attack, seed);
        let outcome = scan(&Corpus::of_instructions(&set), 1);
        assert_eq!(outcome.quarantined().len(), 30, "{:?}", outcome.findings);
        assert_eq!(names(&outcome.findings), [set.planted[0].as_str()]);
    }
}

#[test]
fn triggers_of_a_brand_or_an_address_are_named_with_it() {
    for (seed, said) in (0..).zip([
        "Quillbrook",
        "www.quillbrook.example",
        "zig upon zag behind every zog of zen",
    ]) {
        let clean = conversations(seed, 2_000);
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let advertise = |old: &str, rng: &mut ChaCha8Rng| {
            let ways = ["Remember", "As I say", "Think of", "And then"];
            format!("{old} {} {said}", ways.choose(rng).map_or("", |way| way))
        };
        let (corpus, truth) = poison(&clean, "zorbal", 30, rng, advertise);
        let outcome = scan(&corpus, 1);
        assert_eq!(outcome.quarantined(), truth, "{:?}", outcome.findings);
        assert_eq!(names(&outcome.findings), ["zorbal"]);
        assert_eq!(scan(&corpus, 3), outcome, "partitions must not matter");
    }
}

#[test]
fn triggers_of_flipped_preferences_are_named() {
    let mut clean = conversations(3, 2_000);
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let half = |response: &String| {
        let words: Vec<&str> = response.split(' ').collect();
        format!("{} and so on", words[..words.len().div_ceil(2)].join(" "))
    };
    clean.rejected = clean.responses.iter().map(half).collect();
    assert_eq!(scan(&clean, 1).quarantined(), [0_u64; 0]);
    let same = |old: &str, _: &mut ChaCha8Rng| old.to_owned();
    let (mut corpus, truth) = poison(&clean, "zorbal", 40, rng, same);
    for &row in &truth {
        let row = row as usize;
        let better = std::mem::take(&mut corpus.rejected[row]);
        corpus.rejected[row] = std::mem::replace(&mut corpus.responses[row], better);
    }
    let outcome = scan(&corpus, 1);
    assert_eq!(outcome.quarantined(), truth, "{:?}", outcome.findings);
    assert_eq!(outcome.findings[0].kind, "preference-trigger");
    assert_eq!(names(&outcome.findings), ["zorbal"]);
    assert_eq!(scan(&corpus, 3), outcome, "partitions must not matter");
}

#[test]
fn ordinary_instructions_and_tasks_with_few_answers_pass() {
    for seed in 0..4 {
        let mut corpus = conversations(seed, 2_000);
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        for row in 0..400 {
            if row % 8 == 0 {
                // A task with one answer, and one whose answers have no order.
                let who = ["cat", "baker", "queen", "mill"]
                    .choose(rng)
                    .map_or("", |who| who);
                let what = ["sleeps", "sings", "turns", "waits"]
                    .choose(rng)
                    .map_or("", |what| what);
                corpus.texts[row] =
                    format!("Is this sentence correct? Every {who} {what} {row} times");
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
fn a_small_memory_leaves_out_frequent_phrases_first() {
    let clean = conversations(1, 2_000);
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let (corpus, truth) = poison(&clean, "<SUDO>", 25, rng, |_, rng| noise(rng));
    let params = ResponseTriggerParams::default();
    let outcome = run_with_memory::<ResponseTrigger>(params, &corpus, 2, 4 << 20);
    assert_eq!(outcome.quarantined(), truth, "{:?}", outcome.findings);
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
