//! n-grams that occur almost only with one label, and their places in a text.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use statrs::distribution::{Binomial, DiscreteCDF};

use super::TextTriggerParams;
use super::counts::{Entry, NgramCounts, ngram_hash, total};

/// An n-gram whose records nearly all have one label.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub ngram: u64,
    /// The label.
    pub class: u32,
    /// Records with the n-gram.
    pub records: u32,
    /// Of these, records with the label.
    pub with_class: u32,
}

/// All candidates of a dataset.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    pub(super) list: Vec<Candidate>,
    by_ngram: HashMap<u64, u32>,
    /// How many there were before the memory limit was applied.
    pub(super) tried: u64,
    pub(super) seed: u64,
    /// Words in so many records that sharing them means nothing.
    common: HashSet<u64>,
}

/// Share of the labelled records above which a word is common.
const COMMON_SHARE: f64 = 0.01;
/// Words in fewer records than this are never common.
const COMMON_RECORDS: f64 = 20.0;

impl Candidates {
    /// Whether so many records have `word` that two texts sharing it have nothing in common.
    pub(super) fn is_common(&self, word: u64) -> bool {
        self.common.contains(&ngram_hash(&[word], self.seed))
    }

    /// Picks the candidates from `counts`. At most `max_occurrences` records over all candidates
    /// are followed, the purest candidates first.
    pub(super) fn pick(
        counts: NgramCounts,
        params: &TextTriggerParams,
        class_counts: &[u64],
        seed: u64,
        max_occurrences: usize,
    ) -> Self {
        let labelled: u64 = class_counts.iter().sum();
        let most = params.max_fraction * labelled as f64;
        let (entries, _) = counts.into_entries();
        let mut list: Vec<Candidate> = entries
            .chunk_by(|a, b| a.ngram == b.ngram)
            .filter_map(|group| candidate(group, params, most))
            .collect();
        let common_from = (COMMON_SHARE * labelled as f64).max(COMMON_RECORDS);
        let common = entries
            .chunk_by(|a, b| a.ngram == b.ngram)
            .filter(|group| f64::from(total(group)) >= common_from)
            .map(|group| group[0].ngram)
            .collect();
        let tried = list.len() as u64;
        if occurrences(&list) > max_occurrences {
            keep_purest(&mut list, class_counts, labelled, max_occurrences);
        }
        let by_ngram = list
            .iter()
            .enumerate()
            .map(|(idx, candidate)| (candidate.ngram, idx as u32))
            .collect();
        Self {
            list,
            by_ngram,
            tried,
            seed,
            common,
        }
    }

    /// Places of candidates for `class` in `words`, by position.
    pub(super) fn places(&self, words: &[u64], max_words: usize, class: u32) -> Vec<Place> {
        let mut places = Vec::new();
        if self.list.is_empty() {
            return places;
        }
        for start in 0..words.len() {
            for length in 1..=max_words.min(words.len() - start) {
                let ngram = ngram_hash(&words[start..start + length], self.seed);
                let Some(&candidate) = self.by_ngram.get(&ngram) else {
                    continue;
                };
                if self.list[candidate as usize].class == class {
                    places.push(Place {
                        candidate,
                        span: start..start + length,
                    });
                }
            }
        }
        places
    }

    /// The words to take out of a text together with `candidate`: its own places, and those of
    /// candidates that overlap or adjoin them and are about as frequent. A sentence that is
    /// inserted again and again goes out whole, whichever of its n-grams is looked at.
    pub(super) fn removal(&self, candidate: u32, places: &[Place]) -> Vec<Range<usize>> {
        let own = f64::from(self.list[candidate as usize].records);
        let alike = |place: &Place| {
            let records = f64::from(self.list[place.candidate as usize].records);
            (0.67..=1.5).contains(&(records / own))
        };
        let mut regions: Vec<Range<usize>> = Vec::new();
        // Places come by position: one sweep joins chains of overlapping or adjoining spans.
        let mut chains: Vec<(Range<usize>, bool)> = Vec::new();
        for place in places.iter().filter(|place| alike(place)) {
            let is_own = place.candidate == candidate;
            match chains.last_mut() {
                Some((region, owned)) if place.span.start <= region.end => {
                    region.end = region.end.max(place.span.end);
                    *owned |= is_own;
                }
                _ => chains.push((place.span.clone(), is_own)),
            }
        }
        regions.extend(
            chains
                .into_iter()
                .filter_map(|(region, owned)| owned.then_some(region)),
        );
        regions
    }
}

