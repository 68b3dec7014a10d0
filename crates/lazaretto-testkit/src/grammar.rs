//! Writes one review: expands the phrase banks into sentences, and sentences into a text with
//! the habits (and slips) of its writer.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::phrases::{self, Domain};

/// The kinds of review, which decide how well the words tell the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Opinions agree with the label; one sentence in some reviews does not.
    Clear,
    /// As much praise as complaint; the label could go either way.
    Ambivalent,
    /// Praise that is not meant, under a negative label.
    Sarcastic,
}

/// Writes reviews from a stream of random numbers.
pub(crate) struct Writer<'a> {
    pub(crate) rng: &'a mut ChaCha8Rng,
    pub(crate) domain: &'static Domain,
    item: &'static str,
}

impl<'a> Writer<'a> {
    /// A writer about one thing of `domain`.
    pub(crate) fn new(rng: &'a mut ChaCha8Rng, domain: &'static Domain) -> Self {
        let item = pick(rng, domain.items);
        Self { rng, domain, item }
    }

    /// A whole review with `label` (0 or 1).
    pub(crate) fn review(&mut self, label: u32, tone: Tone) -> String {
        let mut sentences = Vec::new();
        if self.rng.gen_bool(0.3) {
            sentences.push(self.sentence(phrases::OPENERS));
        }
        for liked in self.opinions(label, tone) {
            if self.rng.gen_bool(0.4) {
                sentences.push(self.sentence(self.domain.facts));
            }
            sentences.push(self.opinion(liked));
        }
        if self.rng.gen_bool(0.2) {
            sentences.push(self.sentence(self.domain.facts));
        }
        if self.rng.gen_bool(0.08) {
            sentences.push(self.sentence(phrases::CLOSERS));
        }
        self.punctuate(&sentences)
    }

    /// The sequence of opinions, `true` for praise.
    fn opinions(&mut self, label: u32, tone: Tone) -> Vec<bool> {
        let liked = label == 1;
        match tone {
            Tone::Clear => {
                let mut opinions = vec![liked; self.rng.gen_range(1..=5)];
                if opinions.len() > 2 && self.rng.gen_bool(0.35) {
                    let other = self.rng.gen_range(0..opinions.len());
                    opinions[other] = !liked;
                }
                opinions
            }
            Tone::Ambivalent => {
                let each = self.rng.gen_range(1..=2);
                let mut opinions = [vec![true; each], vec![false; each]].concat();
                opinions.shuffle(self.rng);
                opinions
            }
            Tone::Sarcastic => vec![true; self.rng.gen_range(1..=2)],
        }
    }

    fn opinion(&mut self, liked: bool) -> String {
        let own = self.rng.gen_bool(0.6);
        let bank = match (own, liked) {
            (true, true) => self.domain.praise,
            (true, false) => self.domain.complaints,
            (false, true) => phrases::PRAISE,
            (false, false) => phrases::COMPLAINTS,
        };
        self.sentence(bank)
    }

    /// One sentence of `bank`, expanded, without its full stop.
    pub(crate) fn sentence(&mut self, bank: &'static [&'static str]) -> String {
        let template = pick(self.rng, bank);
        let mut text = String::new();
        self.expand(template, &mut text);
        // Empty alternatives leave double or dangling spaces.
        let mut words: Vec<&str> = text.split_whitespace().collect();
        for idx in 1..words.len() {
            if words[idx].starts_with(['a', 'e', 'i', 'o', 'u']) {
                match words[idx - 1] {
                    "a" => words[idx - 1] = "an",
                    "A" => words[idx - 1] = "An",
                    _ => {}
                }
            }
        }
        words.join(" ")
    }

    /// Expands the markup of `template` onto `out`.
    fn expand(&mut self, template: &str, out: &mut String) {
        let mut rest = template;
        while let Some(start) = rest.find(['{', '[']) {
            out.push_str(&rest[..start]);
            let (inner, after) = enclosed(&rest[start..]);
            if rest.as_bytes()[start] == b'{' {
                self.slot(inner, out);
            } else {
                let options = alternatives(inner);
                let chosen = options[self.rng.gen_range(0..options.len())];
                self.expand(chosen, out);
            }
            rest = after;
        }
        out.push_str(rest);
    }

    /// Fills one slot. A slot nobody defined shows as itself, which a test looks for.
    fn slot(&mut self, name: &str, out: &mut String) {
        let bank: &'static [&'static str] = match name {
            "aspect" | "aspect2" | "Aspect" => self.domain.aspects,
            "good" | "Good" => phrases::GOOD,
            "bad" | "Bad" => phrases::BAD,
            "very" | "Very" => phrases::VERY,
            "very2" => phrases::VERY2,
            "person" => phrases::PERSON,
            "person1" => phrases::PERSON1,
            "when" => phrases::WHEN,
            "month" => phrases::MONTH,
            "day" => phrases::DAY,
            "First" => phrases::FIRST,
            "city" => phrases::CITY,
            "dish" => phrases::DISH,
            _ => return self.invented(name, out),
        };
        let word = pick(self.rng, bank);
        if name.starts_with(char::is_uppercase) {
            let mut capital = String::new();
            self.expand(word, &mut capital);
            push_capitalised(&capital, out);
        } else {
            self.expand(word, out);
        }
    }

    /// Slots whose content is made up, so that a set has the long tail of rare words real texts
    /// have.
    fn invented(&mut self, name: &str, out: &mut String) {
        match name {
            "item" => out.push_str(self.item),
            "num" => out.push_str(&self.rng.gen_range(2..=9).to_string()),
            "year" => out.push_str(&self.rng.gen_range(1962..=2025).to_string()),
            "code" => {
                let letter = char::from(self.rng.gen_range(b'A'..=b'Z'));
                let digits: u32 = self.rng.gen_range(100..=9999);
                out.push(letter);
                out.push_str(&digits.to_string());
            }
            "brand" => push_capitalised(&invented_word(self.rng, 2), out),
            "name" => {
                out.push_str(pick(self.rng, phrases::FIRST));
                out.push(' ');
                push_capitalised(&invented_word(self.rng, 3), out);
            }
            "title" => {
                out.push_str("The ");
                push_capitalised(&invented_word(self.rng, 2), out);
                out.push(' ');
                out.push_str(pick(
                    self.rng,
                    &[
                        "Affair", "Bridge", "Code", "Garden", "House", "Letters", "River", "Summer",
                    ],
                ));
            }
            _ => out.extend(["{", name, "}"]),
        }
    }

    /// Joins sentences the way this writer punctuates.
    fn punctuate(&mut self, sentences: &[String]) -> String {
        let careless = self.rng.gen_bool(0.08);
        let excited = self.rng.gen_bool(0.15);
        let mut text = String::new();
        for sentence in sentences {
            if !text.is_empty() {
                text.push(' ');
            }
            if careless {
                text.push_str(&sentence.to_lowercase());
            } else {
                push_capitalised(sentence, &mut text);
            }
            text.push_str(match self.rng.gen_range(0..20) {
                0 if careless => "..",
                0 => "...",
                1..=6 if excited => "!",
                7 if excited => "!!",
                _ if careless && self.rng.gen_bool(0.5) => ",",
                _ => ".",
            });
        }
        if self.rng.gen_bool(0.25) {
            let slips = self.rng.gen_range(1..=2);
            for _ in 0..slips {
                text = with_typo(self.rng, &text);
            }
        }
        text
    }
}

