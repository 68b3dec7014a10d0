//! Secrets in texts: keys, tokens and passwords that must not reach a model.
//!
//! The forms are in `data/secrets.toml`. Their kinds say what proves a match:
//!
//! | kind | the value | must be |
//! |---|---|---|
//! | `token` | a form that one product gives its keys | varied, no placeholder, on its own |
//! | `assigned` | anything that is assigned to a name like `api_key` | a random key or password |
//! | `password` | a password where only passwords stand | strong, or on a real host |
//! | `basic` | a user and a password in base64 | a strong password |
//! | `jwt` | a JSON web token | a header in JSON that names an algorithm |
//! | `pem` | a private key | base64 of a key's length |

mod random;

use std::ops::Range;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{GeneralPurposeConfig, STANDARD};

use crate::checksum::base62_crc32;
use crate::set::{Match, Pattern, PatternSet};

use random::{
    is_disguised_word, is_placeholder, is_random_key, is_strong_password, is_varied, is_wordy,
};

/// The file of the family; `¦` in it stands for nothing (it says why).
const FILE: &str = include_str!("../../data/secrets.toml");
/// Bytes of a private key, or of a web token, that are looked at.
const MAX_VALUE: usize = 8 << 10;
/// Characters of base64 that the shortest private key has.
const MIN_PEM: usize = 60;

/// A secret in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Index into [`Secrets::patterns`].
    pub pattern: usize,
    /// Byte range of the value.
    pub range: Range<usize>,
    /// Leading bytes of the value that are the same for everybody and may be shown.
    pub public: usize,
    /// Whether a checksum inside the value holds.
    pub verified: bool,
}

/// The family of secrets.
#[derive(Debug)]
pub struct Secrets {
    set: Option<PatternSet>,
}

impl Secrets {
    /// The patterns that come with the program, compiled once.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Secrets> = LazyLock::new(|| Secrets {
            // That the file parses is what its test holds.
            set: PatternSet::parse(&FILE.replace('¦', "")).ok(),
        });
        &SHIPPED
    }

    /// The patterns, in the order of the file.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        self.set.as_ref().map_or(&[], PatternSet::patterns)
    }

    /// Version of the patterns.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.set.as_ref().map_or(0, PatternSet::version)
    }

    /// The secrets in `text`, by place and without overlap.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Secret> {
        let Some(set) = &self.set else {
            return Vec::new();
        };
        let mut found: Vec<Secret> = set
            .find(text)
            .iter()
            .filter_map(|found| self.judge(set, text, found))
            .collect();
        found.sort_by_key(|secret| (secret.range.start, secret.pattern));
        let mut apart: Vec<Secret> = Vec::with_capacity(found.len());
        for secret in found {
            match apart.last_mut() {
                // The first pattern names what several have found, all of which is secret.
                Some(last) if secret.range.start < last.range.end => {
                    last.range.end = last.range.end.max(secret.range.end);
                    if secret.pattern < last.pattern {
                        last.pattern = secret.pattern;
                        last.public = 0;
                        last.verified = secret.verified;
                    }
                }
                _ => apart.push(secret),
            }
        }
        apart
    }

    fn judge(&self, set: &PatternSet, text: &str, found: &Match) -> Option<Secret> {
        let pattern = &self.patterns()[found.pattern];
        let mut range = set.value(text, found);
        let mut public = 0;
        let mut verified = false;
        let value = &text[range.clone()];
        let is_secret = match pattern.kind.as_str() {
            "token" => {
                let body = body(pattern, value);
                public = value.len() - body.len();
                verified = checksum_holds(pattern, body);
                stands_alone(text, found, &range)
                    && (verified
                        || is_varied(body.as_bytes()) && !is_placeholder(body) && !is_wordy(body))
            }
            "assigned" => {
                let before = &text[floor(text, found.range.start.saturating_sub(16))..range.start];
                let password = value.len() >= 10
                    && names_password(before)
                    && is_strong_password(value)
                    && !is_disguised_word(value);
                let random = password || is_random_key(value);
                random
                    && !is_public(before)
                    && !is_suggested(text, found.range.start)
                    && !value.contains("://")
                    && stands_alone(text, found, &range)
            }
            "password" => is_strong_password(value) || is_weak_password(text, found, &range),
            "basic" => STANDARD
                .decode(value)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .and_then(|login| {
                    login
                        .split_once(':')
                        .map(|(_, password)| is_strong_password(password))
                })
                .unwrap_or(false),
            "jwt" => {
                range.end = extended(text, range.end, |byte| {
                    byte.is_ascii_alphanumeric() || b"-_.=".contains(&byte)
                });
                public = 3;
                is_web_token(&text[range.clone()])
            }
            "pem" => {
                let header = value.find("KEY").map_or(0, |at| {
                    at + value[at..].find("-----").map_or(0, |dashes| dashes + 5)
                });
                range.start += header;
                range.end = pem_end(text, range.start);
                is_key_body(&text[range.clone()])
            }
            _ => false,
        };
        is_secret.then_some(Secret {
            pattern: found.pattern,
            public: public.min(range.len()),
            range,
            verified,
        })
    }
}

/// What follows the part of a token that all tokens of its kind share.
fn body<'a>(pattern: &Pattern, value: &'a str) -> &'a str {
    let prefixes = pattern.keywords.iter();
    let shared = prefixes
        .filter(|prefix| {
            let start = value.as_bytes().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        })
        .map(String::len)
        .max();
    &value[shared.unwrap_or(0)..]
}

