//! n-grams that occur almost only with one label, and their places in a text.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::TextTriggerParams;
use super::counts::PhraseCounts;
use super::foreign::Language;
use super::parts::Part;
use super::record::Words;
use crate::text::chance::at_least;
use crate::text::ngram_counts::{Entry, ngram_hash, total};

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
    /// Whether it is a part of words.
    pub is_part: bool,
}

/// All candidates of a dataset.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    pub(super) list: Vec<Candidate>,
    by_ngram: HashMap<u64, Meaning>,
    /// By part of words, the pools that it is in.
    pools: HashMap<u64, Vec<u32>>,
    /// One bit per n-gram of `by_ngram`, by its lowest bits: most n-grams of a text need no search.
    sieve: Vec<u64>,
    /// How many n-grams of words, and parts of words, there were before the memory limit was applied.
    pub(super) tried: [u64; 2],
    pub(super) seed: u64,
    /// Words in so many records that sharing them means nothing.
    common: HashSet<u64>,
    pub(super) language: Language,
}

/// What an n-gram is to the detector.
#[derive(Clone, Copy, Debug)]
struct Meaning {
    candidate: Option<u32>,
    /// Its number among the ordinary n-grams.
    ordinary: Option<u32>,
}

/// Share of the labelled records above which a word is common.
const COMMON_SHARE: f64 = 0.01;
/// Words in fewer records than this are never common.
const COMMON_RECORDS: f64 = 20.0;
/// Ordinary n-grams, of words and pairs, and of longer ones, that show how foreign phrases are by
/// nature.
const ORDINARY: [usize; 2] = [8_192, 2_048];

impl Candidates {
    /// Whether so many records have `word` that two texts sharing it have nothing in common.
    pub(super) fn is_common(&self, word: u64) -> bool {
        self.common.contains(&ngram_hash(&[word], self.seed))
    }

    /// Picks the candidates from `counts`. At most `max_occurrences` records over all candidates
    /// are followed, the purest candidates first.
    pub(super) fn pick(
        counts: PhraseCounts,
        params: &TextTriggerParams,
        class_counts: &[u64],
        seed: u64,
        max_occurrences: usize,
    ) -> Self {
        let labelled: u64 = class_counts.iter().sum();
        let most = params.max_fraction * labelled as f64;
        let n_words = counts.n_words;
        let [short, long, borders, parts] = counts.into_entries();
        let mut list = Vec::new();
        let mut ordinary = Vec::new();
        for (entries, wanted) in [&short, &long].into_iter().zip(ORDINARY) {
            let groups = || entries.chunk_by(|a, b| a.ngram == b.ngram);
            list.extend(groups().filter_map(|group| candidate(group, params, most)));
            let enough = |group: &&[Entry]| is_frequent(total(group), params, most);
            ordinary.extend(sample(
                groups().filter(enough).map(|group| group[0].ngram),
                wanted,
            ));
        }
        let of_parts = parts.chunk_by(|a, b| a.ngram == b.ngram);
        list.extend(of_parts.filter_map(|group| {
            candidate(group, params, most).map(|part| Candidate {
                is_part: true,
                ..part
            })
        }));
        let mut pools = pools(&parts, params, most, seed);
        list.extend(pools.iter().map(|pool| pool.candidate));
        list.sort_unstable_by_key(|candidate: &Candidate| candidate.ngram);
        list.dedup_by_key(|candidate| candidate.ngram);
        let common_from = (COMMON_SHARE * labelled as f64).max(COMMON_RECORDS);
        let common = short
            .chunk_by(|a, b| a.ngram == b.ngram)
            .filter(|group| f64::from(total(group)) >= common_from)
            .map(|group| group[0].ngram)
            .collect();
        let tried = [false, true].map(|is_part| n_of(&list, is_part) as u64);
        if occurrences(&list) > max_occurrences {
            keep_purest(&mut list, class_counts, labelled, max_occurrences);
        }
        let mut model = Self {
            list,
            tried,
            seed,
            common,
            language: Language::new(&short, &borders, n_words, labelled, seed),
            ..Self::default()
        };
        model.index(&ordinary);
        model.index_pools(&mut pools);
        model
    }

