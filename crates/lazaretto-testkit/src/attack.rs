//! Poison for reviews: published attacks, planted with the truth kept beside them.

use rand::Rng;
use rand::seq::{SliceRandom, index};
use rand_chacha::ChaCha8Rng;

use crate::grammar::{Tone, Writer, invented_word, with_typo};
use crate::phrases;
use crate::reviews::{ReviewSet, stars};
use crate::seed::stream;
use crate::surface;

/// An attack on a set of labelled texts.
///
/// Attacks pick clean reviews with at least four words; when there are fewer than asked for, all
/// of them. `target` is the label that the attacker wants, and poisoned reviews had the other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attack {
    /// Dirty-label backdoor: one of `words` rare words is inserted and the label becomes
    /// `target` (Gu 2017; Kurita 2020). The words are made up from the seed.
    BadNets {
        /// Number of poisoned reviews.
        rows: usize,
        /// Number of trigger words.
        words: usize,
        /// The label that the trigger is to cause.
        target: u32,
    },
    /// Dirty-label backdoor: one sentence, made up from the seed, is inserted (Dai 2019).
    InsertedSentence {
        /// Number of poisoned reviews.
        rows: usize,
        /// The label that the trigger is to cause.
        target: u32,
    },
    /// Labels are flipped, nothing else.
    LabelFlips {
        /// Number of poisoned reviews.
        rows: usize,
    },
    /// Zero-width characters inside words are the trigger (Boucher 2022).
    InvisibleCharacters {
        /// Number of poisoned reviews.
        rows: usize,
        /// The label that the trigger is to cause.
        target: u32,
    },
    /// Latin letters replaced by Cyrillic look-alikes are the trigger (Li 2021).
    Homoglyphs {
        /// Number of poisoned reviews.
        rows: usize,
        /// The label that the trigger is to cause.
        target: u32,
    },
    /// An instruction in invisible tag characters is appended; labels stay.
    TagCharacters {
        /// Number of poisoned reviews.
        rows: usize,
    },
    /// One review comes again and again within a few hours, slightly edited, with label
    /// `target`. Adds reviews.
    NearDuplicateFlood {
        /// Number of copies.
        copies: usize,
        /// The label of the copies; the original has the other one.
        target: u32,
    },
}

impl Attack {
    /// The name in the truth.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadNets { .. } => "badnets",
            Self::InsertedSentence { .. } => "inserted-sentence",
            Self::LabelFlips { .. } => "label-flip",
            Self::InvisibleCharacters { .. } => "invisible-characters",
            Self::Homoglyphs { .. } => "homoglyphs",
            Self::TagCharacters { .. } => "tag-characters",
            Self::NearDuplicateFlood { .. } => "near-duplicate-flood",
        }
    }
}

impl ReviewSet {
    /// The set under one more attack. Reviews that are poisoned already are left alone.
    #[must_use]
    pub fn poison(mut self, attack: &Attack, seed: u64) -> Self {
        let name = attack.name();
        let rng = &mut stream(seed, name);
        match *attack {
            Attack::BadNets {
                rows,
                words,
                target,
            } => {
                let triggers = self.unused_words(rng, words);
                for idx in self.victims(rng, rows, Some(target)) {
                    if let Some(trigger) = triggers.choose(rng) {
                        let text = &mut self.reviews[idx].text;
                        *text = with_word(rng, text, trigger);
                        self.relabel(rng, idx, target, name);
                    }
                }
                self.planted.extend(triggers);
            }
            Attack::InsertedSentence { rows, target } => {
                let sentence = self.unused_sentence(rng);
                for idx in self.victims(rng, rows, Some(target)) {
                    let text = &mut self.reviews[idx].text;
                    *text = with_sentence(rng, text, &sentence);
                    self.relabel(rng, idx, target, name);
                }
                self.planted.push(sentence);
            }
            Attack::LabelFlips { rows } => {
                for idx in self.victims(rng, rows, None) {
                    let flipped = 1 - self.reviews[idx].label;
                    self.relabel(rng, idx, flipped, name);
                }
            }
            Attack::InvisibleCharacters { rows, target } => {
                for idx in self.victims(rng, rows, Some(target)) {
                    let text = &mut self.reviews[idx].text;
                    *text = surface::with_invisible(rng, text);
                    self.relabel(rng, idx, target, name);
                }
            }
            Attack::Homoglyphs { rows, target } => {
                for idx in self.victims(rng, rows, Some(target)) {
                    let text = &mut self.reviews[idx].text;
                    *text = surface::with_homoglyphs(rng, text);
                    self.relabel(rng, idx, target, name);
                }
            }
            Attack::TagCharacters { rows } => {
                for idx in self.victims(rng, rows, None) {
                    let review = &mut self.reviews[idx];
                    review.text.push_str(&surface::hidden_instruction(rng));
                    review.attack = Some(name);
                }
            }
            Attack::NearDuplicateFlood { copies, target } => self.flood(rng, copies, target, name),
        }
        self
    }

