//! What is signed: an in-toto Statement (<https://in-toto.io/Statement/v1>), which names files by their
//! digests and says something about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The type of all statements here.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// A file that a statement is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its name, `/` between components.
    pub name: String,
    /// Its digests in hexadecimal by algorithm; `sha256` is always there in what we write.
    pub digest: BTreeMap<String, String>,
}

/// A statement about files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// The files.
    pub subject: Vec<Subject>,
    /// What kind of thing is said about them, an address.
    pub predicate_type: String,
    /// What is said.
    pub predicate: Value,
}

impl Statement {
    /// A statement that says `predicate`, about no file yet.
    #[must_use]
    pub fn new(predicate_type: &str, predicate: Value) -> Self {
        Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: Vec::new(),
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }

    /// The same statement about one more file with these bytes.
    #[must_use]
    pub fn about(self, name: &str, bytes: &[u8]) -> Self {
        self.about_digest(name, &hex(&Sha256::digest(bytes)))
    }

    /// The same statement about one more file with this SHA-256, in hexadecimal.
    #[must_use]
    pub fn about_digest(mut self, name: &str, sha256: &str) -> Self {
        self.subject.push(Subject {
            name: name.to_owned(),
            digest: BTreeMap::from([("sha256".to_owned(), sha256.to_owned())]),
        });
        self
    }

    /// The SHA-256 that the statement has for `name`; `None` when it has none, or several.
    #[must_use]
    pub fn sha256_of(&self, name: &str) -> Option<&str> {
        let mut named = self.subject.iter().filter(|subject| subject.name == name);
        let subject = named.next()?;
        if named.next().is_some() {
            return None;
        }
        subject.digest.get("sha256").map(String::as_str)
    }
}

/// Bytes in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_the_names_of_the_specification() {
        let statement = Statement::new("https://example.com/p", Value::Null).about("a", b"abc");
        let written = serde_json::to_value(&statement).unwrap();
        // SHA-256 of `abc`: FIPS 180-2, appendix B.1.
        let expected = serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": "a", "digest": {"sha256":
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}],
            "predicateType": "https://example.com/p",
            "predicate": null,
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn a_name_with_two_digests_has_none() {
        let one = Statement::new("x", Value::Null).about("a", b"1");
        assert!(one.sha256_of("a").is_some());
        assert_eq!(one.sha256_of("b"), None);
        assert_eq!(one.about("a", b"2").sha256_of("a"), None);
    }
}
