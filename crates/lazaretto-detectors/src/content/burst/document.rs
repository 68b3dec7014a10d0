//! What a record says, in words, and the things in it that could be injected: long phrases,
//! addresses and names.

use std::collections::BTreeMap;
use std::ops::Range;

use lazaretto_core::{Batch, TextPart};
use lazaretto_features::hash_word;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::addresses::{addresses, whole_address};
use super::counts::Counts;

/// Words of the n-grams that make up a phrase. Shorter ones are idioms and names of institutions.
pub(super) const GRAM: usize = 6;
/// Words around an address or name that are no context: the sentence it came in.
const AROUND: usize = 8;
/// N-grams belong to one phrase when their counts differ by at most this factor.
const ALIKE: f64 = 1.5;
/// Letters of a name.
const MIN_LETTERS: usize = 3;

/// What kind of thing an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A run of n-grams that are about equally frequent.
    Phrase,
    /// The host of a URL, or an e-mail address.
    Address,
    /// A word that is written with a capital letter inside sentences.
    Name,
}

/// A text that is searched, and where its words are among those of the document.
struct Field {
    /// Index into [`Batch::texts`].
    idx: usize,
    words: Range<usize>,
}

/// The words of one record.
#[derive(Default)]
pub(super) struct Document {
    fields: Vec<Field>,
    /// Words of all searched fields, one after the other.
    pub(super) words: Vec<u64>,
    spans: Vec<(u32, u32)>,
    /// Words of the prompt.
    pub(super) prompt: Vec<u64>,
}

/// An item at its places in a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) hash: u64,
    pub(super) kind: Kind,
    /// Words that are the item itself, at its first place.
    pub(super) words: Range<usize>,
    /// Of an address or name, what came with it, at all its places.
    sentences: Vec<Range<usize>>,
    /// Of a phrase, in how many records it is.
    count: u32,
}

#[cfg(test)]
impl Found {
    /// A name at word `at`.
    pub(super) fn of_name(hash: u64, at: usize) -> Self {
        Self {
            hash,
            kind: Kind::Name,
            words: at..at + 1,
            sentences: Vec::new(),
            count: 0,
        }
    }
}

/// What is found in a record.
pub(super) struct Items {
    /// By hash.
    pub(super) found: Vec<Found>,
    regions: Vec<Region>,
}

impl Items {
    /// The words of a record that are no context of the item: it, and what came with it. Phrases
    /// in about as many records may be parts of one.
    pub(super) fn apart<'a>(&'a self, found: &'a Found) -> impl Iterator<Item = Range<usize>> + 'a {
        let phrase = found.kind == Kind::Phrase;
        let regions = self.regions.iter();
        let phrases = regions.filter(move |region| phrase && alike(region.count, found.count));
        let sentences = found.sentences.iter().cloned();
        phrases.map(|region| region.words.clone()).chain(sentences)
    }
}

/// Whether items are looked for in a text of this part: what a model would learn to say.
pub(super) fn is_searched(part: TextPart) -> bool {
    matches!(part, TextPart::Response | TextPart::Text)
}

fn salted(kind: Kind, hash: u64, seed: u64) -> u64 {
    let salt = match kind {
        Kind::Phrase => 0,
        Kind::Address => 0x6a09_e667_f3bc_c908,
        Kind::Name => 0xbb67_ae85_84ca_a73b,
    };
    xxh3_64_with_seed(&(hash ^ salt).to_le_bytes(), seed)
}

impl Field {
    fn text<'a>(&self, batch: &'a Batch<'_>, row_idx: usize) -> &'a str {
        batch.texts[self.idx].get(row_idx).unwrap_or_default()
    }
}

impl Document {
    /// Reads row `row_idx` of `batch`.
    pub(super) fn read(&mut self, batch: &Batch<'_>, row_idx: usize) {
        self.fields.clear();
        self.words.clear();
        self.spans.clear();
        self.prompt.clear();
        for (idx, (field, tokens)) in batch.texts.iter().zip(&batch.derived.tokens).enumerate() {
            let words = tokens.row(row_idx);
            if is_searched(field.part) {
                let start = self.words.len();
                self.words.extend_from_slice(words);
                self.spans.extend_from_slice(tokens.row_spans(row_idx));
                self.fields.push(Field {
                    idx,
                    words: start..self.words.len(),
                });
            } else {
                self.prompt.extend_from_slice(words);
            }
        }
    }

    /// The distinct words, ascending.
    pub(super) fn distinct_words(&self) -> Vec<u64> {
        distinct(self.words.iter().chain(&self.prompt).copied().collect())
    }