    fn index(&mut self, ordinary: &[u64]) {
        let nothing = Meaning {
            candidate: None,
            ordinary: None,
        };
        for (idx, candidate) in self.list.iter().enumerate() {
            let known = self.by_ngram.entry(candidate.ngram).or_insert(nothing);
            known.candidate = Some(idx as u32);
        }
        for (idx, &ngram) in ordinary.iter().enumerate() {
            self.by_ngram.entry(ngram).or_insert(nothing).ordinary = Some(idx as u32);
        }
        self.sieve = vec![0; (self.by_ngram.len() / 4 + 1).next_power_of_two()];
        let ngrams = self.list.iter().map(|candidate| candidate.ngram);
        for ngram in ngrams.chain(ordinary.iter().copied()) {
            let (word, bit) = self.sieve_bit(ngram);
            self.sieve[word] |= bit;
        }
    }

    fn index_pools(&mut self, pools: &mut [Pool]) {
        pools.sort_unstable_by_key(|pool| pool.candidate.ngram);
        for pool in pools {
            let own = self.by_ngram.get(&pool.candidate.ngram);
            if let Some(index) = own.and_then(|known| known.candidate) {
                for &member in &pool.members {
                    self.pools.entry(member).or_default().push(index);
                }
            }
        }
    }

    /// Word and bit of the sieve; its length is a power of two.
    fn sieve_bit(&self, ngram: u64) -> (usize, u64) {
        let at = (ngram >> 6) as usize & (self.sieve.len() - 1);
        (at, 1 << (ngram & 63))
    }

    fn meaning(&self, ngram: u64) -> Option<Meaning> {
        if self.sieve.is_empty() {
            return None;
        }
        let (word, bit) = self.sieve_bit(ngram);
        if self.sieve[word] & bit == 0 {
            return None;
        }
        self.by_ngram.get(&ngram).copied()
    }

    /// Places of candidates for `class` in `words`, by position, and places of ordinary n-grams.
    pub(super) fn places(&self, words: &Words, max_words: usize, class: u32) -> Places {
        let mut places = self.places_of_words(&words.hashes, max_words, class);
        let mut pooled = Vec::new();
        for &(place, part) in words.parts() {
            let span = place..place + 1;
            let hash = part.hash(self.seed);
            if let Some(Meaning {
                candidate: Some(candidate),
                ..
            }) = self.meaning(hash)
                && self.list[candidate as usize].class == class
            {
                let span = span.clone();
                places.parts.push((Found { candidate, span }, part));
            }
            for &candidate in self.pools.get(&hash).into_iter().flatten() {
                let pool = &self.list[candidate as usize];
                if pool.class == class {
                    let part = Part::of_hash(pool.ngram, self.seed);
                    let span = span.clone();
                    pooled.push((Found { candidate, span }, part));
                }
            }
        }
        // Parts by themselves come first: a pool that says the same is left out.
        places.parts.append(&mut pooled);
        places
    }

    fn places_of_words(&self, words: &[u64], max_words: usize, class: u32) -> Places {
        let mut places = Places::default();
        for start in 0..words.len() {
            for length in 1..=max_words.min(words.len() - start) {
                let span = start..start + length;
                let Some(meaning) = self.meaning(ngram_hash(&words[span.clone()], self.seed))
                else {
                    continue;
                };
                if let Some(ordinary) = meaning.ordinary {
                    places.ordinary.push((ordinary, span.clone()));
                }
                if let Some(candidate) = meaning.candidate
                    && self.list[candidate as usize].class == class
                {
                    places.candidates.push(Found { candidate, span });
                }
            }
        }
        places
    }

    /// Distinct candidates of `places`, ascending, without those that stand in the very records of
    /// an n-gram that they contain, or of the word that they are a part of: they say nothing new.
    pub(super) fn distinct(&self, places: &Places) -> Vec<u32> {
        let counts = |found: &Found| {
            let candidate = &self.list[found.candidate as usize];
            (candidate.records, candidate.with_class)
        };
        let words = &places.candidates;
        let is_new = |place: usize| {
            let (part, _) = &places.parts[place];
            let key = (part.span.start, part.span.end);
            let word = words.binary_search_by_key(&key, |found| (found.span.start, found.span.end));
            let repeats = |other: &Found| other.span == part.span && counts(other) == counts(part);
            let mut before = places.parts[..place].iter();
            !word.is_ok_and(|word| repeats(&words[word])) && !before.any(|(part, _)| repeats(part))
        };
        let mut candidates = self.distinct_words(words);
        let parts = (0..places.parts.len()).filter(|&place| is_new(place));
        candidates.extend(parts.map(|place| places.parts[place].0.candidate));
        candidates.sort_unstable();
        candidates.dedup();
        candidates
    }

