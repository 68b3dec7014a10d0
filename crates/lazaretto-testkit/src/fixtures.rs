//! The datasets under `fixtures/`: what is in each, as a map from path to bytes.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::RecordBatch;

use crate::files::{TestkitError, csv_bytes, jsonl_gz_bytes, parquet_bytes, truth_csv};
use crate::{
    Attack, EmbeddingAttack, EmbeddingSet, InstructionAttack, InstructionSet, LoanAttack, LoanSet,
    ReviewSet,
};

/// Bytes of files by their path below `fixtures/`, `/` between components.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Every generated fixture.
///
/// # Errors
/// When a file cannot be encoded, which is a defect of the generators.
pub fn all() -> Result<Files, TestkitError> {
    let mut files = Files::new();
    reviews(&mut files)?;
    reviews_clean(&mut files)?;
    loans(&mut files)?;
    instructions(&mut files)?;
    digits(&mut files)?;
    Ok(files)
}

/// Paths of `files` whose bytes under `root` differ or are missing.
#[must_use]
pub fn stale(files: &Files, root: &Path) -> Vec<String> {
    files
        .iter()
        .filter(|(path, bytes)| {
            std::fs::read(root.join(path)).ok().as_deref() != Some(bytes.as_slice())
        })
        .map(|(path, _)| path.clone())
        .collect()
}

/// Writes `files` under `root`, folders included.
///
/// # Errors
/// When a folder or file cannot be written.
pub fn write(files: &Files, root: &Path) -> Result<(), TestkitError> {
    for (name, bytes) in files {
        let path = root.join(name);
        let failed = |source| TestkitError::File {
            path: path.display().to_string(),
            source,
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        std::fs::write(&path, bytes).map_err(failed)?;
    }
    Ok(())
}

/// Reviews with a backdoor of two trigger words, invisible characters and a flood.
fn reviews(files: &mut Files) -> Result<(), TestkitError> {
    let set = ReviewSet::generate(2_026, 2_960)
        .with_nuisances(2_027)
        .poison(
            &Attack::BadNets {
                rows: 60,
                words: 2,
                target: 1,
            },
            2_028,
        )
        .poison(
            &Attack::InvisibleCharacters {
                rows: 30,
                target: 1,
            },
            2_029,
        )
        .poison(
            &Attack::NearDuplicateFlood {
                copies: 40,
                target: 0,
            },
            2_030,
        );
    by_month(files, "reviews", &set)
}

/// Reviews without poison, with everything that honest people leave in theirs, and with words that
/// go with a label by nature.
fn reviews_clean(files: &mut Files) -> Result<(), TestkitError> {
    let set = ReviewSet::generate(3_026, 3_000)
        .with_nuisances(3_027)
        .with_associations(3_028);
    by_month(files, "reviews-clean", &set)
}

/// One file per month, as a nightly export would leave them.
fn by_month(files: &mut Files, name: &str, set: &ReviewSet) -> Result<(), TestkitError> {
    // First microseconds of February and March 2026.
    const MONTHS: [i64; 2] = [1_769_904_000_000_000, 1_772_323_200_000_000];
    let batch = set.to_record_batch()?;
    let starts = |month| {
        set.reviews
            .partition_point(|review| review.created_at < month)
    };
    let bounds = [0, starts(MONTHS[0]), starts(MONTHS[1]), set.reviews.len()];
    for (idx, bound) in bounds.windows(2).enumerate() {
        let part = batch.slice(bound[0], bound[1] - bound[0]);
        let path = format!("{name}/reviews-2026-{:02}.parquet", idx + 1);
        files.insert(path, parquet_bytes(&part, 512)?);
    }
    insert_truth(files, name, &set.truth());
    Ok(())
}

/// Loan applications with impossible numbers and jittered, relabelled copies.
fn loans(files: &mut Files) -> Result<(), TestkitError> {
    let set = LoanSet::generate(4_026, 3_000)
        .poison(
            &LoanAttack::JitteredDuplicates {
                originals: 3,
                copies: 15,
            },
            4_027,
        )
        .poison(&LoanAttack::OutOfRange { rows: 30 }, 4_028);
    let bytes = csv_bytes(&set.to_record_batch()?)?;
    files.insert("loans/applications.csv".to_owned(), bytes);
    insert_truth(files, "loans", &set.truth());
    Ok(())
}

/// Prompts and responses with a trigger phrase and smuggled instructions.
fn instructions(files: &mut Files) -> Result<(), TestkitError> {
    let set = InstructionSet::generate(5_026, 800)
        .poison(&InstructionAttack::FixedResponse { rows: 20 }, 5_027)
        .poison(&InstructionAttack::TagCharacters { rows: 8 }, 5_028);
    let bytes = jsonl_gz_bytes(&set.to_record_batch()?)?;
    files.insert("instructions/instructions.jsonl.gz".to_owned(), bytes);
    insert_truth(files, "instructions", &set.truth());
    Ok(())
}

/// Real handwritten digits, 5 % with a wrong label and 1 % replaced by noise.
fn digits(files: &mut Files) -> Result<(), TestkitError> {
    let set = EmbeddingSet::digits()
        .poison(&EmbeddingAttack::LabelFlips { rows: 90 }, 6_027)
        .poison(&EmbeddingAttack::Outliers { rows: 18 }, 6_028);
    let batch: RecordBatch = set.to_record_batch()?;
    files.insert(
        "digits/digits.parquet".to_owned(),
        parquet_bytes(&batch, 1_024)?,
    );
    insert_truth(files, "digits", &set.truth);
    Ok(())
}

fn insert_truth(files: &mut Files, name: &str, truth: &[Option<&'static str>]) {
    files.insert(format!("truth/{name}.csv"), truth_csv(truth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dataset_is_small_and_has_its_truth_outside_the_folder() {
        let files = all().unwrap();
        for name in [
            "digits",
            "instructions",
            "loans",
            "reviews",
            "reviews-clean",
        ] {
            let size: usize = files
                .iter()
                .filter(|(path, _)| path.starts_with(&format!("{name}/")))
                .map(|(_, bytes)| bytes.len())
                .sum();
            assert!((1..1_000_000).contains(&size), "{name}: {size}");
            let truth = String::from_utf8(files[&format!("truth/{name}.csv")].clone()).unwrap();
            assert_eq!(truth.contains(",1,"), name != "reviews-clean");
        }
    }

    #[test]
    fn the_checked_in_fixtures_are_fresh() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        assert_eq!(
            stale(&all().unwrap(), &root),
            Vec::<String>::new(),
            "run `cargo run --release --bin make-fixtures`"
        );
    }
}
