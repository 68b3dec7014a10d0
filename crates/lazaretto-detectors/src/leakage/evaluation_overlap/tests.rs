use std::collections::BTreeMap;

use lazaretto_core::{Evaluation, EvaluationText, TextField, TextPart};
use lazaretto_features::tokenize;
use lazaretto_testkit::ReviewSet;

use super::index::Index;

fn words(text: &str) -> Vec<u64> {
    let field = TextField {
        name: "text".to_owned(),
        part: TextPart::Text,
        values: [Some(text)].into_iter().collect(),
    };
    tokenize(&field).row(0).to_vec()
}

fn evaluation(texts: &[String]) -> Evaluation {
    let texts = texts.iter().enumerate().map(|(row, text)| EvaluationText {
        file: 0,
        row: row as u64,
        words: words(text),
        excerpt: text.chars().take(80).collect(),
    });
    Evaluation {
        files: vec!["test.jsonl".to_owned()],
        texts: texts.collect(),
    }
}

/// The evaluation texts that `text` contains.
fn contained(index: &Index, text: &str) -> Vec<u32> {
    let mut contained = BTreeMap::new();
    index.search(&words(text), &mut contained);
    contained.into_keys().collect()
}

const QUESTION: &str = "A farmer has seventeen goats and sells all but nine of them to his \
    neighbour for forty crowns each; how much money does he get?";

#[test]
fn a_text_is_found_whole_in_part_and_edited() {
    let index = Index::new(&evaluation(&[QUESTION.to_owned()]), 8, 0.5, 1);
    assert_eq!(
        contained(&index, &format!("Solve this. {QUESTION} Answer: 320")),
        [0]
    );
    assert_eq!(
        contained(&index, &QUESTION.to_uppercase().replace(',', "")),
        [0]
    );
    assert_eq!(contained(&index, &QUESTION[..QUESTION.len() * 2 / 3]), [0]);
    let edited = QUESTION
        .replace("has", "had")
        .replace("to his", "to a")
        .replace("much", "much of the");
    assert_eq!(contained(&index, &edited), [0], "by its words");
    assert!(contained(&index, &QUESTION[..QUESTION.len() / 3]).is_empty());
    assert!(contained(&index, "").is_empty());
}

#[test]
fn the_template_of_an_evaluation_set_does_not_count() {
    let asked = |number: usize| {
        format!(
            "Read the following passage and answer the question with yes or no, giving no reason: \
             passage {number} zeta{number} eta{number} theta{number} iota{number} kappa{number} \
             lambda{number} my{number} ny{number}"
        )
    };
    let texts: Vec<String> = (0..20).map(asked).collect();
    let index = Index::new(&evaluation(&texts), 8, 0.5, 1);
    assert_eq!(contained(&index, &asked(7)), [7]);
    assert!(contained(&index, &asked(99)).is_empty());
}

#[test]
fn reviews_of_one_generator_do_not_contain_each_other() {
    let texts = |seed| -> Vec<String> {
        let reviews = ReviewSet::generate(seed, 500).reviews;
        reviews.into_iter().map(|review| review.text).collect()
    };
    let index = Index::new(&evaluation(&texts(1)), 8, 0.5, 1);
    let hits = texts(2);
    let hits = hits
        .iter()
        .filter(|text| !contained(&index, text).is_empty());
    assert!(hits.count() <= 5);
}

#[test]
fn short_texts_are_counted_and_not_searched() {
    let texts = [
        "What is the capital of France?".to_owned(),
        QUESTION.to_owned(),
    ];
    let index = Index::new(&evaluation(&texts), 8, 0.5, 1);
    assert_eq!((index.n_searched(), index.n_too_short_of(0)), (1, 1));
    assert!(contained(&index, "What is the capital of France? Paris.").is_empty());
}
