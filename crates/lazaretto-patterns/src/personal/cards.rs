//! Payment cards and bank accounts.

use super::tokens::{Number, Token, numbers_at};
use super::{Kind, Personal, is_made_up, near};
use crate::checksum::{luhn, mod_97};

/// Numbers that payment companies publish for tests, and textbooks for examples.
const TEST_CARDS: &[&str] = &[
    "4111111111111111",
    "4242424242424242",
    "4012888888881881",
    "4222222222222",
    "4000056655665556",
    "5555555555554444",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "378734493671000",
    "6011111111111117",
    "6011000990139424",
    "30569309025904",
    "38520000023237",
    "3530111333300000",
    "3566002020360505",
    "4532015112830366",
    "4539578763621486",
    "4556737586899855",
    "4716461583322103",
    "5200828282828210",
    "2223003122003222",
    "4000000000000002",
    "4917610000000000",
    "4539148803436467",
    "8273123273520569",
    "4012001037141112",
    "6304000000000000",
    "4485275742308327",
    "4916338506082832",
];
/// The account of every textbook, by country.
const TEST_ACCOUNTS: &[&str] = &[
    "GB82WEST12345698765432",
    "GB29NWBK60161331926819",
    "DE89370400440532013000",
    "FR1420041010050500013M02606",
    "ES9121000418450200051332",
    "NL91ABNA0417164300",
    "IT60X0542811101000000123456",
    "BE68539007547034",
    "CH9300762011623852957",
    "GB33BUKB20201555555555",
    "FR7630006000011234567890189",
    "DE75512108001245126199",
    "AT611904300234573201",
    "ES7921000813610123456789",
    "SE4550000000058398257466",
    "PL61109010140000071219812874",
    "NO9386011117947",
    "IE29AIBK93115212345678",
    "DK5000400440116243",
];
/// Country and length of an IBAN, from the registry of SWIFT.
const ACCOUNT_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BR", 29),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GR", 27),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MT", 31),
    ("NL", 18),
    ("NO", 15),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("SA", 24),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("XK", 20),
];
const CARD_WORDS: &[&str] = &[
    "card",
    "visa",
    "mastercard",
    "amex",
    "american express",
    "discover",
    "credit",
    "debit",
    "cc",
    "pan",
    "kreditkarte",
    "karte",
    "carte",
    "tarjeta",
    "carta",
    "cartão",
    "cartao",
    "карта",
    "卡号",
    "cvv",
    "cvc",
    "exp",
    "expiry",
    "expires",
];

/// Cards and accounts in `text`.
pub(super) fn find(text: &str, tokens: &[Token], found: &mut Vec<Personal>) {
    let mut free = 0;
    for first in 0..tokens.len() {
        let token = &tokens[first];
        if token.range.start < free {
            continue;
        }
        let card = || {
            numbers_at(text, tokens, first)
                .into_iter()
                .find_map(|number| card(text, &number))
        };
        let one = if token.is_number {
            card()
        } else {
            account(text, token.range.start)
        };
        if let Some(one) = one {
            free = one.range.end;
            found.push(one);
        }
    }
}

fn card(text: &str, number: &Number) -> Option<Personal> {
    let digits = &number.digits;
    let n = digits.len();
    let is_grouped = matches!(
        number.groups.as_slice(),
        [4, 4, 4, 4] | [4, 6, 5] | [4, 4, 4, 4, 3]
    ) && matches!(number.separator, Some(b' ' | b'-'));
    let is_whole = number.groups.len() == 1;
    if !(is_grouped || is_whole) || number.goes_on || !is_issued(digits) || is_made_up(digits) {
        return None;
    }
    let written: String = digits
        .iter()
        .map(|&digit| char::from(b'0' + digit))
        .collect();
    if TEST_CARDS.contains(&written.as_str()) || has_filler(digits) {
        return None;
    }
    let named = near(text, &number.range, CARD_WORDS, 48, 24);
    let weight = match (luhn(digits), is_grouped, named) {
        (true, _, true) => 1.0,
        (true, true, false) => 0.8,
        (true, false, false) => 0.4,
        // A typo, or a number that was made up to look like a card.
        (false, true, true) => 0.6,
        _ => return None,
    };
    debug_assert!(n <= 19);
    Some(Personal {
        kind: Kind::Card,
        range: number.range.clone(),
        weight,
    })
}

/// Whether a company issues cards of this length with these first digits.
fn is_issued(digits: &[u8]) -> bool {
    let n = digits.len();
    if !(13..=19).contains(&n) {
        return false;
    }
    let first: Vec<u32> = (1..=4)
        .map(|count| {
            digits[..count]
                .iter()
                .fold(0, |value, &digit| value * 10 + u32::from(digit))
        })
        .collect();
    match first[0] {
        4 => matches!(n, 13 | 16 | 19),
        5 => n == 16 && matches!(first[1], 50..=58) || n == 19 && matches!(first[1], 50 | 56..=58),
        2 => n == 16 && matches!(first[3], 2200..=2204 | 2221..=2720),
        3 => {
            n == 15 && matches!(first[1], 34 | 37)
                || n == 14 && matches!(first[1], 30 | 36 | 38 | 39)
                || n == 16 && matches!(first[3], 3528..=3589)
        }
        6 => n >= 16 && matches!(first[1], 60 | 62 | 63..=65 | 67),
        _ => false,
    }
}

/// Long runs of one digit fill up made-up numbers.
fn has_filler(digits: &[u8]) -> bool {
    digits
        .windows(6)
        .any(|window| window.iter().all(|digit| *digit == window[0]))
        || digits.windows(8).any(is_made_up)
}

/// The IBAN that begins at `start`, written in one word or in groups of four.
fn account(text: &str, start: usize) -> Option<Personal> {
    let bytes = text.as_bytes();
    let country = text.get(start..start + 2)?;
    let length = ACCOUNT_LENGTHS
        .iter()
        .find(|(code, _)| code.eq_ignore_ascii_case(country))?
        .1;
    if !bytes[start + 2..].iter().take(2).all(u8::is_ascii_digit) {
        return None;
    }
    let mut written = Vec::with_capacity(length);
    let mut end = start;
    for (offset, &byte) in bytes[start..].iter().enumerate().take(2 * length) {
        if byte.is_ascii_alphanumeric() {
            written.push(byte.to_ascii_uppercase());
        } else if !(matches!(byte, b' ' | b'-') && written.len() % 4 == 0) {
            break;
        }
        if written.len() == length {
            end = start + offset + 1;
            break;
        }
    }
    let ends = !bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
    if written.len() != length || !ends {
        return None;
    }
    let known = std::str::from_utf8(&written).is_ok_and(|written| TEST_ACCOUNTS.contains(&written));
    let holds = mod_97(written[4..].iter().chain(&written[..4]).copied()) == 1;
    (holds && !known).then_some(Personal {
        kind: Kind::BankAccount,
        range: start..end,
        weight: 1.0,
    })
}
