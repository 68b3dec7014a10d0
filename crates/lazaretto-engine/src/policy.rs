//! The policy: when the gate fails.
//!
//! Rules, as written in `--fail-on` and `policy.fail_on`:
//!
//! | rule | the gate fails when |
//! |---|---|
//! | `never` | nothing but unscanned data fails it |
//! | `low`, `medium`, `high`, `critical` | a finding of at least this severity holds records back |
//! | `quarantine` | any record is held back |
//! | `quarantine>N`, `quarantine>P%` | more than N records, or P percent, are held back |
//! | `group>P%` | more than P percent of one class or source are held back: an attacker could aim the quarantine itself |

use std::fmt;
use std::str::FromStr;

use lazaretto_core::report::{Counts, FindingReport, Gate, GateStatus, GroupReport};
use lazaretto_core::{Action, Severity};

/// The rules used when none are given.
pub const DEFAULT_RULES: [&str; 3] = ["high", "quarantine>1%", "group>20%"];

/// Groups of fewer records do not count for `group>P%`: a share of a handful says nothing.
const MIN_GROUP: u64 = 50;

/// One rule under which the gate fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// No rule.
    Never,
    /// A finding of at least this severity that holds records back.
    Severity(Severity),
    /// More than so many records held back.
    Records(u64),
    /// More than this fraction of the records held back.
    Share(f64),
    /// More than this fraction of one class or source held back.
    GroupShare(f64),
}

