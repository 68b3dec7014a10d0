//! Personal data in texts: addresses, telephone numbers, identity and card numbers, names beside
//! them.
//!
//! Each find has a weight: how far it alone identifies a private person. Example addresses, role
//! accounts, fictional numbers, published test cards and numbers that are no identity numbers by
//! their check digits have none and are not reported. Everything is one pass over the text; what
//! surrounds a find is looked at within fixed distances.

mod cards;
mod ids;
mod mail;
mod names;
mod phone;
mod tokens;

use std::ops::Range;

use tokens::tokens;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An identity number of a country, by its place in the list of [`Kind::name`].
    Identity(&'static str),
    /// A payment card.
    Card,
    /// An international bank account number.
    BankAccount,
    /// An e-mail address of a person.
    Email,
    /// A telephone number.
    Phone,
    /// A date of birth.
    BirthDate,
    /// A street and house number, or a postal code with its town.
    Address,
    /// A person's name.
    Name,
}

impl Kind {
    /// What it is called in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity(name) => name,
            Self::Card => "payment card number",
            Self::BankAccount => "bank account number (IBAN)",
            Self::Email => "e-mail address",
            Self::Phone => "telephone number",
            Self::BirthDate => "date of birth",
            Self::Address => "postal address",
            Self::Name => "name",
        }
    }

    /// Whether it says the same kind of thing about a person, so that two of them are no stronger
    /// evidence than one.
    fn group(self) -> u8 {
        match self {
            Self::Identity(_) => 0,
            Self::Card | Self::BankAccount => 1,
            Self::Email => 2,
            Self::Phone => 3,
            Self::BirthDate => 4,
            Self::Address => 5,
            Self::Name => 6,
        }
    }
}

/// A piece of personal data in a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Personal {
    /// What it is.
    pub kind: Kind,
    /// Byte range.
    pub range: Range<usize>,
    /// How far it identifies a person, in `(0, 1]`: 1 is enough on its own.
    pub weight: f64,
}

impl Personal {
    /// Whether reports mask it. Names and addresses of streets are words, which stand everywhere.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        !matches!(self.kind, Kind::Name | Kind::Address | Kind::BirthDate)
    }
}

/// Personal data in `text`, by place and without overlap.
#[must_use]
pub fn find(text: &str) -> Vec<Personal> {
    let mut found = mail::find(text);
    let tokens = tokens(text);
    ids::find(text, &tokens, &mut found);
    cards::find(text, &tokens, &mut found);
    phone::find(text, &tokens, &mut found);
    if found.is_empty() {
        return found;
    }
    // Names, dates and streets are personal beside something that is.
    names::find(text, &tokens, &mut found);
    found.sort_by(|left, right| {
        let start = left.range.start.cmp(&right.range.start);
        start
            .then(right.weight.total_cmp(&left.weight))
            .then(left.kind.cmp(&right.kind))
    });
    let mut apart: Vec<Personal> = Vec::with_capacity(found.len());
    for one in found {
        match apart.last_mut() {
            Some(last) if one.range.start < last.range.end => {
                if one.weight > last.weight {
                    *last = one;
                }
            }
            _ => apart.push(one),
        }
    }
    apart
}

/// How far finds that stand within `window` bytes of each other identify one person: the sum of the
/// heaviest of each group, and the indices of the finds that make it up.
#[must_use]
pub fn identified(found: &[Personal], window: usize) -> (f64, Range<usize>) {
    let mut best = (0.0, 0..0);
    let mut end = 0;
    for start in 0..found.len() {
        while end < found.len() && found[end].range.end <= found[start].range.start + window {
            end += 1;
        }
        // Finds that are longer than the window stand alone.
        let inside = start..end.max(start + 1);
        let mut heaviest = [0.0_f64; 7];
        // A window holds few finds that are worth looking at; the bound keeps lists linear.
        for one in found[inside.clone()].iter().take(64) {
            let group = &mut heaviest[usize::from(one.kind.group())];
            *group = group.max(one.weight);
        }
        let sum: f64 = heaviest.iter().sum();
        if sum > best.0 {
            best = (sum, inside);
        }
    }
    best
}

/// Whether one of `words` stands within `before` bytes in front of a range or `after` bytes behind,
/// as a word of its own.
fn near(text: &str, range: &Range<usize>, words: &[&str], before: usize, after: usize) -> bool {
    let start = floor(text, range.start.saturating_sub(before));
    let end = floor(text, range.end.saturating_add(after).min(text.len()));
    let context = |part: &str| {
        let part = part.to_lowercase();
        words.iter().any(|word| has_word(&part, word))
    };
    context(&text[start..range.start]) || after > 0 && context(&text[range.end..end])
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let letter = |character: Option<char>| character.is_some_and(char::is_alphabetic);
        !letter(text[..at].chars().next_back()) && !letter(text[at + word.len()..].chars().next())
    })
}

fn floor(text: &str, mut idx: usize) -> usize {
    while !text.is_char_boundary(idx) {
        idx -= 1;
    }
    idx
}

/// Digits nobody is given: all the same, or counted up or down.
fn is_made_up(digits: &[u8]) -> bool {
    let steps = |step: i16| {
        let pairs = digits.windows(2);
        pairs
            .filter(|pair| (i16::from(pair[1]) - i16::from(pair[0]) - step).rem_euclid(10) == 0)
            .count()
    };
    let n = digits.len().saturating_sub(1);
    [0, 1, -1].into_iter().any(|step| 5 * steps(step) >= 4 * n)
}

#[cfg(test)]
mod tests;
