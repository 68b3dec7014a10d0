use lazaretto_core::{Action, DynDetector, NO_TIME};
use lazaretto_testkit::contract::{self, Dataset, Pieces};
use lazaretto_testkit::seed::stream;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::findings::duration;
use super::*;

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600 * SECOND;
const DAYS: i64 = 180;

/// How honest records come in.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// At any time alike.
    Even,
    /// By day, on workdays, three times as many at the end as at the beginning.
    Office,
    /// In sessions of an hour with dozens of records.
    Sessions,
    /// A quarter of them in loads with one time each, the last just before the end.
    Loads,
    /// The closer to the end the more, by a power of the age.
    Recent,
    /// Dates alone.
    Dates,
    /// Bursts of a length and strength of their own.
    Heavy,
}

const HABITS: [Habit; 7] = [
    Habit::Even,
    Habit::Office,
    Habit::Sessions,
    Habit::Loads,
    Habit::Recent,
    Habit::Dates,
    Habit::Heavy,
];

fn honest_times(habit: Habit, n: usize, rng: &mut ChaCha8Rng) -> Vec<i64> {
    let span = DAYS * DAY;
    let mut times: Vec<i64> = Vec::with_capacity(n);
    while times.len() < n {
        let even = rng.gen_range(0..span);
        match habit {
            Habit::Even => times.push(even),
            Habit::Office => {
                let (hour, weekday) = (even % DAY / HOUR, even / DAY % 7);
                let rate = if (8..18).contains(&hour) { 1.0 } else { 0.1 };
                let rate = if weekday >= 5 { 0.2 * rate } else { rate };
                let growth = (1.0 + 2.0 * even as f64 / span as f64) / 3.0;
                if rng.gen_bool(rate * growth) {
                    times.push(even);
                }
            }
            Habit::Sessions => {
                let start = rng.gen_range(0..span - HOUR);
                for _ in 0..rng.gen_range(10..60) {
                    times.push(start + rng.gen_range(0..HOUR));
                }
            }
            Habit::Loads => {
                if times.len() < n / 4 {
                    let at = if times.is_empty() { span - HOUR } else { even };
                    times.extend(vec![at; n / 12]);
                } else {
                    times.push(even);
                }
            }
            Habit::Recent => {
                let age = (span as f64).powf(rng.gen_range(0.6..1.0));
                times.push(span - age as i64);
            }
            Habit::Dates => times.push(even / DAY * DAY),
            Habit::Heavy => {
                // Numbers by a power law: one in a hundred sessions is ten times as large as most.
                let number = (3.0 / (1.0 - rng.r#gen::<f64>()).powf(0.8)) as usize;
                let length = rng.gen_range(HOUR..DAY);
                let start = rng.gen_range(0..span - length);
                for _ in 0..number.min(n / 20) {
                    times.push(start + rng.gen_range(0..length));
                }
            }
        }
    }
    times.truncate(n);
    times
        .into_iter()
        .map(|time| START + time / SECOND * SECOND)
        .collect()
}

/// Honest records of two classes and eight sources, 3 % without a time.
fn honest(habit: Habit, n: usize, seed: u64) -> Dataset {
    let mut rng = stream(seed, "times");
    let mut dataset = Dataset::events(n, seed);
    let mut times = honest_times(habit, n, &mut rng);
    for time in &mut times {
        if rng.gen_bool(0.03) {
            *time = NO_TIME;
        }
    }
    dataset.times = Some(times);
    dataset.sources = Some((0..n).map(|_| rng.gen_range(0..8)).collect());
    dataset.labels = Some((0..n).map(|_| u32::from(rng.gen_bool(0.4))).collect());
    dataset.recount();
    dataset
}

/// Moves `n` records into the last `length` before the end, labelled 1 but for `others` in a hundred.
fn frontrun(dataset: &mut Dataset, n: usize, length: i64, others: u32, seed: u64) -> Vec<u64> {
    let mut rng = stream(seed, "frontrunning");
    let mut rows = rand::seq::index::sample(&mut rng, dataset.n_rows(), n).into_vec();
    rows.sort_unstable();
    let end = START + DAYS * DAY;
    for &row in &rows {
        if let Some(times) = &mut dataset.times {
            times[row] = end - rng.gen_range(0..length) / SECOND * SECOND;
        }
        if let Some(labels) = &mut dataset.labels {
            labels[row] = u32::from(rng.gen_range(0..100) >= others);
        }
    }
    dataset.recount();
    rows.into_iter().map(|row| row as u64).collect()
}

fn scan(dataset: &Dataset) -> Vec<Finding> {
    let detector: Box<dyn DynDetector> = Box::new(TimeBurst::new(TimeBurstParams::default()));
    contract::run(detector.as_ref(), dataset, 5, Pieces::WHOLE).findings
}

#[test]
fn holds_the_contract() {
    contract::assert_contract(&TimeBurst::new(TimeBurstParams::default()));
}

#[test]
fn honest_rhythms_growth_loads_and_sessions_have_no_finding() {
    for habit in HABITS {
        for seed in 0..8 {
            for n in [800, 6_000] {
                let findings = scan(&honest(habit, n, seed));
                assert_eq!(findings, [], "{habit:?}, seed {seed}, {n} records");
            }
        }
    }
}

#[test]
fn one_sided_records_just_before_the_end_are_found_with_their_change_point() {
    for habit in [Habit::Even, Habit::Office, Habit::Dates] {
        for seed in 0..4 {
            let mut dataset = honest(habit, 6_000, seed);
            let planted = frontrun(&mut dataset, 150, 3 * HOUR, 5, seed);
            let findings = scan(&dataset);
            assert_eq!(findings.len(), 1, "{habit:?}, seed {seed}: {findings:?}");
            let finding = &findings[0];
            assert_eq!(
                (finding.kind.as_str(), finding.action),
                ("frontrunning", Action::Review)
            );
            assert_eq!(finding.target_class.as_deref(), Some("business"));
            let hits = planted
                .iter()
                .filter(|row| finding.records.contains(row))
                .count();
            assert!(
                hits >= 147,
                "{habit:?}, seed {seed}: {hits} {}",
                finding.title
            );
            assert!(
                finding.records.len() <= 170,
                "{habit:?}, seed {seed}: {}",
                finding.title
            );
        }
    }
}

#[test]
fn a_crowd_of_ordinary_records_is_no_finding() {
    for seed in 0..4 {
        let mut dataset = honest(Habit::Even, 6_000, seed);
        frontrun(&mut dataset, 200, 3 * HOUR, 60, seed);
        assert_eq!(scan(&dataset), [], "seed {seed}");
    }
}

#[test]
fn without_classes_and_sources_a_burst_speaks_for_itself() {
    let mut dataset = honest(Habit::Even, 6_000, 1);
    frontrun(&mut dataset, 150, 3 * HOUR, 0, 1);
    dataset.labels = None;
    dataset.sources = None;
    dataset.recount();
    let findings = scan(&dataset);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].p_value <= ALONE);
}

