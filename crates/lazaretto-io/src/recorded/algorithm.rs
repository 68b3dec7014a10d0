//! The digest functions that records use.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

use crate::discover::{InputFile, hex};
use crate::error::IoError;
use crate::regular::open_resolved;

/// Bytes that are read and hashed at a time.
const CHUNK: usize = 1 << 20;

/// A digest function of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha512,
    Blake3,
    /// SHA-1 over a header with the size, and the content: the id of a git blob.
    GitBlob,
}

impl Algorithm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
            Self::Blake3 => "BLAKE3",
            Self::GitBlob => "git blob id",
        }
    }

    /// The algorithm that a list of checksums means by its name, such as `SHA256` in BSD lines.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "md5" => Self::Md5,
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            "sha512" => Self::Sha512,
            "blake3" => Self::Blake3,
            _ => return None,
        })
    }

    /// The algorithm with digests of this many hexadecimal digits that lists without a name use.
    pub(super) fn of_length(digits: usize) -> Option<Self> {
        Some(match digits {
            32 => Self::Md5,
            40 => Self::Sha1,
            64 => Self::Sha256,
            128 => Self::Sha512,
            _ => return None,
        })
    }

    /// `text` in lower case when it is a digest of this algorithm in hexadecimal.
    pub(super) fn digits(self, text: &str) -> Option<String> {
        let length = match self {
            Self::Md5 => 32,
            Self::Sha1 | Self::GitBlob => 40,
            Self::Sha256 | Self::Blake3 => 64,
            Self::Sha512 => 128,
        };
        let is_digest = text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| text.to_ascii_lowercase())
    }
}

/// Digests of `file`, read once for all that discovery has not computed.
pub(super) fn found_digests(
    file: &InputFile,
    algorithms: &BTreeSet<Algorithm>,
) -> Result<BTreeMap<Algorithm, String>, IoError> {
    let mut digests = BTreeMap::new();
    let mut md5 = algorithms.contains(&Algorithm::Md5).then(Md5::new);
    let mut sha1 = algorithms.contains(&Algorithm::Sha1).then(Sha1::new);
    let mut sha512 = algorithms.contains(&Algorithm::Sha512).then(Sha512::new);
    let mut blob = algorithms.contains(&Algorithm::GitBlob).then(|| {
        let header = format!("blob {}\0", file.bytes);
        Sha1::new_with_prefix(header)
    });
    if md5.is_some() || sha1.is_some() || sha512.is_some() || blob.is_some() {
        let failed = || IoError::storage("read", &file.path);
        let mut content = open_resolved(&file.path).map_err(failed())?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = content.read(&mut buffer).map_err(failed())?;
            if read == 0 {
                break;
            }
            let bytes = &buffer[..read];
            if let Some(hasher) = &mut md5 {
                hasher.update(bytes);
            }
            if let Some(hasher) = &mut sha1 {
                hasher.update(bytes);
            }
            if let Some(hasher) = &mut sha512 {
                hasher.update(bytes);
            }
            if let Some(hasher) = &mut blob {
                hasher.update(bytes);
            }
        }
    }
    for &algorithm in algorithms {
        let digits = match algorithm {
            Algorithm::Sha256 => Some(hex(&file.sha256)),
            Algorithm::Blake3 => Some(hex(&file.digest)),
            Algorithm::Md5 => md5.take().map(|hasher| hex(&hasher.finalize())),
            Algorithm::Sha1 => sha1.take().map(|hasher| hex(&hasher.finalize())),
            Algorithm::Sha512 => sha512.take().map(|hasher| hex(&hasher.finalize())),
            Algorithm::GitBlob => blob.take().map(|hasher| hex(&hasher.finalize())),
        };
        digests.extend(digits.map(|digits| (algorithm, digits)));
    }
    Ok(digests)
}
