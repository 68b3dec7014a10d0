//! What every detector must hold to, whatever it looks for.
//!
//! [`assert_contract`] runs a detector over small datasets of every kind, whole and in pieces, and
//! over the awkward ones: empty, one record, all null, all the same, full of holes. It checks the
//! promises of [`lazaretto_core::Detector`], not whether the detector is any good; that is what a
//! detector's own tests are for.

mod dataset;
mod derive;
mod run;

use std::panic::{AssertUnwindSafe, catch_unwind};

use lazaretto_core::{DynDetector, Finding, ScoreKind};

pub use dataset::Dataset;
pub use run::{Outcome, Pieces, run};

/// Rows of the ordinary datasets.
const N_ROWS: usize = 400;
const SEED: u64 = 11;

/// Asserts everything that holds for all detectors.
///
/// # Panics
/// With the name of the dataset and the promise that is broken.
pub fn assert_contract(detector: &dyn DynDetector) {
    let id = detector.spec().id;
    assert_refuses_foreign_bytes(detector);
    let datasets = [
        ("labelled texts", Dataset::texts(N_ROWS, SEED)),
        ("prompts and responses", Dataset::exchanges(N_ROWS, SEED)),
        ("numbers", Dataset::numbers(N_ROWS, SEED)),
        ("vectors", Dataset::vectors(N_ROWS, SEED)),
        ("everything", Dataset::everything(N_ROWS, SEED)),
        ("events", Dataset::events(N_ROWS, SEED)),
    ];
    let mut n_applied = 0;
    for (name, dataset) in &datasets {
        let name = format!("{id} on {name}");
        if let Err(reason) = detector.applies(&dataset.facts) {
            assert_reason(&name, &reason.reason);
            continue;
        }
        n_applied += 1;
        let whole = assert_well_formed(detector, dataset, &name);
        assert!(
            whole.abstained.is_none(),
            "{name}: abstains on {N_ROWS} ordinary records: {whole:?}"
        );
        if detector.spec().score_kind == ScoreKind::Statistical {
            let n_scored = whole.scores.iter().filter(|s| !s.is_nan()).count();
            assert_eq!(n_scored, N_ROWS, "{name}: complete records without a score");
        }
        for (kind, awkward) in dataset.awkward() {
            assert_well_formed(detector, &awkward, &format!("{name}, {kind}"));
        }
    }
    assert!(n_applied > 0, "{id}: applies to nothing");
}

/// Runs the detector over `dataset` in several ways that must not matter, and checks the form of
/// what comes out.
fn assert_well_formed(detector: &dyn DynDetector, dataset: &Dataset, name: &str) -> Outcome {
    let go = |pieces| {
        let result = catch_unwind(AssertUnwindSafe(|| run(detector, dataset, SEED, pieces)));
        result.unwrap_or_else(|cause| {
            let cause = cause.downcast_ref::<String>();
            panic!("{name}: panics ({pieces:?}): {cause:?}")
        })
    };
    let whole = go(Pieces::WHOLE);
    assert_eq!(whole, go(Pieces::WHOLE), "{name}: differs from run to run");
    let parts = Pieces {
        n_partitions: 4,
        batch_rows: 37,
        through_bytes: false,
    };
    assert_eq!(whole, go(parts), "{name}: depends on the partitions");
    let bytes = Pieces {
        through_bytes: true,
        ..parts
    };
    assert_eq!(whole, go(bytes), "{name}: its state does not read back");

    if whole.abstained.is_none() {
        assert_eq!(whole.scores.len(), dataset.n_rows(), "{name}: scores");
    }
    for score in &whole.scores {
        assert!(!score.is_infinite(), "{name}: infinite score");
        if detector.spec().score_kind == ScoreKind::Rule {
            let allowed = score.is_nan() || (0.0..=1.0).contains(score);
            assert!(allowed, "{name}: rule score `{score}` outside 0..=1");
        }
    }
    if let Some(reason) = &whole.abstained {
        assert_reason(name, reason);
    }
    for finding in &whole.findings {
        assert_finding(detector, dataset, finding, name);
    }
    whole
}

fn assert_reason(name: &str, reason: &str) {
    let first = reason.chars().next();
    assert!(first.is_some(), "{name}: no reason given");
    assert!(
        !first.is_some_and(char::is_uppercase) && !reason.ends_with('.'),
        "{name}: `{reason}` is not a lower-case fragment"
    );
}

fn assert_finding(detector: &dyn DynDetector, dataset: &Dataset, finding: &Finding, name: &str) {
    assert_eq!(finding.detector, detector.spec().id, "{name}");
    let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    assert!(
        !finding.kind.is_empty() && finding.kind.chars().all(kebab),
        "{name}: kind `{}`",
        finding.kind
    );
    assert!(!finding.title.is_empty(), "{name}: finding without a title");
    assert!(
        finding.p_value > 0.0 && finding.p_value <= 1.0,
        "{name}: p-value `{}`",
        finding.p_value
    );
    assert!(!finding.records.is_empty(), "{name}: about no record");
    assert!(
        finding.records.windows(2).all(|pair| pair[0] < pair[1]),
        "{name}: records are not ascending"
    );
    let end = dataset.n_rows() as u64;
    assert!(
        finding.records.iter().all(|&record| record < end),
        "{name}: record out of range"
    );
    if let Some(class) = &finding.target_class {
        assert!(
            dataset.facts.classes.contains(class),
            "{name}: unknown target class `{class}`"
        );
    }
}

/// A state of another detector, a cut one and noise are errors, never panics.
fn assert_refuses_foreign_bytes(detector: &dyn DynDetector) {
    let id = detector.spec().id;
    for bytes in [&b""[..], b"PAR1", b"LZST", &[0xff; 64]] {
        assert!(
            detector.decode_state(bytes).is_err(),
            "{id}: reads a state out of noise"
        );
        assert!(
            detector.decode_evidence(bytes).is_err(),
            "{id}: reads evidence out of noise"
        );
    }
}
