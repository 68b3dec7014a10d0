//! Croissant descriptions (<https://docs.mlcommons.org/croissant/>): the digests in `distribution`.

use serde_json::Value;

use super::Entry;
use super::algorithm::Algorithm;
use crate::discover::percent_decode;

/// Whether a file of this name may be a Croissant description.
pub(super) fn may_be(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.rsplit_once('.').is_some_and(|(stem, end)| {
        matches!(end, "json" | "jsonld") && (stem == "metadata" || stem.contains("croissant"))
    })
}

/// The digests of a description; `None` when the text is none.
///
/// A property that should be a digest and is something else, such as the address of an issue that
/// generated descriptions hold, is no digest.
pub(super) fn entries(text: &str) -> Option<Vec<Entry>> {
    let description: Value = serde_json::from_str(text).ok()?;
    description.get("@context")?;
    let distribution = description.get("distribution")?;
    let objects = match distribution {
        Value::Array(objects) => objects.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut entries = Vec::new();
    for object in objects {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let (names, expected) = names(text("contentUrl"), text("name"), text("@id"));
        for (key, algorithm) in [("sha256", Algorithm::Sha256), ("md5", Algorithm::Md5)] {
            let Some(digits) = text(key).and_then(|digits| algorithm.digits(digits.trim())) else {
                continue;
            };
            entries.push(Entry {
                names: names.clone(),
                expected,
                algorithm,
                digits,
            });
        }
    }
    Some(entries)
}

/// The names that an object may have here, and whether it must be here.
fn names(url: Option<&str>, name: Option<&str>, id: Option<&str>) -> (Vec<String>, bool) {
    let mut names = Vec::new();
    let remote = url.and_then(|url| url.split_once("://"));
    match (url, remote) {
        (_, Some((_, rest))) => {
            // A copy keeps the end of the path: how much of it, the data files tell.
            let path = rest.split(['?', '#']).next().unwrap_or_default();
            let parts: Vec<String> = path.split('/').skip(1).map(percent_decode).collect();
            names.extend((0..parts.len()).map(|start| parts[start..].join("/")));
        }
        (Some(relative), None) => names.push(relative.to_owned()),
        (None, None) => {}
    }
    names.extend([name, id].into_iter().flatten().map(str::to_owned));
    (names, url.is_some() && remote.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_taken_and_placeholders_are_not() {
        let text = serde_json::json!({
            "@context": {"@vocab": "https://schema.org/"},
            "distribution": [
                {"@type": "cr:FileObject", "@id": "repo", "contentUrl": "https://example.com/tree",
                 "sha256": "https://github.com/mlcommons/croissant/issues/80"},
                {"@type": "cr:FileObject", "name": "train",
                 "contentUrl": "https://example.com/resolve/main/data/train%20a.csv?download=true",
                 "sha256": "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"},
                {"@type": "cr:FileObject", "contentUrl": "test.csv",
                 "md5": "900150983cd24fb0d6963f7d28e17f72"},
            ],
        });
        let entries = entries(&text.to_string()).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(
            entries[0].names,
            [
                "resolve/main/data/train a.csv",
                "main/data/train a.csv",
                "data/train a.csv",
                "train a.csv",
                "train"
            ]
        );
        assert!(!entries[0].expected, "an address says nothing of a copy");
        assert_eq!(
            (&entries[1].names[0], entries[1].expected),
            (&"test.csv".to_owned(), true)
        );
    }

    #[test]
    fn other_json_is_no_description() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"distribution\": []}",
            "{\"a\": 1}\n{\"a\": 2}",
        ] {
            assert_eq!(entries(text), None, "{text}");
        }
    }
}
