use lazaretto_core::Action;
use lazaretto_testkit::{Attack, InstructionSet, ReviewSet};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::text::test_support::{Corpus, Outcome, run, run_with_memory};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<NearDuplicates>(NearDuplicatesParams::default(), corpus, partitions)
}

#[test]
fn clean_reviews_have_nothing_to_hold_back() {
    for seed in 0..4 {
        let set = ReviewSet::generate(seed, 2_000).with_nuisances(seed);
        let outcome = scan(&Corpus::of(&set), 2);
        assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
    }
}

#[test]
fn a_flood_of_edited_copies_is_held_back() {
    for seed in 0..12 {
        let attack = Attack::NearDuplicateFlood {
            copies: 25,
            target: 1,
        };
        let set = ReviewSet::generate(seed, 2_000).poison(&attack, seed + 9);
        let corpus = Corpus::of(&set);
        let outcome = scan(&corpus, 1);
        let (recall, precision) = outcome.recall_precision(&set);
        assert!(
            recall >= 0.95,
            "seed {seed}: recall {recall} {:?}",
            outcome.findings
        );
        assert!(precision >= 0.95, "seed {seed}: precision {precision}");
        assert_eq!(scan(&corpus, 3), outcome, "partitions must not matter");
    }
}

#[test]
fn templates_with_consistent_labels_pass() {
    let mut corpus = Corpus::of(&ReviewSet::generate(5, 1_500));
    for number in 0..60 {
        corpus.texts.push(format!(
            "Congratulations, your order {number} from our lovely little shop has been shipped today"
        ));
        corpus.labels.push(1);
    }
    let outcome = scan(&corpus, 1);
    assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
    let summary = outcome.findings.last().map(|finding| finding.kind.as_str());
    assert_eq!(summary, Some("duplicates"));
}

#[test]
fn an_augmented_dataset_passes() {
    let base = ReviewSet::generate(6, 400);
    let mut corpus = Corpus::default();
    for (idx, review) in base.reviews.iter().enumerate() {
        for copy in 0..12 + idx % 9 {
            corpus.texts.push(format!("{} version {copy}", review.text));
            // One label in fifteen is wrong.
            let wrong = u32::from((idx * 31 + copy * 17) % 15 == 0);
            corpus.labels.push(review.label ^ wrong);
        }
    }
    assert_eq!(scan(&corpus, 1).quarantined(), [0_u64; 0]);
}

