//! Whether a value was drawn by a machine or thought up by a person.
//!
//! A leaked key is random. What stands in documentation, tests and tutorials is not: it is words, a
//! keyboard row, a sequence, a repetition or a mask.

/// Words that people write where a secret would be; found in any case.
const PLACEHOLDERS: &[&str] = &[
    "1234",
    "abcd",
    "admin",
    "apikey",
    "asdf",
    "changeme",
    "confidential",
    "default",
    "demo",
    "dummy",
    "empty",
    "enter",
    "example",
    "fake",
    "foobar",
    "goes_here",
    "hello",
    "here",
    "hidden",
    "hunter2",
    "insert",
    "letmein",
    "lorem",
    "masked",
    "mysecret",
    "none",
    "null",
    "p@ss",
    "pa$$",
    "pa55",
    "pass",
    "placeholder",
    "qwer",
    "redacted",
    "replace",
    "sample",
    "secret",
    "some",
    "string",
    "super",
    "test",
    "todo",
    "token",
    "undefined",
    "user",
    "value",
    "word",
    "xxxx",
    "your",
    "xyz",
    "foo",
    "bar",
    "zxcv",
];
/// In values longer than this, chance spells short words.
const LONG: usize = 64;
/// Letters of words that chance does not spell in long values.
const LONG_WORD: usize = 7;
/// Least share of the entropy that a random value of its length and alphabet would have.
const MIN_ENTROPY: f64 = 0.74;
/// Largest share of letter pairs that are common in words: in random letters it is a sixth.
const MAX_WORDINESS: f64 = 0.5;
/// Least share of changes between cases and digits in random values: in words with capitals it is
/// a quarter, in random letters and digits five eighths.
const MIN_CHANGES: f64 = 0.42;

/// Whether a person thought up `value`: a word that stands for a secret, a sequence, a repetition.
#[must_use]
pub(super) fn is_placeholder(value: &str) -> bool {
    let folded = value.to_ascii_lowercase();
    let shortest = if folded.len() > LONG { LONG_WORD } else { 3 };
    PLACEHOLDERS
        .iter()
        // Three letters, and four digits, are chance unless the value is short.
        .filter(|word| {
            let telling = word.len() > 3 && !word.starts_with(|c: char| c.is_ascii_digit());
            word.len() >= shortest && (telling || folded.len() <= 16)
        })
        .any(|word| folded.contains(word))
        || is_template(value)
        || is_regular(folded.as_bytes())
}

/// `<key>`, `${KEY}`, `{{ key }}`, `%s`, `…`, `***`.
fn is_template(value: &str) -> bool {
    let marks = ["${", "{{", "}}", "...", "…", "***", "%(", "<%", "$("];
    marks.iter().any(|mark| value.contains(mark))
        || value.starts_with(['<', '{', '$', '%', '[', '('])
        || value.ends_with(['>', '}', ']', ')'])
}

/// Sequences (`abcdef`, `13579`, `a1b2c3`), runs of one character, and repeated units.
fn is_regular(bytes: &[u8]) -> bool {
    let n = bytes.len();
    let hexadecimal = bytes.iter().all(u8::is_ascii_hexdigit);
    // What counts as long enough not to be chance grows with the length and the alphabet.
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let slack = usize::from(hexadecimal || 2 * digits > n)
        + usize::from(n > LONG)
        + 2 * usize::from(n > 1000);
    let run = |stride: usize, step: i16| -> (usize, usize) {
        let (mut longest, mut current, mut total) = (0, 0, 0);
        for pair in 0..n.saturating_sub(stride) {
            let (a, b) = (i16::from(bytes[pair]), i16::from(bytes[pair + stride]));
            current = if b - a == step { current + 1 } else { 0 };
            longest = longest.max(current);
            // Steps of runs of four characters and more.
            total += match current {
                0..=2 => 0,
                3 => 3,
                _ => 1,
            };
        }
        (longest, total)
    };
    let sequence = [1, -1].into_iter().any(|step| {
        let (longest, total) = run(1, step);
        longest >= 4 + slack || (n >= 8 && 2 * total > n) || run(2, step).0 >= 5 + slack
    });
    sequence || run(1, 0).0 >= 4 + slack || is_periodic(bytes)
}

/// Whether a unit of at most ten characters is repeated.
fn is_periodic(bytes: &[u8]) -> bool {
    let n = bytes.len();
    n >= 12
        && (1..=10.min(n / 2)).any(|period| {
            let same = (period..n).filter(|&idx| bytes[idx] == bytes[idx - period]);
            5 * same.count() >= 4 * (n - period)
        })
}

/// Shannon entropy of the characters, in bits per character.
#[must_use]
pub(super) fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    let n = bytes.len() as f64;
    let counts = counts.iter().filter(|&&count| count > 0);
    counts
        .map(|&count| f64::from(count) / n)
        .map(|share| -share * share.log2())
        .sum()
}

/// Whether the characters are as varied as a random draw from their alphabet would be.
#[must_use]
pub(super) fn is_varied(bytes: &[u8]) -> bool {
    // In `1c80804f-fc29` the sign is no part of the alphabet.
    let core: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(u8::is_ascii_alphanumeric)
        .collect();
    let alphabet: usize = if core.iter().all(u8::is_ascii_digit) {
        10
    } else if core.iter().all(u8::is_ascii_hexdigit) {
        16
    } else {
        36
    };
    let most = (core.len().min(alphabet).max(2) as f64).log2();
    entropy(&core) >= MIN_ENTROPY * most
}

