//! The shared intermediates from end to end, on seeded data.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dataset;

use std::collections::BTreeSet;
use std::sync::Arc;

use dataset::{ALL, Dataset, clusters, columns, texts};
use lazaretto_core::{Batch, Derived, Intermediate, NO_LABEL, Role, Shared};
use lazaretto_features::{FeatureFit, FeatureSettings, fit_roles, hash_word, score_roles};
use ndarray::Array2;

fn flip(labels: &mut [u32], n_classes: u32, every: usize) -> Vec<bool> {
    let mut flipped = vec![false; labels.len()];
    for row in (3..labels.len()).step_by(every) {
        labels[row] = (labels[row] + 1) % n_classes;
        flipped[row] = true;
    }
    flipped
}

fn auroc(scores: &[f32], truth: &[bool]) -> f64 {
    let (mut wins, mut pairs) = (0.0, 0.0);
    for (i, _) in truth.iter().enumerate().filter(|(_, t)| **t) {
        for (j, _) in truth.iter().enumerate().filter(|(_, t)| !**t) {
            pairs += 1.0;
            wins += match scores[i].total_cmp(&scores[j]) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    wins / pairs
}

fn bits(array: Option<&Array2<f32>>) -> Vec<u32> {
    array
        .into_iter()
        .flatten()
        .map(|value| value.to_bits())
        .collect()
}

fn assert_same(a: &(Shared, Derived), b: &(Shared, Derived)) {
    let (ra, rb) = (
        a.0.reference.as_ref().unwrap(),
        b.0.reference.as_ref().unwrap(),
    );
    assert_eq!(ra.ordinals, rb.ordinals);
    assert_eq!(ra.labels, rb.labels);
    assert_eq!(bits(Some(&ra.features)), bits(Some(&rb.features)));
    assert_eq!(bits(a.1.features.as_ref()), bits(b.1.features.as_ref()));
    assert_eq!(
        bits(a.1.probabilities.as_ref()),
        bits(b.1.probabilities.as_ref())
    );
    let (na, nb) = (
        a.1.neighbors.as_ref().unwrap(),
        b.1.neighbors.as_ref().unwrap(),
    );
    assert_eq!(na.indices, nb.indices);
    assert_eq!(bits(Some(&na.distances)), bits(Some(&nb.distances)));
}

#[test]
fn partitions_batches_and_threads_do_not_change_a_bit() {
    let settings = FeatureSettings {
        reference_rows: 200,
        ..FeatureSettings::default()
    };
    for dataset in [texts(700, 3, 1), clusters(700, 24, 3, 2), columns(700, 3)] {
        let run = |threads: usize, cuts: &[usize], size: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let (shared, model) = dataset.fit(&settings, cuts, size);
                let derived = dataset.derive(&shared, &model, size);
                (shared, derived)
            })
        };
        let base = run(1, &[], 1000);
        assert_eq!(base.0.reference.as_ref().unwrap().ordinals.len(), 200);
        assert_same(&base, &run(4, &[], 1000));
        assert_same(&base, &run(2, &[100, 450], 37));
        assert_same(&base, &run(3, &[1, 699], 5));
    }
}

#[test]
fn no_record_is_scored_by_a_model_that_saw_its_label() {
    for dataset in [texts(300, 3, 4), clusters(300, 8, 3, 5), columns(300, 6)] {
        let (_, _, before) = dataset.run();
        for row in [0, 17, 123] {
            let mut changed = dataset.clone();
            changed.labels[row] = (changed.labels[row] + 1) % dataset.n_classes as u32;
            let (_, _, after) = changed.run();
            let (before, after) = (
                before.probabilities.as_ref().unwrap(),
                after.probabilities.unwrap(),
            );
            assert_eq!(before.row(row), after.row(row));
            assert_ne!(before, after, "the label has no effect on any other record");
        }
    }
}

#[test]
fn flipped_labels_stand_out() {
    for (mut dataset, floor) in [
        (texts(1500, 3, 7), 0.95),
        (clusters(1500, 16, 4, 8), 0.97),
        (columns(1500, 9), 0.93),
    ] {
        let flipped = flip(&mut dataset.labels, dataset.n_classes as u32, 20);
        let (_, _, derived) = dataset.run();
        let probabilities = derived.probabilities.unwrap();
        let doubt: Vec<f32> = probabilities
            .rows()
            .into_iter()
            .zip(&dataset.labels)
            .map(|(row, &label)| 1.0 - row[label as usize])
            .collect();
        for row in probabilities.rows() {
            assert!((row.sum() - 1.0).abs() < 1e-4 && row.iter().all(|p| (0.0..=1.0).contains(p)));
        }
        let auroc = auroc(&doubt, &flipped);
        assert!(auroc >= floor, "AUROC {auroc} below {floor}");
    }
}

