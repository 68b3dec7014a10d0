//! Words spelled with look-alike letters of another script (Unicode TR39, mixed-script
//! confusables).

use std::ops::Range;

use unicode_script::{Script, UnicodeScript};
use unicode_security::skeleton;

/// What the letters of one text say about its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LookAlikes {
    /// Byte ranges of words that mix Latin letters with look-alikes of other scripts.
    pub mixed: Vec<Range<usize>>,
    /// Byte ranges of words spelled in look-alikes alone, in a text that is otherwise Latin.
    pub whole: Vec<Range<usize>>,
}

impl LookAlikes {
    /// All suspicious words, in text order.
    pub(super) fn words(&self) -> Vec<Range<usize>> {
        let mut words = [self.mixed.as_slice(), self.whole.as_slice()].concat();
        words.sort_by_key(|word| word.start);
        words
    }
}

/// How one letter counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Letter {
    Latin,
    /// Of the named script, and drawn like an ASCII letter.
    LookAlike(Script),
    /// Of another script, and drawn like no ASCII letter.
    Foreign,
}

fn letter(character: char) -> Option<Letter> {
    if character.is_ascii() {
        return character.is_ascii_alphabetic().then_some(Letter::Latin);
    }
    if !character.is_alphabetic() {
        return None;
    }
    match character.script() {
        Script::Latin => Some(Letter::Latin),
        // Mathematical alphanumerics, modifier letters, ª, µ: styled text and units, no script.
        Script::Common | Script::Inherited => None,
        script => {
            let mut buffer = [0; 4];
            let mut drawn = skeleton(character.encode_utf8(&mut buffer)).peekable();
            let ascii = drawn.peek().is_some() && drawn.all(|c| c.is_ascii_alphanumeric());
            Some(if ascii {
                Letter::LookAlike(script)
            } else {
                Letter::Foreign
            })
        }
    }
}

/// Byte ranges of maximal runs of letters.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, _) = rest.by_ref().find(|(_, c)| letter(*c).is_some())?;
        let mut end = start + text[start..].chars().next().map_or(0, char::len_utf8);
        while let Some((at, character)) = rest.next_if(|(_, c)| letter(*c).is_some()) {
            end = at + character.len_utf8();
        }
        Some(start..end)
    })
}

/// Finds words spelled with look-alikes in `text`.
///
/// A word counts as *mixed* when some of its letters are Latin and all others are drawn like
/// ASCII letters. What science and everyday writing do with other scripts passes: Greek letters
/// at the edge of a word (`ΔT`, `TNFα`, `2πr`), and in a text with real words of the other
/// script an inflected Latin stem (`SMSа`). A word in look-alikes alone (`аѕ`) counts only
/// when nothing else in the text is really of that script.
pub(super) fn look_alikes(text: &str) -> LookAlikes {
    let mut found = LookAlikes::default();
    if text.is_ascii() {
        return found;
    }
    let mut suspects = Vec::new();
    let mut whole = Vec::new();
    let (mut latin_words, mut foreign_words) = (0_usize, 0_usize);
    for range in words(text) {
        let word = &text[range.clone()];
        if word.is_ascii() {
            latin_words += 1;
            continue;
        }
        let shape = Shape::of(word);
        if shape.foreign > 0 {
            foreign_words += 1;
        } else if shape.look_alike == 0 {
            latin_words += 1;
        } else if shape.latin == 0 {
            whole.push((range, shape));
        } else {
            suspects.push((range, shape));
        }
    }
    for (range, shape) in suspects {
        if shape.is_disguise(foreign_words > 0) {
            found.mixed.push(range);
        }
    }
    // Latin text around, or disguised words beside it: a lone `а` in Russian is just a word.
    let latin_context = !found.mixed.is_empty() || latin_words >= 3;
    if foreign_words == 0 && latin_context {
        let enough = usize::from(found.mixed.is_empty()) * 2;
        let long: usize = whole.iter().map(|(_, shape)| shape.look_alike).sum();
        if long > enough {
            found.whole = whole
                .into_iter()
                .filter(|(_, shape)| !shape.greek)
                .map(|(range, _)| range)
                .collect();
        }
    }
    found
}

/// Letter counts of one word.
#[derive(Default)]
struct Shape {
    latin: usize,
    look_alike: usize,
    foreign: usize,
    greek: bool,
    /// A look-alike has Latin letters somewhere before and somewhere after it.
    interior: bool,
    /// Number of changes between Latin and look-alike letters.
    changes: usize,
    lower_latin: usize,
}

impl Shape {
    fn of(word: &str) -> Self {
        let mut shape = Self::default();
        let mut last = None;
        let (mut seen_latin, mut pending) = (false, false);
        for (character, kind) in word.chars().filter_map(|c| Some((c, letter(c)?))) {
            let is_latin = kind == Letter::Latin;
            if last.is_some_and(|before| before != is_latin) {
                shape.changes += 1;
            }
            last = Some(is_latin);
            match kind {
                Letter::Latin => {
                    shape.latin += 1;
                    shape.lower_latin += usize::from(character.is_lowercase());
                    seen_latin = true;
                    shape.interior |= pending;
                }
                Letter::LookAlike(script) => {
                    shape.look_alike += 1;
                    shape.greek |= script == Script::Greek;
                    pending |= seen_latin;
                }
                Letter::Foreign => shape.foreign += 1,
            }
        }
        shape
    }

    /// Whether a mixed word is a disguise and not notation or inflection.
    fn is_disguise(&self, real_foreign_words: bool) -> bool {
        if self.greek {
            return self.lower_latin >= 2 && (self.interior || self.look_alike >= 2);
        }
        if real_foreign_words {
            return self.interior || self.changes >= 2;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspicious(text: &str) -> Vec<&str> {
        look_alikes(text)
            .words()
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn disguised_words_are_found() {
        assert_eq!(suspicious("for all its vіоlеnсе it works"), ["vіоlеnсе"]);
        assert_eq!(
            suspicious("and in a ѕеnѕе , that 's a lіаbіlіtу ."),
            ["ѕеnѕе", "lіаbіlіtу"]
        );
        assert_eq!(suspicious("log in to pаypal.com"), ["pаypal"]);
        assert_eq!(suspicious("search with gοοgle"), ["gοοgle"]);
        assert_eq!(
            suspicious("an аѕ beside a рооrlу spelled word"),
            ["аѕ", "рооrlу"]
        );
    }

    #[test]
    fn natural_writing_passes() {
        for text in [
            "Вы можете скачать файл с сайта, а потом открыть его",
            "The Russian word спасибо means thanks",
            "ΔT = 2πr, 5 µm, 10 kΩ, TNFα, NFκB, cosα and πr²h",
            "η and ρ, ρgh, Σx",
            "私はPythonとAIが好きです。ＦＵＬＬ　ｗｉｄｔｈ カタカナ",
            "𝐛𝐨𝐥𝐝 and 𝒮𝒸𝓇𝒾𝓅𝓉 letters, café, naïve, Łódź, İstanbul",
            "Отправьте SMSку или SMSа на номер",
            "한국어 with English words",
            "Пушкин wrote Евгений Онегин",
        ] {
            assert_eq!(suspicious(text), Vec::<&str>::new(), "{text}");
        }
    }
}