/// GitHub's and npm's tokens end in a checksum of what stands before it.
fn checksum_holds(pattern: &Pattern, body: &str) -> bool {
    if !matches!(pattern.id.as_str(), "github-token" | "npm-token") {
        return false;
    }
    body.len().checked_sub(6).is_some_and(|end| {
        body.is_char_boundary(end) && base62_crc32(&body[..end]) == body.as_bytes()[end..]
    })
}

/// Whether no longer word contains the value, or what its pattern found around it: an image in
/// base64 is no token.
fn stands_alone(text: &str, found: &Match, value: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let begins = |start: usize| {
        let before = start.checked_sub(1).map(|idx| bytes[idx]);
        !before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
    };
    let ends = !bytes.get(value.end).is_some_and(u8::is_ascii_alphanumeric);
    ends && (begins(value.start) || begins(found.range.start))
}

fn floor(text: &str, mut idx: usize) -> usize {
    while !text.is_char_boundary(idx) {
        idx -= 1;
    }
    idx
}

/// Whether the text hands out a value that was made for the reader: "a randomly generated password".
fn is_suggested(text: &str, at: usize) -> bool {
    let before = text[floor(text, at.saturating_sub(80))..at].to_ascii_lowercase();
    ["generated", "random", "for example", "such as", "e.g."]
        .iter()
        .any(|word| before.contains(word))
}

fn names_password(before: &str) -> bool {
    let before = before.to_ascii_lowercase();
    ["pass", "pwd", "secret", "credential"]
        .iter()
        .any(|word| before.contains(word))
}

/// Names of values that are random and no secret.
fn is_public(before: &str) -> bool {
    const WORDS: &[&str] = &[
        "hash",
        "encrypt",
        "enc_",
        "cipher",
        "public",
        "salt",
        "csrf",
        "digest",
        "checksum",
        "page",
        "cursor",
        "sha1",
        "sha2",
        "md5",
        "tokeniz",
        "tokens",
        "_id",
        "nonce",
        "continuation",
    ];
    let before = before.to_ascii_lowercase();
    WORDS.iter().any(|word| before.contains(word))
}

/// A password that is not strong is still one where it opens a host that exists: not on the
/// reader's own machine, and not in documentation.
fn is_weak_password(text: &str, found: &Match, range: &Range<usize>) -> bool {
    let value = &text[range.clone()];
    let host = text[range.end..found.range.end]
        .trim_start_matches('@')
        .to_ascii_lowercase();
    let user = &text[found.range.start..range.start];
    let user = user
        .trim_end_matches(':')
        .rsplit(['/', ' '])
        .next()
        .unwrap_or_default();
    let no_host = [
        "localhost",
        "127.",
        "0.0.0.0",
        "example",
        "host",
        "server",
        "<",
        "{",
        "$",
        "db:",
        "db/",
        "test",
        "your",
        "domain",
    ];
    !host.is_empty()
        && host.contains('.')
        && !no_host.iter().any(|word| host.contains(word))
        && value.len() >= 8
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && !value.eq_ignore_ascii_case(user)
        && is_varied(value.as_bytes())
        && !is_placeholder(value)
}

fn extended(text: &str, from: usize, goes_on: impl Fn(u8) -> bool) -> usize {
    let rest = text.as_bytes()[from..].iter().take(MAX_VALUE);
    from + rest.take_while(|&&byte| goes_on(byte)).count()
}

/// A header in JSON with an algorithm, a payload, and a signature that was not made up.
fn is_web_token(value: &str) -> bool {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let mut parts = value.trim_end_matches(['.', '=', '-']).split('.');
    let (Some(header), Some(payload)) = (parts.next(), parts.next()) else {
        return false;
    };
    let header = LENIENT.decode(header).ok();
    let header: Option<serde_json::Value> =
        header.and_then(|json| serde_json::from_slice(&json).ok());
    let documented = LENIENT.decode(payload).is_ok_and(|payload| {
        // The payload of everybody's first example.
        payload.windows(10).any(|window| window == b"1234567890")
    });
    let signature = parts.next().unwrap_or_default();
    header.is_some_and(|header| header.get("alg").is_some())
        && !documented
        && (signature.is_empty() || is_varied(signature.as_bytes()) && !is_placeholder(signature))
        && !is_placeholder(payload)
}

/// The end of a private key: its last line, or the end of its base64 where that is missing.
fn pem_end(text: &str, from: usize) -> usize {
    let limit = floor(text, from.saturating_add(MAX_VALUE).min(text.len()));
    match text[from..limit].find("-----END") {
        Some(end) => from + end,
        // Line breaks may be written out, as in JSON.
        None => extended(text, from, |byte| {
            byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=\\".contains(&byte)
        }),
    }
}

fn is_key_body(body: &str) -> bool {
    let body: String = body.replace("\\n", "").replace("\\r", "");
    let base64: Vec<u8> = body
        .bytes()
        .filter(|&byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
        .collect();
    let longest = body
        .split_ascii_whitespace()
        .map(str::len)
        .max()
        .unwrap_or(0);
    base64.len() >= MIN_PEM
        && longest >= 32
        && is_varied(&base64)
        && !std::str::from_utf8(&base64).is_ok_and(|text| is_placeholder(text) || is_wordy(text))
}

#[cfg(test)]
mod tests;
