//! The policy: when the gate fails.
//!
//! Rules, as written in `--fail-on` and `policy.fail_on`:
//!
//! | rule | the gate fails when |
//! |---|---|
//! | `never` | nothing but unscanned data fails it, findings with the action `fail` included |
//! | `low`, `medium`, `high`, `critical` | a finding of at least this severity holds records back |
//! | `quarantine` | any record is held back |
//! | `quarantine>N`, `quarantine>P%` | more than N records, or P percent, are held back |
//! | `class>P%`, `source>P%`, `file>P%`, `partition>P%` | more than P percent of one class, source, file or hive partition are held back: an attacker could aim the quarantine itself, and a class must not vanish unseen |
//! | `group>P%` | any of the four |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use lazaretto_core::report::{
    Counts, DetectorStatus, FileReport, FindingReport, Gate, GateStatus, GroupReport, Report,
};
use lazaretto_core::{Action, Severity};

use crate::counts::MAX_GROUPS;
use crate::settings::Settings;

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
    /// More than this fraction of one group held back, of one kind or of any.
    GroupShare(Option<GroupKind>, f64),
}

/// Kinds of groups that have a budget: how much of one may be held back before a person has to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Records with one label.
    Class,
    /// Records of one source.
    Source,
    /// Records of one file.
    File,
    /// Records of one hive partition, `key=value`.
    Partition,
}

impl GroupKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Class, Self::Source, Self::File, Self::Partition];

    /// The word in rules and reasons.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Source => "source",
            Self::File => "file",
            Self::Partition => "partition",
        }
    }
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
        if let Some((group, limit)) = rule.split_once('>') {
            let kind = GroupKind::ALL.into_iter().find(|kind| kind.name() == group);
            if kind.is_some() || group == "group" {
                let share = limit.strip_suffix('%').unwrap_or("");
                return percent(share, text).map(|share| Self::GroupShare(kind, share));
            }
        }
        match rule.as_str() {
            "never" => Ok(Self::Never),
            "quarantine" => Ok(Self::Records(0)),
            word => match word.parse::<Severity>() {
                Ok(severity) => Ok(Self::Severity(severity)),
                Err(_) => Err(format!(
                    "`{text}` is no rule, expected `never`, `low`, `medium`, `high`, `critical`, `quarantine`, `quarantine>N`, `quarantine>P%`, `group>P%`, `class>P%`, `source>P%`, `file>P%` or `partition>P%`"
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
            Self::GroupShare(kind, share) => {
                let group = kind.map_or("group", GroupKind::name);
                write!(formatter, "{group}>{}%", share * 100.0)
            }
        }
    }
}

/// What the gate decides on.
pub(crate) struct Facts<'a> {
    pub(crate) counts: &'a Counts,
    pub(crate) findings: &'a [FindingReport],
    pub(crate) classes: &'a [GroupReport],
    pub(crate) sources: &'a [GroupReport],
    pub(crate) files: &'a [GroupReport],
    pub(crate) partitions: &'a [GroupReport],
    pub(crate) detectors: &'a [String],
    pub(crate) fdr: f64,
}

/// Applies `rules` to a finished scan.
pub(crate) fn gate(rules: &[Rule], facts: &Facts<'_>) -> Gate {
    let mut reasons: Vec<String> = rules
        .iter()
        .filter_map(|rule| verdict(rule, facts))
        .collect();
    reasons.extend(by_themselves(rules, facts.findings));
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

/// Why a finished run, made under `rules_then`, does not pass the policy of `settings`; empty when it does.
///
/// Severities, numbers and shares are in the report. Of sources it lists the first; what needs the others is
/// told only where the run was made under that rule.
pub(crate) fn recheck(settings: &Settings, report: &Report, rules_then: &[String]) -> Vec<String> {
    let mut reasons = Vec::new();
    let detectors: Vec<String> = report
        .detectors
        .iter()
        .filter(|detector| detector.status == DetectorStatus::Ran)
        .map(|detector| detector.id.clone())
        .collect();
    let by_file = by_file(&report.dataset.files);
    let by_partition = by_partition(&report.dataset.files);
    let facts = Facts {
        counts: &report.counts,
        findings: &report.findings,
        classes: &report.dataset.classes,
        sources: &report.dataset.sources,
        files: &by_file,
        partitions: &by_partition,
        detectors: &detectors,
        fdr: report.settings.fdr,
    };
    for rule in &settings.rules {
        reasons.extend(verdict(rule, &facts));
        let is_cut = facts.sources.len() >= MAX_GROUPS;
        let then = rules_then.contains(&rule.to_string());
        let of_sources = matches!(rule, Rule::GroupShare(None | Some(GroupKind::Source), _));
        if of_sources && is_cut && !then {
            reasons.push(format!(
                "`{rule}` cannot be told of all sources, scan under this policy"
            ));
        }
    }
    reasons.extend(by_themselves(&settings.rules, facts.findings));
    // A smaller rate holds fewer records back.
    if report.settings.fdr < settings.fdr {
        reasons.push(format!(
            "single records were held to a false-discovery rate of {}, not {}",
            report.settings.fdr, settings.fdr
        ));
    }
    reasons
}

/// The reason when findings fail the gate whatever the rules say: those that put too much in question to be held
/// back without a person.
fn by_themselves(rules: &[Rule], findings: &[FindingReport]) -> Option<String> {
    if rules.contains(&Rule::Never) {
        return None;
    }
    let failing = findings
        .iter()
        .filter(|finding| finding.action == Action::Fail);
    let detectors: BTreeSet<&str> = failing
        .clone()
        .map(|finding| finding.detector.as_str())
        .collect();
    let names: Vec<String> = detectors.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} finding(s) of {} fail the gate by themselves",
            failing.count(),
            names.join(", ")
        )
    })
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
        Rule::GroupShare(only, limit) => {
            let kinds = GroupKind::ALL.into_iter();
            let asked = kinds.filter(|kind| only.is_none_or(|only| only == *kind));
            let over: Vec<String> = asked
                .filter_map(|kind| over_budget(kind, facts.groups(kind), limit))
                .collect();
            (!over.is_empty()).then(|| format!("{} held back (rule `{rule}`)", over.join(", ")))
        }
    }
}