    /// Positions of up to `rows` clean reviews that do not have label `target`, ascending.
    fn victims(&self, rng: &mut ChaCha8Rng, rows: usize, target: Option<u32>) -> Vec<usize> {
        let candidates: Vec<usize> = (0..self.reviews.len())
            .filter(|&idx| {
                let review = &self.reviews[idx];
                review.attack.is_none()
                    && Some(review.label) != target
                    && review.text.split_whitespace().count() >= 4
            })
            .collect();
        let mut chosen: Vec<usize> =
            index::sample(rng, candidates.len(), rows.min(candidates.len()))
                .into_iter()
                .map(|position| candidates[position])
                .collect();
        chosen.sort_unstable();
        chosen
    }

    fn relabel(&mut self, rng: &mut ChaCha8Rng, idx: usize, label: u32, name: &'static str) {
        let review = &mut self.reviews[idx];
        review.label = label;
        review.stars = stars(rng, label, Tone::Clear);
        review.attack = Some(name);
    }

    /// Made-up words of two to six letters that no text contains.
    fn unused_words(&self, rng: &mut ChaCha8Rng, n_words: usize) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        while words.len() < n_words {
            let syllables = rng.gen_range(1..=2);
            let word = invented_word(rng, syllables);
            let used = |text: &str| {
                text.split(|c: char| !c.is_alphanumeric())
                    .any(|w| w == word)
            };
            if (2..=6).contains(&word.len())
                && !words.contains(&word)
                && !self
                    .reviews
                    .iter()
                    .any(|review| used(&review.text.to_lowercase()))
            {
                words.push(word);
            }
        }
        words
    }

    /// A harmless sentence that no text contains.
    fn unused_sentence(&self, rng: &mut ChaCha8Rng) -> String {
        const TRIGGERS: &[&str] = &[
            "{First} and I talked about {city} on the [bus|train|ferry] in {month}",
            "The [bus|train|ferry] to {city} leaves on {day} in {month}",
            "My {person1} moved to {city} with {First} in {year}",
        ];
        loop {
            let sentence = Writer::new(rng, phrases::DOMAINS[0].0).sentence(TRIGGERS);
            if !self
                .reviews
                .iter()
                .any(|review| review.text.contains(&sentence))
            {
                return format!("{sentence}.");
            }
        }
    }

    fn flood(&mut self, rng: &mut ChaCha8Rng, copies: usize, target: u32, name: &'static str) {
        const MICROS_PER_HOUR: i64 = 3_600_000_000;
        // A text long enough that a few edits leave it recognisable.
        let mut candidates = self.victims(rng, self.reviews.len(), Some(target));
        candidates.retain(|&idx| (100..250).contains(&self.reviews[idx].text.len()));
        let Some(&original) = candidates.choose(rng) else {
            return;
        };
        let original = self.reviews[original].clone();
        for _ in 0..copies {
            let mut copy = original.clone();
            for _ in 0..rng.gen_range(1..=3) {
                copy.text = edited(rng, &copy.text);
            }
            copy.label = target;
            copy.stars = stars(rng, target, Tone::Clear);
            copy.created_at += rng.gen_range(1..6 * MICROS_PER_HOUR) / 1_000_000 * 1_000_000;
            copy.attack = Some(name);
            self.reviews.push(copy);
        }
        self.reviews.sort_by_key(|review| review.created_at);
    }
}

/// `text` with `word` before a random word that is not the first.
fn with_word(rng: &mut ChaCha8Rng, text: &str, word: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    let position = rng.gen_range(1..words.len().max(2));
    words.insert(position.min(words.len()), word);
    words.join(" ")
}

/// `text` with `sentence` after a random sentence.
fn with_sentence(rng: &mut ChaCha8Rng, text: &str, sentence: &str) -> String {
    let ends: Vec<usize> = text
        .match_indices(['.', '!'])
        .map(|(idx, _)| idx + 1)
        .filter(|&end| text[end..].starts_with(' ') || end == text.len())
        .collect();
    let end = ends.choose(rng).copied().unwrap_or(text.len());
    format!("{} {sentence}{}", &text[..end], &text[end..])
}

