//! The host of a web address, read as a browser would: what stands before an `@` is no host.

use lazaretto_core::{Domains, Standing};

/// The host in lower case; `None` where the text has none.
pub(super) fn host(url: &str) -> Option<String> {
    let url = url.trim();
    let (scheme, after) = match url.split_once("://") {
        Some((scheme, after)) => (Some(scheme), after),
        None => (None, url.strip_prefix("//").unwrap_or(url)),
    };
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    };
    if scheme.is_some_and(|scheme| !is_scheme(scheme)) {
        return None;
    }
    let authority = after.split(['/', '?', '#', '\\']).next()?;
    let place = authority
        .rsplit_once('@')
        .map_or(authority, |(_, place)| place);
    let name = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => place.split(':').next()?,
    };
    let name = name.trim_end_matches('.').to_lowercase();
    (!name.is_empty() && !name.contains(char::is_whitespace)).then_some(name)
}

/// How the domain of `host` stands.
pub(super) fn standing(domains: &Domains, host: &str) -> Standing {
    let among = |list: &[String]| {
        list.iter().any(|domain| {
            host.strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    };
    if among(&domains.blocked) {
        Standing::Blocked
    } else if among(&domains.trusted) {
        Standing::Trusted
    } else {
        Standing::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_that_a_browser_would_ask() {
        for (url, expected) in [
            ("https://en.Wikipedia.org/wiki/A", Some("en.wikipedia.org")),
            ("http://example.org:8080?x", Some("example.org")),
            ("https://wikipedia.org@evil.example/", Some("evil.example")),
            (
                "https://wikipedia.org:80@evil.example",
                Some("evil.example"),
            ),
            (
                "https://evil.example\\@wikipedia.org/",
                Some("evil.example"),
            ),
            ("https://evil.example#@wikipedia.org/", Some("evil.example")),
            ("//example.org./x", Some("example.org")),
            ("example.org/x", Some("example.org")),
            ("https://[2001:db8::1]:443/", Some("2001:db8::1")),
            ("https:///x", None),
            ("", None),
            ("two words", None),
            ("a b://example.org", None),
        ] {
            assert_eq!(host(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn subdomains_count_and_look_alike_ends_do_not() {
        let domains = Domains {
            trusted: vec!["example.org".to_owned()],
            blocked: vec!["ads.example.org".to_owned()],
        };
        for (host, expected) in [
            ("example.org", Standing::Trusted),
            ("www.example.org", Standing::Trusted),
            ("notexample.org", Standing::Unknown),
            ("ads.example.org", Standing::Blocked),
            ("x.ads.example.org", Standing::Blocked),
            ("example.org.evil.example", Standing::Unknown),
        ] {
            assert_eq!(standing(&domains, host), expected, "{host}");
        }
    }
}
