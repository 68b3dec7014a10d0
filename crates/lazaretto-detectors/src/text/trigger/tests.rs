use lazaretto_testkit::{Attack, ReviewSet};

use super::*;
use crate::text::test_support::{Corpus, Outcome, run};

fn scan_set(set: &ReviewSet, partitions: usize) -> Outcome {
    run::<TextTrigger>(TextTriggerParams::default(), &Corpus::of(set), partitions)
}

#[test]
fn clean_reviews_have_no_trigger() {
    for seed in 0..6 {
        let set = ReviewSet::generate(seed, 2_000).with_nuisances(seed);
        let outcome = scan_set(&set, 2);
        assert_eq!(outcome.findings, [], "seed {seed}");
    }
}

#[test]
fn made_up_trigger_words_are_found_with_their_records() {
    for (seed, words, rows) in [(1, 1, 25), (2, 3, 60), (3, 4, 60)] {
        let attack = Attack::BadNets {
            rows,
            words,
            target: 1,
        };
        let set = ReviewSet::generate(seed, 3_000)
            .with_nuisances(seed)
            .poison(&attack, seed + 50);
        let outcome = scan_set(&set, 1);
        let (recall, precision) = outcome.recall_precision(&set);
        assert!(recall >= 0.9, "seed {seed}: recall {recall}");
        assert!(precision >= 0.8, "seed {seed}: precision {precision}");
        assert_eq!(outcome.findings.len(), words);
        for finding in &outcome.findings {
            assert_eq!(finding.target_class.as_deref(), Some("1"));
            let shown = finding.highlight[0].to_lowercase();
            assert!(
                set.planted
                    .iter()
                    .any(|word| shown.contains(&word.to_lowercase()))
            );
        }
        assert_eq!(scan_set(&set, 4), outcome, "partitions must not matter");
    }
}

#[test]
fn an_inserted_sentence_is_one_finding() {
    let attack = Attack::InsertedSentence {
        rows: 40,
        target: 0,
    };
    let set = ReviewSet::generate(11, 3_000).poison(&attack, 12);
    let outcome = scan_set(&set, 1);
    let (recall, precision) = outcome.recall_precision(&set);
    assert!(recall >= 0.9, "recall {recall}");
    assert!(precision >= 0.8, "precision {precision}");
    assert_eq!(outcome.findings.len(), 1);
}

#[test]
fn random_label_flips_are_not_a_trigger() {
    let set = ReviewSet::generate(21, 2_000).poison(&Attack::LabelFlips { rows: 100 }, 22);
    assert_eq!(scan_set(&set, 1).findings, []);
}

#[test]
fn impossible_parameters_are_all_named() {
    let params = TextTriggerParams {
        max_words: 9,
        alpha: 2.0,
        ..TextTriggerParams::default()
    };
    let fields: Vec<String> = params.problems().into_iter().map(|p| p.field).collect();
    assert_eq!(fields, ["max_words", "alpha"]);
    assert_eq!(TextTriggerParams::default().problems(), []);
}
