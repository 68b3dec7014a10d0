//! Git LFS pointers: small texts that stand where a large file should be.

use std::io::Read as _;
use std::path::Path;

use crate::regular::open_resolved;

/// Pointers are shorter by their specification.
const MAX_BYTES: u64 = 1024;

/// The `oid` of the file at `path` when that is a pointer: `sha256:` and digits.
pub(crate) fn target_of(path: &Path, bytes: u64) -> Option<String> {
    if bytes >= MAX_BYTES {
        return None;
    }
    let mut text = String::new();
    open_resolved(path).ok()?.read_to_string(&mut text).ok()?;
    target_in(&text)
}

/// The `oid` of a file with this text when that is a pointer.
pub(super) fn target_in(text: &str) -> Option<String> {
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix("version ")?;
    let known = [
        "https://git-lfs.github.com/spec/",
        "https://hawser.github.com/spec/",
    ];
    known
        .iter()
        .any(|address| version.starts_with(address))
        .then(|| {
            lines
                .find_map(|line| line.strip_prefix("oid "))
                .unwrap_or("unknown")
        })
        .map(str::to_owned)
}

/// Why a file that is a pointer is unscanned.
pub(crate) fn reason(oid: &str) -> String {
    let oid: String = oid.chars().take(80).collect();
    format!("it is a Git LFS pointer to `{oid}`, not the data; run `git lfs pull` and scan again")
}
