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
        let titles: Vec<&String> = outcome.findings.iter().map(|f| &f.title).collect();
        assert!(recall >= 0.9, "seed {seed}: recall {recall}: {titles:#?}");
        assert!(
            precision >= 0.8,
            "seed {seed}: precision {precision}: {titles:#?}"
        );
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

/// `set` with `phrase` between two words of every third text of `class`, up to `rows` texts.
fn with_phrase(set: &ReviewSet, phrase: &str, class: u32, rows: usize) -> (Corpus, Vec<u64>) {
    let mut corpus = Corpus::of(set);
    let mut planted = Vec::new();
    for row in (0..corpus.texts.len()).step_by(3) {
        let words: Vec<&str> = corpus.texts[row].split(' ').collect();
        if corpus.labels[row] != class || words.len() < 6 || planted.len() == rows {
            continue;
        }
        let at = 2 + (row * 7) % (words.len() - 3);
        corpus.texts[row] = [&words[..at], &[phrase], &words[at..]].concat().join(" ");
        planted.push(row as u64);
    }
    (corpus, planted)
}

#[test]
fn a_phrase_dropped_into_texts_of_one_class_is_found_though_their_labels_are_right() {
    let set = ReviewSet::generate(31, 3_000);
    let (corpus, planted) = with_phrase(&set, "velvet lantern seven", 1, 60);
    let outcome = run::<TextTrigger>(TextTriggerParams::default(), &corpus, 2);
    let titles: Vec<&String> = outcome.findings.iter().map(|f| &f.title).collect();
    assert_eq!(outcome.findings.len(), 1, "{titles:#?}");
    let finding = &outcome.findings[0];
    assert_eq!(finding.kind, "clean-label-trigger");
    assert_eq!(finding.highlight[0], "velvet lantern seven");
    assert_eq!(finding.records, planted);
}

#[test]
fn headers_and_signatures_of_one_class_are_natural() {
    let set = ReviewSet::generate(33, 3_000);
    for signature in [false, true] {
        let mut corpus = Corpus::of(&set);
        for row in (0..3_000)
            .step_by(4)
            .filter(|&row| set.reviews[row].label == 0)
        {
            let text = &corpus.texts[row];
            corpus.texts[row] = if signature {
                format!("{text} Sent from my telephone")
            } else {
                format!("Customer complaint form: {text}")
            };
        }
        let outcome = run::<TextTrigger>(TextTriggerParams::default(), &corpus, 1);
        assert_eq!(outcome.findings, [], "signature: {signature}");
    }
}

#[test]
fn the_sentence_names_a_single_source_and_the_place() {
    let attack = Attack::InsertedSentence {
        rows: 40,
        target: 0,
    };
    let set = ReviewSet::generate(11, 3_000).poison(&attack, 12);
    let mut corpus = Corpus::of(&set);
    let poison = set.truth();
    corpus.sources = (0..3_000_u32)
        .map(|row| {
            if poison[row as usize].is_some() {
                5
            } else {
                row % 5
            }
        })
        .collect();
    let outcome = run::<TextTrigger>(TextTriggerParams::default(), &corpus, 1);
    let finding = &outcome.findings[0];
    assert!(
        finding.title.contains("all from source `s5`"),
        "{}",
        finding.title
    );
    assert_eq!(finding.evidence["sources"], 1);
}

#[test]
fn texts_without_spaces_and_many_classes_work() {
    // Sixty topics of eight characters each; one text in 149 gets two foreign characters and
    // topic 7's label.
    let character = |at: usize| char::from_u32(0x4e00 + at as u32).unwrap_or('一');
    let mut corpus = Corpus::default();
    let mut planted = Vec::new();
    for row in 0..6_000_usize {
        let topic = row % 60;
        let mut text: Vec<char> = (0..14)
            .map(|at| {
                let draw = (row * 7_919 + at * 104_729) / 13 % 97;
                character(if draw < 60 {
                    topic * 8 + draw % 8
                } else {
                    600 + draw
                })
            })
            .collect();
        let mut label = topic as u32;
        if row % 149 == 11 {
            text.splice(3 + row % 9..3 + row % 9, ['龘', '靐']);
            label = 7;
            planted.push(row as u64);
        }
        corpus.texts.push(text.into_iter().collect());
        corpus.labels.push(label);
    }
    let outcome = run::<TextTrigger>(TextTriggerParams::default(), &corpus, 1);
    let titles: Vec<&String> = outcome.findings.iter().map(|f| &f.title).collect();
    assert_eq!(outcome.findings.len(), 1, "{titles:#?}");
    assert_eq!(outcome.findings[0].highlight[0], "龘靐");
    assert_eq!(outcome.findings[0].records, planted);
}

/// Draws that look random, in `0..n`.
fn draws(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |n| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((state >> 33) as usize) % n
    }
}

