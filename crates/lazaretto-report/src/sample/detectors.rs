//! The detectors of the sample report and their score distributions.

use lazaretto_core::report::{DetectorReport, DetectorStatus, Histogram};
use serde_json::{Value, json};

struct Ran {
    parameters: Value,
    decides: bool,
    null: Option<&'static str>,
    diagnosis: Option<&'static str>,
    findings: u64,
    scores: Histogram,
}

/// A detector without a calibrated threshold.
fn bimodal() -> DetectorReport {
    let diagnosis = "bimodal scores (dip 0.085)";
    let note =
        format!("no calibrated threshold for `lof` here: {diagnosis}; informs, does not decide");
    let mut scores = bell(0.2, 0.06, 3_920, &[]);
    let second = bell(0.6, 0.06, 3_000, &[]);
    for (count, more) in scores.counts.iter_mut().zip(second.counts) {
        *count += more;
    }
    detector(
        "lof",
        "embedding",
        "Records in thinner surroundings than their neighbours",
        DetectorStatus::Ran,
        Some(&note),
        Some(Ran {
            parameters: json!({"neighbors": 20}),
            decides: false,
            null: Some("none"),
            diagnosis: Some(diagnosis),
            findings: 0,
            scores,
        }),
    )
}

pub(super) fn detectors() -> Vec<DetectorReport> {
    let ran = |parameters: Value, decides: bool, findings: u64, scores: Histogram| {
        Some(Ran {
            parameters,
            decides,
            null: decides.then_some("bulk"),
            diagnosis: None,
            findings,
            scores,
        })
    };
    vec![
        detector(
            "confident-learning",
            "label",
            "Records whose label their content contradicts",
            DetectorStatus::Ran,
            None,
            ran(
                json!({"folds": 5}),
                true,
                0,
                bell(0.32, 0.11, 6_891, &[(30, 6), (33, 9), (35, 14)]),
            ),
        ),
        detector(
            "ecod",
            "tabular",
            "Values in the tails of their columns",
            DetectorStatus::NotApplicable,
            Some("no numeric column"),
            None,
        ),
        detector(
            "exact-duplicates",
            "duplicates",
            "Equal records, floods and contradictory labels",
            DetectorStatus::Ran,
            None,
            ran(
                json!({"min_flood": 10}),
                false,
                1,
                spike(6_868, &[(20, 38), (39, 14)], &[(39, 14)]),
            ),
        ),
        detector(
            "isolation-forest",
            "tabular",
            "Records that random splits isolate early",
            DetectorStatus::Skipped,
            Some("left out with `--skip`"),
            None,
        ),
        detector(
            "knn-distance",
            "embedding",
            "Records far from their neighbours",
            DetectorStatus::Abstained,
            Some("reference set too small: 12 distinct vectors, 50 needed"),
            None,
        ),
        bimodal(),
        detector(
            "text-surface",
            "text-surface",
            "Invisible, bidirectional and look-alike characters",
            DetectorStatus::Ran,
            Some("rule scores: only its findings decide"),
            ran(
                json!({"homoglyphs": true, "tags": true}),
                false,
                2,
                spike(6_893, &[(32, 9), (39, 18)], &[(39, 18)]),
            ),
        ),
        detector(
            "text-trigger",
            "text-trigger",
            "Phrases that steer a label against the rest of the text",
            DetectorStatus::Ran,
            None,
            ran(
                json!({"max_ngram": 4, "min_records": 4}),
                true,
                1,
                bell(0.2, 0.07, 6_879, &[(36, 11), (37, 12), (38, 18)]),
            ),
        ),
    ]
}

fn detector(
    id: &str,
    family: &str,
    summary: &str,
    status: DetectorStatus,
    note: Option<&str>,
    ran: Option<Ran>,
) -> DetectorReport {
    DetectorReport {
        id: id.to_owned(),
        version: 1,
        family: family.to_owned(),
        summary: summary.to_owned(),
        status,
        note: note.map(str::to_owned),
        parameters: ran.as_ref().map_or(json!({}), |ran| ran.parameters.clone()),
        decides: ran.as_ref().is_some_and(|ran| ran.decides),
        null: ran.as_ref().and_then(|ran| ran.null.map(str::to_owned)),
        diagnosis: ran
            .as_ref()
            .and_then(|ran| ran.diagnosis.map(str::to_owned)),
        scored: if ran.is_some() { 6_920 } else { 0 },
        findings: ran.as_ref().map_or(0, |ran| ran.findings),
        calibration: match &ran {
            Some(ran) if ran.decides => vec![(0.0, 1.0), (1.0, 1e-3)],
            _ => Vec::new(),
        },
        scores: ran.map(|ran| ran.scores),
    }
}

/// 40 bins over `0..=1`: a normal bulk and `held` further records that are held back.
pub(super) fn bell(mean: f64, deviation: f64, total: u64, held: &[(usize, u64)]) -> Histogram {
    let mut histogram = spike(0, held, held);
    for (bin, count) in histogram.counts.iter_mut().enumerate() {
        let z = ((bin as f64 + 0.5) / 40.0 - mean) / deviation;
        let density =
            (-0.5 * z * z).exp() / (deviation * 40.0 * (2.0 * std::f64::consts::PI).sqrt());
        *count += rounded(total as f64 * density);
    }
    // The tails that the range cuts off go to the middle, so that no record is missing.
    let held: u64 = held.iter().map(|(_, count)| count).sum();
    let missing = (total + held).saturating_sub(histogram.counts.iter().sum());
    histogram.counts[rounded(mean * 40.0) as usize] += missing;
    histogram
}

/// 40 bins over `0..=1`: a bulk at 0 and some further bins.
fn spike(bulk: u64, more: &[(usize, u64)], held: &[(usize, u64)]) -> Histogram {
    let mut histogram = Histogram {
        min: 0.0,
        max: 1.0,
        counts: vec![0; 40],
        quarantined: vec![0; 40],
    };
    histogram.counts[0] = bulk;
    for (bin, count) in more {
        histogram.counts[*bin] += count;
    }
    for (bin, count) in held {
        histogram.quarantined[*bin] += count;
    }
    histogram
}

/// A count from a number that is not negative.
#[expect(
    clippy::cast_sign_loss,
    reason = "densities and means of the sample are positive"
)]
fn rounded(value: f64) -> u64 {
    value.round() as u64
}
