//! What is found, as findings.

use lazaretto_core::{Action, DataFacts, Detector as _, Finding, Role, Severity};

use super::contrast::Trait;
use super::{Burst, LISTED_UNREADABLE, Members, TimeBurst};

impl Burst {
    pub(super) fn finding(&self, facts: &DataFacts, members: Members) -> Finding {
        let window = self.window;
        let long = duration(window.end - window.start);
        let mut title = if window.at_end {
            let number = members.number;
            format!("{number} records in the {long} before the dataset ends")
        } else {
            format!("{} records within {long}", members.number)
        };
        let source = self
            .source
            .and_then(|source| facts.sources.get(source as usize));
        if let Some(source) = source {
            title += &format!(", all from source `{source}`");
        }
        // Of a sample, in proportion.
        let expected = window.expected * members.number as f64 / window.events.max(1) as f64;
        let expected = expected.min(members.number as f64);
        title += &format!(", {expected:.0} would be expected");
        let named = self.contrast.map(|contrast| contrast.name(facts));
        if let (Some(contrast), Some(name)) = (self.contrast, &named) {
            title += &format!("; {}", contrast.in_words(name));
        }
        let kind = if window.at_end {
            "frontrunning"
        } else {
            "burst"
        };
        let (severity, action) = (Severity::Medium, Action::Review);
        let mut finding = Finding::new(
            TimeBurst::SPEC.id,
            kind,
            severity,
            action,
            title,
            window.p_value,
        )
        .with_records(members.records)
        .with_evidence("records", members.number)
        .with_evidence("expected", expected)
        .with_evidence("seconds", (window.end - window.start) as f64 / 1e6)
        .with_evidence("ends_with_the_dataset", window.at_end);
        if let Some(source) = source {
            finding = finding.with_evidence("source", source.as_str());
        }
        if let (Some(contrast), Some(name)) = (self.contrast, named) {
            finding = finding
                .with_evidence("share", contrast.share)
                .with_evidence("share_elsewhere", contrast.elsewhere)
                .with_evidence("share_p_value", contrast.p_value);
            match contrast.of {
                Trait::Class => finding.target_class = Some(name),
                Trait::Source => finding = finding.with_evidence("source", name),
            }
        }
        finding
    }
}

/// A statement of how many times cannot be read. It tests nothing, so it carries a p-value of 1.
pub(super) fn unreadable(facts: &DataFacts, members: Members, with_time: u64) -> Option<Finding> {
    let column = facts
        .columns
        .iter()
        .find(|column| column.role == Role::Time)?;
    let title = format!(
        "{} of {} values of `{}` are no times that can be read",
        members.number,
        members.number + with_time,
        column.name
    );
    (members.number > 0).then(|| {
        let (severity, action) = (Severity::Low, Action::Review);
        Finding::new(
            TimeBurst::SPEC.id,
            "unreadable-times",
            severity,
            action,
            title,
            1.0,
        )
        .with_evidence("unreadable", members.number)
        .with_evidence("readable", with_time)
        .with_evidence("listed_at_most", LISTED_UNREADABLE)
        .with_records(members.records)
    })
}

/// A length of time in its largest whole unit.
pub(super) fn duration(microseconds: i64) -> String {
    let seconds = (microseconds as f64 / 1e6).max(0.0);
    let units = [(86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute")];
    let unit = units
        .into_iter()
        .find(|&(length, _)| seconds >= 1.5 * length);
    let (length, name) = unit.unwrap_or((1.0, "second"));
    let number = format!("{:.0}", seconds / length);
    let plural = if number == "1" { "" } else { "s" };
    format!("{number} {name}{plural}")
}
