//! Ways for the fuzz targets into what is not public: bytes of others in, nothing out. What must
//! hold is asserted. Nobody else is to call these, and they may change at any time.

use std::io::Cursor;

use arrow::datatypes::Schema;

pub use crate::decode::isolated::hear_decoder;
use crate::{recorded, roles};

/// Reads `text` as everything that describes a dataset beside its data: features of Hugging Face
/// datasets, lists of checksums, Croissant, notes of downloads, pointers of Git LFS.
///
/// # Panics
/// When what comes out is not what the rest relies on.
pub fn read_descriptions(text: &str) {
    recorded::read_any(text);
    let metadata = [("huggingface".to_owned(), text.to_owned())];
    let schema = Schema::empty().with_metadata(metadata.into_iter().collect());
    roles::read_features(&schema, "label");
}

/// Whether `decode` comes to its end where a scan catches panics.
pub fn guarded(decode: impl FnOnce()) -> bool {
    crate::decode::guard(|| {
        decode();
        Ok(())
    })
    .is_ok()
}

/// Splits `bytes` into the records of a text format.
///
/// # Panics
/// When records overlap, or depend on how the bytes come in.
pub fn split_text(format: crate::Format, bytes: &[u8]) {
    let ends = crate::decode::records::record_ends(format, bytes);
    assert!(ends.is_sorted(), "records end before they begin");
    assert!(ends.last().is_none_or(|&end| end <= bytes.len()));
    // However the bytes come in.
    let mut splitter = crate::decode::records::Splitter::new(format);
    let mut piecewise = Vec::new();
    for piece in bytes.chunks(7) {
        splitter.feed(piece, |boundary| piecewise.push(boundary.end as usize));
    }
    splitter.finish(|boundary| piecewise.push(boundary.end as usize));
    assert_eq!(ends, piecewise, "records depend on how they come in");
}

/// Reads `bytes` as a decoder's answers that a hostile file has taken over.
pub fn hear(bytes: &[u8]) {
    hear_decoder(&mut Cursor::new(bytes));
}
