//! Which items are injected: those that nothing around them explains, in more records than such
//! items have in this dataset.

use std::collections::{BTreeMap, BTreeSet};

use statrs::distribution::{DiscreteCDF, Poisson};

use super::context::Mean;
use super::document::{Kind, distinct};
use super::gathered::{Gathered, Item};

/// Standard errors of its togetherness within which an item is unbound.
const UNBOUND: f64 = 3.0;
/// Share of the togetherness of ordinary phrases up to which a phrase is unbound, too: what is
/// put into the records of one class or source has a little of it.
const SMALL_SHARE: f64 = 0.02;
/// Togetherness that is never small.
const SMALL: f64 = 0.004;
/// Phrases that tell how together the records of an ordinary one are, and what is taken for it
/// where there are fewer.
const MIN_ORDINARY: usize = 15;
const ORDINARY: f64 = 0.1;
/// Togetherness of ordinary phrases below which everything is unbound in this dataset: texts put
/// together from parts.
const LEAST_ORDINARY: f64 = 0.04;
/// An item is judged in so many records that the limit of what is unbound is at most this share of
/// what is ordinary: in fewer, what is bound would often be below it.
const POWER: f64 = 0.25;
/// Share of the records of an item that it has in common with another one of the same attack.
const SHARED: f64 = 0.5;
/// A word is the payload of phrases when these make up at least two thirds of its records.
const PAYLOAD: f64 = 1.5;
/// Items in fewer records than so many times the floor show what is ordinary and are never a burst.
const ORDINARY_SIZES: f64 = 2.5;
/// Exponent of the power law that the sizes of unbound items follow.
const SHAPE: f64 = 2.5;

/// What is tested together, with its share of the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Phrases with a word that hardly occurs without them.
    Loaded,
    Address,
    Name,
    /// Phrases of words that are common elsewhere: habits of speech.
    Plain,
}

impl Class {
    pub(super) const ALL: [Self; 4] = [Self::Loaded, Self::Address, Self::Name, Self::Plain];

    fn share(self) -> f64 {
        match self {
            Self::Loaded => 0.6,
            Self::Address => 0.25,
            Self::Name => 0.05,
            Self::Plain => 0.1,
        }
    }
}

/// Items that nothing around them explains: one, or several with the same payload.
#[derive(Clone, Debug)]
pub(super) struct Unbound {
    pub(super) class: Class,
    /// How they are written, the first found first.
    pub(super) written: Vec<String>,
    /// Records with a context, and those without, ascending.
    pub(super) records: Vec<u64>,
    pub(super) bare: Vec<u64>,
    words: BTreeSet<u64>,
    /// Words that hardly occur without them.
    payload: BTreeSet<u64>,
    sums: Vec<i32>,
    /// Records in the sums.
    n_summed: usize,
    /// Mean cosine of the contexts beyond that of any records, and its standard error.
    pub(super) togetherness: f64,
    pub(super) error: f64,
}

/// What the dataset is like.
pub(super) struct Scale<'a> {
    pub(super) mean: Mean,
    /// Standard deviation of the cosine of two contexts.
    pub(super) scatter: f64,
    /// Fewest records of an item that counts, in the whole dataset.
    pub(super) floor: f64,
    /// Most records of an item.
    pub(super) most: f64,
    /// Records with a word.
    pub(super) frequency: &'a dyn Fn(u64) -> f64,
    /// Togetherness around ordinary phrases, if known.
    pub(super) ordinary: Option<f64>,
    pub(super) alpha: f64,
}

impl Scale<'_> {
    fn ordinary(&self) -> f64 {
        self.ordinary.unwrap_or(ORDINARY)
    }

    /// Whether so many records tell unbound items from ordinary ones.
    fn tells(&self, class: Class, n: usize) -> bool {
        let ordinary = self.ordinary();
        ordinary >= LEAST_ORDINARY && self.limit(class, n) <= POWER * ordinary
    }

    fn error(&self, n: usize) -> f64 {
        let n = n as f64;
        self.scatter / (n * (n - 1.0) / 2.0).sqrt()
    }

    /// The largest togetherness of an unbound item in `n` records.
    fn limit(&self, class: Class, n: usize) -> f64 {
        let chance = UNBOUND * self.error(n);
        match class {
            Class::Loaded | Class::Plain => chance.max((SMALL_SHARE * self.ordinary()).min(SMALL)),
            Class::Address | Class::Name => chance,
        }
    }
}

fn in_common(a: &[u64], b: &[u64]) -> usize {
    let (mut i, mut j, mut common) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        common += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    common
}

impl Unbound {
    fn of(item: Item, class: Class) -> Self {
        Self {
            class,
            written: vec![item.written],
            n_summed: item.records.len(),
            records: item.records,
            bare: item.bare,
            words: item.words.into_iter().collect(),
            payload: BTreeSet::new(),
            sums: item.sums,
            togetherness: 0.0,
            error: 0.0,
        }
    }

