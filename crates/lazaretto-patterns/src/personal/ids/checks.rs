//! Check digits and forms of identity numbers, by their authorities' descriptions.
//!
//! Digits are numbers, words are ASCII in upper case; lengths have been checked.

use crate::checksum::{luhn, mod_11_10, remainder, weighted};

/// The digits among characters.
pub(super) fn values(word: &[u8]) -> Vec<u8> {
    word.iter()
        .filter(|byte| byte.is_ascii_digit())
        .map(|byte| byte - b'0')
        .collect()
}

pub(super) fn is_date(day: u8, month: u8) -> bool {
    (1..=31).contains(&day) && (1..=12).contains(&month)
}

pub(super) fn us_ssn(d: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| {
        d[range]
            .iter()
            .fold(0_u32, |value, &digit| value * 10 + u32::from(digit))
    };
    let area = number(0..3);
    area != 0 && area != 666 && area < 900 && number(3..5) != 0 && number(5..9) != 0
}

pub(super) fn fr_nir(d: &[u8]) -> bool {
    let month = d[3] * 10 + d[4];
    let known_month = (1..=12).contains(&month) || (20..=42).contains(&month) || month >= 50;
    matches!(d[0], 1..=4 | 7 | 8)
        && known_month
        && u64::from(d[13] * 10 + d[14]) == 97 - remainder(&d[..13], 97)
}

pub(super) fn nl_bsn(d: &[u8]) -> bool {
    let sum = weighted(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
    sum.is_some_and(|sum| sum > 0 && sum % 11 == u32::from(d[8]))
}

pub(super) fn br_cpf(d: &[u8]) -> bool {
    let check = |count: usize| {
        let sum: u32 = d[..count]
            .iter()
            .zip((2..=count as u32 + 1).rev())
            .map(|(&digit, weight)| u32::from(digit) * weight)
            .sum();
        match sum * 10 % 11 {
            10 => 0,
            check => check,
        }
    };
    check(9) == u32::from(d[9]) && check(10) == u32::from(d[10])
}

pub(super) fn de_steuer_id(d: &[u8]) -> bool {
    // One digit of the first ten occurs twice or three times, no more than one.
    let mut counts = [0_usize; 10];
    for &digit in &d[..10] {
        counts[usize::from(digit % 10)] += 1;
    }
    let mut repeated: Vec<usize> = counts.into_iter().filter(|&count| count > 1).collect();
    repeated.sort_unstable();
    d[0] != 0 && matches!(repeated.as_slice(), [2 | 3]) && mod_11_10(d)
}

pub(super) fn uk_nhs(d: &[u8]) -> bool {
    let sum = weighted(&d[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]);
    sum.is_some_and(|sum| (11 - sum % 11) % 11 == u32::from(d[9]))
}

pub(super) fn pl_pesel(d: &[u8]) -> bool {
    let month = (d[2] * 10 + d[3]) % 20;
    let sum = weighted(d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]);
    is_date(d[4] * 10 + d[5], month) && sum.is_some_and(|sum| sum % 10 == 0)
}

pub(super) fn se_personnummer(d: &[u8]) -> bool {
    let day = d[4] * 10 + d[5];
    // Coordination numbers add sixty to the day.
    is_date(if day > 60 { day - 60 } else { day }, d[2] * 10 + d[3]) && luhn(d)
}

pub(super) fn no_fodselsnummer(d: &[u8]) -> bool {
    let first = weighted(&d[..10], &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]);
    let second = weighted(d, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]);
    let day = d[0] * 10 + d[1];
    is_date(if day > 40 { day - 40 } else { day }, d[2] * 10 + d[3])
        && first.is_some_and(|sum| sum % 11 == 0)
        && second.is_some_and(|sum| sum % 11 == 0)
}

