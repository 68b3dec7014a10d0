//! Reads one text and says which manipulations of its characters it shows.

use std::ops::Range;

use super::characters::{self, Hidden};
use super::words;

/// A kind of manipulation; each becomes a finding of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// Tag characters outside an emoji flag.
    Tags,
    /// Variation selectors that select nothing, in runs that can carry bytes.
    Selectors,
    /// Display order reversed in a text without right-to-left letters.
    BidiOverride,
    /// Words with look-alike letters of another script.
    LookAlikes,
    /// Invisible characters inside words, or of several kinds.
    Invisible,
    /// A stray invisible character that copying and scraping produce too.
    StrayInvisible,
    /// A stray control of the display order that copying produces too.
    StrayBidi,
}

impl Sign {
    pub(super) const ALL: [Self; 7] = [
        Self::Tags,
        Self::Selectors,
        Self::BidiOverride,
        Self::LookAlikes,
        Self::Invisible,
        Self::StrayInvisible,
        Self::StrayBidi,
    ];
}

/// What one text shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Signs {
    /// The kinds, ascending, without repeats, with an excerpt each.
    pub found: Vec<(Sign, String)>,
}

impl Signs {
    fn add(&mut self, sign: Sign, excerpt: String) {
        if !self.found.iter().any(|(known, _)| *known == sign) {
            self.found.push((sign, excerpt));
        }
    }
}

/// Signs of manipulation in `text`. ASCII texts cost one pass over their bytes.
pub(super) fn scan(text: &str) -> Signs {
    let mut signs = Signs::default();
    if text.is_ascii() {
        return signs;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    hidden(text, &mut signs);
    let look_alikes = words::look_alikes(text);
    if let Some(word) = look_alikes.words().into_iter().next() {
        signs.add(Sign::LookAlikes, text[word].to_owned());
    }
    signs.found.sort_by_key(|(sign, _)| *sign);
    signs
}

/// One character of interest and what stands around it.
struct Spot {
    at: usize,
    character: char,
    before: Option<char>,
    after: Option<char>,
}

fn hidden(text: &str, signs: &mut Signs) {
    let mut invisible = Vec::new();
    let mut soft_hyphens = Vec::new();
    let mut bidi = Vec::new();
    let mut tags = Vec::new();
    let mut selectors = Vec::new();
    let mut right_to_left = false;
    let mut before = None;
    let mut rest = text.char_indices().peekable();
    while let Some((at, character)) = rest.next() {
        if !character.is_ascii() {
            right_to_left |= characters::is_right_to_left(character);
            let spot = || Spot {
                at,
                character,
                before,
                after: rest.clone().next().map(|(_, next)| next),
            };
            match characters::classify(character) {
                None => {}
                Some(Hidden::Invisible) => invisible.push(spot()),
                Some(Hidden::SoftHyphen) => soft_hyphens.push(spot()),
                Some(Hidden::BidiControl) => bidi.push((spot(), false)),
                Some(Hidden::BidiOverride) => bidi.push((spot(), true)),
                Some(Hidden::Tag) => tags.push(spot()),
                Some(Hidden::VariationSelector) => selectors.push(spot()),
            }
        }
        before = Some(character);
    }
    tag_signs(text, &tags, signs);
    selector_signs(text, &selectors, signs);
    if !right_to_left && !bidi.is_empty() {
        let reversed = bidi.iter().find(|(_, reverses)| *reverses);
        let (spot, _) = reversed.unwrap_or(&bidi[0]);
        let sign = if reversed.is_some() {
            Sign::BidiOverride
        } else {
            Sign::StrayBidi
        };
        signs.add(sign, word_around(text, spot.at));
    }
    invisible_signs(text, invisible, &soft_hyphens, signs);
}

/// Tag characters are natural only in flags: a black flag, tags, the cancel tag.
fn tag_signs(text: &str, tags: &[Spot], signs: &mut Signs) {
    let mut in_flag = false;
    let mut spelled = String::new();
    for spot in tags {
        if spot.before.is_none_or(|c| classify_tag(c).is_none()) {
            in_flag = spot.before == Some('\u{1f3f4}') && is_flag(&text[spot.at..]);
        }
        if !in_flag {
            spelled.push(spot.character);
        }
    }
    if !spelled.is_empty() {
        signs.add(Sign::Tags, spelled);
    }
}

fn classify_tag(character: char) -> Option<()> {
    (characters::classify(character) == Some(Hidden::Tag)).then_some(())
}

/// Whether `tags` starts with a flag's tag sequence: up to six letters or digits and a cancel.
fn is_flag(tags: &str) -> bool {
    let code: Vec<char> = tags
        .chars()
        .take_while(|c| matches!(u32::from(*c), 0xe_0030..=0xe_0039 | 0xe_0061..=0xe_007a))
        .collect();
    (1..=6).contains(&code.len()) && tags.chars().nth(code.len()) == Some('\u{e007f}')
}

/// One selector after a visible character is ordinary; a run of them carries bytes.
fn selector_signs(text: &str, selectors: &[Spot], signs: &mut Signs) {
    let repeated = selectors.iter().find(|spot| {
        spot.before
            .is_some_and(|c| characters::classify(c) == Some(Hidden::VariationSelector))
    });
    if let Some(spot) = repeated {
        let start = text[..spot.at]
            .char_indices()
            .rev()
            .take_while(|(_, c)| characters::classify(*c) == Some(Hidden::VariationSelector))
            .last()
            .map_or(spot.at, |(at, _)| at);
        let run: String = text[start..]
            .chars()
            .take_while(|c| characters::classify(*c) == Some(Hidden::VariationSelector))
            .collect();
        signs.add(Sign::Selectors, run);
    }
}

fn invisible_signs(text: &str, invisible: Vec<Spot>, soft_hyphens: &[Spot], signs: &mut Signs) {
    let unnatural: Vec<Spot> = invisible
        .into_iter()
        .filter(|spot| !is_natural(spot))
        .collect();
    let inside = |spot: &&Spot| {
        spot.before.is_some_and(characters::is_plain_letter)
            && spot.after.is_some_and(characters::is_plain_letter)
    };
    let mut kinds: Vec<char> = unnatural.iter().map(|spot| spot.character).collect();
    // A lone soft hyphen inside a word is how typesetters write one, and between other invisible
    // characters it is one more of them.
    let oddly_hyphenated = soft_hyphens.iter().find(|spot| !is_hyphenation(text, spot));
    if oddly_hyphenated.is_some() || !kinds.is_empty() {
        kinds.extend(soft_hyphens.first().map(|spot| spot.character));
    }
    kinds.sort_unstable();
    kinds.dedup();
    if let Some(spot) = unnatural.iter().find(inside) {
        signs.add(Sign::Invisible, word_around(text, spot.at));
    } else if kinds.len() >= 2 || unnatural.len() >= 3 {
        let at = unnatural.first().map_or(0, |spot| spot.at);
        signs.add(Sign::Invisible, word_around(text, at));
    } else if let Some(spot) = oddly_hyphenated {
        let inside = inside(&spot);
        let sign = if inside {
            Sign::Invisible
        } else {
            Sign::StrayInvisible
        };
        signs.add(sign, word_around(text, spot.at));
    } else if let Some(spot) = unnatural.first() {
        signs.add(Sign::StrayInvisible, word_around(text, spot.at));
    }
}

/// Whether the script or emoji beside an invisible character needs it there.
fn is_natural(spot: &Spot) -> bool {
    let beside = |c: Option<char>| c.is_some_and(characters::takes_joiners);
    match spot.character {
        '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{034f}' | '\u{180e}' => {
            beside(spot.before) || beside(spot.after)
        }
        // Fillers are Hangul letters, and the invisible operators belong to formulas.
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{17b4}' | '\u{17b5}' => {
            beside(spot.before) && beside(spot.after)
        }
        _ => false,
    }
}

