//! Files that are not what the dataset records of them.

use lazaretto_core::{Action, Comparison, Finding, Provenance, RecordedDigest, Severity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::P_VALUE;

/// Findings about files, at most; there are few records of a dataset that name more.
const MAX_FINDINGS: usize = 200;
/// Missing files that a finding names.
const MAX_NAMED: usize = 10;

/// What becomes of a file that is not what is recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangedFile {
    /// Its records pass, and the finding is shown.
    Review,
    /// Its records pass, and the gate fails.
    Fail,
    /// All its records are held back.
    Quarantine,
}

impl ChangedFile {
    fn action(self) -> Action {
        match self {
            Self::Review => Action::Review,
            Self::Fail => Action::Fail,
            Self::Quarantine => Action::Quarantine,
        }
    }
}

/// One finding for each changed file, and one for all that are missing.
pub(super) fn findings(provenance: &Provenance, changed: ChangedFile) -> Vec<Finding> {
    let recorded = provenance.recorded.iter();
    let mut findings: Vec<Finding> = recorded
        .filter_map(|recorded| of_changed(provenance, recorded, changed))
        .take(MAX_FINDINGS)
        .collect();
    findings.extend(of_missing(&provenance.recorded));
    findings
}

fn of_changed(
    provenance: &Provenance,
    recorded: &RecordedDigest,
    changed: ChangedFile,
) -> Option<Finding> {
    let Comparison::Differs(found) = &recorded.comparison else {
        return None;
    };
    let file = provenance.file(&recorded.path)?;
    let title = format!(
        "`{}` is not the file that `{}` records: its {} is {}, recorded is {}; its {} record(s) may have been changed",
        recorded.path,
        recorded.recorded_in,
        recorded.algorithm,
        shortened(found),
        shortened(&recorded.recorded),
        file.n_rows
    );
    let action = changed.action();
    let finding = Finding::new(
        "content-hash",
        "split-view-file",
        Severity::High,
        action,
        title,
        P_VALUE,
    );
    // Names of a whole file's records would be as large as the file, and say no more than its path.
    let records = match action {
        Action::Quarantine => (file.first_row..file.first_row + file.n_rows).collect(),
        Action::Review | Action::Fail => Vec::new(),
    };
    Some(
        finding
            .with_evidence("file", recorded.path.as_str())
            .with_evidence("recorded_in", recorded.recorded_in.as_str())
            .with_evidence("algorithm", recorded.algorithm.as_str())
            .with_evidence("recorded", recorded.recorded.as_str())
            .with_evidence("found", found.as_str())
            .with_evidence("file_records", file.n_rows)
            .with_records(records),
    )
}

fn of_missing(recorded: &[RecordedDigest]) -> Option<Finding> {
    let mut missing: Vec<(&str, &str)> = recorded
        .iter()
        .filter(|recorded| recorded.comparison == Comparison::Missing)
        .map(|recorded| (recorded.path.as_str(), recorded.recorded_in.as_str()))
        .collect();
    missing.dedup();
    let (first, recorded_in) = *missing.first()?;
    let others = match missing.len() {
        1 => String::new(),
        more => format!(" and {} other(s)", more - 1),
    };
    let title = format!("`{first}`{others}, recorded in `{recorded_in}`, cannot be found");
    let named: Vec<&str> = missing
        .iter()
        .take(MAX_NAMED)
        .map(|(path, _)| *path)
        .collect();
    let finding = Finding::new(
        "content-hash",
        "missing-file",
        Severity::Low,
        Action::Review,
        title,
        P_VALUE,
    );
    Some(
        finding
            .with_evidence("missing", missing.len() as u64)
            .with_evidence("files", named),
    )
}

/// The beginning of a digest, enough to tell two apart; the evidence has it whole.
fn shortened(digits: &str) -> String {
    match digits.get(..12) {
        Some(head) if digits.len() > 16 => format!("{head}…"),
        _ => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_core::FileFacts;

    use super::*;

    fn recorded(path: &str, comparison: Comparison) -> RecordedDigest {
        RecordedDigest {
            path: path.to_owned(),
            recorded_in: "SHA256SUMS".to_owned(),
            algorithm: "SHA-256".to_owned(),
            recorded: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
            comparison,
        }
    }

    fn provenance() -> Provenance {
        let file = |path: &str, first_row| FileFacts {
            path: path.to_owned(),
            first_row,
            n_rows: 10,
        };
        Provenance {
            files: vec![file("a.csv", 0), file("b.csv", 10)],
            recorded: vec![
                recorded("a.csv", Comparison::Same),
                recorded("b.csv", Comparison::Differs("00ff".repeat(16))),
                recorded("c.csv", Comparison::Missing),
                recorded("d.csv", Comparison::Missing),
            ],
            sources: None,
        }
    }

    #[test]
    fn a_changed_file_is_named_with_both_digests_and_its_records_follow_the_parameter() {
        let all = findings(&provenance(), ChangedFile::Fail);
        assert_eq!(all.len(), 2);
        assert_eq!(
            (all[0].action, all[0].severity),
            (Action::Fail, Severity::High)
        );
        for words in [
            "`b.csv`",
            "`SHA256SUMS`",
            "00ff00ff00ff…",
            "ba7816bf8f01…",
            "10 record",
        ] {
            assert!(all[0].title.contains(words), "{}", all[0].title);
        }
        assert!(all[0].records.is_empty());
        let held = findings(&provenance(), ChangedFile::Quarantine);
        assert_eq!(held[0].action, Action::Quarantine);
        assert_eq!(held[0].records, (10..20).collect::<Vec<u64>>());
        assert_eq!(
            findings(&provenance(), ChangedFile::Review)[0].action,
            Action::Review
        );
    }

    #[test]
    fn missing_files_are_one_finding_for_review() {
        let all = findings(&provenance(), ChangedFile::Quarantine);
        assert_eq!(all[1].kind, "missing-file");
        assert_eq!(all[1].action, Action::Review);
        assert!(
            all[1].title.starts_with("`c.csv` and 1 other(s)"),
            "{}",
            all[1].title
        );
    }

    #[test]
    fn files_as_recorded_give_no_finding() {
        let mut good = provenance();
        good.recorded.truncate(1);
        assert!(findings(&good, ChangedFile::Fail).is_empty());
    }
}
