//! Texts of others: pipelines, descriptions of datasets, proofs, and what records hide in
//! encodings.

#![expect(
    clippy::missing_panics_doc,
    reason = "a panic is a finding, as the documentation of the crate says"
)]

use lazaretto_engine::{Settings, pipeline as pipeline_file};
use lazaretto_io::{Manifest, fuzzing};
use lazaretto_patterns::{Limits, decode, redact};
use lazaretto_proof::{Envelope, PublicKey, SecretKey, Statement, Trust};

use crate::panics::held_to_account;

/// The key of [`proof`]'s envelope, made for this purpose: RFC 8410, section 10.3.
pub const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";

/// A pipeline file.
pub fn pipeline(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    held_to_account(|| match pipeline_file::parse(&text) {
        Ok(file) => {
            if let Ok(settings) = Settings::new("fuzz", file) {
                assert_eq!(settings.hash(), settings.hash());
            }
        }
        Err(problems) => assert!(!problems.is_empty()),
    });
}

/// Everything that describes a dataset beside its data.
pub fn metadata(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    held_to_account(|| fuzzing::read_descriptions(&text));
}

/// Signed envelopes, keys, lists of keys and manifests.
pub fn proof(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    held_to_account(|| {
        if let Ok(key) = SecretKey::from_pem(&text) {
            let pem = key.to_pem().expect("a key that was read can be written");
            let again = SecretKey::from_pem(&pem).expect("what was written can be read");
            assert_eq!(key.public(), again.public());
        }
        if let Ok(key) = PublicKey::from_pem(&text) {
            let pem = key.to_pem().expect("a key that was read can be written");
            assert_eq!(PublicKey::from_pem(&pem).ok(), Some(key));
        }
        let _ = Trust::parse(&text);
        if let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) {
            let written = serde_json::to_vec(&manifest).expect("a manifest can be written");
            assert_eq!(serde_json::from_slice(&written).ok(), Some(manifest));
        }
        if let Ok(envelope) = Envelope::parse(bytes) {
            assert_eq!(envelope.to_bytes(), bytes);
            let key = SecretKey::from_pem(KEY).expect("it is the one of the standard");
            let pem = key.public().to_pem().expect("it can be written");
            let trust = Trust::parse(&pem).expect("it is a key");
            if envelope.verify(&trust, None).is_ok() {
                assert_eq!(bytes, signed_envelope(), "a forged signature");
            }
        }
    });
}

/// The one envelope that [`proof`] trusts.
#[must_use]
pub fn signed_envelope() -> Vec<u8> {
    let key = SecretKey::from_pem(KEY).expect("it is the one of the standard");
    let statement = Statement::new("https://example.com/p", serde_json::json!({"passed": true}))
        .about("manifest.json", b"{}");
    let envelope = Envelope::sign(&statement, &[&key]).expect("it can be signed");
    envelope.to_bytes()
}

/// What a text hides in encodings, and what of it is masked.
pub fn encodings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    held_to_account(|| {
        let small = Limits {
            bytes: 4 << 10,
            depth: 2,
            pieces: 8,
        };
        for limits in [Limits::default(), small] {
            let decoded = decode(&text, &limits);
            assert!(decoded.layers.len() <= limits.pieces);
            let spent: usize = decoded.layers.iter().map(|layer| layer.text.len()).sum();
            assert!(spent <= limits.bytes, "{spent} bytes of {}", limits.bytes);
            for layer in &decoded.layers {
                assert!(layer.encodings.len() <= limits.depth);
                // Readers of findings cut the text there.
                assert!(text.get(layer.range.clone()).is_some(), "{:?}", layer.range);
            }
        }
        let _ = redact(&text);
    });
}
