//! What the headers of a file may promise, as numbers.

use serde::{Deserialize, Serialize};

/// What the headers of a file may promise. What promises more is unscanned, and not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderLimits {
    /// Columns, counted without those that others lie in.
    pub columns: u64,
    /// How deep types may lie inside each other; handing batches over stands little more than the
    /// 24 of [`Self::default`].
    pub depth: u64,
    /// Rows, and values of a column, for each byte of the file, beyond
    /// [`Self::FREE_ROWS`]: columns of one value compress to nothing, but a dataset has others.
    pub rows_per_byte: u64,
    /// Bytes of a page, a dictionary or a compressed buffer once it is unpacked.
    pub page: u64,
    /// Unpacked bytes for each stored one of a page, a dictionary or a buffer, beyond
    /// [`Self::FREE_BYTES`]. Of the codecs Brotli alone makes more than 33,000 of one.
    pub ratio: u64,
    /// Bytes that decoding may take at once: an Arrow record batch, or so many Parquet records as
    /// are read together.
    pub memory: u64,
}

impl HeaderLimits {
    /// Rows that any file may have.
    pub const FREE_ROWS: u64 = 1 << 24;
    /// Bytes that any page may unpack to.
    pub const FREE_BYTES: u64 = 1 << 20;

    /// Sees that something which takes `stored` bytes may unpack to `unpacked`.
    ///
    /// # Errors
    /// Which limit it is beyond; what it is comes before that in a sentence.
    pub(super) fn unpacking(&self, stored: u64, unpacked: u64) -> Result<(), String> {
        if unpacked > self.page {
            return Err(format!(
                "asks for {}, more than {} (`decoding.max_page`)",
                bytes(unpacked),
                bytes(self.page)
            ));
        }
        if unpacked > Self::FREE_BYTES && unpacked / self.ratio.max(1) > stored {
            return Err(format!(
                "asks for {} with {}, more than {} times as much (`decoding.max_ratio`)",
                bytes(unpacked),
                bytes(stored),
                self.ratio
            ));
        }
        Ok(())
    }
}

impl Default for HeaderLimits {
    fn default() -> Self {
        Self {
            columns: 65_536,
            depth: 24,
            rows_per_byte: 1_000,
            page: u64::MAX,
            ratio: 50_000,
            memory: u64::MAX,
        }
    }
}

/// A number of bytes for people; exact below a mebibyte.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes < 1 << 20 {
        format!("{bytes} bytes")
    } else {
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    }
}
