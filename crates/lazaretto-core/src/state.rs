//! Bytes of a detector's mergeable state or evidence, so that a partition can be fitted in another process, and
//! a run that was cut short gone on with.
//!
//! Layout: the magic `LZST`, a format version (one byte), the detector's id (length byte and
//! bytes), the detector's own state version (`u32`, little endian), then the state in postcard.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

const MAGIC: &[u8; 4] = b"LZST";
const FORMAT: u8 = 1;

/// A state that cannot be read back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// The bytes do not start like a state.
    #[error("not a detector state (bad magic or truncated header)")]
    NotAState,
    /// Written by another format, detector or version.
    #[error("state of `{found}` where `{expected}` is needed")]
    Mismatch {
        /// Format, detector and version found.
        found: String,
        /// Format, detector and version needed.
        expected: String,
    },
    /// The header fits but the content does not decode.
    #[error("state of `{detector}` does not decode")]
    Corrupt {
        /// The detector's id.
        detector: String,
        /// The decoder's error.
        #[source]
        source: postcard::Error,
    },
}

fn header(detector: &str, version: u32) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(FORMAT);
    bytes.push(u8::try_from(detector.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(detector.as_bytes());
    bytes.extend_from_slice(&version.to_le_bytes());
    bytes
}

/// The bytes of `state` of `detector` at state version `version`.
///
/// # Errors
/// When the state does not serialise, which is a defect of its type.
pub fn encode<T: Serialize>(
    detector: &str,
    version: u32,
    state: &T,
) -> Result<Vec<u8>, StateError> {
    postcard::to_extend(state, header(detector, version)).map_err(|source| StateError::Corrupt {
        detector: detector.to_owned(),
        source,
    })
}

/// Reads a state back.
///
/// # Errors
/// When the bytes are no state, belong to another detector or version, or do not decode.
pub fn decode<T: DeserializeOwned>(
    detector: &str,
    version: u32,
    bytes: &[u8],
) -> Result<T, StateError> {
    let expected = header(detector, version);
    if bytes.len() < MAGIC.len() + 2 || &bytes[..MAGIC.len()] != MAGIC {
        return Err(StateError::NotAState);
    }
    let Some(body) = bytes.strip_prefix(expected.as_slice()) else {
        let id_end = (6 + usize::from(bytes[5])).min(bytes.len());
        return Err(StateError::Mismatch {
            found: format!(
                "{} (format {})",
                String::from_utf8_lossy(&bytes[6..id_end]),
                bytes[4]
            ),
            expected: format!("{detector} version {version} (format {FORMAT})"),
        });
    };
    postcard::from_bytes(body).map_err(|source| StateError::Corrupt {
        detector: detector.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back_and_refuses_others() {
        let bytes = encode("ecod", 3, &vec![1.5_f64, -2.0]).unwrap();
        assert_eq!(decode::<Vec<f64>>("ecod", 3, &bytes).unwrap(), [1.5, -2.0]);
        assert!(matches!(
            decode::<Vec<f64>>("ecod", 4, &bytes),
            Err(StateError::Mismatch { .. })
        ));
        assert!(matches!(
            decode::<Vec<f64>>("copod", 3, &bytes),
            Err(StateError::Mismatch { .. })
        ));
        assert!(matches!(
            decode::<Vec<f64>>("ecod", 3, b"PAR1"),
            Err(StateError::NotAState)
        ));
        assert!(matches!(
            decode::<Vec<f64>>("ecod", 3, &bytes[..bytes.len() - 4]),
            Err(StateError::Corrupt { .. })
        ));
    }
}
