//! What the Hugging Face client notes beside what it downloads into a folder: commit, etag and time, a line
//! each. The etag is the SHA-256 of large files and the git blob id of the others.

use super::algorithm::Algorithm;
use super::{Claim, joined, plain_path, read_record};
use crate::discover::Discovery;

/// Folder of the notes, relative to the folder that was downloaded into.
const NOTES: &str = ".cache/huggingface/download";

/// The etags noted for the files of `discovery`.
pub(super) fn claims(discovery: &Discovery) -> Vec<Claim> {
    let mut claims = Vec::new();
    for base in &discovery.bases {
        if plain_path(&discovery.root, &joined(base, NOTES)).is_none() {
            continue;
        }
        for file in &discovery.files {
            let Some(within) = below(base, &file.relative) else {
                continue;
            };
            let note = joined(base, &format!("{NOTES}/{within}.metadata"));
            let text = plain_path(&discovery.root, &note).and_then(|path| read_record(&path));
            let Some((algorithm, digits)) = text.as_deref().and_then(etag) else {
                continue;
            };
            claims.push(Claim {
                path: file.relative.clone(),
                recorded_in: note,
                algorithm,
                digits,
            });
        }
    }
    claims
}

fn below<'a>(base: &str, relative: &'a str) -> Option<&'a str> {
    if base.is_empty() {
        return Some(relative);
    }
    relative.strip_prefix(base)?.strip_prefix('/')
}

/// The digest on the second line of a note.
pub(super) fn etag(text: &str) -> Option<(Algorithm, String)> {
    let etag = text.lines().nth(1)?.trim().trim_matches('"');
    [Algorithm::Sha256, Algorithm::GitBlob]
        .into_iter()
        .find_map(|algorithm| Some((algorithm, algorithm.digits(etag)?)))
}