#[test]
fn honest_times_say_nothing_without_classes_and_sources_either() {
    for habit in HABITS {
        for seed in 0..20 {
            let mut quiet = honest(habit, 3_000, seed);
            quiet.labels = None;
            quiet.sources = None;
            quiet.recount();
            assert_eq!(scan(&quiet), [], "{habit:?}, seed {seed}");
        }
    }
}

#[test]
fn classes_that_drift_and_sources_that_join_late_are_no_finding() {
    for habit in [Habit::Even, Habit::Office, Habit::Sessions] {
        for seed in 0..6 {
            let mut dataset = honest(habit, 6_000, seed);
            let mut rng = stream(seed, "drift");
            let times = dataset.times.clone().unwrap();
            let (labels, sources) = (dataset.labels.as_mut(), dataset.sources.as_mut());
            let rows = labels.unwrap().iter_mut().zip(sources.unwrap()).zip(times);
            for ((label, source), time) in rows {
                let age = 1.0 - ((time - START) as f64 / (DAYS * DAY) as f64).clamp(0.0, 1.0);
                *label = u32::from(rng.gen_bool(0.9 - 0.7 * age));
                if age < 0.1 && rng.gen_bool(0.8) {
                    *source = 7;
                }
            }
            dataset.recount();
            assert_eq!(scan(&dataset), [], "{habit:?}, seed {seed}");
        }
    }
}

#[test]
fn one_source_before_the_end_is_named() {
    let mut dataset = honest(Habit::Office, 6_000, 3);
    let planted = frontrun(&mut dataset, 150, 2 * HOUR, 60, 3);
    let sources = dataset.sources.as_mut().unwrap();
    for &row in &planted {
        sources[row as usize] = 5;
    }
    let findings = scan(&dataset);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].evidence["source"], "s5");
}

#[test]
fn a_source_that_has_always_had_one_class_may_have_a_busy_day() {
    for seed in 0..4 {
        let mut dataset = honest(Habit::Office, 6_000, seed);
        let planted = frontrun(&mut dataset, 250, 20 * HOUR, 60, seed);
        let sources = dataset.sources.as_mut().unwrap();
        for &row in &planted {
            sources[row as usize] = [1, 2][row as usize % 2];
        }
        let labels = dataset.labels.as_mut().unwrap().iter_mut();
        for (label, source) in labels.zip(sources) {
            if *source == 2 {
                *label = 1;
            }
        }
        dataset.recount();
        assert_eq!(scan(&dataset), [], "seed {seed}");
    }
}

#[test]
fn times_that_cannot_be_read_are_counted_and_missing_ones_are_not() {
    let mut dataset = honest(Habit::Even, 1_000, 1);
    let times = dataset.times.as_mut().unwrap();
    let missing = times.iter().filter(|&&time| time == NO_TIME).count();
    assert!(missing > 10);
    let bad: Vec<usize> = (7..1_000)
        .step_by(90)
        .filter(|&row| times[row] != NO_TIME)
        .collect();
    for &row in &bad {
        times[row] = UNREADABLE_TIME;
    }
    let findings = scan(&dataset);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].kind, "unreadable-times");
    let expected: Vec<u64> = bad.iter().map(|&row| row as u64).collect();
    assert_eq!(findings[0].records, expected);
    assert!(findings[0].title.starts_with(&format!(
        "{} of {} values of `created_at`",
        bad.len(),
        1_000 - missing
    )));
}

#[test]
fn lengths_of_time_read_as_people_say_them() {
    for (length, words) in [
        (0, "0 seconds"),
        (SECOND, "1 second"),
        (89 * SECOND, "89 seconds"),
        (90 * SECOND, "2 minutes"),
        (3 * HOUR, "3 hours"),
        (9 * DAY, "9 days"),
    ] {
        assert_eq!(duration(length), words);
    }
}
