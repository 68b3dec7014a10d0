use lazaretto_testkit::seed::stream;
use lazaretto_testkit::{InstructionSet, ReviewSet, leaks};

use super::*;
use crate::text::test_support::{Corpus, Outcome, run};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<PersonalData>(PersonalDataParams::default(), corpus, partitions)
}

#[test]
fn persons_of_many_countries_are_held_back_and_nobody_else() {
    for seed in 0..3 {
        let rng = &mut stream(seed, "persons");
        let mut corpus = Corpus::of_instructions(&InstructionSet::generate(seed, 2_000));
        let planted: Vec<String> = (0..400).map(|_| leaks::person(rng)).collect();
        for (row, line) in planted.iter().enumerate() {
            corpus.responses[2 * row] = format!("{}\n{line}", corpus.responses[2 * row]);
        }
        let outcome = scan(&corpus, 1);
        let held = outcome.quarantined();
        let missed: Vec<&String> = (0..planted.len())
            .filter(|row| !held.contains(&(2 * *row as u64)))
            .map(|row| &planted[row])
            .collect();
        assert!(
            missed.len() * 50 <= planted.len(),
            "{} missed: {missed:#?}",
            missed.len()
        );
        assert!(held.iter().all(|record| record % 2 == 0 && *record < 800));
        assert_eq!(scan(&corpus, 5), outcome, "partitions must not matter");
        let told = format!("{:?}", outcome.findings);
        assert!(!told.contains('@'), "{told}");
    }
}

#[test]
fn look_alikes_and_ordinary_texts_are_left() {
    for seed in 0..3 {
        let rng = &mut stream(seed, "look-alikes");
        let texts = (0..3_000).map(|_| leaks::look_alike(rng)).collect();
        let outcome = scan(&Corpus::unlabelled(texts), 2);
        assert_eq!(
            outcome.quarantined(),
            [0_u64; 0],
            "seed {seed}: {:?}",
            outcome.findings
        );
        let reviews = Corpus::of(&ReviewSet::generate(seed, 1_000).with_nuisances(seed));
        assert_eq!(scan(&reviews, 1).quarantined(), [0_u64; 0]);
    }
}

#[test]
fn the_threshold_decides_about_lone_addresses() {
    let corpus = Corpus::unlabelled(vec!["write to petra.novakova@seznam.cz".to_owned()]);
    let outcome = scan(&corpus, 1);
    assert_eq!(outcome.quarantined(), [0_u64; 0]);
    assert_eq!(outcome.findings[0].action, Action::Review);
    assert_eq!(outcome.findings[0].highlight, ["pe…(24 chars)"]);
    let strict = PersonalDataParams { threshold: 0.4 };
    assert_eq!(run::<PersonalData>(strict, &corpus, 1).quarantined(), [0]);
    let problems = PersonalDataParams { threshold: 0.0 }.problems();
    assert_eq!(problems[0].field, "threshold");
}
