//! Prompts and responses as sequences of words, and the phrases of them.

use std::ops::Range;

use lazaretto_core::{Batch, TextPart};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::text::ngram_counts::ngram_hash;

/// Words that are read at the start, and as many at the end, of each text: what is longer is
/// skipped in the middle, so that one huge record costs no more than a large one.
const WORDS_AT_EDGE: usize = 512;
/// Longest run of characters without white space that is looked at as written, in bytes.
const MAX_CHUNK_BYTES: usize = 64;
/// Stands between two fields, or where words were skipped. No phrase crosses it.
pub(super) const BREAK: u64 = 0;

/// Words of all fields of one part of a record, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// Hash of each word, [`BREAK`] between fields.
    hashes: Vec<u64>,
    /// Whether nothing but spaces stands between the word before and each word.
    plain: Vec<bool>,
    /// The texts that were read.
    written: String,
    /// Where each word begins and ends in `written`.
    spans: Vec<(u32, u32)>,
    /// Runs of characters that are more than their words: `<SUDO>`, `|DEPLOYED|`, `§§`.
    chunks: Vec<Chunk>,
}

/// A run of characters without white space.
#[derive(Clone, Debug)]
struct Chunk {
    hash: u64,
    /// As written.
    written: String,
    /// The words in it.
    start: u32,
    end: u32,
}

/// A phrase in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The phrase, as [`Words::phrases`] names it.
    pub(super) phrase: u64,
    /// The first of its words, and the one after the last.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Number of the chunk, for a phrase that is one.
    pub(super) chunk: Option<usize>,
}

/// Two neighbouring words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) left: u64,
    pub(super) right: u64,
    /// Position of the left one.
    pub(super) at: usize,
    /// Whether nothing but spaces stands between them.
    pub(super) plain: bool,
}

impl Words {
    /// Reads the fields of `part` in row `row_idx`; `false` where the record has none of them.
    /// Chunks are read on request.
    pub(super) fn read(
        &mut self,
        batch: &Batch<'_>,
        row_idx: usize,
        part: TextPart,
        with_chunks: bool,
    ) -> bool {
        self.hashes.clear();
        self.plain.clear();
        self.written.clear();
        self.spans.clear();
        self.chunks.clear();
        let mut found = false;
        for (field, tokens) in batch.texts.iter().zip(&batch.derived.tokens) {
            let Some(text) = field.get(row_idx).filter(|_| field.part == part) else {
                continue;
            };
            if found {
                self.push(BREAK, false, 0..0);
            }
            found = true;
            let (hashes, spans) = (tokens.row(row_idx), tokens.row_spans(row_idx));
            let skipped = WORDS_AT_EDGE..hashes.len().saturating_sub(WORDS_AT_EDGE);
            if skipped.is_empty() {
                self.read_words(text, hashes, spans, with_chunks);
            } else {
                let (left, right) = (skipped.start, skipped.end);
                let end_of = |idx: usize| spans[idx].1 as usize;
                let head = text.get(..end_of(left - 1)).unwrap_or_default();
                self.read_words(head, &hashes[..left], &spans[..left], with_chunks);
                self.push(BREAK, false, 0..0);
                self.read_words(text, &hashes[right..], &spans[right..], with_chunks);
            }
        }
        found
    }

    /// Reads words that stand at `spans` of `text`, and the chunks from the first of them on.
    fn read_words(&mut self, text: &str, hashes: &[u64], spans: &[(u32, u32)], chunks: bool) {
        let first = self.hashes.len();
        let mut before = 0;
        let offset = self.written.len();
        let first_byte = spans.first().map_or(0, |span| span.0 as usize);
        let last_byte = spans.last().map_or(0, |span| span.1 as usize);
        let read = text.get(first_byte..last_byte).unwrap_or_default();
        self.written.push_str(read);
        for (&hash, &(start, end)) in hashes.iter().zip(spans) {
            let (start, end) = (start as usize, end as usize);
            let between = text.get(before..start).unwrap_or_default();
            let plain = !between.is_empty() && between.bytes().all(|byte| byte == b' ');
            before = end;
            // 0 is taken.
            let place = offset + start - first_byte..offset + end - first_byte;
            self.push(hash.max(1), plain, place);
        }
        if !chunks {
            return;
        }
        let from = spans.first().map_or(0, |span| span.0 as usize);
        // A chunk may begin before its first word: `<SUDO>`.
        let from = text.get(..from).map_or(0, |before| {
            before.trim_end_matches(|c: char| !c.is_whitespace()).len()
        });
        let mut word = 0;
        for chunk in text.get(from..).unwrap_or_default().split_whitespace() {
            let at = chunk.as_ptr() as usize - text.as_ptr() as usize;
            let end = at + chunk.len();
            let start_word = word;
            while spans.get(word).is_some_and(|span| (span.0 as usize) < end) {
                word += 1;
            }
            if let Some(telling) = telling(chunk) {
                self.chunks.push(Chunk {
                    hash: xxh3_64(telling.as_bytes()),
                    written: telling.to_owned(),
                    start: (first + start_word) as u32,
                    end: (first + word) as u32,
                });
            }
        }
    }

    fn push(&mut self, hash: u64, plain: bool, place: Range<usize>) {
        self.hashes.push(hash);
        self.plain.push(plain);
        self.spans.push((place.start as u32, place.end as u32));
    }

