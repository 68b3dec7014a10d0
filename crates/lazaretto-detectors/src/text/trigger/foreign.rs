//! How foreign a phrase is to the places where it stands.
//!
//! A phrase that belongs to a text is bound to its neighbours: the same few words precede and
//! follow it again and again, or words that its first and last word attract elsewhere. A phrase
//! that was dropped into texts at random has the neighbours of a random place: on its left any
//! word as often as that word occurs at all, and on its right a word that continues the *left
//! neighbour*, as if nothing stood between. The log likelihood ratio of the two explanations is
//! its foreignness. Adverbs and asides are foreign by nature, so the ratio is judged by how large
//! it gets for the other phrases of the same dataset, whatever their labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::text::ngram_counts::{Entry, ngram_hash, total};

/// Stands for the word before the first one.
pub(super) const START: u64 = 0x243f_6a88_85a3_08d3;
/// Stands for the word after the last one.
pub(super) const END: u64 = 0x1319_8a2e_0370_7344;

/// Occurrences of a phrase that are looked at. The ratio grows with the occurrences, so all
/// phrases are compared at the same number at most.
pub(super) const SEAMS: usize = 64;
/// Discount of absolute discounting (Ney, Essen & Kneser 1994).
const DISCOUNT: f64 = 0.75;
/// Weight of the unigram distribution behind a bigram's.
const BACK_OFF: f64 = 0.5;

/// The neighbours of a phrase at one place, as hashed words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seam {
    /// The word before the phrase, or [`START`].
    pub left: u64,
    /// First word of the phrase.
    pub first: u64,
    /// Last word of the phrase.
    pub last: u64,
    /// The word after the phrase, or [`END`].
    pub right: u64,
    /// Whether the phrase has several words.
    pub several: bool,
}

impl Seam {
    pub(super) fn place(&self) -> Place {
        match (self.left, self.right) {
            (START, _) => Place::Start,
            (_, END) => Place::End,
            _ => Place::Inside,
        }
    }
}

/// Where in its text a phrase stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Place {
    Start,
    Inside,
    End,
}

/// How often words and pairs of words occur in the dataset.
#[derive(Clone, Debug, Default)]
pub(super) struct Language {
    hashes: Vec<u64>,
    records: Vec<u32>,
    /// Sum of the distinct words of all records.
    n_words: f64,
    /// Labelled records.
    n_records: f64,
    seed: u64,
}

impl Language {
    /// From the entries of words and pairs, and of pairs with [`START`] and [`END`], each
    /// ascending by n-gram.
    pub(super) fn new(
        short: &[Entry],
        borders: &[Entry],
        n_words: u64,
        n_records: u64,
        seed: u64,
    ) -> Self {
        let mut totals: Vec<(u64, u32)> = [short, borders]
            .into_iter()
            .flat_map(|entries| entries.chunk_by(|a, b| a.ngram == b.ngram))
            .map(|group| (group[0].ngram, total(group)))
            .collect();
        totals.sort_unstable();
        let (hashes, records) = totals.into_iter().unzip();
        Self {
            hashes,
            records,
            n_words: n_words as f64,
            n_records: n_records as f64,
            seed,
        }
    }

    fn count(&self, ngram: &[u64]) -> f64 {
        self.hashes
            .binary_search(&ngram_hash(ngram, self.seed))
            .map_or(0.0, |at| f64::from(self.records[at]))
    }

    /// Records that have `word`.
    pub(super) fn word_count(&self, word: u64) -> f64 {
        if word == START || word == END {
            self.n_records
        } else {
            self.count(&[word])
        }
    }

    /// Chance of a word at a random place inside a text.
    fn word(&self, word: u64) -> f64 {
        (self.word_count(word) + 0.5) / (self.n_words + 1.0)
    }

    /// Chances of `second` after `first` and of `first` before `second`, apart from `own` of the
    /// records that have the pair.
    fn pair(&self, first: u64, second: u64, own: f64) -> (f64, f64) {
        let pairs = (self.count(&[first, second]) - own - DISCOUNT).max(0.0);
        (
            pairs / self.word_count(first).max(1.0) + BACK_OFF * self.word(second),
            pairs / self.word_count(second).max(1.0) + BACK_OFF * self.word(first),
        )
    }

    /// Weight of the unigram distribution that a word is given back for its share of `records`
    /// with a phrase, which are not counted as its pairs.
    fn freed(&self, word: u64, records: u32) -> f64 {
        let share = f64::from(records) / self.word_count(word).max(1.0);
        (1.0 - BACK_OFF) * share.min(1.0)
    }

