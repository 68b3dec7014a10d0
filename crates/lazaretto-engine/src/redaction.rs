//! Secrets and personal data are masked in everything that a run writes besides the records
//! themselves: texts of records by [`crate::examples`], and here what findings quote and what classes
//! and sources are called.
//!
//! What is left as it is: names that the user chose and needs to find things again, which are paths of
//! files and the values of the id column.

use lazaretto_core::Finding;
use lazaretto_core::report::{GroupCount, GroupReport, Report};
use lazaretto_patterns::Redactor;
use serde_json::Value;

/// Masks what findings quote. Detectors see words and excerpts, so parts of the values in the
/// records that `redactor` has seen are masked too.
pub(crate) fn of_findings(findings: &mut [Finding], redactor: &Redactor) {
    for finding in findings {
        let mask = |text: &mut String| *text = redactor.redact(text);
        mask(&mut finding.title);
        finding.highlight.iter_mut().for_each(mask);
        if let Some(class) = &mut finding.target_class {
            mask(class);
        }
        for value in finding.evidence.values_mut() {
            *value = redactor.redact_value(std::mem::replace(value, Value::Null));
        }
    }
}

/// Masks the names of classes and sources and the words of decoders in a report.
pub(crate) fn of_names(report: &mut Report, redactor: &Redactor) {
    let mask = |text: &mut String| *text = redactor.redact(text);
    let groups = |groups: &mut Vec<GroupReport>| {
        for group in groups {
            mask(&mut group.name);
        }
    };
    let counts = |counts: &mut Vec<GroupCount>| {
        for count in counts {
            mask(&mut count.name);
        }
    };
    let dataset = &mut report.dataset;
    groups(&mut dataset.classes);
    groups(&mut dataset.sources);
    dataset
        .columns
        .iter_mut()
        .for_each(|column| mask(&mut column.reason));
    for file in &mut dataset.files {
        file.unscanned_reason.iter_mut().for_each(mask);
    }
    report.gate.reasons.iter_mut().for_each(mask);
    for campaign in &mut report.campaigns {
        counts(&mut campaign.labels);
        counts(&mut campaign.sources);
        mask(&mut campaign.title);
        mask(&mut campaign.suggestion);
        campaign.links.iter_mut().for_each(mask);
    }
    for finding in &mut report.findings {
        counts(&mut finding.labels);
        counts(&mut finding.sources);
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_core::{Action, Severity};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_findings_quote_is_masked_also_in_parts() {
        let secret = "q7LwZ2rT9xKf4MvB8sYd3HnC6jPgAe0Rk5Tz";
        let mut redactor = Redactor::default();
        redactor.learn(&format!("token ghp_{secret} end"));
        let title = format!("`{}` in 12 records", &secret[4..20].to_lowercase());
        let mut finding = Finding::new("x", "y", Severity::Low, Action::Review, title, 0.5);
        finding.highlight = vec![format!("ghp {}", &secret[..9]), "harmless words".to_owned()];
        finding
            .evidence
            .insert("phrases".to_owned(), json!({"first": [secret], "n": 12}));
        let mut findings = vec![finding];
        of_findings(&mut findings, &redactor);
        let told = format!("{:?}", findings[0]).to_lowercase();
        for part in secret.to_lowercase().as_bytes().windows(6) {
            let part = std::str::from_utf8(part).unwrap();
            assert!(!told.contains(part), "{part} in {told}");
        }
        assert!(told.contains("in 12 records") && told.contains("harmless words"));
    }
}
