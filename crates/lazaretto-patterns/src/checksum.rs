//! Check digits of tokens and of identity numbers.
//!
//! Digits are numbers `0..=9`, most significant first. No function panics, whatever the length.

/// The checksum of GitHub's and npm's tokens: CRC-32 (IEEE) in base 62, six characters, over what
/// stands between the prefix and it.
#[must_use]
pub fn base62_crc32(token: &str) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32(token.as_bytes());
    let mut encoded = [b'0'; 6];
    for place in encoded.iter_mut().rev() {
        *place = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    encoded
}

/// CRC-32 (IEEE 802.3), bit by bit: tokens are short.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// Luhn's algorithm (ISO/IEC 7812-1), as on payment cards.
#[must_use]
pub fn luhn(digits: &[u8]) -> bool {
    let doubled = |digit: u8| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &digit)| {
            u32::from(if place % 2 == 1 {
                doubled(digit)
            } else {
                digit
            })
        })
        .sum();
    digits.len() > 1 && sum.is_multiple_of(10)
}

/// Verhoeff's algorithm, as in Indian Aadhaar numbers.
#[must_use]
pub fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    // The dihedral group of order ten: reflections from 5 on.
    let multiply = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => 5 + (a + b) % 5,
        (false, true) => 5 + (a - b) % 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let mut check = 0;
    for (place, &digit) in digits.iter().rev().enumerate() {
        let mut permuted = digit;
        for _ in 0..place % 8 {
            permuted = PERMUTATION[usize::from(permuted % 10)];
        }
        check = multiply(check, permuted);
    }
    !digits.is_empty() && check == 0
}

/// The sum of digits times weights; `None` where the lengths differ.
#[must_use]
pub fn weighted(digits: &[u8], weights: &[u32]) -> Option<u32> {
    let pairs = digits.iter().zip(weights);
    (digits.len() == weights.len()).then(|| {
        pairs
            .map(|(&digit, weight)| u32::from(digit) * weight)
            .sum()
    })
}

/// ISO 7064 MOD 11,10, as in German tax numbers.
#[must_use]
pub fn mod_11_10(digits: &[u8]) -> bool {
    let Some((&check, rest)) = digits.split_last() else {
        return false;
    };
    let product = rest.iter().fold(10, |product, &digit| {
        let sum = (u32::from(digit) + product) % 10;
        let sum = if sum == 0 { 10 } else { sum };
        (2 * sum) % 11
    });
    (11 - product) % 10 == u32::from(check)
}

/// The remainder of a number in decimal digits.
#[must_use]
pub fn remainder(digits: &[u8], modulus: u64) -> u64 {
    digits
        .iter()
        .fold(0, |rest, &digit| (rest * 10 + u64::from(digit)) % modulus)
}

/// ISO 7064 MOD 97-10 over letters and digits, as in IBANs once their first four characters have
/// been moved to the end.
#[must_use]
pub fn mod_97(characters: impl Iterator<Item = u8>) -> u64 {
    characters.fold(0, |rest, character| {
        if character.is_ascii_digit() {
            (rest * 10 + u64::from(character - b'0')) % 97
        } else {
            let value = u64::from(character.to_ascii_uppercase().saturating_sub(b'A')) + 10;
            (rest * 100 + value) % 97
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().map(|byte| byte - b'0').collect()
    }

    #[test]
    fn published_examples_hold_and_their_typos_do_not() {
        // Wikipedia's examples of each algorithm; the check value of CRC-32.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert!(luhn(&digits("79927398713")) && !luhn(&digits("79927398710")));
        assert!(verhoeff(&digits("2363")) && !verhoeff(&digits("2364")));
        assert!(mod_11_10(&digits("86095742719")) && !mod_11_10(&digits("86095742718")));
        assert_eq!(mod_97("WEST12345698765432GB82".bytes()), 1);
        assert_eq!(remainder(&digits("2530849"), 97), 2_530_849 % 97);
        assert_eq!(weighted(&[1, 2], &[3, 4]), Some(11));
        assert_eq!(weighted(&[1, 2], &[3]), None);
    }

    #[test]
    fn every_single_error_breaks_verhoeff_and_luhn() {
        for (algorithm, valid) in [
            (verhoeff as fn(&[u8]) -> bool, "2363"),
            (luhn as fn(&[u8]) -> bool, "79927398713"),
        ] {
            let valid = digits(valid);
            for place in 0..valid.len() {
                for change in 1..10 {
                    let mut wrong = valid.clone();
                    wrong[place] = (wrong[place] + change) % 10;
                    assert!(!algorithm(&wrong), "{wrong:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_panics_on_nothing() {
        assert!(!luhn(&[]) && !verhoeff(&[]) && !mod_11_10(&[]));
        assert_eq!(base62_crc32(""), *b"000000");
    }
}
