//! Loan applications as columns in memory, for the tests of the detectors of planted values.

use lazaretto_core::{Action, Finding};
use lazaretto_testkit::{Loan, LoanSet};
use xxhash_rust::xxh3::xxh3_64;

use crate::text::test_support::Corpus;

/// Numbers: age, income, amount, term, interest, savings, debt ratio, missed payments. Categories:
/// employment, region, housing, purpose. The label is whether the loan was not paid back.
pub(crate) fn columns_of(set: &LoanSet) -> Corpus {
    let numbers: [fn(&Loan) -> f64; 8] = [
        |loan| loan.age as f64,
        |loan| loan.income.unwrap_or(f64::NAN),
        |loan| loan.amount,
        |loan| loan.term as f64,
        |loan| loan.interest,
        |loan| loan.savings.unwrap_or(f64::NAN),
        |loan| loan.debt_ratio,
        |loan| loan.missed_payments as f64,
    ];
    let words: [fn(&Loan) -> &'static str; 4] = [
        |loan| loan.employment,
        |loan| loan.region,
        |loan| loan.housing,
        |loan| loan.purpose,
    ];
    Corpus {
        labels: set
            .loans
            .iter()
            .map(|loan| u32::from(loan.default))
            .collect(),
        numeric: numbers
            .iter()
            .map(|of| set.loans.iter().map(of).collect())
            .collect(),
        categorical: words
            .iter()
            .map(|of| set.loans.iter().map(|loan| category(of(loan))).collect())
            .collect(),
        ..Corpus::default()
    }
}

/// The hash of a category, as the engine makes it.
pub(crate) fn category(word: &str) -> u64 {
    xxh3_64(word.as_bytes()).max(1)
}

/// Recall and precision of the records that are held back.
pub(crate) fn truth(findings: &[Finding], planted: &[u64]) -> (f64, f64) {
    let quarantined = findings
        .iter()
        .filter(|finding| finding.action == Action::Quarantine);
    let mut held: Vec<u64> = quarantined.flat_map(|f| f.records.clone()).collect();
    held.sort_unstable();
    held.dedup();
    let hits = held.iter().filter(|row| planted.contains(row)).count() as f64;
    (
        hits / planted.len().max(1) as f64,
        hits / held.len().max(1) as f64,
    )
}
