//! The detectors of groups of vectors, on planted groups and on clean data of many shapes.

use std::sync::Arc;

use lazaretto_core::{Action, DataFacts};
use lazaretto_detectors::find;
use lazaretto_testkit::contract::{Dataset, Outcome, Pieces, run};
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const ALL: [&str; 4] = [
    "class-collision",
    "knn-label-disagreement",
    "ood-cluster",
    "tight-cluster",
];
const N_CLASSES: usize = 6;
const DIM: usize = 24;

/// Labelled vectors under construction, with what was planted.
struct Planted {
    rows: Vec<[f32; DIM]>,
    labels: Vec<u32>,
    poison: Vec<bool>,
    rng: ChaCha8Rng,
}

impl Planted {
    /// One Gaussian cloud of standard deviation 1 per class, 11 apart.
    fn clouds(n_rows: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<u32> = (0..n_rows).map(|row| (row % N_CLASSES) as u32).collect();
        let rows = labels
            .iter()
            .map(|&label| {
                let mut row = noise(&mut rng, 1.0);
                row[label as usize] += 8.0;
                row
            })
            .collect();
        Self {
            rows,
            poison: vec![false; n_rows],
            labels,
            rng,
        }
    }

    /// A record at random.
    fn any(&mut self) -> usize {
        self.rng.gen_range(0..self.rows.len())
    }

    /// Adds `n` records around `centre`, labelled by `label`.
    fn clump(&mut self, n: usize, centre: [f32; DIM], width: f32, label: impl Fn(usize) -> u32) {
        for idx in 0..n {
            let mut row = noise(&mut self.rng, width);
            for (value, centre) in row.iter_mut().zip(centre) {
                *value += centre;
            }
            self.rows.push(row);
            self.labels.push(label(idx));
            self.poison.push(true);
        }
    }

    /// Relabels `n` records of other classes as 0 and moves them by `shift` in one direction.
    fn relabel(&mut self, n: usize, shift: f32) {
        let mut left = n;
        while left > 0 {
            let row = self.any();
            if self.labels[row] != 0 {
                self.labels[row] = 0;
                self.rows[row][DIM - 1] += shift;
                self.poison[row] = true;
                left -= 1;
            }
        }
    }

    fn dataset(&self) -> Dataset {
        let mut dataset = Dataset::vectors(self.rows.len(), 1);
        let flat = self.rows.iter().flatten().copied().collect();
        dataset.embedding = Array2::from_shape_vec((self.rows.len(), DIM), flat).ok();
        dataset.labels = Some(self.labels.clone());
        let mut class_counts = vec![0; N_CLASSES];
        for &label in &self.labels {
            class_counts[label as usize] += 1;
        }
        dataset.facts = Arc::new(DataFacts {
            classes: (0..N_CLASSES).map(|class| format!("c{class}")).collect(),
            class_counts,
            embedding_dim: Some(DIM),
            ..DataFacts::clone(&dataset.facts)
        });
        dataset
    }

    /// Recall and precision of what the finding of `kind` holds back.
    fn caught(&self, id: &str, kind: &str) -> (f64, f64) {
        let findings = outcome(id, &self.dataset()).findings;
        let held: Vec<u64> = findings
            .iter()
            .filter(|f| f.kind == kind && f.action == Action::Quarantine && f.p_value <= 0.05)
            .flat_map(|f| f.records.clone())
            .collect();
        let right = held.iter().filter(|&&r| self.poison[r as usize]).count() as f64;
        let poison = self.poison.iter().filter(|&&poison| poison).count() as f64;
        (right / poison, right / (held.len() as f64).max(1.0))
    }
}

fn noise(rng: &mut ChaCha8Rng, width: f32) -> [f32; DIM] {
    // The sum of twelve uniform numbers is close to normal.
    std::array::from_fn(|_| ((0..12).map(|_| rng.gen_range(0.0..1.0)).sum::<f32>() - 6.0) * width)
}

fn outcome(id: &str, dataset: &Dataset) -> Outcome {
    let detector = find(id)
        .and_then(|registration| registration.build(&json!({})).ok())
        .expect("registered, with valid defaults");
    run(detector.as_ref(), dataset, 3, Pieces::WHOLE)
}

fn assert_nothing_held(name: &str, planted: &Planted) {
    for id in ALL {
        for finding in outcome(id, &planted.dataset()).findings {
            assert!(
                finding.action == Action::Review || finding.p_value > 0.05,
                "{name}: {} (p = {})",
                finding.title,
                finding.p_value
            );
        }
    }
}

#[test]
fn a_far_group_with_contradictory_labels_is_held_back() {
    for n in [12, 20] {
        let mut planted = Planted::clouds(220, 1);
        let mut far = [0.0; DIM];
        far[10] = 12.0;
        planted.clump(n, far, 1.0, |idx| (idx * 7 % N_CLASSES) as u32);
        let (recall, precision) = planted.caught("ood-cluster", "out-of-distribution");
        assert!(
            recall >= 0.9 && precision >= 0.9,
            "{n}: {recall} {precision}"
        );
    }
}

