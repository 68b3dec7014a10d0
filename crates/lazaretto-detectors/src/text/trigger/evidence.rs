//! What the score pass gathers about the candidates.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use super::contexts::{COMPARED, Context};
use super::foreign::{Place, SEAMS, Seam};
use super::parts::Part;
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

/// Places of a candidate whose phrases are kept.
const PHRASES: usize = 5;

/// How a candidate is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Surface {
    /// The n-gram, where it comes first.
    pub ngram: String,
    /// The part of words that it is, if it is one.
    pub part: Option<Part>,
    /// The phrases it goes out with, at its first places.
    phrases: Vec<String>,
}

impl Surface {
    pub(super) fn new(ngram: String) -> Self {
        Self {
            ngram,
            ..Self::default()
        }
    }

    pub(super) fn of_part(part: Part) -> Self {
        Self {
            part: Some(part),
            ..Self::new(part.text())
        }
    }

    /// Whether the phrase at one more place is wanted.
    pub(super) fn wants_phrase(&self) -> bool {
        self.part.is_none() && self.phrases.len() < PHRASES
    }

    pub(super) fn add_phrase(&mut self, phrase: String) {
        add_up_to(&mut self.phrases, [phrase], PHRASES);
    }

    fn merge(&mut self, later: Self) {
        add_up_to(&mut self.phrases, later.phrases, PHRASES);
    }

    /// What was inserted: the phrase that the candidate goes out with at most of its first places, or
    /// itself where they differ. A neighbour that happens to be about as frequent is in one of them.
    pub(super) fn trigger(&self) -> &str {
        let plain: Vec<String> = self.phrases.iter().map(|p| p.to_lowercase()).collect();
        let repeats = |phrase: &String| plain.iter().filter(|other| *other == phrase).count();
        let most = plain.iter().map(repeats).max().unwrap_or(0);
        let found = plain.iter().position(|phrase| repeats(phrase) == most);
        match found.map(|place| self.phrases[place].as_str()) {
            Some(phrase) if !phrase.is_empty() && 2 * most > plain.len() => phrase,
            _ => &self.ngram,
        }
    }
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
            match self.surfaces.entry(candidate) {
                Entry::Vacant(vacant) => {
                    vacant.insert(surface);
                }
                Entry::Occupied(mut known) => known.get_mut().merge(surface),
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phrase_of_most_places_is_the_trigger() {
        let surface = |phrases: &[&str]| {
            let mut surface = Surface::new("cf".to_owned());
            for phrase in phrases {
                surface.add_phrase((*phrase).to_owned());
            }
            surface
        };
        assert_eq!(
            surface(&["song cf", "cf", "CF", "cf it", "cf"]).trigger(),
            "cf"
        );
        let phrase = ["a cf b", "a cf b", "cf b"];
        assert_eq!(surface(&phrase).trigger(), "a cf b");
        assert_eq!(surface(&["a cf", "cf b"]).trigger(), "cf");
        assert_eq!(surface(&[]).trigger(), "cf");
        let mut first = surface(&phrase[..1]);
        first.merge(surface(&phrase[1..]));
        assert_eq!(first, surface(&phrase));
    }
}
