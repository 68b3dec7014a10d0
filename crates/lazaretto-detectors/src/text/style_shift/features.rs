//! What is looked at in a text: how it is written, not what it is about.

use super::pieces::Piece;

const EDGE: u64 = 0x6564_6765;

/// Mixes `value` into `hash`.
pub(super) fn fold(hash: u64, value: u64) -> u64 {
    let mixed = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// One of the kinds of features; their hashes must not meet.
#[derive(Clone, Copy)]
enum Kind {
    Symbol = 1,
    Pair,
    Triple,
    Gap,
    Opening,
    Closing,
    Spacing,
    Length,
    WordLength,
    Capitals,
    CommonWords,
}

fn feature(kind: Kind, parts: &[u64]) -> u64 {
    let seed = fold(0x7374_796c_6500, kind as u64);
    parts.iter().fold(seed, |hash, &part| fold(hash, part))
}

/// Room for the features of one text after the other.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    symbols: Vec<u64>,
    features: Vec<u64>,
}

impl Encoder {
    /// The distinct features of a text, ascending. Words for which `is_common` holds stand for
    /// themselves, the others for their shape and ending: what is left is the skeleton of the text.
    ///
    /// Features are the symbols of the skeleton, pairs, triples and pairs with a gap, the first
    /// one, two and four symbols and the last three, white space around marks, and the length of
    /// the text and of its words, the share of capitals and of common words, in steps.
    pub(super) fn encode(&mut self, pieces: &[Piece], is_common: impl Fn(u64) -> bool) -> &[u64] {
        self.symbols.clear();
        self.features.clear();
        if pieces.is_empty() {
            return &self.features;
        }
        let mut n_common = 0;
        self.symbols.extend([EDGE, EDGE]);
        for piece in pieces {
            let common = piece.is_word() && is_common(piece.hash);
            n_common += usize::from(common);
            let stands_for_itself = common || !piece.is_word();
            self.symbols.push(if stands_for_itself {
                piece.hash
            } else {
                u64::from(piece.slot)
            });
        }
        self.symbols.extend([EDGE, EDGE]);
        self.add_skeleton();
        self.add_marks(pieces);
        self.add_sizes(pieces, n_common);
        self.features.sort_unstable();
        self.features.dedup();
        &self.features
    }

    fn add_skeleton(&mut self) {
        let all = &self.symbols;
        let inner = &all[2..all.len() - 2];
        let features = &mut self.features;
        features.extend(inner.iter().map(|&symbol| feature(Kind::Symbol, &[symbol])));
        for window in all[1..].windows(3) {
            features.push(feature(Kind::Pair, &window[..2]));
            features.push(feature(Kind::Triple, window));
            features.push(feature(Kind::Gap, &[window[0], window[2]]));
        }
        for length in [1, 2, 4] {
            let opening = &inner[..inner.len().min(length)];
            features.push(feature(Kind::Opening, opening));
        }
        let closing = &inner[inner.len().saturating_sub(3)..];
        features.push(feature(Kind::Closing, closing));
    }

    fn add_marks(&mut self, pieces: &[Piece]) {
        let marks = pieces.iter().filter(|piece| !piece.is_word());
        let spacing = marks.map(|mark| feature(Kind::Spacing, &[mark.hash, mark.extent.into()]));
        self.features.extend(spacing);
    }

    fn add_sizes(&mut self, pieces: &[Piece], n_common: usize) {
        let step = |value: f64, per_unit: f64| (value * per_unit) as u64;
        let length = step((pieces.len() as f64 + 1.0).log2(), 3.0);
        self.features.push(feature(Kind::Length, &[length]));
        let words = || pieces.iter().filter(|piece| piece.is_word());
        let n_words = words().count() as f64;
        if n_words > 0.0 {
            let n_chars: f64 = words().map(|word| f64::from(word.extent)).sum();
            let n_capitals = words().filter(|word| word.capital).count() as f64;
            let word_length = step(n_chars / n_words, 2.0);
            let capitals = step(n_capitals / n_words, 8.0);
            let common = step(n_common as f64 / n_words, 10.0);
            self.features.extend([
                feature(Kind::WordLength, &[word_length]),
                feature(Kind::Capitals, &[capitals]),
                feature(Kind::CommonWords, &[common]),
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use lazaretto_core::{TextField, TextPart};
    use lazaretto_features::tokenize;

    use super::super::pieces;
    use super::*;

    fn features(text: &str, common: &[&str]) -> Vec<u64> {
        let texts = [TextField {
            name: "text".to_owned(),
            part: TextPart::Text,
            values: vec![Some(text)].into(),
        }];
        let derived = lazaretto_core::Derived {
            tokens: texts.iter().map(tokenize).collect(),
            ..lazaretto_core::Derived::default()
        };
        let batch = lazaretto_core::Batch {
            first_row: 0,
            keys: &[1],
            labels: None,
            sources: None,
            times: None,
            texts: &texts,
            numeric: None,
            categorical: &[],
            embedding: None,
            given_probabilities: None,
            derived: &derived,
        };
        let common: Vec<u64> = common
            .iter()
            .map(|w| lazaretto_features::hash_word(w))
            .collect();
        let mut read = Vec::new();
        pieces::read(&batch, 0, &mut read);
        let mut encoder = Encoder::default();
        encoder
            .encode(&read, |word| common.contains(&word))
            .to_vec()
    }

    #[test]
    fn other_content_in_the_same_sentence_is_the_same_style() {
        let common = ["when", "you", "it", "is"];
        let one = features("when you tasted it , it is awful .", &common);
        let other = features("when you wanted it , it is woful .", &common);
        assert_eq!(one, other);
        let moved = features("it is awful when you tasted it .", &common);
        assert_ne!(one, moved);
        assert_ne!(one, features("When you tasted it , it is awful .", &common));
        assert_ne!(one, features("when you tasted it, it is awful.", &common));
    }

    #[test]
    fn nothing_written_has_no_style() {
        assert!(features("", &[]).is_empty());
        assert!(features("  \n ", &[]).is_empty());
        assert!(!features("…", &[]).is_empty());
        assert!(!features("漢字 かな交じり文", &[]).is_empty());
    }
}