#[test]
fn records_outside_of_the_reference_set_are_assigned_to_its_groups() {
    // A quarter of these records is in the reference set of the contract's runner.
    let mut planted = Planted::clouds(900, 2);
    let mut far = [0.0; DIM];
    far[10] = 12.0;
    planted.clump(80, far, 1.0, |idx| (idx * 7 % N_CLASSES) as u32);
    let (recall, precision) = planted.caught("ood-cluster", "out-of-distribution");
    assert!(recall >= 0.95 && precision >= 0.95, "{recall} {precision}");
}

#[test]
fn a_clump_inside_another_class_is_a_feature_collision() {
    for n in [10, 30] {
        let mut planted = Planted::clouds(220, 3);
        // A record of class 1.
        let target = planted.rows[1];
        planted.clump(n, target, 0.2, |_| 0);
        let (recall, precision) = planted.caught("class-collision", "feature-collision");
        assert!(
            recall >= 0.9 && precision >= 0.9,
            "{n}: {recall} {precision}"
        );
        let finding = &outcome("class-collision", &planted.dataset()).findings[0];
        assert_eq!(finding.target_class.as_deref(), Some("c0"));
        assert!(
            finding.title.contains("inside the region of `c1`"),
            "{}",
            finding.title
        );
    }
}

#[test]
fn the_same_clump_with_the_label_of_its_region_is_not() {
    let mut planted = Planted::clouds(220, 3);
    let target = planted.rows[1];
    planted.clump(12, target, 0.2, |_| 1);
    let findings = outcome("class-collision", &planted.dataset()).findings;
    assert!(findings.is_empty(), "{}", findings[0].title);
}

#[test]
fn many_classes_relabelled_as_one_are_found_by_their_neighbours() {
    let mut planted = Planted::clouds(250, 4);
    planted.relabel(12, 0.0);
    let (recall, precision) = planted.caught("knn-label-disagreement", "many-to-one-relabelling");
    // In classes of 40 some poison has poison among its nearest, and is not contradicted.
    assert!(recall >= 0.8 && precision >= 0.9, "{recall} {precision}");
}

#[test]
fn a_trigger_that_draws_them_together_is_a_backdoor_cluster() {
    let mut planted = Planted::clouds(250, 4);
    planted.relabel(25, 4.0);
    let (recall, precision) = planted.caught("class-collision", "backdoor-cluster");
    assert!(recall >= 0.9 && precision >= 0.9, "{recall} {precision}");
}

#[test]
fn a_flood_of_copies_is_held_back_and_habitual_repetition_is_not() {
    let mut planted = Planted::clouds(210, 5);
    let original = planted.rows[7];
    planted.clump(40, original, 0.02, |_| 1);
    let (recall, precision) = planted.caught("tight-cluster", "near-identical-vectors");
    assert!(recall >= 0.95 && precision >= 0.95, "{recall} {precision}");

    let mut habit = Planted::clouds(120, 5);
    for size in [2, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 12, 20] {
        let row = habit.any();
        let (original, label) = (habit.rows[row], habit.labels[row]);
        habit.clump(size, original, 0.02, |_| label);
    }
    assert_nothing_held("repetition", &habit);
}

#[test]
fn clean_data_of_many_shapes_is_let_through() {
    for seed in 0..6 {
        let clouds = Planted::clouds(250, seed);
        assert_nothing_held("clouds", &clouds);

        let mut flipped = Planted::clouds(250, seed);
        for _ in 0..15 {
            let row = flipped.any();
            flipped.labels[row] = flipped.rng.gen_range(0..N_CLASSES as u32);
        }
        assert_nothing_held("random flips", &flipped);

        let mut meaningless = Planted::clouds(250, seed);
        for label in &mut meaningless.labels {
            *label = meaningless.rng.gen_range(0..N_CLASSES as u32);
        }
        assert_nothing_held("meaningless labels", &meaningless);

        // A rare kind of class 0, a compact one of class 1, and one large outlying kind.
        let mut modes = Planted::clouds(200, seed);
        for (class, at, width, n) in [(0, 12, 1.0, 20), (1, 13, 0.4, 15), (2, 14, 1.5, 15)] {
            let mut centre = [0.0; DIM];
            centre[at] = 9.0;
            modes.clump(n, centre, width, |_| class);
        }
        assert_nothing_held("modes", &modes);

        let mut heavy = Planted::clouds(250, seed);
        for row in &mut heavy.rows {
            let stretch = 1.0 / heavy.rng.gen_range(0.05_f32..1.0);
            for value in row {
                *value *= stretch;
            }
        }
        assert_nothing_held("heavy tails", &heavy);
    }
}

#[test]
fn labels_are_needed_for_all_but_copies() {
    let mut planted = Planted::clouds(210, 5);
    let original = planted.rows[7];
    planted.clump(40, original, 0.02, |_| 1);
    let mut dataset = planted.dataset();
    dataset.labels = None;
    dataset.facts = Arc::new(DataFacts {
        classes: Vec::new(),
        class_counts: Vec::new(),
        ..DataFacts::clone(&dataset.facts)
    });
    for id in ALL {
        let outcome = outcome(id, &dataset);
        if id == "tight-cluster" {
            assert_eq!(outcome.findings[0].action, Action::Quarantine);
            assert_eq!(outcome.findings[0].records.len(), 41);
        } else {
            assert_eq!(
                outcome.abstained.as_deref(),
                Some("no labels of at least two classes"),
                "{id}"
            );
        }
    }
}