#[test]
fn flipped_labels_stand_out_among_a_thousand_classes() {
    let mut dataset = texts(16_000, 1_000, 17);
    let flipped = flip(&mut dataset.labels, 1_000, 100);
    let (shared, model, derived) = dataset.run();
    let probabilities = derived.probabilities.unwrap();
    let on_label = |row: usize| probabilities[[row, dataset.labels[row] as usize]];
    let doubt: Vec<f32> = (0..16_000).map(|row| 1.0 - on_label(row)).collect();
    // A text in six has no word of its class, or one that no other text has.
    let auroc = auroc(&doubt, &flipped);
    assert!(auroc >= 0.9, "AUROC {auroc}");
    // No class is left out for want of room: a word that only its own class has speaks for it.
    let classifier = shared.text_classifier.unwrap();
    let mut right = 0;
    for class in 0..1_000 {
        let words = [3, 4, 5, 6].map(|i| hash_word(&format!("subject{class}x{i}")));
        let mut logits = vec![0.0; 1_000];
        classifier.logits(0, &words, &mut logits);
        let top = (0..1_000).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        right += usize::from(top == Some(class));
    }
    assert!(right > 900, "{right} of 1000 classes");
    let description = model.describe().join("\n");
    assert!(description.contains("naive Bayes"), "{description}");
}

#[test]
fn letters_of_words_that_nobody_else_uses_say_something_too() {
    // No word repeats, so words alone know nothing; their endings tell the subject.
    let mut dataset = texts(600, 2, 19);
    for (row, text) in dataset.texts.iter_mut().enumerate() {
        let ending = ["vatoru", "kimesi"][dataset.labels[row] as usize];
        let words = (0..6).map(|place| format!("{:x}{ending}", 7_919 * (6 * row + place)));
        *text = Some(words.collect::<Vec<_>>().join(" "));
    }
    let flipped = flip(&mut dataset.labels, 2, 20);
    let (_, _, derived) = dataset.run();
    let probabilities = derived.probabilities.unwrap();
    let doubt: Vec<f32> = (0..600)
        .map(|row| 1.0 - probabilities[[row, dataset.labels[row] as usize]])
        .collect();
    let auroc = auroc(&doubt, &flipped);
    assert!(auroc > 0.95, "AUROC {auroc}");
}

#[test]
fn probabilities_are_neither_saturated_nor_timid() {
    let dataset = texts(2000, 3, 10);
    let (_, _, derived) = dataset.run();
    let probabilities = derived.probabilities.unwrap();
    let (mut confidence, mut right) = (0.0, 0.0);
    for (row, &label) in probabilities.rows().into_iter().zip(&dataset.labels) {
        let (best, top) = row
            .iter()
            .enumerate()
            .max_by(|a, b| a.1.total_cmp(b.1))
            .unwrap();
        confidence += f64::from(*top) / 2000.0;
        right += f64::from(u8::from(best == label as usize)) / 2000.0;
    }
    assert!(right > 0.9, "accuracy {right}");
    assert!(
        (confidence - right).abs() < 0.08,
        "confidence {confidence}, accuracy {right}"
    );
}

#[test]
fn a_contribution_is_what_its_removal_changes() {
    let dataset = texts(400, 3, 11);
    let (shared, _, _) = dataset.run();
    let classifier = shared.text_classifier.unwrap();
    let words: Vec<u64> = "common1 subject0x1 common7 subject2x3 common9 subject2x4"
        .split(' ')
        .map(hash_word)
        .collect();
    let logits = |words: &[u64]| {
        let mut logits = vec![0.0; 3];
        classifier.logits(1, words, &mut logits);
        logits
    };
    let contribution = |span: std::ops::Range<usize>| {
        let mut logits = vec![0.0; 3];
        classifier.contribution(1, &words, span, &mut logits);
        logits
    };
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
    let rest = |span: std::ops::Range<usize>| -> Vec<f32> {
        logits(&words)
            .iter()
            .zip(contribution(span))
            .map(|(a, b)| a - b)
            .collect()
    };
    // At the ends, taking words out leaves no new pair behind.
    assert!(close(&rest(4..6), &logits(&words[..4])));
    assert!(close(&rest(0..3), &logits(&words[3..])));
    assert!(close(&rest(0..6), &logits(&[])));
    assert!(close(&contribution(2..2), &[0.0; 3]));
    // The word of a subject speaks for it.
    let spoken = contribution(1..2);
    assert!(spoken[0] > spoken[1] && spoken[0] > spoken[2]);
    assert!((0..50).all(|key| classifier.fold_of(key << 32) < FeatureSettings::default().folds));
    assert_eq!(classifier.n_classes(), 3);
}

