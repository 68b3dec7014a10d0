//! Keys of Parquet modular encryption (AES-GCM, format version `AES_GCM_V1`).
//!
//! Two kinds of files can be encrypted: the input, of which each column can have a key of its own, and
//! `quarantine/`, where one key is for everything. What is written from encrypted input is encrypted
//! as the input is: a scan must not be how data leaves its protection.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::errors::ParquetError;
use parquet::file::column_crypto_metadata::ColumnCryptoMetaData;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::SchemaDescriptor;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::regular::open_resolved;

/// Last bytes of a file whose footer is encrypted.
const ENCRYPTED_FOOTER: &[u8; 4] = b"PARE";

/// An AES key of 16 or 32 bytes; wiped when dropped, shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct AesKey(Arc<Zeroizing<Vec<u8>>>);

impl AesKey {
    /// Reads a key from text: 32 or 64 hexadecimal digits, or base64 of 16 or 32 bytes. Space
    /// around it is left out, since commands end their output with a line break.
    ///
    /// # Errors
    /// What a key looks like; never what was given.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let digits: Option<Zeroizing<Vec<u8>>> = text
            .bytes()
            .map(digit)
            .collect::<Option<_>>()
            .map(Zeroizing::new);
        let bytes = match digits {
            Some(digits) if matches!(digits.len(), 32 | 64) => Some(Zeroizing::new(
                digits
                    .chunks_exact(2)
                    .map(|pair| pair[0] << 4 | pair[1])
                    .collect(),
            )),
            _ => STANDARD.decode(text).ok().map(Zeroizing::new),
        };
        bytes
            .filter(|bytes| matches!(bytes.len(), 16 | 32))
            .map(|bytes| Self(Arc::new(bytes)))
            .ok_or_else(|| {
                "not an AES key: expected 16 or 32 bytes, in base64 or hexadecimal, as `openssl rand -base64 32` makes them"
                    .to_owned()
            })
    }

    /// A copy for the Parquet library, which takes keys as vectors.
    fn bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl fmt::Debug for AesKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AesKey(…)")
    }
}

/// Keys of encrypted input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputKeys {
    /// Of the footer, and of every column without a key of its own.
    pub footer: AesKey,
    /// Of single columns, by their path (`.` between the parts).
    pub columns: BTreeMap<String, AesKey>,
    /// What ties files to their place, where the writer kept it out of them.
    pub aad_prefix: Option<String>,
}

impl InputKeys {
    /// What reads these files. Files that are not encrypted are read as ever.
    pub(crate) fn decryption(&self) -> Result<Arc<FileDecryptionProperties>, ParquetError> {
        let mut builder = FileDecryptionProperties::builder(self.footer.bytes());
        for (column, key) in &self.columns {
            builder = builder.with_column_key(column, key.bytes());
        }
        if let Some(prefix) = &self.aad_prefix {
            builder = builder.with_aad_prefix(prefix.clone().into_bytes());
        }
        builder.build()
    }

    /// What writes files that are encrypted as `like` is.
    pub(crate) fn encryption(
        &self,
        like: &FileEncryption,
    ) -> Result<Arc<FileEncryptionProperties>, ParquetError> {
        let mut builder = FileEncryptionProperties::builder(self.footer.bytes())
            .with_plaintext_footer(like.plaintext_footer);
        for (known_as, column, metadata) in &like.columns {
            let key = self.columns.get(known_as).ok_or_else(|| {
                ParquetError::General(format!("no key for the encrypted column `{known_as}`"))
            })?;
            builder = match metadata {
                Some(metadata) => {
                    builder.with_column_key_and_metadata(column, key.bytes(), metadata.clone())
                }
                None => builder.with_column_key(column, key.bytes()),
            };
        }
        if let Some(prefix) = &self.aad_prefix {
            // Kept out of the file, as in the input.
            builder = builder
                .with_aad_prefix(prefix.clone().into_bytes())
                .with_aad_prefix_storage(false);
        }
        builder.build()
    }
}

