//! Columns that say nothing.

use lazaretto_core::Severity;

use super::super::cells::Layout;
use super::super::words::listed;
use super::reviews::{Members, RULE_P, Review, number};

/// Columns that a title names.
const MAX_NAMED: usize = 5;
/// Columns that the evidence names.
const MAX_LISTED: usize = 1_000;

/// One remark on all columns without any value and with one value in every record, if there are
/// such columns.
pub(super) fn review(empty: &[usize], constant: &[usize], layout: &Layout) -> Option<Review> {
    let mut parts = Vec::new();
    if !empty.is_empty() {
        parts.push(sentence(empty, layout, "no value in any record"));
    }
    if !constant.is_empty() {
        parts.push(sentence(constant, layout, "the same value in every record"));
    }
    if parts.is_empty() {
        return None;
    }
    let title = parts.join("; ");
    let mut review = Review::new(
        "constant-column",
        Severity::Info,
        title,
        RULE_P,
        Members::Examples,
    );
    let names = |columns: &[usize]| -> Vec<String> {
        let columns = columns.iter().take(MAX_LISTED);
        columns
            .map(|&column| layout.names[column].clone())
            .collect()
    };
    review.finding = review
        .finding
        .with_evidence("without_values", names(empty))
        .with_evidence("constant", names(constant));
    Some(review)
}

fn sentence(columns: &[usize], layout: &Layout, what: &str) -> String {
    let named = columns.iter().take(MAX_NAMED);
    let mut names: Vec<String> = named
        .map(|&column| format!("`{}`", layout.names[column]))
        .collect();
    if columns.len() > MAX_NAMED {
        let more = (columns.len() - MAX_NAMED) as u64;
        names.push(format!("{} other columns", number(more)));
    }
    let verb = if columns.len() == 1 { "has" } else { "have" };
    format!("{} {verb} {what}", listed(&names))
}
