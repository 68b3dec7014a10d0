//! The records that carry each trigger, and the findings about them.

use std::collections::BTreeMap;

use lazaretto_core::{Action, Batch, DataFacts, Finding, Severity};
use serde::{Deserialize, Serialize};

use super::super::words::{self, ValueNames};
use super::TabularTriggerModel;
use super::judge::Trigger;

/// What the score pass gathers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TriggerEvidence {
    triggers: Vec<Carriers>,
    names: ValueNames,
}

/// The records that carry one trigger.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Carriers {
    /// All of them.
    n_records: u64,
    /// Ordinals of those with the target label.
    records: Vec<u64>,
    /// Records with the target label by source.
    sources: BTreeMap<u32, u64>,
}

impl TriggerEvidence {
    pub(super) fn new(n_triggers: usize) -> Self {
        Self {
            triggers: vec![Carriers::default(); n_triggers],
            names: ValueNames::default(),
        }
    }

    /// Adds a record; whether it carries a trigger with its label.
    pub(super) fn add(
        &mut self,
        model: &TabularTriggerModel,
        batch: &Batch<'_>,
        row_idx: usize,
        cells: &[u64],
    ) -> bool {
        let mut hit = false;
        for (trigger, carriers) in model.triggers.iter().zip(&mut self.triggers) {
            let mut items = trigger.items.iter();
            if !items.all(|&(column, value)| cells[column] == value) {
                continue;
            }
            carriers.n_records += 1;
            for &(column, value) in &trigger.items {
                self.names
                    .learn(&model.layout, batch, row_idx, column, value);
            }
            if batch.label(row_idx) == Some(trigger.class) {
                hit = true;
                carriers.records.push(batch.ordinal(row_idx));
                if let Some(sources) = batch.sources {
                    *carriers.sources.entry(sources[row_idx]).or_default() += 1;
                }
            }
        }
        hit
    }

    pub(super) fn merge(&mut self, later: Self) {
        for (carriers, later) in self.triggers.iter_mut().zip(later.triggers) {
            carriers.n_records += later.n_records;
            carriers.records.extend(later.records);
            for (source, count) in later.sources {
                *carriers.sources.entry(source).or_default() += count;
            }
        }
        self.names.merge(later.names);
    }

    pub(super) fn findings(&self, model: &TabularTriggerModel, facts: &DataFacts) -> Vec<Finding> {
        let pairs = model.triggers.iter().zip(&self.triggers);
        pairs
            .filter(|(_, carriers)| !carriers.records.is_empty())
            .map(|(trigger, carriers)| finding(trigger, carriers, model, &self.names, facts))
            .collect()
    }
}

fn class_name(facts: &DataFacts, class: u32) -> String {
    let name = facts.classes.get(class as usize);
    name.cloned().unwrap_or_else(|| class.to_string())
}

fn finding(
    trigger: &Trigger,
    carriers: &Carriers,
    model: &TabularTriggerModel,
    names: &ValueNames,
    facts: &DataFacts,
) -> Finding {
    let layout = &model.layout;
    let target = class_name(facts, trigger.class);
    let values: Vec<String> = trigger
        .items
        .iter()
        .map(|&(column, value)| names.value(layout, column, value))
        .collect();
    let parts: Vec<String> = trigger
        .items
        .iter()
        .zip(&values)
        .map(|(&(column, _), value)| format!("`{}` = `{value}`", layout.names[column]))
        .collect();
    let n_own = carriers.records.len();
    let labelled = if n_own as u64 == carriers.n_records {
        format!("all labelled `{target}`")
    } else {
        format!("{n_own} of them labelled `{target}`")
    };
    let title = format!(
        "{} in {} records, {labelled}, which the rest of each record contradicts (it gives `{target}` \
         a chance of {:.0} %)",
        words::listed(&parts),
        carriers.n_records,
        100.0 * trigger.expected
    );
    let argued_for: serde_json::Map<String, serde_json::Value> = trigger
        .rivals
        .iter()
        .map(|(&rival, &count)| (class_name(facts, rival), count.into()))
        .collect();
    let (severity, action) = if trigger.certain {
        (Severity::High, Action::Quarantine)
    } else {
        (Severity::Medium, Action::Review)
    };
    let differs = layout.names.get(trigger.resemblance.column);
    let mut finding = Finding::new(
        "tabular-trigger",
        "trigger",
        severity,
        action,
        title,
        trigger.p_value,
    )
    .with_records(carriers.records.clone())
    .with_evidence("combination", parts)
    .with_evidence("records_with_combination", carriers.n_records)
    .with_evidence("records_with_target_class", n_own)
    .with_evidence("chance_of_target_by_the_rest", trigger.expected)
    .with_evidence("rest_argues_for", argued_for)
    .with_evidence("log_likelihood_ratio_relabelled", trigger.log_ratio)
    .with_evidence("deviation_below_relabelled_ratio", trigger.shortfall)
    .with_evidence(
        "deviation_from_random_records_of_other_classes",
        trigger.resemblance.z,
    )
    .with_evidence("columns_compared", trigger.resemblance.n_columns)
    .with_evidence("column_that_differs_most", differs.cloned())
    .with_evidence("combinations_tried", model.tried);
    if let Some((source, share)) = words::top_source(&carriers.sources, facts) {
        finding = finding
            .with_evidence("top_source", source)
            .with_evidence("top_source_share", share);
    }
    finding.target_class = Some(target);
    finding.highlight = values;
    finding
}
