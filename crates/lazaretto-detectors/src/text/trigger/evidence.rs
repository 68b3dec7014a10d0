//! What the score pass gathers about the candidates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::contexts::{COMPARED, Context};
use super::foreign::{Place, SEAMS, Seam};
use crate::text::margins::Margins;

/// A candidate in a record with its label.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Occurrence {
    pub candidate: u32,
    /// Margin of the label once the candidate is taken out; NaN when hardly a word is left.
    pub margin: f32,
    /// The class that the text argues for then: the label, or a stronger one.
    pub rival: u32,
    /// Source of the record, `u32::MAX` where unknown.
    pub source: u32,
    pub place: Place,
    pub ordinal: u64,
}

/// Bytes that an occurrence takes at most, with its neighbours and its context.
pub(super) const OCCURRENCE_BYTES: usize =
    size_of::<Occurrence>() + size_of::<Seam>() + Context::MAX_BYTES;

/// How a candidate is first written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Surface {
    /// The n-gram.
    pub ngram: String,
    /// The phrase it goes out with.
    pub phrase: String,
}

/// Evidence of the score pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TriggerEvidence {
    /// In order of the records.
    pub(super) occurrences: Vec<Occurrence>,
    /// Margins of all records.
    pub(super) margins: Margins,
    /// Margins of a class in texts with another label, one class per text.
    pub(super) strangers: Margins,
    /// Margins that candidates leave behind.
    pub(super) without: Margins,
    pub(super) surfaces: BTreeMap<u32, Surface>,
    /// By candidate, the first contexts that contradict its label.
    pub(super) contexts: BTreeMap<u32, Vec<Context>>,
    /// By candidate, the neighbours at its first occurrences.
    pub(super) seams: BTreeMap<u32, Vec<Seam>>,
    /// The same by ordinary n-gram.
    pub(super) ordinary: BTreeMap<u32, Vec<Seam>>,
}

fn add_up_to<T>(known: &mut Vec<T>, new: impl IntoIterator<Item = T>, most: usize) {
    let room = most.saturating_sub(known.len());
    known.extend(new.into_iter().take(room));
}

impl TriggerEvidence {
    pub(super) fn add_context(&mut self, candidate: u32, context: impl FnOnce() -> Context) {
        let known = self.contexts.entry(candidate).or_default();
        if known.len() < COMPARED {
            known.push(context());
        }
    }

    pub(super) fn add_seam(&mut self, candidate: u32, seam: Seam) {
        add_up_to(self.seams.entry(candidate).or_default(), [seam], SEAMS);
    }

    pub(super) fn add_ordinary(&mut self, ngram: u32, seam: Seam) {
        add_up_to(self.ordinary.entry(ngram).or_default(), [seam], SEAMS);
    }

    /// Adds the evidence of the next partition.
    pub(super) fn merge(&mut self, later: Self) {
        self.occurrences.extend(later.occurrences);
        self.margins.merge(later.margins);
        self.strangers.merge(later.strangers);
        self.without.merge(later.without);
        for (candidate, surface) in later.surfaces {
            self.surfaces.entry(candidate).or_insert(surface);
        }
        for (candidate, contexts) in later.contexts {
            add_up_to(
                self.contexts.entry(candidate).or_default(),
                contexts,
                COMPARED,
            );
        }
        for (candidate, seams) in later.seams {
            add_up_to(self.seams.entry(candidate).or_default(), seams, SEAMS);
        }
        for (ngram, seams) in later.ordinary {
            add_up_to(self.ordinary.entry(ngram).or_default(), seams, SEAMS);
        }
    }
}
