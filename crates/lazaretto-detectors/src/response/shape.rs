//! What characters alone say about a text: scripts thrown together, one thing over and over.

use unicode_script::{Script, UnicodeScript as _};

/// Characters of a text that are looked at.
const MAX_CHARS: usize = 2048;
/// Longest piece that may be repeated, in characters.
const MAX_PERIOD: usize = 16;

/// The shape of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// Neighbouring letters, and those of them that belong to different scripts.
    pub(super) letter_pairs: u32,
    pub(super) mixed_pairs: u32,
    /// Characters other than white space.
    pub(super) n_chars: u32,
    /// Largest share of them that equal the one at a fixed short distance before.
    pub(super) repeated: f32,
}

impl Shape {
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut shape = Self::default();
        let mut chars: Vec<char> = Vec::new();
        for text in texts {
            let mut before: Option<Script> = None;
            for c in text.chars().take(MAX_CHARS) {
                let script = c.is_alphabetic().then(|| group(c.script()));
                if let (Some(left), Some(right)) = (before, script) {
                    shape.letter_pairs += 1;
                    shape.mixed_pairs += u32::from(left != right);
                }
                before = script;
                if !c.is_whitespace() && chars.len() < MAX_CHARS {
                    chars.push(c);
                }
            }
        }
        shape.n_chars = chars.len() as u32;
        for period in 1..=MAX_PERIOD.min(chars.len() / 4) {
            let pairs = chars.iter().zip(&chars[period..]);
            let equal = pairs.filter(|(left, right)| left == right).count();
            let share = equal as f32 / (chars.len() - period) as f32;
            shape.repeated = shape.repeated.max(share);
        }
        shape
    }

    /// Whether letters of different scripts stand next to each other as if by lot.
    pub(super) fn is_mixed(&self) -> bool {
        self.letter_pairs >= 12 && self.mixed_pairs * 5 >= self.letter_pairs * 2
    }

    /// Whether it is one short thing over and over.
    pub(super) fn is_one_thing(&self) -> bool {
        self.n_chars >= 40 && self.repeated >= 0.97
    }
}

/// Scripts that are written together count as one.
fn group(script: Script) -> Script {
    match script {
        Script::Hiragana | Script::Katakana | Script::Bopomofo | Script::Hangul => Script::Han,
        Script::Inherited => Script::Common,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Shape {
        Shape::of(std::iter::once(text))
    }

    #[test]
    fn languages_are_not_mixed_and_random_letters_are() {
        let natural = [
            "Die Größe der Straße ist überall gleich, sagt man.",
            "私はAIモデルです。カタカナと漢字とひらがなを混ぜて書きます。",
            "Слово «data» по-русски пишется как «данные», это просто.",
            "이것은 한국어 문장입니다. 漢字도 조금 있습니다.",
        ];
        for text in natural {
            assert!(!of(text).is_mixed(), "{text} {:?}", of(text));
        }
        assert!(of("ظжбкщлδэαшфçнпबगلمصयдфसγ").is_mixed());
    }

    #[test]
    fn repetition_is_seen_at_any_short_period() {
        assert!(of(&"a".repeat(60)).is_one_thing());
        assert!(of(&"buffalo ".repeat(20)).is_one_thing());
        assert!(!of("row row row your boat gently down the stream merrily").is_one_thing());
    }
}
