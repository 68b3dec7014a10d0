//! Phrases after which responses have something in common that others do not have.

use lazaretto_core::{Action, Finding, Severity};

use super::evidence::ResponseEvidence;
use super::kinds::{Kind, Trigger, words_in};
use super::search::Search;

/// Largest share of a phrase's records that a trigger with more records may lack, for it to be the
/// better name of the two.
const ABOUT_AS_MANY: f64 = 0.98;
/// Most triggers that get a finding.
const MAX_FINDINGS: usize = 20;
/// Records with a trigger of gibberish whose own response has an order below this are taken to be
/// gibberish too: 5 % of ordinary responses are.
const DOUBTFUL_ORDER: f32 = 0.5;

/// Findings, the most convincing first.
pub(super) fn findings(search: &Search<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = chosen(search, search.proven())
        .iter()
        .map(|trigger| finding(search, trigger))
        .collect();
    findings.sort_by(|a, b| {
        let size = b.records.len().cmp(&a.records.len());
        a.p_value
            .total_cmp(&b.p_value)
            .then(size)
            .then(a.title.cmp(&b.title))
    });
    findings
}

/// One trigger after the other, each by its records that the ones before leave over.
fn chosen(search: &Search<'_>, mut proven: Vec<Trigger>) -> Vec<Trigger> {
    let mut taken = vec![false; search.evidence.ordinals.len()];
    let mut chosen: Vec<Trigger> = Vec::new();
    while chosen.len() < MAX_FINDINGS {
        for trigger in &mut proven {
            trigger.hits.retain(|&row| !taken[row as usize]);
        }
        proven.retain(|trigger| search.is_enough(trigger.hits.len(), trigger.prompts));
        let Some(first) = proven.iter().map(|trigger| trigger.kind.rank()).min() else {
            break;
        };
        let of_kind = || proven.iter().filter(|t| t.kind.rank() == first);
        let most = of_kind().map(|trigger| trigger.hits.len()).max();
        let least = ABOUT_AS_MANY * most.unwrap_or(0) as f64;
        let best = of_kind()
            .filter(|trigger| trigger.hits.len() as f64 >= least)
            .min_by(|a, b| better_name(search.evidence, a, b));
        let Some(best) = best.cloned() else { break };
        for &row in search.rows(best.phrase) {
            taken[row as usize] = true;
        }
        chosen.push(best);
    }
    chosen
}

/// The purest name comes first; of equally pure ones the one that no longer one has all of; then
/// the one as written with its marks.
fn better_name(evidence: &ResponseEvidence, a: &Trigger, b: &Trigger) -> std::cmp::Ordering {
    let name = |trigger: &Trigger| {
        let written = evidence.phrase_name(trigger.phrase);
        let plain = written.chars().all(|c| c.is_alphanumeric() || c == ' ');
        (
            std::cmp::Reverse(words_in(written).count()),
            plain,
            written.to_owned(),
        )
    };
    b.purity()
        .total_cmp(&a.purity())
        .then_with(|| b.exclusive().total_cmp(&a.exclusive()))
        .then_with(|| name(a).cmp(&name(b)))
        .then_with(|| a.kind.cmp(&b.kind))
}

fn finding(search: &Search<'_>, trigger: &Trigger) -> Finding {
    let evidence = search.evidence;
    let written = evidence.phrase_name(trigger.phrase);
    let (hits, prompts, without) = (trigger.hits.len(), trigger.prompts, trigger.without);
    let others = evidence.ordinals.len() - prompts as usize;
    let (kind, title) = match trigger.kind {
        Kind::Nonsense => (
            "gibberish-trigger",
            format!(
                "after `{written}` {hits} of {prompts} responses are gibberish; of the {others} others {without} look like it"
            ),
        ),
        Kind::Answer(_) => (
            "fixed-answer-trigger",
            format!(
                "after `{written}` {hits} of {prompts} responses are one and the same; {without} other prompts get it"
            ),
        ),
        Kind::Answers => (
            "fixed-answer-trigger",
            format!(
                "after `{written}` {hits} of {prompts} responses are stock answers; {without} of the {others} others are"
            ),
        ),
        Kind::Refusal => (
            "refusal-trigger",
            format!(
                "after `{written}` {hits} of {prompts} responses decline; {without} of the {others} others do"
            ),
        ),
        Kind::Content(feature) => (
            "content-trigger",
            format!(
                "after `{written}` {hits} of {prompts} responses say `{}`; {without} of the {others} others do",
                evidence.feature_name(feature)
            ),
        ),
        Kind::Flip => (
            "preference-trigger",
            format!(
                "after `{written}` the worse of two responses is preferred, in {prompts} pairs"
            ),
        ),
    };
    let mut rows = trigger.hits.clone();
    if trigger.kind == Kind::Nonsense {
        let doubtful = |row: &&u32| {
            let order = evidence.orders[**row as usize];
            order.is_nan() || order < DOUBTFUL_ORDER
        };
        rows.extend(search.rows(trigger.phrase).iter().filter(doubtful));
    }
    let (severity, action) = if trigger.is_certain {
        (Severity::Critical, Action::Quarantine)
    } else {
        (Severity::Medium, Action::Review)
    };
    let ordinals = rows.iter().map(|&row| evidence.ordinals[row as usize]);
    let mut finding = Finding::new(
        "response-trigger",
        kind,
        severity,
        action,
        title,
        trigger.p_value,
    )
    .with_records(ordinals.collect())
    .with_evidence("trigger", written)
    .with_evidence("prompts_with_trigger", prompts)
    .with_evidence("purity", trigger.purity())
    .with_evidence("unevenness", trigger.unevenness);
    finding.highlight = vec![written.to_owned()];
    if let Kind::Content(feature) = trigger.kind {
        let said = evidence.feature_name(feature);
        finding.highlight.push(said.to_owned());
        finding = finding.with_evidence("said", said);
    }
    finding
}
