//! Which digest of which content a column of recorded hashes holds.

use std::collections::BTreeMap;

use lazaretto_core::Batch;
use serde::{Deserialize, Serialize};
use sha2::Digest;

/// A digest function that datasets record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Blake3,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 5] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Blake3,
        Self::Sha512,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Blake3 => "BLAKE3",
            Self::Sha512 => "SHA-512",
        }
    }

    /// Length of the digest in hexadecimal digits.
    fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha256 | Self::Blake3 => 64,
            Self::Sha512 => 128,
        }
    }

    /// Whether `recorded`, hexadecimal in any case, is the digest of `content`.
    fn matches(self, recorded: &str, content: &[u8]) -> bool {
        let is = |digest: &[u8]| {
            let digits = recorded.as_bytes().chunks_exact(2);
            recorded.len() == 2 * digest.len()
                && digits.zip(digest).all(|(pair, &byte)| {
                    let value = std::str::from_utf8(pair).map(|pair| u8::from_str_radix(pair, 16));
                    matches!(value, Ok(Ok(value)) if value == byte)
                })
        };
        match self {
            Self::Md5 => is(&md5::Md5::digest(content)),
            Self::Sha1 => is(&sha1::Sha1::digest(content)),
            Self::Sha256 => is(&sha2::Sha256::digest(content)),
            Self::Blake3 => is(blake3::hash(content).as_bytes()),
            Self::Sha512 => is(&sha2::Sha512::digest(content)),
        }
    }
}

/// How a text was turned into bytes before it was digested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Form {
    /// As it stands.
    Exact,
    /// Without white space at both ends.
    Trimmed,
    /// With the line break that tools append.
    WithLineBreak,
}

impl Form {
    pub(super) const ALL: [Self; 3] = [Self::Exact, Self::Trimmed, Self::WithLineBreak];

    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Exact => "",
            Self::Trimmed => " without white space at its ends",
            Self::WithLineBreak => " with a final line break",
        }
    }
}

/// The digest `algorithm` of content number `content` of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Scheme {
    /// Index into [`content_names`].
    pub(super) content: u32,
    pub(super) algorithm: Algorithm,
    pub(super) form: Form,
}

impl Scheme {
    /// Whether `recorded` is the digest of the content of row `row_idx`; `None` where there is no
    /// content.
    pub(super) fn holds(self, batch: &Batch<'_>, row_idx: usize, recorded: &str) -> Option<bool> {
        let content = content(batch, self.content as usize, row_idx)?;
        Some(match self.form {
            Form::Exact => self.algorithm.matches(recorded, content),
            Form::Trimmed => self.algorithm.matches(recorded, content.trim_ascii()),
            Form::WithLineBreak => {
                let line = [content, b"\n"].concat();
                self.algorithm.matches(recorded, &line)
            }
        })
    }
}

/// Number of contents of a record: its text fields, then its blobs.
fn n_contents(batch: &Batch<'_>) -> usize {
    batch.texts.len() + batch.derived.blobs.len()
}

/// Names of the contents, in the order of their numbers.
pub(super) fn content_names(batch: &Batch<'_>) -> Vec<String> {
    let texts = batch.texts.iter().map(|field| field.name.clone());
    let blobs = batch.derived.blobs.iter().map(|blob| blob.name.clone());
    texts.chain(blobs).collect()
}

fn content<'b>(batch: &'b Batch<'_>, content: usize, row_idx: usize) -> Option<&'b [u8]> {
    match batch.texts.get(content) {
        Some(field) => field.get(row_idx).map(str::as_bytes),
        None => batch
            .derived
            .blobs
            .get(content - batch.texts.len())?
            .get(row_idx),
    }
}

/// The digits of a recorded hash, without a prefix that names the algorithm.
pub(super) fn digits(recorded: &str) -> &str {
    let recorded = recorded.trim();
    let after_name = recorded
        .rsplit_once([':', '='])
        .map_or(recorded, |(_, rest)| rest);
    after_name.strip_prefix("0x").unwrap_or(after_name)
}

/// How often each scheme held among the sampled records of one recorded column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trials {
    /// Records with a recorded hash.
    pub(super) tried: u64,
    pub(super) held: BTreeMap<Scheme, u64>,
}

impl Trials {
    /// Tries all schemes that fit the length of `recorded`.
    pub(super) fn add(&mut self, batch: &Batch<'_>, row_idx: usize, recorded: &str) {
        self.tried += 1;
        let fitting = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| algorithm.digits() == recorded.len());
        for algorithm in fitting {
            for content in 0..n_contents(batch) as u32 {
                for form in Form::ALL {
                    let scheme = Scheme {
                        content,
                        algorithm,
                        form,
                    };
                    if scheme.holds(batch, row_idx, recorded) == Some(true) {
                        *self.held.entry(scheme).or_default() += 1;
                        // What holds exactly holds in the other forms by chance of the text.
                        break;
                    }
                }
            }
        }
    }

    pub(super) fn merge(&mut self, later: &Self) {
        self.tried += later.tried;
        for (&scheme, &held) in &later.held {
            *self.held.entry(scheme).or_default() += held;
        }
    }

    /// The scheme that held most often, and how often.
    pub(super) fn best(&self) -> Option<(Scheme, u64)> {
        let all = self.held.iter().map(|(&scheme, &held)| (scheme, held));
        // The first of equals.
        all.rev().max_by_key(|&(_, held)| held)
    }
}