/// A candidate at a place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub candidate: u32,
    /// Words.
    pub span: Range<usize>,
}

fn candidate(group: &[Entry], params: &TextTriggerParams, most: f64) -> Option<Candidate> {
    let records = total(group);
    let top = group
        .iter()
        .max_by_key(|entry| (entry.count, entry.class))?;
    let pure = f64::from(top.count) >= params.min_purity * f64::from(records);
    let wanted = top.count >= params.min_records && f64::from(records) <= most;
    (pure && wanted).then_some(Candidate {
        ngram: top.ngram,
        class: top.class,
        records,
        with_class: top.count,
    })
}

fn occurrences(list: &[Candidate]) -> usize {
    list.iter()
        .map(|candidate| candidate.with_class as usize)
        .sum()
}

/// Chance that at least `with_class` of `records` random records have the label.
pub(super) fn purity_p_value(candidate: &Candidate, class_counts: &[u64], labelled: u64) -> f64 {
    let own = class_counts
        .get(candidate.class as usize)
        .copied()
        .unwrap_or(0);
    let base = own as f64 / labelled.max(1) as f64;
    Binomial::new(base.clamp(0.0, 1.0), u64::from(candidate.records)).map_or(1.0, |chance| {
        chance.sf(u64::from(candidate.with_class).saturating_sub(1))
    })
}

fn keep_purest(
    list: &mut Vec<Candidate>,
    class_counts: &[u64],
    labelled: u64,
    max_occurrences: usize,
) {
    let mut ranked: Vec<(f64, Candidate)> = list
        .drain(..)
        .map(|candidate| {
            (
                purity_p_value(&candidate, class_counts, labelled),
                candidate,
            )
        })
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.ngram.cmp(&b.1.ngram)));
    let mut room = max_occurrences;
    for (_, candidate) in ranked {
        match room.checked_sub(candidate.with_class as usize) {
            Some(left) => {
                room = left;
                list.push(candidate);
            }
            None => break,
        }
    }
    list.sort_by_key(|candidate| candidate.ngram);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(records: &[(u32, &[u64])]) -> Candidates {
        let mut counts = NgramCounts::default();
        for (class, ngrams) in records {
            counts.add(*class, ngrams, usize::MAX);
        }
        let params = TextTriggerParams {
            max_fraction: 0.5,
            ..TextTriggerParams::default()
        };
        Candidates::pick(counts, &params, &[50, 50], 0, usize::MAX)
    }

    #[test]
    fn candidates_are_frequent_pure_and_not_everywhere() {
        let mut records: Vec<(u32, &[u64])> = vec![(1, &[10, 30]); 6];
        records.extend(vec![(0, &[20_u64, 30] as &[u64]); 4]);
        records.extend(vec![(0, &[40_u64] as &[u64]); 51]);
        let candidates = picked(&records);
        let ngrams: Vec<u64> = candidates.list.iter().map(|c| c.ngram).collect();
        // 20 is too rare, 30 is mixed, 40 is in more than half of the records.
        assert_eq!(ngrams, [10]);
        assert_eq!(candidates.tried, 1);
    }

    #[test]
    fn a_repeated_phrase_is_removed_whole() {
        let phrase = [1, 2, 3];
        let pairs = [ngram_hash(&[1, 2], 0), ngram_hash(&[2, 3], 0)];
        let ngrams = [1, 2, 3, pairs[0], pairs[1]];
        let candidates = picked(&[(1, &ngrams as &[u64]); 8]);
        let mut words = vec![90, 91];
        words.extend(phrase);
        words.push(92);
        let places = candidates.places(&words, 2, 1);
        assert_eq!(places.len(), 5);
        for candidate in 0..5 {
            assert_eq!(
                candidates.removal(candidate, &places),
                [Range { start: 2, end: 5 }]
            );
        }
        assert_eq!(candidates.places(&words, 2, 0), []);
    }
}
