//! Ed25519 keys (RFC 8032) as PEM: PKCS#8 for private, `SubjectPublicKeyInfo` for public ones (RFC 8410).

use std::fmt;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
    KeypairBytes,
};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::error::ProofError;

/// Hexadecimal digits of a key id.
const ID_DIGITS: usize = 16;

/// A private key. Wiped from memory when it is dropped; its `Debug` form is its key id.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key from the operating system's random numbers.
    ///
    /// # Errors
    /// [`ProofError::Random`] when there are none.
    pub fn generate() -> Result<Self, ProofError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice())
            .map_err(|error| ProofError::Random(error.to_string()))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a PEM text `-----BEGIN PRIVATE KEY-----`.
    ///
    /// # Errors
    /// [`ProofError::Key`] when it is none, or not of an Ed25519 key.
    pub fn from_pem(pem: &str) -> Result<Self, ProofError> {
        SigningKey::from_pkcs8_pem(pem.trim())
            .map(Self)
            .map_err(|error| ProofError::Key {
                expected: "an Ed25519 private key",
                reason: error.to_string(),
            })
    }

    /// The key as PEM, in the first version of PKCS#8, which every `openssl` reads.
    ///
    /// # Errors
    /// [`ProofError::Key`] when the encoder fails, which no key makes it do.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, ProofError> {
        let bytes = KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        bytes
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| encoding(&error))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature of `message`, 64 bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "SecretKey({})",
            self.public().id().unwrap_or_default()
        )
    }
}

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads a PEM text `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// [`ProofError::Key`] when it is none, not of an Ed25519 key, or of a weak one, under which
    /// signatures fit many contents.
    pub fn from_pem(pem: &str) -> Result<Self, ProofError> {
        let bad = |reason: String| ProofError::Key {
            expected: "an Ed25519 public key",
            reason,
        };
        let key = VerifyingKey::from_public_key_pem(pem.trim())
            .map_err(|error| bad(error.to_string()))?;
        if key.is_weak() {
            return Err(bad("it is of small order".to_owned()));
        }
        Ok(Self(key))
    }

    /// The key as PEM.
    ///
    /// # Errors
    /// [`ProofError::Key`] when the encoder fails, which no key makes it do.
    pub fn to_pem(&self) -> Result<String, ProofError> {
        self.0
            .to_public_key_pem(LineEnding::LF)
            .map_err(|error| ProofError::Key {
                expected: "an Ed25519 public key",
                reason: error.to_string(),
            })
    }

    /// Its id: the first 16 hexadecimal digits of the SHA-256 of its DER form
    /// (`openssl pkey -pubin -in KEY -outform DER | sha256sum | cut -c1-16`).
    ///
    /// # Errors
    /// [`ProofError::Key`] when the encoder fails, which no key makes it do.
    pub fn id(&self) -> Result<String, ProofError> {
        let der = self
            .0
            .to_public_key_der()
            .map_err(|error| ProofError::Key {
                expected: "an Ed25519 public key",
                reason: error.to_string(),
            })?;
        let mut id = crate::statement::hex(&Sha256::digest(der.as_bytes()));
        id.truncate(ID_DIGITS);
        Ok(id)
    }

    /// Whether `signature` is this key's signature of `message`, by the strict rules, under which no
    /// second signature can be made from a first.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

fn encoding(error: &ed25519_dalek::pkcs8::Error) -> ProofError {
    ProofError::Key {
        expected: "an Ed25519 private key",
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8410, section 10.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn the_keys_of_the_standard_are_read_and_written() {
        let secret = SecretKey::from_pem(PRIVATE).unwrap();
        assert_eq!(*secret.to_pem().unwrap(), PRIVATE);
        assert_eq!(secret.public().to_pem().unwrap(), PUBLIC);
        assert_eq!(PublicKey::from_pem(PUBLIC).unwrap(), secret.public());
        // By openssl 3 and coreutils, as the documentation of `id` says.
        assert_eq!(secret.public().id().unwrap(), "a1e9156054e04fac");
    }

    #[test]
    fn signatures_are_those_of_the_standard() {
        // RFC 8032, section 7.1, test 3.
        let seed = [
            0xc5, 0xaa, 0x8d, 0xf4, 0x3f, 0x9f, 0x83, 0x7b, 0xed, 0xb7, 0x44, 0x2f, 0x31, 0xdc,
            0xb7, 0xb1, 0x66, 0xd3, 0x85, 0x35, 0x07, 0x6f, 0x09, 0x4b, 0x85, 0xce, 0x3a, 0x2e,
            0x0b, 0x44, 0x58, 0xf7,
        ];
        let key = SecretKey(SigningKey::from_bytes(&seed));
        let signature = key.sign(&[0xaf, 0x82]);
        assert_eq!(
            crate::statement::hex(&signature),
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
             18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        );
        assert!(key.public().verifies(&[0xaf, 0x82], &signature));
        assert!(!key.public().verifies(&[0xaf, 0x83], &signature));
        assert!(!key.public().verifies(&[0xaf, 0x82], &signature[1..]));
    }

    #[test]
    fn no_text_about_a_secret_key_holds_it() {
        let secret = SecretKey::from_pem(PRIVATE).unwrap();
        assert_eq!(format!("{secret:?}"), "SecretKey(a1e9156054e04fac)");
        let spoilt = PRIVATE.replace("MC4CAQ", "MC4CAR");
        let error = SecretKey::from_pem(&spoilt).unwrap_err();
        for text in [format!("{error}"), format!("{error:?}")] {
            assert!(!text.contains("INTuctv5"), "{text}");
        }
        let swapped = PublicKey::from_pem(PRIVATE).unwrap_err();
        assert!(!swapped.to_string().contains("INTuctv5"), "{swapped}");
    }

    #[test]
    fn two_new_keys_differ() {
        let ids = [(); 2].map(|()| SecretKey::generate().unwrap().public().id().unwrap());
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn weak_keys_are_refused() {
        // The identity point (RFC 8032, section 5.1): y = 1.
        let pem = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\
            -----END PUBLIC KEY-----\n";
        let error = PublicKey::from_pem(pem).unwrap_err();
        assert!(error.to_string().contains("small order"), "{error}");
    }
}