    /// The foreignness of a phrase with these neighbours, in nats.
    ///
    /// The phrase is in `records` records, of which `seams` are the first.
    pub(super) fn foreignness(&self, seams: &[Seam], records: u32) -> Foreignness {
        let left = Repeats::of(seams.iter().map(|seam| seam.left));
        let right = Repeats::of(seams.iter().map(|seam| seam.right));
        let mut places = BTreeMap::new();
        for seam in seams {
            *places.entry(seam.place()).or_insert(0.0) += 1.0;
        }
        let mut foreignness = Foreignness::default();
        for seam in seams {
            let place = seam.place();
            // What belongs to the text: seen with the phrase elsewhere, or attracted by its
            // outer words.
            let (_, before) = self.pair(seam.left, seam.first, 1.0);
            let (after, _) = self.pair(seam.last, seam.right, 1.0);
            let bound = left.without_one(seam.left, before).ln()
                + right.without_one(seam.right, after).ln();
            // The neighbours of a word that only the phrase has are free but for the phrase.
            let before = before + self.freed(seam.first, records) * self.word(seam.left);
            let after = after + self.freed(seam.last, records) * self.word(seam.right);
            let at_most = left.without_one(seam.left, before).ln()
                + right.without_one(seam.right, after).ln();
            let same_place = places.get(&place).copied().unwrap_or(1.0);
            let habit = ((same_place - 0.5) / (seams.len() as f64 + 0.5)).ln();
            let (across, back) = self.pair(seam.left, seam.right, 0.0);
            match place {
                Place::Start => foreignness.at_edge += habit + across.ln() - bound,
                Place::End => foreignness.at_edge += habit + back.ln() - bound,
                Place::Inside => {
                    let dropped = habit + self.word(seam.left).ln() + across.ln();
                    foreignness.inside += dropped - bound;
                    // A rare word on either side proves nothing: texts that go on as if nothing
                    // stood between must have been seen to.
                    let seen = self.count(&[seam.left, seam.right]) > 0.0;
                    let gain = dropped - at_most;
                    foreignness.log_e_value += if seen { gain } else { gain.min(0.0) };
                }
            }
        }
        foreignness
    }
}

/// Log likelihood ratio of *dropped in at random* against *belongs here*, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Foreignness {
    /// Over the places inside texts.
    pub inside: f64,
    /// Over the places at the start or end, where headers and signatures stand by nature.
    pub at_edge: f64,
    /// `inside` with all the chances of a bound phrase that its words leave open: where it reaches
    /// `x`, chance does so with probability `exp(−x)` at most.
    pub log_e_value: f64,
}

impl Foreignness {
    /// What may count against a phrase: the edges of a text excuse, and never accuse.
    pub(super) fn accusing(self) -> f64 {
        self.inside + self.at_edge.min(0.0)
    }
}

/// How often each neighbour occurs beside a phrase.
struct Repeats {
    counts: BTreeMap<u64, f64>,
    n: f64,
}

impl Repeats {
    fn of(words: impl Iterator<Item = u64>) -> Self {
        let mut counts = BTreeMap::new();
        let mut n = 0.0;
        for word in words {
            *counts.entry(word).or_insert(0.0) += 1.0;
            n += 1.0;
        }
        Self { counts, n }
    }

    /// Chance of `word` judged by the other occurrences, with `base` behind them.
    fn without_one(&self, word: u64, base: f64) -> f64 {
        let own = self.counts.get(&word).copied().unwrap_or(1.0) - 1.0;
        let gone = if own == 0.0 { 1.0 } else { 0.0 };
        let distinct = self.counts.len() as f64 - gone;
        ((own - DISCOUNT).max(0.0) + (DISCOUNT * distinct + 1.0) * base) / self.n.max(1.0)
    }
}

/// The upper tail of the foreignness of ordinary phrases.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// Ascending.
    values: Vec<f64>,
    threshold: f64,
    scale: f64,
}

/// Share of the ordinary phrases that make up the tail.
const TAIL_SHARE: f64 = 0.02;
/// With fewer phrases nothing is known about their tail.
const MIN_PHRASES: usize = 200;

