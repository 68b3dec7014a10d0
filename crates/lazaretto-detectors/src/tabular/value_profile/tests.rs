use lazaretto_core::Action;
use lazaretto_testkit::{LoanAttack, LoanSet};
use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::tabular::test_support::{category, columns_of, truth};
use crate::text::test_support::{Corpus, Outcome, run};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<ValueProfile>(ValueProfileParams::default(), corpus, partitions)
}

fn held(outcome: &Outcome) -> Vec<&str> {
    let findings = outcome.findings.iter();
    findings
        .filter(|finding| finding.action == Action::Quarantine)
        .map(|finding| finding.title.as_str())
        .collect()
}

#[test]
fn clean_loans_are_all_let_through() {
    for seed in 0..8 {
        let corpus = columns_of(&LoanSet::generate(seed, 3_000));
        let outcome = scan(&corpus, 1);
        assert_eq!(held(&outcome), [""; 0], "seed {seed}");
    }
}

#[test]
fn numbers_out_of_range_are_held_back_with_the_rule_in_words() {
    for seed in 0..3 {
        let mut corpus = columns_of(&LoanSet::generate(seed, 4_000));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rows: Vec<usize> = index::sample(&mut rng, 4_000, 36).into_vec();
        for (idx, &row) in rows.iter().enumerate() {
            match idx % 3 {
                0 => corpus.numeric[0][row] = 999.0,
                1 => corpus.numeric[2][row] = -7_000.0,
                _ => corpus.numeric[6][row] = rng.gen_range(5.0..40.0),
            }
        }
        let planted: Vec<u64> = rows.iter().map(|&row| row as u64).collect();
        let outcome = scan(&corpus, 1);
        let (recall, precision) = truth(&outcome.findings, &planted);
        assert!(recall >= 0.9, "seed {seed}: recall {recall}");
        assert!(precision >= 0.99, "seed {seed}: precision {precision}");
        let titles = held(&outcome);
        let ages = "`n0` is `999` (12 records) where the next highest value is `84`";
        assert!(titles.contains(&ages), "{titles:?}");
        assert_eq!(scan(&corpus, 4), outcome, "partitions must not matter");
    }
}

#[test]
fn the_attack_of_the_testkit_is_held_back() {
    let attack = LoanAttack::OutOfRange { rows: 80 };
    let set = LoanSet::generate(5, 4_000).poison(&attack, 6);
    let poisoned = set.truth();
    let planted: Vec<u64> = (0..4_000_u64)
        .filter(|&row| poisoned[row as usize].is_some())
        .collect();
    let outcome = scan(&columns_of(&set), 1);
    let (recall, precision) = truth(&outcome.findings, &planted);
    assert!(recall >= 0.8, "recall {recall}: {:?}", held(&outcome));
    assert!(precision >= 0.99, "precision {precision}");
}

#[test]
fn a_natural_top_code_is_for_review_at_most() {
    // The richest are recorded as one round number far above all others.
    let mut corpus = columns_of(&LoanSet::generate(9, 4_000));
    for row in 0..4_000 {
        if corpus.numeric[1][row] > 90_000.0 && corpus.numeric[2][row] > 20_000.0 {
            corpus.numeric[1][row] = 9_999_999.0;
        }
    }
    let outcome = scan(&corpus, 1);
    assert_eq!(outcome.findings.len(), 1);
    assert_eq!(held(&outcome), [""; 0]);
}

#[test]
fn a_category_of_nothing_in_several_columns_is_held_back() {
    let mut corpus = columns_of(&LoanSet::generate(12, 4_000));
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let rows: Vec<usize> = index::sample(&mut rng, 4_000, 12).into_vec();
    for (idx, &row) in rows.iter().enumerate() {
        corpus.categorical[idx % 2][row] = category("Zorblax");
    }
    let planted: Vec<u64> = rows.iter().map(|&row| row as u64).collect();
    let outcome = scan(&corpus, 1);
    let (recall, precision) = truth(&outcome.findings, &planted);
    assert!(recall > 0.99 && precision > 0.99, "{recall}, {precision}");
}

#[test]
fn impossible_parameters_are_all_named() {
    let params = ValueProfileParams {
        min_records: 1,
        max_share: 0.5,
        ..ValueProfileParams::default()
    };
    let fields: Vec<String> = params.problems().into_iter().map(|p| p.field).collect();
    assert_eq!(fields, ["min_records", "max_share"]);
}
