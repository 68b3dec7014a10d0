//! Who vouches for what: Ed25519 keys, in-toto statements in DSSE envelopes, and trusted keys.
//!
//! | module | holds |
//! |---|---|
//! | [`key`] | key pairs as PEM that `openssl pkey` reads, and their ids |
//! | [`statement`] | what is signed: names and digests of files (in-toto Statement v1) |
//! | [`envelope`] | the signed form (DSSE v1), in one canonical spelling |
//! | [`trust`] | which keys count, and when |
//!
//! What is absent on purpose: no files, no clock, no printing, nothing about scans. Secret keys are
//! wiped from memory when they are dropped, and no `Debug` output or error holds one.
//!
//! ```
//! use lazaretto_proof::{Envelope, SecretKey, Statement, Trust};
//!
//! let key = SecretKey::generate()?;
//! let statement = Statement::new("https://example.com/made-up/v1", serde_json::json!({}))
//!     .about("data.csv", b"a,b\n1,2\n");
//! let envelope = Envelope::sign(&statement, &[&key])?;
//! let read = Envelope::parse(&envelope.to_bytes())?;
//! let trust = Trust::parse(&key.public().to_pem()?)?;
//! let checked = read.verify(&trust, None)?;
//! assert_eq!(checked.statement, statement);
//! assert_eq!(checked.keys, [key.public().id()?]);
//! # Ok::<(), lazaretto_proof::ProofError>(())
//! ```

pub mod envelope;
pub mod error;
pub mod key;
pub mod statement;
pub mod trust;

pub use envelope::{Checked, Envelope};
pub use error::ProofError;
pub use key::{PublicKey, SecretKey};
pub use statement::{Statement, Subject};
pub use trust::{Day, Trust};
