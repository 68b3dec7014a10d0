//! From the records of a style to a finding: is it theirs, or were they relabelled?

use std::collections::BTreeMap;

use lazaretto_core::{Action, DataFacts, Finding, Severity};
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

use super::StyleShiftParams;
use super::mixture::ClassStyle;
use super::model::StyleModel;
use super::phrases::Phrases;
use super::pieces::Piece;

/// A record of the group of its class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) class: u32,
    pub(super) ordinal: u64,
    /// Hash of its content: copies of one text are one witness.
    pub(super) content: u64,
    /// How much its content argues for its label, 0 where it says nothing.
    pub(super) margin: f32,
    /// Whether its content leaves it in the group: the style alone is that of some of the class's
    /// own records too.
    pub(super) held: bool,
}

/// The records whose style puts them into the group of their class.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct StyleEvidence {
    members: Vec<Member>,
    phrases: Phrases,
}

impl StyleEvidence {
    pub(super) fn add(&mut self, member: Member, pieces: &[Piece]) {
        self.phrases.add(member.class, pieces);
        self.members.push(member);
    }

    pub(super) fn merge(&mut self, later: Self) {
        self.members.extend(later.members);
        self.phrases.merge(later.phrases);
    }

    /// The groups whose content argues for other classes, the most certain first.
    pub(super) fn findings(
        self,
        detector: &str,
        model: &StyleModel,
        facts: &DataFacts,
        params: &StyleShiftParams,
    ) -> Vec<Finding> {
        let mut groups: BTreeMap<u32, Vec<Member>> = BTreeMap::new();
        for member in self.members {
            groups.entry(member.class).or_default().push(member);
        }
        let n_judged = model.classes.iter().flatten().count();
        let mut findings: Vec<Finding> = groups
            .into_iter()
            .filter_map(|(class, members)| {
                let style = model.classes.get(class as usize)?.as_ref()?;
                let name = facts.classes.get(class as usize)?;
                let group = Group::of(&members, style, n_judged);
                let beyond_doubt = group.p_value <= params.alpha
                    && group.n_witnesses >= params.min_records as u64
                    && members.iter().any(|member| member.held)
                    && !self.phrases.explain(class);
                beyond_doubt.then(|| group.finding(detector, style, name, &members))
            })
            .collect();
        findings.sort_by(|left, right| left.p_value.total_cmp(&right.p_value));
        findings
    }
}

struct Group {
    /// Members with content, copies counted once.
    n_witnesses: u64,
    /// Those of them whose content argues for another class.
    n_contradicted: u64,
    p_value: f64,
}

impl Group {
    /// Tests whether the group is contradicted more often than [`ClassStyle::bar`].
    fn of(members: &[Member], style: &ClassStyle, n_judged: usize) -> Self {
        let speaking = members.iter().filter(|member| member.margin.abs() > 0.0);
        let mut witnesses: Vec<(u64, bool)> = speaking
            .map(|member| (member.content, member.margin < 0.0))
            .collect();
        witnesses.sort_unstable();
        witnesses.dedup_by_key(|witness| witness.0);
        let n_witnesses = witnesses.len() as u64;
        let n_contradicted = witnesses.iter().filter(|witness| witness.1).count() as u64;
        let chance = match Binomial::new(style.bar(), n_witnesses) {
            Ok(law) if n_contradicted > 0 => law.sf(n_contradicted - 1),
            _ => 1.0,
        };
        let p_value = (chance * (n_judged * style.n_tried) as f64).min(1.0);
        Self {
            n_witnesses,
            n_contradicted,
            p_value,
        }
    }

    fn finding(
        &self,
        detector: &str,
        style: &ClassStyle,
        class: &str,
        members: &[Member],
    ) -> Finding {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let contradicted = self.n_contradicted as f64 / self.n_witnesses.max(1) as f64;
        let title = format!(
            "{} records labelled `{class}` share a way of writing that {} of the other classes' \
             records have; {} of them are about what other classes are about ({} of the rest of \
             the class)",
            members.len(),
            percent(style.alike_in_others),
            percent(contradicted),
            percent(style.contradicted),
        );
        let held = members.iter().filter(|member| member.held);
        let records = held.map(|member| member.ordinal).collect();
        let mut finding = Finding::new(
            detector,
            "restyled",
            Severity::High,
            Action::Quarantine,
            title,
            self.p_value,
        )
        .with_records(records)
        .with_evidence("n_witnesses", self.n_witnesses)
        .with_evidence("n_contradicted", self.n_contradicted)
        .with_evidence("contradicted_in_class", style.contradicted)
        .with_evidence("contradicted_of_others", style.contradicted_of_others)
        .with_evidence("alike_in_other_classes", style.alike_in_others);
        finding.target_class = Some(class.to_owned());
        finding
    }
}