    /// Measures it; whether it is unbound.
    fn measure(&mut self, scale: &Scale<'_>) -> bool {
        self.togetherness = scale.mean.togetherness(&self.sums, self.n_summed);
        self.error = scale.error(self.n_summed);
        self.togetherness <= scale.limit(self.class, self.n_summed)
    }

    fn shares_records(&self, other: &Self, of: usize) -> bool {
        in_common(&self.records, &other.records) as f64 >= SHARED * of as f64
    }

    /// Adds `other`, whose contexts count where they are contexts of other records.
    fn join(&mut self, other: Self) {
        if 2 * in_common(&self.records, &other.records) < other.records.len() {
            for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
                *sum += more;
            }
            self.n_summed += other.n_summed;
        }
        self.records = distinct([std::mem::take(&mut self.records), other.records].concat());
        self.bare = distinct([std::mem::take(&mut self.bare), other.bare].concat());
        self.words.extend(other.words);
        self.payload.extend(other.payload);
        self.written.extend(other.written);
    }

    /// Records with and without a context.
    pub(super) fn all_records(&self) -> Vec<u64> {
        distinct([self.records.as_slice(), &self.bare].concat())
    }
}

/// Togetherness of what ordinary phrases stand in: the median.
pub(super) fn ordinary(gathered: &Gathered, mean: &Mean) -> Option<f64> {
    let phrases = gathered
        .items
        .values()
        .filter(|item| item.kind == Kind::Phrase);
    let mut values: Vec<f64> = phrases
        .filter(|item| item.records.len() >= 8)
        .map(|item| mean.togetherness(&item.sums, item.records.len()))
        .collect();
    values.sort_by(f64::total_cmp);
    (values.len() >= MIN_ORDINARY).then(|| values[values.len() / 2])
}

/// The unbound items, the most frequent first. Phrases in the same records or with the same payload
/// are one.
pub(super) fn unbound(gathered: Gathered, scale: &Scale<'_>) -> Vec<Unbound> {
    let mut found: Vec<Unbound> = Vec::new();
    // Phrases by a record that is the same for all that share most of their records.
    let mut places: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for item in gathered.items.into_values() {
        let n = item.records.len() as f64;
        if n < scale.floor || n > scale.most {
            continue;
        }
        // A word that is a name here and a word there is no name.
        if let (Kind::Name, [word]) = (item.kind, item.words.as_slice()) {
            let named = (item.records.len() + item.bare.len()) as f64;
            if (scale.frequency)(*word) > PAYLOAD * named {
                continue;
            }
        }
        let class = match item.kind {
            Kind::Phrase => Class::Plain,
            Kind::Address => Class::Address,
            Kind::Name => Class::Name,
        };
        let mut item = Unbound::of(item, class);
        if !item.measure(scale) {
            continue;
        }
        if class != Class::Plain {
            found.push(item);
            continue;
        }
        let spread = |record: &u64| record.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let first = item.records.iter().map(spread).min().unwrap_or(0);
        let same = places.entry(first).or_default();
        let known = same.iter().copied().find(|&idx| {
            let of = item.records.len().max(found[idx].records.len());
            item.shares_records(&found[idx], of)
        });
        if let Some(idx) = known {
            found[idx].join(item);
        } else {
            same.push(found.len());
            found.push(item);
        }
    }
    load(&mut found, scale);
    let mut groups = by_payload(found);
    groups.retain_mut(|group| group.measure(scale));
    groups.sort_by_key(|group| (std::cmp::Reverse(group.records.len()), group.records[0]));
    groups
}

/// Tells phrases with a payload from habits of speech. Phrases that share a word carry it together.
fn load(found: &mut [Unbound], scale: &Scale<'_>) {
    let mut carried: BTreeMap<u64, f64> = BTreeMap::new();
    for phrase in found.iter().filter(|item| item.class == Class::Plain) {
        for &word in &phrase.words {
            *carried.entry(word).or_default() += phrase.records.len() as f64;
        }
    }
    carried.retain(|&word, records| (scale.frequency)(word) <= PAYLOAD * *records);
    for phrase in found.iter_mut().filter(|item| item.class == Class::Plain) {
        let payload = phrase.words.iter().copied();
        phrase.payload = payload.filter(|word| carried.contains_key(word)).collect();
        if !phrase.payload.is_empty() {
            phrase.class = Class::Loaded;
        }
    }
}

/// Joins the phrases that share a payload.
fn by_payload(found: Vec<Unbound>) -> Vec<Unbound> {
    let mut groups: Vec<Option<Unbound>> = Vec::new();
    let mut carriers: BTreeMap<u64, usize> = BTreeMap::new();
    for mut item in found {
        let mut known: Vec<usize> = item
            .payload
            .iter()
            .filter_map(|word| carriers.get(word).copied())
            .collect();
        known.sort_unstable();
        known.dedup();
        for idx in known {
            // A phrase with two payloads joins two groups.
            if let Some(mut group) = groups[idx].take() {
                group.join(item);
                item = group;
            }
        }
        for &word in &item.payload {
            carriers.insert(word, groups.len());
        }
        groups.push(Some(item));
    }
    groups.into_iter().flatten().collect()
}