fn percent(text: &str, rule: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|percent| (0.0..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{rule}` needs a percentage in 0..=100"))
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if let Some(limit) = rule.strip_prefix("quarantine>") {
            return match limit.strip_suffix('%') {
                Some(share) => percent(share, text).map(Self::Share),
                None => limit
                    .parse()
                    .map(Self::Records)
                    .map_err(|_| format!("`{text}` needs a number of records or a percentage")),
            };
        }
        if let Some(limit) = rule.strip_prefix("group>") {
            let share = limit.strip_suffix('%').unwrap_or("");
            return percent(share, text).map(Self::GroupShare);
        }
        match rule.as_str() {
            "never" => Ok(Self::Never),
            "quarantine" => Ok(Self::Records(0)),
            word => match word.parse::<Severity>() {
                Ok(severity) => Ok(Self::Severity(severity)),
                Err(_) => Err(format!(
                    "`{text}` is no rule, expected `never`, `low`, `medium`, `high`, `critical`, `quarantine`, `quarantine>N`, `quarantine>P%` or `group>P%`"
                )),
            },
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => write!(formatter, "never"),
            Self::Severity(severity) => write!(formatter, "{severity}"),
            Self::Records(limit) => write!(formatter, "quarantine>{limit}"),
            Self::Share(share) => write!(formatter, "quarantine>{}%", share * 100.0),
            Self::GroupShare(share) => write!(formatter, "group>{}%", share * 100.0),
        }
    }
}

/// What the gate decides on.
pub(crate) struct Facts<'a> {
    pub(crate) counts: &'a Counts,
    pub(crate) findings: &'a [FindingReport],
    pub(crate) classes: &'a [GroupReport],
    pub(crate) sources: &'a [GroupReport],
    pub(crate) detectors: &'a [String],
    pub(crate) fdr: f64,
}

/// Applies `rules` to a finished scan.
pub(crate) fn gate(rules: &[Rule], facts: &Facts<'_>) -> Gate {
    let mut reasons: Vec<String> = rules
        .iter()
        .filter_map(|rule| verdict(rule, facts))
        .collect();
    let counts = facts.counts;
    let unscanned = counts.unscanned > 0 || counts.unscanned_files > 0;
    let status = match (reasons.is_empty(), unscanned) {
        (false, _) => GateStatus::Failed,
        (true, true) => GateStatus::Incomplete,
        (true, false) => GateStatus::Passed,
    };
    if unscanned {
        reasons.push(format!(
            "{} record(s) and {} file(s) could not be judged",
            counts.unscanned, counts.unscanned_files
        ));
    }
    Gate {
        status,
        exit_code: match status {
            GateStatus::Passed => 0,
            GateStatus::Failed => 1,
            GateStatus::Incomplete => 3,
        },
        reasons,
        evidence: facts.counts.quarantine > 0,
        summary: summary(facts),
    }
}

fn verdict(rule: &Rule, facts: &Facts<'_>) -> Option<String> {
    let counts = facts.counts;
    match *rule {
        Rule::Never => None,
        Rule::Severity(least) => {
            let severe = |finding: &&FindingReport| {
                finding.action == Action::Quarantine && finding.severity >= least
            };
            let number = facts.findings.iter().filter(severe).count();
            (number > 0).then(|| {
                format!("{number} finding(s) of severity {least} or above (rule `{rule}`)")
            })
        }
        Rule::Records(limit) => (counts.quarantine > limit)
            .then(|| format!("{} records held back (rule `{rule}`)", counts.quarantine)),
        Rule::Share(limit) => {
            let share = counts.quarantine as f64 / counts.records.max(1) as f64;
            (share > limit).then(|| {
                format!(
                    "{:.2} % of the records held back (rule `{rule}`)",
                    share * 100.0
                )
            })
        }
        Rule::GroupShare(limit) => {
            let worst = facts
                .classes
                .iter()
                .map(|group| ("class", group))
                .chain(facts.sources.iter().map(|group| ("source", group)))
                .filter(|(_, group)| group.records >= MIN_GROUP)
                .map(|(kind, group)| (group.quarantined as f64 / group.records as f64, kind, group))
                .filter(|(share, ..)| *share > limit)
                .max_by(|left, right| left.0.total_cmp(&right.0))?;
            let (share, kind, group) = worst;
            Some(format!(
                "{:.1} % of {kind} `{}` held back (rule `{rule}`)",
                share * 100.0,
                group.name
            ))
        }
    }
}

fn summary(facts: &Facts<'_>) -> String {
    let counts = facts.counts;
    if counts.quarantine == 0 {
        let scanned = if counts.unscanned > 0 || counts.unscanned_files > 0 {
            " in what could be scanned"
        } else {
            ""
        };
        return format!(
            "no evidence of poisoning at FDR {} %{scanned}: no finding by detectors {} holds a record back, and no record stands out by itself",
            // As people write it: 0.05 is 5, not 5.000000000000001.
            (facts.fdr * 1e8).round() / 1e6,
            facts.detectors.join(", ")
        );
    }
    let holding = facts
        .findings
        .iter()
        .filter(|finding| finding.action == Action::Quarantine)
        .count();
    let by_findings = match holding {
        0 => "none by a finding, all on their own scores".to_owned(),
        1 => "1 finding holds records back".to_owned(),
        _ => format!("{holding} findings hold records back"),
    };
    format!(
        "{:.2} % of the records held back; {by_findings}",
        100.0 * counts.quarantine as f64 / counts.records.max(1) as f64
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(counts: &'a Counts, classes: &'a [GroupReport]) -> Facts<'a> {
        Facts {
            counts,
            findings: &[],
            classes,
            sources: &[],
            detectors: &[],
            fdr: 0.05,
        }
    }

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn rules_parse_and_print() {
        for text in [
            "never",
            "high",
            "quarantine>0",
            "quarantine>1%",
            "group>20%",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        for text in ["maybe", "quarantine>x", "group>3", "quarantine>200%"] {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_above_the_limit_fails_and_one_below_passes() {
        let mut counts = Counts {
            records: 1000,
            pass: 989,
            quarantine: 11,
            ..Counts::default()
        };
        let gate_of = |counts: &Counts| gate(&rules(&["quarantine>1%"]), &facts(counts, &[]));
        assert_eq!(gate_of(&counts).exit_code, 1);
        counts.quarantine = 10;
        assert_eq!(gate_of(&counts).exit_code, 0);
        counts.unscanned = 1;
        assert_eq!(gate_of(&counts).exit_code, 3);
    }

    #[test]
    fn quarantining_one_class_fails_the_gate() {
        let counts = Counts {
            records: 100_000,
            quarantine: 60,
            ..Counts::default()
        };
        let classes = [GroupReport {
            name: "rare".to_owned(),
            records: 100,
            quarantined: 60,
        }];
        let gate = gate(&rules(&DEFAULT_RULES), &facts(&counts, &classes));
        assert_eq!(gate.status, GateStatus::Failed);
        assert!(gate.reasons[0].contains("class `rare`"), "{gate:?}");
    }
}
