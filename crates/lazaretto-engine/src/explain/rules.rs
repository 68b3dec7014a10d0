//! What would have to change for another verdict, from the rules by which verdicts are given.
//!
//! A record is held back by each of its findings that proposes it and has a p-value of at most
//! `policy.finding_p`, and by its own scores when their q-value is at most `fdr` and
//! `policy.hold_rows` is on (`judge.rs`). Neither number enters a score, so what follows from the
//! rules holds exactly in a run with the changed setting.

use std::collections::BTreeSet;

use lazaretto_core::explanation::{Change, FindingSays, Rules, Setting};

/// Largest value that `fdr` may have.
const LARGEST_FDR: f64 = 0.5;

/// What speaks against a record.
pub(super) struct Evidence<'e> {
    pub(super) rules: &'e Rules,
    pub(super) findings: &'e [FindingSays],
    /// q-value of its own scores.
    pub(super) row_q: Option<f64>,
}

impl<'e> Evidence<'e> {
    fn holding(&self) -> impl Iterator<Item = &'e FindingSays> {
        self.findings.iter().filter(|finding| finding.holds)
    }

    /// The q-value of its own scores, where that holds it back.
    fn held_by_rows(&self) -> Option<f64> {
        self.row_q
            .filter(|q| self.rules.hold_rows && *q <= self.rules.fdr)
    }

    /// Whether the rules hold the record back.
    pub(super) fn holds(&self) -> bool {
        self.held_by_rows().is_some() || self.holding().next().is_some()
    }

    /// The verdict in a sentence.
    pub(super) fn because(&self) -> String {
        let by_findings: Vec<String> = self
            .holding()
            .map(|finding| {
                format!(
                    "finding {} of `{}` (p {:.2e})",
                    finding.id, finding.detector, finding.p_value
                )
            })
            .collect();
        let by_rows = self.held_by_rows().map(|q| {
            format!(
                "its own scores (q {q:.2e}, at most the false-discovery rate {})",
                self.rules.fdr
            )
        });
        let by: Vec<String> = by_findings.into_iter().chain(by_rows).collect();
        if !by.is_empty() {
            return format!("held back by {}", by.join(" and by "));
        }
        let own = match self.row_q {
            Some(_) if !self.rules.hold_rows => {
                "single records are not held back (`policy.hold_rows`)".to_owned()
            }
            Some(q) => format!(
                "its own scores have q {q:.2e}, above the false-discovery rate {}",
                self.rules.fdr
            ),
            None => "no detector that decides by scores looked at it".to_owned(),
        };
        let findings = match self.findings.len() {
            0 => "no finding names it",
            1 => "the finding that names it is for review",
            _ => "the findings that name it are for review",
        };
        format!("passed: {findings}, and {own}")
    }

    /// Ways to another verdict; each alone is enough.
    pub(super) fn changes(&self) -> Vec<Change> {
        if self.holds() {
            self.ways_out()
        } else {
            self.way_in().into_iter().collect()
        }
    }

    fn ways_out(&self) -> Vec<Change> {
        let strongest = self
            .holding()
            .map(|finding| finding.p_value)
            .min_by(f64::total_cmp);
        let mut changes = Vec::new();
        let findings = strongest.map(|below| Setting::FindingP { below });
        let rows: Vec<Option<Setting>> = match self.held_by_rows() {
            None => vec![None],
            Some(below) => vec![
                Some(Setting::FdrBelow { below }),
                Some(Setting::HoldRows { value: false }),
            ],
        };
        for row in &rows {
            let settings: Vec<Setting> = findings.iter().chain(row).cloned().collect();
            changes.push(change("pass", settings, true));
        }
        let skipped = self.detectors_of_findings();
        if !skipped.is_empty() {
            for row in rows {
                let skip = Setting::Skip {
                    detectors: skipped.iter().cloned().collect(),
                };
                changes.push(change(
                    "pass",
                    std::iter::once(skip).chain(row).collect(),
                    false,
                ));
            }
        }
        changes
    }

    fn detectors_of_findings(&self) -> BTreeSet<String> {
        self.holding()
            .map(|finding| finding.detector.clone())
            .collect()
    }

    fn way_in(&self) -> Option<Change> {
        let at_least = self.row_q.filter(|q| *q <= LARGEST_FDR)?;
        let rows = (!self.rules.hold_rows).then_some(Setting::HoldRows { value: true });
        let rate = (at_least > self.rules.fdr).then_some(Setting::FdrAtLeast { at_least });
        let settings = rows.into_iter().chain(rate).collect();
        Some(change("quarantine", settings, true))
    }
}

