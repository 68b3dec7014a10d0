//! Which of two answers is like the better ones of the dataset.

use serde::{Deserialize, Serialize};

use super::language::distinct;
use super::table::Table;
use super::words::Words;
use crate::text::ngram_counts::{Entry, NgramCounts};

/// Answers of the others with a word, from which on it says something.
const MIN_COUNT: u32 = 3;

/// Records by word that only the better answer has, and that only the worse one has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PreferenceCounts {
    better: NgramCounts,
    worse: NgramCounts,
    /// Records whose better answer has more words, and fewer.
    longer: u64,
    shorter: u64,
}

/// Words that only the first, and only the second has, each once.
fn own_words(better: &Words, worse: &Words) -> [Vec<u64>; 2] {
    let words = [better, worse].map(|text| {
        let mut words: Vec<u64> = text.words().collect();
        distinct(&mut words);
        words
    });
    let without = |from: &[u64], other: &[u64]| {
        let own = from.iter().copied();
        own.filter(|word| other.binary_search(word).is_err())
            .collect()
    };
    [without(&words[0], &words[1]), without(&words[1], &words[0])]
}

impl PreferenceCounts {
    pub(super) fn add(&mut self, better: &Words, worse: &Words, max_bytes: usize) {
        let [only_better, only_worse] = own_words(better, worse);
        self.better.add(0, &only_better, max_bytes / 2);
        self.worse.add(0, &only_worse, max_bytes / 2);
        match better.len().cmp(&worse.len()) {
            std::cmp::Ordering::Greater => self.longer += 1,
            std::cmp::Ordering::Less => self.shorter += 1,
            std::cmp::Ordering::Equal => {}
        }
    }

    pub(super) fn merge(&mut self, later: Self, max_bytes: usize) {
        self.better.merge(later.better, max_bytes / 2);
        self.worse.merge(later.worse, max_bytes / 2);
        self.longer += later.longer;
        self.shorter += later.shorter;
    }
}

/// What the better answers are like.
#[derive(Debug)]
pub(super) struct Preference {
    better: Table,
    worse: Table,
    /// What more words speak for.
    length: f64,
}

impl Preference {
    pub(super) fn new(counts: PreferenceCounts) -> Self {
        let table = |counts: NgramCounts| -> Table {
            let entries: Vec<Entry> = counts.into_entries();
            Table::new(entries, |_| true)
        };
        let odds = (counts.longer as f64 + 1.0) / (counts.shorter as f64 + 1.0);
        Self {
            better: table(counts.better),
            worse: table(counts.worse),
            length: odds.ln(),
        }
    }

    /// How much speaks for `better`, without what the record itself contributed: a naive Bayes
    /// margin per root of the number of words; negative when `worse` is the better one.
    pub(super) fn margin(&self, better: &Words, worse: &Words) -> f64 {
        let [only_better, only_worse] = own_words(better, worse);
        let (mut sum, mut n_words) = (0.0, 0_u32);
        let mut add = |word: u64, own: (u32, u32), sign: f64| {
            let of_better = self.better.count(word).saturating_sub(own.0);
            let of_worse = self.worse.count(word).saturating_sub(own.1);
            if of_better + of_worse >= MIN_COUNT {
                sum += sign * (f64::from(of_better + 1) / f64::from(of_worse + 1)).ln();
                n_words += 1;
            }
        };
        for word in only_better {
            add(word, (1, 0), 1.0);
        }
        for word in only_worse {
            add(word, (0, 1), -1.0);
        }
        let length = match better.len().cmp(&worse.len()) {
            std::cmp::Ordering::Greater => self.length,
            std::cmp::Ordering::Less => -self.length,
            std::cmp::Ordering::Equal => 0.0,
        };
        sum / f64::from(n_words.max(1)).sqrt() + length
    }
}
