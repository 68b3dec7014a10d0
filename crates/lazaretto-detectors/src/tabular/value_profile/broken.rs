//! What no model can compute with: infinite numbers, and vectors that are missing or have holes.
//!
//! Found in the score pass alone, because nothing has to be known before. Remarks, as in
//! [`super::reviews`].

use std::collections::BTreeMap;

use lazaretto_core::{Action, Batch, Finding, Severity};
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

use super::super::cells::Layout;
use super::super::words::listed;
use super::reviews::{MAX_RECORDS, RULE_P, number, records};

/// Columns that a title names.
const MAX_NAMED: usize = 5;

/// Counts, and the first records of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Broken {
    n_rows: u64,
    /// Records with an infinite number, by numeric column.
    infinite: BTreeMap<u32, u64>,
    infinite_records: Vec<u64>,
    /// Records without a vector of the usual length, and with one that has holes.
    absent: u64,
    with_holes: u64,
    vector_records: Vec<u64>,
}

impl Broken {
    pub(super) fn add(&mut self, batch: &Batch<'_>) {
        self.n_rows += batch.n_rows() as u64;
        if let Some(numeric) = batch.numeric {
            let mut is_infinite = vec![false; numeric.nrows()];
            for (column, values) in (0..).zip(numeric.columns()) {
                // One look without a branch: hardly any column has one.
                if !values.fold(false, |any, value| any | value.is_infinite()) {
                    continue;
                }
                for (is_infinite, value) in is_infinite.iter_mut().zip(values) {
                    if value.is_infinite() {
                        *is_infinite = true;
                        *self.infinite.entry(column).or_default() += 1;
                    }
                }
            }
            let rows = (0..is_infinite.len()).filter(|&row| is_infinite[row]);
            extend(
                &mut self.infinite_records,
                rows.map(|row| batch.ordinal(row)),
            );
        }
        if let Some(vectors) = batch.embedding {
            for (row, vector) in vectors.rows().into_iter().enumerate() {
                if is_whole(vector) {
                    continue;
                }
                if vector.iter().all(|value| value.is_nan()) {
                    self.absent += 1;
                } else {
                    self.with_holes += 1;
                }
                extend(&mut self.vector_records, [batch.ordinal(row)]);
            }
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.n_rows += later.n_rows;
        for (column, count) in later.infinite {
            *self.infinite.entry(column).or_default() += count;
        }
        self.absent += later.absent;
        self.with_holes += later.with_holes;
        extend(&mut self.infinite_records, later.infinite_records);
        extend(&mut self.vector_records, later.vector_records);
    }

    pub(super) fn findings(self, layout: &Layout, dim: Option<usize>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.infinite.is_empty() {
            findings.push(self.infinite_finding(layout));
        }
        if self.absent + self.with_holes > 0 {
            findings.push(self.vector_finding(dim.unwrap_or(0)));
        }
        findings
    }

    fn infinite_finding(&self, layout: &Layout) -> Finding {
        let mut columns: Vec<(u32, u64)> = self.infinite.iter().map(|(&c, &n)| (c, n)).collect();
        columns.sort_by_key(|&(column, count)| (std::cmp::Reverse(count), column));
        let named = columns.iter().take(MAX_NAMED);
        let mut parts: Vec<String> = named
            .filter_map(|&(column, count)| {
                let name = layout.names.get(column as usize)?;
                Some(format!("`{name}` ({})", records(count)))
            })
            .collect();
        if columns.len() > MAX_NAMED {
            let more = (columns.len() - MAX_NAMED) as u64;
            parts.push(format!("{} other columns", number(more)));
        }
        let verb = if columns.len() == 1 { "is" } else { "are" };
        let title = format!("{} {verb} infinite", listed(&parts));
        remark("infinite", title, self.infinite_records.clone())
            .with_evidence("columns", columns.len())
    }

    fn vector_finding(&self, dim: usize) -> Finding {
        let n_broken = self.absent + self.with_holes;
        let what = match (self.absent, self.with_holes) {
            (_, 0) => "none or one of another length".to_owned(),
            (0, _) => "parts that are missing or infinite".to_owned(),
            (absent, with_holes) => format!(
                "{} none or one of another length, {} parts that are missing or infinite",
                number(absent),
                number(with_holes)
            ),
        };
        let verb = if n_broken == 1 { "has" } else { "have" };
        let title = format!(
            "{} of {} {verb} no vector of {} finite numbers: {what}",
            number(n_broken),
            records(self.n_rows),
            number(dim as u64)
        );
        remark("unusable-vector", title, self.vector_records.clone())
            .with_evidence("absent", self.absent)
            .with_evidence("with_holes", self.with_holes)
    }
}

fn remark(kind: &str, title: String, records: Vec<u64>) -> Finding {
    let (severity, action) = (Severity::Low, Action::Review);
    Finding::new("value-profile", kind, severity, action, title, RULE_P).with_records(records)
}

/// Adds records as long as a remark lists them.
fn extend(records: &mut Vec<u64>, more: impl IntoIterator<Item = u64>) {
    let room = MAX_RECORDS.saturating_sub(records.len());
    records.extend(more.into_iter().take(room));
}

/// Whether all parts are finite numbers.
fn is_whole(vector: ArrayView1<'_, f32>) -> bool {
    vector.fold(true, |whole, value| whole & value.is_finite())
}

#[cfg(test)]
mod tests {
    use lazaretto_core::Action;
    use lazaretto_testkit::contract::{Dataset, Pieces, run};
    use serde_json::json;

    use super::*;

    fn findings(dataset: &Dataset) -> Vec<Finding> {
        let registered = crate::find("value-profile").expect("registered");
        let detector = registered.build(&json!({})).expect("valid defaults");
        run(detector.as_ref(), dataset, 5, Pieces::WHOLE).findings
    }

    #[test]
    fn whole_numbers_and_vectors_give_no_remark() {
        for dataset in [Dataset::numbers(400, 1), Dataset::vectors(400, 1)] {
            assert!(findings(&dataset).is_empty());
        }
    }

    #[test]
    fn vectors_with_holes_and_without_numbers_are_counted_apart() {
        let mut dataset = Dataset::vectors(400, 2);
        let vectors = dataset.embedding.as_mut().expect("vectors");
        vectors.row_mut(7).fill(f32::NAN);
        vectors[(8, 1)] = f32::NAN;
        vectors[(9, 0)] = f32::NEG_INFINITY;
        let found = findings(&dataset);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].kind, "unusable-vector");
        assert_eq!(found[0].action, Action::Review);
        assert_eq!(found[0].records, [7, 8, 9]);
        let title = &found[0].title;
        assert!(
            title.starts_with("3 of 400 records have no vector of "),
            "{title}"
        );
        assert!(
            title.contains("1 none") && title.contains("2 parts"),
            "{title}"
        );
    }

    #[test]
    fn infinite_numbers_are_named_by_column() {
        let mut dataset = Dataset::numbers(400, 3);
        let numbers = dataset.numeric.as_mut().expect("numbers");
        numbers[(3, 1)] = f64::INFINITY;
        numbers[(4, 1)] = f64::NEG_INFINITY;
        numbers[(4, 0)] = f64::INFINITY;
        let found = findings(&dataset);
        let infinite: Vec<&Finding> = found.iter().filter(|f| f.kind == "infinite").collect();
        assert_eq!(infinite.len(), 1, "{found:?}");
        assert_eq!(
            infinite[0].title,
            "`n1` (2 records) and `n0` (1 record) are infinite"
        );
        assert_eq!(infinite[0].records, [3, 4]);
    }
}