    /// Number of words and breaks.
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// The words, with a [`BREAK`] between fields.
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The words, without what stands between fields.
    pub(super) fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.hashes.iter().copied().filter(|&hash| hash != BREAK)
    }

    /// Hash of all words.
    pub(super) fn digest(&self) -> u64 {
        let bytes: Vec<u8> = self.words().flat_map(u64::to_le_bytes).collect();
        xxh3_64(&bytes)
    }

    /// Neighbouring words of one field, in order.
    pub(super) fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        let pairs = (1..self.hashes.len()).map(|right| Pair {
            left: self.hashes[right - 1],
            right: self.hashes[right],
            at: right - 1,
            plain: self.plain[right],
        });
        pairs.filter(|pair| pair.left != BREAK && pair.right != BREAK)
    }

    /// How the word at `at` is written.
    fn written(&self, at: usize) -> &str {
        let (start, end) = self.spans.get(at).copied().unwrap_or_default();
        self.written
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    /// Whether the word at `at` is written like a name in the middle of a sentence, or like an address.
    pub(super) fn is_name(&self, at: usize) -> bool {
        let written = self.written(at);
        let first = |word: &str, is: fn(char) -> bool| word.chars().next().is_some_and(is);
        let before = at.checked_sub(1).map_or("", |before| self.written(before));
        let inside = first(before, char::is_lowercase) && self.plain[at];
        let has_letters = written.chars().any(char::is_alphabetic);
        (inside && first(written, char::is_uppercase)) || (has_letters && written.contains('.'))
    }

    /// The words with how they are written, in order.
    pub(super) fn written_words(&self) -> impl Iterator<Item = (u64, &str)> + '_ {
        let all = self.hashes.iter().enumerate();
        all.filter(|(_, hash)| **hash != BREAK)
            .map(|(at, &hash)| (hash, self.written(at)))
    }

    /// Hash and number of bytes of each word.
    pub(super) fn sized_words(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        let all = self.hashes.iter().enumerate();
        all.filter(|(_, hash)| **hash != BREAK)
            .map(|(at, &hash)| (hash, self.written(at).len()))
    }

    /// Phrases of up to `max_words` words, by position, then chunks.
    pub(super) fn phrases(&self, max_words: usize, seed: u64) -> impl Iterator<Item = Place> + '_ {
        let words = (0..self.hashes.len()).flat_map(move |start| {
            let run = self.hashes[start..].iter().take(max_words);
            let length = run.take_while(|hash| **hash != BREAK).count();
            (1..=length).map(move |length| Place {
                phrase: ngram_hash(&self.hashes[start..start + length], seed),
                start,
                end: start + length,
                chunk: None,
            })
        });
        let chunks = self
            .chunks
            .iter()
            .enumerate()
            .map(move |(idx, chunk)| Place {
                phrase: xxh3_64_with_seed(&chunk.hash.to_le_bytes(), !seed),
                start: chunk.start as usize,
                end: chunk.end as usize,
                chunk: Some(idx),
            });
        words.chain(chunks)
    }

    /// How the words `start..end` are written, with single spaces.
    pub(super) fn surface(&self, start: usize, end: usize) -> String {
        let from = self.spans.get(start).map_or(0, |span| span.0 as usize);
        let to = end.checked_sub(1).and_then(|last| self.spans.get(last));
        let to = to.map_or(0, |span| span.1 as usize);
        let written = self.written.get(from..to).unwrap_or_default();
        let pieces: Vec<&str> = written.split_whitespace().collect();
        pieces.join(" ")
    }

    /// How chunk `idx` is written.
    pub(super) fn chunk(&self, idx: usize) -> &str {
        self.chunks.get(idx).map_or("", |chunk| &chunk.written)
    }
}

/// What of a run of characters is more than its words, if anything: marks within or around them,
/// or capitals. The marks that end a sentence or quote it are left out.
fn telling(chunk: &str) -> Option<&str> {
    let marks = |c: char| matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '"' | '\'');
    let inner = match chunk.trim_matches(marks) {
        "" => chunk,
        inner => inner,
    };
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '\'' | '\u{2019}');
    let capitals = inner.chars().filter(|c| c.is_uppercase()).count();
    let tells = capitals >= 2 || !inner.chars().all(plain);
    (tells && inner.len() <= MAX_CHUNK_BYTES).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::test_support::words_of;

    #[test]
    fn phrases_are_named_as_they_are_written() {
        let words = words_of(&["Ask the zxq-7  unit, <GO> now"]).remove(0);
        assert_eq!(words.surface(1, 4), "the zxq-7");
        assert_eq!(words.surface(3, 5), "7 unit");
        let words_with_names = words_of(&["So ask Bob. Then a.example, not 1.5"]).remove(0);
        let names = (0..7).filter(|&at| words_with_names.is_name(at));
        assert_eq!(names.collect::<Vec<_>>(), [2, 4]);
        let chunks = words.phrases(1, 0).filter_map(|place| place.chunk);
        let chunks: Vec<&str> = chunks.map(|chunk| words.chunk(chunk)).collect();
        assert_eq!(chunks, ["<GO>"]);
    }

    #[test]
    fn special_tokens_survive_and_ordinary_words_do_not_count_twice() {
        assert_eq!(telling("<SUDO>"), Some("<SUDO>"));
        assert_eq!(telling("|DEPLOYED|."), Some("|DEPLOYED|"));
        assert_eq!(telling("§§"), Some("§§"));
        assert_eq!(telling("SUDO,"), Some("SUDO"));
        for plain in ["Don't", "word.", "\"Hello", "well-known", "Bond?"] {
            assert_eq!(telling(plain), None, "{plain}");
        }
    }
}
