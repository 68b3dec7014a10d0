//! Signs that are no words: emoji, symbols, runs of punctuation.
//!
//! Word segmentation drops them, and a trigger may be made of nothing else. They are counted in
//! their places among the words. A single ordinary punctuation mark is left out: sentences are full
//! of them, and a phrase stays a phrase across a comma.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// Repeats of a sign that are told apart; more of them are this many.
const MAX_REPEATS: usize = 3;

/// Calls `visit` with the byte range of every sign in `gap`, which holds no word, and its hash.
pub(super) fn signs(gap: &str, mut visit: impl FnMut(Range<usize>, u64)) {
    let mut letters = gap.char_indices().peekable();
    while let Some((start, first)) = letters.next() {
        let kind = Kind::of(first);
        let mut end = start + first.len_utf8();
        match kind {
            Kind::Nothing => continue,
            Kind::Ordinary | Kind::Symbol => {
                let mut n = 1;
                while let Some(&(at, letter)) = letters.peek()
                    && Kind::of(letter) == kind
                {
                    end = at + letter.len_utf8();
                    letters.next();
                    n += 1;
                }
                if kind == Kind::Ordinary && n == 1 {
                    continue;
                }
            }
            Kind::Picture => {
                // A joiner binds the next picture to this one; modifiers belong to it anyway.
                let mut joined = false;
                while let Some(&(at, letter)) = letters.peek() {
                    let binds = is_modifier(letter);
                    if !(binds || joined) {
                        break;
                    }
                    joined = letter == JOINER;
                    end = at + letter.len_utf8();
                    letters.next();
                }
            }
        }
        visit(start..end, hash(&gap[start..end]));
    }
}

/// Zero-width joiner.
const JOINER: char = '\u{200d}';

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// White space, control and invisible characters.
    Nothing,
    /// What any sentence has.
    Ordinary,
    /// Other signs of ASCII, which make up a sign together.
    Symbol,
    /// A sign by itself.
    Picture,
}

impl Kind {
    fn of(letter: char) -> Self {
        match letter {
            // Invisible characters have a detector of their own.
            '\u{ad}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e0fff}' => Self::Nothing,
            _ if letter.is_whitespace() || letter.is_control() => Self::Nothing,
            '.'
            | ','
            | ';'
            | ':'
            | '!'
            | '?'
            | '\''
            | '"'
            | '('
            | ')'
            | '-'
            | '/'
            | '`'
            | '_'
            | '«'
            | '»'
            | '¡'
            | '¿'
            | '\u{2010}'..='\u{2027}'
            | '\u{3000}'..='\u{3020}'
            | '\u{30fb}'
            | '\u{ff01}'..='\u{ff0f}'
            | '\u{ff1a}'
            | '\u{ff1b}'
            | '\u{ff1f}'
            | '\u{ff61}'..='\u{ff65}'
            | '\u{60c}'
            | '\u{61b}'
            | '\u{61f}'
            | '\u{6d4}'
            | '\u{964}'
            | '\u{965}' => Self::Ordinary,
            _ if letter.is_ascii() => Self::Symbol,
            _ => Self::Picture,
        }
    }
}

fn is_modifier(letter: char) -> bool {
    matches!(letter, JOINER | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{20e3}')
}

/// The hash of a sign; `!!!!` is `!!!`. No word has it but by chance: words have letters.
fn hash(sign: &str) -> u64 {
    let mut letters = sign.chars();
    let first = letters.next();
    let same = letters.clone().all(|letter| Some(letter) == first);
    let longest: usize = first.map_or(0, char::len_utf8) * MAX_REPEATS;
    if same && sign.len() > longest {
        xxh3_64(&sign.as_bytes()[..longest])
    } else {
        xxh3_64(sign.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(gap: &str) -> Vec<&str> {
        let mut found = Vec::new();
        signs(gap, |span, _| found.push(&gap[span]));
        found
    }

    #[test]
    fn signs_are_what_no_sentence_needs() {
        assert!(found(" , \n (\u{200b}\u{301d} …").is_empty());
        assert_eq!(found(". || <> ##"), ["||", "<>", "##"]);
        assert_eq!(found("!!! -- ."), ["!!!", "--"]);
        assert_eq!(found("🙃🙃.🦔"), ["🙃", "🙃", "🦔"]);
    }

    #[test]
    fn joined_and_coloured_pictures_are_one() {
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(found(family), [family]);
        assert_eq!(found("👍🏽❤\u{fe0f}"), ["👍🏽", "❤\u{fe0f}"]);
    }

    #[test]
    fn repeats_beyond_three_say_nothing_more() {
        assert_eq!(hash("!!!!!"), hash("!!!"));
        assert_ne!(hash("!!"), hash("!!!"));
        assert_ne!(hash("!?!?"), hash("!?!"));
    }
}