/// The group of which most is held back, where that is more than `limit`, and how many others there are.
fn over_budget(kind: GroupKind, groups: &[GroupReport], limit: f64) -> Option<String> {
    let share = |group: &GroupReport| group.quarantined as f64 / group.records as f64;
    let over = groups
        .iter()
        .filter(|group| group.records >= MIN_GROUP && share(group) > limit);
    let n_over = over.clone().count();
    let worst = over.max_by(|left, right| share(left).total_cmp(&share(right)))?;
    let more = match n_over {
        1 => String::new(),
        _ => format!(" and more than allowed of {} more", n_over - 1),
    };
    Some(format!(
        "{:.1} % of {} `{}`{more}",
        share(worst) * 100.0,
        kind.name(),
        worst.name
    ))
}

impl Facts<'_> {
    fn groups(&self, kind: GroupKind) -> &[GroupReport] {
        match kind {
            GroupKind::Class => self.classes,
            GroupKind::Source => self.sources,
            GroupKind::File => self.files,
            GroupKind::Partition => self.partitions,
        }
    }
}

/// Records by file, where there are several; one alone is the whole dataset, which has rules of its own.
pub(crate) fn by_file(files: &[FileReport]) -> Vec<GroupReport> {
    let group = |file: &FileReport| GroupReport {
        name: file.path.clone(),
        records: file.records.unwrap_or(0),
        quarantined: file.quarantined,
    };
    match files {
        [_] => Vec::new(),
        several => several.iter().map(group).collect(),
    }
}

/// Records by hive partition, for keys with several values.
pub(crate) fn by_partition(files: &[FileReport]) -> Vec<GroupReport> {
    let mut keys = BTreeMap::<&str, BTreeMap<&str, (u64, u64)>>::new();
    for file in files {
        for (key, value) in &file.partitions {
            let counts = keys.entry(key).or_default().entry(value).or_default();
            counts.0 += file.records.unwrap_or(0);
            counts.1 += file.quarantined;
        }
    }
    let several = keys.into_iter().filter(|(_, values)| values.len() > 1);
    let groups = several.flat_map(|(key, values)| {
        values.into_iter().map(move |(value, counts)| GroupReport {
            name: format!("{key}={value}"),
            records: counts.0,
            quarantined: counts.1,
        })
    });
    groups.collect()
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
            files: &[],
            partitions: &[],
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
            "class>5%",
            "source>0%",
            "file>50%",
            "partition>10%",
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        for text in [
            "maybe",
            "quarantine>x",
            "group>3",
            "quarantine>200%",
            "label>3%",
            "class>",
        ] {
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

    fn file(path: &str, partition: &str, records: u64, quarantined: u64) -> FileReport {
        FileReport {
            path: path.to_owned(),
            format: "parquet".to_owned(),
            bytes: 1,
            blake3: String::new(),
            records: Some(records),
            row_groups: 1,
            quarantined,
            unscanned: 0,
            unscanned_reason: None,
            partitions: BTreeMap::from([("lang".to_owned(), partition.to_owned())]),
        }
    }

    #[test]
    fn files_and_partitions_have_budgets_of_their_own() {
        let counts = Counts {
            records: 100_000,
            quarantine: 60,
            ..Counts::default()
        };
        let files = [
            file("a", "de", 60, 0),
            file("b", "de", 80, 60),
            file("c", "en", 900, 0),
        ];
        let (by_file, by_partition) = (by_file(&files), by_partition(&files));
        let facts = Facts {
            files: &by_file,
            partitions: &by_partition,
            ..facts(&counts, &[])
        };
        let reasons = |rule: &str| gate(&rules(&[rule]), &facts).reasons.join("; ");
        assert!(reasons("file>20%").contains("75.0 % of file `b`"));
        assert!(reasons("partition>20%").contains("42.9 % of partition `lang=de`"));
        assert_eq!(reasons("partition>50%"), "");
        assert_eq!(reasons("class>1%"), "");
        let any = reasons("group>20%");
        assert!(
            any.contains("file `b`") && any.contains("`lang=de`"),
            "{any}"
        );
        // One file is the whole dataset.
        assert_eq!(super::by_file(&files[..1]), []);
        assert_eq!(super::by_partition(&files[..2]), []);
    }
}
