use std::fmt::Write as _;

use arrow::array::{LargeBinaryArray, LargeStringArray};
use lazaretto_core::detector::ColumnFacts;
use lazaretto_core::{Blobs, Derived, TextField, TextPart};
use lazaretto_testkit::ReviewSet;
use sha2::Digest;

use super::*;

/// Texts and images with what is recorded for them.
struct Data {
    texts: Vec<String>,
    images: Vec<Option<Vec<u8>>>,
    recorded: Vec<Option<String>>,
}

fn hex(bytes: &[u8]) -> String {
    let mut digits = String::new();
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

fn reviews(n_rows: usize, digest: impl Fn(&str) -> String) -> Data {
    let reviews = ReviewSet::generate(5, n_rows).reviews;
    let texts: Vec<String> = reviews.into_iter().map(|review| review.text).collect();
    Data {
        images: texts.iter().map(|_| None).collect(),
        recorded: texts.iter().map(|text| Some(digest(text))).collect(),
        texts,
    }
}

/// Runs the detector over `data` in `partitions` parts.
fn run(data: &Data, partitions: usize) -> Result<(Vec<f32>, Vec<Finding>), NotApplicable> {
    let column = |name: &str, role| ColumnFacts {
        name: name.to_owned(),
        data_type: String::new(),
        role,
        reason: String::new(),
    };
    let context = FitContext {
        facts: std::sync::Arc::new(DataFacts {
            n_rows: data.texts.len() as u64,
            columns: vec![
                column("text", Role::Text),
                column("digest", Role::ContentHash),
                column("picture", Role::Image),
            ],
            ..DataFacts::default()
        }),
        seed: 1,
        memory_bytes: 1 << 20,
    };
    let detector = ContentHash::new(ContentHashParams::default());
    detector.applies(&context.facts)?;
    let length = data.texts.len().div_ceil(partitions);
    let parts: Vec<_> = (0..data.texts.len()).step_by(length).collect();
    let visit = |first: usize, each: &mut dyn FnMut(&Batch<'_>)| {
        let rows = first..(first + length).min(data.texts.len());
        let texts = [TextField {
            name: "text".to_owned(),
            part: TextPart::Text,
            values: data.texts[rows.clone()].iter().map(Some).collect(),
        }];
        let derived = Derived {
            recorded: vec![
                data.recorded[rows.clone()]
                    .iter()
                    .map(Option::as_deref)
                    .collect(),
            ],
            blobs: vec![Blobs {
                name: "picture".to_owned(),
                values: data.images[rows.clone()]
                    .iter()
                    .map(Option::as_deref)
                    .collect(),
            }],
            ..Derived::default()
        };
        let keys: Vec<u64> = rows.clone().map(|row| row as u64).collect();
        each(&Batch {
            first_row: first as u64,
            keys: &keys,
            labels: None,
            sources: None,
            times: None,
            texts: &texts,
            numeric: None,
            categorical: &[],
            embedding: None,
            given_probabilities: None,
            derived: &derived,
        });
    };
    let mut state = detector.start(&context);
    for &first in &parts {
        let mut later = detector.start(&context);
        visit(first, &mut |batch| {
            detector.fit(&context, &mut later, batch);
        });
        detector.merge(&context, &mut state, later);
    }
    let shared = Shared {
        facts: std::sync::Arc::clone(&context.facts),
        seed: 1,
        reference: None,
        neighbor_base: None,
        text_classifier: None,
        trusted: None,
        evaluation: None,
    };
    let model = detector.model(&context, state, &shared)?;
    let mut evidence = detector.start_evidence(&model);
    let mut scores = Vec::new();
    for &first in &parts {
        let mut later = detector.start_evidence(&model);
        visit(first, &mut |batch| {
            scores.extend(detector.score(&model, &shared, batch, &mut later));
        });
        detector.merge_evidence(&mut evidence, later);
    }
    Ok((scores, detector.finish(&model, &shared, evidence)))
}

#[test]
fn one_changed_byte_is_found_and_nothing_else() {
    let digests: [fn(&str) -> String; 6] = [
        |text| hex(&sha2::Sha256::digest(text)),
        |text| format!("sha256:{}", hex(&sha2::Sha256::digest(text))),
        |text| hex(&md5::Md5::digest(text)).to_uppercase(),
        |text| hex(&sha1::Sha1::digest(format!("{text}\n"))),
        |text| blake3::hash(text.trim().as_bytes()).to_string(),
        |text| hex(&sha2::Sha512::digest(text)),
    ];
    for digest in digests {
        let mut data = reviews(500, digest);
        assert!(run(&data, 1).unwrap().1.is_empty());
        data.texts[321].push('.');
        data.recorded[17] = None;
        let (scores, findings) = run(&data, 1).unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].records, [321]);
        assert!(
            findings[0].title.ends_with("in 1 of 499 records"),
            "{}",
            findings[0].title
        );
        assert!(scores[17].is_nan());
        assert_eq!(scores.iter().filter(|&&score| score > 0.0).count(), 1);
        assert_eq!(
            run(&data, 3).unwrap().1,
            findings,
            "partitions must not matter"
        );
    }
}

#[test]
fn images_are_content_too() {
    let mut data = reviews(200, |_| String::new());
    for (row, (image, recorded)) in data.images.iter_mut().zip(&mut data.recorded).enumerate() {
        let bytes = vec![row as u8, 0x89, 0xff];
        *recorded = Some(hex(&sha2::Sha256::digest(&bytes)));
        *image = Some(bytes);
    }
    data.images[40] = Some(vec![1]);
    let (_, findings) = run(&data, 2).unwrap();
    assert_eq!(findings[0].records, [40]);
    assert!(
        findings[0].title.contains("`picture`"),
        "{}",
        findings[0].title
    );
}

#[test]
fn hashes_of_something_else_are_no_finding() {
    let data = reviews(300, |text| {
        hex(&sha2::Sha256::digest(format!("<p>{text}</p>")))
    });
    let reason = run(&data, 1).unwrap_err().reason;
    assert!(reason.contains("0.0 % of `digest`"), "{reason}");
}

#[test]
fn what_is_no_digest_does_not_match() {
    let mut data = reviews(100, |text| hex(&md5::Md5::digest(text)));
    data.recorded[3] = Some("not a digest at all, but 32 chars".to_owned());
    data.recorded[4] = Some("é".repeat(16));
    let (_, findings) = run(&data, 1).unwrap();
    assert_eq!(findings[0].records, [3, 4]);
}

#[test]
fn the_arrays_of_a_batch_may_be_sliced() {
    let strings: LargeStringArray = [Some("a"), None, Some("c")].into_iter().collect();
    let blobs = Blobs {
        name: String::new(),
        values: LargeBinaryArray::from_iter([Some(b"x".as_slice()), None]),
    };
    assert_eq!(blobs.get(0), Some(b"x".as_slice()));
    assert_eq!(blobs.get(1), None);
    assert_eq!(lazaretto_core::Recorded(strings).get(2), Some("c"));
}
