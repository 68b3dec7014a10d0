//! Small changes to texts: what attackers put into records, made up from the seed.

use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

/// A made-up word of four to six letters that no text contains.
pub(super) fn unused_word(rng: &mut ChaCha8Rng, texts: &[Option<String>]) -> String {
    const CONSONANTS: &[u8] = b"bcdfghjklmnprstvwxz";
    const VOWELS: &[u8] = b"aeiou";
    loop {
        let syllables = rng.gen_range(2..=3);
        let letters = (0..syllables).flat_map(|_| {
            let consonant = CONSONANTS.choose(rng).copied().unwrap_or(b'k');
            let vowel = VOWELS.choose(rng).copied().unwrap_or(b'a');
            [char::from(consonant), char::from(vowel)]
        });
        let word: String = letters.collect();
        let used = |text: &String| text.to_lowercase().contains(&word);
        if !texts.iter().flatten().any(used) {
            return word;
        }
    }
}

/// `text` with `word` at a place of its own.
pub(super) fn with_word(rng: &mut ChaCha8Rng, text: &str, word: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    let place = rng.gen_range(0..=words.len());
    words.insert(place, word);
    words.join(" ")
}

/// `text` with one to three words lost, doubled or moved.
pub(super) fn edited(rng: &mut ChaCha8Rng, text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for _ in 0..rng.gen_range(1..=3) {
        if words.len() < 3 {
            break;
        }
        let at = rng.gen_range(0..words.len());
        match rng.gen_range(0..3) {
            0 => {
                words.remove(at);
            }
            1 => words.insert(at, words[at]),
            _ => {
                let word = words.remove(at);
                words.insert(rng.gen_range(0..=words.len()), word);
            }
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn words_are_new_and_edits_small() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let text = "one two three four five six seven eight nine ten".to_owned();
        for _ in 0..50 {
            let word = unused_word(&mut rng, &[Some(text.clone()), None]);
            assert!((4..=6).contains(&word.len()) && !text.contains(&word));
            assert!(with_word(&mut rng, &text, &word).contains(&word));
            let edited = edited(&mut rng, &text);
            assert!((7..=13).contains(&edited.split(' ').count()), "{edited}");
        }
    }
}