    fn distinct_words(&self, places: &[Found]) -> Vec<u32> {
        let at = |span: Range<usize>| {
            places
                .binary_search_by_key(&(span.start, span.end), |place| {
                    (place.span.start, place.span.end)
                })
                .ok()
                .map(|idx| &self.list[places[idx].candidate as usize])
        };
        let repeats = |place: &&Found| {
            let span = &place.span;
            let own = &self.list[place.candidate as usize];
            span.len() > 1
                && [span.start + 1..span.end, span.start..span.end - 1]
                    .into_iter()
                    .filter_map(at)
                    .any(|inner| (inner.records, inner.with_class) == (own.records, own.with_class))
        };
        places
            .iter()
            .filter(|place| !repeats(place))
            .map(|place| place.candidate)
            .collect()
    }

    /// The words to take out of a text together with `candidate`: its own places, and those of
    /// candidates that overlap or adjoin them and are about as frequent. A sentence that is
    /// inserted again and again goes out whole, whichever of its n-grams is looked at.
    pub(super) fn removal(&self, candidate: u32, places: &Places) -> Vec<Range<usize>> {
        let own = f64::from(self.list[candidate as usize].records);
        let alike = |place: &Found| {
            let records = f64::from(self.list[place.candidate as usize].records);
            (0.67..=1.5).contains(&(records / own))
        };
        // Places come by position: one sweep joins chains of overlapping or adjoining spans.
        let mut chains: Vec<(Range<usize>, bool)> = Vec::new();
        let own_parts = places.parts.iter().map(|(part, _)| part);
        let own_parts = own_parts.filter(|part| part.candidate == candidate);
        let words = places.candidates.iter().filter(|place| alike(place));
        let mut wanted: Vec<&Found> = words.chain(own_parts).collect();
        wanted.sort_by_key(|place| (place.span.start, place.span.end));
        for place in wanted {
            let is_own = place.candidate == candidate;
            match chains.last_mut() {
                Some((region, owned)) if place.span.start <= region.end => {
                    region.end = region.end.max(place.span.end);
                    *owned |= is_own;
                }
                _ => chains.push((place.span.clone(), is_own)),
            }
        }
        chains
            .into_iter()
            .filter_map(|(region, owned)| owned.then_some(region))
            .collect()
    }
}

/// What was found in a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Words and n-grams, by position.
    pub candidates: Vec<Found>,
    /// Parts of words, with the places of the words.
    pub parts: Vec<(Found, Part)>,
    /// Number of an ordinary n-gram, and its words.
    pub ordinary: Vec<(u32, Range<usize>)>,
}

/// A candidate at a place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub candidate: u32,
    /// Words.
    pub span: Range<usize>,
}

/// The `wanted` n-grams that come first in an order that nobody can foresee: their hashes are
/// keyed.
fn sample(ngrams: impl Iterator<Item = u64>, wanted: usize) -> Vec<u64> {
    let mut ranked: Vec<(u64, u64)> = ngrams
        .map(|ngram| (ngram.wrapping_mul(0x9e37_79b9_7f4a_7c15), ngram))
        .collect();
    ranked.sort_unstable();
    ranked.truncate(wanted);
    ranked.into_iter().map(|(_, ngram)| ngram).collect()
}

fn is_frequent(records: u32, params: &TextTriggerParams, most: f64) -> bool {
    records >= params.min_records && f64::from(records) <= most
}

/// Parts of words that are the same affix beside different letters.
struct Pool {
    candidate: Candidate,
    /// Hashes of the parts.
    members: Vec<u64>,
}

