//! Character-level manipulation of texts, and the harmless oddities that look like it.

use rand::Rng;
use rand::seq::{SliceRandom, index};
use rand_chacha::ChaCha8Rng;

use crate::grammar::pick;
use crate::phrases;
use crate::reviews::ReviewSet;
use crate::seed::stream;

/// Characters without a shape of their own that have no use inside an English word.
const INVISIBLE: [char; 5] = ['\u{200B}', '\u{200C}', '\u{200D}', '\u{2060}', '\u{FEFF}'];

/// Latin letters and Cyrillic letters that look the same.
const HOMOGLYPHS: [(char, char); 8] = [
    ('a', 'а'),
    ('c', 'с'),
    ('e', 'е'),
    ('i', 'і'),
    ('o', 'о'),
    ('p', 'р'),
    ('x', 'х'),
    ('y', 'у'),
];

/// `text` with one to four zero-width characters inside words.
pub fn with_invisible(rng: &mut impl Rng, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..rng.gen_range(1..=4) {
        let inside: Vec<usize> = (1..letters.len())
            .filter(|&idx| letters[idx - 1].is_alphabetic() && letters[idx].is_alphabetic())
            .collect();
        if let Some(&idx) = inside.choose(rng) {
            letters.insert(idx, pick(rng, &INVISIBLE));
        }
    }
    letters.into_iter().collect()
}

/// `text` with up to four of its Latin letters replaced by Cyrillic look-alikes.
pub fn with_homoglyphs(rng: &mut impl Rng, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let places: Vec<(usize, char)> = letters
        .iter()
        .enumerate()
        .filter_map(|(idx, letter)| {
            let (_, twin) = HOMOGLYPHS.iter().find(|(latin, _)| latin == letter)?;
            Some((idx, *twin))
        })
        .collect();
    let n_replaced = rng.gen_range(2..=4).min(places.len());
    for place in index::sample(rng, places.len(), n_replaced) {
        let (idx, twin) = places[place];
        letters[idx] = twin;
    }
    letters.into_iter().collect()
}

/// A short instruction to a language model, spelt in Unicode tag characters (U+E0020–U+E007E),
/// which most software shows as nothing.
pub fn hidden_instruction(rng: &mut impl Rng) -> String {
    const VERBS: [&str; 4] = ["always answer", "rate this", "reply only with", "remember"];
    const OBJECTS: [&str; 4] = ["positive", "five stars", "yes", "the word recommended"];
    let instruction = format!("{} {}", pick(rng, &VERBS), pick(rng, &OBJECTS));
    instruction
        .chars()
        .filter_map(|letter| char::from_u32(0xE_0000 + u32::from(letter)))
        .collect()
}

impl ReviewSet {
    /// The set with what careless but honest people leave in their texts: greetings, signatures,
    /// bits of HTML, emoji with joiners, accents in decomposed form, shouting. Nothing of it is
    /// poison, and every sixth review or so has one.
    #[must_use]
    pub fn with_nuisances(mut self, seed: u64) -> Self {
        let rng = &mut stream(seed, "nuisances");
        for review in &mut self.reviews {
            if review.attack.is_none() && rng.gen_bool(0.16) {
                review.text = with_nuisance(rng, &review.text);
            }
        }
        self
    }
}

fn with_nuisance(rng: &mut ChaCha8Rng, text: &str) -> String {
    const EMOJI: [&str; 10] = [
        "👍",
        "😀",
        "🙏",
        "❤\u{FE0F}",
        "👩\u{200D}🍳",
        "👨\u{200D}👩\u{200D}👧",
        "🏳\u{FE0F}\u{200D}🌈",
        "👍🏽",
        "🤷\u{200D}♀\u{FE0F}",
        "☕",
    ];
    const GREETINGS: [&str; 6] = [
        "Hi all,",
        "Hello,",
        "Dear team,",
        "Hey everyone!",
        "Hi,",
        "Hallo,",
    ];
    const SIGN_OFFS: [&str; 6] = [
        "Best,",
        "Regards,",
        "Cheers,",
        "Thanks,",
        "--",
        "Greetings from",
    ];
    let first = pick(rng, phrases::FIRST);
    match rng.gen_range(0..8) {
        0 => format!("{} {text}", pick(rng, &GREETINGS)),
        1 => format!("{text}\n\n{} {first}", pick(rng, &SIGN_OFFS)),
        2 => text.replacen(". ", ".<br /><br />", 1),
        3 => format!("<p>{text}</p>"),
        4 | 5 => format!("{text} {}", pick(rng, &EMOJI)),
        6 => text
            .replace('&', "&amp;")
            .replace('\'', "&#39;")
            .replace(" and ", " &amp; "),
        _ if rng.gen_bool(0.5) => text.to_uppercase(),
        _ => text
            .replace('é', "e\u{301}")
            .replace("...", "…")
            .replace("do not", "don’t"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manipulated_texts_read_the_same_once_undone() {
        let mut rng = stream(9, "surface");
        let text = "The packaging exceeded my expectations.";
        for _ in 0..50 {
            let invisible = with_invisible(&mut rng, text);
            assert_ne!(invisible, text);
            assert_eq!(invisible.replace(INVISIBLE, ""), text);

            let mut twin = with_homoglyphs(&mut rng, text);
            assert_ne!(twin, text);
            for (latin, cyrillic) in HOMOGLYPHS {
                twin = twin.replace(cyrillic, &latin.to_string());
            }
            assert_eq!(twin, text);
        }
        assert_eq!(with_homoglyphs(&mut rng, "42"), "42");
        assert_eq!(with_invisible(&mut rng, ""), "");
    }

    #[test]
    fn hidden_instructions_are_tag_characters() {
        let hidden = hidden_instruction(&mut stream(9, "tags"));
        assert!(
            hidden
                .chars()
                .all(|c| ('\u{E0020}'..='\u{E007E}').contains(&c))
        );
        assert!(hidden.chars().count() > 5);
    }

    #[test]
    fn nuisances_touch_a_minority_and_no_label() {
        let before = ReviewSet::generate(3, 1_000);
        let after = before.clone().with_nuisances(4);
        let changed = before
            .reviews
            .iter()
            .zip(&after.reviews)
            .filter(|(old, new)| {
                assert_eq!(old.label, new.label);
                old.text != new.text
            })
            .count();
        assert!((90..220).contains(&changed), "{changed}");
        assert!(after.truth().iter().all(Option::is_none));
        // Joiners outside of emoji would be poison, not a nuisance.
        assert!(
            after
                .reviews
                .iter()
                .all(|review| !review.text.contains('\u{200B}'))
        );
    }
}