/// [`InputKeys`] for the pipe of a decoder, the only place where keys are written.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SentKeys {
    footer: String,
    columns: BTreeMap<String, String>,
    aad_prefix: Option<String>,
}

impl From<&InputKeys> for SentKeys {
    fn from(keys: &InputKeys) -> Self {
        let text = |key: &AesKey| STANDARD.encode(&**key.0);
        let columns = keys.columns.iter();
        Self {
            footer: text(&keys.footer),
            columns: columns
                .map(|(name, key)| (name.clone(), text(key)))
                .collect(),
            aad_prefix: keys.aad_prefix.clone(),
        }
    }
}

impl TryFrom<SentKeys> for InputKeys {
    type Error = String;

    fn try_from(sent: SentKeys) -> Result<Self, String> {
        let columns = sent.columns.into_iter();
        Ok(Self {
            footer: AesKey::parse(&sent.footer)?,
            columns: columns
                .map(|(name, key)| Ok((name, AesKey::parse(&key)?)))
                .collect::<Result<_, String>>()?,
            aad_prefix: sent.aad_prefix,
        })
    }
}

impl fmt::Debug for SentKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SentKeys(…)")
    }
}

/// All keys of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncryptionKeys {
    /// Of encrypted input.
    pub inputs: Option<InputKeys>,
    /// Of `quarantine/`, which is written in clear without one unless the input is encrypted.
    pub quarantine: Option<AesKey>,
}

impl EncryptionKeys {
    /// The keys that read `quarantine/` as input.
    #[must_use]
    pub fn of_quarantine(&self) -> Self {
        let own = self.quarantine.as_ref().map(|key| InputKeys {
            footer: key.clone(),
            columns: BTreeMap::new(),
            aad_prefix: None,
        });
        Self {
            inputs: own.or_else(|| self.inputs.clone()),
            quarantine: None,
        }
    }

    /// A name for these keys from which they cannot be found out, the same for the same keys alone: whoever goes on
    /// with a run must have the keys that it began with. Empty without keys.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        if *self == Self::default() {
            return String::new();
        }
        let mut hasher = blake3::Hasher::new_derive_key("lazaretto encryption keys of a run, v1");
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(self.quarantine.as_ref().map_or(&[], |key| &key.0[..]));
        if let Some(inputs) = &self.inputs {
            part(&inputs.footer.0);
            for (column, key) in &inputs.columns {
                part(column.as_bytes());
                part(&key.0);
            }
            part(inputs.aad_prefix.as_deref().unwrap_or_default().as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// What writes the file of `quarantine/` for an input that is encrypted as `input` says: the key of
    /// `quarantine/`, else that of the input's footer for all columns, since the evidence is about all of them.
    pub(crate) fn quarantine_encryption(
        &self,
        input: Option<&FileEncryption>,
    ) -> Result<Option<Arc<FileEncryptionProperties>>, ParquetError> {
        if let Some(key) = &self.quarantine {
            return FileEncryptionProperties::builder(key.bytes())
                .build()
                .map(Some);
        }
        match (input, &self.inputs) {
            (Some(_), Some(keys)) => keys.encryption(&FileEncryption::default()).map(Some),
            _ => Ok(None),
        }
    }
}

/// How a Parquet file is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileEncryption {
    /// Whether its footer can be read by everybody.
    plaintext_footer: bool,
    /// Columns with keys of their own: by which name the key is known, the name here, and what the writer noted about
    /// the key. All others are then not encrypted. When empty, the key of the footer is for all columns.
    columns: Vec<(String, String, Option<Vec<u8>>)>,
}

