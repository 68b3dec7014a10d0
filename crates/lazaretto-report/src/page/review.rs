//! The review list of the page.

use lazaretto_core::report::{ReviewRecord, ReviewReport};

use crate::wording;

/// Records in the table.
const MAX_RECORDS: usize = 50;

/// What the page shows of a review list.
pub(super) struct Review<'a> {
    pub(super) sentence: String,
    pub(super) method: &'a str,
    pub(super) rows: Vec<ReviewRow<'a>>,
}

/// A record of the list.
pub(super) struct ReviewRow<'a> {
    pub(super) record: &'a ReviewRecord,
    pub(super) error: String,
}

impl<'a> Review<'a> {
    pub(super) fn new(review: &'a ReviewReport) -> Self {
        let rows = review.records.iter().take(MAX_RECORDS);
        Self {
            sentence: wording::review(review),
            method: &review.method,
            rows: rows
                .map(|record| ReviewRow {
                    record,
                    error: wording::share(record.expected_error),
                })
                .collect(),
        }
    }
}