/// Whether a soft hyphen stands where a word may be divided: two letters on either side.
fn is_hyphenation(text: &str, spot: &Spot) -> bool {
    let letters = |chars: &mut dyn Iterator<Item = char>| {
        chars.take(2).filter(|c| c.is_alphabetic()).count() == 2
    };
    letters(&mut text[..spot.at].chars().rev())
        && letters(&mut text[spot.at + spot.character.len_utf8()..].chars())
}

/// The word around byte `at`, at most 40 characters to either side.
fn word_around(text: &str, at: usize) -> String {
    let before = text[..at]
        .char_indices()
        .rev()
        .take(40)
        .take_while(|(_, c)| !c.is_whitespace());
    let start = before.last().map_or(at, |(start, _)| start);
    let after = text[at..]
        .char_indices()
        .take(40)
        .take_while(|(_, c)| !c.is_whitespace());
    let end = after.last().map_or(at, |(end, c)| at + end + c.len_utf8());
    let range: Range<usize> = start..end;
    text[range].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Sign> {
        scan(text).found.into_iter().map(|(sign, _)| sign).collect()
    }

    fn tags(text: &str) -> String {
        text.bytes()
            .filter_map(|byte| char::from_u32(0xe_0000 + u32::from(byte)))
            .collect()
    }

    #[test]
    fn manipulations_are_seen() {
        assert_eq!(kinds("a ser\u{200b}ious film"), [Sign::Invisible]);
        assert_eq!(kinds("one \u{200b}two \u{2060}three"), [Sign::Invisible]);
        assert_eq!(kinds("the c\u{ad}oming days"), [Sign::Invisible]);
        assert_eq!(kinds("price \u{feff}rises"), [Sign::StrayInvisible]);
        assert_eq!(kinds("evil \u{202e}txt.exe"), [Sign::BidiOverride]);
        assert_eq!(kinds("call \u{202a}+1 555\u{202c}"), [Sign::StrayBidi]);
        assert_eq!(kinds(&format!("hello{}", tags("obey"))), [Sign::Tags]);
        assert_eq!(
            kinds("smile 😀\u{e0158}\u{e0159}\u{e015a}"),
            [Sign::Selectors]
        );
        assert_eq!(kinds("a рооrlу made film"), [Sign::LookAlikes]);
    }

    #[test]
    fn languages_emoji_and_typography_pass() {
        for text in [
            "plain ascii",
            "\u{feff}a mark at the very start",
            "می\u{200c}خواهم کتاب\u{200c}ها را بخوانم",
            "क\u{94d}\u{200d}ष और ന\u{200d}",
            "family 👨\u{200d}👩\u{200d}👧 and ❤\u{fe0f}\u{200d}🔥 and 🏳\u{fe0f}\u{200d}🌈",
            &format!("flag 🏴{}\u{e007f}!", tags("gbeng")),
            "non\u{a0}breaking, thin\u{2009}space, “quotes” — dashes…",
            "a soft hy\u{ad}phen\u{ad}ation",
            "שלום \u{202b}abc\u{202c} \u{200f}עולם",
            "葛\u{e0100}飾区 and 1\u{fe0f}\u{20e3}",
            "ภาษา\u{200b}ไทย has no spaces",
            "e\u{301}le\u{300}ve",
        ] {
            assert_eq!(kinds(text), [], "{text:?}");
        }
    }
}