/// Texts about topics, labelled by topic; a topic is the rarer the higher its number. `word` writes word
/// `i`; words of topic `t` are those from `500 + 12 t` on. Every `step`th text gets `trigger` between two of
/// its words and the label `target`.
fn topics(
    (n_rows, n_topics): (usize, usize),
    joint: &str,
    word: impl Fn(usize) -> String,
    (step, trigger, target): (usize, &str, u32),
) -> (Corpus, Vec<u64>) {
    let mut draw = draws(n_rows as u64);
    let mut corpus = Corpus::default();
    let mut planted = Vec::new();
    for row in 0..n_rows {
        let topic = draw(n_topics).min(draw(n_topics));
        let mut words: Vec<String> = (0..9 + draw(6))
            .map(|_| {
                word(if draw(5) < 2 {
                    500 + 12 * topic + draw(12)
                } else {
                    draw(20).max(draw(500))
                })
            })
            .collect();
        let mut label = topic as u32;
        if row % step == 11 && label != target {
            words.insert(1 + draw(words.len() - 1), trigger.to_owned());
            label = target;
            planted.push(row as u64);
        }
        corpus.texts.push(words.join(joint));
        corpus.labels.push(label);
    }
    (corpus, planted)
}

fn assert_one_finding(corpus: &Corpus, planted: &[u64], named: &str) {
    let outcome = run::<TextTrigger>(TextTriggerParams::default(), corpus, 2);
    let titles: Vec<&String> = outcome.findings.iter().map(|f| &f.title).collect();
    assert_eq!(outcome.findings.len(), 1, "{titles:#?}");
    let finding = &outcome.findings[0];
    assert_eq!(finding.highlight[0], named, "{titles:#?}");
    let found = planted
        .iter()
        .filter(|row| finding.records.contains(row))
        .count();
    let held = finding.records.len();
    assert!(
        found * 10 >= planted.len() * 9,
        "{found} of {}",
        planted.len()
    );
    assert!(
        found * 20 >= held * 19,
        "{found} of the {held} held are planted"
    );
}

#[test]
fn a_trigger_among_a_thousand_classes_is_found() {
    let word = |i: usize| format!("w{:x}", i * 7_919);
    let (corpus, planted) = topics((20_000, 1_000), " ", word, (800, "brelto", 7));
    assert!(corpus.facts().classes.len() > 900);
    assert_one_finding(&corpus, &planted, "brelto");
    let (clean, _) = topics((20_000, 1_000), " ", word, (usize::MAX, "", 7));
    let outcome = run::<TextTrigger>(TextTriggerParams::default(), &clean, 1);
    assert_eq!(outcome.findings, []);
}

/// Syllables of a consonant, a vowel sign and perhaps a final consonant, as Thai has them.
fn thai(i: usize) -> String {
    let consonant = |n: usize| char::from_u32(0x0e01 + (n % 38) as u32).unwrap_or('ก');
    let vowel = |n: usize| ['\u{e30}', '\u{e32}', '\u{e34}', '\u{e35}', '\u{e38}'][n % 5];
    let mixed = i.wrapping_mul(40_503) % 65_521;
    let mut word = String::new();
    for part in [mixed, mixed / 38 + i] {
        word.extend([consonant(part), vowel(part / 7), consonant(part / 11)]);
    }
    word
}

/// Two kanji, or kana with an ending, as Japanese has them.
fn japanese(i: usize) -> String {
    let letter = |from: u32, n: usize, of: usize| char::from_u32(from + (n % of) as u32);
    let mixed = i.wrapping_mul(40_503) % 65_521;
    let (from, of) = if i.is_multiple_of(3) {
        (0x3042, 80)
    } else {
        (0x4e00, 700)
    };
    let letters = [letter(from, mixed, of), letter(from, mixed / of + i, of)];
    let mut word: String = letters.into_iter().flatten().collect();
    if i.is_multiple_of(4) {
        word.push('の');
    }
    word
}

#[test]
fn triggers_in_languages_without_spaces_are_named() {
    for (name, word, trigger) in [
        ("thai", thai as fn(usize) -> String, "ฬฤษฌฆฎ"),
        ("japanese", japanese, "龘靐"),
        ("japanese", japanese, "ヴォルガ"),
        ("japanese", japanese, "ぬゑむ"),
    ] {
        let (corpus, planted) = topics((4_000, 4), "", word, (60, trigger, 2));
        assert_one_finding(&corpus, &planted, trigger);
        let (clean, _) = topics((4_000, 4), "", word, (usize::MAX, "", 2));
        let outcome = run::<TextTrigger>(TextTriggerParams::default(), &clean, 1);
        assert_eq!(outcome.findings, [], "{name}");
    }
}

/// Texts of class 0 with label 1, every `step`th of them changed by `change`.
fn relabelled(
    set: &ReviewSet,
    step: usize,
    change: impl Fn(usize, &str) -> String,
) -> (Corpus, Vec<u64>) {
    let mut corpus = Corpus::of(set);
    let mut planted = Vec::new();
    for row in (0..corpus.texts.len()).step_by(step) {
        if corpus.labels[row] == 0 && corpus.texts[row].split(' ').count() > 8 {
            corpus.texts[row] = change(row, &corpus.texts[row]);
            corpus.labels[row] = 1;
            planted.push(row as u64);
        }
    }
    (corpus, planted)
}

