//! Values that are a frequent value of their column, written a little differently.

use std::collections::BTreeSet;

use lazaretto_core::Severity;

use super::super::cells::Layout;
use super::super::words::listed;
use super::reviews::{Members, RULE_P, Review, number, records};
use super::vocabulary::Vocabulary;

/// A frequent value is this much more frequent than a variant of it: of other case or spacing, and
/// of one other letter, which may be another word.
const SPACING_RATIO: u64 = 20;
const LETTER_RATIO: u64 = 500;
/// Letters that both spellings need: short words differ in a letter by nature.
const MIN_LETTERS: usize = 6;
/// Variants that a title names.
const MAX_NAMED: usize = 3;
/// Remarks at most, those on the most records first.
const MAX_REMARKS: usize = 20;

/// A value with how it is written and how many records have it.
struct Spelling<'a> {
    cell: u64,
    text: &'a str,
    /// Without case and extra spaces.
    plain: String,
    count: u64,
}

/// Remarks on columns with variants of their frequent values. Columns whose values are an open
/// list (names, words) have none: there a neighbour is another name.
pub(super) fn reviews(columns: &[Vocabulary], layout: &Layout) -> Vec<Review> {
    let mut found: Vec<(u64, Review)> = Vec::new();
    for (idx, vocabulary) in columns.iter().enumerate() {
        if vocabulary.is_closed() {
            let column = layout.n_numeric + idx;
            found.extend(column_review(vocabulary, column, &layout.names[column]));
        }
    }
    found.sort_by_key(|(n_records, _)| std::cmp::Reverse(*n_records));
    found.truncate(MAX_REMARKS);
    found.into_iter().map(|(_, review)| review).collect()
}

fn column_review(vocabulary: &Vocabulary, column: usize, name: &str) -> Option<(u64, Review)> {
    let spelling = |(cell, text, count)| Spelling {
        cell,
        text,
        plain: plain(text),
        count,
    };
    let values = vocabulary.texts().map(spelling);
    let (frequent, rare): (Vec<Spelling<'_>>, Vec<Spelling<'_>>) =
        values.partition(|value| vocabulary.is_frequent_count(value.count));
    let mut variants: Vec<(&Spelling<'_>, &Spelling<'_>)> = Vec::new();
    for value in &rare {
        let of = frequent.iter().filter(|usual| is_variant(value, usual));
        if let Some(usual) = of.max_by_key(|usual| usual.count) {
            variants.push((value, usual));
        }
    }
    variants.sort_by(|a, b| b.0.count.cmp(&a.0.count).then(a.0.text.cmp(b.0.text)));
    let n_records: u64 = variants.iter().map(|(value, _)| value.count).sum();
    if variants.is_empty() {
        return None;
    }
    let mut parts: Vec<String> = variants
        .iter()
        .take(MAX_NAMED)
        .map(|(value, usual)| {
            let (value, count) = (value.text, records(value.count));
            let (usual, usual_count) = (usual.text, number(usual.count));
            format!("`{value}` in {count}, `{usual}` in {usual_count}")
        })
        .collect();
    if variants.len() > MAX_NAMED {
        parts.push(format!("{} other spellings", variants.len() - MAX_NAMED));
    }
    let title = format!("`{name}` has values in two spellings: {}", listed(&parts));
    let cells: BTreeSet<u64> = variants.iter().map(|(value, _)| value.cell).collect();
    let members = Members::Cells { column, cells };
    let mut review = Review::new("spelling", Severity::Low, title, RULE_P, members);
    review.finding = review.finding.with_evidence("spellings", variants.len());
    let highlight = variants.iter().take(MAX_NAMED);
    review.finding.highlight = highlight.map(|(value, _)| value.text.to_owned()).collect();
    Some((n_records, review))
}

/// The text in lower case with single spaces.
fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

fn is_variant(value: &Spelling<'_>, usual: &Spelling<'_>) -> bool {
    if value.plain.is_empty() || usual.plain.is_empty() {
        return false;
    }
    if value.plain == usual.plain {
        return usual.count >= SPACING_RATIO * value.count;
    }
    usual.count >= LETTER_RATIO * value.count && one_letter_apart(&value.plain, &usual.plain)
}

/// Whether one letter is changed, added, left out or swapped with the next. Digits and signs make
/// codes, where a neighbour is another code.
fn one_letter_apart(a: &str, b: &str) -> bool {
    if a.len().abs_diff(b.len()) > 4 {
        return false;
    }
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) > 1 || a.len().min(b.len()) < MIN_LETTERS {
        return false;
    }
    let prefix = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[prefix..], &b[prefix..]);
    let suffix = a.iter().rev().zip(b.iter().rev());
    let suffix = suffix.take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - suffix], &b[..b.len() - suffix]);
    let letters = a.iter().chain(b).all(|c| c.is_alphabetic());
    let swapped = a.len() == 2 && b.len() == 2 && a[0] == b[1] && a[1] == b[0];
    letters && (a.len() <= 1 && b.len() <= 1 || swapped)
}