impl FileEncryption {
    /// How the file at `path` with this footer is encrypted; `None` when it is not.
    ///
    /// # Errors
    /// When it is in a way that cannot be written again.
    pub(crate) fn of(path: &Path, metadata: &ParquetMetaData) -> Result<Option<Self>, String> {
        let plaintext_footer = !has_encrypted_footer(path).map_err(|error| error.to_string())?;
        let columns = metadata
            .row_groups()
            .iter()
            .flat_map(RowGroupMetaData::columns);
        let mut under_footer_key = 0;
        let mut own: Vec<(String, String, Option<Vec<u8>>)> = Vec::new();
        for column in columns {
            match column.crypto_metadata() {
                None => {}
                Some(ColumnCryptoMetaData::ENCRYPTION_WITH_FOOTER_KEY) => under_footer_key += 1,
                Some(ColumnCryptoMetaData::ENCRYPTION_WITH_COLUMN_KEY(key)) => {
                    let name = key.path_in_schema.join(".");
                    if !own.iter().any(|(known, ..)| *known == name) {
                        own.push((name.clone(), name, key.key_metadata.clone()));
                    }
                }
            }
        }
        if under_footer_key > 0 && !own.is_empty() {
            return Err(
                "some of its columns are encrypted with the key of the footer and some with their own; encrypt either all with the first or each with its own"
                    .to_owned(),
            );
        }
        let encrypted = !plaintext_footer || under_footer_key > 0 || !own.is_empty();
        Ok(encrypted.then_some(Self {
            plaintext_footer,
            columns: own,
        }))
    }
}

impl FileEncryption {
    /// The same for a file whose columns are those of `from`, in order, under the names of `to`.
    pub(crate) fn renamed(&self, from: &SchemaDescriptor, to: &SchemaDescriptor) -> Self {
        let mut renamed = self.clone();
        for (_, name, _) in &mut renamed.columns {
            let mut columns = from.columns().iter().zip(to.columns());
            if let Some((_, new)) = columns.find(|(old, _)| old.path().string() == *name) {
                *name = new.path().string();
            }
        }
        renamed
    }
}

/// Whether the last bytes of a file say that its footer is encrypted.
pub(crate) fn has_encrypted_footer(path: &Path) -> io::Result<bool> {
    let mut file = open_resolved(path)?;
    let mut magic = [0; 4];
    if file.metadata()?.len() < magic.len() as u64 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-4))?;
    file.read_exact(&mut magic)?;
    Ok(&magic == ENCRYPTED_FOOTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_base64_and_hexadecimal() {
        let key = AesKey::parse("000102030405060708090a0b0c0d0e0f\n").unwrap();
        assert_eq!(key, AesKey::parse(" AAECAwQFBgcICQoLDA0ODw== ").unwrap());
        assert_eq!(key.bytes(), (0..16).collect::<Vec<u8>>());
        let long = "0F".repeat(32);
        assert_eq!(AesKey::parse(&long).unwrap().bytes(), [15; 32]);
        let keys = InputKeys {
            footer: key.clone(),
            columns: BTreeMap::from([("a.b".to_owned(), AesKey::parse(&long).unwrap())]),
            aad_prefix: Some("lake".to_owned()),
        };
        assert_eq!(InputKeys::try_from(SentKeys::from(&keys)).unwrap(), keys);
    }

    #[test]
    fn what_is_no_key_is_not_quoted() {
        for text in [
            "",
            "hunter2-hunter2",
            "AAEC",
            "00010203",
            &"0".repeat(48),
            &"ä".repeat(16),
        ] {
            let error = AesKey::parse(text).unwrap_err();
            assert!(error.contains("16 or 32 bytes"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        let key = AesKey::parse(&"ab".repeat(16)).unwrap();
        let keys = EncryptionKeys {
            inputs: Some(InputKeys {
                footer: key.clone(),
                columns: BTreeMap::from([("a".to_owned(), key.clone())]),
                aad_prefix: None,
            }),
            quarantine: Some(key),
        };
        assert_eq!(EncryptionKeys::default().fingerprint(), "");
        assert_eq!(keys.fingerprint(), keys.clone().fingerprint());
        assert_ne!(keys.fingerprint(), keys.of_quarantine().fingerprint());
        let shown = format!("{keys:?} {}", keys.fingerprint());
        assert!(
            !shown.contains("171") && !shown.to_lowercase().contains("abab"),
            "{shown}"
        );
    }
}
