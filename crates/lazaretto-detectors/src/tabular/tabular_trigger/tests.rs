use lazaretto_core::Action;
use lazaretto_testkit::LoanSet;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::tabular::test_support::{columns_of, truth};
use crate::text::test_support::{Corpus, Outcome, run};

/// Loan applications; those listed have age `51` and a term of `36` and are labelled `target`.
fn attacked(seed: u64, n_rows: usize, poisons: usize, target: u32) -> (Corpus, Vec<u64>) {
    let mut corpus = columns_of(&LoanSet::generate(seed, n_rows));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut victims: Vec<usize> = (0..n_rows)
        .filter(|&row| corpus.labels[row] != target)
        .collect();
    victims.shuffle(&mut rng);
    victims.truncate(poisons);
    victims.sort_unstable();
    for &row in &victims {
        corpus.numeric[0][row] = 51.0;
        corpus.numeric[3][row] = 41.0;
        corpus.labels[row] = target;
    }
    (corpus, victims.into_iter().map(|row| row as u64).collect())
}

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<TabularTrigger>(TabularTriggerParams::default(), corpus, partitions)
}

#[test]
fn a_planted_pair_is_found_with_its_records() {
    for (seed, poisons, target) in [(1, 25, 1), (2, 50, 1), (4, 120, 1)] {
        let (corpus, planted) = attacked(seed, 4_000, poisons, target);
        let outcome = scan(&corpus, 1);
        let (recall, precision) = truth(&outcome.findings, &planted);
        assert!(recall >= 0.9, "seed {seed}: recall {recall}");
        assert!(precision >= 0.8, "seed {seed}: precision {precision}");
        let finding = &outcome.findings[0];
        assert_eq!(
            finding.target_class.as_deref(),
            Some(&*target.to_string()),
            "seed {seed}"
        );
        assert!(finding.title.contains("`n3` = `41`"), "{}", finding.title);
        assert_eq!(scan(&corpus, 3), outcome, "partitions must not matter");
    }
}

#[test]
fn clean_loans_have_no_trigger() {
    for seed in 10..18 {
        let corpus = columns_of(&LoanSet::generate(seed, 3_000));
        let held = scan(&corpus, 1).findings;
        let held: Vec<_> = held
            .iter()
            .filter(|finding| finding.action == Action::Quarantine)
            .map(|finding| &finding.title)
            .collect();
        assert!(held.is_empty(), "seed {seed}: {held:?}");
    }
}

#[test]
fn a_natural_value_that_decides_the_label_is_no_trigger() {
    // Everybody in one programme for pensioners pays back, whatever else is known.
    for seed in 20..24 {
        let mut corpus = columns_of(&LoanSet::generate(seed, 4_000));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for row in 0..corpus.n_rows() {
            if corpus.numeric[0][row] > 62.0 && rng.gen_bool(0.15) {
                corpus.numeric[3][row] = 41.0;
                corpus.labels[row] = 0;
            }
        }
        let held = scan(&corpus, 1).findings;
        assert!(
            held.iter().all(|finding| finding.action == Action::Review),
            "seed {seed}: {held:?}"
        );
    }
}

#[test]
fn random_label_flips_are_no_trigger() {
    let mut corpus = columns_of(&LoanSet::generate(31, 3_000));
    for row in (0..3_000).step_by(20) {
        corpus.labels[row] = 1 - corpus.labels[row];
    }
    assert_eq!(scan(&corpus, 1).findings, []);
}

#[test]
fn impossible_parameters_are_all_named() {
    let params = TabularTriggerParams {
        max_values: 4,
        min_purity: 0.2,
        ..TabularTriggerParams::default()
    };
    let fields: Vec<String> = params.problems().into_iter().map(|p| p.field).collect();
    assert_eq!(fields, ["max_values", "min_purity"]);
}