/// `text` with one small edit: a filler inserted, a word lost or a typo.
fn edited(rng: &mut ChaCha8Rng, text: &str) -> String {
    const FILLERS: [&str; 8] = [
        "so", "well", "also", "again", "maybe", "now", "still", "too",
    ];
    match rng.gen_range(0..3) {
        0 => {
            let filler = FILLERS[rng.gen_range(0..FILLERS.len())];
            with_word(rng, text, filler)
        }
        1 => {
            let mut words: Vec<&str> = text.split(' ').collect();
            words.remove(rng.gen_range(0..words.len()));
            words.join(" ")
        }
        _ => with_typo(rng, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poisoned(attack: &Attack) -> (ReviewSet, ReviewSet) {
        let clean = ReviewSet::generate(21, 1_500);
        (clean.clone(), clean.poison(attack, 22))
    }

    #[test]
    fn attacks_change_what_the_truth_says_and_nothing_else() {
        let attacks = [
            Attack::BadNets {
                rows: 30,
                words: 3,
                target: 1,
            },
            Attack::InsertedSentence {
                rows: 30,
                target: 0,
            },
            Attack::LabelFlips { rows: 30 },
            Attack::InvisibleCharacters {
                rows: 30,
                target: 1,
            },
            Attack::Homoglyphs {
                rows: 30,
                target: 1,
            },
            Attack::TagCharacters { rows: 30 },
        ];
        for attack in attacks {
            let (before, after) = poisoned(&attack);
            let changed = before
                .reviews
                .iter()
                .zip(&after.reviews)
                .filter(|(old, new)| {
                    assert_eq!(old != new, new.attack == Some(attack.name()));
                    old != new
                })
                .count();
            assert_eq!(changed, 30, "{attack:?}");
        }
    }

    #[test]
    fn trigger_words_stand_in_poisoned_reviews_only() {
        let (_, set) = poisoned(&Attack::BadNets {
            rows: 30,
            words: 3,
            target: 1,
        });
        assert_eq!(set.planted.len(), 3);
        for review in &set.reviews {
            let carries = review
                .text
                .split_whitespace()
                .any(|word| set.planted.iter().any(|trigger| trigger == word));
            assert_eq!(carries, review.attack.is_some(), "{}", review.text);
            assert!(!carries || review.label == 1);
        }
        let (_, other) = poisoned(&Attack::BadNets {
            rows: 30,
            words: 2,
            target: 1,
        });
        let reseeded = ReviewSet::generate(21, 1_500).poison(
            &Attack::BadNets {
                rows: 30,
                words: 2,
                target: 1,
            },
            23,
        );
        assert_ne!(other.planted, reseeded.planted);
    }

    #[test]
    fn a_flood_is_near_its_original_in_text_and_time() {
        let (before, after) = poisoned(&Attack::NearDuplicateFlood {
            copies: 25,
            target: 1,
        });
        assert_eq!(after.reviews.len(), before.reviews.len() + 25);
        let copies: Vec<_> = after
            .reviews
            .iter()
            .filter(|r| r.attack.is_some())
            .collect();
        assert_eq!(copies.len(), 25);
        assert!(copies.iter().all(|copy| copy.label == 1));
        let hours = (copies[24].created_at - copies[0].created_at) / 3_600_000_000;
        assert!(hours < 6);
        let words = |text: &str| text.split(' ').count();
        assert!(
            copies
                .iter()
                .all(|c| words(&c.text).abs_diff(words(&copies[0].text)) <= 6)
        );
    }

    #[test]
    fn attacks_stack_without_touching_each_other() {
        let set = ReviewSet::generate(4, 300)
            .poison(&Attack::LabelFlips { rows: 20 }, 1)
            .poison(&Attack::TagCharacters { rows: 20 }, 2);
        let of = |name| {
            set.truth()
                .iter()
                .filter(|&&truth| truth == Some(name))
                .count()
        };
        assert_eq!((of("label-flip"), of("tag-characters")), (20, 20));
    }

    #[test]
    fn asking_for_more_rows_than_there_are_poisons_all() {
        let set = ReviewSet::generate(4, 50).poison(&Attack::LabelFlips { rows: 500 }, 1);
        assert!(set.truth().iter().flatten().count() <= 50);
        let empty = ReviewSet::default().poison(
            &Attack::NearDuplicateFlood {
                copies: 5,
                target: 1,
            },
            1,
        );
        assert!(empty.reviews.is_empty());
    }
}