/// A word that no dictionary has, of `syllables` syllables, lower case.
pub(crate) fn invented_word(rng: &mut impl Rng, syllables: usize) -> String {
    const ONSETS: [&str; 20] = [
        "b", "br", "d", "f", "g", "h", "k", "kl", "l", "m", "n", "p", "r", "s", "st", "t", "tr",
        "v", "w", "z",
    ];
    const VOWELS: [&str; 8] = ["a", "e", "i", "o", "u", "ei", "au", "y"];
    const CODAS: [&str; 8] = ["", "", "", "n", "r", "l", "s", "x"];
    (0..syllables)
        .flat_map(|_| [pick(rng, &ONSETS), pick(rng, &VOWELS), pick(rng, &CODAS)])
        .collect()
}

/// `text` with one slip of the keyboard: two letters swapped, one lost or one doubled.
pub(crate) fn with_typo(rng: &mut impl Rng, text: &str) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let inside: Vec<usize> = (1..letters.len().saturating_sub(1))
        .filter(|&idx| {
            letters[idx - 1..=idx + 1]
                .iter()
                .all(|letter| letter.is_alphabetic())
        })
        .collect();
    if let Some(&idx) = inside.choose(rng) {
        match rng.gen_range(0..3) {
            0 => letters.swap(idx, idx + 1),
            1 => {
                letters.remove(idx);
            }
            _ => letters.insert(idx, letters[idx]),
        }
    }
    letters.into_iter().collect()
}

/// One of `bank`, which must not be empty.
pub(crate) fn pick<T: Copy>(rng: &mut impl Rng, bank: &[T]) -> T {
    bank[rng.gen_range(0..bank.len())]
}

fn push_capitalised(text: &str, out: &mut String) {
    let mut letters = text.chars();
    if let Some(first) = letters.next() {
        out.extend(first.to_uppercase());
        out.push_str(letters.as_str());
    }
}

/// Splits `text`, which starts with an opening bracket, into what the pair encloses and the rest.
fn enclosed(text: &str) -> (&str, &str) {
    let mut depth = 0_u32;
    for (idx, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return (&text[1..idx], &text[idx + 1..]);
                }
            }
            _ => {}
        }
    }
    (&text[1..], "")
}

/// Splits at the `|` that stand outside of inner brackets.
fn alternatives(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    text.split(|letter: char| {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ => {}
        }
        letter == '|' && depth == 0
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::stream;

    #[test]
    fn every_phrase_expands_without_leftovers() {
        let mut rng = stream(3, "phrases");
        for (domain, _) in phrases::DOMAINS {
            let banks = [
                phrases::PRAISE,
                phrases::COMPLAINTS,
                phrases::OPENERS,
                phrases::CLOSERS,
                domain.praise,
                domain.complaints,
                domain.facts,
            ];
            let mut writer = Writer::new(&mut rng, domain);
            for template in banks.concat() {
                for _ in 0..20 {
                    let mut text = String::new();
                    writer.expand(template, &mut text);
                    assert!(
                        !text.contains(['{', '}', '[', ']', '|']),
                        "{template}: {text}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_typo_changes_one_word_a_little() {
        let mut rng = stream(3, "typo");
        for _ in 0..50 {
            let text = with_typo(&mut rng, "the kettle was lovely");
            let changed = text
                .split(' ')
                .zip("the kettle was lovely".split(' '))
                .filter(|(new, old)| new != old)
                .count();
            assert!(changed <= 1, "{text}");
        }
        assert_eq!(with_typo(&mut rng, "ok"), "ok");
    }
}
