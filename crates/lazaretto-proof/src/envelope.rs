//! The signed form: a DSSE envelope (<https://github.com/secure-systems-lab/dsse>, version 1).
//!
//! What is signed is the pre-authentication encoding of type and payload, so the JSON around it is not.
//! [`Envelope::parse`] therefore takes one spelling only, the one that [`Envelope::to_bytes`] writes:
//! a change of any byte of the file is noticed, also of those that no signature covers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::error::ProofError;
use crate::key::SecretKey;
use crate::statement::{STATEMENT_TYPE, Statement};
use crate::trust::{Day, Trust};

/// Type of the payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Signatures of an envelope; more are refused before any is checked.
const MAX_SIGNATURES: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

/// A statement with signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

/// A statement that somebody vouches for.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What was said.
    pub statement: Statement,
    /// Ids of the trusted keys that signed it, in the order of the signatures.
    pub keys: Vec<String>,
}

impl Envelope {
    /// Signs `statement` with each of `keys`.
    ///
    /// # Errors
    /// [`ProofError::Statement`] when it cannot be encoded.
    pub fn sign(statement: &Statement, keys: &[&SecretKey]) -> Result<Self, ProofError> {
        let payload = serde_json::to_vec(statement)
            .map_err(|error| ProofError::Statement(error.to_string()))?;
        let mut envelope = Self {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: STANDARD.encode(&payload),
            signatures: Vec::new(),
        };
        for key in keys {
            envelope.countersign(key)?;
        }
        Ok(envelope)
    }

    /// Adds the signature of `key`, in the place of an earlier one by the same key.
    ///
    /// # Errors
    /// [`ProofError::Envelope`] when the payload does not decode.
    pub fn countersign(&mut self, key: &SecretKey) -> Result<(), ProofError> {
        let message = pre_authentication(&self.payload_type, &self.payload()?);
        let keyid = key.public().id()?;
        self.signatures.retain(|signature| signature.keyid != keyid);
        self.signatures.push(Signature {
            keyid,
            sig: STANDARD.encode(key.sign(&message)),
        });
        Ok(())
    }

    /// Reads an envelope in canonical spelling.
    ///
    /// # Errors
    /// [`ProofError::Envelope`] when it is damaged or spelt otherwise.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let bad = |reason: String| ProofError::Envelope(reason);
        let envelope: Self =
            serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(bad(format!(
                "its payload is of type `{}`, not `{PAYLOAD_TYPE}`",
                envelope.payload_type
            )));
        }
        if envelope.signatures.len() > MAX_SIGNATURES {
            return Err(bad(format!("it has more than {MAX_SIGNATURES} signatures")));
        }
        envelope.payload()?;
        if envelope.to_bytes() != bytes {
            return Err(bad("it is not in canonical spelling".to_owned()));
        }
        Ok(envelope)
    }

    /// The canonical spelling: JSON on one line with a line break at its end.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings alone: this cannot fail.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Key ids that the signatures claim, unchecked.
    pub fn claimed_keys(&self) -> impl Iterator<Item = &str> {
        self.signatures
            .iter()
            .map(|signature| signature.keyid.as_str())
    }

    /// Checks the signatures against the keys that are trusted on day `today` (`None`: whenever)
    /// and reads the statement. Signatures by other keys do not count, for or against.
    ///
    /// # Errors
    /// [`ProofError::NoTrustedSignature`] when none is by a trusted key, [`ProofError::BadSignature`] when
    /// one by a trusted key does not hold, [`ProofError::Statement`] when what is signed is no statement.
    pub fn verify(&self, trust: &Trust, today: Option<Day>) -> Result<Checked, ProofError> {
        let payload = self.payload()?;
        let message = pre_authentication(&self.payload_type, &payload);
        let mut keys = Vec::new();
        let mut reasons = Vec::new();
        for signature in &self.signatures {
            let id = &signature.keyid;
            let Some(trusted) = trust.find(id) else {
                reasons.push(format!("key `{}` is not trusted", shown(id)));
                continue;
            };
            let decoded = STANDARD.decode(&signature.sig).unwrap_or_default();
            if !trusted.key.verifies(&message, &decoded) {
                return Err(ProofError::BadSignature { key: id.clone() });
            }
            match trusted.outside(today) {
                Some(reason) => reasons.push(format!("key `{id}` {reason}")),
                None => keys.push(id.clone()),
            }
        }
        if keys.is_empty() {
            let reasons = if reasons.is_empty() {
                "there is none".to_owned()
            } else {
                reasons.join("; ")
            };
            return Err(ProofError::NoTrustedSignature(reasons));
        }
        Ok(Checked {
            statement: read_statement(&payload)?,
            keys,
        })
    }

    /// The statement, whoever signed it: nobody may have.
    ///
    /// # Errors
    /// [`ProofError::Statement`] when what is signed is no statement.
    pub fn unverified_statement(&self) -> Result<Statement, ProofError> {
        read_statement(&self.payload()?)
    }

    fn payload(&self) -> Result<Vec<u8>, ProofError> {
        STANDARD
            .decode(&self.payload)
            .map_err(|error| ProofError::Envelope(format!("its payload: {error}")))
    }
}