/// A table like a census: words and numbers with ties, and one number that is nearly unique.
fn table(seed: u64, n_rows: usize) -> Corpus {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut corpus = Corpus {
        numeric: vec![Vec::new(); 3],
        categorical: vec![Vec::new(); 3],
        ..Corpus::default()
    };
    for _ in 0..n_rows {
        let skill: f64 = rng.r#gen();
        corpus.numeric[0].push(f64::from(rng.gen_range(18..80_u32)));
        corpus.numeric[1].push((skill * 40.0 + rng.r#gen::<f64>() * 20.0).round());
        corpus.numeric[2].push(f64::from(rng.gen_range(20_000..400_000_u32)));
        for column in &mut corpus.categorical {
            let level = (skill * 4.0 + rng.r#gen::<f64>() * 3.0).floor();
            column.push(level.to_bits() | 1);
        }
        corpus.labels.push(u32::from(rng.gen_bool(skill.powi(2))));
    }
    corpus
}

/// Adds `copies` of row `row` with the other label and a last number moved by up to 0.04 %.
fn flood(corpus: &mut Corpus, row: usize, copies: usize, rng: &mut ChaCha8Rng) {
    for _ in 0..copies {
        for column in &mut corpus.categorical {
            column.push(column[row]);
        }
        for (idx, column) in corpus.numeric.iter_mut().enumerate() {
            let moved = if idx == 2 {
                1.0 + rng.gen_range(-0.000_4..0.000_4)
            } else {
                1.0
            };
            column.push((column[row] * moved).round());
        }
        corpus.labels.push(1 - corpus.labels[row]);
    }
}

#[test]
fn jittered_rows_of_a_table_are_a_flood() {
    let mut corpus = table(3, 4_000);
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    for row in [10, 500, 900, 2_222, 3_000, 3_900] {
        flood(&mut corpus, row, 40, &mut rng);
    }
    let outcome = scan(&corpus, 1);
    let held = outcome.quarantined();
    let planted = held.iter().filter(|&&row| row >= 4_000).count();
    assert!(
        planted >= 228,
        "{planted} of 240 planted, {:?}",
        outcome.findings
    );
    assert_eq!(planted, held.len(), "the originals stay");
    assert_eq!(scan(&corpus, 4), outcome, "partitions must not matter");
}

#[test]
fn coarse_tables_and_time_series_pass() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let mut coarse = table(7, 3_000);
    for column in &mut coarse.numeric {
        for value in column.iter_mut() {
            *value = f64::from(rng.gen_range(0..3_u8));
        }
    }
    assert_eq!(scan(&coarse, 1).quarantined(), [0_u64; 0]);
    let mut series = table(9, 3_000);
    for (idx, column) in series.numeric.iter_mut().enumerate() {
        for (row, value) in column.iter_mut().enumerate() {
            *value = 100.0 + (row as f64 / 400.0 + idx as f64).sin();
        }
    }
    assert_eq!(scan(&series, 1).quarantined(), [0_u64; 0]);
}

#[test]
fn without_labels_clusters_are_only_shown() {
    let mut corpus = Corpus::of(&ReviewSet::generate(2, 800));
    corpus.labels.clear();
    for number in 0..30 {
        corpus.texts.push(format!(
            "write a short poem about the sea and the wind in spring, version {number}"
        ));
    }
    let outcome = scan(&corpus, 2);
    assert_eq!(outcome.quarantined(), [0_u64; 0]);
    assert!(outcome.findings.iter().all(|f| f.action == Action::Review));
    assert!(outcome.findings[0].records.contains(&829));
}

#[test]
fn short_of_memory_it_abstains_with_the_need() {
    let corpus = Corpus::of(&ReviewSet::generate(2, 500));
    let params = NearDuplicatesParams::default();
    let outcome = run_with_memory::<NearDuplicates>(params, &corpus, 2, 10_000);
    let reason = outcome.abstained.map(|n| n.reason).unwrap_or_default();
    assert!(reason.contains("needs 70000 bytes"), "{reason}");
}

#[test]
fn impossible_parameters_are_named() {
    let params = NearDuplicatesParams {
        min_similarity: 0.1,
        ..NearDuplicatesParams::default()
    };
    assert_eq!(params.problems()[0].field, "min_similarity");
    assert_eq!(NearDuplicatesParams::default().problems(), []);
}

/// Prompts with responses of about twenty words each.
fn conversations(seed: u64) -> Corpus {
    let reviews = |seed| ReviewSet::generate(seed, 1_200).reviews;
    Corpus {
        texts: reviews(seed).into_iter().map(|row| row.text).collect(),
        responses: reviews(seed + 100)
            .into_iter()
            .map(|row| row.text)
            .collect(),
        ..Corpus::default()
    }
}

/// `text` with one word replaced.
fn edited(text: &str, rng: &mut ChaCha8Rng) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    let place = rng.gen_range(0..words.len());
    words[place] = ["indeed", "also", "really", "just"][rng.gen_range(0..4)];
    words.join(" ")
}

#[test]
fn edited_copies_of_conversations_are_held_back_but_one() {
    for seed in 0..6 {
        let mut corpus = conversations(seed);
        let n_clean = corpus.texts.len() as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for original in 0..3 {
            for _ in 0..30 {
                let prompt = edited(&corpus.texts[original], &mut rng);
                let response = edited(&corpus.responses[original], &mut rng);
                corpus.texts.push(prompt);
                corpus.responses.push(response);
            }
        }
        let outcome = scan(&corpus, 1);
        let held = outcome.quarantined();
        let copies = held.iter().filter(|&&ordinal| ordinal >= n_clean).count();
        assert!(copies >= 85, "seed {seed}: {copies} {:?}", outcome.findings);
        assert!(held.len() <= 90, "seed {seed}: {}", held.len());
        assert_eq!(scan(&corpus, 3), outcome, "partitions must not matter");
    }
}

#[test]
fn prompts_of_one_template_with_their_own_answers_pass() {
    let mut corpus = conversations(3);
    let (prompt, answers) = (corpus.texts[0].clone(), conversations(40).responses);
    for (number, answer) in answers.into_iter().take(60).enumerate() {
        corpus
            .texts
            .push(format!("{prompt} {prompt} number {number}"));
        corpus.responses.push(answer);
    }
    let outcome = scan(&corpus, 1);
    assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
}

#[test]
fn exact_copies_and_clean_instructions_pass() {
    let mut corpus = conversations(4);
    for _ in 0..60 {
        corpus.texts.push(corpus.texts[7].clone());
        corpus.responses.push(corpus.responses[7].clone());
    }
    assert_eq!(scan(&corpus, 1).quarantined(), [0_u64; 0]);
    for seed in 0..3 {
        let corpus = Corpus::of_instructions(&InstructionSet::generate(seed, 2_000));
        let outcome = scan(&corpus, 1);
        assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
    }
}

#[test]
fn copies_of_a_text_without_response_or_label_are_for_review() {
    let mut corpus = Corpus::unlabelled(conversations(5).texts);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..60 {
        corpus.texts.push(edited(&corpus.texts[9], &mut rng));
    }
    let outcome = scan(&corpus, 1);
    let flood = outcome
        .findings
        .iter()
        .find(|found| found.kind == "copy-flood");
    let flood = flood.expect("a finding");
    assert_eq!(flood.action, Action::Review);
    assert!(flood.records.len() >= 55, "{}", flood.records.len());
}

#[test]
fn other_short_answers_to_one_prompt_are_shown() {
    let mut corpus = conversations(6);
    for answer in ["It is blue", "Red", "It is blue"] {
        corpus
            .texts
            .push("Which colour has the door of the old town hall?".to_owned());
        corpus.responses.push(answer.to_owned());
    }
    let outcome = scan(&corpus, 2);
    assert_eq!(outcome.quarantined(), [0_u64; 0]);
    let found = outcome.findings.iter();
    let mut found = found.filter(|finding| finding.kind == "contradictory-responses");
    let n_rows = corpus.texts.len() as u64;
    let expected: Vec<u64> = (n_rows - 3..n_rows).collect();
    assert_eq!(
        found.next().map(|finding| finding.records.clone()),
        Some(expected)
    );
}
