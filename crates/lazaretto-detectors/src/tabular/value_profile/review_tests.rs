//! Remarks: what is said about which records, and that ordinary data gives none.

use lazaretto_core::{Action, Severity};
use lazaretto_testkit::LoanSet;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::tabular::test_support::{category, columns_of};
use crate::text::test_support::{Corpus, run};

const N_ROWS: usize = 4_000;

/// Loans whose categories have texts, from twenty sources.
fn loans(seed: u64) -> Corpus {
    let set = LoanSet::generate(seed, N_ROWS);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut corpus = columns_of(&set);
    let owned = |word: &str| Some(word.to_owned());
    corpus.category_texts = vec![
        set.loans.iter().map(|l| owned(l.employment)).collect(),
        set.loans.iter().map(|l| owned(l.region)).collect(),
        set.loans.iter().map(|l| owned(l.housing)).collect(),
        set.loans.iter().map(|l| owned(l.purpose)).collect(),
    ];
    corpus.sources = (0..N_ROWS).map(|_| rng.gen_range(0..20)).collect();
    corpus
}

/// Adds a column of words.
fn push(corpus: &mut Corpus, words: impl IntoIterator<Item = String>) {
    let words: Vec<String> = words.into_iter().collect();
    corpus
        .categorical
        .push(words.iter().map(|w| category(w)).collect());
    corpus
        .category_texts
        .push(words.into_iter().map(Some).collect());
}

/// Findings of `kind`, the same in one partition and in four.
fn found(corpus: &Corpus, kind: &str) -> Vec<Finding> {
    let outcome = run::<ValueProfile>(ValueProfileParams::default(), corpus, 1);
    let parts = run::<ValueProfile>(ValueProfileParams::default(), corpus, 4);
    assert_eq!(outcome, parts, "partitions must not matter");
    let findings = outcome.findings.into_iter();
    findings.filter(|finding| finding.kind == kind).collect()
}

/// The one finding of `kind`, which must be for review.
fn only(corpus: &Corpus, kind: &str) -> Finding {
    let mut findings = found(corpus, kind);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = findings.remove(0);
    assert_eq!(finding.action, Action::Review);
    finding
}

#[test]
fn ordinary_columns_give_no_remark() {
    for seed in 0..6 {
        let mut corpus = loans(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 7);
        // Missing values that depend on class and source as in real data: five times as often.
        for row in 0..N_ROWS {
            let likely = corpus.labels[row] == 1 || corpus.sources[row] == 3;
            if rng.gen_bool(if likely { 0.3 } else { 0.06 }) {
                corpus.numeric[1][row] = f64::NAN;
            }
        }
        // Numbers as text, codes, dates, an open list of names, values a letter apart.
        let numbers: Vec<String> = (0..N_ROWS)
            .map(|_| rng.gen_range(0..90).to_string())
            .collect();
        push(&mut corpus, numbers);
        let codes = ["250.8", "V57", "410", "E849", "Z"].repeat(N_ROWS / 5);
        push(&mut corpus, codes.into_iter().map(str::to_owned));
        let dates: Vec<String> = (0..N_ROWS)
            .map(|row| format!("2021-03-{:02}", row % 28))
            .collect();
        push(&mut corpus, dates);
        let names: Vec<String> = (0..N_ROWS).map(|row| format!("band {}", row * 7)).collect();
        push(&mut corpus, names);
        let twins = ["married", "marries", "Single", "divorced"].repeat(N_ROWS / 4);
        push(&mut corpus, twins.into_iter().map(str::to_owned));
        let outcome = run::<ValueProfile>(ValueProfileParams::default(), &corpus, 1);
        let titles: Vec<&str> = outcome.findings.iter().map(|f| f.title.as_str()).collect();
        assert_eq!(titles, [""; 0], "seed {seed}");
    }
}

#[test]
fn values_missing_in_one_source_are_counted_exactly() {
    let mut corpus = loans(1);
    for numbers in &mut corpus.numeric {
        numbers
            .iter_mut()
            .filter(|v| v.is_nan())
            .for_each(|v| *v = 5_000.0);
    }
    let in_source = |corpus: &Corpus, row: usize| corpus.sources[row] == 16;
    let inside: Vec<usize> = (0..N_ROWS).filter(|&row| in_source(&corpus, row)).collect();
    let mut planted = Vec::new();
    for &row in inside.iter().step_by(3) {
        corpus.numeric[1][row] = f64::NAN;
        corpus.categorical[0][row] = 0;
        corpus.category_texts[0][row] = None;
        planted.push(row as u64);
    }
    let outside = (0..N_ROWS).find(|&row| !in_source(&corpus, row)).unwrap();
    corpus.numeric[1][outside] = f64::NAN;
    let finding = only(&corpus, "missing");
    let (n_planted, n_inside) = (planted.len(), inside.len());
    let others = format!(
        "{},{:03}",
        (N_ROWS - n_inside) / 1_000,
        (N_ROWS - n_inside) % 1_000
    );
    assert_eq!(
        finding.title,
        format!(
            "`c0` is missing in {n_planted} of {n_inside} records of source `s16`, in 0 of {others} \
             others; likewise `n1`"
        )
    );
    assert_eq!(finding.records, planted);
    assert!(finding.p_value < 1e-6);
}