fn read_statement(payload: &[u8]) -> Result<Statement, ProofError> {
    let statement: Statement = serde_json::from_slice(payload)
        .map_err(|error| ProofError::Statement(error.to_string()))?;
    if statement.statement_type != STATEMENT_TYPE {
        return Err(ProofError::Statement(format!(
            "it is of type `{}`, not `{STATEMENT_TYPE}`",
            statement.statement_type
        )));
    }
    Ok(statement)
}

/// A claimed key id as an error may show it: it is anybody's text.
fn shown(id: &str) -> String {
    id.chars().take(64).collect()
}

/// DSSE's `PAE(type, body)`.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn signed(keys: &[&SecretKey]) -> Envelope {
        let statement = Statement::new("https://example.com/p", json!({"passed": true}));
        Envelope::sign(&statement.about("manifest.json", b"{}"), keys).unwrap()
    }

    fn trust(keys: &[&SecretKey]) -> Trust {
        let pem: String = keys
            .iter()
            .map(|key| key.public().to_pem().unwrap())
            .collect();
        Trust::parse(&pem).unwrap()
    }

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        // protocol.md of DSSE 1.0.
        assert_eq!(
            pre_authentication("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn any_trusted_key_will_do_and_no_other() {
        let [one, two, other] = [(); 3].map(|()| SecretKey::generate().unwrap());
        let mut envelope = signed(&[&one]);
        envelope.countersign(&two).unwrap();
        envelope.countersign(&two).unwrap();
        let ids = [&one, &two].map(|key| key.public().id().unwrap());
        assert_eq!(envelope.claimed_keys().collect::<Vec<_>>(), ids);
        let both = envelope.verify(&trust(&[&two, &one]), None).unwrap();
        assert_eq!(both.keys, ids);
        let second = envelope.verify(&trust(&[&other, &two]), None).unwrap();
        assert_eq!(second.keys, ids[1..]);
        let none = envelope.verify(&trust(&[&other]), None).unwrap_err();
        assert!(matches!(none, ProofError::NoTrustedSignature(_)), "{none}");
    }

    #[test]
    fn a_signature_under_a_borrowed_key_id_does_not_count() {
        let [own, other] = [(); 2].map(|()| SecretKey::generate().unwrap());
        let mut envelope = signed(&[&other]);
        envelope.signatures[0].keyid = own.public().id().unwrap();
        let error = envelope.verify(&trust(&[&own]), None).unwrap_err();
        assert!(matches!(error, ProofError::BadSignature { .. }), "{error}");
    }

    #[test]
    fn every_changed_byte_of_the_file_is_noticed() {
        let key = SecretKey::generate().unwrap();
        let bytes = signed(&[&key]).to_bytes();
        let trust = trust(&[&key]);
        for place in 0..bytes.len() {
            for mask in [0x01, 0x20, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[place] ^= mask;
                let read = Envelope::parse(&changed);
                let checked = read.and_then(|envelope| envelope.verify(&trust, None));
                assert!(checked.is_err(), "byte {place} changed by {mask:#x}");
            }
        }
        // As other tools would write it: the same content, another spelling.
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        assert!(Envelope::parse(&pretty).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::parse(&bytes);
            let text = String::from_utf8_lossy(&bytes);
            let _ = Trust::parse(&text);
            let _ = SecretKey::from_pem(&text);
            let _ = crate::PublicKey::from_pem(&text);
        }

        #[test]
        fn no_envelope_makes_it_panic(
            payload in "[A-Za-z0-9+/=]{0,80}",
            keyid in ".{0,20}",
            sig in "[A-Za-z0-9+/=]{0,100}",
        ) {
            let key = SecretKey::generate().unwrap();
            let envelope = Envelope {
                payload_type: PAYLOAD_TYPE.to_owned(),
                payload,
                signatures: vec![
                    Signature { keyid: key.public().id().unwrap(), sig: sig.clone() },
                    Signature { keyid, sig },
                ],
            };
            prop_assert!(envelope.verify(&trust(&[&key]), None).is_err());
            if let Ok(read) = Envelope::parse(&envelope.to_bytes()) {
                prop_assert_eq!(read, envelope);
            }
        }
    }
}
