//! Why a signature cannot be made or does not count.

use thiserror::Error;

/// A lower-case fragment that fits after "failed to". No message holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The operating system gave no random numbers.
    #[error("draw a random key: {0}")]
    Random(String),
    /// A text that is no key of the expected kind.
    #[error("read {expected}: {reason}")]
    Key {
        /// What was expected, such as `an Ed25519 private key`.
        expected: &'static str,
        /// What is wrong, without a part of the text.
        reason: String,
    },
    /// A trust file that cannot be used.
    #[error("read trusted keys: {0}")]
    Trust(String),
    /// An envelope that is damaged, or not spelt canonically.
    #[error("read the signed envelope: {0}")]
    Envelope(String),
    /// A signature by a trusted key that does not hold.
    #[error("verify the signature by key `{key}`: it does not fit the content")]
    BadSignature {
        /// Id of the key.
        key: String,
    },
    /// No signature by a key that is trusted at this time.
    #[error("find a signature that counts: {0}")]
    NoTrustedSignature(String),
    /// The statement is about something else.
    #[error("use the signed statement: {0}")]
    Statement(String),
}

impl ProofError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Key { .. } => {
                "keys are PEM files: `lazaretto keygen --out NAME` makes a pair, as does `openssl genpkey -algorithm ed25519`"
            }
            Self::Trust(_) => {
                "give a public key as PEM, or a TOML file with `[[key]]` tables of `public_key`, `name`, `not_before`, `not_after`"
            }
            Self::Envelope(_) | Self::BadSignature { .. } | Self::Statement(_) => {
                "what was signed is not what is here: fetch it again from its source"
            }
            Self::NoTrustedSignature(_) => "give the signer's public key with `--trusted-key FILE`",
            Self::Random(_) => return None,
        };
        Some(hint.to_owned())
    }
}
