//! The targets on the shared bench data, where it is there: real texts, tables and vectors, each
//! with the truth of one attack. It may not be redistributed, so a clone alone skips these tests
//! with a line that says so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::fixtures::average_precision;
use crate::harness::{Scan, files_below, parquet_texts, root, scan};

/// The Parquet files of the bench that `wanted` picks by name, or `None` without the bench.
fn sets(wanted: impl Fn(&str) -> bool) -> Option<Vec<PathBuf>> {
    let data = root().join("../shared/bench/data");
    if !data.is_dir() {
        println!("skipped: no bench data at `{}`", data.display());
        return None;
    }
    let sets: Vec<PathBuf> = files_below(&data)
        .into_iter()
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "parquet")
        })
        // The truth of a set lies beside it, as `NAME.truth.parquet`.
        .filter(|path| !name(path).contains('.') && wanted(&name(path)))
        .collect();
    assert!(!sets.is_empty(), "the bench has none of these sets");
    Some(sets)
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

fn scanned(path: &Path) -> Scan {
    let mut flags = vec!["--id", "row_id", "--memory", "2GiB"];
    if name(path).starts_with("tab_adult") {
        flags.extend(["--label", "income"]);
    }
    let scan = scan(path, &flags);
    scan.judged();
    scan
}

/// Ids of the poisoned records.
fn poison(path: &Path) -> BTreeSet<String> {
    let truth = path.with_extension("truth.parquet");
    let flags = parquet_texts(&truth, "is_poison");
    let poisoned = |flag: &String| flag == "1" || flag == "true";
    parquet_texts(&truth, "row_id")
        .into_iter()
        .zip(flags)
        .filter(|(_, flag)| poisoned(flag))
        .map(|(id, _)| id)
        .collect()
}

/// Recall and precision of what was held back.
fn quality(path: &Path) -> (f64, f64) {
    let (held, poison) = (scanned(path).run.held(), poison(path));
    assert!(!poison.is_empty());
    let hits = held.intersection(&poison).count() as f64;
    (hits / poison.len() as f64, hits / held.len().max(1) as f64)
}

/// Checks all sets before it fails, so that one run shows the whole picture.
#[track_caller]
fn assert_quality(wanted: impl Fn(&str) -> bool, min_recall: f64, min_precision: f64) {
    let Some(sets) = sets(wanted) else { return };
    let mut missed = Vec::new();
    for path in sets {
        let (recall, precision) = quality(&path);
        let line = format!(
            "{}: recall {recall:.3}, precision {precision:.3}",
            name(&path)
        );
        println!("{line}");
        if recall < min_recall || precision < min_precision {
            missed.push(line);
        }
    }
    assert!(
        missed.is_empty(),
        "below recall {min_recall} or precision {min_precision}:\n{}",
        missed.join("\n")
    );
}

#[test]
fn clean_sets_lose_at_most_half_a_percent() {
    let Some(sets) = sets(|name| name.ends_with("_clean")) else {
        return;
    };
    let mut missed = Vec::new();
    for path in sets {
        let scan = scanned(&path);
        let counts = &scan.run.report()["counts"];
        let count = |key: &str| counts[key].as_f64().unwrap();
        let share = count("quarantine") / count("records");
        let line = format!("{}: {:.3} % held back", name(&path), 100.0 * share);
        println!("{line}");
        if share > 0.005 {
            missed.push(line);
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn backdoor_words_in_one_percent_of_the_texts() {
    let wanted = |name: &str| name.starts_with("text_") && name.ends_with("_badnets1");
    assert_quality(wanted, 0.90, 0.80);
}

#[test]
fn homoglyphs_and_invisible_characters() {
    let wanted = |name: &str| name.ends_with("_homoglyph1") || name.ends_with("_invis1");
    assert_quality(wanted, 0.98, 0.95);
}

#[test]
fn floods_of_near_duplicates() {
    let wanted = |name: &str| {
        (name.starts_with("text_") && name.ends_with("_dupflood1")) || name == "tab_adult_dup1"
    };
    assert_quality(wanted, 0.95, 0.0);
}

#[test]
fn flipped_digits_rank_first() {
    let Some(sets) = sets(|name| name == "emb_digits_flip5") else {
        return;
    };
    let poison = poison(&sets[0]);
    let scores = scanned(&sets[0]).run.scores();
    let ranked = scores
        .iter()
        .map(|(id, score)| (score.fused.unwrap_or(0.0), poison.contains(id)));
    let precision = average_precision(ranked.collect());
    println!("average precision {precision:.3}");
    assert!(precision >= 0.90, "{precision}");
}