    /// The n-grams with the place of their first word.
    fn grams(&self, seed: u64) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.fields.iter().flat_map(move |field| {
            let windows = self.words[field.words.clone()].windows(GRAM);
            let hashes = windows.map(move |gram| {
                let mut bytes = [0; 8 * GRAM];
                for (slot, word) in bytes.chunks_exact_mut(8).zip(gram) {
                    slot.copy_from_slice(&word.to_le_bytes());
                }
                xxh3_64_with_seed(&bytes, seed)
            });
            (field.words.start..).zip(hashes)
        })
    }

    /// Places of names: words with a capital letter that follow another word of their sentence.
    fn names<'a>(
        &'a self,
        batch: &'a Batch<'_>,
        row_idx: usize,
        seed: u64,
    ) -> impl Iterator<Item = (usize, u64)> + 'a {
        self.fields.iter().flat_map(move |field| {
            let text = field.text(batch, row_idx);
            let words = field.words.clone().skip(1);
            words.filter_map(move |at| {
                let (start, end) = self.spans[at];
                let word = text.get(start as usize..end as usize)?;
                if !word.starts_with(char::is_uppercase) || word.chars().count() < MIN_LETTERS {
                    return None;
                }
                let before = text.get(self.spans[at - 1].1 as usize..start as usize)?;
                let inside = before.chars().all(|c| matches!(c, ' ' | ',' | '\'' | '’'));
                inside.then(|| (at, salted(Kind::Name, self.words[at], seed)))
            })
        })
    }

    /// Places of addresses: the words that one stands in, its hash and its kind. Hosts of longer
    /// addresses are names, because many of them are everybody's.
    fn addresses(
        &self,
        batch: &Batch<'_>,
        row_idx: usize,
        seed: u64,
    ) -> Vec<(Range<usize>, u64, Kind)> {
        let mut found = Vec::new();
        for field in &self.fields {
            let text = field.text(batch, row_idx);
            for (bytes, host) in addresses(text) {
                let spans = &self.spans[field.words.clone()];
                let first = spans.partition_point(|&(_, end)| end as usize <= bytes.start);
                let last = spans.partition_point(|&(start, _)| (start as usize) < bytes.end);
                let words = field.words.start + first..field.words.start + last.max(first);
                if words.is_empty() {
                    continue;
                }
                let whole = whole_address(&text[bytes]);
                if whole != host {
                    let hash = salted(Kind::Name, hash_word(&host), seed);
                    found.push((words.clone(), hash, Kind::Name));
                }
                let hash = salted(Kind::Address, hash_word(&whole), seed);
                found.push((words, hash, Kind::Address));
            }
        }
        found
    }

    /// Distinct hashes of everything in the record that could be an item.
    pub(super) fn item_hashes(&self, batch: &Batch<'_>, row_idx: usize, seed: u64) -> Vec<u64> {
        let mut hashes: Vec<u64> = self.grams(seed).map(|(_, hash)| hash).collect();
        hashes.extend(self.names(batch, row_idx, seed).map(|(_, hash)| hash));
        let addresses = self.addresses(batch, row_idx, seed).into_iter();
        hashes.extend(addresses.map(|(_, hash, _)| hash));
        distinct(hashes)
    }

    /// The items in the record that `counts` knows in at least `floor` records.
    pub(super) fn items(
        &self,
        batch: &Batch<'_>,
        row_idx: usize,
        counts: &Counts,
        floor: u32,
        seed: u64,
    ) -> Items {
        let regions = self.regions(counts, floor, seed);
        let mut found: BTreeMap<u64, Found> = BTreeMap::new();
        for region in &regions {
            found.entry(region.hash).or_insert_with(|| Found {
                hash: region.hash,
                kind: Kind::Phrase,
                words: region.words.clone(),
                sentences: Vec::new(),
                count: region.count,
            });
        }
        let mut add = |words: Range<usize>, hash: u64, kind: Kind| {
            if counts.of(hash) < floor {
                return;
            }
            let sentence = self.sentence(&words, &regions);
            let item = found.entry(hash).or_insert_with(|| Found {
                hash,
                kind,
                words,
                sentences: Vec::new(),
                count: 0,
            });
            item.sentences.push(sentence);
        };
        for (at, hash) in self.names(batch, row_idx, seed) {
            add(at..at + 1, hash, Kind::Name);
        }
        for (words, hash, kind) in self.addresses(batch, row_idx, seed) {
            add(words, hash, kind);
        }
        Items {
            found: found.into_values().collect(),
            regions,
        }
    }

    /// Words around an item that came with it, and the phrases that these touch.
    fn sentence(&self, words: &Range<usize>, regions: &[Region]) -> Range<usize> {
        let near = words.start.saturating_sub(AROUND)..(words.end + AROUND).min(self.words.len());
        let touched = regions
            .iter()
            .filter(|region| region.words.start < near.end && near.start < region.words.end);
        touched.fold(near.clone(), |all, region| {
            all.start.min(region.words.start)..all.end.max(region.words.end)
        })
    }

    /// Maximal runs of frequent n-grams of about the same count.
    fn regions(&self, counts: &Counts, floor: u32, seed: u64) -> Vec<Region> {
        let mut regions: Vec<Region> = Vec::new();
        let mut previous: Option<(usize, u32)> = None;
        for (at, hash) in self.grams(seed) {
            let count = counts.of(hash);
            if count < floor {
                continue;
            }
            let continues =
                previous.is_some_and(|(before, its)| before + 1 == at && alike(its, count));
            match regions.last_mut().filter(|_| continues) {
                Some(region) => {
                    region.words.end = at + GRAM;
                    // The smallest hash: the same choice in all records that share the phrase.
                    if hash < region.hash {
                        (region.hash, region.count) = (hash, count);
                    }
                }
                None => regions.push(Region {
                    words: at..at + GRAM,
                    hash,
                    count,
                }),
            }
            previous = Some((at, count));
        }
        regions
    }

    /// How the words of an item are written.
    pub(super) fn written(
        &self,
        batch: &Batch<'_>,
        row_idx: usize,
        words: &Range<usize>,
    ) -> String {
        let field = self
            .fields
            .iter()
            .find(|field| field.words.contains(&words.start));
        let written = field.and_then(|field| {
            let start = self.spans[words.start].0 as usize;
            let end = self.spans[words.end - 1].1 as usize;
            field.text(batch, row_idx).get(start..end)
        });
        written.unwrap_or_default().to_owned()
    }
}

/// A phrase in a record.
struct Region {
    words: Range<usize>,
    /// Of the n-gram that stands for the phrase, and its count.
    hash: u64,
    count: u32,
}

fn alike(a: u32, b: u32) -> bool {
    f64::from(a.max(b)) <= ALIKE * f64::from(a.min(b))
}

pub(super) fn distinct(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    values.dedup();
    values
}