#[test]
fn neighbors_are_those_of_brute_force() {
    let mut dataset = clusters(500, 12, 3, 12);
    let embedding = dataset.embedding.as_mut().unwrap();
    // Duplicates, and a large common offset that cancels badly in single precision.
    for row in 400..420 {
        let copy = embedding.row(3).to_owned();
        embedding.row_mut(row).assign(&copy);
    }
    embedding.mapv_inplace(|x| x + 1000.0);
    embedding.row_mut(77).fill(f32::NAN);
    let settings = FeatureSettings {
        reference_rows: 150,
        neighbors: 5,
        ..FeatureSettings::default()
    };
    let (shared, model) = dataset.fit(&settings, &[], 200);
    let derived = dataset.derive(&shared, &model, 200);
    let reference = shared.reference.unwrap();
    let neighbors = derived.neighbors.unwrap();
    assert!(reference.ordinals.is_sorted());
    assert!(reference.features.iter().all(|x| x.is_finite()));
    let embedding = dataset.embedding.as_ref().unwrap();
    for row in (0..500).filter(|&row| row != 77) {
        let mut expected: Vec<(f64, u32)> = (0..reference.ordinals.len())
            .filter(|&idx| reference.ordinals[idx] != row as u64)
            .map(|idx| {
                let difference =
                    (&embedding.row(row) - &reference.features.row(idx)).mapv(f64::from);
                (difference.dot(&difference).sqrt(), idx as u32)
            })
            .collect();
        expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (slot, (distance, idx)) in expected.into_iter().take(5).enumerate() {
            assert_eq!(neighbors.indices[[row, slot]], idx, "row {row}");
            assert!((f64::from(neighbors.distances[[row, slot]]) - distance).abs() < 1e-3);
        }
    }
    assert!(neighbors.distances.row(77).iter().all(|d| d.is_nan()));
    assert!(
        derived
            .probabilities
            .unwrap()
            .row(77)
            .iter()
            .all(|p| p.is_nan())
    );
}

#[test]
fn awkward_data_is_survived() {
    let nan = f32::NAN;
    let nothing = Dataset {
        labels: vec![NO_LABEL; 4],
        embedding: Some(Array2::from_elem((4, 3), nan)),
        n_classes: 2,
        ..Dataset::default()
    };
    let one = Dataset {
        labels: vec![0],
        texts: vec![Some("hello".to_owned())],
        n_classes: 2,
        ..Dataset::default()
    };
    let empty_texts = Dataset {
        labels: vec![0, 1, 0, 1, NO_LABEL],
        texts: vec![
            None,
            Some(String::new()),
            Some("…!".to_owned()),
            Some("a".to_owned()),
            None,
        ],
        n_classes: 2,
        ..Dataset::default()
    };
    let constant = Dataset {
        labels: (0..40).map(|row| row % 2).collect(),
        numeric: Some(Array2::from_elem((40, 2), 1.0)),
        n_classes: 2,
        ..Dataset::default()
    };
    let extreme = Dataset {
        labels: (0..40).map(|row| row % 2).collect(),
        numeric: Some(Array2::from_shape_fn((40, 2), |(row, _)| match row % 4 {
            0 => f64::MAX,
            1 => f64::NEG_INFINITY,
            2 => f64::NAN,
            _ => f64::MIN_POSITIVE,
        })),
        embedding: Some(Array2::from_shape_fn((40, 2), |(row, _)| match row % 3 {
            0 => f32::MAX,
            1 => -f32::MAX,
            _ => 0.0,
        })),
        n_classes: 2,
        ..Dataset::default()
    };
    let no_rows = Dataset {
        texts: vec![Some(String::new())],
        n_classes: 2,
        ..Dataset::default()
    };
    for mut dataset in [nothing, one, empty_texts, constant, extreme, no_rows] {
        for labelled in [true, false] {
            dataset.n_classes = if labelled { 2 } else { 0 };
            let (_, _, derived) = dataset.run();
            for array in [derived.features, derived.probabilities]
                .into_iter()
                .flatten()
            {
                assert_eq!(array.nrows(), dataset.labels.len());
                for row in array.rows() {
                    let finite = row.iter().all(|x| x.is_finite());
                    assert!(finite || row.iter().all(|x| x.is_nan()));
                }
            }
        }
    }
}

