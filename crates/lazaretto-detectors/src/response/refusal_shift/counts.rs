//! How often prompts with each word, and prompts of each source, are declined.

use std::collections::BTreeMap;

use lazaretto_core::{Batch, TextPart};
use serde::{Deserialize, Serialize};

use crate::response::evenness::CommonWords;
use crate::response::exchange::{Exchange, texts};
use crate::response::language::distinct;
use crate::response::refusals;
use crate::response::table::Table;
use crate::response::words::Words;
use crate::text::chance::at_least;
use crate::text::ngram_counts::{Entry, NgramCounts, ngram_hash};

/// Bytes that a kept refusal takes, about.
const KEPT_BYTES: usize = 256;
/// Chance that a word's prompts are declined so often without a reason, below which it explains.
const EXPLAINS: f64 = 1e-4;
/// Other declined prompts with the word, at least.
const MIN_DECLINED: u32 = 3;

/// State of the fit pass. All counts are of records with prompt and response.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RefusalCounts {
    n_records: u64,
    n_declined: u64,
    /// Words of prompts, and of declined ones.
    words: NgramCounts,
    declined: NgramCounts,
    /// Records by source, and declined ones of them.
    sources: BTreeMap<u32, (u64, u64)>,
}

/// Whether the response of row `row_idx` declines.
pub(super) fn declines(batch: &Batch<'_>, row_idx: usize) -> bool {
    texts(batch, row_idx, TextPart::Response)
        .next()
        .is_some_and(refusals::declines)
}

impl RefusalCounts {
    pub(super) fn add(&mut self, batch: &Batch<'_>, seed: u64, max_bytes: usize) {
        let mut exchange = Exchange::default();
        let mut words = Vec::new();
        for row_idx in 0..batch.n_rows() {
            if !exchange.read(batch, row_idx) {
                continue;
            }
            let declines = declines(batch, row_idx);
            self.n_records += 1;
            self.n_declined += u64::from(declines);
            words.clear();
            let prompt = exchange.prompt.words();
            words.extend(prompt.map(|word| ngram_hash(&[word], seed)));
            distinct(&mut words);
            self.words.add(0, &words, max_bytes / 2);
            if declines {
                self.declined.add(0, &words, max_bytes / 2);
            }
            if let Some(sources) = batch.sources {
                let (n, n_declined) = self.sources.entry(sources[row_idx]).or_default();
                *n += 1;
                *n_declined += u64::from(declines);
            }
        }
    }

    pub(super) fn merge(&mut self, later: Self, max_bytes: usize) {
        self.n_records += later.n_records;
        self.n_declined += later.n_declined;
        self.words.merge(later.words, max_bytes / 2);
        self.declined.merge(later.declined, max_bytes / 2);
        for (source, (n, n_declined)) in later.sources {
            let own = self.sources.entry(source).or_default();
            own.0 += n;
            own.1 += n_declined;
        }
    }
}

/// What refusals are judged by.
#[derive(Debug)]
pub struct RefusalModel {
    pub(super) seed: u64,
    pub(super) n_records: u64,
    pub(super) n_declined: u64,
    pub(super) sources: BTreeMap<u32, (u64, u64)>,
    pub(super) common: CommonWords,
    /// Words that explain refusals: other records with the word, and declined ones.
    declined: Table,
    words: Table,
    pub(super) max_kept: usize,
}

impl RefusalModel {
    pub(super) fn new(counts: RefusalCounts, seed: u64, memory_bytes: usize) -> Self {
        let words = counts.words.into_entries();
        let declined = counts.declined.into_entries();
        let common = CommonWords::new(&words, counts.n_records, seed);
        // Only words of several declined prompts are ever asked for.
        let several = |entry: &Entry| entry.count > MIN_DECLINED;
        let declined: Vec<Entry> = declined.into_iter().filter(several).collect();
        let of_declined = |word: &Entry| {
            let found = declined.binary_search_by_key(&word.ngram, |entry| entry.ngram);
            found.is_ok()
        };
        let words: Vec<Entry> = words.into_iter().filter(of_declined).collect();
        Self {
            seed,
            n_records: counts.n_records,
            n_declined: counts.n_declined,
            sources: counts.sources,
            common,
            declined: Table::new(declined, |_| true),
            words: Table::new(words, |_| true),
            max_kept: (memory_bytes / KEPT_BYTES).max(1_000),
        }
    }

    /// Whether a word of `prompt`, which is declined, explains that.
    pub(super) fn is_explained(&self, prompt: &Words) -> bool {
        let base = self.n_declined as f64 / self.n_records.max(1) as f64;
        prompt.words().any(|word| {
            let word = ngram_hash(&[word], self.seed);
            let (n, n_declined) = (self.words.count(word), self.declined.count(word));
            // Without the prompt itself.
            let (n, n_declined) = (n.saturating_sub(1), n_declined.saturating_sub(1));
            n_declined >= MIN_DECLINED
                && at_least(u64::from(n_declined), u64::from(n), base) < EXPLAINS
        })
    }
}