pub(super) fn ean13(d: &[u8]) -> bool {
    weighted(d, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_some_and(|sum| sum % 10 == 0)
}

pub(super) fn be_national(d: &[u8]) -> bool {
    let check = u64::from(d[9] * 10 + d[10]);
    let born_later = {
        let mut long = vec![2];
        long.extend(&d[..9]);
        97 - remainder(&long, 97)
    };
    is_date(d[4] * 10 + d[5], (d[2] * 10 + d[3]) % 20)
        && (97 - remainder(&d[..9], 97) == check || born_later == check)
}

pub(super) fn pt_nif(d: &[u8]) -> bool {
    let sum = weighted(&d[..8], &[9, 8, 7, 6, 5, 4, 3, 2]);
    let check = |sum: u32| if sum % 11 < 2 { 0 } else { 11 - sum % 11 };
    matches!(d[0], 1..=3) && sum.is_some_and(|sum| check(sum) == u32::from(d[8]))
}

pub(super) fn kr_rrn(d: &[u8]) -> bool {
    let sum = weighted(&d[..12], &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    is_date(d[4] * 10 + d[5], d[2] * 10 + d[3])
        && matches!(d[6], 1..=8)
        && sum.is_some_and(|sum| (11 - sum % 11) % 10 == u32::from(d[12]))
}

pub(super) fn jp_my_number(d: &[u8]) -> bool {
    let sum = weighted(&d[..11], &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
    let check = |sum: u32| if sum % 11 < 2 { 0 } else { 11 - sum % 11 };
    sum.is_some_and(|sum| check(sum) == u32::from(d[11]))
}

pub(super) fn tr_kimlik(d: &[u8]) -> bool {
    let sum = |range: std::ops::Range<usize>, step: usize| -> i32 {
        d[range]
            .iter()
            .step_by(step)
            .map(|&digit| i32::from(digit))
            .sum()
    };
    let odd = sum(0..9, 2);
    let even = sum(1..8, 2);
    d[0] != 0
        && (7 * odd - even).rem_euclid(10) == i32::from(d[9])
        && sum(0..10, 1) % 10 == i32::from(d[10])
}

pub(super) fn ar_cuit(d: &[u8]) -> bool {
    let sum = weighted(&d[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
    // Persons; companies begin with 30, 33 and 34.
    matches!(d[..2], [2, 0 | 3 | 4 | 7])
        && sum.is_some_and(|sum| (11 - sum % 11) % 11 == u32::from(d[10]))
}

pub(super) fn at_svnr(d: &[u8]) -> bool {
    let sum = weighted(d, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
    d[0] != 0
        && is_date(d[4] * 10 + d[5], d[6] * 10 + d[7])
        && sum.is_some_and(|sum| sum % 11 == u32::from(d[3]))
}

/// `last` is the value of the check character where it is no digit.
pub(super) fn cn_resident(d: &[u8], last: Option<u8>) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let Some(check) = last.or_else(|| d.get(17).copied()) else {
        return false;
    };
    d.len() >= 17
        && matches!(d[6..8], [1, 9] | [2, 0])
        && matches!(d[0], 1..=6)
        && is_date(d[12] * 10 + d[13], d[10] * 10 + d[11])
        && weighted(&d[..17], &WEIGHTS).is_some_and(|sum| (12 - sum % 11) % 11 == u32::from(check))
}

pub(super) fn es_dni(w: &[u8]) -> bool {
    const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let mut digits = values(&w[..8]);
    let foreigner = match w[0] {
        b'X' => Some(0),
        b'Y' => Some(1),
        b'Z' => Some(2),
        _ => None,
    };
    if let Some(first) = foreigner {
        digits.insert(0, first);
    }
    digits.len() == 8 && LETTERS[remainder(&digits, 23) as usize] == w[8]
}

pub(super) fn it_codice_fiscale(w: &[u8]) -> bool {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let form = w.iter().enumerate().all(|(idx, byte)| match idx {
        6 | 7 | 9 | 10 | 12..=14 => byte.is_ascii_digit() || b"LMNPQRSTUV".contains(byte),
        8 => b"ABCDEHLMPRST".contains(byte),
        _ => byte.is_ascii_uppercase(),
    });
    let value = |idx: usize| {
        usize::from(if w[idx].is_ascii_digit() {
            w[idx] - b'0'
        } else {
            w[idx] - b'A'
        })
    };
    form && {
        let sum: u32 = (0..15)
            .map(|idx| {
                if idx % 2 == 0 {
                    ODD[value(idx)]
                } else {
                    value(idx) as u32
                }
            })
            .sum();
        sum % 26 == u32::from(w[15] - b'A')
    }
}

pub(super) fn uk_nino(w: &[u8]) -> bool {
    let prefix = &w[..2];
    prefix
        .iter()
        .all(|byte| byte.is_ascii_uppercase() && !b"DFIQUV".contains(byte))
        && prefix[1] != b'O'
        && ![b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"]
            .iter()
            .any(|known| known.as_slice() == prefix)
        && w[2..8].iter().all(u8::is_ascii_digit)
        && matches!(w[8], b'A'..=b'D')
        && w[..8] != *b"QQ123456"
}

pub(super) fn mx_curp(w: &[u8]) -> bool {
    let letters = |range: std::ops::Range<usize>| w[range].iter().all(u8::is_ascii_uppercase);
    let digits = values(&w[4..10]);
    letters(0..4)
        && digits.len() == 6
        && is_date(digits[4] * 10 + digits[5], digits[2] * 10 + digits[3])
        && matches!(w[10], b'H' | b'M' | b'X')
        && letters(11..16)
        && w[17].is_ascii_digit()
}

pub(super) fn in_pan(w: &[u8]) -> bool {
    w[..5].iter().all(u8::is_ascii_uppercase)
        && w[3] == b'P'
        && w[5..9].iter().all(u8::is_ascii_digit)
        && w[9].is_ascii_uppercase()
}

pub(super) fn sg_nric(w: &[u8]) -> bool {
    let digits = values(&w[1..8]);
    let Some(sum) = weighted(&digits, &[2, 7, 6, 5, 4, 3, 2]) else {
        return false;
    };
    let offset = if matches!(w[0], b'T' | b'G') { 4 } else { 0 };
    let letters = match w[0] {
        b'S' | b'T' => b"JZIHGFEDCBA",
        b'F' | b'G' => b"XWUTRQPNMLK",
        _ => return false,
    };
    letters[((sum + offset) % 11) as usize] == w[8]
}

pub(super) fn ie_pps(w: &[u8]) -> bool {
    let digits = values(&w[..7]);
    let second = match w.get(8) {
        Some(letter @ b'A'..=b'I') => u32::from(letter - b'@') * 9,
        Some(b'W') | None => 0,
        Some(_) => return false,
    };
    weighted(&digits, &[8, 7, 6, 5, 4, 3, 2]).is_some_and(|sum| match (sum + second) % 23 {
        0 => w[7] == b'W',
        value => u32::from(w[7]) == u32::from(b'@') + value,
    })
}

pub(super) fn fi_hetu(w: &[u8]) -> bool {
    const CHECKS: &[u8; 31] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    // The sign of the century, `-` or `+`, is a separator; `A` is a letter.
    let digits: Vec<u8> = values(&w[..w.len() - 1]);
    digits.len() == 9
        && is_date(digits[0] * 10 + digits[1], digits[2] * 10 + digits[3])
        && CHECKS[remainder(&digits, 31) as usize] == w[w.len() - 1]
}

pub(super) fn cl_rut(w: &[u8]) -> bool {
    let digits = values(&w[..8]);
    weighted(&digits, &[3, 2, 7, 6, 5, 4, 3, 2]).is_some_and(|sum| match 11 - sum % 11 {
        11 => w[8] == b'0',
        10 => w[8] == b'K',
        check => u32::from(w[8]) == u32::from(b'0') + check,
    })
}