/// How many of the most frequent of these items are too many, and the chance of as many: sizes
/// fall off by a power law, at the level of the other items that are unbound by the same limit.
/// Corrected for the number of items that was tried, and for the classes.
fn excess(items: &[&Unbound], class: Class, scale: &Scale<'_>) -> Option<(usize, f64)> {
    let large = ORDINARY_SIZES * scale.floor;
    let chance = |count: usize| {
        let item = items[count - 1];
        let limit = scale.limit(class, item.n_summed);
        let others = items[count..].iter();
        // Half of those that truly are unbound are below their expectation, and so below the limit.
        let level = 2 * others.filter(|other| other.togetherness <= limit).count();
        let size = item.records.len() as f64;
        let tail = ((size - 0.5) / (scale.floor - 0.5)).powf(-SHAPE);
        let law = Poisson::new((level as f64 + 0.5) * tail);
        let chance = law.map_or(1.0, |law| law.sf(count as u64 - 1));
        chance * (count * (count + 1)) as f64 / class.share()
    };
    let n_large = items.partition_point(|item| item.records.len() as f64 >= large);
    let mut tried = (1..=n_large)
        .filter(|&count| scale.tells(class, items[count - 1].n_summed))
        .map(|count| (count, chance(count)));
    tried.rfind(|&(_, p)| p <= scale.alpha)
}

/// The bursts of a class with their p-value, the largest first. `unbound` come that way.
pub(super) fn bursts(unbound: &[Unbound], class: Class, scale: &Scale<'_>) -> Vec<(Unbound, f64)> {
    let items: Vec<&Unbound> = unbound.iter().filter(|item| item.class == class).collect();
    let Some((count, p_value)) = excess(&items, class, scale) else {
        return Vec::new();
    };
    let bursts = items[..count].iter().map(|&item| {
        let mut burst = item.clone();
        accompany(&mut burst, unbound);
        (burst, p_value)
    });
    bursts.collect()
}

/// Adds to phrases the names and addresses that are their payload, wherever these stand.
fn accompany(burst: &mut Unbound, unbound: &[Unbound]) {
    for item in unbound {
        if matches!(item.class, Class::Address | Class::Name)
            && !item.words.is_disjoint(&burst.payload)
            && item.shares_records(burst, item.records.len())
        {
            burst.join(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::DIM;
    use super::*;

    fn scale() -> Scale<'static> {
        Scale {
            mean: Mean::of(std::iter::repeat_n(0, DIM), 1),
            scatter: 0.06,
            floor: 5.0,
            most: 1e6,
            frequency: &|_| 0.0,
            ordinary: None,
            alpha: 0.05,
        }
    }

    fn phrase(from: u64, n: usize, payload: u64) -> Unbound {
        Unbound {
            class: Class::Loaded,
            written: vec![from.to_string()],
            records: (from..from + n as u64).collect(),
            bare: Vec::new(),
            words: [payload].into(),
            payload: [payload].into(),
            sums: vec![0; DIM],
            n_summed: n,
            togetherness: 0.0,
            error: 0.0,
        }
    }

    fn burst_of(sizes: &[usize]) -> Option<usize> {
        let items: Vec<Unbound> = sizes.iter().map(|&n| phrase(0, n, n as u64)).collect();
        let items: Vec<&Unbound> = items.iter().collect();
        excess(&items, Class::Loaded, &scale()).map(|found| found.0)
    }

    #[test]
    fn the_tail_of_the_dataset_explains_large_items() {
        assert_eq!(burst_of(&[]), None);
        assert_eq!(burst_of(&[14]), None);
        assert_eq!(burst_of(&[25]), Some(1));
        assert_eq!(burst_of(&[18, 17, 15, 5]), Some(3));
        // As in source code, where many phrases fit anywhere.
        let code: Vec<usize> = (1..250).map(|rank| 5 + 40 / rank).collect();
        assert_eq!(burst_of(&code), None);
        assert_eq!(burst_of(&[11; 30]), None);
    }

    #[test]
    fn phrases_with_one_payload_are_one() {
        let found = vec![phrase(0, 8, 1), phrase(20, 9, 2), phrase(40, 8, 1)];
        let groups = by_payload(found);
        let sizes: Vec<usize> = groups.iter().map(|group| group.records.len()).collect();
        assert_eq!(sizes, [9, 16]);
        let mut bridge = phrase(60, 5, 1);
        bridge.payload.insert(2);
        let groups = by_payload(vec![phrase(0, 8, 1), phrase(20, 9, 2), bridge]);
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].n_summed, 22);
    }

    #[test]
    fn contexts_of_a_record_count_once() {
        let mut one = phrase(0, 8, 1);
        one.join(phrase(2, 8, 1));
        assert_eq!((one.records.len(), one.n_summed), (10, 8));
        assert_eq!(in_common(&[1, 3, 5], &[2, 3, 5, 9]), 2);
    }
}
