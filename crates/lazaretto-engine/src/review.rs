//! The review list: the best N records for a person who can look at N, and how many of them are to
//! be expected innocent. It changes no verdict.
//!
//! Order: records that are held back first, then by p-value (the certainty of the strongest finding,
//! or of the record's own scores), ties by score, then by the hash of the record.
//!
//! Expected error: for a record that a finding holds back, the least probability that there was no
//! attack at even odds beforehand, `1 / (1 − 1/(e p ln p))` (Sellke, Bayarri & Berger 2001, The American
//! Statistician 55); for all others the q-value of their own scores, which is Benjamini–Hochberg's
//! estimate of the share of innocents among records at least as extreme, taken at the last one listed and
//! relative to the least suspicious record of all, among which all that is innocent has to be.
//! The second compares with the dataset's own extremes and is an upper estimate: a
//! dataset of unusual records says so, and one with much poison is judged too hard.

use std::collections::BinaryHeap;
use std::f64::consts::E;

use lazaretto_core::report::{ReviewRecord, ReviewReport};
use lazaretto_core::{RowHash, Verdict};
use lazaretto_io::{Dataset, ReviewRow};

use crate::judge::finding_id;

/// Largest budget: the list is kept in memory.
pub(crate) const MAX_BUDGET: u64 = 100_000;
/// Records of the list that the report holds; all of them are in `review.parquet`.
const MAX_SHOWN: usize = 1_000;
/// How the expected error is estimated, in words.
const METHOD: &str = "Records that findings hold back count with the least probability of no attack \
that their p-value allows at even odds (Sellke, Bayarri & Berger 2001); others with the q-value \
(Benjamini–Hochberg) of the last one listed, which is measured against the dataset's own extremes and \
so an upper estimate. A record inside a true finding that has nothing to do with it is not counted.";

/// A judged record, as the list sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) ordinal: u64,
    pub(crate) hash: RowHash,
    pub(crate) held: bool,
    pub(crate) score: f32,
    pub(crate) p_value: f64,
    pub(crate) q_value: f64,
    /// q-value of its own scores, NaN where there is none.
    pub(crate) row_q_value: f64,
    /// Least p-value of the findings that hold it back.
    pub(crate) finding_p: Option<f64>,
}

impl Candidate {
    /// Smaller comes first in the list.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        other
            .held
            .cmp(&self.held)
            .then(self.p_value.total_cmp(&other.p_value))
            .then(other.score.total_cmp(&self.score))
            .then_with(|| self.hash.0.cmp(&other.hash.0))
            .then(self.ordinal.cmp(&other.ordinal))
    }
}

/// A record on the list.
#[derive(Clone, Debug)]
struct Listed {
    candidate: Candidate,
    record_id: String,
    findings: Vec<usize>,
}

impl PartialEq for Listed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Listed {}

impl PartialOrd for Listed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Listed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.candidate.order(&other.candidate)
    }
}

/// Keeps the best records while all are judged.
pub(crate) struct ReviewList {
    budget: usize,
    /// The last one on the list is on top.
    best: BinaryHeap<Listed>,
    /// Largest q-value of own scores seen. It would be 1 if p-values went up to 1; fused ones do not.
    largest_q: f64,
}

impl ReviewList {
    /// A list of at most `budget` records.
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            budget: budget.min(MAX_BUDGET) as usize,
            best: BinaryHeap::new(),
            largest_q: 0.0,
        }
    }

    /// Offers a judged record; its name is asked for only when it gets onto the list.
    pub(crate) fn consider(
        &mut self,
        candidate: Candidate,
        findings: &[usize],
        record_id: impl FnOnce() -> String,
    ) {
        self.largest_q = self.largest_q.max(candidate.row_q_value);
        if self.best.len() == self.budget {
            match self.best.peek() {
                Some(last) if candidate.order(&last.candidate).is_lt() => self.best.pop(),
                _ => return,
            };
        }
        self.best.push(Listed {
            candidate,
            record_id: record_id(),
            findings: findings.to_vec(),
        });
    }

    /// The list in order, with its expected error.
    pub(crate) fn finish(self) -> Review {
        let budget = self.budget;
        let listed = self.best.into_sorted_vec();
        let mut error = ExpectedError::new(self.largest_q);
        let errors = listed
            .iter()
            .map(|listed| {
                error.add(&listed.candidate);
                error.mean()
            })
            .collect();
        Review {
            budget,
            listed,
            errors,
            error,
        }
    }
}

/// Expected number of innocents among the first records of the list.
#[derive(Clone, Copy, Debug)]
struct ExpectedError {
    largest_q: f64,
    by_findings: u64,
    innocent_by_findings: f64,
    by_scores: u64,
    /// Relative q-value of the last record that is listed for its own scores.
    last_q: f64,
}

impl ExpectedError {
    fn new(largest_q: f64) -> Self {
        Self {
            largest_q,
            by_findings: 0,
            innocent_by_findings: 0.0,
            by_scores: 0,
            last_q: 0.0,
        }
    }

    fn add(&mut self, candidate: &Candidate) {
        if let Some(p) = candidate.finding_p {
            self.by_findings += 1;
            self.innocent_by_findings += no_attack(p);
        } else {
            self.by_scores += 1;
            let q = candidate.row_q_value;
            // Without a score there is nothing that speaks against it.
            let q = if q.is_nan() {
                1.0
            } else {
                (q / self.largest_q).min(1.0)
            };
            self.last_q = self.last_q.max(q);
        }
    }

    fn of_findings(&self) -> f64 {
        share(self.innocent_by_findings, self.by_findings)
    }

    fn mean(&self) -> f64 {
        let by_scores = self.by_scores as f64 * self.last_q;
        share(
            self.innocent_by_findings + by_scores,
            self.by_findings + self.by_scores,
        )
    }
}