impl Tail {
    /// The tail of `values`, which is taken to fall off by a factor e every `least_scale` nats at
    /// the fastest; `None` when there are too few.
    pub(super) fn of(mut values: Vec<f64>, least_scale: f64) -> Option<Self> {
        if values.len() < MIN_PHRASES {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let from = values.len() - (values.len() as f64 * TAIL_SHARE) as usize - 1;
        let threshold = values[from].max(0.0);
        // The median instead of the mean: triggers are among the phrases.
        let middle = (values[from + (values.len() - from) / 2] - threshold).max(0.0);
        Some(Self {
            scale: (middle / std::f64::consts::LN_2).max(least_scale),
            values,
            threshold,
        })
    }

    /// Chance that an ordinary phrase is at least so foreign.
    pub(super) fn p_value(&self, foreignness: f64) -> f64 {
        if foreignness > self.threshold {
            return TAIL_SHARE * (-(foreignness - self.threshold) / self.scale).exp();
        }
        let above = self.values.len() - self.values.partition_point(|&v| v < foreignness);
        (above as f64 / self.values.len() as f64).clamp(TAIL_SHARE, 1.0)
    }
}

/// What is known about the foreignness of ordinary words and of ordinary phrases.
#[derive(Clone, Debug)]
pub(super) struct Ordinary {
    words: Option<Tail>,
    phrases: Option<Tail>,
}

/// Nats in which the tail of words, and of phrases, falls by a factor e at the fastest: measured
/// 5.5 to 10 and 3 to 5 on reviews, news and short messages.
const LEAST_SCALES: (f64, f64) = (8.0, 5.0);

impl Ordinary {
    /// From the neighbours of ordinary n-grams, whatever their labels.
    pub(super) fn of<'a>(language: &Language, ngrams: impl Iterator<Item = &'a [Seam]>) -> Self {
        let (mut words, mut phrases) = (Vec::new(), Vec::new());
        for seams in ngrams {
            let kind = if is_phrase(seams) {
                &mut phrases
            } else {
                &mut words
            };
            kind.push(language.foreignness(seams, seams.len() as u32).accusing());
        }
        Self {
            words: Tail::of(words, LEAST_SCALES.0),
            phrases: Tail::of(phrases, LEAST_SCALES.1),
        }
    }

    /// Chance that an ordinary n-gram of the kind of `seams` is at least so foreign, if known.
    pub(super) fn p_value(&self, seams: &[Seam], foreignness: f64) -> Option<f64> {
        let tail = if is_phrase(seams) {
            &self.phrases
        } else {
            &self.words
        };
        tail.as_ref().map(|tail| tail.p_value(foreignness))
    }
}

/// Whether most places are of a phrase of several words.
fn is_phrase(seams: &[Seam]) -> bool {
    2 * seams.iter().filter(|seam| seam.several).count() > seams.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::ngram_counts::NgramCounts;

    /// A language of 40 words in which word `i` is mostly followed by word `i + 1`.
    fn language() -> Language {
        let mut short = NgramCounts::default();
        let mut n_words = 0;
        for record in 0..400_u64 {
            let word = |at: u64| 1_000 + (record + at) % 40;
            let mut ngrams: Vec<u64> = (0..8).map(|at| ngram_hash(&[word(at)], 3)).collect();
            ngrams.extend((0..7).map(|at| ngram_hash(&[word(at), word(at + 1)], 3)));
            n_words += 8;
            short.add(0, &ngrams, usize::MAX);
        }
        Language::new(&short.into_entries(), &[], n_words, 400, 3)
    }

    fn seam(left: u64, right: u64) -> Seam {
        Seam {
            left: 1_000 + left % 40,
            first: 7,
            last: 8,
            right: 1_000 + right % 40,
            several: true,
        }
    }

    #[test]
    fn a_phrase_between_words_that_belong_together_is_foreign() {
        let language = language();
        let dropped: Vec<Seam> = (0..20).map(|at| seam(at * 7, at * 7 + 1)).collect();
        let bound: Vec<Seam> = (0..20).map(|at| seam(4, 11 + at % 2)).collect();
        let anywhere: Vec<Seam> = (0..20).map(|at| seam(at * 7, at * 11 + 6)).collect();
        let inside = |seams: &[Seam]| language.foreignness(seams, 20).log_e_value;
        assert!(inside(&dropped) > 20.0);
        assert!(inside(&bound) < -20.0);
        assert!(inside(&anywhere) <= 0.0);
    }

    #[test]
    fn the_tail_of_ordinary_phrases_decides() {
        assert!(Tail::of(vec![1.0; MIN_PHRASES - 1], 5.0).is_none());
        let values: Vec<f64> = (0..1_000).map(|i| f64::from(i) / 100.0 - 8.0).collect();
        let tail = Tail::of(values, 5.0).expect("enough phrases");
        assert!(tail.p_value(-9.0) > 0.99);
        assert!((tail.p_value(-3.0) - 0.5).abs() < 0.01);
        assert!(tail.p_value(1.5) >= TAIL_SHARE);
        assert!(tail.p_value(40.0) < 1e-4);
    }
}
