//! URLs and e-mail addresses in a text, in linear time.

use std::ops::Range;

/// A URL without its scheme, or an e-mail address, without what a sentence adds to it.
pub(super) fn whole_address(written: &str) -> String {
    let written = written.to_lowercase();
    let address = written
        .split_once("://")
        .map_or(&*written, |(_, rest)| rest);
    let address = address.strip_prefix("www.").unwrap_or(address);
    let end = |c: char| {
        matches!(
            c,
            '.' | ',' | ';' | ':' | '!' | '?' | '\'' | ']' | '}' | '*' | '/' | '`'
        )
    };
    address.trim_end_matches(end).to_owned()
}

/// Hosts of the URLs in `text` and e-mail addresses, with the bytes of the whole URL or address.
pub(super) fn addresses(text: &str) -> Vec<(Range<usize>, String)> {
    let bytes = text.as_bytes();
    let part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_') || b >= 0x80;
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = next_mark(bytes, from) {
        from = at + 1;
        let (start, host) = match bytes[at] {
            b':' => (
                bytes[..at].iter().rposition(|b| !b.is_ascii_alphabetic()),
                at + 3,
            ),
            b'@' => {
                let local = |b: &u8| !part(*b) && *b != b'+';
                (bytes[..at].iter().rposition(local), at + 1)
            }
            _ => (at.checked_sub(1), at),
        };
        let start = start.map_or(0, |before| before + 1);
        let length = bytes[host..].iter().position(|&b| !part(b));
        let host_end = length.map_or(bytes.len(), |length| host + length);
        let name = text.get(host..host_end).unwrap_or_default();
        let name = name.trim_end_matches(['.', '-', '_']).to_lowercase();
        if !name.contains('.') || !text.is_char_boundary(start) {
            continue;
        }
        if bytes[at] == b'@' {
            if start < at {
                let local = text[start..at].to_lowercase();
                found.push((start..host_end, format!("{local}@{name}")));
            }
        } else {
            let rest = bytes[host_end..]
                .iter()
                .position(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b'<' | b'>' | b')'));
            let end = rest.map_or(bytes.len(), |rest| host_end + rest);
            let name = name.strip_prefix("www.").unwrap_or(&name).to_owned();
            found.push((start..end, name));
            // A URL is read once, whatever stands in it.
            from = end.max(from);
        }
    }
    found
}

/// The next `://`, `www.` at the start of a word, or `@`.
fn next_mark(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|&at| match bytes[at] {
        b'@' => true,
        b':' => bytes[at..].starts_with(b"://"),
        b'w' | b'W' => {
            let fresh = at == 0 || !bytes[at - 1].is_ascii_alphanumeric() && bytes[at - 1] != b'/';
            fresh && bytes[at..].len() > 4 && bytes[at..at + 4].eq_ignore_ascii_case(b"www.")
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_and_mailboxes() {
        let text = "See https://www.Example.org/a?b=c, http://x.test:80/ or www.shop.test. \
                    Mail A.b+c@mail.test; not a@b, 5 @ 3, or ://.";
        let names: Vec<String> = addresses(text).into_iter().map(|(_, name)| name).collect();
        assert_eq!(
            names,
            ["example.org", "x.test", "shop.test", "a.b+c@mail.test"]
        );
        let (bytes, _) = &addresses(text)[0];
        assert_eq!(&text[bytes.clone()], "https://www.Example.org/a?b=c,");
        assert_eq!(whole_address(&text[bytes.clone()]), "example.org/a?b=c");
        assert_eq!(whole_address("http://x.test/"), "x.test");
        for text in [
            "",
            "@",
            "é@é.é",
            "://",
            "www.",
            "日本://日本.日本@日本",
            "a://b.c",
        ] {
            for (bytes, _) in addresses(text) {
                assert!(text.get(bytes).is_some(), "{text}");
            }
        }
    }
}