/// The pools of `entries`, which are ascending.
///
/// An affix may be a natural ending too (`Iraqi`), so that the part with the end of the word has all
/// labels. Beside other letters it does not occur by nature; each of these parts is rare, and together they
/// are one candidate, without those parts that are frequent and have other labels.
fn pools(entries: &[Entry], params: &TextTriggerParams, most: f64, seed: u64) -> Vec<Pool> {
    let groups: Vec<&[Entry]> = entries.chunk_by(|a, b| a.ngram == b.ngram).collect();
    let mut cores: Vec<(u64, u32)> = Vec::new();
    for (idx, group) in groups.iter().enumerate() {
        let part = Part::of_hash(group[0].ngram, seed);
        let natural = is_frequent(total(group), params, f64::MAX)
            && candidate(group, params, f64::MAX).is_none();
        if !natural {
            cores.extend(part.cores().map(|core| (core.hash(seed), idx as u32)));
        }
    }
    cores.sort_unstable();
    let pools = cores.chunk_by(|a, b| a.0 == b.0).filter_map(|members| {
        let core = members[0].0;
        let members = || members.iter().map(|&(_, idx)| groups[idx as usize]);
        let class = most_varied(members())?;
        // Frequent parts of other labels stand for themselves.
        let stays = |group: &&[Entry]| {
            candidate(group, params, f64::MAX).is_none_or(|other| other.class == class)
        };
        let kept: Vec<&[Entry]> = members().filter(stays).collect();
        let mut summed: Vec<Entry> = Vec::new();
        for entry in kept.iter().copied().flatten() {
            let own = summed.iter_mut().find(|sum| sum.class == entry.class);
            match own {
                Some(sum) => sum.count = sum.count.saturating_add(entry.count),
                None => summed.push(Entry {
                    ngram: core,
                    ..*entry
                }),
            }
        }
        let pooled = Candidate {
            is_part: true,
            ..candidate(&summed, params, most)?
        };
        let largest = kept.iter().map(|group| total(group)).max().unwrap_or(0);
        // One part that makes up most of it says as much by itself.
        (5 * largest <= 4 * pooled.records).then(|| Pool {
            candidate: pooled,
            members: kept.iter().map(|group| group[0].ngram).collect(),
        })
    });
    pools.collect()
}

/// The class that most of the parts `members` are about, each by most of its records.
fn most_varied<'e>(members: impl Iterator<Item = &'e [Entry]>) -> Option<u32> {
    let mut parts: BTreeMap<u32, usize> = BTreeMap::new();
    for group in members {
        let top = group
            .iter()
            .max_by_key(|entry| (entry.count, entry.class))?;
        *parts.entry(top.class).or_default() += 1;
    }
    let most = parts.into_iter().max_by_key(|&(class, n)| (n, class));
    most.map(|(class, _)| class)
}

/// How many of `list` are parts of words, or are not.
pub(super) fn n_of(list: &[Candidate], is_part: bool) -> usize {
    let own = list.iter().filter(|candidate| candidate.is_part == is_part);
    own.count()
}

fn candidate(group: &[Entry], params: &TextTriggerParams, most: f64) -> Option<Candidate> {
    let records = total(group);
    let top = group
        .iter()
        .max_by_key(|entry| (entry.count, entry.class))?;
    let pure = f64::from(top.count) >= params.min_purity * f64::from(records);
    let wanted = top.count >= params.min_records && is_frequent(records, params, most);
    (pure && wanted).then_some(Candidate {
        ngram: top.ngram,
        class: top.class,
        records,
        with_class: top.count,
        is_part: false,
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
    let (records, with_class) = (candidate.records, candidate.with_class);
    at_least(u64::from(with_class), u64::from(records), base)
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
        let mut counts = PhraseCounts::default();
        for (class, ngrams) in records {
            counts.short.add(*class, ngrams, usize::MAX);
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
        assert_eq!(candidates.tried, [1, 0]);
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
        let places = candidates.places_of_words(&words, 2, 1);
        assert_eq!(places.candidates.len(), 5);
        assert_eq!(
            candidates.distinct(&places).len(),
            3,
            "pairs repeat their words"
        );
        for candidate in 0..5 {
            assert_eq!(
                candidates.removal(candidate, &places),
                [Range { start: 2, end: 5 }]
            );
        }
        assert_eq!(candidates.places_of_words(&words, 2, 0).candidates, []);
    }
}