/// Whether the characters follow each other as in words: in common pairs of letters, and in long
/// stretches of one case.
#[must_use]
pub(super) fn is_wordy(value: &str) -> bool {
    let (mut pairs, mut common) = (0, 0);
    for pair in value.as_bytes().windows(2) {
        if pair.iter().all(u8::is_ascii_alphabetic) {
            pairs += 1;
            common += usize::from(is_common(pair[0], pair[1]));
        }
    }
    // Six letters make few pairs, of which many are common.
    let hexadecimal = value
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .all(|byte| byte.is_ascii_hexdigit());
    !hexadecimal
        && pairs >= 5
        && common as f64 > MAX_WORDINESS * f64::from(pairs)
        && changes(value) < MIN_CHANGES
}

/// Share of neighbouring characters that are of different classes: lower case, upper case, digits,
/// others.
fn changes(value: &str) -> f64 {
    let class = |byte: u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let pairs = value.as_bytes().windows(2);
    let changed = pairs
        .filter(|pair| class(pair[0]) != class(pair[1]))
        .count();
    changed as f64 / value.len().saturating_sub(1).max(1) as f64
}

/// Whether two letters are among the commonest hundred pairs of words, a sixth of all pairs.
fn is_common(first: u8, second: u8) -> bool {
    const PAIRS: &[u8] = b"th he in er an re nd at on nt ha es st en ed to it ou ea hi is or ti as te et ng of al de se \
        le sa si ar ve ra ld ur me ne ro ri li io ic co ll be ma om ce ch us ec el la di ac ee un ot ol ai ca em so no tr ge \
        il ho ir im ad id ke ss ow po pr pa op ct ay mi ap ta rs ut ck mp wo ey my sk rd ";
    let pair = [first.to_ascii_lowercase(), second.to_ascii_lowercase()];
    PAIRS.chunks(3).any(|known| known.starts_with(&pair))
}

/// Whether `value` is a random key of any product: letters and digits in disorder.
#[must_use]
pub(super) fn is_random_key(value: &str) -> bool {
    let bytes = value.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let letters = bytes
        .iter()
        .filter(|byte| byte.is_ascii_alphabetic())
        .count();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_+/=.~:".contains(byte);
    bytes.len() >= 16
        && bytes.iter().all(plain)
        && letters >= 4
        && digits >= 2
        && 4 * (letters + digits) >= 3 * bytes.len()
        && is_varied(bytes)
        && !is_wordy(value)
        && !is_placeholder(value)
}

/// Whether `value` is a password that a machine made, or a person with care.
#[must_use]
pub(super) fn is_strong_password(value: &str) -> bool {
    let bytes = value.as_bytes();
    let has = |class: fn(&u8) -> bool| usize::from(bytes.iter().any(class));
    let classes = has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(u8::is_ascii_punctuation);
    let mixed = match bytes.len() {
        0..=7 => false,
        8..=9 => classes >= 3,
        10..=15 => classes >= 3 || classes == 2 && changes(value) >= 0.35,
        _ => classes >= 2,
    };
    mixed && is_varied(bytes) && !is_wordy(value) && !is_placeholder(value)
}

/// Whether a word is written with digits and signs for letters: `P@55w0rd`.
#[must_use]
pub(super) fn is_disguised_word(value: &str) -> bool {
    let plain = without_leet(value);
    is_wordy(&plain) || is_placeholder(&plain)
}

/// The letters that digits and signs stand for in passwords such as `P@55w0rd`.
fn without_leet(value: &str) -> String {
    let letter = |character| match character {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    value.to_ascii_lowercase().chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_for_a_secret_is_no_secret() {
        for value in [
            "your-api-key-goes-here",
            "AKIAIOSFODNN7EXAMPLE",
            "xxxxxxxxxxxxxxxxxxxx",
            "<your-key>",
            "changeme",
            "0123456789abcdef0123456789abcdef",
            "abcdefghijklmnopqrstuvwxyz123456",
            "a1b2c3d4e5f6a7b8c9d0",
            "11111111111111111111",
            "deadbeefdeadbeefdeadbeef",
            "${API_KEY}",
            "sk_test_your_key",
            "abcd1234efgh5678",
            "AbCdEfGhIjKlMnOp",
            "987654321fedcba",
            "qwertyuiop123456",
            "************",
            "{{ secrets.TOKEN }}",
            "%(password)s",
        ] {
            assert!(is_placeholder(value), "{value}");
            assert!(!is_random_key(value), "{value}");
            assert!(!is_strong_password(value), "{value}");
        }
    }

    #[test]
    fn words_and_names_in_code_are_not_random() {
        for value in [
            "process.env.API_KEY_2",
            "generate_access_key_32",
            "com.company.module.Class9",
            "correcthorsebatterystaple1",
            "OAuth2AuthorizationCodeBearer",
            "base64.b64decode.data12",
            "2024-01-15T10:30:00.000",
            "jdbc.connection.pool.size10",
        ] {
            assert!(!is_random_key(value), "{value}");
            assert!(!is_strong_password(value), "{value}");
        }
    }

    #[test]
    fn random_values_are_random() {
        // From a random generator, once.
        for value in [
            "9fJ2kLx7QpZt4VbN8sRw3HyD",
            "c3f1e0a97b5d48e2a6f09d1c7e3b5a82",
            "hq7Xv-2_ZpLw9Kd0Rt",
            "zT5o1q8w6n3k7v0j4m2p",
            "5e2bfb9a-6d0c-4f6b-9a35-0c7d1e8fb246",
        ] {
            assert!(is_random_key(value), "{value}");
        }
        for value in ["P@55w0rd!23", "S3cr3tK3y!", "Adm1nistr@tor9"] {
            assert!(is_disguised_word(value), "{value}");
        }
        for value in ["PTzNA7Jt5B8hju", "kq7#Vz2!mPx9", "Zt4VbN8sRw3H"] {
            assert!(is_strong_password(value), "{value}");
        }
    }
}
