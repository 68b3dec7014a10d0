//! Telephone numbers in international form and in the usual national ones.

use super::tokens::{Number, Token, numbers_at};
use super::{Kind, Personal, is_made_up, near};

/// Words beside a telephone number, in lower case.
const WORDS: &[&str] = &[
    "phone",
    "telephone",
    "tel",
    "mobile",
    "mob",
    "cell",
    "call",
    "whatsapp",
    "fax",
    "text",
    "sms",
    "contact",
    "reach",
    "ring",
    "dial",
    "ph",
    "telefon",
    "handy",
    "mobil",
    "rufnummer",
    "téléphone",
    "portable",
    "teléfono",
    "telefono",
    "móvil",
    "movil",
    "celular",
    "telefone",
    "telemóvel",
    "cellulare",
    "telefoon",
    "mobiel",
    "puhelin",
    "тел",
    "телефон",
    "电话",
    "手机",
    "電話",
    "携帯",
    "전화",
    "हेल्पलाइन",
];
/// Codes of countries, and how many digits follow one at least and at most.
const COUNTRIES: &[(&str, usize, usize)] = &[
    ("1", 10, 10),
    ("7", 10, 10),
    ("20", 8, 10),
    ("27", 9, 9),
    ("30", 10, 10),
    ("31", 9, 9),
    ("32", 8, 9),
    ("33", 9, 9),
    ("34", 9, 9),
    ("36", 8, 9),
    ("39", 8, 11),
    ("40", 9, 9),
    ("41", 9, 9),
    ("43", 7, 12),
    ("44", 9, 10),
    ("45", 8, 8),
    ("46", 7, 10),
    ("47", 8, 8),
    ("48", 9, 9),
    ("49", 7, 12),
    ("51", 8, 9),
    ("52", 10, 10),
    ("54", 10, 11),
    ("55", 10, 11),
    ("56", 9, 9),
    ("57", 8, 10),
    ("58", 10, 10),
    ("60", 8, 10),
    ("61", 9, 9),
    ("62", 8, 12),
    ("63", 8, 10),
    ("64", 8, 10),
    ("65", 8, 8),
    ("66", 8, 9),
    ("81", 9, 10),
    ("82", 8, 10),
    ("84", 9, 10),
    ("86", 10, 11),
    ("90", 10, 10),
    ("91", 10, 10),
    ("92", 9, 10),
    ("94", 9, 9),
    ("98", 10, 10),
    ("2", 9, 11),
    ("3", 8, 11),
    ("4", 8, 11),
    ("5", 8, 11),
    ("6", 7, 11),
    ("8", 8, 11),
    ("9", 7, 11),
];

/// Telephone numbers in `text`.
pub(super) fn find(text: &str, tokens: &[Token], found: &mut Vec<Personal>) {
    let mut free = 0;
    for first in 0..tokens.len() {
        if tokens[first].range.start < free || !tokens[first].is_number {
            continue;
        }
        let numbers = numbers_at(text, tokens, first);
        // The longest form: an international number has a national one inside.
        if let Some(one) = numbers.iter().rev().find_map(|number| phone(text, number)) {
            free = one.range.end;
            found.push(one);
        }
    }
}

fn phone(text: &str, number: &Number) -> Option<Personal> {
    let digits = &number.digits;
    if !(9..=15).contains(&digits.len()) {
        return None;
    }
    let bytes = text.as_bytes();
    let mut start = number.range.start;
    let preceded_by = |sign: u8| start > 0 && bytes[start - 1] == sign;
    let has_plus = preceded_by(b'+') || start > 1 && bytes[start - 2..start] == *b"+(";
    let has_parenthesis = preceded_by(b'(');
    let named = || near(text, &number.range, WORDS, 32, 0);
    let dialled = digits.starts_with(&[0, 0]) && number.groups.len() > 1 && !number.goes_on;
    let weight = if has_plus || dialled {
        let national = international(digits.strip_prefix(&[0, 0]).unwrap_or(digits))?;
        if is_fictional(national) {
            return None;
        }
        if has_plus { 0.4 } else { 0.3 }
    } else if number.goes_on {
        return None;
    } else {
        let weight = national(number, has_parenthesis);
        if is_fictional(digits) || weight == 0.0 {
            return None;
        }
        let named = named();
        match (weight, named) {
            (_, true) => 0.4,
            (weight, false) if weight >= 0.2 => weight,
            _ => return None,
        }
    };
    if has_parenthesis || has_plus {
        start -= 1;
    }
    Some(Personal {
        kind: Kind::Phone,
        range: start..number.range.end,
        weight,
    })
}

