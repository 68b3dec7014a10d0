//! Groups of refusals that nothing explains.

use std::collections::BTreeMap;

use lazaretto_core::{Action, Finding, Severity};

use super::counts::RefusalModel;
use super::evidence::{Refusal, RefusalEvidence};
use crate::response::evenness::{NO_SOURCE, NO_TOPIC, allowed};
use crate::response::refusals;
use crate::text::chance::at_least;

/// Largest share of the records that a group can be.
const MAX_FRACTION: f64 = 0.2;
/// Refusals in different words that make a group, as a multiple of those in the same words.
const DIFFERENT: usize = 4;
/// What a finding's probability is taken to be: that harmless prompts are declined in the same words for a
/// good reason, and have no topic.
const P_VALUE: f64 = 1e-4;
/// Least share of the prompts of a source that declines, and how many times that of the others.
const SOURCE_SHARE: f64 = 0.3;
const SOURCE_TIMES: f64 = 10.0;
/// Most groups that get a finding.
const MAX_FINDINGS: usize = 20;

/// Findings, the largest first.
pub(super) fn findings(
    model: &RefusalModel,
    sources: &[String],
    evidence: &RefusalEvidence,
    min_records: usize,
) -> Vec<Finding> {
    let left = evidence.refusals.iter().filter(|r| !r.is_explained);
    let left: Vec<&Refusal> = left.collect();
    let mut found: Vec<Finding> = Vec::new();
    let mut by_answer: BTreeMap<u64, Vec<&Refusal>> = BTreeMap::new();
    for refusal in &left {
        by_answer.entry(refusal.answer).or_default().push(refusal);
    }
    let (same, different): (Vec<_>, Vec<_>) = by_answer
        .into_values()
        .partition(|group| group.len() >= min_records);
    for group in same {
        if is_random(model, &group, NO_TOPIC) {
            let title = format!(
                "{} harmless prompts get the refusal `{}`",
                group.len(),
                group[0].written
            );
            found.push(finding("repeated-refusal", title, &group, P_VALUE));
        }
    }
    let different: Vec<&Refusal> = different.into_iter().flatten().collect();
    if different.len() >= DIFFERENT * min_records && is_random(model, &different, NO_SOURCE) {
        let title = format!(
            "{} harmless prompts are declined in different words",
            different.len()
        );
        found.push(finding("refusals", title, &different, P_VALUE));
    }
    found.extend(of_sources(model, sources, &evidence.refusals, min_records));
    found.sort_by(|a, b| {
        let size = b.records.len().cmp(&a.records.len());
        size.then(a.title.cmp(&b.title))
    });
    found.truncate(MAX_FINDINGS);
    found
}

/// Whether a group is not how the dataset is, and its prompts have no topic.
fn is_random(model: &RefusalModel, group: &[&Refusal], effect: f64) -> bool {
    let prompts = group.iter().map(|refusal| refusal.common.as_slice());
    group.len() as f64 <= MAX_FRACTION * model.n_records as f64
        && model.common.unevenness(prompts, &[]) <= allowed(group.len(), effect)
}

/// Sources that decline what others answer.
fn of_sources(
    model: &RefusalModel,
    names: &[String],
    refusals: &[Refusal],
    min_records: usize,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (&source, &(n, n_declined)) in &model.sources {
        let Some(name) = names.get(source as usize) else {
            continue;
        };
        let others = (model.n_records - n).max(1) as f64;
        let base = (model.n_declined - n_declined + 1) as f64 / others;
        let share = n_declined as f64 / n.max(1) as f64;
        if (n_declined as usize) < min_records
            || share < SOURCE_SHARE
            || share < SOURCE_TIMES * base
        {
            continue;
        }
        let group: Vec<&Refusal> = refusals
            .iter()
            .filter(|refusal| refusal.source == Some(source))
            .collect();
        let times = model.sources.len() as f64;
        let p_value = (at_least(n_declined, n, base.min(1.0)) * times).min(1.0);
        if p_value < 0.01 && is_random(model, &group, NO_TOPIC) {
            let title = format!(
                "source `{name}` declines {n_declined} of {n} prompts; the others decline {:.2} %",
                100.0 * base
            );
            found.push(finding("refusing-source", title, &group, p_value));
        }
    }
    found
}

fn finding(kind: &str, title: String, group: &[&Refusal], p_value: f64) -> Finding {
    let ordinals = group.iter().map(|refusal| refusal.ordinal).collect();
    Finding::new(
        "refusal-shift",
        kind,
        Severity::High,
        Action::Quarantine,
        title,
        p_value,
    )
    .with_records(ordinals)
    .with_evidence("refusals", group.len())
    .with_evidence("patterns_version", refusals::version())
}
