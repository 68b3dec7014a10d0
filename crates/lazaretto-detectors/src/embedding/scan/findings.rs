//! From foreign records to findings.

use std::collections::BTreeMap;

use lazaretto_core::{Action, DataFacts, Finding, Severity};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Found, ScanModel};

/// Most records of one class that a finding names; more are counted only.
const MAX_RECORDS: usize = 1 << 20;
/// Sources that the title names.
const NAMED: usize = 3;

/// Foreign records by class, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScanEvidence {
    foreign: BTreeMap<u32, Vec<u64>>,
    /// Foreign records beyond those kept.
    dropped: BTreeMap<u32, u64>,
}

impl ScanEvidence {
    pub(super) fn add(&mut self, class: u32, ordinal: u64) {
        let known = self.foreign.entry(class).or_default();
        if known.len() < MAX_RECORDS {
            known.push(ordinal);
        } else {
            *self.dropped.entry(class).or_default() += 1;
        }
    }

    pub(super) fn merge(&mut self, later: Self) {
        for (class, ordinals) in later.foreign {
            for ordinal in ordinals {
                self.add(class, ordinal);
            }
        }
        for (class, dropped) in later.dropped {
            *self.dropped.entry(class).or_default() += dropped;
        }
    }
}

/// One finding per class with foreign records, the most convincing first.
pub(super) fn findings(
    model: &ScanModel,
    facts: &DataFacts,
    evidence: ScanEvidence,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = evidence
        .foreign
        .into_iter()
        .filter_map(|(class, records)| {
            let found = model
                .classes
                .get(class as usize)?
                .as_ref()?
                .found
                .as_ref()?;
            let dropped = evidence.dropped.get(&class).copied().unwrap_or(0);
            Some(finding(model, facts, class, found, records, dropped))
        })
        .collect();
    findings.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
    findings
}

fn class_name(facts: &DataFacts, class: usize) -> String {
    let name = facts.classes.get(class);
    name.cloned().unwrap_or_else(|| class.to_string())
}

fn finding(
    model: &ScanModel,
    facts: &DataFacts,
    class: u32,
    found: &Found,
    records: Vec<u64>,
    dropped: u64,
) -> Finding {
    let target = class_name(facts, class as usize);
    let own = model
        .positions
        .iter()
        .filter(|&&other| other != class as usize);
    let mut sources: Vec<(String, u64)> = own
        .zip(&found.evidence.by_source)
        .map(|(&source, count)| (class_name(facts, source), count.round() as u64))
        .filter(|&(_, count)| count > 0)
        .collect();
    sources.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let named: Vec<String> = sources
        .iter()
        .take(NAMED)
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    let others = match sources.len().saturating_sub(NAMED) {
        0 => String::new(),
        1 => " and 1 more class".to_owned(),
        more => format!(" and {more} more classes"),
    };
    let title = format!(
        "{} records labelled `{target}` look like {}{others}, all moved in the same way",
        records.len() as u64 + dropped,
        named.join(", "),
    );
    let by_source: serde_json::Map<String, Value> = sources
        .into_iter()
        .map(|(name, count)| (name, Value::from(count)))
        .collect();
    let mut finding = Finding::new(
        "scan",
        "relabelled-shift",
        Severity::High,
        Action::Quarantine,
        title,
        found.p_value,
    )
    .with_records(records)
    .with_evidence("sources", by_source)
    .with_evidence("effective_sources", found.evidence.effective_sources)
    .with_evidence("shift_in_standard_deviations", found.shift)
    .with_evidence("shift_p_value", found.evidence.shift_p_value)
    .with_evidence("spread_p_value", found.evidence.spread_p_value)
    .with_evidence("records_tested", found.evidence.n_tested)
    .with_evidence("classes_judged", model.positions.len())
    .with_evidence("records_not_listed", dropped);
    finding.target_class = Some(target);
    finding
}
