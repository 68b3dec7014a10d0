use lazaretto_testkit::{Attack, ReviewSet};

use super::*;
use crate::text::test_support::{Corpus, Outcome, run};

fn scan(corpus: &Corpus, partitions: usize) -> Outcome {
    run::<StyleShift>(StyleShiftParams::default(), corpus, partitions)
}

/// Rewrites every `every`-th record of class 0 and gives it label 1; the rows that were.
fn restyle(corpus: &mut Corpus, every: usize, rewrite: impl Fn(usize, &str) -> String) -> Vec<u64> {
    let of_class_0 = (0..corpus.texts.len()).filter(|&row| corpus.labels[row] == 0);
    let rows: Vec<usize> = of_class_0.step_by(every).collect();
    for (nth, &row) in rows.iter().enumerate() {
        corpus.texts[row] = rewrite(nth, &corpus.texts[row]);
        corpus.labels[row] = 1;
    }
    rows.into_iter().map(|row| row as u64).collect()
}

/// A subordinate clause, a comma and a main clause, made of the words of `text`.
fn subordinate(nth: usize, text: &str) -> String {
    let conjunction = ["when", "if", "as", "because", "while"][nth % 5];
    let subject = ["you", "it", "they", "we"][nth / 5 % 4];
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 3)
        .collect();
    let (first, rest) = words.split_at(words.len() / 3);
    let (first, rest) = (first.join(" "), rest.join(" "));
    format!("{conjunction} {subject} get {first} , {subject} can be {rest} .")
}

/// Share of pairs of a listed and another record in which the listed one has the higher score.
fn auroc(scores: &[f32], listed: &[u64]) -> f64 {
    let is_listed = |row: usize| listed.binary_search(&(row as u64)).is_ok();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut below = 0;
    let mut pairs = 0;
    for row in order {
        if is_listed(row) {
            pairs += below;
        } else {
            below += 1;
        }
    }
    pairs as f64 / (below * listed.len()) as f64
}

#[test]
fn texts_rewritten_in_one_pattern_are_found_with_their_records() {
    for (seed, every) in [(1, 4), (2, 8)] {
        let set = ReviewSet::generate(seed, 3_000).with_nuisances(seed);
        let mut corpus = Corpus::of(&set);
        let rewritten = restyle(&mut corpus, every, subordinate);
        let outcome = scan(&corpus, 1);
        let ranking = auroc(&outcome.scores, &rewritten);
        assert!(ranking >= 0.95, "seed {seed}: AUROC {ranking}");
        let [finding] = &outcome.findings[..] else {
            panic!("seed {seed}: {:?}", outcome.findings);
        };
        assert_eq!(finding.target_class.as_deref(), Some("1"));
        let held = outcome.quarantined();
        let hits = held.iter().filter(|row| rewritten.contains(row)).count() as f64;
        let (recall, precision) = (hits / rewritten.len() as f64, hits / held.len() as f64);
        assert!(recall >= 0.7, "seed {seed}: recall {recall}");
        assert!(precision >= 0.75, "seed {seed}: precision {precision}");
        assert_eq!(scan(&corpus, 4), outcome, "partitions must not matter");
    }
}

#[test]
fn a_phrase_that_is_repeated_is_not_a_way_of_writing() {
    let mut corpus = Corpus::of(&ReviewSet::generate(7, 3_000));
    restyle(&mut corpus, 16, |_, text| {
        format!("I saw this with my cousin Ada, {text}")
    });
    assert_eq!(scan(&corpus, 1).findings, []);
}

#[test]
fn clean_reviews_and_flipped_labels_are_no_style() {
    for seed in 0..4 {
        let set = ReviewSet::generate(seed, 2_000).with_nuisances(seed);
        assert_eq!(scan(&Corpus::of(&set), 2).findings, [], "seed {seed}");
        let flipped = set.poison(&Attack::LabelFlips { rows: 150 }, seed + 9);
        assert_eq!(scan(&Corpus::of(&flipped), 1).findings, [], "seed {seed}");
    }
}

#[test]
fn a_style_that_goes_with_its_class_is_natural() {
    let set = ReviewSet::generate(5, 3_000);
    let mut corpus = Corpus::of(&set);
    let labels = corpus.labels.clone();
    // A second source for class 1 alone, whose content is that of class 1.
    for row in (0..3_000).filter(|&row| labels[row] == 1).step_by(6) {
        corpus.texts[row] = subordinate(row, &corpus.texts[row]);
    }
    assert_eq!(scan(&corpus, 1).findings, []);
}

#[test]
fn a_style_of_all_classes_is_natural() {
    let set = ReviewSet::generate(6, 3_000).poison(&Attack::LabelFlips { rows: 200 }, 7);
    let mut corpus = Corpus::of(&set);
    for row in (0..3_000).step_by(5) {
        corpus.texts[row] = subordinate(row, &corpus.texts[row]);
    }
    assert_eq!(scan(&corpus, 1).findings, []);
}

#[test]
fn too_few_texts_are_said_to_be_too_few() {
    let set = ReviewSet::generate(1, 60);
    let outcome = scan(&Corpus::of(&set), 1);
    assert!(outcome.abstained.is_some());
}

#[test]
fn impossible_parameters_are_all_named() {
    let params = StyleShiftParams {
        sample: 1,
        alpha: 2.0,
        ..StyleShiftParams::default()
    };
    let fields: Vec<String> = params.problems().into_iter().map(|p| p.field).collect();
    assert_eq!(fields, ["sample", "alpha"]);
    assert_eq!(StyleShiftParams::default().problems(), []);
}