fn change(verdict: &str, settings: Vec<Setting>, exact: bool) -> Change {
    let what = if verdict == "pass" {
        "would pass"
    } else {
        "would be held back"
    };
    let words: Vec<String> = settings.iter().map(in_words).collect();
    let rest = if exact {
        ""
    } else {
        ": no other evidence of this run holds it, but all scores would be weighed anew"
    };
    Change {
        verdict: verdict.to_owned(),
        sentence: format!("{what} with {}{rest}", words.join(" and ")),
        exact,
        settings,
    }
}

fn in_words(setting: &Setting) -> String {
    match setting {
        Setting::FindingP { below } => format!("`policy.finding_p` below {below:e}"),
        Setting::FdrBelow { below } => format!("`--fdr` below {below:e}"),
        Setting::FdrAtLeast { at_least } => format!("`--fdr {at_least}`"),
        Setting::HoldRows { value } => format!("`policy.hold_rows = {value}`"),
        Setting::Skip { detectors } => format!("`--skip {}`", detectors.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rules() -> Rules {
        Rules {
            fdr: 0.05,
            hold_rows: true,
            finding_p: 0.05,
            seed: 0,
            pipeline_hash: String::new(),
        }
    }

    fn finding(id: &str, p_value: f64, holds: bool) -> FindingSays {
        FindingSays {
            id: id.to_owned(),
            detector: format!("detector-of-{id}"),
            kind: "trigger".to_owned(),
            severity: "high".to_owned(),
            holds,
            title: String::new(),
            p_value,
            n_records: 3,
            target_class: None,
            evidence: BTreeMap::new(),
            campaign: None,
        }
    }

    fn settings(findings: &[FindingSays], row_q: Option<f64>) -> Vec<Vec<Setting>> {
        let rules = rules();
        let evidence = Evidence {
            rules: &rules,
            findings,
            row_q,
        };
        let changes = evidence.changes().into_iter();
        changes.map(|change| change.settings).collect()
    }

    #[test]
    fn the_strongest_of_several_findings_sets_the_bound() {
        let findings = [finding("F1", 1e-4, true), finding("F2", 1e-9, true)];
        let ways = settings(&findings, Some(0.3));
        assert_eq!(ways[0], [Setting::FindingP { below: 1e-9 }]);
        let both = ["detector-of-F1", "detector-of-F2"].map(str::to_owned);
        let detectors = both.to_vec();
        assert_eq!(ways[1], [Setting::Skip { detectors }]);
    }

    #[test]
    fn what_is_held_twice_needs_both_to_change() {
        let ways = settings(&[finding("F1", 1e-4, true)], Some(0.01));
        assert_eq!(ways[0].len(), 2);
        assert_eq!(ways[0][1], Setting::FdrBelow { below: 0.01 });
        assert_eq!(ways[1][1], Setting::HoldRows { value: false });
        let alone = settings(&[], Some(0.05));
        assert_eq!(alone[0], [Setting::FdrBelow { below: 0.05 }]);
    }

    #[test]
    fn what_passed_is_told_what_would_hold_it() {
        let review = [finding("F1", 0.2, false)];
        let ways = settings(&review, Some(0.2));
        assert_eq!(ways, [[Setting::FdrAtLeast { at_least: 0.2 }]]);
        assert!(settings(&review, Some(0.9)).is_empty());
        assert!(settings(&review, None).is_empty());
    }
}
