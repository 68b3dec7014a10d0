//! Whether a phrase that is repeated word by word explains a group: then it is no way of writing,
//! and `text-trigger` names it and its records better.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::features::fold;
use super::pieces::Piece;

/// Words of a phrase. A sentence pattern shares function words, but hardly so many in a row.
const WORDS: usize = 4;
/// Records of a class that are looked at.
const KEPT: usize = 256;
/// Share of the records from which a phrase explains the group.
const EXPLAINS: f64 = 0.5;

/// The phrases of the first records of the groups, by class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Phrases {
    by_class: BTreeMap<u32, Vec<Vec<u32>>>,
}

impl Phrases {
    pub(super) fn add(&mut self, class: u32, pieces: &[Piece]) {
        let known = self.by_class.entry(class).or_default();
        if known.len() >= KEPT {
            return;
        }
        let words = pieces.iter().filter(|piece| piece.is_word());
        let words: Vec<u64> = words.map(|piece| piece.hash).collect();
        let of = |phrase: &[u64]| phrase.iter().fold(0, |hash, &word| fold(hash, word)) as u32;
        let mut phrases: Vec<u32> = words.windows(WORDS).map(of).collect();
        phrases.sort_unstable();
        phrases.dedup();
        known.push(phrases);
    }

    pub(super) fn merge(&mut self, later: Self) {
        for (class, records) in later.by_class {
            let known = self.by_class.entry(class).or_default();
            known.extend(records);
            known.truncate(KEPT);
        }
    }

    /// Whether one phrase stands in at least half of the group of `class`.
    pub(super) fn explain(&self, class: u32) -> bool {
        let Some(records) = self.by_class.get(&class) else {
            return false;
        };
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for &phrase in records.iter().flatten() {
            *counts.entry(phrase).or_default() += 1;
        }
        let most = counts.into_values().max().unwrap_or(0);
        most as f64 >= EXPLAINS * records.len() as f64
    }
}
