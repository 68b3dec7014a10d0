//! What is found, as findings.

use lazaretto_core::{Action, Finding, Severity};

use super::flips::Flipped;
use super::marks::Evidence;
use super::{Candidate, DETECTOR, Search};

impl Search<'_> {
    pub(super) fn finding(&self, candidate: Candidate) -> Finding {
        let Candidate {
            group, enriched, ..
        } = candidate;
        let (name, tally) = (self.groups.in_words(group), enriched.tally);
        let (marked, looked, expected) = (tally.marked, tally.looked, enriched.expected);
        let as_others =
            format!("{expected:.0} would be expected as the other groups of its kind go");
        let (kind, found) = match self.marker.kinds[candidate.kind] {
            Evidence::Contradicted(sure) => (
                "flipped-labels",
                if sure > 0.0 {
                    format!(
                        "the content clearly contradicts {marked} of its {looked} labels that can be judged"
                    )
                } else {
                    format!("the content contradicts {marked} of its {looked} labels")
                },
            ),
            Evidence::High(detector) => (
                "unusual-records",
                format!(
                    "{marked} of its {looked} records are in the highest hundredth of `{detector}`"
                ),
            ),
            Evidence::Signed(detector) => (
                "signed-records",
                format!("{marked} of its {looked} records have what `{detector}` looks for"),
            ),
            Evidence::Held => (
                "held-records",
                format!("{marked} of its {looked} records are in findings that hold records back"),
            ),
        };
        let mut title = format!("{name}: {found}, {as_others}");
        if let Some(flipped) = &candidate.flipped {
            title += &format!(
                "; the {} most likely flipped ones are held back, about {:.0} % of which may be honest",
                candidate.records.len(),
                100.0 * flipped.ordinary
            );
        }
        let (severity, action) = match (&candidate.flipped, kind) {
            (Some(_), _) => (Severity::High, Action::Quarantine),
            (None, "flipped-labels") => (Severity::Medium, Action::Review),
            _ => (Severity::Low, Action::Review),
        };
        let mut finding = Finding::new(DETECTOR, kind, severity, action, title, candidate.p_value)
            .with_records(candidate.records)
            .with_evidence("group", name)
            .with_evidence("records", looked)
            .with_evidence("with_evidence", marked)
            .with_evidence("expected", expected)
            .with_evidence("times_expected", enriched.ratio())
            .with_evidence("groups_compared", enriched.n_others)
            .with_evidence("scatter_of_groups", enriched.scatter);
        if let Some(source) = self.groups.source(group) {
            finding = finding.with_evidence("source", source);
        }
        if let Some(flipped) = &candidate.flipped {
            finding = finding
                .with_evidence("flipped_share", flipped.share)
                .with_evidence("honest_share_of_held", flipped.ordinary);
            finding.target_class = self.target(flipped);
        }
        finding
    }

    /// The class that most flipped records are labelled with, where it is one.
    fn target(&self, flipped: &Flipped) -> Option<String> {
        let total: u64 = flipped.records.iter().sum();
        let most = flipped
            .records
            .iter()
            .zip(0..)
            .find(|(number, _)| 2 * **number > total);
        let classes = &self.scan.assembler.facts.classes;
        let (_, class) = most.filter(|_| classes.len() == flipped.records.len())?;
        classes.get::<usize>(class).cloned()
    }
}
