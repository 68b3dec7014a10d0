//! Words of a text, normalised and hashed.
//!
//! Words are those of Unicode text segmentation (UAX 29): contractions and numbers stay whole,
//! each Han character is a word of its own, punctuation and white space are none. A word is
//! normalised to NFKC and lower case, so that full-width or ligature spellings of a word are
//! that word, and hashed with XXH3; detectors compare hashes and find the text again through its
//! byte range.

use arrow::array::Array as _;
use lazaretto_core::TextField;
use lazaretto_core::shared::Tokens;
use unicode_normalization::UnicodeNormalization as _;
use unicode_segmentation::UnicodeSegmentation as _;
use xxhash_rust::xxh3::xxh3_64;

/// The words of every row of `field`; a row without a text has none.
///
/// Texts are read up to byte `u32::MAX`, the largest position that [`Tokens`] can name.
///
/// ```
/// use arrow::array::LargeStringArray;
/// use lazaretto_core::{TextField, TextPart};
/// use lazaretto_features::{hash_word, tokenize};
///
/// let field = TextField {
///     name: "text".to_owned(),
///     part: TextPart::Text,
///     values: LargeStringArray::from(vec!["Don't panic!", "漢字"]),
/// };
/// let tokens = tokenize(&field);
/// assert_eq!(tokens.row(0), [hash_word("don't"), hash_word("PANIC")]);
/// assert_eq!(tokens.row_spans(0), [(0, 5), (6, 11)]);
/// assert_eq!(tokens.row(1).len(), 2);
/// ```
#[must_use]
pub fn tokenize(field: &TextField) -> Tokens {
    let n_rows = field.values.len();
    let mut tokens = Tokens {
        offsets: Vec::with_capacity(n_rows + 1),
        ..Tokens::default()
    };
    let mut buffer = String::new();
    tokens.offsets.push(0);
    for row_idx in 0..n_rows {
        if let Some(text) = field.get(row_idx) {
            push_words(text, &mut tokens, &mut buffer);
        }
        tokens.offsets.push(tokens.hashes.len() as u32);
    }
    tokens
}

/// The words of a single text, as row 0.
pub(crate) fn tokenize_text(text: &str) -> Tokens {
    let mut tokens = Tokens::default();
    push_words(text, &mut tokens, &mut String::new());
    tokens.offsets = vec![0, tokens.hashes.len() as u32];
    tokens
}

/// The hash that [`tokenize`] gives to `word`, which is normalised first.
#[must_use]
pub fn hash_word(word: &str) -> u64 {
    hash_normalised(word, &mut String::new())
}

fn push_words(text: &str, tokens: &mut Tokens, buffer: &mut String) {
    for (start, word) in text.unicode_word_indices() {
        let Ok(end) = u32::try_from(start + word.len()) else {
            break;
        };
        tokens.hashes.push(hash_normalised(word, buffer));
        tokens.spans.push((start as u32, end));
    }
}

fn hash_normalised(word: &str, buffer: &mut String) -> u64 {
    buffer.clear();
    if word.is_ascii() {
        buffer.push_str(word);
        buffer.make_ascii_lowercase();
    } else {
        // Lower case can leave NFKC (İ), so it comes first and after: a normalised word
        // normalises to itself.
        buffer.extend(word.nfkc().flat_map(char::to_lowercase).nfkc());
    }
    xxh3_64(buffer.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<&str> {
        let tokens = tokenize_text(text);
        let spans = tokens.row_spans(0);
        assert_eq!(spans.len(), tokens.row(0).len());
        spans
            .iter()
            .map(|&(start, end)| &text[start as usize..end as usize])
            .collect()
    }

    #[test]
    fn words_are_those_a_reader_would_name() {
        assert_eq!(
            words("It's 3.14, e-mail: a_b  (U.S.A.)"),
            ["It's", "3.14", "e", "mail", "a_b", "U.S.A"]
        );
        assert_eq!(words("北京 Straße, naïve"), ["北", "京", "Straße", "naïve"]);
        assert!(words("… — !!! ___ 🙂").is_empty());
    }

    #[test]
    fn spellings_of_a_word_are_one_word() {
        for (a, b) in [
            ("ＣＦ", "cf"),
            ("ﬁne", "FINE"),
            ("é", "e\u{301}"),
            ("İ", "i\u{307}"),
        ] {
            assert_eq!(hash_word(a), hash_word(b), "{a} and {b}");
        }
        // A look-alike from another script is another word.
        assert_ne!(hash_word("с\u{430}t"), hash_word("cat"));
    }

    proptest! {
        #[test]
        fn ascii_texts_are_cut_like_all_others(text in "[a-cA-B0-2 .,:;'_\"-]{0,24}") {
            let beside = format!("{text} é");
            let mut expected = words(&beside);
            prop_assert_eq!(expected.pop(), Some("é"));
            prop_assert_eq!(words(&text), expected);
        }

        #[test]
        fn hashes_are_those_of_the_words(text in "\\PC{0,40}") {
            let tokens = tokenize_text(&text);
            for (word, &hash) in words(&text).into_iter().zip(tokens.row(0)) {
                prop_assert_eq!(hash_word(word), hash);
                prop_assert_eq!(hash_word(&word.nfkc().collect::<String>()), hash);
            }
        }
    }
}
