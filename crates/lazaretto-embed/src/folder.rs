//! A model's folder: what kind of model it holds, its files and their digests.
//!
//! A file is read once; what was hashed is what is parsed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::EmbedError;
use crate::{ModelFile, Request};

/// File names that only pickles have.
const PICKLES: [&str; 6] = ["bin", "ckpt", "pickle", "pkl", "pt", "pth"];

/// The kind of model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A table of token vectors.
    Static,
    /// A sentence model.
    Onnx,
}

impl Kind {
    /// The cargo feature.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Onnx => "onnx",
        }
    }
}

/// An open folder, which keeps account of what was read.
pub(crate) struct Folder<'a> {
    request: Request<'a>,
    /// Name of the file with the model.
    model: &'static str,
    kind: Kind,
    files: BTreeMap<String, ModelFile>,
}

impl<'a> Folder<'a> {
    /// Looks what a folder holds. An ONNX model goes before a table, because sentence models come with
    /// their weights as safetensors beside it.
    pub(crate) fn open(request: &Request<'a>) -> Result<Self, EmbedError> {
        let models = [
            ("model.onnx", Kind::Onnx),
            ("onnx/model.onnx", Kind::Onnx),
            ("model.safetensors", Kind::Static),
        ];
        let found = models
            .into_iter()
            .find(|(name, _)| request.folder.join(name).is_file());
        let (model, kind) = found.ok_or_else(|| no_model(request.folder))?;
        Ok(Self {
            request: *request,
            model,
            kind,
            files: BTreeMap::new(),
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Name of the file with the model.
    pub(crate) fn model(&self) -> &'static str {
        self.model
    }

    /// What was asked for.
    pub(crate) fn request(&self) -> &Request<'a> {
        &self.request
    }

    /// The bytes of a file that must be there.
    pub(crate) fn read(&mut self, name: &str) -> Result<Vec<u8>, EmbedError> {
        let path = self.request.folder.join(name);
        self.read_at(name, &path)
    }

    /// The bytes of a file that may be there.
    pub(crate) fn read_if_there(&mut self, name: &str) -> Result<Option<Vec<u8>>, EmbedError> {
        if self.request.folder.join(name).exists() {
            self.read(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The bytes of the file at `path`, which goes by `name`.
    pub(crate) fn read_at(&mut self, name: &str, path: &Path) -> Result<Vec<u8>, EmbedError> {
        let bytes = fs::read(path).map_err(|source| EmbedError::Read {
            file: name.to_owned(),
            source,
        })?;
        let found = hexadecimal(&Sha256::digest(&bytes));
        if let Some(pinned) = self.request.sha256.get(name)
            && !pinned.eq_ignore_ascii_case(&found)
        {
            return Err(EmbedError::Digest {
                file: name.to_owned(),
                pinned: pinned.clone(),
                found,
            });
        }
        if is_pickle(&bytes) {
            return Err(EmbedError::Pickle {
                file: name.to_owned(),
            });
        }
        let file = ModelFile {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: found,
        };
        self.files.insert(name.to_owned(), file);
        Ok(bytes)
    }

    /// The digest of a file that was read.
    pub(crate) fn digest(&self, name: &str) -> String {
        let file = self.files.get(name);
        file.map_or_else(String::new, |file| file.sha256.clone())
    }

    /// Refuses a model that takes more than it may.
    pub(crate) fn check_size(&self, bytes: u64) -> Result<(), EmbedError> {
        let limit = self.request.max_bytes;
        if bytes > limit {
            return Err(EmbedError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    /// The files that were read, sorted by name; those that are pinned and were not needed are
    /// checked too, so that no pin is without effect.
    pub(crate) fn finish(mut self) -> Result<Vec<ModelFile>, EmbedError> {
        for name in self.request.sha256.keys() {
            if !self.files.contains_key(name) {
                self.read(name)?;
            }
        }
        Ok(self.files.into_values().collect())
    }
}

/// What a folder without a model has instead.
fn no_model(folder: &Path) -> EmbedError {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) => {
            let file = folder
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            return EmbedError::Read { file, source };
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    let extension = |name: &String| {
        let extension = Path::new(name).extension()?.to_str()?;
        Some(extension.to_ascii_lowercase())
    };
    names
        .into_iter()
        .find(|name| extension(name).is_some_and(|e| PICKLES.contains(&e.as_str())))
        .map_or(EmbedError::NoModel, |file| EmbedError::Pickle { file })
}

/// Whether the bytes begin as pickles do, or as the archives that hold them. A safetensors file can
/// begin with the same two bytes: they are the end of a length of eight, before a brace.
fn is_pickle(bytes: &[u8]) -> bool {
    let archive = bytes.starts_with(b"PK\x03\x04");
    let length = matches!(bytes, [_, _, _, _, 0, 0, 0, 0, b'{', ..]);
    archive || (matches!(bytes, [0x80, 2..=5, ..]) && !length)
}

fn hexadecimal(digest: &[u8]) -> String {
    let mut text = String::with_capacity(2 * digest.len());
    for byte in digest {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'a>(folder: &'a Path, sha256: &'a BTreeMap<String, String>) -> Request<'a> {
        Request {
            folder,
            sha256,
            runtime: None,
            max_bytes: 1 << 20,
        }
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            hexadecimal(&Sha256::digest(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn the_kind_follows_from_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let pins = BTreeMap::new();
        let open = || Folder::open(&request(folder.path(), &pins)).map(|folder| folder.kind());
        assert!(matches!(open(), Err(EmbedError::NoModel)));
        fs::write(folder.path().join("pytorch_model.bin"), b"x").unwrap();
        assert!(matches!(open(), Err(EmbedError::Pickle { file }) if file == "pytorch_model.bin"));
        fs::write(folder.path().join("model.safetensors"), b"x").unwrap();
        assert_eq!(open().unwrap(), Kind::Static);
        fs::create_dir(folder.path().join("onnx")).unwrap();
        fs::write(folder.path().join("onnx/model.onnx"), b"x").unwrap();
        assert_eq!(open().unwrap(), Kind::Onnx);
        let nowhere = folder.path().join("nowhere");
        let error = Folder::open(&request(&nowhere, &pins)).err().unwrap();
        assert!(matches!(error, EmbedError::Read { file, .. } if file == "nowhere"));
    }

    #[test]
    fn every_pin_is_held_to() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.safetensors"), b"abc").unwrap();
        fs::write(folder.path().join("config.json"), b"{}").unwrap();
        let pin = |name: &str, digest: &str| BTreeMap::from([(name.to_owned(), digest.to_owned())]);
        let files = |pins: &BTreeMap<String, String>| {
            let mut folder = Folder::open(&request(folder.path(), pins))?;
            folder.read("model.safetensors")?;
            folder.finish()
        };
        let abc = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";
        let read = files(&pin("model.safetensors", abc)).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].sha256, abc.to_ascii_lowercase());
        let wrong = files(&pin("model.safetensors", &"0".repeat(64)));
        assert!(matches!(wrong, Err(EmbedError::Digest { .. })));
        // Not needed, and looked at all the same.
        let wrong = files(&pin("config.json", abc));
        assert!(matches!(wrong, Err(EmbedError::Digest { file, .. }) if file == "config.json"));
        let missing = files(&pin("vocab.txt", abc));
        assert!(matches!(missing, Err(EmbedError::Read { file, .. }) if file == "vocab.txt"));
    }

    #[test]
    fn pickles_are_known_by_their_first_bytes() {
        assert!(is_pickle(b"\x80\x04\x95\x10\0\0\0\0\0\0\0"));
        assert!(is_pickle(b"\x80\x02}q\0"));
        assert!(is_pickle(b"PK\x03\x04archive/data.pkl"));
        // Safetensors headers of 0x0280 and of 0x010480 bytes.
        assert!(!is_pickle(b"\x80\x02\0\0\0\0\0\0{\"a\":"));
        assert!(!is_pickle(b"\x80\x04\x01\0\0\0\0\0{\"a\":"));
        assert!(!is_pickle(b"{\"version\":"));
    }
}