#[test]
fn only_what_is_wanted_is_read_and_made() {
    let dataset = columns(50, 13);
    let context = dataset.context();
    let wanted = BTreeSet::from([Intermediate::Tokens, Intermediate::ContentHashes]);
    assert!(fit_roles(&wanted, &context.facts).is_empty());
    let mut fit = FeatureFit::start(&context, &wanted, &FeatureSettings::default());
    dataset.batches(0..50, 50, |batch| fit.update(batch));
    let (shared, model) = fit.finish(&context);
    assert!(shared.reference.is_none() && model.describe().is_empty());
    let derived = dataset.derive(&shared, &model, 50);
    assert!(derived.features.is_none() && derived.probabilities.is_none());

    let wanted = BTreeSet::from([Intermediate::Probabilities]);
    assert_eq!(
        fit_roles(&wanted, &context.facts),
        [Role::Label, Role::Numeric, Role::Categorical]
    );
    assert_eq!(
        score_roles(&wanted, &context.facts),
        [Role::Numeric, Role::Categorical]
    );
}

#[test]
fn given_probabilities_are_used_as_they_are() {
    let dataset = clusters(20, 4, 2, 14);
    let mut context = dataset.context();
    Arc::make_mut(&mut context.facts).probabilities_dim = Some(2);
    let wanted = BTreeSet::from([Intermediate::Probabilities]);
    assert!(fit_roles(&wanted, &context.facts).is_empty());
    assert_eq!(score_roles(&wanted, &context.facts), [Role::Probabilities]);
    let fit = FeatureFit::start(&context, &wanted, &FeatureSettings::default());
    let (shared, model) = fit.finish(&context);
    let given = Array2::from_elem((20, 2), 0.5_f32);
    let batch = Batch {
        first_row: 0,
        keys: &[3; 20],
        labels: None,
        sources: None,
        times: None,
        texts: &[],
        numeric: None,
        categorical: &[],
        embedding: None,
        given_probabilities: Some(given.view()),
        derived: &Derived::default(),
    };
    let mut derived = Derived::default();
    model.derive(&shared, &batch, &mut derived);
    assert_eq!(derived.probabilities.as_ref(), Some(&given));
}

#[test]
fn memory_bounds_the_reference() {
    let dataset = clusters(3000, 32, 2, 15);
    let mut context = dataset.context();
    context.memory_bytes = 1 << 18;
    let wanted = BTreeSet::from(ALL);
    let mut fit = FeatureFit::start(&context, &wanted, &FeatureSettings::default());
    dataset.batches(0..3000, 100, |batch| fit.update(batch));
    let (shared, _) = fit.finish(&context);
    let kept = shared.reference.unwrap().ordinals.len();
    assert!((64..600).contains(&kept), "{kept} records");
}

#[test]
fn one_record_far_outside_does_not_blur_the_others() {
    let mut dataset = clusters(1500, 16, 4, 16);
    let flipped = flip(&mut dataset.labels, 4, 20);
    let doubt = |dataset: &Dataset| -> Vec<f32> {
        let (_, _, derived) = dataset.run();
        let probabilities = derived.probabilities.unwrap();
        let rows = probabilities.rows().into_iter().zip(&dataset.labels);
        rows.map(|(row, &label)| 1.0 - row[label as usize])
            .collect()
    };
    let before = auroc(&doubt(&dataset), &flipped);
    for length in [30.0, 1e3, 1e12] {
        let mut attacked = dataset.clone();
        let embedding = attacked.embedding.as_mut().unwrap();
        embedding.row_mut(5).fill(length);
        let after = auroc(&doubt(&attacked), &flipped);
        assert!(
            after > before - 0.01,
            "AUROC {after} after {before}, length {length}"
        );
    }
}

#[test]
fn a_class_that_a_fold_lacks_has_no_probability_there() {
    let mut dataset = clusters(400, 8, 3, 17);
    let other = |label: u32| if label == 2 { 0 } else { label };
    dataset.labels = dataset.labels.iter().map(|&label| other(label)).collect();
    dataset.labels[9] = 2;
    let (_, _, derived) = dataset.run();
    let probabilities = derived.probabilities.unwrap();
    assert!(probabilities[[9, 2]] < f32::MIN_POSITIVE);
    assert!(probabilities.iter().all(|p| (0.0..=1.0).contains(p)));
    let seen = probabilities.column(2).iter().filter(|&&p| p > 0.0).count();
    assert!(seen > 200, "{seen} records");
}

#[test]
fn embeddings_without_a_model_are_said() {
    let mut dataset = clusters(200, 8, 2, 18);
    dataset.labels.fill(0);
    dataset.labels[9] = 1;
    let (_, model, derived) = dataset.run();
    assert!(derived.probabilities.is_none());
    let description = model.describe();
    assert!(
        description
            .iter()
            .any(|line| line.starts_with("probabilities: none, ") && line.contains("two classes")),
        "{description:?}"
    );
}