/// The number behind the code of a country, if the lengths are those of this country.
fn international(digits: &[u8]) -> Option<&[u8]> {
    let written: String = digits
        .iter()
        .map(|&digit| char::from(b'0' + digit))
        .collect();
    let (code, least, most) = COUNTRIES
        .iter()
        .find(|(code, _, _)| written.starts_with(code))?;
    let rest = &digits[code.len()..];
    // `+44 (0)20 …` writes the trunk prefix too.
    (*least..=*most + 1).contains(&rest.len()).then_some(rest)
}

/// How much a number without a country's code looks like a telephone number, 0.1 where only a
/// word beside it can say so.
fn national(number: &Number, has_parenthesis: bool) -> f64 {
    let groups = number.groups.as_slice();
    let digits = &number.digits;
    let north_american = |digits: &[u8]| digits.len() == 10 && digits[0] > 1 && digits[3] > 1;
    match groups {
        [3, 3, 4] if north_american(digits) => {
            if has_parenthesis {
                0.4
            } else {
                0.3
            }
        }
        [1, 3, 3, 4] if digits[0] == 1 && north_american(&digits[1..]) => 0.4,
        // France, and its pairs.
        [2, 2, 2, 2, 2] if digits[0] == 0 && digits[1] > 0 => 0.3,
        // A trunk prefix and at least two groups: most of Europe, Australia, Japan.
        [first, rest @ ..]
            if digits[0] == 0
                && digits[1] > 0
                && (2..=5).contains(first)
                && !rest.is_empty()
                && rest.len() <= 3
                && rest.iter().all(|group| (2..=8).contains(group))
                && (10..=12).contains(&digits.len()) =>
        {
            0.3
        }
        // Spain, Poland; India; Brazil. Prices and quantities look the same.
        [3 | 4, 3, 3] | [3, 2, 2, 2] | [5, 5] | [2, 4 | 5, 4] | [3, 4, 4] | [9..=11] => 0.1,
        _ => 0.0,
    }
}

/// Numbers that regulators keep for films, and ones that nobody has.
fn is_fictional(digits: &[u8]) -> bool {
    let national = digits.strip_prefix(&[0]).unwrap_or(digits);
    let national = if national.len() == 11 && national[0] == 1 {
        &national[1..]
    } else {
        national
    };
    let tail = &national[national.len().saturating_sub(7)..];
    let north_american = national.len() == 10
        && (national[3..6] == [5, 5, 5]
            || national[..3] == [5, 5, 5]
            || national[..3] == [1, 2, 3]
            || national[..3] == [8, 0, 0]
            || national[..3] == [8, 8, 8]);
    // Ofcom: 01632 960xxx, 07700 900xxx, 020 7946 0xxx, 0808 1570xxx.
    let british: [&[u8]; 4] = [
        &[1, 6, 3, 2, 9, 6, 0],
        &[7, 7, 0, 0, 9, 0, 0],
        &[2, 0, 7, 9, 4, 6, 0],
        &[8, 0, 8, 1, 5, 7, 0],
    ];
    // ACMA: 0491 570 xxx; ARCEP: 01 99 00 xx xx and its kin.
    let other: [&[u8]; 3] = [&[4, 9, 1, 5, 7, 0], &[1, 9, 9, 0, 0], &[6, 3, 9, 9, 8]];
    north_american
        || british
            .iter()
            .chain(&other)
            .any(|prefix| national.starts_with(prefix))
        || is_made_up(tail)
        || is_made_up(digits)
        || digits
            .windows(6)
            .any(|window| window.iter().all(|digit| *digit == window[0]))
        || digits.windows(7).any(is_made_up)
}