#[test]
fn values_missing_with_the_class_can_bias_a_model() {
    let mut corpus = loans(2);
    for row in 0..N_ROWS {
        corpus.numeric[0][row] = if corpus.labels[row] == 1 && row % 2 == 0 {
            f64::NAN
        } else {
            corpus.numeric[0][row]
        };
    }
    let finding = only(&corpus, "missing");
    assert_eq!(finding.severity, Severity::Medium);
    assert!(finding.title.contains("of class `1`"), "{}", finding.title);
}

#[test]
fn a_few_missing_values_of_one_source_are_chance() {
    let mut corpus = loans(3);
    let rows: Vec<usize> = (0..N_ROWS)
        .filter(|&row| corpus.sources[row] == 4)
        .collect();
    for &row in rows.iter().take(5) {
        corpus.numeric[0][row] = f64::NAN;
    }
    assert_eq!(found(&corpus, "missing"), []);
}

#[test]
fn records_that_miss_most_columns_are_named_together() {
    let mut corpus = loans(4);
    let rows = [17_usize, 900, 2_345];
    for row in rows {
        corpus
            .numeric
            .iter_mut()
            .for_each(|column| column[row] = f64::NAN);
        corpus.categorical[0][row] = 0;
        corpus.category_texts[0][row] = None;
    }
    let finding = only(&corpus, "empty-record");
    assert_eq!(finding.records, rows.map(|row| row as u64));
    let title = "3 records miss at least 9 of 12 columns, where all others miss 2 at most";
    assert_eq!(finding.title, title);
}

#[test]
fn words_among_numbers_and_numbers_among_words_are_told() {
    let mut corpus = loans(5);
    let mut ages: Vec<String> = (0..N_ROWS).map(|row| (18 + row % 70).to_string()).collect();
    for row in [5, 1_005, 2_005] {
        ages[row] = "unknown".to_owned();
    }
    ages[3_005] = "n/a".to_owned();
    push(&mut corpus, ages);
    let finding = only(&corpus, "mixed-type");
    assert_eq!(
        finding.title,
        "`c4` holds numbers in 3,996 records and words in 4: `unknown` and `n/a`"
    );
    assert_eq!(finding.records, [5, 1_005, 2_005, 3_005]);

    let mut corpus = loans(5);
    for row in [40, 50] {
        corpus.category_texts[1][row] = Some("17.5".to_owned());
        corpus.categorical[1][row] = category("17.5");
    }
    let finding = only(&corpus, "mixed-type");
    assert_eq!(
        finding.title,
        "`c1` holds words in 3,998 records and numbers in 2: `17.5`"
    );
    assert_eq!(finding.records, [40, 50]);
}

#[test]
fn other_spellings_of_a_frequent_value_are_told() {
    let mut corpus = loans(6);
    let mut words = vec!["Private".to_owned(); N_ROWS];
    for row in (0..N_ROWS).step_by(4) {
        words[row] = "Self-employed".to_owned();
    }
    for row in [1, 101, 201] {
        words[row] = "private ".to_owned();
    }
    words[3] = "Pirvate".to_owned();
    push(&mut corpus, words);
    let finding = only(&corpus, "spelling");
    assert_eq!(
        finding.title,
        "`c4` has values in two spellings: `private ` in 3 records, `Private` in 2,996 and \
         `Pirvate` in 1 record, `Private` in 2,996"
    );
    assert_eq!(finding.records, [1, 3, 101, 201]);
}

#[test]
fn columns_that_say_nothing_are_one_remark() {
    let mut corpus = loans(7);
    corpus.numeric.push(vec![3.0; N_ROWS]);
    corpus.numeric.push(vec![f64::NAN; N_ROWS]);
    push(&mut corpus, vec!["same".to_owned(); N_ROWS]);
    let finding = only(&corpus, "constant-column");
    assert_eq!(finding.severity, Severity::Info);
    assert_eq!(
        finding.title,
        "`n9` has no value in any record; `n8` and `c4` have the same value in every record"
    );
    assert_eq!(finding.records, [0, 1, 2]);
}

#[test]
fn ten_thousand_columns_with_holes_take_bounded_counters() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let column = |rng: &mut ChaCha8Rng| -> Vec<f64> {
        let value = |rng: &mut ChaCha8Rng| {
            if rng.gen_bool(0.2) {
                f64::NAN
            } else {
                rng.r#gen()
            }
        };
        (0..60).map(|_| value(rng)).collect()
    };
    let corpus = Corpus {
        numeric: (0..10_000).map(|_| column(&mut rng)).collect(),
        sources: (0..60).collect(),
        labels: (0..60).map(|row| row % 2).collect(),
        ..Corpus::default()
    };
    let outcome = run::<ValueProfile>(ValueProfileParams::default(), &corpus, 2);
    assert!(outcome.abstained.is_none());
    let remarks = outcome.findings.iter().filter(|f| f.kind != "range");
    assert_eq!(remarks.count(), 0);
}
