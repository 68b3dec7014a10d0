//! Whether a response says nothing.

use super::language::Reading;
use super::shape::Shape;

/// Fewest pairs of known words that show an order.
const MIN_PAIRS: u32 = 8;
/// A response whose words predict the next one by less than this, in nats per pair, is likely in no
/// order. Ordinary text and code have 0.5 to 4; shuffled words have -0.6 to -1.
const DISORDER: f64 = 0.25;
/// The same for letters: words of any one language and code have 0.4 to 2, keys hit at random less
/// than -0.7.
const MIN_LETTERS: u32 = 20;
const LETTER_DISORDER: f64 = -0.3;
/// Fewest bytes of words that no other response has, and their least share, in a response that is
/// noise.
const MIN_UNKNOWN: usize = 32;
const UNKNOWN_SHARE: f64 = 0.6;
/// Fewest words, and share of them that many others have, below which a response is in a language of its
/// own. Of ordinary responses 0.1 to 1 % are, of words drawn by lot nearly all.
const MIN_WORDS: u32 = 5;
const FAMILIAR_SHARE: f64 = 0.12;
/// Fewest characters of a response without any word that is one.
const MIN_MARKS: u32 = 20;

/// What is certain on its own: mean and number of pairs of words, and of letters.
const CERTAIN_DISORDER: f64 = -0.6;
const CERTAIN_PAIRS: u32 = 48;
const CERTAIN_LETTER_DISORDER: f64 = -0.6;
const CERTAIN_LETTERS: u32 = 48;

/// How little sense a response makes, by each sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Nonsense {
    /// Mean order of the words; NaN where there are too few.
    pub(super) order: f32,
    plain: (f64, u32),
    letters: (f64, u32),
    /// Its words are hardly those of others.
    foreign: bool,
    /// Letters of several scripts stand side by side.
    mixed: bool,
    /// It is one thing over and over, or no words at all.
    wordless: bool,
}

impl Nonsense {
    pub(super) fn of(reading: &Reading, shape: &Shape) -> Self {
        let order = if reading.order.n >= MIN_PAIRS {
            reading.order.mean() as f32
        } else {
            f32::NAN
        };
        let (unknown, bytes) = (reading.unknown_bytes, reading.word_bytes);
        let is_unknown = unknown >= MIN_UNKNOWN && unknown as f64 >= UNKNOWN_SHARE * bytes as f64;
        let is_unfamiliar = reading.n_words >= MIN_WORDS
            && f64::from(reading.n_familiar) < FAMILIAR_SHARE * f64::from(reading.n_words);
        Self {
            order,
            plain: (reading.plain_order.mean(), reading.plain_order.n),
            letters: (reading.letters.mean(), reading.letters.n),
            foreign: is_unknown || is_unfamiliar,
            mixed: shape.is_mixed(),
            wordless: shape.is_one_thing() || (bytes == 0 && shape.n_chars >= MIN_MARKS),
        }
    }

    /// Whether it may well say nothing: a sign that many together make evidence.
    pub(super) fn is_likely(&self) -> bool {
        f64::from(self.order) < DISORDER
            || self.foreign
            || self.mixed
            || self.wordless
            || (self.letters.1 >= MIN_LETTERS && self.letters.0 < LETTER_DISORDER)
    }

    /// Why it says nothing, beyond doubt, if that is so.
    pub(super) fn certain(&self) -> Option<Certain> {
        let (plain, n_pairs) = self.plain;
        let (letters, n_letters) = self.letters;
        if n_letters >= CERTAIN_LETTERS && letters < CERTAIN_LETTER_DISORDER {
            Some(Certain::Letters)
        } else if n_pairs >= CERTAIN_PAIRS && plain < CERTAIN_DISORDER {
            Some(Certain::Words)
        } else if self.mixed {
            Some(Certain::Scripts)
        } else {
            None
        }
    }

    /// How much of nothing, in `0..=1`.
    pub(super) fn degree(&self) -> f32 {
        let doubt = |pairs: u32| f64::from(pairs) / (f64::from(pairs) + f64::from(MIN_PAIRS));
        let words = -self.plain.0 * doubt(self.plain.1);
        let letters = -self.letters.0 / 2.0 * doubt(self.letters.1);
        let shape = if self.mixed {
            0.9
        } else if self.wordless {
            0.5
        } else {
            0.0
        };
        words.max(letters).max(shape).clamp(0.0, 1.0) as f32
    }
}

/// What is in no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Certain {
    Letters,
    Words,
    Scripts,
}