fn share(innocent: f64, records: u64) -> f64 {
    (innocent / records.max(1) as f64).clamp(0.0, 1.0)
}

/// Least probability of no attack that a p-value of `p` allows, at even odds beforehand.
fn no_attack(p: f64) -> f64 {
    if p >= 1.0 / E {
        return 0.5;
    }
    let bayes_factor = -E * p * p.ln();
    bayes_factor / (1.0 + bayes_factor)
}

/// A finished review list.
pub(crate) struct Review {
    budget: usize,
    listed: Vec<Listed>,
    /// Expected error among the first records, up to each of them.
    errors: Vec<f64>,
    error: ExpectedError,
}

impl Review {
    /// What goes into `review.parquet`.
    pub(crate) fn rows(&self, dataset: &Dataset) -> Vec<ReviewRow> {
        let rows = self.listed.iter().zip(&self.errors).zip(1..);
        rows.map(|((listed, &expected_error), rank)| {
            let candidate = &listed.candidate;
            let unit = dataset.units()[dataset.unit_of(candidate.ordinal)];
            ReviewRow {
                rank,
                record_id: listed.record_id.clone(),
                row_hash: candidate.hash,
                file: dataset.files()[unit.file].input.relative.clone(),
                row_group: unit.row_group,
                row: unit.row_in_group + (candidate.ordinal - unit.first_row),
                verdict: verdict(candidate.held),
                score: candidate.score,
                p_value: candidate.p_value,
                q_value: candidate.q_value,
                expected_error,
                findings: listed.findings.iter().map(|&idx| finding_id(idx)).collect(),
            }
        })
        .collect()
    }

    /// What the report says.
    pub(crate) fn report(&self, dataset: &Dataset) -> ReviewReport {
        let rows = self.rows(dataset);
        let held = self.listed.iter().filter(|listed| listed.candidate.held);
        ReviewReport {
            budget: self.budget as u64,
            listed: rows.len() as u64,
            held: held.count() as u64,
            expected_error: self.error.mean(),
            by_findings: self.error.by_findings,
            by_findings_error: self.error.of_findings(),
            by_scores: self.error.by_scores,
            by_scores_error: self.error.last_q,
            method: METHOD.to_owned(),
            records: rows
                .into_iter()
                .take(MAX_SHOWN)
                .map(|row| ReviewRecord {
                    record_id: row.record_id,
                    file: row.file,
                    row_group: row.row_group,
                    row: row.row,
                    verdict: row.verdict.name().to_owned(),
                    score: row.score,
                    q_value: row.q_value,
                    expected_error: row.expected_error,
                    findings: row.findings,
                })
                .collect(),
        }
    }
}

fn verdict(held: bool) -> Verdict {
    if held {
        Verdict::Quarantine
    } else {
        Verdict::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(ordinal: u64, p_value: f64, finding_p: Option<f64>) -> Candidate {
        Candidate {
            ordinal,
            hash: RowHash([(ordinal * 89 % 251) as u8; 32]),
            held: finding_p.is_some(),
            score: 0.5,
            p_value,
            q_value: p_value,
            row_q_value: p_value.sqrt(),
            finding_p,
        }
    }

    fn list(budget: u64, candidates: &[Candidate]) -> Review {
        let mut list = ReviewList::new(budget);
        for &candidate in candidates {
            list.consider(candidate, &[], || candidate.ordinal.to_string());
        }
        list.finish()
    }

    fn ordinals(review: &Review) -> Vec<u64> {
        let listed = review.listed.iter();
        listed.map(|listed| listed.candidate.ordinal).collect()
    }

    #[test]
    fn held_records_come_first_then_the_most_certain_and_ties_by_hash() {
        let candidates = [
            candidate(0, 1e-20, None),
            candidate(1, 1e-3, Some(1e-3)),
            candidate(2, 1e-9, Some(1e-9)),
            candidate(3, 0.5, None),
            candidate(4, 0.5, None),
            candidate(5, 0.9, None),
        ];
        // The hashes of 3 and 4 are 16 and 105.
        assert_eq!(ordinals(&list(5, &candidates)), [2, 1, 0, 3, 4]);
        let mut reversed = candidates;
        reversed.reverse();
        assert_eq!(ordinals(&list(5, &reversed)), [2, 1, 0, 3, 4]);
        assert_eq!(ordinals(&list(99, &candidates)).len(), 6);
    }

    #[test]
    fn the_expected_error_grows_along_the_list_within_its_range() {
        let mut candidates = vec![candidate(0, 1e-9, Some(1e-9))];
        candidates.extend((1..50).map(|row| candidate(row, row as f64 / 50.0, None)));
        let review = list(50, &candidates);
        assert!(review.errors.windows(2).all(|pair| pair[0] <= pair[1]));
        assert!(review.errors[0] < 1e-6 && review.errors[49] <= 1.0);
        assert!(review.errors[49] > 0.9);
    }

    #[test]
    fn p_values_become_probabilities_as_published() {
        // Sellke, Bayarri & Berger 2001, table 1: α(p) for p = 0.2, 0.1, 0.05, 0.01, 0.005, 0.001.
        let published = [
            (0.2, 0.465),
            (0.1, 0.385),
            (0.05, 0.289),
            (0.01, 0.111),
            (0.005, 0.067),
            (0.001, 0.0184),
        ];
        for (p, expected) in published {
            assert!(
                (no_attack(p) - expected).abs() < 0.002,
                "{p}: {}",
                no_attack(p)
            );
        }
        assert!((no_attack(0.9) - 0.5).abs() < 1e-12);
        assert!(no_attack(f64::MIN_POSITIVE) >= 0.0);
    }
}
