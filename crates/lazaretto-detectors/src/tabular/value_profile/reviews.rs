//! Remarks on columns: rules that the fit pass has settled, and the records they are about.
//!
//! A remark informs. It never holds a record back and gives it no score.

use std::collections::BTreeSet;

use lazaretto_core::{Action, Batch, Finding, Severity};
use serde::{Deserialize, Serialize};

use super::super::cells::NULL;
use super::ProfileModel;
use super::missing::Group;
use super::types::Kind;

/// Records that a remark lists at most, the first of the dataset; its numbers count all.
pub(super) const MAX_RECORDS: usize = 10_000;
/// Records that stand for all where a remark is about every record.
const MAX_EXAMPLES: usize = 3;
/// Chance that is stated for a rule without a distribution behind it.
pub(super) const RULE_P: f64 = 1e-3;

/// A finding for review that still lacks its records.
#[derive(Clone, Debug)]
pub(super) struct Review {
    pub(super) finding: Finding,
    pub(super) members: Members,
}

/// Which records a remark is about; columns are those of the layout.
#[derive(Clone, Debug)]
pub(super) enum Members {
    /// The first few.
    Examples,
    /// Those of a group that miss one of the columns.
    Missing { columns: Vec<usize>, group: Group },
    /// Those that miss at least so many columns.
    Empty { at_least: usize },
    /// Those whose value of a categorical column is written like this.
    Written { column: usize, kind: Kind },
    /// Those that have one of these values in a column.
    Cells { column: usize, cells: BTreeSet<u64> },
}

impl Review {
    /// A remark of `kind`, which is true with probability `p_value` by chance.
    pub(super) fn new(
        kind: &str,
        severity: Severity,
        title: String,
        p_value: f64,
        members: Members,
    ) -> Self {
        let action = Action::Review;
        Self {
            finding: Finding::new("value-profile", kind, severity, action, title, p_value),
            members,
        }
    }
}

impl Members {
    fn limit(&self) -> usize {
        match self {
            Self::Examples => MAX_EXAMPLES,
            _ => MAX_RECORDS,
        }
    }

    fn include(
        &self,
        model: &ProfileModel,
        batch: &Batch<'_>,
        row_idx: usize,
        cells: &[u64],
    ) -> bool {
        match self {
            Self::Examples => true,
            Self::Missing { columns, group } => {
                group.includes(batch, row_idx) && columns.iter().any(|&c| cells[c] == NULL)
            }
            Self::Empty { at_least } => {
                cells.iter().filter(|&&cell| cell == NULL).count() >= *at_least
            }
            Self::Written { column, kind } => {
                let column = column - model.layout.n_numeric;
                let text = batch.derived.category(column, row_idx);
                text.is_some_and(|text| Kind::of(text) == *kind)
            }
            Self::Cells { column, cells: of } => of.contains(&cells[*column]),
        }
    }
}

/// The records of each remark, ascending.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ReviewEvidence(Vec<Vec<u64>>);

impl ReviewEvidence {
    pub(super) fn new(model: &ProfileModel) -> Self {
        Self(vec![Vec::new(); model.reviews.len()])
    }

    /// Adds a record to the remarks that are about it.
    pub(super) fn add(
        &mut self,
        model: &ProfileModel,
        batch: &Batch<'_>,
        row_idx: usize,
        cells: &[u64],
    ) {
        for (records, review) in self.0.iter_mut().zip(&model.reviews) {
            let members = &review.members;
            if records.len() < members.limit() && members.include(model, batch, row_idx, cells) {
                records.push(batch.ordinal(row_idx));
            }
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        for (records, later) in self.0.iter_mut().zip(later.0) {
            records.extend(later);
            records.truncate(MAX_RECORDS);
        }
    }

    /// The remarks that found records.
    pub(super) fn findings(self, model: &ProfileModel) -> Vec<Finding> {
        let pairs = self.0.into_iter().zip(&model.reviews);
        pairs
            .filter(|(records, _)| !records.is_empty())
            .map(|(mut records, review)| {
                records.truncate(review.members.limit());
                review.finding.clone().with_records(records)
            })
            .collect()
    }
}

/// `1 record`, `1,670 records`.
pub(super) fn records(count: u64) -> String {
    if count == 1 {
        "1 record".to_owned()
    } else {
        format!("{} records", number(count))
    }
}

/// A count with its thousands apart.
pub(super) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
