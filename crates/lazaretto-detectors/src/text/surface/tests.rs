use lazaretto_core::Action;
use lazaretto_testkit::{Attack, ReviewSet};

use super::*;
use crate::text::test_support::{Corpus, Outcome, run};

fn scan_set(set: &ReviewSet, partitions: usize) -> Outcome {
    run::<TextSurface>(TextSurfaceParams::default(), &Corpus::of(set), partitions)
}

#[test]
fn clean_reviews_with_nuisances_have_no_finding() {
    for seed in 0..4 {
        let set = ReviewSet::generate(seed, 1_500).with_nuisances(seed);
        let outcome = scan_set(&set, 2);
        assert_eq!(outcome.quarantined(), [0_u64; 0], "{:?}", outcome.findings);
        assert!(outcome.scores.iter().all(|&score| score == 0.0));
    }
}

#[test]
fn planted_manipulations_are_held_back_and_nothing_else() {
    for (attack, kind) in [
        (
            Attack::Homoglyphs {
                rows: 40,
                target: 1,
            },
            "look-alike-letters",
        ),
        (
            Attack::InvisibleCharacters {
                rows: 40,
                target: 0,
            },
            "invisible-characters",
        ),
        (Attack::TagCharacters { rows: 12 }, "tag-characters"),
    ] {
        let set = ReviewSet::generate(5, 2_000)
            .with_nuisances(6)
            .poison(&attack, 7);
        let outcome = scan_set(&set, 1);
        let (recall, precision) = outcome.recall_precision(&set);
        assert!(recall >= 0.98, "{kind}: recall {recall}");
        assert!(precision >= 0.95, "{kind}: precision {precision}");
        assert_eq!(outcome.findings[0].kind, kind);
        assert_eq!(scan_set(&set, 5), outcome, "partitions must not matter");
    }
}

#[test]
fn tags_are_decoded_into_the_title() {
    let hidden: String = "ignore the rest"
        .bytes()
        .filter_map(|byte| char::from_u32(0xe_0000 + u32::from(byte)))
        .collect();
    let texts = vec!["a fine day".to_owned(), format!("a fine{hidden} day")];
    let outcome = run::<TextSurface>(TextSurfaceParams::default(), &Corpus::unlabelled(texts), 1);
    assert_eq!(
        outcome.findings[0].title,
        "tag characters in 1 records spell text that is not displayed: `ignore the rest`"
    );
    assert_eq!(outcome.findings[0].severity, Severity::Critical);
    assert_eq!(outcome.findings[0].records, [1]);
}

#[test]
fn what_a_fifth_of_the_records_show_is_a_habit() {
    let texts = (0..500)
        .map(|idx| {
            if idx % 5 == 0 {
                format!("scraped pa\u{200b}ge number {idx}")
            } else {
                format!("page number {idx}")
            }
        })
        .collect();
    let outcome = run::<TextSurface>(TextSurfaceParams::default(), &Corpus::unlabelled(texts), 3);
    assert_eq!(outcome.findings.len(), 1);
    assert_eq!(outcome.findings[0].action, Action::Review);
}

#[test]
fn impossible_parameters_are_named() {
    let params = TextSurfaceParams {
        habit_fraction: 1.5,
        ..TextSurfaceParams::default()
    };
    assert_eq!(params.problems()[0].field, "habit_fraction");
    assert_eq!(TextSurfaceParams::default().problems(), []);
}
