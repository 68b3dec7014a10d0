//! Lists of checksums as `sha256sum`, `b3sum` and BSD's `sha256` write them, and single digests.

use super::Entry;
use super::algorithm::Algorithm;

/// What a list says about its digests by its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// They are all of this kind.
    One(Algorithm),
    /// Their length tells.
    ByLength,
}

/// Extensions of lists, and of files with the digest of the file of that name without it.
const EXTENSIONS: [(&str, Algorithm); 11] = [
    ("sha256", Algorithm::Sha256),
    ("sha256sum", Algorithm::Sha256),
    ("sha256sums", Algorithm::Sha256),
    ("sha512", Algorithm::Sha512),
    ("sha512sum", Algorithm::Sha512),
    ("sha1", Algorithm::Sha1),
    ("sha1sum", Algorithm::Sha1),
    ("md5", Algorithm::Md5),
    ("md5sum", Algorithm::Md5),
    ("b3", Algorithm::Blake3),
    ("blake3", Algorithm::Blake3),
];

/// What the digests in a file of this name are; `None` when it is no list of checksums.
pub(super) fn algorithm_of(name: &str) -> Option<Named> {
    let lower = name.to_ascii_lowercase();
    let stem = lower.strip_suffix(".txt").unwrap_or(&lower);
    let algorithm = match stem {
        "sha256sums" | "sha256sum" => Algorithm::Sha256,
        "sha512sums" | "sha512sum" => Algorithm::Sha512,
        "sha1sums" | "sha1sum" => Algorithm::Sha1,
        "md5sums" | "md5sum" => Algorithm::Md5,
        "b3sums" | "b3sum" => Algorithm::Blake3,
        "checksums" | "checksum" => return Some(Named::ByLength),
        _ => {
            let (_, extension) = stem.rsplit_once('.')?;
            let known = EXTENSIONS.iter().find(|(known, _)| *known == extension);
            known?.1
        }
    };
    Some(Named::One(algorithm))
}

/// The entries of a list called `name`. Lines that are no entry (comments, signatures) are left out.
pub(super) fn entries(name: &str, named: Named, text: &str) -> Vec<Entry> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if let (Some(only), None) = (lines.next(), lines.next())
        && let Some((algorithm, digits)) = digest(named, only)
        && let Some((file, _)) = name.rsplit_once('.')
    {
        return vec![entry(file.to_owned(), algorithm, digits)];
    }
    text.lines()
        .filter_map(|line| tagged(line).or_else(|| untagged(named, line)))
        .collect()
}

/// `SHA256 (name) = digest`, as BSD and `--tag` write it.
fn tagged(line: &str) -> Option<Entry> {
    let (name, rest) = line.trim().split_once(" (")?;
    let (file, digits) = rest.rsplit_once(") = ")?;
    let algorithm = Algorithm::named(name)?;
    Some(entry(file.to_owned(), algorithm, algorithm.digits(digits)?))
}

/// `digest  name` or `digest *name`; after a `\` at the start, `\n` and `\\` in the name are escapes.
fn untagged(named: Named, line: &str) -> Option<Entry> {
    let line = line.trim_end_matches('\r');
    let escaped = line.strip_prefix('\\');
    let (digits, file) = escaped
        .unwrap_or(line)
        .split_once([' ', '\t'])
        .map(|(digits, rest)| (digits, rest.trim_start_matches([' ', '\t'])))?;
    let (algorithm, digits) = digest(named, digits)?;
    let file = file.strip_prefix('*').unwrap_or(file);
    let file = if escaped.is_some() {
        file.replace("\\n", "\n").replace("\\\\", "\\")
    } else {
        file.to_owned()
    };
    (!file.is_empty()).then(|| entry(file, algorithm, digits))
}

fn digest(named: Named, text: &str) -> Option<(Algorithm, String)> {
    let algorithm = match named {
        Named::One(algorithm) => algorithm,
        Named::ByLength => Algorithm::of_length(text.len())?,
    };
    Some((algorithm, algorithm.digits(text)?))
}

fn entry(file: String, algorithm: Algorithm, digits: String) -> Entry {
    Entry {
        names: vec![file],
        expected: true,
        algorithm,
        digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "900150983cd24fb0d6963f7d28e17f72";

    fn read(name: &str, text: &str) -> Vec<(String, Algorithm)> {
        let named = algorithm_of(name).unwrap();
        entries(name, named, text)
            .into_iter()
            .map(|entry| (entry.names[0].clone(), entry.algorithm))
            .collect()
    }

    #[test]
    fn names_of_lists_are_known() {
        for name in [
            "SHA256SUMS",
            "sha256sums.txt",
            "MD5SUMS",
            "B3SUMS",
            "train.csv.sha256",
            "all.md5",
        ] {
            assert!(algorithm_of(name).is_some(), "{name}");
        }
        for name in ["train.csv", "README.md", "sha256", "notes.txt"] {
            assert_eq!(algorithm_of(name), None, "{name}");
        }
    }

    #[test]
    fn every_common_form_is_read() {
        let coreutils =
            format!("# made by hand\n{MD5}  a.csv\n{MD5} *b c.csv\n\\{MD5}  d\\\\e.csv\n");
        let files: Vec<_> = read("MD5SUMS", &coreutils)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(files, ["a.csv", "b c.csv", "d\\e.csv"]);
        let bsd = format!("MD5 (a (1).csv) = {MD5}\n");
        assert_eq!(
            read("checksums.txt", &bsd),
            [("a (1).csv".to_owned(), Algorithm::Md5)]
        );
        assert_eq!(
            read("a.csv.md5", &format!("{}\n", MD5.to_uppercase())),
            [("a.csv".to_owned(), Algorithm::Md5)]
        );
        assert_eq!(
            read("checksums.txt", &format!("{}  x.csv", "0".repeat(64))),
            [("x.csv".to_owned(), Algorithm::Sha256)]
        );
        // A digest of another kind than the name of the list promises is none.
        assert!(read("SHA256SUMS", &format!("{MD5}  a.csv\n")).is_empty());
    }
}