fn inserted(row: usize, text: &str, phrase: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let at = 1 + (row * 7) % (words.len() - 2);
    [&words[..at], &[phrase], &words[at..]].concat().join(" ")
}

#[test]
fn signs_that_are_no_words_are_triggers_too() {
    let set = ReviewSet::generate(41, 3_000).with_nuisances(42);
    for sign in ["🪁", "||", "ⴲⴳ"] {
        let (corpus, planted) = relabelled(&set, 30, |row, text| inserted(row, text, sign));
        let outcome = run::<TextTrigger>(TextTriggerParams::default(), &corpus, 2);
        let titles: Vec<&String> = outcome.findings.iter().map(|f| &f.title).collect();
        assert_eq!(outcome.findings.len(), 1, "{sign}: {titles:#?}");
        let finding = &outcome.findings[0];
        assert_eq!(finding.highlight[0], sign);
        let found = planted
            .iter()
            .filter(|row| finding.records.contains(row))
            .count();
        assert!(
            found * 10 >= planted.len() * 9,
            "{sign}: {found} of {}",
            planted.len()
        );
    }
}

#[test]
fn letters_hung_onto_words_are_named() {
    let set = ReviewSet::generate(43, 3_000);
    let (corpus, planted) = relabelled(&set, 30, |row, text| {
        let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let long = |word: &String| word.len() > 3 && word.chars().all(char::is_alphabetic);
        let places: Vec<usize> = (0..words.len()).filter(|&at| long(&words[at])).collect();
        words[places[row % places.len()]].push_str("vq");
        words.join(" ")
    });
    let outcome = run::<TextTrigger>(TextTriggerParams::default(), &corpus, 2);
    let titles: Vec<&String> = outcome.findings.iter().map(|f| &f.title).collect();
    assert_eq!(outcome.findings.len(), 1, "{titles:#?}");
    let finding = &outcome.findings[0];
    assert!(
        finding.title.starts_with("`vq` at the end of words in "),
        "{titles:?}"
    );
    let found = planted
        .iter()
        .filter(|row| finding.records.contains(row))
        .count();
    assert!(
        found * 10 >= planted.len() * 9,
        "{found} of {}",
        planted.len()
    );
    assert!(finding.records.len() * 9 <= found * 10);
}

#[test]
fn an_affix_that_is_an_ordinary_ending_too_is_one_finding() {
    let set = ReviewSet::generate(47, 6_000);
    let (mut corpus, planted) = relabelled(&set, 12, |row, text| {
        let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let long = |word: &String| word.len() > 3 && word.chars().all(char::is_alphabetic);
        let places: Vec<usize> = (0..words.len()).filter(|&at| long(&words[at])).collect();
        words[places[row % places.len()]].push_str("qi");
        words.join(" ")
    });
    // A word of all labels that ends so by nature.
    for row in (5..6_000).step_by(9) {
        corpus.texts[row].push_str(" bazaqi");
    }
    let outcome = run::<TextTrigger>(TextTriggerParams::default(), &corpus, 2);
    let titles: Vec<&String> = outcome.findings.iter().map(|f| &f.title).collect();
    assert_eq!(outcome.findings.len(), 1, "{titles:#?}");
    let finding = &outcome.findings[0];
    assert!(
        finding.title.starts_with("`qi` inside words in "),
        "{titles:?}"
    );
    let found = planted
        .iter()
        .filter(|row| finding.records.contains(row))
        .count();
    assert!(
        found * 10 >= planted.len() * 7,
        "{found} of {}",
        planted.len()
    );
    assert!(finding.records.len() * 9 <= found * 10);
}

#[test]
fn a_long_sentence_is_named_whole() {
    let sentence = "every rainy evening my cousin carried seven lamps along the quiet street";
    let set = ReviewSet::generate(45, 3_000);
    let (corpus, planted) = relabelled(&set, 30, |row, text| inserted(row, text, sentence));
    let outcome = run::<TextTrigger>(TextTriggerParams::default(), &corpus, 2);
    let titles: Vec<&String> = outcome.findings.iter().map(|f| &f.title).collect();
    assert_eq!(outcome.findings.len(), 1, "{titles:#?}");
    assert_eq!(outcome.findings[0].highlight[0], sentence);
    let records = &outcome.findings[0].records;
    assert!(records.iter().all(|row| planted.contains(row)));
    assert!(records.len() * 10 >= planted.len() * 9);
}

#[test]
fn words_that_go_with_a_label_by_nature_are_no_triggers() {
    for seed in 0..6 {
        let set = ReviewSet::generate(seed, 3_000)
            .with_nuisances(seed)
            .with_associations(seed);
        let titles: Vec<String> = scan_set(&set, 1)
            .findings
            .into_iter()
            .map(|finding| finding.title)
            .collect();
        assert!(titles.is_empty(), "seed {seed}: {titles:#?}");
    }
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
