use lazaretto_testkit::seed::stream;
use lazaretto_testkit::{InstructionSet, ReviewSet, leaks};

use super::*;
use crate::text::test_support::{Corpus, Outcome, run};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<Secrets>(SecretsParams::default(), corpus, partitions)
}

#[test]
fn secrets_of_every_form_are_held_back_and_masked() {
    for seed in 0..3 {
        let rng = &mut stream(seed, "secrets");
        let mut corpus = Corpus::of_instructions(&InstructionSet::generate(seed, 2_000));
        let planted = leaks::secrets_of_every_form(rng, 20);
        for (row, (_, line, _)) in planted.iter().enumerate() {
            corpus.responses[2 * row] = format!("{}\n{line}", corpus.responses[2 * row]);
        }
        let outcome = scan(&corpus, 1);
        let held = outcome.quarantined();
        let missed: Vec<&String> = planted
            .iter()
            .enumerate()
            .filter(|(row, _)| !held.contains(&(2 * *row as u64)))
            .map(|(_, (_, line, _))| line)
            .collect();
        assert!(
            missed.len() * 100 <= planted.len(),
            "{} missed: {missed:#?}",
            missed.len()
        );
        let extra = held
            .iter()
            .filter(|&&record| record % 2 == 1 || record >= 2 * planted.len() as u64);
        assert_eq!(extra.count(), 0);
        let told = format!("{:?}", outcome.findings);
        for (_, line, value) in &planted {
            assert!(!told.contains(value.as_str()), "{line}");
        }
        assert_eq!(scan(&corpus, 5), outcome, "partitions must not matter");
    }
}

#[test]
fn look_alikes_and_ordinary_texts_are_left() {
    for seed in 0..3 {
        let rng = &mut stream(seed, "look-alikes");
        let texts = (0..3_000).map(|_| leaks::look_alike(rng)).collect();
        let outcome = scan(&Corpus::unlabelled(texts), 2);
        assert_eq!(outcome.findings, [], "seed {seed}");
        let reviews = Corpus::of(&ReviewSet::generate(seed, 1_000).with_nuisances(seed));
        assert_eq!(scan(&reviews, 1).findings, []);
    }
}

#[test]
fn assigned_values_can_be_left_out() {
    let texts = vec!["api_key = \"q7LwZ2rT9xKf4MvB8sYd3HnC6jPgAe0R\"".to_owned()];
    let corpus = Corpus::unlabelled(texts);
    assert_eq!(scan(&corpus, 1).quarantined(), [0]);
    let known = run::<Secrets>(SecretsParams { assigned: false }, &corpus, 1);
    assert_eq!(known.findings, []);
}
